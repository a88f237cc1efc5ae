//! Parts that lie elsewhere: a turn and a shift, and pictures moved by them.

use std::sync::Arc;

use super::Frame;
use super::geometry::{Roi, View};

/// How what a picture shows was moved: turned about the middle, then shifted, in pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Motion {
    /// To the right.
    pub dx: f64,
    /// Down.
    pub dy: f64,
    /// Clockwise on the screen.
    pub degrees: f64,
}

impl Motion {
    /// Nothing moved.
    pub const NONE: Self = Self { dx: 0.0, dy: 0.0, degrees: 0.0 };

    /// Where the point (x, y) of a `width` x `height` picture went.
    pub fn point(&self, (x, y): (f64, f64), width: f64, height: f64) -> (f64, f64) {
        let (sin, cos) = self.degrees.to_radians().sin_cos();
        let (x, y) = (x - width / 2.0, y - height / 2.0);
        (width / 2.0 + cos * x - sin * y + self.dx, height / 2.0 + sin * x + cos * y + self.dy)
    }

    /// Where the point (x, y) of the moved picture came from.
    pub fn origin(&self, (x, y): (f64, f64), width: f64, height: f64) -> (f64, f64) {
        let (sin, cos) = self.degrees.to_radians().sin_cos();
        let (x, y) = (x - self.dx - width / 2.0, y - self.dy - height / 2.0);
        (width / 2.0 + cos * x + sin * y, height / 2.0 - sin * x + cos * y)
    }

    /// The motion that undoes this one.
    #[must_use]
    pub fn inverse(&self) -> Self {
        let (sin, cos) = self.degrees.to_radians().sin_cos();
        let (dx, dy) = (-(cos * self.dx + sin * self.dy), sin * self.dx - cos * self.dy);
        Self { dx, dy, degrees: -self.degrees }
    }

    /// The box of the same size around what `roi` showed, inside the frame as every crop is.
    pub fn follow(&self, roi: &Roi, frame_width: u32, frame_height: u32) -> Roi {
        let view = View::of(*roi);
        let centre = (view.x + view.width / 2.0, view.y + view.height / 2.0);
        let (x, y) = self.point(centre, frame_width.into(), frame_height.into());
        let moved = View { x: (x - view.width / 2.0).round(), y: (y - view.height / 2.0).round(), ..view };
        moved.shifted_inside(frame_width, frame_height).inside(frame_width, frame_height)
    }
}

/// `i` mirrored into 0..length, the edge pixel twice.
pub fn mirrored(i: i64, length: u32) -> usize {
    let length = i64::from(length);
    let i = i.rem_euclid(2 * length);
    (if i < length { i } else { 2 * length - 1 - i }) as usize
}

/// Fractions of a pixel that are told apart, as a power of two.
const FRACTION: u32 = 8;

/// The picture moved: bilinear, mirrored beyond its edges. Cost: twelve products for each pixel.
pub fn warped(frame: &Frame, moved: &Motion) -> Frame {
    let mut out = Frame { rgb: Arc::from(Vec::new()), ..frame.clone() };
    warp(frame, moved, &mut out);
    out
}

/// As [`warped`], into `out`, which allocates only where its pixels are shared or too few.
pub fn warp(frame: &Frame, moved: &Motion, out: &mut Frame) {
    if out.rgb.len() != frame.rgb.len() || Arc::get_mut(&mut out.rgb).is_none() {
        out.rgb = vec![0; frame.rgb.len()].into();
    }
    (out.width, out.height) = (frame.width, frame.height);
    (out.id, out.exposure_at, out.dequeued_at) = (frame.id, frame.exposure_at, frame.dequeued_at);
    let rgb = Arc::get_mut(&mut out.rgb).expect("nobody else has it");
    let source = Source { pixels: &frame.rgb, width: frame.width, height: frame.height };
    let (width, height) = (f64::from(frame.width), f64::from(frame.height));
    for (y, row) in rgb.chunks_exact_mut(3 * frame.width as usize).enumerate() {
        let from = |x: f64| {
            let (sx, sy) = moved.origin((x + 0.5, y as f64 + 0.5), width, height);
            [sx - 0.5, sy - 0.5]
        };
        source.row(from(0.0), from(1.0), row);
    }
}

/// Fixed-point positions along a row: their fractions, and more bits so that steps add up.
const POSITION: u32 = 32;

/// A picture that rows are taken from.
struct Source<'a> {
    pixels: &'a [u8],
    width: u32,
    height: u32,
}

