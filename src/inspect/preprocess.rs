//! From a frame's pixels to the model's input: one rectangle, resampled straight into planar u8.

use crate::frame::Frame;
use crate::frame::geometry::View;

/// Shrinking by more than this averages areas; up to it, by a triangle; enlarging interpolates.
const AREA_ABOVE: f64 = 2.0;

/// Buffers that a thread keeps, so that sampling allocates nothing once they have grown.
#[derive(Default)]
pub struct Scratch {
    columns: Taps,
    rows: Taps,
    line: Vec<f32>,
}

/// `at` folded into `0..=limit`: beyond an edge the picture is seen in a mirror.
fn mirrored(at: f64, limit: f64) -> f64 {
    let folded = at.rem_euclid(2.0 * limit);
    folded.min(2.0 * limit - folded)
}

/// For each output position, the source positions it reads and their weights (summing to 1).
#[derive(Default)]
struct Taps {
    first: Vec<usize>,
    start: Vec<usize>,
    weights: Vec<f32>,
}

impl Taps {
    /// Taps of `count` outputs over `at..at + length` of a source of `limit` positions, mirrored beyond its edges.
    fn fill(&mut self, at: f64, length: f64, count: usize, limit: usize) {
        self.first.clear();
        self.start.clear();
        self.weights.clear();
        let step = length / count as f64;
        // Views of all sizes up to the whole frame alternate: room for the widest, so that none of them allocates.
        self.weights.reserve(count * (step.max(2.0 * AREA_ABOVE) as usize + 2));
        let last = (limit - 1) as f64;
        for i in 0..count {
            self.start.push(self.weights.len());
            let centre = mirrored(at + (i as f64 + 0.5) * step, limit as f64);
            if step > AREA_ABOVE {
                let (lo, hi) = (centre - step / 2.0, centre + step / 2.0);
                let (from, to) = (lo.floor().clamp(0.0, last), (hi.ceil() - 1.0).clamp(0.0, last));
                self.first.push(from as usize);
                for p in from as usize..=to as usize {
                    // The edge pixels stand for everything beyond them.
                    let left = if p == 0 { f64::MIN } else { p as f64 };
                    let right = if p + 1 == limit { f64::MAX } else { (p + 1) as f64 };
                    self.weights.push(((hi.min(right) - lo.max(left)).max(0.0) / step) as f32);
                }
            } else if step > 1.0 {
                // A triangle as wide as two outputs: what is finer than the output must not fold into it.
                let (lo, hi) = (centre - step, centre + step);
                let (from, to) = (lo.floor().clamp(0.0, last), (hi.ceil() - 1.0).clamp(0.0, last));
                self.first.push(from as usize);
                let height = |p: f64| (1.0 - ((p + 0.5 - centre) / step).abs()).max(0.0);
                let sum: f64 = (from as usize..=to as usize).map(|p| height(p as f64)).sum();
                self.weights.extend((from as usize..=to as usize).map(|p| (height(p as f64) / sum) as f32));
            } else {
                let centre = (centre - 0.5).clamp(0.0, last);
                let from = centre.floor().min((limit.max(2) - 2) as f64);
                self.first.push(from as usize);
                let f = (centre - from) as f32;
                self.weights.push(1.0 - f);
                if limit > 1 {
                    self.weights.push(f);
                }
            }
        }
        self.start.push(self.weights.len());
    }

    fn of(&self, i: usize) -> (usize, &[f32]) {
        (self.first[i], &self.weights[self.start[i]..self.start[i + 1]])
    }
}

