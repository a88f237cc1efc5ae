//! Parts that lie elsewhere: a turn and a shift, and pictures moved by them.

use super::Frame;
use super::geometry::{Roi, View};
use super::kernels::{self, warp::Origin};

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

/// The picture moved: bilinear, mirrored beyond its edges. Cost: twelve products a pixel.
pub fn warped(frame: &Frame, moved: &Motion) -> Frame {
    let mut out = Frame::empty();
    warp(frame, moved, [frame.width, frame.height], Roi::whole(frame.width, frame.height), &mut out);
    out
}

/// As [`warped`], but for what lies outside `roi`, into `out`, which allocates only where its pixels are shared or too few.
/// `moved` is told in pixels of a picture of this `size`, which `frame` shows as well, larger or smaller.
///
/// # Panics
/// If `roi` lies outside the frame.
pub fn warp(frame: &Frame, moved: &Motion, size: [u32; 2], roi: Roi, out: &mut Frame) {
    (out.id, out.exposure_at, out.dequeued_at) = (frame.id, frame.exposure_at, frame.dequeued_at);
    let rgb = out.overwrite(frame.width, frame.height);
    let [width, height] = size.map(f64::from);
    let (sx, sy) = (width / f64::from(frame.width), height / f64::from(frame.height));
    let from = |x: f64, y: f64| {
        let (x, y) = moved.origin((sx * (x + 0.5), sy * (y + 0.5)), width, height);
        [x / sx - 0.5, y / sy - 0.5]
    };
    let start = from(0.0, 0.0);
    let step = |to: [f64; 2]| [to[0] - start[0], to[1] - start[1]];
    let origin = Origin { start, along: step(from(1.0, 0.0)), down: step(from(0.0, 1.0)) };
    kernels::warp::warp(&frame.rgb, [frame.width, frame.height], &origin, roi, rgb);
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
        warp(&frame, &Motion { dx: 2.0, dy: 1.0, degrees: 0.0 }, [20, 10], Roi::whole(20, 10), &mut out);
        assert_eq!(out.rgb.as_ptr(), buffer);
        for (x, y) in [(2u32, 1u32), (10, 5), (19, 9)] {
            let at = |x: u32, y: u32| ((y * 20 + x) * 3) as usize;
            assert_eq!(out.rgb[at(x, y)], frame.rgb[at(x - 2, y - 1)]);
        }
        let shared = out.clone();
        warp(&frame, &Motion::NONE, [20, 10], Roi::whole(20, 10), &mut out);
        assert!(shared.rgb != out.rgb && out.rgb == frame.rgb);
    }
}
