//! The output lines of a file that may be full of mistakes: for putting them to their safe levels all the same.
//!
//! `zoomgate failsafe` runs when something has gone wrong, which may be this very file. Whatever of it can be read
//! counts, and what cannot be read is a warning.

use std::path::Path;

use super::raw::Raw;
use super::{build, check, read, render};
use crate::gpio::{Backend, Level, Settings};

/// What is known of the lines.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputLines {
    /// What drives them.
    pub gpio: Settings,
    /// Each line's name and safe level, the reject line first.
    pub lines: Vec<(String, Level)>,
    /// What could not be read, one sentence each.
    pub warnings: Vec<String>,
}

/// Reads the output lines of a file, as many of them as can be read.
pub fn output_lines(path: &Path) -> OutputLines {
    match read(path) {
        Ok(text) => of_text(&text, path),
        Err(problem) => OutputLines {
            warnings: vec![format!("{}: {}", path.display(), render::one_line(&problem))],
            ..of_text("", path)
        },
    }
}

/// As [`output_lines`], of a text; relative paths in it start at the folder of `origin`.
fn of_text(text: &str, origin: &Path) -> OutputLines {
    let raw = Raw::read_on(text);
    let mut warnings = Vec::new();
    // Only what is about the lines: a wrong threshold is not this command's business.
    let is_ours = |key: &str| ["reject.", "outputs.", "gpio."].iter().any(|section| key.starts_with(section));
    for problem in &raw.problems {
        if problem.key.as_deref().is_none_or(is_ours) {
            warnings.push(format!("{}: {}", origin.display(), render::one_line(problem)));
        }
    }
    let folder = origin.parent().unwrap_or(Path::new(""));
    let gpio = build::backend(&raw, folder).unwrap_or_else(|| {
        warnings.push("gpio.backend cannot be read: \"gpiocdev\" is taken".to_owned());
        Settings { backend: Backend::Gpiocdev, chip: raw.text("gpio.chip") }
    });
    let rest = match raw.flag("reject.active_low") {
        Some(true) => Level::High,
        Some(false) => Level::Low,
        None => {
            warnings.push("reject.active_low cannot be read: false is taken, the reject line rests low".to_owned());
            Level::Low
        }
    };
    let safe = |path: &str| if path == "reject.line" { rest } else { Level::Low };
    let lines = check::OUTPUT_LINES.iter().filter_map(|path| Some((raw.text(path)?, safe(path)))).collect();
    OutputLines { gpio, lines, warnings }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> (Vec<(String, Level)>, usize) {
        let found = of_text(text, Path::new("config.toml"));
        (found.lines, found.warnings.len())
    }

    #[test]
    fn lines_are_read_whatever_else_is_wrong() {
        let low = |name: &str| (name.to_owned(), Level::Low);
        let high = |name: &str| (name.to_owned(), Level::High);
        type Case<'a> = (&'a str, &'a str, &'a [(String, Level)], usize);
        let cases: &[Case] = &[
            ("nothing", "", &[low("reject")], 0),
            ("other mistakes", "[camera]\nsource = 3\n[outputs]\nlight = \"lamp\"", &[low("reject"), low("lamp")], 0),
            (
                "a syntax error in the middle",
                "[reject]\nline = \"flap\"\nactive_low = true\n[camera]\nrate_hz = = 4\n[outputs]\nready = \"lamp\"",
                &[high("flap"), low("lamp")],
                2,
            ),
            ("a broken line", "[reject]\nline = 7\n[outputs]\nfault = \"red\"", &[low("red")], 1),
            ("a broken level", "[reject]\nactive_low = \"yes\"", &[low("reject")], 2),
        ];
        for (what, text, expected, warnings) in cases {
            assert_eq!(lines(text), (expected.to_vec(), *warnings), "{what}");
        }
    }

    #[test]
    fn a_backend_that_cannot_be_read_is_the_kernels() {
        let found = of_text("[gpio]\nbackend = \"recroded\"\nchip = \"gpiochip3\"", Path::new("config.toml"));
        assert_eq!(found.gpio, Settings { backend: Backend::Gpiocdev, chip: Some("gpiochip3".to_owned()) });
        assert_eq!(found.warnings.len(), 2, "{:?}", found.warnings);
        let missing = output_lines(Path::new("/nonexistent/config.toml"));
        assert_eq!((missing.lines.len(), missing.warnings.len()), (1, 1));
    }
}
