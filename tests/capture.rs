//! `zoomgate capture` on the simulated clock and as a program: a picture for each part, or a word why there is none.

mod program;
mod rig;

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rig::ms;
use zoomgate::camera::{Camera, CameraFault, Grab};
use zoomgate::cli::capture::{Album, Label, Saved, Session, Summary};
use zoomgate::clock::{Clock, SimClock, WakeToken};
use zoomgate::config::{self, Config};
use zoomgate::daemon::setup;
use zoomgate::error::{Error, ErrorKind, Result};
use zoomgate::frame::picture;
use zoomgate::gpio::InputOptions;
use zoomgate::reject::{EncoderBelt, encoder};
use zoomgate::units::Millimetres;

/// Four pictures a second apart, with this trigger and what it needs.
fn config_of(folder: &Path, pictures: u8, more: &str) -> Config {
    fs::create_dir_all(folder.join("pictures")).unwrap();
    for n in 0..pictures {
        // Chequers, which are sharp; from the 21st on a blur of them.
        let contrast = if n < 20 { 90 } else { 20 };
        let grey = |x: u32, y: u32| if (x / 4 + y / 4).is_multiple_of(2) { 120 + n } else { 120 + n - contrast };
        let image = image::RgbImage::from_fn(32, 32, |x, y| image::Rgb([grey(x, y); 3]));
        image.save(folder.join(format!("pictures/{n:02}.png"))).unwrap();
    }
    let text = format!(
        r#"
        camera = {{ source = "folder", folder = "pictures", width_px = 32, height_px = 32, rate_hz = 5 }}
        reject = {{ enabled = true, travel_mm = 300, belt_speed_mm_s = 1000 }}
        outputs = {{ ready = "ready", light = "light" }}
        safety = {{ on_uninspected = "reject", on_missed_reject = "alarm" }}
        record.events = "events.jsonl"
        {more}
        "#
    );
    config::parse(&text, &folder.join("config.toml")).unwrap()
}

const EVERY_FRAME: &str = "trigger.source = \"every_frame\"\ngpio.backend = \"recorded\"";

struct Outcome {
    summary: Result<Summary>,
    saved: Vec<Saved>,
    last: Summary,
}

/// Captures on the simulated clock; `tell` is called in the thread that saves, `camera` may replace the camera.
fn capture(
    config: &Config,
    out: &Path,
    (label, count): (Label, u64),
    mut tell: impl FnMut(&dyn Clock, &Saved) + Send + 'static,
    camera: impl FnOnce(Box<dyn Camera>) -> Box<dyn Camera>,
) -> Outcome {
    let clock: Arc<dyn Clock> = Arc::new(SimClock::new());
    let saved = Arc::new(Mutex::new(Vec::new()));
    let (keep, theirs) = (Arc::clone(&saved), Arc::clone(&clock));
    let say = Box::new(move |one: &Saved| {
        tell(&*theirs, one);
        keep.lock().unwrap().push(one.clone());
        Ok(())
    });
    let session = Session::new(count, Album::open(out, label).unwrap(), say);
    let mut wiring = setup::watching(config, clock, session.saver(), None, false).unwrap();
    wiring.camera = camera(wiring.camera);
    let summary = session.run(wiring, config);
    let saved = saved.lock().unwrap().clone();
    Outcome { summary, saved, last: session.summary() }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn pictures_are_the_frames_and_a_second_call_goes_on_behind_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let (config, out) = (config_of(dir.path(), 6, EVERY_FRAME), dir.path().join("set"));
    let first = capture(&config, &out, (Label::Good, 4), |_, _| {}, |camera| camera);
    let summary = first.summary.unwrap();
    assert_eq!((summary.saved, summary.not_saved, summary.interrupted), (4, 0, false));
    assert_eq!(summary.folder, out.join("good"));
    for (n, saved) in first.saved.iter().enumerate() {
        let taken = picture::load(&saved.file).unwrap();
        let shown = picture::load(&dir.path().join(format!("pictures/{n:02}.png"))).unwrap();
        assert_eq!(taken.rgb, shown.rgb, "lossless");
        assert!(saved.warnings.is_empty(), "{saved:?}");
    }
    // Somebody has taken a number that is to come, and deleted one that was.
    fs::remove_file(out.join("good/good-000002.png")).unwrap();
    let second = capture(
        &config,
        &out,
        (Label::Good, 2),
        |_, saved| {
            if saved.file.ends_with("good-000005.png") {
                fs::write(saved.file.with_file_name("good-000006.png"), "mine").unwrap();
            }
        },
        |camera| camera,
    );
    assert_eq!(second.summary.unwrap().saved, 2);
    assert_eq!(names(&out.join("good")), [1, 3, 4, 5, 6, 7].map(|n| format!("good-{n:06}.png")));
    assert_eq!(fs::read(out.join("good/good-000006.png")).unwrap(), b"mine");
    capture(&config, &out, (Label::Bad, 1), |_, _| {}, |camera| camera).summary.unwrap();
    assert_eq!(names(&out.join("bad")), ["bad-000001.png"]);
    // Nothing of a run was touched: no line was requested, no event written, no recipe asked for.
    assert_eq!(names(dir.path()), ["pictures", "set"]);
}

