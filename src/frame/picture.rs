//! Pictures on disk: files in, 8-bit RGB frames and masks out, PNG back.
//!
//! What a picture is, is read from its content; the file's name decides nothing. What would silently become other
//! pixels than a person sees (CMYK, floating point, a half-transferred file) is refused by name instead.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::error::ImageError;
use image::{DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder, ImageFormat, ImageReader, Limits};

use super::Frame;
use crate::error::{Error, ErrorKind, Result};
use crate::storage;

/// The most pixels a picture may have: 64 Mi, 192 MiB as RGB.
///
/// Chosen above the largest area-scan sensors in use beside a belt, and below what would starve a 1 GB board twice over.
pub const PIXELS_MAX: u64 = 64 << 20;

/// The longest side a picture may have, in pixels.
pub const SIDE_MAX: u32 = 32_768;

/// The largest file that is read at all: an uncompressed picture of [`PIXELS_MAX`] 16-bit RGBA pixels.
const FILE_MAX: u64 = PIXELS_MAX * 8 + (1 << 20);

/// The extensions by which folders are searched for pictures, lower case.
pub const EXTENSIONS: [&str; 11] = ["png", "jpg", "jpeg", "bmp", "tif", "tiff", "pnm", "ppm", "pgm", "pbm", "webp"];

/// Which pixels of a picture are defective.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// `[height, width]`, row-major; `true` is defective.
    pub pixels: Vec<bool>,
}

/// Whether `path` has one of [`EXTENSIONS`] and is not a hidden file.
pub fn has_picture_name(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|n| n.as_encoded_bytes().starts_with(b"."));
    let extension = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
    !hidden && extension.is_some_and(|e| EXTENSIONS.contains(&e.as_str()))
}

/// Reads a PNG, JPEG, BMP, TIFF, PNM or WebP file as an 8-bit RGB frame.
///
/// | in the file | in the frame |
/// |---|---|
/// | grey, 1-bit | the same value in R, G and B |
/// | 16 bits a channel | the high byte: `v >> 8`, rounded down, so 12 significant bits must sit at the top |
/// | palette | the palette's colours |
/// | alpha | composited over black: `round(colour * alpha / 255)`, after the high byte is taken |
/// | EXIF orientation | applied: the frame is upright as a viewer shows it |
/// | several pages or moving frames | the first |
/// | colour profile, gamma | ignored: the stored values count |
///
/// # Errors
/// `NotFound` and other I/O kinds; `Corrupt` for what is damaged, cut short, empty or no picture at all; `Refused` for
/// CMYK and YCCK, floating point, other formats, and pictures over [`SIDE_MAX`] or [`PIXELS_MAX`].
pub fn load(path: &Path) -> Result<Frame> {
    decode(&read(path)?, path)
}

/// As [`load`], for bytes that were already read; `path` only names them in errors.
///
/// # Errors
/// As [`load`].
pub fn decode(bytes: &[u8], path: &Path) -> Result<Frame> {
    let reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|e| Error::io("read the picture", path, e))?;
    let Some(format) = reader.format() else {
        let what = if bytes.is_empty() { "is an empty file" } else { "is not a picture" };
        return Err(corrupt(path, what));
    };
    if format == ImageFormat::Jpeg {
        check_jpeg(bytes, path)?;
    }
    let image = decode_checked(reader, path)?;
    let (width, height) = (image.width(), image.height());
    let rgb = to_rgb8(image).ok_or_else(|| refused(path, "has floating-point or unknown pixels", CONVERT))?;
    Ok(Frame::still(width, height, rgb))
}

/// Reads a mask: a pixel is defective where its brightest channel, read as [`load`] does, is above 127.
///
/// # Errors
/// As [`load`]; also `Refused` when some pixels are not black and none is above 127 (a mask of 0 and 1), because it
/// would silently mark nothing.
pub fn load_mask(path: &Path) -> Result<Mask> {
    let frame = load(path)?;
    let brightness = frame.rgb.chunks_exact(3).map(|p| p[0].max(p[1]).max(p[2]));
    let brightest = brightness.clone().max().unwrap_or(0);
    if (1..=127).contains(&brightest) {
        return Err(refused(
            path,
            &format!("marks nothing as a mask: its brightest value is {brightest} and a defect is above 127"),
            "write defects as 255 and the rest as 0",
        ));
    }
    Ok(Mask { width: frame.width, height: frame.height, pixels: brightness.map(|b| b > 127).collect() })
}

