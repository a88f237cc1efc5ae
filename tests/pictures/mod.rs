//! Small rendered pictures on disk in MVTec AD's layout, and the program as a child process.

#![allow(dead_code, reason = "each test file uses its share")]

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;
use zoomgate::frame::Frame;
use zoomgate::frame::picture::{save_mask_png, save_png};
use zoomgate::sim::DefectKind;
use zoomgate::sim::render::{Scene, Want};

/// Width and height of the pictures: enough to tell a plate from the belt, small enough to teach in a second.
pub const SIZE: (u32, u32) = (100, 80);
/// Good pictures to teach; four are held out.
pub const GOOD: u64 = 14;
/// Test pictures of each kind.
pub const EACH: u64 = 3;

/// The belt all pictures come from.
pub fn scene() -> Scene {
    Scene::new(7, SIZE.0, SIZE.1, 0.0)
}

/// Part `index` as a frame.
pub fn frame(scene: &Scene, index: u64, want: Want) -> Frame {
    let part = scene.render_part(index, want);
    Frame::still(part.width, part.height, part.rgb)
}

/// Writes part `index` to `path` and makes the folders above it.
pub fn put(scene: &Scene, path: &Path, index: u64, want: Want) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    save_png(path, &frame(scene, index, want)).unwrap();
}

/// `train/good` with [`GOOD`] pictures; `test/good` and, for each kind of defect, `test/<kind>` and
/// `ground_truth/<kind>` with [`EACH`].
pub fn dataset() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let scene = scene();
    let at = |folder: &str, i: u64| dir.path().join(format!("{folder}/{i:03}.png"));
    for i in 0..GOOD {
        put(&scene, &at("train/good", i), i, Want::Good);
    }
    for i in 0..EACH {
        put(&scene, &at("test/good", i), 100 + i, Want::Good);
    }
    for (k, kind) in DefectKind::ALL.into_iter().enumerate() {
        for i in 0..EACH {
            let index = 200 + 10 * k as u64 + i;
            put(&scene, &at(&format!("test/{}", kind.name()), i), index, Want::Defective(kind));
            let mask = scene.render_part(index, Want::Defective(kind)).mask();
            let path = dir.path().join(format!("ground_truth/{}/{i:03}_mask.png", kind.name()));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            save_mask_png(&path, &mask).unwrap();
        }
    }
    dir
}

/// The program with these arguments, run to its end; recipes it writes carry one date.
pub fn zoomgate<S: AsRef<OsStr>>(args: &[S]) -> Output {
    program().args(args).output().unwrap()
}

/// The program, not yet started.
pub fn program() -> Command {
    let mut command = crate::program::program();
    command.env("SOURCE_DATE_EPOCH", "1700000000");
    command
}

/// What the program said on stderr, after checking that it ended with `code`.
pub fn complaint(output: &Output, code: i32) -> String {
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    stderr
}

/// Checks that `text` says every one of `words`.
pub fn assert_says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is missing in: {text}");
    }
}
