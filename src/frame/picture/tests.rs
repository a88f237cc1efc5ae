use std::path::PathBuf;

use image::codecs::bmp::BmpEncoder;
use image::codecs::jpeg::JpegEncoder;
use image::{ImageBuffer, Luma, LumaA, Pixel, PixelWithColorType, Rgb, Rgba};

use super::*;

/// `pixels` encoded by the image crate, as `format`.
fn encoded<P>(format: ImageFormat, width: u32, pixels: Vec<P::Subpixel>) -> Vec<u8>
where
    P: Pixel + PixelWithColorType,
    [P::Subpixel]: image::EncodableLayout,
{
    let height = pixels.len() as u32 / u32::from(P::CHANNEL_COUNT) / width;
    let mut out = Cursor::new(Vec::new());
    ImageBuffer::<P, _>::from_raw(width, height, pixels).unwrap().write_to(&mut out, format).unwrap();
    out.into_inner()
}

/// A PNG put together by hand, for what the encoder cannot write; `chunks` go before the pixels.
fn raw_png(size: [u32; 2], depth: u8, color: u8, chunks: &[(&[u8; 4], &[u8])], rows: &[u8]) -> Vec<u8> {
    fn chunk(out: &mut Vec<u8>, name: &[u8; 4], data: &[u8]) {
        out.extend((data.len() as u32).to_be_bytes());
        let checked = [name.as_slice(), data].concat();
        let crc = checked.iter().fold(!0u32, |crc, &b| {
            (0..8).fold(crc ^ u32::from(b), |c, _| if c & 1 == 1 { c >> 1 ^ 0xEDB8_8320 } else { c >> 1 })
        });
        out.extend(&checked);
        out.extend((!crc).to_be_bytes());
    }
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    let [width, height] = size.map(u32::to_be_bytes);
    chunk(&mut out, b"IHDR", &[&width[..], &height[..], &[depth, color, 0, 0, 0]].concat());
    for (name, data) in chunks {
        chunk(&mut out, name, data);
    }
    // One stored deflate block in a zlib wrapper.
    let (a, b) =
        rows.iter().fold((1u32, 0u32), |(a, b), &v| ((a + u32::from(v)) % 65521, (a + b + u32::from(v)) % 65521));
    let length = rows.len() as u16;
    let zlib = [
        &[0x78, 0x01, 1][..],
        &length.to_le_bytes()[..],
        &(!length).to_le_bytes()[..],
        rows,
        &(b << 16 | a).to_be_bytes()[..],
    ]
    .concat();
    chunk(&mut out, b"IDAT", &zlib);
    chunk(&mut out, b"IEND", &[]);
    out
}

/// A valid 8x8 baseline JPEG of four components: every coefficient zero, so every ink is 128.
fn four_component_jpeg(adobe_transform: Option<u8>) -> Vec<u8> {
    let mut out = vec![0xFF, 0xD8];
    if let Some(transform) = adobe_transform {
        out.extend([0xFF, 0xEE, 0, 14]);
        out.extend(b"Adobe\0\x64\0\0\0\0");
        out.push(transform);
    }
    out.extend([0xFF, 0xDB, 0, 67, 0]);
    out.extend([1; 64]);
    out.extend([0xFF, 0xC0, 0, 20, 8, 0, 8, 0, 8, 4]);
    for component in 1..=4 {
        out.extend([component, 0x11, 0]);
    }
    // One DC code (category 0) and one AC code (end of block), both the single bit 0.
    for class in [0x00, 0x10] {
        out.extend([0xFF, 0xC4, 0, 20, class, 1]);
        out.extend([0; 15]);
        out.push(0);
    }
    out.extend([0xFF, 0xDA, 0, 14, 4, 1, 0, 2, 0, 3, 0, 4, 0, 0, 63, 0]);
    out.extend([0x00, 0xFF, 0xD9]);
    out
}

fn jpeg(width: u32, height: u32) -> Vec<u8> {
    let pixels: Vec<u8> = (0..width * height * 3).map(|i| (i * 37 % 251) as u8).collect();
    let mut out = Vec::new();
    JpegEncoder::new_with_quality(&mut out, 95).encode(&pixels, width, height, ExtendedColorType::Rgb8).unwrap();
    out
}

/// `jpeg` with an EXIF segment that says how the camera was held.
fn oriented(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let mut exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
    let length = (exif.len() as u16 + 2).to_be_bytes();
    [&jpeg[..2], &[0xFF, 0xE1], &length, &exif, &jpeg[2..]].concat()
}

fn decoded(bytes: &[u8]) -> Frame {
    decode(bytes, Path::new("part.png")).unwrap()
}

fn refusal(bytes: &[u8]) -> Error {
    let error = decode(bytes, Path::new("belt/part.png")).unwrap_err();
    assert!(error.message().starts_with("belt/part.png "), "{error}");
    assert!(error.message().contains(": "), "no next step: {error}");
    error
}

