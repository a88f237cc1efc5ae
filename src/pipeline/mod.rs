//! Threads and links: from trigger to pulse.
//!
//! ```text
//!            frames            jobs             scores
//!   cap ───────────────► act ────────► insp ─────────────► act
//!  camera                 ▲ │                               │ notes
//!            trigger edges┘ └─► reject, ready, fault,       └────────► rec: events, observer
//!                               stop-line outputs
//! ```
//!
//! `act` alone owns the part ledger: parts are born, matched, settled and rejected in one thread, so that "exactly one
//! verdict" needs no lock and a stalled camera or inspection cannot keep a part from its default. (Frames pass through
//! `act` for that reason: one hop of microseconds buys a single owner.) `rec` exists so that a slow disk never holds up
//! a pulse.
//!
//! | link | capacity | when full |
//! |---|---|---|
//! | cap → act, frames | 8, more than `act` ever leaves | the frame is dropped; its number is missing, which makes its part `Uninspected(FrameLost)`, or leaves it without a frame |
//! | act → insp, jobs | parts between camera and actuator | the oldest one not started becomes `Uninspected(Overrun)` |
//! | insp → act, scores | twice that | must not happen: fault INS-03; the part expires as late |
//! | act schedule | 64 | the newest is refused: `failed`, fault ACT-01 |
//! | act → rec, notes | 4096 | the note is dropped and counted, fault REC-01; the counters keep the truth |
//!
//! Nothing pushes into a link by waiting. `cap` waits for its camera only, `act` for time, an edge or a link, `insp` for
//! jobs. A panic in any thread ends the run with an error after the parts in flight have met their policy; a panic in
//! `act` puts the outputs to their safe level first.

pub mod actuation;
pub mod capture;
pub mod inspection;
pub mod queue;
pub mod recording;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::camera::{BrokenFrame, CameraFault};
use crate::clock::{Clock, Timestamp, WakeToken};
use crate::decide::Reason;
use crate::error::{Error, ErrorKind};
use crate::frame::Frame;
use crate::inspect::{Blindness, Inspection, Unseen};
use crate::telemetry::Counters;
use crate::telemetry::board::Board;
use crate::units::PartId;
use queue::Link;
use recording::Note;

/// Frames that wait for `act`.
pub const FRAMES: usize = 8;
/// Notes that wait for `rec`: minutes of a fast belt.
const NOTES: usize = 4096;

/// Bounds that follow from the geometry of the belt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Parts that can wait for their inspection.
    pub jobs: usize,
    /// Parts that can be open in the ledger.
    pub ledger: usize,
}

impl Capacity {
    /// For parts that come `parts_per_s` and take `travel` to the actuator.
    ///
    /// The ledger holds four times as many as fit on average, for belts on which parts come in bunches.
    pub fn between(travel: Duration, parts_per_s: f64) -> Self {
        let in_flight = (travel.as_secs_f64() * parts_per_s).ceil();
        // Clamped before the cast: no belt has 4096 parts between its camera and its actuator.
        let jobs = in_flight.clamp(1.0, 4096.0) as usize + 1;
        Self { jobs, ledger: 4 * jobs + 8 }
    }
}

/// What `cap` sends to `act`.
#[derive(Debug)]
pub enum Captured {
    /// A frame of the configured size.
    Frame(Frame),
    /// The same, and the tripwire has tripped: in this frame, or in one since then that found the link full.
    Trip(Timestamp, Frame),
    /// A frame that cannot be used.
    Broken(BrokenFrame),
    /// The camera does not deliver.
    Fault(CameraFault, Error),
    /// It delivers again, after so long.
    Back(Duration),
}

/// What `act` sends to `insp`.
#[derive(Debug)]
pub struct Job {
    /// The part to inspect.
    pub part: PartId,
    /// After this an inspection would be wasted.
    pub deadline: Timestamp,
    /// Its frame.
    pub frame: Frame,
}

/// What `insp` sends to `act`.
#[derive(Debug)]
pub struct Scored {
    /// The part.
    pub part: PartId,
    /// When its frame was taken from the camera.
    pub dequeued_at: Timestamp,
    /// When its inspection started.
    pub started_at: Timestamp,
    /// What came of it.
    pub outcome: Outcome,
}

/// What comes of a frame that was to be inspected.
#[derive(Debug)]
pub enum Outcome {
    /// It was judged.
    Judged(Inspection),
    /// It cannot be, and was not.
    Unseen(Unseen),
    /// The inspection failed.
    Failed(Error),
}

