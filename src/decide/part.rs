//! The part ledger: born at a trigger, settled exactly once.
//!
//! ```text
//!            attach            settle (before the deadline)
//!  open ───► Waiting ──► Seen ─────────────────────────────► settled: Pass | Reject | Uninspected(reason)
//!               │          │
//!               └──────────┴── expire (at the deadline) ───► settled: Uninspected(NoFrame | Late)
//! ```
//!
//! A part leaves the ledger when it is settled, so nothing can settle it again: what comes for it afterwards gets
//! [`Receipt::TooLate`] and changes nothing. The deadline is exclusive: at that instant the ledger is final, whether
//! or not anybody has called [`Ledger::expire`] yet.
//!
//! The true deadline is a place, where the belt has brought the part so near to the actuator that the line must rise.
//! Its instant is a plan. On a belt with an encoder [`Ledger::replan`] renews it each time the belt was looked at and
//! before anything is settled or expired, so that "has the deadline come" always means "has the belt got there".
//! A belt that stands has a part that waits with it, its deadline [`Timestamp::NEVER`]: a verdict is still welcome, and
//! one that is missing when the belt brings the part on is the policy's.
//!
//! The ledger is owned by one thread (`act`), reads no clock and never grows beyond its capacity.

use std::time::Duration;

use super::{Reason, Verdict};
use crate::clock::{Offset, Timestamp};
use crate::units::{Millimetres, PartId};

/// Frames that are kept for parts whose edge comes after them, at most.
pub const EARLY_FRAMES: usize = 7;

/// One physical item on the belt and the plan for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    /// Counted from 1 in the order of birth.
    pub id: PartId,
    /// Its trigger edge (or the exposure of its frame, where every frame is a part).
    pub trigger_at: Timestamp,
    /// Belt position at which it lies in front of the reject actuator.
    pub position: Millimetres,
    /// When it gets there.
    pub fire_at: Timestamp,
    /// When the reject line has to rise for it: `fire_at` less the actuator's latency. The ledger is final then.
    pub deadline: Timestamp,
}

impl Part {
    /// The late rule: from the deadline on, no score changes this part's verdict.
    fn is_final(&self, now: Timestamp) -> bool {
        now >= self.deadline
    }
}

/// A part with its verdict.
///
/// `E` is whatever led to the verdict (an inspection); the ledger carries it unopened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settled<E> {
    /// The part.
    pub part: Part,
    /// Its one verdict.
    pub verdict: Verdict,
    /// What the verdict is based on; `None` where nothing was inspected.
    pub evidence: Option<E>,
    /// When the verdict fell.
    pub settled_at: Timestamp,
}

/// What became of a verdict offered to the ledger.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Receipt<E> {
    /// It is the part's verdict.
    Settled(Settled<E>),
    /// The part's verdict was or is final without it; nothing changed.
    TooLate,
}

/// The open parts, in the order of birth.
#[derive(Debug)]
pub struct Ledger {
    open: Vec<Open>,
    capacity: usize,
    born: u64,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    part: Part,
    seen: bool,
}

impl Ledger {
    /// An empty ledger for at most `capacity` open parts; allocates once.
    pub fn new(capacity: usize) -> Self {
        Self { open: Vec::with_capacity(capacity), capacity, born: 0 }
    }

    /// A part is born. `plan` gets the new part's number and returns the part.
    ///
    /// A full ledger cannot wait for this part: it is settled at once as `Uninspected(Overrun)` and returned.
    pub fn open<E>(&mut self, now: Timestamp, plan: impl FnOnce(PartId) -> Part) -> (Part, Option<Settled<E>>) {
        self.born += 1;
        let part = plan(PartId(self.born));
        debug_assert_eq!(part.id, PartId(self.born));
        if self.open.len() >= self.capacity {
            let verdict = Verdict::Uninspected(Reason::Overrun);
            return (part, Some(Settled { part, verdict, evidence: None, settled_at: now }));
        }
        self.open.push(Open { part, seen: false });
        (part, None)
    }