#[test]
fn a_picture_that_is_finished_after_the_end_on_a_standing_belt_is_no_part_without_one() {
    let dir = tempfile::tempdir().unwrap();
    let config = config_of(dir.path(), 4, EVERY_FRAME);
    let clock: Arc<dyn Clock> = Arc::new(SimClock::new());
    let theirs = Arc::clone(&clock);
    // The picture that is enough takes longer than a run that ends waits for a belt that stands.
    let say = Box::new(move |_: &Saved| {
        theirs.sleep_until(theirs.now() + ms(5000));
        Ok(())
    });
    let session = Session::new(1, Album::open(&dir.path().join("set"), Label::Good).unwrap(), say);
    let mut wiring = setup::watching(&config, clock, session.saver(), None, false).unwrap();
    wiring.line.belt = Box::new(EncoderBelt::new(&encoder::Settings {
        line_a: "a".to_owned(),
        line_b: None,
        options: InputOptions::default(),
        mm_per_pulse: Millimetres(10.0),
        stopped: ms(500),
    }));
    let counters = Arc::clone(&wiring.counters);
    let summary = session.run(wiring, &config).unwrap();
    assert!(counters.snapshot().late_scores > 0, "its part was settled by then");
    assert_eq!((summary.saved, summary.not_saved), (1, 0), "{summary:?}");
}

#[cfg(feature = "teach")]
#[test]
fn what_is_captured_can_be_taught() {
    let dir = tempfile::tempdir().unwrap();
    let (config, out) = (config_of(dir.path(), 12, EVERY_FRAME), dir.path().join("set"));
    for (label, count) in [(Label::Good, 8), (Label::Bad, 2)] {
        // The bad ones must not repeat the good ones: they come from behind them.
        let skip =
            |camera| Box::new(Behind { camera, skip: if label == Label::Bad { 8 } else { 0 } }) as Box<dyn Camera>;
        capture(&config, &out, (label, count), |_, _| {}, skip).summary.unwrap();
    }
    let dataset = zoomgate::eval::dataset::Dataset::from_folders(&out.join("good"), Some(&out.join("bad"))).unwrap();
    assert_eq!((dataset.good.len(), dataset.bad.len()), (8, 2));
}

/// A camera whose first frames nobody sees, and which breaks down.
struct Behind {
    camera: Box<dyn Camera>,
    skip: u32,
}

impl Camera for Behind {
    fn grab(&mut self, token: &WakeToken) -> Grab {
        while self.skip > 0 {
            if let Grab::Frame(_) = self.camera.grab(token) {
                self.skip -= 1;
            }
        }
        match self.camera.grab(token) {
            Grab::Frame(mut frame) => {
                frame.id.0 -= frame.id.0.min(8);
                Grab::Frame(frame)
            }
            grab => grab,
        }
    }
}

#[test]
fn a_camera_that_fails_ends_it_with_its_name_and_what_is_saved_stays() {
    struct Unplugged(Box<dyn Camera>, u32);
    impl Camera for Unplugged {
        fn grab(&mut self, token: &WakeToken) -> Grab {
            if self.1 == 3 {
                let error = Error::new(ErrorKind::Disconnected, "cannot read /dev/video0: check its cable");
                return Grab::Fault(CameraFault::Disconnected, error);
            }
            self.1 += 1;
            self.0.grab(token)
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let (config, out) = (config_of(dir.path(), 6, EVERY_FRAME), dir.path().join("set"));
    let outcome = capture(&config, &out, (Label::Good, 6), |_, _| {}, |camera| Box::new(Unplugged(camera, 0)));
    let error = outcome.summary.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Disconnected);
    assert!(error.message().contains("the camera is disconnected: cannot read /dev/video0"), "{error}");
    assert_eq!((outcome.last.saved, names(&out.join("good")).len()), (3, 3));
}

#[test]
fn a_picture_that_cannot_be_written_ends_it_and_leaves_no_half() {
    let dir = tempfile::tempdir().unwrap();
    let (config, out) = (config_of(dir.path(), 6, EVERY_FRAME), dir.path().join("set"));
    let lose = |_: &dyn Clock, saved: &Saved| {
        if saved.file.ends_with("good-000002.png") {
            fs::rename(saved.file.parent().unwrap(), saved.file.parent().unwrap().with_file_name("gone")).unwrap();
        }
    };
    let error = capture(&config, &out, (Label::Good, 6), lose, |camera| camera).summary.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("cannot write the picture") && error.message().contains("good-000003.png"));
    assert_eq!(names(&out), ["gone"]);
    assert_eq!(names(&out.join("gone")), ["good-000001.png", "good-000002.png"]);
}

