//! The camera as a state: up and streaming, or down and opened again at the next grab.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::timing::{Numbering, Stamp};
use crate::camera::convert::{Colour, PixelFormat, Unconvertible, convert};
use crate::camera::{BrokenFrame, Camera, CameraFault, Grab};
use crate::clock::{Clock, Timestamp, WakeToken};
use crate::error::{Error, ErrorKind, Result};
use crate::frame::{Frame, Pool};

/// The longest wait for a frame in one grab: a driver cannot be woken by a token, so that the run's end and the watchdog
/// get an answer ten times a second instead.
pub const WAIT: Duration = Duration::from_millis(100);

/// What the camera needs of a device. Implemented over the kernel's calls by `Device`, and by tests.
pub trait Driver: Send {
    /// Opens the device, sets format, rate and controls as configured, and starts the stream. Closes it first if it is
    /// open.
    ///
    /// # Errors
    /// When the device is not there, is held by another program, or does not offer what is configured.
    fn open(&mut self) -> Result<Opened>;

    /// Waits at most `timeout` for a frame. The bytes stay valid until the next call; the buffer goes back to the
    /// driver there.
    ///
    /// # Errors
    /// When the device is gone or fails; it is closed and opened again then.
    fn next(&mut self, timeout: Duration) -> io::Result<Option<RawFrame<'_>>>;

    /// Whether the device's format is no longer the one that was opened.
    fn has_changed(&mut self) -> bool;

    /// Stops the stream and closes the device; nothing happens where it is closed.
    fn close(&mut self);
}

/// The format of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// How the bytes are laid out.
    pub format: PixelFormat,
    /// What they mean.
    pub colour: Colour,
    /// Bytes from one line to the next; 0 without lines or padding.
    pub stride: usize,
}

/// A frame in a driver's buffer.
#[derive(Clone, Copy, Debug)]
pub struct RawFrame<'a> {
    /// What was written.
    pub bytes: &'a [u8],
    /// The driver's count of exposures.
    pub sequence: u32,
    /// The driver's time of it.
    pub stamp: Stamp,
    /// The driver itself says that the bytes are damaged.
    pub is_corrupted: bool,
}

/// What the camera is, apart from its driver.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The device, for messages.
    pub device: PathBuf,
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// After so long without a frame the camera is stalled.
    pub stall: Duration,
    /// Frames that may be on their way at the same time.
    pub frames: usize,
}

/// A V4L2 camera over its [`Driver`].
pub struct V4l2Camera<D> {
    clock: Arc<dyn Clock>,
    driver: D,
    setup: Setup,
    pool: Pool,
    numbering: Numbering,
    state: State,
    is_pool_empty: bool,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Up { stream: Opened, heard_at: Timestamp },
    Down { since: Timestamp },
}

impl<D: Driver> V4l2Camera<D> {
    /// Opens the device and allocates the pool; the stream runs when this returns.
    ///
    /// # Errors
    /// Those of [`Driver::open`].
    pub fn open(clock: Arc<dyn Clock>, mut driver: D, setup: Setup) -> Result<Self> {
        let stream = driver.open()?;
        let bytes = setup.size.0 as usize * setup.size.1 as usize * 3;
        let pool = Pool::new(setup.frames, bytes);
        let state = State::Up { stream, heard_at: clock.now() };
        Ok(Self { clock, driver, setup, pool, numbering: Numbering::default(), state, is_pool_empty: false })
    }

    /// The stream's format, opening the device if it is down.
    fn stream(&mut self) -> Result<Opened> {
        match self.state {
            State::Up { stream, .. } => Ok(stream),
            State::Down { since } => {
                let stream = self.driver.open()?;
                self.numbering.restart();
                let now = self.clock.now();
                self.state = State::Up { stream, heard_at: now };
                log::debug!("{} is open after {:.1} s", self.setup.device.display(), now.since(since).as_secs_f64());
                Ok(stream)
            }
        }
    }