    /// Plans the open parts again, because the belt did not move as it was thought to.
    ///
    /// `plan` gets each open part and sets its `fire_at` and `deadline`.
    pub fn replan(&mut self, mut plan: impl FnMut(&mut Part)) {
        self.open.iter_mut().for_each(|o| plan(&mut o.part));
    }

    /// Finds the part that a frame shows, marks it as seen and returns it.
    ///
    /// It is the open part whose `trigger_at + delay` is nearest to `exposure_at`, at most `tolerance` away; the older
    /// one of two equally near. `None` when there is none, or when that part already has its frame: a part that has
    /// lost its frame must never be judged by its neighbour's.
    pub fn attach(&mut self, exposure_at: Timestamp, delay: impl Into<Offset>, tolerance: Duration) -> Option<Part> {
        let delay = delay.into();
        let distance = |o: &Open| exposure_at.abs_diff(o.part.trigger_at + delay);
        let nearest = self.open.iter_mut().min_by_key(|o| distance(o))?;
        if nearest.seen || distance(nearest) > tolerance {
            return None;
        }
        nearest.seen = true;
        Some(nearest.part)
    }

    /// Marks an open part as seen: its frame is known without matching.
    pub fn mark_seen(&mut self, id: PartId) {
        if let Some(open) = self.open.iter_mut().find(|o| o.part.id == id) {
            open.seen = true;
        }
    }

    /// Offers a verdict for a part at `now`. From the part's deadline on it is [`Receipt::TooLate`].
    pub fn settle<E>(&mut self, id: PartId, verdict: Verdict, evidence: Option<E>, now: Timestamp) -> Receipt<E> {
        match self.open.iter().position(|o| o.part.id == id) {
            Some(i) if !self.open[i].part.is_final(now) => {
                let part = self.open.remove(i).part;
                Receipt::Settled(Settled { part, verdict, evidence, settled_at: now })
            }
            _ => Receipt::TooLate,
        }
    }

    /// Settles the oldest part whose deadline has come; call until `None`.
    ///
    /// The reason is `Late` for a part that has been seen, `NoFrame` for one that has not.
    pub fn expire<E>(&mut self, now: Timestamp) -> Option<Settled<E>> {
        let i = self.open.iter().position(|o| o.part.is_final(now))?;
        let Open { part, seen } = self.open.remove(i);
        let reason = if seen { Reason::Late } else { Reason::NoFrame };
        Some(Settled { part, verdict: Verdict::Uninspected(reason), evidence: None, settled_at: now })
    }

    /// Settles the oldest open part whatever its deadline, because nothing will come for it any more; call until
    /// `None`.
    pub fn abandon<E>(&mut self, reason: Reason, now: Timestamp) -> Option<Settled<E>> {
        let oldest = *self.open.first()?;
        self.open.remove(0);
        let verdict = Verdict::Uninspected(reason);
        Some(Settled { part: oldest.part, verdict, evidence: None, settled_at: now })
    }

