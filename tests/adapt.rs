//! A new kind of defect for a recipe that exists: learnt from a few pictures, without the old ones, nothing forgotten.

#![cfg(feature = "teach")]

mod pictures;
mod plates;
mod program;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use pictures::{assert_says, complaint, zoomgate};
use zoomgate::error::ErrorKind;
use zoomgate::eval::metrics::auroc;
use zoomgate::frame::{Frame, picture};
use zoomgate::inspect::model::{Inspector, Model};
use zoomgate::inspect::recipe::KEEPSAKE_KEY;
use zoomgate::inspect::{Inspect as _, Inspection};
use zoomgate::nn::backbone::Backbone;
use zoomgate::nn::{onnx, surgery};
use zoomgate::train::replay::BYTES_MAX;
use zoomgate::train::{Options, Picture, Silent, TrainedModel, adapt, train};

/// What a part shows.
#[derive(Clone, Copy)]
enum Show {
    Good,
    Old,
    /// So faint that knowing it makes a difference.
    New,
    /// The same, to be learnt from nothing.
    Clear,
}

/// Part `index`.
fn part(index: u64, show: Show) -> Frame {
    match show {
        Show::Good => plates::good(index),
        Show::Old => plates::spotted(1000 + index, 9.0, -12.0),
        Show::New => plates::scratched(2000 + index, 8.0),
        Show::Clear => plates::scratched(2000 + index, 14.0),
    }
}

fn pictures_of(indices: std::ops::Range<u64>, show: Show) -> Vec<Picture> {
    indices.map(|i| Picture::memory(part(i, show), format!("part {i}"))).collect()
}

fn options() -> Options {
    Options { size: 96, prototypes: 32, steps: 120, ..Options::default() }
}

fn taught(bad: u64) -> TrainedModel {
    let bad = pictures_of(100..100 + bad, Show::Old);
    train(&pictures_of(0..40, Show::Good), &bad, &Backbone::bundled().unwrap(), &options(), &Silent).unwrap()
}

/// A recipe that knows the old kind, and what it became with four pictures of the new one.
static BOTH: LazyLock<(TrainedModel, TrainedModel)> = LazyLock::new(|| {
    let old = taught(8);
    let new = adapt(&old.bytes, "old.onnx", &pictures_of(200..204, Show::New), &options(), &Silent).unwrap();
    (old, new)
});

/// What a recipe says of parts that nobody has taught.
fn inspected(recipe: &[u8], show: Show) -> Vec<Inspection> {
    let mut inspector: Inspector = Model::from_bytes(recipe, "the recipe").unwrap().inspector().unwrap();
    (500..532).map(|i| inspector.inspect(&part(i, show)).unwrap()).collect()
}

fn kept(recipe: &[u8]) -> Vec<u8> {
    surgery::take(&mut onnx::decode(recipe, "the recipe").unwrap(), KEEPSAKE_KEY).expect("a keepsake")
}

fn without_keepsake(recipe: &[u8]) -> Vec<u8> {
    let mut model = onnx::decode(recipe, "the recipe").unwrap();
    surgery::take(&mut model, KEEPSAKE_KEY).unwrap();
    onnx::encode(&model)
}

fn scores(inspections: &[Inspection]) -> Vec<f32> {
    inspections.iter().map(|i| i.score.0).collect()
}

#[test]
fn a_new_kind_is_learnt_from_a_few_pictures_and_the_old_one_not_forgotten() {
    let (old, new) = &*BOTH;
    // By the score, by the full image's head alone, and what passes and is rejected wrongly.
    let figures = |taught: &TrainedModel| {
        let [good, a, b] = [Show::Good, Show::Old, Show::New].map(|show| inspected(&taught.bytes, show));
        let known = |all: &[Inspection]| all.iter().map(|i| i.full.known.unwrap()).collect::<Vec<f32>>();
        let by_score = [&a, &b].map(|bad| auroc(&scores(&good), &scores(bad)).unwrap());
        let by_head = auroc(&known(&good), &known(&a)).unwrap();
        let is_rejected = |i: &&Inspection| i.score.0 >= taught.recipe.threshold;
        (by_score, by_head, b.iter().filter(is_rejected).count(), good.iter().filter(is_rejected).count())
    };
    let (before, after) = (figures(old), figures(new));
    println!("old and new kind by score, old by head, rejected new and good of 32: {before:?}, {after:?}");
    let ([old_before, new_before], head_before, ..) = before;
    let ([old_after, new_after], head_after, ..) = after;
    assert!(head_after >= head_before - 0.02, "the old kind is forgotten: {before:?} {after:?}");
    assert!(old_after >= old_before - 0.02, "the old kind is given up: {before:?} {after:?}");
    assert!(new_before < 0.9 && new_after > new_before + 0.03, "the new kind is not learnt: {before:?} {after:?}");
    assert!(after.2 >= before.2, "fewer are rejected: {before:?} {after:?}");
    assert!(after.3 <= before.3 + 1, "good parts pay for it: {before:?} {after:?}");
}

