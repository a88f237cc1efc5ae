//! Rules between keys.
//!
//! Each rule names both keys and says what to change. A rule that needs a broken value is skipped: the value's own
//! problem is enough.

use std::path::Path;

use super::Problem;
use super::keys::KEYS;
use super::raw::{Raw, Value};
use crate::decide::part::EARLY_FRAMES;
use crate::storage;

/// The least time between a part's trigger and its deadline that leaves room to inspect it. Chosen: well below what
/// any board needs, so that only a slip of the pen (metres for millimetres) is refused; `bench` gives the true figure.
pub const INSPECTION_MS_MIN: f64 = 20.0;

/// Every key that names an output line.
pub(super) const OUTPUT_LINES: [&str; 8] = [
    "reject.line",
    "outputs.ready",
    "outputs.fault",
    "outputs.stop_line",
    "outputs.result",
    "outputs.result_valid",
    "outputs.heartbeat",
    "outputs.light",
];
const INPUT_LINES: [&str; 10] = [
    "trigger.line",
    "encoder.line",
    "encoder.second_line",
    "confirm.line",
    "inputs.bin_full",
    "inputs.reset",
    "inputs.recipe_one",
    "inputs.recipe_two",
    "inputs.recipe_four",
    "inputs.recipe_eight",
];
const FILES: [&str; 5] = ["model.recipe", "gpio.edges", "gpio.inputs", "record.events", "status.socket"];

/// Each file that is named and used must be a plain one, or not there yet.
pub(super) fn files(raw: &Raw, folder: &Path, problems: &mut Vec<Problem>) {
    for path in FILES.into_iter().filter(|path| *path != "status.socket") {
        if let Some(name) = used_name(raw, path)
            && let Some(what) = storage::not_plain(&folder.join(&name))
        {
            problems.push(at(raw, path, format!("is {what}; name a plain file")));
        }
    }
}

/// A problem or a warning about a key, with what is written there.
fn at(raw: &Raw, path: &str, message: String) -> Problem {
    let value = raw.written(path).map(|written| written.text.clone());
    Problem { value, ..Problem::at(raw.line(path), path, message) }
}

/// Whether a key has this word, written or by default.
fn is(raw: &Raw, path: &str, word: &str) -> bool {
    raw.value(path) == Some(Value::Text(word.to_owned()))
}

/// Tries every rule between keys.
pub(super) fn rules(raw: &Raw, problems: &mut Vec<Problem>, warnings: &mut Vec<Problem>) {
    camera_rules(raw, problems, warnings);
    lines(raw, &mut |path, message| problems.push(at(raw, path, message)), &mut |path, message| {
        warnings.push(at(raw, path, message));
    });
    output_rules(raw, problems);
    names_twice(raw, problems);
    belt_rules(raw, problems);
    tripwire_rules(raw, problems);
    missing_inputs(raw, warnings);
    timing_rules(raw, problems, warnings);
    without_effect(raw, warnings);
}

/// Rules about the camera, and the trigger that comes with it.
fn camera_rules(raw: &Raw, problems: &mut Vec<Problem>, warnings: &mut Vec<Problem>) {
    let at = |path: &str, message: String| at(raw, path, message);
    let is = |path: &str, word: &str| is(raw, path, word);
    if is("camera.source", "folder") && raw.text("camera.folder").is_none() && !raw.speaks_of("camera.folder") {
        problems.push(at("camera.folder", "is required with camera.source = \"folder\": the pictures' folder".into()));
    }
    if is("camera.source", "v4l2") && raw.text("camera.device").is_none() && !raw.speaks_of("camera.device") {
        let message = "is required with camera.source = \"v4l2\": the camera; `zoomgate devices` lists them";
        problems.push(at("camera.device", message.into()));
    }
    if raw.whole("camera.power_line_hz").is_some_and(|hz| ![0, 50, 60].contains(&hz)) {
        problems.push(at("camera.power_line_hz", "is no mains frequency: 50 or 60, or 0 for none".into()));
    }
    for (source, what) in [("folder", "a folder"), ("v4l2", "a camera")] {
        if is("trigger.source", "simulated") && is("camera.source", source) {
            let message =
                format!("needs camera.source = \"simulated\", whose photo-eye it is; {what} takes \"every_frame\"");
            problems.push(at("trigger.source", message));
        }
    }
    if is("trigger.source", "every_frame") && is("camera.source", "simulated") {
        let message = "ignores the photo-eye of camera.source = \"simulated\"; \"simulated\" uses it";
        warnings.push(at("trigger.source", message.into()));
    }
}

