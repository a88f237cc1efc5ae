//! The thread `watch`: reads the heartbeats, tells the service manager, and ends a run that makes no progress.
//!
//! It runs only where somebody listens (`NOTIFY_SOCKET` is set), takes no lock that the line takes, and is the only
//! thread that writes to the service manager's socket: whatever that does, the line does not wait.
//! The first fault of each kind also goes to the journal under the identifier that `systemd/zoomgate.catalog` explains.
//! What to say is decided in [`telemetry::watchdog`](crate::telemetry::watchdog); here it is said.
//!
//! A stall is reported (`SUP-02`). With a watchdog it also ends the run: a loop that still turns settles the parts on the
//! belt and puts the outputs to rest, then the service manager is asked to restart the program. Where the loop hangs
//! itself, `ExecStopPost` of the unit puts the lines to rest.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sd_notify::NotifyState;

use crate::error::{Error, ErrorKind};
use crate::pipeline::Shared;
use crate::pipeline::recording::Note;
use crate::telemetry::watchdog::{Limits, Say, Stale, Watchdog};
use crate::telemetry::{Counters, Fault, status};

/// The thread's name.
pub(super) const NAME: &str = "watch";

/// The least time between two `STATUS=` lines that differ.
const STATUS_PERIOD: Duration = Duration::from_secs(1);

/// Sends a datagram of states.
pub type Send = Box<dyn FnMut(&[NotifyState<'_>]) -> io::Result<()> + std::marker::Send>;

/// The service manager, as far as it listens.
pub struct Notifier {
    send: Send,
    period: Option<Duration>,
    journal: Option<UnixDatagram>,
    journalled: [bool; Fault::ALL.len()],
}

/// Where journald takes entries with fields (systemd, "Native Journal Protocol").
const JOURNAL: &str = "/run/systemd/journal/socket";

impl Notifier {
    /// The one that started this process, if there is one: `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    pub fn from_environment() -> Option<Self> {
        std::env::var_os("NOTIFY_SOCKET")?;
        let notifier = Self::new(Box::new(sd_notify::notify), sd_notify::watchdog_enabled());
        if std::env::var_os("JOURNAL_STREAM").is_none() {
            return Some(notifier);
        }
        let with_journal = Self::new(Box::new(sd_notify::notify), notifier.period).with_journal(Path::new(JOURNAL));
        Some(with_journal.unwrap_or_else(|error| {
            log::warn!("faults will not be explained in the journal: {error}");
            notifier
        }))
    }

    /// One that is reached through `send` and restarts what has not fed its watchdog for `period`.
    pub fn new(send: Send, period: Option<Duration>) -> Self {
        Self { send, period, journal: None, journalled: [false; Fault::ALL.len()] }
    }

    /// The same, with a journal that listens at `socket`.
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn with_journal(mut self, socket: &Path) -> io::Result<Self> {
        let journal = UnixDatagram::unbound()?;
        journal.connect(socket)?;
        self.journal = Some(journal);
        Ok(self)
    }

    /// Writes the first fault of each kind to the journal.
    fn journal_faults(&mut self, counters: &Counters) {
        let Some(journal) = &self.journal else { return };
        for (fault, was_told) in Fault::ALL.into_iter().zip(&mut self.journalled) {
            if *was_told || counters.faults[fault as usize].load(Ordering::Relaxed) == 0 {
                continue;
            }
            *was_told = true;
            let (code, name, id) = (fault.code(), fault.name(), fault.message_id());
            let entry = format!(
                "PRIORITY=4\nSYSLOG_IDENTIFIER=zoomgate\nMESSAGE_ID={id}\nZOOMGATE_CODE={code}\nMESSAGE={code} {name}\n"
            );
            if let Err(error) = journal.send(entry.as_bytes()) {
                log::warn!("cannot write {code} to the journal: {error}");
            }
        }
    }

    fn tell(&mut self, states: &[NotifyState<'_>]) {
        if let Err(error) = (self.send)(states) {
            log::warn!("cannot tell the service manager {states:?}: {error}");
        }
    }
}

/// Watches until the events are written.
pub(super) fn watch(shared: &Shared, limits: Limits, mut notifier: Notifier) {
    let mut dog = Watchdog::new(limits, notifier.period);
    let mut told = (String::new(), None);
    while !shared.rec_finished() {
        // A loop that has nothing to do waits for ever: woken, it turns and shows that it can.
        shared.clock.wake(&shared.act_token);
        let now = shared.clock.now();
        shared.clock.wait(&shared.watch_bell, Some(now + dog.tick()));
        let now = shared.clock.now();
        let is_ending = shared.stopping.load(Ordering::SeqCst) || shared.rec_finished();
        for say in dog.turn(&shared.board.beats.read(), is_ending, now).into_iter().flatten() {
            match say {
                Say::Ready => notifier.tell(&[NotifyState::Ready]),
                Say::Feed => notifier.tell(&[NotifyState::Watchdog]),
                Say::Stopping => notifier.tell(&[NotifyState::Stopping]),
                Say::Stalled(stale) => stalled(shared, stale, notifier.period),
                Say::Recovered(stale) => log::info!("{} makes progress again", stale.as_str()),
                Say::Trigger => notifier.tell(&[NotifyState::WatchdogTrigger]),
            }
        }
        notifier.journal_faults(&shared.counters);
        let is_due = told.1.is_none_or(|at| now.since(at) >= STATUS_PERIOD);
        let line = if is_due { status::sentence(&shared.board, now) } else { String::new() };
        if is_due && line != told.0 {
            notifier.tell(&[NotifyState::Status(&line)]);
            told = (line, Some(now));
        }
    }
}

fn stalled(shared: &Shared, stale: Stale, period: Option<Duration>) {
    let what = stale.as_str();
    let next = match stale {
        Stale::Camera => "check its cable and `zoomgate doctor`",
        Stale::Inspection => "the recipe may be too large for this board: see the latencies of `zoomgate status`",
        Stale::Actuation => "an output line may block: see `zoomgate doctor`",
    };
    let message = format!("{what} makes no progress; {next}");
    shared.counters.count_fault(Fault::Stalled);
    log::error!("{} {message}", Fault::Stalled.code());
    let at = shared.clock.now();
    if shared
        .notes
        .try_push(Note::Fault { fault: Fault::Stalled, at, part: None, message: message.clone().into() })
        .is_err()
    {
        Counters::add(&shared.counters.events_lost);
    }
    if period.is_some() {
        shared.fail(Error::new(ErrorKind::Timeout, message));
    }
}
