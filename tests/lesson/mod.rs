//! A recipe taught in a few seconds from small pictures of the simulated belt, and pictures to inspect with it.

#![allow(dead_code, reason = "each test file uses its share")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::OnceLock;

use serde_json::Value;
use zoomgate::frame::{Frame, picture};
use zoomgate::nn::backbone::Backbone;
use zoomgate::sim::DefectKind;
use zoomgate::sim::render::{Scene, Want};
use zoomgate::train::ablation::Ablation;
use zoomgate::train::{Options, Picture, Silent, train};

pub const SIZE: (u32, u32) = (160, 128);

/// The belt that is taught and inspected.
pub fn scene() -> Scene {
    Scene::new(5, SIZE.0, SIZE.1, 0.5)
}

pub fn part(scene: &Scene, index: u64, want: Want) -> Frame {
    let part = scene.render_part(index, want);
    Frame::still(part.width, part.height, part.rgb)
}

/// The bytes of the recipe, taught once in a test binary.
pub fn recipe() -> &'static [u8] {
    static RECIPE: OnceLock<Vec<u8>> = OnceLock::new();
    RECIPE.get_or_init(|| taught(Ablation::default()))
}

/// The bytes of a recipe of these ingredients.
pub fn taught(ablation: Ablation) -> Vec<u8> {
    let scene = scene();
    let picture = |index: u64, want| Picture::memory(part(&scene, 1000 + index, want), index.to_string());
    let good: Vec<_> = (0..20).map(|i| picture(i, Want::Good)).collect();
    let bad: Vec<_> = (20..23).map(|i| picture(i, Want::Defective(DefectKind::MissingHole))).collect();
    let options = Options { size: 96, prototypes: 32, steps: 20, ablation, ..Options::default() };
    train(&good, &bad, &Backbone::bundled().unwrap(), &options, &Silent).unwrap().bytes
}

/// Writes the recipe into a folder.
pub fn write_recipe(folder: &Path) -> PathBuf {
    let path = folder.join("recipe.onnx");
    fs::write(&path, recipe()).unwrap();
    path
}

/// Writes `count` parts as the belt brings them, `part-00.png` and on.
pub fn write_parts(folder: &Path, count: u64) -> Vec<PathBuf> {
    fs::create_dir_all(folder).unwrap();
    let scene = scene();
    let write = |i| {
        let path = folder.join(format!("part-{i:02}.png"));
        picture::save_png(&path, &part(&scene, i, Want::AsDrawn)).unwrap();
        path
    };
    (0..count).map(write).collect()
}

/// Runs the program.
pub fn zoomgate<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Output {
    crate::program::program().args(arguments).output().unwrap()
}

/// Each line of a text as JSON.
pub fn json_lines(text: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(text).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}
