//! Formats whose samples need no neighbours: grey of 8 to 16 bits, RGB and BGR.

use super::Raw;
use crate::frame::kernels::colour;

/// 8-bit grey: the same value in R, G and B.
pub(super) fn grey8(raw: &Raw<'_>, width: usize, out: &mut [u8]) {
    for (n, pixels) in out.chunks_exact_mut(width * 3).enumerate() {
        colour::grey8(raw.line(n), pixels);
    }
}

/// Grey in 16-bit words, shifted down to 8 bits; what is above the format's maximum is white.
pub(super) fn grey16(raw: &Raw<'_>, shift: u32, width: usize, out: &mut [u8]) {
    for (n, pixels) in out.chunks_exact_mut(width * 3).enumerate() {
        colour::grey16(raw.line(n), shift, pixels);
    }
}

/// `R G B` as it is.
pub(super) fn rgb(raw: &Raw<'_>, width: usize, out: &mut [u8]) {
    for (n, pixels) in out.chunks_exact_mut(width * 3).enumerate() {
        pixels.copy_from_slice(raw.line(n));
    }
}

/// `B G R`, turned round.
pub(super) fn bgr(raw: &Raw<'_>, width: usize, out: &mut [u8]) {
    for (n, pixels) in out.chunks_exact_mut(width * 3).enumerate() {
        colour::bgr(raw.line(n), pixels);
    }
}
