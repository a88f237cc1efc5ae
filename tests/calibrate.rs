//! `zoomgate calibrate` on the simulated clock: it finds out what the simulated reject station hides, or says why not.

mod rig;

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rig::{Rig, ms};
use zoomgate::camera::{Camera, CameraFault, Grab};
use zoomgate::cli::calibrate::{Change, changes, write};
use zoomgate::clock::{Clock, SimClock, Timestamp, WakeToken};
use zoomgate::config::{self, Config};
use zoomgate::daemon;
use zoomgate::daemon::calibrate::{Calibrated, Calibration, calibrate};
use zoomgate::error::{Error, ErrorKind, Result};
use zoomgate::frame::Frame;
use zoomgate::gpio::{Edge, Level, LineFault, OutputLine, Outputs, Recorder, SafeLine, TriggerInput};
use zoomgate::pipeline::actuation::Trigger;
use zoomgate::pipeline::actuation::calibration::Word;
use zoomgate::reject::confirm;
use zoomgate::sim::station::{Station, Truth, one_at_a_time};
use zoomgate::units::{FrameId, Millimetres};

/// 300 mm at 1000 mm/s as the ruler has it, 10 ms of latency by the datasheet, pulses of 50 ms, the eye 100 mm further.
fn config_with(folder: &Path, more: &str) -> Config {
    let edge = |line: &str| format!("{{\"t_ns\":1,\"line\":\"{line}\",\"level\":1}}\n");
    fs::write(folder.join("inputs.jsonl"), edge("eye") + &edge("bin")).unwrap();
    config::parse(&text_with(more), &folder.join("config.toml")).unwrap()
}

fn text_with(more: &str) -> String {
    let base = r#"
[camera]
source = "folder"
folder = "."
rate_hz = 40
[trigger]
source = "photo_eye"
line = "eye"
#exposure_offset_ms = 0.0
[reject]
enabled = true
travel_mm = 300.0 # with a ruler
belt_speed_mm_s = 1000
#actuator_latency_ms = 10.0
[confirm]
by = "eye"
line = "bin"
travel_mm = 100.0
[gpio]
backend = "recorded"
inputs = "inputs.jsonl"
[safety]
on_uninspected = "reject"
on_missed_reject = "alarm"
"#;
    let replaced = |text: String, (from, to): (&str, &str)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    };
    more.split('|').filter_map(|change| change.split_once("=>")).fold(base.to_owned(), replaced)
}

const TRUTH: Truth = Truth {
    travel: Duration::from_micros(312_400),
    body: Duration::from_millis(60),
    latency: Duration::from_millis(23),
    flight: Duration::from_millis(100),
    jitter: Duration::from_millis(1),
    eye_sees_all: false,
};

/// A calibration of a station, whose line is recorded too.
struct Story {
    clock: Arc<dyn Clock>,
    arrivals: Arc<[Timestamp]>,
    recorder: Recorder,
    words: Arc<Mutex<Vec<Word>>>,
    calibration: Calibration,
    _folder: tempfile::TempDir,
}

/// A line that does what two lines do.
struct Both(Box<dyn OutputLine>, SafeLine);

impl OutputLine for Both {
    fn set_level(&mut self, level: Level) -> Result<(), LineFault> {
        self.1.set_level(level)?;
        self.0.set_level(level)
    }

    fn name(&self) -> &str {
        self.0.name()
    }
}

/// A camera that sees nothing and ends with the run.
struct Dark(Arc<dyn Clock>);

impl Camera for Dark {
    fn grab(&mut self, token: &WakeToken) -> Grab {
        self.0.wait(token, None);
        Grab::Idle
    }
}

impl Story {
    fn new(truth: Truth) -> Self {
        Self::every(truth, ms(2500))
    }

