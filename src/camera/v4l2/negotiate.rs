//! Which of a camera's offers is taken: exactly what is configured, or a refusal that lists what there is.
//!
//! Pure. A driver asked for what it lacks picks something near and says nothing; a line that was taught at one size and
//! runs at another would be wrong all day, so nothing near is ever taken.

use super::offer::{FormatOffer, Fraction, Interval, formats_as_text};
use crate::camera::convert::PixelFormat;

/// Two rates within this share of each other are the same: 29.97 Hz is 30 Hz.
const RATE_TOLERANCE: f64 = 0.01;

/// What is configured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wanted {
    /// The format; `None` takes the first of [`PixelFormat::ALL`] that the camera has at this size and rate.
    pub format: Option<PixelFormat>,
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// Frames a second.
    pub rate_hz: f64,
}

/// What is asked of the driver.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// The format.
    pub format: PixelFormat,
    /// Its code, as the driver spells it.
    pub code: [u8; 4],
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// The interval to set; `None` where the driver offers none and runs as it likes.
    pub interval: Option<Fraction>,
}

/// Picks what is wanted from what is offered.
///
/// A format that lists no sizes is asked for the wanted one: some drivers do not enumerate. What the driver then grants
/// is compared by the caller.
///
/// # Errors
/// A sentence that names what is missing, and the whole offer.
pub fn choose(offer: &[FormatOffer], wanted: &Wanted) -> Result<Choice, String> {
    let order = PixelFormat::ALL.iter().map(|(format, _)| *format);
    let candidates = order.filter(|format| wanted.format.is_none_or(|wanted| wanted == *format));
    for format in candidates {
        for offered in offer.iter().filter(|offered| offered.format() == Some(format)) {
            if let Some(interval) = interval_for(offered, wanted) {
                let mut code = [b' '; 4];
                let bytes = offered.code.as_bytes();
                code[..bytes.len()].copy_from_slice(bytes);
                return Ok(Choice { format, code, size: wanted.size, interval });
            }
        }
    }
    let (width, height) = wanted.size;
    let format = wanted.format.map_or("no format".to_owned(), |format| format!("no {format}"));
    Err(format!(
        "it has {format} of {width}x{height} at {} Hz that is read here: set [camera] format, width_px, height_px and \
         rate_hz to one of its own:\n{}",
        wanted.rate_hz,
        formats_as_text(offer)
    ))
}

/// The interval to ask for at the wanted size and rate: `None` when the format lacks one of them, `Some(None)` when the
/// driver does not say its rates.
fn interval_for(offered: &FormatOffer, wanted: &Wanted) -> Option<Option<Fraction>> {
    if offered.sizes.is_empty() {
        return Some(None);
    }
    let sizes = || offered.sizes.iter().filter(|size| size.has(wanted.size));
    let intervals = sizes().flat_map(|size| &size.intervals);
    let fitting = intervals.filter_map(|interval| fit(interval, wanted.rate_hz));
    let nearest = fitting.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, fraction)| Some(fraction));
    nearest.or_else(|| sizes().any(|size| size.intervals.is_empty()).then_some(None))
}

/// How far an interval is from a rate, as a share of it, and the fraction to ask for; `None` when it is too far.
fn fit(interval: &Interval, rate_hz: f64) -> Option<(f64, Fraction)> {
    let fraction = match *interval {
        Interval::One(fraction) => fraction,
        Interval::Between(shortest, longest) => {
            let between = longest.rate_hz()? <= rate_hz && rate_hz <= shortest.rate_hz()?;
            // Milliseconds of a hertz are finer than any driver's clock; `as` saturates.
            let asked = Fraction { numerator: 1000, denominator: (rate_hz * 1000.0).round() as u32 };
            if between { asked } else { longest }
        }
    };
    let off = (fraction.rate_hz()? - rate_hz).abs() / rate_hz;
    (off <= RATE_TOLERANCE).then_some((off, fraction))
}

/// Whether the driver's answer to a rate is the wanted one.
pub fn is_rate(granted: Fraction, rate_hz: f64) -> bool {
    granted.rate_hz().is_some_and(|rate| (rate - rate_hz).abs() <= rate_hz * RATE_TOLERANCE)
}

#[cfg(test)]
mod tests {
    use super::super::offer::{SizeOffer, Steps};
    use super::*;

    fn every(numerator: u32, denominator: u32) -> Fraction {
        Fraction { numerator, denominator }
    }

