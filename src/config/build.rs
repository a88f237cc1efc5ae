//! The step from a file without problems to the settings that the other modules take.

use std::path::Path;
use std::time::Duration;

use super::raw::Raw;
use super::{
    Config, Decision, Exposure, HeartbeatLine, InputLine, Inputs, LightLine, Model, Outputs, Realtime, Record,
    ResultLines, Status, Trigger,
};
use crate::clock::Offset;
use crate::decide::{OnMissedReject, OnUninspected, Safety, alarm};
use crate::frame::geometry::Roi;
use crate::units::{Millimetres, MmPerSecond};
use crate::{camera, gpio, reject};

/// The settings of a file without problems; `None` only where the rules or the table let a gap through.
pub(super) fn build(raw: &Raw, folder: &Path) -> Option<Config> {
    let file = |path: &str| raw.text(path).map(|written| folder.join(written));
    let whole = |path: &str| raw.whole(path);
    Some(Config {
        camera: camera(raw, folder)?,
        trigger: trigger(raw)?,
        model: Model {
            recipe: file("model.recipe")?,
            threads: usize::try_from(whole("model.threads")?).ok()?,
            may_be_slow: raw.flag("model.slow")?,
        },
        zoom_always: raw.flag("zoom.always")?,
        decision: Decision { threshold: raw.number("decision.threshold").map(|t| t as f32) },
        reject: rejector(raw)?,
        encoder: encoder(raw)?,
        confirm: confirm(raw)?,
        inputs: inputs(raw)?,
        alarm: alarm::Settings {
            consecutive_rejects: whole("alarm.consecutive_rejects"),
            uninspected_rate: raw.number("alarm.uninspected_rate"),
            uninspected_parts: whole("alarm.uninspected_parts")?,
        },
        outputs: outputs(raw)?,
        gpio: backend(raw, folder)?,
        safety: safety(raw)?,
        record: Record { events: file("record.events") },
        realtime: Realtime {
            priority: u8::try_from(whole("realtime.priority")?).ok().filter(|&priority| priority > 0),
            lock_memory: raw.flag("realtime.lock_memory")?,
        },
        status: Status { socket: file("status.socket") },
        log_level: raw.text("log.level")?.parse().ok()?,
    })
}

/// The camera of a file without problems.
fn camera(raw: &Raw, folder: &Path) -> Option<camera::Settings> {
    let file = |path: &str| raw.text(path).map(|written| folder.join(written));
    let whole = |path: &str| raw.whole(path);
    Some(camera::Settings {
        source: match raw.text("camera.source")?.as_str() {
            "folder" => camera::Source::Folder {
                path: file("camera.folder")?,
                shuffle_seed: whole("camera.shuffle_seed"),
                repeat: raw.flag("camera.loop")?,
            },
            "simulated" => camera::Source::Simulated {
                seed: whole("camera.seed")?,
                parts: whole("camera.parts")?,
                defect_rate: raw.number("camera.defect_rate")?,
            },
            "v4l2" => camera::Source::V4l2(camera::v4l2::Settings {
                device: file("camera.device")?,
                // "auto" is no format's name.
                format: camera::convert::PixelFormat::of_name(&raw.text("camera.format")?),
                controls: camera::v4l2::Controls {
                    exposure_us: whole("camera.exposure_us"),
                    gain: whole("camera.gain"),
                    white_balance_k: whole("camera.white_balance_k"),
                    focus: whole("camera.focus"),
                    power_line_hz: whole("camera.power_line_hz"),
                },
                stall: Duration::from_millis(whole("camera.stall_ms")?),
                buffers: u32::try_from(whole("camera.buffers")?).ok()?,
                detect_frozen: raw.flag("camera.detect_frozen")?,
            }),
            _ => return None,
        },
        width: u32::try_from(whole("camera.width_px")?).ok()?,
        height: u32::try_from(whole("camera.height_px")?).ok()?,
        rate_hz: raw.number("camera.rate_hz")?,
    })
}

