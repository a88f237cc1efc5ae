//! One story for each way in which a line can go wrong, or end: what the parts get, what the outputs do.

mod rig;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rig::{ByPixel, Rig, SIZE, THRESHOLD, Watch, is_defective, ms};
use zoomgate::camera::{Camera, CameraFault, Grab};
use zoomgate::clock::{Bell, Clock, MonotonicClock, Timestamp};
use zoomgate::config::{self, Config};
use zoomgate::daemon::{self, Wiring};
use zoomgate::decide::{OnMissedReject, OnUninspected, Reason, Verdict};
use zoomgate::error::{Error, ErrorKind, Result};
use zoomgate::frame::Frame;
use zoomgate::gpio::recorded::Record;
use zoomgate::gpio::{self, InputOptions, Inputs, Level, LineFault, OutputLine, SafeLine};
use zoomgate::inspect::{Inspect, Inspection, Unseen};
use zoomgate::pipeline::Capacity;
use zoomgate::pipeline::actuation::Trigger;
use zoomgate::pipeline::inspection::InspectionCost;
use zoomgate::reject::PulseOutcome;
use zoomgate::sim::camera::{Mishap, SimCamera};
use zoomgate::telemetry::Fault;
use zoomgate::units::{FrameId, Score};
use zoomgate::{camera, reject};

/// Wraps the rig's inspection: from the `at`-th frame on, `then` answers.
struct InspectUntil<F> {
    at: u64,
    seen: u64,
    then: F,
}

impl<F: FnMut(&Frame) -> Result<Inspection> + Send> Inspect for InspectUntil<F> {
    fn look(&mut self, _frame: &Frame) -> Option<Unseen> {
        None
    }

    fn inspect(&mut self, frame: &Frame) -> Result<Inspection> {
        self.seen += 1;
        if self.seen == self.at { (self.then)(frame) } else { ByPixel.inspect(frame) }
    }
}

fn inspect_until(at: u64, then: impl FnMut(&Frame) -> Result<Inspection> + Send + 'static) -> Box<dyn Inspect> {
    Box::new(InspectUntil { at, seen: 0, then })
}

/// Replaces the rig's camera by one with mishaps.
fn with_mishaps(rig: Rig, mishaps: impl FnMut(FrameId) -> Mishap + Send + 'static) -> (Wiring, Watch) {
    let arrivals = rig.arrivals();
    let (mut wiring, watch) = rig.wire();
    let camera = SimCamera::new(Arc::clone(&wiring.clock), Arc::new(rig::Pixels), arrivals);
    wiring.camera = Box::new(camera.with_mishaps(mishaps));
    (wiring, watch)
}

/// The part numbers that were born before an abort, all of which must have a record.
fn born(wiring: &Wiring) -> impl Fn() -> u64 + use<> {
    let counters = Arc::clone(&wiring.counters);
    move || counters.snapshot().parts
}

/// An output line that does what a closure says.
struct Scripted<F>(F);

impl<F: FnMut(Level) -> Result<(), LineFault> + Send> OutputLine for Scripted<F> {
    fn set_level(&mut self, level: Level) -> Result<(), LineFault> {
        (self.0)(level)
    }

    fn name(&self) -> &str {
        "reject"
    }
}

fn scripted(script: impl FnMut(Level) -> Result<(), LineFault> + Send + 'static) -> SafeLine {
    SafeLine::new(Box::new(Scripted(script)), Level::Low)
}

fn line_fault() -> LineFault {
    LineFault { line: "reject".to_owned(), message: "no answer".to_owned() }
}

#[test]
fn a_panic_in_the_inspection_leaves_every_part_to_the_policy() {
    let (mut wiring, watch) = Rig::new(40, 1).wire();
    wiring.inspect = inspect_until(10, |_| panic!("on purpose"));
    let born = born(&wiring);
    let error = daemon::run(wiring).unwrap_err();
    assert!(error.message().contains("thread insp panicked: on purpose"), "{error}");
    let records = watch.one_record_each(born());
    assert!((10..40).contains(&records.len()), "the run ends early");
    let tenth = records[9];
    assert_eq!(tenth.verdict, Verdict::Uninspected(Reason::InspectionFailed));
    assert_eq!(tenth.pulse, Some(PulseOutcome::Fired), "the parts in flight are rejected as the plant wants it");
    watch.all_lines_are_safe();
    assert!(watch.was_ever_high("fault"));
    assert!(watch.events_of("stop")[0]["error"].as_str().unwrap().contains("insp"));
}

