//! Bounded links between threads. Nothing here blocks or grows: a full link gives the item back, and the caller says
//! what that means for the part.
//!
//! A short lock rather than a lock-free ring: the newest item must be able to push out the oldest. It is one that lends
//! priority, so that `act` never waits for a thread that the machine has set aside.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::clock::{Clock, WakeToken};
use crate::lock::{Lock, LockGuard};

/// A bounded FIFO to one reading thread, whose token it wakes.
pub struct Link<T> {
    state: Lock<State<T>>,
    capacity: usize,
    clock: Arc<dyn Clock>,
    reader: WakeToken,
}

struct State<T> {
    items: VecDeque<T>,
    closed: bool,
}

/// What a link had for its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next<T> {
    /// The oldest item.
    Item(T),
    /// Nothing yet.
    Empty,
    /// Nothing, and nothing will come.
    Closed,
}

impl<T> Link<T> {
    /// An empty link for at most `capacity` items (at least 1); allocates once.
    pub fn new(capacity: usize, clock: Arc<dyn Clock>, reader: WakeToken) -> Self {
        let capacity = capacity.max(1);
        let state = State { items: VecDeque::with_capacity(capacity), closed: false };
        Self { state: Lock::new(state), capacity, clock, reader }
    }

    /// Appends an item and wakes the reader.
    ///
    /// # Errors
    /// Returns the item when the link is full or closed.
    pub fn try_push(&self, item: T) -> Result<(), T> {
        let mut state = self.state();
        if state.closed || state.items.len() >= self.capacity {
            return Err(item);
        }
        state.items.push_back(item);
        drop(state);
        self.clock.wake(&self.reader);
        Ok(())
    }

    /// Appends an item, wakes the reader, and returns the oldest item if it had to go for this one.
    pub fn push_evicting(&self, item: T) -> Option<T> {
        let mut state = self.state();
        let evicted = if state.items.len() >= self.capacity { state.items.pop_front() } else { None };
        state.items.push_back(item);
        drop(state);
        self.clock.wake(&self.reader);
        evicted
    }

    /// Takes the oldest item that `is_wanted` back from the reader, who has not taken it yet.
    pub fn withdraw(&self, is_wanted: impl FnMut(&T) -> bool) -> Option<T> {
        let mut state = self.state();
        let at = state.items.iter().position(is_wanted)?;
        state.items.remove(at)
    }

    /// Takes the oldest item.
    pub fn next(&self) -> Next<T> {
        let mut state = self.state();
        match state.items.pop_front() {
            Some(item) => Next::Item(item),
            None if state.closed => Next::Closed,
            None => Next::Empty,
        }
    }

    /// Ends the link: what is in it can still be taken, nothing can be added.
    pub fn close(&self) {
        self.state().closed = true;
        self.clock.wake(&self.reader);
    }

    /// Drops everything in the link and returns how many items that were.
    pub fn clear(&self) -> usize {
        let mut state = self.state();
        let dropped = state.items.len();
        state.items.clear();
        dropped
    }

    /// No user code runs under this lock, so that it always guards a consistent queue.
    fn state(&self) -> LockGuard<'_, State<T>> {
        self.state.hold()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::MonotonicClock;

    fn link(capacity: usize) -> Link<u32> {
        Link::new(capacity, Arc::new(MonotonicClock), WakeToken::new())
    }

    #[test]
    fn a_full_link_gives_the_item_back() {
        let link = link(2);
        assert_eq!((link.try_push(1), link.try_push(2), link.try_push(3)), (Ok(()), Ok(()), Err(3)));
        assert_eq!((link.next(), link.next(), link.next()), (Next::Item(1), Next::Item(2), Next::Empty));
    }

    #[test]
    fn the_newest_pushes_out_the_oldest() {
        let link = link(2);
        assert_eq!((link.push_evicting(1), link.push_evicting(2), link.push_evicting(3)), (None, None, Some(1)));
        assert_eq!(link.next(), Next::Item(2));
    }

    #[test]
    fn a_closed_link_can_be_emptied() {
        let link = link(2);
        link.try_push(1).unwrap();
        link.close();
        assert_eq!(link.try_push(2), Err(2));
        assert_eq!((link.next(), link.next()), (Next::Item(1), Next::Closed));
    }
}
