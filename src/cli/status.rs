//! `zoomgate status`: how the running daemon is.

use std::fmt::Write as _;
use std::io::{ErrorKind as Io, Read, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::daemon::status::DEFAULT;
use crate::error::{Error, ErrorKind, Result};
use crate::telemetry::status::{SCHEMA, SightNow, Status};

/// How long the daemon may take to answer.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The longest answer that is read; a daemon's has a few kilobytes.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// Arguments of `zoomgate status`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Prints the daemon's answer as it is, one JSON object.
    #[arg(long)]
    pub json: bool,
    /// The daemon's socket: `[status] socket` of its configuration.
    #[arg(long, value_name = "PATH", default_value = DEFAULT)]
    pub socket: PathBuf,
}

/// Asks the daemon and prints its answer.
///
/// # Errors
/// `NotFound` when no daemon listens there, `Timeout` when it does not answer, `Corrupt` when the answer is none,
/// `Refused` when it comes from a newer daemon.
pub fn run(args: &Args) -> Result<()> {
    let answer = ask(&args.socket)?;
    let status = understand(&answer, &args.socket)?;
    let text = if args.json { answer } else { for_people(&status) };
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", text.trim_end()).map_err(|e| Error::io("write to", Path::new("standard output"), e))
}

fn ask(socket: &Path) -> Result<String> {
    let connect = |error: std::io::Error| match error.kind() {
        Io::NotFound | Io::ConnectionRefused => {
            let message = format!(
                "no daemon listens at {}: look at `systemctl status zoomgate`, or name the socket of [status] socket \
                 with --socket",
                socket.display()
            );
            Error::new(ErrorKind::NotFound, message).caused_by(error)
        }
        Io::PermissionDenied => {
            let message = format!(
                "{} may be read by the daemon's group only: add yourself to the group zoomgate, or use sudo",
                socket.display()
            );
            Error::new(ErrorKind::Refused, message).caused_by(error)
        }
        _ => Error::io("ask the daemon at", socket, error),
    };
    let read = |error: std::io::Error| match error.kind() {
        // A socket's timeout is told as `WouldBlock`.
        Io::WouldBlock | Io::TimedOut => {
            let message = format!(
                "the daemon at {} did not answer within {} s: look at `systemctl status zoomgate`",
                socket.display(),
                TIMEOUT.as_secs()
            );
            Error::new(ErrorKind::Timeout, message).caused_by(error)
        }
        _ => Error::io("read the daemon's answer from", socket, error),
    };
    let stream = UnixStream::connect(socket).map_err(connect)?;
    stream.set_read_timeout(Some(TIMEOUT)).map_err(read)?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer).map_err(read)?;
    Ok(answer)
}

fn understand(answer: &str, socket: &Path) -> Result<Status> {
    let corrupt = |e: serde_json::Error| {
        let message = format!("what answers at {} is no zoomgate daemon: check --socket", socket.display());
        Error::new(ErrorKind::Corrupt, message).caused_by(e)
    };
    let value: serde_json::Value = serde_json::from_str(answer).map_err(corrupt)?;
    match value["schema"].as_u64() {
        Some(newer) if newer > u64::from(SCHEMA) => Err(Error::new(
            ErrorKind::Refused,
            format!("the daemon at {} tells schema {newer}, this program knows {SCHEMA}: update it", socket.display()),
        )),
        _ => serde_json::from_value(value).map_err(corrupt),
    }
}

