//! Loops over a model's input: its moments, and the affine map that brings it to one brightness and contrast.

use super::isa::{Kernel, PixelIsa, dispatch};

/// The sum of `values` and the sum of their squares.
pub fn moments(values: &[u8]) -> (u64, u64) {
    dispatch(Moments(values))
}

struct Moments<'a>(&'a [u8]);

impl Kernel for Moments<'_> {
    type Out = (u64, u64);

    #[inline(always)]
    fn run<I: PixelIsa>(self, _: I) -> (u64, u64) {
        let (mut sum, mut square) = (0, 0);
        // So many squares fit into 32 bits.
        for chunk in self.0.chunks(1 << 16) {
            sum += u64::from(chunk.iter().map(|&v| u32::from(v)).sum::<u32>());
            square += u64::from(chunk.iter().map(|&v| u32::from(v) * u32::from(v)).sum::<u32>());
        }
        (sum, square)
    }
}

/// An affine map of bytes in fixed point: `value * gain + offset`, rounded half up and clamped to 0..=255.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Affine {
    gain: i32,
    offset: i32,
}

/// Fraction bits of [`Affine`].
const SHIFT: u32 = 16;

impl Affine {
    /// The largest gain that has room: sums stay below 2^31.
    pub const GAIN_MAX: f64 = 64.0;
    /// Leaves everything as it is.
    pub const IDENTITY: Self = Self { gain: 1 << SHIFT, offset: 1 << (SHIFT - 1) };

    /// The map with `gain`, of 0 to [`Affine::GAIN_MAX`] (clamped), that brings `from`, of 0 to 255, to `to`.
    pub fn new(gain: f64, from: f64, to: f64) -> Self {
        let fixed = |value: f64| (value * f64::from(1 << SHIFT)).round() as i32;
        let gain = fixed(gain.clamp(0.0, Self::GAIN_MAX));
        let offset = fixed(to - f64::from(gain) / f64::from(1 << SHIFT) * from) + (1 << (SHIFT - 1));
        Self { gain, offset }
    }

    /// Applies it in place.
    pub fn apply(self, values: &mut [u8]) {
        dispatch(Apply(self, values));
    }
}

struct Apply<'a>(Affine, &'a mut [u8]);

impl Kernel for Apply<'_> {
    type Out = ();

    #[inline(always)]
    fn run<I: PixelIsa>(self, _: I) {
        let Self(Affine { gain, offset }, values) = self;
        for value in values {
            *value = ((i32::from(*value) * gain + offset) >> SHIFT).clamp(0, 255) as u8;
        }
    }
}
