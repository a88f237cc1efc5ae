//! From what a camera sends to what a frame holds: one function, [`convert`], to interleaved 8-bit RGB.
//!
//! | formats | in | file |
//! |---|---|---|
//! | YUYV, UYVY, NV12 | 4:2:2 and 4:2:0 luma and chroma; the chroma of a pair or a square serves all its pixels | `yuv.rs` |
//! | GREY, Y10, Y12, Y16, RGB24, BGR24 | samples in 8 bits or in the low bits of 16-bit little-endian words | `plain.rs` |
//! | Bayer 8, 10, 12 bits, unpacked or MIPI-packed | one colour a pixel; the others from its neighbours | `bayer.rs` |
//! | MJPEG | a JPEG a frame | `jpeg.rs` |
//!
//! More than 8 bits become 8 by keeping the high ones (`v >> 2`, `v >> 4`, `v >> 8`), as pictures on disk are read: the
//! model was taught on 8 bits. A sample above its format's maximum is white.
//!
//! The loops over pixels are in `src/frame/kernels/`; here stands what the bytes mean.
//!
//! Nothing here panics, whatever the bytes: lengths are checked before the first pixel is written. Nothing but the JPEG
//! decoder allocates.

mod bayer;
mod jpeg;
mod plain;
mod yuv;

use std::fmt;

pub use bayer::Mosaic;
pub use yuv::{Colour, Matrix, Range};

/// How the pixels of a raw frame are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PixelFormat {
    /// `Y0 U Y1 V` for two pixels.
    Yuyv,
    /// `U Y0 V Y1` for two pixels.
    Uyvy,
    /// A plane of Y, then a plane of `U V` at half the size, with the same bytes per line.
    Nv12,
    /// 8 bits of grey.
    Grey,
    /// 10 bits of grey in the low bits of 16-bit little-endian words.
    Y10,
    /// 12 bits of grey in the low bits of 16-bit little-endian words.
    Y12,
    /// 16 bits of grey, little-endian.
    Y16,
    /// `R G B`.
    Rgb24,
    /// `B G R`.
    Bgr24,
    /// A JPEG a frame.
    Mjpeg,
    /// One colour a pixel.
    Bayer(Mosaic, Packing),
}

/// How the samples of a Bayer frame are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// 8 bits in a byte.
    Bits8,
    /// 10 bits in the low bits of 16-bit little-endian words.
    Words10,
    /// 12 bits in the low bits of 16-bit little-endian words.
    Words12,
    /// Four pixels in five bytes: the high 8 bits of each, then the low 2 bits of all.
    Packed10,
    /// Two pixels in three bytes: the high 8 bits of each, then the low 4 bits of both.
    Packed12,
}

impl PixelFormat {
    /// Every format with its V4L2 code, best first: what needs least of cable, processor and guesswork.
    ///
    /// Codes: `linux/videodev2.h`.
    pub const ALL: [(Self, [u8; 4]); 30] = {
        use Mosaic::{Bggr, Gbrg, Grbg, Rggb};
        use Packing::{Bits8, Packed10, Packed12, Words10, Words12};
        [
            (Self::Rgb24, *b"RGB3"),
            (Self::Bgr24, *b"BGR3"),
            (Self::Yuyv, *b"YUYV"),
            (Self::Uyvy, *b"UYVY"),
            (Self::Nv12, *b"NV12"),
            (Self::Grey, *b"GREY"),
            (Self::Y16, *b"Y16 "),
            (Self::Y12, *b"Y12 "),
            (Self::Y10, *b"Y10 "),
            (Self::Bayer(Rggb, Bits8), *b"RGGB"),
            (Self::Bayer(Grbg, Bits8), *b"GRBG"),
            (Self::Bayer(Gbrg, Bits8), *b"GBRG"),
            (Self::Bayer(Bggr, Bits8), *b"BA81"),
            (Self::Bayer(Rggb, Words12), *b"RG12"),
            (Self::Bayer(Grbg, Words12), *b"BA12"),
            (Self::Bayer(Gbrg, Words12), *b"GB12"),
            (Self::Bayer(Bggr, Words12), *b"BG12"),
            (Self::Bayer(Rggb, Words10), *b"RG10"),
            (Self::Bayer(Grbg, Words10), *b"BA10"),
            (Self::Bayer(Gbrg, Words10), *b"GB10"),
            (Self::Bayer(Bggr, Words10), *b"BG10"),
            (Self::Bayer(Rggb, Packed12), *b"pRCC"),
            (Self::Bayer(Grbg, Packed12), *b"pgCC"),
            (Self::Bayer(Gbrg, Packed12), *b"pGCC"),
            (Self::Bayer(Bggr, Packed12), *b"pBCC"),
            (Self::Bayer(Rggb, Packed10), *b"pRAA"),
            (Self::Bayer(Grbg, Packed10), *b"pgAA"),
            (Self::Bayer(Gbrg, Packed10), *b"pGAA"),
            (Self::Bayer(Bggr, Packed10), *b"pBAA"),
            (Self::Mjpeg, *b"MJPG"),
        ]
    };

