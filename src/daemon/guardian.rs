//! The guardian: a second process that puts the outputs to rest when the daemon dies and nobody else would.
//!
//! A process that is killed, or that crashes, cannot put its own outputs to rest: the kernel takes its lines back, and the
//! board's resistor decides. Under systemd the unit's `ExecStopPost=` requests them again. Without it this does:
//!
//! ```text
//! daemon: config lock ─► guardian started, told the lines ─► requests its lines ─► … ─► lines let go ─► "over" ─► ends
//! guardian:                waits for its standard input ─────────────────────────────────────────────► leaves
//!                          … which ends without "over": the daemon has died
//!                          ─► requests each line at its safe level, holds it until SIGUSR1 ─► leaves
//! next daemon: a line is held by `zoomgate guardian PID` ─► SIGUSR1 to PID ─► requests it again, until it has it
//! ```
//!
//! It is the same program, so that what is tested is what guards, in a session of its own and deaf to what ends a
//! terminal's programs. It inherits neither the lock nor a line: both close at exec. A pipe's end is the kernel's word: it
//! comes while the dying process gives its descriptors back, so that the lines are free at that moment or within
//! microseconds; requests are repeated until then. Nothing is left behind that could be stale: whom to ask stands in the
//! kernel's list of lines for as long as one is held.
//!
//! In the virtual machine (gpio-sim, `tests/vm/run.sh guardian`, 2026-11-30) the line was at rest 14 ms after SIGKILL, SIGSEGV
//! and SIGABRT, and 4 ms passed from a guardian's hand to the next daemon's.
//!
//! A line of `rppal` or of a record is not held by anybody: once it is at rest there the guardian leaves.

use std::io::{self, BufRead, BufReader, PipeReader, Read, Write};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    DumpableBehavior, Pid, Signal, dumpable_behavior, getppid, kill_process, set_dumpable_behavior, setsid,
};
use serde::{Deserialize, Serialize};

use super::{realtime, signals};
use crate::clock::{Clock, MonotonicClock, WakeToken};
use crate::config::{self, Config};
use crate::error::{Error, ErrorKind, Result};
use crate::gpio::cdev::{self, Cdev};
use crate::gpio::{Backend, InitialLevel, InputOptions, Inputs, Level, Outputs, Recorder, SafeLine, TriggerInput};
use crate::pipeline::Stop;
use crate::reject::Actuator;

/// The hidden subcommand.
pub const COMMAND: &str = "guardian";
/// The name in `ps`. Not the program's, so that `killall zoomgate` leaves it alone.
const TITLE: &str = COMMAND;
/// What the daemon says when its lines are at rest and let go.
const OVER: &str = "over";
/// What the guardian says when it is deaf to signals and knows its lines.
const READY: &[u8] = b"ready\n";

/// How long a guardian may take to start. Chosen: an SD card's worst.
const START: Duration = Duration::from_secs(5);
/// How long one may take to leave when told, or to let its lines go.
const LEAVE: Duration = Duration::from_secs(1);
/// Pause between two requests of a line that a dying process holds, and after the first second of them.
const RETRY: Duration = Duration::from_millis(1);
const RETRY_LATER: Duration = Duration::from_millis(50);
/// Pause between two requests of a line that a guardian lets go: for so long nobody drives it.
const TAKE_OVER: Duration = Duration::from_micros(200);

/// What a guardian has to know: one line of JSON on its standard input.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Charge {
    /// Whose death it waits for.
    daemon: u32,
    backend: Driver,
    /// Each output and its safe level, the reject line first.
    lines: Vec<(String, u8)>,
    /// As the actuation thread is scheduled.
    priority: Option<u8>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Driver {
    Gpiocdev { chip: Option<String> },
    Rppal,
    Recorded { edges: PathBuf },
}

impl Charge {
    /// `None` where nothing is driven.
    fn of(config: &Config) -> Option<Self> {
        let backend = match &config.gpio.backend {
            Backend::Gpiocdev => Driver::Gpiocdev { chip: config.gpio.chip.clone() },
            Backend::Rppal => Driver::Rppal,
            // A record of what the lines would do, to its end; the guardian's folder is another.
            Backend::Recorded { path, .. } => Driver::Recorded { edges: std::path::absolute(path).ok()? },
            Backend::None => return None,
        };
        let rest = Actuator::rest_level(config.reject.active_low);
        let outputs = config.outputs.lines().into_iter().map(|line| (line.to_owned(), 0));
        let reject = (config.reject.line.clone(), u8::from(rest == Level::High));
        Some(Self {
            daemon: std::process::id(),
            backend,
            lines: std::iter::once(reject).chain(outputs).collect(),
            priority: config.realtime.priority,
        })
    }
}

