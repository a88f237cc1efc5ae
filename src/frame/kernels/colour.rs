//! Rows of raw pixels to rows of interleaved RGB.

use super::isa::{Kernel, PixelIsa, dispatch};

/// Pairs of pixels that are computed at a time.
pub(super) const PAIRS: usize = 32;
/// Pixels that are computed at a time.
pub(super) const PIXELS: usize = 2 * PAIRS;

/// Fraction bits of [`Matrix`].
pub const SHIFT: u32 = 16;

/// From luma and chroma to RGB, as codes 0 to 255 of both: `R = luma Y + red_v V + red`, and so on, with [`SHIFT`]
/// fraction bits; the constants have the half that rounds. Results are clamped to 0..=255.
///
/// Sums have to stay below 2^31: factors of any colour description have room for four times as much.
#[derive(Clone, Copy, Debug)]
pub struct Matrix {
    /// Of Y in all three.
    pub luma: i32,
    /// Of V in red.
    pub red_v: i32,
    /// Of U in green.
    pub green_u: i32,
    /// Of V in green.
    pub green_v: i32,
    /// Of U in blue.
    pub blue_u: i32,
    /// Constants of red, green and blue.
    pub constants: [i32; 3],
}

/// One row of `Y0 U Y1 V` (or, where `is_uyvy`, `U Y0 V Y1`) to RGB: `row` has four bytes for each two pixels of `rgb`,
/// of which the last may be one.
///
/// # Panics
/// If `row` is shorter than that.
pub fn packed_yuv(matrix: &Matrix, is_uyvy: bool, row: &[u8], rgb: &mut [u8]) {
    let rows = [&row[..rgb.len().div_ceil(6) * 4]];
    if is_uyvy {
        dispatch(PixelRow { format: PackedYuv::<true>(*matrix), rows, rgb });
    } else {
        dispatch(PixelRow { format: PackedYuv::<false>(*matrix), rows, rgb });
    }
}

/// One row of NV12 to RGB: `luma` has a byte for each pixel, `chroma` `U V` for each two.
///
/// # Panics
/// If one is shorter than that.
pub fn planar_yuv(matrix: &Matrix, luma: &[u8], chroma: &[u8], rgb: &mut [u8]) {
    let width = rgb.len() / 3;
    dispatch(PixelRow {
        format: PlanarYuv(*matrix),
        rows: [&luma[..width], &chroma[..width.next_multiple_of(2)]],
        rgb,
    });
}

/// One row of 8-bit grey to RGB: the same value three times.
///
/// # Panics
/// If `row` has not a byte for each pixel.
pub fn grey8(row: &[u8], rgb: &mut [u8]) {
    dispatch(PixelRow { format: Grey8, rows: [&row[..rgb.len() / 3]], rgb });
}

/// One row of grey in 16-bit little-endian words of `8 + shift` bits to RGB; what is above the maximum is white.
///
/// # Panics
/// If `row` has not two bytes for each pixel.
pub fn grey16(row: &[u8], shift: u32, rgb: &mut [u8]) {
    dispatch(PixelRow { format: Grey16 { shift }, rows: [&row[..rgb.len() / 3 * 2]], rgb });
}

/// One row of `B G R` to RGB.
///
/// # Panics
/// If `row` is shorter than `rgb`.
pub fn bgr(row: &[u8], rgb: &mut [u8]) {
    dispatch(PixelRow { format: Bgr, rows: [&row[..rgb.len()]], rgb });
}

/// A format of which [`PIXELS`] pixels stand in `BYTES` bytes of each of `N` rows.
trait Format<const N: usize, const BYTES: usize>: Copy {
    /// A block of pixels to RGB. Has to be inlined always, as [`Kernel`] says.
    fn block<I: PixelIsa>(self, isa: I, from: [&[u8; BYTES]; N], rgb: &mut [u8; 3 * PIXELS]);
}

/// A row of pixels that come from `N` rows of bytes.
struct PixelRow<'a, F, const N: usize, const BYTES: usize> {
    format: F,
    rows: [&'a [u8]; N],
    rgb: &'a mut [u8],
}

impl<F: Format<N, BYTES>, const N: usize, const BYTES: usize> Kernel for PixelRow<'_, F, N, BYTES> {
    type Out = ();

    /// The last pixels, which are fewer, are computed in a whole block as well: a loop of constant length is all that
    /// there is to compile.
    #[inline(always)]
    fn run<I: PixelIsa>(self, isa: I) {
        let (mut padded, mut last) = ([[0; BYTES]; N], [0; 3 * PIXELS]);
        for (n, rgb) in self.rgb.chunks_mut(3 * PIXELS).enumerate() {
            let rest = self.rows.map(|row| &row[n * BYTES..]);
            let len = rgb.len();
            if len < 3 * PIXELS {
                padded.iter_mut().zip(rest).for_each(|(padded, rest)| padded[..rest.len()].copy_from_slice(rest));
            }
            let from = std::array::from_fn(|row| rest[row].first_chunk().unwrap_or(&padded[row]));
            if let Some(rgb) = rgb.first_chunk_mut() {
                self.format.block(isa, from, rgb);
            } else {
                self.format.block(isa, from, &mut last);
                rgb.copy_from_slice(&last[..len]);
            }
        }
    }
}

/// Whether it is UYVY.
#[derive(Clone, Copy)]
struct PackedYuv<const IS_UYVY: bool>(Matrix);