#[test]
fn a_panic_in_the_actuation_puts_the_line_to_rest_first() {
    let mut rig = Rig::new(40, 1);
    rig.cost = InspectionCost::Modelled(Box::new(|_| ms(240)));
    let (mut wiring, watch) = rig.wire();
    let levels = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&levels);
    wiring.reject_line = scripted(move |level| {
        seen.lock().unwrap().push(level);
        let pulses = seen.lock().unwrap().iter().filter(|l| **l == Level::High).count();
        assert!(level == Level::Low || pulses < 3, "on purpose");
        Ok(())
    });
    let born = born(&wiring);
    let error = daemon::run(wiring).unwrap_err();
    assert!(error.message().contains("thread act panicked: on purpose"), "{error}");
    assert_eq!(levels.lock().unwrap().last(), Some(&Level::Low));
    watch.all_lines_of_the_panel_are_safe();
    let records = watch.one_record_each(born());
    let aborted = records.iter().filter(|r| r.verdict == Verdict::Uninspected(Reason::Shutdown));
    assert!(aborted.count() > 0, "parts on the belt are recorded, and not fired");
    assert_eq!(records.iter().filter(|r| r.pulse == Some(PulseOutcome::Failed)).count(), 1);
    assert_eq!(watch.events_of("stop").len(), 1, "events are written to the end");
}

#[test]
fn a_panic_in_the_camera_ends_the_run_with_the_parts_in_flight_decided() {
    let (wiring, watch) = with_mishaps(Rig::new(40, 1), |id| {
        assert!(id.0 < 12, "on purpose");
        Mishap::None
    });
    let born = born(&wiring);
    let error = daemon::run(wiring).unwrap_err();
    assert!(error.message().contains("thread cap panicked"), "{error}");
    let records = watch.one_record_each(born());
    assert!((12..40).contains(&records.len()), "the run ends early");
    assert!(records[..12].iter().all(|r| r.verdict.reason().is_none()));
    assert_eq!(records.last().unwrap().verdict, Verdict::Uninspected(Reason::NoFrame));
    watch.all_lines_are_safe();
}

#[test]
fn a_panic_in_the_observer_ends_the_run_too() {
    let (mut wiring, watch) = Rig::new(40, 1).wire();
    wiring.observer = Some(Box::new(|record| assert!(record.part.id.0 < 5, "on purpose")));
    let error = daemon::run(wiring).unwrap_err();
    assert!(error.message().contains("thread rec panicked"), "{error}");
    watch.all_lines_are_safe();
}

#[test]
fn a_stop_decides_the_parts_on_the_belt_and_takes_no_new_ones() {
    let (mut wiring, watch) = Rig::new(100, 2).wire();
    let (stop, mut watched) = (wiring.stop.clone(), wiring.observer.take().unwrap());
    wiring.observer = Some(Box::new(move |record| {
        watched(record);
        if record.part.id.0 == 20 {
            stop.request();
        }
    }));
    let report = daemon::run(wiring).unwrap();
    let parts = report.counts.parts;
    assert!((20..40).contains(&parts), "{parts} parts of 100");
    let records = watch.one_record_each(parts);
    for (index, record) in (0..).zip(&records) {
        let expected = if is_defective(index) { Verdict::Reject } else { Verdict::Pass };
        assert_eq!(record.verdict, expected, "part {} of a clean stop", record.part.id);
    }
    watch.all_lines_are_safe();
    let ready_fell = watch.edges("ready").last().unwrap().at;
    let last_fired = records.iter().filter_map(|r| r.pulse_at).max().unwrap();
    assert!(ready_fell < last_fired, "ready falls at the request, the last window is still served");
}

#[test]
fn a_dry_run_decides_everything_and_fires_nothing() {
    let mut rig = Rig::new(50, 3);
    rig.reject.enabled = false;
    rig.safety.on_uninspected = OnUninspected::StopLine;
    rig.cost = InspectionCost::seeded(3, ms(100)..=ms(700));
    let (report, watch) = rig.run();
    let counts = report.unwrap().counts;
    assert!(counts.rejects > 0 && counts.uninspected() > 0);
    assert_eq!(counts.pulses.planned, 0);
    assert!(watch.one_record_each(50).iter().all(|r| r.pulse.is_none()));
    for line in ["reject", "ready", "stop_line"] {
        assert!(!watch.was_ever_high(line), "{line}");
    }
}

