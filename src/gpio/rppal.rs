//! The backend `rppal`: lines of a Raspberry Pi's header, by BCM number, through the registers.
//!
//! Nobody owns an output of this backend: any other program may drive the same line at any time and the kernel neither
//! prevents nor tells it. That is said once, when the first output is requested. Inputs are the kernel's, by
//! [`cdev`]: `rppal` would hear their edges in a thread of its own, which a busy machine sets aside.
//! `gpiocdev` is the better choice wherever there is no reason for this.
//!
//! A line keeps its last level when the process ends. `rppal` would turn it into an input at drop, which leaves it to
//! chance: that is switched off, and [`SafeLine`] sets the safe level instead.

use std::sync::Once;

use rppal::gpio::{self as pi, Gpio, OutputPin};

use super::name::bcm_number;
use super::{InitialLevel, InputOptions, Inputs, Level, LineFault, OutputLine, Outputs, SafeLine, TriggerInput, cdev};
use crate::error::{Error, ErrorKind, Result};

/// Hands out lines of the header.
#[derive(Debug)]
pub struct Rppal {
    gpio: Gpio,
}

impl Rppal {
    /// Opens the registers.
    ///
    /// # Errors
    /// When this is no Raspberry Pi that `rppal` knows, or the user may not open them.
    pub fn open() -> Result<Self> {
        Gpio::new().map(|gpio| Self { gpio }).map_err(|error| refusal("the header", error))
    }

    fn pin(&self, name: &str) -> Result<pi::Pin> {
        let number = bcm_number(name)?;
        self.gpio.get(number).map_err(|error| refusal(&format!("line {name}"), error))
    }
}

impl Outputs for Rppal {
    fn request(&mut self, name: &str, safe: Level) -> Result<SafeLine> {
        static SAID: Once = Once::new();
        SAID.call_once(|| {
            log::warn!(
                "gpio.backend = \"rppal\" owns no line: another program can drive the same outputs unseen; \"gpiocdev\" \
                 owns its lines"
            );
        });
        let pin = self.pin(name)?;
        // The level is in the register before the line becomes an output: there is no other level in between.
        let mut pin = match safe {
            Level::Low => pin.into_output_low(),
            Level::High => pin.into_output_high(),
        };
        pin.set_reset_on_drop(false);
        Ok(SafeLine::new(Box::new(Output { name: name.to_owned(), pin }), safe))
    }
}

impl Inputs for Rppal {
    fn request_input(
        &mut self,
        name: &str,
        options: InputOptions,
        initial: InitialLevel,
    ) -> Result<Box<dyn TriggerInput>> {
        cdev::input_of_the_header(name, bcm_number(name)?.into(), options, initial)
    }
}

struct Output {
    name: String,
    pin: OutputPin,
}

impl OutputLine for Output {
    fn set_level(&mut self, level: Level) -> Result<(), LineFault> {
        let wanted = match level {
            Level::Low => pi::Level::Low,
            Level::High => pi::Level::High,
        };
        self.pin.write(wanted);
        Ok(())
    }

    fn name(&self) -> &str {
        &self.name
    }
}

/// `what` begins the sentence: "line GPIO17", "the header".
fn refusal(what: &str, error: pi::Error) -> Error {
    use std::io::ErrorKind as Io;
    let (kind, message) = match &error {
        pi::Error::UnknownModel => (
            ErrorKind::NotFound,
            format!(
                "{what}: this machine is no Raspberry Pi that gpio.backend = \"rppal\" knows: choose \"gpiocdev\", which \
                 works on every board"
            ),
        ),
        pi::Error::PinUsed(number) => (
            ErrorKind::Busy,
            format!("{what}: BCM {number} is in use in this configuration already: each line can be named once"),
        ),
        pi::Error::PinNotAvailable(number) => {
            (ErrorKind::NotFound, format!("{what}: this board has no BCM {number}: see `pinctrl` or `gpioinfo`"))
        }
        pi::Error::PermissionDenied(path) => (
            ErrorKind::Refused,
            format!("{what}: no permission for {path}: add the user to the group `gpio` and log in again"),
        ),
        pi::Error::Io(io) if io.kind() == Io::NotFound => (
            ErrorKind::NotFound,
            format!("{what}: the board's GPIO devices are missing: is this a Raspberry Pi with its own kernel?"),
        ),
        pi::Error::Io(io) if io.kind() == Io::ResourceBusy => {
            (ErrorKind::Busy, format!("{what}: another program reads its edges: `gpioinfo` names it; stop it"))
        }
        pi::Error::Io(_) | pi::Error::ThreadPanic => {
            (ErrorKind::Disconnected, format!("{what}: the GPIO device does not answer: see the cause below"))
        }
    };
    Error::new(kind, message).caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_line_and_the_remedy() {
        let io = |kind: std::io::ErrorKind| pi::Error::Io(kind.into());
        let cases = [
            (pi::Error::UnknownModel, ErrorKind::NotFound, "gpiocdev"),
            (pi::Error::PinUsed(17), ErrorKind::Busy, "BCM 17"),
            (pi::Error::PinNotAvailable(99), ErrorKind::NotFound, "BCM 99"),
            (pi::Error::PermissionDenied("/dev/gpiomem".to_owned()), ErrorKind::Refused, "/dev/gpiomem"),
            (io(std::io::ErrorKind::NotFound), ErrorKind::NotFound, "Raspberry Pi"),
            (io(std::io::ErrorKind::ResourceBusy), ErrorKind::Busy, "gpioinfo"),
            (io(std::io::ErrorKind::TimedOut), ErrorKind::Disconnected, "does not answer"),
        ];
        for (error, kind, about) in cases {
            let refused = refusal("line GPIO17", error);
            assert!(refused.kind() == kind && refused.message().contains(about), "{refused}");
            assert!(refused.message().starts_with("line GPIO17: "), "{refused}");
        }
    }

    #[test]
    fn a_machine_that_is_no_pi_is_told_so() {
        // On a Pi the registers open, or the user is told about permissions.
        if let Err(error) = Rppal::open() {
            assert!(error.message().starts_with("the header: "), "{error}");
        }
    }
}
