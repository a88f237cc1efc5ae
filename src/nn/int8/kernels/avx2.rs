//! AVX2: VPMADDWD on activations and weights widened to i16. VPMADDUBSW would saturate.

use std::arch::x86_64::*;

use super::super::epilogue::{Clamp, Sink};
use super::super::packed::{SLACK, STRIP};
use super::depthwise::depthwise_with;
use super::portable::some_channels;
use super::winograd::{GROUP, Lines, PLACES, TILES, Tiles, WORDS, Winograd, winograd_with};
use super::{Kernels, Strip, finish_with};

/// Outputs of a vector.
const LANES: usize = 8;
/// Activations that VPMADDWD multiplies.
const UNIT: usize = 2;
/// Pixels of a tile: with 2 panels, 8 accumulators, 2 weights and an activation stay in registers.
const PIXELS: usize = 4;
/// Pixels of which a vector of channels each is quantised together: their bytes fill a vector.
const TOGETHER: usize = 4;

pub(in super::super) static KERNELS: Kernels = Kernels {
    lanes: LANES,
    unit: UNIT,
    flips: false,
    raises: false,
    widen: Some(widen),
    dense,
    depthwise_lanes: LANES,
    depthwise_flips: false,
    depthwise,
    winograd: Some(Winograd { unit: UNIT, transform, multiply, finish }),
};

#[target_feature(enable = "avx2")]
fn widen(from: &[[u8; SLACK]], to: &mut [u8]) {
    for (from, to) in from.iter().zip(to.as_chunks_mut::<{ 2 * SLACK }>().0) {
        // SAFETY: half a vector becomes one.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), words(from.as_ptr())) };
    }
}

#[target_feature(enable = "avx2")]
fn dense(strip: &Strip<'_>, sink: &mut Sink<'_>) {
    strip.check_dense(LANES, UNIT, 2);
    let panels = strip.outputs.div_ceil(LANES);
    let mut sums = [[[0; LANES]; STRIP]; 2];
    for panel in (0..panels).step_by(2) {
        let some = panels.min(panel + 2) - panel;
        for pixel in (0..strip.pixels).step_by(PIXELS) {
            match some {
                1 => tile::<1>(strip, panel, pixel, &mut sums),
                _ => tile::<2>(strip, panel, pixel, &mut sums),
            }
        }
        for (n, sums) in sums[..some].iter().enumerate() {
            finish(&sums[..strip.pixels], sink, 0, (panel + n) * LANES, strip.outputs);
        }
    }
}

/// The sums of 4 pixels from `pixel` on by `N` panels.
///
/// A function of its own, with loops of constant length only: so all accumulators are registers.
#[target_feature(enable = "avx2")]
#[inline(never)]
fn tile<const N: usize>(strip: &Strip<'_>, panel: usize, pixel: usize, sums: &mut [[[i32; LANES]; STRIP]; 2]) {
    const M: usize = PIXELS;
    let packed = strip.packed;
    let offsets: [usize; M] = strip.offsets(pixel);
    let panel_bytes = LANES * packed.window;
    let mut acc = [[_mm256_setzero_si256(); M]; N];
    for n in 0..N {
        // SAFETY: `check_dense` found a bias for each lane of each panel.
        acc[n] = [unsafe { _mm256_loadu_si256(packed.bias.as_ptr().add((panel + n) * LANES).cast()) }; M];
    }
    let mut weights = packed.weights[panel * panel_bytes..][..N * panel_bytes].as_ptr();
    for segment in strip.segments {
        // SAFETY: `Strip::new` found `bytes` from the last pixel on; `offsets` stops there, whole units are read, and
        // `check_dense` found as many of them in the window as in all segments.
        unsafe {
            let x = strip.addresses(segment, pixel, &offsets);
            let mut k = 0;
            while k < strip.bytes {
                let mut w = [_mm256_setzero_si256(); N];
                for n in 0..N {
                    w[n] = _mm256_cvtepi8_epi16(_mm_loadu_si128(weights.add(n * panel_bytes).cast()));
                }
                for m in 0..M {
                    let x = _mm256_set1_epi32(x[m].add(k).cast::<i32>().read_unaligned());
                    for n in 0..N {
                        acc[n][m] = _mm256_add_epi32(acc[n][m], _mm256_madd_epi16(x, w[n]));
                    }
                }
                weights = weights.add(LANES * UNIT);
                k += 2 * UNIT;
            }
        }
    }
    for n in 0..N {
        for (sums, acc) in sums[n][pixel..][..M].iter_mut().zip(acc[n]) {
            // SAFETY: a vector is 8 sums.
            unsafe { _mm256_storeu_si256(sums.as_mut_ptr().cast(), acc) };
        }
    }
}

