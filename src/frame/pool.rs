//! A fixed set of pixel buffers, so that a camera allocates nothing per frame.
//!
//! A buffer is an `Arc<[u8]>` of which the pool keeps one reference for ever. It is free while that is the only one: a
//! frame gives its pixels back by being dropped, wherever its last clone was, and neither a lock nor a message is
//! needed for it. The pool belongs to one thread, the camera's; frames go anywhere.
//!
//! A pool with no free buffer is a value, not a wait and not an allocation: the frame is lost, and its part is
//! uninspected, which is what would have become of it a link later.

use std::sync::Arc;

/// Buffers of one size.
#[derive(Debug)]
pub struct Pool {
    buffers: Vec<Arc<[u8]>>,
}

impl Pool {
    /// `count` buffers of `bytes` each, all touched now so that no frame pays for it later.
    pub fn new(count: usize, bytes: usize) -> Self {
        Self { buffers: (0..count).map(|_| Arc::from(vec![0; bytes])).collect() }
    }

    /// Lets `write` fill a free buffer and lends it; `None` when every buffer is lent.
    ///
    /// What `write` finds in the buffer are old pixels. When it fails, the buffer stays free.
    /// Costs a look at each lent buffer; allocates nothing.
    pub fn lend<E>(&mut self, write: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Option<Result<Arc<[u8]>, E>> {
        // Always from the front: the buffers in use are as few as the belt needs, and warm in the cache.
        for buffer in &mut self.buffers {
            if let Some(pixels) = Arc::get_mut(buffer) {
                return Some(write(pixels).map(|()| Arc::clone(buffer)));
            }
        }
        None
    }

    /// How many buffers there are, lent ones included.
    pub fn count(&self) -> usize {
        self.buffers.len()
    }

    /// How many buffers are free at the moment.
    pub fn free(&self) -> usize {
        self.buffers.iter().filter(|buffer| Arc::strong_count(buffer) == 1).count()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::convert::Infallible;
    use std::sync::mpsc;

    use super::*;

    fn lend(pool: &mut Pool, value: u8) -> Option<Arc<[u8]>> {
        let fill = |pixels: &mut [u8]| {
            pixels.fill(value);
            Ok::<(), Infallible>(())
        };
        pool.lend(fill).map(|lent| lent.unwrap())
    }

    #[test]
    fn a_buffer_comes_back_with_the_last_clone_of_its_pixels() {
        let mut pool = Pool::new(2, 3);
        let first = lend(&mut pool, 1).unwrap();
        let place = first.as_ptr();
        let clone = Arc::clone(&first);
        drop(first);
        assert_eq!((&clone[..], pool.free()), (&[1; 3][..], 1));
        drop(clone);
        assert_eq!((pool.free(), pool.count()), (2, 2));
        assert_eq!(lend(&mut pool, 2).unwrap().as_ptr(), place, "the warm buffer goes first");
    }

    #[test]
    fn an_exhausted_pool_lends_nothing_and_never_grows() {
        let mut pool = Pool::new(2, 1);
        let lent = [lend(&mut pool, 1).unwrap(), lend(&mut pool, 2).unwrap()];
        assert_eq!(lend(&mut pool, 3), None);
        assert_eq!((lent[0][0], lent[1][0], pool.count(), pool.free()), (1, 2, 2, 0));
        drop(lent);
        assert!(lend(&mut pool, 4).is_some());
        assert_eq!(lend(&mut Pool::new(0, 1), 1), None);
    }

    #[test]
    fn a_failed_write_leaves_its_buffer_free() {
        let mut pool = Pool::new(1, 1);
        assert_eq!(pool.lend(|_| Err("cut short")), Some(Err("cut short")));
        assert_eq!(pool.free(), 1);
    }

    #[test]
    fn frames_dropped_in_other_threads_give_their_buffers_back() {
        const FRAMES: usize = 20_000;
        let mut pool = Pool::new(4, 64);
        let (senders, readers): (Vec<_>, Vec<_>) = (0..3)
            .map(|_| {
                let (sender, receiver) = mpsc::sync_channel::<Arc<[u8]>>(2);
                let reader = std::thread::spawn(move || {
                    receiver.into_iter().for_each(|pixels| {
                        // Nobody writes into what is lent: every byte is still of one frame.
                        assert!(pixels.iter().all(|&v| v == pixels[0]), "{pixels:?}");
                    });
                });
                (sender, reader)
            })
            .unzip();
        let (mut lost, mut places) = (0, BTreeSet::new());
        for frame in 0..FRAMES {
            match lend(&mut pool, frame as u8) {
                Some(pixels) => {
                    places.insert(pixels.as_ptr() as usize);
                    senders.iter().for_each(|sender| _ = sender.try_send(Arc::clone(&pixels)));
                }
                None => lost += 1,
            }
        }
        drop(senders);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        assert!(lost < FRAMES, "no frame was lent");
        assert!(places.len() <= 4, "{} buffers", places.len());
        assert_eq!((pool.free(), pool.count()), (4, 4));
    }
}