/// The output that rejects, and the belt in front of it.
fn rejector(raw: &Raw) -> Option<reject::Settings> {
    let ms = |path: &str| raw.number(path).map(|ms| Duration::from_secs_f64(ms / 1000.0));
    Some(reject::Settings {
        enabled: raw.flag("reject.enabled")?,
        line: raw.text("reject.line")?,
        active_low: raw.flag("reject.active_low")?,
        travel: Millimetres(raw.number("reject.travel_mm")?),
        belt_speed: MmPerSecond(raw.number("reject.belt_speed_mm_s")?),
        actuator_latency: ms("reject.actuator_latency_ms")?,
        pulse_width: ms("reject.pulse_width_ms")?,
        window: ms("reject.window_ms")?,
        on_overlap: match raw.text("reject.on_overlap")?.as_str() {
            "merge" => reject::OnOverlap::Merge,
            "refuse" => reject::OnOverlap::Refuse,
            _ => return None,
        },
    })
}

/// The encoder; `Some(None)` without one.
fn encoder(raw: &Raw) -> Option<Option<reject::encoder::Settings>> {
    let ms = |path: &str| raw.number(path).map(|ms| Duration::from_secs_f64(ms / 1000.0));
    Some(match raw.text("reject.belt")?.as_str() {
        "encoder" => Some(reject::encoder::Settings {
            line_a: raw.text("encoder.line")?,
            line_b: raw.text("encoder.second_line"),
            options: input_options(raw, "encoder.")?,
            mm_per_pulse: Millimetres(raw.number("encoder.mm_per_pulse")?),
            stopped: ms("encoder.stopped_ms")?,
        }),
        _ => None,
    })
}

/// The eye at the bin; `Some(None)` without one.
fn confirm(raw: &Raw) -> Option<Option<reject::confirm::Settings>> {
    let ms = |path: &str| raw.number(path).map(|ms| Duration::from_secs_f64(ms / 1000.0));
    Some(match raw.text("confirm.by")?.as_str() {
        "eye" => Some(reject::confirm::Settings {
            line: raw.text("confirm.line")?,
            options: input_options(raw, "confirm.")?,
            holdoff: ms("confirm.holdoff_ms")?,
            travel: Millimetres(raw.number("confirm.travel_mm")?),
            window: ms("confirm.window_ms")?,
        }),
        _ => None,
    })
}

/// The lines of `[inputs]`.
fn inputs(raw: &Raw) -> Option<Inputs> {
    let [bin_full, reset, recipe] =
        ["bin_full", "reset", "recipe"].map(|n| input_options(raw, &format!("inputs.{n}_")));
    let (bin_full, reset, recipe) = (bin_full?, reset?, recipe?);
    let input = |name: &str, options: gpio::InputOptions| {
        raw.text(&format!("inputs.{name}")).map(|line| InputLine { line, options })
    };
    Some(Inputs {
        bin_full: input("bin_full", bin_full),
        reset: input("reset", reset),
        recipe: ["recipe_one", "recipe_two", "recipe_four", "recipe_eight"].map(|digit| input(digit, recipe)),
    })
}

/// What happens where nothing can be judged.
fn safety(raw: &Raw) -> Option<Safety> {
    Some(Safety {
        on_uninspected: match raw.text("safety.on_uninspected")?.as_str() {
            "reject" => OnUninspected::Reject,
            "pass" => OnUninspected::Pass,
            "stop_line" => OnUninspected::StopLine,
            _ => return None,
        },
        on_missed_reject: match raw.text("safety.on_missed_reject")?.as_str() {
            "alarm" => OnMissedReject::Alarm,
            "stop_line" => OnMissedReject::StopLine,
            _ => return None,
        },
        on_no_part: match raw.text("safety.on_no_part").as_deref() {
            None => None,
            Some("reject") => Some(OnUninspected::Reject),
            Some("pass") => Some(OnUninspected::Pass),
            Some("stop_line") => Some(OnUninspected::StopLine),
            Some(_) => return None,
        },
    })
}

