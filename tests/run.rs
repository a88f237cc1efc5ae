//! `zoomgate run` through the program itself: configuration and recipe in, one verdict for each picture out.

mod lesson;
mod program;

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use lesson::{SIZE, json_lines, write_parts, write_recipe, zoomgate};
use serde_json::Value;
use zoomgate::inspect::empty::Empty;
use zoomgate::inspect::recipe::{METADATA_KEY, Recipe};
use zoomgate::nn::onnx;
use zoomgate::train::ablation::Ablation;

/// A configuration with `camera` in its `[camera]` section besides the size.
fn config(folder: &Path, camera: &str, trigger: &str) -> String {
    let path = folder.join("config.toml");
    let (width, height) = SIZE;
    let text = format!(
        r#"
[camera]
{camera}
width_px = {width}
height_px = {height}
[trigger]
source = "{trigger}"
[reject]
enabled = true
travel_mm = 400.0
belt_speed_mm_s = 400.0
pulse_width_ms = 20.0
[gpio]
backend = "recorded"
[safety]
on_uninspected = "reject"
on_missed_reject = "alarm"
[record]
events = "events.jsonl"
"#
    );
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn events(folder: &Path, kind: &str) -> Vec<Value> {
    let mut events = json_lines(&fs::read(folder.join("events.jsonl")).unwrap());
    events.retain(|e| e["event"] == kind);
    events
}

#[test]
fn a_folder_of_pictures_gets_one_verdict_each() {
    let dir = tempfile::tempdir().unwrap();
    write_recipe(dir.path());
    let count = write_parts(&dir.path().join("pictures"), 6).len();
    let config = config(dir.path(), "source = \"folder\"\nfolder = \"pictures\"\nrate_hz = 10.0", "every_frame");
    let output = zoomgate(["run", "--json", "--config", &config]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let verdicts = events(dir.path(), "verdict");
    let mut parts: Vec<_> = verdicts.iter().map(|e| e["part"].as_u64().unwrap()).collect();
    parts.sort_unstable();
    assert_eq!(parts, (1..=count as u64).collect::<Vec<_>>());
    let summary = json_lines(&output.stdout).remove(0);
    assert_eq!(summary["parts"], count);
    let rejects = verdicts.iter().filter(|e| e["verdict"] == "reject").count();
    assert_eq!(summary["rejects"], rejects);
    // Whatever happened, the outputs end at their safe level.
    let edges = json_lines(&fs::read(dir.path().join("edges.jsonl")).unwrap());
    assert_eq!(edges.last().map(|e| &e["level"]), Some(&0.into()));
}

#[test]
fn without_a_recipe_it_says_how_to_make_one() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), "source = \"simulated\"", "simulated");
    let output = zoomgate(["run", "--config", &config]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    for word in ["recipe.onnx", "zoomgate teach", "zoomgate demo"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(!dir.path().join("edges.jsonl").exists(), "no line is requested for a run that cannot inspect");
}

/// The test recipe, as if `--empty` had been given.
fn write_recipe_that_knows_the_empty_belt(folder: &Path) {
    let mut model = onnx::decode(lesson::recipe(), "the recipe").unwrap();
    let notes = model.metadata_props.iter_mut().find(|p| p.key == METADATA_KEY).unwrap();
    let mut recipe = Recipe::parse(&notes.value, "the recipe").unwrap();
    let sight = recipe.sight.as_mut().unwrap();
    let ranges = sight.good;
    let belt = vec![9; 3];
    sight.empty = Some(Empty { columns: 1, rows: 1, belt, tolerance: 4.0, light: [0.9, 1.1], ranges });
    notes.value = serde_json::to_string(&recipe).unwrap();
    fs::write(folder.join("recipe.onnx"), onnx::encode(&model)).unwrap();
}

#[test]
fn a_recipe_that_knows_the_empty_belt_needs_a_policy_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), "source = \"simulated\"\nparts = 3\nrate_hz = 10.0", "simulated");
    let with_policy = |policy: &str| {
        let text =
            fs::read_to_string(&config).unwrap().replace("[safety]", &format!("[safety]\non_no_part = {policy}"));
        let path = dir.path().join("with.toml");
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let written = with_policy("\"pass\"");
    // Without a recipe, and with one that does not know the empty belt, it may be written or not.
    for recipe in [false, true] {
        if recipe {
            write_recipe(dir.path());
        }
        for file in [&config, &written] {
            let output = zoomgate(["check", file]);
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
    }
    write_recipe_that_knows_the_empty_belt(dir.path());
    let of_check = zoomgate(["check", &config]);
    let of_run = zoomgate(["run", "--config", &config]);
    for (output, code) in [(of_check, 2), (of_run, 2), (zoomgate(["doctor", "--config", &config]), 1)] {
        assert_eq!(output.status.code(), Some(code));
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        // Folded where it is told to people.
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        for words in ["safety.on_no_part", "taught with `--empty`", "Only the plant can choose"] {
            assert!(said.contains(words), "{words}: {said}");
        }
    }
    assert!(!dir.path().join("edges.jsonl").exists(), "no line is requested for a run that is refused");
    assert!(zoomgate(["check", &written]).status.success());
    let output = zoomgate(["run", "--config", &written]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report = zoomgate(["check", &with_policy("\"stop_line\"")]);
    assert_eq!(report.status.code(), Some(2), "a policy that stops the line needs its output");
}

#[test]
fn mistakes_in_the_configuration_come_first() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), "source = \"simulated\"\nsped = 3\nrate_hz = -1", "simulated");
    let output = zoomgate(["run", "--config", &config]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("2 problems") && said.contains("sped") && said.contains("rate_hz"), "{said}");
}

