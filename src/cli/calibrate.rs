//! `zoomgate calibrate`: one part, passed again and again, tells how far the actuator is and how long it takes.
//!
//! What is measured and how stands in [`crate::reject::calibration`]. The numbers go into the configuration after a person
//! has seen them and said yes; the file keeps its comments and its layout.

use std::fmt::Write as _;
use std::io::{BufRead, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use super::output::print_json;
use crate::clock::MonotonicClock;
use crate::config::{self, Config, Trigger, edit};
use crate::daemon;
use crate::daemon::calibrate::{Calibrated, Calibration, calibrate};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::Stop;
use crate::pipeline::actuation::calibration::Word;
use crate::reject::calibration::Spread;
use crate::storage;

/// Arguments of `calibrate`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The configuration, which is read and, after asking, written.
    #[arg(long, value_name = "FILE", default_value = "config.toml")]
    pub config: PathBuf,
    /// Passes from which the times come, beside those that find the aim.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u8).range(3..=50))]
    pub passes: u8,
    /// Write without asking.
    #[arg(long, conflicts_with = "dry_run")]
    pub yes: bool,
    /// Measure, which fires the actuator, and write nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Print one JSON object on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Measures, shows, asks and writes.
///
/// # Errors
/// Those of the configuration, the wiring and the measurement; when the file cannot be written.
pub fn run(args: &Args) -> Result<()> {
    let config = config::load(&args.config)?;
    super::logging::set_level(config.log_level);
    let _held = daemon::hold(&args.config)?;
    let (clock, parts) = (Arc::new(MonotonicClock), super::run::scene(&config.camera));
    let tell = Box::new(|word: Word| eprintln!("{}", sentence(&word)));
    // Before the lines: from their request on nothing may end the process but in order.
    let stop = Stop::new();
    let _signals = daemon::stop_on_signals(&stop)?;
    // The lines of a simulated belt are simulated, too.
    let guard = (config.trigger != Trigger::Simulated).then(|| daemon::guard(&config));
    let mut calibration = Calibration::from_config(&config, clock, parts, usize::from(args.passes), tell)?;
    calibration.stop = stop;
    eprintln!(
        "The actuator on line {} will fire at the part: keep hands away. Let the belt run and put one part on it, again \
         and again, about {} times; Ctrl-C ends without a change.",
        config.reject.line,
        calibration.passes()
    );
    let found = calibrate(calibration)?;
    // The outputs are at rest and let go.
    drop(guard);
    let changes = changes(&config, &found);
    eprint!("{}", story(&config, &found, &changes));
    let is_wanted = !args.dry_run && (args.yes || confirmed(&args.config, &mut std::io::stdin().lock())?);
    if is_wanted {
        write(&args.config, &changes)?;
        eprintln!("{} is written; `zoomgate run` uses it from its next start", args.config.display());
    } else {
        eprintln!("nothing was changed");
    }
    if args.json { print_json(&Report::of(&found, &changes, is_wanted)) } else { Ok(()) }
}

/// A key and its value, as it is and as it was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// `section.name`
    pub key: &'static str,
    /// What counts now.
    pub old: f64,
    /// What was measured, rounded to a tenth.
    pub new: f64,
}

/// What the measurement would change.
pub fn changes(config: &Config, found: &Calibrated) -> Vec<Change> {
    let tenth = |value: f64| (value * 10.0).round() / 10.0;
    let change = |key, old, new| Change { key, old, new: tenth(new) };
    let mut changes = vec![
        change("reject.travel_mm", config.reject.travel.0, found.estimate.travel_mm),
        change(
            "reject.actuator_latency_ms",
            config.reject.actuator_latency.as_secs_f64() * 1e3,
            found.estimate.latency_ms,
        ),
    ];
    if let (Some(exposure), Some(middle)) = (exposure(config), found.middle_ms)
        && is_steady(exposure, middle)
    {
        changes.push(change("trigger.exposure_offset_ms", exposure.offset.0 as f64 / 1e6, middle.median));
    }
    changes
}

/// Which frame shows a part, where the configuration says so.
fn exposure(config: &Config) -> Option<config::Exposure> {
    match &config.trigger {
        Trigger::PhotoEye { exposure, .. } | Trigger::Tripwire { exposure, .. } => Some(*exposure),
        Trigger::EveryFrame | Trigger::Simulated | Trigger::Interval { .. } => None,
    }
}

/// Whether the part is in the middle of the picture at a time that the tolerance allows.
fn is_steady(exposure: config::Exposure, middle: Spread) -> bool {
    middle.range <= exposure.tolerance.as_secs_f64() * 1e3
}

/// Puts the changes into the file as it is now.
///
/// # Errors
/// Those of [`edit::with_numbers`]; when it cannot be read or written. The file is wholly new or wholly old.
pub fn write(path: &Path, changes: &[Change]) -> Result<()> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io("read the configuration", path, e))?;
    let values: Vec<_> = changes.iter().map(|change| (change.key, change.new)).collect();
    let edited = edit::with_numbers(&text, path, &values)?;
    storage::write_atomic(path, "write the configuration", edited.as_bytes())
}

/// Asks on stderr; no is what anything but yes means, and what a script means that says nothing.
fn confirmed(path: &Path, answer: &mut dyn BufRead) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        eprintln!("nobody is there to ask: with --yes the values are written");
        return Ok(false);
    }
    eprint!("Write these values to {}? [y/N] ", path.display());
    let flushed = std::io::stderr().flush();
    let mut line = String::new();
    flushed
        .and_then(|()| answer.read_line(&mut line))
        .map_err(|e| Error::new(ErrorKind::Internal, "cannot ask").caused_by(e))?;
    Ok(is_yes(&line))
}