/// Keeps the outputs safe whatever becomes of this process; drop it when they are at rest and let go.
///
/// While it lives the process is not dumpable: the kernel writes a core dump before it closes the descriptors, and a
/// valve would stay open for as long as that takes.
pub struct Guard {
    _undumpable: Option<Undumpable>,
    _guardian: Option<Guardian>,
}

/// Sees to it that the outputs of `config` go to rest if this process dies: by the service manager's next command where
/// one has started this process, else by a guardian. Which of them is logged, and so is it when there can be none.
///
/// Call it before the first line is requested. Costs the start of a process, some milliseconds.
pub fn guard(config: &Config) -> Guard {
    let Some(charge) = Charge::of(config) else { return Guard { _undumpable: None, _guardian: None } };
    let guardian = if is_a_service(|name| std::env::var(name).ok(), std::process::id()) {
        log::info!("a service manager has started this process: if it dies, ExecStopPost= puts the outputs to rest");
        None
    } else {
        let started = Guardian::start(&charge);
        match &started {
            Ok(guardian) => log::info!("if this process dies, process {} puts the outputs to rest", guardian.pid()),
            Err(error) => log::error!(
                "{error}; if this process is killed the outputs are left to the board: mend that, or run it as a service \
                 (systemd/zoomgate.service)"
            ),
        }
        started.ok()
    };
    Guard { _undumpable: Undumpable::begin(), _guardian: guardian }
}

/// Whether systemd has started this very process, and so runs `ExecStopPost=` after it.
///
/// `INVOCATION_ID` would not tell: every program in a desktop's terminal has one. `SYSTEMD_EXEC_PID` names the process
/// that it was meant for; older ones without it give our unit, of `Type=notify`, a socket.
fn is_a_service(variable: impl Fn(&str) -> Option<String>, pid: u32) -> bool {
    variable("NOTIFY_SOCKET").is_some() || variable("SYSTEMD_EXEC_PID").is_some_and(|meant| meant == pid.to_string())
}

/// No core dump until it is dropped; then as before.
struct Undumpable(DumpableBehavior);

impl Undumpable {
    fn begin() -> Option<Self> {
        let before = dumpable_behavior().and_then(|before| {
            set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
            Ok(before)
        });
        before.map(Self).inspect_err(|error| log::warn!("a core dump would hold the outputs up: {error}")).ok()
    }
}

impl Drop for Undumpable {
    fn drop(&mut self) {
        _ = set_dumpable_behavior(self.0);
    }
}

/// The daemon's end of its guardian; told that all is over when dropped.
struct Guardian {
    child: Child,
    stdin: Option<ChildStdin>,
    is_over: Arc<AtomicBool>,
}

