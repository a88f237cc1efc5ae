//! Words for people: problems as text, ranges, and the shipped `config.toml` written from the key table.

use std::fmt::{self, Write as _};

use super::keys::{self, Absent, Key, Kind, LINE_NAME_MAX, SECTIONS};
use super::{ConfigProblems, Findings, Problem};

/// Messages are wrapped here; a terminal at a machine is seldom wider.
const COLUMNS: usize = 110;
/// The width of the shipped file's comments.
const COMMENT_COLUMNS: usize = 116;
/// The most characters of a key or value that are repeated.
const EXCERPT_CHARS: usize = 60;

impl fmt::Display for ConfigProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.problems.len() == 1 { "" } else { "s" };
        write!(f, "{} has {} problem{plural}; nothing was changed.", self.file, self.problems.len())?;
        f.write_str(&entries(&self.problems))
    }
}

/// The warnings as text, empty where there are none.
pub fn warnings(findings: &Findings) -> String {
    let plural = match findings.warnings.len() {
        0 => return String::new(),
        1 => "",
        _ => "s",
    };
    format!("{} has {} warning{plural}.{}", findings.file, findings.warnings.len(), entries(&findings.warnings))
}

/// One problem on one line, for the log.
pub(super) fn one_line(problem: &Problem) -> String {
    format!("{} {}: {}", label(problem), head(problem), sentence(problem))
}

fn entries(problems: &[Problem]) -> String {
    let width = problems.iter().map(|problem| label(problem).len()).max().unwrap_or(0);
    let mut text = String::new();
    for problem in problems {
        let label = label(problem);
        let head = head(problem);
        let mut lines = wrapped(&sentence(problem), COLUMNS - width - 4).into_iter();
        // What is about the file as a whole has no key to stand above the sentence.
        let first = if head.is_empty() { lines.next().unwrap_or_default() } else { head };
        text.push_str(&format!("\n  {label:width$}  {first}"));
        for line in lines {
            text.push_str(&format!("\n  {:width$}  {line}", ""));
        }
    }
    text
}

fn label(problem: &Problem) -> String {
    match (problem.line, &problem.key) {
        (Some(line), _) => format!("line {line}"),
        (None, Some(_)) => "missing".to_owned(),
        (None, None) => "file".to_owned(),
    }
}

fn head(problem: &Problem) -> String {
    match (&problem.key, &problem.value) {
        (Some(key), Some(value)) => format!("{key} = {value}"),
        (Some(text), None) | (None, Some(text)) => text.clone(),
        (None, None) => String::new(),
    }
}

fn sentence(problem: &Problem) -> String {
    match &problem.suggestion {
        Some(suggestion) => format!("{}. Did you mean {suggestion}?", problem.message),
        None => problem.message.clone(),
    }
}

fn capitalised(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

fn wrapped(sentence: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in sentence.split(' ') {
        let line = lines.last_mut().expect("starts with one line and only grows");
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > columns {
            lines.push(word.to_owned());
        } else {
            let space = if line.is_empty() { "" } else { " " };
            line.push_str(space);
            line.push_str(word);
        }
    }
    lines
}

/// Text from the file that is safe to print: one line, no control characters, not long.
pub(super) fn shortened(text: &str) -> String {
    let text = text.trim();
    let mut short = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == EXCERPT_CHARS {
            short.push('…');
            break;
        }
        if c.is_control() { short.extend(c.escape_default()) } else { short.push(c) }
    }
    short
}

/// `"a", "b" or "c"`.
pub(super) fn either(words: &[&str]) -> String {
    joined(words, "or")
}

/// `"a", "b" and "c"`.
pub(super) fn all_of(words: &[&str]) -> String {
    joined(words, "and")
}

fn joined(words: &[&str], last: &str) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        Some((end, [])) => end.clone(),
        Some((end, rest)) => format!("{} {last} {end}", rest.join(", ")),
        None => String::new(),
    }
}

/// What a key takes, with its unit: `5 to 500 ms`.
pub fn range(kind: &Kind) -> String {
    let with_unit = |range: String, unit: &str| if unit.is_empty() { range } else { format!("{range} {unit}") };
    match *kind {
        Kind::Boolean => "true or false".to_owned(),
        Kind::Integer { min, max, unit } => with_unit(format!("a whole number, {min} to {max}"), unit),
        Kind::Number { min, max, unit } => with_unit(format!("{min} to {max}"), unit),
        Kind::Choice { offered, .. } => either(offered),
        Kind::Line => format!("the name of a line, 1 to {LINE_NAME_MAX} bytes, no blanks around it"),
        Kind::Path => "a path, not empty".to_owned(),
    }
}

/// The `config.toml` that ships: every section and key of the table with its sentence, range and default.
///
/// A test keeps the committed file equal to this text.
pub fn shipped() -> String {
    let mut text = SHIPPED_HEAD.to_owned();
    for section in SECTIONS {
        text.push_str(&format!("\n\n# {}\n", section.doc));
        if let Some(with) = section.reserved {
            text.push_str(&format!("# Reserved, no keys yet: they arrive with {with}.\n"));
        }
        text.push_str(&format!("[{}]\n", section.name));
        for key in keys::of_section(section.name) {
            write_key(&mut text, key);
        }
    }
    text
}

const SHIPPED_HEAD: &str = "\
# zoomgate: the configuration, with every key there is.
#
# A key after a bare \"#\" is commented out and shows its default, or an example where it has none.
# Relative paths start at the folder of this file. A change takes effect at the next start; see all mistakes at once
# with `zoomgate check config.toml`.
# As it stands, a simulated belt is inspected and its reject pulses are written to a file: nothing is driven.
";

fn write_key(text: &mut String, key: &Key) {
    let mut facts = range(&key.kind);
    if let Kind::Choice { offered, later } = key.kind {
        // Words that come with a cargo feature stand apart, so that every build ships the same file.
        let (by_build, always): (Vec<_>, Vec<_>) = offered.iter().partition(|word| keys::BUILD_WORDS.contains(word));
        let (by_build_later, never): (Vec<_>, Vec<_>) = later.iter().partition(|word| keys::BUILD_WORDS.contains(word));
        let by_build = [by_build, by_build_later].concat();
        facts = either(&always);
        if !by_build.is_empty() {
            facts.push_str(&format!(", or {} where the build has it", either(&by_build)));
        }
        if !never.is_empty() {
            facts.push_str(&format!(" (not in this build: {})", all_of(&never)));
        }
    }
    if let Some((other, value)) = key.only_with {
        let other = other.rsplit('.').next().unwrap_or(other);
        facts.push_str(&format!("; only with {other} = \"{value}\""));
    }
    match key.absent {
        Absent::Default(literal) => facts.push_str(&format!("; default {literal}")),
        Absent::Unset { means, .. } => facts.push_str(&format!("; {means}")),
        Absent::Required(_) => facts.push_str("; required, no default"),
    }
    text.push('\n');
    // `True` would be read as the value, and TOML does not take it.
    let facts = if key.kind == Kind::Boolean { facts } else { capitalised(&facts) } + ".";
    for line in wrapped(key.doc, COMMENT_COLUMNS).iter().chain(&wrapped(&facts, COMMENT_COLUMNS)) {
        text.push_str(&format!("# {line}\n"));
    }
    let off = if key.active.is_some() { "" } else { "#" };
    writeln!(text, "{off}{} = {}", key.name(), key.shown()).expect("writing to a String cannot fail");
}