fn for_people(status: &Status) -> String {
    let mut text = String::new();
    let mut line = |label: &str, value: String| {
        writeln!(text, "{label:<11} {value}").expect("writing to a String cannot fail");
    };
    let stale = status.stale.as_ref().map(|what| format!(": {what} makes no progress")).unwrap_or_default();
    let seconds = Duration::from_secs(status.uptime_s as u64);
    let dry = if status.dry_run { ", dry run" } else { "" };
    line("state", format!("{}{stale}, up {}{dry}", status.state, humantime::format_duration(seconds)));
    line("recipe", format!("{}, threshold {}", status.recipe, status.threshold));
    if let Some(slow) = &status.slow {
        line("", format!("slow: {slow}"));
    }
    let c = &status.counts;
    line("parts", format!("{}: {} passed, {} rejected, {} not inspected", c.parts, c.passes, c.rejects, c.uninspected));
    let by_reason: Vec<String> = c.uninspected_by_reason.iter().map(|(reason, n)| format!("{reason} {n}")).collect();
    if !by_reason.is_empty() {
        line("", by_reason.join(", "));
    }
    let pulse = |word| status.pulses.get(word).copied().unwrap_or_default();
    line(
        "pulses",
        format!(
            "{} planned: {} fired, {} merged, {} late, {} refused, {} failed; {} rejects missed",
            pulse("planned"),
            pulse("fired"),
            pulse("merged"),
            pulse("late"),
            pulse("refused"),
            pulse("failed"),
            c.missed_rejects
        ),
    );
    let age = status.camera.last_frame_age_s.map(|s| format!(", last frame {s:.1} s ago")).unwrap_or_default();
    line("camera", format!("{}{age}, {} frames", status.camera.state.replace('_', " "), c.frames));
    match &status.sight {
        Some(SightNow { blind: Some(how), blind_in_a_row, .. }) => {
            line("", format!("blind: {how}, {blind_in_a_row} parts in a row"));
        }
        Some(SightNow { known: false, .. }) => {
            line(
                "",
                "the recipe does not know what good pictures show, a blind one is judged: teach it again".to_owned(),
            );
        }
        _ => {}
    }
    if let (Some(p50), Some(p99)) = (status.latency_ms.p50, status.latency_ms.p99) {
        line("latency", format!("{p50:.1} ms from frame to verdict, 99 of 100 within {p99:.1} ms"));
    }
    let fifo = status.realtime.fifo_priority.map_or("no".to_owned(), |p| format!("SCHED_FIFO {p}"));
    let locked = if status.realtime.memory_locked { "memory locked" } else { "memory not locked" };
    line("real time", format!("{fifo}, {locked}"));
    for refused in &status.realtime.refused {
        line("", format!("not permitted: {refused}"));
    }
    for fault in &status.faults {
        line(&fault.code, format!("{} ({} times)", fault.name, fault.count));
    }
    if let Some(last) = status.recent.last() {
        let score = last.score.map(|s| format!(", score {s:.2}")).unwrap_or_default();
        let reason = last.reason.as_ref().map(|r| format!(" ({r})")).unwrap_or_default();
        line("last part", format!("{}: {}{reason}{score}", last.part, last.verdict));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::Timestamp;
    use crate::decide::Reason;
    use crate::telemetry::board::{About, Board};

    #[test]
    fn answers_of_others_and_of_newer_daemons_are_refused() {
        let good = serde_json::to_string(&Status::of(&Board::default(), Timestamp::ZERO)).unwrap();
        let newer = good.replacen("\"schema\":1", "\"schema\":2", 1);
        for (answer, kind) in [
            ("", ErrorKind::Corrupt),
            ("{}", ErrorKind::Corrupt),
            ("hello", ErrorKind::Corrupt),
            (&good[..good.len() / 2], ErrorKind::Corrupt),
            (&newer, ErrorKind::Refused),
        ] {
            assert_eq!(understand(answer, Path::new("s")).unwrap_err().kind(), kind, "{answer}");
        }
        assert!(for_people(&understand(&good, Path::new("s")).unwrap()).starts_with("state       starting"));
    }

    #[test]
    fn a_blind_camera_and_a_recipe_that_cannot_tell_are_said() {
        let about = |knows_sight| About { knows_sight, ..About::default() };
        let told = |knows_sight, dark| {
            let board = Board::new(about(knows_sight), Arc::default());
            board.note_blind(Reason::BlindDark, dark);
            for_people(&Status::of(&board, Timestamp::ZERO))
        };
        for (knows_sight, dark, words) in [(true, 4, "blind: dark, 4 parts in a row"), (false, 0, "teach it again")] {
            assert!(told(knows_sight, dark).contains(words), "{}", told(knows_sight, dark));
            assert!(!told(true, 0).contains(words));
        }
    }
}