#[test]
fn every_lossless_format_gives_its_pixels_whatever_its_name() {
    let pixels: Vec<u8> = (0..18).map(|i| i * 13).collect();
    for format in [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Tiff, ImageFormat::Pnm, ImageFormat::WebP] {
        let frame = decoded(&encoded::<Rgb<u8>>(format, 3, pixels.clone()));
        assert_eq!((frame.width, frame.height, &frame.rgb[..]), (3, 2, &pixels[..]), "{format:?}");
    }
}

#[test]
fn a_jpeg_is_close_to_its_pixels() {
    let mut bytes = Vec::new();
    let flat = [200u8, 100, 50].repeat(16 * 16);
    JpegEncoder::new_with_quality(&mut bytes, 95).encode(&flat, 16, 16, ExtendedColorType::Rgb8).unwrap();
    let frame = decoded(&bytes);
    assert_eq!((frame.width, frame.height), (16, 16));
    assert!(frame.rgb.iter().zip(&flat).all(|(a, b)| a.abs_diff(*b) <= 3), "{:?}", &frame.rgb[..3]);
}

#[test]
fn grey_is_replicated() {
    assert_eq!(&decoded(&encoded::<Luma<u8>>(ImageFormat::Png, 2, vec![7, 250])).rgb[..], [7, 7, 7, 250, 250, 250]);
    let mut grey = Vec::new();
    JpegEncoder::new_with_quality(&mut grey, 95).encode(&[90; 64], 8, 8, ExtendedColorType::L8).unwrap();
    let frame = decoded(&grey);
    assert!(frame.rgb.iter().all(|v| v.abs_diff(90) <= 1));
    assert_eq!(frame.rgb.len(), 192);
}

#[test]
fn one_bit_grey_is_black_and_white() {
    // Filter byte 0, then the bits 1 0 1.
    let png = raw_png([3, 1], 1, 0, &[], &[0, 0b1010_0000]);
    assert_eq!(&decoded(&png).rgb[..], [255, 255, 255, 0, 0, 0, 255, 255, 255]);
}

#[test]
fn sixteen_bits_give_their_high_byte() {
    for format in [ImageFormat::Png, ImageFormat::Tiff] {
        let grey = encoded::<Luma<u16>>(format, 3, vec![0x00FF, 0x0100, 0xFFFF]);
        assert_eq!(&decoded(&grey).rgb[..], [0, 0, 0, 1, 1, 1, 255, 255, 255], "{format:?}");
        let colour = encoded::<Rgb<u16>>(format, 1, vec![0x7FFF, 0x8000, 0x12FE]);
        assert_eq!(&decoded(&colour).rgb[..], [0x7F, 0x80, 0x12], "{format:?}");
    }
}

#[test]
fn a_palette_is_expanded() {
    let palette = [10, 20, 30, 40, 50, 60, 70, 80, 90];
    let png = raw_png([2, 2], 8, 3, &[(b"PLTE", &palette)], &[0, 2, 0, 0, 1, 1]);
    assert_eq!(&decoded(&png).rgb[..], [70, 80, 90, 10, 20, 30, 40, 50, 60, 40, 50, 60]);

    let mut bmp = Vec::new();
    BmpEncoder::new(&mut bmp)
        .encode_with_palette(&[1, 0], 2, 1, ExtendedColorType::L8, Some(&[[1, 2, 3], [4, 5, 6]]))
        .unwrap();
    assert_eq!(&decoded(&bmp).rgb[..], [4, 5, 6, 1, 2, 3]);
}

#[test]
fn alpha_lies_over_black() {
    let png = encoded::<Rgba<u8>>(ImageFormat::Png, 3, vec![200, 100, 50, 255, 200, 100, 50, 0, 200, 100, 50, 128]);
    assert_eq!(&decoded(&png).rgb[..], [200, 100, 50, 0, 0, 0, 100, 50, 25]);
    let grey = encoded::<LumaA<u8>>(ImageFormat::Png, 2, vec![80, 255, 80, 51]);
    assert_eq!(&decoded(&grey).rgb[..], [80, 80, 80, 16, 16, 16]);
    let deep = encoded::<Rgba<u16>>(ImageFormat::Png, 1, vec![0xC8FF, 0x64FF, 0x32FF, 0x80FF]);
    assert_eq!(&decoded(&deep).rgb[..], [100, 50, 25]);
    let deep_grey = encoded::<LumaA<u16>>(ImageFormat::Png, 1, vec![0x50FF, 0x33FF]);
    assert_eq!(&decoded(&deep_grey).rgb[..], [16, 16, 16]);
    // A palette's transparency counts as well.
    let png = raw_png([2, 1], 8, 3, &[(b"PLTE", &[90, 60, 30, 90, 60, 30]), (b"tRNS", &[255, 0])], &[0, 0, 1]);
    assert_eq!(&decoded(&png).rgb[..], [90, 60, 30, 0, 0, 0]);
}

