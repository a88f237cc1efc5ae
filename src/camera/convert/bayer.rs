//! Raw sensors: one colour a pixel, the other two from the nearest neighbours that have them (bilinear).
//!
//! Beyond the edge the mosaic is mirrored around its outermost pixels, which keeps its colours in step. White balance
//! and gamma are the sensor's or the model's business: what was taught in raw colours runs in raw colours.

use super::plain::high_byte;
use super::{Packing, Raw};

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
    // One loop for each packing, so that the choice is made once and not for every sample.
    match packing {
        Packing::Bits8 => fill(raw, mosaic, size, out, |line, x| line[x]),
        Packing::Words10 => fill(raw, mosaic, size, out, |line, x| high_byte([line[2 * x], line[2 * x + 1]], 2)),
        Packing::Words12 => fill(raw, mosaic, size, out, |line, x| high_byte([line[2 * x], line[2 * x + 1]], 4)),
        // The high 8 bits of a packed sample are a byte of their own.
        Packing::Packed10 => fill(raw, mosaic, size, out, |line, x| line[x / 4 * 5 + x % 4]),
        Packing::Packed12 => fill(raw, mosaic, size, out, |line, x| line[x / 2 * 3 + x % 2]),
    }
}

fn fill(
    raw: &Raw<'_>,
    mosaic: Mosaic,
    (width, height): (usize, usize),
    out: &mut [u8],
    sample: impl Fn(&[u8], usize) -> u8,
) {
    let (red_x, red_y) = mosaic.red();
    for (y, pixels) in out.chunks_exact_mut(width * 3).enumerate() {
        let (y0, y1) = neighbours(y, height);
        let [above, here, below] = [y0, y, y1].map(|n| raw.line(n));
        for (x, pixel) in pixels.chunks_exact_mut(3).enumerate() {
            let (x0, x1) = neighbours(x, width);
            let own = sample(here, x);
            let beside = || mean2(sample(here, x0), sample(here, x1));
            let upright = || mean2(sample(above, x), sample(below, x));
            let corners = || mean4([sample(above, x0), sample(above, x1), sample(below, x0), sample(below, x1)]);
            let cross = || mean4([sample(here, x0), sample(here, x1), sample(above, x), sample(below, x)]);
            let rgb = match ((x ^ red_x) & 1, (y ^ red_y) & 1) {
                (0, 0) => [own, cross(), corners()],
                (1, 0) => [beside(), own, upright()],
                (0, _) => [upright(), own, beside()],
                _ => [corners(), cross(), own],
            };
            pixel.copy_from_slice(&rgb);
        }
    }
}

/// The places before and after `at`, mirrored at the ends; itself where there is only one.
fn neighbours(at: usize, count: usize) -> (usize, usize) {
    let last = count - 1;
    let before = if at == 0 { last.min(1) } else { at - 1 };
    let after = if at == last { last.saturating_sub(1) } else { at + 1 };
    (before, after)
}

fn mean2(a: u8, b: u8) -> u8 {
    (u16::from(a) + u16::from(b)).div_ceil(2) as u8
}

fn mean4(values: [u8; 4]) -> u8 {
    ((values.into_iter().map(u16::from).sum::<u16>() + 2) / 4) as u8
}
