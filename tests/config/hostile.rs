//! Files that are no configuration at all.

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use proptest::test_runner::{Config as Runs, RngSeed};
use zoomgate::config::{self, render};
use zoomgate::error::Error;

use super::{examine, problems};

#[test]
fn files_that_cannot_be_read_are_one_problem() {
    let folder = tempfile::tempdir().unwrap();
    let (_utf8, not_utf8) = written("config.toml", b"[camera]\nsource = \"\xff\"\n");
    let (_big, too_big) = written("config.toml", &vec![b'#'; (config::FILE_BYTES_MAX + 1) as usize]);
    let (_utf16, utf16) = written("config.toml", b"\xff\xfe[\0c\0a\0m\0");
    for (path, says) in [
        (folder.path().join("none.toml"), "cannot be read"),
        (folder.path().to_owned(), "cannot be read"),
        (not_utf8, "byte 0xff at offset 19"),
        (utf16, "byte 0xff at offset 0"),
        (too_big, "larger than 1 MiB"),
    ] {
        let problems = config::load(&path).unwrap_err();
        assert_eq!(problems.problems.len(), 1);
        let error = Error::from(problems);
        assert!(error.message().contains(says), "{error}");
        assert!(error.message().contains(&path.display().to_string()), "{error}");
        assert_eq!(error.exit_code(), 2);
    }
}

fn written(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

#[test]
fn a_megabyte_of_anything_is_answered() {
    let size = config::FILE_BYTES_MAX as usize;
    let keys: String = (0..)
        .map(|n| format!("enabld{n} = {n}\n"))
        .scan(0, |total, line| {
            *total += line.len();
            (*total < size - 10).then_some(line)
        })
        .collect();
    for text in [
        "[".repeat(size),
        "a.".repeat(size / 2),
        "\"".repeat(size),
        "\u{feff}".repeat(size / 3),
        "[reject]\nx = ".to_owned() + &"[".repeat(size - 20),
        "[reject]\npulse_width_ms = ".to_owned() + &"9".repeat(size - 40),
        "[reject]\nline = \"".to_owned() + &"é".repeat(size / 2 - 20) + "\"",
        "[reject]\n".to_owned() + &"x".repeat(size - 20) + " = 1",
        "[reject]\n".to_owned() + &keys,
        keys,
    ] {
        let (_folder, path) = written("config.toml", text.as_bytes());
        let problems = config::load(&path).unwrap_err();
        assert!(!problems.problems.is_empty());
        let longest = problems.to_string().lines().map(|line| line.chars().count()).max().unwrap();
        assert!(longest < 250, "a line of {longest} characters: {:.300}", problems.to_string());
    }
}

proptest! {
    #![proptest_config(Runs { cases: 300, rng_seed: RngSeed::Fixed(7), failure_persistence: None, ..Runs::default() })]

    /// Garbage is answered, and what passes for a configuration has its two plant decisions written.
    #[test]
    fn garbage_never_panics(text in "\\PC{0,400}|[\\[\\]a-z_.=\"'0-9\\n #{},-]{0,400}") {
        prop_assert!(!problems(&text).is_empty());
    }

    /// Any cut out of the shipped file, with anything in its place, is a configuration or a list of problems.
    #[test]
    fn damaged_files_never_panic(at in 0usize..10_000, length in 0usize..200, put in "\\PC{0,20}|[\\[\\]a-z=\"\\n]{0,20}") {
        let mut text: Vec<char> = render::shipped().chars().collect();
        let start = at % text.len();
        let end = (start + length).min(text.len());
        text.splice(start..end, put.chars());
        let text: String = text.into_iter().collect();
        let findings = examine(&text);
        if let Err(problems) = findings.config {
            prop_assert!(!problems.problems.is_empty());
            for problem in &problems.problems {
                prop_assert!(problem.line.is_none_or(|line| (1..=text.lines().count() + 1).contains(&line)));
            }
        }
    }
}