#[test]
fn exif_orientation_is_applied() {
    let plain = jpeg(24, 16);
    let upright = decoded(&plain);
    assert_eq!((upright.width, upright.height), (24, 16));
    assert_eq!(decoded(&oriented(&plain, 1)).rgb, upright.rgb);
    let turned = decoded(&oriented(&plain, 6));
    assert_eq!((turned.width, turned.height), (16, 24));
    // Turned clockwise by 90 degrees: the top right corner was the top left.
    assert_eq!(&turned.rgb[15 * 3..16 * 3], &upright.rgb[..3]);
}

#[test]
fn cmyk_and_ycck_are_refused_although_the_decoder_would_take_them() {
    for transform in [None, Some(0), Some(2)] {
        let bytes = four_component_jpeg(transform);
        assert!(image::load_from_memory(&bytes).is_ok(), "the hand-made JPEG must be a real one ({transform:?})");
        let error = refusal(&bytes);
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert!(error.message().contains("CMYK") && error.message().contains("convert"), "{error}");
    }
}

#[test]
fn cmyk_tiff_is_refused() {
    // Little-endian header, the four inks of one pixel, then a directory that says photometric 5.
    let mut tiff = b"II*\0\x0C\0\0\0\x10\x20\x30\x40".to_vec();
    let entries: [(u16, u16, u32, u32); 9] = [
        (256, 3, 1, 1),
        (257, 3, 1, 1),
        (258, 3, 4, 12 + 2 + 9 * 12 + 4),
        (259, 3, 1, 1),
        (262, 3, 1, 5),
        (273, 4, 1, 8),
        (277, 3, 1, 4),
        (278, 3, 1, 1),
        (279, 4, 1, 4),
    ];
    tiff.extend(9u16.to_le_bytes());
    for (tag, kind, count, value) in entries {
        tiff.extend(tag.to_le_bytes());
        tiff.extend(kind.to_le_bytes());
        tiff.extend(count.to_le_bytes());
        tiff.extend(value.to_le_bytes());
    }
    tiff.extend([0; 4]);
    tiff.extend([8, 0].repeat(4));
    assert!(image::load_from_memory(&tiff).is_ok(), "the hand-made TIFF must be a real one");
    let error = refusal(&tiff);
    assert!(error.kind() == ErrorKind::Refused && error.message().contains("CMYK"), "{error}");
}

#[test]
fn float_tiff_is_refused() {
    let error = refusal(&encoded::<Rgb<f32>>(ImageFormat::Tiff, 1, vec![0.1, 0.2, 0.3]));
    assert!(error.kind() == ErrorKind::Refused && error.message().contains("convert"), "{error}");
}

#[test]
fn other_formats_are_refused_and_rubbish_is_corrupt() {
    let gif = b"GIF89a\x01\0\x01\0\0\0\0;";
    assert_eq!(refusal(gif).kind(), ErrorKind::Refused);
    for rubbish in [&b""[..], b"\0", b"part,verdict\n1,pass\n", &[0xFF, 0xD8, 0xFF], b"BM", b"P6", &[0x5A; 4096]] {
        assert_eq!(refusal(rubbish).kind(), ErrorKind::Corrupt, "{rubbish:?}");
    }
    assert!(refusal(b"").message().contains("empty"));
}

/// Every tenth length of every format: an error each time, never a picture with made-up rows.
#[test]
fn a_file_that_was_cut_short_is_corrupt() {
    let pixels: Vec<u8> = (0..40 * 40 * 3u32).map(|i| (i * 37 % 251) as u8).collect();
    let rgb = |format| encoded::<Rgb<u8>>(format, 40, pixels.clone());
    let files = [
        ("png", rgb(ImageFormat::Png), 12),
        ("bmp", rgb(ImageFormat::Bmp), 0),
        ("tiff", rgb(ImageFormat::Tiff), 0),
        ("pnm", rgb(ImageFormat::Pnm), 0),
        ("webp", rgb(ImageFormat::WebP), 0),
        ("jpeg", jpeg(40, 40), 0),
    ];
    for (name, bytes, trailer) in files {
        assert!(decode(&bytes, Path::new(name)).is_ok(), "{name}");
        // A PNG that lacks only its empty last chunk has lost nothing.
        for keep in (8..bytes.len() - trailer).step_by(10).chain([bytes.len() - trailer - 1]) {
            match decode(&bytes[..keep], Path::new(name)) {
                Ok(_) => panic!("{name}: {keep} of {} bytes gave a picture", bytes.len()),
                Err(e) => assert_eq!(e.kind(), ErrorKind::Corrupt, "{name}, {keep} bytes: {e}"),
            }
        }
    }
}

