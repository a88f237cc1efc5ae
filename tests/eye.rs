//! Stories of the lines beside the reject line, on the simulated clock: the photo-eye that starts parts, and the outputs
//! that tell a controller, a person and a light about them.

mod rig;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rig::{ByPixel, Rig, THRESHOLD, Watch, is_defective, ms};
use zoomgate::clock::{Clock, Offset, SimClock, Timestamp};
use zoomgate::config::{self, Config};
use zoomgate::daemon::{self, Wiring};
use zoomgate::decide::{OnUninspected, Reason, Verdict};
use zoomgate::error::{Error, ErrorKind};
use zoomgate::gpio::filter::HeldOff;
use zoomgate::gpio::recorded::Record;
use zoomgate::gpio::{InitialLevel, InputOptions, Inputs, Level, Outputs, Recorder, TriggerInput};
use zoomgate::inspect::{Inspect, Inspection, Unseen};
use zoomgate::pipeline::actuation::{Heartbeat, Results, StrobeLight, Trigger};
use zoomgate::sim::camera::{EXPOSURE_DELAY, Mishap, SimCamera};
use zoomgate::telemetry::Fault;

const MS: u64 = 1_000_000;

fn at(ms: u64) -> Timestamp {
    Timestamp(ms * MS)
}

/// Wires the further outputs of the panel to the run's recorder.
fn with_outputs(mut wiring: Wiring, watch: &Watch) -> Wiring {
    let output = |name| watch.recorder.clone().request(name, Level::Low).unwrap();
    wiring.line.auxiliary.results = Some(Results::new(output("result"), Some(output("result_valid")), ms(20)));
    wiring.line.indicators.heartbeat = Some(Heartbeat::new(output("heartbeat"), ms(100)));
    wiring.line.auxiliary.light = Some(StrobeLight::new(output("light"), ms(1), ms(4)));
    wiring
}

/// An eye that plays levels at these instants, `true` for active.
fn eye(edges: &[(Timestamp, bool)], options: InputOptions, holdoff: Duration) -> Box<dyn TriggerInput> {
    let level = |active: bool| if active == options.active_low { Level::Low } else { Level::High };
    let record = |&(at, active): &(Timestamp, bool)| Record { at, line: "eye".to_owned(), level: level(active) };
    let mut recorder = Recorder::in_memory(Arc::new(SimClock::new())).playing(edges.iter().map(record).collect());
    Box::new(HeldOff::new(recorder.request_input("eye", options, InitialLevel::Ignored).unwrap(), holdoff))
}

/// When a line rose and fell, as `(milliseconds, high)`, without its level at request.
fn changes(watch: &Watch, line: &str) -> Vec<(u64, bool)> {
    watch.edges(line).iter().skip(1).map(|r| (r.at.0 / MS, r.level == Level::High)).collect()
}

#[test]
fn a_part_with_holes_is_one_part_and_a_bounce_is_none() {
    let rig = Rig::new(20, 1);
    let arrivals = rig.arrivals();
    let (mut wiring, watch) = rig.wire();
    // Each part bounces on make, has a hole 30 ms in, and leaves at 60 ms; between parts there is a spike.
    let pattern = [(0, true), (1, false), (3, true), (30, false), (36, true), (60, false), (90, true), (91, false)];
    let edges: Vec<_> =
        arrivals.iter().flat_map(|&a| pattern.map(|(offset, active)| (a + ms(offset), active))).collect();
    let options = InputOptions { active_low: true, debounce: ms(5), ..InputOptions::default() };
    wiring.line.trigger = Trigger::Edge {
        input: eye(&edges, options, ms(100)),
        // The level that counts begins 3 ms after the arrival by which the simulated camera exposes.
        exposure_offset: Offset(-(MS as i64)),
        tolerance: ms(1),
    };
    let counts = daemon::run(wiring).unwrap().counts;
    assert_eq!((counts.parts, counts.uninspected(), counts.frames_unmatched), (20, 0, 0));
    for ((index, arrival), record) in (0..).zip(arrivals.iter()).zip(watch.one_record_each(20)) {
        assert_eq!(record.part.trigger_at, *arrival + ms(3), "the time at which the level began, not settled");
        assert_eq!(record.verdict, if is_defective(index) { Verdict::Reject } else { Verdict::Pass });
    }
    watch.all_lines_are_safe();
}

