//! What a person or a script is told.

use std::fs;
use std::path::{Path, PathBuf};

use zoomgate::cli::check;
use zoomgate::config::render;
use zoomgate::error::{Error, ErrorKind};

use super::{assert_golden, examine, problems, root};

/// The messages list what a build offers; the golden ones are the default build's.
#[test]
fn messages_are_the_golden_ones() {
    if cfg!(feature = "v4l2") {
        eprintln!("SKIPPED: the golden messages are those of a build without cameras");
        return;
    }
    let mut cases: Vec<PathBuf> = fs::read_dir(root("tests/golden/config"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .collect();
    cases.sort();
    assert!(cases.len() >= 10, "{cases:?}");
    for case in cases {
        let findings = examine(&fs::read_to_string(&case).unwrap());
        let mut text = match &findings.config {
            Ok(_) => String::new(),
            Err(problems) => format!("{problems}\n"),
        };
        if !findings.warnings.is_empty() {
            text.push_str(&format!("{}\n", render::warnings(&findings)));
        }
        assert_golden(&case.with_extension("txt"), &text);
    }
}

#[test]
fn problems_come_all_at_once_and_by_line() {
    let text = fs::read_to_string(root("tests/golden/config/all_at_once.toml")).unwrap();
    let found = problems(&text);
    let lines: Vec<usize> = found.iter().map(|problem| problem.line.unwrap_or(usize::MAX)).collect();
    assert!(lines.is_sorted(), "{lines:?}");
    assert!(lines.len() >= 20, "{lines:?}");
    for problem in &found {
        assert!(problem.key.is_some());
        assert!(!problem.message.ends_with('.') && !problem.message.is_empty(), "{}", problem.message);
    }
}

fn run_check(file: &Path, json: bool) -> (String, Result<(), Error>) {
    let mut out = Vec::new();
    let result = check::report(&check::Args { file: file.to_owned(), json }, &mut out);
    (String::from_utf8(out).unwrap(), result)
}

#[test]
fn check_answers_in_json() {
    let object = |file: &Path| -> (serde_json::Value, Result<(), Error>) {
        let (out, result) = run_check(file, true);
        (serde_json::from_str(&out).unwrap(), result)
    };
    let (good, result) = object(&root("config.toml"));
    assert!(result.is_ok());
    assert_eq!((&good["schema"], &good["ok"], &good["problems"]), (&1.into(), &true.into(), &serde_json::json!([])));

    let bad = root("tests/golden/config/two_problems.toml");
    let (report, result) = object(&bad);
    assert_eq!(result.unwrap_err().exit_code(), 2);
    assert_eq!(report["file"], bad.display().to_string());
    assert_eq!(report["ok"], false);
    assert_eq!(
        report["problems"],
        serde_json::json!([
            {"line": 14, "key": "reject.pulse_width_ms", "suggestion": null,
             "message": "must be 5 to 500 ms (your valve's datasheet gives the minimum on-time)"},
            {"line": 24, "key": "outputs.raedy", "suggestion": "outputs.ready", "message": "unknown key"},
        ])
    );
}

#[test]
fn check_answers_in_words() {
    let (out, result) = run_check(&root("config.toml"), false);
    assert!(out.ends_with("config.toml: no problems\n") && result.is_ok(), "{out}");
    let (out, result) = run_check(&root("tests/golden/config/warnings.toml"), false);
    assert!(out.contains("4 warnings") && result.is_ok(), "{out}");
    let (out, result) = run_check(&root("tests/golden/config/two_problems.toml"), false);
    let error = result.unwrap_err();
    assert_eq!((out.as_str(), error.kind()), ("", ErrorKind::Config));
    assert!(error.message().contains("has 2 problems; nothing was changed."), "{error}");
}
