//! Keys of `[camera]`: frames, their source, size and rate.

use super::{Absent, Key, Kind};

const CAMERA_SOURCES: Kind = if cfg!(feature = "v4l2") {
    Kind::Choice { offered: &["folder", "simulated", "v4l2"], later: &[] }
} else {
    Kind::Choice { offered: &["folder", "simulated"], later: &["v4l2"] }
};

/// The names in `camera::convert::PixelFormat::ALL`, which a test compares.
const CAMERA_FORMATS: &[&str] = &[
    "auto", "RGB3", "BGR3", "YUYV", "UYVY", "NV12", "GREY", "Y16", "Y12", "Y10", "RGGB", "GRBG", "GBRG", "BA81",
    "RG12", "BA12", "GB12", "BG12", "RG10", "BA10", "GB10", "BG10", "pRCC", "pgCC", "pGCC", "pBCC", "pRAA", "pgAA",
    "pGAA", "pBAA", "MJPG",
];

/// In the order of the shipped file.
pub(super) const KEYS: &[Key] = &[
    Key {
        path: "camera.source",
        kind: CAMERA_SOURCES,
        absent: Absent::Required(
            "\"folder\" replays pictures, \"simulated\" renders a belt, \"v4l2\" is a camera of this machine",
        ),
        active: Some("\"simulated\""),
        only_with: None,
        doc: "Where frames come from.",
        hint: "",
    },
    Key {
        path: "camera.width_px",
        kind: Kind::Integer { min: 32, max: 8192, unit: "px" },
        absent: Absent::Default("640"),
        active: None,
        only_with: None,
        doc: "Width of a frame; a frame of another size is refused.",
        hint: "",
    },
    Key {
        path: "camera.height_px",
        kind: Kind::Integer { min: 32, max: 8192, unit: "px" },
        absent: Absent::Default("480"),
        active: None,
        only_with: None,
        doc: "Height of a frame; a frame of another size is refused.",
        hint: "",
    },
    Key {
        path: "camera.rate_hz",
        kind: Kind::Number { min: 0.01, max: 1000.0, unit: "Hz" },
        absent: Absent::Default("2.0"),
        active: None,
        only_with: None,
        doc: "Frames a second: the replay rate of a folder, the parts a second of the simulated belt, the frame rate of a \
              camera, which must offer it.",
        hint: "",
    },
    Key {
        path: "camera.folder",
        kind: Kind::Path,
        absent: Absent::Unset { means: "required there", example: "\"pictures\"" },
        active: None,
        only_with: Some(("camera.source", "folder")),
        doc: "The folder whose pictures are replayed, folders below it included, in byte order of their paths.",
        hint: "",
    },
    Key {
        path: "camera.shuffle_seed",
        kind: Kind::Integer { min: 0, max: u32::MAX as u64, unit: "" },
        absent: Absent::Unset { means: "without it the pictures keep their order", example: "1" },
        active: None,
        only_with: Some(("camera.source", "folder")),
        doc: "Shuffles the pictures, the same way each time for a seed.",
        hint: "",
    },
    Key {
        path: "camera.loop",
        kind: Kind::Boolean,
        absent: Absent::Default("false"),
        active: None,
        only_with: Some(("camera.source", "folder")),
        doc: "Starts over after the last picture; otherwise the run ends after its reject window.",
        hint: "",
    },
    Key {
        path: "camera.seed",
        kind: Kind::Integer { min: 0, max: u32::MAX as u64, unit: "" },
        absent: Absent::Default("1"),
        active: None,
        only_with: Some(("camera.source", "simulated")),
        doc: "Chooses which simulated parts are rendered; the same seed renders the same parts.",
        hint: "",
    },
    Key {
        path: "camera.parts",
        kind: Kind::Integer { min: 1, max: 1_000_000_000, unit: "parts" },
        absent: Absent::Default("100"),
        active: None,
        only_with: Some(("camera.source", "simulated")),
        doc: "The run ends after this many simulated parts.",
        hint: "",
    },
    Key {
        path: "camera.defect_rate",
        kind: Kind::Number { min: 0.0, max: 1.0, unit: "" },
        absent: Absent::Default("0.1"),
        active: None,
        only_with: Some(("camera.source", "simulated")),
        doc: "The share of simulated parts that carry a defect.",
        hint: "a fraction, not percent",
    },
    Key {
        path: "camera.device",
        kind: Kind::Path,
        absent: Absent::Unset { means: "required there", example: "\"/dev/v4l/by-id/usb-CAMERA-video-index0\"" },
        active: None,
        only_with: Some(("camera.source", "v4l2")),
        doc: "The camera. /dev/videoN may be another one after the next start; `zoomgate devices` prints paths that stay.",
        hint: "",
    },
    Key {
        path: "camera.format",
        kind: Kind::Choice { offered: CAMERA_FORMATS, later: &[] },
        absent: Absent::Default("\"auto\""),
        active: None,
        only_with: Some(("camera.source", "v4l2")),
        doc: "The pixel format; \"auto\" takes the first of this list that the camera has at the size and rate.",
        hint: "",
    },
    Key {
        path: "camera.exposure_us",
        kind: Kind::Integer { min: 1, max: 10_000_000, unit: "us" },
        absent: Absent::Unset { means: "without it the camera decides", example: "5000" },
        active: None,
        only_with: Some(("camera.source", "v4l2")),
        doc: "Exposure time; automatic exposure goes off. Cameras take steps of 100 us.",
        hint: "",
    },
    Key {
        path: "camera.gain",
        kind: Kind::Integer { min: 0, max: 1_000_000, unit: "" },
        absent: Absent::Unset { means: "without it the camera decides", example: "0" },
        active: None,
        only_with: Some(("camera.source", "v4l2")),
        doc: "Gain in the camera's own unit, see `zoomgate devices`; automatic gain goes off.",
        hint: "",
    },
    Key {
        path: "camera.white_balance_k",
        kind: Kind::Integer { min: 1000, max: 20_000, unit: "K" },
        absent: Absent::Unset { means: "without it the camera decides", example: "4600" },
        active: None,
        only_with: Some(("camera.source", "v4l2")),
        doc: "Colour temperature of the light; automatic white balance goes off.",
        hint: "",
    },
    Key {
        path: "camera.focus",
        kind: Kind::Integer { min: 0, max: 1_000_000, unit: "" },
        absent: Absent::Unset { means: "without it the camera decides", example: "0" },
        active: None,
        only_with: Some(("camera.source", "v4l2")),
        doc: "Focus in the camera's own unit, see `zoomgate devices`; automatic focus goes off.",
        hint: "",
    },
    Key {
        path: "camera.power_line_hz",
        kind: Kind::Integer { min: 0, max: 60, unit: "Hz" },
        absent: Absent::Unset { means: "without it the camera decides", example: "50" },
        active: None,
        only_with: Some(("camera.source", "v4l2")),
        doc: "The mains frequency whose flicker the camera suppresses: 50 or 60, or 0 for none.",
        hint: "",
    },
    Key {
        path: "camera.stall_ms",
        kind: Kind::Integer { min: 200, max: 3_600_000, unit: "ms" },
        absent: Absent::Default("2000"),
        active: None,
        only_with: Some(("camera.source", "v4l2")),
        doc: "Without a frame for so long the camera is taken for stalled and opened again. Above the longest pause \
              between parts where each part triggers the camera.",
        hint: "",
    },
    Key {
        path: "camera.buffers",
        kind: Kind::Integer { min: 3, max: 32, unit: "buffers" },
        absent: Absent::Default("4"),
        active: None,
        only_with: Some(("camera.source", "v4l2")),
        doc: "Buffers that the driver fills; more of them bridge longer pauses of this machine.",
        hint: "",
    },
    Key {
        path: "camera.detect_frozen",
        kind: Kind::Boolean,
        absent: Absent::Default("true"),
        active: None,
        only_with: Some(("camera.source", "v4l2")),
        doc: "A part whose new frame has the very bytes of the previous part's was not seen: the camera is frozen, since \
              no two exposures of a sensor are equal. With false it may give a picture again, as test patterns do.",
        hint: "",
    },
];