impl<const IS_UYVY: bool> Format<1, { 4 * PAIRS }> for PackedYuv<IS_UYVY> {
    #[inline(always)]
    fn block<I: PixelIsa>(self, isa: I, [from]: [&[u8; 4 * PAIRS]; 1], rgb: &mut [u8; 3 * PIXELS]) {
        let mut words = [0; PAIRS];
        for (to, word) in words.iter_mut().zip(from.as_chunks().0) {
            let word = u32::from_le_bytes(*word);
            *to = if IS_UYVY { word >> 8 & 0x00FF_00FF | word << 8 & 0xFF00_FF00 } else { word };
        }
        interleave(&isa.yuv(&self.0, &words), rgb);
    }
}

#[derive(Clone, Copy)]
struct PlanarYuv(Matrix);

impl Format<2, PIXELS> for PlanarYuv {
    #[inline(always)]
    fn block<I: PixelIsa>(self, isa: I, [luma, chroma]: [&[u8; PIXELS]; 2], rgb: &mut [u8; 3 * PIXELS]) {
        let mut words = [0; PAIRS];
        for (to, (luma, chroma)) in words.iter_mut().zip(luma.as_chunks().0.iter().zip(chroma.as_chunks().0)) {
            let (luma, chroma) = (u32::from(u16::from_le_bytes(*luma)), u32::from(u16::from_le_bytes(*chroma)));
            *to = luma & 0xFF | (chroma & 0xFF) << 8 | luma << 8 & 0xFF_0000 | chroma << 16 & 0xFF00_0000;
        }
        interleave(&isa.yuv(&self.0, &words), rgb);
    }
}

impl Matrix {
    /// Red, green and blue of a block of pixels, from pairs of them: `Y0 U Y1 V` from the lowest byte on. This is the
    /// definition; other instruction sets give the same.
    #[inline(always)]
    pub(super) fn planes(&self, words: &[u32; PAIRS]) -> [[u8; PIXELS]; 3] {
        let [red, green, blue] = self.constants;
        // The two pixels of a pair share a word, the left one in its low half: chroma is multiplied once for both.
        let (mut reds, mut greens, mut blues) = ([0; PAIRS], [0; PAIRS], [0; PAIRS]);
        for n in 0..PAIRS {
            let word = words[n];
            let (y0, y1) = ((word & 255) as i32 * self.luma, (word >> 16 & 255) as i32 * self.luma);
            let (u, v) = ((word >> 8 & 255) as i32, (word >> 24) as i32);
            reds[n] = high_halves(y0, y1, red + self.red_v * v);
            greens[n] = high_halves(y0, y1, green + self.green_u * u + self.green_v * v);
            blues[n] = high_halves(y0, y1, blue + self.blue_u * u);
        }
        [codes(&reds), codes(&greens), codes(&blues)]
    }
}

/// What is left of the two sums without their fraction bits, in one word.
#[inline(always)]
fn high_halves(y0: i32, y1: i32, chroma: i32) -> u32 {
    ((y0 + chroma) as u32 >> SHIFT) | ((y1 + chroma) as u32 & 0xFFFF_0000)
}

/// Both halves of each word, clamped to 0..=255.
#[inline(always)]
fn codes(words: &[u32; PAIRS]) -> [u8; PIXELS] {
    let mut codes = [0; PIXELS];
    for n in 0..PAIRS {
        codes[2 * n] = (words[n] as i16).clamp(0, 255) as u8;
        codes[2 * n + 1] = ((words[n] >> 16) as i16).clamp(0, 255) as u8;
    }
    codes
}

#[derive(Clone, Copy)]
struct Grey8;

impl Format<1, PIXELS> for Grey8 {
    #[inline(always)]
    fn block<I: PixelIsa>(self, _: I, [from]: [&[u8; PIXELS]; 1], rgb: &mut [u8; 3 * PIXELS]) {
        interleave(&[*from; 3], rgb);
    }
}

#[derive(Clone, Copy)]
struct Grey16 {
    shift: u32,
}

impl Format<1, { 2 * PIXELS }> for Grey16 {
    #[inline(always)]
    fn block<I: PixelIsa>(self, _: I, [from]: [&[u8; 2 * PIXELS]; 1], rgb: &mut [u8; 3 * PIXELS]) {
        let mut grey = [0; PIXELS];
        for (grey, word) in grey.iter_mut().zip(from.as_chunks().0) {
            *grey = high_byte(*word, self.shift);
        }
        interleave(&[grey; 3], rgb);
    }
}

#[derive(Clone, Copy)]
struct Bgr;

impl Format<1, { 3 * PIXELS }> for Bgr {
    #[inline(always)]
    fn block<I: PixelIsa>(self, _: I, [from]: [&[u8; 3 * PIXELS]; 1], rgb: &mut [u8; 3 * PIXELS]) {
        for n in 0..PIXELS {
            [rgb[3 * n], rgb[3 * n + 1], rgb[3 * n + 2]] = [from[3 * n + 2], from[3 * n + 1], from[3 * n]];
        }
    }
}

/// The high 8 bits of a sample of `8 + shift` bits in a little-endian word; what is above the maximum is white.
#[inline(always)]
pub(super) fn high_byte(word: [u8; 2], shift: u32) -> u8 {
    (u16::from_le_bytes(word) >> shift).min(255) as u8
}

/// Three planes of a block to one of interleaved pixels.
#[inline(always)]
pub(super) fn interleave([reds, greens, blues]: &[[u8; PIXELS]; 3], rgb: &mut [u8; 3 * PIXELS]) {
    for n in 0..PIXELS {
        rgb[3 * n] = reds[n];
        rgb[3 * n + 1] = greens[n];
        rgb[3 * n + 2] = blues[n];
    }
}