/// A belt of an hour ends when it is asked to, every part that was born has its verdict, and the lines are low.
#[test]
fn sigterm_ends_the_run_cleanly() {
    let dir = tempfile::tempdir().unwrap();
    write_recipe(dir.path());
    let config = config(dir.path(), "source = \"simulated\"\nparts = 36000\nrate_hz = 10.0", "simulated");
    let mut command = program::program();
    let mut child = command.args(["run", "--config", &config]).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    // A real process on the real clock: there is nothing to wait on but its files.
    while fs::read(dir.path().join("events.jsonl")).map_or(0, |t| t.iter().filter(|&&b| b == b'\n').count()) < 2 {
        assert!(begun.elapsed() < Duration::from_secs(60), "no verdict within a minute");
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::yield_now();
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
    let stop = events(dir.path(), "stop").remove(0);
    assert_eq!(stop["parts"], events(dir.path(), "verdict").len());
    assert_eq!(stop["error"], Value::Null);
    let edges = json_lines(&fs::read(dir.path().join("edges.jsonl")).unwrap());
    let last = |line: &str| edges.iter().rfind(|e| e["line"] == line).map(|e| e["level"].clone());
    assert_eq!(last("reject"), Some(0.into()));
}

/// A recipe in floats takes ten times as long: it runs where the configuration says so and nowhere else.
#[test]
fn a_slow_recipe_is_refused_unless_the_configuration_allows_it() {
    let dir = tempfile::tempdir().unwrap();
    let floats = Ablation::default().without("int8").unwrap();
    fs::write(dir.path().join("recipe.onnx"), lesson::taught(floats)).unwrap();
    let count = write_parts(&dir.path().join("pictures"), 3).len();
    let config = config(dir.path(), "source = \"folder\"\nfolder = \"pictures\"\nrate_hz = 10.0", "every_frame");
    let doctor = || {
        let output = zoomgate(["doctor", "--json", "--config", &config]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        report["checks"].as_array().unwrap().iter().find(|c| c["name"] == "recipe").cloned().unwrap()
    };
    let output = zoomgate(["run", "--config", &config]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    for word in ["recipe.onnx is slow", "multiplications in floats", "OptMatMul", "[model] slow = true"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(!dir.path().join("edges.jsonl").exists(), "no line is requested for a recipe that is refused");
    let finding = doctor();
    assert_eq!(finding["outcome"], "fail", "{finding}");
    assert!(finding["remedy"].as_str().unwrap().contains("[model] slow = true"), "{finding}");

    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{text}[model]\nslow = true\n")).unwrap();
    let output = zoomgate(["run", "--json", "--config", &config]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(json_lines(&output.stdout)[0]["parts"], count);
    let finding = doctor();
    assert_eq!(finding["outcome"], "warn", "{finding}");
    assert!(finding["message"].as_str().unwrap().contains("multiplications in floats"), "{finding}");
}
