//! A few threads that share the convolutions of a graph.

use std::cell::Cell;
use std::sync::Arc;

use rayon::ThreadPoolBuilder;

use crate::error::{Error, ErrorKind, Result};

thread_local! {
    /// How many threads are in the pool that this one belongs to.
    static SIZE: Cell<usize> = const { Cell::new(1) };
}

/// Threads that run one graph at a time together. They sleep when there is nothing to run.
///
/// They have the priority of the thread that makes the pool: outputs, which are SCHED_FIFO, go first, and so does capture,
/// which sleeps nearly always.
#[derive(Debug)]
pub struct ThreadPool(rayon::ThreadPool);

impl ThreadPool {
    /// A pool of `threads`; `None` for a single thread, which works alone.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn with_threads(threads: usize) -> Result<Option<Arc<Self>>> {
        if threads <= 1 {
            return Ok(None);
        }
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("inspect-{i}"))
            .start_handler(move |_| SIZE.set(threads))
            .build();
        pool.map(|pool| Some(Arc::new(Self(pool)))).map_err(|e| {
            Error::new(ErrorKind::Internal, format!("{threads} threads for the model ([model] threads)")).caused_by(e)
        })
    }
}

/// Runs `work` on one of the pool's threads and waits, so that int8 operators in it are shared by all of them; without a
/// pool, on the calling thread.
pub(super) fn run<R: Send>(pool: Option<&ThreadPool>, work: impl FnOnce() -> R + Send) -> R {
    match pool {
        Some(ThreadPool(pool)) => pool.install(work),
        None => work(),
    }
}

/// How many threads the calling one may share its work with, itself among them.
pub(super) fn size() -> usize {
    SIZE.get()
}
