//! The outputs beside the reject line: their lines, and the timing of those that have one.
//!
//! [`Indicators`] show how the line is; [`AuxiliaryOutputs`] follow its parts. The safe level of all is low.

use std::time::Duration;

use super::strobe::{self, Due, Full};
use crate::clock::Timestamp;
use crate::gpio::{Level, LineFault, SafeLine};

/// The outputs that show how the line is; `None` where not wired.
#[derive(Debug, Default)]
pub struct Indicators {
    /// High while parts are seen, inspected and the reject output is armed; low while the camera is blind.
    pub ready: Option<SafeLine>,
    /// High from something that needs a person until that person has reset it; a reset leaves it high while the bin is
    /// full or the camera is down. Without a reset input it stays so until the run ends.
    pub fault: Option<SafeLine>,
    /// High asks the line to stop, until a person has reset it; a reset leaves it high while the line stands for a full
    /// bin. Without a reset input it stays so until the run ends.
    pub stop_line: Option<SafeLine>,
    /// Toggles while parts are seen, outputs are served and nothing needs a person.
    pub heartbeat: Option<Heartbeat>,
}

/// The outputs that follow each part; `None` where not wired.
#[derive(Debug, Default)]
pub struct AuxiliaryOutputs {
    /// Each part's result, for a controller.
    pub results: Option<Results>,
    /// A strobe at each trigger edge.
    pub light: Option<StrobeLight>,
}

/// A part's result and the strobe that says that it is there.
#[derive(Debug)]
pub struct Results {
    line: SafeLine,
    valid: Option<SafeLine>,
    timing: strobe::Results,
}

impl Results {
    /// `line` is high for a part that is not released; `valid` is high for `width`, once for each part.
    pub fn new(line: SafeLine, valid: Option<SafeLine>, width: Duration) -> Self {
        Self { line, valid, timing: strobe::Results::new(width) }
    }
}

/// The heartbeat.
#[derive(Debug)]
pub struct Heartbeat {
    line: SafeLine,
    timing: strobe::Heartbeat,
}

impl Heartbeat {
    /// `line` changes every `period`.
    pub fn new(line: SafeLine, period: Duration) -> Self {
        Self { line, timing: strobe::Heartbeat::new(period) }
    }
}

/// The light.
#[derive(Debug)]
pub struct StrobeLight {
    line: SafeLine,
    timing: strobe::Strobe,
}

impl StrobeLight {
    /// `line` is high for `width`, `delay` after each trigger edge.
    pub fn new(line: SafeLine, delay: Duration, width: Duration) -> Self {
        Self { line, timing: strobe::Strobe::new(delay, width) }
    }
}

impl Indicators {
    /// Sets the heartbeat's level if it is due; call until `None`.
    pub(super) fn step(&mut self, now: Timestamp, is_well: bool) -> Option<Result<(), LineFault>> {
        let heartbeat = self.heartbeat.as_mut()?;
        heartbeat.timing.due(now, is_well).map(|level| heartbeat.line.set_level(level))
    }

    /// When the next level is due.
    pub(super) fn next_at(&self) -> Option<Timestamp> {
        self.heartbeat.as_ref()?.timing.next_at()
    }

    /// Puts every output to its safe level.
    pub(super) fn make_safe(&mut self) {
        let heartbeat = self.heartbeat.iter_mut().map(|heartbeat| &mut heartbeat.line);
        let steady = [&mut self.ready, &mut self.fault, &mut self.stop_line].into_iter().flatten();
        steady.chain(heartbeat).for_each(SafeLine::make_safe);
    }
}

impl AuxiliaryOutputs {
    /// A part's result: whether it is released.
    pub(super) fn give_result(&mut self, is_released: bool) -> Result<(), Full> {
        let level = if is_released { Level::Low } else { Level::High };
        self.results.as_mut().map_or(Ok(()), |results| results.timing.push(level))
    }

    /// A trigger edge, for the light.
    pub(super) fn trigger(&mut self, edge_at: Timestamp) -> Result<(), Full> {
        self.light.as_mut().map_or(Ok(()), |light| light.timing.push(edge_at))
    }

    /// Sets one level that is due; call until `None`.
    pub(super) fn step(&mut self, now: Timestamp) -> Option<Result<(), LineFault>> {
        // The light first: a camera waits for it.
        if let Some(light) = &mut self.light
            && let Some(level) = light.timing.due(now)
        {
            return Some(light.line.set_level(level));
        }
        let results = self.results.as_mut()?;
        results.timing.due(now).map(|due| match (due, &mut results.valid) {
            (Due::Result(level), _) => results.line.set_level(level),
            (Due::Valid(level), Some(valid)) => valid.set_level(level),
            (Due::Valid(_), None) => Ok(()),
        })
    }

    /// When the next level is due.
    pub(super) fn next_at(&self) -> Option<Timestamp> {
        let results = self.results.as_ref().and_then(|results| results.timing.next_at());
        let light = self.light.as_ref().and_then(|light| light.timing.next_at());
        results.into_iter().chain(light).min()
    }

    /// Whether every strobe that was asked for is over.
    pub(super) fn is_idle(&self) -> bool {
        self.results.as_ref().is_none_or(|results| results.timing.is_idle())
            && self.light.as_ref().is_none_or(|light| light.timing.is_idle())
    }

    /// Puts every output to its safe level.
    pub(super) fn make_safe(&mut self) {
        let results = self.results.iter_mut().flat_map(|results| results.valid.iter_mut().chain([&mut results.line]));
        let light = self.light.iter_mut().map(|light| &mut light.line);
        results.chain(light).for_each(SafeLine::make_safe);
    }
}
