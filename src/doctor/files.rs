//! Checks of what stands on the disk: configuration, recipe, records.

use std::path::Path;

use super::{Finding, Subject};
use crate::config::render;
use crate::daemon;
use crate::gpio::Backend;
use crate::inspect::model::Model;
use crate::inspect::notes;
use crate::nn::plan::Remainder;

/// Below this nothing is left for the next shift. Chosen: a day of events at 10 parts a second has about 250 MB.
const FREE_BYTES_WARN: u64 = 1 << 30;
/// Below this events are lost within the hour.
const FREE_BYTES_FAIL: u64 = 64 << 20;

pub(super) fn config(subject: &Subject) -> Finding {
    let findings = &subject.findings;
    match &findings.config {
        Err(problems) => Finding::fail(
            format!("{} has {} problems", findings.file, problems.problems.len()),
            format!("see them all with `zoomgate check {}`", findings.file),
        ),
        Ok(_) if !findings.warnings.is_empty() => Finding::warn(
            render::warnings(findings).lines().map(str::trim).collect::<Vec<_>>().join(" "),
            format!("see `zoomgate check {}`", findings.file),
        ),
        Ok(_) => Finding::ok(format!("{} has no problems", findings.file)),
    }
}

pub(super) fn recipe(subject: &Subject) -> Finding {
    let Some(config) = subject.config() else { return Finding::without_config() };
    let path = &config.model.recipe;
    match Model::load(path) {
        Ok(model) => {
            let (input, threshold) = (model.recipe().input, model.recipe().threshold);
            let tests = model.recipe().self_test.len();
            let remainder = model.remainder();
            if remainder.is_slow() {
                return slow(path, &remainder, config.model.may_be_slow);
            }
            let what = format!("{}x{} pixels, threshold {threshold}", input.width, input.height);
            Finding::ok(format!(
                "{}: {what}; its self-test of {tests} pictures gives the scores it should",
                path.display()
            ))
        }
        Err(error) => Finding::fail(
            error.to_string(),
            format!("teach it with `zoomgate teach`, or set [model] recipe to another one than {}", path.display()),
        ),
    }
}

/// Whether the recipe can tell a blind camera, and whether the plant has said what happens where it sees no part.
pub(super) fn sight(subject: &Subject) -> Finding {
    let Some(config) = subject.config() else { return Finding::without_config() };
    let path = config.model.recipe.display();
    let Ok(recipe) = notes::load(&config.model.recipe) else {
        return Finding::warn("not checked: it needs a recipe that can be read", "mend the recipe first");
    };
    if let Some(what) = daemon::unwritten_policy(config, &recipe) {
        return Finding::fail(
            format!("safety.on_no_part {what}"),
            "write [safety] on_no_part = \"reject\", \"pass\" or \"stop_line\"",
        );
    }
    match &recipe.sight {
        None => Finding::warn(
            format!("{path} does not know what good pictures show, so that a blind camera's are judged as parts"),
            "teach it again with `zoomgate teach`",
        ),
        Some(sight) if sight.empty.is_some() => Finding::ok(format!("{path} tells a blind camera and an empty belt")),
        Some(_) => Finding::ok(format!("{path} tells a blind camera")),
    }
}

/// `run` refuses it, or was told not to.
fn slow(path: &Path, remainder: &Remainder, is_allowed: bool) -> Finding {
    let message = format!("{} is slow: {remainder}", path.display());
    let teach = "teach it again with this zoomgate and without `--without int8`";
    match is_allowed {
        true => Finding::warn(message, format!("{teach}, or accept that an inspection takes some ten times as long")),
        false => Finding::fail(message, format!("{teach}; `run` refuses it unless [model] slow = true")),
    }
}

/// The folders that the daemon writes to, with the key that names each.
fn written(subject: &Subject) -> Option<Vec<(&'static str, &Path)>> {
    let config = subject.config()?;
    let edges = match &config.gpio.backend {
        Backend::Recorded { path, .. } => Some(("gpio.edges", path.as_path())),
        _ => None,
    };
    Some(config.record.events.iter().map(|path| ("record.events", path.as_path())).chain(edges).collect())
}

pub(super) fn record(subject: &Subject) -> Finding {
    let Some(written) = written(subject) else { return Finding::without_config() };
    for (key, path) in &written {
        // The daemon makes missing folders, so the nearest that exists decides.
        let folder = existing_folder(path);
        if let Err(error) = tempfile::tempfile_in(folder) {
            return Finding::fail(
                format!("{key}: no file can be made in {}: {error}", folder.display()),
                format!(
                    "give the daemon's account the folder (`chown zoomgate {}`), or name another",
                    folder.display()
                ),
            );
        }
        if path.exists() && std::fs::OpenOptions::new().append(true).open(path).is_err() {
            return Finding::fail(
                format!("{key}: {} cannot be written", path.display()),
                format!("give it to the daemon's account: `chown zoomgate {}`", path.display()),
            );
        }
    }
    let paths: Vec<String> = written.iter().map(|(key, path)| format!("{key} {}", path.display())).collect();
    match paths.is_empty() {
        true => Finding::warn("nothing is recorded", "set [record] events, or accept that verdicts leave no trace"),
        false => Finding::ok(format!("can be written: {}", paths.join(", "))),
    }
}

pub(super) fn disk(subject: &Subject) -> Finding {
    let Some(written) = written(subject) else { return Finding::without_config() };
    let folders = written.iter().map(|(_, path)| existing_folder(path));
    let measured = folders.map(|folder| (folder, rustix::fs::statvfs(folder)));
    let mut free = Vec::new();
    for (folder, stat) in measured {
        match stat {
            Ok(stat) => free.push((stat.f_bavail.saturating_mul(stat.f_frsize), folder)),
            Err(error) => {
                let message = format!("the disk of {} cannot be asked: {error}", folder.display());
                return Finding::warn(message, "look at it with `df`");
            }
        }
    }
    match free.into_iter().min() {
        None => Finding::ok("nothing is recorded, so nothing is needed"),
        Some((bytes, folder)) => judge_free(bytes, folder),
    }
}

fn judge_free(bytes: u64, folder: &Path) -> Finding {
    let message = format!("{} MB free for {}", bytes / 1_000_000, folder.display());
    let remedy = "free some space, or name another disk in [record] events";
    match bytes {
        FREE_BYTES_WARN.. => Finding::ok(message),
        FREE_BYTES_FAIL.. => Finding::warn(message, remedy),
        _ => Finding::fail(message, remedy),
    }
}

/// The nearest thing above `path` that exists; where that is no folder, nothing can be made in it.
fn existing_folder(path: &Path) -> &Path {
    let mut ancestors = path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty());
    ancestors.find(|folder| folder.exists()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Outcome;

    #[test]
    fn the_less_is_free_the_worse_it_is() {
        for (bytes, outcome) in [(2 << 30, Outcome::Ok), (500 << 20, Outcome::Warn), (1 << 20, Outcome::Fail)] {
            assert_eq!(judge_free(bytes, Path::new("/var")).outcome, outcome, "{bytes}");
        }
    }

    #[test]
    fn the_nearest_folder_that_exists_decides() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(existing_folder(&dir.path().join("a/b/c.jsonl")), dir.path());
        assert_eq!(existing_folder(Path::new("events.jsonl")), Path::new("."));
    }
}
