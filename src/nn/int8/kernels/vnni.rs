//! AVX512-VNNI: VPDPBUSD multiplies four u8 by four i8 in each of 16 lanes and accumulates exactly.

use std::arch::x86_64::*;

use super::super::epilogue::{Clamp, Sink};
use super::super::packed::STRIP;
use super::depthwise::depthwise_with;
use super::portable::some_channels;
use super::{Kernels, Strip, finish_with};

/// Outputs of a vector.
const LANES: usize = 16;
/// Activations that VPDPBUSD multiplies.
const UNIT: usize = 4;
/// Pixels of a tile: with 3 panels, 24 accumulators, 3 weights and an activation stay in registers.
const PIXELS: usize = 8;
/// Pixels of which a vector of channels each is quantised together.
const TOGETHER: usize = 1;

pub(in super::super) static KERNELS: Kernels = Kernels {
    lanes: LANES,
    unit: UNIT,
    flips: false,
    raises: false,
    widen: None,
    dense,
    depthwise_lanes: LANES,
    depthwise_flips: false,
    depthwise,
    winograd: None,
};

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn dense(strip: &Strip<'_>, sink: &mut Sink<'_>) {
    strip.check_dense(LANES, UNIT, 1);
    let panels = strip.outputs.div_ceil(LANES);
    let mut panel = 0;
    while panel < panels {
        // 4 panels are 2 + 2, not 3 + 1.
        let left = panels - panel;
        match left {
            1 => some_panels::<1>(strip, sink, panel),
            2 | 4 => some_panels::<2>(strip, sink, panel),
            _ => some_panels::<3>(strip, sink, panel),
        }
        panel += match left {
            1 => 1,
            2 | 4 => 2,
            _ => 3,
        };
    }
}

/// `N` panels of all pixels.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn some_panels<const N: usize>(strip: &Strip<'_>, sink: &mut Sink<'_>, panel: usize) {
    let mut sums = [[[0; LANES]; PIXELS]; N];
    for pixel in (0..strip.pixels).step_by(PIXELS) {
        let pixels = PIXELS.min(strip.pixels - pixel);
        match pixels {
            1 => tile::<N, 1>(strip, panel, pixel, &mut sums),
            2 => tile::<N, 2>(strip, panel, pixel, &mut sums),
            3 | 4 => tile::<N, 4>(strip, panel, pixel, &mut sums),
            _ => tile::<N, 8>(strip, panel, pixel, &mut sums),
        }
        for (n, sums) in sums.iter().enumerate() {
            finish(&sums[..pixels], sink, pixel, (panel + n) * LANES, strip.outputs);
        }
    }
}

/// The sums of `M` pixels by `N` panels.
///
/// A function of its own, with loops of constant length only: so all accumulators are registers.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline(never)]
fn tile<const N: usize, const M: usize>(
    strip: &Strip<'_>,
    panel: usize,
    pixel: usize,
    sums: &mut [[[i32; LANES]; PIXELS]; N],
) {
    let packed = strip.packed;
    let offsets: [usize; M] = strip.offsets(pixel);
    let panel_bytes = LANES * packed.window;
    let mut acc = [[_mm512_setzero_si512(); M]; N];
    for n in 0..N {
        // SAFETY: `check_dense` found a bias for each lane of each panel.
        acc[n] = [unsafe { _mm512_loadu_si512(packed.bias.as_ptr().add((panel + n) * LANES).cast()) }; M];
    }
    let mut weights = packed.weights[panel * panel_bytes..][..N * panel_bytes].as_ptr();
    for segment in strip.segments {
        // SAFETY: `Strip::new` found `bytes` from the last pixel on; `offsets` stops there, whole units are read, and
        // `check_dense` found as many of them in the window as in all segments.
        unsafe {
            let x = strip.addresses(segment, pixel, &offsets);
            let mut k = 0;
            while k < strip.bytes {
                let mut w = [_mm512_setzero_si512(); N];
                for n in 0..N {
                    w[n] = _mm512_loadu_si512(weights.add(n * panel_bytes).cast());
                }
                for m in 0..M {
                    let x = _mm512_set1_epi32(x[m].add(k).cast::<i32>().read_unaligned());
                    for n in 0..N {
                        acc[n][m] = _mm512_dpbusd_epi32(acc[n][m], x, w[n]);
                    }
                }
                weights = weights.add(LANES * UNIT);
                k += UNIT;
            }
        }
    }
    for n in 0..N {
        for m in 0..M {
            // SAFETY: a vector is 16 sums.
            unsafe { _mm512_storeu_si512(sums[n][m].as_mut_ptr().cast(), acc[n][m]) };
        }
    }
}

