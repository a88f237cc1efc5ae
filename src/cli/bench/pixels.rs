//! `zoomgate bench --pixels`: from what a camera sends to what the model gets, step by step.

use std::hint::black_box;
use std::time::Instant;

use serde::Serialize;

use super::{Args, ms};
use crate::camera::convert::{Colour, PixelFormat, Unconvertible, convert};
use crate::cli::output::print_json;
use crate::error::{Error, ErrorKind, Result};
use crate::frame::Frame;
use crate::frame::geometry::View;
use crate::inspect::crop::CropPolicy;
use crate::inspect::intensity::{IntensityNorm, IntensityStats};
use crate::inspect::preprocess::{Scratch, sample};
use crate::stats;

/// Width and height of the frames: a common sensor of 1.3 megapixels.
const FRAME: (u32, u32) = (1280, 1024);
/// Height and width of the model's input where `--size` does not say another.
const INPUT: [usize; 2] = [256, 256];
/// One format for each way in which pixels are laid out.
const FORMATS: [&str; 6] = ["YUYV", "NV12", "GREY", "RGB3", "BGR3", "RGGB"];

#[derive(Serialize)]
struct Report {
    schema: u32,
    /// Width and height.
    frame: (u32, u32),
    /// Height and width.
    input: [usize; 2],
    formats: Vec<Times>,
}

/// Medians in ms.
#[derive(Serialize)]
struct Times {
    format: &'static str,
    /// Raw bytes to a frame.
    convert_ms: f64,
    /// The whole frame to the model's input.
    full_ms: f64,
    /// The smallest crop of the shipped policy to the model's input, at fractions of a pixel.
    crop_ms: f64,
    /// The light of the full image, measured, and taken out of both inputs.
    levels_ms: f64,
    /// Median of all of it together.
    sum_ms: f64,
}

/// Times every step and prints the result.
///
/// # Errors
/// When `--size` names an input that no machine holds.
pub fn run(args: &Args) -> Result<()> {
    let input = args.size.as_ref().map_or(INPUT, |size| [size[0], size[1]]);
    if input[0].checked_mul(input[1]).is_none_or(|pixels| pixels == 0 || pixels > 1 << 26) {
        let message = format!("an input of {} x {} is none that this machine can hold", input[0], input[1]);
        return Err(Error::new(ErrorKind::Refused, message));
    }
    let formats = FORMATS.iter().map(|name| time(name, input, args.runs)).collect::<Result<_>>()?;
    let report = Report { schema: 1, frame: FRAME, input, formats };
    if args.json {
        return print_json(&report);
    }
    println!("frames of {}x{}, two inputs of {}x{}, ms", FRAME.0, FRAME.1, input[1], input[0]);
    println!("  {:<6}  {:>8}  {:>8}  {:>8}  {:>8}  {:>8}", "format", "convert", "full", "crop", "levels", "all");
    for times in &report.formats {
        let Times { format, convert_ms, full_ms, crop_ms, levels_ms, sum_ms } = times;
        println!("  {format:<6}  {convert_ms:>8.3}  {full_ms:>8.3}  {crop_ms:>8.3}  {levels_ms:>8.3}  {sum_ms:>8.3}");
    }
    Ok(())
}

fn time(name: &'static str, [height, width]: [usize; 2], runs: u16) -> Result<Times> {
    let unusable = |e: &dyn std::fmt::Display| Error::new(ErrorKind::Internal, format!("a frame of {name} {e}"));
    let format = PixelFormat::of_name(name).ok_or_else(|| unusable(&"is not known"))?;
    let bytes = format.frame_bytes(FRAME, 0).unwrap_or_default() as u32;
    // Any picture: what is measured does not depend on it.
    let raw: Vec<u8> = (0..bytes).map(|i| (i.wrapping_mul(2_654_435_761) >> 23) as u8).collect();
    let mut rgb = vec![0; 3 * FRAME.0 as usize * FRAME.1 as usize];
    let into = |rgb: &mut [u8]| -> std::result::Result<(), Unconvertible> {
        convert(format, Colour::default(), FRAME, 0, black_box(&raw), black_box(rgb))
    };
    into(&mut rgb).map_err(|e| unusable(&e))?;
    let frame = Frame::still(FRAME.0, FRAME.1, rgb.clone());
    let whole = View::whole(FRAME.0, FRAME.1);
    let side = CropPolicy::default().side_min;
    let crop = View { x: 300.25, y: 200.75, width: whole.width * side, height: whole.height * side };
    let (mut full, mut zoom) = (vec![0; 3 * height * width], vec![0; 3 * height * width]);
    let (mut scratch, light) = (Scratch::default(), IntensityStats::default());
    let mut steps = [const { Vec::new() }; 5];
    for i in 0..runs + 2 {
        let start = Instant::now();
        into(&mut rgb).map_err(|e| unusable(&e))?;
        let converted = Instant::now();
        sample(black_box(&frame), &whole, width, height, black_box(&mut full), &mut scratch);
        let seen = Instant::now();
        let norm = IntensityNorm::of(&full, &light);
        norm.apply(black_box(&mut full));
        let levelled = Instant::now();
        // Each crop is another one.
        let crop = View { x: crop.x + f64::from(i % 64), ..crop };
        sample(black_box(&frame), &crop, width, height, black_box(&mut zoom), &mut scratch);
        let cropped = Instant::now();
        norm.apply(black_box(&mut zoom));
        let end = Instant::now();
        if i >= 2 {
            let levels = (levelled - seen) + (end - cropped);
            let times = [converted - start, seen - converted, cropped - levelled, levels, end - start];
            steps.iter_mut().zip(times).for_each(|(step, time)| step.push(ms(time)));
        }
    }
    let [convert_ms, full_ms, crop_ms, levels_ms, sum_ms] =
        steps.map(|mut times| stats::upper_median(&mut times).unwrap_or_default());
    Ok(Times { format: name, convert_ms, full_ms, crop_ms, levels_ms, sum_ms })
}
