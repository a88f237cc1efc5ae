//! Luma and chroma to RGB, by the colour description of the format.
//!
//! Which matrix and range apply is the driver's to say and has defaults where it does not (`V4L2_MAP_YCBCR_ENC_DEFAULT`
//! and `V4L2_MAP_QUANTIZATION_DEFAULT` in `linux/videodev2.h`): BT.709 for the colour spaces REC709 and DCI-P3, BT.2020
//! for BT2020, else BT.601; full range for the colour space JPEG, else limited range. So a webcam that calls its YUYV
//! sRGB is read as BT.601, limited.
//!
//! Limited range puts black at 16 and white at 235 (luma) and chroma in 16..=240 around 128; full range uses 0..=255.

use super::Raw;
use crate::frame::kernels::colour as kernels;

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

/// The fixed-point factors of a colour description.
fn matrix(colour: Colour) -> kernels::Matrix {
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
    let fixed = |factor: f64| (factor * f64::from(1 << kernels::SHIFT)).round() as i32;
    let luma = fixed(luma);
    let red_v = fixed(2.0 * (1.0 - kr) * chroma);
    let green_u = -fixed(2.0 * kb * (1.0 - kb) / kg * chroma);
    let green_v = -fixed(2.0 * kr * (1.0 - kr) / kg * chroma);
    let blue_u = fixed(2.0 * (1.0 - kb) * chroma);
    // Black and grey chroma are taken off here and not from each sample; half a unit rounds.
    let constants =
        [red_v, green_u + green_v, blue_u].map(|chroma| (1 << (kernels::SHIFT - 1)) - luma * black - chroma * 128);
    kernels::Matrix { luma, red_v, green_u, green_v, blue_u, constants }
}

/// Four bytes for two pixels: `Y0 U Y1 V`, or `U Y0 V Y1` where `is_uyvy`.
pub(super) fn packed(raw: &Raw<'_>, colour: Colour, is_uyvy: bool, width: usize, out: &mut [u8]) {
    let matrix = matrix(colour);
    for (n, pixels) in out.chunks_exact_mut(width * 3).enumerate() {
        kernels::packed_yuv(&matrix, is_uyvy, raw.line(n), pixels);
    }
}

/// A plane of Y and, below it, one of `U V` pairs for two by two pixels.
pub(super) fn planar(raw: &Raw<'_>, colour: Colour, width: usize, height: usize, out: &mut [u8]) {
    let matrix = matrix(colour);
    for (n, pixels) in out.chunks_exact_mut(width * 3).enumerate() {
        kernels::planar_yuv(&matrix, raw.line(n), raw.line(height + n / 2), pixels);
    }
}
