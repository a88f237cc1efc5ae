//! Intensity normalisation: every frame is brought to one brightness and one contrast before the model sees it.
//!
//! A lamp that ages by a third moves every feature of every part; no threshold survives that, and no network of this size
//! was taught to ignore it. One affine map for the whole frame and all three colours leaves colours and everything
//! local as they were. Every set that was tried gained
//! (`docs/EXPERIMENTS.md`, "One light for every frame").

use serde::{Deserialize, Serialize};

use crate::frame::kernels::input::{Affine, moments};

/// The middle of the model's input range: where every frame's mean is brought to.
const MIDDLE: f64 = 128.0;

/// What every frame is brought to; part of the recipe.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct IntensityStats {
    /// Standard deviation of the full image's pixel values.
    pub contrast: f32,
    /// Largest factor on a frame's contrast: an empty belt must not become a picture of its noise.
    pub gain_max: f32,
}

impl Default for IntensityStats {
    fn default() -> Self {
        Self { contrast: 42.0, gain_max: 4.0 }
    }
}

/// The map for one frame: `(v - mean) * gain + 128`, rounded and clamped.
#[derive(Clone, Copy, Debug)]
pub struct IntensityNorm(Affine);

impl IntensityNorm {
    /// Leaves everything as it is.
    pub fn identity() -> Self {
        Self(Affine::IDENTITY)
    }

    /// From the full image's model input, `[3, H, W]` u8, before any normalisation. Cost: one read of the input.
    pub fn of(input: &[u8], light: &IntensityStats) -> Self {
        let (sum, square) = moments(input);
        let n = input.len().max(1) as f64;
        let mean = sum as f64 / n;
        let std = (square as f64 / n - mean * mean).max(0.0).sqrt();
        let gain = (light.contrast / (std as f32).max(1e-3)).min(light.gain_max);
        Self(Affine::new(gain.into(), mean, MIDDLE))
    }

    /// Applies the map in place.
    pub fn apply(&self, input: &mut [u8]) {
        self.0.apply(input);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levelled(pixels: impl Iterator<Item = f32>) -> Vec<u8> {
        let mut v: Vec<u8> = pixels.map(|p| p.round().clamp(0.0, 255.0) as u8).collect();
        IntensityNorm::of(&v, &IntensityStats::default()).apply(&mut v);
        v
    }

    #[test]
    fn a_dimmed_picture_looks_like_the_bright_one() {
        let bright = || (0..3000).map(|i| 60.0 + (i * 37 % 120) as f32);
        let reference = levelled(bright());
        for (gain, offset) in [(0.7, 0.0), (1.3, 0.0), (0.6, 40.0)] {
            let other = levelled(bright().map(|v| v * gain + offset));
            let far = reference.iter().zip(&other).map(|(a, b)| a.abs_diff(*b)).max();
            assert!(far <= Some(3), "{gain} {offset}: {far:?}");
        }
        let mean = reference.iter().map(|&v| f64::from(v)).sum::<f64>() / 3000.0;
        assert!((mean - 128.0).abs() < 1.0, "{mean}");
    }

    #[test]
    fn noise_on_an_even_picture_is_not_blown_up() {
        let flat = levelled((0..999).map(|i| 90.0 + (i % 2) as f32));
        assert!(flat.iter().all(|v| (126..=130).contains(v)), "{:?}", &flat[..4]);
        let even = levelled((0..999).map(|_| 90.0));
        assert!(even.iter().all(|&v| v == 128));
    }
}
