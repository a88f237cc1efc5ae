//! Decisions: pure functions and the part ledger. No I/O, no clock reads, no logging.
//!
//! | file | holds |
//! |---|---|
//! | here | [`Verdict`], [`Reason`], [`decide`] |
//! | `alarm` | what many verdicts together say: rejects in a row, too many uninspected |
//! | `part` | the ledger: every part that was born gets exactly one verdict, at its deadline at the latest |
//! | `policy` | what the plant wants done about parts that were not inspected, and about missed rejects |

pub mod alarm;
pub mod part;
pub mod policy;

use std::fmt;

use crate::units::Score;

pub use alarm::{Alarm, Alarms};
pub use part::{Ledger, Part, Receipt, Settled};
pub use policy::{Measures, OnMissedReject, OnUninspected, Safety};

/// What was decided about a part; every part gets exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Below the threshold.
    Pass,
    /// At or above the threshold.
    Reject,
    /// Not inspected in time or not inspected at all; the plant's policy says what happens.
    Uninspected(Reason),
}

/// Why a part was not inspected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Its frame was there, no score came before the deadline.
    Late,
    /// No frame was exposed at its trigger.
    NoFrame,
    /// The camera counted a frame that never arrived.
    FrameLost,
    /// Newer parts pushed it out before its inspection started.
    Overrun,
    /// Its frame is damaged or has not the configured size.
    Broken,
    /// The inspection returned an error or ended for good.
    InspectionFailed,
    /// The score is not a number.
    NotFinite,
    /// The run was aborted before its deadline.
    Shutdown,
    /// The camera is blind: much less light than in any good picture.
    BlindDark,
    /// The camera is blind: clipped, or much more light than in any good picture.
    BlindBright,
    /// The camera is blind: nothing but noise in its frame.
    BlindFlat,
    /// The camera is blind: out of focus.
    BlindBlurred,
    /// The camera is blind: it gave the previous part's picture again.
    BlindFrozen,
    /// The frame shows the whole background and no part.
    NoPart,
}

impl Reason {
    /// Every reason, in the order of [`index`](Self::index).
    pub const ALL: [Self; 14] = [
        Self::Late,
        Self::NoFrame,
        Self::FrameLost,
        Self::Overrun,
        Self::Broken,
        Self::InspectionFailed,
        Self::NotFinite,
        Self::Shutdown,
        Self::BlindDark,
        Self::BlindBright,
        Self::BlindFlat,
        Self::BlindBlurred,
        Self::BlindFrozen,
        Self::NoPart,
    ];

    /// Position in [`ALL`](Self::ALL), for counters.
    pub fn index(self) -> usize {
        self as usize
    }

    /// The stable word used in events and `--json` output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::NoFrame => "no_frame",
            Self::FrameLost => "frame_lost",
            Self::Overrun => "overrun",
            Self::Broken => "broken",
            Self::InspectionFailed => "inspection_failed",
            Self::NotFinite => "not_finite",
            Self::Shutdown => "shutdown",
            Self::BlindDark => "blind_dark",
            Self::BlindBright => "blind_bright",
            Self::BlindFlat => "blind_flat",
            Self::BlindBlurred => "blind_blurred",
            Self::BlindFrozen => "blind_frozen",
            Self::NoPart => "no_part",
        }
    }

    /// How the camera is blind (`dark | bright | flat | blurred | frozen`), where that is the reason.
    pub fn blindness(self) -> Option<&'static str> {
        self.as_str().strip_prefix("blind_")
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Verdict {
    /// `pass`, `reject` or `uninspected`: the stable word used in events and `--json` output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Reject => "reject",
            Self::Uninspected(_) => "uninspected",
        }
    }

    /// Why the part was not inspected; `None` for the other verdicts.
    pub fn reason(self) -> Option<Reason> {
        match self {
            Self::Uninspected(reason) => Some(reason),
            Self::Pass | Self::Reject => None,
        }
    }
}

/// The verdict for a score: reject at or above `threshold`. Both in standard deviations of held-out good parts.
///
/// A score that is not finite says nothing about the part: it is uninspected, never passed.
pub fn decide(score: Score, threshold: f32) -> Verdict {
    if !score.0.is_finite() || threshold.is_nan() {
        Verdict::Uninspected(Reason::NotFinite)
    } else if score.0 >= threshold {
        Verdict::Reject
    } else {
        Verdict::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_become_verdicts() {
        let not_finite = Verdict::Uninspected(Reason::NotFinite);
        for (score, threshold, verdict) in [
            (2.9, 3.0, Verdict::Pass),
            (3.0, 3.0, Verdict::Reject),
            (3.1, 3.0, Verdict::Reject),
            (-7.0, -7.5, Verdict::Reject),
            (f32::NAN, 3.0, not_finite),
            (f32::INFINITY, 3.0, not_finite),
            (f32::NEG_INFINITY, 3.0, not_finite),
            (1.0, f32::NAN, not_finite),
        ] {
            assert_eq!(decide(Score(score), threshold), verdict, "score {score}, threshold {threshold}");
        }
    }

    #[test]
    fn every_reason_knows_its_place() {
        for (i, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), i);
        }
        let blind = Reason::ALL.into_iter().filter_map(Reason::blindness);
        assert_eq!(blind.collect::<Vec<_>>(), ["dark", "bright", "flat", "blurred", "frozen"]);
    }
}
