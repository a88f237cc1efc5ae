//! `zoomgate demo` through the program itself, with a small lesson: what it says, what it leaves, that it repeats.

mod lesson;
mod program;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use lesson::{json_lines, zoomgate};
use serde_json::Value;

const PARTS: u64 = 30;

fn demo(out: &Path) -> Value {
    let (parts, out) = (PARTS.to_string(), out.to_str().unwrap());
    // A small input and few good parts: what is found does not matter here, that it is told truly does.
    let small = ["--lesson", "10", "--size", "64", "--steps", "10"];
    let arguments = ["demo", "--fast", "--json", "--seed", "3", "--parts", &parts, "--out", out];
    let output = zoomgate(arguments.into_iter().chain(small));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut lines = json_lines(&output.stdout);
    assert_eq!(lines.len(), 1, "one object and nothing else");
    lines.remove(0)
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is not a count"))
}

#[test]
fn it_tells_what_happened_leaves_it_in_a_folder_and_repeats() {
    let dir = tempfile::tempdir().unwrap();
    let (first_out, second_out) = (dir.path().join("first"), dir.path().join("second"));
    let said = demo(&first_out);
    adds_up(&said);
    agrees_with_the_record(&said, &first_out);

    let mut again = demo(&second_out);
    let mut first = said;
    for said in [&mut first, &mut again] {
        let fields = said.as_object_mut().unwrap();
        // The clock is simulated and the work is not.
        for key in ["latency_ms", "teach_s", "folder"] {
            fields.remove(key).unwrap();
        }
    }
    assert_eq!(first, again);
    for file in ["events.jsonl", "edges.jsonl", "config.toml"] {
        let read = |folder: &Path| fs::read_to_string(folder.join(file)).unwrap();
        assert_eq!(read(&first_out), read(&second_out), "{file}");
    }
}

fn adds_up(said: &Value) {
    let fields = "schema seed parts defective passes rejects uninspected escapes overkills defective_2pct escapes_2pct \
                  by_kind baseline latency_ms pulses folder teach_s";
    let keys: BTreeSet<_> = said.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, fields.split_whitespace().collect());
    let count = |key: &str| number(&said[key]);
    assert_eq!((count("schema"), count("seed"), count("parts")), (1, 3, PARTS));
    assert_eq!(count("passes") + count("rejects") + count("uninspected"), PARTS);
    assert_eq!(count("uninspected"), 0);
    let caught = count("defective") - count("escapes");
    assert_eq!(count("rejects"), caught + count("overkills"));
    assert!(count("defective") > 0 && count("defective") < PARTS, "a belt of both");
    assert!(count("escapes_2pct") <= count("escapes") && count("defective_2pct") <= count("defective"));
    let by_kind: u64 = said["by_kind"].as_object().unwrap().values().map(|row| number(&row["parts"])).sum();
    assert_eq!(by_kind, count("defective"));
    assert!(number(&said["baseline"]["escapes"]) <= count("defective"));
    let pulse = |key: &str| number(&said["pulses"][key]);
    assert_eq!(pulse("planned"), count("rejects"));
    assert_eq!(pulse("fired") + pulse("merged"), pulse("planned"), "every pulse on time");
    assert!(said["latency_ms"]["p99"].as_f64().unwrap() >= said["latency_ms"]["p50"].as_f64().unwrap());
}

fn agrees_with_the_record(said: &Value, folder: &Path) {
    let events = json_lines(&fs::read(folder.join("events.jsonl")).unwrap());
    let verdicts: Vec<_> = events.iter().filter(|e| e["event"] == "verdict").collect();
    assert_eq!(verdicts.len() as u64, PARTS);
    let with = |verdict: &str| verdicts.iter().filter(|e| e["verdict"] == verdict).count() as u64;
    assert_eq!((with("pass"), with("reject")), (number(&said["passes"]), number(&said["rejects"])));

    let edges = json_lines(&fs::read(folder.join("edges.jsonl")).unwrap());
    let rises = edges.iter().filter(|e| e["line"] == "reject" && e["level"] == 1).count() as u64;
    assert_eq!(rises, number(&said["pulses"]["fired"]));

    let overlays: Vec<_> = fs::read_dir(folder.join("overlays")).unwrap().map(|e| e.unwrap().file_name()).collect();
    let of = |word: &str| overlays.iter().filter(|n| n.to_str().unwrap().contains(word)).count() as u64;
    // Wrong verdicts come first and share 12 places.
    let wrong = number(&said["escapes"]) + number(&said["overkills"]);
    assert_eq!(of("escape") + of("overkill"), wrong.min(12));
    assert_eq!(overlays.len() as u64, (wrong.min(12) + number(&said["rejects"]) - number(&said["overkills"])).min(24));
    assert!(folder.join("recipe.onnx").metadata().unwrap().len() > 100_000);
    assert_eq!(said["folder"], folder.to_str().unwrap());
}

#[test]
fn somebody_elses_folder_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("recipe.onnx"), "precious").unwrap();
    let output = zoomgate(["demo", "--fast", "--out", dir.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("--out"));
    assert_eq!(fs::read_to_string(dir.path().join("recipe.onnx")).unwrap(), "precious");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is added");
}
