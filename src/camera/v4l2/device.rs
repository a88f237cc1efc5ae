//! The kernel's side, through the `v4l` crate: open, set, stream.
//!
//! The crate panics on answers that it does not know (a control of a new type, a name that is not UTF-8) and when a
//! stream cannot be stopped. [`guarded`] makes an error of that: an odd driver is no reason to end a run.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::io::Errno;
use v4l::buffer::{Flags, Type};
use v4l::capability::Flags as Capability;
use v4l::format::{Colorspace, FieldOrder, Format, Quantization};
use v4l::io::mmap::Stream;
use v4l::io::traits::{CaptureStream, Stream as _};
use v4l::video::Capture;
use v4l::video::capture::Parameters;
use v4l::{FourCC, control};

use super::controls::{Deviation, Step, automatic, compare, plan};
use super::enumerate::{controls_of, formats_of, own, value_of};
use super::negotiate::{Choice, Wanted, choose, is_rate};
use super::offer::{FormatOffer, Fraction};
use super::timing::Stamp;
use super::{Driver, Opened, RawFrame, Settings};
use crate::camera::convert::{Colour, Matrix, Range};
use crate::error::{Error, ErrorKind, Result};

/// The most buffers that a queue has (`VIDEO_MAX_FRAME`, `linux/videodev2.h`).
const BUFFERS_MAX: usize = 32;

/// A V4L2 device with what is configured for it.
pub struct Device {
    settings: Settings,
    size: (u32, u32),
    rate_hz: f64,
    open: Option<Open>,
    deviations: Vec<Deviation>,
}

struct Open {
    // In this order: the stream is stopped before its device is closed.
    stream: Stream<'static>,
    device: v4l::Device,
    format: Format,
}

impl Device {
    /// A device that is not open yet.
    pub fn new(settings: Settings, size: (u32, u32), rate_hz: f64) -> Self {
        Self { settings, size, rate_hz, open: None, deviations: Vec::new() }
    }

    /// What the camera lacked or clamped when it was last opened.
    pub fn deviations(&self) -> &[Deviation] {
        &self.deviations
    }

    fn fails(&self, action: &str, cause: io::Error) -> Error {
        explain(action, &self.settings.device, cause)
    }

    fn set_format(&self, device: &v4l::Device, choice: &Choice, formats: &[FormatOffer]) -> Result<Format> {
        let mut wanted = Format::new(choice.size.0, choice.size.1, FourCC::new(&choice.code));
        wanted.field_order = FieldOrder::Progressive;
        let granted = guarded(|| device.set_format(&wanted)).map_err(|cause| self.fails("set the format of", cause))?;
        if (granted.width, granted.height) != choice.size || granted.fourcc.repr != choice.code {
            let message = format!(
                "{} was asked for {} of {}x{} and granted {} of {}x{}: set [camera] format, width_px and height_px to \
                 one of its own:\n{}",
                self.settings.device.display(),
                choice.format,
                choice.size.0,
                choice.size.1,
                granted.fourcc,
                granted.width,
                granted.height,
                super::offer::formats_as_text(formats)
            );
            return Err(Error::new(ErrorKind::Config, message));
        }
        Ok(granted)
    }

    fn set_rate(&self, device: &v4l::Device, interval: Option<Fraction>) -> Result<()> {
        let path = self.settings.device.display();
        let Some(interval) = interval else {
            log::warn!("{path} does not say its rates: [camera] rate_hz = {} is taken on trust", self.rate_hz);
            return Ok(());
        };
        let wanted = Parameters::new(v4l::Fraction::new(interval.numerator, interval.denominator));
        let granted = guarded(|| device.set_params(&wanted)).map_err(|cause| self.fails("set the rate of", cause))?;
        let granted = own(granted.interval);
        if !is_rate(granted, self.rate_hz) {
            let message = format!(
                "{path} was asked for {} Hz and granted {} Hz: set [camera] rate_hz to a rate that it keeps",
                self.rate_hz,
                granted.rate_hz().unwrap_or(0.0)
            );
            return Err(Error::new(ErrorKind::Config, message));
        }
        Ok(())
    }

