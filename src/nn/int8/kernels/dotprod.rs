//! aarch64 with dot products: UDOT multiplies four u8 by four u8 in each of 4 lanes. Its intrinsic is unstable.
//!
//! Activations are read as they are and weights are stored 128 higher: `x w = x (w + 128) - 128 x`. What is too much is
//! summed once for each window; SDOT would want every activation changed for every panel.

use std::arch::aarch64::*;
use std::arch::asm;

use super::super::epilogue::Sink;
use super::super::packed::{RAISED, STRIP};
use super::neon::{depthwise, finish};
use super::{Kernels, Strip};

/// Outputs of a panel.
const LANES: usize = 8;
/// Activations that UDOT multiplies.
const UNIT: usize = 4;
/// Pixels of a tile: with a panel, 16 vectors of partial sums.
const TILE: usize = 8;

pub(in super::super) static KERNELS: Kernels = Kernels {
    lanes: LANES,
    unit: UNIT,
    flips: false,
    raises: true,
    widen: None,
    dense,
    depthwise_lanes: LANES,
    depthwise_flips: true,
    depthwise,
    winograd: None,
};

#[target_feature(enable = "neon,dotprod")]
fn dense(strip: &Strip<'_>, sink: &mut Sink<'_>) {
    strip.check_dense(LANES, UNIT, 1);
    let mut sums = [[0; LANES]; STRIP];
    let mut excess = [0; STRIP];
    for pixel in (0..strip.pixels).step_by(TILE) {
        windows(strip, pixel, &mut excess[pixel..]);
    }
    for panel in 0..strip.outputs.div_ceil(LANES) {
        for pixel in (0..strip.pixels).step_by(TILE) {
            let (excess, sums) = (&excess[pixel..], &mut sums[pixel..]);
            match strip.pixels - pixel {
                1 => tile::<1>(strip, panel, pixel, excess, sums),
                2 => tile::<2>(strip, panel, pixel, excess, sums),
                3 | 4 => tile::<4>(strip, panel, pixel, excess, sums),
                _ => tile::<TILE>(strip, panel, pixel, excess, sums),
            }
        }
        finish(&sums[..strip.pixels], sink, 0, panel * LANES, strip.outputs);
    }
}

/// Adds to each lane of `$acc` the products of its four weights with the four activations in lane `$lane` of `$x`.
macro_rules! udot {
    ($acc:expr, $w:expr, $x:expr, $lane:literal) => {
        asm!(
            concat!("udot {acc:v}.4s, {w:v}.16b, {x:v}.4b[", $lane, "]"),
            acc = inout(vreg) $acc,
            w = in(vreg) $w,
            x = in(vreg) $x,
            options(pure, nomem, nostack, preserves_flags)
        )
    };
}

/// 128 times the sum of the window of each of [`TILE`] pixels.
#[target_feature(enable = "neon,dotprod")]
#[inline]
fn windows(strip: &Strip<'_>, pixel: usize, excess: &mut [u32]) {
    let offsets: [usize; TILE] = strip.offsets(pixel);
    let raised = vdupq_n_u8(RAISED);
    let mut acc = [vdupq_n_u32(0); TILE];
    for segment in strip.segments {
        // SAFETY: `Strip::new` found `bytes` from the last pixel on; `offsets` stops there, and whole units are read.
        // UDOT is enabled.
        unsafe {
            let first = segment.as_ptr().add(pixel * strip.step);
            let mut k = 0;
            while k + 4 * UNIT <= strip.bytes {
                for m in 0..TILE {
                    let x = vld1q_u8(first.add(offsets[m] + k));
                    asm!(
                        "udot {acc:v}.4s, {x:v}.16b, {raised:v}.16b",
                        acc = inout(vreg) acc[m],
                        x = in(vreg) x,
                        raised = in(vreg) raised,
                        options(pure, nomem, nostack, preserves_flags)
                    );
                }
                k += 4 * UNIT;
            }
            while k < strip.bytes {
                for m in 0..TILE {
                    let four = first.add(offsets[m] + k).cast::<u32>().read_unaligned();
                    udot!(acc[m], vreinterpretq_u8_u32(vsetq_lane_u32::<0>(four, vdupq_n_u32(0))), raised, 0);
                }
                k += UNIT;
            }
        }
    }
    for (excess, acc) in excess[..TILE].iter_mut().zip(acc) {
        *excess = vaddvq_u32(acc);
    }
}

/// The products of `M` pixels' lane `$lane` with both halves of a panel.
macro_rules! step {
    ($acc:ident, $weights:ident, $x:ident, $lane:literal) => {
        let w = [vld1q_u8($weights.add(32 * $lane)), vld1q_u8($weights.add(32 * $lane + 16))];
        for m in 0..M {
            udot!($acc[m][0], w[0], $x[m], $lane);
            udot!($acc[m][1], w[1], $x[m], $lane);
        }
    };
}

/// The sums of `M` pixels by one panel; `excess` is of the same pixels.
#[target_feature(enable = "neon,dotprod")]
#[inline]
fn tile<const M: usize>(strip: &Strip<'_>, panel: usize, pixel: usize, excess: &[u32], sums: &mut [[i32; LANES]]) {
    let packed = strip.packed;
    let offsets: [usize; M] = strip.offsets(pixel);
    let mut acc = [[vdupq_n_u32(0); 2]; M];
    // SAFETY: `check_dense` found a bias for each lane of each panel.
    unsafe {
        let bias = packed.bias.as_ptr().add(panel * LANES).cast::<u32>();
        let bias = [vld1q_u32(bias), vld1q_u32(bias.add(4))];
        for (acc, excess) in acc.iter_mut().zip(&excess[..M]) {
            *acc = bias.map(|bias| vsubq_u32(bias, vdupq_n_u32(*excess)));
        }
    }
    let mut weights = packed.weights[panel * LANES * packed.window..].as_ptr().cast::<u8>();
    for segment in strip.segments {
        // SAFETY: `Strip::new` found `bytes` from the last pixel on; `offsets` stops there, whole units are read, and
        // `check_dense` found as many of them in the window as in all segments. UDOT is enabled.
        unsafe {
            let from = strip.addresses(segment, pixel, &offsets);
            let mut k = 0;
            while k + 4 * UNIT <= strip.bytes {
                let mut x = [vdupq_n_u8(0); M];
                for m in 0..M {
                    x[m] = vld1q_u8(from[m].add(k));
                }
                step!(acc, weights, x, 0);
                step!(acc, weights, x, 1);
                step!(acc, weights, x, 2);
                step!(acc, weights, x, 3);
                weights = weights.add(4 * LANES * UNIT);
                k += 4 * UNIT;
            }
            while k < strip.bytes {
                let mut x = [vdupq_n_u8(0); M];
                for m in 0..M {
                    let four = from[m].add(k).cast::<u32>().read_unaligned();
                    x[m] = vreinterpretq_u8_u32(vdupq_n_u32(four));
                }
                step!(acc, weights, x, 0);
                weights = weights.add(LANES * UNIT);
                k += UNIT;
            }
        }
    }
    for (sums, acc) in sums[..M].iter_mut().zip(acc) {
        // SAFETY: two vectors are 8 sums.
        unsafe {
            vst1q_s32(sums.as_mut_ptr(), vreinterpretq_s32_u32(acc[0]));
            vst1q_s32(sums.as_mut_ptr().add(4), vreinterpretq_s32_u32(acc[1]));
        }
    }
}
