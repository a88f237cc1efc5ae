//! Reject plans: from a part to the instant of its pulse, on time or not at all.
//!
//! | word | means |
//! |---|---|
//! | position | millimetres that the belt has moved; what a plan and the schedule hold |
//! | `fire_at` | when the part lies in front of the actuator: its trigger plus travel, never "now plus something" |
//! | deadline | when the line must rise for that: `fire_at` less the actuator's latency |
//! | window | a pulse may start from the deadline up to this much later; after that it would hit the neighbour |
//!
//! A belt with an encoder changes its speed and stops. Positions stay what they are; instants are planned again from
//! them whenever the belt has been looked at ([`plan_at`]). While the belt stands, an instant ahead is
//! [`Timestamp::NEVER`]: nothing becomes due, and nothing late. The window is a distance, what the belt moves in it at
//! the configured speed, so that a slow belt does not make a pulse late and a fast one does not let it reach further.
//!
//! Everything here is pure except [`actuator`], which drives one output line.

pub mod actuator;
pub mod calibration;
pub mod confirm;
pub mod encoder;
pub mod schedule;

use std::time::Duration;

use crate::clock::Timestamp;
use crate::gpio::Edge;
use crate::units::{Millimetres, MmPerSecond};

pub use actuator::Actuator;
pub use confirm::Confirmations;
pub use encoder::{Channel, EncoderBelt};
pub use schedule::{Due, Schedule};

/// `[reject]` as used.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// `false` runs dry: everything is logged, nothing fires, the ready output stays low.
    pub enabled: bool,
    /// Name of the reject output line.
    pub line: String,
    /// The line is active at the low level.
    pub active_low: bool,
    /// Camera trigger to reject actuator along the belt.
    pub travel: Millimetres,
    /// Constant belt speed; with an encoder the highest at which the belt runs.
    pub belt_speed: MmPerSecond,
    /// Dead time from the line's edge to the actuator's motion.
    pub actuator_latency: Duration,
    /// How long the line stays active for one part.
    pub pulse_width: Duration,
    /// A pulse may start up to this much after its planned instant; later it is not fired.
    pub window: Duration,
    /// What becomes of a pulse whose instant comes while the line is active for an earlier part.
    pub on_overlap: OnOverlap,
}

/// What becomes of a pulse whose instant comes while the line is active for an earlier part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnOverlap {
    /// The line stays active for both: an air jet or a gate hits whatever passes.
    #[default]
    Merge,
    /// The later part is not fired and is a missed reject: a pusher that is out cannot hit a second part.
    Refuse,
}

impl Settings {
    /// Time from trigger to actuator at the configured speed; zero for settings that `check` refuses.
    pub fn travel_time(&self) -> Duration {
        Duration::try_from_secs_f64(self.travel.0 / self.belt_speed.0).unwrap_or_default()
    }

    /// How far the belt moves in the window at the configured speed.
    pub fn slack(&self) -> Millimetres {
        Millimetres(self.window.as_secs_f64() * self.belt_speed.0)
    }
}

/// What became of a planned pulse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PulseOutcome {
    /// The line rose for this part, inside its window.
    Fired,
    /// The line was active already for an earlier part and stays so for this one too.
    Merged,
    /// Its window was over; not fired.
    Late,
    /// The line was active for an earlier part and `on_overlap` refuses to share a pulse; not fired.
    Refused,
    /// The schedule was full, the line did not follow, or the run ended before the belt brought the part; not fired.
    Failed,
}

impl PulseOutcome {
    /// The stable word used in events and `--json` output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fired => "fired",
            Self::Merged => "merged",
            Self::Late => "late",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }

    /// Why a part with this outcome is still on the belt, for a sentence.
    pub fn missed(self) -> &'static str {
        match self {
            Self::Fired | Self::Merged => "the eye at the bin did not see it",
            Self::Late => "its window was missed (late)",
            Self::Refused => "its window was missed (refused)",
            Self::Failed => "its window was missed (failed)",
        }
    }

    /// Whether the part met an active actuator.
    pub fn has_hit(self) -> bool {
        matches!(self, Self::Fired | Self::Merged)
    }
}

/// Maps time to the position of the belt and back.
///
/// A measured belt answers from what it was told: feed it every edge, then the present, before anything is planned.
pub trait Belt: Send {
    /// Where the belt is, was or is expected to be at `at`.
    fn position_at(&self, at: Timestamp) -> Millimetres;

