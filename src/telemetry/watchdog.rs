//! The watchdog's judgement: heartbeats in, health out. Reads no clock and sends nothing; `daemon` does both.
//!
//! Each thread of the line leaves a [`Beat`] when it makes progress, at the cost of one store; nobody waits for anybody.
//! Progress is what counts, not being alive: a camera that has never shown a frame, an inspection that does not come
//! back and a loop that does not turn are stale, whatever their threads say.
//!
//! ```text
//! starting ── all fresh ──► ready, fed while all are fresh ── one is stale ──► stalled: not fed, then triggered
//!                              └── the run ends ──► stopping, fed while all are fresh
//! ```
//!
//! A camera that says itself that it is down is a known state, not a stall: its parts meet the plant's policy and the
//! fault output is up. Only when that lasts ([`Limits::camera_down`]) a fresh start is tried.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Timestamp;

/// When a thread last did something, or since when something lasts.
#[derive(Debug)]
pub struct Beat(AtomicU64);

/// No instant: 584 years after the start of the clock.
const NEVER: u64 = u64::MAX;

impl Default for Beat {
    fn default() -> Self {
        Self(AtomicU64::new(NEVER))
    }
}

impl Beat {
    /// It happened now.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.0, Ordering::SeqCst);
    }

    /// It began now, unless it lasts already.
    pub fn begin(&self, now: Timestamp) {
        // Whether it lasted already is all that the comparison can tell.
        _ = self.0.compare_exchange(NEVER, now.0, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// It lasts no longer.
    pub fn clear(&self) {
        self.0.store(NEVER, Ordering::SeqCst);
    }

    fn get(&self) -> Option<Timestamp> {
        Some(self.0.load(Ordering::SeqCst)).filter(|&ns| ns != NEVER).map(Timestamp)
    }
}

/// What the threads of the line leave behind as they make progress.
#[derive(Debug, Default)]
pub struct Heartbeats {
    /// `cap`: the last frame, a broken one included.
    pub frame: Beat,
    /// `cap`: the camera last answered that no frame is due.
    pub idle: Beat,
    /// `cap`: since when the camera says that it cannot deliver.
    pub camera_down: Beat,
    /// `cap`: the camera has said that no frame will come any more.
    pub camera_ended: Beat,
    /// `cap`: since when the tripwire learns its empty belt; until it knows that, no part starts.
    pub learning: Beat,
    /// `insp`: since when the inspection owes an answer: it is at work, or a job waits and was not taken.
    pub inspecting: Beat,
    /// `act`: the last turn of its loop.
    pub turned: Beat,
}

impl Heartbeats {
    /// The instants as they are.
    pub fn read(&self) -> Beats {
        Beats {
            frame: self.frame.get(),
            idle: self.idle.get(),
            camera_down: self.camera_down.get(),
            camera_ended: self.camera_ended.get(),
            learning: self.learning.get(),
            inspecting: self.inspecting.get(),
            turned: self.turned.get(),
        }
    }
}

/// The instants of [`Heartbeats`]; `None` is never, or not at present.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beats {
    /// The last frame.
    pub frame: Option<Timestamp>,
    /// The last answer that no frame is due.
    pub idle: Option<Timestamp>,
    /// Since when the camera is down by its own words.
    pub camera_down: Option<Timestamp>,
    /// Since when the camera has ended.
    pub camera_ended: Option<Timestamp>,
    /// Since when the tripwire learns.
    pub learning: Option<Timestamp>,
    /// Since when the inspection owes an answer.
    pub inspecting: Option<Timestamp>,
    /// The last turn of the actuation loop.
    pub turned: Option<Timestamp>,
}

