//! Lessons from end to end on small pictures: what they read, what they write, what they refuse.
//!
//! Everything is small (64 pixels, few steps), so that these tests prove promises, not accuracy.

#![cfg(feature = "teach")]

mod pictures;
mod program;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use pictures::{GOOD, assert_says, complaint, dataset, frame, program, put, scene, zoomgate};
use zoomgate::error::{Error, ErrorKind};
use zoomgate::eval::dataset::Dataset;
use zoomgate::eval::evaluation::lesson_picture;
use zoomgate::eval::item::Item;
use zoomgate::frame::Frame;
use zoomgate::frame::augmentation::Augmentation;
use zoomgate::inspect::Inspect as _;
use zoomgate::inspect::model::Model;
use zoomgate::inspect::recipe::{KEEPSAKE_KEY, METADATA_KEY, Recipe};
use zoomgate::nn::backbone::Backbone;
use zoomgate::nn::{onnx, surgery};
use zoomgate::sim::DefectKind;
use zoomgate::sim::render::Want;
use zoomgate::train::budget::affordable;
use zoomgate::train::{Options, Picture, Silent, TrainedModel, train};

fn options(seed: u64) -> Options {
    Options { size: 64, prototypes: 24, steps: 12, seed, ..Options::default() }
}

fn lesson(good: &[Item], bad: &[Item], seed: u64) -> Result<TrainedModel, Error> {
    let pictures = |items: &[Item]| items.iter().map(lesson_picture).collect::<Vec<Picture>>();
    train(&pictures(good), &pictures(bad), &Backbone::bundled()?, &options(seed), &Silent)
}

/// One recipe for all tests that only read it.
static TAUGHT: LazyLock<TrainedModel> = LazyLock::new(|| {
    let data = dataset();
    let dataset = Dataset::open(data.path()).unwrap();
    let draw = dataset.draw_known(3, 0).unwrap();
    lesson(&dataset.good, &draw.known, 0).unwrap()
});

/// Runs the test `name` again in a process where recipes carry a fixed date, and tells whether this is that process.
fn is_dated(name: &str) -> bool {
    if std::env::var_os("SOURCE_DATE_EPOCH").is_some() {
        return true;
    }
    let output = program::command(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env("SOURCE_DATE_EPOCH", "1700000000")
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains("1 passed"), "{out}\n{err}");
    false
}

#[test]
fn good_pictures_alone_make_a_recipe() {
    let data = dataset();
    let dataset = Dataset::open(data.path()).unwrap();
    let taught = lesson(&dataset.good, &[], 0).unwrap();
    let recipe = &taught.recipe;
    assert!(recipe.full.known.is_none() && recipe.zoom.known.is_none());
    assert_eq!((recipe.teaching.good, recipe.teaching.bad), (GOOD as usize, 0));
    assert_eq!(recipe.expected_escape, None);

    let model = Model::from_bytes(&taught.bytes, "the recipe").unwrap();
    assert_eq!(model.recipe(), recipe);
    let mut inspector = model.inspector().unwrap();
    let scene = scene();
    let score = |i: &mut zoomgate::inspect::model::Inspector, frame: &Frame| {
        let inspection = i.inspect(frame).unwrap();
        assert_eq!((inspection.full.known, inspection.zoom.unwrap().known), (None, None));
        inspection.score.0
    };
    let good = score(&mut inspector, &frame(&scene, 300, Want::Good));
    let ruined = Frame::still(100, 80, [20, 220, 40].repeat(100 * 80));
    assert!(good < score(&mut inspector, &ruined), "a green picture is no plate");
    // Few good pictures promise little, and the recipe says how many it would take.
    assert!(recipe.promise.overkill_max > 0.1 && recipe.promise.good_needed > 100);
    assert_says(&taught.warnings.join("\n"), &[&recipe.promise.good_needed.to_string()]);
}

#[test]
fn a_seed_is_a_recipe() {
    if !is_dated("a_seed_is_a_recipe") {
        return;
    }
    let data = dataset();
    let dataset = Dataset::open(data.path()).unwrap();
    let known = dataset.draw_known(2, 0).unwrap().known;
    let bytes = |seed| lesson(&dataset.good, &known, seed).unwrap().bytes;
    let first = bytes(1);
    assert!(first == bytes(1), "the same seed gave other bytes");
    assert!(first != bytes(2), "another seed gave the same bytes");
}

