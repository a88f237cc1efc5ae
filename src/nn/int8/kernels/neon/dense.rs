//! Dense tiles: up to three pixels by a panel of eight outputs, in as many registers as there are.

use std::arch::aarch64::*;
use std::arch::asm;

use super::super::Strip;
use super::products::{smlal2, smull2};

/// Outputs of a panel.
pub(super) const LANES: usize = 8;
/// Activations of a vector.
pub(super) const UNIT: usize = 16;

/// The products of 16 activations each of 3 pixels with the weights of 8 outputs: loads them, and `$add`s pairs of products
/// to v8 to v15 for the first pixel, v16 to v23 and v24 to v31 for the others.
macro_rules! unit_of_3 {
    ($add:literal) => {
        concat!(
            "movi v3.16b, #0x80\n",
            "ldr q0, [{x0}], #16\n",
            "ldr q1, [{x1}], #16\n",
            "ldr q2, [{x2}], #16\n",
            "eor v0.16b, v0.16b, v3.16b\n",
            "eor v1.16b, v1.16b, v3.16b\n",
            "eor v2.16b, v2.16b, v3.16b\n",
            unit_of_3!($add, "8", "16", "24", "9", "17", "25"),
            unit_of_3!($add, "10", "18", "26", "11", "19", "27"),
            unit_of_3!($add, "12", "20", "28", "13", "21", "29"),
            unit_of_3!($add, "14", "22", "30", "15", "23", "31"),
        )
    };
    ($add:literal, $a:literal, $b:literal, $c:literal, $d:literal, $e:literal, $f:literal) => {
        concat!("ldp q3, q7, [{w}], #32\n", unit_of_3!($add, "v3", $a, $b, $c), unit_of_3!($add, "v7", $d, $e, $f),)
    };
    ($add:literal, $w:literal, $a:literal, $b:literal, $c:literal) => {
        concat!(
            concat!("smull v4.8h, v0.8b, ", $w, ".8b\n"),
            concat!("smull v5.8h, v1.8b, ", $w, ".8b\n"),
            concat!("smull v6.8h, v2.8b, ", $w, ".8b\n"),
            concat!("smlal2 v4.8h, v0.16b, ", $w, ".16b\n"),
            concat!("smlal2 v5.8h, v1.16b, ", $w, ".16b\n"),
            concat!("smlal2 v6.8h, v2.16b, ", $w, ".16b\n"),
            concat!($add, " v", $a, ".4s, v4.8h\n"),
            concat!($add, " v", $b, ".4s, v5.8h\n"),
            concat!($add, " v", $c, ".4s, v6.8h\n"),
        )
    };
}

/// Runs `$code` on the vectors of partial sums, which are `$how` of it, and on what else it names.
macro_rules! asm_of_3 {
    ($($code:expr),+; $how:ident [$a:ident, $b:ident, $c:ident]; $($operands:tt)+) => {
        asm!(
            $($code,)+
            $($operands)+
            out("v0") _, out("v1") _, out("v2") _, out("v3") _, out("v4") _, out("v5") _, out("v6") _, out("v7") _,
            $how("v8") $a[0], $how("v9") $a[1], $how("v10") $a[2], $how("v11") $a[3],
            $how("v12") $a[4], $how("v13") $a[5], $how("v14") $a[6], $how("v15") $a[7],
            $how("v16") $b[0], $how("v17") $b[1], $how("v18") $b[2], $how("v19") $b[3],
            $how("v20") $b[4], $how("v21") $b[5], $how("v22") $b[6], $how("v23") $b[7],
            $how("v24") $c[0], $how("v25") $c[1], $how("v26") $c[2], $how("v27") $c[3],
            $how("v28") $c[4], $how("v29") $c[5], $how("v30") $c[6], $how("v31") $c[7],
            options(nostack, readonly)
        )
    };
}

