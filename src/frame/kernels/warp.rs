//! Pictures turned and shifted: bilinear in fixed point, the same bits on every instruction set.
//!
//! Where pixels of a row come from lies on a line, and so those whose four neighbours are inside the picture are one
//! stretch, without a question for any of them. Pixels beyond the picture are its mirror image.

use super::isa::{Kernel, PixelIsa, dispatch};
use crate::frame::geometry::Roi;

/// Fractions of a pixel that are told apart, as a power of two: what weighs a pixel is a byte.
pub(super) const FRACTION: u32 = 7;
/// Positions along a row: their fractions, and more bits so that steps add up.
pub(super) const POSITION: u32 = 32;
/// Bytes of a pixel, the next one and two of no use: half a vector.
pub(super) const NEAR: usize = 8;

/// Where the middle of a pixel comes from, in pixels of the source from the middle of its first one: `start` for the
/// first pixel, and steps to the next column and the next row.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// Column and row.
    pub start: [f64; 2],
    /// A column further.
    pub along: [f64; 2],
    /// A row further.
    pub down: [f64; 2],
}

/// Fills `roi` of `out` from `source`; both are `[height, width, 3]` u8 of the same size. Cost: twelve products a pixel.
///
/// # Panics
/// If either is of another size, or `roi` outside them.
pub fn warp(source: &[u8], [width, height]: [u32; 2], origin: &Origin, roi: Roi, out: &mut [u8]) {
    let bytes = 3 * width as usize * height as usize;
    assert!(source.len() == bytes && out.len() == bytes, "pictures of {width}x{height}");
    assert!(roi.x + roi.width <= width && roi.y + roi.height <= height, "{roi:?} of {width}x{height}");
    dispatch(Warp { source: Source { pixels: source, width, height }, origin: *origin, roi, out });
}

struct Warp<'a> {
    source: Source<'a>,
    origin: Origin,
    roi: Roi,
    out: &'a mut [u8],
}

impl Kernel for Warp<'_> {
    type Out = ();

    #[inline(always)]
    fn run<I: PixelIsa>(self, isa: I) {
        let Self { source, origin, roi, out } = self;
        let fixed = |v: f64| (v * (1u64 << POSITION) as f64).round() as i64;
        // Half of the smallest fraction that is told apart, so that positions are rounded.
        let half = 1i64 << (POSITION - FRACTION - 1);
        let step = origin.along.map(fixed);
        let (pitch, left) = (3 * source.width as usize, 3 * roi.x as usize);
        for y in roi.y..roi.y + roi.height {
            let at = |i: usize| origin.start[i] + f64::from(y) * origin.down[i] + f64::from(roi.x) * origin.along[i];
            let start = [0, 1].map(|i| fixed(at(i)) + half);
            source.row(isa, start, step, &mut out[y as usize * pitch + left..][..3 * roi.width as usize]);
        }
    }
}

/// A picture that rows are taken from.
struct Source<'a> {
    pixels: &'a [u8],
    width: u32,
    height: u32,
}

/// A stretch of a row all of whose neighbours lie inside the picture they are taken from.
pub(super) struct Stretch<'a> {
    pub pixels: &'a [u8],
    /// Bytes from one line to the next.
    pub pitch: usize,
    /// Column and row of the next pixel's place in [`POSITION`] fraction bits, and the steps to the one after it.
    pub at: [i64; 2],
    pub step: [i64; 2],
}

/// Where a pixel of a [`Stretch`] is taken from.
pub(super) struct SourcePixel {
    /// The first byte of the pixel above left; the one below is a line further.
    pub at: usize,
    /// Weights of what is right and of what is below, at most `2^FRACTION - 1`.
    pub fractions: [u32; 2],
}