#[test]
fn no_picture_may_announce_too_much_or_nothing() {
    for size in [[SIDE_MAX + 1, 1], [60_000, 60_000], [16_384, 4_097], [u32::MAX >> 1, 1]] {
        let error = refusal(&raw_png(size, 8, 0, &[], &[0, 0]));
        assert_eq!(error.kind(), ErrorKind::Refused, "{size:?}: {error}");
    }
    for size in [[0, 1], [1, 0], [0, 0]] {
        assert_eq!(refusal(&raw_png(size, 8, 0, &[], &[0, 0])).kind(), ErrorKind::Corrupt, "{size:?}");
    }
    let mut huge = jpeg(8, 8);
    let at = huge.windows(2).position(|w| w == [0xFF, 0xC0]).unwrap();
    huge[at + 5..at + 9].copy_from_slice(&[0xFF; 4]);
    assert_eq!(refusal(&huge).kind(), ErrorKind::Refused);
}

#[test]
fn the_jpeg_walk_skips_thumbnails_stuffing_restarts_and_padding() {
    let complete = |components| JpegFacts { components: Some(components), is_complete: true };
    // An APP1 with a whole four-component JPEG inside must not be taken for the picture.
    let thumbnail = four_component_jpeg(None);
    let length = (thumbnail.len() as u16 + 2).to_be_bytes();
    let outer = jpeg(8, 8);
    let nested = [&outer[..2], &[0xFF, 0xE1], &length, &thumbnail, &outer[2..]].concat();
    assert_eq!(walk_jpeg(&nested), complete(3));
    assert!(!walk_jpeg(&nested[..nested.len() - 2]).is_complete);
    // What cameras append after the end does no harm.
    assert_eq!(walk_jpeg(&[&outer[..], &[0; 100]].concat()), complete(3));
    let scan = [0xFF, 0xD8, 0xFF, 0xC2, 0, 11, 8, 0, 8, 0, 8, 1, 1, 0x11, 0, 0xFF, 0xDA, 0, 2];
    assert_eq!(walk_jpeg(&[&scan[..], &[0x12, 0xFF, 0x00, 0xFF, 0xD3, 0x34, 0xFF, 0xFF, 0xD9]].concat()), complete(1));
    assert!(!walk_jpeg(&[&scan[..], &[0x12, 0xFF, 0x00, 0xD9]].concat()).is_complete);
}

#[test]
fn masks_are_read_above_127_and_useless_ones_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: Vec<u8>| -> PathBuf {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let grey = write("grey.png", encoded::<Luma<u8>>(ImageFormat::Png, 4, vec![0, 127, 128, 255]));
    let mask = load_mask(&grey).unwrap();
    assert_eq!((mask.width, mask.height, mask.pixels), (4, 1, vec![false, false, true, true]));
    // One bright channel is enough.
    let red = write("red.png", encoded::<Rgb<u8>>(ImageFormat::Png, 2, vec![128, 0, 0, 0, 0, 0]));
    assert_eq!(load_mask(&red).unwrap().pixels, [true, false]);
    let blank = write("blank.png", encoded::<Luma<u8>>(ImageFormat::Png, 2, vec![0, 0]));
    assert_eq!(load_mask(&blank).unwrap().pixels, [false, false]);
    let zero_one = write("zero_one.png", encoded::<Luma<u8>>(ImageFormat::Png, 2, vec![0, 1]));
    let error = load_mask(&zero_one).unwrap_err();
    assert!(error.kind() == ErrorKind::Refused && error.message().contains("255"), "{error}");
}

#[test]
fn what_is_saved_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let frame = Frame::still(2, 2, (0..12).collect::<Vec<u8>>());
    let path = dir.path().join("part.png");
    save_png(&path, &frame).unwrap();
    assert_eq!(load(&path).unwrap().rgb, frame.rgb);
    let mask = Mask { width: 3, height: 1, pixels: vec![true, false, true] };
    save_mask_png(&path, &mask).unwrap();
    assert_eq!(load_mask(&path).unwrap(), mask);
    let error = save_png(&dir.path().join("missing/part.png"), &frame).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn missing_files_and_folders_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing.png");
    let error = load(&missing).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("missing.png"), "{error}");
    assert_eq!(load(dir.path()).unwrap_err().kind(), ErrorKind::Refused);
}

#[test]
fn picture_names() {
    for (name, is_picture) in [
        ("a.png", true),
        ("a.b/c.JPeG", true),
        ("a.tif", true),
        (".hidden.png", false),
        ("._part.jpg", false),
        (".png", false),
        ("notes.txt", false),
        ("png", false),
        ("", false),
    ] {
        assert_eq!(has_picture_name(Path::new(name)), is_picture, "{name}");
    }
}
