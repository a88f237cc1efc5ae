//! Pictures made larger by whole factors, each cell a blend of its four neighbours.

use super::super::super::check::ELEMENTS_MAX;
use super::super::super::fusion::{Coordinates, FusedResize};
use super::super::super::int8::Isa;
use super::super::super::int8::pointwise::{self, Blending};
use super::super::form::Shape;
use super::clamp;

/// Bilinear, with the sequence of f32 operations that onnxruntime has, so that bytes which are cut off are its bytes.
pub(in super::super) struct Resize {
    isa: Isa,
    input: Shape,
    to: Blending,
    rows: Vec<Tap>,
    columns: Vec<Tap>,
}

/// Two neighbours along a side with their weights.
#[derive(Clone, Copy)]
struct Tap {
    at: [usize; 2],
    weights: [f32; 2],
}

impl Resize {
    pub(in super::super) fn shape(resize: &FusedResize, [height, width, channels]: Shape) -> Option<Shape> {
        let larger = [height.checked_mul(resize.factor[0])?, width.checked_mul(resize.factor[1])?, channels];
        let count = larger.iter().try_fold(1usize, |n, &d| n.checked_mul(d))?;
        (1..=ELEMENTS_MAX).contains(&count).then_some(larger)
    }

    /// A resize whose [`Resize::shape`] there is.
    pub(in super::super) fn new(resize: &FusedResize, input: Shape, isa: Isa) -> Self {
        let taps = |axis: usize| {
            let (size, factor) = (input[axis], resize.factor[axis]);
            (0..size * factor).map(|at| tap(at, size, factor, resize.coordinates)).collect()
        };
        let signed = if resize.x.is_signed { 128 } else { 0 };
        let to = match resize.cuts {
            true => Blending { from: signed, factor: 1.0, cuts: true, clamp: clamp(resize.x).around(signed) },
            false => {
                let factor = resize.x.scale / resize.y.scale;
                Blending { from: resize.x.zero, factor, cuts: false, clamp: clamp(resize.y) }
            }
        };
        Self { isa, input, to, rows: taps(0), columns: taps(1) }
    }

    pub(in super::super) fn run(&self, x: &[u8], y: &mut [u8]) {
        let [_, width, channels] = self.input;
        let cells = self.rows.iter().flat_map(|row| self.columns.iter().map(move |column| (row, column)));
        for (y, (row, column)) in y.chunks_exact_mut(channels).zip(cells) {
            let cell = |r: usize, c: usize| &x[(row.at[r] * width + column.at[c]) * channels..][..channels];
            let four = [cell(0, 0), cell(0, 1), cell(1, 0), cell(1, 1)];
            let weight = |r: usize, c: usize| column.weights[c] * row.weights[r];
            let weights = [weight(0, 0), weight(0, 1), weight(1, 0), weight(1, 1)];
            pointwise::blend(self.isa, self.to, four, weights, y);
        }
    }
}

/// The neighbours of cell `at` along a side of `size` cells that becomes `factor` times as long.
fn tap(at: usize, size: usize, factor: usize, coordinates: Coordinates) -> Tap {
    let (x, scale, larger) = (at as f32, factor as f32, size * factor);
    let centre = (x + 0.5) / scale - 0.5;
    let real = match coordinates {
        Coordinates::HalfPixel => centre,
        Coordinates::PytorchHalfPixel if larger > 1 => centre,
        Coordinates::AlignCorners if larger > 1 => x * (size - 1) as f32 / (larger - 1) as f32,
        Coordinates::PytorchHalfPixel | Coordinates::AlignCorners => 0.0,
        Coordinates::Asymmetric => x / scale,
    };
    let real = real.clamp(0.0, (size - 1) as f32);
    let first = (real as usize).min(size - 1);
    let second = (first + 1).min(size - 1);
    let weights = match first == second {
        true => [0.5, 0.5],
        false => [(real - second as f32).abs(), (real - first as f32).abs()],
    };
    Tap { at: [first, second], weights }
}
