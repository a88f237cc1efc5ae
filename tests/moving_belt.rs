//! Stories of a belt that an encoder measures, and of the inputs beside it, through the daemon on the simulated clock.
//!
//! The belt of these tests turns an encoder and carries parts past a photo-eye; both follow from one list of speeds, so
//! that a test says what the belt does and everything else is what the daemon makes of it.

mod rig;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rig::{Pixels, Rig, Watch, is_defective, ms};
use zoomgate::clock::{Clock, Timestamp, WakeToken};
use zoomgate::config::{self, Config};
use zoomgate::daemon::watch::Notifier;
use zoomgate::daemon::{self, RunReport, Wiring};
use zoomgate::decide::{OnMissedReject, OnUninspected, Reason, Verdict, alarm};
use zoomgate::gpio::{Edge, InputOptions, Level, LineFault, Outputs, Recorder, TriggerInput};
use zoomgate::pipeline::actuation::{Heartbeat, Trigger};
use zoomgate::pipeline::inspection::InspectionCost;
use zoomgate::pipeline::recording::PartRecord;
use zoomgate::reject::{EncoderBelt, OnOverlap, PulseOutcome, confirm, encoder};
use zoomgate::sim::belt::PhotoEye;
use zoomgate::sim::camera::SimCamera;
use zoomgate::telemetry::Fault;
use zoomgate::units::Millimetres;

/// An input whose edges are written down beforehand.
#[derive(Default)]
struct Script {
    edges: VecDeque<Edge>,
    /// After the edges the line cannot be read any more.
    breaks: bool,
}

impl Script {
    /// Levels at instants in milliseconds.
    fn levels(edges: &[(u64, Level)]) -> Box<dyn TriggerInput> {
        let edges = edges.iter().map(|(at, level)| Edge { at: Timestamp(at * 1_000_000), level: *level });
        Box::new(Self { edges: edges.collect(), breaks: false })
    }

    /// A short pulse at each instant.
    fn pulses(at: impl IntoIterator<Item = Timestamp>) -> Self {
        let pulse =
            |at: Timestamp| [(at, Level::High), (at + ms(1) / 4, Level::Low)].map(|(at, level)| Edge { at, level });
        Self { edges: at.into_iter().flat_map(pulse).collect(), breaks: false }
    }
}

impl TriggerInput for Script {
    fn next_edge(&mut self, now: Timestamp) -> Result<Option<Edge>, LineFault> {
        if self.breaks && self.edges.is_empty() {
            return Err(LineFault { line: "encoder_a".into(), message: "no answer".into() });
        }
        let due = self.edges.front().is_some_and(|edge| edge.at <= now);
        Ok(if due { self.edges.pop_front() } else { None })
    }

    fn next_at(&self) -> Option<Timestamp> {
        self.edges.front().map(|edge| edge.at)
    }

    fn is_exhausted(&self) -> bool {
        self.edges.is_empty()
    }

    fn attach(&mut self, _clock: &Arc<dyn Clock>, _bell: &WakeToken) {}
}

/// What the belt does: for so many milliseconds at so many millimetres a second.
type Drive<'a> = &'a [(u64, f64)];

/// When the belt gets to `mm`; `None` if it never does.
fn arrives(drive: Drive, mm: f64) -> Option<Timestamp> {
    let (mut at, mut position) = (Timestamp::ZERO, 0.0);
    for &(lasts, speed) in drive {
        let next = position + speed * lasts as f64 / 1000.0;
        if next >= mm && speed > 0.0 {
            return Some(at + std::time::Duration::from_secs_f64((mm - position) / speed));
        }
        (at, position) = (at + ms(lasts), next);
    }
    None
}

/// Millimetres of a pulse of the encoder.
const PULSE: f64 = 1.0;
/// Where the parts lie on the belt: one every 250 mm.
const SPACING: f64 = 250.0;

