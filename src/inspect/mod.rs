//! Inspection: a frame in, an [`Inspection`] out. Looks at the whole, zooms into what is suspicious, scores both.

pub mod aligned;
pub mod crop;
pub mod empty;
pub mod frozen;
pub mod intensity;
pub mod model;
pub mod notes;
pub mod overlay;
pub mod preprocess;
pub mod recipe;
pub mod register;
pub mod scene;
pub mod sight;

use std::time::Duration;

use crate::error::Result;
use crate::frame::Frame;
use crate::frame::geometry::Roi;
use crate::units::Score;

pub use sight::{Blindness, Unseen};

/// The most crops one inspection can hold.
pub const CROPS_MAX: usize = 4;

/// The raw evidences of one view, before standardisation; higher is more anomalous.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Evidence {
    /// Distance to the prototypes of good parts.
    pub normality: f32,
    /// Response of the head that was taught the known defects; `None` where none were taught.
    pub known: Option<f32>,
    /// Log odds that the view as a whole looks like the known bad parts; `None` where none were taught.
    pub overall: Option<f32>,
}

/// Up to [`CROPS_MAX`] crops in frame pixels, most suspicious first.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Crops {
    rois: [Roi; CROPS_MAX],
    len: usize,
}

impl Crops {
    /// Appends a crop; a full list stays as it is.
    pub fn push(&mut self, roi: Roi) {
        if self.len < CROPS_MAX {
            self.rois[self.len] = roi;
            self.len += 1;
        }
    }

    /// The crops, most suspicious first.
    pub fn as_slice(&self) -> &[Roi] {
        &self.rois[..self.len]
    }
}

/// Time spent in each stage of one inspection.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StageTimes {
    /// Frame to the full image's model input.
    pub convert: Duration,
    /// The full image through the model.
    pub full: Duration,
    /// Attention to crops, their pixels, and the crops through the model.
    pub zoom: Duration,
    /// What the model's passes take of both: the rest is ours.
    pub passes: Duration,
    /// All of it.
    pub total: Duration,
}

/// What one inspection found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Inspection {
    /// The fused score that is compared with the threshold.
    pub score: Score,
    /// The full image's fused score alone.
    pub score_full: Score,
    /// The crops' fused score alone; `None` when the zoom was skipped.
    pub score_zoom: Option<Score>,
    /// Raw evidences of the full image.
    pub full: Evidence,
    /// Raw evidences of the strongest crop.
    pub zoom: Option<Evidence>,
    /// Where the zoom looked.
    pub crops: Crops,
    /// How long it took.
    pub times: StageTimes,
}

/// Anything that can inspect frames: the model, or a stand-in with a known answer in tests of the line.
pub trait Inspect: Send {
    /// Why this frame cannot be judged; `None` where it can. Asked before [`inspect`](Self::inspect), which is left out where
    /// there is an answer.
    fn look(&mut self, frame: &Frame) -> Option<Unseen>;

    /// Inspects one frame. Runs on the `insp` thread only; may take as long as it takes, the part's deadline is kept
    /// elsewhere.
    ///
    /// # Errors
    /// When the frame cannot be inspected (its part becomes `Uninspected`).
    fn inspect(&mut self, frame: &Frame) -> Result<Inspection>;
}