/// Why a part whose frame shows this is not inspected, in the words of verdicts.
pub fn reason(unseen: Unseen) -> Reason {
    match unseen {
        Unseen::Blind(Blindness::Dark) => Reason::BlindDark,
        Unseen::Blind(Blindness::Bright) => Reason::BlindBright,
        Unseen::Blind(Blindness::Flat) => Reason::BlindFlat,
        Unseen::Blind(Blindness::Blurred) => Reason::BlindBlurred,
        Unseen::Blind(Blindness::Frozen) => Reason::BlindFrozen,
        Unseen::NoPart => Reason::NoPart,
    }
}

/// A request to end the run, shared with signal handlers, web pages and tests; clones are the same request.
#[derive(Clone, Default)]
pub struct Stop(Arc<Request>);

/// A request to open the record files anew, for whoever rotates them; clones are the same request.
#[derive(Clone, Default)]
pub struct Reopen(Arc<Request>);

/// A flag and the tokens of those who look at it.
#[derive(Default)]
struct Request {
    is_made: AtomicBool,
    waiting: Mutex<Vec<(Arc<dyn Clock>, WakeToken)>>,
}

impl Request {
    fn make(&self) {
        self.is_made.store(true, Ordering::SeqCst);
        for (clock, token) in self.waiting.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            clock.wake(token);
        }
    }

    fn attach(&self, clock: &Arc<dyn Clock>, token: &WakeToken) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push((Arc::clone(clock), token.clone()));
    }
}

impl Stop {
    /// A request nobody has made yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the run to end: no new parts, verdicts and pulses for those on the belt, then outputs safe.
    pub fn request(&self) {
        self.0.make();
    }

    /// Whether the run shall end.
    pub fn is_requested(&self) -> bool {
        self.0.is_made.load(Ordering::SeqCst)
    }

    /// Rings this token when the request is made.
    pub fn attach(&self, clock: &Arc<dyn Clock>, token: &WakeToken) {
        self.0.attach(clock, token);
    }
}

impl Reopen {
    /// Asks for new files by the names of the old ones, which may have been renamed.
    pub fn request(&self) {
        self.0.make();
    }

    /// Whether that was asked for since the last call.
    pub fn take(&self) -> bool {
        self.0.is_made.swap(false, Ordering::SeqCst)
    }

    /// Rings this token when the request is made.
    pub fn attach(&self, clock: &Arc<dyn Clock>, token: &WakeToken) {
        self.0.attach(clock, token);
    }
}

/// Everything that the threads of one run share.
pub struct Shared {
    /// The run's clock.
    pub clock: Arc<dyn Clock>,
    /// What is counted; the board's.
    pub counters: Arc<Counters>,
    /// What everybody may read while the run goes on.
    pub board: Arc<Board>,
    /// The request to end the run.
    pub stop: Stop,
    /// cap → act.
    pub frames: Link<Captured>,
    /// act → insp.
    pub jobs: Link<Job>,
    /// insp → act.
    pub scores: Link<Scored>,
    /// act → rec.
    pub notes: Link<Note>,
    /// Wakes `cap`.
    pub cap_bell: WakeToken,
    /// Wakes `insp`.
    pub insp_bell: WakeToken,
    /// Wakes `act`.
    pub act_token: WakeToken,
    /// Wakes `rec`.
    pub rec_bell: WakeToken,
    /// Wakes the thread that watches the others, if there is one.
    pub watch_bell: WakeToken,
    /// Set by `act`: no more parts are taken.
    pub stopping: AtomicBool,
    /// Set by `act`: no more frames are needed.
    pub capture_over: AtomicBool,
    /// One more than the number of the last frame that the camera spoke of.
    pub exposed: AtomicU64,
    /// Scores that found their link full.
    pub scores_lost: AtomicU64,
    cap_finished: AtomicBool,
    insp_finished: AtomicBool,
    rec_finished: AtomicBool,
    ended: (Mutex<[bool; Thread::ALL.len()]>, Condvar),
    failure: Mutex<Option<Error>>,
}

impl Shared {
    /// Links and tokens for one run.
    pub fn new(clock: Arc<dyn Clock>, board: Arc<Board>, stop: Stop, capacity: Capacity) -> Self {
        let [cap_bell, insp_bell, act_token, rec_bell, watch_bell] = std::array::from_fn(|_| WakeToken::new());
        stop.attach(&clock, &act_token);
        Self {
            frames: Link::new(FRAMES, Arc::clone(&clock), act_token.clone()),
            jobs: Link::new(capacity.jobs, Arc::clone(&clock), insp_bell.clone()),
            scores: Link::new(2 * capacity.jobs, Arc::clone(&clock), act_token.clone()),
            notes: Link::new(NOTES, Arc::clone(&clock), rec_bell.clone()),
            clock,
            counters: Arc::clone(&board.counters),
            board,
            stop,
            cap_bell,
            insp_bell,
            act_token,
            rec_bell,
            watch_bell,
            stopping: AtomicBool::new(false),
            capture_over: AtomicBool::new(false),
            exposed: AtomicU64::new(0),
            scores_lost: AtomicU64::new(0),
            cap_finished: AtomicBool::new(false),
            insp_finished: AtomicBool::new(false),
            rec_finished: AtomicBool::new(false),
            ended: Default::default(),
            failure: Mutex::new(None),
        }
    }

