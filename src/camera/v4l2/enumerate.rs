//! What a device offers, asked of the kernel through the `v4l` crate; and the list of all cameras.
//!
//! What a driver does not answer is left out, never guessed: a camera without rates has no rates here.

use std::error::Error as _;
use std::path::{Path, PathBuf};

use v4l::capability::Flags as Capability;
use v4l::frameinterval::FrameIntervalEnum;
use v4l::framesize::FrameSizeEnum;
use v4l::video::Capture;
use v4l::{FourCC, control};

use super::controls::IDS;
use super::device::{explain, guarded};
use super::offer::{ControlOffer, FormatOffer, Fraction, Interval, Offer, SizeOffer, Steps, code_as_text};
use crate::camera::convert::PixelFormat;

pub(super) fn own(fraction: v4l::Fraction) -> Fraction {
    Fraction { numerator: fraction.numerator, denominator: fraction.denominator }
}

pub(super) fn formats_of(device: &v4l::Device) -> Vec<FormatOffer> {
    let formats = guarded(|| device.enum_formats()).unwrap_or_default();
    let offer = |description: v4l::format::Description| FormatOffer {
        is_read: PixelFormat::of_code(description.fourcc.repr).is_some(),
        code: code_as_text(description.fourcc.repr),
        description: description.description,
        sizes: sizes_of(device, description.fourcc),
    };
    formats.into_iter().map(offer).collect()
}

fn sizes_of(device: &v4l::Device, code: FourCC) -> Vec<SizeOffer> {
    let offer = |size: v4l::FrameSize| {
        let (width, height) = match size.size {
            FrameSizeEnum::Discrete(one) => (Steps::one(one.width), Steps::one(one.height)),
            FrameSizeEnum::Stepwise(s) => (
                Steps { min: s.min_width, max: s.max_width, step: s.step_width },
                Steps { min: s.min_height, max: s.max_height, step: s.step_height },
            ),
        };
        // Rates may differ over a range of sizes; the smallest speaks for it, and what is granted is compared.
        SizeOffer { width, height, intervals: intervals_of(device, code, (width.min, height.min)) }
    };
    guarded(|| device.enum_framesizes(code)).unwrap_or_default().into_iter().map(offer).collect()
}

fn intervals_of(device: &v4l::Device, code: FourCC, (width, height): (u32, u32)) -> Vec<Interval> {
    let offer = |interval: v4l::FrameInterval| match interval.interval {
        FrameIntervalEnum::Discrete(one) => Interval::One(own(one)),
        FrameIntervalEnum::Stepwise(s) => Interval::Between(own(s.min), own(s.max)),
    };
    let intervals = guarded(|| device.enum_frameintervals(code, width, height)).unwrap_or_default();
    intervals.into_iter().map(offer).collect()
}

pub(super) fn controls_of(device: &v4l::Device) -> Vec<ControlOffer> {
    use control::Type::{Boolean, Integer, Integer64, IntegerMenu, Menu};
    let single = |d: &control::Description| {
        matches!(d.typ, Boolean | Integer | Integer64 | IntegerMenu | Menu)
            && !d.flags.intersects(control::Flags::DISABLED | control::Flags::HAS_PAYLOAD)
    };
    let offer = |d: control::Description| {
        let menu = d.items.unwrap_or_default().into_iter().map(|(value, word)| (value.into(), word.to_string()));
        ControlOffer {
            id: d.id,
            min: d.minimum,
            max: d.maximum,
            step: d.step.max(1),
            default: d.default,
            value: value_of(device, d.id),
            menu: menu.collect(),
            is_read_only: d.flags.contains(control::Flags::READ_ONLY),
            is_inactive: d.flags.contains(control::Flags::INACTIVE),
            name: d.name,
        }
    };
    match guarded(|| device.query_controls()) {
        Ok(found) => found.into_iter().filter(single).map(offer).collect(),
        Err(_) => probe_controls(device),
    }
}