impl Source<'_> {
    /// Fills a row, whose first two pixels come from `start` and `next`.
    fn row(&self, start: [f64; 2], next: [f64; 2], row: &mut [u8]) {
        let fixed = |v: f64| (v * (1u64 << POSITION) as f64).round() as i64;
        let step: [i64; 2] = std::array::from_fn(|i| fixed(next[i] - start[i]));
        // Half of the smallest fraction that is told apart, so that positions are rounded.
        let half = 1i64 << (POSITION - FRACTION - 1);
        let start = start.map(|v| fixed(v) + half);
        let pixels = row.len() / 3;
        // Where all four neighbours lie inside: one stretch, because positions are on a line.
        let limits = [self.width, self.height].map(|side| i64::from(side - 1) << POSITION);
        let is_inside = |x: usize| (0..2).all(|i| (0..limits[i]).contains(&(start[i] + step[i] * x as i64)));
        let first = (0..pixels).find(|&x| is_inside(x)).unwrap_or(pixels);
        let end = (first..pixels).rev().find(|&x| is_inside(x)).map_or(first, |last| last + 1);
        let stride = 3 * self.width as usize;
        let (before, rest) = row.split_at_mut(3 * first);
        let (inside, after) = rest.split_at_mut(3 * (end - first));
        self.mirror(start, step, 0, before);
        self.mirror(start, step, end, after);
        let [mut x, mut y] = [0, 1].map(|i| start[i] + step[i] * first as i64);
        for to in inside.as_chunks_mut::<3>().0 {
            let at = (y >> POSITION) as usize * stride + 3 * (x >> POSITION) as usize;
            // Two pixels side by side above, two below.
            let [above, below] = [at, at + stride].map(|at| self.pixels[at..].first_chunk::<6>());
            let (Some(above), Some(below)) = (above, below) else { return };
            let [fx, fy] = [x, y].map(fraction);
            for c in 0..3 {
                let [above, below] = [above, below].map(|p| between(p[c].into(), p[c + 3].into(), fx));
                to[c] = rounded(between(above, below, fy));
            }
            (x, y) = (x + step[0], y + step[1]);
        }
    }

    /// The same for pixels from the `from`-th on, mirrored beyond the edges.
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

/// The part of a position that lies between two pixels.
fn fraction(at: i64) -> u32 {
    ((at >> (POSITION - FRACTION)) & ((1 << FRACTION) - 1)) as u32
}

/// Between two values, times what fractions are counted in.
fn between(a: u32, b: u32, fraction: u32) -> u32 {
    a * ((1 << FRACTION) - fraction) + b * fraction
}

/// What two [`between`]s made of bytes, as a byte again.
fn rounded(value: u32) -> u8 {
    ((value + (1 << (2 * FRACTION - 1))) >> (2 * FRACTION)) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_motion_and_its_inverse_cancel() {
        let there = Motion { dx: 7.0, dy: -3.0, degrees: 11.0 };
        let back = there.inverse();
        let (x, y) = there.point((20.0, 5.0), 100.0, 60.0);
        let (x, y) = back.point((x, y), 100.0, 60.0);
        assert!((x - 20.0).abs() < 1e-9 && (y - 5.0).abs() < 1e-9, "{x} {y}");
        let (x, y) = there.origin(there.point((12.0, 34.0), 101.0, 101.0), 101.0, 101.0);
        assert!((x - 12.0).abs() < 1e-9 && (y - 34.0).abs() < 1e-9);
    }

    #[test]
    fn whole_pixels_move_as_they_are_and_buffers_are_used_again() {
        let rgb: Vec<u8> = (0..20 * 10).flat_map(|i| [(i % 251) as u8; 3]).collect();
        let frame = Frame::still(20, 10, rgb);
        let mut out = warped(&frame, &Motion::NONE);
        assert_eq!(out.rgb, frame.rgb);
        let buffer = out.rgb.as_ptr();
        warp(&frame, &Motion { dx: 2.0, dy: 1.0, degrees: 0.0 }, &mut out);
        assert_eq!(out.rgb.as_ptr(), buffer);
        for (x, y) in [(2u32, 1u32), (10, 5), (19, 9)] {
            let at = |x: u32, y: u32| ((y * 20 + x) * 3) as usize;
            assert_eq!(out.rgb[at(x, y)], frame.rgb[at(x - 2, y - 1)]);
        }
        let shared = out.clone();
        warp(&frame, &Motion::NONE, &mut out);
        assert!(shared.rgb != out.rgb && out.rgb == frame.rgb);
    }
}