fn is_yes(line: &str) -> bool {
    matches!(line.trim().to_lowercase().as_str(), "y" | "yes")
}

fn sentence(word: &Word) -> String {
    match word {
        Word::Pass { number, left, began_ms, seen_ms } => {
            let seen =
                seen_ms.map_or("not seen at the bin".to_owned(), |ms| format!("seen at the bin after {ms:.1} ms"));
            let fired = began_ms.map_or("not fired".to_owned(), |ms| format!("fired after {ms:.1} ms"));
            format!("pass {number}: {fired}, {seen}; about {left} to go")
        }
        Word::Spoilt(story) => format!("does not count: {story}"),
        Word::Waiting => "waiting for a part: check [trigger] and its line if one has passed".to_owned(),
        Word::NoCamera(story) => format!("goes on without pictures: {story}"),
    }
}

/// The measurement in words, with what each number comes from.
fn story(config: &Config, found: &Calibrated, changes: &[Change]) -> String {
    let Calibrated { hits, estimate, width_ms, body_ms, middle_ms } = found;
    let mut text = String::new();
    let mut line = |what: &str, value: String| {
        writeln!(text, "{what:24}  {value}").expect("writing to a String cannot fail");
    };
    let spread = |s: &Spread| format!("{:.1} ms, within {:.1} ms in {} passes", s.median, s.range, s.count);
    line("pulses that reject", format!("begin {:.1} to {:.1} ms after the trigger", hits.from_ms, hits.to_ms));
    line("aim", format!("{:.1} ms; a part may be {:.1} ms early or late", hits.aim_ms(), hits.margin_ms()));
    line("seen at the bin", spread(&estimate.seen_ms));
    line("belt", format!("{:.1} mm/s", estimate.speed_mm_s));
    if let Some(body) = body_ms {
        let length = body.median / 1e3 * estimate.speed_mm_s;
        line("part", format!("{} at the trigger, {length:.0} mm", spread(body)));
        line("actuator's dead time", format!("{:.1} ms", estimate.dead_ms(*width_ms, body.median)));
    }
    match (exposure(config), middle_ms) {
        (Some(exposure), Some(middle)) if !is_steady(exposure, *middle) => {
            line("middle of the picture", format!("{}: too far apart to be written", spread(middle)));
        }
        (_, Some(middle)) => line("middle of the picture", spread(middle)),
        (Some(_), None) => line("middle of the picture", "not seen by the camera".to_owned()),
        (None, None) => {}
    }
    let window_ms = config.reject.window.as_secs_f64() * 1e3;
    if window_ms > hits.margin_ms() {
        let advice = format!("{window_ms} ms is more than the {:.1} ms that a pulse may be late", hits.margin_ms());
        line("[reject] window_ms", advice);
    }
    for Change { key, old, new } in changes {
        line(key, format!("{old:.1} -> {new:.1}"));
    }
    text
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report<'a> {
    schema: u32,
    hits_from_ms: f64,
    hits_to_ms: f64,
    aim_ms: f64,
    seen_ms: Times,
    belt_speed_mm_s: f64,
    travel_mm: f64,
    actuator_latency_ms: f64,
    /// The latency without the lead of a pulse that is longer than the part.
    dead_ms: Option<f64>,
    part_ms: Option<Times>,
    middle_ms: Option<Times>,
    changes: &'a [Change],
    written: bool,
}

#[derive(Debug, Serialize)]
struct Times {
    median: f64,
    range: f64,
    count: usize,
}

impl From<Spread> for Times {
    fn from(Spread { median, range, count }: Spread) -> Self {
        Self { median, range, count }
    }
}

impl<'a> Report<'a> {
    fn of(found: &Calibrated, changes: &'a [Change], written: bool) -> Self {
        let Calibrated { hits, estimate, width_ms, body_ms, middle_ms } = *found;
        Self {
            schema: 1,
            hits_from_ms: hits.from_ms,
            hits_to_ms: hits.to_ms,
            aim_ms: hits.aim_ms(),
            seen_ms: estimate.seen_ms.into(),
            belt_speed_mm_s: estimate.speed_mm_s,
            travel_mm: estimate.travel_mm,
            actuator_latency_ms: estimate.latency_ms,
            dead_ms: body_ms.map(|body| estimate.dead_ms(width_ms, body.median)),
            part_ms: body_ms.map(Times::from),
            middle_ms: middle_ms.map(Times::from),
            changes,
            written,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        for (line, expected) in
            [("y\n", true), ("YES \n", true), ("", false), ("\n", false), ("n\n", false), ("yo\n", false)]
        {
            assert_eq!(is_yes(line), expected, "{line:?}");
        }
    }

    #[test]
    fn a_pass_is_told_in_a_line() {
        let pass = Word::Pass { number: 3, left: 12, began_ms: Some(290.04), seen_ms: None };
        assert_eq!(sentence(&pass), "pass 3: fired after 290.0 ms, not seen at the bin; about 12 to go");
        let blank = Word::Pass { number: 1, left: 14, began_ms: None, seen_ms: Some(512.0) };
        assert_eq!(sentence(&blank), "pass 1: not fired, seen at the bin after 512.0 ms; about 14 to go");
    }
}
