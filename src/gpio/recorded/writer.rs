//! The record's file, written by a thread of its own (`edges`): a disk that stalls never holds up who drives a line.
//!
//! What waits for the disk is bounded. An edge that finds no room, or that the disk does not take, is counted, and said
//! twice: whoever sets a level next gets it as the line's fault, and the log has the number at the end.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde::Serialize;

use crate::clock::{Clock, MonotonicClock, Timestamp, WakeToken};
use crate::error::{Error, ErrorKind, Result};
use crate::gpio::Level;
use crate::lock::Lock;

/// Edges that can wait for the disk. Chosen: minutes of a fast belt.
pub(super) const EDGES: usize = 4096;

/// How long who ends waits for a disk. Chosen: an SD card that cleans up takes seconds, a server that is gone for ever.
const PATIENCE: Duration = Duration::from_secs(10);

/// A change of a line; what is cloned of it allocates nothing.
type Change = (Timestamp, Arc<str>, Level);

/// A record as it stands in the file.
#[derive(Serialize)]
struct Written<'a> {
    t_ns: u64,
    line: &'a str,
    level: u8,
}

/// The end that takes changes. When it is dropped every one of them has been written, or the log says what is missing.
pub(super) struct Writer(Arc<Desk>);

struct Desk {
    state: Lock<State>,
    token: WakeToken,
    /// Changes that the thread is done with, and whether it has ended.
    done: (Mutex<(u64, bool)>, Condvar),
}

struct State {
    waiting: VecDeque<Change>,
    taken: u64,
    lost: u64,
    /// Why the disk did not take something, until somebody was told.
    failure: Option<String>,
    /// What takes all that is handed on from now on, and some of what waits.
    next: Option<Box<dyn Write + Send>>,
    closed: bool,
}

impl Writer {
    /// Starts the thread; `out` gets whole lines.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(super) fn start(out: Box<dyn Write + Send>) -> Result<Self> {
        let waiting = VecDeque::with_capacity(EDGES);
        let state = State { waiting, taken: 0, lost: 0, failure: None, next: None, closed: false };
        let desk = Arc::new(Desk { state: Lock::new(state), token: WakeToken::new(), done: Default::default() });
        let theirs = Arc::clone(&desk);
        let started = thread::Builder::new().name("edges".to_owned()).spawn(move || theirs.work(out));
        started.map_err(|error| {
            let message = "cannot start the thread of the GPIO record: check the limits on threads and memory";
            Error::new(ErrorKind::Internal, message).caused_by(error)
        })?;
        Ok(Self(desk))
    }

    /// Hands a change on, stamped by `clock`; waits for no disk and allocates nothing.
    ///
    /// # Errors
    /// When there is no room for it, or the disk did not take an earlier one.
    pub(super) fn push(&self, clock: &dyn Clock, line: &Arc<str>, level: Level) -> std::result::Result<(), String> {
        let mut state = self.0.state.hold();
        if state.waiting.len() == EDGES {
            state.lost += 1;
            return Err(format!("{EDGES} edges wait for the disk and this one is not recorded"));
        }
        // Stamped under the lock: the order of the file is the order of the times.
        let change = (clock.now(), Arc::clone(line), level);
        state.waiting.push_back(change);
        state.taken += 1;
        let failure = state.failure.take();
        drop(state);
        MonotonicClock.wake(&self.0.token);
        failure.map_or(Ok(()), Err)
    }

    /// Goes on in another file; each change is in one of them.
    pub(super) fn go_on_in(&self, out: Box<dyn Write + Send>) {
        self.0.state.hold().next = Some(out);
        MonotonicClock.wake(&self.0.token);
    }

    /// Waits until all that was handed on is on the disk. Not for a thread that must be on time.
    ///
    /// # Errors
    /// When the disk did not take it, or hangs.
    pub(super) fn flush(&self) -> std::result::Result<(), String> {
        let taken = self.0.state.hold().taken;
        if !self.0.await_done(|done, ended| done >= taken || ended) {
            return Err(format!("the disk takes nothing for {PATIENCE:?}"));
        }
        self.0.state.hold().failure.take().map_or(Ok(()), Err)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.state.hold().closed = true;
        MonotonicClock.wake(&self.0.token);
        let has_ended = self.0.await_done(|_, ended| ended);
        let State { waiting, lost, .. } = &*self.0.state.hold();
        let missing = lost + waiting.len() as u64;
        if !has_ended {
            log::error!("the GPIO record lacks its last edges: the disk takes nothing for {PATIENCE:?}; check it");
        } else if missing > 0 {
            log::error!("the GPIO record lacks {missing} edges: free some space, or use a faster disk");
        }
    }
}