    fn format(code: &str, sizes: Vec<SizeOffer>) -> FormatOffer {
        FormatOffer { code: code.into(), description: String::new(), is_read: true, sizes }
    }

    fn size(width: u32, height: u32, intervals: &[Interval]) -> SizeOffer {
        SizeOffer { width: Steps::one(width), height: Steps::one(height), intervals: intervals.to_vec() }
    }

    /// A webcam: MJPEG at full rate, YUYV at full rate only when small.
    fn webcam() -> Vec<FormatOffer> {
        let [fast, slow] = [every(1, 30), every(1, 5)].map(Interval::One);
        vec![
            format("MJPG", vec![size(1280, 720, &[fast, slow]), size(640, 480, &[fast])]),
            format("YUYV", vec![size(1280, 720, &[slow]), size(640, 480, &[fast, slow])]),
            format("H264", vec![size(640, 480, &[fast])]),
        ]
    }

    #[test]
    fn what_is_wanted_is_taken_or_refused() {
        let range = SizeOffer {
            width: Steps { min: 32, max: 640, step: 16 },
            height: Steps { min: 32, max: 480, step: 2 },
            intervals: vec![Interval::Between(every(1, 60), every(1, 1))],
        };
        let sensor = vec![format("BA10", vec![range])];
        let silent = vec![format("GREY", vec![size(640, 480, &[])]), format("Y16", vec![])];
        let ntsc = vec![format("UYVY", vec![size(640, 480, &[Interval::One(every(1001, 30_000))])])];
        for (offer, wanted, chosen) in [
            (webcam(), (None, (640, 480), 30.0), Some(("YUYV", Some(every(1, 30))))),
            (webcam(), (None, (1280, 720), 30.0), Some(("MJPG", Some(every(1, 30))))),
            (webcam(), (None, (1280, 720), 5.0), Some(("YUYV", Some(every(1, 5))))),
            (webcam(), (Some("YUYV"), (1280, 720), 30.0), None),
            (webcam(), (Some("MJPG"), (640, 480), 30.2), Some(("MJPG", Some(every(1, 30))))),
            (webcam(), (Some("MJPG"), (640, 480), 25.0), None),
            (webcam(), (Some("NV12"), (640, 480), 30.0), None),
            (webcam(), (None, (800, 600), 30.0), None),
            (sensor.clone(), (None, (320, 100), 12.5), Some(("BA10", Some(every(1000, 12_500))))),
            (sensor.clone(), (None, (328, 100), 12.5), None),
            (sensor, (None, (320, 100), 61.0), None),
            (silent.clone(), (Some("GREY"), (640, 480), 7.0), Some(("GREY", None))),
            (silent, (Some("Y16"), (99, 99), 7.0), Some(("Y16", None))),
            (ntsc, (None, (640, 480), 30.0), Some(("UYVY", Some(every(1001, 30_000))))),
            (vec![], (None, (640, 480), 30.0), None),
        ] {
            let (name, size, rate_hz) = wanted;
            let wanted = Wanted { format: name.map(|name| PixelFormat::of_name(name).unwrap()), size, rate_hz };
            let choice = choose(&offer, &wanted).ok().map(|c| (c.format.name(), c.interval));
            assert_eq!(choice, chosen, "{wanted:?}");
        }
    }

    #[test]
    fn a_refusal_lists_the_whole_offer() {
        let wanted = Wanted { format: None, size: (800, 600), rate_hz: 30.0 };
        let refusal = choose(&webcam(), &wanted).unwrap_err();
        for part in ["no format of 800x600 at 30 Hz", "MJPG: 1280x720 at 30, 5 Hz; 640x480", "YUYV", "H264"] {
            assert!(refusal.contains(part), "{refusal}");
        }
    }

    #[test]
    fn a_code_is_asked_for_as_the_driver_spells_it() {
        let jpeg = vec![format("JPEG", vec![size(64, 64, &[])]), format("Y16", vec![size(32, 32, &[])])];
        let code = |size| choose(&jpeg, &Wanted { format: None, size, rate_hz: 1.0 }).unwrap().code;
        assert_eq!((code((64, 64)), code((32, 32))), (*b"JPEG", *b"Y16 "));
    }

    #[test]
    fn granted_rates_are_compared() {
        for (granted, rate_hz, same) in [
            (every(1, 30), 30.0, true),
            (every(1001, 30_000), 30.0, true),
            (every(1, 15), 30.0, false),
            (every(0, 0), 30.0, false),
        ] {
            assert_eq!(is_rate(granted, rate_hz), same, "{granted:?}");
        }
    }
}
