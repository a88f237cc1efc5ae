use proptest::prelude::*;
use proptest::test_runner::{Config as Runs, RngSeed};

use super::*;
use crate::frame::kernels::portably;

const LIMITED: Colour = Colour { matrix: Matrix::Bt601, range: Range::Limited };
const FULL: Colour = Colour { matrix: Matrix::Bt601, range: Range::Full };
const HD: Colour = Colour { matrix: Matrix::Bt709, range: Range::Limited };

/// Converts into room that was dirty.
fn run(name: &str, colour: Colour, size: (u32, u32), stride: usize, bytes: &[u8]) -> Result<Vec<u8>, Unconvertible> {
    let format = PixelFormat::of_name(name).unwrap();
    let mut out = vec![0xA5; size.0 as usize * size.1 as usize * 3];
    convert(format, colour, size, stride, bytes, &mut out).map(|()| out)
}

#[test]
fn colours_come_out_as_computed_by_hand() {
    // Y, U, V and what the matrix gives, rounded: 1.164 (Y - 16) + 1.596 (V - 128) and so on.
    for (what, colour, [y, u, v], rgb) in [
        ("black", LIMITED, [16, 128, 128], [0, 0, 0]),
        ("white", LIMITED, [235, 128, 128], [255, 255, 255]),
        ("blacker than black", LIMITED, [3, 128, 128], [0, 0, 0]),
        ("middle grey", LIMITED, [126, 128, 128], [128, 128, 128]),
        ("red", LIMITED, [81, 90, 240], [254, 0, 0]),
        ("full-range black", FULL, [0, 128, 128], [0, 0, 0]),
        ("full-range grey", FULL, [77, 128, 128], [77, 77, 77]),
        ("full-range red", FULL, [76, 85, 255], [254, 0, 0]),
        ("BT.709 green", HD, [173, 42, 26], [0, 255, 1]),
    ] {
        let pair = [rgb, rgb].concat();
        assert_eq!(run("YUYV", colour, (2, 1), 0, &[y, u, y, v]), Ok(pair.clone()), "{what}");
        assert_eq!(run("UYVY", colour, (2, 1), 0, &[u, y, v, y]), Ok(pair.clone()), "{what}");
        let square = [pair.clone(), pair].concat();
        assert_eq!(run("NV12", colour, (2, 2), 0, &[y, y, y, y, u, v]), Ok(square), "{what}");
    }
}

