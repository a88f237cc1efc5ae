//! The configuration as a technician meets it: the shipped file, one slip per key of the table, golden messages,
//! and files that are no configuration at all.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config as Runs, RngSeed};
use zoomgate::cli::check;
use zoomgate::clock::Offset;
use zoomgate::config::keys::{self, Absent, KEYS, Key, Kind, SECTIONS};
use zoomgate::config::{self, Config, Findings, Problem, Trigger, render};
use zoomgate::decide::{OnMissedReject, OnUninspected, Safety, alarm};
use zoomgate::error::{Error, ErrorKind};
use zoomgate::frame::geometry::Roi;
use zoomgate::units::{Millimetres, MmPerSecond};
use zoomgate::{camera, gpio, reject};

fn examine(text: &str) -> Findings {
    config::examine(text, Path::new("config.toml"))
}

fn problems(text: &str) -> Vec<Problem> {
    examine(text).config.err().map_or(vec![], |problems| problems.problems)
}

/// Every key of the table, written out, with `line` in place of `key = value` for one of them.
fn file_with(replaced: &Key, line: &str) -> String {
    let mut text = String::new();
    for section in SECTIONS {
        text.push_str(&format!("[{}]\n", section.name));
        for key in keys::of_section(section.name) {
            match key == replaced {
                true => text.push_str(&format!("{line}\n")),
                false => text.push_str(&format!("{} = {}\n", key.name(), key.shown())),
            }
        }
    }
    text
}

fn full_file() -> String {
    file_with(&KEYS[0], &format!("{} = {}", KEYS[0].name(), KEYS[0].shown()))
}

/// Compares with a committed file; `UPDATE_GOLDEN=1` writes it instead.
fn assert_golden(path: &Path, text: &str) {
    let golden = fs::read_to_string(path).unwrap_or_default();
    if golden != text && std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(path, text).unwrap();
    }
    let golden = fs::read_to_string(path).unwrap_or_default();
    assert_eq!(golden, text, "{} differs; UPDATE_GOLDEN=1 rewrites it", path.display());
}

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn shipped_file_is_the_key_table_and_passes() {
    assert_golden(&root("config.toml"), &render::shipped());
    let findings = config::examine_file(&root("config.toml"));
    assert_eq!(findings.warnings, []);
    let config = findings.config.unwrap();
    assert_eq!(config.safety.on_uninspected, OnUninspected::Reject);
    assert_eq!(config.safety.on_missed_reject, OnMissedReject::Alarm);
    assert!(matches!(config.camera.source, camera::Source::Simulated { .. }));
    assert_eq!(config.trigger, Trigger::Simulated);
    assert_eq!(config.gpio.backend, gpio::Backend::Recorded { path: root("edges.jsonl"), inputs: None });
}

#[test]
fn shipped_file_shows_every_key_once() {
    let shipped = fs::read_to_string(root("config.toml")).unwrap();
    let mut section = "";
    let mut shown = Vec::new();
    for line in shipped.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        } else if let Some((name, _)) = line.strip_prefix('#').unwrap_or(line).split_once(" = ")
            && !name.contains(' ')
        {
            shown.push(format!("{section}.{name}"));
        }
    }
    assert_eq!(shown, KEYS.iter().map(|key| key.path).collect::<Vec<_>>());
}

#[test]
fn every_key_can_be_written_and_every_default_is_what_absence_means() {
    assert_eq!(problems(&full_file()), []);
    let minimal: String = KEYS
        .iter()
        .filter(|k| matches!(k.absent, Absent::Required(_)))
        .fold(String::new(), |t, k| t + &format!("{} = {}\n", k.path, k.shown()));
    let defaults: String = KEYS.iter().fold(minimal.clone(), |text, key| match key.absent {
        Absent::Default(literal) => text + &format!("{} = {literal}\n", key.path),
        _ => text,
    });
    assert_ne!(minimal, defaults);
    assert_eq!(examine(&minimal).config.unwrap(), examine(&defaults).config.unwrap());
}