/// How long each may take before it is stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From one frame, or one answer that none is due, to the next.
    pub camera: Duration,
    /// How long a camera may say that it is down before a fresh start is tried.
    pub camera_down: Duration,
    /// One inspection.
    pub inspection: Duration,
    /// One turn of the actuation loop, which is woken several times in that.
    pub actuation: Duration,
    /// Whether the absence of frames can be right: parts start at an edge of an input, and between two parts none is due.
    /// A camera that finds parts itself, or is asked for them by the clock, has to deliver all the time.
    pub may_idle: bool,
}

impl Limits {
    /// For a camera that delivers `rate_hz` frames a second.
    ///
    /// Chosen: four periods of the camera, or 2 s, which a hub that resets its port needs; a minute for a cable that is
    /// put back; 10 s for an inspection, ten times what the slowest board needs; 2 s for a loop whose turn takes
    /// microseconds. Shorter limits restart a line that would have gone on, longer ones leave a dead one unseen.
    pub fn at_rate(rate_hz: f64, may_idle: bool) -> Self {
        let four_periods = Duration::try_from_secs_f64(4.0 / rate_hz).unwrap_or(Duration::MAX);
        Self {
            camera: four_periods.max(Duration::from_secs(2)),
            camera_down: Duration::from_secs(60),
            inspection: Duration::from_secs(10),
            actuation: Duration::from_secs(2),
            may_idle,
        }
    }

    /// How long a thread may take to end once it was told to: as long as it may take for anything.
    pub fn ending(&self) -> Duration {
        self.inspection.max(self.camera)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::at_rate(1.0, true)
    }
}

/// What a camera is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CameraState {
    /// It has not shown a frame yet.
    NeverSeen,
    /// It delivers.
    Fresh,
    /// It answers that no frame is due, and none has to be.
    Idle,
    /// It says itself that it cannot deliver; it is asked again and again.
    Down,
    /// It has not been heard of for longer than its limit.
    Silent,
    /// There will be no more frames.
    Ended,
}

impl CameraState {
    /// Every state.
    pub const ALL: [Self; 6] = [Self::NeverSeen, Self::Fresh, Self::Idle, Self::Down, Self::Silent, Self::Ended];

    /// The word in `status` output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NeverSeen => "never_seen",
            Self::Fresh => "fresh",
            Self::Idle => "idle",
            Self::Down => "down",
            Self::Silent => "silent",
            Self::Ended => "ended",
        }
    }
}

/// A part of the line that makes no progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stale {
    /// The camera.
    Camera,
    /// The inspection.
    Inspection,
    /// The actuation loop.
    Actuation,
}

impl Stale {
    /// What makes no progress, for a sentence.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Camera => "the camera (cap)",
            Self::Inspection => "the inspection (insp)",
            Self::Actuation => "the actuation loop (act)",
        }
    }
}

impl Beats {
    /// What the camera is doing.
    pub fn camera(&self, limits: &Limits, now: Timestamp) -> CameraState {
        let is_recent = |at: Option<Timestamp>| at.is_some_and(|at| now.since(at) <= limits.camera);
        if self.camera_ended.is_some() {
            CameraState::Ended
        } else if self.camera_down.is_some() {
            CameraState::Down
        } else if is_recent(self.frame) {
            CameraState::Fresh
        } else if limits.may_idle && is_recent(self.idle) {
            CameraState::Idle
        } else if self.frame.is_none() {
            CameraState::NeverSeen
        } else {
            CameraState::Silent
        }
    }

    /// Whether the camera, the inspection and the loop have all shown that they work, and parts are seen.
    pub fn is_ready(&self, limits: &Limits, now: Timestamp) -> bool {
        let camera = matches!(self.camera(limits, now), CameraState::Fresh | CameraState::Idle | CameraState::Ended);
        camera && self.learning.is_none() && self.stale(limits, now).is_none()
    }

