//! What regions run beside convolutions, and the way in and out. All NHWC, portable.

use super::super::fusion::{Branch, FusedAdd, FusedPool, FusedSquares, FusedStack, FusedStore, Grid};
use super::Shape;

/// Pixels that are turned at once, so that both sides stay in the cache.
const BLOCK: usize = 64;

/// NCHW to NHWC.
pub(super) fn interleave<T: Copy>(x: &[T], pixels: usize, channels: usize, y: &mut [T], map: impl Fn(T) -> T) {
    for first in (0..pixels).step_by(BLOCK) {
        let count = BLOCK.min(pixels - first);
        let out = &mut y[first * channels..][..count * channels];
        for c in 0..channels {
            let plane = &x[c * pixels + first..][..count];
            out[c..].iter_mut().step_by(channels).zip(plane).for_each(|(out, &v)| *out = map(v));
        }
    }
}

/// NHWC to NCHW.
pub(super) fn deinterleave<T: Copy>(x: &[T], pixels: usize, channels: usize, y: &mut [T], map: impl Fn(T) -> T) {
    for first in (0..pixels).step_by(BLOCK) {
        let count = BLOCK.min(pixels - first);
        let from = &x[first * channels..][..count * channels];
        for c in 0..channels {
            let plane = &mut y[c * pixels + first..][..count];
            plane.iter_mut().zip(from[c..].iter().step_by(channels)).for_each(|(out, &v)| *out = map(v));
        }
    }
}

/// The sum of two stored tensors, stored again: `clamp(rint(((a - za) sa + (b - zb) sb) / s) + z)`, as it is written in
/// QDQ form, every operation rounded to f32.
pub(super) struct Add {
    scales: [f32; 2],
    zeros: [f32; 2],
    y: f32,
    zero: f32,
    low: f32,
    high: f32,
}

impl Add {
    pub(super) fn new(add: &FusedAdd) -> Self {
        Self {
            scales: add.x.map(|g| g.scale),
            zeros: add.x.map(|g| g.zero.into()),
            y: add.y.scale,
            zero: add.y.zero.into(),
            low: add.low.into(),
            high: add.high.into(),
        }
    }

    pub(super) fn run(&self, a: &[u8], b: &[u8], y: &mut [u8]) {
        let Self { scales: [sa, sb], zeros: [za, zb], y: scale, zero, low, high } = *self;
        for (y, (&a, &b)) in y.iter_mut().zip(a.iter().zip(b)) {
            let sum = (f32::from(a) - za) * sa + (f32::from(b) - zb) * sb;
            *y = ((sum / scale).round_ties_even() + zero).clamp(low, high) as u8;
        }
    }
}

/// The greatest byte of each window; what lies outside counts for nothing.
pub(super) struct MaxPool {
    kernel: [usize; 2],
    stride: [usize; 2],
    pads: [usize; 4],
    input: Shape,
    output: Shape,
}

impl MaxPool {
    pub(super) fn shape(pool: &FusedPool, [height, width, channels]: Shape) -> Option<Shape> {
        let [top, left, bottom, right] = pool.pads;
        let along = |size: usize, before: usize, after: usize, axis: usize| {
            let room = size.checked_add(before)?.checked_add(after)?.checked_sub(pool.kernel[axis])?;
            (before < pool.kernel[axis] && after < pool.kernel[axis])
                .then(|| room.checked_div(pool.stride[axis]))?
                .map(|n| n + 1)
        };
        Some([along(height, top, bottom, 0)?, along(width, left, right, 1)?, channels])
    }

    /// A pool whose [`MaxPool::shape`] there is.
    pub(super) fn new(pool: &FusedPool, input: Shape) -> Self {
        let output = Self::shape(pool, input).expect("a shape that was checked");
        Self { kernel: pool.kernel, stride: pool.stride, pads: pool.pads, input, output }
    }

