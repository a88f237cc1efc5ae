//! Checks of what stands at the belt: camera, output lines, the devices behind them.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::Access;

use super::{Finding, Subject};
use crate::camera::folder::Replay;
use crate::camera::{FolderCamera, Source};
use crate::clock::MonotonicClock;
use crate::gpio::Backend;

pub(super) fn camera(subject: &Subject) -> Finding {
    let Some(config) = subject.config() else { return Finding::without_config() };
    let settings = &config.camera;
    match &settings.source {
        Source::Folder { path, shuffle_seed, repeat } => {
            let replay = Replay {
                folder: path.clone(),
                shuffle_seed: *shuffle_seed,
                repeat: *repeat,
                period: Duration::ZERO,
                size: (settings.width, settings.height),
            };
            match FolderCamera::open(Arc::new(MonotonicClock), replay) {
                Ok(camera) => Finding::ok(format!("{} pictures below {}", camera.files().len(), path.display())),
                Err(error) => Finding::fail(error.to_string(), "set [camera] folder to one with pictures of that size"),
            }
        }
        Source::Simulated { .. } => Finding::ok("the camera is simulated"),
    }
}

pub(super) fn outputs(subject: &Subject) -> Finding {
    let Some(config) = subject.config() else { return Finding::without_config() };
    match &config.gpio.backend {
        Backend::Recorded { path } => Finding::ok(format!(
            "nothing is driven: the edges of {} are written to {}",
            config.reject.line,
            path.display()
        )),
        Backend::None => Finding::ok("nothing is driven ([gpio] backend = \"none\")"),
    }
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
