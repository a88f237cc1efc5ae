//! The capture loop (`cap`): camera to link. Waits for the camera and for nothing else.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Captured, Shared};
use crate::camera::{BrokenFrame, Camera, CameraFault, Grab, Tripwire};
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind};
use crate::frame::Frame;
use crate::telemetry::Counters;
use crate::units::FrameId;

/// Pause before a camera that does not deliver is asked again. Chosen: a USB camera needs about a second to come back, and
/// is to deliver within two; asking for one that is not there is a call that fails at once.
pub const RETRY: Duration = Duration::from_millis(250);

/// How often a camera that stays away is spoken of again.
pub const REMINDER: Duration = Duration::from_secs(60);

/// Captures until the camera ends or `act` needs no more frames.
///
/// A frame that is not `size` (width, height) is broken. A frame that finds the link full is dropped: `act` misses its
/// number. A tripwire looks at each frame of that size; that a part came is kept until a frame carries it to `act`.
/// A camera that does not deliver is asked again each [`RETRY`]; `act` hears of it when it goes, each [`REMINDER`] and
/// when it is back.
pub fn capture(shared: &Shared, camera: &mut dyn Camera, size: (u32, u32), mut tripwire: Option<Tripwire>) {
    let mut tripped_at = None;
    let beats = &shared.board.beats;
    let mut is_learning = tripwire.is_some();
    let mut outage = None;
    while !shared.capture_over.load(Ordering::SeqCst) {
        let captured = match camera.grab(&shared.cap_bell) {
            Grab::Idle => {
                beats.idle.set(shared.clock.now());
                beats.camera_down.clear();
                // One that was silent, or spoke of another time, has to show a frame before it is believed.
                if outage.as_ref().is_some_and(|o: &Outage| o.fault == CameraFault::Disconnected) {
                    tell_back(shared, &mut outage);
                }
                continue;
            }
            Grab::End => return,
            Grab::Frame(frame) => {
                note_frame(shared, frame.id);
                tell_back(shared, &mut outage);
                check_size(frame, size)
            }
            Grab::Broken(broken) => {
                note_frame(shared, broken.id);
                tell_back(shared, &mut outage);
                Captured::Broken(broken)
            }
            Grab::Fault(fault, error) => {
                beats.camera_down.begin(shared.clock.now());
                tell_down(shared, &mut outage, fault, error);
                shared.clock.wait(&shared.cap_bell, Some(shared.clock.now() + RETRY));
                continue;
            }
        };
        let captured = match captured {
            Captured::Frame(frame) if tripwire.as_mut().is_some_and(|wire| wire.look(&frame)) => {
                Captured::Trip(frame.exposure_at, frame)
            }
            captured => captured,
        };
        if is_learning && tripwire.as_ref().is_some_and(Tripwire::has_learnt) {
            // Before the frame, which wakes `act`: with it the line is ready.
            beats.learning.clear();
            is_learning = false;
        }
        let captured = match (captured, tripped_at.take()) {
            (Captured::Frame(frame), Some(at)) => Captured::Trip(at, frame),
            (captured, _) => captured,
        };
        if let Err(Captured::Trip(at, _)) = shared.frames.try_push(captured) {
            tripped_at = Some(at);
        }
    }
}

/// Since when the camera does not deliver, and when `act` last heard of it.
struct Outage {
    since: Timestamp,
    told_at: Option<Timestamp>,
    fault: CameraFault,
}

fn tell_down(shared: &Shared, outage: &mut Option<Outage>, fault: CameraFault, error: Error) {
    let now = shared.clock.now();
    let outage = outage.get_or_insert(Outage { since: now, told_at: None, fault });
    outage.fault = fault;
    let is_due = outage.told_at.is_none_or(|at| now.since(at) >= REMINDER);
    // What finds the link full is told at the next try.
    if is_due && shared.frames.try_push(Captured::Fault(fault, error)).is_ok() {
        outage.told_at = Some(now);
    }
}

fn tell_back(shared: &Shared, outage: &mut Option<Outage>) {
    let Some(Outage { since, told_at, .. }) = *outage else { return };
    let down = shared.clock.now().since(since);
    if told_at.is_none() || shared.frames.try_push(Captured::Back(down)).is_ok() {
        *outage = None;
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::camera::tripwire;
    use crate::clock::{SimClock, Timestamp, WakeToken};
    use crate::frame::geometry::Roi;
    use crate::pipeline::queue::Next;
    use crate::pipeline::{Capacity, Stop};

    /// Empty frames, one with a part, empty ones again.
    struct Film(u64);

    impl Camera for Film {
        fn grab(&mut self, _bell: &WakeToken) -> Grab {
            self.0 += 1;
            if self.0 > 40 {
                return Grab::End;
            }
            let grey = if self.0 == 30 { 200 } else { 20 };
            let mut frame = Frame::still(2, 2, vec![grey; 12]);
            (frame.id, frame.exposure_at) = (FrameId(self.0 - 1), Timestamp(self.0));
            Grab::Frame(frame)
        }
    }

    #[test]
    fn a_trip_whose_frame_is_dropped_goes_with_the_next_one() {
        let capacity = Capacity { jobs: 1, ledger: 1 };
        let shared = Shared::new(Arc::new(SimClock::new()), Arc::default(), Stop::new(), capacity);
        let strip = Roi { x: 0, y: 0, width: 2, height: 2 };
        let wire = || Tripwire::new(tripwire::Settings { strip, trip_level: 20.0, clear_level: 10.0 });
        // Nobody reads: the eight frames that fit come first, the trip finds the link full and stays with `cap`.
        let mut film = Film(0);
        let mut taken = Vec::new();
        let mut emptied = TakeAt { film: &mut film, shared: &shared, taken: &mut taken };
        capture(&shared, &mut emptied, (2, 2), Some(wire()));
        let trips: Vec<_> = taken
            .iter()
            .filter_map(|c| if let Captured::Trip(at, frame) = c { Some((at.0, frame.exposure_at.0)) } else { None })
            .collect();
        assert_eq!(trips, [(30, 35)], "tripped in frame 30, carried by the first that found room");
    }

    /// Empties the link before frame 35 and at the end.
    struct TakeAt<'a> {
        film: &'a mut Film,
        shared: &'a Shared,
        taken: &'a mut Vec<Captured>,
    }

    impl Camera for TakeAt<'_> {
        fn grab(&mut self, token: &WakeToken) -> Grab {
            let grab = self.film.grab(token);
            if matches!(&grab, Grab::End) || self.film.0 == 35 {
                while let Next::Item(item) = self.shared.frames.next() {
                    self.taken.push(item);
                }
            }
            grab
        }
    }
}
