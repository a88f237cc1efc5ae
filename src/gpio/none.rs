//! The backend `none`: lines that lead nowhere, for a box without outputs (an offline replay, a first trial).

use super::{Level, LineFault, OutputLine, Outputs, SafeLine};
use crate::error::Result;

/// Hands out lines that follow every command and reach nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unconnected;

impl Outputs for Unconnected {
    fn request(&mut self, name: &str, safe: Level) -> Result<SafeLine> {
        Ok(SafeLine::new(Box::new(Nowhere(name.to_owned())), safe))
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