    /// The earliest deadline of an open part.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.open.iter().map(|o| o.part.deadline).min()
    }

    /// Whether every part that was born has been settled.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether an open part still waits for its frame.
    pub fn awaits_frame(&self) -> bool {
        self.open.iter().any(|o| !o.seen)
    }

    /// How many parts were born.
    pub fn born(&self) -> u64 {
        self.born
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// A ledger with parts triggered at these milliseconds, each with 100 ms until its deadline.
    fn ledger(triggers_ms: &[u64]) -> Ledger {
        let mut ledger = Ledger::new(8);
        for &t in triggers_ms {
            assert!(birth(&mut ledger, t).is_none());
        }
        ledger
    }

    fn birth(ledger: &mut Ledger, trigger_ms: u64) -> Option<Settled<u32>> {
        let trigger_at = Timestamp(trigger_ms * MS);
        let deadline = Timestamp((trigger_ms + 100) * MS);
        let plan = |id| Part { id, trigger_at, position: Millimetres(0.0), fire_at: deadline, deadline };
        ledger.open(trigger_at, plan).1
    }

    fn settle(ledger: &mut Ledger, id: u64, at_ms: u64) -> Receipt<u32> {
        ledger.settle(PartId(id), Verdict::Pass, Some(7), Timestamp(at_ms * MS))
    }

    #[test]
    fn a_part_is_settled_once() {
        let mut ledger = ledger(&[0]);
        assert!(matches!(settle(&mut ledger, 1, 99), Receipt::Settled(s) if s.evidence == Some(7)));
        assert_eq!(settle(&mut ledger, 1, 99), Receipt::TooLate);
        assert_eq!(ledger.expire::<u32>(Timestamp(500 * MS)), None);
    }

    #[test]
    fn at_the_deadline_the_ledger_is_final() {
        let mut ledger = ledger(&[0]);
        assert_eq!(ledger.expire::<u32>(Timestamp(100 * MS - 1)), None);
        assert_eq!(settle(&mut ledger, 1, 100), Receipt::TooLate, "even before anybody expired it");
        let expired = ledger.expire::<u32>(Timestamp(100 * MS)).unwrap();
        assert_eq!(expired.verdict, Verdict::Uninspected(Reason::NoFrame));
    }

    #[test]
    fn a_deadline_moves_with_the_belt_and_is_final_where_it_ends() {
        let mut ledger = ledger(&[0, 10]);
        ledger.replan(|part| part.deadline = Timestamp::NEVER);
        assert_eq!(ledger.expire::<u32>(Timestamp(10_000 * MS)), None, "the belt stands");
        assert!(matches!(settle(&mut ledger, 1, 10_000), Receipt::Settled(_)), "a verdict is still welcome");
        ledger.replan(|part| part.deadline = Timestamp(10_100 * MS));
        assert_eq!(ledger.next_deadline(), Some(Timestamp(10_100 * MS)));
        assert_eq!(settle(&mut ledger, 2, 10_100), Receipt::TooLate);
        assert!(ledger.expire::<u32>(Timestamp(10_100 * MS)).is_some());
    }

    #[test]
    fn a_seen_part_expires_as_late() {
        let mut ledger = ledger(&[0, 10]);
        ledger.mark_seen(PartId(2));
        let reasons: Vec<_> =
            std::iter::from_fn(|| ledger.expire::<u32>(Timestamp(200 * MS))).map(|s| s.verdict.reason()).collect();
        assert_eq!(reasons, [Some(Reason::NoFrame), Some(Reason::Late)]);
    }

    #[test]
    fn frames_find_the_nearest_part_and_never_a_neighbour() {
        let mut ledger = ledger(&[0, 10, 50]);
        let mut attach = |ms: u64| {
            let ms_ = |n| Duration::from_millis(n);
            ledger.attach(Timestamp(ms * MS), ms_(2), ms_(8)).map(|p| p.id.0)
        };
        assert_eq!(attach(13), Some(2), "the first part lost its frame, this is the second one's");
        assert_eq!(attach(12), None, "the second part has its frame");
        assert_eq!(attach(30), None, "nobody is near");
        assert_eq!(attach(45), Some(3), "within tolerance, from before");
        assert_eq!(attach(1), Some(1));
    }

    #[test]
    fn a_full_ledger_settles_the_newcomer() {
        let mut ledger = Ledger::new(1);
        assert!(birth(&mut ledger, 0).is_none());
        let refused = birth(&mut ledger, 1).unwrap();
        assert_eq!((refused.part.id, refused.verdict), (PartId(2), Verdict::Uninspected(Reason::Overrun)));
        assert_eq!(settle(&mut ledger, 2, 2), Receipt::TooLate);
        assert_eq!(ledger.born(), 2);
    }

    #[test]
    fn abandoning_empties_the_ledger() {
        let mut ledger = ledger(&[0, 1]);
        let given_up: Vec<_> = std::iter::from_fn(|| ledger.abandon::<u32>(Reason::Shutdown, Timestamp(5))).collect();
        assert_eq!(given_up.len(), 2);
        assert!(ledger.is_empty());
    }
}
