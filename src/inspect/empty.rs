//! The empty belt: whether a frame shows all of the background that is seen where no part lies.
//!
//! Only where the *whole* background is seen there is no part. One cell that differs is enough to look closer, so that
//! what is left of a smashed part is inspected, and rejected, as a part.

use serde::{Deserialize, Serialize};

use super::preprocess::{Scratch, sample};
use super::sight::Ranges;
use crate::frame::Frame;
use crate::frame::geometry::View;

/// Cells along the longer side. Chosen: a fragment of 1 % of the width fills a cell.
const CELLS: u32 = 96;
/// Cells may differ by this many times as much as empty belts differ from each other.
const SPREAD: f32 = 1.5;
/// … and by this many grey levels at least.
const TOLERANCE_MIN: f32 = 4.0;
/// Belts may be darker or brighter than the taught ones by these factors.
const LIGHT: [f32; 2] = [0.7, 1.4];

/// The background that is seen where no part lies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Empty {
    /// Columns of the picture below.
    pub columns: usize,
    /// Rows of it.
    pub rows: usize,
    /// The mean empty belt, `[3, rows, columns]`, planar RGB.
    pub belt: Vec<u8>,
    /// Most that a cell may differ from it in a channel, grey levels, once both are as bright.
    pub tolerance: f32,
    /// Least and largest brightness, as factors on the mean belt's.
    pub light: [f32; 2],
    /// Between which limits the empty belts' statistics lay.
    pub ranges: Ranges,
}

impl Default for Empty {
    /// Nothing is like it.
    fn default() -> Self {
        let ranges = Ranges::of(&[super::scene::Scene::default()]);
        Self { columns: 0, rows: 0, belt: Vec::new(), tolerance: 0.0, light: [1.0; 2], ranges }
    }
}

/// Buffers that a thread keeps.
#[derive(Default)]
pub struct Buffers {
    sampling: Scratch,
    cells: Vec<u8>,
}

/// Columns and rows of a frame's cells.
fn grid(frame: &Frame) -> [usize; 2] {
    let longer = f64::from(frame.width.max(frame.height).max(1));
    [frame.width, frame.height].map(|side| ((f64::from(side) / longer * f64::from(CELLS)).round() as usize).max(1))
}

fn cells_of(frame: &Frame, [columns, rows]: [usize; 2], buffers: &mut Buffers) {
    buffers.cells.resize(3 * rows * columns, 0);
    let whole = View::whole(frame.width, frame.height);
    sample(frame, &whole, columns, rows, &mut buffers.cells, &mut buffers.sampling);
}

fn mean(values: &[u8]) -> f32 {
    values.iter().map(|&v| u64::from(v)).sum::<u64>() as f32 / values.len().max(1) as f32
}

/// The largest difference of a cell from the belt's, once both are as bright.
fn difference(cells: &[u8], belt: &[f32], gain: f32) -> f32 {
    cells.iter().zip(belt).map(|(&v, b)| (f32::from(v) / gain - b).abs()).fold(0.0, f32::max)
}

impl Empty {
    /// From pictures of the empty belt and their statistics' `ranges`; all are seen with the first one's aspect.
    ///
    /// # Panics
    /// If there are fewer than two.
    pub fn of(frames: &[Frame], ranges: Ranges) -> Self {
        assert!(frames.len() > 1, "one picture does not say how belts differ");
        let ([columns, rows], mut buffers) = (grid(&frames[0]), Buffers::default());
        let all: Vec<Vec<u8>> = frames
            .iter()
            .map(|frame| {
                cells_of(frame, [columns, rows], &mut buffers);
                buffers.cells.clone()
            })
            .collect();
        let lights: Vec<f32> = all.iter().map(|cells| mean(cells).max(1.0)).collect();
        let usual = lights.iter().sum::<f32>() / lights.len() as f32;
        let gains: Vec<f32> = lights.iter().map(|light| light / usual).collect();
        let mut sums = vec![0.0f32; 3 * rows * columns];
        for (cells, gain) in all.iter().zip(&gains) {
            sums.iter_mut().zip(cells).for_each(|(sum, &v)| *sum += f32::from(v) / gain);
        }
        let count = all.len() as f32;
        // From the others' mean: a picture is no measure of itself.
        let spread = |(cells, gain): (&Vec<u8>, &f32)| {
            let others: Vec<f32> =
                sums.iter().zip(cells).map(|(sum, &v)| (sum - f32::from(v) / gain) / (count - 1.0)).collect();
            difference(cells, &others, *gain)
        };
        let spread = all.iter().zip(&gains).map(spread).fold(0.0, f32::max);
        let ends = gains.iter().fold([f32::MAX, 0.0f32], |[low, high], &g| [low.min(g), high.max(g)]);
        Self {
            columns,
            rows,
            belt: sums.iter().map(|sum| (sum / count).round().clamp(0.0, 255.0) as u8).collect(),
            tolerance: (SPREAD * spread).max(TOLERANCE_MIN),
            light: [LIGHT[0] * ends[0], LIGHT[1] * ends[1]],
            ranges,
        }
    }