    fn every(truth: Truth, every: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // A folder must have a picture to be opened; nobody looks at it.
        image::RgbImage::new(640, 480).save(folder.path().join("a.png")).unwrap();
        let config = config_with(folder.path(), "");
        let clock: Arc<dyn Clock> = Arc::new(SimClock::new());
        let words = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&words);
        let tell = Box::new(move |word| told.lock().unwrap().push(word));
        let mut calibration = Calibration::from_config(&config, Arc::clone(&clock), None, 5, tell).unwrap();
        let arrivals = one_at_a_time(Timestamp::ZERO, 60, every);
        let station = Station::new(Arc::clone(&clock), Arc::clone(&arrivals), truth, 7);
        let mut recorder = Recorder::in_memory(Arc::clone(&clock));
        let line = recorder.request("reject", Level::Low).unwrap();
        let line = Both(station.line("reject", Level::High), line);
        calibration.bench.actuator = SafeLine::new(Box::new(line), Level::Low);
        calibration.bench.sensors.confirm = Some(station.eye());
        if let Trigger::Edge { input, .. } = &mut calibration.bench.trigger {
            *input = Box::new(station.trigger());
        }
        calibration.camera = Box::new(Dark(Arc::clone(&clock)));
        Self { clock, arrivals, recorder, words, calibration, _folder: folder }
    }

    fn run(self) -> (Result<Calibrated>, Recorder, Vec<Word>) {
        let outcome = calibrate(self.calibration);
        let words = self.words.lock().unwrap().clone();
        (outcome, self.recorder, words)
    }

    /// The words of a refusal; panics unless the line rests.
    fn refused(self) -> String {
        let (outcome, recorder, _) = self.run();
        rests(&recorder);
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
        error.message().to_owned()
    }
}

/// Panics unless the line's last level is its safe one; how often it rose.
fn rests(recorder: &Recorder) -> usize {
    let records = recorder.records();
    assert_eq!(records.last().map(|r| r.level), Some(Level::Low));
    records.iter().filter(|r| r.level == Level::High).count()
}

fn assert_near(what: &str, found: f64, truth: f64, tolerance: f64) {
    assert!((found - truth).abs() <= tolerance, "{what}: {found}, in truth {truth}");
}

#[test]
fn the_hidden_travel_and_latency_of_a_station_are_found() {
    for (what, truth) in [
        ("a part longer than the pulse", TRUTH),
        ("a part shorter than the pulse", Truth { body: ms(20), ..TRUTH }),
        ("far from the ruler's", Truth { travel: ms(420), latency: ms(45), ..TRUTH }),
        ("nearer than the ruler's", Truth { travel: ms(180), latency: ms(4), ..TRUTH }),
    ] {
        let (found, recorder, words) = Story::new(truth).run();
        let found = found.unwrap_or_else(|error| panic!("{what}: {error}"));
        let [travel, body, latency] = [truth.travel, truth.body, truth.latency].map(|d| d.as_secs_f64() * 1e3);
        // Half of what the part is longer than the pulse; the pulse, than the part.
        let (part, pulse) = (((body - 50.0) / 2.0).max(0.0), ((50.0 - body) / 2.0).max(0.0));
        assert_near(what, found.hits.aim_ms(), travel - latency + part - pulse, 2.5);
        assert_near(what, found.estimate.travel_mm, travel + part, 2.5);
        assert_near(what, found.estimate.latency_ms, latency + pulse, 3.5);
        let covered = found.body_ms.unwrap();
        assert_near(what, covered.median, body, 1e-6);
        assert_near(what, found.estimate.dead_ms(50.0, covered.median), latency, 3.5);
        assert_eq!((found.estimate.seen_ms.count, found.middle_ms), (5, None));
        let passes = words.iter().filter(|word| matches!(word, Word::Pass { .. })).count();
        assert!((15..=24).contains(&passes), "{what}: {passes} passes");
        assert_eq!(rests(&recorder), passes - 1, "each pass but the blank one is one pulse");
        for pulse in recorder.records()[1..].chunks(2) {
            assert_eq!(pulse[1].at.since(pulse[0].at), ms(50));
        }
    }
}

