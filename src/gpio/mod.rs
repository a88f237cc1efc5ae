//! GPIO: output lines and trigger inputs as traits, and the settings that choose a backend.
//!
//! A backend requests each line with its safe level; the pipeline holds it as a [`SafeLine`], which goes back to that
//! level when it is dropped, by return or by panic. Every backend implements the same two traits, [`Outputs`] and
//! [`Inputs`], and passes the same tests (`tests.rs`).
//!
//! | backend | its lines |
//! |---|---|
//! | [`cdev`] | of the kernel's character device: owned, so that nobody else can drive them |
//! | [`rppal`] | of a Raspberry Pi, through its registers; nobody owns the outputs |
//! | [`recorded`] | a file: outputs are written down, inputs played back |
//! | [`none`] | lead nowhere |
//!
//! Hardware inputs give every edge with the kernel's time; [`filter`] makes parts of them, the same way for each.

pub mod cdev;
pub mod filter;
mod name;
pub mod none;
pub mod recorded;
#[cfg(feature = "rppal")]
pub mod rppal;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, Timestamp, WakeToken};
use crate::error::{Error, ErrorKind, Result};

pub use cdev::Cdev;
pub use none::Unconnected;
pub use recorded::Recorder;

/// `[gpio]` as used.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Which backend drives the lines.
    pub backend: Backend,
    /// The chip of lines that are named by their offset alone; used by [`Backend::Gpiocdev`].
    pub chip: Option<String>,
}

/// A GPIO backend.
#[derive(Clone, Debug, PartialEq)]
pub enum Backend {
    /// The kernel's character devices, `/dev/gpiochip*`.
    Gpiocdev,
    /// The registers of a Raspberry Pi.
    Rppal,
    /// Writes every edge with its time to a JSON-lines file; inputs play back such a file, counted from the start.
    Recorded { path: PathBuf, inputs: Option<PathBuf> },
    /// No outputs at all.
    None,
}

/// The physical level of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// 0 V, written as 0.
    Low,
    /// The supply, written as 1.
    High,
}

impl Level {
    /// The other level.
    #[must_use]
    pub fn inverted(self) -> Self {
        match self {
            Self::Low => Self::High,
            Self::High => Self::Low,
        }
    }
}

/// A change of a line, stamped with CLOCK_MONOTONIC by whoever saw it first (the kernel, on hardware).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// When it changed.
    pub at: Timestamp,
    /// What it changed to.
    pub level: Level,
}

/// A line did not do what it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineFault {
    /// The line's name in the configuration.
    pub line: String,
    /// What happened, in the backend's words.
    pub message: String,
}

impl fmt::Display for LineFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}; check the wiring and who else holds the line", self.line, self.message)
    }
}

impl From<LineFault> for Error {
    fn from(fault: LineFault) -> Self {
        Self::new(ErrorKind::Disconnected, fault.to_string())
    }
}

/// One output line.
pub trait OutputLine: Send {
    /// Sets the physical level. Must not wait for anything but the kernel.
    ///
    /// # Errors
    /// When the level could not be set; the line's level is then unknown.
    fn set_level(&mut self, level: Level) -> Result<(), LineFault>;

    /// The line's name in the configuration.
    fn name(&self) -> &str;
}

/// One trigger input: a source of edges that start parts.
pub trait TriggerInput: Send {
    /// Takes the oldest edge that has happened by `now` and was not taken yet. Never blocks.
    ///
    /// # Errors
    /// When the line can no longer be read.
    fn next_edge(&mut self, now: Timestamp) -> Result<Option<Edge>, LineFault>;

    /// When the next edge will come, where that is known beforehand (a simulated belt, an interval).
    fn next_at(&self) -> Option<Timestamp>;

    /// Whether no edge will ever come again.
    fn is_exhausted(&self) -> bool;

    /// Gives the input the token to wake when an edge comes that [`next_at`](Self::next_at) did not foretell.
    fn attach(&mut self, clock: &Arc<dyn Clock>, token: &WakeToken);