/// Rules about what needs an output.
fn output_rules(raw: &Raw, problems: &mut Vec<Problem>) {
    let at = |path: &str, message: String| at(raw, path, message);
    let is = |path: &str, word: &str| is(raw, path, word);
    if is("gpio.backend", "none") && raw.flag("reject.enabled") == Some(true) {
        let message =
            "needs an output, and gpio.backend = \"none\" drives nothing; choose a backend or set it to false";
        problems.push(at("reject.enabled", message.into()));
    }
    for policy in ["safety.on_uninspected", "safety.on_missed_reject", "safety.on_no_part"] {
        if !is(policy, "stop_line") {
            continue;
        }
        if raw.text("outputs.stop_line").is_none() && !raw.speaks_of("outputs.stop_line") {
            problems.push(at(policy, "needs outputs.stop_line, the name of the line that stops the belt".into()));
        } else if is("gpio.backend", "none") {
            problems.push(at(policy, "cannot stop the belt: gpio.backend = \"none\" drives nothing".into()));
        }
    }
}

/// Two keys must not name one line or one file.
fn names_twice(raw: &Raw, problems: &mut Vec<Problem>) {
    let at = |path: &str, message: String| at(raw, path, message);
    let line_keys = [&OUTPUT_LINES[..], &INPUT_LINES[..]].concat();
    for (what, paths) in [("line", &line_keys[..]), ("file", &FILES[..])] {
        for (n, path) in paths.iter().enumerate() {
            let Some(name) = used_name(raw, path) else { continue };
            if let Some(earlier) = paths[..n].iter().find(|earlier| used_name(raw, earlier).as_ref() == Some(&name)) {
                // The defaults differ, so at least one of two equal names is written.
                let (path, other) = if raw.written(path).is_some() { (path, earlier) } else { (earlier, path) };
                let message = format!("is also {other}; each needs a {what} of its own");
                problems.push(at(path, message));
            }
        }
    }
}

/// What needs an input line, where the backend has none.
fn missing_inputs(raw: &Raw, warnings: &mut Vec<Problem>) {
    let at = |path: &str, message: String| at(raw, path, message);
    let is = |path: &str, word: &str| is(raw, path, word);
    let plays_nothing = is("gpio.backend", "recorded") && raw.text("gpio.inputs").is_none();
    if plays_nothing || is("gpio.backend", "none") {
        let wanted =
            [("reject.belt", "encoder"), ("confirm.by", "eye")].into_iter().filter(|(path, word)| is(path, word));
        let wired = INPUT_LINES.into_iter().filter(|path| path.starts_with("inputs.") && raw.written(path).is_some());
        for path in wanted.map(|(path, _)| path).chain(wired) {
            let message = "needs an input line, and this gpio.backend has none: the run will be refused";
            warnings.push(at(path, message.into()));
        }
    }
}

/// Rules between distances, speeds and times.
fn timing_rules(raw: &Raw, problems: &mut Vec<Problem>, warnings: &mut Vec<Problem>) {
    let at = |path: &str, message: String| at(raw, path, message);
    let is = |path: &str, word: &str| is(raw, path, word);
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
        // A camera that runs freely has more frames than parts.
        let are_parts = !is("camera.source", "v4l2") || is("trigger.source", "every_frame");
        if are_parts && pulse + window > spacing_ms {
            let message = format!(
                "a pulse of {pulse} ms that starts up to reject.window_ms = {window} late reaches the next part, which \
                 follows after {spacing_ms:.1} ms at camera.rate_hz = {rate}; a good neighbour may be rejected"
            );
            warnings.push(at("reject.pulse_width_ms", message));
        }
    }
}

/// Keys that are written and mean nothing.
fn without_effect(raw: &Raw, warnings: &mut Vec<Problem>) {
    let at = |path: &str, message: String| at(raw, path, message);
    for key in KEYS {
        if let Some(line) = further_input_of(key.path)
            && raw.written(key.path).is_some()
            && !line.iter().any(|line| raw.written(line).is_some())
        {
            warnings.push(at(key.path, format!("has no effect without {}", line[0])));
        }
        if let (Some((other, word)), Some(_)) = (key.only_with, raw.written(key.path))
            && raw.text(other).is_some_and(|value| value != word)
        {
            warnings.push(at(key.path, format!("has no effect; it belongs to {other} = \"{word}\"")));
        }
    }
}

