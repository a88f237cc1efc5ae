//! What regions run beside convolutions, and the way in and out. All NHWC, portable.

mod pools;
mod resize;
mod stack;

use super::super::fusion::{FusedAdd, FusedMean, FusedMoment, FusedMul, FusedSquares, FusedStore, Grid, Usual};
use super::super::int8::pointwise::{self, Averaging, Storing, Sum, Window};
use super::super::int8::{Clamp, Isa};
use super::form::Shape;
pub(super) use pools::{AveragePool, MaxPool};
pub(super) use resize::Resize;
pub(super) use stack::Stack;

/// Pixels that are turned at once, so that both sides stay in the cache.
const BLOCK: usize = 64;

/// NCHW to NHWC.
pub(super) fn interleave<T: Copy>(x: &[T], pixels: usize, channels: usize, y: &mut [T], map: impl Fn(T) -> T) {
    if channels == 3 {
        // A picture: vectors of three planes at a time.
        let (red, others) = x.split_at(pixels);
        let (green, blue) = others.split_at(pixels);
        let planes = red.iter().zip(green).zip(blue);
        for (out, ((&r, &g), &b)) in y.as_chunks_mut::<3>().0.iter_mut().zip(planes) {
            *out = [map(r), map(g), map(b)];
        }
        return;
    }
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
    isa: Isa,
    sum: Sum,
}

/// What two stored tensors and a third one mean.
fn sum(add: &FusedAdd) -> Sum {
    let clamp = Clamp { zero: add.y.zero, low: add.low, high: add.high };
    let (scales, zeros) = (add.x.map(|g| g.scale), add.x.map(|g| g.zero.into()));
    Sum { scales, zeros, y: add.y.scale, clamp }
}

impl Add {
    pub(super) fn new(add: &FusedAdd, isa: Isa) -> Self {
        Self { isa, sum: sum(add) }
    }

    pub(super) fn run(&self, a: &[u8], b: &[u8], y: &mut [u8]) {
        pointwise::add(self.isa, self.sum, a, b, y);
    }
}

/// The product of two stored tensors, stored again: `clamp(rint((a - za) sa (b - zb) sb / s) + z)`, every operation rounded
/// to f32. One that is a single pixel is repeated.
pub(super) struct Mul {
    isa: Isa,
    of: Sum,
    /// Bytes that are multiplied at a time: all, or a pixel where one of the two has no other.
    piece: usize,
}

impl Mul {
    pub(super) fn shape(a: Shape, b: Shape) -> Option<Shape> {
        let is_pixel = |x: Shape| x[..2] == [1, 1];
        let larger = if is_pixel(a) { b } else { a };
        (a == b || (a[2] == b[2] && (is_pixel(a) || is_pixel(b)))).then_some(larger).filter(|y| !y.contains(&0))
    }

    pub(super) fn new(mul: &FusedMul, x: &[Shape], isa: Isa) -> Self {
        let sizes = [x[0], x[1]].map(|x| x.iter().product::<usize>());
        Self { isa, of: sum(&mul.0), piece: sizes[0].min(sizes[1]) }
    }

    pub(super) fn run(&self, a: &[u8], b: &[u8], y: &mut [u8]) {
        let pieces = a.chunks_exact(self.piece).cycle().zip(b.chunks_exact(self.piece).cycle());
        for (y, (a, b)) in y.chunks_exact_mut(self.piece).zip(pieces) {
            pointwise::multiply(self.isa, self.of, a, b, y);
        }
    }
}

/// All bytes of a grid.
fn clamp(grid: Grid) -> Clamp {
    Clamp { zero: grid.zero, low: u8::MIN, high: u8::MAX }
}

/// The mean of each channel over the whole picture: `rint((sum / n - zx) * (sx / sy)) + zy`.
pub(super) struct Mean {
    isa: Isa,
    window: Window,
    to: Averaging,
    factor: Vec<f32>,
}

impl Mean {
    pub(super) fn shape([height, width, channels]: Shape) -> Option<Shape> {
        let pixels = height.checked_mul(width)?;
        // Sums of more bytes would not fit into 32 bits.
        (1..=1 << 24).contains(&pixels).then_some([1, 1, channels])
    }

    pub(super) fn new(mean: &FusedMean, [height, width, channels]: Shape, isa: Isa) -> Self {
        let window = Window { rows: [0, height], columns: [0, width], width, outside: 0 };
        let to = Averaging { zero: mean.x.zero, clamp: clamp(mean.y) };
        Self { isa, window, to, factor: vec![mean.x.scale / mean.y.scale; channels] }
    }

