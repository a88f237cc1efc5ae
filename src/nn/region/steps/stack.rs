//! A concatenation, whose inputs may be averaged, multiplied and repeated.

use super::super::super::fusion::{Branch, FusedStack};
use super::super::super::int8::pointwise::{self, Averaging, Window};
use super::super::super::int8::{Clamp, Isa};
use super::super::form::Shape;
use super::clamp;

/// Stored tensors side by side on one grid.
pub(in super::super) struct Stack {
    branches: Vec<Averaged>,
    pitch: usize,
}

/// One of them.
struct Averaged {
    isa: Isa,
    input: Shape,
    reach: [usize; 2],
    repeat: usize,
    offset: usize,
    zero: u8,
    /// From the mean of a window to steps of the output, for each channel.
    factor: Vec<f32>,
    clamp: Clamp,
    /// What each byte becomes, where nothing is averaged and all channels are alike.
    table: Option<[u8; 256]>,
    /// Whether that changes nothing.
    is_copy: bool,
}

impl Stack {
    pub(in super::super) fn shape(stack: &FusedStack, x: &[Shape]) -> Option<Shape> {
        let large = |(b, x): (&Branch, &Shape)| {
            let is_ours = x[2] > 0 && (b.gain.is_empty() || b.gain.len() == x[2]);
            is_ours.then_some([x[0].checked_mul(b.repeat)?, x[1].checked_mul(b.repeat)?])
        };
        let sizes: Vec<[usize; 2]> = stack.branches.iter().zip(x).map(large).collect::<Option<_>>()?;
        let first = *sizes.first()?;
        let channels = x.iter().map(|x| x[2]).sum();
        sizes.iter().all(|s| *s == first).then_some([first[0], first[1], channels])
    }

    pub(in super::super) fn new(stack: &FusedStack, x: &[Shape], isa: Isa) -> Self {
        let mut offset = 0;
        let mut averaged = |(b, &input): (&Branch, &Shape)| {
            let gain = |c: usize| b.gain.get(c).copied().unwrap_or(1.0);
            let is_alike = b.window == [1, 1] && b.gain.is_empty();
            let mut one = Averaged {
                isa,
                input,
                reach: [b.window[0] / 2, b.window[1] / 2],
                repeat: b.repeat,
                offset,
                zero: b.x.zero,
                factor: (0..input[2]).map(|c| b.x.scale * gain(c) / stack.y.scale).collect(),
                clamp: clamp(stack.y),
                table: None,
                is_copy: is_alike && b.x == stack.y,
            };
            if is_alike {
                one.table = Some(std::array::from_fn(|byte| one.byte(byte as f32, one.factor[0])));
            }
            offset += input[2];
            one
        };
        let branches = stack.branches.iter().zip(x).map(&mut averaged).collect();
        Self { branches, pitch: offset }
    }

    /// Writes branch `i` into its channels of `y`.
    pub(in super::super) fn run(&self, i: usize, x: &[u8], y: &mut [u8]) {
        let branch = &self.branches[i];
        let [height, width, channels] = branch.input;
        for (row, column) in (0..height).flat_map(|r| (0..width).map(move |c| (r, c))) {
            let place = |r: usize, c: usize| {
                let pixel = (row * branch.repeat + r) * width * branch.repeat + column * branch.repeat + c;
                pixel * self.pitch + branch.offset
            };
            let first = place(0, 0);
            branch.cell(x, row, column, &mut y[first..][..channels]);
            for (r, c) in (0..branch.repeat).flat_map(|r| (0..branch.repeat).map(move |c| (r, c))).skip(1) {
                y.copy_within(first..first + channels, place(r, c));
            }
        }
    }
}

impl Averaged {
    fn byte(&self, mean: f32, factor: f32) -> u8 {
        self.clamp.quantise((mean - f32::from(self.zero)) * factor)
    }

    /// All channels of one cell.
    fn cell(&self, x: &[u8], row: usize, column: usize, y: &mut [u8]) {
        let [height, width, channels] = self.input;
        let cell = |r: usize, c: usize| &x[(r * width + c) * channels..][..channels];
        match &self.table {
            _ if self.is_copy => return y.copy_from_slice(cell(row, column)),
            Some(table) => return y.iter_mut().zip(cell(row, column)).for_each(|(y, &x)| *y = table[usize::from(x)]),
            None => {}
        }
        let [down, across] = self.reach;
        let rows = row.saturating_sub(down)..(row + down + 1).min(height);
        let columns = column.saturating_sub(across)..(column + across + 1).min(width);
        let window = Window { rows: [rows.start, rows.end], columns: [columns.start, columns.end], width, outside: 0 };
        let grid = Averaging { zero: self.zero, clamp: self.clamp };
        pointwise::average(self.isa, grid, window, x, &self.factor, y);
    }
}
