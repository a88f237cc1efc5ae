//! Every aarch64: SMULL and SMLAL2 add two products of i8 in an i16, SADALP adds pairs of those to an i32.

mod dense;
mod products;

use std::arch::aarch64::*;

use super::super::epilogue::{Clamp, Sink};
use super::super::packed::STRIP;
use super::portable::some_channels;
use super::winograd::{GROUP, Lines, PLACES, TILES, Tiles, WORDS, Winograd, winograd_with};
use super::{Kernels, Strip, finish_with};
use dense::{LANES, UNIT, tile, tile_of_3};
use products::{smlal2, smull2};

/// Pixels of which a vector of channels each is quantised together.
const TOGETHER: usize = 1;
/// Channels of a vector of activations.
const CHANNELS: usize = 16;

pub(in super::super) static KERNELS: Kernels = Kernels {
    lanes: LANES,
    unit: UNIT,
    flips: true,
    raises: false,
    widen: None,
    dense,
    depthwise_lanes: LANES,
    depthwise_flips: true,
    depthwise,
    winograd: Some(Winograd { unit: 1, transform, multiply, finish }),
};

#[target_feature(enable = "neon")]
fn dense(strip: &Strip<'_>, sink: &mut Sink<'_>) {
    strip.check_dense(LANES, UNIT, 1);
    let mut sums = [[0; LANES]; STRIP];
    for panel in 0..strip.outputs.div_ceil(LANES) {
        let mut pixel = 0;
        while pixel < strip.pixels {
            let sums = &mut sums[pixel..];
            pixel += match (strip.packed.above_min, strip.pixels - pixel) {
                (true, 1) => tile::<true, 1>(strip, panel, pixel, sums),
                (true, 2) => tile::<true, 2>(strip, panel, pixel, sums),
                (true, _) => tile_of_3(strip, panel, pixel, sums),
                (false, 1) => tile::<false, 1>(strip, panel, pixel, sums),
                (false, _) => tile::<false, 2>(strip, panel, pixel, sums),
            };
        }
        finish(&sums[..strip.pixels], sink, 0, panel * LANES, strip.outputs);
    }
}

/// Also the depthwise kernel of the later instruction sets: one product a channel and tap leaves SDOT nothing to add.
#[target_feature(enable = "neon")]
pub(super) fn depthwise(strip: &Strip<'_>, sink: &mut Sink<'_>) {
    strip.check_depthwise(LANES);
    if strip.outputs < CHANNELS {
        for channel in (0..strip.outputs).step_by(LANES) {
            some_channels::<LANES, 128>(strip, sink, channel);
        }
    }
    for channel in strip.blocks(CHANNELS) {
        match (strip.packed.above_min, strip.segments.len()) {
            (true, 9) => channels::<9, true>(strip, sink, channel),
            (true, _) => channels::<0, true>(strip, sink, channel),
            (false, _) => channels::<0, false>(strip, sink, channel),
        }
    }
}

/// 16 channels of all pixels; `T` taps whose weights stay in registers, or any number.
///
/// `PAIRS`: no weight is -128, so that two products fit into an i16.
#[target_feature(enable = "neon")]
#[inline(never)]
fn channels<const T: usize, const PAIRS: bool>(strip: &Strip<'_>, sink: &mut Sink<'_>, channel: usize) {
    let taps: [*const u8; T] = strip.taps(channel);
    let flip = vdupq_n_u8(0x80);
    // SAFETY: there are 16 channels from `channel` on, for which `check_depthwise` found biases, and weights for each
    // tap, and `Strip::new` activations for each pixel.
    unsafe {
        let mut weights = strip.packed.weights.as_ptr().add(channel);
        let mut kept = [vdupq_n_s8(0); T];
        for t in 0..T {
            kept[t] = vld1q_s8(weights);
            weights = weights.add(strip.outputs);
        }
        let x = |from: *const u8| vreinterpretq_s8_u8(veorq_u8(vld1q_u8(from), flip));
        let bias = strip.packed.bias.as_ptr().add(channel);
        let bias = [vld1q_s32(bias), vld1q_s32(bias.add(4)), vld1q_s32(bias.add(8)), vld1q_s32(bias.add(12))];
        let mut sums = [[[0_i32; LANES]; STRIP]; 2];
        for pixel in 0..strip.pixels {
            let at = pixel * strip.step;
            let mut acc = bias;
            for t in 0..T / 2 {
                let x = [x(taps[2 * t].add(at)), x(taps[2 * t + 1].add(at))];
                two_taps::<PAIRS>(&mut acc, x, [kept[2 * t], kept[2 * t + 1]]);
            }
            if T % 2 == 1 {
                one_tap(&mut acc, x(taps[T - 1].add(at)), kept[T - 1]);
            }
            if T == 0 {
                let mut weights = weights;
                let pairs = strip.segments.chunks_exact(2);
                if let [last] = pairs.remainder() {
                    let w = vld1q_s8(weights.add((strip.segments.len() - 1) * strip.outputs));
                    one_tap(&mut acc, x(last.as_ptr().add(at + channel)), w);
                }
                for pair in pairs {
                    let x = [x(pair[0].as_ptr().add(at + channel)), x(pair[1].as_ptr().add(at + channel))];
                    two_taps::<PAIRS>(&mut acc, x, [vld1q_s8(weights), vld1q_s8(weights.add(strip.outputs))]);
                    weights = weights.add(2 * strip.outputs);
                }
            }
            for half in 0..2 {
                let sums = sums[half][pixel].as_mut_ptr();
                vst1q_s32(sums, acc[2 * half]);
                vst1q_s32(sums.add(4), acc[2 * half + 1]);
            }
        }
        for (half, sums) in sums.iter().enumerate() {
            finish(&sums[..strip.pixels], sink, 0, channel + half * LANES, strip.outputs);
        }
    }
}