/// A line on a belt that is driven like this, with parts as far as it goes.
struct Story {
    rig: Rig,
    drive: Vec<(u64, f64)>,
    parts: u64,
}

impl Story {
    /// The rig's geometry: 600 mm from trigger to actuator, 10 ms latency, 40 ms pulses, window 5 ms at 1000 mm/s.
    fn new(drive: Drive, parts: u64) -> Self {
        Self { rig: Rig::new(parts, 1), drive: drive.to_vec(), parts }
    }

    /// When part `n`, counted from 1, passes the photo-eye, and when it lies in front of the actuator.
    fn trigger_at(&self, n: u64) -> Timestamp {
        arrives(&self.drive, SPACING * n as f64).expect("the belt brings every part to the photo-eye")
    }

    fn at_actuator(&self, n: u64) -> Option<Timestamp> {
        arrives(&self.drive, SPACING * n as f64 + self.rig.reject.travel.0)
    }

    fn wire(self) -> (Wiring, Watch) {
        let arrivals: Arc<[Timestamp]> = (1..=self.parts).map(|n| self.trigger_at(n)).collect();
        let pulses = (1..).map_while(|n| arrives(&self.drive, PULSE * n as f64));
        let encoder = Script::pulses(pulses);
        let (mut wiring, watch) = self.rig.wire();
        wiring.camera = Box::new(SimCamera::new(Arc::clone(&wiring.clock), Arc::new(Pixels), Arc::clone(&arrivals)));
        if let Trigger::Edge { input, .. } = &mut wiring.line.trigger {
            *input = Box::new(PhotoEye::new(arrivals));
        }
        let settings = encoder::Settings {
            line_a: "encoder_a".into(),
            line_b: None,
            options: InputOptions::default(),
            mm_per_pulse: Millimetres(PULSE),
            stopped: ms(200),
        };
        wiring.line.belt = Box::new(EncoderBelt::new(&settings));
        wiring.line.sensors.encoder_a = Some(Box::new(encoder));
        (wiring, watch)
    }

    fn run(self) -> (RunReport, Watch) {
        let (wiring, watch) = self.wire();
        (daemon::run(wiring).unwrap(), watch)
    }
}

/// Every rejected part was fired when the belt had brought it, within a pulse of the encoder and the window.
fn pulses_meet_their_parts(records: &[PartRecord], at_actuator: impl Fn(u64) -> Option<Timestamp>) -> usize {
    let fired: Vec<_> = records.iter().filter(|r| r.pulse == Some(PulseOutcome::Fired)).collect();
    for record in &fired {
        let id = record.part.id.0;
        let planned = at_actuator(id).expect("only parts that came are fired") - ms(10);
        let at = record.pulse_at.unwrap();
        assert!(planned <= at + ms(4) && at <= planned + ms(9), "part {id}: fired at {at:?}, planned {planned:?}");
    }
    fired.len()
}

#[test]
fn a_belt_that_changes_its_speed_meets_every_part_where_it_is() {
    let drive: Drive = &[(2000, 1000.0), (3000, 500.0), (2000, 800.0), (4000, 300.0), (9000, 1000.0)];
    let story = Story::new(drive, 30);
    let at: Vec<_> = (0..=30).map(|n| story.at_actuator(n)).collect();
    let (report, watch) = story.run();
    let records = watch.one_record_each(30);
    for (index, record) in (0..).zip(&records) {
        let expected = if is_defective(index) { Verdict::Reject } else { Verdict::Pass };
        assert_eq!(record.verdict, expected, "part {}", record.part.id);
    }
    let fired = pulses_meet_their_parts(&records, |n| at[n as usize]);
    assert_eq!(fired as u64, report.counts.rejects);
    assert!(fired > 5 && report.counts.missed_rejects == 0);
    watch.all_lines_are_safe();
}

