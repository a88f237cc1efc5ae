//! Checks of what stands at the belt: camera, output lines, the devices behind them.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::Access;

use super::{Finding, Subject};
use crate::camera::folder::Replay;
use crate::camera::{FolderCamera, Source};
use crate::clock::MonotonicClock;
use crate::config::{Config, Trigger};
use crate::error::ErrorKind;
use crate::gpio::Backend;
use crate::gpio::cdev::{CONSUMER, Cdev, guardian};

pub(super) fn camera(subject: &Subject) -> Finding {
    let Some(config) = subject.config() else { return Finding::without_config() };
    let settings = &config.camera;
    match &settings.source {
        Source::Folder { path, shuffle_seed, repeat } => {
            let replay = Replay::new(settings, path, *shuffle_seed, *repeat);
            match FolderCamera::open(Arc::new(MonotonicClock), replay) {
                Ok(camera) => Finding::ok(format!("{} pictures below {}", camera.files().len(), path.display())),
                Err(error) => Finding::fail(error.to_string(), "set [camera] folder to one with pictures of that size"),
            }
        }
        Source::Simulated { .. } => Finding::ok("the camera is simulated"),
        Source::V4l2(camera) => v4l2(&camera.device),
    }
}

/// Whether the camera is there and says what it offers; it is not streamed, which would take it from a running daemon.
#[cfg(feature = "v4l2")]
fn v4l2(device: &Path) -> Finding {
    let Ok(device) = std::fs::canonicalize(device) else {
        let message = format!("there is no camera {}", device.display());
        return Finding::fail(message, "plug it in, or take a path that `zoomgate devices` prints");
    };
    match crate::camera::v4l2::list().into_iter().find(|offer| offer.node == device) {
        Some(offer) => Finding::ok(format!("{} at {}", offer.name, device.display())),
        None => Finding::fail(
            format!("{} is no camera that can be opened", device.display()),
            "add the account to the group `video`, or take a path that `zoomgate devices` prints",
        ),
    }
}

#[cfg(not(feature = "v4l2"))]
fn v4l2(device: &Path) -> Finding {
    Finding::fail(format!("this build cannot read {}", device.display()), "build zoomgate with the cargo feature v4l2")
}

pub(super) fn outputs(subject: &Subject) -> Finding {
    let Some(config) = subject.config() else { return Finding::without_config() };
    match &config.gpio.backend {
        Backend::Recorded { path, .. } => Finding::ok(format!(
            "nothing is driven: the edges of {} are written to {}",
            config.reject.line,
            path.display()
        )),
        Backend::None => Finding::ok("nothing is driven ([gpio] backend = \"none\")"),
        Backend::Gpiocdev => kernel_lines(config),
        #[cfg(feature = "rppal")]
        Backend::Rppal => Finding::warn(
            "nothing owns the lines of [gpio] backend = \"rppal\": another program may drive them as well",
            "choose \"gpiocdev\", which holds its lines",
        ),
        #[cfg(not(feature = "rppal"))]
        Backend::Rppal => Finding::fail(
            "this build cannot drive the lines of [gpio] backend = \"rppal\"",
            "choose \"gpiocdev\", or build zoomgate with the cargo feature rppal",
        ),
    }
}

/// Whether every line that the configuration names is there and free, or who holds it.
fn kernel_lines(config: &Config) -> Finding {
    let cdev = Cdev::new(config.gpio.chip.clone());
    for name in named_lines(config) {
        match cdev.holder(name) {
            Ok(None) => {}
            // The daemon itself, which may run meanwhile.
            Ok(Some(holder)) if holder == CONSUMER => {}
            // The next start takes it over.
            Ok(Some(holder)) if guardian(&holder).is_some() => {}
            Ok(Some(holder)) => {
                let who =
                    if holder.is_empty() { "a program that gives no name".to_owned() } else { format!("`{holder}`") };
                let message = format!("line {name} is held by {who}");
                return Finding::fail(message, "end that program, or take another line");
            }
            Err(error) if error.kind() == ErrorKind::Refused => {
                let message =
                    format!("line {name} cannot be looked for: a GPIO chip may not be opened by this account");
                return Finding::fail(message, admit("gpio"));
            }
            Err(error) => {
                return Finding::fail(
                    error.message(),
                    "take a name that `zoomgate devices` prints, or `gpiochipN:OFFSET`",
                );
            }
        }
    }
    Finding::ok("every named line is there, and free or zoomgate's")
}