/// Adds the products of one tap.
#[target_feature(enable = "neon")]
#[inline]
fn one_tap(acc: &mut [int32x4_t; 4], x: int8x16_t, w: int8x16_t) {
    add_words(acc, vmull_s8(vget_low_s8(x), vget_low_s8(w)), smull2(x, w));
}

/// Adds the products of two taps; `PAIRS`: they fit into an i16.
#[target_feature(enable = "neon")]
#[inline]
fn two_taps<const PAIRS: bool>(acc: &mut [int32x4_t; 4], x: [int8x16_t; 2], w: [int8x16_t; 2]) {
    if PAIRS {
        let low = vmull_s8(vget_low_s8(x[0]), vget_low_s8(w[0]));
        let low = vmlal_s8(low, vget_low_s8(x[1]), vget_low_s8(w[1]));
        add_words(acc, low, smlal2(smull2(x[0], w[0]), x[1], w[1]));
    } else {
        one_tap(acc, x[0], w[0]);
        one_tap(acc, x[1], w[1]);
    }
}

#[target_feature(enable = "neon")]
#[inline]
fn add_words(acc: &mut [int32x4_t; 4], low: int16x8_t, high: int16x8_t) {
    acc[0] = vaddw_s16(acc[0], vget_low_s16(low));
    acc[1] = vaddw_high_s16(acc[1], low);
    acc[2] = vaddw_s16(acc[2], vget_low_s16(high));
    acc[3] = vaddw_high_s16(acc[3], high);
}

type W = int16x8_t;
type S = int32x4x2_t;

/// Products of 8 tiles by a panel, place by place, so that both stay in the first cache, then their sums.
#[target_feature(enable = "neon")]
fn multiply(tiles: &Tiles<'_>, sums: &mut [[i32; LANES]]) {
    let panels = tiles.panels();
    let mut products = [[[0; LANES]; TILES]; PLACES];
    for (panel, bias) in tiles.bias.as_chunks().0.iter().enumerate() {
        for (place, products) in products.iter_mut().enumerate() {
            at_place(tiles, panel, place, products);
        }
        sums_of(&products, tiles.count, bias, &mut sums[panel * STRIP..], panels * STRIP);
    }
}

/// The products of all tiles by a panel at a place.
#[target_feature(enable = "neon")]
#[inline(never)]
fn at_place(tiles: &Tiles<'_>, panel: usize, place: usize, products: &mut [[i32; LANES]; TILES]) {
    let weights = tiles.weights(panel..panel + 1, place);
    for (group, products) in products.as_chunks_mut::<GROUP>().0.iter_mut().enumerate() {
        let x = tiles.group(place, group);
        // A few tiles after the last one are multiplied as well: there is room for them.
        match tiles.count.saturating_sub(group * GROUP) {
            0 => return,
            1 => some_products::<1>(x, weights, products),
            2 => some_products::<2>(x, weights, products),
            3..=4 => some_products::<4>(x, weights, products),
            _ => some_products::<GROUP>(x, weights, products),
        }
    }
}

/// The products of the first `M` tiles of a group by a panel: SMLAL of four words by one of another vector.
#[target_feature(enable = "neon")]
#[inline]
fn some_products<const M: usize>(x: &[i16], weights: &[i16], products: &mut [[i32; LANES]; GROUP]) {
    let mut acc = [[vdupq_n_s32(0); 2]; M];
    let (x, weights) = (x.as_chunks::<{ GROUP * WORDS }>().0, weights.as_chunks::<{ LANES * WORDS }>().0);
    for (x, weights) in x.iter().zip(weights) {
        // SAFETY: 8 vectors of 8 words each.
        unsafe {
            let mut word = [vdupq_n_s16(0); M];
            for m in 0..M {
                word[m] = vld1q_s16(x.as_ptr().add(m * WORDS));
            }
            macro_rules! channel {
                ($lane:literal) => {
                    let w = vld1q_s16(weights.as_ptr().add($lane * LANES));
                    for m in 0..M {
                        acc[m][0] = vmlal_laneq_s16::<$lane>(acc[m][0], vget_low_s16(w), word[m]);
                        acc[m][1] = vmlal_high_laneq_s16::<$lane>(acc[m][1], w, word[m]);
                    }
                };
            }
            channel!(0);
            channel!(1);
            channel!(2);
            channel!(3);
            channel!(4);
            channel!(5);
            channel!(6);
            channel!(7);
        }
    }
    for m in 0..M {
        // SAFETY: two vectors are 8 sums.
        unsafe { put_sums(products[m].as_mut_ptr(), int32x4x2_t(acc[m][0], acc[m][1])) };
    }
}

