//! The key table: every section and key of `config.toml` with its type, unit, range, default and one sentence.
//!
//! The single source for reading, range checks, suggestions and the shipped `config.toml`; nothing else knows a range.
//! A new key is an entry in the table of its topic, a field in a `Settings` type and a line in `config/build.rs`.

mod belt;
mod camera;
mod decision;
mod inputs;
mod outputs;
mod plant;
mod service;
mod teach;
mod trigger;

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
    used("zoom", "The second look; the recipe decides how many crops it takes, and how closely."),
    used("decision", "When a score is a reject."),
    used("reject", "From a verdict to a pulse on the reject line."),
    used("encoder", "The encoder of the belt, where it has one."),
    used("confirm", "A second eye that sees rejected parts leave the belt."),
    used("outputs", "Further output lines, by name; a line that is not named is not driven."),
    used("inputs", "Further input lines, by name; a line that is not named is not read."),
    used("gpio", "The hardware behind the lines."),
    used("safety", "What happens when we are not sure. The plant chooses; there is no default."),
    used("alarm", "What many verdicts together say: raises the fault output until it is reset."),
    used("teach", "How parts and their pictures may differ from one to the next; `teach` and `trial` show them so."),
    used("record", "What is kept."),
    reserved("web", "The operator's page.", "the page's server"),
    reserved("mqtt", "Verdicts and alarms to a broker.", "the publisher"),
    reserved("metrics", "Counters for a scraper.", "the scraper's endpoint"),
    reserved("update", "Signed updates over SSH.", "`zoomgate update`"),
    used("realtime", "What keeps pulses exact while the machine is busy; said in the log where it is not permitted."),
    used("status", "What a running daemon tells about itself."),
    used("log", "What the program says on stderr."),
];

/// Words that a build has or has not, by its cargo features; the shipped file is the same for all builds.
pub const BUILD_WORDS: &[&str] = &["v4l2"];

/// The resistors inside a chip; `gpio::Bias` as written.
const BIASES: &[&str] = &["as_is", "disabled", "pull_up", "pull_down"];

/// The topics, in the order of the shipped file.
const TOPICS: [&[Key]; 9] = [
    camera::KEYS,
    trigger::KEYS,
    decision::KEYS,
    belt::KEYS,
    outputs::KEYS,
    inputs::KEYS,
    plant::KEYS,
    teach::KEYS,
    service::KEYS,
];

/// Every key, section by section, in the order of the shipped file.
pub const KEYS: &[Key] = &joined::<{ count() }>();

const fn count() -> usize {
    let (mut topic, mut count) = (0, 0);
    while topic < TOPICS.len() {
        count += TOPICS[topic].len();
        topic += 1;
    }
    count
}

/// One table out of the topics': `for` and slices' `concat` are not for constants yet.
const fn joined<const COUNT: usize>() -> [Key; COUNT] {
    let mut keys = [TOPICS[0][0]; COUNT];
    let (mut topic, mut at) = (0, 0);
    while topic < TOPICS.len() {
        let mut key = 0;
        while key < TOPICS[topic].len() {
            keys[at] = TOPICS[topic][key];
            key += 1;
            at += 1;
        }
        topic += 1;
    }
    keys
}
