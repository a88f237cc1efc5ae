//! Policy: what the plant has written that shall happen to parts that were not inspected, and about missed rejects.

use super::{Reason, Verdict};

/// What happens to a part that could not be inspected: the plant's written choice, never a default.
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
            Verdict::Uninspected(_) => self.on_uninspected == OnUninspected::Pass,
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
        match self.on_uninspected {
            OnUninspected::Reject => Measures { reject: true, ..Measures::default() },
            OnUninspected::Pass => Measures::default(),
            OnUninspected::StopLine => Measures { stop_line: true, fault: true, reject: false },
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
        let with = |on_uninspected| Safety { on_uninspected, on_missed_reject: OnMissedReject::Alarm };
        for (policy, reason, reject, stop_line, fault) in [
            (OnUninspected::Reject, Reason::Late, true, false, false),
            (OnUninspected::Pass, Reason::Late, false, false, false),
            (OnUninspected::StopLine, Reason::NoFrame, false, true, true),
            (OnUninspected::Reject, Reason::Shutdown, false, false, true),
        ] {
            let expected = Measures { reject, stop_line, fault };
            assert_eq!(with(policy).uninspected(reason), expected, "{policy:?} {reason}");
        }
        let missed =
            |on_missed_reject| Safety { on_uninspected: OnUninspected::Pass, on_missed_reject }.missed_reject();
        assert!(missed(OnMissedReject::StopLine).stop_line && missed(OnMissedReject::StopLine).fault);
        assert!(!missed(OnMissedReject::Alarm).stop_line && missed(OnMissedReject::Alarm).fault);
    }
}
