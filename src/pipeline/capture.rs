//! The capture loop (`cap`): camera to link. Waits for the camera and for nothing else.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Captured, Shared};
use crate::camera::{BrokenFrame, Camera, Grab, Tripwire};
use crate::error::{Error, ErrorKind};
use crate::frame::Frame;
use crate::telemetry::Counters;
use crate::units::FrameId;

/// Pause before a camera that does not deliver is asked again. Chosen: a USB camera needs about a second to come back.
const RETRY: Duration = Duration::from_secs(1);

/// Captures until the camera ends or `act` needs no more frames.
///
/// A frame that is not `size` (width, height) is broken. A frame that finds the link full is dropped: `act` misses its
/// number. A tripwire looks at each frame of that size; that a part came is kept until a frame carries it to `act`.
pub fn capture(shared: &Shared, camera: &mut dyn Camera, size: (u32, u32), mut tripwire: Option<Tripwire>) {
    let mut tripped_at = None;
    let beats = &shared.board.beats;
    let mut is_learning = tripwire.is_some();
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
    use crate::clock::{Bell, SimClock, Timestamp};
    use crate::frame::geometry::Roi;
    use crate::pipeline::queue::Next;
    use crate::pipeline::{Capacity, Stop};

    /// Empty frames, one with a part, empty ones again.
    struct Film(u64);

    impl Camera for Film {
        fn grab(&mut self, _bell: &Bell) -> Grab {
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
        fn grab(&mut self, bell: &Bell) -> Grab {
            let grab = self.film.grab(bell);
            if matches!(&grab, Grab::End) || self.film.0 == 35 {
                while let Next::Item(item) = self.shared.frames.next() {
                    self.taken.push(item);
                }
            }
            grab
        }
    }
}