/// Writes a frame as an RGB PNG; an old file is replaced whole or not at all.
///
/// # Errors
/// Those of [`storage::write_atomic`].
pub fn save_png(path: &Path, frame: &Frame) -> Result<()> {
    write_png(path, &frame.rgb, frame.width, frame.height, ExtendedColorType::Rgb8)
}

/// Writes a frame as an RGB PNG that must be new: `false` where there is a file of that name, which stays as it is.
///
/// # Errors
/// Those of [`storage::write_new`].
pub fn save_new_png(path: &Path, frame: &Frame) -> Result<bool> {
    storage::write_new(
        path,
        "write the picture",
        &png(path, &frame.rgb, frame.width, frame.height, ExtendedColorType::Rgb8)?,
    )
}

/// Writes a mask as a grey PNG of 0 and 255; an old file is replaced whole or not at all.
///
/// # Errors
/// Those of [`storage::write_atomic`].
pub fn save_mask_png(path: &Path, mask: &Mask) -> Result<()> {
    let grey: Vec<u8> = mask.pixels.iter().map(|&m| if m { 255 } else { 0 }).collect();
    write_png(path, &grey, mask.width, mask.height, ExtendedColorType::L8)
}

/// The bytes of a frame as a JPEG of `quality` 1 to 100: for showing it, or for seeing what compression costs.
///
/// # Errors
/// `Internal` when the encoder refuses the frame, for example one that is wider than a JPEG can be.
pub fn jpeg(frame: &Frame, quality: u8) -> Result<Vec<u8>> {
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, quality)
        .write_image(&frame.rgb, frame.width, frame.height, ExtendedColorType::Rgb8)
        .map_err(|e| {
            let size = format!("{}x{}", frame.width, frame.height);
            Error::new(ErrorKind::Internal, format!("cannot encode a {size} picture as a JPEG")).caused_by(e)
        })?;
    Ok(jpeg)
}

fn write_png(path: &Path, pixels: &[u8], width: u32, height: u32, color: ExtendedColorType) -> Result<()> {
    storage::write_atomic(path, "write the picture", &png(path, pixels, width, height, color)?)
}

/// The bytes of a PNG; `path` only names it in the error.
fn png(path: &Path, pixels: &[u8], width: u32, height: u32, color: ExtendedColorType) -> Result<Vec<u8>> {
    let mut png = Vec::new();
    PngEncoder::new(&mut png).write_image(pixels, width, height, color).map_err(|e| {
        Error::new(ErrorKind::Internal, format!("cannot encode {} as a {width}x{height} PNG", path.display()))
            .caused_by(e)
    })?;
    Ok(png)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let open = |e| Error::io("read the picture", path, e);
    let facts = fs::metadata(path).map_err(open)?;
    // A pipe would block for ever.
    if !facts.is_file() {
        return Err(refused(path, "is not a plain file", "name a picture"));
    }
    if facts.len() > FILE_MAX {
        return Err(refused(path, &format!("has {} bytes, at most {FILE_MAX} are read", facts.len()), SHRINK));
    }
    fs::read(path).map_err(open)
}

fn decode_checked(mut reader: ImageReader<Cursor<&[u8]>>, path: &Path) -> Result<DynamicImage> {
    // The decoder's own share, for formats whose working memory is larger than their pixels.
    let mut limits = Limits::default();
    limits.max_alloc = Some(PIXELS_MAX * 8 * 2);
    limits.max_image_width = Some(SIDE_MAX);
    limits.max_image_height = Some(SIDE_MAX);
    reader.limits(limits);
    let failed = |e| explain(path, e);
    let mut decoder = reader.into_decoder().map_err(failed)?;
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err(corrupt(path, &format!("is {width}x{height} pixels")));
    }
    // Before the pixels are allocated: a few hundred bytes can announce a terabyte.
    if u64::from(width) * u64::from(height) > PIXELS_MAX {
        return Err(refused(path, &format!("is {width}x{height} pixels, at most {PIXELS_MAX} are read"), SHRINK));
    }
    if matches!(decoder.original_color_type(), ExtendedColorType::Cmyk8 | ExtendedColorType::Cmyk16) {
        return Err(refused(path, "is a CMYK picture", CONVERT));
    }
    let orientation = decoder.orientation().map_err(failed)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(failed)?;
    image.apply_orientation(orientation);
    Ok(image)
}

