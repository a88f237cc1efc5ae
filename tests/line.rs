//! One story for each way in which a line can go wrong, or end: what the parts get, what the outputs do.

mod rig;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rig::{ByPixel, Rig, SIZE, THRESHOLD, Watch, is_defective, ms};
use zoomgate::camera::convert::{Colour, Matrix, PixelFormat, Range};
use zoomgate::camera::v4l2::timing::Stamp;
use zoomgate::camera::v4l2::{Driver, Opened, RawFrame, Setup, V4l2Camera};
use zoomgate::camera::{Camera, CameraFault, Grab};
use zoomgate::clock::{Clock, MonotonicClock, Timestamp, WakeToken};
use zoomgate::config::{self, Config};
use zoomgate::daemon::{self, Wiring};
use zoomgate::decide::{OnMissedReject, OnUninspected, Reason, Verdict};
use zoomgate::error::{Error, ErrorKind, Result};
use zoomgate::frame::Frame;
use zoomgate::gpio::recorded::Record;
use zoomgate::gpio::{self, InitialLevel, InputOptions, Inputs, Level, LineFault, OutputLine, Outputs, SafeLine};
use zoomgate::inspect::frozen::FrozenWatch;
use zoomgate::inspect::{Blindness, Inspect, Inspection, Unseen};
use zoomgate::pipeline::Capacity;
use zoomgate::pipeline::actuation::{Heartbeat, Trigger};
use zoomgate::pipeline::inspection::InspectionCost;
use zoomgate::reject::PulseOutcome;
use zoomgate::sim::camera::{EXPOSURE_DELAY, Mishap, SimCamera};
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

/// Says of each part's frame, in their order, what a closure says; judges the others as the rig does.
struct Looks<F>(u64, F);

impl<F: FnMut(u64) -> Option<Unseen> + Send> Inspect for Looks<F> {
    fn look(&mut self, _frame: &Frame) -> Option<Unseen> {
        self.0 += 1;
        (self.1)(self.0)
    }

    fn inspect(&mut self, frame: &Frame) -> Result<Inspection> {
        assert_eq!((self.1)(self.0), None, "a frame that shows nothing is never judged");
        ByPixel.inspect(frame)
    }
}

/// A rig whose `n`-th part, from 1, is seen as `look` says.
fn with_looks(rig: Rig, look: impl FnMut(u64) -> Option<Unseen> + Send + 'static) -> (Wiring, Watch) {
    let (mut wiring, watch) = rig.wire();
    wiring.inspect = Box::new(Looks(0, look));
    (wiring, watch)
}