/// Resamples what `view` shows of `frame` into `out`: `[3, height, width]` u8, planar RGB.
///
/// Bilinear between pixel centres where it enlarges. Where it shrinks, a triangle filter two outputs wide (without it
/// alias costs .008 of AUROC on magnetic tiles, which shrink by 1.1 to 1.5), and the average over the covered area, which
/// reads half as much, where a side shrinks by more than 2. Beyond the frame it is mirrored: replicated edges are streaks that no good part has (they cost .04 of AUROC on pictures of mixed
/// sizes). Reads only the view's rectangle. Cost: one multiply for each byte read and three taps'
/// worth for each byte written; allocates only while `scratch` grows.
///
/// # Panics
/// If `out` is not `3 * height * width` bytes long.
pub fn sample(frame: &Frame, view: &View, width: usize, height: usize, out: &mut [u8], scratch: &mut Scratch) {
    assert_eq!(out.len(), 3 * width * height, "model input of {width}x{height}");
    let (fw, fh) = (frame.width as usize, frame.height as usize);
    scratch.columns.fill(view.x, view.width, width, fw);
    scratch.rows.fill(view.y, view.height, height, fh);
    let from = scratch.columns.first.iter().copied().min().unwrap_or(0);
    let to = (0..width).map(|i| scratch.columns.of(i)).map(|(f, w)| f + w.len()).max().unwrap_or(fw);
    scratch.line.resize((to - from) * 3, 0.0);
    let (red, rest) = out.split_at_mut(width * height);
    let (green, blue) = rest.split_at_mut(width * height);
    for y in 0..height {
        // Rows first: a weighted sum of contiguous bytes, which the compiler turns into vectors.
        let (row, weights) = scratch.rows.of(y);
        scratch.line.fill(0.0);
        for (k, &w) in weights.iter().enumerate() {
            let at = ((row + k) * fw + from) * 3;
            let source = &frame.rgb[at..at + scratch.line.len()];
            for (sum, &byte) in scratch.line.iter_mut().zip(source) {
                *sum += w * f32::from(byte);
            }
        }
        for x in 0..width {
            let (column, weights) = scratch.columns.of(x);
            let mut rgb = [0.5f32; 3];
            for (&w, px) in weights.iter().zip(scratch.line[(column - from) * 3..].chunks_exact(3)) {
                for (sum, &v) in rgb.iter_mut().zip(px) {
                    *sum += w * v;
                }
            }
            let at = y * width + x;
            (red[at], green[at], blue[at]) = (rgb[0] as u8, rgb[1] as u8, rgb[2] as u8);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gradient(width: u32, height: u32) -> Frame {
        let mut rgb = Vec::new();
        for y in 0..height {
            for x in 0..width {
                rgb.extend([(x * 4) as u8, (y * 4) as u8, 77]);
            }
        }
        Frame::still(width, height, rgb)
    }

    fn at(out: &[u8], w: usize, h: usize, x: usize, y: usize) -> [u8; 3] {
        [0, 1, 2].map(|c| out[c * w * h + y * w + x])
    }

    #[test]
    fn the_same_size_is_a_copy() {
        let frame = gradient(20, 10);
        let mut out = vec![0; 600];
        sample(&frame, &View { x: 0.0, y: 0.0, width: 20.0, height: 10.0 }, 20, 10, &mut out, &mut Scratch::default());
        for y in 0..10 {
            for x in 0..20 {
                assert_eq!(at(&out, 20, 10, x, y), [(x * 4) as u8, (y * 4) as u8, 77]);
            }
        }
    }

    #[test]
    fn shrinking_averages_and_enlarging_interpolates() {
        let frame = gradient(40, 40);
        let mut out = vec![0; 3 * 100];
        sample(&frame, &View { x: 0.0, y: 0.0, width: 40.0, height: 40.0 }, 10, 10, &mut out, &mut Scratch::default());
        // Columns 0..4 hold 0, 4, 8, 12: their mean is 6.
        assert_eq!(at(&out, 10, 10, 0, 0), [6, 6, 77]);
        sample(&frame, &View { x: 10.0, y: 10.0, width: 5.0, height: 5.0 }, 10, 10, &mut out, &mut Scratch::default());
        assert_eq!(at(&out, 10, 10, 1, 1)[0], 41, "centre at 10.25 of values 40, 44");
    }

    #[test]
    fn beyond_the_frame_the_picture_is_mirrored() {
        let frame = gradient(16, 16);
        let mut out = vec![0; 3 * 64];
        let left = View { x: -8.0, y: 0.0, width: 8.0, height: 8.0 };
        sample(&frame, &left, 8, 8, &mut out, &mut Scratch::default());
        for x in 0..8 {
            assert_eq!(at(&out, 8, 8, x, 0)[0], (7 - x as u8) * 4, "column {x} left of the frame");
        }
        let around = View { x: -32.0, y: 0.0, width: 64.0, height: 8.0 };
        sample(&frame, &around, 8, 8, &mut out, &mut Scratch::default());
        // Columns of 8 pixels, averaged: 0..8, 8..16, then back again.
        assert_eq!([0, 1, 2, 3].map(|x| at(&out, 8, 8, x, 0)[0]), [14, 46, 46, 14]);
        let one = Frame::still(1, 1, vec![9, 8, 7]);
        sample(&one, &View { x: -3.0, y: 0.0, width: 30.0, height: 1.0 }, 8, 8, &mut out, &mut Scratch::default());
        assert_eq!(at(&out, 8, 8, 7, 7), [9, 8, 7], "a frame of one pixel");
    }
}
