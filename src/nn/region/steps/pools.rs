//! Windows that slide over a picture.

use super::super::super::fusion::{FusedAverage, FusedPool};
use super::super::super::int8::Isa;
use super::super::super::int8::pointwise::{self, Averaging, Window};
use super::super::form::Shape;
use super::clamp;

/// Sums of more bytes would not fit into 32 bits.
const CELLS_MAX: usize = 1 << 24;

/// The shape that a window makes; none where it does not fit, or sees nothing but padding.
fn slid(
    kernel: [usize; 2],
    stride: [usize; 2],
    [top, left, bottom, right]: [usize; 4],
    [height, width, channels]: Shape,
) -> Option<Shape> {
    let along = |size: usize, before: usize, after: usize, axis: usize| {
        let room = size.checked_add(before)?.checked_add(after)?.checked_sub(kernel[axis])?;
        (before < kernel[axis] && after < kernel[axis]).then(|| room.checked_div(stride[axis]))?.map(|n| n + 1)
    };
    Some([along(height, top, bottom, 0)?, along(width, left, right, 1)?, channels])
}

/// The greatest byte of each window; what lies outside counts for nothing.
pub(in super::super) struct MaxPool {
    kernel: [usize; 2],
    stride: [usize; 2],
    pads: [usize; 4],
    input: Shape,
    output: Shape,
}

impl MaxPool {
    pub(in super::super) fn shape(pool: &FusedPool, input: Shape) -> Option<Shape> {
        slid(pool.kernel, pool.stride, pool.pads, input)
    }

    /// A pool whose [`MaxPool::shape`] there is.
    pub(in super::super) fn new(pool: &FusedPool, input: Shape) -> Self {
        let output = Self::shape(pool, input).expect("a shape that was checked");
        Self { kernel: pool.kernel, stride: pool.stride, pads: pool.pads, input, output }
    }

    pub(in super::super) fn run(&self, x: &[u8], y: &mut [u8]) {
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

/// The mean of each window: `rint((sum / n - zx) * (sx / sy)) + zy`, where what lies outside counts as zeros or not at
/// all.
pub(in super::super) struct AveragePool {
    isa: Isa,
    pool: FusedAverage,
    input: Shape,
    output: Shape,
    to: Averaging,
    factor: Vec<f32>,
}

impl AveragePool {
    pub(in super::super) fn shape(pool: &FusedAverage, input: Shape) -> Option<Shape> {
        let cells = pool.kernel[0].checked_mul(pool.kernel[1])?;
        let is_ours = (1..=CELLS_MAX).contains(&cells) && !input.contains(&0);
        is_ours.then(|| slid(pool.kernel, pool.stride, pool.pads, input))?
    }

    /// A pool whose [`AveragePool::shape`] there is.
    pub(in super::super) fn new(pool: &FusedAverage, input: Shape, isa: Isa) -> Self {
        let output = Self::shape(pool, input).expect("a shape that was checked");
        let to = Averaging { zero: pool.x.zero, clamp: clamp(pool.y) };
        let factor = vec![pool.x.scale / pool.y.scale; input[2]];
        Self { isa, pool: pool.clone(), input, output, to, factor }
    }

    pub(in super::super) fn run(&self, x: &[u8], y: &mut [u8]) {
        let ([height, width, channels], [_, columns, _]) = (self.input, self.output);
        let FusedAverage { kernel, stride, pads: [top, left, ..], .. } = self.pool;
        let inside = |at: usize, axis: usize, before: usize, size: usize| {
            let first = at * stride[axis];
            [first.saturating_sub(before), (first + kernel[axis]).saturating_sub(before).min(size)]
        };
        for (i, y) in y.chunks_exact_mut(channels).enumerate() {
            let (rows, columns) = (inside(i / columns, 0, top, height), inside(i % columns, 1, left, width));
            let seen = (rows[1] - rows[0]) * (columns[1] - columns[0]);
            let outside = if self.pool.counts_pads { kernel[0] * kernel[1] - seen } else { 0 };
            let window = Window { rows, columns, width, outside: outside as u32 };
            pointwise::average(self.isa, self.to, window, x, &self.factor, y);
        }
    }
}
