//! When a part is in the middle of the picture, from the frames of one pass. Pure; for calibration, not for triggers.
//!
//! Each frame becomes a coarse grid of greys. The empty belt is the median of all grids, cell by cell, as long as the
//! part is in fewer than half of them. What differs from it is the part; its centroid along the axis in which it moves is
//! fitted by a straight line over the frames that show the whole of it, and the line crosses the middle at the time that
//! is looked for. Between two frames that is finer than the time from one to the next.
//! A camera that is triggered has one frame a part, and its exposure is the answer.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::{Offset, Timestamp};
use crate::frame::{Frame, grey};
use crate::stats;

/// Cells of the grid, at most, in each direction.
const CELLS: usize = 48;
/// Grids that are remembered: seconds of a usual camera, 1 MB.
const REMEMBERED: usize = 480;
/// A cell that differs by less is the belt's own noise, in grey levels. Chosen: as `trigger.trip_level`.
const NOISE: f32 = 12.0;
/// A frame shows the whole part if it differs in at least this share of what the one that differs most does.
const WHOLE: f32 = 0.9;
/// The least part: so many cells that differ clearly.
const LEAST: f32 = 2.0 * NOISE;

/// The frames of the last seconds, as far as they matter.
#[derive(Debug, Default)]
pub struct PartCentreTracker {
    grids: VecDeque<(Timestamp, Vec<u8>)>,
    columns: usize,
}

impl PartCentreTracker {
    /// Remembers a frame. Cost: one look at every fourth pixel, one allocation of 2 kB.
    pub fn look(&mut self, frame: &Frame) {
        let (width, height) = (frame.width as usize, frame.height as usize);
        let (columns, rows) = (CELLS.min(width), CELLS.min(height));
        if columns == 0 || rows == 0 {
            return;
        }
        if self.columns != columns || self.grids.front().is_some_and(|(_, grid)| grid.len() != columns * rows) {
            self.grids.clear();
            self.columns = columns;
        }
        if self.grids.len() == REMEMBERED {
            self.grids.pop_front();
        }
        let (pixels, _) = frame.rgb.as_chunks();
        let cell = |row: usize, column: usize| {
            let (top, bottom) = (row * height / rows, (row + 1) * height / rows);
            let (left, right) = (column * width / columns, (column + 1) * width / columns);
            // Every second pixel both ways says enough of a cell.
            let places = (top..bottom).step_by(2).flat_map(|y| (left..right).step_by(2).map(move |x| (x, y)));
            let (sum, count) = places
                .fold((0_u32, 0_u32), |(sum, count), (x, y)| (sum + u32::from(grey(pixels[y * width + x])), count + 1));
            (sum / count.max(1)) as u8
        };
        let grid = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
        let grid = grid.map(|(row, column)| cell(row, column)).collect();
        self.grids.push_back((frame.exposure_at, grid));
    }

    /// From the trigger to the part in the middle of the picture, by the frames exposed up to `reach` before and after
    /// it; `None` where none of them shows a part.
    pub fn middle(&self, trigger_at: Timestamp, reach: Duration) -> Option<Offset> {
        let near = |at: Timestamp| at.abs_diff(trigger_at) <= reach;
        let frames: Vec<_> = self.grids.iter().filter(|(at, _)| near(*at)).collect();
        let ms = |at: Timestamp| (at.0 as f64 - trigger_at.0 as f64) / 1e6;
        let middle = match &frames[..] {
            [] => return None,
            [(at, _)] => ms(*at),
            frames => {
                let belt = self.empty_belt();
                let looks = frames.iter().map(|(at, grid)| (ms(*at), self.part(grid, &belt)));
                crossing(&looks.filter_map(|(at, part)| Some((at, part?))).collect::<Vec<_>>())?
            }
        };
        Some(Offset((middle * 1e6).round() as i64))
    }

    fn empty_belt(&self) -> Vec<u8> {
        let cells = self.grids.front().map_or(0, |(_, grid)| grid.len());
        let mut seen = Vec::with_capacity(self.grids.len());
        let median = |cell: usize| {
            seen.clear();
            seen.extend(self.grids.iter().map(|(_, grid)| grid[cell]));
            stats::upper_median(&mut seen).unwrap_or_default()
        };
        (0..cells).map(median).collect()
    }

    /// What differs from the empty belt: how much of it, and its centroid, -0.5 to 0.5 in both directions.
    fn part(&self, grid: &[u8], belt: &[u8]) -> Option<TrackedPart> {
        let rows = grid.len() / self.columns;
        let (mut amount, mut x, mut y) = (0.0, 0.0, 0.0);
        for (cell, (grey, empty)) in grid.iter().zip(belt).enumerate() {
            let differs = f32::from(grey.abs_diff(*empty));
            if differs >= NOISE {
                let at = |n: usize, of: usize| (n as f32 + 0.5) / of as f32 - 0.5;
                amount += differs;
                x += differs * at(cell % self.columns, self.columns);
                y += differs * at(cell / self.columns, rows);
            }
        }
        (amount >= LEAST).then(|| TrackedPart { amount, place: [x / amount, y / amount] })
    }
}

