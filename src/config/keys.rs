//! The key table: every section and key of `config.toml` with its type, unit, range, default and one sentence.
//!
//! The single source for reading, range checks, suggestions and the shipped `config.toml`; nothing else knows a range.
//! A new key is an entry here, a field in a `Settings` type and a line in `config/check.rs`.

/// A section of `config.toml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section {
    /// Its name, without brackets.
    pub name: &'static str,
    /// What it configures, as a sentence.
    pub doc: &'static str,
    /// `Some(what it arrives with)` while it has no key: it is accepted empty.
    pub reserved: Option<&'static str>,
}

/// A key of `config.toml`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Key {
    /// `section.name`; the name ends with the unit where there is one.
    pub path: &'static str,
    /// Type, range and unit.
    pub kind: Kind,
    /// What its absence means.
    pub absent: Absent,
    /// The TOML literal that the shipped file sets; `None` where it shows the key commented out.
    pub active: Option<&'static str>,
    /// The key and value it belongs to; with another value there it has no effect.
    pub only_with: Option<(&'static str, &'static str)>,
    /// What it means, as a sentence.
    pub doc: &'static str,
    /// Said in brackets after the range when the value is outside it; may be empty.
    pub hint: &'static str,
}

/// What a key holds. Ranges include both ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Integer { min: u64, max: u64, unit: &'static str },
    /// A finite number, with or without decimals.
    Number { min: f64, max: f64, unit: &'static str },
    /// One of the `offered` words; the `later` ones are known and refused.
    Choice { offered: &'static [&'static str], later: &'static [&'static str] },
    /// The name of a GPIO line, 1 to [`LINE_NAME_MAX`] bytes.
    Line,
    /// A file or folder; relative to the folder of the config file.
    Path,
}

/// What it means that a key is not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// This TOML literal stands for it.
    Default(&'static str),
    /// Nothing is set, which `means` something (the end of a sentence); `example` is a TOML literal to show.
    Unset { means: &'static str, example: &'static str },
    /// A problem: the key has no default, for this reason.
    Required(&'static str),
}

/// The longest line name: Linux stores 32 bytes with the closing zero (`GPIO_MAX_NAME_SIZE`, `linux/gpio.h`).
pub const LINE_NAME_MAX: usize = 31;

impl Key {
    /// The section it belongs to.
    pub fn section(&self) -> &'static str {
        self.path.split_once('.').expect("every path in the table is section.name").0
    }

    /// Its name inside the section.
    pub fn name(&self) -> &'static str {
        self.path.split_once('.').expect("every path in the table is section.name").1
    }

    /// The TOML literal that the shipped file shows, active or commented out.
    pub fn shown(&self) -> &'static str {
        match (self.active, self.absent) {
            (Some(literal), _) | (None, Absent::Default(literal) | Absent::Unset { example: literal, .. }) => literal,
            (None, Absent::Required(_)) => "",
        }
    }
}

/// The key at `path`, if there is one.
pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// The section called `name`, if there is one.
pub fn section(name: &str) -> Option<&'static Section> {
    SECTIONS.iter().find(|section| section.name == name)
}

/// The keys of one section, in the table's order.
pub fn of_section(name: &str) -> impl Iterator<Item = &'static Key> {
    KEYS.iter().filter(move |key| key.section() == name)
}

const fn used(name: &'static str, doc: &'static str) -> Section {
    Section { name, doc, reserved: None }
}

const fn reserved(name: &'static str, doc: &'static str, arrives_with: &'static str) -> Section {
    Section { name, doc, reserved: Some(arrives_with) }
}

