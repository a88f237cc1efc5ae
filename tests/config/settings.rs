//! Every value reaches the setting that it is for.

use std::path::Path;
use std::time::Duration;

use zoomgate::clock::Offset;
use zoomgate::config::{self, Config, Trigger};
use zoomgate::decide::{OnMissedReject, OnUninspected, Safety, alarm};
use zoomgate::frame::geometry::Roi;
use zoomgate::units::{Millimetres, MmPerSecond};
use zoomgate::{camera, gpio, reject};

use super::{examine, problems};

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
        encoder = { line = "ea", second_line = "eb", active_low = true, bias = "pull_up", debounce_ms = 0.05,
                    mm_per_pulse = 0.25, stopped_ms = 300 }
        confirm = { by = "eye", line = "bin", active_low = true, bias = "pull_down", debounce_ms = 3, holdoff_ms = 25,
                    travel_mm = 120, window_ms = 80 }
        inputs = { bin_full = "full", bin_full_active_low = true, bin_full_bias = "disabled", bin_full_debounce_ms = 900,
                   reset = "ack", reset_active_low = true, reset_bias = "pull_up", reset_debounce_ms = 35,
                   recipe_one = "r1", recipe_eight = "r8", recipe_active_low = true, recipe_bias = "pull_down",
                   recipe_debounce_ms = 4 }
        alarm = { consecutive_rejects = 7, uninspected_rate = 0.5, uninspected_parts = 20 }
        outputs = { ready = "a", fault = "b", stop_line = "c", result = "d", result_valid = "e", result_valid_ms = 30,
                    heartbeat = "f", heartbeat_ms = 250, light = "g", light_delay_ms = 1.5, light_width_ms = 2.5 }
        gpio = { backend = "recorded", edges = "/tmp/e.jsonl", inputs = "i.jsonl" }
        safety = { on_uninspected = "stop_line", on_missed_reject = "stop_line", on_no_part = "pass" }
        record.events = "v.jsonl"
        realtime = { priority = 7, lock_memory = false }
        status.socket = "s.sock"
        log.level = "trace"
    "#;
    let read = |bias, debounce| gpio::InputOptions { active_low: true, bias, debounce };
    let input = |line: &str, bias, debounce_ms| {
        Some(config::InputLine { line: line.into(), options: read(bias, Duration::from_millis(debounce_ms)) })
    };
    let expected = Config {
        camera: camera::Settings {
            source: camera::Source::Folder { path: "etc/in".into(), shuffle_seed: Some(5), repeat: true },
            width: 640,
            height: 1000,
            rate_hz: 4.0,
        },
        trigger: Trigger::EveryFrame,
        model: config::Model { recipe: "etc/r.onnx".into(), threads: 1, may_be_slow: false },
        zoom_always: true,
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
            options: read(gpio::Bias::PullUp, Duration::from_micros(50)),
            mm_per_pulse: Millimetres(0.25),
            stopped: Duration::from_millis(300),
        }),
        confirm: Some(reject::confirm::Settings {
            line: "bin".into(),
            options: read(gpio::Bias::PullDown, Duration::from_millis(3)),
            holdoff: Duration::from_millis(25),
            travel: Millimetres(120.0),
            window: Duration::from_millis(80),
        }),
        inputs: config::Inputs {
            bin_full: input("full", gpio::Bias::Disabled, 900),
            reset: input("ack", gpio::Bias::PullUp, 35),
            recipe: [input("r1", gpio::Bias::PullDown, 4), None, None, input("r8", gpio::Bias::PullDown, 4)],
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
        safety: Safety {
            on_uninspected: OnUninspected::StopLine,
            on_missed_reject: OnMissedReject::StopLine,
            on_no_part: Some(OnUninspected::Pass),
        },
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
    let exposure = config::Exposure { offset: Offset(40_000_000), tolerance: Duration::from_millis(300) };
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
    assert_eq!((config.safety.on_missed_reject, config.safety.on_no_part), (OnMissedReject::Alarm, None));
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
    // Without a tolerance, half a frame and a tenth for its jitter.
    let interval = config(r#"source = "interval", interval_ms = 250"#, r#"backend = "rppal""#);
    let exposure = config::Exposure { offset: Offset(0), tolerance: ms(24) };
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
        (r#"source = "photo_eye", line = "eye", tolerance_ms = 25"#, "trigger.tolerance_ms"),
        (r#"source = "every_frame", holdoff_ms = 5"#, "trigger.holdoff_ms"),
    ] {
        let warnings = examine(&file(trigger, "")).warnings;
        assert!(warnings.iter().any(|w| w.key.as_deref() == Some(key)), "{trigger}: {warnings:#?}");
    }
}

#[test]
fn a_camera_of_this_machine_takes_its_keys_or_is_not_in_this_build() {
    let text = r#"
        camera = { source = "v4l2", width_px = 1280, height_px = 720, rate_hz = 30, device = "/dev/v4l/by-id/usb-a",
                   format = "Y16", exposure_us = 5000, gain = 3, white_balance_k = 4600, focus = 20,
                   power_line_hz = 50, stall_ms = 700, buffers = 6, detect_frozen = false }
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
        detect_frozen: false,
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
