//! NEON, which every aarch64 has: for columns and moved pictures only, since compilers make of the other loops what stands
//! in the manual.

#![allow(unsafe_code, reason = "vectors are loaded from addresses")]
#![deny(clippy::undocumented_unsafe_blocks, unsafe_op_in_unsafe_fn)]

use std::arch::aarch64::*;

use super::isa::PixelIsa;
use super::resample::{BLOCK, COLUMNS_SHIFT, Columns, half, put};
use super::warp::{FRACTION, NEAR, SourcePixel, Stretch};

/// The instruction set that aarch64 programs are compiled for anyhow.
#[derive(Clone, Copy)]
pub(super) struct Neon;

impl PixelIsa for Neon {
    #[inline(always)]
    fn columns(self, columns: &Columns, line: &[i16], planes: [&mut [u8]; 3]) {
        // SAFETY: programs for aarch64 are compiled for NEON, whatever they run on.
        unsafe { weigh_columns(columns, line, planes) }
    }

    #[inline(always)]
    fn moved(self, stretch: Stretch<'_>, to: &mut [[u8; 3]]) {
        // SAFETY: as above.
        unsafe { moved(stretch, to) }
    }
}

/// As [`Columns::weigh`]: a vector holds red, green, blue and a value of no use of one output.
#[target_feature(enable = "neon")]
fn weigh_columns(columns: &Columns, line: &[i16], mut planes: [&mut [u8]; 3]) {
    let count = planes[0].len();
    assert!(columns.first().len() >= count.next_multiple_of(BLOCK), "outputs are too few");
    assert!(columns.weights().len() >= columns.first().len() * columns.pairs(), "weights are too few");
    assert!(columns.values() <= line.len(), "the line is too short");
    for x in (0..count).step_by(BLOCK) {
        // SAFETY: a whole block of outputs and their weights is there, and `line` has what any of them reads.
        put(&mut planes, x, unsafe { block(columns, line, x) });
    }
}

/// Eight outputs from `x` on of each plane.
///
/// # Safety
/// `first` has to have eight outputs from `x` on, `weights` their weights, and `line` the values they read.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn block(columns: &Columns, line: &[i16], x: usize) -> [[u8; BLOCK]; 3] {
    // SAFETY: the caller's.
    let first: &[u32] = unsafe { columns.first().get_unchecked(x..x + BLOCK) };
    let mut weights = columns.weights().as_ptr().wrapping_add(x * columns.pairs());
    let mut bytes = [[0; 8]; BLOCK / 2];
    for (two, bytes) in first.as_chunks::<2>().0.iter().zip(&mut bytes) {
        let mut sums = [vdupq_n_s32(half(COLUMNS_SHIFT)); 2];
        for (sum, first) in sums.iter_mut().zip(two) {
            let mut from = line.as_ptr().wrapping_add(*first as usize);
            for _ in 0..columns.pairs() {
                // SAFETY: the caller's: seven values are there from the last pair of any output on.
                unsafe {
                    let pair = vreinterpret_s16_s32(vld1_dup_s32(weights.cast()));
                    *sum = vmlal_lane_s16::<0>(*sum, vld1_s16(from), pair);
                    *sum = vmlal_lane_s16::<1>(*sum, vld1_s16(from.add(3)), pair);
                }
                (from, weights) = (from.wrapping_add(6), weights.wrapping_add(1));
            }
        }
        // In two steps, since one narrows by 16 bits at most.
        let words = vcombine_s16(vshrn_n_s32::<16>(sums[0]), vshrn_n_s32::<16>(sums[1]));
        let codes = vreinterpret_u8_s8(vshrn_n_s16::<{ COLUMNS_SHIFT - 16 }>(words));
        // SAFETY: eight bytes are a vector.
        unsafe { vst1_u8(bytes.as_mut_ptr(), codes) };
    }
    let mut planes = [[0; BLOCK]; 3];
    // SAFETY: `bytes` has four vectors of eight, of which every fourth byte is of one plane; each plane has one.
    unsafe {
        let four = vld4_u8(bytes.as_ptr().cast());
        vst1_u8(planes[0].as_mut_ptr(), four.0);
        vst1_u8(planes[1].as_mut_ptr(), four.1);
        vst1_u8(planes[2].as_mut_ptr(), four.2);
    }
    planes
}

/// As [`Stretch::fill`], four pixels at a time.
#[target_feature(enable = "neon")]
fn moved(mut stretch: Stretch<'_>, to: &mut [[u8; 3]]) {
    let (four, rest) = to.as_chunks_mut::<4>();
    for four in four {
        let [a, b, c, d] = std::array::from_fn(|_| one(&mut stretch));
        // Four values of each, of which the last is of no use: the table leaves those out.
        let bytes = vcombine_u8(vmovn_u16(vcombine_u16(a, b)), vmovn_u16(vcombine_u16(c, d)));
        let order: [u8; 16] = [0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 255, 255, 255, 255];
        let mut twelve = [0; 16];
        // SAFETY: 16 bytes are a vector.
        unsafe { vst1q_u8(twelve.as_mut_ptr(), vqtbl1q_u8(bytes, vld1q_u8(order.as_ptr()))) };
        four.as_flattened_mut().copy_from_slice(&twelve[..12]);
    }
    stretch.fill(rest);
}

/// Red, green, blue and a value of no use of the next pixel.
#[target_feature(enable = "neon")]
#[inline]
fn one(stretch: &mut Stretch<'_>) -> uint16x4_t {
    const ONE: u32 = 1 << FRACTION;
    let SourcePixel { at, fractions: [right, down] } = stretch.next();
    let (above, below) = (&stretch.pixels[at..][..NEAR], &stretch.pixels[at + stretch.pitch..][..NEAR]);
    // SAFETY: eight bytes of either are a vector.
    let (above, below) = unsafe { (vld1_u8(above.as_ptr()), vld1_u8(below.as_ptr())) };
    let four = |above, below| vreinterpret_u8_u32(vzip1_u32(vreinterpret_u32_u8(above), vreinterpret_u32_u8(below)));
    // A pixel above and one below, and those to the right of them.
    let (left, next) = (four(above, below), four(vext_u8::<3>(above, above), vext_u8::<3>(below, below)));
    let both = vmlal_u8(vmull_u8(left, vdup_n_u8((ONE - right) as u8)), next, vdup_n_u8(right as u8));
    let (above, below) = (vget_low_u16(both), vget_high_u16(both));
    let sums = vmlal_u16(vmull_u16(above, vdup_n_u16((ONE - down) as u16)), below, vdup_n_u16(down as u16));
    vrshrn_n_u32::<{ 2 * FRACTION as i32 }>(sums)
}
