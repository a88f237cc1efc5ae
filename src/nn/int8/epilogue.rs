//! From accumulators to results: the same f32 operations on every instruction set.

/// Where results go and how accumulators become them. `h x w` is the output's size, `o` its channels.
#[derive(Debug)]
pub enum Out<'a> {
    /// `clamp(rint(f32(acc) * scale[o]) + zero, low, high)`, half to even: onnxruntime's bits.
    Quantised {
        /// u8, NHWC with `pitch` bytes from pixel to pixel; channel 0 of pixel 0 is `y[offset]`.
        y: &'a mut [u8],
        /// Bytes from pixel to pixel: `o`, or more where convolutions write side by side (a Concat of channels).
        pitch: usize,
        /// Channels before the first one written.
        offset: usize,
        /// `o` factors from accumulator to steps of the output.
        scale: &'a [f32],
        /// The output's zero point.
        zero: u8,
        /// Smallest result, for example `zero` after a Relu.
        low: u8,
        /// Largest result, for example that of 6 after a Relu6.
        high: u8,
    },
    /// `f32(acc) * scale[o] + bias[o]`, rounded after each operation.
    Real {
        /// f32, NHWC: `h * w * o`.
        y: &'a mut [f32],
        /// `o` factors.
        scale: &'a [f32],
        /// `o` summands.
        bias: &'a [f32],
    },
    /// The minimum of `f32(acc) * scale[o] + bias[o]` over all channels of each pixel; zeros are positive.
    ///
    /// The nearest of `o` prototypes without a matrix of distances in memory.
    Min {
        /// f32: `h * w`.
        y: &'a mut [f32],
        /// `o` factors.
        scale: &'a [f32],
        /// `o` summands.
        bias: &'a [f32],
    },
}

impl<'a> Out<'a> {
    /// The results of the first `pixels` pixels, and those of the others.
    pub(super) fn split_at(self, pixels: usize) -> (Self, Self) {
        match self {
            Self::Quantised { y, pitch, offset, scale, zero, low, high } => {
                let (first, rest) = y.split_at_mut(pixels * pitch);
                let part = |y| Self::Quantised { y, pitch, offset, scale, zero, low, high };
                (part(first), part(rest))
            }
            Self::Real { y, scale, bias } => {
                let (first, rest) = y.split_at_mut(pixels * scale.len());
                (Self::Real { y: first, scale, bias }, Self::Real { y: rest, scale, bias })
            }
            Self::Min { y, scale, bias } => {
                let (first, rest) = y.split_at_mut(pixels);
                (Self::Min { y: first, scale, bias }, Self::Min { y: rest, scale, bias })
            }
        }
    }
}

/// Where a strip's results go; `scale` and `bias` are padded to whole vectors of channels.
pub(super) enum Sink<'a> {
    Quantised {
        y: &'a mut [u8],
        pitch: usize,
        scale: &'a [f32],
        clamp: Clamp,
    },
    Real {
        y: &'a mut [f32],
        pitch: usize,
        scale: &'a [f32],
        bias: &'a [f32],
    },
    /// A vector of running minima for each pixel. Padded channels have an infinite bias.
    Min {
        minima: &'a mut [f32],
        scale: &'a [f32],
        bias: &'a [f32],
    },
}

/// Outputs that kernels write together: all, or those of some groups.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocks {
    pub count: usize,
    /// Outputs of each.
    pub outputs: usize,
    /// Outputs of each, padded to whole vectors.
    pub padded: usize,
}

/// The output of one run, from which strips take their sinks.
pub(super) struct Target<'a> {
    out: Out<'a>,
    /// Scales of each block and, after all of them, biases, each block padded to whole vectors.
    factors: &'a mut [f32],
    minima: &'a mut [f32],
    blocks: Blocks,
    lanes: usize,
}

impl<'a> Target<'a> {
    /// Checks the lengths of `out`, of so many pixels and channels, and pads its factors: results of padded channels are
    /// infinite, so never the minimum.
    pub(super) fn new(
        out: Out<'a>,
        [pixels, outputs]: [usize; 2],
        blocks: Blocks,
        lanes: usize,
        factors: &'a mut [f32],
        minima: &'a mut [f32],
    ) -> Self {
        let (scale, bias) = match &out {
            Out::Quantised { y, pitch, offset, scale, low, high, .. } => {
                let row = offset.checked_add(outputs).expect("an offset within memory");
                assert!(row <= *pitch, "{outputs} channels from {offset} on do not fit into {pitch}");
                assert_eq!(Some(y.len()), pitch.checked_mul(pixels), "the length of the output");
                assert!(low <= high, "the range {low}..={high} of the output is empty");
                (*scale, &[][..])
            }
            Out::Real { y, scale, bias } => {
                assert_eq!(y.len(), pixels * outputs, "the length of the output");
                (*scale, *bias)
            }
            Out::Min { y, scale, bias } => {
                assert_eq!(y.len(), pixels, "the length of the output");
                (*scale, *bias)
            }
        };
        assert_eq!(scale.len(), outputs, "the number of scales");
        let all = blocks.count * blocks.padded;
        let (scales, biases) = factors[..2 * all].split_at_mut(all);
        pad(scales, scale, 0.0, blocks);
        biases.fill(f32::INFINITY);
        if !matches!(out, Out::Quantised { .. }) {
            assert_eq!(bias.len(), outputs, "the number of biases");
            pad(biases, bias, f32::INFINITY, blocks);
        }
        Self { out, factors, minima, blocks, lanes }
    }

