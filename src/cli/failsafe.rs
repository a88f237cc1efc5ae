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

use crate::clock::{Bell, Clock, MonotonicClock, Timestamp};
use crate::config::salvage::{self, OutputLines};
use crate::daemon;
use crate::error::{Error, ErrorKind, Result};
use crate::gpio::{Backend, Outputs, SafeLine};
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
            return Ok(());
        }
    }
    let stop = Stop::new();
    // Before the lines: a signal from here on lets them go in order.
    let _signals = daemon::stop_on_signals(&stop)?;
    let clock: Arc<dyn Clock> = Arc::new(MonotonicClock);
    let mut outputs = daemon::open_lines(&gpio, &clock)?;
    let (held, failed) = request_all(&mut *outputs, &lines);
    eprintln!("zoomgate failsafe: READY: {} of {} outputs at their safe level", held.len(), lines.len());
    let end = args.hold_ms.map_or(Timestamp::NEVER, |ms| clock.now() + Duration::from_millis(ms));
    // Nothing held is nothing to wait for.
    while !held.is_empty() && !stop.is_requested() && clock.now() < end {
        clock.wait(&Bell::new(), Some(end.min(clock.now() + LOOK_UP)));
    }
    drop(held);
    failed.map_or(Ok(()), Err)
}

/// Requests every line at its safe level; the first failure is returned, each is logged.
fn request_all<O: Outputs + ?Sized>(
    outputs: &mut O,
    lines: &[(String, crate::gpio::Level)],
) -> (Vec<SafeLine>, Option<Error>) {
    let mut held = Vec::with_capacity(lines.len());
    let mut failed: Vec<String> = Vec::new();
    for (name, safe) in lines {
        match outputs.request(name, *safe) {
            Ok(line) => held.push(line),
            Err(error) => {
                log::error!("{error}");
                failed.push(name.clone());
            }
        }
    }
    let error = (!failed.is_empty()).then(|| {
        let message = format!("not at a safe level by this command: {}; see the reasons above", failed.join(", "));
        Error::new(ErrorKind::Disconnected, message)
    });
    (held, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SimClock;
    use crate::gpio::{Level, Recorder};

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
        let (held, error) = request_all(&mut Lacking(recorder.clone()), &lines);
        assert_eq!(held.len(), 2);
        assert!(error.unwrap().message().contains("missing"));
        let levels: Vec<_> = recorder.records().iter().map(|r| (r.line.clone(), r.level)).collect();
        assert_eq!(levels, [("reject".to_owned(), Level::High), ("light".to_owned(), Level::Low)]);
    }

    #[test]
    fn a_backend_that_drives_nothing_has_nothing_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config.toml");
        std::fs::write(&config, "[gpio]\nbackend = \"recorded\"\nedges = \"edges.jsonl\"\n").unwrap();
        run(&Args { config, hold_ms: None }).unwrap();
        assert!(!folder.path().join("edges.jsonl").exists(), "the record of the last run is not touched");
    }
}
