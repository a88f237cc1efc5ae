//! The V4L2 camera on a real kernel device. Opt-in, because a machine may have none: each test says so loudly.
//!
//! | variable | means |
//! |---|---|
//! | `ZOOMGATE_TEST_CAMERA` | the device, `/dev/videoN`; with `vivid` its test pattern is compared between formats |
//! | `ZOOMGATE_TEST_REPLUG` | a folder of a kernel driver and its device, `/sys/bus/platform/drivers/vivid vivid.0`: it is unbound and bound again; needs root |

#![cfg(feature = "v4l2")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use zoomgate::camera::convert::PixelFormat;
use zoomgate::camera::v4l2::offer::{Interval, SizeOffer};
use zoomgate::camera::v4l2::{Controls, Device, Driver, Offer, Settings, Setup, V4l2Camera, list};
use zoomgate::camera::{Camera, CameraFault, Grab};
use zoomgate::clock::{Clock, MonotonicClock, Timestamp, WakeToken};
use zoomgate::error::{ErrorKind, Result};
use zoomgate::frame::Frame;

/// The tests share one device.
static DEVICE: Mutex<()> = Mutex::new(());

fn variable(name: &str) -> Option<String> {
    let value = std::env::var(name).ok();
    if value.is_none() {
        eprintln!("SKIPPED: {name} is not set, so that nothing was tested on a real camera");
    }
    value
}

fn offer(node: &str) -> Offer {
    let target = Path::new(node).canonicalize().unwrap();
    list().into_iter().find(|offer| offer.node == target).unwrap_or_else(|| panic!("{node} is not in the list"))
}

/// A size that is offered, as small as the configuration takes, and the slowest rate that it has.
fn smallest(sizes: &[SizeOffer]) -> Option<((u32, u32), f64)> {
    let size = sizes.iter().min_by_key(|size| u64::from(size.width.min) * u64::from(size.height.min))?;
    let rate = |interval: &Interval| match interval {
        Interval::One(one) => one.rate_hz(),
        Interval::Between(shortest, _) => shortest.rate_hz(),
    };
    // The fastest: a slow emulator is no reason to wait longer, it drops frames as a slow board does.
    let rate_hz = size.intervals.iter().filter_map(rate).max_by(f64::total_cmp).unwrap_or(30.0);
    Some(((size.width.min, size.height.min), rate_hz))
}

fn open(node: &str, format: Option<PixelFormat>, size: (u32, u32), rate_hz: f64) -> Result<V4l2Camera<Device>> {
    let device = PathBuf::from(node);
    let stall = Duration::from_secs(5);
    let settings = Settings {
        device: device.clone(),
        format,
        controls: Controls::default(),
        stall,
        buffers: 4,
        detect_frozen: true,
    };
    let setup = Setup { device, size, stall, frames: 8 };
    V4l2Camera::open(Arc::new(MonotonicClock), Device::new(settings, size, rate_hz), setup)
}

/// The next frame; panics on anything else within ten seconds.
fn frame(camera: &mut impl Camera) -> Frame {
    let token = WakeToken::new();
    let until = MonotonicClock.now() + Duration::from_secs(10);
    while MonotonicClock.now() < until {
        match camera.grab(&token) {
            Grab::Frame(frame) => return frame,
            Grab::Idle => {}
            other => panic!("{other:?}"),
        }
    }
    panic!("no frame within ten seconds")
}

