//! Writes pictures of the simulated belt to a folder in MVTec AD's layout, for peers that need files.
//!
//! ```text
//! cargo run --release --example render -- DIR GOOD TEST SEED [WIDTH HEIGHT [LEAST MOST]]
//! ```
//!
//! `GOOD` pictures in `train/good`; `TEST` in `test/good`; `TEST` more in `test/<kind of defect>`, in turn, with what
//! they change in `ground_truth/<kind>`. 320x256 unless another size is given; with `LEAST` and `MOST` only defects whose
//! longer extent is from `LEAST` to `MOST` thousandths of the frame's width.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use zoomgate::error::{Error, ErrorKind, Result};
use zoomgate::frame::Frame;
use zoomgate::frame::picture::{save_mask_png, save_png};
use zoomgate::sim::render::{Scene, Want};
use zoomgate::sim::{DefectKind, Rendered};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let numbers = args.iter().skip(1).map(|a| a.parse().ok()).collect::<Option<Vec<u64>>>();
    let parsed = match (args.first(), numbers.as_deref()) {
        (Some(dir), Some(&[good, test, seed])) => Some((dir, [good, test, seed], (320, 256), 0..=1000)),
        (Some(dir), Some(&[good, test, seed, width, height])) => {
            Some((dir, [good, test, seed], (width as u32, height as u32), 0..=1000))
        }
        (Some(dir), Some(&[good, test, seed, width, height, least, most])) => {
            Some((dir, [good, test, seed], (width as u32, height as u32), least..=most))
        }
        _ => None,
    };
    let Some((dir, counts, size, extent)) = parsed else {
        eprintln!("usage: render DIR GOOD TEST SEED [WIDTH HEIGHT [LEAST MOST]]");
        return ExitCode::from(2);
    };
    match write(Path::new(dir), counts, size, &extent) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("render: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Parts looked at for a defect of the wanted extent, before its kind is taken to have none.
const TRIES: u64 = 60;

fn write(
    dir: &Path,
    [good, test, seed]: [u64; 3],
    (width, height): (u32, u32),
    extent: &RangeInclusive<u64>,
) -> Result<()> {
    let scene = Scene::new(seed, width, height, 0.0);
    let place = |folder: &str, index: u64| -> Result<PathBuf> {
        let folder = dir.join(folder);
        std::fs::create_dir_all(&folder).map_err(|e| Error::io("make the folder", &folder, e))?;
        Ok(folder.join(format!("{index:05}.png")))
    };
    let frame = |part: Rendered| Frame::still(part.width, part.height, part.rgb);
    let put_good =
        |folder: &str, index: u64| save_png(&place(folder, index)?, &frame(scene.render_part(index, Want::Good)));
    if good == 0 || test == 0 {
        return Err(Error::new(ErrorKind::Config, "GOOD and TEST must be 1 or more"));
    }
    (0..good).try_for_each(|i| put_good("train/good", i))?;
    (good..good + test).try_for_each(|i| put_good("test/good", i))?;
    let is_wanted =
        |part: &Rendered| part.truth.iter().all(|d| extent.contains(&((1000.0 * d.width_fraction).round() as u64)));
    let mut next = good + test;
    let mut kinds = DefectKind::ALL.to_vec();
    let mut put = 0;
    while put < test {
        if kinds.is_empty() {
            return Err(Error::new(ErrorKind::Config, "no kind of defect has this extent"));
        }
        let turn = put as usize % kinds.len();
        let kind = kinds[turn];
        let drawn = (next..next + TRIES).map(|i| (i, scene.render_part(i, Want::Defective(kind))));
        let Some((index, part)) = drawn.into_iter().find(|(_, part)| is_wanted(part)) else {
            kinds.remove(turn);
            continue;
        };
        next = index + 1;
        put += 1;
        save_mask_png(&place(&format!("ground_truth/{}", kind.name()), index)?, &part.mask())?;
        save_png(&place(&format!("test/{}", kind.name()), index)?, &frame(part))?;
    }
    Ok(())
}
