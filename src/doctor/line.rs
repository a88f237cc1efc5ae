//! Checks of what stands at the belt: camera, output lines, the devices behind them.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::Access;

use super::{Finding, Subject};
use crate::camera::folder::Replay;
use crate::camera::{FolderCamera, Source};
use crate::clock::MonotonicClock;
use crate::config::Config;
use crate::gpio::Backend;

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
        Backend::Rppal => Finding::warn(
            "nothing owns the lines of [gpio] backend = \"rppal\": another program may drive them as well",
            "choose \"gpiocdev\", which holds its lines",
        ),
    }
}

/// Whether every output is there and free, or who holds it.
fn kernel_lines(config: &Config) -> Finding {
    let chips = crate::gpio::cdev::list();
    if chips.is_empty() {
        return Finding::fail(
            "there is no GPIO chip (/dev/gpiochip*)",
            "load the board's driver, or choose another [gpio] backend",
        );
    }
    let outputs = &config.outputs;
    let beside = [&outputs.ready, &outputs.fault, &outputs.stop_line].into_iter().flatten();
    for name in std::iter::once(&config.reject.line).chain(beside) {
        // A line given as chip and offset is looked at when it is requested.
        if name.contains(':') || name.parse::<u32>().is_ok() {
            continue;
        }
        match chips.iter().flat_map(|chip| &chip.lines).find(|line| line.name == *name) {
            None => {
                let message = format!("no GPIO line is called {name}");
                return Finding::fail(message, "take a name that `zoomgate devices` prints, or `gpiochipN:OFFSET`");
            }
            Some(line) if line.is_used && line.consumer != "zoomgate" => {
                let message = format!("line {name} is held by `{}`", line.consumer);
                return Finding::fail(message, "end that program, or take another line");
            }
            Some(_) => {}
        }
    }
    Finding::ok("every named output line is there and free")
}

/// Device nodes of cameras and GPIO chips must be open to the account that runs this.
pub(super) fn devices(subject: &Subject) -> Finding {
    let nodes = [("video", "a camera"), ("gpiochip", "a GPIO chip")];
    let mut open = 0;
    for (prefix, what) in nodes {
        for node in subject.glob("dev", prefix, "") {
            if rustix::fs::access(&node, Access::READ_OK | Access::WRITE_OK).is_err() {
                let group = group_of(subject, &node);
                return Finding::fail(
                    format!("{} ({what}) may not be opened by this account", node.display()),
                    format!(
                        "add the account to the group {group} (`usermod -aG {group} zoomgate`), install \
                         systemd/60-zoomgate.rules, and log in again"
                    ),
                );
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
