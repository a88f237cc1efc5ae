//! The file as written: TOML with its lines, each key found in the table, typed and in range, or a problem.
//!
//! Knows the key table and TOML, not what the keys mean: rules between keys are `check.rs`'s. A syntax error stops at
//! one, because the parser knows no more; everything else is gathered.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Problem;
use super::keys::{self, Absent, KEYS, Key, Kind, LINE_NAME_MAX, SECTIONS};
use super::render;

/// A value that has its key's type and lies in its range.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Boolean(bool),
    Integer(u64),
    Number(f64),
    Text(String),
}

/// A good value and where it was written.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub value: Value,
    pub line: usize,
    /// The value as it stands in the file, shortened to one line.
    pub text: String,
}

/// What the file says, key by key.
#[derive(Debug, Default)]
pub(super) struct Raw {
    written: BTreeMap<&'static str, Written>,
    /// Lines of the section headers.
    headers: BTreeMap<&'static str, usize>,
    /// Keys that stand in the file, well or badly written.
    present: BTreeSet<&'static str>,
    /// Keys and sections that a problem already speaks of: neither a default nor "is required" applies to them.
    spoken_of: BTreeSet<&'static str>,
    pub problems: Vec<Problem>,
}

impl Raw {
    /// Reads `text`. Never fails: mistakes are in `problems`, in no particular order.
    pub fn read(text: &str) -> Self {
        let source = Source::new(text);
        let mut raw = Self::default();
        match DeTable::parse(text) {
            Ok(table) => {
                raw.walk(&source, table.get_ref());
                raw.report_missing();
            }
            Err(error) => raw.problems.push(source.syntax_problem(&error)),
        }
        raw
    }

    /// As [`read`](Self::read), and goes on behind syntax errors with what can be made of the rest.
    pub fn read_on(text: &str) -> Self {
        let source = Source::new(text);
        let mut raw = Self::default();
        let (table, errors) = DeTable::parse_recoverable(text);
        raw.problems.extend(errors.iter().map(|error| source.syntax_problem(error)));
        raw.walk(&source, table.get_ref());
        raw
    }

    /// The value written for `path`; `None` where it is absent or broken.
    pub fn written(&self, path: &str) -> Option<&Written> {
        self.written.get(path)
    }

    /// The line that `path` is on, else its section's.
    pub fn line(&self, path: &str) -> Option<usize> {
        let header = || self.headers.get(path.split_once('.')?.0).copied();
        self.written.get(path).map(|w| w.line).or_else(header)
    }

    /// The value that counts for `path`: as written, else the default. `None` where it is unset, missing or broken.
    pub fn value(&self, path: &str) -> Option<Value> {
        let key = keys::find(path).expect("only keys of the table are asked for");
        match (self.written.get(path), key.absent) {
            (Some(written), _) => Some(written.value.clone()),
            (None, Absent::Default(literal)) if !self.is_broken(key) => {
                let literal = DeValue::parse(literal).expect("defaults are TOML literals");
                Some(typed(key, literal.get_ref()).expect("defaults are in range"))
            }
            (None, _) => None,
        }
    }

    /// The number that counts for `path`, as [`Raw::value`].
    pub fn number(&self, path: &str) -> Option<f64> {
        if let Value::Number(number) = self.value(path)? { Some(number) } else { None }
    }

    /// The whole number that counts for `path`, as [`Raw::value`].
    pub fn whole(&self, path: &str) -> Option<u64> {
        if let Value::Integer(whole) = self.value(path)? { Some(whole) } else { None }
    }

    /// The text that counts for `path`, as [`Raw::value`].
    pub fn text(&self, path: &str) -> Option<String> {
        if let Value::Text(text) = self.value(path)? { Some(text) } else { None }
    }

    /// The truth that counts for `path`, as [`Raw::value`].
    pub fn flag(&self, path: &str) -> Option<bool> {
        if let Value::Boolean(flag) = self.value(path)? { Some(flag) } else { None }
    }

    /// A problem already speaks of the key at `path` or of its section.
    pub fn speaks_of(&self, path: &str) -> bool {
        keys::find(path).is_some_and(|key| self.is_broken(key))
    }

    fn is_broken(&self, key: &Key) -> bool {
        self.spoken_of.contains(key.path) || self.spoken_of.contains(key.section())
    }

