//! Noise for the simulated belt: hashes, seeded draws and wrapping tiles.
//!
//! Only `+ - * /`, square roots and integer arithmetic, never `sin` or `exp`: those differ between C libraries, and a
//! part has to look the same to the last bit wherever it is rendered.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// Seeded draws for one purpose; `stream` separates parts of the same seed.
pub(super) struct Draws(ChaCha8Rng);

impl Draws {
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self(rng)
    }

    /// Uniform in `0.0..1.0`.
    pub(super) fn unit(&mut self) -> f32 {
        (self.0.next_u32() >> 8) as f32 * (1.0 / 16_777_216.0)
    }

    /// Uniform in `low..high`.
    pub(super) fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// Uniform in `-reach..reach`.
    pub(super) fn within(&mut self, reach: f32) -> f32 {
        self.between(-reach, reach)
    }

    /// A direction of length 1, uniform over the circle.
    pub(super) fn direction(&mut self) -> [f32; 2] {
        loop {
            let (x, y) = (self.within(1.0), self.within(1.0));
            let square = x * x + y * y;
            if (0.01..=1.0).contains(&square) {
                let length = square.sqrt();
                return [x / length, y / length];
            }
        }
    }

    /// A whole number in `0..count`; `count` is at least 1.
    pub(super) fn below(&mut self, count: usize) -> usize {
        self.0.next_u32() as usize % count
    }
}

/// Mixes `value` so that neighbouring inputs have unrelated outputs (the finaliser of SplitMix64, Steele et al. 2014).
#[inline]
pub(super) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Three bell-shaped values of mean 0 and standard deviation 1 from 64 hashed bits: each the sum of three 7-bit fields.
#[inline]
pub(super) fn bells(bits: u64) -> [f32; 3] {
    let bell = |field: u32| {
        let sum = (field & 127) + ((field >> 7) & 127) + ((field >> 14) & 127);
        // Mean 3 x 63.5, variance 3 x (128^2 - 1) / 12.
        (sum as i32 as f32 - 190.5) * (1.0 / 63.998)
    };
    [bell(bits as u32), bell((bits >> 21) as u32), bell((bits >> 42) as u32)]
}

/// A smooth step from 0 at `low` to 1 at `high`.
#[inline]
pub(super) fn ramp(x: f32, low: f32, high: f32) -> f32 {
    let t = ((x - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// The whole number at or below `x`, and the rest; faster than `floor`, which is a call on plain x86-64.
#[inline]
pub(super) fn split(x: f32) -> (i32, f32) {
    let towards_zero = x as i32;
    let whole = towards_zero - i32::from(x < towards_zero as f32);
    (whole, x - whole as f32)
}

/// A square noise picture that wraps around at its edges, `SIDE` x `SIDE` texels.
pub(super) struct Tile {
    /// [`Tile::SIDE`] squared of them: the length lets masked positions do without bounds checks.
    texels: Box<[f32; Tile::SIDE * Tile::SIDE]>,
}

impl Tile {
    /// Texels along one side; a power of two, so that wrapping is a mask.
    pub(super) const SIDE: usize = 512;

    /// White noise of mean 0 and standard deviation 1.
    pub(super) fn white(seed: u64) -> Self {
        let count = (Self::SIDE * Self::SIDE) as u64;
        let texels: Box<[f32]> = (0..count).map(|i| bells(mix(seed ^ mix(i)))[0]).collect();
        Self { texels: texels.try_into().expect("as many texels as were counted") }
    }

    /// The tile blurred by boxes of `2 * radius + 1` texels along x and y, twice, and brought back to deviation 1.
    pub(super) fn smoothed(mut self, radius_x: usize, radius_y: usize) -> Self {
        for _ in 0..2 {
            self.blur(radius_x, 1, Self::SIDE);
            self.blur(radius_y, Self::SIDE, 1);
        }
        let count = self.texels.len() as f32;
        let mean = self.texels.iter().sum::<f32>() / count;
        let square = self.texels.iter().map(|t| (t - mean) * (t - mean)).sum::<f32>() / count;
        let scale = 1.0 / square.sqrt();
        self.texels.iter_mut().for_each(|t| *t = (*t - mean) * scale);
        self
    }

    /// This tile plus `weight` times another.
    pub(super) fn plus(mut self, other: &Self, weight: f32) -> Self {
        self.texels.iter_mut().zip(other.texels.iter()).for_each(|(t, o)| *t += weight * o);
        self
    }

    /// Each texel replaced by `change(x, y, texel)`.
    pub(super) fn changed(mut self, change: impl Fn(usize, usize, f32) -> f32) -> Self {
        for (i, t) in self.texels.iter_mut().enumerate() {
            *t = change(i % Self::SIDE, i / Self::SIDE, *t);
        }
        self
    }

    /// Running-sum box blur of lines whose texels lie `step` apart and whose starts lie `line` apart.
    fn blur(&mut self, radius: usize, step: usize, line: usize) {
        if radius == 0 {
            return;
        }
        let side = Self::SIDE;
        let mut source = vec![0.0f32; side];
        for start in (0..side).map(|l| l * line) {
            for (i, s) in source.iter_mut().enumerate() {
                *s = self.texels[start + i * step];
            }
            let at = |i: usize| source[i & (side - 1)];
            let mut sum: f32 = (0..=2 * radius).map(|i| at(i + side - radius)).sum();
            for i in 0..side {
                self.texels[start + i * step] = sum / (2 * radius + 1) as f32;
                sum += at(i + radius + 1) - at(i + side - radius);
            }
        }
    }

    /// The tile at a fractional position in texels, interpolated; any position wraps.
    #[inline]
    pub(super) fn at(&self, x: f32, y: f32) -> f32 {
        let ((column, fx), (row, fy)) = (split(x), split(y));
        let wrap = |i: i32| (i & (Self::SIDE as i32 - 1)) as usize;
        let (left, right) = (wrap(column), wrap(column + 1));
        let (top, bottom) = (wrap(row) * Self::SIDE, wrap(row + 1) * Self::SIDE);
        let upper = self.texels[top + left] + fx * (self.texels[top + right] - self.texels[top + left]);
        let lower = self.texels[bottom + left] + fx * (self.texels[bottom + right] - self.texels[bottom + left]);
        upper + fy * (lower - upper)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bells_have_mean_zero_and_deviation_one() {
        let values: Vec<f32> = (0..40_000u64).flat_map(|i| bells(mix(i))).collect();
        let count = values.len() as f32;
        let mean = values.iter().sum::<f32>() / count;
        let deviation = (values.iter().map(|v| (v - mean) * (v - mean)).sum::<f32>() / count).sqrt();
        assert!(mean.abs() < 0.01, "mean {mean}");
        assert!((deviation - 1.0).abs() < 0.01, "deviation {deviation}");
    }

    #[test]
    fn a_tile_wraps_without_a_seam() {
        let tile = Tile::white(7).smoothed(6, 3);
        let side = Tile::SIDE as f32;
        for i in 0..50 {
            let (x, y) = (i as f32 * 7.25, i as f32 * 3.5);
            assert_eq!(tile.at(x, y), tile.at(x - side, y + 2.0 * side));
            // A blur of 13 texels leaves small steps everywhere, the wrapping column included.
            assert!((tile.at(side - 0.5, y) - tile.at(side + 0.5, y)).abs() < 1.0);
        }
    }
}