/// The sums of `M` pixels by one panel; how many pixels. `PAIRS`: no weight is -128, so that two products fit into an i16.
#[target_feature(enable = "neon")]
#[inline]
pub(super) fn tile<const PAIRS: bool, const M: usize>(
    strip: &Strip<'_>,
    panel: usize,
    pixel: usize,
    sums: &mut [[i32; LANES]],
) -> usize {
    let packed = strip.packed;
    let offsets: [usize; M] = strip.offsets(pixel);
    let flip = vdupq_n_u8(0x80);
    let mut acc = [[vdupq_n_s32(0); LANES]; M];
    let mut weights = packed.weights[panel * LANES * packed.window..].as_ptr();
    for segment in strip.segments {
        // SAFETY: `Strip::new` found `bytes` from the last pixel on; `offsets` stops there, whole units are read,
        // and `check_dense` found as many of them in the window as in all segments.
        unsafe {
            let from = strip.addresses(segment, pixel, &offsets);
            let mut k = 0;
            while k < strip.bytes {
                let mut x = [vdupq_n_s8(0); M];
                for m in 0..M {
                    x[m] = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(from[m].add(k)), flip));
                }
                for n in 0..LANES {
                    let w = vld1q_s8(weights.add(n * UNIT));
                    for m in 0..M {
                        let low = vmull_s8(vget_low_s8(x[m]), vget_low_s8(w));
                        acc[m][n] = if PAIRS {
                            vpadalq_s16(acc[m][n], smlal2(low, x[m], w))
                        } else {
                            vpadalq_s16(vpadalq_s16(acc[m][n], low), smull2(x[m], w))
                        };
                    }
                }
                weights = weights.add(LANES * UNIT);
                k += UNIT;
            }
        }
    }
    put_tile(strip, panel, &acc, sums)
}

/// [`tile`] of 3 pixels and pairs. 24 vectors of partial sums, 3 of activations, 2 of weights and 3 of products are all
/// registers there are: the compiler would spill.
#[target_feature(enable = "neon")]
#[inline]
pub(super) fn tile_of_3(strip: &Strip<'_>, panel: usize, pixel: usize, sums: &mut [[i32; LANES]]) -> usize {
    let packed = strip.packed;
    let mut acc = [[vdupq_n_s32(0); LANES]; 3];
    let [a, b, c] = &mut acc;
    let mut w = packed.weights[panel * LANES * packed.window..].as_ptr();
    let (first, others) = strip.segments.split_first().expect("a window of nothing");
    assert!(strip.bytes >= UNIT, "segments of nothing");
    let three = |segment: &[u8]| {
        let first = segment.as_ptr().wrapping_add(pixel * strip.step);
        [0, 1, 2].map(|m| first.wrapping_add(m * strip.step))
    };
    let [mut x0, mut x1, mut x2] = three(first);
    // SAFETY: as in `tile`; there are 3 pixels from `pixel` on. Only registers that are named are written.
    unsafe {
        asm_of_3!(
            unit_of_3!("saddlp"); out [a, b, c];
            w = inout(reg) w, x0 = inout(reg) x0, x1 = inout(reg) x1, x2 = inout(reg) x2,
        );
    }
    let mut bytes = strip.bytes - UNIT;
    for i in 0..=others.len() {
        if i > 0 {
            ([x0, x1, x2], bytes) = (three(others[i - 1]), strip.bytes);
        }
        if bytes == 0 {
            continue;
        }
        // SAFETY: as above.
        unsafe {
            asm_of_3!(
                "2:", unit_of_3!("sadalp"), "subs {k}, {k}, #16", "b.ne 2b"; inout [a, b, c];
                w = inout(reg) w, x0 = inout(reg) x0 => _, x1 = inout(reg) x1 => _, x2 = inout(reg) x2 => _,
                k = inout(reg) bytes => _,
            );
        }
    }
    put_tile(strip, panel, &acc, sums)
}

/// Adds the sums of each pixel and output, and the bias; how many pixels.
#[target_feature(enable = "neon")]
#[inline]
fn put_tile<const M: usize>(
    strip: &Strip<'_>,
    panel: usize,
    acc: &[[int32x4_t; LANES]; M],
    sums: &mut [[i32; LANES]],
) -> usize {
    for (sums, acc) in sums[..M].iter_mut().zip(acc) {
        for half in 0..2 {
            // SAFETY: `check_dense` found a bias for each lane of each panel, and half a panel is 4 sums.
            unsafe {
                let bias = vld1q_s32(strip.packed.bias.as_ptr().add(panel * LANES + half * 4));
                let acc = &acc[4 * half..][..4];
                let sum = vaddq_s32(addp(addp(acc[0], acc[1]), addp(acc[2], acc[3])), bias);
                vst1q_s32(sums.as_mut_ptr().add(half * 4), sum);
            }
        }
    }
    M
}

/// `vpaddq_s32`, which the compiler makes two shuffles and an addition of.
#[target_feature(enable = "neon")]
#[inline]
fn addp(a: int32x4_t, b: int32x4_t) -> int32x4_t {
    let sums;
    // SAFETY: reads and writes registers only.
    unsafe {
        asm!(
            "addp {s:v}.4s, {a:v}.4s, {b:v}.4s",
            s = lateout(vreg) sums,
            a = in(vreg) a,
            b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sums
}