    /// When the belt gets (or got) to `position`; `None` while it stands still before it.
    fn time_at(&self, position: Millimetres) -> Option<Timestamp>;

    /// Takes an edge of the encoder, oldest first.
    fn feed(&mut self, _channel: Channel, _edge: Edge) {}

    /// Takes the present instant: that no further edge has come until now is news too.
    fn observe(&mut self, _now: Timestamp) {}

    /// Whether the belt moves forward.
    fn is_moving(&self) -> bool {
        true
    }

    /// When [`is_moving`](Self::is_moving) changes if no edge comes.
    fn next_change(&self) -> Option<Timestamp> {
        None
    }

    /// Whether the belt is measured, so that what was planned can change.
    fn is_measured(&self) -> bool {
        false
    }

    /// Edges that were lost on the way from the encoder, as far as that can be seen.
    fn slips(&self) -> u64 {
        0
    }
}

/// A belt that always moves at the same speed.
#[derive(Clone, Copy, Debug)]
pub struct ConstantSpeed {
    speed: MmPerSecond,
    origin: Timestamp,
}

impl ConstantSpeed {
    /// A belt at position 0 at `origin`, which should be near: positions are floats, exact to a nanosecond for months.
    ///
    /// # Panics
    /// If the speed is not positive and finite (`check` refuses that).
    pub fn new(speed: MmPerSecond, origin: Timestamp) -> Self {
        assert!(speed.0 > 0.0 && speed.0.is_finite(), "belt speed must be positive, got {} mm/s", speed.0);
        Self { speed, origin }
    }
}

impl Belt for ConstantSpeed {
    fn position_at(&self, at: Timestamp) -> Millimetres {
        let (after, before) = (at.since(self.origin).as_secs_f64(), self.origin.since(at).as_secs_f64());
        Millimetres((after - before) * self.speed.0)
    }

    fn time_at(&self, position: Millimetres) -> Option<Timestamp> {
        let nanos = (position.0 / self.speed.0 * 1e9).round();
        // `as` saturates, which is right for a position beyond the end of time.
        let distance = Duration::from_nanos(nanos.abs() as u64);
        Some(if nanos < 0.0 { self.origin - distance } else { self.origin + distance })
    }
}

/// Where and when a part is to be rejected, should it come to that.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RejectPlan {
    /// Belt position at which the part lies in front of the actuator.
    pub position: Millimetres,
    /// When that is; [`Timestamp::NEVER`] while the belt stands still.
    pub fire_at: Timestamp,
    /// When the line must rise for it.
    pub deadline: Timestamp,
}

/// Plans a part triggered at `trigger_at`.
pub fn plan(settings: &Settings, belt: &dyn Belt, trigger_at: Timestamp) -> RejectPlan {
    plan_at(settings, belt, Millimetres(belt.position_at(trigger_at).0 + settings.travel.0))
}

/// Plans a part that lies in front of the actuator when the belt is at `position`, as the belt moves now.
pub fn plan_at(settings: &Settings, belt: &dyn Belt, position: Millimetres) -> RejectPlan {
    match belt.time_at(position) {
        Some(fire_at) => RejectPlan { position, fire_at, deadline: fire_at - settings.actuator_latency },
        None => RejectPlan { position, fire_at: Timestamp::NEVER, deadline: Timestamp::NEVER },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_follows_the_trigger() {
        let settings = Settings {
            enabled: true,
            line: "reject".into(),
            active_low: false,
            travel: Millimetres(250.0),
            belt_speed: MmPerSecond(500.0),
            actuator_latency: Duration::from_millis(12),
            pulse_width: Duration::from_millis(40),
            window: Duration::from_millis(5),
            on_overlap: OnOverlap::Merge,
        };
        // The trigger may be older than the daemon's idea of the belt's origin.
        for origin in [0, 3_000_000_000, 7_000_000_000] {
            let belt = ConstantSpeed::new(settings.belt_speed, Timestamp(origin));
            let plan = plan(&settings, &belt, Timestamp(3_000_000_017));
            assert_eq!(plan.fire_at, Timestamp(3_500_000_017), "origin {origin}");
            assert_eq!(plan.deadline, Timestamp(3_488_000_017), "origin {origin}");
        }
        assert_eq!(settings.travel_time(), Duration::from_millis(500));
    }
}
