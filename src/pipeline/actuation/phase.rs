//! Where a run stands.
//!
//! ```text
//!              parts are seen
//!   Starting ─────────────────► Ready
//!      │                          │
//!      │ an end is due            │ an end is due
//!      ▼                          │
//!   Stopping ◄────────────────────┘
//!      │
//!      │ every part is served
//!      ▼
//!     Done ◄─── a panic, from any of them
//! ```
//!
//! What is true of the line whatever the phase (the camera is down or blind, the bin is full, a person is called) is
//! [`Supervision`](super::supervision::Supervision)'s.

use crate::clock::Timestamp;

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The tripwire learns its empty belt: parts are not seen yet.
    Starting,
    /// Parts are seen, as far as the trigger goes.
    Ready,
    /// No more parts are taken; those on the belt get their verdicts and pulses.
    Stopping {
        /// When that began.
        since: Timestamp,
        /// Whether parts had been seen before.
        was_ready: bool,
    },
    /// Every part is served; nothing is fired any more.
    Done,
}

/// What moves a run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The trigger sees parts from here on.
    PartsAreSeen,
    /// The source of parts has ended, an end was requested, or something failed.
    EndIsDue(Timestamp),
    /// No part is open, no pulse is planned, and the camera's thread has ended or is given up.
    AllServed,
    /// The loop has panicked.
    Panicked,
}

impl Phase {
    /// The phase after an event; the same one where the event changes nothing.
    #[must_use]
    pub(super) fn after(self, event: Event) -> Self {
        match (self, event) {
            (Self::Starting, Event::PartsAreSeen) => Self::Ready,
            (Self::Starting | Self::Ready, Event::EndIsDue(since)) => {
                Self::Stopping { since, was_ready: self == Self::Ready }
            }
            (Self::Stopping { .. }, Event::AllServed) | (_, Event::Panicked) => Self::Done,
            (Self::Starting | Self::Ready, Event::AllServed)
            | (Self::Ready | Self::Stopping { .. } | Self::Done, Event::PartsAreSeen)
            | (Self::Stopping { .. } | Self::Done, Event::EndIsDue(_))
            | (Self::Done, Event::AllServed) => self,
        }
    }

    /// Whether a trigger still starts a part.
    pub(super) fn takes_parts(self) -> bool {
        matches!(self, Self::Starting | Self::Ready)
    }

    /// Whether the line does its work: parts are seen, or those that were seen are being served.
    pub(super) fn is_at_work(self) -> bool {
        matches!(self, Self::Ready | Self::Stopping { was_ready: true, .. })
    }

    /// Since when no more parts are taken, while those on the belt are served.
    pub(super) fn stopping_since(self) -> Option<Timestamp> {
        match self {
            Self::Stopping { since, .. } => Some(since),
            Self::Starting | Self::Ready | Self::Done => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transitions_are_those_of_the_diagram() {
        use Event::{AllServed, EndIsDue, Panicked, PartsAreSeen};
        use Phase::{Done, Ready, Starting};
        let (at, later) = (Timestamp(1), Timestamp(2));
        let [unready, served] = [false, true].map(|was_ready| Phase::Stopping { since: at, was_ready });
        let events = [PartsAreSeen, EndIsDue(at), AllServed, Panicked];
        for (phase, expected) in [
            (Starting, [Ready, unready, Starting, Done]),
            (Ready, [Ready, served, Ready, Done]),
            (unready, [unready, unready, Done, Done]),
            (served, [served, served, Done, Done]),
            (Done, [Done, Done, Done, Done]),
        ] {
            assert_eq!(events.map(|event| phase.after(event)), expected, "{phase:?}");
        }
        assert_eq!(served.after(EndIsDue(later)), served, "an end begins once");
    }

    #[test]
    fn a_phase_says_what_is_still_done_in_it() {
        let since = Timestamp(1);
        for (phase, takes_parts, is_at_work, stopping_since) in [
            (Phase::Starting, true, false, None),
            (Phase::Ready, true, true, None),
            (Phase::Stopping { since, was_ready: false }, false, false, Some(since)),
            (Phase::Stopping { since, was_ready: true }, false, true, Some(since)),
            (Phase::Done, false, false, None),
        ] {
            let found = (phase.takes_parts(), phase.is_at_work(), phase.stopping_since());
            assert_eq!(found, (takes_parts, is_at_work, stopping_since), "{phase:?}");
        }
    }
}
