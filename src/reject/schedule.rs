//! The pulse schedule: bounded, ordered by belt position, pure.
//!
//! A pulse starts when the belt brings its part to the actuator, less the actuator's latency. The rules, in this order:
//!
//! - The line is active and has been since before the part's window ended: the part is hit all the same. With
//!   [`OnOverlap::Merge`] the line stays active for it too and its outcome is `merged`, so that one part is one pulse
//!   and the line never chatters; with [`OnOverlap::Refuse`] the earlier part keeps its pulse as it is, and the later
//!   one is `refused`: a missed reject.
//! - The window is over: `late`, not fired. A late pulse would hit the neighbour. The window is a distance, see
//!   [`Settings::slack`].
//! - Otherwise the line rises for it.
//!
//! Entries hold positions. On a belt that stands, what is ahead is held, and starts when the belt brings it. A pulse on
//! the line ends by time all the same: a valve must not stay open for as long as a belt stands. The part in front of it
//! has had its full pulse; one that the belt had not brought yet gets a pulse of its own, or finds the line at rest.

use std::time::Duration;

use super::{Belt, OnOverlap, Settings};
use crate::clock::Timestamp;
use crate::units::{Millimetres, PartId};

/// The most pulses that can be planned at a time. Chosen: more than fit between camera and actuator on any belt we
/// know; a full schedule refuses the newest, which is counted and alarmed as a missed reject.
pub const CAPACITY: usize = 64;

/// What has to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Raise the line for this part.
    Start(PartId),
    /// Leave the line active; it now is this part's pulse too.
    Merge(PartId),
    /// The line is active for an earlier part and stays that part's; do nothing.
    Refuse(PartId),
    /// The part's window is over; do nothing.
    Late(PartId),
    /// Lower the line.
    Release,
}

/// A full schedule refused a pulse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Planned pulses and the one that is on the line now.
#[derive(Debug)]
pub struct Schedule {
    entries: Vec<Entry>,
    active: Option<Active>,
    latency: Duration,
    width: Duration,
    slack: Millimetres,
    on_overlap: OnOverlap,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    part: PartId,
    position: Millimetres,
}

#[derive(Clone, Copy, Debug)]
struct Active {
    since: Timestamp,
    until: Timestamp,
}

impl Schedule {
    /// An empty schedule; allocates once.
    pub fn new(settings: &Settings) -> Self {
        Self {
            entries: Vec::with_capacity(CAPACITY),
            active: None,
            latency: settings.actuator_latency,
            width: settings.pulse_width,
            slack: settings.slack(),
            on_overlap: settings.on_overlap,
        }
    }

    /// Plans the pulse for a part that lies in front of the actuator when the belt is at `position`.
    ///
    /// # Errors
    /// [`Full`] when there are [`CAPACITY`] pulses already; the schedule is unchanged.
    pub fn insert(&mut self, part: PartId, position: Millimetres) -> Result<(), Full> {
        if self.entries.len() >= CAPACITY {
            return Err(Full);
        }
        let at = self.entries.partition_point(|e| e.position.0.total_cmp(&position.0).is_le());
        self.entries.insert(at, Entry { part, position });
        Ok(())
    }

    /// The next instant at which [`due`](Self::due) has something to say; `None` when nothing is planned, or the belt
    /// stands still.
    pub fn next_at(&self, belt: &dyn Belt) -> Option<Timestamp> {
        let start = self.entries.first().and_then(|e| self.start_at(e, belt));
        let release = self.active.map(|a| a.until);
        start.into_iter().chain(release).min()
    }

    /// The next thing to do at `now`; call until `None`.
    ///
    /// The schedule believes that the line follows; tell it with [`line_failed`](Self::line_failed) when it does not.
    pub fn due(&mut self, now: Timestamp, belt: &dyn Belt) -> Option<Due> {
        // A pulse that is over is nobody's to share where sharing is refused.
        let may_start = self.on_overlap == OnOverlap::Merge || self.active.is_none_or(|a| a.until > now);
        if may_start
            && let Some(entry) = self.entries.first().copied()
            && let Some(start) = self.start_at(&entry, belt)
            && start <= now
        {
            self.entries.remove(0);
            // The end of the window; a belt that stands still before it has not reached it.
            let end = Millimetres(entry.position.0 + self.slack.0);
            let last = belt.time_at(end).map_or(Timestamp::NEVER, |at| at - self.latency);
            return Some(match &mut self.active {
                Some(active) if active.since <= last => match self.on_overlap {
                    OnOverlap::Merge => {
                        active.until = active.until.max(start.max(active.since) + self.width);
                        Due::Merge(entry.part)
                    }
                    OnOverlap::Refuse => Due::Refuse(entry.part),
                },
                _ if now > last => Due::Late(entry.part),
                _ => {
                    self.active = Some(Active { since: now, until: now + self.width });
                    Due::Start(entry.part)
                }
            });
        }
        if self.active.is_some_and(|a| a.until <= now) {
            self.active = None;
            return Some(Due::Release);
        }
        None
    }