#[test]
fn an_inspection_slower_than_the_belt_overruns_and_loses_nobody() {
    let mut rig = Rig::new(120, 4);
    rig.capacity = Capacity { jobs: 2, ledger: 64 };
    rig.spacing.mean = ms(60);
    rig.cost = InspectionCost::seeded(4, ms(150)..=ms(250));
    let (report, watch) = rig.run();
    let counts = report.unwrap().counts;
    let records = watch.one_record_each(120);
    assert!(counts.uninspected_for(Reason::Overrun) > 20, "{counts:?}");
    assert_eq!(counts.fault(Fault::Overrun), counts.uninspected_for(Reason::Overrun));
    assert!(records.iter().filter(|r| r.verdict.reason().is_some()).all(|r| r.pulse.is_some()));
    assert!(watch.was_ever_high("fault"));
}

#[test]
fn more_parts_than_the_ledger_holds_are_settled_at_birth() {
    let mut rig = Rig::new(60, 4);
    rig.capacity = Capacity { jobs: 2, ledger: 3 };
    rig.spacing.mean = ms(60);
    rig.cost = InspectionCost::Modelled(Box::new(|_| ms(400)));
    let (report, watch) = rig.run();
    assert!(report.unwrap().counts.uninspected_for(Reason::Overrun) > 20);
    assert!(watch.one_record_each(60).iter().all(|r| r.settled_at <= r.part.deadline));
}

#[test]
fn lost_and_damaged_frames_name_their_parts() {
    let (wiring, watch) = with_mishaps(Rig::new(30, 5), |id| match id.0 {
        6 => Mishap::Lost,
        9 => Mishap::Damaged,
        _ => Mishap::None,
    });
    let counts = daemon::run(wiring).unwrap().counts;
    let records = watch.one_record_each(30);
    for (index, record) in (0..).zip(&records) {
        let reason = match index {
            6 => Some(Reason::NoFrame),
            9 => Some(Reason::Broken),
            _ => None,
        };
        assert_eq!(record.verdict.reason(), reason, "part {}", record.part.id);
    }
    assert_eq!((counts.fault(Fault::FramesLost), counts.fault(Fault::FrameBroken)), (1, 1));
}

#[test]
fn where_every_frame_is_a_part_a_lost_one_still_is() {
    let (mut wiring, watch) = with_mishaps(Rig::new(30, 5), |id| match id.0 {
        6 | 7 => Mishap::Lost,
        9 => Mishap::Damaged,
        _ => Mishap::None,
    });
    wiring.trigger = Trigger::EveryFrame;
    daemon::run(wiring).unwrap();
    let records = watch.one_record_each(30);
    let reasons: Vec<_> = records.iter().map(|r| r.verdict.reason()).collect();
    assert_eq!(reasons[5..=9], [None, Some(Reason::FrameLost), Some(Reason::FrameLost), None, Some(Reason::Broken)]);
    assert!(records.windows(2).all(|w| w[0].part.trigger_at < w[1].part.trigger_at));
}

#[test]
fn a_frame_of_another_size_is_never_inspected() {
    let (mut wiring, watch) = Rig::new(5, 6).wire();
    wiring.frame_size = (SIZE.0 + 1, SIZE.1);
    daemon::run(wiring).unwrap();
    assert!(watch.one_record_each(5).iter().all(|r| r.verdict == Verdict::Uninspected(Reason::Broken)));
    let message = watch.events_of("fault")[0]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("2x2") && message.contains("3x2"), "{message}");
}

#[test]
fn a_failed_inspection_and_a_score_that_is_no_number_are_uninspected() {
    for (broken, reason) in [(false, Reason::NotFinite), (true, Reason::InspectionFailed)] {
        let (mut wiring, watch) = Rig::new(10, 7).wire();
        wiring.inspect = inspect_until(4, move |frame| {
            if broken {
                return Err(Error::new(ErrorKind::Internal, "the model gave up"));
            }
            Ok(Inspection { score: Score(f32::NAN), ..ByPixel.inspect(frame)? })
        });
        let counts = daemon::run(wiring).unwrap().counts;
        assert_eq!(counts.uninspected_for(reason), 1);
        assert_eq!(watch.one_record_each(10)[3].verdict, Verdict::Uninspected(reason));
        assert_eq!(watch.events_of("verdict").iter().filter(|e| e["reason"] == reason.as_str()).count(), 1);
    }
}

