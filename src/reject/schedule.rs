//! The pulse schedule: bounded, ordered by belt position, pure.
//!
//! A pulse starts when the belt brings its part to the actuator, less the actuator's latency. Pulses that would overlap
//! become one: the line stays active and the later part's outcome is `merged`, so that one part is one pulse and the
//! line never chatters. A pulse whose window is over is `late` and not fired, unless the line has been active since
//! before its window ended: then the part was hit all the same.

use std::time::Duration;

use super::{Belt, Settings};
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
    window: Duration,
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
            window: settings.window,
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
        if let Some(entry) = self.entries.first().copied()
            && let Some(start) = self.start_at(&entry, belt)
            && start <= now
        {
            self.entries.remove(0);
            let last = start + self.window;
            return Some(match &mut self.active {
                Some(active) if active.since <= last => {
                    active.until = active.until.max(start.max(active.since) + self.width);
                    Due::Merge(entry.part)
                }
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

    /// Forgets everything planned.
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
    use crate::reject::ConstantSpeed;
    use crate::units::MmPerSecond;

    /// One millimetre is one millisecond; latency 10, width 40, window 5.
    fn schedule(positions: &[(u64, f64)]) -> (Schedule, ConstantSpeed) {
        let ms = Duration::from_millis;
        let mut schedule =
            Schedule { entries: Vec::new(), active: None, latency: ms(10), width: ms(40), window: ms(5) };
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
