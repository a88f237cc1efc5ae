//! Cameras of the Linux kernel (V4L2): USB cameras, CSI sensors, `vivid`.
//!
//! ```text
//!            offer ─► negotiate ─► choice ┐            sequence ─► timing ─► frame number
//!   device ┤                              ├─► device ┤ stamp    ─► timing ─► exposure, on our clock
//!            offer ─► controls  ─► plan   ┘            bytes    ─► convert ─► pool ─► frame
//! ```
//!
//! Everything that decides is pure and tested without a device: [`negotiate`], [`controls`], [`timing`]. The camera's
//! state ([`camera`]: up, or down and opened again) stands on the [`Driver`] trait. Only `device.rs` and `enumerate.rs`,
//! behind the cargo feature `v4l2`, speak to the kernel. Called from `cap` only.
//!
//! | what happens | what [`Grab`](super::Grab) says | then |
//! |---|---|---|
//! | a frame is corrupted or cut short | `Broken` | the next one |
//! | every buffer of the pool is in use | `Idle`; its number never arrives, so it counts as lost | the next one |
//! | no frame for `stall_ms` | `Fault(Silent)` | opened again |
//! | the device goes away, or refuses | `Fault(Disconnected)` | opened again |
//! | frames of another size or format | `Fault(FormatChanged)` | opened again, with the configured format |
//! | stamps by another clock than ours | `Fault(UnknownClock)` | opened again; such a driver cannot be used |
//!
//! "Opened again" is at the next grab and sets format, rate and controls as at the start.

pub mod camera;
pub mod controls;
#[cfg(feature = "v4l2")]
mod device;
#[cfg(feature = "v4l2")]
mod enumerate;
pub mod negotiate;
pub mod offer;
pub mod timing;

use std::path::PathBuf;
use std::time::Duration;

use super::convert::PixelFormat;

pub use camera::{Driver, Opened, RawFrame, Setup, V4l2Camera};
pub use controls::Controls;
#[cfg(feature = "v4l2")]
pub use device::Device;
#[cfg(feature = "v4l2")]
pub use enumerate::list;
pub use offer::Offer;

/// `[camera]` with `source = "v4l2"`, as used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The device, best by a path below `/dev/v4l/by-id` or `/dev/v4l/by-path`.
    pub device: PathBuf,
    /// The format; `None` takes the best that the camera has at the configured size and rate.
    pub format: Option<PixelFormat>,
    /// What is set and locked.
    pub controls: Controls,
    /// After so long without a frame the camera is taken for stalled.
    pub stall: Duration,
    /// Buffers that the driver fills; one of them is always ours.
    pub buffers: u32,
    /// Whether a new frame with the previous part's bytes is taken for a frozen camera's.
    pub detect_frozen: bool,
}
