//! How exact pulses are on the real clock while every core is busy: 10,000 pulses at 100 a second through the daemon's
//! own actuation loop, edges recorded in memory, twice as many spinning threads as cores beside it.
//!
//! A measurement of the machine that takes two minutes, so it runs only where it is asked for:
//!
//! ```sh
//! ZOOMGATE_JITTER=1 cargo test --release --test jitter -- --nocapture
//! ```

mod rig;

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rig::{Rig, ms};
use zoomgate::clock::MonotonicClock;
use zoomgate::config::Realtime;
use zoomgate::daemon;
use zoomgate::decide::OnUninspected;
use zoomgate::gpio::Level;
use zoomgate::pipeline::Capacity;
use zoomgate::pipeline::inspection::InspectionCost;
use zoomgate::reject::PulseOutcome;
use zoomgate::sim::belt::Spacing;
use zoomgate::units::Millimetres;

const PULSES: u64 = 10_000;
const SPACING: Duration = Duration::from_millis(10);
/// What is promised of the 99.9th percentile.
const PROMISED: Duration = Duration::from_millis(1);

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
    wiring.service.realtime = Realtime { priority: Some(40), lock_memory: true };
    let load = Load::on_every_core();
    let spinning = load.threads.len();
    let report = daemon::run(wiring).unwrap();
    drop(load);

    let records = watch.one_record_each(PULSES);
    let fired: Vec<_> = records.iter().filter(|r| r.pulse == Some(PulseOutcome::Fired)).collect();
    let rises: Vec<_> = watch.edges("reject").into_iter().filter(|e| e.level == Level::High).collect();
    assert_eq!(fired.len(), rises.len(), "one rise for each pulse that was fired");
    // A pulse that was not fired for itself has missed its instant by more than can be said.
    let mut off: Vec<Duration> = fired.iter().zip(&rises).map(|(r, e)| e.at.since(r.part.deadline)).collect();
    assert!(fired.iter().zip(&rises).all(|(r, e)| e.at >= r.part.deadline), "no pulse comes before its instant");
    off.resize(records.len(), Duration::MAX);
    off.sort_unstable();
    let at = |q: f64| off[((q * off.len() as f64).ceil() as usize).clamp(1, off.len()) - 1];
    let shown = |d: Duration| if d == Duration::MAX { "not fired".to_owned() } else { format!("{d:?}") };
    let realtime = &watch.events_of("realtime")[0];
    println!("{PULSES} pulses, one each {SPACING:?}, beside {spinning} spinning threads");
    println!("the machine allowed: {realtime}");
    println!("pulses: {:?}", report.counts.pulses);
    println!(
        "edge minus plan: p50 {}, p99 {}, p99.9 {}, max {}",
        shown(at(0.5)),
        shown(at(0.99)),
        shown(at(0.999)),
        shown(at(1.0))
    );
    if realtime["fifo_priority"].is_null() {
        println!("without SCHED_FIFO nothing is promised");
    } else {
        assert!(at(0.999) <= PROMISED, "the promise is {PROMISED:?}");
    }
}