#[derive(Clone, Copy, Debug)]
struct TrackedPart {
    amount: f32,
    place: [f32; 2],
}

/// When the part crosses the middle, by a straight line through its places.
fn crossing(looks: &[(f64, TrackedPart)]) -> Option<f64> {
    let most = looks.iter().map(|(_, part)| part.amount).fold(0.0, f32::max);
    let whole: Vec<_> = looks.iter().filter(|(_, part)| part.amount >= WHOLE * most).collect();
    let count = whole.len() as f64;
    let mean = |of: &dyn Fn(&(f64, TrackedPart)) -> f64| whole.iter().map(|look| of(look)).sum::<f64>() / count;
    let at = mean(&|look| look.0);
    let fit = |axis: usize| {
        let place = mean(&|look| f64::from(look.1.place[axis]));
        let covariance = mean(&|look| (look.0 - at) * (f64::from(look.1.place[axis]) - place));
        (place, covariance)
    };
    let variance = mean(&|look| (look.0 - at).powi(2));
    let (place, covariance) = [fit(0), fit(1)].into_iter().max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()))?;
    match whole.len() {
        0 => None,
        // One frame of the whole part, or a part that does not move: the time at which it is there.
        _ if variance == 0.0 || covariance == 0.0 => Some(at),
        _ => Some(at - place * variance / covariance),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// A frame of 160×96 at `at_ms` with a part of 30×40 pixels whose middle is at `x` along the belt.
    fn frame(at_ms: f64, x: f64, upright: bool) -> Frame {
        let (width, height) = if upright { (96, 160) } else { (160, 96) };
        let grey = |px: i64, py: i64| {
            let (along, across) = if upright { (py, px) } else { (px, py) };
            let is_part = (along as f64 + 0.5 - x).abs() < 15.0 && (28..68).contains(&across);
            let grain = ((px * 31 + py * 17 + at_ms as i64) % 9) as u8;
            if is_part { 150 + grain } else { 60 + grain }
        };
        let rgb: Vec<u8> = (0..width * height).flat_map(|p| [grey(p % width, p / width); 3]).collect();
        let at = Timestamp((at_ms * 1e6) as u64);
        Frame { exposure_at: at, ..Frame::still(width as u32, height as u32, rgb) }
    }

    /// Frames every `period` milliseconds of a part that is in the middle at `middle` and moves 0.4 pixels a millisecond.
    fn film(period: f64, middle: f64, upright: bool) -> PartCentreTracker {
        let mut tracker = PartCentreTracker::default();
        let mut at = 3.0;
        while at < 3000.0 {
            tracker.look(&frame(at, 80.0 + 0.4 * (at - middle), upright));
            at += period;
        }
        tracker
    }

    fn middle_ms(tracker: &PartCentreTracker, trigger_ms: u64) -> Option<f64> {
        tracker.middle(Timestamp(trigger_ms * MS), Duration::from_secs(1)).map(|offset| offset.0 as f64 / 1e6)
    }

    #[test]
    fn the_middle_is_found_between_the_frames() {
        for upright in [false, true] {
            for middle in [1500.0, 1507.0, 1519.0, 1333.0] {
                let found = middle_ms(&film(33.3, middle, upright), 1400).unwrap();
                assert!((found - (middle - 1400.0)).abs() < 3.0, "{found} for {middle}, upright {upright}");
            }
        }
        // A slow camera has two or three frames of the whole part.
        let found = middle_ms(&film(100.0, 1507.0, false), 1400).unwrap();
        assert!((found - 107.0).abs() < 8.0, "{found}");
    }

    #[test]
    fn a_triggered_camera_answers_with_its_exposure_and_an_empty_belt_with_nothing() {
        let mut tracker = PartCentreTracker::default();
        for pass in 0..5 {
            tracker.look(&frame(1012.0 + 3000.0 * f64::from(pass), 80.0, false));
        }
        assert_eq!(middle_ms(&tracker, 1000), Some(12.0));
        assert_eq!(middle_ms(&tracker, 7_000), Some(12.0));
        assert_eq!(middle_ms(&tracker, 8_500), None, "no frame");
        assert_eq!(middle_ms(&film(33.3, 90_000.0, false), 1400), None, "no part");
    }

    #[test]
    fn memory_is_bounded_and_a_new_size_starts_afresh() {
        let mut tracker = PartCentreTracker::default();
        for n in 0..2 * REMEMBERED {
            tracker.look(&frame(n as f64, 1e6, false));
        }
        assert_eq!(tracker.grids.len(), REMEMBERED);
        tracker.look(&Frame::still(8, 8, vec![0; 192]));
        assert_eq!(tracker.grids.len(), 1);
    }
}
