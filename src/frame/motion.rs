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
    let pixels = &frame.rgb;
    let rgb = Arc::get_mut(&mut out.rgb).expect("nobody else has it");
    let (width, height) = (frame.width as usize, frame.height as usize);
    let one = f64::from(1u32 << FRACTION);
    for (y, row) in rgb.chunks_exact_mut(3 * width).enumerate() {
        let source = |x: f64| {
            let (sx, sy) = moved.origin((x + 0.5, y as f64 + 0.5), width as f64, height as f64);
            (sx - 0.5, sy - 0.5)
        };
        let (start, end) = (source(0.0), source(1.0));
        let step = (end.0 - start.0, end.1 - start.1);
        for (x, to) in row.chunks_exact_mut(3).enumerate() {
            let fixed = |start: f64, step: f64| ((start + step * x as f64) * one).round() as i64;
            let (sx, sy) = (fixed(start.0, step.0), fixed(start.1, step.1));
            let (x0, y0) = (sx >> FRACTION, sy >> FRACTION);
            let mask = (1i64 << FRACTION) - 1;
            let (fx, fy) = ((sx & mask) as u32, (sy & mask) as u32);
            let is_inside = x0 >= 0 && y0 >= 0 && x0 + 1 < width as i64 && y0 + 1 < height as i64;
            let [left, right, above, below] = if is_inside {
                [x0 as usize, x0 as usize + 1, y0 as usize, y0 as usize + 1]
            } else {
                let (w, h) = (frame.width, frame.height);
                [mirrored(x0, w), mirrored(x0 + 1, w), mirrored(y0, h), mirrored(y0 + 1, h)]
            };
            let at = |x: usize, y: usize| (y * width + x) * 3;
            let corners = [at(left, above), at(right, above), at(left, below), at(right, below)];
            let whole = 1u32 << FRACTION;
            let weights = [(whole - fx) * (whole - fy), fx * (whole - fy), (whole - fx) * fy, fx * fy];
            for (c, to) in to.iter_mut().enumerate() {
                let sum: u32 = corners.iter().zip(weights).map(|(&at, w)| w * u32::from(pixels[at + c])).sum();
                *to = ((sum + (1 << (2 * FRACTION - 1))) >> (2 * FRACTION)) as u8;
            }
        }
    }
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
