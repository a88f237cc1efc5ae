//! The simulated camera: exposes one frame for each part that passes the photo-eye.
//!
//! Each part is rendered before its exposure is due. What was drawn goes to the [`GroundTruth`] and nowhere else: the
//! frame that enters the pipeline holds pixels and times only.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Defect, PartSource, Rendered};
use crate::camera::{BrokenFrame, Camera, Grab};
use crate::clock::{Clock, Timestamp, Wake, WakeToken};
use crate::error::{Error, ErrorKind};
use crate::frame::Frame;
use crate::units::{FrameId, PartId};

/// From the photo-eye's edge to the exposure. Chosen: a strobed camera triggered by the same eye.
pub const EXPOSURE_DELAY: Duration = Duration::from_millis(2);

/// From the exposure until the frame is in memory. Chosen: readout and transfer of a small USB camera.
pub const READOUT: Duration = Duration::from_millis(8);

/// What was drawn on each part, for a closing table only.
#[derive(Clone, Debug, Default)]
pub struct GroundTruth(Arc<Mutex<BTreeMap<u64, Vec<Defect>>>>);

impl GroundTruth {
    /// The defects drawn on a part; `None` if it never was in front of the camera.
    ///
    /// Parts are counted from 1 in the order in which they pass, as the ledger counts them.
    pub fn of(&self, part: PartId) -> Option<Vec<Defect>> {
        let index = part.0.checked_sub(1)?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&index).cloned()
    }

    fn note(&self, index: u64, truth: Vec<Defect>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(index, truth);
    }
}

/// What happens to one frame on its way from the sensor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mishap {
    /// It arrives.
    #[default]
    None,
    /// It is exposed and never arrives.
    Lost,
    /// It arrives damaged.
    Damaged,
}

/// A camera above a simulated belt.
pub struct SimCamera {
    clock: Arc<dyn Clock>,
    parts: Arc<dyn PartSource>,
    arrivals: Arc<[Timestamp]>,
    mishaps: Box<dyn FnMut(FrameId) -> Mishap + Send>,
    truth: GroundTruth,
    next: usize,
    ready: Option<Rendered>,
}

impl SimCamera {
    /// A camera that exposes part `n` of `parts` at `arrivals[n]` plus [`EXPOSURE_DELAY`].
    pub fn new(clock: Arc<dyn Clock>, parts: Arc<dyn PartSource>, arrivals: Arc<[Timestamp]>) -> Self {
        let mishaps = Box::new(|_| Mishap::None);
        Self { clock, parts, arrivals, mishaps, truth: GroundTruth::default(), next: 0, ready: None }
    }

    /// Lets things go wrong; asked once for each frame, in order.
    #[must_use]
    pub fn with_mishaps(mut self, mishaps: impl FnMut(FrameId) -> Mishap + Send + 'static) -> Self {
        self.mishaps = Box::new(mishaps);
        self
    }

    /// The record of what was drawn; it fills as parts are exposed.
    pub fn ground_truth(&self) -> GroundTruth {
        self.truth.clone()
    }
}

impl Camera for SimCamera {
    fn grab(&mut self, token: &WakeToken) -> Grab {
        loop {
            let Some(arrival) = self.arrivals.get(self.next) else { return Grab::End };
            let index = self.next as u64;
            let rendered = self.ready.take().unwrap_or_else(|| self.parts.render(index));
            let exposure_at = *arrival + EXPOSURE_DELAY;
            let due = exposure_at + READOUT;
            if self.clock.now() < due && self.clock.wait(token, Some(due)) == Wake::Woken {
                self.ready = Some(rendered);
                return Grab::Idle;
            }
            self.next += 1;
            let id = FrameId(index);
            let Rendered { width, height, rgb, truth } = rendered;
            self.truth.note(index, truth);
            match (self.mishaps)(id) {
                Mishap::None => {
                    let dequeued_at = self.clock.now();
                    return Grab::Frame(Frame { id, exposure_at, dequeued_at, width, height, rgb });
                }
                Mishap::Lost => {}
                Mishap::Damaged => {
                    let message = format!("frame {index} arrived damaged: check the camera's cable");
                    return Grab::Broken(BrokenFrame {
                        id,
                        exposure_at,
                        error: Error::new(ErrorKind::Corrupt, message),
                    });
                }
            }
        }
    }
}
