//! What keeps this machine from inspecting, and what to do about it.
//!
//! One list of checks, each a function from a [`Subject`] to a [`Finding`]; a new check is a function and a line in
//! [`CHECKS`]. A check changes nothing: it opens what the daemon opens, except output lines, of which it only asks who
//! holds them. It never ends the others: all findings come at once.
//!
//! What is read of the system stands below [`Subject::root`], so that tests bring a machine in a folder.

mod files;
mod line;
pub mod live;
mod machine;

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::config::{self, Config, Findings};

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Nothing to do.
    Ok,
    /// The line runs, less well than it could.
    Warn,
    /// The line does not run, or not safely.
    Fail,
}

impl Outcome {
    /// The word in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How it ended.
    pub outcome: Outcome,
    /// What was seen.
    pub message: String,
    /// What to do; `None` exactly where it is ok.
    pub remedy: Option<String>,
}

impl Finding {
    fn ok(message: impl Into<String>) -> Self {
        Self { outcome: Outcome::Ok, message: message.into(), remedy: None }
    }

    fn warn(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { outcome: Outcome::Warn, message: message.into(), remedy: Some(remedy.into()) }
    }

    fn fail(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { outcome: Outcome::Fail, message: message.into(), remedy: Some(remedy.into()) }
    }

    /// A check that needs a configuration, where there is none.
    fn without_config() -> Self {
        Self::warn("not checked: it needs a configuration without problems", "mend the configuration first")
    }
}

/// What is examined.
pub struct Subject {
    /// The configuration file and all that was found in it.
    pub findings: Findings,
    /// Where `/proc`, `/sys`, `/dev` and `/etc` are.
    pub root: PathBuf,
}

impl Subject {
    /// This machine, with the configuration at `path`.
    pub fn here(path: &Path) -> Self {
        Self { findings: config::examine_file(path), root: PathBuf::from("/") }
    }

    fn config(&self) -> Option<&Config> {
        self.findings.config.as_ref().ok()
    }

    /// The text of a small file of the system, without blanks around it; `None` where it cannot be read.
    fn read(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.root.join(path)).ok().map(|text| text.trim().to_owned())
    }

    /// The files `folder/PREFIX*/rest` of the system, in order.
    fn glob(&self, folder: &str, prefix: &str, rest: &str) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.root.join(folder)).into_iter().flatten().flatten();
        let mut found: Vec<PathBuf> = entries
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
            .map(|entry| if rest.is_empty() { entry.path() } else { entry.path().join(rest) })
            .filter(|path| path.exists())
            .collect();
        found.sort();
        found
    }
}

/// A check: its name in tables and `--json`, and what it does.
pub struct Check {
    /// Stable, in snake case.
    pub name: &'static str,
    /// Finds out.
    pub examine: fn(&Subject) -> Finding,
}

const fn check(name: &'static str, examine: fn(&Subject) -> Finding) -> Check {
    Check { name, examine }
}

/// Every check, in the order in which one would mend things.
pub const CHECKS: &[Check] = &[
    check("config", files::config),
    check("recipe", files::recipe),
    check("sight", files::sight),
    check("camera", line::camera),
    check("outputs", line::outputs),
    check("devices", line::devices),
    check("record", files::record),
    check("disk", files::disk),
    check("clock", machine::clock),
    check("wall_clock", machine::wall_clock),
    check("realtime", machine::realtime),
    check("memory_lock", machine::memory_lock),
    check("cpu", machine::cpu),
    check("temperature", machine::temperature),
    check("power", machine::power),
];

/// A finding and the check that found it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Examined {
    /// The check's name.
    pub name: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// What was seen.
    pub message: String,
    /// What to do; null where it is ok.
    pub remedy: Option<String>,
}

/// Makes every check, one after the other.
pub fn examine(subject: &Subject) -> Vec<Examined> {
    let examined = CHECKS.iter().map(|check| {
        let Finding { outcome, message, remedy } = (check.examine)(subject);
        Examined { name: check.name, outcome, message, remedy }
    });
    examined.collect()
}

#[cfg(test)]
mod tests;
