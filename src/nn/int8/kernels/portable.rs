//! Kernels in plain Rust: the reference of all others.

use super::super::epilogue::{Sink, finish};
use super::{Kernels, Strip};

const LANES: usize = 8;

pub(in super::super) static KERNELS: Kernels = Kernels {
    lanes: LANES,
    unit: 1,
    flips: false,
    raises: false,
    widen: None,
    dense,
    depthwise_lanes: LANES,
    depthwise_flips: false,
    depthwise,
    winograd: None,
};

fn dense(strip: &Strip<'_>, sink: &mut Sink<'_>) {
    strip.check_dense(LANES, 1, 1);
    let packed = strip.packed;
    for (panel, weights) in packed.weights.chunks_exact(LANES * packed.window).enumerate() {
        for pixel in 0..strip.pixels {
            let mut acc = [0_i32; LANES];
            acc.copy_from_slice(&packed.bias[panel * LANES..][..LANES]);
            let window = strip.segments.iter().flat_map(|s| &s[pixel * strip.step..][..strip.bytes]);
            for (x, weights) in window.zip(weights.chunks_exact(LANES)) {
                for (acc, w) in acc.iter_mut().zip(weights) {
                    *acc = acc.wrapping_add(i32::from(*x) * i32::from(*w));
                }
            }
            finish(&[acc], sink, pixel, panel * LANES, strip.outputs);
        }
    }
}

fn depthwise(strip: &Strip<'_>, sink: &mut Sink<'_>) {
    strip.check_depthwise(LANES);
    for channel in (0..strip.outputs).step_by(LANES) {
        some_channels::<LANES, 0>(strip, sink, channel);
    }
}

/// `N` channels from `channel` on, or as many as there are. Other kernels leave very few channels to it.
///
/// `FLIP` is 128 where the zero point has been folded for activations less 128.
#[inline(always)]
pub(super) fn some_channels<const N: usize, const FLIP: i32>(strip: &Strip<'_>, sink: &mut Sink<'_>, channel: usize) {
    let valid = N.min(strip.outputs - channel);
    for pixel in 0..strip.pixels {
        let mut acc = [0_i32; N];
        acc.copy_from_slice(&strip.packed.bias[channel..][..N]);
        for (tap, weights) in strip.segments.iter().zip(strip.packed.weights.chunks_exact(strip.outputs)) {
            let x = &tap[pixel * strip.step + channel..][..valid];
            for ((acc, x), w) in acc.iter_mut().zip(x).zip(&weights[channel..]) {
                *acc = acc.wrapping_add((i32::from(*x) - FLIP) * i32::from(*w));
            }
        }
        finish(&[acc], sink, pixel, channel, strip.outputs);
    }
}
