//! aarch64 with matrix products: USMMLA multiplies two rows of eight u8 by two rows of eight i8. Its intrinsic is
//! unstable.

use std::arch::aarch64::*;
use std::arch::asm;

use super::super::epilogue::Sink;
use super::super::packed::STRIP;
use super::neon::{depthwise, finish};
use super::{Kernels, Strip};

/// Outputs of a panel: four pairs.
const LANES: usize = 8;
/// Activations that USMMLA multiplies.
const UNIT: usize = 8;

pub(in super::super) static KERNELS: Kernels = Kernels {
    lanes: LANES,
    unit: UNIT,
    flips: false,
    raises: false,
    widen: None,
    dense,
    depthwise_lanes: LANES,
    depthwise_flips: true,
    depthwise,
    winograd: None,
};

#[target_feature(enable = "neon,i8mm")]
fn dense(strip: &Strip<'_>, sink: &mut Sink<'_>) {
    strip.check_dense(LANES, UNIT, 1);
    let mut sums = [[0; LANES]; STRIP];
    for panel in 0..strip.outputs.div_ceil(LANES) {
        for pixel in (0..strip.pixels).step_by(8) {
            let sums = &mut sums[pixel..];
            match strip.pixels - pixel {
                1 | 2 => tile::<1>(strip, panel, pixel, sums),
                3 | 4 => tile::<2>(strip, panel, pixel, sums),
                _ => tile::<4>(strip, panel, pixel, sums),
            }
        }
        finish(&sums[..strip.pixels], sink, 0, panel * LANES, strip.outputs);
    }
}

/// Adds the 2 x 2 products of two pixels with two outputs.
macro_rules! usmmla {
    ($acc:expr, $x:expr, $w:expr) => {
        asm!(
            "usmmla {acc:v}.4s, {x:v}.16b, {w:v}.16b",
            acc = inout(vreg) $acc,
            x = in(vreg) $x,
            w = in(vreg) $w,
            options(pure, nomem, nostack, preserves_flags)
        )
    };
}

/// The sums of `P` pairs of pixels by one panel.
#[target_feature(enable = "neon,i8mm")]
#[inline]
fn tile<const P: usize>(strip: &Strip<'_>, panel: usize, pixel: usize, sums: &mut [[i32; LANES]]) {
    let packed = strip.packed;
    let offsets: [usize; 8] = strip.offsets(pixel);
    let mut acc = [[vdupq_n_s32(0); 4]; P];
    for n in 0..4 {
        // SAFETY: `check_dense` found a bias for each lane of each panel.
        let pair = unsafe { vld1_s32(packed.bias.as_ptr().add(panel * LANES + 2 * n)) };
        for p in 0..P {
            acc[p][n] = vcombine_s32(pair, pair);
        }
    }
    let mut weights = packed.weights[panel * LANES * packed.window..].as_ptr();
    for segment in strip.segments {
        // SAFETY: `Strip::new` found `bytes` from the last pixel on; `offsets` stops there, whole units are read, and
        // `check_dense` found as many of them in the window as in all segments. USMMLA is enabled.
        unsafe {
            let first = segment.as_ptr().add(pixel * strip.step);
            let mut from = [[first; 2]; P];
            for p in 0..P {
                from[p] = [first.add(offsets[2 * p]), first.add(offsets[2 * p + 1])];
            }
            let mut k = 0;
            while k + 2 * UNIT <= strip.bytes {
                let mut x = [[vdupq_n_u64(0); 2]; P];
                for p in 0..P {
                    let [a, b] = from[p].map(|from| vreinterpretq_u64_u8(vld1q_u8(from.add(k))));
                    x[p] = [vzip1q_u64(a, b), vzip2q_u64(a, b)];
                }
                for half in 0..2 {
                    for n in 0..4 {
                        let w = vld1q_s8(weights.add((half * 4 + n) * 16));
                        for p in 0..P {
                            usmmla!(acc[p][n], x[p][half], w);
                        }
                    }
                }
                weights = weights.add(2 * LANES * UNIT);
                k += 2 * UNIT;
            }
            if k < strip.bytes {
                let mut x = [vdupq_n_u8(0); P];
                for p in 0..P {
                    x[p] = vcombine_u8(vld1_u8(from[p][0].add(k)), vld1_u8(from[p][1].add(k)));
                }
                for n in 0..4 {
                    let w = vld1q_s8(weights.add(n * 16));
                    for p in 0..P {
                        usmmla!(acc[p][n], x[p], w);
                    }
                }
                weights = weights.add(LANES * UNIT);
            }
        }
    }
    let sums = &mut sums[..2 * P];
    for p in 0..P {
        for half in 0..2 {
            let [a, b] = [acc[p][2 * half], acc[p][2 * half + 1]].map(|v| vreinterpretq_s64_s32(v));
            // SAFETY: half a panel is 4 sums.
            unsafe {
                vst1q_s32(sums[2 * p].as_mut_ptr().add(4 * half), vreinterpretq_s32_s64(vzip1q_s64(a, b)));
                vst1q_s32(sums[2 * p + 1].as_mut_ptr().add(4 * half), vreinterpretq_s32_s64(vzip2q_s64(a, b)));
            }
        }
    }
}