impl Guardian {
    fn start(charge: &Charge) -> Result<Self> {
        let refused = |error| {
            let message = "cannot start the guardian: check that /proc is mounted, and the limits on processes";
            Error::new(ErrorKind::Internal, message).caused_by(error)
        };
        let (mut ready, theirs) = io::pipe().map_err(refused)?;
        let mut child = Command::new("/proc/self/exe")
            .arg0(TITLE)
            .arg(COMMAND)
            .stdin(Stdio::piped())
            .stdout(theirs)
            .spawn()
            .map_err(refused)?;
        let stdin = child.stdin.take();
        // From here on it is told to leave, however this ends.
        let mut guardian = Self { child, stdin, is_over: Arc::default() };
        let text = serde_json::to_string(charge).expect("a charge is texts and numbers");
        guardian.tell(&text).and_then(|()| wait_until_ready(&mut ready)).map_err(refused)?;
        let (is_over, pid) = (Arc::clone(&guardian.is_over), guardian.pid());
        let watch = move || {
            // Nothing more is said: this is the end of the other process.
            _ = ready.read(&mut [0]);
            if !is_over.load(Ordering::SeqCst) {
                log::error!(
                    "the guardian, process {pid}, has ended: if this process is killed nobody puts the outputs to rest"
                );
            }
        };
        thread::Builder::new().name(TITLE.to_owned()).spawn(watch).map_err(refused)?;
        Ok(guardian)
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn tell(&mut self, word: &str) -> io::Result<()> {
        self.stdin.as_mut().map_or(Ok(()), |stdin| writeln!(stdin, "{word}"))
    }
}

fn wait_until_ready(ready: &mut PipeReader) -> io::Result<()> {
    let patience = Timespec::try_from(START).expect("a few seconds fit every timespec");
    let mut fds = [PollFd::new(ready, PollFlags::IN)];
    if poll(&mut fds, Some(&patience))? == 0 {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let mut word = [0; READY.len()];
    ready.read_exact(&mut word)
}

impl Drop for Guardian {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        if let Err(error) = self.tell(OVER) {
            log::debug!("the guardian had ended before: {error}");
        }
        drop(self.stdin.take());
        let (clock, start) = (MonotonicClock, MonotonicClock.now());
        while matches!(self.child.try_wait(), Ok(None)) {
            if clock.now().since(start) >= LEAVE {
                log::warn!("the guardian, process {}, does not leave: it may hold the outputs", self.pid());
                return;
            }
            clock.sleep_until(clock.now() + RETRY);
        }
    }
}

/// The hidden subcommand: stands guard until the daemon is over, or is dead and its outputs are taken over.
///
/// # Errors
/// When what it is told makes no sense, or a line of a dead daemon cannot be put to rest; the others are.
pub fn stand_guard() -> Result<()> {
    // What ends a terminal's programs is not for this one. It leads no group yet, so that this cannot fail.
    _ = setsid();
    rustix::thread::set_name(c"guardian").ok();
    let (clock, token, release): (Arc<dyn Clock>, _, _) = (Arc::new(MonotonicClock), WakeToken::new(), Stop::new());
    release.attach(&clock, &token);
    let _signals = signals::release_on_signal(&release)?;
    // No file system is kept from being unmounted.
    _ = std::env::set_current_dir("/");
    let told = |error| Error::new(ErrorKind::Internal, "the daemon's word cannot be read").caused_by(error);
    let mut words = BufReader::new(io::stdin().lock());
    let mut line = String::new();
    words.read_line(&mut line).map_err(told)?;
    if line.is_empty() {
        let message = "`zoomgate guardian` is started by `zoomgate run`: there is nothing to guard";
        return Err(Error::new(ErrorKind::Refused, message));
    }
    let charge: Charge = serde_json::from_str(&line).map_err(|error| told(error.into()))?;
    realtime::enter(config::Realtime { priority: charge.priority, lock_memory: false });
    let mut stdout = io::stdout().lock();
    stdout.write_all(READY).and_then(|()| stdout.flush()).map_err(told)?;
    line.clear();
    // An error is as good as the end: nobody is there who could say anything.
    if words.read_line(&mut line).is_ok() && line.trim() == OVER {
        return Ok(());
    }
    put_to_rest(&charge, &clock, &token, &release)
}

/// The daemon has died.
fn put_to_rest(charge: &Charge, clock: &Arc<dyn Clock>, token: &WakeToken, release: &Stop) -> Result<()> {
    let mut outputs: Box<dyn Outputs> = match &charge.backend {
        Driver::Gpiocdev { chip } => Box::new(Cdev::new(chip.clone()).guarding(std::process::id())),
        #[cfg(feature = "rppal")]
        Driver::Rppal => Box::new(crate::gpio::rppal::Rppal::open()?),
        #[cfg(not(feature = "rppal"))]
        Driver::Rppal => return Ok(()),
        Driver::Recorded { edges } => Box::new(Recorder::going_on(Arc::clone(clock), edges)?),
    };
    let (held, failed) = request_all(charge, &mut *outputs, &**clock);
    let (daemon, pid) = (charge.daemon, std::process::id());
    match &charge.backend {
        _ if held.is_empty() => {}
        Driver::Gpiocdev { .. } => {
            log::warn!(
                "process {daemon} has died: its {} outputs are held at their safe level until the next start takes them; \
                 `kill -USR1 {pid}` lets them go",
                held.len()
            );
            while !release.is_requested() {
                clock.wait(token, None);
            }
        }
        Driver::Rppal | Driver::Recorded { .. } => {
            log::warn!("process {daemon} has died: its {} outputs were put to their safe level", held.len());
        }
    }
    drop(held);
    if failed.is_empty() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Disconnected, format!("not at a safe level by the guardian: {}", failed.join(", "))))
}

