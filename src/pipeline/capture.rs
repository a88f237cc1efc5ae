//! The capture loop (`cap`): camera to link. Waits for the camera and for nothing else.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Captured, Shared};
use crate::camera::{BrokenFrame, Camera, Grab};
use crate::error::{Error, ErrorKind};
use crate::frame::Frame;
use crate::telemetry::Counters;
use crate::units::FrameId;

/// Pause before a camera that does not deliver is asked again. Chosen: a USB camera needs about a second to come back.
const RETRY: Duration = Duration::from_secs(1);

/// Captures until the camera ends or `act` needs no more frames.
///
/// A frame that is not `size` (width, height) is broken. A frame that finds the link full is dropped: `act` misses its
/// number.
pub fn capture(shared: &Shared, camera: &mut dyn Camera, size: (u32, u32)) {
    let beats = &shared.board.beats;
    while !shared.capture_over.load(Ordering::SeqCst) {
        let captured = match camera.grab(&shared.cap_bell) {
            Grab::Idle => {
                beats.idle.set(shared.clock.now());
                beats.camera_down.clear();
                continue;
            }
            Grab::End => return,
            Grab::Frame(frame) => {
                note_frame(shared, frame.id);
                check_size(frame, size)
            }
            Grab::Broken(broken) => {
                note_frame(shared, broken.id);
                Captured::Broken(broken)
            }
            Grab::Fault(fault, error) => {
                beats.camera_down.begin(shared.clock.now());
                _ = shared.frames.try_push(Captured::Fault(fault, error));
                shared.clock.wait(&shared.cap_bell, Some(shared.clock.now() + RETRY));
                continue;
            }
        };
        _ = shared.frames.try_push(captured);
    }
}

fn note_frame(shared: &Shared, id: FrameId) {
    Counters::add(&shared.counters.frames);
    shared.board.beats.frame.set(shared.clock.now());
    shared.board.beats.camera_down.clear();
    shared.exposed.store(id.0 + 1, Ordering::SeqCst);
}

fn check_size(frame: Frame, (width, height): (u32, u32)) -> Captured {
    if (frame.width, frame.height) == (width, height) {
        return Captured::Frame(frame);
    }
    let message = format!(
        "frame {} is {}x{}, [camera] says {width}x{height}: set width and height to the camera's",
        frame.id.0, frame.width, frame.height
    );
    let error = Error::new(ErrorKind::Refused, message);
    Captured::Broken(BrokenFrame { id: frame.id, exposure_at: frame.exposure_at, error })
}
