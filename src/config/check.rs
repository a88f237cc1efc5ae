//! Rules between keys, and the step from the file as written to the settings that the other modules take.
//!
//! Each rule names both keys and says what to change. A rule that needs a broken value is skipped: the value's own
//! problem is enough.

use std::path::Path;
use std::time::Duration;

use super::keys::KEYS;
use super::raw::{Raw, Value};
use super::{Config, Decision, Model, Outputs, Problem, Realtime, Record, Status, Trigger};
use crate::decide::{OnMissedReject, OnUninspected, Safety};
use crate::units::{Millimetres, MmPerSecond};
use crate::{camera, gpio, reject};

/// The least time between a part's trigger and its deadline that leaves room to inspect it. Chosen: well below what
/// any board needs, so that only a slip of the pen (metres for millimetres) is refused; `bench` gives the true figure.
pub const INSPECTION_MS_MIN: f64 = 20.0;

const OUTPUT_LINES: [&str; 4] = ["reject.line", "outputs.ready", "outputs.fault", "outputs.stop_line"];
const FILES: [&str; 4] = ["model.recipe", "gpio.edges", "record.events", "status.socket"];

/// Tries every rule between keys.
pub(super) fn rules(raw: &Raw, problems: &mut Vec<Problem>, warnings: &mut Vec<Problem>) {
    let at = |path: &str, message: String| Problem {
        value: raw.written(path).map(|written| written.text.clone()),
        ..Problem::at(raw.line(path), path, message)
    };
    let is = |path: &str, word: &str| raw.value(path) == Some(Value::Text(word.to_owned()));

    if is("camera.source", "folder") && raw.text("camera.folder").is_none() && !raw.speaks_of("camera.folder") {
        problems.push(at("camera.folder", "is required with camera.source = \"folder\": the pictures' folder".into()));
    }
    if is("trigger.source", "simulated") && is("camera.source", "folder") {
        let message = "needs camera.source = \"simulated\", whose photo-eye it is; a folder takes \"every_frame\"";
        problems.push(at("trigger.source", message.into()));
    }
    if is("trigger.source", "every_frame") && is("camera.source", "simulated") {
        let message = "ignores the photo-eye of camera.source = \"simulated\"; \"simulated\" uses it";
        warnings.push(at("trigger.source", message.into()));
    }
    if is("gpio.backend", "none") && raw.flag("reject.enabled") == Some(true) {
        let message =
            "needs an output, and gpio.backend = \"none\" drives nothing; choose a backend or set it to false";
        problems.push(at("reject.enabled", message.into()));
    }
    for policy in ["safety.on_uninspected", "safety.on_missed_reject"] {
        if !is(policy, "stop_line") {
            continue;
        }
        if raw.text("outputs.stop_line").is_none() && !raw.speaks_of("outputs.stop_line") {
            problems.push(at(policy, "needs outputs.stop_line, the name of the line that stops the belt".into()));
        } else if is("gpio.backend", "none") {
            problems.push(at(policy, "cannot stop the belt: gpio.backend = \"none\" drives nothing".into()));
        }
    }
    for (what, paths) in [("line", &OUTPUT_LINES[..]), ("file", &FILES[..])] {
        for (n, path) in paths.iter().enumerate() {
            let Some(name) = raw.text(path) else { continue };
            if let Some(earlier) = paths[..n].iter().find(|earlier| raw.text(earlier).as_ref() == Some(&name)) {
                // The defaults differ, so at least one of two equal names is written.
                let (path, other) = if raw.written(path).is_some() { (path, earlier) } else { (earlier, path) };
                let message = format!("is also {other}; each needs a {what} of its own");
                problems.push(at(path, message));
            }
        }
    }
    if let (Some(travel), Some(speed), Some(latency)) =
        (raw.number("reject.travel_mm"), raw.number("reject.belt_speed_mm_s"), raw.number("reject.actuator_latency_ms"))
    {
        let travel_ms = travel / speed * 1000.0;
        if travel_ms < latency + INSPECTION_MS_MIN {
            let message = format!(
                "takes {travel_ms:.1} ms at reject.belt_speed_mm_s = {speed}; it must take at least {:.1} ms: \
                 reject.actuator_latency_ms = {latency} and {INSPECTION_MS_MIN} ms to inspect. Move the actuator \
                 further from the camera, or slow the belt",
                latency + INSPECTION_MS_MIN
            );
            problems.push(at("reject.travel_mm", message));
        }
    }
    if let (Some(pulse), Some(window), Some(rate)) =
        (raw.number("reject.pulse_width_ms"), raw.number("reject.window_ms"), raw.number("camera.rate_hz"))
    {
        let spacing_ms = 1000.0 / rate;
        if pulse + window > spacing_ms {
            let message = format!(
                "a pulse of {pulse} ms that starts up to reject.window_ms = {window} late reaches the next part, which \
                 follows after {spacing_ms:.1} ms at camera.rate_hz = {rate}; a good neighbour may be rejected"
            );
            warnings.push(at("reject.pulse_width_ms", message));
        }
    }
    for key in KEYS {
        if let (Some((other, word)), Some(_)) = (key.only_with, raw.written(key.path))
            && raw.text(other).is_some_and(|value| value != word)
        {
            warnings.push(at(key.path, format!("has no effect; it belongs to {other} = \"{word}\"")));
        }
    }
}