/// Refuses what the JPEG decoder would turn into plausible pixels: four inks, and a file that was cut short (the missing
/// rows come out grey).
fn check_jpeg(bytes: &[u8], path: &Path) -> Result<()> {
    let facts = walk_jpeg(bytes);
    if facts.components == Some(4) {
        return Err(refused(path, "is a CMYK or YCCK JPEG, made for printing", CONVERT));
    }
    if !facts.is_complete {
        return Err(corrupt(path, "is a JPEG that was cut short"));
    }
    Ok(())
}

/// What a walk over a JPEG's segments finds.
#[derive(Debug, Default, PartialEq)]
struct JpegFacts {
    /// From the first frame header.
    components: Option<u8>,
    /// The end-of-image marker was reached.
    is_complete: bool,
}

/// Whether a JPEG reaches its end-of-image marker; decoders tend to paint over what was cut short.
pub fn is_whole_jpeg(bytes: &[u8]) -> bool {
    walk_jpeg(bytes).is_complete
}

fn walk_jpeg(bytes: &[u8]) -> JpegFacts {
    let mut facts = JpegFacts::default();
    let mut at = 0;
    // Bytes between segments, entropy-coded data with its stuffed FF00 and restart markers: all is skipped by looking
    // for the next FF that begins a segment. Thumbnails are skipped with the segment that holds them.
    while let Some(&[first, marker]) = bytes.get(at..at + 2) {
        if first != 0xFF || matches!(marker, 0x00 | 0x01 | 0xD0..=0xD8 | 0xFF) {
            at += if first == 0xFF && marker != 0xFF { 2 } else { 1 };
            continue;
        }
        if marker == 0xD9 {
            facts.is_complete = true;
            break;
        }
        let Some(&[high, low]) = bytes.get(at + 2..at + 4) else { break };
        // C4, C8 and CC share the range of the frame headers and are none.
        if matches!(marker, 0xC0..=0xCF) && !matches!(marker, 0xC4 | 0xC8 | 0xCC) && facts.components.is_none() {
            facts.components = bytes.get(at + 9).copied();
        }
        at += 2 + usize::from(u16::from_be_bytes([high, low])).max(2);
    }
    facts
}

/// Reduces any integer picture to `[height, width, 3]` u8 RGB by the table of [`load`]; `None` for floating point.
fn to_rgb8(image: DynamicImage) -> Option<Vec<u8>> {
    let high = |v: &u16| (v >> 8) as u8;
    let over_black = |c: u8, alpha: u8| ((u16::from(c) * u16::from(alpha) + 127) / 255) as u8;
    let grey_alpha = |p: [u8; 2]| [over_black(p[0], p[1]); 3];
    let colour_alpha = |p: [u8; 4]| [over_black(p[0], p[3]), over_black(p[1], p[3]), over_black(p[2], p[3])];
    Some(match image {
        DynamicImage::ImageRgb8(i) => i.into_raw(),
        DynamicImage::ImageLuma8(i) => i.as_raw().iter().flat_map(|&v| [v; 3]).collect(),
        DynamicImage::ImageLumaA8(i) => i.pixels().flat_map(|p| grey_alpha(p.0)).collect(),
        DynamicImage::ImageRgba8(i) => i.pixels().flat_map(|p| colour_alpha(p.0)).collect(),
        DynamicImage::ImageRgb16(i) => i.as_raw().iter().map(high).collect(),
        DynamicImage::ImageLuma16(i) => i.as_raw().iter().flat_map(|v| [high(v); 3]).collect(),
        DynamicImage::ImageLumaA16(i) => i.pixels().flat_map(|p| grey_alpha(p.0.each_ref().map(high))).collect(),
        DynamicImage::ImageRgba16(i) => i.pixels().flat_map(|p| colour_alpha(p.0.each_ref().map(high))).collect(),
        _ => return None,
    })
}

const CONVERT: &str = "convert it to an 8-bit RGB or grey PNG";
const SHRINK: &str = "scale it down or crop it";

fn refused(path: &Path, what: &str, step: &str) -> Error {
    Error::new(ErrorKind::Refused, format!("{} {what}: {step}", path.display()))
}

fn corrupt(path: &Path, what: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("{} {what}: capture or copy it again, or take it out", path.display()))
}

fn explain(path: &Path, error: ImageError) -> Error {
    match error {
        ImageError::Limits(_) => refused(path, "announces more pixels than are read", SHRINK),
        ImageError::Unsupported(_) => refused(path, "is a kind of picture that is not read here", CONVERT),
        _ => corrupt(path, "is damaged or was cut short"),
    }
    .caused_by(error)
}

#[cfg(test)]
mod tests;
