//! Grey pictures in floats, halved, and taken from where a part lies.

use super::super::preprocess::{self, sample};
use crate::frame::Frame;
use crate::frame::geometry::View;

/// A grey picture of floats.
#[derive(Clone, Debug, Default)]
pub struct Grey {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) values: Vec<f32>,
}

/// A turn about the middle and a shift that say where each pixel is taken from.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pose {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) turn: f64,
}

impl Pose {
    /// The pose of the same motion on a picture of twice the size.
    pub(super) fn doubled(self) -> Self {
        Self { x: 2.0 * self.x, y: 2.0 * self.y, ..self }
    }

    /// After a further step in the moved picture's own directions.
    pub(super) fn then(self, [x, y, turn]: [f64; 3]) -> Self {
        let (sin, cos) = self.turn.sin_cos();
        Self { x: self.x + cos * x - sin * y, y: self.y + sin * x + cos * y, turn: self.turn + turn }
    }
}

/// A picture taken from a pose: of each row the values that lie inside the other picture, which stand together.
#[derive(Clone, Debug, Default)]
pub(super) struct Moved {
    values: Vec<f32>,
    width: usize,
    /// For each row the first such value, and the one after the last.
    spans: Vec<[usize; 2]>,
}

impl Moved {
    /// Row `y`: from which column on, and the values.
    pub(super) fn row(&self, y: usize) -> (usize, &[f32]) {
        let [from, to] = self.spans[y];
        (from, &self.values[y * self.width..][from..to])
    }

    /// The columns of row `y` that have neighbours on all sides, and the three rows around it.
    pub(super) fn inner(&self, y: usize) -> (usize, usize, [&[f32]; 3]) {
        let [above, here, below] = [y - 1, y, y + 1].map(|y| self.spans[y]);
        let from = above[0].max(here[0] + 1).max(below[0]);
        let to = above[1].min(here[1].saturating_sub(1)).min(below[1]);
        let (from, to) = if from < to { (from, to) } else { (1, 1) };
        (from, to, [y - 1, y, y + 1].map(|y| &self.values[y * self.width..][..self.width]))
    }
}

impl Grey {
    /// As `frame` shows it, of this many columns and rows.
    pub(super) fn fill(
        &mut self,
        frame: &Frame,
        [w, h]: [usize; 2],
        sampling: &mut preprocess::Scratch,
        rgb: &mut Vec<u8>,
    ) {
        rgb.resize(3 * w * h, 0);
        sample(frame, &View::whole(frame.width, frame.height), w, h, rgb, sampling);
        let (red, rest) = rgb.split_at(w * h);
        let (green, blue) = rest.split_at(w * h);
        (self.width, self.height) = (w, h);
        self.values.clear();
        let sums = red.iter().zip(green).zip(blue).map(|((&r, &g), &b)| f32::from(r) + f32::from(g) + f32::from(b));
        self.values.extend(sums.map(|sum| sum / 3.0));
    }

    /// Row `y`.
    pub(super) fn row(&self, y: usize) -> &[f32] {
        &self.values[y * self.width..][..self.width]
    }

    /// Half the size, means of 2x2.
    pub(super) fn halve_into(&self, half: &mut Self) {
        (half.width, half.height) = (self.width / 2, self.height / 2);
        half.values.clear();
        for y in 0..half.height {
            let (above, below) = (self.row(2 * y), self.row(2 * y + 1));
            half.values.extend(
                (0..half.width).map(|x| (above[2 * x] + above[2 * x + 1] + below[2 * x] + below[2 * x + 1]) / 4.0),
            );
        }
    }

    /// This picture taken from `pose`, with `beyond` more columns and rows on each side, where that lies inside it:
    /// bilinear between pixel centres.
    #[inline(always)]
    pub(super) fn moved(&self, pose: Pose, beyond: [usize; 2], out: &mut Moved) {
        let (w, h) = (self.width + 2 * beyond[0], self.height + 2 * beyond[1]);
        let (cx, cy) = (self.width as f64 / 2.0, self.height as f64 / 2.0);
        let (sin, cos) = pose.turn.sin_cos();
        out.width = w;
        out.spans.clear();
        out.values.resize(w * h, 0.0);
        for (y, row) in out.values.chunks_exact_mut(w).enumerate() {
            let (u, v) = (0.5 - w as f64 / 2.0, y as f64 + 0.5 - h as f64 / 2.0);
            let (x0, y0) = (cos * u - sin * v + pose.x + cx - 0.5, sin * u + cos * v + pose.y + cy - 0.5);
            let at = |x: usize| (x0 + x as f64 * cos, y0 + x as f64 * sin);
            // Pixels inside stand together, because positions are on a line.
            let is_inside = |x: usize| {
                let (x, y) = at(x);
                x >= 0.0 && y >= 0.0 && x < (self.width - 1) as f64 && y < (self.height - 1) as f64
            };
            let from = (0..w).find(|&x| is_inside(x)).unwrap_or(w);
            let to = (from..w).rev().find(|&x| is_inside(x)).map_or(from, |last| last + 1);
            out.spans.push([from, to]);
            for (x, value) in (from..to).zip(&mut row[from..to]) {
                let (x, y) = at(x);
                let (ix, iy) = (x as u32, y as u32);
                let (fx, fy) = ((x - f64::from(ix)) as f32, (y - f64::from(iy)) as f32);
                let from = iy as usize * self.width + ix as usize;
                let (above, below) = (&self.values[from..], &self.values[from + self.width..]);
                let along = |row: &[f32]| row[0] + (row[1] - row[0]) * fx;
                let (above, below) = (along(above), along(below));
                *value = above + (below - above) * fy;
            }
        }
    }
}

/// A picture and its halves, finest first.
pub(super) fn pyramid(finest: Grey, count: usize) -> Vec<Grey> {
    let mut levels = vec![finest];
    while levels.len() < count {
        let mut half = Grey::default();
        levels[levels.len() - 1].halve_into(&mut half);
        levels.push(half);
    }
    levels
}