depthwise_with!("avx2", [9]);

/// 8 activations, each a pair of i16 of which the upper one is 0, whatever the weight's sign makes of its own.
///
/// # Safety
///
/// There are 8 from `x` on.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn channels_of(x: *const u8) -> __m256i {
    // SAFETY: the caller's.
    _mm256_cvtepu8_epi32(unsafe { _mm_loadl_epi64(x.cast()) })
}

/// 8 weights as i32.
///
/// # Safety
///
/// There are 8 from `w` on.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn weights_of(w: *const i8) -> __m256i {
    // SAFETY: the caller's.
    _mm256_cvtepi8_epi32(unsafe { _mm_loadl_epi64(w.cast()) })
}

/// Adds the products of activations and weights.
#[target_feature(enable = "avx2")]
#[inline]
fn plus_products(sums: S, x: __m256i, w: __m256i) -> S {
    _mm256_add_epi32(sums, _mm256_madd_epi16(x, w))
}

type W = __m256i;
type S = __m256i;

/// Products of 4 tiles by 2 panels, place by place, so that both stay in the first cache, then their sums.
#[target_feature(enable = "avx2")]
fn multiply(tiles: &Tiles<'_>, sums: &mut [[i32; LANES]]) {
    let panels = tiles.panels();
    let mut products = [[[[0; LANES]; TILES]; PLACES]; 2];
    for panel in (0..panels).step_by(2) {
        let some = panel..panels.min(panel + 2);
        for place in 0..PLACES {
            match some.len() {
                1 => at_place::<1>(tiles, panel, place, &mut products),
                _ => at_place::<2>(tiles, panel, place, &mut products),
            }
        }
        for (panel, products) in some.zip(&products) {
            let bias = &tiles.bias.as_chunks().0[panel];
            sums_of(products, tiles.count, bias, &mut sums[panel * STRIP..], panels * STRIP);
        }
    }
}

/// The products of all tiles by `N` panels at a place.
#[target_feature(enable = "avx2")]
#[inline(never)]
fn at_place<const N: usize>(
    tiles: &Tiles<'_>,
    panel: usize,
    place: usize,
    products: &mut [[[[i32; LANES]; TILES]; PLACES]; 2],
) {
    let weights = tiles.weights(panel..panel + N, place);
    for tile in (0..tiles.count).step_by(PIXELS) {
        let acc =
            some_products::<N>(&tiles.group(place, tile / GROUP)[tile % GROUP * WORDS..], weights, tiles.channels);
        for (acc, products) in acc.iter().zip(products.iter_mut()) {
            for (acc, products) in acc.iter().zip(&mut products[place][tile..][..PIXELS]) {
                // SAFETY: a vector is 8 sums.
                unsafe { put_sums(products.as_mut_ptr(), *acc) };
            }
        }
    }
}

/// The products of 4 tiles, of which `x` is the first one's words, by `N` panels.
#[target_feature(enable = "avx2")]
#[inline]
fn some_products<const N: usize>(x: &[i16], weights: &[i16], channels: usize) -> [[S; PIXELS]; N] {
    const M: usize = PIXELS;
    let of_panel = PLACES * LANES * channels;
    assert!(x.len() >= (channels - WORDS) * GROUP + M * WORDS, "words of 4 tiles");
    assert!(weights.len() >= (N - 1) * of_panel + LANES * channels, "weights of {N} panels");
    let mut acc = [[_mm256_setzero_si256(); M]; N];
    // SAFETY: there are as many words and weights, and channels are a multiple of `WORDS`.
    unsafe {
        let (mut x, mut weights) = (x.as_ptr(), weights.as_ptr());
        for _ in 0..channels / WORDS {
            for unit in 0..WORDS / UNIT {
                let mut w = [_mm256_setzero_si256(); N];
                for n in 0..N {
                    w[n] = _mm256_loadu_si256(weights.add(n * of_panel + unit * LANES * UNIT).cast());
                }
                for m in 0..M {
                    let x = _mm256_set1_epi32(x.add(m * WORDS + unit * UNIT).cast::<i32>().read_unaligned());
                    for n in 0..N {
                        acc[n][m] = _mm256_add_epi32(acc[n][m], _mm256_madd_epi16(x, w[n]));
                    }
                }
            }
            x = x.add(GROUP * WORDS);
            weights = weights.add(LANES * WORDS);
        }
    }
    acc
}

