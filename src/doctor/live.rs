//! Sharpness, light and frame rate of the camera while a person aims and focuses it.
//!
//! Looks at frames as they come, for as long as asked; what is seen goes to a closure, several times a second. Only the
//! camera is opened: no trigger, no output. Where there is a recipe that can tell, it says of each frame that is measured
//! whether it could be judged.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;

use crate::camera::{Camera, Grab};
use crate::clock::{Clock, Timestamp, WakeToken};
use crate::decide::Reason;
use crate::error::{Error, Result};
use crate::frame::Quality;
use crate::inspect::Inspect;
use crate::pipeline::{self, Stop};
use crate::units::FrameId;

/// From one measured frame to the next. Chosen: a hand on a lens follows five figures a second, and a camera of any rate
/// costs the same.
pub const LOOK: Duration = Duration::from_millis(200);
/// Without a frame for so long that is what is said.
pub const SILENCE: Duration = Duration::from_secs(2);
/// Exposures over which the rate is taken.
const RATE_OVER: usize = 32;

/// What is seen at one time; `--json` prints it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reading {
    /// The version of this object.
    pub schema: u32,
    /// Since the start.
    pub seconds: f64,
    /// Frames so far.
    pub frames: u64,
    /// Frames that were exposed and did not arrive, or arrived damaged.
    pub lost: u64,
    /// Exposures a second, from the camera's own times; null before the second frame.
    pub rate_hz: Option<f64>,
    /// Since the last frame, where there has been none for [`SILENCE`]; all below is then the last frame's.
    pub silent_s: Option<f64>,
    /// See [`Quality::sharpness`]; null before the first frame.
    pub sharpness: Option<f32>,
    /// The highest sharpness so far.
    pub best: Option<f32>,
    /// Mean grey level, 0 to 255.
    pub brightness: Option<f32>,
    /// The share of pixels at the end of the range.
    pub clipped_bright: Option<f32>,
    /// The share of black pixels.
    pub clipped_dark: Option<f32>,
    /// `good`, `too_bright` or `too_dark`.
    pub exposure: Option<&'static str>,
    /// Why a part in this frame would not be inspected, in the words of verdicts (`blind_dark`); null where it would be, and
    /// where no recipe can tell.
    pub unseen: Option<&'static str>,
}

/// What is looked at, and what can say whether it could be judged.
pub struct Watched<'a> {
    /// The camera.
    pub camera: &'a mut dyn Camera,
    /// The recipe, where there is one that can tell.
    pub inspect: Option<&'a mut dyn Inspect>,
}

/// How long, and how often there is a reading.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The end, where there is one.
    pub until: Option<Timestamp>,
    /// From one reading to the next, [`LOOK`] at least.
    pub period: Duration,
}

/// Told of each reading.
pub type Say<'a> = &'a mut dyn FnMut(&Reading) -> Result<()>;

/// Looks until `stop` is requested, the pace's end has come or the camera ends; tells `say` every period.
/// `inspect` is asked whether a frame could be judged.
///
/// Returns the last reading.
///
/// # Errors
/// When the camera fails, and whatever `say` gives.
pub fn watch(
    Watched { camera, mut inspect }: Watched<'_>,
    clock: &dyn Clock,
    token: &WakeToken,
    stop: &Stop,
    Pace { until, period }: Pace,
    say: Say<'_>,
) -> Result<Reading> {
    let started_at = clock.now();
    let mut seen = Seen::default();
    let mut heard_at = started_at;
    let (mut next_look, mut next_word) = (started_at, started_at);
    loop {
        let now = clock.now();
        if stop.is_requested() || until.is_some_and(|until| now >= until) {
            return Ok(seen.reading(now.since(started_at), None));
        }
        match camera.grab(token) {
            Grab::Frame(frame) => {
                let now = clock.now();
                heard_at = now;
                seen.count(frame.id, frame.exposure_at);
                if now < next_look {
                    continue;
                }
                next_look = now + LOOK;
                seen.look(Quality::of(&frame));
                seen.unseen = inspect.as_mut().and_then(|inspect| inspect.look(&frame)).map(pipeline::reason);
                if now >= next_word {
                    next_word = now + period.max(LOOK);
                    say(&seen.reading(now.since(started_at), None))?;
                }
            }
            Grab::Broken(broken) => {
                seen.count(broken.id, broken.exposure_at);
                seen.lost += 1;
            }
            Grab::Idle => {
                let now = clock.now();
                if now.since(heard_at) >= SILENCE && now >= next_word {
                    next_word = now + period.max(LOOK);
                    say(&seen.reading(now.since(started_at), Some(now.since(heard_at))))?;
                }
            }
            Grab::Fault(fault, error) => {
                let message = format!("{fault}: {}", error.message());
                return Err(Error::new(error.kind(), message).caused_by(error));
            }
            Grab::End => return Ok(seen.reading(clock.now().since(started_at), None)),
        }
    }
}