#[test]
fn what_is_normal_stays_as_it_was_and_the_recipe_says_where_it_comes_from() {
    let (old, new) = &*BOTH;
    for show in [Show::Good, Show::Old, Show::New] {
        for (o, n) in inspected(&old.bytes, show).iter().zip(inspected(&new.bytes, show)) {
            assert_eq!(o.full.normality, n.full.normality);
            assert!(o.full.known != n.full.known, "the head is the old one");
        }
    }
    let (was, is) = (&old.recipe, &new.recipe);
    assert_eq!((was.teaching.bad, is.teaching.bad, is.teaching.good), (8, 12, 40));
    assert_eq!((&was.teaching.adapted_from, was.crop, was.input), (&None, is.crop, is.input));
    assert_eq!(is.teaching.adapted_from.as_ref().map(String::len), Some(64));
    assert_ne!(is.teaching.digest, was.teaching.digest);
    // All of so few and small ones fit.
    assert!(was.promise.held_out >= 10, "{}", was.promise.held_out);
    assert_eq!((is.promise.held_out, is.promise.one_in), (was.promise.held_out, was.promise.one_in));
    assert_eq!(is.expected_escape, None, "no head is left that has not seen the new ones");
    assert!(kept(&old.bytes).len() <= BYTES_MAX && kept(&new.bytes).len() <= BYTES_MAX);
    assert!(kept(&new.bytes).len() > kept(&old.bytes).len(), "the new ones are not kept");
    // The device looks at none of it.
    assert_eq!(scores(&inspected(&without_keepsake(&new.bytes), Show::New)), scores(&inspected(&new.bytes, Show::New)));
}

#[test]
fn adapting_repeats_for_a_seed_and_can_be_done_again() {
    let (old, new) = &*BOTH;
    let again = adapt(&old.bytes, "old.onnx", &pictures_of(200..204, Show::New), &options(), &Silent).unwrap();
    assert_eq!(scores(&inspected(&again.bytes, Show::New)), scores(&inspected(&new.bytes, Show::New)));
    let mut mixed = pictures_of(202..205, Show::New);
    mixed.extend(pictures_of(204..205, Show::New));
    let twice = adapt(&new.bytes, "new.onnx", &mixed, &options(), &Silent).unwrap();
    assert_eq!(twice.recipe.teaching.bad, 13, "two were taught already, and one is given twice");
    assert_says(
        &twice.warnings.join("\n"),
        &["2 bad pictures were taught already", "part 202", "1 bad pictures repeat"],
    );
    assert_ne!(twice.recipe.teaching.adapted_from, new.recipe.teaching.adapted_from);
}

#[test]
fn a_recipe_that_knows_no_defect_learns_its_first() {
    let good = taught(0);
    let new = adapt(&good.bytes, "good.onnx", &pictures_of(200..204, Show::Clear), &options(), &Silent).unwrap();
    assert!(good.recipe.full.known.is_none() && new.recipe.full.known.is_some() && new.recipe.zoom.overall.is_some());
    // What it learnt; before, there was nothing to say.
    let [goods, bads] = [Show::Good, Show::Clear].map(|show| inspected(&new.bytes, show));
    let evidence = |of: fn(&Inspection) -> Option<f32>| {
        let values = |all: &[Inspection]| all.iter().map(|i| of(i).unwrap()).collect::<Vec<f32>>();
        auroc(&values(&goods), &values(&bads)).unwrap()
    };
    let figures = [
        evidence(|i| i.full.known),
        evidence(|i| i.full.overall),
        evidence(|i| i.zoom.unwrap().known),
        evidence(|i| i.zoom.unwrap().overall),
    ];
    println!("heads and whole views of the first kind: {figures:?}");
    // Scratches from four pictures: each evidence learns something of them.
    assert!(figures.iter().all(|&f| f > 0.7), "{figures:?}");
}

