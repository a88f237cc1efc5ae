//! Pictures that do not belong where they were put: a lesson says so by name, instead of teaching nonsense.

#![cfg(feature = "teach")]

mod pictures;
mod program;

use std::fs;
use std::path::{Path, PathBuf};

use pictures::{SIZE, assert_says, complaint, frame, put, scene, zoomgate};
use tempfile::TempDir;
use zoomgate::frame::{Frame, picture};
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
            ["teach", "--size", "64", "--prototypes", "16", "--steps", "40", "--json"].map(str::to_owned).to_vec();
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

    /// Draws a square of `side` pixels on the part `index` and saves it.
    fn put_spoilt(&self, rel: &str, index: u64, side: u32) {
        let Frame { width, rgb, .. } = frame(&scene(), index, Want::Good);
        let (mut rgb, x, y) = (rgb.to_vec(), 35 + index as u32 * 7 % 12, 25 + index as u32 * 5 % 12);
        for at in (0..side * side).map(|p| ((y + p / side) * width + x + p % side) as usize * 3) {
            rgb[at..at + 3].copy_from_slice(&[230, 40, 30]);
        }
        self.put_pixels(rel, rgb);
    }

    /// Saves a picture of something else: stripes, shifted a little from one to the next.
    fn put_other(&self, rel: &str, index: u32) {
        let stripe = |p: u32| if (p % SIZE.0 + p / SIZE.0 + index) % 12 < 6 { [20, 90, 220] } else { [240, 230, 40] };
        self.put_pixels(rel, (0..SIZE.0 * SIZE.1).flat_map(stripe).collect());
    }

    fn put_pixels(&self, rel: &str, rgb: Vec<u8>) {
        fs::create_dir_all(self.at(rel).parent().unwrap()).unwrap();
        picture::save_png(&self.at(rel), &Frame::still(SIZE.0, SIZE.1, rgb)).unwrap();
    }

    /// What the recipe says of a picture.
    fn verdict(&self, rel: &str) -> String {
        let (recipe, picture) = (self.at("recipe.onnx"), self.at(rel));
        let seen = zoomgate(&[Path::new("inspect"), Path::new("--recipe"), &recipe, &picture]).stdout;
        serde_json::from_slice::<serde_json::Value>(&seen).unwrap()["verdict"].as_str().unwrap().to_owned()
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

/// Suspects of a report: file, reason, whether it was left out.
fn suspects(report: &serde_json::Value) -> Vec<(String, String, bool)> {
    let text = |v: &serde_json::Value| v.as_str().unwrap().to_owned();
    let suspects = report["suspects"].as_array().unwrap();
    suspects.iter().map(|s| (text(&s["file"]), text(&s["why"]), s["left_out"].as_bool().unwrap())).collect()
}

fn suspect(file: &str, why: &str, is_left_out: bool) -> (String, String, bool) {
    (file.to_owned(), why.to_owned(), is_left_out)
}

#[test]
fn a_known_bad_part_that_looks_good_is_named_and_escapes() {
    let bench = Bench::new(36, 0);
    for i in 0..7 {
        bench.put_spoilt(&format!("bad/{i:03}.png"), 500 + i, 8);
    }
    let honest = bench.taught(&[]);
    assert_eq!((suspects(&honest), &honest["expected_escape"]), (vec![], &0.0.into()), "{honest}");
    put(&scene(), &bench.at("bad/mixed-up.png"), 900, Want::Good);
    let report = bench.taught(&[]);
    assert_eq!(suspects(&report), [suspect("bad/mixed-up.png", "looks_good", false)], "{report}");
    assert_says(&warnings(&report), &["look at bad/mixed-up.png again: it looks like a good part", "leave it out"]);
    assert_eq!(report["expected_escape"], 0.125);
}

#[test]
fn a_bad_part_among_the_good_is_named_and_the_recipe_survives_it() {
    // Twenty and more are compared before anything is taught, and what is far from them is left out.
    let bench = Bench::new(30, 0);
    assert_eq!(suspects(&bench.taught(&[])), []);
    bench.put_spoilt("good/mixed-up.png", 900, 18);
    let report = bench.taught(&[]);
    assert_eq!(suspects(&report), [suspect("good/mixed-up.png", "looks_bad", true)], "{report}");
    assert_says(
        &warnings(&report),
        &["look at good/mixed-up.png again", "left out", "move what is bad to the bad ones"],
    );
    assert_eq!(bench.verdict("good/mixed-up.png"), "reject");
    // Of fewer the finished recipe is asked.
    let bench = Bench::new(18, 0);
    for i in 0..8 {
        bench.put_spoilt(&format!("bad/{i:03}.png"), 500 + i, 16);
    }
    let is_named = |report: &serde_json::Value| {
        let is_it = |s: &(String, String, bool)| s.0 == "good/mixed-up.png" && !s.2;
        suspects(report).iter().any(is_it)
    };
    bench.put_spoilt("good/mixed-up.png", 900, 16);
    let report = bench.taught(&[]);
    assert!(is_named(&report), "{report}");
    assert_says(&warnings(&report), &["good/mixed-up.png", "move what is bad to the bad ones, and teach again"]);
    assert_eq!(bench.verdict("good/mixed-up.png"), "reject");
}

#[test]
fn another_product_is_said_and_not_taught() {
    let bench = Bench::new(24, 0);
    for i in 0..4 {
        bench.put_other(&format!("bad/{i:03}.png"), i);
    }
    assert_says(&bench.refused(), &["4 of 4 bad pictures show another product", "bad/000.png", "that is taught"]);
    // It need not be taught to be rejected by its score; stripes all over are not even judged.
    fs::rename(bench.at("bad"), bench.at("other")).unwrap();
    bench.taught(&["--without", "sight"]);
    assert_eq!(bench.verdict("other/000.png"), "reject");
    bench.taught(&[]);
    assert_eq!(bench.verdict("other/000.png"), "uninspected");
    for i in 0..8 {
        bench.put_other(&format!("good/other{i}.png"), i);
    }
    assert_says(&warnings(&bench.taught(&[])), &["two products", "24 (good/000.png", "8 (good/other0.png"]);
}