#[test]
fn a_stopped_belt_keeps_its_parts_and_goes_on_with_them() {
    // It stands for ten minutes with parts between camera and actuator, and starts slowly.
    let drive: Drive = &[(1900, 1000.0), (600_000, 0.0), (300, 100.0), (300, 400.0), (6000, 1000.0)];
    let mut story = Story::new(drive, 20);
    story.rig.reject.on_overlap = OnOverlap::Refuse;
    let at: Vec<_> = (0..=20).map(|n| story.at_actuator(n)).collect();
    let waiting: Vec<u64> = (1..=20)
        .filter(|n| {
            story.trigger_at(*n) < Timestamp(1_900_000_000) && at[*n as usize] > Some(Timestamp(600_000_000_000))
        })
        .collect();
    assert!(waiting.len() >= 2);
    let (report, watch) = story.run();
    let records = watch.one_record_each(20);
    assert!(records.iter().all(|r| r.verdict.reason().is_none()), "nobody became late by waiting");
    assert_eq!(pulses_meet_their_parts(&records, |n| at[n as usize]) as u64, report.counts.rejects);
    assert_eq!((report.counts.belt_stops, report.counts.fault(Fault::EncoderSilent)), (1, 0));
    let moving: Vec<_> = watch.events_of("belt").iter().map(|e| e["moving"].as_bool().unwrap()).collect();
    assert_eq!(moving, [true, false, true]);
    // Whatever the belt does, no pulse is longer than the valve should be open.
    for pulse in watch.edges("reject")[1..].chunks(2) {
        assert_eq!(pulse[1].at.since(pulse[0].at), ms(40));
    }
    watch.all_lines_are_safe();
}

#[test]
fn a_verdict_that_is_missing_when_the_belt_brings_its_part_is_the_policys() {
    let drive: Drive = &[(1900, 1000.0), (5000, 0.0), (6000, 1000.0)];
    let mut story = Story::new(drive, 20);
    // Each inspection takes longer than the part travels, and parts wait behind one another.
    story.rig.cost = InspectionCost::Modelled(Box::new(|_| ms(900)));
    let stop = Timestamp(1_900_000_000);
    let waits: Vec<bool> = (1..=20).map(|n| story.trigger_at(n) < stop && story.at_actuator(n) > Some(stop)).collect();
    let (report, watch) = story.run();
    let records = watch.one_record_each(20);
    let in_time = records.iter().filter(|r| r.verdict.reason().is_none()).count();
    assert!(in_time >= 2, "who waited with the belt was inspected while it stood");
    assert!(records.iter().zip(waits).all(|(r, waits)| r.verdict.reason().is_none() || !waits || r.part.id.0 < 3));
    let late: Vec<_> = records.iter().filter(|r| r.verdict == Verdict::Uninspected(Reason::Late)).collect();
    assert_eq!((late.len() as u64, late.len() + in_time), (report.counts.uninspected(), 20));
    assert!(late.iter().all(|r| r.pulse.is_some_and(PulseOutcome::has_hit)), "the plant rejects what nobody saw");
}

#[test]
fn a_run_that_ends_on_a_standing_belt_does_not_wait_for_it() {
    let story = Story::new(&[(2100, 1000.0)], 8);
    let at: Vec<_> = (0..=8).map(|n| story.at_actuator(n)).collect();
    let (report, watch) = story.run();
    let records = watch.one_record_each(8);
    assert!(report.ended_at < Timestamp(5_000_000_000), "{:?}", report.ended_at);
    for record in &records {
        let has_come = at[record.part.id.0 as usize].is_some();
        assert!(record.verdict.reason().is_none(), "the inspections end all the same");
        let expected = match record.verdict {
            Verdict::Reject if has_come => Some(PulseOutcome::Fired),
            Verdict::Reject => Some(PulseOutcome::Failed),
            _ => None,
        };
        assert_eq!(record.pulse, expected, "part {}", record.part.id);
    }
    let left = records.iter().filter(|r| r.pulse == Some(PulseOutcome::Failed)).count() as u64;
    assert_eq!((report.counts.missed_rejects, left > 0), (left, true), "who stays on the belt is not forgotten");
    let events = watch.events_of("verdict");
    assert!(events.iter().any(|e| e["fire_at_ns"].is_null()), "an instant that never came is not a number");
    watch.all_lines_are_safe();
}