#[test]
fn what_cannot_be_adapted_is_refused_by_name() {
    let (old, _) = &*BOTH;
    let refused = |bytes: &[u8], bad: &[Picture], kind: ErrorKind, words: &[&str]| {
        let Err(error) = adapt(bytes, "line3.onnx", bad, &options(), &Silent) else { panic!("{words:?} was adapted") };
        assert_eq!(error.kind(), kind, "{error}");
        assert_says(error.message(), words);
    };
    let new = pictures_of(200..204, Show::New);
    let none = without_keepsake(&old.bytes);
    refused(&none, &new, ErrorKind::Refused, &["line3.onnx keeps nothing", "older zoomgate", "teach it once more"]);
    refused(&old.bytes[..5000], &new, ErrorKind::Corrupt, &["line3.onnx"]);
    let good = pictures_of(3..4, Show::Good);
    refused(&old.bytes, &good, ErrorKind::Refused, &["line3.onnx was taught that part 3 is good", "leave it out"]);
    let known = pictures_of(100..102, Show::Old);
    refused(&old.bytes, &known, ErrorKind::Refused, &["taught all of these", "part 100, part 101", "give new ones"]);
    // One byte of what is kept: the device does not mind, and nothing is learnt from it.
    let whole = kept(&old.bytes);
    for at in [1, 40, whole.len() / 2, whole.len() - 3] {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x20;
        let mut graph = surgery::graph(onnx::decode(&none, "the recipe").unwrap());
        graph.bytes(KEEPSAKE_KEY, bytes);
        let mut model = onnx::decode(&none, "the recipe").unwrap();
        model.graph = graph.into_model("zoomgate recipe", &[]).graph;
        let damaged = onnx::encode(&model);
        Model::from_bytes(&damaged, "line3.onnx").map(drop).unwrap();
        refused(&damaged, &new, ErrorKind::Corrupt, &["line3.onnx", KEEPSAKE_KEY, "teach again from pictures"]);
    }
}

#[test]
fn the_command_adapts_a_file_and_refuses_what_it_cannot_mean() {
    let dir = tempfile::tempdir().unwrap();
    let at = |rel: &str| dir.path().join(rel);
    let put = |rel: &str, index: u64, show: Show| {
        fs::create_dir_all(at(rel).parent().unwrap()).unwrap();
        picture::save_png(&at(rel), &part(index, show)).unwrap();
    };
    put("new/one.png", 200, Show::New);
    put("taught/two.png", 3, Show::Good);
    fs::write(at("old.onnx"), &BOTH.0.bytes).unwrap();
    let text = |p: PathBuf| p.to_str().unwrap().to_owned();
    let args = |more: &[&str], bad: &str| -> Vec<String> {
        let (from, bad, out) = (text(at("old.onnx")), text(at(bad)), text(at("new.onnx")));
        let all = ["teach", "--from", &from, "--bad", &bad, "--out", &out, "--steps", "20", "--json"];
        all.into_iter().chain(more.iter().copied()).map(str::to_owned).collect()
    };
    let good = text(at("taught"));
    for (more, bad, code, words) in [
        (&["--good", &good][..], "new", 2, &["--from", "leave --good out", "teach anew"][..]),
        (&["--promise", "20"], "new", 2, &["--promise", "--from"]),
        (&["--data", &good], "new", 2, &["--data"]),
        (&[], "taught", 1, &["old.onnx was taught that", "two.png is good"]),
        (&[], "missing", 1, &["/missing", "check the path"]),
    ] {
        assert_says(&complaint(&zoomgate(&args(more, bad)), code), words);
        assert!(!Path::new(&at("new.onnx")).exists());
    }
    let without_bad = ["teach", "--from", "old.onnx", "--out", "new.onnx"];
    assert_says(&complaint(&zoomgate(&without_bad), 2), &["--bad"]);

    let output = zoomgate(&args(&[], "new"));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["bad"], &report["good"], &report["expected_escape"]), (&9.into(), &40.into(), &().into()));
    let recipe = Model::load(&at("new.onnx")).unwrap().recipe().clone();
    assert_eq!(report["adapted_from"].as_str(), recipe.teaching.adapted_from.as_deref());
    assert_eq!(fs::read(at("old.onnx")).unwrap(), BOTH.0.bytes);
}