#[test]
fn every_value_reaches_its_setting() {
    let text = r#"
        camera = { source = "folder", width_px = 0x280, height_px = 1_000, rate_hz = 4, folder = "in", shuffle_seed = 5, loop = true }
        trigger.source = "every_frame"
        model.recipe = "r.onnx"
        decision.threshold = -1.5
        reject = { enabled = true, line = "flap", active_low = true, travel_mm = 700, belt_speed_mm_s = 250.5,
                   belt = "encoder", actuator_latency_ms = 12.5, pulse_width_ms = 40, window_ms = 15,
                   on_overlap = "refuse" }
        encoder = { line = "ea", second_line = "eb", mm_per_pulse = 0.25, stopped_ms = 300 }
        confirm = { by = "eye", line = "bin", travel_mm = 120, window_ms = 80 }
        inputs = { bin_full = "full", reset = "ack", recipe_one = "r1", recipe_eight = "r8" }
        alarm = { consecutive_rejects = 7, uninspected_rate = 0.5, uninspected_parts = 20 }
        outputs = { ready = "a", fault = "b", stop_line = "c", result = "d", result_valid = "e", result_valid_ms = 30,
                    heartbeat = "f", heartbeat_ms = 250, light = "g", light_delay_ms = 1.5, light_width_ms = 2.5 }
        gpio = { backend = "recorded", edges = "/tmp/e.jsonl", inputs = "i.jsonl" }
        safety = { on_uninspected = "stop_line", on_missed_reject = "stop_line" }
        record.events = "v.jsonl"
        realtime = { priority = 7, lock_memory = false }
        status.socket = "s.sock"
        log.level = "trace"
    "#;
    let expected = Config {
        camera: camera::Settings {
            source: camera::Source::Folder { path: "etc/in".into(), shuffle_seed: Some(5), repeat: true },
            width: 640,
            height: 1000,
            rate_hz: 4.0,
        },
        trigger: Trigger::EveryFrame,
        model: config::Model { recipe: "etc/r.onnx".into() },
        decision: config::Decision { threshold: Some(-1.5) },
        reject: reject::Settings {
            enabled: true,
            line: "flap".into(),
            active_low: true,
            travel: Millimetres(700.0),
            belt_speed: MmPerSecond(250.5),
            actuator_latency: Duration::from_micros(12_500),
            pulse_width: Duration::from_millis(40),
            window: Duration::from_millis(15),
            on_overlap: reject::OnOverlap::Refuse,
        },
        encoder: Some(reject::encoder::Settings {
            line_a: "ea".into(),
            line_b: Some("eb".into()),
            mm_per_pulse: Millimetres(0.25),
            stopped: Duration::from_millis(300),
        }),
        confirm: Some(reject::confirm::Settings {
            line: "bin".into(),
            travel: Millimetres(120.0),
            window: Duration::from_millis(80),
        }),
        inputs: config::Inputs {
            bin_full: Some("full".into()),
            reset: Some("ack".into()),
            recipe: [Some("r1".into()), None, None, Some("r8".into())],
        },
        alarm: alarm::Settings { consecutive_rejects: Some(7), uninspected_rate: Some(0.5), uninspected_parts: 20 },
        outputs: config::Outputs {
            ready: Some("a".into()),
            fault: Some("b".into()),
            stop_line: Some("c".into()),
            result: Some(config::ResultLines {
                line: "d".into(),
                valid: Some("e".into()),
                width: Duration::from_millis(30),
            }),
            heartbeat: Some(config::HeartbeatLine { line: "f".into(), period: Duration::from_millis(250) }),
            light: Some(config::LightLine {
                line: "g".into(),
                delay: Duration::from_micros(1500),
                width: Duration::from_micros(2500),
            }),
        },
        gpio: gpio::Settings {
            backend: gpio::Backend::Recorded { path: "/tmp/e.jsonl".into(), inputs: Some("etc/i.jsonl".into()) },
            chip: None,
        },
        safety: Safety { on_uninspected: OnUninspected::StopLine, on_missed_reject: OnMissedReject::StopLine },
        record: config::Record { events: Some("etc/v.jsonl".into()) },
        realtime: config::Realtime { priority: Some(7), lock_memory: false },
        status: config::Status { socket: Some("etc/s.sock".into()) },
        log_level: log::LevelFilter::Trace,
    };
    assert_eq!(config::parse(text, Path::new("etc/config.toml")).unwrap(), expected);

    let tripwire = r#"
        camera = { source = "folder", folder = "in", height_px = 100 }
        trigger = { source = "tripwire", strip_left_px = 300, strip_top_px = 20, strip_width_px = 8, trip_level = 9,
                    clear_level = 4, exposure_offset_ms = 40 }
        reject = { travel_mm = 700, belt_speed_mm_s = 250 }
        gpio.backend = "none"
        safety = { on_uninspected = "pass", on_missed_reject = "alarm" }
    "#;
    let strip = Roi { x: 300, y: 20, width: 8, height: 80 };
    let wire = camera::tripwire::Settings { strip, trip_level: 9.0, clear_level: 4.0 };
    let exposure = config::Exposure { offset: Offset(40_000_000), tolerance: Duration::from_millis(250) };
    let expected = Trigger::Tripwire { wire, exposure };
    assert_eq!(config::parse(tripwire, Path::new("config.toml")).unwrap().trigger, expected);

    let simulated = r#"
        camera = { source = "simulated", seed = 9, parts = 8, defect_rate = 0.25 }
        trigger.source = "simulated"
        reject = { travel_mm = 700, belt_speed_mm_s = 250 }
        gpio.backend = "none"
        safety = { on_uninspected = "pass", on_missed_reject = "alarm" }
        realtime.priority = 0
    "#;
    let config = config::parse(simulated, Path::new("config.toml")).unwrap();
    assert_eq!(config.camera.source, camera::Source::Simulated { seed: 9, parts: 8, defect_rate: 0.25 });
    assert_eq!((config.trigger, config.gpio.backend), (Trigger::Simulated, gpio::Backend::None));
    assert_eq!(config.safety.on_uninspected, OnUninspected::Pass);
    assert_eq!(config.safety.on_missed_reject, OnMissedReject::Alarm);
    assert_eq!((config.outputs, config.record.events, config.decision.threshold), Default::default());
    assert!(!config.reject.enabled);
    assert_eq!((config.realtime.priority, config.realtime.lock_memory, config.status.socket), (None, true, None));
}