#[test]
fn an_encoder_that_falls_silent_or_away_is_noticed() {
    // The cable breaks: the belt runs on, and with it the parts.
    let mut story = Story::new(&[(8000, 1000.0)], 20);
    story.rig.safety.on_missed_reject = OnMissedReject::StopLine;
    let (mut wiring, watch) = story.wire();
    let cut = (1..2000).map(|n| Timestamp(n * 1_000_000));
    wiring.line.sensors.encoder_a = Some(Box::new(Script::pulses(cut)));
    let counts = daemon::run(wiring).unwrap().counts;
    watch.one_record_each(20);
    assert_eq!(counts.fault(Fault::EncoderSilent), 1);
    assert!(watch.was_ever_high("stop_line") && watch.was_ever_high("fault"));

    let (mut wiring, watch) = Story::new(&[(8000, 1000.0)], 20).wire();
    let cut = (1..2000).map(|n| Timestamp(n * 1_000_000));
    wiring.line.sensors.encoder_a = Some(Box::new(Script { breaks: true, ..Script::pulses(cut) }));
    let counters = Arc::clone(&wiring.counters);
    let error = daemon::run(wiring).unwrap_err();
    assert!(error.message().contains("encoder_a"), "{error}");
    watch.one_record_each(counters.snapshot().parts);
    assert_eq!(counters.snapshot().fault(Fault::Encoder), 1);
    watch.all_lines_are_safe();
}

#[test]
fn a_pusher_refuses_the_part_that_comes_too_soon() {
    for (on_overlap, word) in [(OnOverlap::Merge, "merged"), (OnOverlap::Refuse, "refused")] {
        let mut rig = Rig::new(60, 4);
        rig.spacing.crowded = 0.5;
        rig.safety.on_uninspected = OnUninspected::Reject;
        rig.cost = InspectionCost::Modelled(Box::new(|_| ms(700)));
        rig.reject.on_overlap = on_overlap;
        let (report, watch) = rig.run();
        let counts = report.unwrap().counts;
        let pulses = counts.pulses;
        let shared = watch.events_of("verdict").iter().filter(|e| e["pulse"] == word).count() as u64;
        assert!(shared > 10 && shared == pulses.merged + pulses.refused, "{pulses:?}");
        assert_eq!(pulses.planned, pulses.fired + shared);
        assert_eq!(counts.fault(Fault::MissedUninspected), pulses.refused, "nobody hit them");
        for pulse in watch.edges("reject")[1..].chunks(2).filter(|_| on_overlap == OnOverlap::Refuse) {
            assert_eq!(pulse[1].at.since(pulse[0].at), ms(40), "each stroke is one part's");
        }
    }
}

/// A line with an eye 100 mm behind the actuator, whose edges `eye` makes of the instants at which rejected parts pass.
fn confirmed(parts: u64, eye: impl Fn(&[Timestamp]) -> Vec<Timestamp>) -> (RunReport, Watch) {
    let rig = Rig::new(parts, 6);
    let rejected: Vec<_> =
        (0..).zip(rig.arrivals().iter()).filter(|(i, _)| is_defective(*i)).map(|(_, at)| *at + ms(700)).collect();
    let (mut wiring, watch) = rig.wire();
    wiring.line.confirm = Some(confirm::Settings {
        line: "bin".into(),
        options: InputOptions::default(),
        holdoff: Duration::ZERO,
        travel: Millimetres(100.0),
        window: ms(50),
    });
    wiring.line.sensors.confirm = Some(Box::new(Script::pulses(eye(&rejected))));
    (daemon::run(wiring).unwrap(), watch)
}