#[test]
fn without_the_holdoff_each_hole_is_a_part_that_nobody_has_seen() {
    let rig = Rig::new(10, 1);
    let edges: Vec<_> = rig
        .arrivals()
        .iter()
        .flat_map(|&a| [(0, true), (30, false), (36, true), (60, false)].map(|(o, active)| (a + ms(o), active)))
        // The camera ends with the last part: a hole in that one would come after it.
        .take(38)
        .collect();
    let (mut wiring, watch) = rig.wire();
    let input = eye(&edges, InputOptions::default(), Duration::ZERO);
    wiring.line.trigger = Trigger::Edge { input, exposure_offset: EXPOSURE_DELAY.into(), tolerance: ms(10) };
    let counts = daemon::run(wiring).unwrap().counts;
    assert_eq!((counts.parts, counts.uninspected_for(Reason::NoFrame)), (19, 9));
    watch.one_record_each(19);
}

#[test]
fn a_camera_that_sees_the_part_before_the_eye_does_gives_it_its_frame() {
    for (behind, is_matched) in [(40, true), (200, true), (235, true), (260, false)] {
        let rig = Rig::new(20, 3);
        let arrivals = rig.arrivals();
        let (mut wiring, watch) = rig.wire();
        let edges: Vec<_> = arrivals.iter().map(|&a| (a + ms(behind), true)).collect();
        let exposed_before = if is_matched { behind } else { behind - 60 };
        wiring.line.trigger = Trigger::Edge {
            input: eye(&edges, InputOptions::default(), Duration::ZERO),
            exposure_offset: Offset(2 * MS as i64 - (exposed_before * MS) as i64),
            tolerance: ms(10),
        };
        let counts = daemon::run(wiring).unwrap().counts;
        assert_eq!(counts.parts, 20, "{behind} ms");
        let unseen = counts.uninspected_for(Reason::NoFrame);
        assert_eq!(unseen == 0, is_matched, "{behind} ms: {unseen} without a frame");
        assert_eq!(counts.frames_unmatched, unseen, "every frame is a part's or counted");
        for (index, record) in (0..).zip(watch.one_record_each(20)).filter(|_| is_matched) {
            assert_eq!(record.verdict == Verdict::Reject, is_defective(index), "part {} has its own frame", index + 1);
        }
    }
}

#[test]
fn an_early_frame_never_goes_to_the_neighbour_of_the_part_that_it_shows() {
    // The second part follows 15 ms after the first one, which has lost its frame.
    let rig = Rig::new(3, 3);
    let (mut wiring, watch) = rig.wire();
    let arrivals: Arc<[Timestamp]> = [at(100), at(115), at(400)].into();
    let camera = SimCamera::new(Arc::clone(&wiring.clock), Arc::new(rig::Pixels), Arc::clone(&arrivals));
    wiring.camera = Box::new(camera.with_mishaps(|id| if id.0 == 0 { Mishap::Lost } else { Mishap::None }));
    let edges: Vec<_> = arrivals.iter().map(|&a| (a + ms(50), true)).collect();
    let input = eye(&edges, InputOptions::default(), Duration::ZERO);
    wiring.line.trigger = Trigger::Edge { input, exposure_offset: Offset(-48 * MS as i64), tolerance: ms(7) };
    daemon::run(wiring).unwrap();
    let reasons: Vec<_> = watch.one_record_each(3).iter().map(|r| r.verdict.reason()).collect();
    assert_eq!(reasons, [Some(Reason::NoFrame), None, None]);
}