impl Desk {
    fn await_done(&self, is_enough: impl Fn(u64, bool) -> bool) -> bool {
        let (done, more) = &self.done;
        let done = done.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = more.wait_timeout_while(done, PATIENCE, |(done, ended)| !is_enough(*done, *ended));
        let (done, ended) = *waited.unwrap_or_else(PoisonError::into_inner).0;
        is_enough(done, ended)
    }

    fn tell(&self, change: impl FnOnce(&mut (u64, bool))) {
        let (done, more) = &self.done;
        change(&mut done.lock().unwrap_or_else(PoisonError::into_inner));
        more.notify_all();
    }

    /// Writes until there is nothing left and nothing will come.
    fn work(&self, mut out: Box<dyn Write + Send>) {
        let mut batch = VecDeque::with_capacity(EDGES);
        let mut text = Vec::new();
        let mut is_torn = false;
        loop {
            let mut state = self.state.hold();
            std::mem::swap(&mut state.waiting, &mut batch);
            let next = state.next.take();
            let is_over = state.closed && batch.is_empty();
            drop(state);
            if let Some(next) = next {
                // Before the batch: the old file may have been taken away already.
                (out, is_torn) = (next, false);
            }
            if is_over {
                return self.tell(|(_, ended)| *ended = true);
            }
            if batch.is_empty() {
                MonotonicClock.wait(&self.token, None);
                continue;
            }
            let count = batch.len() as u64;
            text.clear();
            if is_torn {
                // What was written of a line that failed must not spoil the next one.
                text.push(b'\n');
            }
            for (at, line, level) in batch.drain(..) {
                let written = Written { t_ns: at.0, line: &line, level: u8::from(level == Level::High) };
                serde_json::to_writer(&mut text, &written).expect("a record has nothing that JSON cannot hold");
                text.push(b'\n');
            }
            let outcome = out.write_all(&text).and_then(|()| out.flush());
            is_torn = outcome.is_err();
            if let Err(error) = outcome {
                let mut state = self.state.hold();
                state.lost += count;
                state.failure = Some(format!("{error}; {} edges are not recorded", state.lost));
            }
            self.tell(|(done, _)| *done += count);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;
    use crate::clock::SimClock;

    /// A disk that takes a write only when it is told to, and then everything.
    struct Slow {
        go: Receiver<()>,
        told: Sender<Vec<u8>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            // Let go of: it works again.
            _ = self.go.recv();
            _ = self.told.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn levels() -> impl Iterator<Item = Level> {
        [Level::High, Level::Low].into_iter().cycle()
    }

    #[test]
    fn a_disk_that_stalls_holds_nobody_up_and_every_edge_that_found_room_is_on_it_in_the_end() {
        let ((go, gone), (told, written)) = (channel(), channel());
        let writer = Writer::start(Box::new(Slow { go: gone, told })).unwrap();
        let (clock, line): (_, Arc<str>) = (SimClock::new(), "reject".into());
        // One batch is in the disk's hands, and as many edges as there is room for wait; one more does not.
        let pushed: Vec<_> = levels().take(2 * EDGES + 1).map(|level| writer.push(&clock, &line, level)).collect();
        let refused = pushed.iter().filter(|outcome| outcome.is_err()).count();
        assert!((1..=EDGES + 1).contains(&refused), "{refused}");
        assert!(pushed.iter().flat_map(|outcome| outcome.as_ref().err()).all(|why| why.contains("not recorded")));
        drop(go);
        drop(writer);
        let text: Vec<u8> = written.iter().flatten().collect();
        assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 2 * EDGES + 1 - refused);
    }

    #[test]
    fn what_the_disk_does_not_take_is_said_to_whoever_sets_a_level_next() {
        struct Full(u32);
        impl Write for Full {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0 += 1;
                if self.0 == 2 { Err(std::io::ErrorKind::StorageFull.into()) } else { Ok(bytes.len()) }
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let writer = Writer::start(Box::new(Full(0))).unwrap();
        let (clock, line): (_, Arc<str>) = (SimClock::new(), "reject".into());
        let push = |level| writer.push(&clock, &line, level);
        push(Level::Low).unwrap();
        writer.flush().unwrap();
        push(Level::High).unwrap();
        let why = writer.flush().unwrap_err();
        assert!(why.contains("1 edges are not recorded"), "{why}");
        push(Level::Low).unwrap();
        writer.flush().expect("a disk that has room again is used again");
    }
}