const DARK: Option<Unseen> = Some(Unseen::Blind(Blindness::Dark));

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
    wiring.line.reject_line = scripted(move |level| {
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
    wiring.line.trigger = Trigger::EveryFrame;
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
fn a_frame_that_shows_nothing_is_uninspected_by_its_name_and_never_passes() {
    for (n, blindness) in (0..).zip(Blindness::ALL) {
        let (wiring, watch) =
            with_looks(Rig::new(20, 20 + n), move |part| (part == 8).then_some(Unseen::Blind(blindness)));
        let counts = daemon::run(wiring).unwrap().counts;
        let eighth = watch.one_record_each(20)[7];
        let reason = eighth.verdict.reason().unwrap();
        assert_eq!(reason.blindness(), Some(blindness.as_str()));
        assert_eq!((eighth.pulse, eighth.inspection), (Some(PulseOutcome::Fired), None), "as [safety] wants it");
        assert_eq!((counts.uninspected(), counts.uninspected_for(reason), counts.fault(Fault::FrameBlind)), (1, 1, 1));
        let verdict = watch.events_of("verdict").into_iter().find(|e| e["part"] == 8).unwrap();
        assert_eq!(verdict["reason"], format!("blind_{}", blindness.as_str()));
        let fault = &watch.events_of("fault")[0];
        assert_eq!((&fault["code"], &fault["part"]), (&"CAM-04".into(), &8.into()));
        assert!(!watch.was_ever_high("fault"), "one hand before the lens calls nobody");
        assert_eq!(counts.fault(Fault::CameraBlind), 0);
        assert_eq!(watch.edges("ready").iter().filter(|e| e.level == Level::High).count(), 1, "nor ends the readiness");
    }
}

#[test]
fn a_blind_camera_is_not_ready_calls_a_person_and_is_ready_with_the_first_part_it_sees() {
    // Blind from part 10 to 19, and again for the last five.
    let (mut wiring, watch) =
        with_looks(Rig::new(40, 21), |n| if (10..20).contains(&n) || n > 35 { DARK } else { None });
    wiring.line.indicators.heartbeat =
        Some(Heartbeat::new(watch.recorder.clone().request("heart", Level::Low).unwrap(), ms(100)));
    let counts = daemon::run(wiring).unwrap().counts;
    let records = watch.one_record_each(40);
    for (n, record) in (1..).zip(&records) {
        let is_blind = (10..20).contains(&n) || n > 35;
        assert_eq!(record.verdict == Verdict::Uninspected(Reason::BlindDark), is_blind, "part {n}");
        assert!(!is_blind || record.pulse.is_some_and(PulseOutcome::has_hit), "part {n} went on unseen");
    }
    assert_eq!((counts.fault(Fault::FrameBlind), counts.fault(Fault::CameraBlind)), (15, 2));
    // Edges beside the levels at the request and at the end.
    let ready: Vec<_> = watch.edges("ready").into_iter().map(|e| (e.at, e.level)).collect();
    let levels: Vec<_> = ready.iter().map(|(_, level)| *level).collect();
    let (up, down) = (Level::High, Level::Low);
    assert_eq!(levels[..5], [down, up, down, up, down], "{ready:?}");
    assert!(levels[5..].iter().all(|level| *level == down), "{ready:?}");
    let settled = |part: usize| records[part - 1].settled_at;
    assert_eq!((ready[2].0, ready[3].0, ready[4].0), (settled(12), settled(20), settled(38)));
    // The person who was called is called until somebody resets, though the camera sees again.
    let fault = watch.edges("fault");
    assert_eq!((fault[1].at, fault[1].level), (settled(12), Level::High));
    assert_eq!(fault.iter().filter(|e| e.level == Level::Low).count(), 2, "at the request and at the end: {fault:?}");
    let beats = watch.edges("heart").into_iter().filter(|e| e.at > settled(12)).count();
    assert!(beats <= 2, "the heart stops when something needs a person: {beats} edges");
    let back = watch.events_of("sight_back");
    assert_eq!((back.len(), &back[0]["blind"]), (1, &10.into()), "{back:?}");
    watch.all_lines_are_safe();
}

#[test]
fn after_a_reset_a_blind_camera_is_tried_again_and_the_next_blind_part_calls_again() {
    let (mut wiring, watch) = with_looks(Rig::new(60, 22), |n| if n > 5 { DARK } else { None });
    let reset_at = Timestamp(8_000_000_000);
    let record = Record { at: reset_at, line: "reset".to_owned(), level: Level::High };
    let mut recorder = watch.recorder.clone().playing(vec![record]);
    wiring.line.sensors.reset =
        Some(recorder.request_input("reset", InputOptions::default(), InitialLevel::Ignored).unwrap());
    let counts = daemon::run(wiring).unwrap().counts;
    let records = watch.one_record_each(60);
    assert_eq!(counts.fault(Fault::CameraBlind), 2);
    let next = records.iter().map(|r| r.settled_at).find(|at| *at > reset_at).unwrap();
    for line in ["ready", "fault"] {
        let edges: Vec<_> =
            watch.edges(line).into_iter().filter(|e| e.at >= reset_at).map(|e| (e.at, e.level)).collect();
        let (at_reset, then) = if line == "ready" { (Level::High, Level::Low) } else { (Level::Low, Level::High) };
        assert_eq!(edges[..2], [(reset_at, at_reset), (next, then)], "{line}: {edges:?}");
    }
    assert_eq!(counts.passes + counts.rejects, 5, "nothing unseen passes meanwhile");
}

#[test]
fn a_blind_camera_in_a_dry_run_drives_nothing() {
    let mut rig = Rig::new(20, 23);
    rig.reject.enabled = false;
    let (wiring, watch) = with_looks(rig, |n| if n % 5 == 0 { None } else { DARK });
    assert_eq!(daemon::run(wiring).unwrap().counts.fault(Fault::CameraBlind), 4);
    assert!(!watch.was_ever_high("ready") && !watch.was_ever_high("reject"));
}

#[test]
fn an_empty_belt_meets_its_own_policy_and_is_no_fault_of_the_camera() {
    use OnUninspected::{Pass, Reject, StopLine};
    for (on_no_part, pulses, stops) in
        [(Some(Reject), 1, false), (Some(Pass), 0, false), (Some(StopLine), 0, true), (None, 1, false)]
    {
        let mut rig = Rig::new(30, 24);
        rig.safety.on_no_part = on_no_part;
        // Five in a row, twice; one blind part in between.
        let look = |n| match n {
            5..10 | 21..26 => Some(Unseen::NoPart),
            15 => DARK,
            _ => None,
        };
        let (mut wiring, watch) = with_looks(rig, look);
        wiring.line.alarms.uninspected_rate = Some(0.1);
        wiring.line.alarms.uninspected_parts = 20;
        let counts = daemon::run(wiring).unwrap().counts;
        assert_eq!((counts.uninspected_for(Reason::NoPart), counts.uninspected_for(Reason::BlindDark)), (10, 1));
        let records = watch.one_record_each(30);
        for record in records.iter().filter(|r| r.verdict == Verdict::Uninspected(Reason::NoPart)) {
            assert_eq!(record.pulse.iter().len(), pulses, "{on_no_part:?}");
        }
        assert!(records[14].pulse.is_some(), "a blind part meets on_uninspected");
        assert_eq!(watch.was_ever_high("stop_line"), stops, "{on_no_part:?}");
        assert_eq!(counts.fault(Fault::UninspectedRate), 0, "an empty belt raises no rate");
        assert_eq!(watch.was_ever_high("fault"), stops, "{on_no_part:?}");
        assert_eq!(watch.edges("ready").iter().filter(|e| e.level == Level::High).count(), 1);
        let words: Vec<_> = watch.events_of("verdict").into_iter().filter(|e| e["reason"] == "no_part").collect();
        assert_eq!(words.len(), 10);
    }
}

#[test]
fn an_eye_that_starts_parts_where_the_camera_sees_none_calls_a_person() {
    // The clock alone starts parts on an empty belt, too.
    for (by_clock, faults) in [(false, 1), (true, 0)] {
        let mut rig = Rig::new(40, 25);
        rig.safety.on_no_part = Some(OnUninspected::Pass);
        let (mut wiring, watch) = with_looks(rig, |n| (n > 8).then_some(Unseen::NoPart));
        if by_clock {
            wiring.line.trigger = Trigger::EveryFrame;
        }
        let counts = daemon::run(wiring).unwrap().counts;
        assert_eq!((counts.uninspected_for(Reason::NoPart), counts.fault(Fault::NothingTriggered)), (32, faults));
        assert_eq!(watch.was_ever_high("fault"), faults > 0);
        let tenth = watch.one_record_each(40)[17].settled_at;
        assert!(watch.edges("fault").iter().all(|e| e.level == Level::Low || e.at == tenth), "with the tenth in a row");
    }
}

/// A device that gives a picture for each instant; from the `frozen`-th to the `thawed`-th on always the same.
struct Freezing {
    clock: Arc<dyn Clock>,
    exposures: Arc<[Timestamp]>,
    next: usize,
    frozen: std::ops::Range<usize>,
    bytes: [u8; 12],
}

impl Driver for Freezing {
    fn open(&mut self) -> Result<Opened> {
        let colour = Colour { matrix: Matrix::Bt601, range: Range::Full };
        Ok(Opened { format: PixelFormat::of_name("RGB3").unwrap(), colour, stride: 0 })
    }

    fn next(&mut self, timeout: Duration) -> std::io::Result<Option<RawFrame<'_>>> {
        let until = self.clock.now() + timeout;
        let Some(at) = self.exposures.get(self.next).copied().filter(|at| *at <= until) else {
            self.clock.sleep_until(until);
            return Ok(None);
        };
        self.clock.sleep_until(at);
        if !self.frozen.contains(&self.next) {
            self.bytes = [40; 12];
            self.bytes[0] = if is_defective(self.next as u64) { 200 } else { 20 };
            // The noise of a sensor, in the last pixel of all.
            self.bytes[11] = 40 + self.next as u8;
        }
        let sequence = self.next as u32;
        self.next += 1;
        let micros = (at.0 / 1000) as i64;
        let stamp = Stamp { is_monotonic: true, seconds: micros / 1_000_000, microseconds: micros % 1_000_000 };
        Ok(Some(RawFrame { bytes: &self.bytes, sequence, stamp, is_corrupted: false }))
    }

    fn has_changed(&mut self) -> bool {
        false
    }

    fn close(&mut self) {}
}

#[test]
fn a_camera_that_gives_the_previous_parts_picture_again_is_frozen() {
    for is_asked in [true, false] {
        let rig = Rig::new(30, 26);
        let exposures: Arc<[Timestamp]> = rig.arrivals().iter().map(|at| *at + EXPOSURE_DELAY).collect();
        let (mut wiring, watch) = rig.wire();
        let clock = Arc::clone(&wiring.clock);
        let driver = Freezing { clock: Arc::clone(&clock), exposures, next: 0, frozen: 10..16, bytes: [0; 12] };
        let setup = Setup { device: "film".into(), size: SIZE, stall: Duration::MAX, frames: 32 };
        wiring.camera = Box::new(V4l2Camera::open(clock, driver, setup).unwrap());
        if is_asked {
            wiring.inspect = Box::new(FrozenWatch::new(wiring.inspect));
        }
        let counts = daemon::run(wiring).unwrap().counts;
        let frozen = if is_asked { 6 } else { 0 };
        assert_eq!(counts.uninspected_for(Reason::BlindFrozen), frozen, "{counts:?}");
        assert_eq!(counts.fault(Fault::CameraBlind), u64::from(is_asked));
        let records = watch.one_record_each(30);
        for (n, record) in records.iter().enumerate() {
            let is_frozen = is_asked && (10..16).contains(&n);
            assert_eq!(record.verdict == Verdict::Uninspected(Reason::BlindFrozen), is_frozen, "part {}", n + 1);
        }
    }
}

/// What was not seen is never passed, whatever else happens on the line.
#[test]
fn whatever_a_camera_fails_to_see_no_part_of_it_passes() {
    let mut unseen_parts = 0;
    for seed in 0..40 {
        let mut rig = Rig::new(80, seed);
        let policies = [OnUninspected::Reject, OnUninspected::StopLine, OnUninspected::Pass];
        let mut draw = ChaCha8Rng::seed_from_u64(seed);
        rig.safety.on_uninspected = policies[draw.random_range(0..3)];
        rig.safety.on_no_part = [None, Some(policies[draw.random_range(0..3)])][draw.random_range(0..2)];
        // Some are late or pushed out, too; frames are lost and damaged.
        rig.cost = InspectionCost::seeded(seed, ms(5)..=ms([30, 300, 700][draw.random_range(0..3)]));
        rig.capacity = Capacity { jobs: draw.random_range(2..16), ledger: 64 };
        rig.spacing.mean = ms(draw.random_range(80..260));
        let (safety, share) = (rig.safety, draw.random_range(0.05..0.95));
        let plan: Vec<Option<Unseen>> = (0..80)
            .map(|_| {
                let all = Blindness::ALL.map(Unseen::Blind).into_iter().chain([Unseen::NoPart]);
                let all: Vec<_> = all.collect();
                draw.random_bool(share).then(|| all[draw.random_range(0..all.len())])
            })
            .collect();
        let mut mishaps = ChaCha8Rng::seed_from_u64(1000 + seed);
        let (mut wiring, watch) = with_mishaps(rig, move |_| match mishaps.random_range(0..40) {
            0 => Mishap::Lost,
            1 => Mishap::Damaged,
            _ => Mishap::None,
        });
        // Which part a frame is of, the plan is asked by its number: the n-th frame shows the n-th part.
        let seen_as = plan.clone();
        wiring.inspect = Box::new(ByFrame(move |id: FrameId| seen_as[id.0 as usize]));
        let counts = daemon::run(wiring).unwrap().counts;
        let records = watch.one_record_each(80);
        assert_eq!(counts.passes + counts.rejects + counts.uninspected(), 80, "seed {seed}");
        for (record, unseen) in records.iter().zip(&plan) {
            let about = format!("seed {seed}, part {}, {unseen:?}: {:?}", record.part.id, record.verdict);
            assert!(record.settled_at <= record.part.deadline, "{about}");
            let Some(unseen) = unseen else { continue };
            let Verdict::Uninspected(reason) = record.verdict else { panic!("{about}") };
            let others = [Reason::Late, Reason::NoFrame, Reason::Overrun, Reason::Broken];
            assert!(reason == zoomgate::pipeline::reason(*unseen) || others.contains(&reason), "{about}");
            let is_no_part = reason == Reason::NoPart;
            let policy = safety.on_no_part.filter(|_| is_no_part).unwrap_or(safety.on_uninspected);
            assert_eq!(record.pulse.is_some(), policy == OnUninspected::Reject, "{about}");
            unseen_parts += u64::from(!others.contains(&reason));
        }
        watch.all_lines_are_safe();
    }
    assert!(unseen_parts > 300, "only {unseen_parts} parts were looked at and not seen");
}

/// Says what a closure says of the frame of that number.
struct ByFrame<F>(F);

impl<F: FnMut(FrameId) -> Option<Unseen> + Send> Inspect for ByFrame<F> {
    fn look(&mut self, frame: &Frame) -> Option<Unseen> {
        (self.0)(frame.id)
    }

    fn inspect(&mut self, frame: &Frame) -> Result<Inspection> {
        ByPixel.inspect(frame)
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
        wiring.line.reject_line = scripted(move |level| {
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
    wiring.line.reject_line = scripted(move |level| {
        if level == Level::Low && stuck_for > 0 {
            stuck_for -= 1;
            return Err(line_fault());
        }
        Ok(())
    });
    let counts = daemon::run(wiring).unwrap().counts;
    assert_eq!((counts.fault(Fault::Line), counts.pulses.failed), (3, 0));

    let (mut wiring, _) = Rig::new(20, 8).wire();
    wiring.line.reject_line = scripted(|level| if level == Level::Low { Err(line_fault()) } else { Ok(()) });
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
        fn grab(&mut self, token: &WakeToken) -> Grab {
            self.1 += 1;
            if (5..10).contains(&self.1) {
                return Grab::Fault(CameraFault::Disconnected, Error::new(ErrorKind::Disconnected, "unplugged"));
            }
            self.0.grab(token)
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
        fn grab(&mut self, token: &WakeToken) -> Grab {
            if self.2.contains(&self.1.now()) {
                return Grab::Fault(CameraFault::Disconnected, Error::new(ErrorKind::Disconnected, "unplugged"));
            }
            self.0.grab(token)
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
    wiring.line.sensors.reset =
        Some(recorder.request_input("reset", InputOptions::default(), InitialLevel::Ignored).unwrap());
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
        model: config::Model { recipe: "none.onnx".into(), threads: 1, may_be_slow: false },
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