/// A daemon that rejects every second part on this station's belt; whom it threw into the bin.
fn rejected_with(changes: &[Change]) -> (u64, u64) {
    let value = |key: &str, old: f64| changes.iter().find(|c| c.key == key).map_or(old, |c| c.new);
    let mut rig = Rig::new(40, 3);
    rig.spacing.mean = ms(700);
    rig.reject.travel = Millimetres(value("reject.travel_mm", 300.0));
    rig.reject.actuator_latency = Duration::from_secs_f64(value("reject.actuator_latency_ms", 10.0) / 1e3);
    rig.reject.pulse_width = ms(50);
    let arrivals = rig.arrivals();
    let (mut wiring, _watch) = rig.wire();
    let truth = Truth { travel: ms(420), latency: ms(45), body: ms(40), jitter: ms(20), ..TRUTH };
    let station = Station::new(Arc::clone(&wiring.clock), arrivals, truth, 9);
    wiring.line.reject_line = SafeLine::new(station.line("reject", Level::High), Level::Low);
    wiring.line.sensors.confirm = Some(station.eye());
    wiring.line.confirm = Some(confirm::Settings {
        line: "bin".into(),
        options: Default::default(),
        holdoff: Duration::ZERO,
        travel: Millimetres(100.0),
        window: ms(30),
    });
    let counts = daemon::run(wiring).unwrap().counts;
    (counts.rejects, counts.rejects_confirmed)
}

#[test]
fn a_run_with_what_was_found_throws_every_reject_into_the_bin() {
    let truth = Truth { travel: ms(420), latency: ms(45), body: ms(40), ..TRUTH };
    let folder = tempfile::tempdir().unwrap();
    let config = config_with(folder.path(), "");
    let found = Story::new(truth).run().0.unwrap();
    let (rejects, confirmed) = rejected_with(&changes(&config, &found));
    assert!(rejects > 8);
    assert_eq!(confirmed, rejects, "parts come up to 20 ms early or late");
    assert_eq!(rejected_with(&[]), (rejects, 0), "with the ruler and the datasheet none was");
}

#[test]
fn what_does_not_add_up_is_refused_and_the_line_rests() {
    let sees_all = Story::new(Truth { eye_sees_all: true, ..TRUTH }).refused();
    assert!(sees_all.contains("was not fired at") && sees_all.contains("[confirm]"), "{sees_all}");
    let mut blind = Story::new(TRUTH);
    blind.calibration.bench.sensors.confirm = None;
    let nothing = blind.refused();
    assert!(nothing.contains("no pulse that began 40 to 590 ms after"), "{nothing}");
    let unsteady = Story::new(Truth { jitter: ms(80), body: ms(20), ..TRUTH }).refused();
    assert!(unsteady.contains("of 5 were seen to reject the part"), "{unsteady}");
    // The eye is nearer than was measured: the part would be seen before the pulse can have thrown it.
    let near = Story::new(Truth { flight: ms(40), ..TRUTH }).refused();
    assert!(near.contains("latency of -") && near.contains("[confirm] travel_mm"), "{near}");
    let crowd = Story::every(TRUTH, ms(350)).refused();
    assert!(crowd.contains("one part pass at a time"), "{crowd}");
}

#[test]
fn a_second_part_spoils_a_pass_and_no_more() {
    let mut story = Story::new(TRUTH);
    // Two hands: the fourth part is followed by another after 200 ms.
    let mut arrivals = story.arrivals.to_vec();
    arrivals.insert(4, arrivals[3] + ms(200));
    let station = Station::new(Arc::clone(&story.clock), arrivals.into(), TRUTH, 7);
    story.calibration.bench.actuator = SafeLine::new(station.line("reject", Level::High), Level::Low);
    story.calibration.bench.sensors.confirm = Some(station.eye());
    if let Trigger::Edge { input, .. } = &mut story.calibration.bench.trigger {
        *input = Box::new(station.trigger());
    }
    let (found, _, words) = story.run();
    assert_near("travel", found.unwrap().estimate.travel_mm, 317.4, 2.5);
    assert_eq!(words.iter().filter(|word| matches!(word, Word::Spoilt(_))).count(), 1);
}