#[test]
fn a_line_that_does_not_rise_is_a_missed_reject_and_stops_the_belt_if_the_plant_wants_it() {
    for (policy, stops) in [(OnMissedReject::Alarm, false), (OnMissedReject::StopLine, true)] {
        let mut rig = Rig::new(20, 8);
        rig.safety.on_missed_reject = policy;
        let (mut wiring, watch) = rig.wire();
        let raised = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&raised);
        wiring.reject_line = scripted(move |level| {
            let nth = if level == Level::High { count.fetch_add(1, Ordering::Relaxed) } else { 0 };
            if level == Level::High && nth == 1 { Err(line_fault()) } else { Ok(()) }
        });
        let counts = daemon::run(wiring).unwrap().counts;
        assert_eq!((counts.pulses.failed, counts.missed_rejects, counts.fault(Fault::Line)), (1, 1, 1));
        assert_eq!(counts.pulses.planned, counts.pulses.fired + 1, "the others fired");
        assert_eq!(watch.events_of("missed_reject").len(), 1);
        assert!(watch.was_ever_high("fault"));
        assert_eq!(watch.was_ever_high("stop_line"), stops);
    }
}

#[test]
fn a_line_that_does_not_fall_is_told_again_and_then_given_up() {
    let (mut wiring, watch) = Rig::new(20, 8).wire();
    let mut stuck_for = 3;
    wiring.reject_line = scripted(move |level| {
        if level == Level::Low && stuck_for > 0 {
            stuck_for -= 1;
            return Err(line_fault());
        }
        Ok(())
    });
    let counts = daemon::run(wiring).unwrap().counts;
    assert_eq!((counts.fault(Fault::Line), counts.pulses.failed), (3, 0));

    let (mut wiring, _) = Rig::new(20, 8).wire();
    wiring.reject_line = scripted(|level| if level == Level::Low { Err(line_fault()) } else { Ok(()) });
    let counts = daemon::run(wiring).unwrap().counts;
    assert!(counts.fault(Fault::Line) >= 5, "and the run still ends");
    assert!(watch.was_ever_high("fault"));
}

#[test]
fn a_disk_that_is_full_costs_events_and_no_part() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let (mut wiring, watch) = Rig::new(20, 9).wire();
    wiring.events = Some(Box::new(Full));
    let counts = daemon::run(wiring).unwrap().counts;
    watch.one_record_each(20);
    assert!(counts.events_lost >= 20 && counts.fault(Fault::EventsLost) == 1);
    assert!(watch.was_ever_high("fault"));
}

#[test]
fn a_camera_that_goes_away_is_asked_again() {
    struct Flaky(Box<dyn Camera>, u64);
    impl Camera for Flaky {
        fn grab(&mut self, bell: &Bell) -> Grab {
            self.1 += 1;
            if (5..10).contains(&self.1) {
                return Grab::Fault(CameraFault::Disconnected, Error::new(ErrorKind::Disconnected, "unplugged"));
            }
            self.0.grab(bell)
        }
    }
    let (mut wiring, watch) = Rig::new(30, 10).wire();
    wiring.camera = Box::new(Flaky(wiring.camera, 0));
    let counts = daemon::run(wiring).unwrap().counts;
    let records = watch.one_record_each(30);
    assert_eq!(counts.fault(Fault::Camera), 1);
    let uninspected = records.iter().filter(|r| r.verdict.reason().is_some()).count();
    assert!((1..6).contains(&uninspected), "{uninspected} parts passed while the camera was away");
}

