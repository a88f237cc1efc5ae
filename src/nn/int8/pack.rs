//! Weights in the order in which kernels read them, and what the zero point adds to the bias.

use super::kernels::Kernels;
use super::layout::{KernelChoice, Layout};
use super::packed::{Packed, RAISED};
use super::shape::ConvShape;

/// Signed bytes whose sums are `weights`: one part where all of them fit.
pub(in crate::nn) fn parts(weights: &[i16]) -> Vec<Vec<i8>> {
    if let Some(all) = weights.iter().map(|&w| i8::try_from(w).ok()).collect() {
        return vec![all];
    }
    let mut parts = Vec::new();
    let mut rest = weights.to_vec();
    while rest.iter().any(|&w| w != 0) {
        // Not -128, which is slower.
        let part: Vec<i8> = rest.iter().map(|&w| w.clamp(-127, 127) as i8).collect();
        rest.iter_mut().zip(&part).for_each(|(rest, &w)| *rest -= i16::from(w));
        parts.push(part);
    }
    parts
}

/// Packs each block of a layout. Weights are the sums of `parts`, `[outputs][window]` in ONNX order.
pub(super) fn blocks(
    shape: &ConvShape,
    parts: &[&[i8]],
    bias: &[i32],
    zero: i32,
    layout: &Layout,
    kernels: &Kernels,
) -> Vec<Packed> {
    let above_min = !parts.iter().any(|part| part.contains(&i8::MIN));
    let window = layout.window(kernels);
    let block = |block: usize| {
        let weights = match layout.choice {
            KernelChoice::Direct(bytes) => dense(shape, parts, block, layout, kernels, bytes),
            KernelChoice::Gathered => dense(shape, parts, block, layout, kernels, layout.of.bytes),
            KernelChoice::Depthwise => depthwise(shape, parts, layout),
            KernelChoice::Winograd | KernelChoice::Plain => Vec::new(),
        };
        Packed { weights, bias: folded(shape, parts, bias, zero, block, layout), window, above_min }
    };
    (0..layout.blocks.count).map(block).collect()
}

/// Weights of a block become panels of `lanes` outputs, each with its window in units; a window is its segments of
/// `pitch` weights each, where zeros are padding.
fn dense(
    shape: &ConvShape,
    parts: &[&[i8]],
    block: usize,
    layout: &Layout,
    kernels: &Kernels,
    pitch: usize,
) -> Vec<i8> {
    let (lanes, unit) = (kernels.lanes, kernels.unit);
    let (window, outputs) = (layout.window(kernels), layout.blocks.outputs);
    let mut packed = vec![0; layout.blocks.padded * window];
    for (part, weights) in parts.iter().enumerate() {
        let filters = weights.chunks_exact(shape.window()).skip(block * outputs).take(outputs);
        for (o, filter) in filters.enumerate() {
            let panel = &mut packed[(o / lanes) * window * lanes..];
            for (i, w) in filter.iter().enumerate().filter(|(_, w)| **w != 0) {
                let (segment, byte) = layout.place(shape, o, i);
                let Some(segment) = layout.slot(segment, part) else { continue };
                let k = segment * pitch + byte;
                panel[((k / unit) * lanes + o % lanes) * unit + k % unit] = *w;
            }
        }
    }
    if kernels.raises {
        packed.iter_mut().for_each(|w| *w = (*w as u8 ^ RAISED) as i8);
    }
    packed
}

/// Weights `[channels][tap]` become `[tap][channels]`.
fn depthwise(shape: &ConvShape, parts: &[&[i8]], layout: &Layout) -> Vec<i8> {
    let mut packed = vec![0; layout.segments() * shape.outputs];
    for (part, weights) in parts.iter().enumerate() {
        for (c, filter) in weights.chunks_exact(shape.window()).enumerate() {
            for (tap, w) in filter.iter().enumerate().filter(|(_, w)| **w != 0) {
                let Some(tap) = layout.slot(tap, part) else { continue };
                packed[tap * shape.outputs + c] = *w;
            }
        }
    }
    packed
}

/// `bias - zero * sum(weights)`: what is left of the zero point once activations are taken as they are.
///
/// Kernels that flip the top bit of activations see `x - 128`, so that their zero point is `x_zero - 128`.
fn folded(shape: &ConvShape, parts: &[&[i8]], bias: &[i32], zero: i32, block: usize, layout: &Layout) -> Vec<i32> {
    let mut folded = vec![0; layout.blocks.padded];
    let first = block * layout.blocks.outputs;
    for (o, folded) in folded[..layout.blocks.outputs].iter_mut().enumerate() {
        let windows = parts.iter().flat_map(|part| &part[(first + o) * shape.window()..][..shape.window()]);
        let sum = windows.fold(0_i32, |sum, w| sum.wrapping_add(i32::from(*w)));
        *folded = bias[first + o].wrapping_sub(sum.wrapping_mul(zero));
    }
    folded
}
