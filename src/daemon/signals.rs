//! Signals: whatever asks the process to end ends the run in order; a second request ends the process at once.
//!
//! Left to itself the kernel ends a process at every signal below, in the middle of a pulse.
//!
//! | signal | what it does |
//! |---|---|
//! | INT, TERM, QUIT | ends the run; a second one of them ends the process |
//! | USR1, USR2, ALRM, VTALRM, PROF, XCPU, IO, PWR, STKFLT, the real-time ones | ends the run |
//! | HUP | ends the run, opens the record files anew, or nothing: see [`Hangup`] |
//! | TSTP (Ctrl-Z), XFSZ | nothing: a line that is suspended would stay as it is, and a file that may not grow is a full disk |
//! | PIPE | nothing, as Rust's runtime has it: the write fails |
//! | KILL, SEGV, BUS, ILL, FPE, ABRT, TRAP, SYS | the process dies: [`super::guardian`] or the unit's `ExecStopPost=` puts the lines to rest |
//! | STOP, TTIN, TTOU | the process is suspended; nothing of ours can keep a line safe then |
//!
//! HUP never counts as the second request: a shell that ends sends it after the kernel has.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::{self, JoinHandle};

use rustix::process::Signal;
use signal_hook::consts::{
    SIGALRM, SIGHUP, SIGINT, SIGIO, SIGPROF, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXCPU, SIGXFSZ,
};
use signal_hook::iterator::{Handle, Signals};

use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::{Reopen, Stop};

/// How a person or a supervisor asks; the second one is meant.
const ASKING: [i32; 3] = [SIGINT, SIGTERM, SIGQUIT];
/// Others whose default is to end the process, and after which it is as sound as before.
const ENDING: [i32; 9] =
    [SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGXCPU, SIGIO, Signal::POWER.as_raw(), Signal::STKFLT.as_raw()];
/// Real-time signals. The C library keeps the first few for itself and refuses them.
const REAL_TIME: std::ops::RangeInclusive<i32> = 32..=64;

/// What SIGHUP does: decided once, when the run starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hangup {
    /// The terminal has gone: ends the run.
    Ends,
    /// There was no terminal that could go: opens the record files anew.
    Reopens,
    /// It was ignored when the program started (`nohup`), and stays so.
    Ignored,
}

impl Hangup {
    /// By what this process was started with. Where `/proc` cannot be read it ends the run.
    fn of_this_process() -> Self {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        Self::of(&read("status"), &read("stat"))
    }

    fn of(status: &str, stat: &str) -> Self {
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        // After the name in brackets: state, parent, group, session, terminal.
        let terminal = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(4));
        match (ignored, terminal) {
            (Some(mask), _) if mask >> (SIGHUP - 1) & 1 == 1 => Self::Ignored,
            (_, Some("0")) => Self::Reopens,
            _ => Self::Ends,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Ends => "ends the run: this process has a terminal",
            Self::Reopens => "opens the record files anew: this process has no terminal",
            Self::Ignored => "is ignored, as it was when this process started",
        }
    }
}

/// Requests `stop` on every signal that asks for an end; until the guard is dropped.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn stop_on_signals(stop: &Stop) -> Result<SignalGuard> {
    let hangup = match Hangup::of_this_process() {
        // Nothing could be opened anew.
        Hangup::Reopens => Hangup::Ends,
        other => other,
    };
    listen(stop, &Reopen::default(), hangup)
}

/// As [`stop_on_signals`]; where there is no terminal SIGHUP requests `reopen` instead. Which of them is logged.
///
/// # Errors
/// As [`stop_on_signals`].
pub fn stop_or_reopen_on_signals(stop: &Stop, reopen: &Reopen) -> Result<SignalGuard> {
    let hangup = Hangup::of_this_process();
    log::info!("SIGHUP {}", hangup.as_str());
    listen(stop, reopen, hangup)
}