    /// Ends the run with this error; the first one stays. Parts in flight still get their verdicts.
    pub fn fail(&self, error: Error) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.clock.wake(&self.act_token);
    }

    /// The message of the failure that ends the run, if there is one.
    pub fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(ToString::to_string)
    }

    /// Takes the failure for the run's result.
    pub fn take_failure(&self) -> Option<Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Tells `cap` that no more frames are needed.
    pub fn end_capture(&self) {
        if !self.capture_over.swap(true, Ordering::SeqCst) {
            self.clock.wake(&self.cap_bell);
        }
    }

    /// `act` takes no more parts.
    pub fn announce_stopping(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.clock.wake(&self.watch_bell);
    }

    /// A thread has ended, by return or by panic: tells those who wait for it.
    pub fn thread_ended(&self, thread: Thread) {
        match thread {
            Thread::Cap => {
                self.board.beats.camera_ended.set(self.clock.now());
                self.cap_finished.store(true, Ordering::SeqCst);
            }
            Thread::Insp => self.insp_finished.store(true, Ordering::SeqCst),
            Thread::Act => {
                self.end_capture();
                self.jobs.close();
                self.notes.close();
            }
            Thread::Rec => {
                self.rec_finished.store(true, Ordering::SeqCst);
                self.clock.wake(&self.watch_bell);
            }
        }
        self.clock.wake(&self.act_token);
        let (ended, more) = &self.ended;
        ended.lock().unwrap_or_else(PoisonError::into_inner)[thread as usize] = true;
        more.notify_all();
    }

    /// Waits until a thread has ended, `limit` at most, of the machine's time also where the run's clock is simulated;
    /// whether it has.
    pub fn await_end(&self, thread: Thread, limit: Duration) -> bool {
        let (ended, more) = &self.ended;
        let ended = ended.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = more.wait_timeout_while(ended, limit, |ended| !ended[thread as usize]);
        waited.unwrap_or_else(PoisonError::into_inner).0[thread as usize]
    }

    fn cap_finished(&self) -> bool {
        self.cap_finished.load(Ordering::SeqCst)
    }

    fn insp_finished(&self) -> bool {
        self.insp_finished.load(Ordering::SeqCst)
    }

    /// Whether the events are written, which is the last thing that a run does.
    pub fn rec_finished(&self) -> bool {
        self.rec_finished.load(Ordering::SeqCst)
    }
}

/// The threads of a run, in the order in which those due at the same instant run on a simulated clock.
///
/// `act` comes after `insp`: a score that comes at the very instant of its deadline meets the late rule, rather than
/// an expired part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thread {
    /// Capture.
    Cap,
    /// Inspection.
    Insp,
    /// Triggers, ledger and outputs.
    Act,
    /// Events.
    Rec,
}

impl Thread {
    /// Every thread, in slot order.
    pub const ALL: [Self; 4] = [Self::Cap, Self::Insp, Self::Act, Self::Rec];

    /// The name in `top -H` and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cap => "cap",
            Self::Insp => "insp",
            Self::Act => "act",
            Self::Rec => "rec",
        }
    }

    /// The error of a run whose thread panicked.
    pub fn panicked(self, story: &str) -> Error {
        let message = format!("thread {} panicked: {story}; report it with the log above", self.name());
        Error::new(ErrorKind::Internal, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_blindness_has_its_reason() {
        for blindness in Blindness::ALL {
            assert_eq!(reason(Unseen::Blind(blindness)).blindness(), Some(blindness.as_str()));
        }
        assert_eq!(reason(Unseen::NoPart).blindness(), None);
    }

    #[test]
    fn capacities_follow_from_the_belt() {
        let half_second = Duration::from_millis(500);
        for (parts_per_s, jobs) in [(0.1, 2), (10.0, 6), (1e12, 4097), (f64::NAN, 1)] {
            assert_eq!(Capacity::between(half_second, parts_per_s).jobs, jobs, "{parts_per_s} parts/s");
        }
    }
}