#[test]
fn a_camera_that_stays_away_is_spoken_of_once_a_minute_and_back_within_two_seconds_of_its_cable() {
    let (pulled, plugged) = (Timestamp(5_100_000_000), Timestamp(160_130_000_000));
    /// Away between two instants; each look at it says so again.
    struct Unplugged(Box<dyn Camera>, Arc<dyn Clock>, std::ops::Range<Timestamp>);
    impl Camera for Unplugged {
        fn grab(&mut self, bell: &Bell) -> Grab {
            if self.2.contains(&self.1.now()) {
                return Grab::Fault(CameraFault::Disconnected, Error::new(ErrorKind::Disconnected, "unplugged"));
            }
            self.0.grab(bell)
        }
    }
    let (mut wiring, watch) = Rig::new(800, 10).wire();
    wiring.camera = Box::new(Unplugged(wiring.camera, Arc::clone(&wiring.clock), pulled..plugged));
    // A person looks in between and resets: what is still there comes back at once.
    let mut recorder = watch.recorder.clone().playing(vec![Record {
        at: Timestamp(100_000_000_000),
        line: "reset".to_owned(),
        level: Level::High,
    }]);
    wiring.sensors.reset = Some(recorder.request_input("reset", InputOptions::default()).unwrap());
    let counts = daemon::run(wiring).unwrap().counts;
    let records = watch.one_record_each(800);

    let faults = watch.events_of("fault");
    let told: Vec<f64> =
        faults.iter().filter(|e| e["code"] == "CAM-02").map(|e| e["t_ns"].as_f64().unwrap() / 1e9).collect();
    assert_eq!((told.len() as u64, counts.fault(Fault::Camera)), (3, 3), "{told:?}");
    assert!((5.0..5.5).contains(&told[0]) && told.windows(2).all(|t| t[1] - t[0] >= 60.0), "{told:?}");
    let back = watch.events_of("camera_back");
    assert_eq!(back.len(), 1, "{back:?}");
    let down_s = back[0]["down_s"].as_f64().unwrap();
    assert!((154.9..155.6).contains(&down_s), "{down_s} s");
    let first_seen = records.iter().find(|r| r.part.trigger_at >= plugged && r.verdict.reason().is_none());
    let after = first_seen.unwrap().part.trigger_at.since(plugged);
    assert!(after < Duration::from_secs(1), "the first part that is inspected again comes {after:?} after the plug");
    let fault: Vec<_> =
        watch.edges("fault").into_iter().skip(1).filter(|e| e.at < Timestamp(100_500_000_000)).collect();
    assert_eq!(fault.last().map(|e| e.level), Some(Level::High), "a reset does not hide a camera that is away");
}

#[test]
fn a_camera_that_ends_before_the_parts_do_ends_the_run() {
    let (mut wiring, watch) = Rig::new(30, 10).wire();
    let few = Rig::new(8, 10).arrivals();
    wiring.camera = Box::new(SimCamera::new(Arc::clone(&wiring.clock), Arc::new(rig::Pixels), few));
    let born = born(&wiring);
    let error = daemon::run(wiring).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Disconnected);
    // The first part that comes after the last frame shows it; nothing comes after that one.
    let records = watch.one_record_each(born());
    let unseen: Vec<_> = records.iter().filter(|r| r.verdict == Verdict::Uninspected(Reason::NoFrame)).collect();
    assert_eq!((records.len(), unseen.len(), unseen[0].part.id.0), (9, 1, 9));
    watch.all_lines_are_safe();
}

#[test]
fn a_signal_ends_a_run_on_the_real_clock() {
    let mut rig = Rig::new(100_000, 12);
    rig.spacing.mean = ms(10);
    rig.reject.travel = zoomgate::units::Millimetres(50.0);
    rig.cost = InspectionCost::Measured;
    let (mut wiring, watch) = rig.wire_on(Arc::new(MonotonicClock));
    let guard = daemon::stop_on_signals(&wiring.stop).unwrap();
    let mut watched = wiring.observer.take().unwrap();
    wiring.observer = Some(Box::new(move |record| {
        watched(record);
        if record.part.id.0 == 5 {
            signal_hook::low_level::raise(signal_hook::consts::SIGTERM).unwrap();
        }
    }));
    let parts = daemon::run(wiring).unwrap().counts.parts;
    drop(guard);
    assert!((5..100_000).contains(&parts), "{parts} parts");
    watch.one_record_each(parts);
    watch.all_lines_are_safe();
}

#[test]
fn the_real_clock_runs_the_same_daemon() {
    let mut rig = Rig::new(20, 11);
    rig.spacing.mean = ms(10);
    rig.reject.travel = zoomgate::units::Millimetres(100.0);
    rig.cost = InspectionCost::Measured;
    let clock: Arc<dyn Clock> = Arc::new(MonotonicClock);
    let (wiring, watch) = rig.wire_on(clock);
    let report = daemon::run(wiring).unwrap();
    let records = watch.one_record_each(20);
    // A busy machine may be late; it may not be silent, nor fire outside a window.
    for record in &records {
        if record.pulse == Some(PulseOutcome::Fired) {
            let (at, deadline) = (record.pulse_at.unwrap(), record.part.deadline);
            assert!((deadline..=deadline + ms(5)).contains(&at), "part {}", record.part.id);
        }
    }
    let counts = report.counts;
    assert_eq!(counts.passes + counts.rejects + counts.uninspected(), 20);
    watch.all_lines_are_safe();
}