/// Where one control of an unknown type hides the list: what answers, with the range that a number has. What the driver
/// makes of a value shows when it is read back.
fn probe_controls(device: &v4l::Device) -> Vec<ControlOffer> {
    let offer = |id: u32| {
        let value = value_of(device, id)?;
        Some(ControlOffer {
            id,
            name: format!("{id:#x}"),
            min: i32::MIN.into(),
            max: i32::MAX.into(),
            step: 1,
            default: value,
            value: Some(value),
            menu: vec![],
            is_read_only: false,
            is_inactive: false,
        })
    };
    IDS.into_iter().filter_map(offer).collect()
}

pub(super) fn value_of(device: &v4l::Device, id: u32) -> Option<i64> {
    match guarded(|| device.control(id)).ok()?.value {
        control::Value::Integer(value) => Some(value),
        control::Value::Boolean(value) => Some(value.into()),
        _ => None,
    }
}

/// Every camera of this machine: nodes that capture pictures, by their numbers. Opens each for a moment; does not
/// disturb one that streams.
///
/// A node that cannot be opened (held exclusively, no permission) is left out with a warning in the log.
pub fn list() -> Vec<Offer> {
    let mut nodes = v4l::context::enum_devices();
    nodes.retain(|node| is_node(node.path()));
    nodes.sort_by_key(v4l::context::Node::index);
    nodes.iter().filter_map(|node| offer_of(node.path())).collect()
}

/// `/dev/video` and a number.
fn is_node(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let number = name.and_then(|name| name.strip_prefix("video"));
    number.is_some_and(|number| !number.is_empty() && number.len() < 6 && number.bytes().all(|b| b.is_ascii_digit()))
}

fn offer_of(node: &Path) -> Option<Offer> {
    let opened = v4l::Device::with_path(node).and_then(|device| guarded(|| device.query_caps()).map(|c| (device, c)));
    let (device, caps) = match opened {
        Ok(opened) => opened,
        Err(cause) => {
            let error = explain("look at", node, cause);
            log::warn!("{error} ({})", error.source().map(ToString::to_string).unwrap_or_default());
            return None;
        }
    };
    if !caps.capabilities.contains(Capability::VIDEO_CAPTURE | Capability::STREAMING) {
        return None;
    }
    Some(Offer {
        node: node.to_owned(),
        stable_paths: stable_paths(node, &["/dev/v4l/by-id", "/dev/v4l/by-path"].map(Path::new)),
        name: caps.card,
        driver: caps.driver,
        bus: caps.bus,
        formats: formats_of(&device),
        controls: controls_of(&device),
    })
}

/// The links in `folders` that lead to `node`, in byte order.
fn stable_paths(node: &Path, folders: &[&Path]) -> Vec<PathBuf> {
    let Ok(target) = node.canonicalize() else { return Vec::new() };
    let entries = folders.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten();
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.canonicalize().is_ok_and(|leads_to| leads_to == target));
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbered_nodes_are_looked_at() {
        for (path, is) in
            [("/dev/video0", true), ("/dev/video63", true), ("/dev/video", false), ("/dev/video-dec0", false)]
        {
            assert_eq!(is_node(Path::new(path)), is, "{path}");
        }
    }

    #[test]
    fn links_that_lead_to_the_node_are_its_stable_paths() {
        let folder = tempfile::tempdir().unwrap();
        let node = folder.path().join("video7");
        std::fs::write(&node, "").unwrap();
        let by_id = folder.path().join("by-id");
        std::fs::create_dir(&by_id).unwrap();
        std::os::unix::fs::symlink("../video7", by_id.join("usb-cam")).unwrap();
        std::os::unix::fs::symlink("../video8", by_id.join("usb-other")).unwrap();
        let missing = folder.path().join("by-path");
        assert_eq!(stable_paths(&node, &[&by_id, &missing]), [by_id.join("usb-cam")]);
    }
}
