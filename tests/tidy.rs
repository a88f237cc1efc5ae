//! Rules a machine can check: who may import whom, what appears nowhere, papers that tell the truth.
//!
//! A rule that stands in the way is changed here and in ARCHITECTURE.md, in the same commit, with the reason.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use zoomgate::telemetry::Fault;

#[path = "tidy/imports.rs"]
mod imports;

/// What each module may import besides itself; `base` is everything that knows nothing of inspection.
const BASE: [&str; 6] = ["units", "stats", "clock", "error", "lock", "storage"];
const LAYERS: [(&str, &[&str]); 22] = [
    ("units", &[]),
    ("stats", &[]),
    ("error", &[]),
    ("lock", &[]),
    ("clock", &["error"]),
    ("storage", &["error"]),
    ("frame", &["base"]),
    ("camera", &["frame", "base"]),
    ("gpio", &["base"]),
    ("nn", &["base"]),
    ("inspect", &["nn", "frame", "base"]),
    ("decide", &["units", "clock"]),
    ("reject", &["decide", "gpio", "units", "stats", "clock"]),
    ("telemetry", &["decide", "base"]),
    ("pipeline", &["camera", "gpio", "frame", "inspect", "decide", "reject", "telemetry", "base"]),
    ("config", &["camera", "gpio", "frame", "decide", "reject", "base"]),
    ("sim", &["camera", "gpio", "frame", "base"]),
    ("train", &["inspect", "nn", "frame", "base"]),
    ("eval", &["train", "inspect", "nn", "frame", "base"]),
    ("daemon", &["*"]),
    ("doctor", &["*"]),
    ("cli", &["*"]),
];

/// Crates that appear in one room only, so that replacing one is a change to one room.
const ROOMS: [(&str, &[&str]); 21] = [
    ("tract_onnx", &["src/nn/"]),
    ("prost", &["src/nn/"]),
    ("ndarray", &["src/train/linear.rs"]),
    ("csv", &["src/eval/"]),
    ("base64", &["src/cli/report/"]),
    ("flate2", &["src/train/replay/"]),
    ("statrs", &["src/train/promise.rs"]),
    ("toml", &["src/config/"]),
    ("image", &["src/frame/", "src/inspect/overlay"]),
    ("gpiocdev", &["src/gpio/cdev"]),
    ("gpiocdev_uapi", &["src/gpio/cdev"]),
    ("rppal", &["src/gpio/rppal.rs"]),
    ("v4l", &["src/camera/v4l2/device.rs", "src/camera/v4l2/enumerate.rs"]),
    ("zune_jpeg", &["src/camera/convert/jpeg.rs"]),
    (
        "rustix",
        &["src/camera/v4l2/device.rs", "src/clock/", "src/daemon/", "src/doctor/", "src/gpio/cdev", "src/lock.rs"],
    ),
    ("sd_notify", &["src/daemon/watch.rs"]),
    ("thread_priority", &["src/daemon/realtime.rs", "src/cli/background.rs"]),
    ("signal_hook", &["src/daemon/signals.rs"]),
    ("clap", &["src/cli/", "src/main.rs"]),
    ("indicatif", &["src/cli/"]),
    ("env_logger", &["src/cli/logging.rs", "src/main.rs"]),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(rel: &str) -> String {
    fs::read_to_string(root().join(rel)).unwrap_or_else(|e| panic!("{rel}: {e}"))
}

/// Rust files below `folder`, with their paths from the root.
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = walkdir::WalkDir::new(root().join(folder))
        .into_iter()
        .map(Result::unwrap)
        .filter(|e| e.path().extension().is_some_and(|x| x == "rs"))
        .map(|e| e.path().strip_prefix(root()).unwrap().to_str().unwrap().to_owned())
        .map(|rel| (rel.clone(), read(&rel)))
        .collect();
    found.sort();
    assert!(found.len() > 5, "{folder} holds {} Rust files", found.len());
    found
}

/// The lines of `text` that the product is made of: no comments, no tests (which stand last in a file).
fn product_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(i, l)| (i + 1, l));
    lines.take_while(|(_, l)| l.trim() != "#[cfg(test)]").filter(|(_, l)| !l.trim_start().starts_with("//"))
}

/// Every line of the product, with its place.
fn product() -> Vec<(String, usize, String)> {
    let files = sources("src").into_iter().filter(|(rel, _)| !rel.ends_with("/tests.rs"));
    files
        .flat_map(|(rel, text)| product_lines(&text).map(|(n, l)| (rel.clone(), n, l.to_owned())).collect::<Vec<_>>())
        .collect()
}

