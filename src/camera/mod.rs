//! Cameras: the trait that hardware, folder replay and the simulated belt implement, and their settings.
//!
//! A broken frame is not an error and a silent camera is not a broken one: [`Grab`] tells them apart, because each
//! means something else for the parts on the belt. Called from `cap` only.

pub mod convert;
pub mod folder;
pub mod part_centre;
pub mod tripwire;
pub mod v4l2;

use std::fmt;
use std::path::PathBuf;

use crate::clock::{Timestamp, WakeToken};
use crate::error::Error;
use crate::frame::Frame;
use crate::units::FrameId;

pub use folder::FolderCamera;
pub use tripwire::Tripwire;

/// `[camera]` as used.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Where frames come from.
    pub source: Source,
    /// Frame width in pixels; `run` refuses a frame of another size.
    pub width: u32,
    /// Frame height in pixels.
    pub height: u32,
    /// Frames a second (folder: replay rate; simulated: parts a second; V4L2: the camera's rate).
    pub rate_hz: f64,
}

/// Where frames come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// Replays the pictures below a folder, in byte order of their paths or shuffled by a seed.
    Folder { path: PathBuf, shuffle_seed: Option<u64>, repeat: bool },
    /// Renders parts on a simulated belt; a share of them carry defects.
    Simulated { seed: u64, parts: u64, defect_rate: f64 },
    /// A camera of the Linux kernel; needs a build with the cargo feature `v4l2`.
    V4l2(v4l2::Settings),
}

/// A source of frames.
pub trait Camera: Send {
    /// Waits for the next frame.
    ///
    /// Frames are numbered without gaps by what the camera *exposed*: a number that never arrives is a lost frame.
    /// Returns [`Grab::Idle`] soon after `token` was woken; a device that cannot be woken returns it at least five times
    /// a second. Blocks on nothing but the camera, or the clock.
    fn grab(&mut self, token: &WakeToken) -> Grab;
}

/// What a camera had to say.
#[derive(Debug)]
pub enum Grab {
    /// A frame.
    Frame(Frame),
    /// No frame yet; nothing is wrong.
    Idle,
    /// A frame was exposed but is damaged: its part cannot be inspected.
    Broken(BrokenFrame),
    /// The camera does not deliver; it is asked again after a pause.
    Fault(CameraFault, Error),
    /// There will be no more frames.
    End,
}

/// A frame that was exposed and cannot be used.
#[derive(Debug)]
pub struct BrokenFrame {
    /// Its number.
    pub id: FrameId,
    /// When it was exposed.
    pub exposure_at: Timestamp,
    /// What is wrong with it; names the frame or its file.
    pub error: Error,
}

/// Why a camera does not deliver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CameraFault {
    /// It went away.
    Disconnected,
    /// It is there and has sent nothing for too long.
    Silent,
    /// It changed its format while running.
    FormatChanged,
    /// Its frames are stamped by another clock than ours.
    UnknownClock,
}

impl fmt::Display for CameraFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disconnected => "the camera is disconnected",
            Self::Silent => "the camera sends nothing",
            Self::FormatChanged => "the camera changed its format",
            Self::UnknownClock => "the camera's clock is unknown",
        })
    }
}