    /// What makes no progress, the worst first: without the loop nothing reaches the outputs.
    pub fn stale(&self, limits: &Limits, now: Timestamp) -> Option<Stale> {
        let lasts = |since: Option<Timestamp>, limit| since.is_some_and(|since| now.since(since) > limit);
        if self.turned.is_none() || lasts(self.turned, limits.actuation) {
            return Some(Stale::Actuation);
        }
        if lasts(self.inspecting, limits.inspection) {
            return Some(Stale::Inspection);
        }
        let camera = match self.camera(limits, now) {
            CameraState::Fresh | CameraState::Idle | CameraState::Ended => false,
            CameraState::Down => lasts(self.camera_down, limits.camera_down),
            CameraState::NeverSeen | CameraState::Silent => true,
        };
        camera.then_some(Stale::Camera)
    }
}

/// Something to tell the service manager, or the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Say {
    /// The line is up.
    Ready,
    /// Everything made progress.
    Feed,
    /// The run ends.
    Stopping,
    /// This makes no progress: from now on the watchdog is not fed.
    Stalled(Stale),
    /// It makes progress again; only without a watchdog, which does not wait for that.
    Recovered(Stale),
    /// Restart it now.
    Trigger,
}

/// What was said so far, and so what is to be said next.
#[derive(Clone, Debug)]
pub struct Watchdog {
    limits: Limits,
    /// The service manager restarts what has not fed for this long; `None` where it does not watch.
    period: Option<Duration>,
    is_ready: bool,
    is_stopping: bool,
    is_triggered: bool,
    fed_at: Option<Timestamp>,
    stalled: Option<Stale>,
}

impl Watchdog {
    /// A watchdog that has said nothing yet.
    pub fn new(limits: Limits, period: Option<Duration>) -> Self {
        let (is_ready, is_stopping, is_triggered) = (false, false, false);
        Self { limits, period, is_ready, is_stopping, is_triggered, fed_at: None, stalled: None }
    }

    /// Until when [`turn`](Self::turn) should be called again: often enough to feed at half the period and to see the
    /// start, rarely enough to cost nothing.
    pub fn tick(&self) -> Duration {
        let unready = Duration::from_millis(50);
        let (shortest, longest) = (Duration::from_millis(5), Duration::from_millis(500));
        if self.is_ready { self.period.map_or(longest, |p| p / 4).clamp(shortest, longest) } else { unready }
    }

    /// What to say, in this order, given what the threads left behind and whether the run is about to end.
    pub fn turn(&mut self, beats: &Beats, is_ending: bool, now: Timestamp) -> [Option<Say>; 3] {
        let mut says = [None; 3];
        if is_ending && !self.is_stopping {
            self.is_stopping = true;
            says[0] = Some(Say::Stopping);
        } else if !self.is_ready && !is_ending && beats.is_ready(&self.limits, now) {
            self.is_ready = true;
            says[0] = Some(Say::Ready);
        }
        if !self.is_ready && !self.is_stopping {
            return says;
        }
        let stale = beats.stale(&self.limits, now);
        // With a watchdog a stall is final: the run has been told to end, and what recovers would be half a line.
        let is_final = self.period.is_some() && self.stalled.is_some();
        if !is_final && stale != self.stalled {
            says[1] = stale.map(Say::Stalled).or(self.stalled.map(Say::Recovered));
            self.stalled = stale;
        }
        says[2] = self.feed_or_trigger(now);
        says
    }

    fn feed_or_trigger(&mut self, now: Timestamp) -> Option<Say> {
        let period = self.period?;
        let since_fed = self.fed_at.map(|at| now.since(at));
        match self.stalled {
            None if since_fed.is_none_or(|since| since >= period / 2) => {
                self.fed_at = Some(now);
                Some(Say::Feed)
            }
            None => None,
            // A live loop uses what is left of the period to put the outputs to rest; a dead one cannot.
            Some(stale) if !self.is_triggered => {
                let is_over = since_fed.is_none_or(|since| since >= period / 4 * 3);
                self.is_triggered = stale == Stale::Actuation || is_over;
                self.is_triggered.then_some(Say::Trigger)
            }
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