    /// The format of a V4L2 code, if it is read here.
    pub fn of_code(code: [u8; 4]) -> Option<Self> {
        // Some drivers say JPEG for what others call motion JPEG; the frames are the same.
        let code = if &code == b"JPEG" { *b"MJPG" } else { code };
        Self::ALL.iter().find(|(_, known)| *known == code).map(|(format, _)| *format)
    }

    /// The format called `name`: its V4L2 code without blanks, such as `YUYV` or `Y16`.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.iter().map(|(format, _)| *format).find(|format| format.name() == name)
    }

    /// Its V4L2 code.
    pub fn code(self) -> [u8; 4] {
        Self::ALL.iter().find(|(format, _)| *format == self).expect("every format is in the table").1
    }

    /// Its V4L2 code without blanks: the word used in `config.toml`.
    pub fn name(self) -> &'static str {
        let (_, code) = Self::ALL.iter().find(|(format, _)| *format == self).expect("every format is in the table");
        std::str::from_utf8(code).expect("codes are ASCII").trim_end()
    }

    /// The bytes that one line needs, without padding; `None` for formats without lines.
    fn line_bytes(self, width: usize) -> Option<usize> {
        Some(match self {
            Self::Mjpeg => return None,
            Self::Yuyv | Self::Uyvy => width.div_ceil(2) * 4,
            // The chroma line, which is the longer one at odd widths.
            Self::Nv12 => width.div_ceil(2) * 2,
            Self::Grey | Self::Bayer(_, Packing::Bits8) => width,
            Self::Y10 | Self::Y12 | Self::Y16 | Self::Bayer(_, Packing::Words10 | Packing::Words12) => width * 2,
            Self::Rgb24 | Self::Bgr24 => width * 3,
            Self::Bayer(_, Packing::Packed10) => width.div_ceil(4) * 5,
            Self::Bayer(_, Packing::Packed12) => width.div_ceil(2) * 3,
        })
    }

    /// The lines of all planes together.
    fn lines(self, height: usize) -> usize {
        if self == Self::Nv12 { height + height.div_ceil(2) } else { height }
    }

    /// The bytes that a frame of this format needs: every line of `stride` bytes but the last, which may end with its
    /// last pixel. `None` for JPEG, whose frames have any length, and for sizes beyond the address space.
    ///
    /// A `stride` of 0 means lines without padding.
    pub fn frame_bytes(self, (width, height): (u32, u32), stride: usize) -> Option<usize> {
        // Neither product overflows: widths of 32 bits times 5, in 64 bits. Where usize has 32, sizes are checked.
        let line = self.line_bytes(usize::try_from(width).ok()?.min(usize::MAX / 8))?;
        let stride = if stride == 0 { line } else { stride };
        let lines = self.lines(usize::try_from(height).ok()?.min(usize::MAX / 2));
        lines.saturating_sub(1).checked_mul(stride)?.checked_add(if lines == 0 { 0 } else { line })
    }
}

impl fmt::Display for PixelFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a frame cannot be converted. What is in `out` afterwards is unspecified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unconvertible {
    /// The frame was cut short.
    Truncated { needed: usize, got: usize },
    /// A line of `needed` bytes does not fit into the stride.
    Stride { needed: usize, got: usize },
    /// The room for the pixels is not `width * height * 3` bytes.
    Room { needed: usize, got: usize },
    /// The JPEG is of another size than the camera promised.
    Size { promised: (u32, u32), got: (u32, u32) },
    /// The JPEG is damaged or was cut short.
    Jpeg(String),
}

