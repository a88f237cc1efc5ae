//! How exact pulses are on the real clock while every core is busy: 10,000 pulses at 100 a second through the daemon's
//! own actuation loop, edges recorded in memory, twice as many spinning threads as cores beside it.
//!
//! What the machine itself makes late is measured beside it: on each processor a thread of the same priority that does
//! nothing but sleep until the next half millisecond and look at the clock. While one of them oversleeps, its processor
//! was not there: on a virtual machine the host had taken it away. A pulse's own lateness is what no such gap covers.
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
use rustix::thread::{CpuSet, clock_nanosleep_absolute, sched_setaffinity};
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
/// What is promised of the 99.9th percentile of what no gap of the machine covers.
const PROMISED: Duration = Duration::from_millis(1);
/// From one look of a bare thread to the next.
const LOOK: Duration = Duration::from_micros(500);
/// A bare thread that oversleeps by more has met a gap. Chosen: well above the wakes of a machine that is there.
const GAP: Duration = Duration::from_micros(150);
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

/// How late a bare thread on one processor woke, and the gaps that it met, as (due, woken).
struct Bare {
    late: Vec<Duration>,
    gaps: Vec<(Timestamp, Timestamp)>,
}

/// Looks at the clock on `processor` until told to end.
fn look(processor: usize, over: &AtomicBool) -> Bare {
    let mut only = CpuSet::new();
    only.set(processor);
    sched_setaffinity(None, &only).unwrap();
    zoomgate::daemon::realtime::enter(REALTIME);
    let room = (PULSES as usize + 1000) * (SPACING.as_micros() / LOOK.as_micros()) as usize;
    let mut bare = Bare { late: Vec::with_capacity(room), gaps: Vec::with_capacity(room) };
    let mut at = MonotonicClock.now();
    while !over.load(Ordering::Relaxed) && bare.late.len() < room {
        // Looks that were slept through are not made up for: they would count one gap many times.
        at = (at + LOOK).max(MonotonicClock.now());
        let (seconds, nanos) = (at.0 / 1_000_000_000, at.0 % 1_000_000_000);
        let until = Timespec { tv_sec: seconds as _, tv_nsec: nanos as _ };
        while clock_nanosleep_absolute(ClockId::Monotonic, &until).is_err() {}
        let woken = MonotonicClock.now();
        bare.late.push(woken.since(at));
        if woken.since(at) > GAP {
            bare.gaps.push((at, woken));
        }
    }
    bare
}

/// What of `from..to` no gap covers, the gap that covers most of it counted.
fn uncovered(from: Timestamp, to: Timestamp, gaps: &[(Timestamp, Timestamp)]) -> Duration {
    let covered = gaps.iter().map(|&(due, woken)| to.min(woken).since(from.max(due))).max();
    to.since(from).saturating_sub(covered.unwrap_or_default())
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
    wiring.line.threshold = f32::NEG_INFINITY;
    let noted = Arc::new(Mutex::new(Vec::with_capacity(PULSES as usize)));
    let line = Rises { clock: MonotonicClock, noted: Arc::clone(&noted) };
    wiring.line.reject_line = SafeLine::new(Box::new(line), Level::Low);
    wiring.service.realtime = REALTIME;
    let load = Load::on_every_core();
    let spinning = load.threads.len();
    let over = Arc::new(AtomicBool::new(false));
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let bare: Vec<_> = (0..processors)
        .map(|processor| (processor, Arc::clone(&over)))
        .map(|(processor, over)| thread::spawn(move || look(processor, &over)))
        .collect();
    let report = daemon::run(wiring).unwrap();
    over.store(true, Ordering::Relaxed);
    let bare: Vec<Bare> = bare.into_iter().map(|thread| thread.join().unwrap()).collect();
    drop(load);

    let records = watch.one_record_each(PULSES);
    let fired: Vec<_> = records.iter().filter(|r| r.pulse == Some(PulseOutcome::Fired)).collect();
    let rises = noted.lock().unwrap().clone();
    assert_eq!(fired.len(), rises.len(), "one rise for each pulse that was fired");
    assert!(fired.iter().zip(&rises).all(|(r, at)| *at >= r.part.deadline), "no pulse comes before its instant");
    // One that was not fired for itself is as late as the loop was when it found that out.
    let others = records.iter().filter(|r| r.pulse != Some(PulseOutcome::Fired)).map(|r| (r, r.pulse_at.unwrap()));
    let pulses: Vec<_> =
        fired.iter().copied().zip(rises).chain(others).map(|(record, at)| (record.part.deadline, at)).collect();
    let gaps: Vec<_> = bare.iter().flat_map(|bare| bare.gaps.iter().copied()).collect();
    let all = Percentiles::new(pulses.iter().map(|(due, at)| at.since(*due)).collect());
    let own = Percentiles::new(pulses.iter().map(|(due, at)| uncovered(*due, *at, &gaps)).collect());
    let realtime = &watch.events_of("realtime")[0];
    println!("{PULSES} pulses, one each {SPACING:?}, beside {spinning} spinning threads");
    println!("the machine allowed: {realtime}");
    println!("pulses: {:?}", report.counts.pulses);
    println!("edge minus plan:      {all}");
    println!("less the gaps:        {own}");
    for (processor, bare) in bare.into_iter().enumerate() {
        let gaps = bare.gaps.len();
        println!("bare on processor {processor}:  {}, {gaps} gaps", Percentiles::new(bare.late));
    }
    if realtime["fifo_priority"].is_null() {
        println!("without SCHED_FIFO nothing is promised");
    } else {
        assert!(own.p999() <= PROMISED, "the promise is {PROMISED:?}");
    }
}