/// The modules of this crate that a line names after `crate::`, also in `crate::{a, b::c}`.
fn modules_named(line: &str) -> Vec<String> {
    let word = |s: &str| s.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut found = Vec::new();
    for (at, _) in line.match_indices("crate::") {
        if line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &line[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => found.extend(group.split(',').map(|part| word(part.trim())).filter(|w| !w.is_empty())),
            None => found.push(word(rest)),
        }
    }
    found
}

#[test]
fn modules_import_only_what_their_layer_allows() {
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for (rel, n, line) in product() {
        let of = rel.trim_start_matches("src/").split(['/', '.']).next().unwrap().to_owned();
        if ["lib", "main"].contains(&of.as_str()) {
            continue;
        }
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == of) else {
            panic!("{rel} belongs to no layer: add `{of}` to LAYERS")
        };
        seen.insert(of.clone());
        for named in modules_named(&line) {
            let is_base = allowed.contains(&"base") && BASE.contains(&named.as_str());
            if named != of && !is_base && !allowed.contains(&"*") && !allowed.contains(&named.as_str()) {
                wrong.push(format!("{rel}:{n}: {of} must not import {named}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(seen.len(), LAYERS.len(), "a layer has no module: {seen:?}");
}

/// Rooms whose files import one another in one direction only.
const WITHOUT_CIRCLES: [&str; 4] = ["src/train/", "src/eval/", "src/nn/fusion", "src/nn/subgraph"];

#[test]
fn files_of_these_rooms_import_one_another_in_one_direction() {
    let all: Vec<(String, String)> = sources("src")
        .into_iter()
        .filter(|(rel, _)| !rel.ends_with("/tests.rs") && !rel.contains("/tests/"))
        .filter(|(rel, _)| WITHOUT_CIRCLES.iter().any(|room| rel.starts_with(room)))
        .collect();
    for room in WITHOUT_CIRCLES {
        assert!(all.iter().any(|(rel, _)| rel.starts_with(room)), "{room} holds no file");
    }
    let circles = imports::circles(&all);
    assert!(circles.is_empty(), "in a circle or between two:\n{}", circles.join("\n"));
}

#[test]
fn imports_are_recognised() {
    for (line, modules) in [
        ("use crate::error::Error;", &["error"][..]),
        ("use crate::{camera, decide::Verdict};", &["camera", "decide"]),
        ("let x: Option<crate::frame::Frame> = crate::sim::none();", &["frame", "sim"]),
        ("use other_crate::thing;", &[]),
    ] {
        assert_eq!(modules_named(line), modules, "{line}");
    }
}

#[test]
fn crates_stay_in_their_rooms() {
    let lines = product();
    let mut wrong = Vec::new();
    for (name, rooms) in ROOMS {
        let mut uses = 0;
        for (rel, n, line) in &lines {
            let is_named = line
                .match_indices(&format!("{name}::"))
                .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'));
            if is_named {
                uses += 1;
                if !rooms.iter().any(|room| rel.starts_with(room)) {
                    wrong.push(format!("{rel}:{n}: {name} belongs to {}", rooms.join(", ")));
                }
            }
        }
        assert!(uses > 0, "{name} is used nowhere: drop it");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn decisions_are_pure() {
    let impure = ["std::fs", "std::io", "std::thread", "std::net", "Instant", "SystemTime", "serde", "log::", ".now()"];
    let pure = [
        "src/decide/",
        "src/units.rs",
        "src/stats.rs",
        "src/reject/mod.rs",
        "src/reject/schedule.rs",
        "src/gpio/filter.rs",
        "src/gpio/name.rs",
        "src/pipeline/actuation/strobe.rs",
        "src/reject/encoder.rs",
        "src/reject/confirm.rs",
        "src/reject/calibration.rs",
        "src/camera/tripwire.rs",
        "src/camera/part_centre.rs",
        "src/frame/quality.rs",
        "src/eval/perturbation.rs",
        "src/train/augmentation.rs",
        "src/train/filters.rs",
    ];
    for (rel, n, line) in product() {
        let found = impure.iter().find(|word| line.contains(*word));
        assert!(found.is_none() || !pure.iter().any(|p| rel.starts_with(p)), "{rel}:{n} is not pure: {line}");
    }
}

#[test]
fn nothing_is_unwrapped_or_left_to_do() {
    for (rel, n, line) in product() {
        let found = [".unwrap()", "todo!", "unimplemented!", "dbg!"].into_iter().find(|ban| line.contains(ban));
        assert_eq!(found, None, "{rel}:{n}: {line}");
    }
}

#[test]
fn nothing_is_unsafe_but_the_simd_kernels() {
    assert!(read("src/main.rs").contains("#![forbid(unsafe_code)]"), "the program allows unsafe code");
    assert!(read("src/lib.rs").contains("#![deny(unsafe_code)]"), "the library allows unsafe code");
    // Beside the operators, what loops over pixels have for one instruction set.
    let pixels = ["src/frame/kernels/avx2.rs", "src/frame/kernels/neon.rs"];
    for (rel, text) in sources("src") {
        let is_kernel = rel.starts_with("src/nn/int8/kernels/") || pixels.contains(&rel.as_str());
        assert!(is_kernel || !text.contains("unsafe {"), "{rel} has unsafe code");
        let allows = text.contains("allow(unsafe_code") || text.contains("expect(unsafe_code");
        assert!(!allows || is_kernel, "{rel} allows unsafe code");
    }
    for kernels in pixels.into_iter().chain(["src/nn/int8/kernels/mod.rs"]) {
        let is_strict = read(kernels).contains("#![deny(clippy::undocumented_unsafe_blocks");
        assert!(is_strict, "unsafe blocks of {kernels} may go unexplained");
    }
}

#[test]
fn nobody_prints_but_the_command_line_and_nobody_sleeps_but_the_clock() {
    for (rel, n, line) in product() {
        let prints = ["println!", "print!(", "eprintln!"].iter().any(|p| line.contains(p));
        assert!(!prints || rel.starts_with("src/cli/") || rel == "src/main.rs", "{rel}:{n} prints: {line}");
        assert!(!line.contains("thread::sleep") || rel.starts_with("src/clock/"), "{rel}:{n} sleeps: {line}");
    }
    for (rel, text) in sources("tests") {
        if rel == "tests/tidy.rs" {
            continue; // It names what it forbids.
        }
        assert!(!text.contains("thread::sleep"), "{rel} sleeps: a simulated clock serves");
        assert!(!text.contains("#[ignore"), "{rel} ignores a test: skip loudly or delete it");
    }
}

/// Every path of this repository that a paper names between backticks.
fn paths_named(paper: &str) -> Vec<String> {
    let tops: BTreeSet<String> = fs::read_dir(root())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|n| n != "target" && n != ".git")
        .chain(["src", "tests", "models", "systemd", "cross", "docs", ".ci"].map(str::to_owned))
        .collect();
    let is_path = |w: &&str| w.split('/').next().is_some_and(|top| tops.contains(top)) && !w.contains([' ', '<', '*']);
    read(paper).split('`').skip(1).step_by(2).filter(is_path).map(str::to_owned).collect()
}

/// The papers, with their paths from the root.
fn papers() -> Vec<String> {
    let found = ["", "docs", "docs/decisions", "models"].into_iter().flat_map(|folder| {
        let entries = fs::read_dir(root().join(folder)).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        entries.filter(|n| n.ends_with(".md")).map(move |n| Path::new(folder).join(n).to_str().unwrap().to_owned())
    });
    let papers: BTreeSet<String> = found.collect();
    for known in ["README.md", "ARCHITECTURE.md", "docs/GLOSSARY.md", "docs/decisions/README.md", "models/README.md"] {
        assert!(papers.contains(known), "{known} is missing among {papers:?}");
    }
    papers.into_iter().collect()
}

/// A heading as links name it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn papers_name_only_files_that_exist() {
    let papers = papers();
    for paper in ["README.md", "ARCHITECTURE.md", "docs/GLOSSARY.md", "docs/TESTING.md", "models/README.md"] {
        assert!(!paths_named(paper).is_empty(), "{paper} names no file");
    }
    let mut wrong = Vec::new();
    for paper in &papers {
        let missing = paths_named(paper).into_iter().filter(|path| !root().join(path).exists());
        wrong.extend(missing.map(|path| format!("{paper} names `{path}`, which does not exist")));
        let text = read(paper);
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if link.starts_with("http") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target =
                if file.is_empty() { root().join(paper) } else { root().join(paper).parent().unwrap().join(file) };
            let is_there = target.exists()
                && (heading.is_empty()
                    || fs::read_to_string(&target)
                        .unwrap()
                        .lines()
                        .any(|l| l.starts_with('#') && anchor(l) == heading));
            if !is_there {
                wrong.push(format!("{paper} links to {link}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_architecture_is_a_map_of_every_module() {
    let text = read("ARCHITECTURE.md");
    let length = text.chars().count();
    assert!(length <= 12_000, "ARCHITECTURE.md has {length} characters: a map has 12,000 at most");
    let declared = read("src/lib.rs");
    let modules = declared.lines().filter_map(|l| l.strip_prefix("pub mod ")?.strip_suffix(';'));
    let missing: Vec<&str> = modules.filter(|m| !text.contains(&format!("`src/{m}"))).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md does not speak of {missing:?}");
}

#[test]
fn every_fault_is_in_the_table_of_failures() {
    let text = read("docs/INVARIANTS.md");
    let section = text.split("## Failures").nth(1).expect("a section on failures").split("\n## ").next().unwrap();
    let missing: Vec<&str> =
        Fault::ALL.map(Fault::code).into_iter().filter(|c| !section.contains(&format!("`{c}`"))).collect();
    assert!(missing.is_empty(), "docs/INVARIANTS.md does not speak of {missing:?}");
}

#[test]
fn every_dependency_has_its_reason_above_it() {
    let text = read("Cargo.toml");
    let manifest: toml::Table = text.parse().unwrap();
    let mut explained = BTreeSet::new();
    let (mut section, mut above) = ("", "");
    for line in text.lines() {
        if line.starts_with('[') {
            section = line;
        } else if let Some((name, _)) = line.split_once(" = ")
            && ["[dependencies]", "[dev-dependencies]"].contains(&section)
            && above.starts_with("# ")
        {
            explained.insert(name);
        }
        above = line;
    }
    let wanted: BTreeSet<&str> = ["dependencies", "dev-dependencies"]
        .iter()
        .flat_map(|t| manifest[*t].as_table().unwrap().keys())
        .map(String::as_str)
        .collect();
    assert_eq!(explained, wanted, "in Cargo.toml a line directly above each dependency says what it is for");
}

#[test]
fn every_name_in_the_glossary_is_one_of_the_code() {
    let text = read("docs/GLOSSARY.md");
    let rows = text.lines().filter(|l| l.starts_with("| ") && !l.starts_with("| word |"));
    let words = rows.flat_map(|l| l.split('|').nth(1).unwrap().split('`').skip(1).step_by(2));
    let names: BTreeSet<&str> = words.filter(|w| w.starts_with(char::is_uppercase)).collect();
    assert!(names.len() > 30, "{names:?}");
    let lines = product();
    let is_between = |c: char| !c.is_alphanumeric() && c != '_';
    let code: BTreeSet<&str> = lines.iter().flat_map(|(_, _, line)| line.split(is_between)).collect();
    let missing: Vec<&str> = names.into_iter().filter(|name| !code.contains(name)).collect();
    assert!(missing.is_empty(), "docs/GLOSSARY.md explains {missing:?}, which the code does not have");
}

#[test]
fn every_decision_is_in_the_index_with_its_title_and_date() {
    let index = read("docs/decisions/README.md");
    let rows: Vec<&str> = index.lines().filter(|l| l.starts_with("| [")).collect();
    let decisions: Vec<String> =
        papers().into_iter().filter(|p| p.starts_with("docs/decisions/") && !p.ends_with("README.md")).collect();
    assert_eq!(rows.len(), decisions.len(), "rows of the index and decisions");
    for (n, (paper, row)) in decisions.iter().zip(rows).enumerate() {
        let name = paper.rsplit('/').next().unwrap();
        let text = read(paper);
        let mut lines = text.lines().filter(|l| !l.is_empty());
        let title = lines.next().unwrap().trim_start_matches("# ").replacen(": ", " ", 1);
        let date = lines.next().unwrap();
        assert!(name.starts_with(&format!("{:04}-", n + 1)), "{paper}: numbers go up by one");
        assert_eq!(row, format!("| [{title}]({name}) | {date} |"));
        for heading in ["Context", "Decision", "Consequences"] {
            assert!(text.contains(&format!("\n## {heading}\n")), "{paper} has no section {heading}");
        }
    }
}

#[test]
fn every_invariant_has_a_test_that_exists() {
    let text = read("docs/INVARIANTS.md");
    let section = text.split("## Invariants").nth(1).expect("a section on invariants").split("\n## ").next().unwrap();
    let is_heading = |l: &&str| l.starts_with("| invariant |");
    let rows: Vec<&str> = section.lines().filter(|l| l.starts_with("| ") && !is_heading(l)).collect();
    assert!(rows.len() >= 80, "{} invariants", rows.len());
    let code: String = sources("tests").into_iter().chain(sources("src")).map(|(_, text)| text).collect();
    for row in rows {
        let guards: Vec<&str> =
            row.trim_end_matches(['|', ' ']).rsplit('|').next().unwrap().split('`').skip(1).step_by(2).collect();
        assert!(!guards.is_empty(), "no test guards: {row}");
        for guard in guards {
            assert!(
                code.contains(&format!("fn {guard}(")) || root().join(guard).exists(),
                "there is no `{guard}`: {row}"
            );
        }
    }
}

/// Scripts that check nothing by themselves, and why.
const NO_CHECKS: [(&str, &str); 7] = [
    (".ci/common.sh", "what both gates share"),
    ("cross/bench-arm.sh", "counts instructions for docs/SPEED.md"),
    ("cross/setup.sh", "installs"),
    ("cross/toolchain.sh", "chooses a compiler"),
    ("tests/fuzz/run.sh", "runs until something breaks"),
    ("tests/peer/speed.sh", "times models for docs/SPEED.md"),
    ("tests/vm/setup.sh", "installs"),
];

#[test]
fn every_check_stands_in_one_of_the_two_gates() {
    let readme = read("README.md");
    let commands: BTreeSet<&str> = readme.lines().map(str::trim).filter(|l| l.starts_with("cargo test")).collect();
    assert_eq!(commands, BTreeSet::from(["cargo test --release"]), "README.md gives one test command");
    let (run, release) = (read(".ci/run"), read(".ci/release"));
    let steps: Vec<&str> = run.lines().filter_map(|l| l.trim().strip_prefix("step ")).collect();
    for command in
        ["'tests' cargo test --release", "'format' cargo fmt --all --check", "'checks for a release' .ci/release --due"]
    {
        assert!(steps.contains(&command), ".ci/run has no step {command}: {steps:#?}");
    }
    let gates: String = run.lines().chain(release.lines()).filter(|l| !l.trim_start().starts_with('#')).collect();
    for script in scripts() {
        let is_called = gates.contains(&script);
        let excuse = NO_CHECKS.iter().find(|(name, _)| *name == script);
        assert!(is_called || excuse.is_some(), "{script} stands neither in .ci/run nor in .ci/release");
    }
    for (name, _) in NO_CHECKS {
        assert!(root().join(name).exists(), "{name} is excused and does not exist");
    }
    // What a variable makes long is left out of the suite: the other gate must set it.
    for (rel, text) in sources("tests") {
        for (at, _) in text.match_indices("number(\"ZOOMGATE_") {
            let variable = text[at..].split('"').nth(1).unwrap();
            let alone = ["ZOOMGATE_SHIFT"].contains(&variable);
            assert!(
                alone || rel == "tests/tidy.rs" || release.contains(variable),
                "{rel}: .ci/release sets no {variable}"
            );
        }
    }
}

/// Shell scripts of the repository, and what lies in .ci besides the gates; not those that run inside virtual machines.
fn scripts() -> Vec<String> {
    let found = ["tests", "cross", "systemd", ".ci"].iter().flat_map(|top| walkdir::WalkDir::new(root().join(top)));
    let found = found.map(Result::unwrap).filter(|e| e.file_type().is_file());
    let rel = |e: walkdir::DirEntry| e.path().strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
    let is_script = |p: &String| {
        p.ends_with(".sh") && !p.starts_with("tests/vm/guest/")
            || (p.starts_with(".ci/") && p != ".ci/run" && p != ".ci/release")
    };
    let scripts: Vec<String> = found.map(rel).filter(is_script).collect();
    assert!(scripts.len() > 8, "{scripts:?}");
    scripts
}

#[test]
fn a_step_of_the_release_gate_is_a_function_and_covers_files_that_exist() {
    let release = read(".ci/release");
    let steps = release.split("\nsteps=(\n").nth(1).expect("a list of steps").split("\n)").next().unwrap();
    let built = release.split("\nbuilt='").nth(1).expect("what is built").split('\'').next().unwrap();
    for step in steps.lines() {
        let fields: Vec<&str> = step.trim().trim_matches('"').split('|').collect();
        let [name, what, paths] = fields[..] else { panic!("{step}: three fields") };
        assert!(release.contains(&format!("\n{name}() {{\n")) && !what.is_empty(), "{name} is no function");
        for path in paths.split_whitespace().chain(built.split_whitespace()).filter(|p| *p != "$built") {
            assert!(root().join(path).exists(), "step {name} covers {path}, which does not exist");
        }
    }
}
