//! The thread `status`: a local socket on which anybody may ask the running daemon how it is.
//!
//! One JSON object a connection. Nothing is read and nobody is waited for: the object is smaller than the kernel's
//! buffer of a local socket, so that one write that does not block hands it over, and the connection is closed. A client
//! that reads slowly, not at all, or writes megabytes holds nothing up. What is left to a hostile one is to connect
//! again and again, so [`CONNECTIONS_MAX`] are served in a [`PAUSE`], and the others wait in the kernel's queue.

use std::io::{self, ErrorKind, Write};
use std::net::Shutdown;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::clock::{Clock, Timestamp};
use crate::error::{Error, Result};
use crate::telemetry::board::Board;
use crate::telemetry::status::Status;

/// Where the socket is unless the configuration says otherwise; the unit makes the folder.
pub const DEFAULT: &str = "/run/zoomgate/status.sock";

/// Connections served before the thread pauses.
pub const CONNECTIONS_MAX: u32 = 8;
/// The pause. Chosen: 80 connections a second are 1 % of a core.
pub const PAUSE: Duration = Duration::from_millis(100);

/// The socket of a running daemon; closed and removed when dropped.
pub struct StatusSocket {
    path: PathBuf,
    wake: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl StatusSocket {
    /// Opens the socket and serves it from a thread of its own.
    ///
    /// # Errors
    /// `Busy` when another daemon answers there; when the folder cannot be written.
    pub fn open(path: &Path, board: Arc<Board>, clock: Arc<dyn Clock>) -> Result<Self> {
        let refused = |error| Error::io("open the status socket", path, error);
        clear(path)?;
        let listener = UnixListener::bind(path).map_err(refused)?;
        // From here on the file is ours, and goes however this ends.
        let mut socket = Self { path: path.to_owned(), wake: None, thread: None };
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(refused)?;
        listener.set_nonblocking(true).map_err(refused)?;
        let (ours, theirs) = UnixStream::pair().map_err(refused)?;
        let thread = thread::Builder::new().name("status".to_owned());
        let thread = thread.spawn(move || serve(&listener, &theirs, &board, &*clock)).map_err(refused)?;
        (socket.wake, socket.thread) = (Some(ours), Some(thread));
        Ok(socket)
    }
}

impl Drop for StatusSocket {
    fn drop(&mut self) {
        // The other end sees that this one is closed, and ends.
        drop(self.wake.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            log::error!("the status thread panicked");
        }
        _ = std::fs::remove_file(&self.path);
    }
}

/// The socket that a configuration asks for; the default only where its folder is there.
pub fn path(configured: Option<&Path>) -> Option<PathBuf> {
    let default = Path::new(DEFAULT);
    let folder_exists = default.parent().is_some_and(Path::is_dir);
    configured.or(folder_exists.then_some(default)).map(Path::to_owned)
}

/// Removes what a killed daemon left; never a file that is no socket, nor a socket that answers.
fn clear(path: &Path) -> Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {}
        _ => return Ok(()),
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(|e| Error::io("remove the old status socket", path, e))
        }
        _ => Err(Error::io("open the status socket", path, ErrorKind::ResourceBusy.into())),
    }
}

fn serve(listener: &UnixListener, wake: &UnixStream, board: &Board, clock: &dyn Clock) {
    let mut served = (0, Timestamp::ZERO);
    loop {
        let is_over = if served.0 < CONNECTIONS_MAX {
            let mut fds = [PollFd::new(wake, PollFlags::IN), PollFd::new(listener, PollFlags::IN)];
            poll(&mut fds, None).is_ok() && !fds[0].revents().is_empty()
        } else {
            let pause = Timespec::try_from(PAUSE).expect("a tenth of a second fits every timespec");
            served.0 = 0;
            let mut fds = [PollFd::new(wake, PollFlags::IN)];
            poll(&mut fds, Some(&pause)).is_ok() && !fds[0].revents().is_empty()
        };
        if is_over {
            return;
        }
        match listener.accept() {
            Ok((client, _)) => {
                let now = clock.now();
                served = if now.since(served.1) > PAUSE { (1, now) } else { (served.0 + 1, served.1) };
                if let Err(error) = answer(client, &Status::of(board, now)) {
                    log::debug!("a status client got no answer: {error}");
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => {
                // Out of descriptors, say: the pause keeps the thread from spinning.
                log::debug!("a status client was not accepted: {error}");
                served.0 = CONNECTIONS_MAX;
            }
        }
    }
}

fn answer(mut client: UnixStream, status: &Status) -> io::Result<()> {
    client.set_nonblocking(true)?;
    let mut text = serde_json::to_vec(status)?;
    text.push(b'\n');
    client.write_all(&text)?;
    client.shutdown(Shutdown::Write)
}