    fn go_down(&mut self, fault: CameraFault, error: Error) -> Grab {
        self.driver.close();
        if let State::Up { .. } = self.state {
            self.state = State::Down { since: self.clock.now() };
        }
        Grab::Fault(fault, error)
    }

    /// No frame within [`WAIT`].
    fn nothing(&mut self) -> Grab {
        let State::Up { heard_at, .. } = self.state else { return Grab::Idle };
        if self.clock.now().since(heard_at) < self.setup.stall {
            return Grab::Idle;
        }
        if self.driver.has_changed() {
            return self.format_changed("its format is no longer the configured one");
        }
        let message = format!(
            "{} has sent no frame for {:.1} s: check its cable, its light and what triggers it, or raise [camera] \
             stall_ms",
            self.setup.device.display(),
            self.setup.stall.as_secs_f64()
        );
        self.go_down(CameraFault::Silent, Error::new(ErrorKind::Timeout, message))
    }

    fn format_changed(&mut self, what: &str) -> Grab {
        let message = format!(
            "{}: {what}; it is opened again as configured: find out what else sets it up",
            self.setup.device.display()
        );
        self.go_down(CameraFault::FormatChanged, Error::new(ErrorKind::Refused, message))
    }
}

impl<D: Driver> Camera for V4l2Camera<D> {
    fn grab(&mut self, _bell: &WakeToken) -> Grab {
        let stream = match self.stream() {
            Ok(stream) => stream,
            Err(error) => return self.go_down(CameraFault::Disconnected, error),
        };
        let device = &self.setup.device;
        let raw = match self.driver.next(WAIT) {
            Ok(Some(raw)) => raw,
            Ok(None) => return self.nothing(),
            Err(cause) => {
                let message = format!("{} is gone or fails: check its cable and its power", device.display());
                let error = Error::new(ErrorKind::Disconnected, message).caused_by(cause);
                return self.go_down(CameraFault::Disconnected, error);
            }
        };
        let dequeued_at = self.clock.now();
        self.state = State::Up { stream, heard_at: dequeued_at };
        let Some(exposure_at) = raw.stamp.instant() else {
            let message = format!(
                "{} stamps its frames by another clock than CLOCK_MONOTONIC ({:?}), so that none can be matched with \
                 its part: use another driver or camera",
                device.display(),
                raw.stamp
            );
            return self.go_down(CameraFault::UnknownClock, Error::new(ErrorKind::Refused, message));
        };
        let id = self.numbering.number(raw.sequence);
        let broken = |what: String| {
            let message = format!("frame {} of {} {what}: check the cable and the bus", id.0, device.display());
            Grab::Broken(BrokenFrame { id, exposure_at, error: Error::new(ErrorKind::Corrupt, message) })
        };
        if raw.is_corrupted {
            return broken("arrived damaged, says its driver".to_owned());
        }
        let size = self.setup.size;
        let fill = |out: &mut [u8]| convert(stream.format, stream.colour, size, stream.stride, raw.bytes, out);
        let lent = self.pool.lend(fill);
        let was_empty = std::mem::replace(&mut self.is_pool_empty, lent.is_none());
        match lent {
            Some(Ok(rgb)) => {
                let (width, height) = size;
                Grab::Frame(Frame { id, exposure_at, dequeued_at, width, height, rgb })
            }
            None => {
                // The first of a row is news; the lost ones are counted where their numbers are missed.
                if !was_empty {
                    let count = self.pool.count();
                    log::warn!("all {count} frame buffers are in use: frames are lost until the inspection catches up");
                }
                Grab::Idle
            }
            Some(Err(why @ Unconvertible::Size { .. })) => self.format_changed(&format!("frame {} {why}", id.0)),
            Some(Err(why)) => {
                let grab = broken(why.to_string());
                if self.driver.has_changed() {
                    return self.format_changed(&format!("frame {} {why}", id.0));
                }
                grab
            }
        }
    }
}

#[cfg(test)]
mod tests;