#[test]
fn a_controller_is_told_each_result_once_and_in_order() {
    let mut rig = Rig::new(40, 5);
    // Parts in bunches: results wait for each other's strobes.
    rig.spacing.crowded = 0.4;
    let (wiring, watch) = rig.wire();
    daemon::run(with_outputs(wiring, &watch)).unwrap();
    let mut settled = watch.one_record_each(40);
    settled.sort_by_key(|r| (r.settled_at, r.part.id));
    let (result, valid) = (watch.edges("result"), changes(&watch, "result_valid"));
    let level_at = |at: u64| result.iter().rev().find(|r| r.at.0 / MS <= at).unwrap().level == Level::High;
    let rises: Vec<_> = valid.iter().filter(|(_, high)| *high).map(|(at, _)| *at).collect();
    assert_eq!(rises.len(), 40, "one strobe for each part");
    for (rise, record) in rises.iter().zip(&settled) {
        assert!(*rise * MS > record.settled_at.0, "part {}", record.part.id);
        assert_eq!(level_at(*rise), record.verdict != Verdict::Pass, "part {} at {rise} ms", record.part.id);
        assert_eq!(level_at(*rise), level_at(rise - 1), "the result settles first");
        assert_eq!(level_at(*rise), level_at(rise + 20), "and holds");
    }
    let widths: Vec<_> = valid.windows(2).map(|w| (w[0].1, w[1].0 - w[0].0)).collect();
    assert!(widths.iter().all(|(high, width)| if *high { *width == 20 } else { *width >= 20 }), "{widths:?}");
    watch.all_lines_are_safe();
}

#[test]
fn what_is_not_inspected_is_told_as_the_plant_wants_it_and_a_dry_run_tells_nothing() {
    for (policy, refused) in [(OnUninspected::Reject, 5), (OnUninspected::Pass, 0), (OnUninspected::StopLine, 5)] {
        for enabled in [true, false] {
            let mut rig = Rig::new(5, 5);
            rig.safety.on_uninspected = policy;
            rig.reject.enabled = enabled;
            let (mut wiring, watch) = rig.wire();
            struct Fails;
            impl Inspect for Fails {
                fn look(&mut self, _frame: &zoomgate::frame::Frame) -> Option<Unseen> {
                    None
                }

                fn inspect(&mut self, _frame: &zoomgate::frame::Frame) -> zoomgate::error::Result<Inspection> {
                    Err(Error::new(ErrorKind::Internal, "on purpose"))
                }
            }
            wiring.inspect = Box::new(Fails);
            daemon::run(with_outputs(wiring, &watch)).unwrap();
            let strobes = changes(&watch, "result_valid").iter().filter(|(_, high)| *high).count();
            assert_eq!(strobes, if enabled { 5 } else { 0 }, "{policy:?}");
            assert_eq!(watch.was_ever_high("result"), enabled && refused > 0, "{policy:?}");
        }
    }
}

#[test]
fn the_heart_stops_when_something_needs_a_person_and_the_run_goes_on() {
    let rig = Rig::new(40, 6);
    let arrivals = rig.arrivals();
    let (mut wiring, watch) = rig.wire();
    let mut seen = 0;
    struct Script<F>(F);
    impl<F: FnMut(&zoomgate::frame::Frame) -> zoomgate::error::Result<Inspection> + Send> Inspect for Script<F> {
        fn look(&mut self, _frame: &zoomgate::frame::Frame) -> Option<Unseen> {
            None
        }

        fn inspect(&mut self, frame: &zoomgate::frame::Frame) -> zoomgate::error::Result<Inspection> {
            (self.0)(frame)
        }
    }
    wiring.inspect = Box::new(Script(move |frame: &zoomgate::frame::Frame| {
        seen += 1;
        if seen == 20 { Err(Error::new(ErrorKind::Internal, "on purpose")) } else { ByPixel.inspect(frame) }
    }));
    let counts = daemon::run(with_outputs(wiring, &watch)).unwrap().counts;
    assert_eq!((counts.parts, counts.fault(Fault::Inspection)), (40, 1));
    let raised = watch.edges("fault").iter().find(|r| r.level == Level::High).unwrap().at.0 / MS;
    let beats = changes(&watch, "heartbeat");
    let (last, high) = *beats.last().unwrap();
    assert!(!high && last <= raised && raised < last + 100, "the last beat at {last} ms, the fault at {raised} ms");
    for pair in beats[..beats.len() - 1].windows(2) {
        assert_eq!((pair[1].0 - pair[0].0, pair[0].1), (100, !pair[1].1), "{pair:?}");
    }
    assert!(raised < arrivals[25].0 / MS, "and fifteen parts after it had their verdicts");
}