#[test]
fn a_disk_that_is_slower_than_the_belt_costs_pictures_that_are_counted_and_no_frame() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config_of(dir.path(), 100, EVERY_FRAME);
    config.camera.rate_hz = 20.0;
    let slow = |takes_ms: u64| {
        let out = dir.path().join(takes_ms.to_string());
        let sleep = move |clock: &dyn Clock, _: &Saved| clock.sleep_until(clock.now() + ms(takes_ms));
        let outcome = capture(&config, &out, (Label::Good, 1000), sleep, |camera| camera);
        let summary = outcome.summary.unwrap();
        assert_eq!(summary.saved + summary.not_saved, 100, "every part is one or the other");
        assert_eq!((names(&out.join("good")).len() as u64, summary.interrupted), (summary.saved, false));
        (summary.saved, outcome.saved)
    };
    // So slow that a picture is still written when its part has waited too long.
    assert!((5..15).contains(&slow(1000).0));
    let (saved, pictures) = slow(200);
    assert!((25..40).contains(&saved), "{saved}");
    // What is too blurred against what came before is said, and saved all the same.
    let blurred: Vec<_> = pictures.iter().map(|s| s.warnings.iter().any(|w| w.contains("blurred"))).collect();
    assert!(blurred.iter().any(|b| *b) && !blurred[..5].contains(&true), "{blurred:?}");
}

#[test]
fn a_part_without_a_frame_is_told_and_not_saved() {
    let dir = tempfile::tempdir().unwrap();
    let inputs = [(230, 1), (240, 0), (430, 1), (440, 0), (500, 1), (510, 0), (830, 1)];
    let lines =
        inputs.map(|(ms, level)| format!("{{\"t_ns\":{}, \"line\":\"eye\",\"level\":{level}}}\n", ms * 1_000_000));
    fs::write(dir.path().join("inputs.jsonl"), lines.concat()).unwrap();
    let eye = r#"
        trigger = { source = "photo_eye", line = "eye", debounce_ms = 4, exposure_offset_ms = -30, tolerance_ms = 5 }
        gpio = { backend = "recorded", inputs = "inputs.jsonl" }
    "#;
    let (config, out) = (config_of(dir.path(), 4, eye), dir.path().join("set"));
    let summary = capture(&config, &out, (Label::Good, 10), |_, _| {}, |camera| camera).summary.unwrap();
    assert_eq!((summary.saved, summary.not_saved), (3, 1));
    assert_eq!(names(dir.path()), ["inputs.jsonl", "pictures", "set"], "the record of the last run is not touched");
}

/// The program on the real clock: enough pictures end it, and so does Ctrl-C; both well.
#[test]
fn the_program_ends_with_enough_pictures_or_with_ctrl_c() {
    let dir = tempfile::tempdir().unwrap();
    let text = "[camera]\nsource = \"simulated\"\nparts = 100000\nrate_hz = 20\nwidth_px = 64\nheight_px = 48\n\
                [trigger]\nsource = \"simulated\"\n[reject]\ntravel_mm = 300\nbelt_speed_mm_s = 300\n\
                [gpio]\nbackend = \"recorded\"\n[safety]\non_uninspected = \"reject\"\non_missed_reject = \"alarm\"\n";
    fs::write(dir.path().join("config.toml"), text).unwrap();
    let program = |count: &str| {
        let mut command = program::program();
        command.args(["capture", "--label", "good", "--out", "set", "--json", "--count", count]).current_dir(&dir);
        command
    };
    let lines = |stdout: &[u8]| -> Vec<serde_json::Value> {
        String::from_utf8_lossy(stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let output = program("3").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told = lines(&output.stdout);
    assert_eq!((told.len(), &told[3]["saved"], &told[3]["interrupted"]), (4, &3.into(), &false.into()));
    assert_eq!(told[0]["file"], "set/good/good-000001.png");

    let mut child = program("100000").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while !dir.path().join("set/good/good-000005.png").exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "no pictures within a minute");
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::yield_now();
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let told = lines(&output.stdout);
    let summary = told.last().unwrap();
    assert_eq!((&summary["interrupted"], &summary["saved"]), (&true.into(), &(told.len() - 1).into()));
    assert_eq!(names(&dir.path().join("set/good")).len(), 3 + told.len() - 1);
    assert_eq!(names(dir.path()), ["config.toml", "set"], "no line was requested");
}