depthwise_with!("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni", [9, 25]);

/// 16 activations, each a pair of i16 of which the upper one is 0, whatever the weight's sign makes of its own.
///
/// # Safety
///
/// There are 16 from `x` on.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
unsafe fn channels_of(x: *const u8) -> __m512i {
    // SAFETY: the caller's.
    _mm512_cvtepu8_epi32(unsafe { _mm_loadu_si128(x.cast()) })
}

/// 16 weights as i32.
///
/// # Safety
///
/// There are 16 from `w` on.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
unsafe fn weights_of(w: *const i8) -> __m512i {
    // SAFETY: the caller's.
    _mm512_cvtepi8_epi32(unsafe { _mm_loadu_si128(w.cast()) })
}

/// Adds the products of activations and weights.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
fn plus_products(sums: __m512i, x: __m512i, w: __m512i) -> __m512i {
    _mm512_dpwssd_epi32(sums, x, w)
}

/// # Safety
///
/// There are 16 from `from` on.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
unsafe fn sums(from: *const i32) -> __m512i {
    // SAFETY: the caller's.
    unsafe { _mm512_loadu_si512(from.cast()) }
}

/// # Safety
///
/// There is room for 16 from `to` on.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
unsafe fn put_sums(to: *mut i32, sums: __m512i) {
    // SAFETY: the caller's.
    unsafe { _mm512_storeu_si512(to.cast(), sums) }
}

finish_with!("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni");

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
fn load(values: &[f32]) -> __m512 {
    // SAFETY: the slice has a vector's length.
    unsafe { _mm512_loadu_ps(values[..LANES].as_ptr()) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
fn array(values: __m512) -> [f32; LANES] {
    let mut array = [0.0; LANES];
    // SAFETY: the array has a vector's length.
    unsafe { _mm512_storeu_ps(array.as_mut_ptr(), values) };
    array
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
fn scaled(sums: &[i32; LANES], scale: __m512) -> __m512 {
    // SAFETY: the array has a vector's length.
    let sums = unsafe { _mm512_loadu_si512(sums.as_ptr().cast()) };
    _mm512_mul_ps(_mm512_cvtepi32_ps(sums), scale)
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
fn real(sums: &[i32; LANES], scale: __m512, bias: __m512) -> __m512 {
    _mm512_add_ps(scaled(sums, scale), bias)
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
fn min(a: __m512, b: __m512) -> __m512 {
    _mm512_min_ps(a, b)
}

/// VCVTPS2DQ rounds half to even.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
fn quantise([sums]: &[[i32; LANES]; TOGETHER], scale: __m512, clamp: Clamp) -> [[u8; LANES]; TOGETHER] {
    let (low, high) = clamp.steps();
    let steps = _mm512_max_ps(scaled(sums, scale), _mm512_set1_ps(low));
    let steps = _mm512_cvtps_epi32(_mm512_min_ps(steps, _mm512_set1_ps(high)));
    let bytes = _mm_add_epi8(_mm512_cvtepi32_epi8(steps), _mm_set1_epi8(clamp.zero as i8));
    let mut array = [0; LANES];
    // SAFETY: the array has 16 bytes.
    unsafe { _mm_storeu_si128(array.as_mut_ptr().cast(), bytes) };
    [array]
}
