//! Raw sensors: one colour a pixel, the other two from the nearest neighbours that have them (bilinear).
//!
//! Beyond the edge the mosaic is mirrored around its outermost pixels, which keeps its colours in step. White balance
//! and gamma are the sensor's or the model's business: what was taught in raw colours runs in raw colours.

use super::{Packing, Raw};
use crate::frame::kernels::mosaic::{self as kernels, Samples};

/// The colours of the first two pixels of the first two lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mosaic {
    /// `R G` over `G B`.
    Rggb,
    /// `G R` over `B G`.
    Grbg,
    /// `G B` over `R G`.
    Gbrg,
    /// `B G` over `G R`.
    Bggr,
}

impl Mosaic {
    /// Column and line of the first red pixel.
    fn red(self) -> (usize, usize) {
        match self {
            Self::Rggb => (0, 0),
            Self::Grbg => (1, 0),
            Self::Gbrg => (0, 1),
            Self::Bggr => (1, 1),
        }
    }
}

/// Fills `out` from the mosaic.
pub(super) fn demosaic(raw: &Raw<'_>, mosaic: Mosaic, packing: Packing, size: (usize, usize), out: &mut [u8]) {
    let (width, height) = size;
    let samples = match packing {
        Packing::Bits8 => Samples::Bytes,
        Packing::Words10 => Samples::Words { shift: 2 },
        Packing::Words12 => Samples::Words { shift: 4 },
        Packing::Packed10 => Samples::Fours,
        Packing::Packed12 => Samples::Twos,
    };
    let (red_x, red_y) = mosaic.red();
    for (y, pixels) in out.chunks_exact_mut(width * 3).enumerate() {
        let (above, below) = kernels::neighbours(y, height);
        let lines = [above, y, below].map(|n| raw.line(n));
        let is_red_line = (y ^ red_y) & 1 == 0;
        // Blue stands in the other columns than red.
        let is_odd = (red_x == 1) == is_red_line;
        kernels::demosaic(lines, samples, is_red_line, is_odd, pixels);
    }
}
