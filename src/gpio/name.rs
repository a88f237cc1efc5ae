//! How a line is named in the configuration: by the name that the board gives it, or by its place.
//!
//! | written | means |
//! |---|---|
//! | `GPIO17`, `REJECT` | the line of that name, as the kernel knows it from the device tree; must be the only one |
//! | `gpiochip0:17` | offset 17 of a chip: its device's name or path, or its label (`pinctrl-bcm2711:17`) |
//! | `17` | offset 17 of `gpio.chip` |

use crate::error::{Error, ErrorKind, Result};

/// A line as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LineName {
    /// By the kernel's name.
    Named(String),
    /// By chip (name, path or label) and offset.
    At { chip: String, offset: u32 },
}

impl LineName {
    /// Reads a name; `chip` is that of bare offsets.
    ///
    /// # Errors
    /// Kind `Config` for a bare offset without a chip.
    pub(super) fn parse(written: &str, chip: Option<&str>) -> Result<Self> {
        if let Some((chip, offset)) = written.rsplit_once(':')
            && let Some(offset) = number(offset)
            && !chip.is_empty()
        {
            return Ok(Self::At { chip: chip.to_owned(), offset });
        }
        match (number(written), chip) {
            (Some(offset), Some(chip)) => Ok(Self::At { chip: chip.to_owned(), offset }),
            (Some(_), None) => {
                let message = format!(
                    "line {written} is an offset without a chip: set gpio.chip, or write gpiochip0:{written}; \
                     `zoomgate devices` lists the lines"
                );
                Err(Error::new(ErrorKind::Config, message))
            }
            (None, _) => Ok(Self::Named(written.to_owned())),
        }
    }
}

/// The BCM number of a Raspberry Pi's line, written `17` or `GPIO17`.
///
/// # Errors
/// Kind `Config` for anything else.
#[cfg(feature = "rppal")]
pub(super) fn bcm_number(written: &str) -> Result<u8> {
    let digits = written.strip_prefix("GPIO").unwrap_or(written);
    number(digits).and_then(|number| u8::try_from(number).ok()).ok_or_else(|| {
        let message = format!(
            "line {written}: gpio.backend = \"rppal\" knows lines by their BCM number only: write GPIO17 or 17, or \
             choose \"gpiocdev\""
        );
        Error::new(ErrorKind::Config, message)
    })
}

/// A number of digits and nothing else.
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_places_are_told_apart() {
        let named = |name: &str| Some(LineName::Named(name.to_owned()));
        let at = |chip: &str, offset| Some(LineName::At { chip: chip.to_owned(), offset });
        let cases = [
            ("GPIO17", None, named("GPIO17")),
            ("gpiochip0:17", None, at("gpiochip0", 17)),
            ("/dev/gpiochip2:0", Some("gpiochip9"), at("/dev/gpiochip2", 0)),
            ("pinctrl-bcm2711:4", None, at("pinctrl-bcm2711", 4)),
            ("usb:1-2:7", None, at("usb:1-2", 7)),
            ("17", Some("gpiochip4"), at("gpiochip4", 17)),
            ("17", None, None),
            ("4294967296", Some("gpiochip4"), named("4294967296")),
            ("+17", Some("gpiochip4"), named("+17")),
            (":17", Some("gpiochip4"), named(":17")),
            ("port:a", None, named("port:a")),
            ("gpiochip0:", None, named("gpiochip0:")),
            ("gpiochip0:-1", None, named("gpiochip0:-1")),
        ];
        for (written, chip, expected) in cases {
            assert_eq!(LineName::parse(written, chip).ok(), expected, "{written}");
        }
        let error = LineName::parse("17", None).unwrap_err();
        assert!(error.kind() == ErrorKind::Config && error.message().contains("gpio.chip"), "{error}");
    }

    #[cfg(feature = "rppal")]
    #[test]
    fn a_raspberry_pi_counts_its_lines() {
        for (written, number) in
            [("GPIO17", Some(17)), ("17", Some(17)), ("GPIO", None), ("gpiochip0:17", None), ("GPIO256", None)]
        {
            assert_eq!(bcm_number(written).ok(), number, "{written}");
        }
    }
}
