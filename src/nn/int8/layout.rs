//! How the windows and outputs of a convolution are divided among kernels.

use super::epilogue::Blocks;
use super::kernels::Kernels;
use super::packed::SEGMENTS;
use super::plain;
use super::rows::Segments;
use super::shape::ConvShape;
use super::winograd;

/// How windows reach the kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KernelChoice {
    /// Segments are read in place, with so many bytes each; the last of them may have weights of 0 only.
    Direct(usize),
    /// Windows are copied a strip at a time, padded to whole units once rather than in each segment.
    Gathered,
    /// One filter a channel.
    Depthwise,
    /// 3x3 windows in tiles.
    Winograd,
    /// Windows of very many taps: a plain loop.
    Plain,
}

/// Everything that is decided before weights are packed.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub choice: KernelChoice,
    pub of: Segments,
    /// Segments that are read once more, for the part of their weights that does not fit into a byte: segment and part.
    pub again: Vec<(usize, usize)>,
    pub blocks: Blocks,
    /// Input channels of each block, which follow each other.
    pub inputs: usize,
}

impl Layout {
    /// `parts` are the weights, or several whose sum they are.
    pub(super) fn of(shape: &ConvShape, parts: &[&[i8]], kernels: &Kernels) -> Self {
        let taps = Segments::of(shape, shape.input[2], true);
        if kernels.winograd.is_some() && winograd::suits(shape) {
            return Self::new(shape, KernelChoice::Winograd, taps, 1, kernels);
        }
        if shape.is_depthwise() && taps.count <= SEGMENTS {
            let mut layout = Self::new(shape, KernelChoice::Depthwise, taps, 1, kernels);
            layout.again = layout.repeated(shape, parts);
            if layout.segments() <= SEGMENTS {
                return layout;
            }
        }
        let count = shape.groups / merged(shape, kernels.lanes);
        let of = Segments::of(shape, shape.input[2] / count, false);
        let mut layout = Self::new(shape, KernelChoice::Gathered, of, count, kernels);
        layout.again = layout.repeated(shape, parts);
        if layout.segments() > SEGMENTS {
            return Self::new(shape, KernelChoice::Plain, taps, 1, kernels);
        }
        if kernels.widen.is_none() {
            let bytes = of.bytes.next_multiple_of(kernels.unit);
            let wasted = layout.segments() * bytes - (layout.segments() * of.bytes).next_multiple_of(kernels.unit);
            // What copying a segment costs, in multiplications; in those padding is cheap where units are short.
            let copying = layout.segments() * (1024 / kernels.unit);
            if wasted * layout.blocks.outputs <= copying {
                layout.choice = KernelChoice::Direct(bytes);
            }
        }
        layout
    }

    fn new(shape: &ConvShape, choice: KernelChoice, of: Segments, count: usize, kernels: &Kernels) -> Self {
        let outputs = shape.outputs / count;
        let (lanes, _) = choice.lanes_and_flips(kernels);
        let blocks = Blocks { count, outputs, padded: outputs.next_multiple_of(lanes) };
        Self { choice, of, again: Vec::new(), blocks, inputs: shape.input[2] / count }
    }

    /// Segments of a window, those that are read again among them.
    pub(super) fn segments(&self) -> usize {
        self.of.count + self.again.len()
    }

    /// Bytes of a packed window.
    pub(super) fn window(&self, kernels: &Kernels) -> usize {
        match self.choice {
            KernelChoice::Direct(bytes) => self.segments() * bytes,
            KernelChoice::Gathered => (self.segments() * self.of.bytes).next_multiple_of(kernels.unit),
            KernelChoice::Depthwise | KernelChoice::Winograd | KernelChoice::Plain => self.segments(),
        }
    }

    /// Where weight `i` of output `o`, in ONNX order, stands in its window: the segment and the byte in it.
    pub(super) fn place(&self, shape: &ConvShape, o: usize, i: usize) -> (usize, usize) {
        // ONNX has the channel before the tap; an NHWC row has it after.
        let taps = shape.kernel[0] * shape.kernel[1];
        let group = o % self.blocks.outputs / (shape.outputs / shape.groups);
        let channel = group * (shape.input[2] / shape.groups) + i / taps;
        let k = (i % taps) * self.inputs + channel;
        (k / self.of.bytes, k % self.of.bytes)
    }

    /// The segment of packed weights for `part` of a segment; none where it is all zeros.
    pub(super) fn slot(&self, segment: usize, part: usize) -> Option<usize> {
        match part {
            0 => Some(segment),
            _ => self.again.iter().position(|a| *a == (segment, part)).map(|at| self.of.count + at),
        }
    }

    /// Segments with weights in a part after the first.
    fn repeated(&self, shape: &ConvShape, parts: &[&[i8]]) -> Vec<(usize, usize)> {
        let mut again = Vec::new();
        for (part, weights) in parts.iter().enumerate().skip(1) {
            let mut is_used = vec![false; self.of.count];
            for (at, _) in weights.iter().enumerate().filter(|(_, w)| **w != 0) {
                is_used[self.place(shape, at / shape.window(), at % shape.window()).0] = true;
            }
            again.extend((0..self.of.count).filter(|&s| is_used[s]).map(|s| (s, part)));
        }
        again
    }
}

impl KernelChoice {
    /// Channels whose minima the kernel keeps apart, and whether it flips the top bit of activations.
    pub(super) fn lanes_and_flips(self, kernels: &Kernels) -> (usize, bool) {
        match self {
            Self::Direct(_) | Self::Gathered => (kernels.lanes, kernels.flips),
            Self::Depthwise => (kernels.depthwise_lanes, kernels.depthwise_flips),
            Self::Winograd => (winograd::LANES, false),
            Self::Plain => (plain::LANES, false),
        }
    }
}

/// Neighbouring groups that are run as one, with zeros for what they do not see of each other: as many as fill a vector
/// of outputs. The zeros are multiplied where padding would be otherwise.
fn merged(shape: &ConvShape, lanes: usize) -> usize {
    let outputs = shape.outputs / shape.groups;
    (1..=shape.groups).rev().find(|n| shape.groups.is_multiple_of(*n) && n * outputs <= lanes).unwrap_or(1)
}
