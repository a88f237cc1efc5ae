//! Frames: pixels with the time they were exposed at.

pub mod augmentation;
pub mod geometry;
pub mod kernels;
pub mod motion;
pub mod picture;
pub mod pool;
pub mod quality;

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::units::FrameId;

pub use pool::Pool;
pub use quality::Quality;

/// The grey of a pixel, 0 to 255: green counts twice, as it does for the eye and in a Bayer pattern.
pub const fn grey([red, green, blue]: [u8; 3]) -> u8 {
    ((red as u16 + 2 * green as u16 + blue as u16) / 4) as u8
}

/// One picture from a camera, cheap to clone.
///
/// Pixels are interleaved RGB, 8 bits a channel, row-major, no padding: `rgb.len() == width * height * 3`.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Counted by the camera from 0.
    pub id: FrameId,
    /// When the exposure happened (CLOCK_MONOTONIC).
    pub exposure_at: Timestamp,
    /// When we took it from the driver (CLOCK_MONOTONIC).
    pub dequeued_at: Timestamp,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// `[height, width, 3]` u8 RGB; a camera's come from a [`Pool`] and go back when the last clone is dropped.
    pub rgb: Arc<[u8]>,
}

impl Frame {
    /// A frame that did not come from a camera: a picture from disk, a synthetic part. Both times are zero.
    ///
    /// # Panics
    /// If `rgb` is not `width * height * 3` bytes long.
    pub fn still(width: u32, height: u32, rgb: impl Into<Arc<[u8]>>) -> Self {
        let rgb = rgb.into();
        assert_eq!(rgb.len(), width as usize * height as usize * 3, "RGB frame of {width}x{height}");
        Self { id: FrameId(0), exposure_at: Timestamp::ZERO, dequeued_at: Timestamp::ZERO, width, height, rgb }
    }
    /// Without a pixel, to be [overwritten](Self::overwrite).
    pub fn empty() -> Self {
        Self::still(0, 0, [])
    }

    /// Its pixels, of this size, to be written over: what is in them may be anything. Allocates only where they are shared
    /// or were of another size.
    pub fn overwrite(&mut self, width: u32, height: u32) -> &mut [u8] {
        let bytes = width as usize * height as usize * 3;
        if self.rgb.len() != bytes || Arc::get_mut(&mut self.rgb).is_none() {
            self.rgb = vec![0; bytes].into();
        }
        (self.width, self.height) = (width, height);
        Arc::get_mut(&mut self.rgb).expect("nobody else has it")
    }
}