    /// The sink of a block's outputs of `pixels` pixels from `first` on; blocks of a strip come in order.
    pub(super) fn strip(&mut self, first: usize, pixels: usize, block: usize) -> Sink<'_> {
        let Blocks { count, outputs, padded } = self.blocks;
        let (scale, bias) = self.factors[..2 * count * padded].split_at(count * padded);
        let (scale, bias) = (&scale[block * padded..][..padded], &bias[block * padded..][..padded]);
        match &mut self.out {
            Out::Quantised { y, pitch, offset, zero, low, high, .. } => {
                let y = &mut y[first * *pitch + *offset + block * outputs..];
                Sink::Quantised { y, pitch: *pitch, scale, clamp: Clamp { zero: *zero, low: *low, high: *high } }
            }
            Out::Real { y, .. } => {
                let pitch = count * outputs;
                Sink::Real { y: &mut y[first * pitch + block * outputs..], pitch, scale, bias }
            }
            Out::Min { .. } => {
                let minima = &mut self.minima[..pixels * self.lanes];
                if block == 0 {
                    minima.fill(f32::INFINITY);
                }
                Sink::Min { minima, scale, bias }
            }
        }
    }

    /// Takes back the sinks of a strip.
    pub(super) fn close(&mut self, first: usize, pixels: usize) {
        if let Out::Min { y, .. } = &mut self.out {
            let lanes = self.minima.chunks_exact(self.lanes);
            for (y, lanes) in y[first..first + pixels].iter_mut().zip(lanes) {
                // Adding 0 makes a negative zero positive: which of two zeros is the minimum depends on the order.
                *y = lanes.iter().fold(f32::INFINITY, |a, b| min(a, *b)) + 0.0;
            }
        }
    }
}

/// Puts `values` into blocks padded with `with`.
fn pad(to: &mut [f32], values: &[f32], with: f32, of: Blocks) {
    for (to, values) in to.chunks_exact_mut(of.padded).zip(values.chunks_exact(of.outputs)) {
        to[..of.outputs].copy_from_slice(values);
        to[of.outputs..].fill(with);
    }
}

/// The range of a quantised result.
#[derive(Clone, Copy, Debug)]
pub(in crate::nn) struct Clamp {
    pub zero: u8,
    pub low: u8,
    pub high: u8,
}

/// 1.5 * 2^23: added to a value of small magnitude it leaves the value, rounded half to even, in the low bits.
const ROUND: f32 = 12_582_912.0;

impl Clamp {
    /// The same range around another zero point.
    pub(in crate::nn) fn around(self, zero: u8) -> Self {
        Self { zero, ..self }
    }

    /// Smallest and largest result before the zero point is added.
    ///
    /// They are integers, so that clamping to them before rounding gives what clamping after it would.
    #[inline(always)]
    pub(super) fn steps(self) -> (f32, f32) {
        let zero = f32::from(self.zero);
        (f32::from(self.low) - zero, f32::from(self.high) - zero)
    }

    /// Steps rounded half to even onto the range, without an instruction for it that old processors lack. What is not a
    /// number becomes the smallest byte.
    #[inline(always)]
    pub(in crate::nn) fn quantise(self, steps: f32) -> u8 {
        let (low, high) = self.steps();
        let rounded = min(max(steps, low), high) + ROUND;
        (rounded.to_bits() as u8).wrapping_add(self.zero)
    }
}

/// One instruction on every architecture; which of two zeros comes out is not defined.
#[inline(always)]
fn min(a: f32, b: f32) -> f32 {
    if cfg!(target_arch = "aarch64") {
        a.min(b)
    } else if a < b {
        a
    } else {
        b
    }
}

#[inline(always)]
fn max(a: f32, b: f32) -> f32 {
    if cfg!(target_arch = "aarch64") {
        a.max(b)
    } else if a > b {
        a
    } else {
        b
    }
}

/// Writes accumulators of some pixels from `pixel` on and `N` channels from `channel` on, as far as there are channels.
///
/// In plain Rust, for the portable kernels; the others have the same on vectors of their own.
#[inline(always)]
pub(super) fn finish<const N: usize>(
    acc: &[[i32; N]],
    sink: &mut Sink<'_>,
    pixel: usize,
    channel: usize,
    outputs: usize,
) {
    let valid = N.min(outputs - channel);
    for (p, acc) in acc.iter().enumerate() {
        let pixel = pixel + p;
        match sink {
            Sink::Quantised { y, pitch, scale, clamp } => {
                let y = &mut y[pixel * *pitch + channel..][..valid];
                for ((y, acc), scale) in y.iter_mut().zip(acc).zip(&scale[channel..]) {
                    *y = clamp.quantise(*acc as f32 * scale);
                }
            }
            Sink::Real { y, pitch, scale, bias } => {
                let y = &mut y[pixel * *pitch + channel..][..valid];
                for (((y, acc), scale), bias) in y.iter_mut().zip(acc).zip(&scale[channel..]).zip(&bias[channel..]) {
                    *y = *acc as f32 * scale + bias;
                }
            }
            Sink::Min { minima: lanes, scale, bias } => {
                let lanes = &mut lanes[pixel * N..][..N];
                for (((y, acc), scale), bias) in lanes.iter_mut().zip(acc).zip(&scale[channel..]).zip(&bias[channel..])
                {
                    *y = min(*acc as f32 * scale + bias, *y);
                }
            }
        }
    }
}