    pub(super) fn run(&self, x: &[u8], y: &mut [u8]) {
        let [height, width, channels] = self.input;
        let [rows, columns, _] = self.output;
        let [top, left, ..] = self.pads;
        for (row, column) in (0..rows).flat_map(|r| (0..columns).map(move |c| (r, c))) {
            let out = &mut y[(row * columns + column) * channels..][..channels];
            out.fill(0);
            for (ky, kx) in (0..self.kernel[0]).flat_map(|ky| (0..self.kernel[1]).map(move |kx| (ky, kx))) {
                let at =
                    (row * self.stride[0] + ky).checked_sub(top).zip((column * self.stride[1] + kx).checked_sub(left));
                let Some((iy, ix)) = at.filter(|&(iy, ix)| iy < height && ix < width) else { continue };
                let from = &x[(iy * width + ix) * channels..][..channels];
                out.iter_mut().zip(from).for_each(|(out, &v)| *out = (*out).max(v));
            }
        }
    }
}

/// 1.5 * 2^23: added to a value of small magnitude it leaves the value, rounded half to even, in the low bits.
const ROUND: f32 = 12_582_912.0;

/// Rounds steps half to even onto a grid's bytes; without an instruction for it that old processors lack.
#[derive(Clone, Copy)]
struct Rounding {
    low: f32,
    high: f32,
    zero: u8,
}

impl Rounding {
    fn new(grid: Grid) -> Self {
        let zero = f32::from(grid.zero);
        Self { low: -zero, high: 255.0 - zero, zero: grid.zero }
    }

    /// What is not a number becomes the least byte.
    fn byte(self, steps: f32) -> u8 {
        let above = if steps > self.low { steps } else { self.low };
        let inside = if above < self.high { above } else { self.high };
        ((inside + ROUND).to_bits() as u8).wrapping_add(self.zero)
    }
}

/// Floats put on a grid, as QuantizeLinear does: true division, half to even.
pub(super) struct Store {
    scale: f32,
    rounding: Rounding,
    leak: f32,
}

impl Store {
    pub(super) fn new(store: &FusedStore) -> Self {
        Self { scale: store.grid.scale, rounding: Rounding::new(store.grid), leak: store.leak.unwrap_or(1.0) }
    }

    pub(super) fn run(&self, x: &[f32], y: &mut [u8]) {
        let Self { scale, rounding, leak } = *self;
        for (y, &x) in y.iter_mut().zip(x) {
            let x = if x < 0.0 { x * leak } else { x };
            *y = rounding.byte(x / scale);
        }
    }
}

/// Sums that are kept apart, so that they can be vectors.
const LANES: usize = 16;

/// The sum of squares over the channels of each pixel.
pub(super) struct Squares {
    channels: usize,
    zero: f32,
    scale: f32,
    /// Mean and gain of each pixel and channel.
    from: Option<(Vec<f32>, Vec<f32>)>,
}

impl Squares {
    pub(super) fn shape(squares: &FusedSquares, [height, width, channels]: Shape) -> Option<Shape> {
        let fits = |v: &Vec<f32>| v.len() == height * width * channels;
        squares.from.as_ref().is_none_or(|(mean, gain)| fits(mean) && fits(gain)).then_some([height, width, 1])
    }

    pub(super) fn new(squares: &FusedSquares, [height, width, channels]: Shape) -> Self {
        let turned = |v: &Vec<f32>| {
            let mut out = vec![0.0; v.len()];
            interleave(v, height * width, channels, &mut out, |v| v);
            out
        };
        Self {
            channels,
            zero: squares.x.zero.into(),
            scale: squares.x.scale,
            from: squares.from.as_ref().map(|(mean, gain)| (turned(mean), turned(gain))),
        }
    }

    pub(super) fn run(&self, x: &[u8], y: &mut [f32]) {
        let Self { channels, zero, scale, from } = self;
        for (pixel, (y, x)) in y.iter_mut().zip(x.chunks_exact(*channels)).enumerate() {
            *y = match from {
                // Whole numbers: exact in any order.
                None => x.iter().map(|&v| (f32::from(v) - zero) * (f32::from(v) - zero)).sum::<f32>() * (scale * scale),
                Some((mean, gain)) => {
                    let at = pixel * channels..(pixel + 1) * channels;
                    self.distance(x, &mean[at.clone()], &gain[at])
                }
            };
        }
    }