#[test]
fn a_panic_a_fault_and_a_stop_leave_the_line_at_rest() {
    /// An eye that answers with this once the line is active.
    struct Waylaid<F>(Recorder, F);
    impl<F: FnMut() -> Result<Option<Edge>, LineFault> + Send> TriggerInput for Waylaid<F> {
        fn next_edge(&mut self, _now: Timestamp) -> Result<Option<Edge>, LineFault> {
            let is_active = self.0.records().last().is_some_and(|r| r.level == Level::High);
            if is_active { (self.1)() } else { Ok(None) }
        }
        fn next_at(&self) -> Option<Timestamp> {
            None
        }
        fn is_exhausted(&self) -> bool {
            false
        }
        fn attach(&mut self, _clock: &Arc<dyn Clock>, _bell: &WakeToken) {}
    }
    let waylaid = |answer: Box<dyn FnMut() -> Result<Option<Edge>, LineFault> + Send>| {
        let mut story = Story::new(TRUTH);
        story.calibration.bench.sensors.confirm = Some(Box::new(Waylaid(story.recorder.clone(), answer)));
        let (outcome, recorder, _) = story.run();
        assert_eq!(rests(&recorder), 1, "it was in the middle of a pulse");
        outcome.unwrap_err().message().to_owned()
    };
    assert!(waylaid(Box::new(|| panic!("on purpose"))).contains("on purpose"));
    let gone = || Err(LineFault { line: "bin".into(), message: "gone".into() });
    assert!(waylaid(Box::new(gone)).contains("line bin: gone"));
    let mut story = Story::new(TRUTH);
    let (recorder, stop) = (story.recorder.clone(), story.calibration.stop.clone());
    let asked = move || {
        stop.request();
        Ok(None)
    };
    story.calibration.bench.sensors.confirm = Some(Box::new(Waylaid(recorder, asked)));
    let stopped = story.refused();
    assert!(stopped.contains("nothing was changed"), "{stopped}");
}

/// A camera that runs freely: a part of 30 pixels passes the middle 45 ms after its trigger, at 0.4 pixels a millisecond.
struct Film {
    clock: Arc<dyn Clock>,
    arrivals: Arc<[Timestamp]>,
    next: u64,
    fails_at: u64,
}

impl Camera for Film {
    fn grab(&mut self, token: &WakeToken) -> Grab {
        let exposure_at = Timestamp(self.next * 25_000_000);
        if self.clock.now() < exposure_at && self.clock.wait(token, Some(exposure_at)) == zoomgate::clock::Wake::Woken {
            return Grab::Idle;
        }
        let id = FrameId(self.next);
        self.next += 1;
        if self.next > self.fails_at {
            return Grab::Fault(CameraFault::Silent, Error::new(ErrorKind::Timeout, "no frames"));
        }
        let ms = |at: Timestamp| at.0 as f64 / 1e6;
        let place = |a: &Timestamp| 80.0 + 0.4 * (ms(exposure_at) - ms(*a) - 45.0);
        let places: Vec<f64> = self.arrivals.iter().map(place).filter(|x| (-20.0..180.0).contains(x)).collect();
        let grey = |x: u32, y: u32| {
            let is_part = (20..50).contains(&y) && places.iter().any(|p| (f64::from(x) + 0.5 - p).abs() < 15.0);
            if is_part { 170 } else { 60 + ((x * 7 + y * 3) % 8) as u8 }
        };
        let rgb: Vec<u8> = (0..160 * 72).flat_map(|p| [grey(p % 160, p / 160); 3]).collect();
        Grab::Frame(Frame { id, exposure_at, dequeued_at: exposure_at, ..Frame::still(160, 72, rgb) })
    }
}