winograd_with!("avx2", 16);

/// # Safety
///
/// There are 16 bytes from `x` on.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn words(x: *const u8) -> W {
    // SAFETY: the caller's.
    _mm256_cvtepu8_epi16(unsafe { _mm_loadu_si128(x.cast()) })
}

/// # Safety
///
/// There are 8 words from `to` on, and a group further.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn put_words(to: *mut i16, words: W) {
    // SAFETY: the caller's.
    unsafe {
        _mm_storeu_si128(to.cast(), _mm256_castsi256_si128(words));
        _mm_storeu_si128(to.add(GROUP * WORDS).cast(), _mm256_extracti128_si256::<1>(words));
    }
}

#[target_feature(enable = "avx2")]
#[inline]
fn plus(a: W, b: W) -> W {
    _mm256_add_epi16(a, b)
}

#[target_feature(enable = "avx2")]
#[inline]
fn minus(a: W, b: W) -> W {
    _mm256_sub_epi16(a, b)
}

/// # Safety
///
/// There are 8 sums from `from` on.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn sums(from: *const i32) -> S {
    // SAFETY: the caller's.
    unsafe { _mm256_loadu_si256(from.cast()) }
}

/// # Safety
///
/// There are 8 sums from `to` on.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn put_sums(to: *mut i32, sums: S) {
    // SAFETY: the caller's.
    unsafe { _mm256_storeu_si256(to.cast(), sums) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn plus_sums(a: S, b: S) -> S {
    _mm256_add_epi32(a, b)
}

#[target_feature(enable = "avx2")]
#[inline]
fn minus_sums(a: S, b: S) -> S {
    _mm256_sub_epi32(a, b)
}

#[target_feature(enable = "avx2")]
#[inline]
fn quarter(sums: S) -> S {
    _mm256_srai_epi32::<2>(sums)
}

finish_with!("avx2");

#[target_feature(enable = "avx2")]
#[inline]
fn load(values: &[f32]) -> __m256 {
    // SAFETY: the slice has a vector's length.
    unsafe { _mm256_loadu_ps(values[..LANES].as_ptr()) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn array(values: __m256) -> [f32; LANES] {
    let mut array = [0.0; LANES];
    // SAFETY: the array has a vector's length.
    unsafe { _mm256_storeu_ps(array.as_mut_ptr(), values) };
    array
}

#[target_feature(enable = "avx2")]
#[inline]
fn scaled(sums: &[i32; LANES], scale: __m256) -> __m256 {
    // SAFETY: the array has a vector's length.
    let sums = unsafe { _mm256_loadu_si256(sums.as_ptr().cast()) };
    _mm256_mul_ps(_mm256_cvtepi32_ps(sums), scale)
}

#[target_feature(enable = "avx2")]
#[inline]
fn real(sums: &[i32; LANES], scale: __m256, bias: __m256) -> __m256 {
    _mm256_add_ps(scaled(sums, scale), bias)
}

#[target_feature(enable = "avx2")]
#[inline]
fn min(a: __m256, b: __m256) -> __m256 {
    _mm256_min_ps(a, b)
}

/// VCVTPS2DQ rounds half to even, and makes what is far below the smallest byte, or not a number, the smallest whole number.
#[target_feature(enable = "avx2")]
#[inline]
fn quantise(sums: &[[i32; LANES]; TOGETHER], scale: __m256, clamp: Clamp) -> [[u8; LANES]; TOGETHER] {
    let (_, high) = clamp.steps();
    let steps = |i: usize| _mm256_cvtps_epi32(_mm256_min_ps(_mm256_set1_ps(high), scaled(&sums[i], scale)));
    let zero = _mm256_set1_epi16(i16::from(clamp.zero));
    let words = |i: usize| _mm256_adds_epi16(_mm256_packs_epi32(steps(i), steps(i + 1)), zero);
    let bytes = _mm256_max_epu8(_mm256_packus_epi16(words(0), words(2)), _mm256_set1_epi8(clamp.low as i8));
    // Packing keeps halves of vectors apart: 4 bytes of each pixel, then the 4 others of each.
    let bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    let mut array = [[0; LANES]; TOGETHER];
    // SAFETY: the array has a vector's length.
    unsafe { _mm256_storeu_si256(array.as_mut_ptr().cast(), bytes) };
    array
}
