//! Newtypes for the quantities that must not be mixed up.

use std::fmt;

/// One physical item on the belt; born at a trigger edge, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartId(pub u64);

/// One captured frame, counted by the camera from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameId(pub u64);

/// A distance or a belt position in millimetres.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Millimetres(pub f64);

/// A belt speed in millimetres a second.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct MmPerSecond(pub f64);

/// An anomaly score: finite, may be negative, higher is more anomalous.
///
/// Unit: standard deviations of held-out good parts.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Score(pub f32);

impl fmt::Display for PartId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
