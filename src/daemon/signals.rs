//! Signals: the first one asks the run to end, the second one ends the process.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::{self, JoinHandle};

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::Stop;

/// Requests `stop` on the first SIGTERM or SIGINT and ends the process on the second; until the guard is dropped.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn stop_on_signals(stop: &Stop) -> Result<SignalGuard> {
    let refused = |e| Error::new(ErrorKind::Internal, "cannot handle SIGTERM and SIGINT").caused_by(e);
    let asked = Arc::new(AtomicBool::new(false));
    let mut ids = Vec::new();
    for signal in [SIGTERM, SIGINT] {
        // In this order: the first signal finds the flag down and only raises it.
        let shutdown = signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&asked));
        ids.push(shutdown.map_err(refused)?);
        ids.push(signal_hook::flag::register(signal, Arc::clone(&asked)).map_err(refused)?);
    }
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT]).map_err(refused)?;
    let handle = signals.handle();
    let stop = stop.clone();
    let listener = thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            log::info!("signal {signal}: ending in order; a second one ends at once");
            stop.request();
        }
    });
    Ok(SignalGuard { handle, ids, listener: Some(listener.map_err(refused)?) })
}

/// Gives the signals back when dropped.
pub struct SignalGuard {
    handle: signal_hook::iterator::Handle,
    ids: Vec<signal_hook::SigId>,
    listener: Option<JoinHandle<()>>,
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
