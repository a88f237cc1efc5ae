//! Trials beyond the plain one: a kind that is left out, pictures that are perturbed, the report.

#![cfg(feature = "teach")]

mod pictures;
mod program;

use std::fs;
use std::path::PathBuf;

use pictures::{EACH, assert_says, complaint, dataset, zoomgate};
use serde_json::Value;
use zoomgate::eval::dataset::Dataset;
use zoomgate::eval::open_set::trial_without;
use zoomgate::eval::perturbation::Perturbation;
use zoomgate::nn::backbone::Backbone;
use zoomgate::sim::DefectKind;
use zoomgate::train::{Options, Progress};

const SMALL: [&str; 6] = ["--size", "64", "--prototypes", "16", "--steps", "8"];

fn report(args: &[&str]) -> Value {
    let output = zoomgate(&[args, &SMALL].concat());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Keeps a folder out of reach until the test begins.
struct Hidden {
    folder: PathBuf,
    away: PathBuf,
}

impl Progress for Hidden {
    fn stage(&self, name: &str, _: u64) {
        if name == "testing" {
            fs::rename(&self.away, &self.folder).unwrap();
        }
    }

    fn tick(&self) {}
}

#[test]
fn the_kind_left_out_is_not_opened_before_the_recipe_is_finished() {
    let data = dataset();
    let listed = Dataset::open(data.path()).unwrap();
    let kind = DefectKind::ALL[0].name();
    let hidden = Hidden { folder: data.path().join("test").join(kind), away: data.path().join("out of reach") };
    fs::rename(&hidden.folder, &hidden.away).unwrap();
    let options = Options { size: 64, prototypes: 16, steps: 8, ..Options::default() };
    let run = trial_without(&listed, kind, 3, &Backbone::bundled().unwrap(), &options, &hidden).unwrap();
    assert!(hidden.folder.exists(), "the test never began");
    assert_eq!((run.known.unwrap().len(), run.bad_test as u64), (3, EACH));
    assert_eq!(run.by_kind.keys().collect::<Vec<_>>(), [kind]);
}

#[test]
fn leave_kind_out_compares_each_kind_with_a_recipe_that_knows_no_defect() {
    let data = dataset();
    let path = data.path().to_str().unwrap();
    let args = ["trial", "--json", "--leave-kind-out", "--data", path, "--known", "2", "--seeds", "1"];
    let report = report(&args);
    let runs = report["runs"].as_array().unwrap();
    assert_eq!((runs.len(), &report["schema"]), (DefectKind::ALL.len(), &1.into()));
    for (run, kind) in runs.iter().zip(report["by_kind"].as_object().unwrap().keys()) {
        assert_eq!((&run["kind"], &run["count"], &run["seed"]), (&kind.as_str().into(), &EACH.into(), &0.into()));
        let known = run["known"].as_array().unwrap();
        assert_eq!(known.len(), 2);
        assert!(known.iter().all(|k| !k.as_str().unwrap().starts_with(&format!("test/{kind}/"))), "{run}");
        let figure = |key: &str| run[key].as_f64().unwrap_or_else(|| panic!("{key} is {}", run[key]));
        assert!((figure("auroc_without") - figure("auroc_zero") - figure("difference")).abs() < 1e-12);
        assert_eq!(report["by_kind"][kind]["difference"], run["difference"]);
    }
    // The other run is the trial with 0 known defects, figure for figure.
    let zero = self::report(&["trial", "--json", "--data", path, "--known", "0", "--seeds", "1"]);
    for run in runs {
        let kind = run["kind"].as_str().unwrap();
        assert_eq!(run["auroc_zero"], zero["mean"]["by_kind"][kind]["auroc_image"], "{kind}");
    }
    let too_many = ["trial", "--leave-kind-out", "--data", path, "--known", "14"];
    assert_says(&complaint(&zoomgate(&too_many), 2), &["without the kind", "--known 1 to 12"]);
}

#[test]
fn perturb_tests_again_under_everything_and_gives_the_same_for_a_seed() {
    let data = dataset();
    let path = data.path().to_str().unwrap();
    let args = ["trial", "--json", "--perturb", "--data", path, "--known", "2", "--seeds", "1"];
    let trial = report(&args);
    let rows = trial["perturbed"].as_array().unwrap();
    assert_eq!(rows.len(), 1 + Perturbation::ALL.len());
    let plain = &rows[0];
    assert_eq!((&plain["perturbation"], &plain["auroc_change"]), (&"as they are".into(), &0.0.into()));
    assert_eq!((&plain["crop_iou"], &plain["crop_kept"]), (&1.0.into(), &1.0.into()));
    for figure in ["auroc_image", "escape", "overkill"] {
        assert_eq!(plain[figure], trial["mean"][figure], "{figure}");
    }
    for (row, p) in rows[1..].iter().zip(Perturbation::ALL) {
        assert_eq!(row["perturbation"], p.name());
        for figure in ["auroc_image", "escape", "overkill", "crop_iou", "crop_kept", "crop_iou_good"] {
            let value = row[figure].as_f64().unwrap_or_else(|| panic!("{figure} of {} is {}", p.name(), row[figure]));
            assert!((0.0..=1.0).contains(&value), "{figure} of {} is {value}", p.name());
        }
    }
    assert_eq!(report(&args)["perturbed"], trial["perturbed"], "another run with the same seed");
    // A table for people, with the same rows.
    let table =
        zoomgate(&[&["trial", "--perturb", "--data", path, "--known", "0", "--seeds", "1"], &SMALL[..]].concat());
    let table = String::from_utf8(table.stdout).unwrap();
    for p in Perturbation::ALL {
        assert!(table.lines().any(|l| l.starts_with(&p.name())), "{} is missing in: {table}", p.name());
    }
    complaint(&zoomgate(&["trial", "--perturb", "--leave-kind-out", "--data", path]), 2);
}

#[test]
fn a_report_is_one_file_with_the_figures_and_is_written_whole_or_not_at_all() {
    let data = dataset();
    // Names that would be markup, were they not escaped.
    let kind = DefectKind::ALL[0].name();
    for name in DefectKind::ALL.map(DefectKind::name) {
        for i in 0..EACH {
            let at = |file: String| data.path().join(format!("test/{name}/{file}.png"));
            fs::rename(at(format!("{i:03}")), at(format!("<b>{i}&0"))).unwrap();
        }
    }
    let path = data.path().to_str().unwrap();
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("report.html");
    let args = ["trial", "--json", "--perturb", "--data", path, "--known", "0", "--seeds", "1"];
    let trial = report(&[&args[..], &["--report", file.to_str().unwrap()]].concat());
    let html = fs::read_to_string(&file).unwrap();
    // What fails is printed, and a megabyte of pictures helps nobody.
    let words = |html: &str| html.split('"').filter(|w| !w.starts_with("data:")).collect::<Vec<_>>().join("\"");
    let run = &trial["seeds"][0];
    let (count, rate) = (run["bad_test"].as_u64().unwrap(), run["escape"].as_f64().unwrap());
    assert_says(
        &words(&html),
        &[
            &format!("from {count} defective pictures tested"),
            &format!("{:.0} of {count} defective pictures pass", rate * count as f64),
            &format!("ROC curve: area {:.3}", run["auroc_image"].as_f64().unwrap()),
            &format!("<td>{:.3}</td>", run["auroc_image"].as_f64().unwrap()),
            "The recipe promises that at most ",
            "JPEG 60",
        ],
    );
    assert!(!html.contains("<b>") && !html.contains("http") && !html.contains("<script"));
    assert!(!html.contains(path), "a report is passed on: it names no folder of this machine");
    assert_eq!(html.matches(" src=").count(), html.matches("<img src=\"data:image/jpeg;base64,/9j/").count());
    let missed = (rate * count as f64).round() as usize;
    let rejected = (run["overkill"].as_f64().unwrap() * run["good_test"].as_f64().unwrap()).round() as usize;
    assert_eq!(html.matches("<img ").count(), missed.min(6) + rejected.min(6));

    // `eval`, with thresholds that let everything or nothing pass; the recipe's promise is not this threshold's.
    let recipe = out.path().join("recipe.onnx");
    let taught = zoomgate(&[&["teach", "--data", path, "--out", recipe.to_str().unwrap()], &SMALL[..]].concat());
    assert_eq!(taught.status.code(), Some(0));
    let eval = |threshold: &str, file: &str| {
        let recipe = recipe.to_str().unwrap();
        zoomgate(&["eval", "--recipe", recipe, "--data", path, "--threshold", threshold, "--report", file])
    };
    assert_eq!(eval("1e6", file.to_str().unwrap()).status.code(), Some(0));
    let html = fs::read_to_string(&file).unwrap();
    assert_says(
        &words(&html),
        &["&lt;b&gt;", "&amp;0.png", "0 would be caught", "100 would pass", "promise does not hold"],
    );
    assert_eq!(html.matches("<img ").count(), 6);
    // The old report stays where the new one cannot be made, and nothing half is left.
    let damaged = data.path().join(format!("test/{kind}/<b>1&0.png"));
    fs::write(&damaged, "words").unwrap();
    complaint(&eval("-1e6", file.to_str().unwrap()), 1);
    assert_eq!(fs::read_to_string(&file).unwrap(), html);
    let none = out.path().join("none/report.html");
    assert_says(&complaint(&eval("0", none.to_str().unwrap()), 1), &["none/report.html", "make the folder first"]);
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 2);
}