#[test]
fn a_reject_that_the_eye_at_the_bin_does_not_see_is_missed() {
    let (report, watch) = confirmed(40, |seen| seen.to_vec());
    let counts = report.counts;
    assert!(counts.rejects > 5);
    assert_eq!((counts.rejects_confirmed, counts.missed_rejects), (counts.rejects, 0));
    assert!(!watch.was_ever_high("fault"));

    // One part sticks to the belt, and something falls into the bin that nobody threw there.
    let (report, watch) = confirmed(40, |seen| {
        let mut seen = seen.to_vec();
        seen[2] = seen[2] + ms(90);
        seen
    });
    let counts = report.counts;
    assert_eq!((counts.rejects_confirmed, counts.missed_rejects), (counts.rejects - 1, 1));
    assert_eq!(counts.confirmations_unexpected, 1);
    let missed = &watch.events_of("missed_reject")[0];
    assert_eq!(missed["pulse"], "fired", "it was fired, and is still there");
    assert!(watch.was_ever_high("fault"));
    watch.one_record_each(40);
    watch.all_lines_are_safe();
}

#[test]
fn rejects_in_a_row_and_parts_unseen_call_a_person_until_they_are_acknowledged() {
    let mut rig = Rig::new(40, 1);
    rig.safety.on_uninspected = OnUninspected::Pass;
    let arrivals = rig.arrivals();
    let (mut wiring, watch) = rig.wire();
    // Everything is a reject: something has changed that no part can be blamed for.
    wiring.line.threshold = -1.0;
    wiring.line.alarms = alarm::Settings { consecutive_rejects: Some(5), ..alarm::Settings::default() };
    let reset_at = (arrivals[11].0 + arrivals[12].0) / 2_000_000;
    wiring.line.sensors.reset = Some(Script::levels(&[(reset_at, Level::High), (reset_at + 100, Level::Low)]));
    let counts = daemon::run(wiring).unwrap().counts;
    assert_eq!((counts.rejects, counts.fault(Fault::ConsecutiveRejects)), (40, 2), "again after the reset");
    let fault: Vec<_> = watch.edges("fault").iter().map(|r| r.level).collect();
    assert_eq!(fault, [Level::Low, Level::High, Level::Low, Level::High, Level::Low]);
    assert_eq!(watch.events_of("acknowledged").len(), 1);
    assert_eq!(watch.events_of("fault")[0]["code"], "ALM-01");

    let mut rig = Rig::new(40, 1);
    rig.cost = InspectionCost::Modelled(Box::new(|part| if part.0 % 4 == 0 { ms(650) } else { ms(30) }));
    let (mut wiring, watch) = rig.wire();
    wiring.line.alarms =
        alarm::Settings { uninspected_rate: Some(0.2), uninspected_parts: 20, ..alarm::Settings::default() };
    let counts = daemon::run(wiring).unwrap().counts;
    assert_eq!(counts.fault(Fault::UninspectedRate), 1, "{counts:?}");
    assert!(watch.events_of("fault").iter().any(|e| e["code"] == "ALM-02"));
}

#[test]
fn a_full_bin_calls_a_person_and_stays_a_fault_until_it_is_empty() {
    let mut rig = Rig::new(40, 1);
    rig.safety.on_missed_reject = OnMissedReject::StopLine;
    let (mut wiring, watch) = rig.wire();
    wiring.line.sensors.bin_full = Some(Script::levels(&[(1000, Level::High), (4000, Level::Low)]));
    let resets = [2000, 5000].map(|at| [(at, Level::High), (at + 50, Level::Low)]).concat();
    wiring.line.sensors.reset = Some(Script::levels(&resets));
    let counts = daemon::run(wiring).unwrap().counts;
    assert_eq!(counts.fault(Fault::BinFull), 1);
    let at = |line| -> Vec<_> { watch.edges(line).iter().skip(1).map(|r| r.at.0 / 1_000_000).collect() };
    assert_eq!(at("fault"), [1000, 5000], "the first reset finds the bin still full");
    assert_eq!(at("stop_line"), [1000, 5000], "the line does not start while its rejects have nowhere to go");
    watch.one_record_each(40);
}

