//! Input rows with their padding, as windows slide down the image.

use super::kernels::Kernels;
use super::packed::{SEGMENTS, SLACK};
use super::shape::ConvShape;

/// Rows of one run. Rows with padding beside them are copied into a ring as tall as a window; others are read in place.
pub(super) struct Rows<'a> {
    shape: &'a ConvShape,
    x: &'a [u8],
    ring: &'a mut [u8],
    copies: bool,
    /// Bytes of a slot of the ring. The slot after the last one holds the zero point only.
    slot: usize,
    slots: usize,
    /// The first input row that has not been copied yet.
    next: usize,
}

impl<'a> Rows<'a> {
    /// Bytes of a ring for this shape.
    pub(super) fn ring(shape: &ConvShape) -> usize {
        (extent(shape) + 1) * slot(shape)
    }

    /// `copies` asks for slack after each row; rows with padding beside them are copied in any case.
    pub(super) fn new(shape: &'a ConvShape, x: &'a [u8], ring: &'a mut [u8], zero: u8, copies: bool) -> Self {
        let copies = copies || shape.pads[1] > 0 || shape.pads[3] > 0;
        let (slot, slots) = (slot(shape), extent(shape));
        if copies || shape.pads[0] > 0 || shape.pads[2] > 0 {
            ring[..(slots + 1) * slot].fill(zero);
        }
        Self { shape, x, ring, copies, slot, slots, next: 0 }
    }

    /// Makes the rows below output row `y` available. Output rows come in order.
    pub(super) fn advance(&mut self, y: usize) {
        if !self.copies {
            return;
        }
        let [height, width, channels] = self.shape.input;
        let below = (y * self.shape.stride[0] + self.slots).saturating_sub(self.shape.pads[0]).min(height);
        let first = (y * self.shape.stride[0]).saturating_sub(self.shape.pads[0]).max(self.next);
        let bytes = width * channels;
        for row in first..below {
            let at = (row % self.slots) * self.slot + self.shape.pads[1] * channels;
            self.ring[at..at + bytes].copy_from_slice(&self.x[row * bytes..][..bytes]);
        }
        self.next = below.max(self.next);
    }

    /// The input row of tap `ky` below output row `y`, from the left padding on; at least as long as all windows need.
    #[inline]
    pub(super) fn row(&self, y: usize, ky: usize) -> &[u8] {
        let row = (y * self.shape.stride[0] + ky * self.shape.dilation[0]).wrapping_sub(self.shape.pads[0]);
        if row >= self.shape.input[0] {
            &self.ring[self.slots * self.slot..][..self.slot]
        } else if self.copies {
            &self.ring[(row % self.slots) * self.slot..][..self.slot]
        } else {
            &self.x[row * self.shape.input[1] * self.shape.input[2]..]
        }
    }

    /// Parts of the window of output pixel (`y`, `x`) that are contiguous in memory, in order, from `channel` on; then
    /// those `again`.
    ///
    /// Each goes on to the end of its row: that of the next output pixel is [`Segments::step`] bytes further.
    #[inline]
    pub(super) fn segments(
        &self,
        [y, x]: [usize; 2],
        channel: usize,
        of: Segments,
        again: &[(usize, usize)],
    ) -> [&[u8]; SEGMENTS] {
        let mut segments: [&[u8]; SEGMENTS] = [&[]; SEGMENTS];
        for (ky, segments) in segments[..of.count].chunks_exact_mut(of.of_row).enumerate() {
            let row = &self.row(y, ky)[x * of.step + channel..];
            for (kx, segment) in segments.iter_mut().enumerate() {
                *segment = &row[kx * of.apart..];
            }
        }
        let (first, rest) = segments.split_at_mut(of.count);
        rest.iter_mut().zip(again).for_each(|(segment, (of, _))| *segment = first[*of]);
        segments
    }
}

/// How windows of a shape lie in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segments {
    /// Contiguous parts of a window.
    pub count: usize,
    /// Those in one row.
    pub of_row: usize,
    /// Bytes of each.
    pub bytes: usize,
    /// Bytes from each to the next one in the same row.
    pub apart: usize,
    /// Bytes from one output pixel's to the next one's.
    pub step: usize,
}

impl Segments {
    /// Rows of the window where they are contiguous and not `taps`, otherwise taps, of `channels` of the input's.
    pub(super) fn of(shape: &ConvShape, channels: usize, taps: bool) -> Self {
        let [height, width] = shape.kernel;
        let apart = shape.dilation[1] > 1 || channels < shape.input[2];
        let (of_row, bytes) = if taps || apart { (width, channels) } else { (1, width * channels) };
        let (apart, step) = (shape.dilation[1] * shape.input[2], shape.stride[1] * shape.input[2]);
        Self { count: height * of_row, of_row, bytes, apart, step }
    }
}

/// Copies the windows of `pixels` output pixels, each `window` activations after the one before, as dense `kernels` read
/// them.
///
/// Reads and writes up to [`SLACK`] activations after each segment: what stands between two windows is anything, its
/// weights are 0.
pub(super) fn gather(
    segments: &[&[u8]],
    of: Segments,
    pixels: usize,
    window: usize,
    kernels: &Kernels,
    into: &mut [u8],
) {
    let are_side_by_side = segments.len() == 1 && [of.step, window] == [of.bytes; 2];
    let (pixels, bytes) = if are_side_by_side { (1, pixels * window) } else { (pixels, of.bytes) };
    let (blocks, wide) = (bytes.div_ceil(SLACK), kernels.bytes());
    for pixel in 0..pixels {
        for (i, segment) in segments.iter().enumerate() {
            let from = segment[pixel * of.step..][..blocks * SLACK].as_chunks().0;
            kernels.put(from, &mut into[(pixel * window + i * bytes) * wide..][..blocks * SLACK * wide]);
        }
    }
}

/// Input rows from the first to the last of a window.
fn extent(shape: &ConvShape) -> usize {
    shape.dilation[0] * (shape.kernel[0] - 1) + 1
}

fn slot(shape: &ConvShape) -> usize {
    (shape.input[1] + shape.pads[1] + shape.pads[3]) * shape.input[2] + SLACK
}
