//! What a camera offers, as plain data: formats, sizes, rates, controls; and words for people.
//!
//! Filled from a device, or by a test. Refusals list it, `zoomgate devices` prints it.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use crate::camera::convert::PixelFormat;

/// A camera.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Offer {
    /// `/dev/videoN`, which may be another camera after the next start.
    pub node: PathBuf,
    /// Its names below `/dev/v4l/by-id` (the camera's serial number) and `/dev/v4l/by-path` (its socket); these stay.
    pub stable_paths: Vec<PathBuf>,
    /// What it calls itself.
    pub name: String,
    /// Its kernel driver.
    pub driver: String,
    /// Where it is attached.
    pub bus: String,
    /// Formats, in the driver's order.
    pub formats: Vec<FormatOffer>,
    /// Controls, in the driver's order; empty where the driver has none or they cannot be read.
    pub controls: Vec<ControlOffer>,
}

/// A format and its sizes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FormatOffer {
    /// The V4L2 code, such as `YUYV`.
    pub code: String,
    /// What the driver calls it.
    pub description: String,
    /// Whether frames of this format can be converted here.
    pub is_read: bool,
    /// Its sizes.
    pub sizes: Vec<SizeOffer>,
}

impl FormatOffer {
    /// The format, where it is one of ours.
    pub fn format(&self) -> Option<PixelFormat> {
        let mut code = [b' '; 4];
        let bytes = self.code.as_bytes();
        code.get_mut(..bytes.len())?.copy_from_slice(bytes);
        PixelFormat::of_code(code)
    }
}

/// A size, or a range of sizes, and its rates.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SizeOffer {
    /// Pixels.
    pub width: Steps,
    /// Pixels.
    pub height: Steps,
    /// Frame intervals; empty where the driver does not say.
    pub intervals: Vec<Interval>,
}

impl SizeOffer {
    /// Whether `size` is one of these.
    pub fn has(&self, (width, height): (u32, u32)) -> bool {
        self.width.has(width) && self.height.has(height)
    }
}

/// The numbers from `min` to `max`, `step` apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Steps {
    /// The least.
    pub min: u32,
    /// The largest.
    pub max: u32,
    /// From one to the next; 0 where there is one only.
    pub step: u32,
}

impl Steps {
    /// One number.
    pub const fn one(value: u32) -> Self {
        Self { min: value, max: value, step: 0 }
    }

    fn has(self, value: u32) -> bool {
        (self.min..=self.max).contains(&value) && (value - self.min).checked_rem(self.step).unwrap_or(0) == 0
    }
}

/// Seconds from one frame to the next, as fractions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Interval {
    /// This one.
    One(Fraction),
    /// Any from the shortest to the longest.
    Between(Fraction, Fraction),
}

/// `numerator / denominator` seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Fraction {
    /// Seconds.
    pub numerator: u32,
    /// Parts of them.
    pub denominator: u32,
}

impl Fraction {
    /// Frames a second at this interval; `None` for a fraction that is none.
    pub fn rate_hz(self) -> Option<f64> {
        let rate = f64::from(self.denominator) / f64::from(self.numerator);
        Some(rate).filter(|rate| rate.is_finite() && *rate > 0.0)
    }
}

/// A control with a single value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ControlOffer {
    /// The V4L2 control number.
    pub id: u32,
    /// What the driver calls it.
    pub name: String,
    /// The least value.
    pub min: i64,
    /// The largest value.
    pub max: i64,
    /// From one value to the next, at least 1.
    pub step: u64,
    /// The driver's default.
    pub default: i64,
    /// What it is now; `None` where it cannot be read.
    pub value: Option<i64>,
    /// The words of a menu, by value.
    pub menu: Vec<(i64, String)>,
    /// It can be read only.
    pub is_read_only: bool,
    /// It has no effect at the moment, usually because an automatic mode governs it.
    pub is_inactive: bool,
}

impl fmt::Display for SizeOffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (w, h) = (self.width, self.height);
        write!(f, "{}x{}", w.min, h.min)?;
        if (w.max, h.max) != (w.min, h.min) {
            write!(f, " to {}x{} in steps of {}x{}", w.max, h.max, w.step.max(1), h.step.max(1))?;
        }
        if !self.intervals.is_empty() {
            let rates: Vec<String> = self.intervals.iter().map(ToString::to_string).collect();
            write!(f, " at {} Hz", rates.join(", "))?;
        }
        Ok(())
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = |fraction: Fraction| fraction.rate_hz().unwrap_or(0.0);
        // Two decimals, without zeros at the end: 29.97, 7.5, 30.
        let short = |rate: f64| {
            let text = format!("{rate:.2}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        };
        match *self {
            Self::One(only) => f.write_str(&short(rate(only))),
            Self::Between(shortest, longest) => write!(f, "{} to {}", short(rate(longest)), short(rate(shortest))),
        }
    }
}