/// The protocol's promise: until the recipe is written, nothing of the test split is read but the drawn known bads.
#[test]
fn no_test_picture_leaks_into_the_recipe() {
    if !is_dated("no_test_picture_leaks_into_the_recipe") {
        return;
    }
    let data = dataset();
    let teach_drawn = || {
        let dataset = Dataset::open(data.path()).unwrap();
        let draw = dataset.draw_known(4, 5).unwrap();
        (lesson(&dataset.good, &draw.known, 5).unwrap().bytes, draw)
    };
    let (before, draw) = teach_drawn();
    assert_eq!(draw.known.len(), 4);
    assert!(draw.test.len() >= 10, "{} test pictures leave nothing to prove", draw.test.len());
    for (n, item) in draw.test.iter().enumerate() {
        for path in [Some(&item.path), item.mask.as_ref()].into_iter().flatten() {
            fs::write(path, format!("garbage {n}")).unwrap();
            item.load().unwrap_err();
        }
    }
    let (after, again) = teach_drawn();
    assert_eq!(draw, again);
    assert!(before == after, "the recipe depends on a test picture that was not drawn");

    // A drawn one does matter, or the comparison above would prove nothing.
    put(&scene(), &draw.known[0].path, 999, Want::Defective(DefectKind::Stain));
    assert!(before != teach_drawn().0, "the recipe does not depend on a known defect");
}

#[test]
fn crops_stay_inside_frames_of_every_size() {
    let model = Model::from_bytes(&TAUGHT.bytes, "the recipe").unwrap();
    let mut inspector = model.inspector().unwrap();
    for (n, (width, height)) in
        [(100, 80), (80, 100), (64, 64), (41, 33), (400, 50), (50, 400), (3, 2), (1, 1), (640, 480)]
            .into_iter()
            .enumerate()
    {
        // A gradient with one bright corner, another one for each size: crops are pulled to the frame's edges.
        let corner = |x: u32, y: u32| (x * 4 / width, y * 4 / height) == [(0, 0), (3, 0), (0, 3), (3, 3)][n % 4];
        let value = |x, y| if corner(x, y) { 255 } else { (x + y) as u8 / 4 };
        let rgb: Vec<u8> = (0..height).flat_map(|y| (0..width).flat_map(move |x| [value(x, y); 3])).collect();
        let inspection = inspector.inspect(&Frame::still(width, height, rgb)).unwrap();
        assert!(inspection.score.0.is_finite(), "{width}x{height}: {inspection:?}");
        let crops = inspection.crops.as_slice();
        assert!(!crops.is_empty(), "{width}x{height} was not zoomed");
        for c in crops {
            let is_inside = c.width > 0 && c.height > 0 && c.x + c.width <= width && c.y + c.height <= height;
            assert!(is_inside, "{c:?} leaves {width}x{height}");
        }
    }
}

/// The recipe with its notes changed.
fn with_notes(change: impl FnOnce(&mut serde_json::Value)) -> Vec<u8> {
    let mut model = onnx::decode(&TAUGHT.bytes, "the recipe").unwrap();
    let note = model.metadata_props.iter_mut().find(|p| p.key == METADATA_KEY).unwrap();
    let mut value = serde_json::from_str(&note.value).unwrap();
    change(&mut value);
    note.value = value.to_string();
    onnx::encode(&model)
}

#[test]
fn recipes_that_cannot_be_trusted_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("line3.onnx");
    let refusal = |bytes: &[u8]| -> Error {
        fs::write(&path, bytes).unwrap();
        let Err(error) = Model::load(&path) else { panic!("{} bytes were loaded", bytes.len()) };
        assert_says(error.message(), &["line3.onnx"]);
        error
    };
    let rebuilt = with_notes(|_| ());
    fs::write(&path, &rebuilt).unwrap();
    Model::load(&path).map(drop).unwrap();

    let plain = include_bytes!("../models/backbone-s.onnx").to_vec();
    let noise: Vec<u8> = (0..4096u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let cases: [(&str, Vec<u8>, ErrorKind, &str); 9] = [
        ("newer", with_notes(|n| n["schema"] = 99.into()), ErrorKind::Refused, "update zoomgate"),
        ("entirely new", with_notes(|n| *n = serde_json::json!({"schema": 99})), ErrorKind::Refused, "update zoomgate"),
        ("backbone", with_notes(|n| n["backbone"]["digest"] = "00".into()), ErrorKind::Refused, "teach it again"),
        ("a note gone", with_notes(|n| n["threshold"] = "high".into()), ErrorKind::Corrupt, "teach again"),
        ("notes gone", with_notes(|n| *n = serde_json::Value::Null), ErrorKind::Corrupt, "teach again"),
        ("self-test", with_notes(|n| n["self_test"][0]["full"][0] = 1e6.into()), ErrorKind::Corrupt, "self-test"),
        ("plain ONNX", plain, ErrorKind::Refused, "zoomgate teach"),
        ("noise", noise, ErrorKind::Corrupt, "again"),
        ("empty", Vec::new(), ErrorKind::Corrupt, "again"),
    ];
    for (name, bytes, kind, step) in cases {
        let error = refusal(&bytes);
        assert_eq!(error.kind(), kind, "{name}: {error}");
        assert_says(error.message(), &[step]);
    }
    let whole = &TAUGHT.bytes;
    for cut in (0..40).map(|i| whole.len() * i / 40).chain([whole.len() - 1]) {
        let kind = refusal(&whole[..cut]).kind();
        assert!(matches!(kind, ErrorKind::Corrupt | ErrorKind::Refused), "{cut} of {} bytes: {kind:?}", whole.len());
    }
    // A damaged sector in the weights still decodes: the self-test is what finds it.
    let mut model = onnx::decode(whole, "the recipe").unwrap();
    surgery::take(&mut model, KEEPSAKE_KEY).expect("what the recipe keeps, which has checksums of its own");
    let mut damaged = onnx::encode(&model);
    let middle = damaged.len() / 2;
    damaged[middle..middle + 4096].fill(0x7f);
    assert_eq!(refusal(&damaged).kind(), ErrorKind::Corrupt);

    fs::remove_file(&path).unwrap();
    let Err(missing) = Model::load(&path) else { panic!("a missing file was loaded") };
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    assert_says(missing.message(), &["line3.onnx", "check the path"]);
}