    /// Sets what is configured, reads it back, and says what differs.
    fn set_controls(&mut self, device: &v4l::Device) {
        let offered = controls_of(device);
        let (steps, mut deviations) = plan(&self.settings.controls, &offered);
        for step in steps {
            match set_control(device, &step) {
                Ok(()) => deviations.extend(compare(&step, value_of(device, step.id))),
                Err(cause) => deviations.push(Deviation {
                    key: step.key,
                    what: format!("is refused by the camera: control {:#x} = {}: {cause}", step.id, step.value),
                }),
            }
        }
        deviations.extend(automatic(&self.settings.controls, &offered));
        // News at the start and when something else differs; not once for every replug.
        if deviations != self.deviations {
            for deviation in &deviations {
                log::warn!("{}: {deviation}", self.settings.device.display());
            }
        }
        self.deviations = deviations;
    }

    fn start(&self, device: &v4l::Device) -> Result<Stream<'static>> {
        let fails = |cause| self.fails("start", cause);
        let mut stream =
            guarded(|| Stream::with_buffers(device, Type::VideoCapture, self.settings.buffers)).map_err(fails)?;
        stream.set_timeout(super::camera::WAIT);
        // The crate's `next` gives back the buffer that it lent last, at first number 0, before it takes one: all but
        // that are queued here. Their count is the driver's to say and the crate's to keep, so the end shows by itself.
        for index in 1..BUFFERS_MAX {
            match CaptureStream::queue(&mut stream, index) {
                Ok(()) => {}
                Err(_) if index > 1 => break,
                Err(cause) => {
                    drop_quietly(stream);
                    return Err(fails(cause));
                }
            }
        }
        if let Err(cause) = stream.start() {
            drop_quietly(stream);
            return Err(fails(cause));
        }
        Ok(stream)
    }
}

impl Driver for Device {
    fn open(&mut self) -> Result<Opened> {
        self.close();
        let path = self.settings.device.clone();
        let device = v4l::Device::with_path(&path).map_err(|cause| self.fails("open", cause))?;
        let caps = guarded(|| device.query_caps()).map_err(|cause| self.fails("ask", cause))?.capabilities;
        if !caps.contains(Capability::VIDEO_CAPTURE | Capability::STREAMING) {
            let what = if caps.contains(Capability::VIDEO_CAPTURE_MPLANE) {
                "offers multi-planar buffers only, which are not read here"
            } else {
                "does not capture pictures (one camera may have several nodes)"
            };
            let message = format!("{} {what}: see `zoomgate devices` for one that does", path.display());
            return Err(Error::new(ErrorKind::Config, message));
        }
        let formats = formats_of(&device);
        let wanted = Wanted { format: self.settings.format, size: self.size, rate_hz: self.rate_hz };
        let choice = choose(&formats, &wanted)
            .map_err(|why| Error::new(ErrorKind::Config, format!("{}: {why}", path.display())))?;
        let format = self.set_format(&device, &choice, &formats)?;
        self.set_rate(&device, choice.interval)?;
        self.set_controls(&device);
        let stream = self.start(&device)?;
        let opened = Opened { format: choice.format, colour: colour_of(&format), stride: format.stride as usize };
        self.open = Some(Open { stream, device, format });
        Ok(opened)
    }

    fn next(&mut self, timeout: Duration) -> io::Result<Option<RawFrame<'_>>> {
        let Some(open) = &mut self.open else { return Err(io::ErrorKind::NotConnected.into()) };
        let millis = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        // Never `next` without a frame: it would give a buffer back and, finding none to take, give it back twice.
        match open.stream.handle().poll(PollFlags::IN.bits() as i16, millis) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => return Ok(None),
            Err(cause) => return Err(cause),
        }
        let (bytes, meta) = open.stream.next()?;
        let used = usize::try_from(meta.bytesused).unwrap_or(usize::MAX).min(bytes.len());
        Ok(Some(RawFrame {
            bytes: &bytes[..used],
            sequence: meta.sequence,
            stamp: Stamp::new(
                meta.flags & Flags::TIMESTAMP_MASK == Flags::TIMESTAMP_MONOTONIC,
                meta.timestamp.sec,
                meta.timestamp.usec,
            ),
            is_corrupted: meta.flags.contains(Flags::ERROR),
        }))
    }

    fn has_changed(&mut self) -> bool {
        let Some(open) = &self.open else { return false };
        guarded(|| open.device.format()).is_ok_and(|now| {
            let facts = |f: &Format| (f.width, f.height, f.fourcc.repr, f.stride);
            facts(&now) != facts(&open.format)
        })
    }

    fn close(&mut self) {
        if let Some(Open { stream, device, .. }) = self.open.take() {
            drop_quietly(stream);
            drop_quietly(device);
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.close();
    }
}

