//! aarch64 with dot products: SDOT multiplies four i8 by four i8 in each of 4 lanes. Its intrinsic is unstable.

use std::arch::aarch64::*;
use std::arch::asm;

use super::super::epilogue::Sink;
use super::neon::{depthwise, finish};
use super::{Kernels, STRIP, Strip};

/// Outputs of a panel.
const LANES: usize = 8;
/// Activations that SDOT multiplies.
const UNIT: usize = 4;

pub(in super::super) static KERNELS: Kernels = Kernels {
    lanes: LANES,
    unit: UNIT,
    flips: true,
    widens: false,
    dense,
    depthwise_lanes: LANES,
    depthwise_flips: true,
    depthwise,
};

#[target_feature(enable = "neon,dotprod")]
fn dense(strip: &Strip<'_>, sink: &mut Sink<'_>) {
    strip.check_dense(LANES, UNIT, 1);
    let mut sums = [[0; LANES]; STRIP];
    for panel in 0..strip.outputs.div_ceil(LANES) {
        for pixel in (0..strip.pixels).step_by(8) {
            let sums = &mut sums[pixel..];
            match strip.pixels - pixel {
                1 => tile::<1>(strip, panel, pixel, sums),
                2 => tile::<2>(strip, panel, pixel, sums),
                3 | 4 => tile::<4>(strip, panel, pixel, sums),
                _ => tile::<8>(strip, panel, pixel, sums),
            }
        }
        finish(&sums[..strip.pixels], sink, 0, panel * LANES, strip.outputs);
    }
}

/// Adds to each lane of `$acc` the products of its four weights with the four activations in lane `$lane` of `$x`.
macro_rules! sdot {
    ($acc:expr, $w:expr, $x:expr, $lane:literal) => {
        asm!(
            concat!("sdot {acc:v}.4s, {w:v}.16b, {x:v}.4b[", $lane, "]"),
            acc = inout(vreg) $acc,
            w = in(vreg) $w,
            x = in(vreg) $x,
            options(pure, nomem, nostack, preserves_flags)
        )
    };
}

/// The products of `M` pixels' lane `$lane` with both halves of a panel.
macro_rules! step {
    ($acc:ident, $weights:ident, $x:ident, $lane:literal) => {
        let w = [vld1q_s8($weights.add(32 * $lane)), vld1q_s8($weights.add(32 * $lane + 16))];
        for m in 0..M {
            sdot!($acc[m][0], w[0], $x[m], $lane);
            sdot!($acc[m][1], w[1], $x[m], $lane);
        }
    };
}

/// The sums of `M` pixels by one panel.
#[target_feature(enable = "neon,dotprod")]
#[inline]
fn tile<const M: usize>(strip: &Strip<'_>, panel: usize, pixel: usize, sums: &mut [[i32; LANES]]) {
    let packed = strip.packed;
    let offsets: [usize; M] = strip.offsets(pixel);
    let flip = vdupq_n_u8(0x80);
    // SAFETY: `check_dense` found a bias for each lane of each panel.
    let bias = unsafe {
        let bias = packed.bias.as_ptr().add(panel * LANES);
        [vld1q_s32(bias), vld1q_s32(bias.add(4))]
    };
    let mut acc = [bias; M];
    let mut weights = packed.weights[panel * LANES * packed.window..].as_ptr();
    for segment in strip.segments {
        // SAFETY: `Strip::new` found `bytes` from the last pixel on; `offsets` stops there, whole units are read, and
        // `check_dense` found as many of them in the window as in all segments. SDOT is enabled.
        unsafe {
            let first = segment.as_ptr().add(pixel * strip.step);
            let mut from = [first; M];
            for m in 0..M {
                from[m] = first.add(offsets[m]);
            }
            let mut k = 0;
            while k + 4 * UNIT <= strip.bytes {
                let mut x = [flip; M];
                for m in 0..M {
                    x[m] = veorq_u8(vld1q_u8(from[m].add(k)), flip);
                }
                step!(acc, weights, x, 0);
                step!(acc, weights, x, 1);
                step!(acc, weights, x, 2);
                step!(acc, weights, x, 3);
                weights = weights.add(4 * LANES * UNIT);
                k += 4 * UNIT;
            }
            while k < strip.bytes {
                let mut x = [flip; M];
                for m in 0..M {
                    let four = vdupq_n_u32(from[m].add(k).cast::<u32>().read_unaligned());
                    x[m] = veorq_u8(vreinterpretq_u8_u32(four), flip);
                }
                step!(acc, weights, x, 0);
                weights = weights.add(LANES * UNIT);
                k += UNIT;
            }
        }
    }
    let sums = &mut sums[..M];
    for m in 0..M {
        // SAFETY: two vectors are 8 sums.
        unsafe {
            vst1q_s32(sums[m].as_mut_ptr(), acc[m][0]);
            vst1q_s32(sums[m].as_mut_ptr().add(4), acc[m][1]);
        }
    }
}
