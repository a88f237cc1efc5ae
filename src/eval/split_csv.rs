//! `split.csv`: which picture belongs where, one row each.
//!
//! Columns by name, in any order: `path`, `split` (train, test), `label` (0 good, 1 defective), `defect` (the kind), and
//! where wanted `mask` and `group`; others are ignored. Paths are relative to the folder, with `/`. The file is written
//! by people and spreadsheets, so every mistake in it is reported at once, with its line.

use std::collections::HashMap;
use std::fs;
use std::path::{Component, Path};

use csv::{ErrorKind as CsvError, ReaderBuilder, StringRecord, Trim};

use super::item::{GOOD_KIND, Item, Label, Split};
use crate::error::{Error, ErrorKind, Result};

/// Lists the pictures that `table` names below `root`. Opens none of them.
///
/// # Errors
/// `NotFound` when all that is wrong is that files are missing, else `Corrupt`; every line that is wrong is listed.
pub(super) fn list(root: &Path, table: &Path) -> Result<Vec<(Split, Item)>> {
    let text = fs::read(table).map_err(|e| Error::io("read", table, e))?;
    let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(text.as_slice());
    let columns = Columns::find(reader.headers().map_err(|e| malformed(table, &[describe(&e, 1)]))?, table)?;
    let mut listed = Vec::new();
    let (mut mistakes, mut missing) = (Vec::new(), Vec::new());
    let mut seen: HashMap<String, u64> = HashMap::new();
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(e) => {
                mistakes.push(describe(&e, 0));
                continue;
            }
        };
        let line = record.position().map_or(0, csv::Position::line);
        match columns.item(&record, root) {
            Err(what) => mistakes.push(format!("line {line}: {what}")),
            Ok((split, item)) => {
                if let Some(first) = seen.insert(item.rel.clone(), line) {
                    mistakes.push(format!("line {line}: {} is on line {first} already", item.rel));
                }
                for path in std::iter::once(&item.path).chain(&item.mask) {
                    if !path.is_file() {
                        missing.push(format!("line {line}: {} is missing", path.display()));
                    }
                }
                listed.push((split, item));
            }
        }
    }
    if !mistakes.is_empty() {
        mistakes.append(&mut missing);
        return Err(malformed(table, &mistakes));
    }
    if !missing.is_empty() {
        return Err(Error::new(
            ErrorKind::NotFound,
            format!(
                "{} names files that are not there: copy them or take their rows out\n  {}",
                table.display(),
                missing.join("\n  ")
            ),
        ));
    }
    Ok(listed)
}

/// Where each column stands in a row.
struct Columns {
    path: usize,
    split: usize,
    label: usize,
    defect: usize,
    mask: Option<usize>,
    group: Option<usize>,
}

impl Columns {
    fn find(header: &StringRecord, table: &Path) -> Result<Self> {
        let at = |name: &str| header.iter().position(|h| h.eq_ignore_ascii_case(name));
        match (at("path"), at("split"), at("label"), at("defect")) {
            (Some(path), Some(split), Some(label), Some(defect)) => {
                Ok(Self { path, split, label, defect, mask: at("mask"), group: at("group") })
            }
            found => {
                let absent: Vec<&str> =
                    [("path", found.0), ("split", found.1), ("label", found.2), ("defect", found.3)]
                        .into_iter()
                        .filter_map(|(name, column)| column.is_none().then_some(name))
                        .collect();
                let header: Vec<&str> = header.iter().collect();
                let what = format!("line 1: no column {} in `{}`", absent.join(", "), header.join(","));
                Err(malformed(table, &[what]))
            }
        }
    }

    /// Reads one row; what is wrong with it, as words.
    fn item(&self, record: &StringRecord, root: &Path) -> Result<(Split, Item), String> {
        let field = |column: usize| record.get(column).unwrap_or_default();
        let optional = |column: Option<usize>| column.map(field).filter(|f| !f.is_empty());
        let split = match field(self.split) {
            "train" => Split::Train,
            "test" => Split::Test,
            other => return Err(format!("split is `{other}`, it can be train or test")),
        };
        let label = match field(self.label) {
            "0" => Label::Good,
            "1" => Label::Bad,
            other => return Err(format!("label is `{other}`, it can be 0 (good) or 1 (defective)")),
        };
        let defect = field(self.defect);
        let kind = match (label, defect) {
            (Label::Good, "" | GOOD_KIND) => GOOD_KIND,
            (Label::Bad, "" | GOOD_KIND) => return Err(format!("label is 1 and defect is `{defect}`: name the kind")),
            (Label::Good, other) => return Err(format!("label is 0 (good) and defect is `{other}`")),
            (Label::Bad, kind) => kind,
        };
        let rel = inside(field(self.path))?;
        let mask = optional(self.mask).map(inside).transpose()?;
        let item = Item {
            path: root.join(&rel),
            rel,
            kind: kind.to_owned(),
            label,
            mask: mask.map(|m| root.join(m)),
            group: optional(self.group).unwrap_or_default().to_owned(),
        };
        Ok((split, item))
    }
}

/// A relative path with `/` that stays inside its folder, `.` and doubled slashes removed.
fn inside(path: &str) -> Result<String, String> {
    let mut parts = Vec::new();
    for component in Path::new(path).components() {
        match component {
            Component::CurDir => {}
            Component::Normal(part) => parts.push(part.to_str().expect("part of a str")),
            _ => return Err(format!("path `{path}` leads out of the folder")),
        }
    }
    if parts.is_empty() { Err("path is empty".to_owned()) } else { Ok(parts.join("/")) }
}

/// A mistake that the CSV reader found; `line` where it does not know one.
fn describe(error: &csv::Error, line: u64) -> String {
    let line = error.position().map_or(line, csv::Position::line);
    match error.kind() {
        CsvError::UnequalLengths { expected_len, len, .. } => {
            format!("line {line}: {len} fields, the header has {expected_len}")
        }
        CsvError::Utf8 { .. } => format!("line {line}: not UTF-8"),
        _ => format!("line {line}: {error}"),
    }
}

fn malformed(table: &Path, mistakes: &[String]) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!("{} cannot be used, correct these lines:\n  {}", table.display(), mistakes.join("\n  ")),
    )
}
