//! Configuration: `config.toml` as written becomes [`Config`] as used, or a complete list of its problems.
//!
//! ```text
//! text ─► raw: TOML, the key table, types and ranges ─► check: rules between keys ─► Config
//!                └──────────── problems, all at once, by line ────┘
//! ```
//!
//! Reads one file and nothing else: whether the recipe exists or a line is free is asked by those who open them. Only
//! what a file's name stands for is looked up: a pipe or a device would hold up whoever opens it.
//! A bad file yields no [`Config`] at all, so that nothing runs on half of one.

mod build;
mod check;
pub mod edit;
pub mod keys;
mod raw;
pub mod render;
pub mod salvage;
pub mod teaching;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::clock::Offset;
use crate::error::{Error, ErrorKind};
use crate::{camera, decide, gpio, reject};

/// The largest file that is read as a configuration; the shipped one has 10 kB.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// Everything `run` needs, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `[camera]`
    pub camera: camera::Settings,
    /// `[trigger]`
    pub trigger: Trigger,
    /// `[model]`
    pub model: Model,
    /// `[zoom] always`
    pub zoom_always: bool,
    /// `[decision]`
    pub decision: Decision,
    /// `[reject]`
    pub reject: reject::Settings,
    /// `[encoder]`; `None` where the belt's speed is constant.
    pub encoder: Option<reject::encoder::Settings>,
    /// `[confirm]`; `None` where nothing confirms.
    pub confirm: Option<reject::confirm::Settings>,
    /// `[outputs]`: names of the lines, `None` where not wired.
    pub outputs: Outputs,
    /// `[inputs]`: the lines, `None` where not wired.
    pub inputs: Inputs,
    /// `[gpio]`
    pub gpio: gpio::Settings,
    /// `[safety]`
    pub safety: decide::Safety,
    /// `[alarm]`
    pub alarm: decide::alarm::Settings,
    /// `[record]`
    pub record: Record,
    /// `[realtime]`
    pub realtime: Realtime,
    /// `[status]`
    pub status: Status,
    /// `[log] level`
    pub log_level: log::LevelFilter,
}

/// `[trigger]` as used.
#[derive(Clone, Debug, PartialEq)]
pub enum Trigger {
    /// Every frame is a part.
    EveryFrame,
    /// The simulated belt's photo-eye.
    Simulated,
    /// An input line.
    PhotoEye {
        /// Its name.
        line: String,
        /// How it is read.
        options: gpio::InputOptions,
        /// A second edge within this time is the same part's.
        holdoff: Duration,
        /// The part's frame.
        exposure: Exposure,
    },
    /// A part every `period`.
    Interval {
        /// From one part to the next.
        period: Duration,
        /// The part's frame.
        exposure: Exposure,
    },
    /// A strip of the picture.
    Tripwire {
        /// The strip and its levels.
        wire: camera::tripwire::Settings,
        /// The part's frame.
        exposure: Exposure,
    },
}

impl Trigger {
    /// Whether parts start at edges of an input, so that no frame may be due for as long as no part comes.
    ///
    /// With every other trigger the camera runs freely: one that shows nothing has stopped.
    pub fn starts_at_an_edge(&self) -> bool {
        match self {
            Self::Simulated | Self::PhotoEye { .. } => true,
            Self::EveryFrame | Self::Interval { .. } | Self::Tripwire { .. } => false,
        }
    }
}

/// Which frame shows a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exposure {
    /// From the part's edge to the exposure of its frame.
    pub offset: Offset,
    /// How far from that the exposure may be.
    pub tolerance: Duration,
}

/// `[model]` as used.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// The recipe file.
    pub recipe: PathBuf,
    /// How many threads share an inspection.
    pub threads: usize,
    /// Whether a recipe runs that is mostly in floats.
    pub may_be_slow: bool,
}

/// `[decision]` as used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decision {
    /// Replaces the recipe's threshold; the raw score stays what it is.
    pub threshold: Option<f32>,
}

/// `[outputs]` as used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outputs {
    /// High while parts are inspected and the reject output is armed; low while the camera is blind.
    pub ready: Option<String>,
    /// High while something needs a person.
    pub fault: Option<String>,
    /// High asks the line to stop.
    pub stop_line: Option<String>,
    /// Each part's result, for a controller.
    pub result: Option<ResultLines>,
    /// Toggles while all is well.
    pub heartbeat: Option<HeartbeatLine>,
    /// Strobes at each trigger edge.
    pub light: Option<LightLine>,
}

impl Outputs {
    /// The names of those that are wired.
    pub fn lines(&self) -> Vec<&str> {
        let result = self.result.as_ref();
        let all = [
            self.ready.as_deref(),
            self.fault.as_deref(),
            self.stop_line.as_deref(),
            result.map(|result| result.line.as_str()),
            result.and_then(|result| result.valid.as_deref()),
            self.heartbeat.as_ref().map(|heartbeat| heartbeat.line.as_str()),
            self.light.as_ref().map(|light| light.line.as_str()),
        ];
        all.into_iter().flatten().collect()
    }
}

/// The lines that tell a controller each part's result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultLines {
    /// High for a part to be rejected.
    pub line: String,
    /// Rises when the result is on its line.
    pub valid: Option<String>,
    /// How long the strobe is high, and at least low between two.
    pub width: Duration,
}

/// The heartbeat's line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeartbeatLine {
    /// Its name.
    pub line: String,
    /// From one change to the next.
    pub period: Duration,
}

