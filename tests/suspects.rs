//! Pictures that do not belong where they were put: a lesson says so by name, instead of teaching nonsense.

#![cfg(feature = "teach")]

mod pictures;
mod program;

use std::fs;
use std::path::{Path, PathBuf};

use pictures::{assert_says, complaint, put, scene, zoomgate};
use tempfile::TempDir;
use zoomgate::frame::picture;
use zoomgate::sim::DefectKind;
use zoomgate::sim::render::Want;

/// Good and bad pictures in two folders, for the command line.
struct Bench {
    dir: TempDir,
}

impl Bench {
    fn new(good: u64, bad: u64) -> Self {
        let bench = Self { dir: tempfile::tempdir().unwrap() };
        let scene = scene();
        for i in 0..good {
            put(&scene, &bench.at(&format!("good/{i:03}.png")), i, Want::Good);
        }
        for i in 0..bad {
            let kind = DefectKind::ALL[i as usize % DefectKind::ALL.len()];
            put(&scene, &bench.at(&format!("bad/{i:03}.png")), 500 + i, Want::Defective(kind));
        }
        bench
    }

    fn at(&self, rel: &str) -> PathBuf {
        self.dir.path().join(rel)
    }

    fn args(&self) -> Vec<String> {
        let text = |rel: &str| self.at(rel).to_str().unwrap().to_owned();
        let mut args: Vec<String> =
            ["teach", "--size", "64", "--prototypes", "16", "--steps", "12", "--json"].map(str::to_owned).to_vec();
        args.extend(["--good".into(), text("good"), "--out".into(), text("recipe.onnx")]);
        if self.at("bad").exists() {
            args.extend(["--bad".into(), text("bad")]);
        }
        args
    }

    fn taught(&self, more: &[&str]) -> serde_json::Value {
        let args: Vec<String> = self.args().into_iter().chain(more.iter().map(|&a| a.to_owned())).collect();
        let output = zoomgate(&args);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(self.at("recipe.onnx").exists());
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn refused(&self) -> String {
        let stderr = complaint(&zoomgate(&self.args()), 1);
        assert!(!self.at("recipe.onnx").exists(), "a recipe was written: {stderr}");
        stderr
    }
}

fn warnings(report: &serde_json::Value) -> String {
    report["warnings"].as_array().unwrap().iter().map(|w| format!("{}\n", w.as_str().unwrap())).collect()
}

/// The same pixels in a file of another format.
fn put_same_pixels(from: &Path, to: &Path) {
    let frame = picture::load(from).unwrap();
    let header = format!("P6\n{} {}\n255\n", frame.width, frame.height);
    fs::write(to, [header.as_bytes(), &frame.rgb[..]].concat()).unwrap();
    assert_ne!(fs::metadata(from).unwrap().len(), fs::metadata(to).unwrap().len());
}

#[test]
fn one_picture_is_not_taught_as_good_and_as_bad() {
    let bench = Bench::new(12, 2);
    put_same_pixels(&bench.at("good/003.png"), &bench.at("bad/other.ppm"));
    assert_says(&bench.refused(), &["bad/other.ppm", "good/003.png", "as bad and as good", "delete"]);
    fs::remove_file(bench.at("bad/other.ppm")).unwrap();
    fs::copy(bench.at("good/004.png"), bench.at("bad/again.png")).unwrap();
    assert_says(&bench.refused(), &["again.png", "004.png", "as bad and as good"]);
}

#[test]
fn a_picture_that_repeats_another_counts_once() {
    let bench = Bench::new(12, 3);
    let alone = bench.taught(&[]);
    assert!(!warnings(&alone).contains("repeat"), "{alone}");
    for i in 0..6 {
        put_same_pixels(&bench.at(&format!("good/{i:03}.png")), &bench.at(&format!("good/copy{i}.ppm")));
    }
    fs::copy(bench.at("bad/001.png"), bench.at("bad/copy.png")).unwrap();
    let repeated = bench.taught(&[]);
    let words =
        ["6 good pictures repeat", "good/copy0.ppm", "good/000.png", "1 more", "1 bad pictures repeat", "bad/copy.png"];
    assert_says(&warnings(&repeated), &words);
    for key in ["good", "bad", "threshold", "promise"] {
        assert_eq!(repeated[key], alone[key], "{key}");
    }
}

#[test]
fn a_promise_is_as_tight_as_the_pictures_prove() {
    let bench = Bench::new(12, 0);
    let report = bench.taught(&[]);
    let proved = report["proved"].as_u64().unwrap();
    assert!((1..=4).contains(&proved), "{report}");
    assert_eq!((&report["promise"]["one_in"], &report["promise"]["good_needed"]), (&100.into(), &299.into()));
    assert_says(&warnings(&report), &[&format!("1 false reject in {proved} "), "1 in 100", "299"]);
    let report = bench.taught(&["--promise", "20"]);
    assert_eq!((&report["promise"]["one_in"], &report["promise"]["good_needed"]), (&20.into(), &59.into()));
}