winograd_with!("neon", 8);

/// # Safety
///
/// There are 8 bytes from `x` on.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn words(x: *const u8) -> W {
    // SAFETY: the caller's.
    vreinterpretq_s16_u16(vmovl_u8(unsafe { vld1_u8(x) }))
}

/// # Safety
///
/// There are 8 words from `to` on.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn put_words(to: *mut i16, words: W) {
    // SAFETY: the caller's.
    unsafe { vst1q_s16(to, words) }
}

#[target_feature(enable = "neon")]
#[inline]
fn plus(a: W, b: W) -> W {
    vaddq_s16(a, b)
}

#[target_feature(enable = "neon")]
#[inline]
fn minus(a: W, b: W) -> W {
    vsubq_s16(a, b)
}

/// # Safety
///
/// There are 8 sums from `from` on.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn sums(from: *const i32) -> S {
    // SAFETY: the caller's.
    unsafe { int32x4x2_t(vld1q_s32(from), vld1q_s32(from.add(4))) }
}

/// # Safety
///
/// There are 8 sums from `to` on.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn put_sums(to: *mut i32, sums: S) {
    // SAFETY: the caller's.
    unsafe {
        vst1q_s32(to, sums.0);
        vst1q_s32(to.add(4), sums.1);
    }
}

#[target_feature(enable = "neon")]
#[inline]
fn plus_sums(a: S, b: S) -> S {
    int32x4x2_t(vaddq_s32(a.0, b.0), vaddq_s32(a.1, b.1))
}

#[target_feature(enable = "neon")]
#[inline]
fn minus_sums(a: S, b: S) -> S {
    int32x4x2_t(vsubq_s32(a.0, b.0), vsubq_s32(a.1, b.1))
}

#[target_feature(enable = "neon")]
#[inline]
fn quarter(sums: S) -> S {
    int32x4x2_t(vshrq_n_s32::<2>(sums.0), vshrq_n_s32::<2>(sums.1))
}

finish_with!("neon");

#[target_feature(enable = "neon")]
#[inline]
fn load(values: &[f32]) -> float32x4x2_t {
    let values = values[..LANES].as_ptr();
    // SAFETY: the slice has the length of two vectors.
    unsafe { float32x4x2_t(vld1q_f32(values), vld1q_f32(values.add(4))) }
}

#[target_feature(enable = "neon")]
#[inline]
fn array(values: float32x4x2_t) -> [f32; LANES] {
    let mut array = [0.0; LANES];
    // SAFETY: the array has the length of two vectors.
    unsafe {
        vst1q_f32(array.as_mut_ptr(), values.0);
        vst1q_f32(array.as_mut_ptr().add(4), values.1);
    }
    array
}

#[target_feature(enable = "neon")]
#[inline]
fn scaled(sums: &[i32; LANES], scale: float32x4x2_t) -> float32x4x2_t {
    // SAFETY: the array has the length of two vectors.
    let (low, high) = unsafe { (vld1q_s32(sums.as_ptr()), vld1q_s32(sums.as_ptr().add(4))) };
    float32x4x2_t(vmulq_f32(vcvtq_f32_s32(low), scale.0), vmulq_f32(vcvtq_f32_s32(high), scale.1))
}

#[target_feature(enable = "neon")]
#[inline]
fn real(sums: &[i32; LANES], scale: float32x4x2_t, bias: float32x4x2_t) -> float32x4x2_t {
    let scaled = scaled(sums, scale);
    float32x4x2_t(vaddq_f32(scaled.0, bias.0), vaddq_f32(scaled.1, bias.1))
}

#[target_feature(enable = "neon")]
#[inline]
fn min(a: float32x4x2_t, b: float32x4x2_t) -> float32x4x2_t {
    float32x4x2_t(vminq_f32(a.0, b.0), vminq_f32(a.1, b.1))
}

/// FCVTNS rounds half to even and, as all that follows, saturates.
#[target_feature(enable = "neon")]
#[inline]
fn quantise([sums]: &[[i32; LANES]; TOGETHER], scale: float32x4x2_t, clamp: Clamp) -> [[u8; LANES]; TOGETHER] {
    let steps = scaled(sums, scale);
    let words = vqmovn_high_s32(vqmovn_s32(vcvtnq_s32_f32(steps.0)), vcvtnq_s32_f32(steps.1));
    let bytes = vqmovun_s16(vqaddq_s16(words, vdupq_n_s16(i16::from(clamp.zero))));
    let bytes = vmin_u8(vmax_u8(bytes, vdup_n_u8(clamp.low)), vdup_n_u8(clamp.high));
    let mut array = [0; LANES];
    // SAFETY: the array has 8 bytes.
    unsafe { vst1_u8(array.as_mut_ptr(), bytes) };
    [array]
}