/// The light's line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LightLine {
    /// Its name.
    pub line: String,
    /// From the trigger's edge to the strobe.
    pub delay: Duration,
    /// How long it is high.
    pub width: Duration,
}

/// `[inputs]` as used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    /// Active while the bin of rejects is full.
    pub bin_full: Option<InputLine>,
    /// Becomes active to acknowledge faults and alarms.
    pub reset: Option<InputLine>,
    /// The digits of the recipe number, those that count 1, 2, 4 and 8.
    pub recipe: [Option<InputLine>; 4],
}

/// One line of `[inputs]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputLine {
    /// Its name.
    pub line: String,
    /// How it is read.
    pub options: gpio::InputOptions,
}

/// `[record]` as used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// JSON-lines file of verdict events.
    pub events: Option<PathBuf>,
}

/// `[realtime]` as used; the default asks for nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Realtime {
    /// SCHED_FIFO priority of the actuation thread, 1 to 98; `None` leaves it among the others.
    pub priority: Option<u8>,
    /// Whether the kernel may not take the process's memory away.
    pub lock_memory: bool,
}

/// `[status]` as used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The socket on which a running daemon tells how it is; `None` is the default place, where its folder exists.
    pub socket: Option<PathBuf>,
}

/// One thing to mend, or, as a warning, to think about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The line it is on, counted from 1; a missing key has its section's. `None` where there is no line to name.
    pub line: Option<usize>,
    /// The key as written, `section.name`; `None` where it is not about one key.
    pub key: Option<String>,
    /// What is wrong and what is right, without a full stop.
    pub message: String,
    /// What was probably meant.
    pub suggestion: Option<String>,
    /// The value as written, shortened to one line; the line itself for a syntax error.
    #[serde(skip)]
    pub value: Option<String>,
}

impl Problem {
    fn at(line: Option<usize>, key: &str, message: String) -> Self {
        Self { line, key: Some(key.to_owned()), message, suggestion: None, value: None }
    }

    fn of_the_file(message: String) -> Self {
        Self { line: None, key: None, message, suggestion: None, value: None }
    }
}

/// Every problem of one file, by line; displayed as the text that `check` and the start print.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigProblems {
    /// The file as the caller named it.
    pub file: String,
    /// At least one, by line, those without a line last.
    pub problems: Vec<Problem>,
}

impl std::error::Error for ConfigProblems {}

impl From<ConfigProblems> for Error {
    fn from(problems: ConfigProblems) -> Self {
        Self::new(ErrorKind::Config, problems.to_string())
    }
}

/// All that was found in one file.
#[derive(Clone, Debug)]
pub struct Findings {
    /// The file as the caller named it.
    pub file: String,
    /// The configuration, or why there is none.
    pub config: Result<Config, ConfigProblems>,
    /// What is allowed and probably not meant, by line.
    pub warnings: Vec<Problem>,
}

/// Loads and checks a configuration; warnings go to the log.
///
/// # Errors
/// All problems of the file at once; a file that cannot be read is one problem.
pub fn load(path: &Path) -> Result<Config, ConfigProblems> {
    let findings = examine_file(path);
    for warning in &findings.warnings {
        log::warn!("{}: {}", findings.file, render::one_line(warning));
    }
    findings.config
}

/// Checks the text of a configuration. Relative paths in it start at the folder of `origin`, which is not opened.
///
/// # Errors
/// All problems of the text at once.
pub fn parse(text: &str, origin: &Path) -> Result<Config, ConfigProblems> {
    examine(text, origin).config
}

/// As [`load`], with the warnings as values.
pub fn examine_file(path: &Path) -> Findings {
    match read(path) {
        Ok(text) => examine(&text, path),
        Err(problem) => {
            let file = path.display().to_string();
            Findings {
                config: Err(ConfigProblems { file: file.clone(), problems: vec![problem] }),
                file,
                warnings: vec![],
            }
        }
    }
}

/// As [`parse`], with the warnings.
pub fn examine(text: &str, origin: &Path) -> Findings {
    let folder = origin.parent().unwrap_or(Path::new(""));
    let mut raw = raw::Raw::read(text);
    let mut problems = std::mem::take(&mut raw.problems);
    let is_toml = problems.iter().all(|problem| problem.key.is_some());
    let mut warnings = Vec::new();
    if is_toml {
        check::rules(&raw, &mut problems, &mut warnings);
        check::files(&raw, folder, &mut problems);
    }
    // Sorting is stable: problems on one line stay in the order in which the rules were tried.
    let by_line = |problem: &Problem| problem.line.unwrap_or(usize::MAX);
    problems.sort_by_key(by_line);
    warnings.sort_by_key(by_line);
    let file = origin.display().to_string();
    let config = if problems.is_empty() {
        Ok(build::build(&raw, folder).expect("a file without problems has every value that a Config needs"))
    } else {
        Err(ConfigProblems { file: file.clone(), problems })
    };
    Findings { file, config, warnings }
}

fn read(path: &Path) -> Result<String, Problem> {
    let unreadable = |error: std::io::Error| {
        let step = "check the path and its permissions";
        Problem::of_the_file(format!("cannot be read: {error}; {step}"))
    };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Problem::of_the_file("is larger than 1 MiB; is this the right file?".to_owned()));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let before = &error.as_bytes()[..at];
        let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
        let byte = error.as_bytes()[at];
        let message = format!("is not UTF-8 text: byte {byte:#04x} at offset {at}; save it as UTF-8");
        Problem { line: Some(line), ..Problem::of_the_file(message) }
    })
}
