//! Formats whose samples need no neighbours: grey of 8 to 16 bits, RGB and BGR.

use super::Raw;

/// 8-bit grey: the same value in R, G and B.
pub(super) fn grey8(raw: &Raw<'_>, width: usize, out: &mut [u8]) {
    for (n, pixels) in out.chunks_exact_mut(width * 3).enumerate() {
        for (pixel, &v) in pixels.chunks_exact_mut(3).zip(raw.line(n)) {
            pixel.fill(v);
        }
    }
}

/// Grey in 16-bit words, shifted down to 8 bits; what is above the format's maximum is white.
pub(super) fn grey16(raw: &Raw<'_>, shift: u32, width: usize, out: &mut [u8]) {
    for (n, pixels) in out.chunks_exact_mut(width * 3).enumerate() {
        for (pixel, word) in pixels.chunks_exact_mut(3).zip(raw.line(n).chunks_exact(2)) {
            pixel.fill(high_byte([word[0], word[1]], shift));
        }
    }
}

/// Three bytes a pixel, in `order`: the places of R, G and B.
pub(super) fn rgb(raw: &Raw<'_>, order: [usize; 3], width: usize, out: &mut [u8]) {
    for (n, pixels) in out.chunks_exact_mut(width * 3).enumerate() {
        for (pixel, from) in pixels.chunks_exact_mut(3).zip(raw.line(n).chunks_exact(3)) {
            pixel.copy_from_slice(&order.map(|place| from[place]));
        }
    }
}

/// The high 8 bits of a sample of `8 + shift` bits in a little-endian word.
pub(super) fn high_byte(word: [u8; 2], shift: u32) -> u8 {
    (u16::from_le_bytes(word) >> shift).min(255) as u8
}
