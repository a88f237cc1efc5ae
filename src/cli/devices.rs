//! `zoomgate devices`: what hardware there is, by names that stay.

use std::fmt::Write as _;
use std::io::Write;

use serde::Serialize;

use super::devices_gpio::{gpio_section, gpio_text};
use super::output::print_json;
use crate::camera::v4l2::Offer;
use crate::camera::v4l2::offer::formats_as_text;
use crate::error::{Error, ErrorKind, Result};
use crate::gpio::cdev::Chip;

/// Arguments of `zoomgate devices`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Print one JSON object on stdout.
    #[arg(long)]
    pub json: bool,
}

/// What is found, and what `--json` prints. A kind of hardware that this build does not know is `null`.
#[derive(Debug, Serialize)]
struct Report {
    schema: u32,
    cameras: Option<Vec<Offer>>,
    gpio: Vec<Chip>,
}

/// Prints every device of this machine. Opens each camera for a moment and disturbs none that is in use.
///
/// # Errors
/// When stdout cannot be written.
pub fn run(args: &Args) -> Result<()> {
    let report = Report { schema: 1, cameras: cameras(), gpio: gpio_section() };
    if args.json {
        return print_json(&report);
    }
    std::io::stdout().lock().write_all(text(&report).as_bytes()).map_err(|error| {
        Error::new(ErrorKind::Internal, "cannot write the list: check where stdout goes").caused_by(error)
    })
}

/// The cameras, `None` where this build knows none.
fn cameras() -> Option<Vec<Offer>> {
    #[cfg(feature = "v4l2")]
    return Some(crate::camera::v4l2::list());
    #[cfg(not(feature = "v4l2"))]
    None
}

/// One section for each kind of hardware.
fn text(report: &Report) -> String {
    let mut text = String::new();
    match report.cameras.as_deref() {
        None => text.push_str("Cameras: not in this build; build it with the cargo feature v4l2.\n"),
        Some([]) => text.push_str(
            "Cameras: none. Plug one in; a camera that is plugged in and not listed needs its kernel driver, or \
             permission (group `video`).\n",
        ),
        Some(cameras) => {
            text.push_str("Cameras\n");
            for camera in cameras {
                write_camera(&mut text, camera).expect("writing to a String cannot fail");
            }
        }
    }
    text.push('\n');
    text.push_str(&gpio_text(&report.gpio));
    text
}

fn write_camera(text: &mut String, camera: &Offer) -> std::fmt::Result {
    // The path that stays first: it is the one to write down.
    let mut paths = camera.stable_paths.iter().chain([&camera.node]).map(|path| path.display());
    writeln!(text, "\n{}", paths.next().expect("there is always the node"))?;
    paths.try_for_each(|path| writeln!(text, "  also {path}"))?;
    writeln!(text, "  {} ({}, {})", camera.name, camera.driver, camera.bus)?;
    writeln!(text, "  formats, as [camera] format: sizes as width_px x height_px, rates as rate_hz")?;
    for line in formats_as_text(&camera.formats).lines() {
        writeln!(text, "  {line}")?;
    }
    if camera.controls.is_empty() {
        return writeln!(text, "  no controls");
    }
    writeln!(text, "  controls")?;
    camera.controls.iter().try_for_each(|control| writeln!(text, "    {control}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::camera::v4l2::offer::{ControlOffer, FormatOffer, Fraction, Interval, SizeOffer, Steps};

    fn report(cameras: Option<Vec<Offer>>) -> Report {
        Report { schema: 1, cameras, gpio: Vec::new() }
    }

    fn webcam() -> Offer {
        let interval = Interval::One(Fraction { numerator: 1, denominator: 30 });
        Offer {
            node: "/dev/video2".into(),
            stable_paths: vec!["/dev/v4l/by-id/usb-cam-index0".into()],
            name: "HD Webcam".into(),
            driver: "uvcvideo".into(),
            bus: "usb-0000:01:00.0-1".into(),
            formats: vec![FormatOffer {
                code: "YUYV".into(),
                description: "YUYV 4:2:2".into(),
                is_read: true,
                sizes: vec![SizeOffer { width: Steps::one(640), height: Steps::one(480), intervals: vec![interval] }],
            }],
            controls: vec![ControlOffer {
                id: 0x0098_0918,
                name: "Power Line Frequency".into(),
                min: 0,
                max: 2,
                step: 1,
                default: 1,
                value: Some(2),
                menu: vec![(1, "50 Hz".into()), (2, "60 Hz".into())],
                is_read_only: false,
                is_inactive: false,
            }],
        }
    }

    #[test]
    fn a_camera_reads_with_the_path_that_stays_first() {
        let expected = "\
Cameras

/dev/v4l/by-id/usb-cam-index0
  also /dev/video2
  HD Webcam (uvcvideo, usb-0000:01:00.0-1)
  formats, as [camera] format: sizes as width_px x height_px, rates as rate_hz
    YUYV: 640x480 at 30 Hz
  controls
    Power Line Frequency: 0 to 2, default 1, now 2; 1 50 Hz; 2 60 Hz
";
        let text = text(&report(Some(vec![webcam()])));
        assert!(text.starts_with(expected) && text[expected.len()..].starts_with("\nGPIO"), "{text}");
    }

    #[test]
    fn no_camera_and_no_build_for_cameras_are_told_apart() {
        let says = |cameras| text(&report(cameras));
        assert!(says(None).contains("not in this build") && says(Some(vec![])).contains("Cameras: none"));
    }

    #[test]
    fn json_has_every_camera_as_plain_data() {
        let listed = serde_json::to_value(report(Some(vec![webcam()]))).unwrap();
        assert_eq!(listed["schema"], 1);
        let camera = &listed["cameras"][0];
        assert_eq!(camera["stable_paths"][0], "/dev/v4l/by-id/usb-cam-index0");
        assert_eq!(camera["formats"][0]["sizes"][0]["intervals"][0]["one"]["denominator"], 30);
        assert_eq!(camera["controls"][0]["max"], 2);

        assert!(serde_json::to_value(report(None)).unwrap()["cameras"].is_null());
    }
}