#[test]
fn a_photo_eye_and_an_interval_reach_their_settings() {
    let file = |trigger: &str, gpio: &str| {
        let rest = "camera = { source = \"folder\", rate_hz = 25, folder = \"in\" }\n\
                    reject = { travel_mm = 700, belt_speed_mm_s = 250 }\n\
                    safety = { on_uninspected = \"pass\", on_missed_reject = \"alarm\" }";
        format!("{rest}\ntrigger = {{ {trigger} }}\ngpio = {{ {gpio} }}")
    };
    let config = |trigger: &str, gpio: &str| config::parse(&file(trigger, gpio), Path::new("config.toml")).unwrap();
    let eye = config(
        r#"source = "photo_eye", line = "17", active_low = true, bias = "pull_up", debounce_ms = 0.5, holdoff_ms = 30,
           exposure_offset_ms = -12.5, tolerance_ms = 8"#,
        r#"chip = "gpiochip4""#,
    );
    let (ms, us) = (Duration::from_millis, Duration::from_micros);
    let expected = Trigger::PhotoEye {
        line: "17".into(),
        options: gpio::InputOptions { active_low: true, bias: gpio::Bias::PullUp, debounce: us(500) },
        holdoff: ms(30),
        exposure: config::Exposure { offset: Offset(-12_500_000), tolerance: ms(8) },
    };
    assert_eq!(eye.trigger, expected);
    assert_eq!(eye.gpio, gpio::Settings { backend: gpio::Backend::Gpiocdev, chip: Some("gpiochip4".into()) });
    // Without a tolerance, half a frame: then no two frames are near enough.
    let interval = config(r#"source = "interval", interval_ms = 250"#, r#"backend = "rppal""#);
    let exposure = config::Exposure { offset: Offset(0), tolerance: ms(20) };
    assert_eq!(interval.trigger, Trigger::Interval { period: ms(250), exposure });
    assert_eq!(interval.gpio.backend, gpio::Backend::Rppal);

    for (trigger, gpio, key) in [
        (r#"source = "photo_eye""#, "", "trigger.line"),
        (r#"source = "photo_eye", line = "reject""#, "", "trigger.line"),
        (r#"source = "photo_eye", line = "eye""#, r#"backend = "none""#, "trigger.source"),
        (r#"source = "photo_eye", line = "eye""#, r#"backend = "recorded""#, "gpio.inputs"),
        (r#"source = "photo_eye", line = "eye", exposure_offset_ms = -281"#, "", "trigger.exposure_offset_ms"),
        (r#"source = "interval""#, "", "trigger.interval_ms"),
    ] {
        let found = problems(&file(trigger, gpio));
        assert_eq!(found.iter().map(|p| p.key.as_deref()).collect::<Vec<_>>(), [Some(key)], "{trigger}: {found:#?}");
    }
    for (trigger, key) in [
        (r#"source = "photo_eye", line = "eye", tolerance_ms = 21"#, "trigger.tolerance_ms"),
        (r#"source = "every_frame", holdoff_ms = 5"#, "trigger.holdoff_ms"),
    ] {
        let warnings = examine(&file(trigger, "")).warnings;
        assert!(warnings.iter().any(|w| w.key.as_deref() == Some(key)), "{trigger}: {warnings:#?}");
    }
}

#[test]
fn every_offered_word_is_understood_and_every_later_one_names_the_offer() {
    let mut later_words = 0;
    for key in KEYS {
        let Kind::Choice { offered, later } = key.kind else { continue };
        for word in offered {
            let mut text = file_with(key, &format!("{} = \"{word}\"", key.name()));
            // What the word needs elsewhere in the file.
            match *word {
                "folder" | "v4l2" => {
                    text = text.replace("[trigger]\nsource = \"simulated\"", "[trigger]\nsource = \"every_frame\"")
                }
                "tripwire" => text = text.replace("[camera]\nsource = \"simulated\"", "[camera]\nsource = \"folder\""),
                "none" => text = text.replace("enabled = true", "enabled = false"),
                _ => {}
            }
            assert_eq!(problems(&text), [], "{} = {word}", key.path);
        }
        for word in later {
            later_words += 1;
            let problem = only_problem(&file_with(key, &format!("{} = \"{word}\"", key.name())), key);
            assert!(problem.message.contains("not in this build"), "{}", problem.message);
            assert!(offered.iter().all(|offer| problem.message.contains(offer)), "{}", problem.message);
        }
    }
    assert_eq!(later_words, if cfg!(feature = "v4l2") { 0 } else { 1 });
}

#[test]
fn the_camera_formats_are_those_that_are_read() {
    let Kind::Choice { offered, .. } = keys::find("camera.format").unwrap().kind else { panic!("format is a choice") };
    let read = camera::convert::PixelFormat::ALL.map(|(format, _)| format.name());
    assert_eq!(offered[0], "auto");
    assert_eq!(offered[1..], read);
}

#[test]
fn a_camera_of_this_machine_takes_its_keys_or_is_not_in_this_build() {
    let text = r#"
        camera = { source = "v4l2", width_px = 1280, height_px = 720, rate_hz = 30, device = "/dev/v4l/by-id/usb-a",
                   format = "Y16", exposure_us = 5000, gain = 3, white_balance_k = 4600, focus = 20,
                   power_line_hz = 50, stall_ms = 700, buffers = 6 }
        trigger.source = "every_frame"
        reject = { travel_mm = 700, belt_speed_mm_s = 250, pulse_width_ms = 10 }
        gpio.backend = "none"
        safety = { on_uninspected = "pass", on_missed_reject = "alarm" }
    "#;
    let Ok(config) = config::parse(text, Path::new("etc/config.toml")) else {
        let found = problems(text);
        assert!(!cfg!(feature = "v4l2") && found.len() == 1, "{found:#?}");
        assert!(found[0].message.contains("not in this build"), "{found:#?}");
        return;
    };
    let expected = camera::v4l2::Settings {
        device: "/dev/v4l/by-id/usb-a".into(),
        format: Some(camera::convert::PixelFormat::Y16),
        controls: camera::v4l2::Controls {
            exposure_us: Some(5000),
            gain: Some(3),
            white_balance_k: Some(4600),
            focus: Some(20),
            power_line_hz: Some(50),
        },
        stall: Duration::from_millis(700),
        buffers: 6,
    };
    assert_eq!(config.camera.source, camera::Source::V4l2(expected));
    for (from, to, key) in [
        ("device = \"/dev/v4l/by-id/usb-a\",", "", "camera.device"),
        ("power_line_hz = 50", "power_line_hz = 55", "camera.power_line_hz"),
        ("\"every_frame\"", "\"simulated\"", "trigger.source"),
    ] {
        let found = problems(&text.replace(from, to));
        assert_eq!(found.iter().map(|p| p.key.as_deref()).collect::<Vec<_>>(), [Some(key)], "{found:#?}");
    }
    // A camera that runs freely has more frames than parts: only where each is a part does a long pulse reach the next.
    let warns = |text: &str| !examine(&text.replace("pulse_width_ms = 10", "pulse_width_ms = 40")).warnings.is_empty();
    assert!(warns(text));
}

fn only_problem(text: &str, key: &Key) -> Problem {
    let mut found = problems(text);
    assert_eq!(found.len(), 1, "{}: {found:#?}", key.path);
    found.remove(0)
}

/// `name` with each letter left out and each two neighbours swapped.
fn typos(name: &str) -> Vec<String> {
    let letters: Vec<char> = name.chars().collect();
    let without = (0..letters.len()).map(|at| {
        let mut letters = letters.clone();
        letters.remove(at);
        letters.into_iter().collect()
    });
    let swapped = (1..letters.len()).map(|at| {
        let mut letters = letters.clone();
        letters.swap(at - 1, at);
        letters.into_iter().collect()
    });
    without.chain(swapped).filter(|typo| typo != name).collect()
}

#[test]
fn every_typo_of_every_key_is_recognised() {
    for key in KEYS {
        for typo in typos(key.name()) {
            let text = file_with(key, &format!("{typo} = {}", key.shown()));
            let problem = only_problem(&text, key);
            assert_eq!(problem.message, "unknown key", "{typo}");
            assert_eq!(problem.key, Some(format!("{}.{typo}", key.section())));
            assert_eq!(problem.suggestion.as_deref(), Some(key.path), "{typo}");
            assert_eq!(text.lines().nth(problem.line.unwrap() - 1), Some(format!("{typo} = {}", key.shown()).as_str()));
        }
    }
}

#[test]
fn every_typo_of_every_section_is_recognised() {
    for section in SECTIONS {
        for typo in typos(section.name) {
            let text = full_file().replace(&format!("[{}]", section.name), &format!("[{typo}]"));
            let found = problems(&text);
            assert_eq!(found[0].message, "unknown section", "{typo}");
            assert_eq!(found[0].suggestion, Some(format!("[{}]", section.name)), "{typo}");
            assert_eq!(found.len(), 1, "{found:#?}");
        }
    }
}

#[test]
fn every_key_in_a_wrong_section_is_sent_to_its_own() {
    for key in KEYS.iter().filter(|key| KEYS.iter().filter(|other| other.name() == key.name()).count() == 1) {
        let text = file_with(key, "").replace("[web]\n", &format!("[web]\n{} = {}\n", key.name(), key.shown()));
        let problem = only_problem(&text, key);
        assert_eq!(problem.suggestion.as_deref(), Some(key.path));
    }
}

#[test]
fn every_number_is_held_to_its_range() {
    let mut numbers = 0;
    for key in KEYS {
        let refused = match key.kind {
            Kind::Integer { min, max, .. } => {
                let below = i128::from(min) - 1;
                vec![below.to_string(), (max + 1).to_string(), format!("{:#x}", max + 1), "9".repeat(30)]
            }
            Kind::Number { min, max, .. } => {
                let step = max.abs() * f64::EPSILON * 2.0;
                let mut refused = vec![format!("{:?}", min - step), format!("{:?}", max + step)];
                refused.extend(["nan", "-nan", "inf", "-inf", "1e300", "-1e300", "1e999"].map(str::to_owned));
                refused.push(format!("-{}", "9".repeat(60)));
                refused
            }
            _ => continue,
        };
        numbers += 1;
        for literal in refused {
            let problem = only_problem(&file_with(key, &format!("{} = {literal}", key.name())), key);
            assert!(problem.message.starts_with(&format!("must be {}", render::range(&key.kind))), "{problem:?}");
            assert_eq!(problem.key.as_deref(), Some(key.path));
        }
        let ends = match key.kind {
            Kind::Integer { min, max, .. } => [min.to_string(), max.to_string()],
            Kind::Number { min, max, .. } => [format!("{min:?}"), format!("{max:?}")],
            _ => unreachable!("only numbers come here"),
        };
        for literal in ends {
            let found = problems(&file_with(key, &format!("{} = {literal}", key.name())));
            assert!(!found.iter().any(|p| p.message.starts_with("must be")), "{} = {literal}: {found:?}", key.path);
        }
    }
    assert!(numbers >= 10, "the table has {numbers} numbers");
}

#[test]
fn every_key_refuses_every_other_type() {
    for key in KEYS {
        let literals = [
            (matches!(key.kind, Kind::Boolean), "true"),
            (matches!(key.kind, Kind::Integer { .. } | Kind::Number { .. }), "1"),
            (matches!(key.kind, Kind::Number { .. }), "1.5"),
            (matches!(key.kind, Kind::Choice { .. } | Kind::Line | Kind::Path), "\"word\""),
            (false, "2026-01-01"),
            (false, "[1, 2]"),
            (false, "{ a = 1 }"),
        ];
        for (_, literal) in literals.into_iter().filter(|(suits, _)| !suits) {
            let problem = only_problem(&file_with(key, &format!("{} = {literal}", key.name())), key);
            let expected = format!("must be {}, not ", render::range(&key.kind));
            assert!(problem.message.starts_with(&expected), "{}: {}", key.path, problem.message);
        }
    }
}

#[test]
fn every_key_left_out_is_its_default_or_asked_for() {
    for key in KEYS {
        let found = problems(&file_with(key, ""));
        match key.absent {
            Absent::Required(why) => {
                assert_eq!(found.len(), 1, "{found:?}");
                assert!(found[0].message.starts_with("is required") && found[0].message.contains(why), "{found:?}");
            }
            _ => assert_eq!(found, [], "{}", key.path),
        }
    }
}

/// The messages list what a build offers; the golden ones are the default build's.
#[cfg(not(feature = "v4l2"))]
#[test]
fn messages_are_the_golden_ones() {
    let mut cases: Vec<PathBuf> = fs::read_dir(root("tests/golden/config"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .collect();
    cases.sort();
    assert!(cases.len() >= 10, "{cases:?}");
    for case in cases {
        let findings = examine(&fs::read_to_string(&case).unwrap());
        let mut text = match &findings.config {
            Ok(_) => String::new(),
            Err(problems) => format!("{problems}\n"),
        };
        if !findings.warnings.is_empty() {
            text.push_str(&format!("{}\n", render::warnings(&findings)));
        }
        assert_golden(&case.with_extension("txt"), &text);
    }
}

#[test]
fn problems_come_all_at_once_and_by_line() {
    let text = fs::read_to_string(root("tests/golden/config/all_at_once.toml")).unwrap();
    let found = problems(&text);
    let lines: Vec<usize> = found.iter().map(|problem| problem.line.unwrap_or(usize::MAX)).collect();
    assert!(lines.is_sorted(), "{lines:?}");
    assert!(lines.len() >= 20, "{lines:?}");
    for problem in &found {
        assert!(problem.key.is_some());
        assert!(!problem.message.ends_with('.') && !problem.message.is_empty(), "{}", problem.message);
    }
}

#[test]
fn relative_paths_start_at_the_folder_of_the_file() {
    let shipped = render::shipped();
    let paths = |config: Config| (config.model.recipe, config.record.events.unwrap());
    for (origin, folder) in
        [("config.toml", ""), ("etc/line.toml", "etc"), ("/etc/zoomgate/config.toml", "/etc/zoomgate")]
    {
        let config = config::parse(&shipped, Path::new(origin)).unwrap();
        assert_eq!(paths(config), (Path::new(folder).join("recipe.onnx"), Path::new(folder).join("events.jsonl")));
    }
    let absolute = shipped.replace("\"events.jsonl\"", "\"/var/log/events.jsonl\"");
    let config = config::parse(&absolute, Path::new("etc/line.toml")).unwrap();
    assert_eq!(config.record.events.unwrap(), Path::new("/var/log/events.jsonl"));
}

#[test]
fn what_an_editor_may_do_to_a_file_is_no_mistake() {
    let shipped = render::shipped();
    let expected = config::parse(&shipped, Path::new("config.toml")).unwrap();
    for text in [format!("\u{feff}{shipped}"), shipped.replace('\n', "\r\n")] {
        assert_eq!(config::parse(&text, Path::new("config.toml")).unwrap(), expected);
    }
}

fn run_check(file: &Path, json: bool) -> (String, Result<(), Error>) {
    let mut out = Vec::new();
    let result = check::report(&check::Args { file: file.to_owned(), json }, &mut out);
    (String::from_utf8(out).unwrap(), result)
}

fn written(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

#[test]
fn check_answers_in_json() {
    let object = |file: &Path| -> (serde_json::Value, Result<(), Error>) {
        let (out, result) = run_check(file, true);
        (serde_json::from_str(&out).unwrap(), result)
    };
    let (good, result) = object(&root("config.toml"));
    assert!(result.is_ok());
    assert_eq!((&good["schema"], &good["ok"], &good["problems"]), (&1.into(), &true.into(), &serde_json::json!([])));

    let bad = root("tests/golden/config/two_problems.toml");
    let (report, result) = object(&bad);
    assert_eq!(result.unwrap_err().exit_code(), 2);
    assert_eq!(report["file"], bad.display().to_string());
    assert_eq!(report["ok"], false);
    assert_eq!(
        report["problems"],
        serde_json::json!([
            {"line": 14, "key": "reject.pulse_width_ms", "suggestion": null,
             "message": "must be 5 to 500 ms (your valve's datasheet gives the minimum on-time)"},
            {"line": 24, "key": "outputs.raedy", "suggestion": "outputs.ready", "message": "unknown key"},
        ])
    );
}

#[test]
fn check_answers_in_words() {
    let (out, result) = run_check(&root("config.toml"), false);
    assert!(out.ends_with("config.toml: no problems\n") && result.is_ok(), "{out}");
    let (out, result) = run_check(&root("tests/golden/config/warnings.toml"), false);
    assert!(out.contains("4 warnings") && result.is_ok(), "{out}");
    let (out, result) = run_check(&root("tests/golden/config/two_problems.toml"), false);
    let error = result.unwrap_err();
    assert_eq!((out.as_str(), error.kind()), ("", ErrorKind::Config));
    assert!(error.message().contains("has 2 problems; nothing was changed."), "{error}");
}

#[test]
fn files_that_cannot_be_read_are_one_problem() {
    let folder = tempfile::tempdir().unwrap();
    let (_utf8, not_utf8) = written("config.toml", b"[camera]\nsource = \"\xff\"\n");
    let (_big, too_big) = written("config.toml", &vec![b'#'; (config::FILE_BYTES_MAX + 1) as usize]);
    let (_utf16, utf16) = written("config.toml", b"\xff\xfe[\0c\0a\0m\0");
    for (path, says) in [
        (folder.path().join("none.toml"), "cannot be read"),
        (folder.path().to_owned(), "cannot be read"),
        (not_utf8, "byte 0xff at offset 19"),
        (utf16, "byte 0xff at offset 0"),
        (too_big, "larger than 1 MiB"),
    ] {
        let problems = config::load(&path).unwrap_err();
        assert_eq!(problems.problems.len(), 1);
        let error = Error::from(problems);
        assert!(error.message().contains(says), "{error}");
        assert!(error.message().contains(&path.display().to_string()), "{error}");
        assert_eq!(error.exit_code(), 2);
    }
}

#[test]
fn a_megabyte_of_anything_is_answered() {
    let size = config::FILE_BYTES_MAX as usize;
    let keys: String = (0..)
        .map(|n| format!("enabld{n} = {n}\n"))
        .scan(0, |total, line| {
            *total += line.len();
            (*total < size - 10).then_some(line)
        })
        .collect();
    for text in [
        "[".repeat(size),
        "a.".repeat(size / 2),
        "\"".repeat(size),
        "\u{feff}".repeat(size / 3),
        "[reject]\nx = ".to_owned() + &"[".repeat(size - 20),
        "[reject]\npulse_width_ms = ".to_owned() + &"9".repeat(size - 40),
        "[reject]\nline = \"".to_owned() + &"é".repeat(size / 2 - 20) + "\"",
        "[reject]\n".to_owned() + &"x".repeat(size - 20) + " = 1",
        "[reject]\n".to_owned() + &keys,
        keys,
    ] {
        let (_folder, path) = written("config.toml", text.as_bytes());
        let problems = config::load(&path).unwrap_err();
        assert!(!problems.problems.is_empty());
        let longest = problems.to_string().lines().map(|line| line.chars().count()).max().unwrap();
        assert!(longest < 250, "a line of {longest} characters: {:.300}", problems.to_string());
    }
}

proptest! {
    #![proptest_config(Runs { cases: 300, rng_seed: RngSeed::Fixed(7), failure_persistence: None, ..Runs::default() })]

    /// Garbage is answered, and what passes for a configuration has its two plant decisions written.
    #[test]
    fn garbage_never_panics(text in "\\PC{0,400}|[\\[\\]a-z_.=\"'0-9\\n #{},-]{0,400}") {
        prop_assert!(!problems(&text).is_empty());
    }

    /// Any cut out of the shipped file, with anything in its place, is a configuration or a list of problems.
    #[test]
    fn damaged_files_never_panic(at in 0usize..10_000, length in 0usize..200, put in "\\PC{0,20}|[\\[\\]a-z=\"\\n]{0,20}") {
        let mut text: Vec<char> = render::shipped().chars().collect();
        let start = at % text.len();
        let end = (start + length).min(text.len());
        text.splice(start..end, put.chars());
        let text: String = text.into_iter().collect();
        let findings = examine(&text);
        if let Err(problems) = findings.config {
            prop_assert!(!problems.problems.is_empty());
            for problem in &problems.problems {
                prop_assert!(problem.line.is_none_or(|line| (1..=text.lines().count() + 1).contains(&line)));
            }
        }
    }
}
