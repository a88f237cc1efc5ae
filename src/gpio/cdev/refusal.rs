//! What to tell a person whose line or chip was refused, by the kernel's error number.

use std::io;
use std::path::Path;

use rustix::io::Errno;

use super::chips::{Chip, LineAddress};
use crate::error::{Error, ErrorKind};

/// A number that is meant for the kernel alone; some GPIO drivers return it to programs all the same.
const ENOTSUPP: Errno = Errno::from_raw_os_error(524);

/// What lets a user in, on a system that has udev.
const ADMITTANCE: &str = "add the user to the group of the device (`ls -l /dev/gpiochip*`; often `gpio`) and log in \
                          again, or give the group the device by a udev rule: SUBSYSTEM==\"gpio\", \
                          KERNEL==\"gpiochip*\", GROUP=\"gpio\", MODE=\"0660\"";

/// The system's error number, where there is one.
pub(super) fn errno(error: &gpiocdev::Error) -> Option<Errno> {
    let number = match error {
        gpiocdev::Error::Os(number) => number.0,
        gpiocdev::Error::Uapi(_, gpiocdev_uapi::Error::Os(number)) => number.0,
        _ => return None,
    };
    Errno::from_io_error(&io::Error::from_raw_os_error(number))
}

/// A chip that cannot be opened or read.
pub(super) fn of_chip(path: &Path, error: &gpiocdev::Error) -> Error {
    let at = path.display();
    match errno(error) {
        Some(Errno::ACCESS | Errno::PERM) => {
            Error::new(ErrorKind::Refused, format!("{at}: no permission: {ADMITTANCE}"))
        }
        _ => Error::new(ErrorKind::Disconnected, format!("{at}: cannot be read: {error}; check its driver")),
    }
}

/// A line that may be on a chip which cannot be opened.
pub(super) fn no_permission(written: &str, chip: &Chip) -> Error {
    let why = chip.error.as_deref().unwrap_or("it cannot be opened");
    let message = format!("line {written} is not found, and {} may have it: {why}", chip.path.display());
    Error::new(ErrorKind::Refused, message)
}

/// A line that was found and not given; `how` completes "cannot request it …".
pub(super) fn refused(address: &LineAddress, how: &str, error: &gpiocdev::Error) -> Error {
    refusal(address, how, errno(error), &error.to_string(), || holder(address))
}

/// Who holds the line now, as the kernel knows it.
pub(super) fn holder(address: &LineAddress) -> Option<String> {
    let chip = gpiocdev::Chip::from_path(&address.chip).ok()?;
    let info = chip.line_info(address.offset).ok()?;
    info.used.then_some(info.consumer)
}

fn refusal(
    address: &LineAddress,
    how: &str,
    errno: Option<Errno>,
    words: &str,
    holder: impl FnOnce() -> Option<String>,
) -> Error {
    let LineAddress { written, chip, offset } = address;
    let line = format!("line {written} ({}, offset {offset})", chip.display());
    let (kind, message) = match errno {
        Some(Errno::BUSY) => {
            let who = match holder() {
                Some(who) if who == super::CONSUMER => {
                    "is held by `zoomgate`: another zoomgate runs, or the configuration names the line twice".to_owned()
                }
                Some(who) if super::guardian(&who).is_some() => {
                    format!("is held by `{who}`, which keeps it safe since a daemon has died: start `zoomgate run`")
                }
                Some(who) if !who.is_empty() => {
                    format!("is held by `{who}`: stop that program or remove its overlay, or choose another line")
                }
                Some(_) => "is held by a program that gives no name: `gpioinfo` and `fuser -v /dev/gpiochip*` may \
                            show it; stop it, or choose another line"
                    .to_owned(),
                None => "was held a moment ago and is free now: try again".to_owned(),
            };
            (ErrorKind::Busy, format!("{line} {who}"))
        }
        Some(Errno::ACCESS | Errno::PERM) => (ErrorKind::Refused, format!("{line}: no permission: {ADMITTANCE}")),
        Some(Errno::INVAL | ENOTSUPP | Errno::OPNOTSUPP) => (
            ErrorKind::Refused,
            format!(
                "{line}: the chip does not give it {how} ({words}): choose another line, or set its bias to \"as_is\" \
                 and use a resistor"
            ),
        ),
        _ => (ErrorKind::Disconnected, format!("{line}: cannot be requested {how}: {words}; check the chip's driver")),
    };
    Error::new(kind, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_line_the_reason_and_the_remedy() {
        let address = LineAddress { written: "REJECT".to_owned(), chip: "/dev/gpiochip0".into(), offset: 17 };
        let cases = [
            (Some(Errno::BUSY), Some("w1"), ErrorKind::Busy, "held by `w1`"),
            (Some(Errno::BUSY), Some("zoomgate"), ErrorKind::Busy, "another zoomgate runs"),
            (Some(Errno::BUSY), Some("zoomgate guardian 12"), ErrorKind::Busy, "keeps it safe"),
            (Some(Errno::BUSY), Some(""), ErrorKind::Busy, "gives no name"),
            (Some(Errno::BUSY), None, ErrorKind::Busy, "try again"),
            (Some(Errno::ACCESS), None, ErrorKind::Refused, "GROUP=\"gpio\""),
            (Some(Errno::PERM), None, ErrorKind::Refused, "add the user to the group"),
            (Some(Errno::INVAL), None, ErrorKind::Refused, "set its bias to \"as_is\""),
            (Some(ENOTSUPP), None, ErrorKind::Refused, "as an output"),
            (Some(Errno::IO), None, ErrorKind::Disconnected, "the kernel's words"),
            (None, None, ErrorKind::Disconnected, "check the chip's driver"),
        ];
        for (errno, holder, kind, about) in cases {
            let error = refusal(&address, "as an output", errno, "the kernel's words", || holder.map(str::to_owned));
            assert_eq!(error.kind(), kind, "{errno:?}");
            assert!(error.message().contains(about), "{errno:?}: {error}");
            assert!(error.message().starts_with("line REJECT (/dev/gpiochip0, offset 17)"), "{error}");
        }
    }

    #[test]
    fn error_numbers_are_found_wherever_the_library_hides_them() {
        let denied = || io::Error::from(Errno::ACCESS);
        assert_eq!(errno(&gpiocdev::Error::from(denied())), Some(Errno::ACCESS));
        assert_eq!(errno(&gpiocdev::Error::NoGpioChips()), None);
        let error = of_chip(Path::new("/dev/gpiochip0"), &denied().into());
        assert!(error.kind() == ErrorKind::Refused && error.message().contains("udev rule"), "{error}");
    }
}