    /// The line did not rise for [`Due::Start`]: there is no active pulse that others could merge with.
    pub fn line_failed(&mut self) {
        self.active = None;
    }

    /// The line did not fall for [`Due::Release`]: it still is active, ask again at `retry_at`.
    pub fn release_failed(&mut self, now: Timestamp, retry_at: Timestamp) {
        self.active = Some(Active { since: now, until: retry_at });
    }

    /// Whether nothing is planned and the line is at rest.
    pub fn is_idle(&self) -> bool {
        self.entries.is_empty() && self.active.is_none()
    }

    /// Forgets what is planned; a pulse on the line still ends.
    pub fn drop_planned(&mut self) {
        self.entries.clear();
    }

    /// Forgets everything, the pulse on the line included.
    pub fn abandon(&mut self) {
        self.active = None;
        self.entries.clear();
    }

    fn start_at(&self, entry: &Entry, belt: &dyn Belt) -> Option<Timestamp> {
        belt.time_at(entry.position).map(|fire_at| fire_at - self.latency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpio::{Edge, Level};
    use crate::reject::{Channel, ConstantSpeed, EncoderBelt, encoder};
    use crate::units::MmPerSecond;

    /// One millimetre is one millisecond; latency 10, width 40, window 5.
    fn schedule(positions: &[(u64, f64)]) -> (Schedule, ConstantSpeed) {
        let ms = Duration::from_millis;
        let mut schedule = Schedule {
            entries: Vec::new(),
            active: None,
            latency: ms(10),
            width: ms(40),
            slack: Millimetres(5.0),
            on_overlap: OnOverlap::Merge,
        };
        for &(part, at) in positions {
            schedule.insert(PartId(part), Millimetres(at)).unwrap();
        }
        (schedule, ConstantSpeed::new(MmPerSecond(1000.0), Timestamp::ZERO))
    }

    fn at(ms: u64) -> Timestamp {
        Timestamp(ms * 1_000_000)
    }

    /// Everything that is due at these milliseconds, as `(ms, due)`.
    fn play(positions: &[(u64, f64)], wakes: &[u64]) -> Vec<(u64, Due)> {
        let (mut schedule, belt) = schedule(positions);
        let mut done = Vec::new();
        for &ms in wakes {
            done.extend(std::iter::from_fn(|| schedule.due(at(ms), &belt)).map(|due| (ms, due)));
        }
        done
    }

    #[test]
    fn pulses_start_merge_and_expire() {
        let [one, two] = [PartId(1), PartId(2)];
        type Case<'a> = (&'a str, &'a [(u64, f64)], &'a [u64], &'a [(u64, Due)]);
        let cases: &[Case] = &[
            ("on time", &[(1, 100.0)], &[89, 90, 129, 130], &[(90, Due::Start(one)), (130, Due::Release)]),
            ("last instant", &[(1, 100.0)], &[95, 135], &[(95, Due::Start(one)), (135, Due::Release)]),
            ("a moment later", &[(1, 100.0)], &[96], &[(96, Due::Late(one))]),
            (
                "overlap is one pulse",
                &[(1, 100.0), (2, 120.0)],
                &[90, 110, 130, 150],
                &[(90, Due::Start(one)), (110, Due::Merge(two)), (150, Due::Release)],
            ),
            (
                "touching is one pulse",
                &[(2, 140.0), (1, 100.0)],
                &[90, 130, 170],
                &[(90, Due::Start(one)), (130, Due::Merge(two)), (170, Due::Release)],
            ),
            (
                "a gap is two pulses",
                &[(1, 100.0), (2, 141.0)],
                &[90, 130, 131, 171],
                &[(90, Due::Start(one)), (130, Due::Release), (131, Due::Start(two)), (171, Due::Release)],
            ),
            (
                "both at once",
                &[(1, 100.0), (2, 103.0)],
                &[94, 134],
                &[(94, Due::Start(one)), (94, Due::Merge(two)), (134, Due::Release)],
            ),
            (
                "the line stayed active while nobody looked",
                &[(1, 100.0), (2, 120.0)],
                &[90, 140, 150],
                &[(90, Due::Start(one)), (140, Due::Merge(two)), (150, Due::Release)],
            ),
        ];
        for (name, positions, wakes, expected) in cases {
            assert_eq!(play(positions, wakes), *expected, "{name}");
        }
    }

    #[test]
    fn a_pulse_that_may_not_be_shared_is_refused() {
        let (mut schedule, belt) = schedule(&[(1, 100.0), (2, 120.0), (3, 140.0), (4, 290.0)]);
        schedule.on_overlap = OnOverlap::Refuse;
        let mut done = Vec::new();
        for ms in [90, 110, 130, 170, 285] {
            done.extend(std::iter::from_fn(|| schedule.due(at(ms), &belt)).map(|due| (ms, due)));
        }
        let [one, two, three, four] = [1, 2, 3, 4].map(PartId);
        let expected = [
            (90, Due::Start(one)),
            (110, Due::Refuse(two)),
            (130, Due::Release),
            (130, Due::Start(three)),
            (170, Due::Release),
            (285, Due::Start(four)),
        ];
        assert_eq!(done, expected, "the third begins when the first has ended");
    }

    /// Pulses of 1 mm at these milliseconds.
    fn moved(belt: &mut EncoderBelt, pulses: impl IntoIterator<Item = u64>) {
        for ms in pulses {
            belt.feed(Channel::A, Edge { at: at(ms), level: Level::High });
        }
    }

    fn measured() -> EncoderBelt {
        EncoderBelt::new(&encoder::Settings {
            line_a: "a".to_owned(),
            line_b: None,
            options: Default::default(),
            mm_per_pulse: Millimetres(1.0),
            stopped: Duration::from_millis(50),
        })
    }

    #[test]
    fn a_stopped_belt_holds_what_is_ahead_and_no_pulse() {
        let (mut schedule, _) = schedule(&[(1, 30.0), (2, 90.0)]);
        let mut belt = measured();
        moved(&mut belt, 1..=20);
        assert_eq!(schedule.due(at(20), &belt), Some(Due::Start(PartId(1))), "10 ms ahead of 30 mm");
        // The belt stops at 25 mm with the line active: the pulse ends when it has lasted.
        moved(&mut belt, 21..=25);
        belt.observe(at(60));
        assert_eq!(schedule.due(at(60), &belt), Some(Due::Release));
        for ms in [100, 5000, 60_000] {
            belt.observe(at(ms));
            assert_eq!((schedule.due(at(ms), &belt), schedule.next_at(&belt)), (None, None), "{ms} ms");
        }
        // It goes on at half the speed: 10 ms ahead now are 5 mm.
        moved(&mut belt, (0..60).map(|n| 60_000 + 2 * n));
        assert_eq!(schedule.due(at(60_118), &belt), Some(Due::Start(PartId(2))), "84.5 mm and 5 ahead");
    }

    #[test]
    fn a_part_that_waits_inside_the_lead_is_not_late_when_the_belt_starts_slowly() {
        let (mut schedule, _) = schedule(&[]);
        let mut belt = measured();
        moved(&mut belt, 1..=28);
        belt.observe(at(9_000));
        // Its verdict came while the belt stood; at full speed the line would have risen 8 mm ago.
        schedule.insert(PartId(1), Millimetres(32.0)).unwrap();
        schedule.insert(PartId(2), Millimetres(20.0)).unwrap();
        assert_eq!(schedule.due(at(9_000), &belt), Some(Due::Late(PartId(2))), "the belt has brought it past");
        assert_eq!(schedule.due(at(9_000), &belt), None);
        moved(&mut belt, [9_010, 9_020]);
        assert_eq!(schedule.due(at(9_020), &belt), None, "30 mm and 1 ahead");
        moved(&mut belt, [9_030]);
        assert_eq!(schedule.due(at(9_030), &belt), Some(Due::Start(PartId(1))));
    }

    #[test]
    fn next_at_is_the_next_start_or_release() {
        let (mut schedule, belt) = schedule(&[(1, 100.0), (2, 200.0)]);
        assert_eq!(schedule.next_at(&belt), Some(at(90)));
        schedule.due(at(91), &belt);
        assert_eq!(schedule.next_at(&belt), Some(at(131)), "a full width from the late start");
        schedule.due(at(131), &belt);
        assert_eq!(schedule.next_at(&belt), Some(at(190)));
    }

    #[test]
    fn a_full_schedule_refuses_the_newest() {
        let (mut schedule, _) = schedule(&[]);
        for part in 0..CAPACITY as u64 {
            schedule.insert(PartId(part), Millimetres(part as f64)).unwrap();
        }
        assert_eq!(schedule.insert(PartId(99), Millimetres(0.0)), Err(Full));
        schedule.abandon();
        assert!(schedule.is_idle());
    }
}