#[test]
fn every_offered_format_gives_the_same_picture() {
    let Some(node) = variable("ZOOMGATE_TEST_CAMERA") else { return };
    let _one_at_a_time = DEVICE.lock();
    let offer = offer(&node);
    println!("{} ({}), {} controls", offer.name, offer.driver, offer.controls.len());
    let mut pictures = BTreeMap::new();
    for offered in offer.formats.iter().filter(|format| format.is_read) {
        let Some((size, rate_hz)) = smallest(&offered.sizes) else { continue };
        let mut camera = open(&node, offered.format(), size, rate_hz).unwrap();
        let mut last: Option<Frame> = None;
        for _ in 0..5 {
            let frame = frame(&mut camera);
            assert_eq!((frame.width, frame.height), size);
            // `vivid` stamps the end of a frame's period, which may be a moment from now.
            let period = Duration::from_secs_f64(1.0 / rate_hz);
            let (exposed, taken) = (frame.exposure_at, frame.dequeued_at);
            assert!(exposed <= taken + period, "{}: {:?} in the future", offered.code, exposed.since(taken));
            assert!(taken.since(exposed) < Duration::from_secs(2), "{}: {:?} old", offered.code, taken.since(exposed));
            if let Some(last) = &last {
                assert!(frame.id > last.id && frame.exposure_at > last.exposure_at);
            }
            last = Some(frame);
        }
        let last = last.unwrap();
        println!("{}: {}x{} at {rate_hz} Hz, number {}", offered.code, size.0, size.1, last.id.0);
        pictures.insert(offered.code.clone(), last);
    }
    assert!(!pictures.is_empty(), "{node} offers nothing that is read: {offer:?}");
    if offer.driver == "vivid" {
        compare_bars(&pictures);
    }
}

/// The middles of the colour bars, below what vivid writes into its pictures, against those of RGB3.
fn compare_bars(pictures: &BTreeMap<String, Frame>) {
    let bars = |frame: &Frame| -> Vec<[u8; 3]> {
        let (width, height) = (frame.width as usize, frame.height as usize);
        let middle = |bar: usize| ((height - 6) * width + (2 * bar + 1) * width / 16) * 3;
        (0..8).map(|bar| frame.rgb[middle(bar)..middle(bar) + 3].try_into().unwrap()).collect()
    };
    let expected = bars(&pictures["RGB3"]);
    println!("bars: {expected:?}");
    assert!(expected.windows(2).all(|pair| pair[0] != pair[1]), "these are no bars: {expected:?}");
    for (code, frame) in pictures {
        let is_grey = matches!(code.as_str(), "GREY" | "Y10" | "Y12" | "Y16");
        for (bar, (seen, rgb)) in bars(frame).iter().zip(&expected).enumerate() {
            // Grey formats carry luma: 0.299 R + 0.587 G + 0.114 B, of either range.
            let luma = (299 * u32::from(rgb[0]) + 587 * u32::from(rgb[1]) + 114 * u32::from(rgb[2])) / 1000;
            let wanted = if is_grey { [luma as u8; 3] } else { *rgb };
            let off = seen.iter().zip(wanted).map(|(a, b)| a.abs_diff(b)).max().unwrap();
            let tolerance = if is_grey { 24 } else { 10 };
            assert!(off <= tolerance, "{code}, bar {bar}: {seen:?} where RGB3 has {rgb:?}");
        }
    }
}

#[test]
fn what_is_not_offered_is_refused_with_the_list() {
    let Some(node) = variable("ZOOMGATE_TEST_CAMERA") else { return };
    let _one_at_a_time = DEVICE.lock();
    let error = open(&node, None, (33, 35), 30.0).err().expect("no camera has 33x35");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("no format of 33x35"), "{error}");
}

#[test]
fn a_camera_in_use_is_busy() {
    let Some(node) = variable("ZOOMGATE_TEST_CAMERA") else { return };
    let _one_at_a_time = DEVICE.lock();
    let offer = offer(&node);
    let format = offer.formats.iter().find(|format| format.is_read).unwrap();
    let (size, rate_hz) = smallest(&format.sizes).unwrap();
    let mut first = open(&node, format.format(), size, rate_hz).unwrap();
    frame(&mut first);
    let error = open(&node, format.format(), size, rate_hz).err().expect("it is in use");
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    frame(&mut first);
    assert_eq!(list().iter().filter(|o| o.node == offer.node).count(), 1, "a list disturbs nobody");
    frame(&mut first);
}