/// The trigger of a file without problems.
fn trigger(raw: &Raw) -> Option<Trigger> {
    let ms = |path: &str| raw.number(path).map(|ms| Duration::from_secs_f64(ms / 1000.0));
    // Half a frame would do for a camera that keeps its rate; one whose frames jitter would leave the part in the middle
    // between two of them with none (virtual camera at 15 Hz, frames in steps of 4 ms: 50 of 200 parts).
    let frame_and_jitter = Duration::try_from_secs_f64(0.6 / raw.number("camera.rate_hz")?).ok()?;
    let exposure = Exposure {
        offset: Offset((raw.number("trigger.exposure_offset_ms")? * 1e6).round() as i64),
        tolerance: ms("trigger.tolerance_ms").unwrap_or(frame_and_jitter),
    };
    Some(match raw.text("trigger.source")?.as_str() {
        "every_frame" => Trigger::EveryFrame,
        "simulated" => Trigger::Simulated,
        "photo_eye" => Trigger::PhotoEye {
            line: raw.text("trigger.line")?,
            options: input_options(raw, "trigger.")?,
            holdoff: ms("trigger.holdoff_ms")?,
            exposure,
        },
        "interval" => Trigger::Interval { period: ms("trigger.interval_ms")?, exposure },
        "tripwire" => Trigger::Tripwire { wire: tripwire(raw)?, exposure },
        _ => return None,
    })
}

/// How a line is read whose keys begin with `prefix`.
fn input_options(raw: &Raw, prefix: &str) -> Option<gpio::InputOptions> {
    let path = |name: &str| format!("{prefix}{name}");
    Some(gpio::InputOptions {
        active_low: raw.flag(&path("active_low"))?,
        bias: match raw.text(&path("bias"))?.as_str() {
            "as_is" => gpio::Bias::AsIs,
            "disabled" => gpio::Bias::Disabled,
            "pull_up" => gpio::Bias::PullUp,
            "pull_down" => gpio::Bias::PullDown,
            _ => return None,
        },
        debounce: Duration::from_secs_f64(raw.number(&path("debounce_ms"))? / 1000.0),
    })
}

/// The outputs of a file without problems.
fn outputs(raw: &Raw) -> Option<Outputs> {
    let ms = |path: &str| raw.number(path).map(|ms| Duration::from_secs_f64(ms / 1000.0));
    let (valid_ms, beat_ms) = (ms("outputs.result_valid_ms")?, ms("outputs.heartbeat_ms")?);
    let (delay, width) = (ms("outputs.light_delay_ms")?, ms("outputs.light_width_ms")?);
    Some(Outputs {
        ready: raw.text("outputs.ready"),
        fault: raw.text("outputs.fault"),
        stop_line: raw.text("outputs.stop_line"),
        result: raw.text("outputs.result").map(|line| ResultLines {
            line,
            valid: raw.text("outputs.result_valid"),
            width: valid_ms,
        }),
        heartbeat: raw.text("outputs.heartbeat").map(|line| HeartbeatLine { line, period: beat_ms }),
        light: raw.text("outputs.light").map(|line| LightLine { line, delay, width }),
    })
}

/// The lines' backend, as far as it can be read.
pub(super) fn backend(raw: &Raw, folder: &Path) -> Option<gpio::Settings> {
    let file = |path: &str| raw.text(path).map(|written| folder.join(written));
    Some(gpio::Settings {
        backend: match raw.text("gpio.backend")?.as_str() {
            "gpiocdev" => gpio::Backend::Gpiocdev,
            "rppal" => gpio::Backend::Rppal,
            "recorded" => gpio::Backend::Recorded { path: file("gpio.edges")?, inputs: file("gpio.inputs") },
            "none" => gpio::Backend::None,
            _ => return None,
        },
        chip: raw.text("gpio.chip"),
    })
}

fn tripwire(raw: &Raw) -> Option<camera::tripwire::Settings> {
    let pixels = |path: &str| u32::try_from(raw.whole(path)?).ok();
    let (x, y) = (pixels("trigger.strip_left_px")?, pixels("trigger.strip_top_px")?);
    let height = pixels("trigger.strip_height_px").or(pixels("camera.height_px")?.checked_sub(y))?;
    Some(camera::tripwire::Settings {
        strip: Roi { x, y, width: pixels("trigger.strip_width_px")?, height },
        trip_level: raw.number("trigger.trip_level")? as f32,
        clear_level: raw.number("trigger.clear_level")? as f32,
    })
}
