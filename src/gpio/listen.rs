//! Between the thread that waits for a line's edges and the one that makes parts of them: a bounded ring and a bell.
//!
//! An edge is a part, so nothing is ever dropped in silence: a full ring, a gap in the kernel's count or a listener
//! that ended is a fault of the line, which the reader gets after the edges that came before it.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Edge, LineFault, TriggerInput};
use crate::clock::{Bell, Clock, Timestamp};
use crate::lock::{Held, Lock};

/// Edges that can wait to be read, in the kernel and here. Chosen: `act` reads within a millisecond, and no eye that
/// works gives a thousand edges in that time.
pub(super) const EDGES: usize = 1024;

/// A pair that shares one ring.
pub(super) fn ring(line: &str) -> (Teller, Heard) {
    let ring = Arc::new(Ring { line: line.to_owned(), state: Lock::default() });
    (Teller(Arc::clone(&ring)), Heard { ring, guard: None })
}

struct Ring {
    line: String,
    state: Lock<State>,
}

struct State {
    edges: VecDeque<Edge>,
    fault: Option<LineFault>,
    reader: Option<(Arc<dyn Clock>, Bell)>,
}

impl Default for State {
    fn default() -> Self {
        Self { edges: VecDeque::with_capacity(EDGES), fault: None, reader: None }
    }
}

impl Ring {
    /// No panic can happen under this lock that leaves half a change.
    fn state(&self) -> Held<'_, State> {
        self.state.hold()
    }

    /// Changes the state, then wakes the reader.
    fn tell(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        // Rung without the lock: a clock has locks of its own.
        let reader = state.reader.clone();
        drop(state);
        if let Some((clock, bell)) = reader {
            clock.ring(&bell);
        }
    }
}

/// The listener's end. However it ends, the reader is told.
pub(super) struct Teller(Arc<Ring>);

impl Teller {
    /// Hands on an edge; a full ring becomes the line's fault.
    pub(super) fn edge(&self, edge: Edge) {
        self.0.tell(|state| {
            if state.fault.is_some() {
                // What comes after a lost edge cannot be trusted.
            } else if state.edges.len() < EDGES {
                state.edges.push_back(edge);
            } else {
                let message = format!("more than {EDGES} edges wait to be read and further ones are lost");
                state.fault = Some(LineFault { line: self.0.line.clone(), message });
            }
        });
    }

    /// The line can no longer be read; the first reason stays.
    pub(super) fn fault(&self, message: String) {
        self.0.tell(|state| _ = state.fault.get_or_insert(LineFault { line: self.0.line.clone(), message }));
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.fault("nobody listens to it any more".to_owned());
    }
}

/// The reader's end.
pub(super) struct Heard {
    ring: Arc<Ring>,
    guard: Option<Box<dyn Send>>,
}

impl Heard {
    /// Keeps `listener` alive for as long as the input is; it ends when dropped.
    pub(super) fn kept_by(mut self, listener: impl Send + 'static) -> Self {
        self.guard = Some(Box::new(listener));
        self
    }
}

impl TriggerInput for Heard {
    fn next_edge(&mut self, _now: Timestamp) -> Result<Option<Edge>, LineFault> {
        let mut state = self.ring.state();
        match (state.edges.pop_front(), &state.fault) {
            (Some(edge), _) => Ok(Some(edge)),
            (None, Some(fault)) => Err(fault.clone()),
            (None, None) => Ok(None),
        }
    }

    fn next_at(&self) -> Option<Timestamp> {
        None
    }

    fn is_exhausted(&self) -> bool {
        false
    }

    fn attach(&mut self, clock: &Arc<dyn Clock>, bell: &Bell) {
        self.ring.tell(|state| state.reader = Some((Arc::clone(clock), bell.clone())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{MonotonicClock, Wake};
    use crate::gpio::Level;

    fn edge(at: u64) -> Edge {
        Edge { at: Timestamp(at), level: Level::High }
    }

    fn drain(heard: &mut Heard) -> (usize, Option<String>) {
        let mut edges = 0;
        loop {
            match heard.next_edge(Timestamp::NEVER) {
                Ok(Some(_)) => edges += 1,
                Ok(None) => return (edges, None),
                Err(fault) => return (edges, Some(fault.to_string())),
            }
        }
    }

    #[test]
    fn an_edge_rings_and_is_read_once() {
        let (teller, mut heard) = ring("eye");
        let (clock, bell): (Arc<dyn Clock>, _) = (Arc::new(MonotonicClock), Bell::new());
        heard.attach(&clock, &bell);
        clock.wait(&bell, Some(Timestamp::ZERO));
        teller.edge(edge(7));
        assert_eq!(clock.wait(&bell, Some(Timestamp::ZERO)), Wake::Rung);
        assert_eq!(heard.next_edge(Timestamp::NEVER).unwrap(), Some(edge(7)));
        assert_eq!(heard.next_edge(Timestamp::NEVER).unwrap(), None);
    }

    #[test]
    fn a_full_ring_is_a_fault_of_the_line_after_the_edges_before_it() {
        let (teller, mut heard) = ring("eye");
        for at in 0..EDGES as u64 + 5 {
            teller.edge(edge(at));
        }
        let (edges, fault) = drain(&mut heard);
        assert_eq!(edges, EDGES);
        assert!(fault.unwrap().contains("line eye: more than 1024 edges"));
    }

    #[test]
    fn a_listener_that_ends_is_never_taken_for_a_quiet_line() {
        let (teller, mut heard) = ring("eye");
        teller.edge(edge(1));
        drop(teller);
        assert!(matches!(drain(&mut heard), (1, Some(_))));
        let (teller, mut heard) = ring("eye");
        teller.fault("the chip is gone".to_owned());
        drop(teller);
        assert!(drain(&mut heard).1.unwrap().contains("the chip is gone"));
    }
}