impl fmt::Display for Unconvertible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { needed, got } => write!(f, "has {got} of the {needed} bytes it needs"),
            Self::Stride { needed, got } => write!(f, "has lines of {needed} bytes {got} bytes apart"),
            Self::Room { needed, got } => write!(f, "needs room for {needed} bytes of pixels and has {got}"),
            Self::Size { promised, got } => {
                write!(f, "is {}x{} and was promised as {}x{}", got.0, got.1, promised.0, promised.1)
            }
            Self::Jpeg(why) => write!(f, "is no whole JPEG: {why}"),
        }
    }
}

impl std::error::Error for Unconvertible {}

/// Converts one raw frame to RGB.
///
/// * `format`, `colour`: what the bytes mean; `colour` matters to YUYV, UYVY and NV12 only. A JPEG is full-range
///   BT.601 by its own standard (JFIF 1.02).
/// * `size`: width and height in pixels; odd ones are fine.
/// * `stride`: bytes from one line to the next (`bytesperline`), padding included; 0 means none. JPEG ignores it.
/// * `bytes`: the frame; more than it needs is ignored, as drivers round buffers up.
/// * `out`: `[height, width, 3]` u8, exactly as long as that.
///
/// # Errors
/// Before anything is written: when `bytes` is too short (with the number of bytes it takes), the stride is smaller
/// than a line, or `out` is of another length. A JPEG also fails while it is decoded.
pub fn convert(
    format: PixelFormat,
    colour: Colour,
    size: (u32, u32),
    stride: usize,
    bytes: &[u8],
    out: &mut [u8],
) -> Result<(), Unconvertible> {
    let (width, height) = (size.0 as usize, size.1 as usize);
    let room = width.saturating_mul(height).saturating_mul(3);
    if out.len() != room {
        return Err(Unconvertible::Room { needed: room, got: out.len() });
    }
    if format == PixelFormat::Mjpeg {
        return jpeg::decode(size, bytes, out);
    }
    if room == 0 {
        return Ok(());
    }
    // `room` is the length of a slice, so that no product of width and height below can overflow.
    let line = format.line_bytes(width).unwrap_or(0);
    let stride = if stride == 0 { line } else { stride };
    if stride < line {
        return Err(Unconvertible::Stride { needed: line, got: stride });
    }
    let needed = format.frame_bytes(size, stride).unwrap_or(usize::MAX);
    if bytes.len() < needed {
        return Err(Unconvertible::Truncated { needed, got: bytes.len() });
    }
    let raw = Raw { bytes, stride, line };
    match format {
        PixelFormat::Yuyv => yuv::packed(&raw, colour, false, width, out),
        PixelFormat::Uyvy => yuv::packed(&raw, colour, true, width, out),
        PixelFormat::Nv12 => yuv::planar(&raw, colour, width, height, out),
        PixelFormat::Grey => plain::grey8(&raw, width, out),
        PixelFormat::Y10 => plain::grey16(&raw, 2, width, out),
        PixelFormat::Y12 => plain::grey16(&raw, 4, width, out),
        PixelFormat::Y16 => plain::grey16(&raw, 8, width, out),
        PixelFormat::Rgb24 => plain::rgb(&raw, width, out),
        PixelFormat::Bgr24 => plain::bgr(&raw, width, out),
        PixelFormat::Bayer(mosaic, packing) => bayer::demosaic(&raw, mosaic, packing, (width, height), out),
        PixelFormat::Mjpeg => {}
    }
    Ok(())
}

/// A raw frame whose length was checked.
struct Raw<'a> {
    bytes: &'a [u8],
    stride: usize,
    line: usize,
}

impl Raw<'_> {
    /// Line `n`, without its padding; the second plane's lines follow the first's.
    fn line(&self, n: usize) -> &[u8] {
        let start = n * self.stride;
        &self.bytes[start..start + self.line]
    }
}

#[cfg(test)]
mod tests;
