//! The comparison in the demo's closing table: the plain difference from the mean good picture.
//!
//! What a first attempt at inspection usually is, done properly: grey pictures of bounded size, their mean, a small
//! blur against noise, the strongest deviation as the score. It is never part of a verdict.

use crate::frame::Frame;

/// Pictures are averaged down to at most this many pixels across.
const WIDTH_MAX: usize = 320;

/// The plain difference from the mean good picture.
///
/// Holds two grey pictures of at most 320 pixels across; not a pixel of the training runs is kept.
#[derive(Clone, Debug)]
pub struct MeanDifference {
    width: usize,
    height: usize,
    mean: Vec<f32>,
    threshold: f32,
}

impl MeanDifference {
    /// Takes the mean of good frames, and as threshold the worst score that one of them has against the mean of the
    /// others, so that none is compared with itself.
    ///
    /// Frames of another size than the first are resampled to it.
    ///
    /// # Panics
    /// If there are fewer than two frames.
    pub fn fit(goods: &[Frame]) -> Self {
        assert!(goods.len() >= 2, "a mean good picture needs at least 2 good frames, not {}", goods.len());
        let (width, height) = reduced_size(&goods[0]);
        let mut mean = vec![0.0f32; width * height];
        let share = 1.0 / goods.len() as f32;
        for good in goods {
            mean.iter_mut().zip(grey(good, width, height)).for_each(|(m, g)| *m += g * share);
        }
        let fitted = Self { width, height, mean, threshold: 0.0 };
        // A frame's distance from the mean of the n - 1 others is n / (n - 1) times its distance from the mean of all;
        // blur, absolute value and maximum scale along.
        let others = goods.len() as f32 / (goods.len() - 1) as f32;
        let threshold = fitted.worst(goods) * others;
        Self { threshold, ..fitted }
    }

    /// A frame at or below this score passes.
    pub fn threshold(&self) -> f32 {
        self.threshold
    }

    /// Whether the comparison would have rejected the frame.
    pub fn rejects(&self, frame: &Frame) -> bool {
        self.score(frame) > self.threshold
    }

    /// The strongest deviation from the mean: the maximum of the 3x3-averaged absolute difference, in grey levels.
    /// About 2 ms for a 640x512 frame; allocates two reduced pictures.
    pub fn score(&self, frame: &Frame) -> f32 {
        let mut difference = grey(frame, self.width, self.height);
        difference.iter_mut().zip(&self.mean).for_each(|(d, m)| *d = (*d - m).abs());
        let at = |x: usize, y: usize| difference[y * self.width + x];
        let mut strongest = 0.0f32;
        for y in 1..self.height.saturating_sub(1) {
            for x in 1..self.width.saturating_sub(1) {
                let sum: f32 = (y - 1..=y + 1).map(|y| at(x - 1, y) + at(x, y) + at(x + 1, y)).sum();
                strongest = strongest.max(sum / 9.0);
            }
        }
        strongest
    }

    fn worst(&self, frames: &[Frame]) -> f32 {
        frames.iter().map(|f| self.score(f)).fold(0.0, f32::max)
    }
}

fn reduced_size(frame: &Frame) -> (usize, usize) {
    let (width, height) = (frame.width as usize, frame.height as usize);
    let divisor = width.div_ceil(WIDTH_MAX);
    ((width / divisor).max(1), (height / divisor).max(1))
}

/// The frame in grey levels, each target pixel the mean of the frame pixels that fall on it.
fn grey(frame: &Frame, width: usize, height: usize) -> Vec<f32> {
    let (from_width, from_height) = (frame.width as usize, frame.height as usize);
    let span = |i: usize, to: usize, from: usize| {
        let start = i * from / to;
        start..((i + 1) * from / to).max(start + 1)
    };
    let mut target = Vec::with_capacity(width * height);
    for y in 0..height {
        let rows = span(y, height, from_height);
        for x in 0..width {
            let columns = span(x, width, from_width);
            let (mut sum, count) = (0u32, (rows.len() * columns.len()) as f32);
            for row in rows.clone() {
                let line = &frame.rgb[(row * from_width + columns.start) * 3..(row * from_width + columns.end) * 3];
                // Rec. 601 luma in 1/256.
                sum += line
                    .chunks_exact(3)
                    .map(|p| 77 * u32::from(p[0]) + 150 * u32::from(p[1]) + 29 * u32::from(p[2]))
                    .sum::<u32>();
            }
            target.push(sum as f32 / (256.0 * count));
        }
    }
    target
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(level: u8, spot: Option<(usize, u8)>) -> Frame {
        let mut rgb = vec![level; 40 * 30 * 3];
        if let Some((at, value)) = spot {
            for row in at..at + 4 {
                rgb[(row * 40 + at) * 3..(row * 40 + at + 4) * 3].fill(value);
            }
        }
        Frame::still(40, 30, rgb)
    }

    #[test]
    fn the_threshold_is_the_worst_good_against_the_others() {
        let goods = [flat(100, None), flat(110, None), flat(120, None)];
        let baseline = MeanDifference::fit(&goods);
        // 100 against the mean of 110 and 120.
        assert!((baseline.threshold() - 15.0).abs() < 1e-3, "{}", baseline.threshold());
        assert!(!baseline.rejects(&flat(110, None)));
        assert!(baseline.rejects(&flat(110, Some((12, 150)))));
    }

    #[test]
    fn a_small_bright_spot_counts_where_it_is() {
        let baseline = MeanDifference::fit(&[flat(100, None), flat(100, None)]);
        assert_eq!(baseline.score(&flat(100, None)), 0.0);
        assert!((baseline.score(&flat(100, Some((10, 180)))) - 80.0).abs() < 1e-3);
    }
}
