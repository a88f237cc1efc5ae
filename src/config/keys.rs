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
    used("outputs", "Further output lines, by name; a line that is not named is not driven."),
    used("gpio", "The hardware behind the output lines."),
    used("safety", "What happens when we are not sure. The plant chooses; there is no default."),
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

/// Every key, section by section, in the order of the shipped file.
pub const KEYS: &[Key] = &[
    Key {
        path: "camera.source",
        kind: Kind::Choice { offered: &["folder", "simulated"], later: &["v4l2"] },
        absent: Absent::Required("\"folder\" replays pictures, \"simulated\" renders a belt"),
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
        doc: "Frames a second: the replay rate of a folder, the parts a second of the simulated belt.",
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
        path: "trigger.source",
        kind: Kind::Choice { offered: &["every_frame", "simulated"], later: &["photo_eye", "interval", "tripwire"] },
        absent: Absent::Required(
            "\"every_frame\" makes each frame a part, \"simulated\" is the simulated belt's photo-eye",
        ),
        active: Some("\"simulated\""),
        only_with: None,
        doc: "What says that a part is in view.",
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
        doc: "Name of the output line of the reject actuator.",
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
        doc: "The belt's speed, which must be constant.",
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
        path: "gpio.backend",
        kind: Kind::Choice { offered: &["recorded", "none"], later: &["gpiocdev", "rppal"] },
        absent: Absent::Required("\"recorded\" writes every edge to a file, \"none\" drives nothing"),
        active: Some("\"recorded\""),
        only_with: None,
        doc: "What drives the output lines; \"recorded\" writes every edge with its time to a file.",
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
