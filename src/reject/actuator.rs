//! The reject actuator: one output line with an active level. At rest on every way out, see [`SafeLine`].

use crate::gpio::{Level, LineFault, SafeLine};

/// Drives the reject line. Called from `act` only.
pub struct Actuator {
    line: SafeLine,
}

impl Actuator {
    /// Takes a line whose safe level is the actuator's rest.
    pub fn new(line: SafeLine) -> Self {
        Self { line }
    }

    /// The level of a line at rest.
    pub fn rest_level(active_low: bool) -> Level {
        if active_low { Level::High } else { Level::Low }
    }

    /// Raises the line to its active level.
    ///
    /// # Errors
    /// When the line did not follow; it was then told to go back to rest.
    pub fn fire(&mut self) -> Result<(), LineFault> {
        let active = self.line.safe_level().inverted();
        self.line.set_level(active).inspect_err(|_| self.line.make_safe())
    }

    /// Puts the line to rest.
    ///
    /// # Errors
    /// When the line did not follow.
    pub fn release(&mut self) -> Result<(), LineFault> {
        self.line.set_level(self.line.safe_level())
    }

    /// Puts the line to rest; a failure is logged, there is nothing left to try.
    pub fn make_safe(&mut self) {
        self.line.make_safe();
    }
}
