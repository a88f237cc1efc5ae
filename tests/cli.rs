//! The program as people and scripts meet it: help, exit codes, messages, JSON.

#![cfg(feature = "teach")]

mod pictures;
mod program;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::LazyLock;

use pictures::{EACH, GOOD, assert_says, complaint, dataset, program, zoomgate};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::Value;
use tempfile::TempDir;
use zoomgate::sim::DefectKind;

const COMMANDS: [&str; 14] = [
    "demo",
    "run",
    "failsafe",
    "status",
    "doctor",
    "check",
    "devices",
    "calibrate",
    "capture",
    "teach",
    "trial",
    "eval",
    "inspect",
    "bench",
];

/// A dataset and a recipe taught from it, made once.
struct Taught {
    data: TempDir,
}

static TAUGHT: LazyLock<Taught> = LazyLock::new(|| {
    let taught = Taught { data: dataset() };
    let output = zoomgate(&[
        "teach",
        "--json",
        "--size",
        "64",
        "--prototypes",
        "16",
        "--good",
        &taught.path("train/good"),
        "--out",
        &taught.path("recipe.onnx"),
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    taught
});

impl Taught {
    fn at(&self, rel: &str) -> PathBuf {
        self.data.path().join(rel)
    }

    fn path(&self, rel: &str) -> String {
        self.at(rel).to_str().unwrap().to_owned()
    }
}

fn root(rel: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(rel).to_str().unwrap().to_owned()
}

/// What a successful command printed, one JSON value a line.
fn lines<S: AsRef<std::ffi::OsStr>>(args: &[S]) -> Vec<Value> {
    let output = zoomgate(args);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    json_lines(&output.stdout)
}

fn json_lines(stdout: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(stdout).unwrap();
    text.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e} in {l:?}"))).collect()
}

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn every_command_explains_itself() {
    let help = zoomgate(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    let overview = String::from_utf8(help.stdout).unwrap();
    let listed: Vec<&str> = overview
        .lines()
        .skip_while(|l| *l != "Commands:")
        .skip(1)
        .take_while(|l| !l.is_empty())
        .map(|l| l.split_whitespace().next().unwrap())
        .collect();
    let expected: Vec<&str> = COMMANDS.into_iter().chain(["help"]).collect();
    assert_eq!(listed, expected, "the commands and the test differ");
    for command in COMMANDS {
        let output = zoomgate(&[command, "--help"]);
        assert_eq!(output.status.code(), Some(0), "{command} --help");
        let text = String::from_utf8(output.stdout).unwrap();
        assert_says(&text, &[&format!("Usage: zoomgate {command}"), "--json"]);
        // An option without a sentence stands alone on its line in clap's short help.
        let short = String::from_utf8(zoomgate(&[command, "-h"]).stdout).unwrap();
        for line in short.lines().filter(|l| l.trim_start().starts_with("--")) {
            assert!(line.trim().contains("  "), "{command}: {} is not explained", line.trim());
        }
    }
    let version = String::from_utf8(zoomgate(&["--version"]).stdout).unwrap();
    assert_eq!(version.trim(), concat!("zoomgate ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_wrong_command_line_ends_with_2_and_touches_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let cases: [(&[&str], &[&str]); 12] = [
        (&[], &["Usage"]),
        (&["tech"], &["tech"]),
        (&["teach", "--good", "x"], &["--out"]),
        (&["teach", "--out", "r.onnx"], &["--data"]),
        (&["teach", "--bad", "x", "--data", "y", "--out", "r.onnx"], &["--bad", "--data"]),
        (&["teach", "--good", "x", "--out", "r.onnx", "--size", "9"], &["64..=1024"]),
        (&["teach", "--good", "x", "--out", "r.onnx", "--backbone", "b.onnx"], &["--features"]),
        (&["trial", "--data", "x", "--seeds", "0"], &["1..=1000"]),
        (&["eval", "--data", "x"], &["--recipe"]),
        (&["inspect", "--recipe", "r.onnx"], &["IMAGE"]),
        (&["run", "--verbose"], &["--verbose"]),
        (&["demo", "--parts", "0"], &["--parts"]),
    ];
    for (args, words) in cases {
        let output = program().args(args).current_dir(&dir).output().unwrap();
        assert_says(&complaint(&output, 2), words);
        assert!(output.stdout.is_empty(), "{args:?} printed on stdout");
    }
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0, "something was written");
}

#[test]
fn check_passes_the_shipped_configuration_and_ends_with_2_on_mistakes() {
    let output = zoomgate(&["check", &root("config.toml")]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_says(&String::from_utf8(output.stdout).unwrap(), &["config.toml", "no problems"]);
    let report = lines(&["check", "--json", &root("config.toml")]);
    assert_eq!((report.len(), &report[0]["ok"]), (1, &Value::Bool(true)));

    let dir = tempfile::tempdir().unwrap();
    let broken = dir.path().join("line.toml");
    let text = fs::read_to_string(root("config.toml")).unwrap();
    let text = text.replace("travel_mm = 300.0", "travel_mm = -1").replace("on_uninspected", "on_uninspectd");
    fs::write(&broken, text).unwrap();
    let (path, words) = (broken.to_str().unwrap(), ["travel_mm", "on_uninspectd", "Did you mean", "line "]);
    assert_says(&complaint(&zoomgate(&["check", path]), 2), &words);
    // `run` says the same and starts nothing.
    assert_says(&complaint(&zoomgate(&["run", "--config", path]), 2), &words);
    let output = zoomgate(&["check", "--json", path]);
    assert_eq!(output.status.code(), Some(2));
    let report = &json_lines(&output.stdout)[0];
    assert_eq!(report["ok"], false);
    assert!(report["problems"].as_array().unwrap().len() >= 2, "{report}");
    assert_eq!(keys(&report["problems"][0]), ["key", "line", "message", "suggestion"]);
    complaint(&zoomgate(&["check", dir.path().join("none.toml").to_str().unwrap()]), 2);
}

#[test]
fn inspect_prints_a_line_for_each_picture() {
    let taught = &*TAUGHT;
    let (overlays, dump) = (taught.path("overlays"), taught.path("dump"));
    let found = lines(&[
        "inspect",
        "--recipe",
        &taught.path("recipe.onnx"),
        "--overlay",
        &overlays,
        "--dump-inputs",
        &dump,
        &taught.path("test/good/000.png"),
        &taught.path("test/scratch"),
    ]);
    assert_eq!(found.len(), 1 + EACH as usize);
    for line in &found {
        for key in ["crops", "file", "ms", "overlay", "score", "score_full", "score_zoom", "threshold", "verdict"] {
            assert!(line.get(key).is_some(), "{key} is absent in {line}");
        }
        let (score, threshold) = (line["score"].as_f64().unwrap(), line["threshold"].as_f64().unwrap());
        assert_eq!(line["verdict"], if score >= threshold { "reject" } else { "pass" });
        assert!(line["evidence"]["normality"].is_f64() && line["evidence"]["known"].is_null(), "{line}");
        assert_eq!(keys(&line["crops"][0]), ["height", "width", "x", "y"]);
        let picture = zoomgate::frame::picture::load(Path::new(line["overlay"].as_str().unwrap())).unwrap();
        assert!(picture.width > 100 && picture.height > 80, "an overlay is larger than its frame");
    }
    let dumped = json_lines(&fs::read(taught.at("dump/dump.jsonl")).unwrap());
    assert_eq!(dumped.len(), found.len());
    for (dumped, found) in dumped.iter().zip(&found) {
        assert_eq!((&dumped["file"], &dumped["score"]), (&found["file"], &found["score"]));
        let name = dumped["inputs"]["full"].as_str().unwrap();
        assert!(fs::read(taught.at("dump").join(name)).unwrap().starts_with(b"\x93NUMPY"));
    }
    // Another threshold changes verdicts, not scores.
    let strict = lines(&[
        "inspect",
        "--threshold",
        "-1000",
        "--recipe",
        &taught.path("recipe.onnx"),
        &taught.path("test/good/000.png"),
    ]);
    assert_eq!((&strict[0]["verdict"], &strict[0]["score"]), (&"reject".into(), &found[0]["score"]));
}

#[test]
fn inspect_goes_on_after_a_bad_file_and_ends_with_1() {
    let taught = &*TAUGHT;
    let text = taught.path("not-a-picture.png");
    fs::write(&text, "words").unwrap();
    let (missing, good) = (taught.path("missing.png"), taught.path("test/good/001.png"));
    let output = zoomgate(&["inspect", "--recipe", &taught.path("recipe.onnx"), &text, &missing, &good]);
    complaint(&output, 1);
    let lines = json_lines(&output.stdout);
    assert_eq!(lines.len(), 3);
    for (line, (file, code)) in lines.iter().zip([(&text, "corrupt"), (&missing, "not_found")]) {
        assert_eq!((&line["file"], &line["error"]["code"]), (&file.as_str().into(), &code.into()));
        assert_says(line["error"]["message"].as_str().unwrap(), &[file]);
    }
    assert_eq!((&lines[2]["file"], lines[2].get("error")), (&good.as_str().into(), None));

    let recipe = taught.path("no-recipe.onnx");
    assert_says(&complaint(&zoomgate(&["inspect", "--recipe", &recipe, &good]), 1), &[&recipe, "check the path"]);
    let plain = root("models/backbone-s.onnx");
    assert_says(&complaint(&zoomgate(&["inspect", "--recipe", &plain, &good]), 1), &[&plain, "zoomgate teach"]);
}

#[test]
fn eval_measures_what_there_is_and_names_what_is_not() {
    let taught = &*TAUGHT;
    let (recipe, data) = (taught.path("recipe.onnx"), taught.data.path().to_str().unwrap().to_owned());
    let report = &lines(&["eval", "--json", "--recipe", &recipe, "--data", &data])[0];
    let kinds = DefectKind::ALL.len() as u64;
    assert_eq!((&report["good_test"], &report["bad_test"]), (&EACH.into(), &(kinds * EACH).into()));
    assert_eq!(report["good_train"], GOOD);
    for rate in
        ["auroc_image", "auroc_normality", "auroc_pixel", "ap_image", "escape", "escape_1pct", "crop_holds", "overkill"]
    {
        let value = report[rate].as_f64().unwrap_or_else(|| panic!("{rate} is {}", report[rate]));
        assert!((0.0..=1.0).contains(&value), "{rate} = {value}");
    }
    assert_eq!(keys(&report["by_kind"]).len() as u64, kinds);
    let everything = &lines(&["eval", "--json", "--threshold", "-1e6", "--recipe", &recipe, "--data", &data])[0];
    assert_eq!((&everything["escape"], &everything["overkill"]), (&0.0.into(), &1.0.into()));

    let without_test = taught.path("train");
    let missing = taught.path("nowhere");
    for (recipe, data, words) in [
        (&recipe, &missing, ["nowhere", "check the path"]),
        (&recipe, &without_test, ["train", "test/<kind"]),
        (&missing, &data, ["nowhere", "check the path"]),
    ] {
        let stderr = complaint(&zoomgate(&["eval", "--recipe", recipe, "--data", data]), 1);
        assert_says(&stderr, &words);
    }
    // A test picture that cannot be read is an error with its name, not a smaller test.
    let damaged = dataset();
    fs::write(damaged.path().join("test/dent/001.png"), "words").unwrap();
    let path = damaged.path().to_str().unwrap();
    assert_says(&complaint(&zoomgate(&["eval", "--recipe", &recipe, "--data", path]), 1), &["001.png"]);
}

#[test]
fn trial_draws_teaches_and_measures() {
    let taught = &*TAUGHT;
    let data = taught.data.path().to_str().unwrap();
    let small = ["--size", "64", "--prototypes", "16"];
    let args = ["trial", "--json", "--data", data, "--known", "2", "--seeds", "1"];
    let report = &lines(&[&args[..], &small].concat())[0];
    let runs = report["seeds"].as_array().unwrap();
    assert_eq!(runs.len(), 1);
    for (seed, run) in runs.iter().enumerate() {
        assert_eq!((&run["seed"], run["known"].as_array().unwrap().len()), (&seed.into(), 2));
        assert_eq!(run["bad_test"], DefectKind::ALL.len() as u64 * EACH - 2);
        assert!(run["known"].as_array().unwrap().iter().all(|k| k.as_str().unwrap().starts_with("test/")));
    }
    assert_eq!(report["mean"]["auroc_image"], runs[0]["auroc_image"]);
    assert!(report["std"]["auroc_image"].is_null(), "one run has no deviation: {report}");
    let too_many = ["trial", "--data", data, "--known", "500"];
    assert_says(&complaint(&zoomgate(&too_many), 2), &["500", "15"]);
}

#[test]
fn bench_times_what_comes_before_the_model_without_one() {
    let report = &lines(&["bench", "--pixels", "--runs", "1", "--size", "40", "56", "--json"])[0];
    assert_eq!(keys(report), ["formats", "frame", "input", "schema"]);
    assert_eq!(report["input"], serde_json::json!([40, 56]));
    let formats = report["formats"].as_array().unwrap();
    assert!(formats.len() >= 5, "{formats:?}");
    for times in formats {
        let steps = ["convert_ms", "full_ms", "crop_ms", "levels_ms"].map(|step| times[step].as_f64().unwrap());
        let all = times["sum_ms"].as_f64().unwrap();
        assert!(steps.iter().all(|&ms| ms > 0.0) && steps.iter().sum::<f64>() <= all + 1e-9, "{times}");
    }
    for wrong in [&["bench"][..], &["bench", "--pixels", "--explain"], &["bench", "--pixels", "x.onnx"]] {
        assert_eq!(zoomgate(wrong).status.code(), Some(2), "{wrong:?}");
    }
    let huge = zoomgate(&["bench", "--pixels", "--size", "99999999999", "99999999999"]);
    assert_eq!(huge.status.code(), Some(1));
    assert_says(&String::from_utf8(huge.stderr).unwrap(), &["99999999999"]);
}

#[test]
fn run_without_its_recipe_says_how_to_make_one() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.toml");
    fs::copy(root("config.toml"), &config).unwrap();
    let output = program().args(["run", "--config", config.to_str().unwrap()]).current_dir(&dir).output().unwrap();
    assert_says(&complaint(&output, 1), &["recipe.onnx", "zoomgate teach"]);
}

#[test]
fn run_takes_a_folder_from_the_first_picture_to_the_last_verdict() {
    let taught = &*TAUGHT;
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("line.toml");
    let pictures = taught.path("test");
    let text = format!(
        "[camera]\nsource = \"folder\"\nfolder = {pictures:?}\nwidth_px = 100\nheight_px = 80\nrate_hz = 20\n\
         [trigger]\nsource = \"every_frame\"\n[model]\nrecipe = {:?}\n[decision]\nthreshold = -1000.0\n\
         [reject]\nenabled = true\ntravel_mm = 1000.0\nbelt_speed_mm_s = 1000.0\n\
         [gpio]\nbackend = \"recorded\"\nedges = \"edges.jsonl\"\n\
         [safety]\non_uninspected = \"reject\"\non_missed_reject = \"alarm\"\n[record]\nevents = \"events.jsonl\"\n",
        taught.path("recipe.onnx")
    );
    fs::write(&config, text).unwrap();
    let summary = &lines(&["run", "--json", "--config", config.to_str().unwrap()])[0];
    let parts = EACH * (1 + DefectKind::ALL.len() as u64);
    assert_eq!(summary["parts"], parts);
    // Everything is at the threshold or above it, so that every part has a pulse of its own or shares one.
    let count = |key: &str| summary[key].as_u64().unwrap();
    assert_eq!(count("passes") + count("rejects") + count("uninspected"), parts, "{summary}");
    assert_eq!((count("passes"), count("rejects") > 0), (0, true), "{summary}");

    let events = json_lines(&fs::read(dir.path().join("events.jsonl")).unwrap());
    let verdicts: Vec<&Value> = events.iter().filter(|e| e["event"] == "verdict").collect();
    let numbers: std::collections::BTreeSet<u64> = verdicts.iter().map(|e| e["part"].as_u64().unwrap()).collect();
    assert_eq!((verdicts.len() as u64, numbers.len() as u64), (parts, parts), "one verdict for each part");
    assert_eq!((&events[0]["event"], &events.last().unwrap()["event"]), (&"start".into(), &"stop".into()));
    let edges = json_lines(&fs::read(dir.path().join("edges.jsonl")).unwrap());
    let reject: Vec<u64> =
        edges.iter().filter(|e| e["line"] == "reject").map(|e| e["level"].as_u64().unwrap()).collect();
    assert!(reject.contains(&1) && reject.last() == Some(&0), "the line was not fired, or not left at rest: {edges:?}");
}

/// Nice values, scheduling policies and names of a process's threads.
fn threads_of(pid: u32) -> Vec<(i32, u32, String)> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let one = |stat: String| {
        let (name, fields) = (stat.split_once('(')?.1.rsplit_once(')')?.0, stat.rsplit_once(')')?.1);
        let fields: Vec<&str> = fields.split_whitespace().collect();
        // proc_pid_stat(5) counts from 1, and these from the third.
        Some((fields.get(16)?.parse().ok()?, fields.get(38)?.parse().ok()?, name.to_owned()))
    };
    tasks.filter_map(|task| one(fs::read_to_string(task.path().join("stat")).ok()?)).collect()
}

/// Every thread of a lesson has the weakest nice value, and the recipe is the same byte for byte with one thread and two.
#[test]
fn a_lesson_stands_back_and_is_the_same_for_any_number_of_threads() {
    if std::env::var_os("ZOOMGATE_RUNNER").is_some() {
        eprintln!("skipped: an emulator's threads are none of ours");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut recipes = Vec::new();
    for threads in ["1", "2"] {
        let out = dir.path().join("recipe.onnx");
        let mut command = program();
        let arguments = ["teach", "--json", "--size", "96", "--steps", "20", "--prototypes", "16", "--good"];
        let bad = TAUGHT.at(&format!("test/{}", DefectKind::MissingHole.name()));
        command.args(arguments).arg(TAUGHT.at("train/good")).arg("--bad").arg(bad).arg("--out").arg(&out);
        command.env("RAYON_NUM_THREADS", threads).env("SOURCE_DATE_EPOCH", "1700000000");
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut seen = BTreeSet::new();
        // Until it closes its end, a look every ten milliseconds: who spins here takes the processors from the lesson.
        let stderr = child.stderr.take().unwrap();
        let pause = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
        while poll(&mut [PollFd::new(&stderr, PollFlags::empty())], Some(&pause)).unwrap() == 0 {
            seen.extend(threads_of(child.id()));
        }
        let said = std::io::read_to_string(stderr).unwrap();
        assert!(child.wait().unwrap().success(), "{said}");
        // The first look may come before the program has begun.
        const BATCH: u32 = 3;
        let others: Vec<_> = seen.iter().filter(|(nice, policy, _)| *nice != 19 || *policy != BATCH).collect();
        assert!(others.iter().all(|(nice, ..)| *nice == 0) && others.len() <= 3, "{others:?}");
        assert!(seen.len() > others.len(), "{seen:?}");
        recipes.push(fs::read(&out).unwrap());
    }
    assert!(recipes[0] == recipes[1], "another recipe");
}
