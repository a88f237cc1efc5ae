//! What `[teach]` says to a lesson, whatever else is in the file: teaching needs no belt.

use std::path::Path;

use super::raw::Raw;
use super::{ConfigProblems, read};
use crate::frame::augmentation::Augmentation;

/// `[teach]` of a file.
///
/// # Errors
/// All problems of `[teach]` at once; a file that cannot be read, or is no TOML, is one problem.
pub fn load(path: &Path) -> Result<Augmentation, ConfigProblems> {
    let all = |problems| ConfigProblems { file: path.display().to_string(), problems };
    of_text(&read(path).map_err(|problem| all(vec![problem]))?).map_err(all)
}

fn of_text(text: &str) -> Result<Augmentation, Vec<super::Problem>> {
    let mut raw = Raw::read(text);
    let mut problems = std::mem::take(&mut raw.problems);
    let is_ours = |key: &str| key == "teach" || key.starts_with("teach.");
    problems.retain(|problem| problem.key.as_deref().is_none_or(is_ours));
    problems.sort_by_key(|problem| problem.line.unwrap_or(usize::MAX));
    if !problems.is_empty() {
        return Err(problems);
    }
    let number = |name: &str| raw.number(&format!("teach.{name}")).expect("a key without problems has a value");
    let share = |name: &str| number(name) / 100.0;
    let flips = raw.text("teach.flips").expect("a key without problems has a value");
    Ok(Augmentation {
        flips: [["horizontal", "both"], ["vertical", "both"]].map(|words| words.contains(&flips.as_str())),
        rotation: number("rotation_deg"),
        shift: share("shift_percent"),
        scale: share("scale_percent"),
        brightness: share("brightness_percent"),
        contrast: share("contrast_percent"),
        gamma: share("gamma_percent"),
        blur: number("blur_px"),
        noise: number("noise_levels"),
        jpeg: raw
            .whole("teach.jpeg_quality")
            .and_then(|q| q.try_into().ok())
            .expect("a key without problems has a value"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_the_section_teaches_as_none_does() {
        for text in ["", "[teach]", "[camera]\nsource = 7\n[unknown]\nx = 1"] {
            assert_eq!(of_text(text), Ok(Augmentation::default()), "{text}");
        }
    }

    #[test]
    fn every_key_is_heard() {
        let text = "[teach]\nflips = \"vertical\"\nrotation_deg = 3\nshift_percent = 1\nscale_percent = 2\n\
                    brightness_percent = 4\ncontrast_percent = 5\ngamma_percent = 6\nblur_px = 7\nnoise_levels = 8\njpeg_quality = 90";
        let expected = Augmentation {
            flips: [false, true],
            rotation: 3.0,
            shift: 0.01,
            scale: 0.02,
            brightness: 0.04,
            contrast: 0.05,
            gamma: 0.06,
            blur: 7.0,
            noise: 8.0,
            jpeg: 90,
        };
        assert_eq!(of_text(text), Ok(expected));
        let flips = |word: &str| of_text(&format!("teach.flips = \"{word}\"")).unwrap().flips;
        assert_eq!([flips("none"), flips("horizontal"), flips("both")], [[false; 2], [true, false], [true; 2]]);
    }

    #[test]
    fn its_mistakes_are_told_all_at_once_and_no_others() {
        let text = "[camera]\nsource = 7\n[teach]\nflips = \"sideways\"\nrotation_deg = 500\nblurr_px = 1";
        let lines: Vec<_> = of_text(text).unwrap_err().iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [Some(4), Some(5), Some(6)]);
        assert_eq!(of_text("[teach\n").unwrap_err().len(), 1);
    }
}
