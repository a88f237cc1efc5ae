//! Products of the upper halves of vectors, as one instruction each.

use std::arch::aarch64::*;
use std::arch::asm;

/// `vmull_high_s8`, which the compiler takes apart where one operand is constant in a loop: it moves the upper half of that
/// out of the loop, and then needs that of each other by itself.
#[target_feature(enable = "neon")]
#[inline]
pub(super) fn smull2(x: int8x16_t, w: int8x16_t) -> int16x8_t {
    let products;
    // SAFETY: reads and writes registers only.
    unsafe {
        asm!(
            "smull2 {p:v}.8h, {x:v}.16b, {w:v}.16b",
            p = lateout(vreg) products,
            x = in(vreg) x,
            w = in(vreg) w,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    products
}

/// `vmlal_high_s8`, as [`smull2`].
#[target_feature(enable = "neon")]
#[inline]
pub(super) fn smlal2(mut sums: int16x8_t, x: int8x16_t, w: int8x16_t) -> int16x8_t {
    // SAFETY: reads and writes registers only.
    unsafe {
        asm!(
            "smlal2 {s:v}.8h, {x:v}.16b, {w:v}.16b",
            s = inout(vreg) sums,
            x = in(vreg) x,
            w = in(vreg) w,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sums
}