    pub(super) fn run(&self, x: &[u8], y: &mut [u8]) {
        pointwise::average(self.isa, self.to, self.window, x, &self.factor, y);
    }
}

/// The mean of each channel over the whole picture, `sum * (sx / n)` of whole numbers around zero, or that of squares,
/// `sum * (sx^2 / n)`.
pub(super) struct Moment {
    isa: Isa,
    zero: u8,
    is_squared: bool,
    factor: f32,
}

impl Moment {
    pub(super) fn new(moment: &FusedMoment, [height, width, _]: Shape, isa: Isa) -> Self {
        let FusedMoment { x, is_squared, .. } = *moment;
        let unit = if is_squared { x.scale * x.scale } else { x.scale };
        Self { isa, zero: x.zero, is_squared, factor: unit / (height * width) as f32 }
    }

    pub(super) fn run(&self, x: &[u8], y: &mut [f32]) {
        let moment = if self.is_squared { pointwise::squares } else { pointwise::sums };
        moment(self.isa, self.zero, self.factor, x, y);
    }
}

/// Floats put on a grid, as QuantizeLinear does: true division, half to even.
pub(super) struct Store {
    isa: Isa,
    to: Storing,
}

impl Store {
    pub(super) fn new(store: &FusedStore, isa: Isa) -> Self {
        let FusedStore { grid, leak } = *store;
        Self { isa, to: Storing { scale: grid.scale, leak: leak.unwrap_or(1.0), clamp: clamp(grid) } }
    }

    pub(super) fn run(&self, x: &[f32], y: &mut [u8]) {
        pointwise::store(self.isa, self.to, x, y);
    }
}

/// The sum of squares over the channels of each pixel.
pub(super) struct Squares {
    isa: Isa,
    channels: usize,
    zero: u8,
    scale: f32,
    /// Mean and gain of each pixel and channel; or the steps of each channel, where they are read.
    from: Option<Usual>,
}

impl Squares {
    pub(super) fn shape(squares: &FusedSquares, x: &[Shape]) -> Option<Shape> {
        let [height, width, channels] = x[0];
        let fits = match &squares.from {
            None => x.len() == 1,
            Some(Usual::Constant(maps)) => x.len() == 1 && maps.iter().all(|v| v.len() == height * width * channels),
            Some(Usual::Shown(steps)) => {
                x.len() == 3 && x[1..].iter().all(|of| *of == x[0]) && steps.iter().all(|s| s.len() == channels)
            }
        };
        fits.then_some([height, width, 1])
    }

    pub(super) fn new(squares: &FusedSquares, [height, width, channels]: Shape, isa: Isa) -> Self {
        let turned = |v: &Vec<f32>| {
            let mut out = vec![0.0; v.len()];
            interleave(v, height * width, channels, &mut out, |v| v);
            out
        };
        let from = squares.from.as_ref().map(|from| match from {
            Usual::Constant(maps) => Usual::Constant(maps.each_ref().map(turned)),
            Usual::Shown(steps) => Usual::Shown(steps.clone()),
        });
        Self { isa, channels, zero: squares.x.zero, scale: squares.x.scale, from }
    }

    /// `usual` are stored means and gains, where they are read; `room` is kept by the caller.
    pub(super) fn run(&self, x: &[u8], usual: [&[u8]; 2], room: &mut [Vec<f32>; 2], y: &mut [f32]) {
        let grid = [f32::from(self.zero), self.scale];
        for (pixel, (y, x)) in y.iter_mut().zip(x.chunks_exact(self.channels)).enumerate() {
            let at = pixel * self.channels..(pixel + 1) * self.channels;
            match &self.from {
                None => pointwise::norm(self.isa, self.zero, self.scale * self.scale, x, y),
                Some(Usual::Constant(maps)) => {
                    pointwise::distance(self.isa, grid, maps.each_ref().map(|map| &map[at.clone()]), x, y);
                }
                Some(Usual::Shown(steps)) => {
                    for ((room, stored), steps) in room.iter_mut().zip(usual).zip(steps) {
                        room.clear();
                        // Signed bytes are read 128 higher.
                        let real = |(&byte, step): (&u8, &f32)| f32::from((byte ^ 0x80) as i8) * step;
                        room.extend(stored[at.clone()].iter().zip(steps).map(real));
                    }
                    pointwise::distance(self.isa, grid, room.each_ref().map(Vec::as_slice), x, y);
                }
            }
        }
    }
}