#[test]
fn a_heart_beats_to_the_end_of_a_good_run() {
    let (wiring, watch) = Rig::new(10, 6).wire();
    let ended = daemon::run(with_outputs(wiring, &watch)).unwrap().ended_at.0 / MS;
    let beats = changes(&watch, "heartbeat");
    assert!(beats.len() as u64 >= ended / 100, "{} beats in {ended} ms", beats.len());
    assert_eq!(beats.last().map(|(_, high)| *high), Some(false), "it rests low");
}

#[test]
fn the_light_follows_each_edge() {
    let rig = Rig::new(15, 7);
    let arrivals = rig.arrivals();
    let (wiring, watch) = rig.wire();
    daemon::run(with_outputs(wiring, &watch)).unwrap();
    let seen: Vec<_> = watch.edges("light").iter().skip(1).map(|r| (r.at, r.level)).collect();
    let expected: Vec<_> = arrivals.iter().flat_map(|&a| [(a + ms(1), Level::High), (a + ms(5), Level::Low)]).collect();
    assert_eq!(seen, expected);
}

#[test]
fn outputs_that_strobe_are_safe_after_a_panic() {
    let (mut wiring, watch) = Rig::new(40, 1).wire();
    struct Panics;
    impl TriggerInput for Panics {
        fn next_edge(&mut self, now: Timestamp) -> Result<Option<zoomgate::gpio::Edge>, zoomgate::gpio::LineFault> {
            assert!(now < at(2), "on purpose");
            Ok(None)
        }
        fn next_at(&self) -> Option<Timestamp> {
            Some(at(2))
        }
        fn is_exhausted(&self) -> bool {
            false
        }
        fn attach(&mut self, _clock: &Arc<dyn Clock>, _bell: &zoomgate::clock::WakeToken) {}
    }
    wiring.line.trigger = Trigger::Edge { input: Box::new(Panics), exposure_offset: Offset(0), tolerance: ms(1) };
    let error = daemon::run(with_outputs(wiring, &watch)).unwrap_err();
    assert!(error.message().contains("on purpose"), "{error}");
    assert!(watch.was_ever_high("heartbeat"), "it was beating");
    for line in ["result", "result_valid", "heartbeat", "light"] {
        assert_eq!(watch.edges(line).last().map(|r| r.level), Some(Level::Low), "{line}");
    }
}

/// A configuration that replays four pictures at 5 Hz, the second and fourth defective, below `folder`.
fn config_of(folder: &Path, trigger: &str, gpio: &str) -> Config {
    config_with(folder, trigger, gpio, "")
}

/// The same, with more.
fn config_with(folder: &Path, trigger: &str, gpio: &str, more: &str) -> Config {
    for (name, red) in [("a.png", 0), ("b.png", 250), ("c.png", 10), ("d.png", 240)] {
        image::RgbImage::from_pixel(32, 32, image::Rgb([red, 0, 0])).save(folder.join(name)).unwrap();
    }
    let text = format!(
        r#"
        camera = {{ source = "folder", folder = ".", width_px = 32, height_px = 32, rate_hz = 5 }}
        trigger = {{ {trigger} }}
        reject = {{ enabled = true, travel_mm = 600, belt_speed_mm_s = 1000 }}
        outputs = {{ ready = "ready", result = "result", result_valid = "valid", heartbeat = "beat", light = "light" }}
        gpio = {{ backend = "recorded", {gpio} edges = "edges.jsonl" }}
        safety = {{ on_uninspected = "reject", on_missed_reject = "alarm" }}
        record.events = "events.jsonl"
        {more}
        "#
    );
    config::parse(&text, &folder.join("config.toml")).unwrap()
}