#[test]
fn the_picture_says_when_the_part_is_in_its_middle() {
    let film = |fails_at: u64| {
        let mut story = Story::new(TRUTH);
        story.calibration.frame_size = (160, 72);
        let (clock, arrivals) = (Arc::clone(&story.clock), Arc::clone(&story.arrivals));
        story.calibration.camera = Box::new(Film { clock, arrivals, next: 0, fails_at });
        let (found, _, words) = story.run();
        (found.unwrap(), words)
    };
    let folder = tempfile::tempdir().unwrap();
    let config = config_with(folder.path(), "");
    let (found, _) = film(u64::MAX);
    let middle = found.middle_ms.unwrap();
    assert_near("middle", middle.median, 45.0, 3.0);
    assert!(middle.count > 10 && middle.range < 12.5, "{middle:?}");
    let keys: Vec<_> = changes(&config, &found).iter().map(|change| change.key).collect();
    assert_eq!(keys, ["reject.travel_mm", "reject.actuator_latency_ms", "trigger.exposure_offset_ms"]);
    // A camera that fails is told once, and the rest is measured all the same.
    let (found, words) = film(10);
    assert_eq!(changes(&config, &found).len(), 2);
    assert_eq!(words.iter().filter(|word| matches!(word, Word::NoCamera(_))).count(), 1);
}

#[test]
fn the_numbers_go_into_the_file_and_everything_else_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    fs::write(&path, text_with("")).unwrap();
    let change = |key, new| Change { key, old: 0.0, new };
    let found = [
        change("reject.travel_mm", 317.4),
        change("reject.actuator_latency_ms", 23.2),
        change("trigger.exposure_offset_ms", 45.1),
    ];
    write(&path, &found).unwrap();
    let expected = text_with(
        "300.0=>317.4|#actuator_latency_ms = 10.0=>actuator_latency_ms = 23.2|#exposure_offset_ms = 0.0=>exposure_offset_ms = 45.1",
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    // What would not pass leaves the file as it is, and says what to write by hand.
    let error = write(&path, &[change("reject.travel_mm", 20.0)]).unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.message().contains("reject.travel_mm = 20.0"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing unfinished is left");
}

#[test]
fn what_is_missing_is_named_before_a_line_is_requested() {
    let refused = |more: &str| {
        let folder = tempfile::tempdir().unwrap();
        let config = config_with(folder.path(), more);
        let clock: Arc<dyn Clock> = Arc::new(SimClock::new());
        let error = Calibration::from_config(&config, clock, None, 5, Box::new(|_| {})).err().unwrap();
        assert!(!folder.path().join("edges.jsonl").exists(), "{error}");
        (error.kind(), error.message().to_owned())
    };
    for (more, words) in [
        ("by = \"eye\"=>by = \"nothing\"", "[confirm] by = \"eye\""),
        ("enabled = true=>enabled = false", "[reject] enabled = true"),
        ("source = \"photo_eye\"=>source = \"interval\"\ninterval_ms = 500", "\"photo_eye\" or \"tripwire\""),
    ] {
        let (kind, message) = refused(more);
        assert!(kind == ErrorKind::Config && message.contains(words), "{message}");
    }
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("status.sock");
    let _daemon = UnixListener::bind(&socket).unwrap();
    let status = format!("[safety]=>[status]\nsocket = {socket:?}\n[safety]");
    let (kind, message) = refused(&status);
    assert_eq!(kind, ErrorKind::Busy);
    assert!(message.contains("systemctl stop zoomgate") && message.contains("status.sock"), "{message}");
}

/// With nothing attached the simulated belt has a station of its own, so that the command can be seen.
#[test]
fn the_simulated_belt_can_be_calibrated() {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config.toml")).unwrap();
    let text = text.replace("#by = \"nothing\"", "by = \"eye\"").replace("#travel_mm = 100.0", "travel_mm = 100.0");
    let config = config::parse(&text, &folder.path().join("config.toml")).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SimClock::new());
    let parts = Arc::new(rig::Pixels);
    let mut calibration = Calibration::from_config(&config, clock, Some(parts), 5, Box::new(|_| {})).unwrap();
    calibration.frame_size = rig::SIZE;
    let found = calibrate(calibration).unwrap();
    let keys = changes(&config, &found);
    assert_near("travel", keys[0].new, 312.0 + 1.5, 2.0);
    assert_near("latency", keys[1].new, 23.0, 3.5);
    assert_eq!(keys.len(), 2);
    assert!(found.middle_ms.is_some_and(|middle| (middle.median - 2.0).abs() < 0.1), "{found:?}");
}