/// Every section, in the order of the shipped file.
pub const SECTIONS: &[Section] = &[
    used("camera", "Frames: their source, size and rate."),
    reserved("roi", "The part of the frame that is looked at.", "frames that show more than the part"),
    used("trigger", "What starts a part."),
    used("model", "What was taught."),
    reserved(
        "zoom",
        "How many crops are looked at, and how closely.",
        "several crops a part; until then the recipe decides",
    ),
    used("decision", "When a score is a reject."),
    used("reject", "From a verdict to a pulse on the reject line."),
    used("encoder", "The encoder of the belt, where it has one."),
    used("confirm", "A second eye that sees rejected parts leave the belt."),
    used("outputs", "Further output lines, by name; a line that is not named is not driven."),
    used("inputs", "Further input lines, by name; a line that is not named is not read."),
    used("gpio", "The hardware behind the lines."),
    used("safety", "What happens when we are not sure. The plant chooses; there is no default."),
    used("alarm", "What many verdicts together say: raises the fault output until it is reset."),
    used("record", "What is kept."),
    reserved("web", "The operator's page.", "the page's server"),
    reserved("mqtt", "Verdicts and alarms to a broker.", "the publisher"),
    reserved("metrics", "Counters for a scraper.", "the scraper's endpoint"),
    reserved("teach", "Limits for teaching on the device.", "teaching from the page"),
    reserved("update", "Signed updates over SSH.", "`zoomgate update`"),
    used("realtime", "What keeps pulses exact while the machine is busy; said in the log where it is not permitted."),
    used("status", "What a running daemon tells about itself."),
    used("log", "What the program says on stderr."),
];

/// Words that a build has or has not, by its cargo features; the shipped file is the same for all builds.
pub const BUILD_WORDS: &[&str] = &["v4l2"];

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

