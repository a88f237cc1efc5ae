//! `zoomgate doctor`: what keeps this machine from inspecting, and what to do about it.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::output::print_json;
use crate::doctor::{Examined, Outcome, Subject, examine};
use crate::error::{Error, ErrorKind, Result};

/// Arguments of `zoomgate doctor`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = "config.toml")]
    pub config: PathBuf,
    /// Print one JSON object on stdout; with --live one a line.
    #[arg(long)]
    pub json: bool,
    /// Show sharpness, light and frame rate of the camera while it is aimed and focused, until Ctrl-C; and whether the recipe,
    /// where there is one, could judge what is seen.
    #[arg(long)]
    pub live: bool,
    /// With --live: end after so many seconds.
    #[arg(long = "for", value_name = "SECONDS", requires = "live", value_parser = seconds)]
    pub for_seconds: Option<f64>,
}

fn seconds(text: &str) -> std::result::Result<f64, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.1..=86_400.0).contains(seconds));
    seconds.ok_or_else(|| "must be 0.1 to 86400 seconds".to_owned())
}

/// Makes every check and prints what each found.
///
/// # Errors
/// `Refused`, with the names, when a check failed; stdout has all findings even then.
pub fn run(args: &Args) -> Result<()> {
    if args.live {
        return super::doctor_live::run(args);
    }
    let examined = examine(&Subject::here(&args.config));
    let failed: Vec<&str> = examined.iter().filter(|e| e.outcome == Outcome::Fail).map(|e| e.name).collect();
    if args.json {
        print_json(&Report { schema: 1, ok: failed.is_empty(), checks: &examined })?;
    } else {
        let text = for_people(&examined);
        let written = std::io::stdout().lock().write_all(text.as_bytes());
        written.map_err(|e| Error::io("write to", Path::new("standard output"), e))?;
    }
    if failed.is_empty() {
        return Ok(());
    }
    let message = format!("{} of {} checks failed: {}", failed.len(), examined.len(), failed.join(", "));
    Err(Error::new(ErrorKind::Refused, message))
}

fn for_people(examined: &[Examined]) -> String {
    let width = examined.iter().map(|e| e.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for Examined { name, outcome, message, remedy } in examined {
        text.push_str(&format!("{:4}  {name:width$}  {message}\n", outcome.as_str()));
        if let Some(remedy) = remedy {
            text.push_str(&format!("{:width$}  what to do: {remedy}\n", "", width = width + 6));
        }
    }
    text
}

/// What `doctor --json` prints.
#[derive(Serialize)]
struct Report<'a> {
    schema: u32,
    ok: bool,
    checks: &'a [Examined],
}
