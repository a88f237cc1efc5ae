//! 3x3 windows side by side in tiles of 2x2 outputs: F(2x2, 3x3) of Lavin and Gray, "Fast algorithms for convolutional
//! neural networks" (2016), after Winograd; 16 multiplications instead of 36.
//!
//! ```text
//! 4x4 pixels u8 ─► Bᵀ d B, i16 ─► 16 products of [tiles, channels] and [channels, outputs], i32 ─► Aᵀ m A / 4, i32
//! ```
//!
//! On integers it is exact. Weights are transformed with twice Winograd's G, so that nothing is halved; what comes out is
//! four times the sum, which a shift divides without a rest.

pub(super) use super::kernels::winograd::LANES;
use super::kernels::winograd::{CHANNELS, Lines, PLACES, TILES, Tiles, Winograd};
use super::packed::STRIP;
use super::shape::ConvShape;

/// Rows that a tile reads.
const ROWS: usize = 4;
/// With more, four times a sum could leave an i32: 9 * 512 * 255 * 255 is less than 2^29.
const CHANNELS_MAX: usize = 512;
/// Outputs below which transforming pixels costs what it saves.
const OUTPUTS_MIN: usize = 16;

/// Twice G: what a column or row of three weights becomes.
fn transformed([a, b, c]: [i16; 3]) -> [i16; 4] {
    [2 * a, a + b + c, a - b + c, 2 * c]
}

/// Whether a convolution is one for tiles.
pub(super) fn suits(shape: &ConvShape) -> bool {
    let [height, width, outputs] = shape.output();
    let channels = shape.input[2];
    let is_plain = [shape.kernel, shape.stride, shape.dilation] == [[3; 2], [1; 2], [1; 2]] && shape.groups == 1;
    is_plain
        && channels.is_multiple_of(CHANNELS)
        && channels <= CHANNELS_MAX
        && outputs >= OUTPUTS_MIN
        && height > 1
        && width > 4
}

/// Transformed weights, `[outputs / LANES][PLACES][channels / unit][LANES][unit]`, of the sums of `parts`, which are
/// `[outputs][channels][3][3]`.
pub(super) fn pack(shape: &ConvShape, parts: &[&[i8]], unit: usize) -> Vec<i16> {
    let channels = shape.input[2];
    let mut packed = vec![0; shape.outputs.next_multiple_of(LANES) * PLACES * channels];
    for (at, o, c) in (0..shape.outputs * channels).map(|at| (at, at / channels, at % channels)) {
        let w: [i16; 9] = std::array::from_fn(|tap| parts.iter().map(|part| i16::from(part[9 * at + tap])).sum());
        let columns = [0, 1, 2].map(|x| transformed([w[x], w[3 + x], w[6 + x]]));
        for place in 0..PLACES {
            let row = transformed(columns.map(|column| column[place / 4]));
            let of_panel = (o / LANES * PLACES + place) * channels * LANES;
            packed[of_panel + (c / unit * LANES + o % LANES) * unit + c % unit] = row[place % 4];
        }
    }
    packed
}

/// What a run needs besides its arguments.
pub(super) struct Memory<'a> {
    /// The rows of a strip, padded.
    pub lines: &'a mut [u8],
    pub tiles: &'a mut [i16],
    pub sums: &'a mut [i32],
}

/// Elements of each of a [`Memory`].
pub(super) fn needed(shape: &ConvShape) -> [usize; 3] {
    let channels = shape.input[2];
    let panels = shape.outputs.div_ceil(LANES);
    [ROWS * (2 * TILES + 2) * channels, PLACES * TILES * channels, 2 * panels * STRIP * LANES]
}

/// A convolution's weights and the picture that they are run over.
pub(super) struct Run<'a> {
    pub shape: &'a ConvShape,
    pub picture: &'a [u8],
    /// What the picture is padded with.
    pub zero: u8,
    /// As [`pack`] gives them.
    pub weights: &'a [i16],
    pub bias: &'a [i32],
    pub kernels: &'a Winograd,
}

impl Run<'_> {
    /// Sums of up to [`STRIP`] pixels from (`y`, `x`) on and of those below them, biases among them:
    /// `[2][panels][STRIP][LANES]`. What lies outside the output is anything.
    pub(super) fn strip<'m>(
        &self,
        [y, x]: [usize; 2],
        pixels: usize,
        memory: &'m mut Memory<'_>,
    ) -> &'m mut [[i32; LANES]] {
        let (channels, tiles) = (self.shape.input[2], pixels.div_ceil(2));
        let pitch = (2 * tiles + 2) * channels;
        let lines = &mut memory.lines[..ROWS * pitch];
        for (row, line) in lines.chunks_exact_mut(pitch).enumerate() {
            self.copy([y + row, x], line);
        }
        self.kernels.transform(&Lines::new(lines, channels, tiles), memory.tiles);
        let sums = memory.sums.as_chunks_mut().0;
        let tiles = Tiles::new(memory.tiles, channels, tiles, self.weights, self.bias);
        self.kernels.multiply(&tiles, sums);
        sums
    }

    /// Pixels of a row of the padded picture, from (`y`, `x`) of that on; padding goes on below and to the right.
    fn copy(&self, [y, x]: [usize; 2], line: &mut [u8]) {
        let [height, width, channels] = self.shape.input;
        let [top, left, ..] = self.shape.pads;
        let Some(y) = y.checked_sub(top).filter(|y| *y < height) else { return line.fill(self.zero) };
        let pixels = line.len() / channels;
        let before = left.saturating_sub(x).min(pixels);
        let from = (x + before - left).min(width);
        let count = (pixels - before).min(width - from);
        let (padding, rest) = line.split_at_mut(before * channels);
        let (inside, after) = rest.split_at_mut(count * channels);
        padding.fill(self.zero);
        inside.copy_from_slice(&self.picture[(y * width + from) * channels..][..count * channels]);
        after.fill(self.zero);
    }
}
