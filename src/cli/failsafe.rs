//! `zoomgate failsafe`: every output at its safe level, for `ExecStopPost=` of the unit.
//!
//! A daemon that ends in order, by a panic or by SIGTERM puts its outputs to rest itself. One that is killed cannot: the
//! kernel then takes its lines back, and what the pins do is the board's affair. This command requests each output that
//! the configuration names, at its safe level, whatever else is wrong with that file, and tries every one of them
//! though some fail.
//!
//! A line is only held while a process holds it. `ExecStopPost=` must return before the unit can start again, so use
//! `--hold-ms` there, with the time that the unit takes to be back (`RestartSec=`). Without it the lines are held until
//! SIGTERM or SIGINT: for a unit of its own that runs whenever the daemon does not. Once this command has returned, only
//! a pull resistor outside keeps a line at its level: wire one to the safe level at each output.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::output::print_json;
use crate::clock::{Clock, MonotonicClock, Timestamp, WakeToken};
use crate::config::salvage::{self, OutputLines};
use crate::daemon;
use crate::error::{Error, ErrorKind, Result};
use crate::gpio::{Backend, Level, Outputs, SafeLine};
use crate::pipeline::Stop;

/// How soon a signal is noticed.
const LOOK_UP: Duration = Duration::from_millis(20);

/// Arguments of `failsafe`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The configuration; whatever of it can be read is used.
    #[arg(long, value_name = "FILE", default_value = "config.toml")]
    pub config: PathBuf,
    /// Return after holding the lines for so long; without it they are held until SIGTERM or SIGINT.
    #[arg(long, value_name = "MS")]
    pub hold_ms: Option<u64>,
    /// Print one JSON object on stdout once every line was tried.
    #[arg(long)]
    pub json: bool,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report<'a> {
    schema: u32,
    lines: &'a [LineReport],
}

/// What became of one line.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct LineReport {
    line: String,
    safe_level: u8,
    /// Why it is not held; absent for one that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Puts every output to its safe level and holds it there.
///
/// # Errors
/// When a line could not be requested; the others are held all the same, for as long as was asked.
pub fn run(args: &Args) -> Result<()> {
    let OutputLines { gpio, lines, warnings } = salvage::output_lines(&args.config);
    for warning in &warnings {
        log::warn!("{warning}");
    }
    match gpio.backend {
        Backend::Gpiocdev | Backend::Rppal => {}
        // The record of the run that ended is not touched.
        Backend::Recorded { .. } | Backend::None => {
            eprintln!("zoomgate failsafe: this backend drives nothing: nothing to do");
            return if args.json { print_json(&Report { schema: 1, lines: &[] }) } else { Ok(()) };
        }
    }
    let stop = Stop::new();
    // Before the lines: a signal from here on lets them go in order.
    let _signals = daemon::stop_on_signals(&stop)?;
    let clock: Arc<dyn Clock> = Arc::new(MonotonicClock);
    let mut outputs = daemon::open_lines(&gpio, &clock)?;
    let (held, reports) = request_all(&mut *outputs, &lines);
    eprintln!("zoomgate failsafe: READY: {} of {} outputs at their safe level", held.len(), lines.len());
    if args.json {
        print_json(&Report { schema: 1, lines: &reports })?;
    }
    let end = args.hold_ms.map_or(Timestamp::NEVER, |ms| clock.now() + Duration::from_millis(ms));
    // Nothing held is nothing to wait for.
    while !held.is_empty() && !stop.is_requested() && clock.now() < end {
        clock.wait(&WakeToken::new(), Some(end.min(clock.now() + LOOK_UP)));
    }
    drop(held);
    let failed: Vec<_> = reports.iter().filter(|r| r.error.is_some()).map(|r| r.line.as_str()).collect();
    if failed.is_empty() {
        return Ok(());
    }
    let message = format!("not at a safe level by this command: {}; see the reasons above", failed.join(", "));
    Err(Error::new(ErrorKind::Disconnected, message))
}

/// Requests every line at its safe level, whatever becomes of the others; failures are logged.
fn request_all<O: Outputs + ?Sized>(outputs: &mut O, lines: &[(String, Level)]) -> (Vec<SafeLine>, Vec<LineReport>) {
    let mut held = Vec::with_capacity(lines.len());
    let mut reports = Vec::with_capacity(lines.len());
    for (name, safe) in lines {
        let error = match outputs.request(name, *safe) {
            Ok(line) => {
                held.push(line);
                None
            }
            Err(error) => {
                log::error!("{error}");
                Some(error.to_string())
            }
        };
        reports.push(LineReport { line: name.clone(), safe_level: u8::from(*safe == Level::High), error });
    }
    (held, reports)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SimClock;
    use crate::gpio::Recorder;

    /// A recorder that does not have one of the lines.
    struct Lacking(Recorder);

    impl Outputs for Lacking {
        fn request(&mut self, name: &str, safe: Level) -> Result<SafeLine> {
            match name {
                "missing" => Err(Error::new(ErrorKind::NotFound, "there is no line missing")),
                _ => self.0.request(name, safe),
            }
        }
    }

    #[test]
    fn every_line_is_tried_though_one_fails() {
        let recorder = Recorder::in_memory(Arc::new(SimClock::new()));
        let lines = [("reject", Level::High), ("missing", Level::Low), ("light", Level::Low)];
        let lines = lines.map(|(name, level)| (name.to_owned(), level));
        let (held, reports) = request_all(&mut Lacking(recorder.clone()), &lines);
        assert_eq!(held.len(), 2);
        let errors: Vec<_> = reports.iter().map(|r| (r.safe_level, r.error.as_deref())).collect();
        assert_eq!(errors, [(1, None), (0, Some("there is no line missing")), (0, None)]);
        let levels: Vec<_> = recorder.records().iter().map(|r| (r.line.clone(), r.level)).collect();
        assert_eq!(levels, [("reject".to_owned(), Level::High), ("light".to_owned(), Level::Low)]);
    }

    #[test]
    fn a_backend_that_drives_nothing_has_nothing_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config.toml");
        std::fs::write(&config, "[gpio]\nbackend = \"recorded\"\nedges = \"edges.jsonl\"\n").unwrap();
        run(&Args { config, hold_ms: None, json: false }).unwrap();
        assert!(!folder.path().join("edges.jsonl").exists(), "the record of the last run is not touched");
    }
}
