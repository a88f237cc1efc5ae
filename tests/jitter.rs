//! How exact pulses are on the real clock while every core is busy: 10,000 pulses at 100 a second through the daemon's
//! own actuation loop, edges recorded in memory, twice as many spinning threads as cores beside it.
//!
//! What the machine itself makes late is measured beside it: a thread of the same priority that does nothing but sleep
//! until an instant and look at the clock, half way between the pulses. On a machine that is virtual both are late when
//! the host takes the processor away; what the line adds to that is ours.
//!
//! A measurement that takes two minutes, so it runs only where it is asked for:
//!
//! ```sh
//! ZOOMGATE_JITTER=1 cargo test --release --test jitter -- --nocapture
//! ```

mod rig;

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rig::{Rig, ms};
use rustix::thread::clock_nanosleep_absolute;
use rustix::time::{ClockId, Timespec};
use zoomgate::clock::{Clock, MonotonicClock, Timestamp};
use zoomgate::config::Realtime;
use zoomgate::daemon;
use zoomgate::decide::OnUninspected;
use zoomgate::gpio::{Level, LineFault, OutputLine, SafeLine};
use zoomgate::pipeline::Capacity;
use zoomgate::pipeline::inspection::InspectionCost;
use zoomgate::reject::PulseOutcome;
use zoomgate::sim::belt::Spacing;
use zoomgate::units::Millimetres;

const PULSES: u64 = 10_000;
const SPACING: Duration = Duration::from_millis(10);
/// What is promised of the 99.9th percentile, on a machine that is itself so exact.
const PROMISED: Duration = Duration::from_millis(1);
/// What the line may add to the machine's own where that is not. Chosen: ten times a turn of the loop.
const ADDED: Duration = Duration::from_micros(200);
const REALTIME: Realtime = Realtime { priority: Some(40), lock_memory: true };

/// Threads that keep every core busy until dropped.
struct Load {
    over: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Load {
    fn on_every_core() -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let count = 2 * thread::available_parallelism().map_or(1, usize::from);
        let spin = |over: Arc<AtomicBool>| {
            let mut n = 1.0_f64;
            while !over.load(Ordering::Relaxed) {
                n = black_box(n * 1.000_001 + 1e-9) % 1e6;
            }
        };
        let threads = (0..count).map(|_| Arc::clone(&over)).map(|over| thread::spawn(move || spin(over))).collect();
        Self { over, threads }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            _ = thread.join();
        }
    }
}

/// An output that notes when it rose; its room is made beforehand, since it is `act` that would wait for more.
struct Rises {
    clock: MonotonicClock,
    noted: Arc<Mutex<Vec<Timestamp>>>,
}

impl OutputLine for Rises {
    fn set_level(&mut self, level: Level) -> Result<(), LineFault> {
        if level == Level::High {
            let now = self.clock.now();
            self.noted.lock().unwrap().push(now);
        }
        Ok(())
    }

    fn name(&self) -> &str {
        "reject"
    }
}

/// How late a bare thread of the same priority wakes, once each spacing, until it is told to end.
fn floor(over: &AtomicBool) -> Vec<Duration> {
    let realtime = zoomgate::daemon::realtime::enter(REALTIME);
    let mut late = Vec::with_capacity(2 * PULSES as usize);
    let mut at = MonotonicClock.now();
    while !over.load(Ordering::Relaxed) && late.len() < late.capacity() {
        at = at + SPACING;
        let (seconds, nanos) = (at.0 / 1_000_000_000, at.0 % 1_000_000_000);
        let until = Timespec { tv_sec: seconds as _, tv_nsec: nanos as _ };
        while clock_nanosleep_absolute(ClockId::Monotonic, &until).is_err() {}
        late.push(MonotonicClock.now().since(at));
    }
    println!("the bare thread: {realtime:?}");
    late
}

/// The percentiles of a distribution, worst last.
struct Percentiles([Duration; 4]);