/// The keys that name the lines which a key of `[inputs]` says how to read.
fn further_input_of(path: &str) -> Option<&'static [&'static str]> {
    let is_option = ["_active_low", "_bias", "_debounce_ms"].iter().any(|option| path.ends_with(option));
    match path.strip_prefix("inputs.").filter(|_| is_option)? {
        name if name.starts_with("bin_full") => Some(&["inputs.bin_full"]),
        name if name.starts_with("reset") => Some(&["inputs.reset"]),
        _ => Some(&["inputs.recipe_one", "inputs.recipe_two", "inputs.recipe_four", "inputs.recipe_eight"]),
    }
}

/// Rules between the trigger, the lines and what is behind them.
fn lines(raw: &Raw, problem: &mut dyn FnMut(&str, String), warn: &mut dyn FnMut(&str, String)) {
    let is = |path: &str, word: &str| is(raw, path, word);
    let is_missing = |path: &str| raw.value(path).is_none() && !raw.speaks_of(path);
    let is_eye = is("trigger.source", "photo_eye");
    let frame_ms = raw.number("camera.rate_hz").map(|rate| 1000.0 / rate);
    if is_eye {
        if is_missing("trigger.line") {
            problem("trigger.line", "is required with trigger.source = \"photo_eye\": its input line".into());
        }
        if is("gpio.backend", "none") {
            problem("trigger.source", "needs an input, and gpio.backend = \"none\" has none; choose a backend".into());
        }
        if is("gpio.backend", "recorded") && is_missing("gpio.inputs") {
            let message = "is required with trigger.source = \"photo_eye\" and gpio.backend = \"recorded\": the edges \
                           to play";
            problem("gpio.inputs", message.into());
        }
    }
    if is("trigger.source", "interval") && is_missing("trigger.interval_ms") {
        problem("trigger.interval_ms", "is required with trigger.source = \"interval\"".into());
    }
    if is_eye || is("trigger.source", "interval") {
        if is("camera.source", "simulated") {
            let message = "does not see the parts of camera.source = \"simulated\", whose trigger is \"simulated\"";
            warn("trigger.source", message.into());
        }
        if let (Some(tolerance), Some(frame_ms)) = (raw.number("trigger.tolerance_ms"), frame_ms)
            && tolerance > 0.6 * frame_ms
        {
            let message = format!(
                "is more than 0.6 of the {frame_ms:.1} ms from frame to frame at camera.rate_hz: the first frame that is \
                 near enough is taken, which then need not be the nearest"
            );
            warn("trigger.tolerance_ms", message);
        }
        if let (Some(offset), Some(frame_ms)) = (raw.number("trigger.exposure_offset_ms"), frame_ms)
            && -offset > frame_ms * EARLY_FRAMES as f64
        {
            let message = format!(
                "reaches back further than the {EARLY_FRAMES} frames that are kept for parts to come, {:.0} ms at \
                 camera.rate_hz",
                frame_ms * EARLY_FRAMES as f64
            );
            problem("trigger.exposure_offset_ms", message);
        }
    } else if is("trigger.source", "every_frame") && raw.text("outputs.light").is_some() {
        warn("outputs.light", "has no trigger edge to follow with trigger.source = \"every_frame\"".into());
    }
    match (raw.text("outputs.result"), raw.text("outputs.result_valid")) {
        (None, Some(_)) => warn("outputs.result_valid", "has no effect without outputs.result".into()),
        (Some(_), None) if is_missing("outputs.result_valid") => {
            let message = "two equal results look like one without outputs.result_valid, the strobe for each";
            warn("outputs.result", message.into());
        }
        (Some(_), Some(_)) if !is_eye => {
            if let (Some(valid), Some(frame_ms)) = (raw.number("outputs.result_valid_ms"), frame_ms)
                && 2.0 * valid > frame_ms
            {
                let message = format!(
                    "high and low for so long takes more than the {frame_ms:.1} ms between parts at camera.rate_hz; results \
                     would be lost"
                );
                warn("outputs.result_valid_ms", message);
            }
        }
        _ => {}
    }
}