/// A configuration that replays `pictures` and writes into `folder`.
fn folder_config(pictures: &std::path::Path, folder: &std::path::Path) -> Config {
    Config {
        camera: camera::Settings {
            source: camera::Source::Folder { path: pictures.to_owned(), shuffle_seed: None, repeat: false },
            width: 4,
            height: 4,
            rate_hz: 5.0,
        },
        trigger: config::Trigger::EveryFrame,
        model: config::Model { recipe: "none.onnx".into(), threads: 1 },
        zoom_always: true,
        decision: config::Decision { threshold: None },
        reject: reject::Settings { active_low: true, ..Rig::new(0, 0).reject },
        encoder: None,
        confirm: None,
        inputs: config::Inputs::default(),
        outputs: config::Outputs { ready: Some("ready".into()), ..config::Outputs::default() },
        gpio: gpio::Settings {
            backend: gpio::Backend::Recorded { path: folder.join("edges.jsonl"), inputs: None },
            chip: None,
        },
        safety: Rig::new(0, 0).safety,
        alarm: Default::default(),
        record: config::Record { events: Some(folder.join("events.jsonl")) },
        realtime: config::Realtime::default(),
        status: config::Status::default(),
        log_level: log::LevelFilter::Info,
    }
}

#[test]
fn a_configured_folder_runs_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    for (name, red) in [("a.png", 0), ("b.png", 250), ("c.png", 10)] {
        image::RgbImage::from_pixel(4, 4, image::Rgb([red, 0, 0])).save(folder.path().join(name)).unwrap();
    }
    image::RgbImage::new(4, 5).save(folder.path().join("d.png")).unwrap();
    let config = folder_config(folder.path(), folder.path());
    let clock = Arc::new(zoomgate::clock::SimClock::new());
    let wiring = Wiring::from_config(&config, clock, Box::new(ByPixel), THRESHOLD, None).unwrap();
    let report = daemon::run(wiring).unwrap();
    // Three periods of 200 ms to the fourth picture, which the belt brings to the actuator 590 ms later.
    assert!(report.ended_at >= Timestamp(1_390_000_000), "ended at {} ns", report.ended_at.0);
    let events = std::fs::read_to_string(folder.path().join("events.jsonl")).unwrap();
    let verdicts: Vec<_> = events
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|e| e["event"] == "verdict")
        .map(|e| format!("{} {}", e["verdict"].as_str().unwrap(), e["pulse"].as_str().unwrap_or("-")))
        .collect();
    assert_eq!(verdicts, ["pass -", "pass -", "reject fired", "uninspected fired"]);
    let edges = std::fs::read_to_string(folder.path().join("edges.jsonl")).unwrap();
    let rejects: Vec<_> = edges.lines().filter(|l| l.contains("\"reject\"")).collect();
    assert!(rejects[0].ends_with("\"level\":1}"), "an active-low line rests high: {}", rejects[0]);
    assert!(rejects.last().unwrap().ends_with("\"level\":1}"));
    assert_eq!(rejects.len(), 5);
}

#[test]
fn contradictions_are_refused_before_anything_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    image::RgbImage::new(4, 4).save(folder.path().join("a.png")).unwrap();
    let good = folder_config(folder.path(), folder.path());
    let mut stops = good.clone();
    stops.safety.on_uninspected = OnUninspected::StopLine;
    let mut belt = good.clone();
    belt.trigger = config::Trigger::Simulated;
    let mut size = good;
    size.camera.width = 5;
    for (config, about) in [(stops, "stop_line"), (belt, "[trigger]"), (size, "a.png is 4x4")] {
        let clock = Arc::new(zoomgate::clock::SimClock::new());
        let error = Wiring::from_config(&config, clock, Box::new(ByPixel), THRESHOLD, None).err().unwrap();
        assert!(error.kind() == ErrorKind::Config && error.message().contains(about), "{error}");
        assert!(!folder.path().join("events.jsonl").exists());
    }
}
