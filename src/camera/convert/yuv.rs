//! Luma and chroma to RGB, by the colour description of the format.
//!
//! Which matrix and range apply is the driver's to say and has defaults where it does not (`V4L2_MAP_YCBCR_ENC_DEFAULT`
//! and `V4L2_MAP_QUANTIZATION_DEFAULT` in `linux/videodev2.h`): BT.709 for the colour spaces REC709 and DCI-P3, BT.2020
//! for BT2020, else BT.601; full range for the colour space JPEG, else limited range. So a webcam that calls its YUYV
//! sRGB is read as BT.601, limited.
//!
//! Limited range puts black at 16 and white at 235 (luma) and chroma in 16..=240 around 128; full range uses 0..=255.

use super::Raw;

/// Which luma and chroma a colour has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Matrix {
    /// Kr 0.299, Kb 0.114 (ITU-R BT.601); standard definition, JPEG, nearly all webcams.
    #[default]
    Bt601,
    /// Kr 0.2126, Kb 0.0722 (ITU-R BT.709).
    Bt709,
    /// Kr 0.2627, Kb 0.0593 (ITU-R BT.2020).
    Bt2020,
}

/// Which codes stand for black and white.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Range {
    /// 16 to 235.
    #[default]
    Limited,
    /// 0 to 255.
    Full,
}

/// The colour description of a format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Colour {
    /// How luma and chroma were made.
    pub matrix: Matrix,
    /// How they were coded.
    pub range: Range,
}

/// Fixed-point factors with [`SHIFT`] fraction bits.
struct Factors {
    black: i32,
    luma: i32,
    red_v: i32,
    green_u: i32,
    green_v: i32,
    blue_u: i32,
}

/// 16 fraction bits: the largest product, 255 * 2.14, stays below 2^26.
const SHIFT: i32 = 16;

impl Factors {
    fn of(colour: Colour) -> Self {
        let (kr, kb) = match colour.matrix {
            Matrix::Bt601 => (0.299, 0.114),
            Matrix::Bt709 => (0.2126, 0.0722),
            Matrix::Bt2020 => (0.2627, 0.0593),
        };
        let (black, luma, chroma) = match colour.range {
            Range::Limited => (16, 255.0 / 219.0, 255.0 / 224.0),
            Range::Full => (0, 1.0, 1.0),
        };
        let kg = 1.0 - kr - kb;
        let fixed = |factor: f64| (factor * f64::from(1 << SHIFT)).round() as i32;
        Self {
            black,
            luma: fixed(luma),
            red_v: fixed(2.0 * (1.0 - kr) * chroma),
            green_u: fixed(2.0 * kb * (1.0 - kb) / kg * chroma),
            green_v: fixed(2.0 * kr * (1.0 - kr) / kg * chroma),
            blue_u: fixed(2.0 * (1.0 - kb) * chroma),
        }
    }

    fn rgb(&self, y: u8, u: u8, v: u8) -> [u8; 3] {
        let (u, v) = (i32::from(u) - 128, i32::from(v) - 128);
        // Half a unit, so that the shift rounds.
        let y = (i32::from(y) - self.black) * self.luma + (1 << (SHIFT - 1));
        let code = |sum: i32| (sum >> SHIFT).clamp(0, 255) as u8;
        [code(y + self.red_v * v), code(y - self.green_u * u - self.green_v * v), code(y + self.blue_u * u)]
    }
}

/// Four bytes for two pixels; `places` are those of Y0, U, Y1 and V.
pub(super) fn packed(raw: &Raw<'_>, colour: Colour, places: [usize; 4], width: usize, out: &mut [u8]) {
    let factors = Factors::of(colour);
    for (n, pixels) in out.chunks_exact_mut(width * 3).enumerate() {
        for (pair, from) in pixels.chunks_mut(6).zip(raw.line(n).chunks_exact(4)) {
            let [y0, u, y1, v] = places.map(|place| from[place]);
            // At an odd width the last pair is one pixel.
            for (pixel, y) in pair.chunks_exact_mut(3).zip([y0, y1]) {
                pixel.copy_from_slice(&factors.rgb(y, u, v));
            }
        }
    }
}

/// A plane of Y and, below it, one of `U V` pairs for two by two pixels.
pub(super) fn planar(raw: &Raw<'_>, colour: Colour, width: usize, height: usize, out: &mut [u8]) {
    let factors = Factors::of(colour);
    for (n, pixels) in out.chunks_exact_mut(width * 3).enumerate() {
        let (luma, chroma) = (raw.line(n), raw.line(height + n / 2));
        for ((pair, ys), uv) in pixels.chunks_mut(6).zip(luma.chunks(2)).zip(chroma.chunks_exact(2)) {
            for (pixel, &y) in pair.chunks_exact_mut(3).zip(ys) {
                pixel.copy_from_slice(&factors.rgb(y, uv[0], uv[1]));
            }
        }
    }
}