#[test]
fn samples_land_where_they_belong() {
    let spread = |grey: &[u8]| grey.iter().flat_map(|&v| [v; 3]).collect::<Vec<u8>>();
    const P: u8 = 0xEE; // padding
    type Case = (&'static str, (u32, u32), usize, &'static [u8], Vec<u8>);
    let cases: &[Case] = &[
        ("GREY", (3, 2), 0, &[1, 2, 3, 4, 5, 6], spread(&[1, 2, 3, 4, 5, 6])),
        ("GREY", (3, 2), 4, &[1, 2, 3, P, 4, 5, 6], spread(&[1, 2, 3, 4, 5, 6])),
        // 10, 12 and 16 bits: the high 8 of them; above the maximum is white.
        ("Y10", (3, 1), 0, &[0xFF, 0x03, 0x04, 0x00, 0xFF, 0xFF], spread(&[255, 1, 255])),
        ("Y12", (2, 1), 0, &[0x10, 0x00, 0xF0, 0x0F], spread(&[1, 255])),
        ("Y16", (1, 2), 4, &[0xFF, 0x7F, P, P, 0x00, 0x80], spread(&[127, 128])),
        ("RGB3", (1, 2), 5, &[1, 2, 3, P, P, 4, 5, 6], vec![1, 2, 3, 4, 5, 6]),
        ("BGR3", (2, 1), 0, &[1, 2, 3, 4, 5, 6], vec![3, 2, 1, 6, 5, 4]),
        // Odd widths: the last pair is one pixel and takes its own luma.
        ("YUYV", (3, 1), 0, &[10, 128, 20, 128, 30, 128, 99, 128], spread(&[10, 20, 30])),
        ("YUYV", (1, 2), 6, &[10, 128, 99, 128, P, P, 20, 128, 99, 128], spread(&[10, 20])),
        ("UYVY", (3, 1), 0, &[128, 10, 128, 20, 128, 30, 128, 99], spread(&[10, 20, 30])),
        // Odd both ways: chroma has two columns and two lines. Its last line serves the last line of luma alone.
        (
            "NV12",
            (3, 3),
            5,
            &[1, 2, 3, P, P, 4, 5, 6, P, P, 7, 8, 9, P, P, 128, 128, 128, 128, P, 128, 128, 128, 128],
            spread(&[1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ),
    ];
    for (name, size, stride, bytes, expected) in cases {
        assert_eq!(run(name, FULL, *size, *stride, bytes).as_ref(), Ok(expected), "{name} {size:?} {stride}");
    }
}

#[test]
fn chroma_of_nv12_serves_two_lines_and_two_columns() {
    // Grey but for the lower right square, which is red (full range: Y 76, U 85, V 255).
    let luma = [[50u8; 4], [50; 4], [76; 4], [76; 4]].concat();
    let chroma = [128, 128, 128, 128, 128, 128, 85, 255];
    let out = run("NV12", FULL, (4, 4), 0, &[&luma[..], &chroma].concat()).unwrap();
    for (n, pixel) in out.chunks_exact(3).enumerate() {
        let expected = match (n / 4, n % 4) {
            (2.., 2..) => [254, 0, 0],
            (2.., _) => [76, 76, 76],
            _ => [50, 50, 50],
        };
        assert_eq!(pixel, expected, "pixel {n}");
    }
}

/// The bytes of a 4x2 Bayer frame with these 8-bit samples.
fn packed(packing: Packing, samples: &[u8; 8]) -> Vec<u8> {
    let word = |shift: u16| samples.iter().flat_map(|&v| (u16::from(v) << shift).to_le_bytes()).collect();
    match packing {
        Packing::Bits8 => samples.to_vec(),
        Packing::Words10 => word(2),
        Packing::Words12 => word(4),
        // The low bits are set to what must not matter.
        Packing::Packed10 => samples.chunks(4).flat_map(|four| [four, &[0xFF]].concat()).collect(),
        Packing::Packed12 => samples.chunks(2).flat_map(|two| [two, &[0xFF]].concat()).collect(),
    }
}

#[test]
fn a_mosaic_of_one_colour_is_that_colour_in_every_packing() {
    let mut seen = 0;
    for (format, _) in PixelFormat::ALL {
        let PixelFormat::Bayer(mosaic, packing) = format else { continue };
        seen += 1;
        let (red, green, blue) = (200, 100, 20);
        let lines = match mosaic {
            Mosaic::Rggb => [[red, green], [green, blue]],
            Mosaic::Grbg => [[green, red], [blue, green]],
            Mosaic::Gbrg => [[green, blue], [red, green]],
            Mosaic::Bggr => [[blue, green], [green, red]],
        };
        let [a, b] = lines.map(|[l, r]| [l, r, l, r]);
        let bytes = packed(packing, &[a, b].concat().try_into().unwrap());
        let out = run(format.name(), FULL, (4, 2), 0, &bytes).unwrap();
        assert_eq!(out, [[red, green, blue]; 8].concat(), "{format}");
    }
    assert_eq!(seen, 20);
}

#[test]
fn bilinear_means_are_those_computed_by_hand() {
    #[rustfmt::skip]
    let mosaic = [
        10,  20,  30,  41,
        50,  60,  70,  80,
        90, 100, 111, 120,
    ];
    let out = run("RGGB", FULL, (4, 3), 0, &mosaic).unwrap();
    let pixel = |x: usize, y: usize| &out[(y * 4 + x) * 3..][..3];
    // Red at the corner: green from beside and below (mirrored), blue from the corner below right.
    assert_eq!(pixel(0, 0), [10, 35, 60]);
    // Blue in the middle: red from four corners (10+30+90+111)/4 = 60.25, green from the cross (20+50+70+100)/4.
    assert_eq!(pixel(1, 1), [60, 60, 60]);
    // Green between reds at its left and right and blues above and below: (10+30)/2 and, mirrored, 60.
    assert_eq!(pixel(1, 0), [20, 20, 60]);
    // Green between blues beside and reds upright: (30+111)/2 = 70.5 rounds up; (60+80)/2.
    assert_eq!(pixel(2, 1), [71, 70, 70]);
    // The last column mirrors inwards: green 41 over the blue 80, red from 30 on both sides.
    assert_eq!(pixel(3, 0), [30, 41, 80]);
}

#[test]
fn a_short_frame_says_how_many_bytes_it_needs_and_nothing_is_written() {
    for (name, size, stride, needed) in [
        ("YUYV", (4, 2), 0, 16),
        ("YUYV", (4, 2), 16, 24),
        ("YUYV", (3, 1), 0, 8),
        ("NV12", (4, 4), 0, 24),
        ("NV12", (3, 3), 8, 8 * 4 + 4),
        ("GREY", (5, 3), 8, 21),
        ("Y12", (5, 1), 0, 10),
        ("RGB3", (5, 1), 0, 15),
        ("pRAA", (4, 2), 0, 10),
        ("pRAA", (5, 1), 0, 10),
        ("pBCC", (3, 2), 8, 14),
    ] {
        let bytes = vec![7; needed];
        assert!(run(name, FULL, size, stride, &bytes).is_ok(), "{name}");
        assert_eq!(PixelFormat::of_name(name).unwrap().frame_bytes(size, stride), Some(needed), "{name}");
        for got in [0, 1, needed - 1] {
            let short = run(name, FULL, size, stride, &bytes[..got]);
            assert_eq!(short, Err(Unconvertible::Truncated { needed, got }), "{name}");
        }
    }
    let format = PixelFormat::Grey;
    let mut out = [9; 12];
    assert!(convert(format, FULL, (2, 2), 0, &[1; 3], &mut out).is_err());
    assert_eq!(out, [9; 12]);
}

#[test]
fn strides_and_rooms_that_do_not_fit_are_refused() {
    let stride = run("YUYV", FULL, (4, 2), 7, &[0; 99]);
    assert_eq!(stride, Err(Unconvertible::Stride { needed: 8, got: 7 }));
    let room = convert(PixelFormat::Grey, FULL, (2, 2), 0, &[0; 4], &mut [0; 11]);
    assert_eq!(room, Err(Unconvertible::Room { needed: 12, got: 11 }));
    let vast = convert(PixelFormat::Nv12, FULL, (u32::MAX, u32::MAX), 0, &[], &mut []);
    assert!(matches!(vast, Err(Unconvertible::Room { .. })), "{vast:?}");
    assert_eq!(
        run("GREY", FULL, (4, 2), usize::MAX, &[0; 99]).unwrap_err(),
        Unconvertible::Truncated { needed: usize::MAX, got: 99 }
    );
}

/// A JPEG of two halves: dark left, bright right.
fn jpeg(width: u32, height: u32) -> Vec<u8> {
    let picture = image::RgbImage::from_fn(width, height, |x, _| image::Rgb([if x < width / 2 { 20 } else { 220 }; 3]));
    let mut bytes = Vec::new();
    image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 90).encode_image(&picture).unwrap();
    bytes
}

#[test]
fn a_whole_jpeg_of_the_right_size_is_read_and_nothing_else() {
    let whole = jpeg(33, 17);
    let out = run("MJPG", FULL, (33, 17), 0, &whole).unwrap();
    assert!(out[0].abs_diff(20) < 6 && out[32 * 3].abs_diff(220) < 6, "{} {}", out[0], out[32 * 3]);
    // Drivers hand out buffers that are longer than the frame.
    let padded = [&whole[..], &[0; 500]].concat();
    assert_eq!(run("MJPG", FULL, (33, 17), 0, &padded), Ok(out));
    let other = run("MJPG", FULL, (32, 17), 0, &whole);
    assert_eq!(other, Err(Unconvertible::Size { promised: (32, 17), got: (33, 17) }));
    for cut in 0..whole.len() {
        for bytes in [whole[..cut].to_vec(), [&whole[..cut], &[0; 500]].concat()] {
            // A frame that ends between the two bytes of its end marker, filled up by zeros, included.
            assert!(run("MJPG", FULL, (33, 17), 0, &bytes).is_err(), "cut at {cut} of {}", whole.len());
        }
    }
    // Lost in the middle, with the end in place: a package of the bus that never came.
    let hole = [&whole[..whole.len() - 60], &whole[whole.len() - 2..]].concat();
    assert!(run("MJPG", FULL, (33, 17), 0, &hole).is_err());
}

#[test]
fn every_format_has_a_name_and_a_code_of_its_own() {
    for (format, code) in PixelFormat::ALL {
        assert_eq!(PixelFormat::of_code(code), Some(format));
        assert_eq!(PixelFormat::of_name(format.name()), Some(format));
        assert_eq!(format.code(), code);
    }
    assert_eq!((PixelFormat::of_code(*b"H264"), PixelFormat::of_name("auto")), (None, None));
}

proptest! {
    #![proptest_config(Runs { cases: 600, rng_seed: RngSeed::Fixed(3), failure_persistence: None, ..Runs::default() })]

    /// No bytes, size or stride make any format panic; a frame that has what it says it needs is converted.
    #[test]
    fn no_input_panics(
        index in 0..PixelFormat::ALL.len(),
        width in 0u32..40,
        height in 0u32..20,
        padding in 0usize..9,
        mut bytes in proptest::collection::vec(any::<u8>(), 0..3000),
        is_jpeg in any::<bool>(),
    ) {
        let (format, _) = PixelFormat::ALL[index];
        if is_jpeg {
            // Garbage inside something that begins and ends as a JPEG gets further into the decoder.
            let mut framed = jpeg(width.max(1), height.max(1));
            let middle = framed.len() / 2;
            framed.splice(middle..middle + bytes.len().min(framed.len() / 4), bytes.iter().copied());
            bytes = framed;
        }
        let stride = format.frame_bytes((width, 1), 0).map_or(padding, |line| (line + padding) * usize::from(padding < 8));
        let mut out = vec![0; width as usize * height as usize * 3];
        let converted = convert(format, LIMITED, (width, height), stride, &bytes, &mut out);
        if let Some(needed) = format.frame_bytes((width, height), stride) {
            prop_assert_eq!(converted.is_ok(), bytes.len() >= needed || width * height == 0);
        }
    }
}

/// Luma and chroma of one pixel to RGB as the standards write it, in the fixed point that is promised: factors of 16
/// fraction bits, the sum rounded half up.
fn by_definition(colour: Colour, [y, u, v]: [u8; 3]) -> [u8; 3] {
    let (kr, kb) = match colour.matrix {
        Matrix::Bt601 => (0.299, 0.114),
        Matrix::Bt709 => (0.2126, 0.0722),
        Matrix::Bt2020 => (0.2627, 0.0593),
    };
    let (black, luma, chroma) = match colour.range {
        Range::Limited => (16, 255.0 / 219.0, 255.0 / 224.0),
        Range::Full => (0, 1.0, 1.0),
    };
    let fixed = |factor: f64| (factor * 65536.0).round() as i64;
    let (u, v) = (i64::from(u) - 128, i64::from(v) - 128);
    let y = (i64::from(y) - black) * fixed(luma) + 32768;
    let kg = 1.0 - kr - kb;
    let red = y + fixed(2.0 * (1.0 - kr) * chroma) * v;
    let green = y - fixed(2.0 * kb * (1.0 - kb) / kg * chroma) * u - fixed(2.0 * kr * (1.0 - kr) / kg * chroma) * v;
    let blue = y + fixed(2.0 * (1.0 - kb) * chroma) * u;
    [red, green, blue].map(|sum| (sum >> 16).clamp(0, 255) as u8)
}

#[test]
fn all_luma_and_chroma_give_what_the_definition_gives() {
    let codes: Vec<u8> = (0..=255).step_by(7).chain([1, 127, 128, 129, 254, 255]).collect();
    let pairs: Vec<[u8; 2]> = codes.iter().flat_map(|&u| codes.iter().map(move |&v| [u, v])).collect();
    for matrix in [Matrix::Bt601, Matrix::Bt709, Matrix::Bt2020] {
        for range in [Range::Limited, Range::Full] {
            let colour = Colour { matrix, range };
            // A line for each luma, with the complement as the second of each pair.
            for y in 0..=255 {
                let pixels = pairs.iter().flat_map(|&[u, v]| [[y, u, v], [255 - y, u, v]]);
                let want: Vec<u8> = pixels.flat_map(|yuv| by_definition(colour, yuv)).collect();
                let packed: Vec<u8> = pairs.iter().flat_map(|&[u, v]| [y, u, 255 - y, v]).collect();
                let size = (2 * pairs.len() as u32, 1);
                assert!(run("YUYV", colour, size, 0, &packed).as_ref() == Ok(&want), "{colour:?}, luma {y}");
            }
        }
    }
}

/// The three colours of one pixel of a mosaic, from its neighbours one by one.
fn bilinear(
    mosaic: Mosaic,
    sample: impl Fn(usize, usize) -> u8,
    (width, height): (usize, usize),
    at: [usize; 2],
) -> [u8; 3] {
    let mirror = |at: isize, count: usize| {
        let last = count as isize - 1;
        let at = if at < 0 { -at } else { at };
        (if at > last { 2 * last - at } else { at }).clamp(0, last) as usize
    };
    let (red_x, red_y) = match mosaic {
        Mosaic::Rggb => (0, 0),
        Mosaic::Grbg => (1, 0),
        Mosaic::Gbrg => (0, 1),
        Mosaic::Bggr => (1, 1),
    };
    // 0, 1, 2: red, green, blue.
    let colour = |x: isize, y: isize| ((x + red_x) & 1) + ((y + red_y) & 1);
    let [x, y] = at.map(|n| n as isize);
    [0, 1, 2].map(|wanted| {
        if colour(x, y) == wanted {
            return sample(at[0], at[1]);
        }
        let around = (-1..=1).flat_map(|dy| (-1..=1).map(move |dx| (dx, dy)));
        let is_near =
            |&(dx, dy): &(isize, isize)| colour(x + dx, y + dy) == wanted && (wanted != 1 || dx == 0 || dy == 0);
        let near: Vec<u32> = around
            .filter(is_near)
            .map(|(dx, dy)| sample(mirror(x + dx, width), mirror(y + dy, height)).into())
            .collect();
        let count = near.len() as u32;
        ((near.iter().sum::<u32>() + count / 2) / count) as u8
    })
}

proptest! {
    #![proptest_config(Runs { cases: 400, rng_seed: RngSeed::Fixed(5), failure_persistence: None, ..Runs::default() })]

    /// Whatever the format, size and padding: the same bytes with and without the processor's vectors.
    #[test]
    fn every_format_is_the_same_on_every_instruction_set(
        index in 0..PixelFormat::ALL.len() - 1,
        (width, height) in (1u32..300, 1u32..6),
        padding in 0usize..9,
        colour in prop_oneof![Just(LIMITED), Just(FULL), Just(HD)],
        seed in any::<u64>(),
    ) {
        let (format, _) = PixelFormat::ALL[index];
        let stride = format.frame_bytes((width, 1), 0).unwrap_or(0) + padding;
        let count = format.frame_bytes((width, height), stride).unwrap_or(0) as u64;
        let bytes: Vec<u8> = (0..count).map(|i| ((i + seed).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect();
        let out = run(format.name(), colour, (width, height), stride, &bytes).unwrap();
        prop_assert_eq!(&out, &portably(|| run(format.name(), colour, (width, height), stride, &bytes)).unwrap());
        let (width, height) = (width as usize, height as usize);
        for (n, rgb) in out.chunks_exact(3).enumerate() {
            let (x, y) = (n % width, n / width);
            let line = &bytes[y * stride..];
            let want = match format {
                PixelFormat::Yuyv => by_definition(colour, [line[2 * x], line[x / 2 * 4 + 1], line[x / 2 * 4 + 3]]),
                PixelFormat::Uyvy => by_definition(colour, [line[2 * x + 1], line[x / 2 * 4], line[x / 2 * 4 + 2]]),
                PixelFormat::Nv12 => {
                    let chroma = &bytes[(height + y / 2) * stride + x / 2 * 2..];
                    by_definition(colour, [line[x], chroma[0], chroma[1]])
                }
                PixelFormat::Grey => [line[x]; 3],
                PixelFormat::Rgb24 => [line[3 * x], line[3 * x + 1], line[3 * x + 2]],
                PixelFormat::Bgr24 => [line[3 * x + 2], line[3 * x + 1], line[3 * x]],
                PixelFormat::Bayer(mosaic, Packing::Bits8) if width > 1 && height > 1 => {
                    bilinear(mosaic, |x, y| bytes[y * stride + x], (width, height), [x, y])
                }
                PixelFormat::Bayer(mosaic, Packing::Packed10) if width > 1 && height > 1 => {
                    bilinear(mosaic, |x, y| bytes[y * stride + x / 4 * 5 + x % 4], (width, height), [x, y])
                }
                _ => continue,
            };
            prop_assert_eq!(rgb, want, "pixel {}, {} of {}", x, y, format);
        }
    }
}
