//! Policy: what the plant has written that shall happen to parts that were not inspected, and about missed rejects.

use super::{Reason, Verdict};

/// What happens to a part that could not be inspected, or to one that is not there: the plant's written choice, never a
/// default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUninspected {
    /// Fire the reject pulse.
    Reject,
    /// Let it pass.
    Pass,
    /// Raise the stop-line output (and the fault output).
    StopLine,
}

/// What happens when a known reject missed its window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnMissedReject {
    /// Count it and raise the fault output.
    Alarm,
    /// Also raise the stop-line output.
    StopLine,
}

/// `[safety]` as used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Safety {
    /// Policy for `Uninspected`.
    pub on_uninspected: OnUninspected,
    /// Policy for a missed reject.
    pub on_missed_reject: OnMissedReject,
    /// Policy for [`Reason::NoPart`]; where none is written such a part is one that was not inspected.
    pub on_no_part: Option<OnUninspected>,
}

/// What to do; all false means nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measures {
    /// Plan a reject pulse.
    pub reject: bool,
    /// Raise the stop-line output.
    pub stop_line: bool,
    /// Raise the fault output.
    pub fault: bool,
}

impl Safety {
    /// Whether a part with this verdict may go on, as a controller is told it. What an aborted run leaves is held.
    pub fn releases(self, verdict: Verdict) -> bool {
        match verdict {
            Verdict::Pass => true,
            Verdict::Reject | Verdict::Uninspected(Reason::Shutdown) => false,
            Verdict::Uninspected(reason) => self.policy(reason) == OnUninspected::Pass,
        }
    }

    /// Measures for a part with the verdict `Uninspected(reason)`.
    ///
    /// An aborted run fires nothing: its outputs are already on their way to the safe level, and a pulse whose end
    /// nobody watches would be worse than a part that the fault output has announced.
    pub fn uninspected(self, reason: Reason) -> Measures {
        if reason == Reason::Shutdown {
            return Measures { fault: true, ..Measures::default() };
        }
        match self.policy(reason) {
            OnUninspected::Reject => Measures { reject: true, ..Measures::default() },
            OnUninspected::Pass => Measures::default(),
            OnUninspected::StopLine => Measures { stop_line: true, fault: true, reject: false },
        }
    }

    fn policy(self, reason: Reason) -> OnUninspected {
        match reason {
            Reason::NoPart => self.on_no_part.unwrap_or(self.on_uninspected),
            _ => self.on_uninspected,
        }
    }

    /// Measures for a known reject whose pulse did not fire in its window.
    pub fn missed_reject(self) -> Measures {
        Measures { stop_line: self.on_missed_reject == OnMissedReject::StopLine, fault: true, reject: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_become_measures() {
        let on_missed_reject = OnMissedReject::Alarm;
        let with = |on_uninspected| Safety { on_uninspected, on_missed_reject, on_no_part: None };
        for (policy, reason, reject, stop_line, fault) in [
            (OnUninspected::Reject, Reason::Late, true, false, false),
            (OnUninspected::Pass, Reason::Late, false, false, false),
            (OnUninspected::StopLine, Reason::NoFrame, false, true, true),
            (OnUninspected::Reject, Reason::Shutdown, false, false, true),
            (OnUninspected::Reject, Reason::BlindDark, true, false, false),
            (OnUninspected::Pass, Reason::NoPart, false, false, false),
        ] {
            let expected = Measures { reject, stop_line, fault };
            assert_eq!(with(policy).uninspected(reason), expected, "{policy:?} {reason}");
        }
        let missed = |on_missed_reject| Safety { on_missed_reject, ..with(OnUninspected::Pass) }.missed_reject();
        assert!(missed(OnMissedReject::StopLine).stop_line && missed(OnMissedReject::StopLine).fault);
        assert!(!missed(OnMissedReject::Alarm).stop_line && missed(OnMissedReject::Alarm).fault);
    }

    #[test]
    fn a_part_that_is_not_there_has_a_policy_of_its_own() {
        let policies = [OnUninspected::Reject, OnUninspected::Pass, OnUninspected::StopLine];
        let empty = Verdict::Uninspected(Reason::NoPart);
        for (on_uninspected, on_no_part) in policies.iter().flat_map(|a| policies.iter().map(move |b| (*a, *b))) {
            let safety =
                Safety { on_uninspected, on_missed_reject: OnMissedReject::Alarm, on_no_part: Some(on_no_part) };
            let as_all = Safety { on_uninspected: on_no_part, ..safety };
            assert_eq!(safety.uninspected(Reason::NoPart), as_all.uninspected(Reason::Late));
            assert_eq!(safety.releases(empty), on_no_part == OnUninspected::Pass);
            for reason in Reason::ALL.into_iter().filter(|reason| *reason != Reason::NoPart) {
                let without = Safety { on_no_part: None, ..safety };
                assert_eq!(safety.uninspected(reason), without.uninspected(reason), "{reason}");
                assert_eq!(
                    safety.releases(Verdict::Uninspected(reason)),
                    without.releases(Verdict::Uninspected(reason))
                );
            }
        }
    }
}