#[test]
fn the_recipe_number_is_reported_at_the_start_and_when_it_has_settled() {
    let (mut wiring, watch) = Rig::new(20, 1).wire();
    // From 2 to 5: the lines do not change at the same instant.
    wiring.line.sensors.recipe[0] = Some(Script::levels(&[(1000, Level::High)]));
    wiring.line.sensors.recipe[1] = Some(Script::levels(&[(0, Level::High), (1010, Level::Low)]));
    wiring.line.sensors.recipe[2] = Some(Script::levels(&[(1020, Level::High)]));
    daemon::run(wiring).unwrap();
    let numbers: Vec<_> = watch.events_of("recipe_selected").iter().map(|e| e["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [2, 5], "and nothing in between");
}

#[test]
fn an_input_that_cannot_be_read_is_a_fault_and_no_part_pays_for_it() {
    let (mut wiring, watch) = Rig::new(20, 1).wire();
    wiring.line.sensors.bin_full = Some(Box::new(Script { breaks: true, ..Script::default() }));
    let counts = daemon::run(wiring).unwrap().counts;
    assert_eq!(counts.fault(Fault::Input), 1);
    assert!(watch.one_record_each(20).iter().all(|r| r.verdict.reason().is_none()));
}

/// Pictures of a belt: empty for 20 frames, then a part every 15, which crosses the strip in five of them.
fn belt_pictures(folder: &std::path::Path, parts: u32) {
    for n in 0..20 + 15 * parts {
        let in_view = n >= 20 && (n - 20) % 15 < 5;
        let red = if (n - n.min(20)) / 15 % 3 == 1 { 250 } else { 90 };
        let mut picture = image::RgbImage::from_pixel(16, 16, image::Rgb([20 + (n % 3) as u8, 20, 20]));
        if in_view {
            for (x, y) in (4..12).flat_map(|x| (0..16).map(move |y| (x, y))) {
                picture.put_pixel(x, y, image::Rgb([red, 90, 90]));
            }
            picture.put_pixel(0, 0, image::Rgb([if red == 250 { 200 } else { 0 }, 0, 0]));
        }
        picture.save(folder.join(format!("{n:04}.png"))).unwrap();
    }
}

#[test]
fn a_tripwire_makes_parts_of_a_film_of_the_belt_and_is_ready_when_it_knows_the_belt() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = folder.path().join("pictures");
    std::fs::create_dir(&pictures).unwrap();
    belt_pictures(&pictures, 6);
    let text = |offset_ms: u32| {
        format!(
            r#"
            camera = {{ source = "folder", folder = "pictures", width_px = 32, height_px = 32, rate_hz = 50 }}
            trigger = {{ source = "tripwire", strip_left_px = 6, strip_width_px = 2, exposure_offset_ms = {offset_ms} }}
            reject = {{ enabled = true, travel_mm = 150, belt_speed_mm_s = 300, pulse_width_ms = 20 }}
            gpio.backend = "recorded"
            safety = {{ on_uninspected = "pass", on_missed_reject = "alarm" }}
            record.events = "events.jsonl"
            "#
        )
    };
    for (offset_ms, exposed_after) in [(0, ms(0)), (40, ms(40))] {
        let mut config: Config = config::parse(&text(offset_ms), &folder.path().join("config.toml")).unwrap();
        (config.camera.width, config.camera.height) = (16, 16);
        if let config::Trigger::Tripwire { wire, .. } = &mut config.trigger {
            wire.strip.height = 16;
        }
        let clock = Arc::new(zoomgate::clock::SimClock::new());
        let mut wiring = Wiring::from_config(&config, clock, Box::new(rig::ByPixel), rig::THRESHOLD, None).unwrap();
        let (shown, records) = (Arc::new(std::sync::Mutex::new(Vec::new())), Arc::default());
        let keep: Arc<std::sync::Mutex<Vec<PartRecord>>> = Arc::clone(&records);
        wiring.observer = Some(Box::new(move |record| keep.lock().unwrap().push(*record)));
        let seen = Arc::clone(&shown);
        wiring.inspect = Box::new(Noting(seen));
        let mut recorder = Recorder::in_memory(Arc::clone(&wiring.clock));
        let mut output = |name| recorder.request(name, Level::Low).unwrap();
        wiring.line.indicators.ready = Some(output("ready"));
        wiring.line.indicators.heartbeat = Some(Heartbeat::new(output("heartbeat"), ms(20)));
        let (clock, ready_at) = (Arc::clone(&wiring.clock), Arc::new(std::sync::Mutex::new(None)));
        let told = Arc::clone(&ready_at);
        let send = move |states: &[sd_notify::NotifyState<'_>]| {
            if states.iter().any(|state| matches!(state, sd_notify::NotifyState::Ready)) {
                *told.lock().unwrap() = Some(clock.now());
            }
            Ok(())
        };
        wiring.service.notifier = Some(Notifier::new(Box::new(send), None));
        let counts = daemon::run(wiring).unwrap().counts;
        // The fifteenth picture, one each 20 ms: from then on a part would be seen.
        let rises = |line: &str| {
            let edges = recorder.records().into_iter();
            edges.filter(|r| r.line == line && r.level == Level::High).map(|r| r.at).collect::<Vec<_>>()
        };
        assert_eq!(rises("ready"), [Timestamp(300_000_000)], "the belt is learnt");
        assert_eq!(rises("heartbeat")[0], Timestamp(300_000_000));
        let ready_at = ready_at.lock().unwrap().expect("READY=1 was said");
        assert!((Timestamp(300_000_000)..Timestamp(400_000_000)).contains(&ready_at), "{ready_at:?}");
        assert_eq!((counts.parts, counts.rejects, counts.passes), (6, 2, 4), "{counts:?}");
        let mut triggers: Vec<_> = records.lock().unwrap().iter().map(|r| r.part.trigger_at).collect();
        triggers.sort_unstable();
        let expected: Vec<_> = triggers.iter().map(|at| *at + exposed_after).collect();
        assert_eq!(*shown.lock().unwrap(), expected, "the frame that is looked at");
    }
}

/// Inspects as the rig does and notes when each frame was exposed.
struct Noting(Arc<std::sync::Mutex<Vec<Timestamp>>>);

impl zoomgate::inspect::Inspect for Noting {
    fn look(&mut self, _frame: &zoomgate::frame::Frame) -> Option<zoomgate::inspect::Unseen> {
        None
    }

    fn inspect(&mut self, frame: &zoomgate::frame::Frame) -> zoomgate::error::Result<zoomgate::inspect::Inspection> {
        self.0.lock().unwrap().push(frame.exposure_at);
        rig::ByPixel.inspect(frame)
    }
}

#[test]
fn a_backend_without_inputs_refuses_an_encoder_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let text = r#"
        camera.source = "simulated"
        trigger.source = "simulated"
        reject = { travel_mm = 300, belt_speed_mm_s = 300, belt = "encoder" }
        encoder.mm_per_pulse = 1
        gpio.backend = "none"
        safety = { on_uninspected = "pass", on_missed_reject = "alarm" }
    "#;
    let config = config::parse(text, &folder.path().join("config.toml")).unwrap();
    let clock = Arc::new(zoomgate::clock::SimClock::new());
    let parts: Arc<dyn zoomgate::sim::PartSource> = Arc::new(Pixels);
    let error = Wiring::from_config(&config, clock, Box::new(rig::ByPixel), 1.0, Some(parts)).err().unwrap();
    assert!(error.message().contains("encoder_a"), "{error}");
}