#[derive(Default)]
struct Seen {
    frames: u64,
    lost: u64,
    next: Option<FrameId>,
    exposures: VecDeque<Timestamp>,
    last: Option<Quality>,
    best: f32,
    unseen: Option<Reason>,
}

impl Seen {
    fn count(&mut self, id: FrameId, exposure_at: Timestamp) {
        self.frames += 1;
        self.lost += self.next.map_or(0, |next| id.0.saturating_sub(next.0));
        self.next = Some(FrameId(id.0 + 1));
        if self.exposures.len() == RATE_OVER {
            self.exposures.pop_front();
        }
        self.exposures.push_back(exposure_at);
    }

    fn look(&mut self, quality: Quality) {
        self.best = self.best.max(quality.sharpness);
        self.last = Some(quality);
    }

    fn rate_hz(&self) -> Option<f64> {
        let span = self.exposures.back()?.since(*self.exposures.front()?).as_secs_f64();
        (span > 0.0).then(|| (self.exposures.len() - 1) as f64 / span)
    }

    fn reading(&self, since_start: Duration, silent: Option<Duration>) -> Reading {
        Reading {
            schema: 1,
            seconds: since_start.as_secs_f64(),
            frames: self.frames,
            lost: self.lost,
            rate_hz: self.rate_hz(),
            silent_s: silent.map(|silent| silent.as_secs_f64()),
            sharpness: self.last.map(|q| q.sharpness),
            best: self.last.map(|_| self.best),
            brightness: self.last.map(|q| q.mean),
            clipped_bright: self.last.map(|q| q.bright),
            clipped_dark: self.last.map(|q| q.dark),
            exposure: self.last.map(|q| q.exposure().as_str()),
            unseen: self.unseen.map(Reason::as_str),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::camera::{BrokenFrame, CameraFault};
    use crate::clock::{SchedulerSlot, SimClock};
    use crate::error::ErrorKind;
    use crate::frame::Frame;
    use crate::inspect::{Blindness, Inspection, Unseen};

    const MS: u64 = 1_000_000;

    /// A camera at 20 Hz that comes into focus until its 40th frame and goes out of it again.
    struct Lens {
        clock: Arc<dyn Clock>,
        next: u64,
        ends_at: u64,
    }

    impl Camera for Lens {
        fn grab(&mut self, token: &WakeToken) -> Grab {
            let n = self.next;
            let exposure_at = Timestamp(50 * MS * n);
            if n == self.ends_at {
                let error = Error::new(ErrorKind::Disconnected, "/dev/video0 went away: check its cable");
                return Grab::Fault(CameraFault::Disconnected, error);
            }
            // Nothing comes between the 100th and the 200th.
            if (100..200).contains(&n) {
                self.next += 1;
                self.clock.wait(token, Some(exposure_at));
                return Grab::Idle;
            }
            self.clock.wait(token, Some(exposure_at));
            self.next += if n == 9 { 3 } else { 1 };
            let id = FrameId(if n >= 200 { n - 100 } else { n });
            if n == 20 {
                let error = Error::new(ErrorKind::Corrupt, "cut short");
                return Grab::Broken(BrokenFrame { id, exposure_at, error });
            }
            let contrast = 100 - n.abs_diff(40).min(90) as u8;
            let rgb: Vec<u8> = (0..32 * 32_u32)
                .flat_map(|p| [if (p % 32 / 4 + p / 32 / 4) % 2 == 0 { 100 } else { 100 + contrast }; 3])
                .collect();
            Grab::Frame(Frame { id, exposure_at, dequeued_at: exposure_at, ..Frame::still(32, 32, rgb) })
        }
    }

    /// A recipe that knows light below a level as dark.
    struct DarkBelow(f32);

    impl Inspect for DarkBelow {
        fn look(&mut self, frame: &Frame) -> Option<Unseen> {
            (Quality::of(frame).mean < self.0).then_some(Unseen::Blind(Blindness::Dark))
        }

        fn inspect(&mut self, _frame: &Frame) -> Result<Inspection> {
            Err(Error::new(ErrorKind::Internal, "nobody asked for a verdict"))
        }
    }

    fn watched(until_ms: Option<u64>, period: Duration, ends_at: u64) -> (Result<Reading>, Vec<Reading>) {
        let clock: Arc<dyn Clock> = Arc::new(SimClock::new());
        let slot = SchedulerSlot::reserve(&clock, "live");
        slot.take();
        let mut lens = Lens { clock: Arc::clone(&clock), next: 0, ends_at };
        let mut readings = Vec::new();
        let until = until_ms.map(|ms| Timestamp(ms * MS));
        let (mut recipe, token, stop) = (DarkBelow(140.0), WakeToken::new(), Stop::new());
        let watched = Watched { camera: &mut lens, inspect: Some(&mut recipe) };
        let outcome = watch(watched, &*clock, &token, &stop, Pace { until, period }, &mut |reading| {
            readings.push(reading.clone());
            Ok(())
        });
        (outcome, readings)
    }

    #[test]
    fn the_peak_is_held_and_frames_are_counted() {
        let (last, readings) = watched(Some(4000), LOOK, u64::MAX);
        let last = last.unwrap();
        assert_eq!(readings.len(), 20, "five a second");
        let sharpest = readings.iter().max_by(|a, b| a.sharpness.partial_cmp(&b.sharpness).unwrap()).unwrap();
        assert!((1.9..2.2).contains(&sharpest.seconds), "{sharpest:?}");
        assert_eq!(last.best, sharpest.sharpness);
        assert!(last.sharpness < last.best);
        assert!(readings.windows(2).all(|w| w[0].best <= w[1].best));
        // Two numbers never came and one frame was damaged.
        assert_eq!(last.lost, 3);
        assert!((last.rate_hz.unwrap() - 20.0).abs() < 0.1, "{last:?}");
        assert_eq!(last.exposure, Some("good"));
    }

    #[test]
    fn a_frame_that_a_recipe_could_not_judge_is_named() {
        let (_, readings) = watched(Some(4000), LOOK, u64::MAX);
        for reading in &readings {
            let expected = (reading.brightness.unwrap() < 140.0).then_some("blind_dark");
            assert_eq!(reading.unseen, expected, "{reading:?}");
        }
        assert!(readings.iter().any(|r| r.unseen.is_some()) && readings.iter().any(|r| r.unseen.is_none()));
    }

    #[test]
    fn a_slow_reader_gets_fewer_words_and_the_same_peak() {
        let (last, readings) = watched(Some(4000), Duration::from_secs(1), u64::MAX);
        assert_eq!(readings.len(), 4);
        assert_eq!(last.unwrap().best, watched(Some(4000), LOOK, u64::MAX).0.unwrap().best);
    }

    #[test]
    fn silence_is_said_and_a_failure_ends_it_with_its_name() {
        let (outcome, readings) = watched(None, LOOK, 210);
        let silent: Vec<_> = readings.iter().filter_map(|r| r.silent_s).collect();
        assert!(silent.len() > 10 && silent[0] >= 2.0 && silent.is_sorted(), "{silent:?}");
        assert_eq!(readings.last().unwrap().silent_s, None, "it came back");
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Disconnected);
        assert!(error.message().contains("disconnected: /dev/video0"), "{error}");
    }
}
