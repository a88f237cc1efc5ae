//! Writes pictures of the simulated belt to a folder in MVTec AD's layout, for peers that need files.
//!
//! ```text
//! cargo run --release --example render -- DIR GOOD TEST SEED [WIDTH HEIGHT]
//! ```
//!
//! `GOOD` pictures in `train/good`; `TEST` in `test/good`; `TEST` more in `test/<kind of defect>`, in turn. 320x256
//! unless another size is given.

use std::path::Path;
use std::process::ExitCode;

use zoomgate::error::{Error, ErrorKind, Result};
use zoomgate::frame::Frame;
use zoomgate::frame::picture::save_png;
use zoomgate::sim::DefectKind;
use zoomgate::sim::render::{Scene, Want};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let numbers = args.iter().skip(1).map(|a| a.parse().ok()).collect::<Option<Vec<u64>>>();
    let (dir, [good, test, seed], size) = match (args.first(), numbers.as_deref()) {
        (Some(dir), Some(&[good, test, seed])) => (dir, [good, test, seed], (320, 256)),
        (Some(dir), Some(&[good, test, seed, width, height])) => {
            (dir, [good, test, seed], (width as u32, height as u32))
        }
        _ => {
            eprintln!("usage: render DIR GOOD TEST SEED [WIDTH HEIGHT]");
            return ExitCode::from(2);
        }
    };
    match write(Path::new(dir), good, test, seed, size) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("render: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write(dir: &Path, good: u64, test: u64, seed: u64, (width, height): (u32, u32)) -> Result<()> {
    let scene = Scene::new(seed, width, height, 0.0);
    let put = |folder: &str, index: u64, want: Want| -> Result<()> {
        let folder = dir.join(folder);
        std::fs::create_dir_all(&folder).map_err(|e| Error::io("make the folder", &folder, e))?;
        let part = scene.render_part(index, want);
        save_png(&folder.join(format!("{index:05}.png")), &Frame::still(part.width, part.height, part.rgb))
    };
    if good == 0 || test == 0 {
        return Err(Error::new(ErrorKind::Config, "GOOD and TEST must be 1 or more"));
    }
    for i in 0..good {
        put("train/good", i, Want::Good)?;
    }
    for i in good..good + test {
        put("test/good", i, Want::Good)?;
    }
    for (i, kind) in (good + test..good + 2 * test).zip(DefectKind::ALL.into_iter().cycle()) {
        put(&format!("test/{}", kind.name()), i, Want::Defective(kind))?;
    }
    Ok(())
}