/// Runs it on the simulated clock; each verdict with its pulse, and how often each line rose.
fn run_config(config: &Config, folder: &Path) -> (Vec<String>, BTreeMap<String, usize>) {
    let wiring = Wiring::from_config(config, Arc::new(SimClock::new()), Box::new(ByPixel), THRESHOLD, None).unwrap();
    daemon::run(wiring).unwrap();
    let json = |file: &str| -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let mut events = json("events.jsonl");
    events.sort_by_key(|e| e["part"].as_u64());
    let verdicts = events.iter().filter(|e| e["event"] == "verdict").map(|e| {
        let pulse = e["pulse"].as_str().unwrap_or("-").to_owned();
        format!("{} {pulse}", e["reason"].as_str().or(e["verdict"].as_str()).unwrap())
    });
    let mut rises = BTreeMap::new();
    for edge in json("edges.jsonl").iter().filter(|e| e["level"] == 1) {
        *rises.entry(edge["line"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    (verdicts.collect(), rises)
}

#[test]
fn a_configured_photo_eye_starts_the_parts_of_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    // Pictures are taken at 200, 400, 600 and 800 ms. The eye is active low, bounces, and sees the part 30 ms later; at
    // 500 ms something passes that no picture shows, and the third part it does not see.
    let edges: String = [(230, 0), (231, 1), (232, 0), (260, 1), (430, 0), (460, 1), (500, 0), (520, 1), (830, 0)]
        .iter()
        .map(|(ms, level)| format!("{{\"t_ns\":{},\"line\":\"eye\",\"level\":{level}}}\n", ms * MS))
        .collect();
    std::fs::write(folder.path().join("inputs.jsonl"), edges).unwrap();
    let trigger = r#"source = "photo_eye", line = "eye", active_low = true, debounce_ms = 4, holdoff_ms = 50,
                     exposure_offset_ms = -30, tolerance_ms = 5"#;
    let config = config_of(folder.path(), trigger, r#"inputs = "inputs.jsonl","#);
    let (verdicts, rises) = run_config(&config, folder.path());
    assert_eq!(verdicts, ["pass -", "reject fired", "no_frame fired", "reject fired"]);
    let count = |line: &str| rises.get(line).copied().unwrap_or(0);
    assert_eq!((count("reject"), count("light"), count("valid"), count("ready")), (3, 4, 4, 1));
    assert!(count("beat") > 0);
}

#[test]
fn the_inputs_beside_the_trigger_are_read_as_they_are_wired() {
    // The defective parts come at 400 and 800 ms and pass the eye at the bin 700 ms later. All lines are active low. The
    // valve puts spikes on that eye's line, the first part tumbles, parts fall past the eye of the bin, and the button
    // bounces.
    let edges = [
        (
            "bin",
            &[(1000, 0), (1001, 1), (1100, 0), (1108, 1), (1120, 0), (1125, 1), (1300, 0), (1301, 1), (1500, 0)][..],
        ),
        ("full", &[(1200, 0), (1350, 1)]),
        ("ack", &[(1400, 0), (1403, 1), (1405, 0), (1445, 1)]),
    ];
    let records = edges.iter().flat_map(|(line, edges)| edges.iter().map(move |(ms, level)| (*line, ms * MS, *level)));
    let text: String =
        records.map(|(line, t, level)| format!("{{\"t_ns\":{t},\"line\":\"{line}\",\"level\":{level}}}\n")).collect();
    let as_wired = r#"
        confirm = { by = "eye", line = "bin", travel_mm = 100, window_ms = 30, active_low = true, debounce_ms = 3,
                    holdoff_ms = 50 }
        inputs = { bin_full = "full", reset = "ack", bin_full_active_low = true, reset_active_low = true }
    "#;
    let as_they_are = r#"
        confirm = { by = "eye", line = "bin", travel_mm = 100, window_ms = 30, active_low = true, debounce_ms = 0 }
        inputs = { bin_full = "full", reset = "ack", bin_full_active_low = true, reset_active_low = true,
                   bin_full_debounce_ms = 0, reset_debounce_ms = 0 }
    "#;
    for (inputs, unexpected, bin_full, presses) in [(as_wired, 0, 0, 1), (as_they_are, 3, 1, 2)] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("inputs.jsonl"), &text).unwrap();
        let trigger = r#"source = "every_frame""#;
        let config = config_with(folder.path(), trigger, r#"inputs = "inputs.jsonl","#, inputs);
        let clock = Arc::new(SimClock::new());
        let counts = daemon::run(Wiring::from_config(&config, clock, Box::new(ByPixel), THRESHOLD, None).unwrap());
        let counts = counts.unwrap().counts;
        assert_eq!((counts.rejects, counts.rejects_confirmed, counts.missed_rejects), (2, 2, 0));
        assert_eq!(counts.confirmations_unexpected, unexpected);
        assert_eq!(counts.fault(Fault::BinFull), bin_full);
        let events = std::fs::read_to_string(folder.path().join("events.jsonl")).unwrap();
        assert_eq!(events.matches("\"acknowledged\"").count(), presses, "{events}");
    }
}

#[test]
fn a_state_at_the_start_is_read_and_what_is_no_event_starts_nothing() {
    // Pulled before the start, all active low: the bin is full, the recipe is number 5, a finger rests on the button and
    // a part lies in front of the trigger's eye and of the bin's. Later all of them let go, and a part comes to the trigger's eye.
    let start = ["full", "one", "four", "ack", "eye", "bin"].map(|line| (0, line, 0));
    let later = [(500, "full", 1), (450, "ack", 1), (460, "eye", 1), (470, "bin", 1), (300, "eye", 1), (430, "eye", 0)];
    let text: String = start
        .iter()
        .chain(&later)
        .map(|(ms, line, level)| format!("{{\"t_ns\":{},\"line\":\"{line}\",\"level\":{level}}}\n", ms * MS))
        .collect();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("inputs.jsonl"), text).unwrap();
    let trigger =
        r#"source = "photo_eye", line = "eye", active_low = true, exposure_offset_ms = -30, tolerance_ms = 5"#;
    let more = r#"
        confirm = { by = "eye", line = "bin", travel_mm = 100, window_ms = 30, active_low = true }
        inputs = { bin_full = "full", reset = "ack", recipe_one = "one", recipe_four = "four", bin_full_active_low = true,
                   reset_active_low = true, recipe_active_low = true, bin_full_debounce_ms = 100 }
    "#;
    let config = config_with(folder.path(), trigger, r#"inputs = "inputs.jsonl","#, more);
    let clock = Arc::new(SimClock::new());
    let wiring = Wiring::from_config(&config, clock, Box::new(ByPixel), THRESHOLD, None).unwrap();
    let counts = daemon::run(wiring).unwrap().counts;
    assert_eq!((counts.fault(Fault::BinFull), counts.parts, counts.confirmations_unexpected), (1, 1, 0), "{counts:?}");
    let events = std::fs::read_to_string(folder.path().join("events.jsonl")).unwrap();
    let of = |kind: &str| -> Vec<serde_json::Value> {
        let all = events.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        all.filter(|event| event["event"] == kind).collect()
    };
    assert_eq!(of("recipe_selected").iter().map(|e| e["number"].as_u64().unwrap()).collect::<Vec<_>>(), [5]);
    assert!(of("acknowledged").is_empty(), "nobody has pressed it");
    let full = of("fault").iter().find(|e| e["code"] == "BIN-01").unwrap()["t_ns"].as_u64();
    assert_eq!(full, Some(100 * MS), "it has to hold as any other level");
}

#[test]
fn an_interval_starts_parts_until_the_camera_ends() {
    let folder = tempfile::tempdir().unwrap();
    let trigger = r#"source = "interval", interval_ms = 200"#;
    let config = config_of(folder.path(), trigger, "");
    let (verdicts, rises) = run_config(&config, folder.path());
    assert_eq!(verdicts, ["pass -", "reject fired", "pass -", "reject fired"]);
    assert_eq!(rises["light"], 4);
}
