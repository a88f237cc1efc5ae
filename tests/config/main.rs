//! The configuration as a technician meets it: the shipped file, one slip per key of the table, golden messages,
//! and files that are no configuration at all.

mod hostile;
mod keys;
mod messages;
mod settings;
mod shipped;

use std::fs;
use std::path::{Path, PathBuf};

use zoomgate::config::keys::{KEYS, Key, SECTIONS, of_section};
use zoomgate::config::{self, Findings, Problem};

fn examine(text: &str) -> Findings {
    config::examine(text, Path::new("config.toml"))
}

fn problems(text: &str) -> Vec<Problem> {
    examine(text).config.err().map_or(vec![], |problems| problems.problems)
}

/// Every key of the table, written out, with `line` in place of `key = value` for one of them.
fn file_with(replaced: &Key, line: &str) -> String {
    let mut text = String::new();
    for section in SECTIONS {
        text.push_str(&format!("[{}]\n", section.name));
        for key in of_section(section.name) {
            match key == replaced {
                true => text.push_str(&format!("{line}\n")),
                false => text.push_str(&format!("{} = {}\n", key.name(), key.shown())),
            }
        }
    }
    text
}

fn full_file() -> String {
    file_with(&KEYS[0], &format!("{} = {}", KEYS[0].name(), KEYS[0].shown()))
}

/// Compares with a committed file; `UPDATE_GOLDEN=1` writes it instead.
fn assert_golden(path: &Path, text: &str) {
    let golden = fs::read_to_string(path).unwrap_or_default();
    if golden != text && std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(path, text).unwrap();
    }
    let golden = fs::read_to_string(path).unwrap_or_default();
    assert_eq!(golden, text, "{} differs; UPDATE_GOLDEN=1 rewrites it", path.display());
}

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
