//! Motion JPEG: one whole JPEG a frame.
//!
//! A frame that was cut short is refused, not painted over: half a part in grey is no picture of a part. Cameras that
//! leave out the Huffman tables and say so (`AVI1`) are read with the standard ones. The decoder allocates per frame.

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::Unconvertible;
use crate::frame::picture::is_whole_jpeg;

/// Decodes a JPEG of exactly `size` into `out`, which has room for it.
pub(super) fn decode(size: (u32, u32), bytes: &[u8], out: &mut [u8]) -> Result<(), Unconvertible> {
    let damaged = |why: &dyn std::fmt::Debug| Unconvertible::Jpeg(format!("{why:?}"));
    if !is_whole_jpeg(bytes) {
        return Err(Unconvertible::Jpeg(format!("no end in {} bytes", bytes.len())));
    }
    let options = DecoderOptions::default().set_strict_mode(true).jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|e| damaged(&e))?;
    let got = decoder.dimensions().unwrap_or((0, 0));
    // A JPEG is at most 65535 pixels wide and high.
    let got = (got.0 as u32, got.1 as u32);
    if got != size {
        return Err(Unconvertible::Size { promised: size, got });
    }
    decoder.decode_into(out).map_err(|e| damaged(&e))
}