/// The lines of the plant, the reject line first.
fn named_lines(config: &Config) -> Vec<&String> {
    let Config { outputs, inputs, encoder, confirm, .. } = config;
    let (result, encoder) = (outputs.result.as_ref(), encoder.as_ref());
    let eye = match &config.trigger {
        Trigger::PhotoEye { line, .. } => Some(line),
        _ => None,
    };
    let optional = [
        eye,
        outputs.ready.as_ref(),
        outputs.fault.as_ref(),
        outputs.stop_line.as_ref(),
        result.map(|r| &r.line),
        result.and_then(|r| r.valid.as_ref()),
        outputs.heartbeat.as_ref().map(|h| &h.line),
        outputs.light.as_ref().map(|l| &l.line),
        encoder.map(|e| &e.line_a),
        encoder.and_then(|e| e.line_b.as_ref()),
        confirm.as_ref().map(|c| &c.line),
    ];
    let further = [&inputs.bin_full, &inputs.reset].into_iter().chain(&inputs.recipe);
    let named = optional.into_iter().chain(further.map(|input| input.as_ref().map(|i| &i.line)));
    std::iter::once(&config.reject.line).chain(named.flatten()).collect()
}

/// How an account gets in.
fn admit(group: &str) -> String {
    format!(
        "add the account to the group {group} (`usermod -aG {group} zoomgate`), install systemd/60-zoomgate.rules, and \
         log in again"
    )
}

/// Device nodes of cameras and GPIO chips must be open to the account that runs this.
pub(super) fn devices(subject: &Subject) -> Finding {
    let nodes = [("video", "a camera", "video"), ("gpiochip", "a GPIO chip", "gpio")];
    let mut open = 0;
    for (prefix, what, usual) in nodes {
        for node in subject.glob("dev", prefix, "") {
            if rustix::fs::access(&node, Access::READ_OK | Access::WRITE_OK).is_err() {
                let message = format!("{} ({what}) may not be opened by this account", node.display());
                return Finding::fail(message, admit(admitting(&group_of(subject, &node), usual)));
            }
            open += 1;
        }
    }
    Finding::ok(format!("{open} camera and GPIO devices, all open to this account"))
}

fn group_of(subject: &Subject, node: &Path) -> String {
    let gid = std::fs::metadata(node).map(|meta| meta.gid()).unwrap_or_default().to_string();
    let groups = subject.read("etc/group").unwrap_or_default();
    // name:password:gid:members
    let line = groups.lines().find(|line| line.split(':').nth(2) == Some(&gid));
    line.and_then(|line| line.split(':').next()).map_or(gid.clone(), str::to_owned)
}

/// The group that an account is added to for a node of `group`: never that of root, which a node without rules has.
fn admitting<'a>(group: &'a str, usual: &'a str) -> &'a str {
    if group == "root" || group == "0" { usual } else { group }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_told_to_join_the_group_of_root() {
        for (group, joins) in [("root", "video"), ("0", "video"), ("44", "44"), ("plugdev", "plugdev")] {
            assert_eq!(admitting(group, "video"), joins);
        }
    }

    #[test]
    fn every_line_that_a_configuration_can_name_is_asked_for() {
        let lines = "gpio.backend = \"gpiocdev\"\n\
                     camera = { source = \"folder\", folder = \"x\" }\n\
                     trigger = { source = \"photo_eye\", line = \"l1\" }\n\
                     reject = { line = \"l0\", travel_mm = 300, belt_speed_mm_s = 300, belt = \"encoder\" }\n\
                     encoder = { line = \"l8\", second_line = \"l9\", mm_per_pulse = 1 }\n\
                     confirm = { by = \"eye\", line = \"l10\", travel_mm = 100 }\n\
                     outputs = { ready = \"l2\", fault = \"l3\", stop_line = \"l4\", result = \"l5\", \
                     result_valid = \"l6\", heartbeat = \"l7\", light = \"l17\" }\n\
                     inputs = { bin_full = \"l11\", reset = \"l12\", recipe_one = \"l13\", recipe_two = \"l14\", \
                     recipe_four = \"l15\", recipe_eight = \"l16\" }\n\
                     safety = { on_uninspected = \"reject\", on_missed_reject = \"alarm\" }\n";
        let config = crate::config::parse(lines, Path::new("config.toml")).unwrap();
        let mut named: Vec<_> = named_lines(&config).into_iter().cloned().collect();
        assert_eq!(named[0], "l0");
        named.sort();
        let mut wanted: Vec<_> = (0..=17).map(|n| format!("l{n}")).collect();
        wanted.sort();
        assert_eq!(named, wanted);
    }
}
