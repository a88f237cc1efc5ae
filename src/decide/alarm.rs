//! Alarms over many parts: what no single verdict shows.
//!
//! A run of rejects says that something changed (a lamp, a tool, the product); many uninspected parts say that the line
//! is not being watched. Each alarm is given once and then stays until it is acknowledged, which also starts its count
//! again: a person has seen it, and what comes after is news.

use std::collections::VecDeque;

use super::{Reason, Verdict};

/// `[alarm]` as used; `None` where an alarm is off.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Rejects in a row that are an alarm.
    pub consecutive_rejects: Option<u64>,
    /// The share of uninspected parts that is an alarm, 0..=1.
    pub uninspected_rate: Option<f64>,
    /// Over so many last parts.
    pub uninspected_parts: u64,
}

/// What was noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// So many rejects in a row.
    ConsecutiveRejects(u64),
    /// So many of the last parts were not inspected.
    UninspectedRate {
        /// Uninspected ones.
        uninspected: u64,
        /// Of so many.
        parts: u64,
    },
}

/// Counts verdicts in the order in which they fall.
#[derive(Debug)]
pub struct Alarms {
    settings: Settings,
    rejects: u64,
    /// Whether each of the last parts was uninspected.
    last: VecDeque<bool>,
    uninspected: u64,
    raised: [bool; 2],
}

impl Alarms {
    /// Nothing counted yet; allocates once.
    pub fn new(settings: Settings) -> Self {
        let parts = usize::try_from(settings.uninspected_parts).unwrap_or(usize::MAX);
        let last =
            VecDeque::with_capacity(if settings.uninspected_rate.is_some() { parts.saturating_add(1) } else { 0 });
        Self { settings, rejects: 0, last, uninspected: 0, raised: [false; 2] }
    }

    /// Counts a verdict and returns the alarms that it raises.
    ///
    /// An uninspected part neither continues a run of rejects nor ends it: nobody knows what it was. The rate counts
    /// parts that have not come yet as inspected, so that one bad first part is no alarm. Where the belt was seen to be
    /// empty there was nothing to inspect: that counts as no part at all, and so neither raises the rate nor dilutes it.
    pub fn count(&mut self, verdict: Verdict) -> impl Iterator<Item = Alarm> + use<> {
        let is_part = verdict != Verdict::Uninspected(Reason::NoPart);
        // Both, whatever one of them says: a part that one does not count is missing in it for as long as its window is.
        let raised = if is_part { [self.count_reject(verdict), self.count_uninspected(verdict)] } else { [None, None] };
        raised.into_iter().flatten()
    }

    fn count_reject(&mut self, verdict: Verdict) -> Option<Alarm> {
        match verdict {
            Verdict::Pass => self.rejects = 0,
            Verdict::Reject => self.rejects += 1,
            Verdict::Uninspected(_) => {}
        }
        let is_alarm = self.settings.consecutive_rejects.is_some_and(|limit| self.rejects >= limit);
        (is_alarm && !std::mem::replace(&mut self.raised[0], true)).then_some(Alarm::ConsecutiveRejects(self.rejects))
    }

    fn count_uninspected(&mut self, verdict: Verdict) -> Option<Alarm> {
        let (rate, parts) = (self.settings.uninspected_rate?, self.settings.uninspected_parts);
        let is_uninspected = matches!(verdict, Verdict::Uninspected(_));
        self.last.push_back(is_uninspected);
        self.uninspected += u64::from(is_uninspected);
        if self.last.len() as u64 > parts {
            self.uninspected -= u64::from(self.last.pop_front() == Some(true));
        }
        let is_alarm = self.uninspected > 0 && self.uninspected as f64 >= rate * parts as f64;
        (is_alarm && !std::mem::replace(&mut self.raised[1], true))
            .then_some(Alarm::UninspectedRate { uninspected: self.uninspected, parts })
    }

    /// A person has seen the alarms: counting starts again.
    pub fn acknowledge(&mut self) {
        self.rejects = 0;
        self.last.clear();
        self.uninspected = 0;
        self.raised = [false; 2];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASS: Verdict = Verdict::Pass;
    const REJECT: Verdict = Verdict::Reject;
    const LATE: Verdict = Verdict::Uninspected(Reason::Late);
    const EMPTY: Verdict = Verdict::Uninspected(Reason::NoPart);
    const DARK: Verdict = Verdict::Uninspected(Reason::BlindDark);

    fn alarms(verdicts: &[Verdict]) -> Vec<(usize, Alarm)> {
        let settings = Settings { consecutive_rejects: Some(3), uninspected_rate: Some(0.5), uninspected_parts: 4 };
        let mut alarms = Alarms::new(settings);
        verdicts.iter().enumerate().flat_map(|(i, v)| alarms.count(*v).map(move |a| (i, a))).collect()
    }

    #[test]
    fn alarms_come_once_when_their_limit_is_reached() {
        let three = Alarm::ConsecutiveRejects(3);
        let half = Alarm::UninspectedRate { uninspected: 2, parts: 4 };
        type Case<'a> = (&'a str, &'a [Verdict], &'a [(usize, Alarm)]);
        let cases: &[Case] = &[
            ("three in a row", &[REJECT, REJECT, REJECT, REJECT], &[(2, three)]),
            ("a pass between", &[REJECT, REJECT, PASS, REJECT, REJECT], &[]),
            ("an uninspected part between says nothing", &[REJECT, LATE, REJECT, REJECT], &[(3, three)]),
            ("half of the last four", &[LATE, PASS, PASS, LATE, LATE], &[(3, half)]),
            ("a blind camera watches nothing", &[DARK, PASS, DARK], &[(2, half)]),
            ("an empty belt is no part", &[EMPTY, EMPTY, LATE, EMPTY, PASS, EMPTY, EMPTY, LATE], &[(7, half)]),
            ("an empty belt says nothing of parts", &[REJECT, EMPTY, REJECT, REJECT], &[(3, three)]),
            ("far enough apart", &[LATE, PASS, PASS, PASS, LATE, PASS], &[]),
            ("an alarm's part is one of the last four", &[LATE, REJECT, REJECT, REJECT, LATE], &[(3, three)]),
        ];
        for (name, verdicts, expected) in cases {
            assert_eq!(alarms(verdicts), *expected, "{name}");
        }
    }

    #[test]
    fn an_acknowledged_alarm_counts_again_and_one_that_is_off_never_comes() {
        let mut alarms = Alarms::new(Settings { consecutive_rejects: Some(2), ..Settings::default() });
        for _ in 0..2 {
            assert_eq!([REJECT, REJECT, REJECT].map(|v| alarms.count(v).next().is_some()), [false, true, false]);
            alarms.acknowledge();
        }
        let mut off = Alarms::new(Settings::default());
        assert!((0..1000).all(|_| off.count(REJECT).chain(off.count(LATE)).next().is_none()));
    }
}