#[test]
fn the_notes_survive_being_written_and_read() {
    let model = onnx::decode(&TAUGHT.bytes, "the recipe").unwrap();
    let text = onnx::metadata(&model, METADATA_KEY).unwrap();
    assert_eq!(Recipe::parse(text, "the recipe").unwrap(), TAUGHT.recipe);
}

/// A folder with good and bad pictures for the command line, and where its recipe goes.
struct Bench {
    data: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { data: dataset() }
    }

    fn at(&self, rel: &str) -> PathBuf {
        self.data.path().join(rel)
    }

    fn args(&self, good: &Path, bad: Option<&Path>) -> Vec<String> {
        let text = |p: &Path| p.to_str().unwrap().to_owned();
        let out = self.at("recipe.onnx");
        let mut args: Vec<String> =
            ["teach", "--size", "64", "--prototypes", "16", "--json"].map(str::to_owned).to_vec();
        args.extend(["--good".into(), text(good), "--out".into(), text(&out)]);
        args.extend(bad.into_iter().flat_map(|b| ["--bad".into(), text(b)]));
        args
    }
}

#[test]
fn the_old_recipe_stays_when_the_disk_is_full() {
    let bench = Bench::new();
    let recipe = bench.at("recipe.onnx");
    fs::write(&recipe, "the old one").unwrap();
    let before: Vec<_> = fs::read_dir(bench.data.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    // No file may grow beyond one block. With the signal ignored, the write fails as it does on a full disk.
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$0\" \"$@\""])
        .args(program::words(program::PATH))
        .args(bench.args(&bench.at("train/good"), None))
        .output()
        .unwrap();
    assert_says(&complaint(&output, 1), &["cannot write the recipe", "recipe.onnx", "free some space"]);
    assert_eq!(fs::read(&recipe).unwrap(), b"the old one");
    let after: Vec<_> = fs::read_dir(bench.data.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(before, after, "something was left behind");

    // With room again, the same command replaces it.
    let output = program().args(bench.args(&bench.at("train/good"), None)).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["schema"], &report["good"], &report["bad"]), (&1.into(), &GOOD.into(), &0.into()));
    assert!(report["expected_escape"].is_null());
    Model::load(&recipe).map(drop).unwrap();
}

#[test]
fn folders_that_cannot_be_taught_are_refused_by_name_and_write_nothing() {
    let bench = Bench::new();
    let good = bench.at("train/good");
    let (empty, one, truncated) = (bench.at("empty"), bench.at("one"), bench.at("truncated"));
    for folder in [&empty, &one, &truncated] {
        fs::create_dir(folder).unwrap();
    }
    fs::copy(good.join("000.png"), one.join("lonely.png")).unwrap();
    let repeat = bench.at("repeat");
    fs::create_dir(&repeat).unwrap();
    fs::copy(good.join("003.png"), repeat.join("again.png")).unwrap();
    for i in 0..10 {
        fs::copy(good.join(format!("{i:03}.png")), truncated.join(format!("{i:03}.png"))).unwrap();
    }
    let bytes = fs::read(truncated.join("004.png")).unwrap();
    fs::write(truncated.join("004.png"), &bytes[..bytes.len() / 2]).unwrap();
    let text = bench.at("text");
    fs::create_dir(&text).unwrap();
    fs::write(text.join("notes.jpg"), "no picture at all").unwrap();
    let missing = bench.at("missing");
    let file = good.join("000.png");

    let cases: [(&Path, Option<&Path>, &[&str]); 9] = [
        (&one, None, &["/one ", "at least 8"]),
        (&empty, None, &["/empty ", "holds no pictures", "--good"]),
        (&good, Some(&empty), &["/empty ", "holds no pictures", "--bad"]),
        (&good, Some(&repeat), &["again.png", "003.png"]),
        (&truncated, None, &["004.png"]),
        (&good, Some(&text), &["notes.jpg", "is not a picture"]),
        (&missing, None, &["/missing", "check the path"]),
        (&good, Some(&missing), &["/missing", "check the path"]),
        (&file, None, &["000.png", "is not a folder"]),
    ];
    for (good, bad, words) in cases {
        let stderr = complaint(&zoomgate(&bench.args(good, bad)), 1);
        assert_says(&stderr, words);
        assert!(stderr.starts_with("zoomgate: "), "{stderr}");
    }
    assert!(!bench.at("recipe.onnx").exists());
}

