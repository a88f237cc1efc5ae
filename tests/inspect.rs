//! `zoomgate inspect` through the program itself: its lines, its files, its manners with bad pictures.

mod lesson;
mod program;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use lesson::{SIZE, json_lines, write_parts, write_recipe, zoomgate};
use serde_json::Value;
use zoomgate::inspect::model::Model;
use zoomgate::inspect::{Evidence, Inspect as _, Inspection};
use zoomgate::sim::render::Want;
use zoomgate::units::Score;

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_line_a_picture_with_every_field_and_an_overlay() {
    let dir = tempfile::tempdir().unwrap();
    let recipe = write_recipe(dir.path());
    let pictures = dir.path().join("pictures");
    write_parts(&pictures, 2);
    // The same name in another folder must not take the first one's overlay.
    let twin = write_parts(&pictures.join("sub"), 1).remove(0);
    let overlays = dir.path().join("overlays");
    let output = zoomgate(["inspect", "--recipe", text(&recipe), "--overlay", text(&overlays), text(&pictures)]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = json_lines(&output.stdout);
    let files: Vec<_> = lines.iter().map(|l| l["file"].as_str().unwrap()).collect();
    let expected = [pictures.join("part-00.png"), pictures.join("part-01.png"), twin];
    assert_eq!(files, expected.iter().map(|p| text(p)).collect::<Vec<_>>());
    let names: Vec<_> = lines.iter().map(|l| l["overlay"].as_str().unwrap()).collect();
    assert_eq!(names, ["part-00.png", "part-01.png", "part-00-2.png"].map(|n| text(&overlays.join(n)).to_owned()));
    for line in &lines {
        let expected =
            "schema file score threshold verdict unseen crops score_full score_zoom evidence evidence_zoom overlay ms";
        assert_eq!(keys(line), expected.split(' ').collect());
        assert_eq!(line["unseen"], Value::Null);
        assert_eq!(keys(&line["evidence"]), ["normality", "known", "overall"].into());
        assert_eq!(keys(&line["ms"]), ["decode", "convert", "full", "zoom", "passes", "total"].into());
        let crop = &line["crops"][0];
        assert_eq!(keys(crop), ["x", "y", "width", "height"].into());
        let at = |key: &str| crop[key].as_u64().unwrap();
        assert!(at("x") + at("width") <= SIZE.0.into() && at("y") + at("height") <= SIZE.1.into());
        let is_reject = line["score"].as_f64().unwrap() >= line["threshold"].as_f64().unwrap();
        assert_eq!(line["verdict"], if is_reject { "reject" } else { "pass" });
        let overlay = zoomgate::frame::picture::load(Path::new(line["overlay"].as_str().unwrap())).unwrap();
        assert!(overlay.width > SIZE.0 && overlay.height > SIZE.1);
    }
    // The same picture gives the same score.
    assert_eq!(lines[0]["score"], lines[2]["score"]);
    assert_ne!(lines[0]["score"], lines[1]["score"]);
}

#[test]
fn another_threshold_changes_the_verdict_and_not_the_score() {
    let dir = tempfile::tempdir().unwrap();
    let recipe = write_recipe(dir.path());
    let file = write_parts(&dir.path().join("pictures"), 1).remove(0);
    let line = |threshold: &str| {
        let output = zoomgate(["inspect", "--recipe", text(&recipe), "--threshold", threshold, text(&file)]);
        assert!(output.status.success(), "a reject is not a failure");
        json_lines(&output.stdout).remove(0)
    };
    let (strict, lax) = (line("-1e6"), line("1e6"));
    assert_eq!((&strict["verdict"], &lax["verdict"]), (&"reject".into(), &"pass".into()));
    assert_eq!((&strict["score"], &strict["overlay"]), (&lax["score"], &Value::Null));
    let output = zoomgate(["inspect", "--recipe", text(&recipe), "--threshold", "NaN", text(&file)]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn bad_pictures_are_named_and_the_rest_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let recipe = write_recipe(dir.path());
    let good = write_parts(&dir.path().join("pictures"), 1).remove(0);
    let bytes = fs::read(&good).unwrap();
    let (cut, note, missing, empty) =
        ["cut.png", "note.png", "missing.png", "empty"].map(|name| dir.path().join(name)).into();
    fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    fs::write(&note, "not a picture").unwrap();
    fs::create_dir(&empty).unwrap();
    let all = [&cut, &note, &missing, &empty, &good].map(|p| text(p));
    let output = zoomgate(["inspect", "--recipe", text(&recipe)].into_iter().chain(all));
    assert_eq!(output.status.code(), Some(1));
    let lines = json_lines(&output.stdout);
    assert_eq!(lines.iter().map(|l| l["file"].as_str().unwrap()).collect::<Vec<_>>(), all);
    for (line, code) in lines.iter().zip(["corrupt", "corrupt", "not_found", "not_found"]) {
        assert_eq!(keys(line), ["schema", "file", "error"].into());
        assert_eq!(line["error"]["code"], code, "{line}");
        let message = line["error"]["message"].as_str().unwrap();
        assert!(message.contains(line["file"].as_str().unwrap()), "{message}");
    }
    assert!(lines[4]["score"].is_number());
    assert!(String::from_utf8(output.stderr).unwrap().contains("4 of 5 pictures"));
}

#[test]
fn a_missing_recipe_is_one_error() {
    let output = zoomgate(["inspect", "--recipe", "no/recipe.onnx", "some.png"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    assert!(String::from_utf8(output.stderr).unwrap().contains("no/recipe.onnx"));
}

/// What a script in another runtime does: the inputs' pixels, the raw evidences and the recipe's notes give the scores.
#[test]
fn every_score_can_be_rebuilt_from_the_dump() {
    let dir = tempfile::tempdir().unwrap();
    let recipe_path = write_recipe(dir.path());
    let pictures = dir.path().join("pictures");
    write_parts(&pictures, 3);
    let dump = dir.path().join("dump");
    let output = zoomgate(["inspect", "--recipe", text(&recipe_path), "--dump-inputs", text(&dump), text(&pictures)]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = json_lines(&output.stdout);
    let dumped = json_lines(&fs::read(dump.join("dump.jsonl")).unwrap());
    assert_eq!(dumped.len(), 3);
    let model = Model::load(&recipe_path).unwrap();
    let recipe = model.recipe();
    let (height, width) = (recipe.input.height, recipe.input.width);
    for (line, printed) in dumped.iter().zip(&printed) {
        let views: Vec<_> = std::iter::once(&line["inputs"]["full"])
            .chain(line["inputs"]["zoom"].as_array().unwrap())
            .map(|name| fs::read(dump.join(name.as_str().unwrap())).unwrap())
            .collect();
        assert_eq!(views.len(), 1 + printed["crops"].as_array().unwrap().len());
        for view in &views {
            let header = format!("'shape': (1, 3, {height}, {width})");
            assert!(view.windows(header.len()).any(|w| w == header.as_bytes()));
            assert_eq!(view.len() % 64, (3 * height * width) % 64);
            let pixels = &view[view.len() - 3 * height * width..];
            assert!(pixels.iter().collect::<BTreeSet<_>>().len() > 20, "a picture, not a blank");
        }
        assert_ne!(views[0], views[1]);
        let evidence = |values: &Value| {
            let v: Vec<f32> = values.as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect();
            assert_eq!(v.len(), 3, "the recipe knows bad parts");
            Evidence { normality: v[0], known: Some(v[1]), overall: Some(v[2]) }
        };
        let (full, zoom) = (evidence(&line["evidence_full"]), evidence(&line["evidence_zoom"][0]));
        for (field, rebuilt) in [
            ("score", recipe.score(&full, Some(&zoom))),
            ("score_full", recipe.full.score(&full)),
            ("score_zoom", recipe.zoom.score(&zoom)),
        ] {
            let said = line[field].as_f64().unwrap();
            assert!((said - f64::from(rebuilt)).abs() < 1e-4, "{field}: {said} and {rebuilt}");
            assert_eq!(line[field], printed[field]);
        }
        for field in ["file", "verdict", "threshold"] {
            assert_eq!(line[field], printed[field]);
        }
    }
}

#[test]
fn a_lazy_zoom_looks_closer_at_what_is_near_the_threshold_and_changes_nothing_there() {
    let model = Model::from_bytes(lesson::recipe(), "the recipe").unwrap();
    let scene = lesson::scene();
    let frames: Vec<_> = (0..8).map(|i| lesson::part(&scene, i, Want::AsDrawn)).collect();
    let look = |model: &Model| -> Vec<Inspection> {
        let mut inspector = model.inspector().unwrap();
        frames.iter().map(|frame| inspector.inspect(frame).unwrap()).collect()
    };
    let always = look(&model);
    let mut full: Vec<f32> = always.iter().map(|i| i.score_full.0).collect();
    full.sort_by(f32::total_cmp);
    // Half of them are three deviations below it, and more.
    let lazy = look(&model.clone().with_lazy_zoom(f32::midpoint(full[3], full[4]) + 3.0));
    assert_eq!(lazy.iter().filter(|i| i.zoom.is_some()).count(), 4);
    for (lazy, always) in lazy.iter().zip(&always) {
        assert_eq!((lazy.full, lazy.score_full), (always.full, always.score_full));
        if lazy.zoom.is_some() {
            assert_eq!((lazy.score, lazy.zoom, lazy.crops), (always.score, always.zoom, always.crops));
        } else {
            assert_eq!((lazy.score.0, lazy.score_zoom), (model.recipe().score(&lazy.full, None), None));
            assert!(lazy.crops.as_slice().is_empty());
        }
    }
}

#[test]
fn threads_that_share_an_inspection_give_the_same_bits() {
    let model = Model::from_bytes(lesson::recipe(), "the recipe").unwrap();
    let scene = lesson::scene();
    let frames: Vec<_> = (0..3).map(|i| lesson::part(&scene, i, Want::AsDrawn)).collect();
    let look = |threads: usize| -> Vec<(Score, Vec<f32>)> {
        let mut inspector = model.clone().with_threads(threads).unwrap().inspector().unwrap();
        let mut one = |frame| (inspector.inspect(frame).unwrap().score, inspector.heat(frame).0.to_vec());
        frames.iter().map(&mut one).collect()
    };
    let alone = look(1);
    for threads in [2, 3] {
        assert_eq!(look(threads), alone, "{threads} threads");
    }
}