    fn walk(&mut self, source: &Source<'_>, table: &DeTable<'_>) {
        for (section, entries) in table.iter().filter_map(|(s, v)| Some((s, v.get_ref().as_table()?))) {
            let paths = entries.keys().map(|name| format!("{}.{}", section.get_ref(), name.get_ref()));
            self.present.extend(paths.filter_map(|path| Some(keys::find(&path)?.path)));
        }
        for (name, value) in table {
            let line = source.line(name.span().start);
            match (keys::section(name.get_ref()), value.get_ref()) {
                (Some(section), DeValue::Table(entries)) => {
                    self.headers.insert(section.name, line);
                    self.walk_section(source, section, entries);
                }
                (Some(section), _) => {
                    self.spoken_of.insert(section.name);
                    let message = format!("must be a section: write [{}] once, with its keys below", section.name);
                    // The span of [[name]] is its header, which the message already speaks of.
                    let value = Some(value).filter(|value| !value.get_ref().is_array());
                    self.problems.push(source.problem(line, section.name, value, message));
                }
                (None, DeValue::Table(_)) => {
                    let near = nearest(name.get_ref(), SECTIONS.iter().map(|s| s.name));
                    let stands = |near: &&str| table.keys().any(|name| name.get_ref() == near);
                    self.spoken_of.extend(near.filter(|near| !stands(near)));
                    let message = match near {
                        Some(_) => "unknown section".to_owned(),
                        None => format!("unknown section; there are {}", list(SECTIONS.iter().map(|s| s.name))),
                    };
                    let problem = source.problem(line, name.get_ref(), None, message);
                    self.problems.push(Problem { suggestion: near.map(|near| format!("[{near}]")), ..problem });
                }
                (None, _) => {
                    let near = nearest_anywhere(name.get_ref(), "");
                    self.spoken_of.extend(near.filter(|near| !self.present.contains(near)));
                    let message = "is in no section; keys belong below a [section] header".to_owned();
                    let problem = source.problem(line, name.get_ref(), Some(value), message);
                    self.problems.push(Problem { suggestion: near.map(str::to_owned), ..problem });
                }
            }
        }
    }

    fn walk_section(&mut self, source: &Source<'_>, section: &keys::Section, entries: &DeTable<'_>) {
        for (name, value) in entries {
            let line = source.line(name.span().start);
            let path = format!("{}.{}", section.name, name.get_ref());
            let Some(key) = keys::find(&path) else {
                let near = nearest_anywhere(name.get_ref(), section.name);
                self.spoken_of.extend(near.filter(|near| !self.present.contains(near)));
                let message = match (near, section.reserved) {
                    (Some(_), _) => "unknown key".to_owned(),
                    (None, Some(with)) => {
                        format!("unknown key; [{}] has no keys yet, they arrive with {with}", section.name)
                    }
                    (None, None) => {
                        let known = list(keys::of_section(section.name).map(Key::name));
                        format!("unknown key; [{}] has {known}", section.name)
                    }
                };
                let problem = source.problem(line, &path, Some(value), message);
                self.problems.push(Problem { suggestion: near.map(str::to_owned), ..problem });
                continue;
            };
            match typed(key, value.get_ref()) {
                Ok(good) => {
                    let text = source.excerpt(value.span());
                    self.written.insert(key.path, Written { value: good, line, text });
                }
                Err(Refusal { message, suggestion }) => {
                    self.spoken_of.insert(key.path);
                    let problem = source.problem(line, key.path, Some(value), message);
                    self.problems.push(Problem { suggestion, ..problem });
                }
            }
        }
    }

    fn report_missing(&mut self) {
        for key in KEYS {
            if let Absent::Required(why) = key.absent
                && !self.written.contains_key(key.path)
                && !self.is_broken(key)
            {
                let message = match key.kind {
                    Kind::Choice { offered, .. } if !why.starts_with("choose") => {
                        format!("is required, {}: {why}", render::either(offered))
                    }
                    Kind::Choice { .. } => format!("is required: {why}"),
                    _ => format!("is required, {}: {why}", render::range(&key.kind)),
                };
                self.problems.push(Problem::at(self.line(key.path), key.path, message));
            }
        }
    }
}

/// The file's text with its lines, to say where something is.
struct Source<'t> {
    text: &'t str,
    /// Byte offset of each line's first character.
    starts: Vec<usize>,
}

impl<'t> Source<'t> {
    fn new(text: &'t str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    /// The line of a byte, counted from 1.
    fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|&start| start <= offset)
    }

    /// The text of a span on one line, shortened.
    fn excerpt(&self, span: Range<usize>) -> String {
        render::shortened(self.text.get(span).unwrap_or_default())
    }

    fn problem(&self, line: usize, key: &str, value: Option<&Spanned<DeValue<'_>>>, message: String) -> Problem {
        // A table's span is its header, which says nothing that the key does not.
        let value = value.filter(|value| !value.get_ref().is_table()).map(|value| self.excerpt(value.span()));
        Problem { value, ..Problem::at(Some(line), &render::shortened(key), message) }
    }

    fn syntax_problem(&self, error: &toml::de::Error) -> Problem {
        let offset = error.span().map_or(0, |span| span.start.min(self.text.len()));
        let line = self.line(offset);
        let start = self.starts[line - 1];
        let column = self.text.get(start..offset).map_or(1, |before| before.chars().count() + 1);
        let message = error.message().lines().collect::<Vec<_>>().join(", ");
        Problem {
            line: Some(line),
            key: None,
            value: Some(self.excerpt(start..self.starts.get(line).copied().unwrap_or(self.text.len()))),
            message: format!("syntax error at column {column}: {message}; what follows is read once this is mended"),
            suggestion: None,
        }
    }
}