    /// How long after an edge it is given, at most, beside the time that threads take.
    fn delay(&self) -> Duration {
        Duration::ZERO
    }

    /// Whether its parts end with the camera, because nothing passes an eye: it only counts time.
    fn ends_with_camera(&self) -> bool {
        false
    }
}

impl TriggerInput for Box<dyn TriggerInput> {
    fn next_edge(&mut self, now: Timestamp) -> Result<Option<Edge>, LineFault> {
        (**self).next_edge(now)
    }

    fn next_at(&self) -> Option<Timestamp> {
        (**self).next_at()
    }

    fn is_exhausted(&self) -> bool {
        (**self).is_exhausted()
    }

    fn attach(&mut self, clock: &Arc<dyn Clock>, token: &WakeToken) {
        (**self).attach(clock, token);
    }

    fn delay(&self) -> Duration {
        (**self).delay()
    }

    fn ends_with_camera(&self) -> bool {
        (**self).ends_with_camera()
    }
}

/// Something that hands out output lines by name.
pub trait Outputs {
    /// Requests a line and sets it to `safe` in the same step.
    ///
    /// # Errors
    /// When there is no such line, or something else holds it.
    fn request(&mut self, name: &str, safe: Level) -> Result<SafeLine>;
}

/// The resistor inside the chip that holds an open input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bias {
    /// As the board has it.
    #[default]
    AsIs,
    /// None.
    Disabled,
    /// To the supply.
    PullUp,
    /// To ground.
    PullDown,
}

/// How an input line is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InputOptions {
    /// The line is active while it is low: its edges are reported inverted, [`Level::High`] always means active.
    pub active_low: bool,
    /// The resistor that holds it while nothing drives it.
    pub bias: Bias,
    /// A level must hold this long before it counts, see [`filter::Debounced`]; zero takes every edge.
    pub debounce: Duration,
}

/// What an input makes of the level that its line has when it is requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitialLevel {
    /// Nothing: only what changes from then on is an edge. For lines on which an edge is an event: a part that lies in
    /// front of the photo-eye has not come, and a finger that rests on a button has not pressed it.
    Ignored,
    /// An active level is the first edge. For lines on which the level is a state: a bin that is full.
    Reported,
}

/// Something that hands out input lines by name.
pub trait Inputs {
    /// Requests a line whose every edge from then on, both ways, is reported with the kernel's time: none that falls
    /// between the request and the reading of its `initial` level is lost, or reported twice.
    ///
    /// # Errors
    /// When there is no such line, something else holds it, or the backend has no inputs.
    fn request_input(
        &mut self,
        name: &str,
        options: InputOptions,
        initial: InitialLevel,
    ) -> Result<Box<dyn TriggerInput>>;
}

/// A backend: outputs and inputs.
pub trait Lines: Outputs + Inputs {}

impl<T: Outputs + Inputs> Lines for T {}

/// An output line that goes to its safe level when dropped.
pub struct SafeLine {
    line: Box<dyn OutputLine>,
    safe: Level,
}

impl SafeLine {
    /// Guards a line that already is at its safe level.
    pub fn new(line: Box<dyn OutputLine>, safe: Level) -> Self {
        Self { line, safe }
    }

    /// The level to which the line goes when in doubt.
    pub fn safe_level(&self) -> Level {
        self.safe
    }

    /// Sets the physical level.
    ///
    /// # Errors
    /// When the line did not follow.
    pub fn set_level(&mut self, level: Level) -> Result<(), LineFault> {
        self.line.set_level(level)
    }

    /// Sets the safe level; a failure is logged, there is nothing left to try.
    pub fn make_safe(&mut self) {
        if let Err(fault) = self.line.set_level(self.safe) {
            log::error!("cannot put a line to its safe level: {fault}");
        }
    }
}

impl Drop for SafeLine {
    fn drop(&mut self) {
        self.make_safe();
    }
}

impl fmt::Debug for SafeLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SafeLine").field("name", &self.line.name()).field("safe", &self.safe).finish()
    }
}