impl fmt::Display for ControlOffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} to {}", self.name, self.min, self.max)?;
        if self.step > 1 {
            write!(f, " in steps of {}", self.step)?;
        }
        write!(f, ", default {}", self.default)?;
        if let Some(value) = self.value {
            write!(f, ", now {value}")?;
        }
        for (value, word) in &self.menu {
            write!(f, "; {value} {word}")?;
        }
        let facts = [(self.is_read_only, "read only"), (self.is_inactive, "no effect now")];
        facts.iter().filter(|(holds, _)| *holds).try_for_each(|(_, fact)| write!(f, "; {fact}"))
    }
}

/// The formats as lines for people: `CODE: size at rates; size at rates` each, and one line for all that are not read.
pub fn formats_as_text(formats: &[FormatOffer]) -> String {
    let line = |format: &FormatOffer| {
        let sizes: Vec<String> = format.sizes.iter().map(ToString::to_string).collect();
        let sizes = if sizes.is_empty() { "sizes unknown".to_owned() } else { sizes.join("; ") };
        format!("  {}: {sizes}", format.code)
    };
    let (read, others): (Vec<_>, Vec<_>) = formats.iter().partition(|format| format.is_read);
    let mut lines: Vec<String> = read.into_iter().map(line).collect();
    if !others.is_empty() {
        let codes: Vec<&str> = others.iter().map(|format| format.code.as_str()).collect();
        lines.push(format!("  not read here: {}", codes.join(", ")));
    }
    lines.join("\n")
}

/// A V4L2 code as text: blanks at the end cut off, a big-endian variant (bit 31) marked as the kernel's tools do.
pub fn code_as_text(code: [u8; 4]) -> String {
    let [a, b, c, d] = code;
    let text = String::from_utf8_lossy(&[a, b, c, d & 0x7F]).trim_end().to_owned();
    if d & 0x80 == 0 { text } else { text + "-BE" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_have_their_numbers_and_no_others() {
        let steps = Steps { min: 16, max: 64, step: 16 };
        for (value, has) in [(16, true), (48, true), (64, true), (15, false), (17, false), (80, false)] {
            assert_eq!(steps.has(value), has, "{value}");
        }
        assert!(Steps::one(5).has(5) && !Steps::one(5).has(6));
    }

    #[test]
    fn an_offer_reads_as_a_person_would_say_it() {
        let fraction = |numerator, denominator| Fraction { numerator, denominator };
        let size = SizeOffer {
            width: Steps::one(640),
            height: Steps::one(480),
            intervals: vec![
                Interval::One(fraction(1, 30)),
                Interval::One(fraction(1001, 30_000)),
                Interval::One(fraction(2, 15)),
            ],
        };
        let range = SizeOffer {
            width: Steps { min: 32, max: 2592, step: 16 },
            height: Steps { min: 32, max: 1944, step: 2 },
            intervals: vec![Interval::Between(fraction(1, 60), fraction(1, 1))],
        };
        let format =
            |code: &str, is_read, sizes| FormatOffer { code: code.into(), description: String::new(), is_read, sizes };
        let text = formats_as_text(&[
            format("YUYV", true, vec![size, range]),
            format("H264", false, vec![]),
            format("Y16", true, vec![]),
            format(&code_as_text([b'Y', b'1', b'6', b' ' | 0x80]), false, vec![]),
        ]);
        let expected = "  YUYV: 640x480 at 30, 29.97, 7.5 Hz; 32x32 to 2592x1944 in steps of 16x2 at 1 to 60 Hz\n  \
                        Y16: sizes unknown\n  not read here: H264, Y16-BE";
        assert_eq!(text, expected);
        assert_eq!(fraction(0, 1).rate_hz(), None);
    }

    #[test]
    fn a_code_is_one_of_our_formats_or_none() {
        for (code, format) in [
            ("YUYV", Some(PixelFormat::Yuyv)),
            ("Y16", Some(PixelFormat::Y16)),
            ("JPEG", Some(PixelFormat::Mjpeg)),
            ("H264", None),
            ("much too long", None),
            ("", None),
        ] {
            let offer = FormatOffer { code: code.into(), description: String::new(), is_read: true, sizes: vec![] };
            assert_eq!(offer.format(), format, "{code}");
        }
    }
}
