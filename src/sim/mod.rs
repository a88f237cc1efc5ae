//! The simulated belt: rendered parts with ground truth, trigger edges, recorded lines.

pub mod baseline;
pub mod belt;
pub mod camera;
mod defect;
mod product;
pub mod render;
pub mod station;
mod texture;

use std::sync::Arc;

use crate::frame::geometry::Roi;
use crate::frame::picture::Mask;

pub use defect::DefectKind;

/// A rendered part: what the camera sees and what only the closing table may know.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// `[height, width, 3]` u8 RGB.
    pub rgb: Arc<[u8]>,
    /// The defects that were drawn; empty for a good part.
    pub truth: Vec<Defect>,
}

impl Rendered {
    /// The pixels in the rectangles that defects changed.
    pub fn mask(&self) -> Mask {
        let pixels = (0..self.height).flat_map(|y| (0..self.width).map(move |x| (x, y)));
        let is_changed = |(x, y)| self.truth.iter().any(|defect| defect.roi.contains(x, y));
        Mask { width: self.width, height: self.height, pixels: pixels.map(is_changed).collect() }
    }
}

/// One drawn defect.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Defect {
    /// `scratch`, `dent`, `stain`, `missing_hole`…
    pub kind: &'static str,
    /// Its bounding rectangle in frame pixels.
    pub roi: Roi,
    /// Its longer extent as a fraction of the frame's width.
    pub width_fraction: f64,
}

/// Renders the part with this index; a pure function of the index, so that a part looks the same whenever it is asked
/// for.
pub trait PartSource: Send + Sync {
    /// Renders part `index`.
    fn render(&self, index: u64) -> Rendered;
}