fn listen(stop: &Stop, reopen: &Reopen, hangup: Hangup) -> Result<SignalGuard> {
    let asked = Arc::new(AtomicBool::new(false));
    let signals = Signals::new([SIGTSTP]).map_err(refused)?;
    let mut guard = SignalGuard { handle: signals.handle(), ids: Vec::new(), listener: None };
    for signal in ASKING {
        // In this order: the first signal finds the flag down and only raises it.
        let shutdown = signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&asked));
        guard.ids.push(shutdown.map_err(refused)?);
        guard.ids.push(signal_hook::flag::register(signal, Arc::clone(&asked)).map_err(refused)?);
    }
    let hup = (hangup != Hangup::Ignored).then_some(SIGHUP);
    guard.add(ASKING.into_iter().chain(ENDING).chain([SIGXFSZ]).chain(hup))?;
    let (stop, reopen) = (stop.clone(), reopen.clone());
    guard.serve(signals, move |signal| match signal {
        SIGTSTP => log::warn!("not suspended: the outputs would stay as they are; Ctrl-C ends in order"),
        SIGXFSZ => log::warn!("a file may not grow any more: see `ulimit -f`"),
        SIGHUP if hangup == Hangup::Reopens => reopen.request(),
        _ => {
            // Before the word about it, which may wait for whoever reads it.
            stop.request();
            log::info!("signal {signal}: ending in order; a second SIGINT or SIGTERM ends at once");
        }
    })?;
    Ok(guard)
}

/// For a guardian: SIGUSR1 requests `release`, and whatever else would end it is nothing to it.
///
/// # Errors
/// As [`stop_on_signals`].
pub(super) fn release_on_signal(release: &Stop) -> Result<SignalGuard> {
    let signals = Signals::new([SIGTSTP]).map_err(refused)?;
    let mut guard = SignalGuard { handle: signals.handle(), ids: Vec::new(), listener: None };
    guard.add(ASKING.into_iter().chain(ENDING).chain([SIGHUP, SIGXFSZ]))?;
    let release = release.clone();
    guard.serve(signals, move |signal| {
        if signal == SIGUSR1 {
            release.request();
        }
    })?;
    Ok(guard)
}

fn refused(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Internal, "cannot handle signals").caused_by(error)
}

/// Gives the signals back when dropped.
pub struct SignalGuard {
    handle: Handle,
    ids: Vec<signal_hook::SigId>,
    listener: Option<JoinHandle<()>>,
}

impl SignalGuard {
    /// Listens to these, and to every real-time signal that may be had.
    fn add(&self, signals: impl IntoIterator<Item = i32>) -> Result<()> {
        for signal in signals {
            self.handle.add_signal(signal).map_err(refused)?;
        }
        for signal in REAL_TIME {
            // A refusal is the C library's, which keeps that one.
            _ = self.handle.add_signal(signal);
        }
        Ok(())
    }

    /// Calls `attend` for each signal, in a thread of its own.
    fn serve(&mut self, mut signals: Signals, attend: impl Fn(i32) + Send + 'static) -> Result<()> {
        let body = move || signals.forever().for_each(attend);
        self.listener = Some(thread::Builder::new().name("signals".to_owned()).spawn(body).map_err(refused)?);
        Ok(())
    }
}

impl Drop for SignalGuard {
    fn drop(&mut self) {
        self.handle.close();
        for id in self.ids.drain(..) {
            signal_hook::low_level::unregister(id);
        }
        if let Some(listener) = self.listener.take()
            && listener.join().is_err()
        {
            log::error!("the signal thread panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_hangup_does_is_decided_by_the_terminal_and_what_was_ignored() {
        let status = |mask: &str| format!("Name:\tzoomgate\nSigBlk:\t0000000000000000\nSigIgn:\t{mask}\n");
        let stat = |terminal: i32| format!("7 (a ) b) S 1 7 7 {terminal} -1 4194304");
        for (mask, terminal, hangup) in [
            ("0000000000001000", 34816, Hangup::Ends),
            ("0000000000001000", 0, Hangup::Reopens),
            ("0000000000001001", 34816, Hangup::Ignored),
            ("0000000000000001", 0, Hangup::Ignored),
        ] {
            assert_eq!(Hangup::of(&status(mask), &stat(terminal)), hangup, "{mask}, terminal {terminal}");
        }
        assert_eq!(Hangup::of("", ""), Hangup::Ends, "without /proc");
    }
}