impl Percentiles {
    const OF: [f64; 4] = [0.5, 0.99, 0.999, 1.0];

    fn new(mut late: Vec<Duration>) -> Self {
        late.sort_unstable();
        Self(Self::OF.map(|q| late[((q * late.len() as f64).ceil() as usize).clamp(1, late.len()) - 1]))
    }

    fn p999(&self) -> Duration {
        self.0[2]
    }
}

impl std::fmt::Display for Percentiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [p50, p99, p999, max] = self.0;
        write!(f, "p50 {p50:?}, p99 {p99:?}, p99.9 {p999:?}, max {max:?}")
    }
}

#[test]
fn pulses_are_exact_under_full_load() {
    if std::env::var_os("ZOOMGATE_JITTER").is_none() {
        println!("SKIPPED: set ZOOMGATE_JITTER=1 to measure {PULSES} pulses under full load, which takes two minutes");
        return;
    }
    let mut rig = Rig::new(PULSES, 1);
    rig.spacing = Spacing { mean: SPACING, jitter: 0.0, crowded: 0.0, crowded_gap: SPACING };
    rig.reject.travel = Millimetres(200.0);
    rig.reject.pulse_width = ms(5);
    rig.reject.window = ms(4);
    rig.capacity = Capacity { jobs: 64, ledger: 256 };
    rig.cost = InspectionCost::Measured;
    // Whatever becomes of its inspection, each part gets its pulse: it is the pulses that are measured.
    rig.safety.on_uninspected = OnUninspected::Reject;
    let (mut wiring, watch) = rig.wire_on(Arc::new(MonotonicClock));
    wiring.threshold = f32::NEG_INFINITY;
    let noted = Arc::new(Mutex::new(Vec::with_capacity(PULSES as usize)));
    let line = Rises { clock: MonotonicClock, noted: Arc::clone(&noted) };
    wiring.reject_line = SafeLine::new(Box::new(line), Level::Low);
    wiring.service.realtime = REALTIME;
    let load = Load::on_every_core();
    let spinning = load.threads.len();
    let over = Arc::new(AtomicBool::new(false));
    let is_over = Arc::clone(&over);
    let bare = thread::spawn(move || floor(&is_over));
    let report = daemon::run(wiring).unwrap();
    over.store(true, Ordering::Relaxed);
    let floor = Percentiles::new(bare.join().unwrap());
    drop(load);

    let records = watch.one_record_each(PULSES);
    let fired: Vec<_> = records.iter().filter(|r| r.pulse == Some(PulseOutcome::Fired)).collect();
    let rises = noted.lock().unwrap().clone();
    assert_eq!(fired.len(), rises.len(), "one rise for each pulse that was fired");
    // One that was not fired for itself is as late as the loop was when it found that out.
    let others = records.iter().filter(|r| r.pulse != Some(PulseOutcome::Fired));
    let others = others.map(|r| r.pulse_at.map_or(Duration::MAX, |at| at.since(r.part.deadline)));
    let off = fired.iter().zip(&rises).map(|(r, at)| at.since(r.part.deadline)).chain(others).collect();
    assert!(fired.iter().zip(&rises).all(|(r, at)| *at >= r.part.deadline), "no pulse comes before its instant");
    let ours = Percentiles::new(off);
    let realtime = &watch.events_of("realtime")[0];
    println!("{PULSES} pulses, one each {SPACING:?}, beside {spinning} spinning threads");
    println!("the machine allowed: {realtime}");
    println!("pulses: {:?}", report.counts.pulses);
    println!("edge minus plan:     {ours}");
    println!("bare thread's wake:  {floor}");
    if realtime["fifo_priority"].is_null() {
        println!("without SCHED_FIFO nothing is promised");
    } else {
        let bound = PROMISED.max(floor.p999() + ADDED);
        assert!(ours.p999() <= bound, "the promise is {PROMISED:?}, or {ADDED:?} more than the machine: {bound:?}");
    }
}
