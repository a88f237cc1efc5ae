//! `zoomgate check`: every mistake in the configuration at once.

use std::io::Write;
use std::path::PathBuf;

use serde::Serialize;

use crate::config::{self, ConfigProblems, Problem, render};
use crate::daemon;
use crate::error::{Error, ErrorKind, Result};
use crate::inspect::notes;

/// Arguments of `zoomgate check`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The configuration to check.
    #[arg(value_name = "FILE", default_value = "config.toml")]
    pub file: PathBuf,
    /// Print one JSON object on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Checks the file and says so on stdout; warnings of a good file go there too. Where the recipe that it names can be read,
/// what that asks of the file is checked with it; a recipe that is not there yet is no mistake.
///
/// # Errors
/// Kind `Config` with every problem as its message; with `--json` stdout has the object even then.
pub fn run(args: &Args) -> Result<()> {
    report(args, &mut std::io::stdout().lock())
}

/// As [`run`], into `out`.
///
/// # Errors
/// As [`run`]; also when `out` cannot be written.
pub fn report(args: &Args, out: &mut dyn Write) -> Result<()> {
    let mut findings = config::examine_file(&args.file);
    if let Ok(config) = &findings.config
        && let Ok(recipe) = notes::load(&config.model.recipe)
        && let Some(what) = daemon::unwritten_policy(config, &recipe)
    {
        let problem = Problem {
            line: None,
            key: Some("safety.on_no_part".to_owned()),
            message: what.to_owned(),
            suggestion: None,
            value: None,
        };
        findings.config = Err(ConfigProblems { file: findings.file.clone(), problems: vec![problem] });
    }
    let text = if args.json {
        let problems = findings.config.as_ref().err().map_or(&[][..], |problems| &problems.problems);
        let report =
            Report { schema: 1, file: &findings.file, ok: problems.is_empty(), problems, warnings: &findings.warnings };
        serde_json::to_string(&report).expect("a report is strings and numbers")
    } else {
        let good = findings.config.is_ok().then(|| format!("{}: no problems", findings.file));
        let warnings = Some(render::warnings(&findings)).filter(|warnings| !warnings.is_empty());
        warnings.into_iter().chain(good).collect::<Vec<_>>().join("\n")
    };
    if !text.is_empty() {
        writeln!(out, "{text}").map_err(|error| {
            Error::new(ErrorKind::Internal, "cannot write the report: check where stdout goes").caused_by(error)
        })?;
    }
    findings.config.map(drop).map_err(|problems: ConfigProblems| problems.into())
}

/// What `check --json` prints.
#[derive(Serialize)]
struct Report<'a> {
    schema: u32,
    file: &'a str,
    ok: bool,
    problems: &'a [Problem],
    warnings: &'a [Problem],
}