#[test]
fn controls_are_set_with_their_automatic_off_and_what_is_lacking_is_told() {
    let Some(node) = variable("ZOOMGATE_TEST_CAMERA") else { return };
    let _one_at_a_time = DEVICE.lock();
    let offer = offer(&node);
    let Some(gain) = offer.controls.iter().find(|control| control.name == "Gain") else {
        eprintln!("SKIPPED: {node} has no gain to set");
        return;
    };
    let format = offer.formats.iter().find(|format| format.is_read).unwrap();
    let (size, rate_hz) = smallest(&format.sizes).unwrap();
    let wanted = u64::try_from(gain.min + (gain.max - gain.min) / 3).unwrap();
    // 0x009a090a is FOCUS_ABSOLUTE.
    let has_focus = offer.controls.iter().any(|control| control.id == 0x009a_090a);
    let controls = Controls { gain: Some(wanted), focus: Some(1), ..Controls::default() };
    let stall = Duration::from_secs(5);
    let settings = Settings {
        device: node.clone().into(),
        format: format.format(),
        controls,
        stall,
        buffers: 4,
        detect_frozen: true,
    };
    let mut device = Device::new(settings, size, rate_hz);
    device.open().unwrap();
    let keys: Vec<&str> = device.deviations().iter().map(|deviation| deviation.key).collect();
    assert!(!keys.contains(&"gain"), "{:?}", device.deviations());
    assert_eq!(keys.contains(&"focus"), !has_focus, "{:?}", device.deviations());
    let now = list().into_iter().find(|other| other.node == offer.node).unwrap();
    let gain = now.controls.into_iter().find(|control| control.name == "Gain").unwrap();
    assert_eq!((gain.value, gain.is_inactive), (i64::try_from(wanted).ok(), false));
}

#[test]
fn a_replugged_camera_comes_back_within_two_seconds() {
    let Some(node) = variable("ZOOMGATE_TEST_CAMERA") else { return };
    let Some(replug) = variable("ZOOMGATE_TEST_REPLUG") else { return };
    let _one_at_a_time = DEVICE.lock();
    let (driver, device) = replug.split_once(' ').unwrap();
    let offer = offer(&node);
    let format = offer.formats.iter().find(|format| format.is_read).unwrap();
    let (size, rate_hz) = smallest(&format.sizes).unwrap();
    let mut camera = open(&node, format.format(), size, rate_hz).unwrap();
    let before = frame(&mut camera);
    std::fs::write(Path::new(driver).join("unbind"), device).unwrap();
    let token = WakeToken::new();
    // What the driver had finished may still come; then the camera is gone, and stays so.
    let mut faults = 0;
    for _ in 0..50 {
        match camera.grab(&token) {
            Grab::Fault(CameraFault::Disconnected, error) => {
                println!("{error}");
                faults += 1;
            }
            Grab::Frame(_) | Grab::Idle | Grab::Broken(_) => {}
            other => panic!("{other:?}"),
        }
        if faults == 2 {
            break;
        }
    }
    assert_eq!(faults, 2, "an unplugged camera is a fault at each grab");
    std::fs::write(Path::new(driver).join("bind"), device).unwrap();
    let plugged_at = MonotonicClock.now();
    let back = loop {
        match camera.grab(&token) {
            Grab::Frame(frame) => break frame,
            // As the capture loop does.
            Grab::Fault(..) => MonotonicClock.sleep_until(MonotonicClock.now() + Duration::from_secs(1)),
            _ => {}
        }
        assert!(MonotonicClock.now().since(plugged_at) < Duration::from_secs(10), "it does not come back");
    };
    let took = back.dequeued_at.since(plugged_at);
    println!("back after {took:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(back.id > before.id && back.exposure_at > before.exposure_at && back.exposure_at > Timestamp::ZERO);
}