/// The settings of a file without problems; `None` only where [`rules`] or the table let a gap through.
pub(super) fn build(raw: &Raw, folder: &Path) -> Option<Config> {
    let file = |path: &str| raw.text(path).map(|written| folder.join(written));
    let whole = |path: &str| raw.whole(path);
    let ms = |path: &str| raw.number(path).map(|ms| Duration::from_secs_f64(ms / 1000.0));
    Some(Config {
        camera: camera::Settings {
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
                _ => return None,
            },
            width: u32::try_from(whole("camera.width_px")?).ok()?,
            height: u32::try_from(whole("camera.height_px")?).ok()?,
            rate_hz: raw.number("camera.rate_hz")?,
        },
        trigger: match raw.text("trigger.source")?.as_str() {
            "every_frame" => Trigger::EveryFrame,
            "simulated" => Trigger::Simulated,
            _ => return None,
        },
        model: Model { recipe: file("model.recipe")? },
        decision: Decision { threshold: raw.number("decision.threshold").map(|t| t as f32) },
        reject: reject::Settings {
            enabled: raw.flag("reject.enabled")?,
            line: raw.text("reject.line")?,
            active_low: raw.flag("reject.active_low")?,
            travel: Millimetres(raw.number("reject.travel_mm")?),
            belt_speed: MmPerSecond(raw.number("reject.belt_speed_mm_s")?),
            actuator_latency: ms("reject.actuator_latency_ms")?,
            pulse_width: ms("reject.pulse_width_ms")?,
            window: ms("reject.window_ms")?,
        },
        outputs: Outputs {
            ready: raw.text("outputs.ready"),
            fault: raw.text("outputs.fault"),
            stop_line: raw.text("outputs.stop_line"),
        },
        gpio: gpio::Settings {
            backend: match raw.text("gpio.backend")?.as_str() {
                "recorded" => gpio::Backend::Recorded { path: file("gpio.edges")? },
                "none" => gpio::Backend::None,
                _ => return None,
            },
        },
        safety: Safety {
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
        },
        record: Record { events: file("record.events") },
        realtime: Realtime {
            priority: u8::try_from(whole("realtime.priority")?).ok().filter(|&priority| priority > 0),
            lock_memory: raw.flag("realtime.lock_memory")?,
        },
        status: Status { socket: file("status.socket") },
        log_level: raw.text("log.level")?.parse().ok()?,
    })
}