impl Stretch<'_> {
    /// The place of the next pixel: [`NEAR`] bytes from there on, and from a line further on, are inside.
    #[inline(always)]
    pub(super) fn next(&mut self) -> SourcePixel {
        let [x, y] = self.at;
        let pixel = SourcePixel {
            at: (y >> POSITION) as usize * self.pitch + 3 * (x >> POSITION) as usize,
            fractions: [x, y].map(fraction),
        };
        self.at = [x + self.step[0], y + self.step[1]];
        pixel
    }

    /// Fills pixels. This is the definition; other instruction sets give the same.
    #[inline(always)]
    pub(super) fn fill(mut self, to: &mut [[u8; 3]]) {
        for to in to {
            let SourcePixel { at, fractions: [fx, fy] } = self.next();
            // Two pixels side by side above, two below.
            let [above, below] = [at, at + self.pitch].map(|at| self.pixels[at..].first_chunk::<NEAR>());
            let (Some(above), Some(below)) = (above, below) else { return };
            *to = std::array::from_fn(|c| {
                let [above, below] = [above, below].map(|p| between(p[c].into(), p[c + 3].into(), fx));
                rounded(between(above, below, fy))
            });
        }
    }
}

impl Source<'_> {
    /// Fills a row, of which the first pixel comes from `start` and each further one a step from there.
    #[inline(always)]
    fn row<I: PixelIsa>(&self, isa: I, start: [i64; 2], step: [i64; 2], row: &mut [u8]) {
        let pixels = row.len() / 3;
        // Where all that is read lies inside: one stretch, because positions are on a line.
        let limits = [self.width.saturating_sub(2), self.height - 1].map(|side| i64::from(side) << POSITION);
        let position = |x: usize| -> [i64; 2] { std::array::from_fn(|i| start[i] + step[i] * x as i64) };
        let is_inside = |x: usize| position(x).iter().zip(limits).all(|(at, limit)| (0..limit).contains(at));
        let first = (0..pixels).find(|&x| is_inside(x)).unwrap_or(pixels);
        let end = (first..pixels).rev().find(|&x| is_inside(x)).map_or(first, |last| last + 1);
        let (before, rest) = row.split_at_mut(3 * first);
        let (inside, after) = rest.split_at_mut(3 * (end - first));
        self.mirror(start, step, 0, before);
        self.mirror(start, step, end, after);
        let stretch = Stretch { pixels: self.pixels, pitch: 3 * self.width as usize, at: position(first), step };
        // Both ends are inside, and with them all that lies between.
        isa.moved(stretch, inside.as_chunks_mut().0);
    }

    /// The same for pixels from the `from`-th on, mirrored beyond the edges.
    #[inline(always)]
    fn mirror(&self, start: [i64; 2], step: [i64; 2], from: usize, row: &mut [u8]) {
        for (x, to) in (from..).zip(row.as_chunks_mut::<3>().0) {
            let [x, y] = [0, 1].map(|i| start[i] + step[i] * x as i64);
            let sides = |at: i64, side: u32| [0, 1].map(|next| mirrored((at >> POSITION) + next, side));
            let (columns, rows) = (sides(x, self.width), sides(y, self.height));
            let [fx, fy] = [x, y].map(fraction);
            for (c, to) in to.iter_mut().enumerate() {
                let at =
                    |row: usize, column: usize| u32::from(self.pixels[(row * self.width as usize + column) * 3 + c]);
                let [above, below] = rows.map(|row| between(at(row, columns[0]), at(row, columns[1]), fx));
                *to = rounded(between(above, below, fy));
            }
        }
    }
}

/// `i` mirrored into 0..length, the edge pixel twice.
pub fn mirrored(i: i64, length: u32) -> usize {
    let length = i64::from(length);
    let i = i.rem_euclid(2 * length);
    (if i < length { i } else { 2 * length - 1 - i }) as usize
}

/// The part of a position that lies between two pixels.
#[inline(always)]
fn fraction(at: i64) -> u32 {
    ((at >> (POSITION - FRACTION)) & ((1 << FRACTION) - 1)) as u32
}

/// Between two values, times what fractions are counted in.
#[inline(always)]
fn between(a: u32, b: u32, fraction: u32) -> u32 {
    a * ((1 << FRACTION) - fraction) + b * fraction
}

/// What two [`between`]s made of bytes, as a byte again.
#[inline(always)]
fn rounded(value: u32) -> u8 {
    ((value + (1 << (2 * FRACTION - 1))) >> (2 * FRACTION)) as u8
}
