//! Weights in the order in which kernels read them, and what the zero point adds to the bias.

use super::kernels::Kernels;
use super::rows::Segments;
use super::shape::ConvShape;

/// Weights of an instruction set.
pub(super) struct Packed {
    /// Dense: `[outputs / lanes][window / unit][lanes][unit]`. Depthwise: `[tap][channel]`. Grouped: as given.
    pub weights: Vec<i8>,
    /// One for each output, padded with zeros to whole vectors.
    pub bias: Vec<i32>,
    /// Bytes of a window, padded to whole units.
    pub window: usize,
    /// Whether no weight is -128: then two products of i8 fit into an i16.
    #[cfg_attr(not(target_arch = "aarch64"), expect(dead_code, reason = "the other kernels need not know"))]
    pub above_min: bool,
}

/// Weights `[outputs][window]` in ONNX order become panels of `lanes` outputs, each with its window in units.
///
/// A window is `segments.count` parts of `segments.bytes` weights, each padded with zeros to `padded`.
pub(super) fn dense(
    shape: &ConvShape,
    weights: &[i8],
    kernels: &Kernels,
    segments: Segments,
    padded: usize,
) -> Vec<i8> {
    let (lanes, unit) = (kernels.lanes, kernels.unit);
    let window = segments.count * padded;
    let mut packed = vec![0; shape.outputs.next_multiple_of(lanes) * window];
    let taps = shape.kernel[0] * shape.kernel[1];
    let channels = shape.input[2];
    for (o, filter) in weights.chunks_exact(shape.window()).enumerate() {
        let panel = &mut packed[(o / lanes) * window * lanes..];
        for (i, w) in filter.iter().enumerate() {
            // ONNX has the channel before the tap; an NHWC row has it after.
            let k = (i % taps) * channels + i / taps;
            let k = k / segments.bytes * padded + k % segments.bytes;
            panel[((k / unit) * lanes + o % lanes) * unit + k % unit] = *w;
        }
    }
    packed
}

/// Weights `[channels][tap]` become `[tap][channels]`.
pub(super) fn depthwise(shape: &ConvShape, weights: &[i8]) -> Vec<i8> {
    let taps = shape.kernel[0] * shape.kernel[1];
    let mut packed = vec![0; weights.len()];
    for (c, filter) in weights.chunks_exact(taps).enumerate() {
        for (tap, w) in filter.iter().enumerate() {
            packed[tap * shape.outputs + c] = *w;
        }
    }
    packed
}

/// `bias - zero * sum(weights)`: what is left of the zero point once activations are taken as they are.
///
/// Kernels that flip the top bit of activations see `x - 128`, so that their zero point is `x_zero - 128`.
pub(super) fn bias(shape: &ConvShape, weights: &[i8], bias: &[i32], zero: i32, lanes: usize) -> Vec<i32> {
    let mut folded = vec![0; shape.outputs.next_multiple_of(lanes)];
    for ((folded, bias), window) in folded.iter_mut().zip(bias).zip(weights.chunks_exact(shape.window())) {
        let sum = window.iter().fold(0_i32, |sum, w| sum.wrapping_add(i32::from(*w)));
        *folded = bias.wrapping_sub(sum.wrapping_mul(zero));
    }
    folded
}