/// Why a value does not suit its key.
#[derive(Debug)]
struct Refusal {
    message: String,
    suggestion: Option<String>,
}

/// Gives `value` the type of `key`, or says what the key takes.
fn typed(key: &Key, value: &DeValue<'_>) -> Result<Value, Refusal> {
    let hint = if key.hint.is_empty() { String::new() } else { format!(" ({})", key.hint) };
    let out_of_range = || refusal(format!("must be {}{hint}", render::range(&key.kind)));
    let wrong_type = || {
        let unquoted = value.as_str().filter(|text| fits_unquoted(key, text)).map(str::to_owned);
        let message = format!("must be {}, not {}", render::range(&key.kind), type_name(value));
        Err(Refusal { message, suggestion: unquoted })
    };
    match (key.kind, value) {
        (Kind::Boolean, &DeValue::Boolean(b)) => Ok(Value::Boolean(b)),
        (Kind::Integer { min, max, .. }, DeValue::Integer(i)) => u64::from_str_radix(i.as_str(), i.radix())
            .ok()
            .filter(|i| (min..=max).contains(i))
            .map(Value::Integer)
            .ok_or_else(out_of_range),
        (Kind::Number { min, max, .. }, DeValue::Integer(_) | DeValue::Float(_)) => number(value)
            .filter(|n| (min..=max).contains(n)) // false for NaN and infinity
            .map(Value::Number)
            .ok_or_else(out_of_range),
        (Kind::Choice { offered, .. }, DeValue::String(word)) if offered.contains(&word.as_ref()) => {
            Ok(Value::Text(word.to_string()))
        }
        (Kind::Choice { offered, later }, DeValue::String(word)) if later.contains(&word.as_ref()) => {
            Err(refusal(format!("is known but not in this build, which offers {}", render::all_of(offered))))
        }
        (Kind::Choice { offered, .. }, DeValue::String(word)) => Err(Refusal {
            message: format!("must be {}", render::either(offered)),
            suggestion: nearest(&word.to_lowercase(), offered.iter().copied()).map(|near| format!("\"{near}\"")),
        }),
        (Kind::Line, DeValue::String(name)) => {
            let fits = (1..=LINE_NAME_MAX).contains(&name.len()) && name.trim() == name.as_ref();
            let fits = fits && !name.chars().any(char::is_control);
            if fits { Ok(Value::Text(name.to_string())) } else { Err(out_of_range()) }
        }
        (Kind::Path, DeValue::String(path)) => match path.as_ref() {
            "" => Err(out_of_range()),
            p if p.contains('\0') => Err(out_of_range()),
            p if p.starts_with('~') => Err(refusal("must be a path; ~ means nothing here, write the folder out")),
            p => Ok(Value::Text(p.to_owned())),
        },
        _ => wrong_type(),
    }
}

fn refusal(message: impl Into<String>) -> Refusal {
    Refusal { message: message.into(), suggestion: None }
}

/// A TOML integer or float as f64; not finite where TOML says so.
fn number(value: &DeValue<'_>) -> Option<f64> {
    match value {
        DeValue::Float(f) => f.as_str().parse().ok(),
        DeValue::Integer(i) => i128::from_str_radix(i.as_str(), i.radix()).ok().map(|i| i as f64),
        _ => None,
    }
}

/// The quoted text would be a good value without its quotes.
fn fits_unquoted(key: &Key, text: &str) -> bool {
    !matches!(key.kind, Kind::Choice { .. } | Kind::Line | Kind::Path)
        && text.len() < 32
        && DeValue::parse(text)
            .is_ok_and(|bare| bare.get_ref().as_str().is_none() && typed(key, bare.get_ref()).is_ok())
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with decimals",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}

/// The path of the key that `name` was probably meant to be: in `section` first, then the same name in another
/// section, then a similar one there.
fn nearest_anywhere(name: &str, section: &str) -> Option<&'static str> {
    let path = |near: &str, section: &str| keys::of_section(section).find(|k| k.name() == near).map(|k| k.path);
    nearest(name, keys::of_section(section).map(Key::name))
        .and_then(|near| path(near, section))
        .or_else(|| KEYS.iter().find(|key| key.name() == name).map(|key| key.path))
        .or_else(|| {
            let near = nearest(name, KEYS.iter().map(Key::name))?;
            KEYS.iter().find(|key| key.name() == near).map(|key| key.path)
        })
}

/// The candidate that `name` is a slip of the keyboard away from: up to a third of its letters.
fn nearest(name: &str, candidates: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    // Longer than any key by far; keeps a hostile file from buying quadratic time.
    if name.len() > 64 {
        return None;
    }
    let slips = (name.chars().count() / 3).max(1);
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|&(distance, _)| distance <= slips)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

fn list(names: impl Iterator<Item = &'static str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}