/// Runs a call of the crate; its panic becomes an error.
pub(super) fn guarded<T>(call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    catch_unwind(AssertUnwindSafe(call))
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::InvalidData, "the driver's answer is unknown")))
}

/// Stops a stream or closes a device, whatever state it is in.
fn drop_quietly<T>(value: T) {
    if catch_unwind(AssertUnwindSafe(|| drop(value))).is_err() {
        log::warn!("a camera could not be closed properly; it is opened again all the same");
    }
}

pub(super) fn explain(action: &str, device: &Path, cause: io::Error) -> Error {
    let (kind, step) = match Errno::from_io_error(&cause) {
        Some(Errno::NOENT) => {
            (ErrorKind::NotFound, "plug it in, or set [camera] device to one that `zoomgate devices` lists")
        }
        Some(Errno::NXIO | Errno::NODEV) => (ErrorKind::Disconnected, "check its cable and its power"),
        Some(Errno::ACCESS | Errno::PERM) => {
            (ErrorKind::Refused, "add the user to the group that owns the device, usually `video`")
        }
        Some(Errno::BUSY) => (ErrorKind::Busy, "end the other program that uses it"),
        Some(Errno::NOTTY | Errno::INVAL) => (ErrorKind::Config, "is it a camera? `zoomgate devices` lists them"),
        _ => (ErrorKind::Internal, "see the cause below"),
    };
    Error::new(kind, format!("cannot {action} {}: {step}", device.display())).caused_by(cause)
}

/// The rule stands in `convert/yuv.rs`.
fn colour_of(format: &Format) -> Colour {
    let matrix = match format.colorspace {
        Colorspace::Rec709 | Colorspace::DCIP3 => Matrix::Bt709,
        Colorspace::Rec2020 => Matrix::Bt2020,
        _ => Matrix::Bt601,
    };
    let range = match (format.quantization, format.colorspace) {
        (Quantization::FullRange, _) | (Quantization::Default, Colorspace::JPEG) => Range::Full,
        _ => Range::Limited,
    };
    Colour { matrix, range }
}

fn set_control(device: &v4l::Device, step: &Step) -> io::Result<()> {
    let value = control::Value::Integer(step.value);
    guarded(|| device.set_control(control::Control { id: step.id, value }))
}

#[cfg(test)]
mod tests {
    use super::super::Controls;
    use super::*;

    #[test]
    fn a_device_that_is_not_there_is_named_with_the_next_step() {
        let settings = Settings {
            device: "/dev/v4l/by-id/usb-none".into(),
            format: None,
            controls: Controls::default(),
            stall: Duration::from_secs(2),
            buffers: 4,
            detect_frozen: true,
        };
        let error = Device::new(settings, (640, 480), 30.0).open().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.message().contains("/dev/v4l/by-id/usb-none") && error.message().contains("zoomgate devices"));
    }

    #[test]
    fn what_is_no_camera_is_refused_as_such() {
        let settings = Settings {
            device: "/dev/null".into(),
            format: None,
            controls: Controls::default(),
            stall: Duration::from_secs(2),
            buffers: 4,
            detect_frozen: true,
        };
        let error = Device::new(settings, (640, 480), 30.0).open().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains("is it a camera?"), "{error}");
    }

    #[test]
    fn colour_follows_what_the_driver_says_and_the_kernels_defaults() {
        for (space, quantization, matrix, range) in [
            (Colorspace::SRGB, Quantization::Default, Matrix::Bt601, Range::Limited),
            (Colorspace::JPEG, Quantization::Default, Matrix::Bt601, Range::Full),
            (Colorspace::JPEG, Quantization::LimitedRange, Matrix::Bt601, Range::Limited),
            (Colorspace::Rec709, Quantization::FullRange, Matrix::Bt709, Range::Full),
            (Colorspace::Rec2020, Quantization::Default, Matrix::Bt2020, Range::Limited),
        ] {
            let mut format = Format::new(4, 4, FourCC::new(b"YUYV"));
            (format.colorspace, format.quantization) = (space, quantization);
            assert_eq!(colour_of(&format), Colour { matrix, range }, "{space} {quantization}");
        }
    }
}
