//! Recipes from outside: what is damaged, absurd or another file's is an error with a name and a next step, for every
//! command that reads one, never a panic.

#![cfg(feature = "teach")]

mod lesson;
mod program;

use std::fs;
use std::io::{Read as _, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use lesson::{SIZE, part, recipe, scene, zoomgate};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use zoomgate::error::{Error, ErrorKind};
use zoomgate::frame::Frame;
use zoomgate::inspect::Inspect as _;
use zoomgate::inspect::model::Model;
use zoomgate::inspect::recipe::{KEEPSAKE_KEY, METADATA_KEY};
use zoomgate::nn::{ModelProto, onnx};
use zoomgate::sim::render::Want;
use zoomgate::train::adapt::adapt;
use zoomgate::train::{Options, Picture, Silent};

fn decoded() -> ModelProto {
    onnx::decode(recipe(), "the recipe").unwrap()
}

fn notes(model: &ModelProto) -> Value {
    serde_json::from_str(onnx::metadata(model, METADATA_KEY).unwrap()).unwrap()
}

/// The recipe with other notes.
fn with_notes(model: &ModelProto, notes: &str) -> Vec<u8> {
    let mut changed = model.clone();
    changed.metadata_props.iter_mut().find(|p| p.key == METADATA_KEY).unwrap().value = notes.to_owned();
    onnx::encode(&changed)
}

fn frame() -> Frame {
    part(&scene(), 7, Want::Good)
}

/// Loads and inspects.
fn inspected(bytes: &[u8]) -> Result<f32, Error> {
    let mut inspector = Model::from_bytes(bytes, "line3.onnx")?.inspector()?;
    inspector.inspect(&frame()).map(|i| i.score.0)
}

#[test]
fn notes_that_no_lesson_writes_are_refused_by_name() {
    let model = decoded();
    let whole = notes(&model);
    assert!(inspected(&with_notes(&model, &whole.to_string())).is_ok());
    for (at, lie, word) in [
        ("/schema", json!(0), "schema"),
        ("/input/height", json!(0), "input"),
        ("/input/width", json!(u64::MAX), "input"),
        ("/input/width", json!(1 << 14), "input"),
        ("/input/height", json!(112), "input"),
        ("/light/contrast", json!(-1), "light"),
        ("/light/gain_max", json!(1e39), "light"),
        ("/crop/count", json!(0), "crop"),
        ("/crop/count", json!(9), "crop"),
        ("/crop/side_min", json!(2), "crop"),
        ("/crop/side_min", json!(0), "crop"),
        ("/crop/theta", json!(-3), "crop"),
        ("/crop/pad", json!(1e300), "crop"),
        ("/crop/chart", json!({ "rows": 8, "columns": 8, "margin": 4 }), "crop.chart"),
        ("/crop/chart", json!({ "rows": u64::MAX, "columns": u64::MAX, "margin": 0 }), "crop.chart"),
        ("/crop/chart", json!({ "rows": 10, "columns": 10, "margin": u64::MAX / 2 + 1 }), "crop.chart"),
        ("/full/normality/image/std", json!(0), "full"),
        ("/full/sum/std", json!(-1), "full"),
        ("/full/known/weight", json!(-0.5), "full"),
        ("/zoom/normality/cell/std", json!(1e-44), "zoom"),
        ("/zoom/overall/image/mean", json!(1e39), "zoom"),
        ("/full/known", json!(null), "self_test"),
        ("/fused/std", json!(0), "fused"),
        ("/threshold", json!(1e39), "threshold"),
        ("/threshold", json!(null), "damaged"),
        ("/promise/overkill_max", json!(0), "promise"),
        ("/promise/one_in", json!(0), "promise"),
        ("/expected_escape", json!(7), "expected_escape"),
        ("/teaching/bad", json!(u64::MAX), "teaching"),
        ("/self_test", json!([]), "self_test"),
        ("/self_test/0/full", json!([]), "self_test"),
        ("/self_test/1/zoom/0", json!(1e39), "self_test"),
    ] {
        let mut lies = whole.clone();
        // A chart is not written where there is none.
        lies["crop"]["chart"] = lies["crop"]["chart"].take();
        *lies.pointer_mut(at).unwrap_or_else(|| panic!("{at} in {whole}")) = lie.clone();
        let Err(error) = inspected(&with_notes(&model, &lies.to_string())) else { panic!("{at} = {lie} was loaded") };
        let text = error.to_string();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{at} = {lie}: {text}");
        for word in ["line3.onnx", "damaged", "teach", word] {
            assert!(text.contains(word), "{at} = {lie}: {word:?} is missing in: {text}");
        }
    }
}

/// A view whose graph knows no defect where the notes speak of one, and the other way round.
#[test]
fn notes_of_another_graph_are_refused() {
    let model = decoded();
    let mut lies = notes(&model);
    for view in ["full", "zoom"] {
        lies[view]["known"] = Value::Null;
        lies[view]["overall"] = Value::Null;
        for test in lies["self_test"].as_array_mut().unwrap() {
            test[view].as_array_mut().unwrap().truncate(1);
        }
    }
    let error = inspected(&with_notes(&model, &lies.to_string())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(
        error.to_string().contains("line3.onnx is damaged: its graph looks at the full image in another way"),
        "{error}"
    );
}

/// Every value inside, and how to get there.
fn places_in(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        // Pixels of a reference are many, and one is as good as another.
        Value::Array(all) => {
            all.iter().take(8).enumerate().for_each(|(i, v)| places_in(v, &format!("{at}/{i}"), found))
        }
        Value::Object(all) => all.iter().for_each(|(k, v)| places_in(v, &format!("{at}/{k}"), found)),
        _ => {}
    }
}

/// Notes changed at random, and files cut off: an error, or a recipe that inspects.
#[test]
fn no_damage_to_a_recipe_panics() {
    let mut model = decoded();
    // What is kept of the lesson has a test of its own, and is most of the file.
    model.graph.as_mut().unwrap().initializer.retain(|t| t.name != KEEPSAKE_KEY);
    let whole = notes(&model);
    let mut places = Vec::new();
    places_in(&whole, "", &mut places);
    let mut rng = ChaCha8Rng::seed_from_u64(16);
    let begun = Instant::now();
    let (mut loaded, mut refused, mut panics) = (0, 0, Vec::new());
    for case in 0..250 {
        let mut lies = whole.clone();
        let place = &places[rng.random_range(1..places.len())];
        let numbers =
            [json!(0), json!(1), json!(-1), json!(2), json!(1 << 20), json!(u64::MAX), json!(1e-45), json!(1e39)];
        let lie = match rng.random_range(0..10) {
            0 => Value::Null,
            1 => json!([]),
            _ => numbers[rng.random_range(0..numbers.len())].clone(),
        };
        *lies.pointer_mut(place).unwrap() = lie.clone();
        let mut bytes = with_notes(&model, &lies.to_string());
        if case % 10 == 0 {
            bytes.truncate(rng.random_range(0..bytes.len()));
        }
        match catch_unwind(AssertUnwindSafe(|| inspected(&bytes))) {
            Ok(Ok(_)) => loaded += 1,
            Ok(Err(error)) => {
                assert!([ErrorKind::Corrupt, ErrorKind::Refused].contains(&error.kind()), "{place} = {lie}: {error}");
                refused += 1;
            }
            Err(_) => panics.push((case, place.clone(), lie)),
        }
    }
    assert!(panics.is_empty(), "these panic: {panics:?}");
    assert!(loaded > 20 && refused > 60, "{loaded} were loaded, {refused} were refused");
    assert!(begun.elapsed() < Duration::from_secs(120), "{:?}", begun.elapsed());
}

/// The header of what a recipe keeps, changed, with all else as it was.
fn with_header(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut model = decoded();
    let kept = model.graph.as_mut().unwrap().initializer.iter_mut().find(|t| t.name == KEEPSAKE_KEY).unwrap();
    let length = u32::from_le_bytes(kept.raw_data[..4].try_into().unwrap()) as usize;
    let (header, rest) = kept.raw_data[4..].split_at(length);
    let mut text = String::new();
    flate2::read::ZlibDecoder::new(header).read_to_string(&mut text).unwrap();
    let mut header: Value = serde_json::from_str(&text).unwrap();
    change(&mut header);
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(header.to_string().as_bytes()).unwrap();
    let header = encoder.finish().unwrap();
    kept.raw_data = [&(header.len() as u32).to_le_bytes()[..], &header, rest].concat();
    kept.dims = vec![kept.raw_data.len() as i64];
    onnx::encode(&model)
}

#[test]
fn a_recipe_that_lies_about_what_it_keeps_inspects_and_is_not_adapted() {
    let bad = [Picture::memory(frame(), "new")];
    let lies: [(&str, Value); 6] = [
        ("channels", json!(0)),
        ("channels", json!(u64::MAX / 2)),
        ("grid", json!([1u64 << 33, 1u64 << 33])),
        ("grid", json!([0, 0])),
        ("head", json!(u64::MAX / 4)),
        ("pooled", json!([u64::MAX / 16, 1])),
    ];
    for (name, lie) in lies {
        let bytes = with_header(|header| header[name] = lie.clone());
        assert!(inspected(&bytes).is_ok(), "{name}: the device looks at none of it");
        let Err(error) = adapt(&bytes, "line3.onnx", &bad, &Options::default(), &Silent) else {
            panic!("{name} = {lie} was adapted")
        };
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{name} = {lie}");
        for word in ["line3.onnx", KEEPSAKE_KEY, "teach again from pictures"] {
            assert!(error.to_string().contains(word), "{name} = {lie}: {word:?} is missing in: {error}");
        }
    }
}

/// Every command names a damaged recipe, and what to do; a pipe or a device is not waited for.
#[test]
fn every_command_refuses_a_damaged_recipe() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let model = decoded();
    let mut lies = notes(&model);
    lies["fused"]["std"] = json!(0);
    fs::write(at("recipe.onnx"), with_notes(&model, &lies.to_string())).unwrap();
    lesson::write_parts(&dir.path().join("bad"), 1);
    let data = dir.path().join("data/test/good");
    lesson::write_parts(&data, 1);
    lesson::write_parts(&dir.path().join("data/train/good"), 1);
    let (width, height) = SIZE;
    let config = format!(
        "camera = {{ source = \"simulated\", width_px = {width}, height_px = {height}, rate_hz = 10.0 }}\n\
         trigger.source = \"simulated\"\nreject = {{ travel_mm = 400.0, belt_speed_mm_s = 400.0, pulse_width_ms = 20.0 }}\n\
         gpio.backend = \"recorded\"\nsafety = {{ on_uninspected = \"reject\", on_missed_reject = \"alarm\" }}\n"
    );
    fs::write(at("config.toml"), config).unwrap();
    let picture = at("bad/part-00.png");
    for recipe in [at("recipe.onnx"), "/dev/zero".to_owned(), at(".")] {
        let new = at("new.onnx");
        let commands: [&[&str]; 4] = [
            &["inspect", "--recipe", &recipe, &picture],
            &["eval", "--recipe", &recipe, "--data", &at("data")],
            &["teach", "--from", &recipe, "--bad", &at("bad"), "--out", &new],
            &["bench", &recipe, "--runs", "1"],
        ];
        for command in commands {
            let output = zoomgate(command);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{command:?}: {said}");
            assert!(said.contains(recipe.trim_end_matches("/.")), "{command:?}: {said}");
            assert!(!said.contains("panicked"), "{command:?}: {said}");
            if recipe.ends_with("recipe.onnx") {
                assert!(said.contains("`fused`") && said.contains("teach again or restore"), "{command:?}: {said}");
            }
        }
    }
    let output = zoomgate(["run", "--config", &at("config.toml")]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("recipe.onnx") && said.contains("`fused`"), "{said}");
    let output = zoomgate(["doctor", "--json", "--config", &at("config.toml")]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let finding = report["checks"].as_array().unwrap().iter().find(|c| c["name"] == "recipe").unwrap();
    assert!(finding["outcome"] == "fail" && finding["message"].as_str().unwrap().contains("`fused`"), "{finding}");
}