    fn distance(&self, x: &[u8], mean: &[f32], gain: &[f32]) -> f32 {
        let square = |x: u8, mean: f32, gain: f32| {
            let d = ((f32::from(x) - self.zero) * self.scale - mean) * gain;
            d * d
        };
        let mut sums = [0.0f32; LANES];
        let (xs, rest) = x.as_chunks::<LANES>();
        let (means, mean_rest) = mean.as_chunks::<LANES>();
        let (gains, gain_rest) = gain.as_chunks::<LANES>();
        for ((x, mean), gain) in xs.iter().zip(means).zip(gains) {
            for i in 0..LANES {
                sums[i] += square(x[i], mean[i], gain[i]);
            }
        }
        let tail = rest.iter().zip(mean_rest).zip(gain_rest).map(|((&x, &mean), &gain)| square(x, mean, gain));
        sums.iter().sum::<f32>() + tail.sum::<f32>()
    }
}

/// Stored tensors side by side on one grid.
pub(super) struct Stack {
    branches: Vec<Averaged>,
    pitch: usize,
}

/// One of them.
struct Averaged {
    input: Shape,
    reach: [usize; 2],
    repeat: usize,
    offset: usize,
    zero: f32,
    /// From the mean of a window to steps of the output, for each channel.
    factor: Vec<f32>,
    rounding: Rounding,
}

impl Stack {
    pub(super) fn shape(stack: &FusedStack, x: &[Shape]) -> Option<Shape> {
        let large = |(b, x): (&Branch, &Shape)| {
            let is_ours = b.gain.is_empty() || b.gain.len() == x[2];
            is_ours.then_some([x[0].checked_mul(b.repeat)?, x[1].checked_mul(b.repeat)?])
        };
        let sizes: Vec<[usize; 2]> = stack.branches.iter().zip(x).map(large).collect::<Option<_>>()?;
        let first = *sizes.first()?;
        let channels = x.iter().map(|x| x[2]).sum();
        sizes.iter().all(|s| *s == first).then_some([first[0], first[1], channels])
    }

    pub(super) fn new(stack: &FusedStack, x: &[Shape]) -> Self {
        let mut offset = 0;
        let mut averaged = |(b, &input): (&Branch, &Shape)| {
            let gain = |c: usize| b.gain.get(c).copied().unwrap_or(1.0);
            let one = Averaged {
                input,
                reach: [b.window[0] / 2, b.window[1] / 2],
                repeat: b.repeat,
                offset,
                zero: b.x.zero.into(),
                factor: (0..input[2]).map(|c| b.x.scale * gain(c) / stack.y.scale).collect(),
                rounding: Rounding::new(stack.y),
            };
            offset += input[2];
            one
        };
        let branches = stack.branches.iter().zip(x).map(&mut averaged).collect();
        Self { branches, pitch: offset }
    }

    /// Writes branch `i` into its channels of `y`.
    pub(super) fn run(&self, i: usize, x: &[u8], y: &mut [u8]) {
        let branch = &self.branches[i];
        let [height, width, channels] = branch.input;
        // A piece of the channels at a time, so that sums stay in registers.
        for (row, column) in (0..height).flat_map(|r| (0..width).map(move |c| (r, c))) {
            let [down, across] = branch.reach;
            let rows = row.saturating_sub(down)..(row + down + 1).min(height);
            let columns = column.saturating_sub(across)..(column + across + 1).min(width);
            let count = (rows.len() * columns.len()) as f32;
            for first in (0..channels).step_by(LANES) {
                let piece = LANES.min(channels - first);
                let mut sums = [0u32; LANES];
                for r in rows.clone() {
                    for c in columns.clone() {
                        let from = &x[(r * width + c) * channels + first..][..piece];
                        if let Some(from) = from.first_chunk::<LANES>() {
                            (0..LANES).for_each(|i| sums[i] += u32::from(from[i]));
                        } else {
                            sums.iter_mut().zip(from).for_each(|(s, &v)| *s += u32::from(v));
                        }
                    }
                }
                let mut bytes = [0u8; LANES];
                let factor = &branch.factor[first..][..piece];
                for ((byte, sum), factor) in bytes.iter_mut().zip(&sums).zip(factor) {
                    *byte = branch.rounding.byte((*sum as f32 / count - branch.zero) * factor);
                }
                for (r, c) in (0..branch.repeat).flat_map(|r| (0..branch.repeat).map(move |c| (r, c))) {
                    let pixel = (row * branch.repeat + r) * width * branch.repeat + column * branch.repeat + c;
                    y[pixel * self.pitch + branch.offset + first..][..piece].copy_from_slice(&bytes[..piece]);
                }
            }
        }
    }
}