/// The name at `path`, unless the key it belongs to has another value: an encoder that is not there has no line.
fn used_name(raw: &Raw, path: &str) -> Option<String> {
    let owner = KEYS.iter().find(|key| key.path == path)?.only_with;
    let is_used = owner.is_none_or(|(other, word)| raw.text(other).as_deref() == Some(word));
    raw.text(path).filter(|_| is_used)
}

/// Rules about the encoder and the eye at the bin.
fn belt_rules(raw: &Raw, problems: &mut Vec<Problem>) {
    let is = |path: &str, word: &str| is(raw, path, word);
    let mut problem = |path: &str, message: String| {
        problems.push(at(raw, path, message));
    };
    for (path, other, word, what) in [
        ("encoder.mm_per_pulse", "reject.belt", "encoder", "count the pulses over a metre of belt"),
        ("confirm.travel_mm", "confirm.by", "eye", "measure it along the belt, from the actuator to the eye"),
    ] {
        if is(other, word) && raw.number(path).is_none() && !raw.speaks_of(path) {
            problem(path, format!("is required with {other} = \"{word}\": {what}"));
        }
    }
    if !is("reject.belt", "encoder") {
        return;
    }
    if let (Some(pulse), Some(speed), Some(stopped)) =
        (raw.number("encoder.mm_per_pulse"), raw.number("reject.belt_speed_mm_s"), raw.number("encoder.stopped_ms"))
    {
        let period_ms = pulse / speed * 1000.0;
        if stopped < 2.0 * period_ms {
            let message = format!(
                "must be at least {:.1} ms, two pulses of encoder.mm_per_pulse = {pulse} at reject.belt_speed_mm_s = \
                 {speed}; a belt at full speed would seem to stand",
                2.0 * period_ms
            );
            problem("encoder.stopped_ms", message);
        }
    }
    if let (Some(pulse), Some(speed), Some(debounce)) =
        (raw.number("encoder.mm_per_pulse"), raw.number("reject.belt_speed_mm_s"), raw.number("encoder.debounce_ms"))
    {
        // A level lasts half a period, less where the encoder is uneven.
        let most_ms = pulse / speed * 1000.0 / 4.0;
        if debounce > most_ms {
            let message = format!(
                "must be at most {most_ms:.2} ms, a quarter of the time between two pulses of encoder.mm_per_pulse = \
                 {pulse} at reject.belt_speed_mm_s = {speed}; a level would not hold so long, and the belt would seem \
                 to stand"
            );
            problem("encoder.debounce_ms", message);
        }
    }
    if let (Some(pulse), Some(travel)) = (raw.number("encoder.mm_per_pulse"), raw.number("reject.travel_mm"))
        && pulse > travel / 10.0
    {
        let message =
            format!("is too coarse for reject.travel_mm = {travel}: a pulse may miss by as much; a tenth is enough");
        problem("encoder.mm_per_pulse", message);
    }
}

/// Rules about the light barrier made of pixels.
fn tripwire_rules(raw: &Raw, problems: &mut Vec<Problem>) {
    let is = |path: &str, word: &str| is(raw, path, word);
    if !is("trigger.source", "tripwire") {
        return;
    }
    let mut problem = |path: &str, message: String| {
        problems.push(at(raw, path, message));
    };
    if is("camera.source", "simulated") {
        let message = "never sees an empty belt with camera.source = \"simulated\", which shows parts only";
        problem("trigger.source", message.to_owned());
    }
    let edge = |from: &str, length: &str| Some((raw.whole(from)?, raw.whole(length)?));
    for (from, length, frame) in [
        ("trigger.strip_left_px", "trigger.strip_width_px", "camera.width_px"),
        ("trigger.strip_top_px", "trigger.strip_height_px", "camera.height_px"),
    ] {
        let Some(size) = raw.whole(frame) else { continue };
        // A height that is not written reaches to the edge.
        let Some((start, end)) = edge(from, length).or(raw.whole(from).map(|f| (f, 1))).map(|(f, l)| (f, f + l)) else {
            continue;
        };
        if end > size {
            let path = if start >= size { from } else { length };
            problem(path, format!("puts the strip beyond {frame} = {size}, from {start} to {end}"));
        }
    }
    if let (Some(on), Some(off)) = (raw.number("trigger.trip_level"), raw.number("trigger.clear_level"))
        && off >= on
    {
        problem(
            "trigger.clear_level",
            format!("must be below trigger.trip_level = {on}: noise would start a part twice"),
        );
    }
}