    /// Whether a frame shows all of the background and nothing else. Cost: one read of the frame.
    pub fn matches(&self, frame: &Frame, buffers: &mut Buffers) -> bool {
        self.differs(frame, buffers).is_some_and(|most| most <= self.tolerance)
    }

    /// The largest difference of a cell from the empty belt, grey levels; `None` where the light is another.
    pub fn differs(&self, frame: &Frame, buffers: &mut Buffers) -> Option<f32> {
        if self.belt.is_empty() || frame.rgb.is_empty() {
            return None;
        }
        cells_of(frame, [self.columns, self.rows], buffers);
        let gain = mean(&buffers.cells) / mean(&self.belt).max(1.0);
        let is_lit = (self.light[0]..=self.light[1]).contains(&gain);
        let far = |(&v, &b): (&u8, &u8)| (f32::from(v) / gain - f32::from(b)).abs();
        is_lit.then(|| buffers.cells.iter().zip(&self.belt).map(far).fold(0.0, f32::max))
    }

    /// Whether the numbers are ones that a training run writes.
    pub fn is_sound(&self) -> bool {
        let most = CELLS as usize;
        (1..=most).contains(&self.columns)
            && (1..=most).contains(&self.rows)
            && self.belt.len() == 3 * self.rows * self.columns
            && (0.0..=255.0).contains(&self.tolerance)
            && self.light.iter().all(|v| v.is_finite() && *v > 0.0)
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::inspect::scene::Scene;

    fn belt(light: f32, rng: &mut ChaCha8Rng, part: impl Fn(u32, u32) -> Option<f32>) -> Frame {
        let (width, height) = (320, 240);
        let mut rgb = Vec::new();
        for y in 0..height {
            for x in 0..width {
                let usual = 80.0 + 20.0 * f32::from(u8::from((x / 40_u32 + y / 60_u32).is_multiple_of(2)));
                let noise = rng.random_range(-6.0..6.0);
                rgb.extend([(part(x, y).unwrap_or(usual) * light + noise).clamp(0.0, 255.0) as u8; 3]);
            }
        }
        Frame::still(width, height, rgb)
    }

    fn taught() -> (Empty, ChaCha8Rng) {
        let mut rng = ChaCha8Rng::seed_from_u64(8);
        let frames: Vec<Frame> = (0..5).map(|i| belt(0.95 + 0.02 * i as f32, &mut rng, |_, _| None)).collect();
        (Empty::of(&frames, Ranges::of(&[Scene::default()])), rng)
    }

    #[test]
    fn the_whole_background_is_the_empty_belt_and_a_fragment_is_not() {
        let (empty, mut rng) = taught();
        assert!(empty.is_sound() && empty.tolerance < 12.0, "{}", empty.tolerance);
        let mut buffers = Buffers::default();
        for light in [0.8, 1.0, 1.2] {
            assert!(empty.matches(&belt(light, &mut rng, |_, _| None), &mut buffers), "{light}");
            // A hundredth of the width, anywhere.
            let (left, top) = (rng.random_range(0..310), rng.random_range(0..230));
            let crumb =
                |x: u32, y: u32| ((left..left + 4).contains(&x) && (top..top + 4).contains(&y)).then_some(180.0);
            assert!(!empty.matches(&belt(light, &mut rng, crumb), &mut buffers), "{light}: {left}, {top}");
        }
        let part = |x: u32, y: u32| ((60..260).contains(&x) && (40..200).contains(&y)).then_some(150.0);
        assert!(!empty.matches(&belt(1.0, &mut rng, part), &mut buffers));
    }

    #[test]
    fn another_light_is_not_the_empty_belt() {
        let (empty, mut rng) = taught();
        let mut buffers = Buffers::default();
        for light in [0.02, 0.5, 1.7] {
            assert!(!empty.matches(&belt(light, &mut rng, |_, _| None), &mut buffers), "{light}");
        }
        assert!(!empty.matches(&Frame::empty(), &mut buffers));
        assert!(!Empty::default().matches(&belt(1.0, &mut rng, |_, _| None), &mut buffers));
    }
}