/// Requests every line; those that could not be had are named.
fn request_all<'a>(charge: &'a Charge, outputs: &mut dyn Outputs, clock: &dyn Clock) -> (Vec<SafeLine>, Vec<&'a str>) {
    let (mut held, mut failed) = (Vec::new(), Vec::new());
    for (name, safe) in &charge.lines {
        let safe = if *safe == 1 { Level::High } else { Level::Low };
        match patiently(charge, clock, || outputs.request(name, safe)) {
            Ok(line) => held.push(line),
            // A daemon that has started meanwhile has its own guardian.
            Err(error) => {
                log::error!("{error}");
                failed.push(name.as_str());
            }
        }
    }
    (held, failed)
}

/// Tries again and again what the dying process still holds; what is held after that is somebody else's.
fn patiently<T>(charge: &Charge, clock: &dyn Clock, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let start = clock.now();
    loop {
        // Looked at before the attempt. A process's children get another parent when its descriptors are closed.
        let is_dying = getppid().is_some_and(|pid| u32::try_from(pid.as_raw_pid()) == Ok(charge.daemon));
        match attempt() {
            Err(error) if error.kind() == ErrorKind::Busy && is_dying => {}
            outcome => return outcome,
        }
        let pause = if clock.now().since(start) < Duration::from_secs(1) { RETRY } else { RETRY_LATER };
        clock.wait(&WakeToken::new(), Some(clock.now() + pause));
    }
}

/// Lines of the character device, taken over from a guardian that holds them.
pub(super) struct Successor(pub(super) Cdev);

impl Outputs for Successor {
    fn request(&mut self, name: &str, safe: Level) -> Result<SafeLine> {
        take_over(&self.0, name, |lines| lines.clone().request(name, safe))
    }
}

impl Inputs for Successor {
    fn request_input(
        &mut self,
        name: &str,
        options: InputOptions,
        initial: InitialLevel,
    ) -> Result<Box<dyn TriggerInput>> {
        take_over(&self.0, name, |lines| lines.clone().request_input(name, options, initial))
    }
}

/// Requests a line; a guardian that has it is asked for it, and for all that it has.
fn take_over<T>(lines: &Cdev, name: &str, request: impl Fn(&Cdev) -> Result<T>) -> Result<T> {
    let (clock, mut asked) = (MonotonicClock, None);
    let end = clock.now() + LEAVE;
    loop {
        let error = match request(lines) {
            Err(error) if error.kind() == ErrorKind::Busy && clock.now() < end => error,
            outcome => return outcome,
        };
        let guardian = lines.holder(name)?.as_deref().and_then(cdev::guardian);
        match guardian {
            Some(pid) if asked != Some(pid) => {
                ask_to_leave(pid, error)?;
                asked = Some(pid);
            }
            // It was let go between the request and the question.
            None if asked.is_none() => return Err(error),
            _ => {}
        }
        clock.sleep_until(clock.now() + TAKE_OVER);
    }
}

fn ask_to_leave(guardian: u32, error: Error) -> Result<()> {
    let pid = i32::try_from(guardian).ok().and_then(Pid::from_raw);
    let Some(pid) = pid else { return Err(error) };
    log::info!("the outputs are taken over from the guardian, process {guardian}");
    kill_process(pid, Signal::USR1).map_err(|refused| {
        let message = format!(
            "{}; it is the guardian of a daemon that was killed, and cannot be asked for it: `kill -USR1 {guardian}` as its \
             owner or root lets the line go",
            error.message()
        );
        Error::new(ErrorKind::Busy, message).caused_by(refused)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_manager_is_the_one_that_started_this_very_process() {
        let with = |name: &'static str, value: &'static str| {
            is_a_service(|asked| (asked == name).then(|| value.to_owned()), 7)
        };
        assert!(with("NOTIFY_SOCKET", "/run/systemd/notify") && with("SYSTEMD_EXEC_PID", "7"));
        // A program in a terminal that systemd has started, and one with nothing of it.
        assert!(!with("SYSTEMD_EXEC_PID", "6") && !with("INVOCATION_ID", "0123") && !with("HOME", "/root"));
    }
}
