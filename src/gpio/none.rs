//! The backend `none`: outputs that lead nowhere and no inputs, for a box without outputs (an offline replay, a first trial).

use super::{InitialLevel, InputOptions, Inputs, Level, LineFault, OutputLine, Outputs, SafeLine, TriggerInput};
use crate::error::{Error, ErrorKind, Result};

/// Hands out outputs that follow every command and reach nobody; it has no inputs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unconnected;

impl Outputs for Unconnected {
    fn request(&mut self, name: &str, safe: Level) -> Result<SafeLine> {
        Ok(SafeLine::new(Box::new(Nowhere(name.to_owned())), safe))
    }
}

impl Inputs for Unconnected {
    fn request_input(
        &mut self,
        name: &str,
        _options: InputOptions,
        _initial: InitialLevel,
    ) -> Result<Box<dyn TriggerInput>> {
        let message = format!("line {name}: gpio.backend = \"none\" has no inputs: choose a backend that has");
        Err(Error::new(ErrorKind::Config, message))
    }
}

struct Nowhere(String);

impl OutputLine for Nowhere {
    fn set_level(&mut self, _level: Level) -> Result<(), LineFault> {
        Ok(())
    }

    fn name(&self) -> &str {
        &self.0
    }
}