#[test]
fn mistakes_about_how_parts_vary_are_told_at_once_and_others_are_not_asked_for() {
    let bench = Bench::new();
    let config = bench.at("line.toml");
    let run = |text: &str| {
        fs::write(&config, text).unwrap();
        let mut args = bench.args(&bench.at("train/good"), None);
        args.extend(["--steps".into(), "12".into(), "--config".into(), config.to_str().unwrap().to_owned()]);
        zoomgate(&args)
    };
    let stderr = complaint(&run("[teach]\nflips = \"sideways\"\nblur_px = 99\n"), 2);
    assert_says(&stderr, &["line.toml has 2 problems", "line 2", "\"both\"", "line 3", "0 to 10 pixels"]);
    assert!(!bench.at("recipe.onnx").exists());
    // Nothing here says how fast the belt is.
    complaint(&run("[teach]\nflips = \"both\"\n[camera]\nsource = 7\n"), 0);
    assert!(bench.at("recipe.onnx").exists());
}

#[test]
fn what_parts_may_do_is_usual_to_a_lesson_that_was_told_so() {
    let data = dataset();
    let dataset = Dataset::open(data.path()).unwrap();
    let pictures: Vec<Picture> = dataset.good.iter().map(lesson_picture).collect();
    let score = |augmentation: Augmentation, frame: &Frame| {
        let options = Options { augmentation, ..options(0) };
        let taught = train(&pictures, &[], &Backbone::bundled().unwrap(), &options, &Silent).unwrap();
        let model = Model::from_bytes(&taught.bytes, "the recipe").unwrap();
        model.inspector().unwrap().inspect(frame).unwrap().score.0
    };
    let good = frame(&scene(), 300, Want::Good);
    let dark: Vec<u8> = good.rgb.iter().map(|&v| (255.0 * (f64::from(v) / 255.0).powf(2.2)) as u8).collect();
    let dark = Frame::still(good.width, good.height, dark);
    let [plain, told] = [0.0, 1.5].map(|gamma| score(Augmentation { gamma, ..Augmentation::default() }, &dark));
    assert!(told < 0.8 * plain, "{told} where greys may be bent, {plain} where not");
}

#[test]
fn a_thorough_lesson_promises_by_three_times_as_many_good_parts() {
    let data = dataset();
    let dataset = Dataset::open(data.path()).unwrap();
    let pictures: Vec<Picture> = dataset.good.iter().map(lesson_picture).collect();
    let taught = |folds: usize| {
        let options = Options { folds, ..options(0) };
        train(&pictures, &[], &Backbone::bundled().unwrap(), &options, &Silent).unwrap().recipe
    };
    let (once, thrice) = (taught(1), taught(3));
    let held = |r: &Recipe| r.promise.held_out;
    assert_eq!(held(&thrice), 3 * held(&once), "of {GOOD}");
    assert!(thrice.promise.overkill_max < once.promise.overkill_max / 2.0);
    // The model is the first lesson's, whatever the others say.
    assert_eq!((&once.full, &once.zoom, once.fused), (&thrice.full, &thrice.zoom, thrice.fused));
    // There are no four times three in ten good parts.
    assert_eq!(held(&taught(9)), held(&thrice));
}

#[test]
fn a_budget_takes_what_fits_and_refuses_what_nothing_keeps() {
    let data = dataset();
    let dataset = Dataset::open(data.path()).unwrap();
    let pictures: Vec<Picture> = dataset.good.iter().map(lesson_picture).collect();
    let within = |budget: Duration| {
        let asked = Options { size: 128, ..options(0) };
        affordable(budget, [&pictures, &[]], &Backbone::bundled().unwrap(), &asked, &Silent)
    };
    let all = within(Duration::from_secs(60)).unwrap();
    assert_eq!((all.options.size, all.options.prototypes, all.options.seed), (128, 24, 0));
    assert!(all.takes > Duration::ZERO && all.takes < Duration::from_secs(60));
    let none = within(Duration::from_nanos(1)).unwrap_err();
    assert_eq!(none.kind(), ErrorKind::Refused);
    assert_says(none.message(), &["the smallest model takes", "the budget is 0.0 ms", "allow more"]);
}