/// Every key, section by section, in the order of the shipped file.
pub const KEYS: &[Key] = &[
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
        path: "trigger.source",
        kind: Kind::Choice { offered: &["every_frame", "simulated", "photo_eye", "interval", "tripwire"], later: &[] },
        absent: Absent::Required(
            "\"photo_eye\" is an input line, \"tripwire\" a strip of the picture that changes when a part comes, \
             \"interval\" only counts time, \"every_frame\" makes each frame a part, \"simulated\" is the simulated belt's \
             photo-eye",
        ),
        active: Some("\"simulated\""),
        only_with: None,
        doc: "What says that a part is in view.",
        hint: "",
    },
    Key {
        path: "trigger.line",
        kind: Kind::Line,
        absent: Absent::Unset { means: "required there", example: "\"eye\"" },
        active: None,
        only_with: Some(("trigger.source", "photo_eye")),
        doc: "Name of the photo-eye's input line; a part begins when it becomes active.",
        hint: "",
    },
    Key {
        path: "trigger.active_low",
        kind: Kind::Boolean,
        absent: Absent::Default("false"),
        active: None,
        only_with: Some(("trigger.source", "photo_eye")),
        doc: "With true the photo-eye sees a part while the line is low.",
        hint: "",
    },
    Key {
        path: "trigger.bias",
        kind: Kind::Choice { offered: &["as_is", "disabled", "pull_up", "pull_down"], later: &[] },
        absent: Absent::Default("\"as_is\""),
        active: None,
        only_with: Some(("trigger.source", "photo_eye")),
        doc: "The resistor inside the chip that holds the line while the photo-eye does not drive it.",
        hint: "",
    },
    Key {
        path: "trigger.debounce_ms",
        kind: Kind::Number { min: 0.0, max: 1000.0, unit: "ms" },
        absent: Absent::Default("2.0"),
        active: None,
        only_with: Some(("trigger.source", "photo_eye")),
        doc: "A level must hold this long before it counts; the part keeps the time at which it began.",
        hint: "",
    },
    Key {
        path: "trigger.holdoff_ms",
        kind: Kind::Number { min: 0.0, max: 60_000.0, unit: "ms" },
        absent: Absent::Default("0.0"),
        active: None,
        only_with: Some(("trigger.source", "photo_eye")),
        doc: "A second edge within this time belongs to the same part, which may have holes.",
        hint: "less than from one part to the next",
    },
    Key {
        path: "trigger.interval_ms",
        kind: Kind::Number { min: 1.0, max: 3_600_000.0, unit: "ms" },
        absent: Absent::Unset { means: "required there", example: "500.0" },
        active: None,
        only_with: Some(("trigger.source", "interval")),
        doc: "From one part to the next.",
        hint: "",
    },
    Key {
        path: "trigger.strip_left_px",
        kind: Kind::Integer { min: 0, max: 8191, unit: "px" },
        absent: Absent::Default("0"),
        active: None,
        only_with: Some(("trigger.source", "tripwire")),
        doc: "Left edge of the strip that is the light barrier; it lies across the belt where parts come into view.",
        hint: "",
    },
    Key {
        path: "trigger.strip_top_px",
        kind: Kind::Integer { min: 0, max: 8191, unit: "px" },
        absent: Absent::Default("0"),
        active: None,
        only_with: Some(("trigger.source", "tripwire")),
        doc: "Top edge of the strip.",
        hint: "",
    },
    Key {
        path: "trigger.strip_width_px",
        kind: Kind::Integer { min: 1, max: 8192, unit: "px" },
        absent: Absent::Default("16"),
        active: None,
        only_with: Some(("trigger.source", "tripwire")),
        doc: "Width of the strip.",
        hint: "",
    },
    Key {
        path: "trigger.strip_height_px",
        kind: Kind::Integer { min: 1, max: 8192, unit: "px" },
        absent: Absent::Unset { means: "without it the strip reaches to the lower edge", example: "480" },
        active: None,
        only_with: Some(("trigger.source", "tripwire")),
        doc: "Height of the strip.",
        hint: "",
    },
    Key {
        path: "trigger.trip_level",
        kind: Kind::Number { min: 0.5, max: 255.0, unit: "grey levels" },
        absent: Absent::Default("12.0"),
        active: None,
        only_with: Some(("trigger.source", "tripwire")),
        doc: "A part starts when the strip differs so much from the empty belt, on average.",
        hint: "",
    },
    Key {
        path: "trigger.clear_level",
        kind: Kind::Number { min: 0.1, max: 255.0, unit: "grey levels" },
        absent: Absent::Default("6.0"),
        active: None,
        only_with: Some(("trigger.source", "tripwire")),
        doc: "Below this the strip is empty again.",
        hint: "",
    },
    Key {
        path: "trigger.exposure_offset_ms",
        kind: Kind::Number { min: -1000.0, max: 1000.0, unit: "ms" },
        absent: Absent::Default("0.0"),
        active: None,
        only_with: None,
        doc: "From a part's edge (photo-eye, interval or tripwire) to the exposure of its frame; below 0 where the camera sees the \
              part first.",
        hint: "",
    },
    Key {
        path: "trigger.tolerance_ms",
        kind: Kind::Number { min: 0.1, max: 1000.0, unit: "ms" },
        absent: Absent::Unset { means: "without it half the time from frame to frame", example: "20.0" },
        active: None,
        only_with: None,
        doc: "A frame exposed further than this from where the edge says shows no part, and a part without a frame is not \
              inspected.",
        hint: "",
    },
    Key {
        path: "model.recipe",
        kind: Kind::Path,
        absent: Absent::Default("\"recipe.onnx\""),
        active: None,
        only_with: None,
        doc: "The recipe file that `zoomgate teach` wrote.",
        hint: "",
    },
    Key {
        path: "decision.threshold",
        kind: Kind::Number { min: -1000.0, max: 1000.0, unit: "standard deviations of good parts" },
        absent: Absent::Unset { means: "without it the recipe's threshold counts", example: "4.0" },
        active: None,
        only_with: None,
        doc: "A part is rejected when its score reaches this.",
        hint: "",
    },
    Key {
        path: "reject.enabled",
        kind: Kind::Boolean,
        absent: Absent::Default("false"),
        active: Some("true"),
        only_with: None,
        doc: "With false the line runs dry: everything is logged, nothing fires, the ready output stays low.",
        hint: "",
    },
    Key {
        path: "reject.line",
        kind: Kind::Line,
        absent: Absent::Default("\"reject\""),
        active: None,
        only_with: None,
        doc: "Name of the output line of the reject actuator: the board's name for it, or chip:offset; `zoomgate devices` \
              lists both.",
        hint: "",
    },
    Key {
        path: "reject.active_low",
        kind: Kind::Boolean,
        absent: Absent::Default("false"),
        active: None,
        only_with: None,
        doc: "With true the actuator works while the line is low.",
        hint: "",
    },
    Key {
        path: "reject.travel_mm",
        kind: Kind::Number { min: 1.0, max: 100_000.0, unit: "mm" },
        absent: Absent::Required("measure it along the belt, from the part's place at the trigger to the actuator"),
        active: Some("300.0"),
        only_with: None,
        doc: "From the part's place at the trigger to the actuator, along the belt.",
        hint: "",
    },
    Key {
        path: "reject.belt_speed_mm_s",
        kind: Kind::Number { min: 1.0, max: 20_000.0, unit: "mm/s" },
        absent: Absent::Required("measure it: time a part over a known distance"),
        active: Some("300.0"),
        only_with: None,
        doc: "The belt's speed, which must be constant; with an encoder the highest at which it runs.",
        hint: "",
    },
    Key {
        path: "reject.belt",
        kind: Kind::Choice { offered: &["constant", "encoder"], later: &[] },
        absent: Absent::Default("\"constant\""),
        active: None,
        only_with: None,
        doc: "Where the belt's position comes from: its constant speed, or an encoder, with which it may change its speed \
              and stop.",
        hint: "",
    },
    Key {
        path: "reject.actuator_latency_ms",
        kind: Kind::Number { min: 0.0, max: 2000.0, unit: "ms" },
        absent: Absent::Default("10.0"),
        active: None,
        only_with: None,
        doc: "Dead time from the line's edge to the actuator's motion; the line fires that much earlier.",
        hint: "the actuator's datasheet gives it",
    },
    Key {
        path: "reject.pulse_width_ms",
        kind: Kind::Number { min: 5.0, max: 500.0, unit: "ms" },
        absent: Absent::Default("50.0"),
        active: None,
        only_with: None,
        doc: "How long the line stays active for one part.",
        hint: "your valve's datasheet gives the minimum on-time",
    },
    Key {
        path: "reject.window_ms",
        kind: Kind::Number { min: 0.0, max: 1000.0, unit: "ms" },
        absent: Absent::Default("20.0"),
        active: None,
        only_with: None,
        doc: "A pulse may start up to this much after its planned instant; later it is not fired.",
        hint: "a later pulse would hit the neighbour",
    },
    Key {
        path: "reject.on_overlap",
        kind: Kind::Choice { offered: &["merge", "refuse"], later: &[] },
        absent: Absent::Default("\"merge\""),
        active: None,
        only_with: None,
        doc: "A part that comes while the line is active for another: \"merge\" keeps the line active for both (air jet, \
              gate), \"refuse\" lets it go as a missed reject (a pusher hits once a stroke).",
        hint: "",
    },
    Key {
        path: "encoder.line",
        kind: Kind::Line,
        absent: Absent::Default("\"encoder_a\""),
        active: None,
        only_with: Some(("reject.belt", "encoder")),
        doc: "Name of the input line of the encoder, of channel A where it has two.",
        hint: "",
    },
    Key {
        path: "encoder.second_line",
        kind: Kind::Line,
        absent: Absent::Unset {
            means: "without it the encoder has one channel and knows no direction",
            example: "\"encoder_b\"",
        },
        active: None,
        only_with: Some(("reject.belt", "encoder")),
        doc: "Name of the input line of channel B, which follows A in forward motion.",
        hint: "",
    },
    Key {
        path: "encoder.mm_per_pulse",
        kind: Kind::Number { min: 0.001, max: 1000.0, unit: "mm" },
        absent: Absent::Unset { means: "required there", example: "0.5" },
        active: None,
        only_with: Some(("reject.belt", "encoder")),
        doc: "How far the belt moves in one period of the encoder's line.",
        hint: "measure it: pulses over a metre of belt",
    },
    Key {
        path: "encoder.stopped_ms",
        kind: Kind::Number { min: 10.0, max: 60000.0, unit: "ms" },
        absent: Absent::Default("500.0"),
        active: None,
        only_with: Some(("reject.belt", "encoder")),
        doc: "A belt without an edge of the encoder for this long stands still.",
        hint: "",
    },
    Key {
        path: "confirm.by",
        kind: Kind::Choice { offered: &["nothing", "eye"], later: &[] },
        absent: Absent::Default("\"nothing\""),
        active: None,
        only_with: None,
        doc: "Whether a second eye at the bin must see each rejected part; one that it does not see is a missed reject.",
        hint: "",
    },
    Key {
        path: "confirm.line",
        kind: Kind::Line,
        absent: Absent::Default("\"confirm\""),
        active: None,
        only_with: Some(("confirm.by", "eye")),
        doc: "Name of the eye's input line.",
        hint: "",
    },
    Key {
        path: "confirm.travel_mm",
        kind: Kind::Number { min: 0.0, max: 100000.0, unit: "mm" },
        absent: Absent::Unset { means: "required there", example: "100.0" },
        active: None,
        only_with: Some(("confirm.by", "eye")),
        doc: "From the actuator to the eye, in millimetres of belt.",
        hint: "",
    },
    Key {
        path: "confirm.window_ms",
        kind: Kind::Number { min: 1.0, max: 60000.0, unit: "ms" },
        absent: Absent::Default("100.0"),
        active: None,
        only_with: Some(("confirm.by", "eye")),
        doc: "The eye may see the part up to this much earlier or later, at the configured belt speed.",
        hint: "",
    },
    Key {
        path: "outputs.ready",
        kind: Kind::Line,
        absent: Absent::Unset { means: "without it the line is not driven", example: "\"ready\"" },
        active: None,
        only_with: None,
        doc: "High while parts are inspected and the reject output is armed.",
        hint: "",
    },
    Key {
        path: "outputs.fault",
        kind: Kind::Line,
        absent: Absent::Unset { means: "without it the line is not driven", example: "\"fault\"" },
        active: None,
        only_with: None,
        doc: "High while something needs a person.",
        hint: "",
    },
    Key {
        path: "outputs.stop_line",
        kind: Kind::Line,
        absent: Absent::Unset { means: "without it the line is not driven", example: "\"stop_line\"" },
        active: None,
        only_with: None,
        doc: "High asks the line to stop.",
        hint: "",
    },
    Key {
        path: "outputs.result",
        kind: Kind::Line,
        absent: Absent::Unset { means: "without it the line is not driven", example: "\"result\"" },
        active: None,
        only_with: None,
        doc: "For a controller: high for a part that is to be rejected, low for one that may pass; holds until the next \
              part's. Silent in a dry run.",
        hint: "",
    },
    Key {
        path: "outputs.result_valid",
        kind: Kind::Line,
        absent: Absent::Unset { means: "without it the line is not driven", example: "\"result_valid\"" },
        active: None,
        only_with: None,
        doc: "Strobe for outputs.result: it rises once for each part, when the result is on its line.",
        hint: "",
    },
    Key {
        path: "outputs.result_valid_ms",
        kind: Kind::Number { min: 1.0, max: 1000.0, unit: "ms" },
        absent: Absent::Default("20.0"),
        active: None,
        only_with: None,
        doc: "How long the strobe is high, and at least low between two parts.",
        hint: "two cycles of the controller that reads it",
    },
    Key {
        path: "outputs.heartbeat",
        kind: Kind::Line,
        absent: Absent::Unset { means: "without it the line is not driven", example: "\"heartbeat\"" },
        active: None,
        only_with: None,
        doc: "Toggles while outputs are served and nothing needs a person; stands still otherwise.",
        hint: "",
    },
    Key {
        path: "outputs.heartbeat_ms",
        kind: Kind::Number { min: 10.0, max: 10_000.0, unit: "ms" },
        absent: Absent::Default("500.0"),
        active: None,
        only_with: None,
        doc: "From one change of the heartbeat to the next.",
        hint: "",
    },
    Key {
        path: "outputs.light",
        kind: Kind::Line,
        absent: Absent::Unset { means: "without it the line is not driven", example: "\"light\"" },
        active: None,
        only_with: None,
        doc: "Light or camera strobe, one for each trigger edge.",
        hint: "",
    },
    Key {
        path: "outputs.light_delay_ms",
        kind: Kind::Number { min: 0.0, max: 1000.0, unit: "ms" },
        absent: Absent::Default("0.0"),
        active: None,
        only_with: None,
        doc: "From the trigger's edge to the strobe; a debounced edge is known trigger.debounce_ms late.",
        hint: "",
    },
    Key {
        path: "outputs.light_width_ms",
        kind: Kind::Number { min: 0.1, max: 1000.0, unit: "ms" },
        absent: Absent::Default("5.0"),
        active: None,
        only_with: None,
        doc: "How long the strobe is high.",
        hint: "",
    },
    Key {
        path: "inputs.bin_full",
        kind: Kind::Line,
        absent: Absent::Unset { means: "without it the line is not read", example: "\"bin_full\"" },
        active: None,
        only_with: None,
        doc: "High while the bin of rejects is full: raises the fault output, and stops the line if on_missed_reject does.",
        hint: "",
    },
    Key {
        path: "inputs.reset",
        kind: Kind::Line,
        absent: Absent::Unset { means: "without it faults stay until the run ends", example: "\"reset\"" },
        active: None,
        only_with: None,
        doc: "Its rising edge acknowledges faults and alarms: fault and stop-line outputs go low.",
        hint: "",
    },
    Key {
        path: "inputs.recipe_one",
        kind: Kind::Line,
        absent: Absent::Unset { means: "without it the digit is 0", example: "\"recipe_one\"" },
        active: None,
        only_with: None,
        doc: "Counts 1 in the recipe number, which is reported at the start and when it changes.",
        hint: "",
    },
    Key {
        path: "inputs.recipe_two",
        kind: Kind::Line,
        absent: Absent::Unset { means: "without it the digit is 0", example: "\"recipe_two\"" },
        active: None,
        only_with: None,
        doc: "Counts 2 in the recipe number, which is reported at the start and when it changes.",
        hint: "",
    },
    Key {
        path: "inputs.recipe_four",
        kind: Kind::Line,
        absent: Absent::Unset { means: "without it the digit is 0", example: "\"recipe_four\"" },
        active: None,
        only_with: None,
        doc: "Counts 4 in the recipe number, which is reported at the start and when it changes.",
        hint: "",
    },
    Key {
        path: "inputs.recipe_eight",
        kind: Kind::Line,
        absent: Absent::Unset { means: "without it the digit is 0", example: "\"recipe_eight\"" },
        active: None,
        only_with: None,
        doc: "Counts 8 in the recipe number, which is reported at the start and when it changes.",
        hint: "",
    },
    Key {
        path: "gpio.backend",
        kind: Kind::Choice { offered: &["gpiocdev", "rppal", "recorded", "none"], later: &[] },
        absent: Absent::Default("\"gpiocdev\""),
        active: Some("\"recorded\""),
        only_with: None,
        doc: "What drives the lines: \"gpiocdev\" the kernel's devices, which own them; \"rppal\" a Raspberry Pi's \
              registers, lines by BCM number; \"recorded\" writes every edge with its time to a file; \"none\" drives \
              nothing.",
        hint: "",
    },
    Key {
        path: "gpio.chip",
        kind: Kind::Path,
        absent: Absent::Unset { means: "without it a line is a name or chip:offset", example: "\"gpiochip0\"" },
        active: None,
        only_with: Some(("gpio.backend", "gpiocdev")),
        doc: "The chip of lines that are written as an offset alone: the name or path of its device, or its label.",
        hint: "",
    },
    Key {
        path: "gpio.edges",
        kind: Kind::Path,
        absent: Absent::Default("\"edges.jsonl\""),
        active: None,
        only_with: Some(("gpio.backend", "recorded")),
        doc: "The file of recorded edges, one JSON object a line.",
        hint: "",
    },
    Key {
        path: "gpio.inputs",
        kind: Kind::Path,
        absent: Absent::Unset { means: "without it there are no inputs", example: "\"inputs.jsonl\"" },
        active: None,
        only_with: Some(("gpio.backend", "recorded")),
        doc: "A file of the same form whose edges the input lines play, its times counted from the start.",
        hint: "",
    },
    Key {
        path: "safety.on_uninspected",
        kind: Kind::Choice { offered: &["reject", "pass", "stop_line"], later: &[] },
        absent: Absent::Required(
            "choose what happens to a part that could not be inspected before its deadline: \"reject\" fires the \
             actuator (nothing unseen is shipped, good parts may be lost), \"pass\" lets it go (no good part is lost, \
             a defect may be shipped), \"stop_line\" asks the line to stop. Only the plant can choose",
        ),
        active: Some("\"reject\""),
        only_with: None,
        doc: "A part that could not be inspected before its deadline: \"reject\" fires the actuator (good parts may be \
              lost), \"pass\" lets it go (a defect may be shipped), \"stop_line\" asks the line to stop.",
        hint: "",
    },
    Key {
        path: "safety.on_missed_reject",
        kind: Kind::Choice { offered: &["alarm", "stop_line"], later: &[] },
        absent: Absent::Required(
            "choose what happens when a part that should be rejected missed its window: \"alarm\" counts it and raises \
             the fault output (it is shipped unless a person acts), \"stop_line\" also asks the line to stop. Only the \
             plant can choose",
        ),
        active: Some("\"alarm\""),
        only_with: None,
        doc: "A part that should be rejected and missed its window: \"alarm\" counts it and raises the fault output, \
              \"stop_line\" also asks the line to stop.",
        hint: "",
    },
    Key {
        path: "alarm.consecutive_rejects",
        kind: Kind::Integer { min: 2, max: 1000000, unit: "parts" },
        absent: Absent::Unset { means: "without it there is no such alarm", example: "10" },
        active: None,
        only_with: None,
        doc: "So many rejects in a row raise the fault output.",
        hint: "",
    },
    Key {
        path: "alarm.uninspected_rate",
        kind: Kind::Number { min: 0.0001, max: 1.0, unit: "" },
        absent: Absent::Unset { means: "without it there is no such alarm", example: "0.05" },
        active: None,
        only_with: None,
        doc: "This share of uninspected parts among the last ones raises the fault output.",
        hint: "a fraction, not percent",
    },
    Key {
        path: "alarm.uninspected_parts",
        kind: Kind::Integer { min: 10, max: 100000, unit: "parts" },
        absent: Absent::Default("100"),
        active: None,
        only_with: None,
        doc: "The last parts over which that share is counted.",
        hint: "",
    },
    Key {
        path: "record.events",
        kind: Kind::Path,
        absent: Absent::Unset { means: "without it events are not written", example: "\"events.jsonl\"" },
        active: Some("\"events.jsonl\""),
        only_with: None,
        doc: "The file of verdict events, one JSON object a line.",
        hint: "",
    },
    Key {
        path: "realtime.priority",
        kind: Kind::Integer { min: 0, max: 98, unit: "" },
        absent: Absent::Default("40"),
        active: None,
        only_with: None,
        doc: "SCHED_FIFO priority of the thread that fires pulses; 0 leaves it among the others. The kernel's interrupt \
              threads run at 50.",
        hint: "",
    },
    Key {
        path: "realtime.lock_memory",
        kind: Kind::Boolean,
        absent: Absent::Default("true"),
        active: None,
        only_with: None,
        doc: "Keeps the program's memory from being swapped out or dropped.",
        hint: "",
    },
    Key {
        path: "status.socket",
        kind: Kind::Path,
        absent: Absent::Unset {
            means: "without it /run/zoomgate/status.sock, where that folder exists",
            example: "\"status.sock\"",
        },
        active: None,
        only_with: None,
        doc: "The local socket that `zoomgate status` asks.",
        hint: "",
    },
    Key {
        path: "log.level",
        kind: Kind::Choice { offered: &["error", "warn", "info", "debug", "trace"], later: &[] },
        absent: Absent::Default("\"info\""),
        active: None,
        only_with: None,
        doc: "The least important message that is written.",
        hint: "",
    },
];
