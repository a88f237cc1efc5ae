//! The table of contents of what a recipe keeps.

use serde::{Deserialize, Serialize};

use crate::train::weights::PER_VIEW;

/// Good views of each kind whose pooled features are kept, for [`crate::train::image_classifier`]: small, and there can be many.
pub(super) const POOLED: usize = 256;
/// Candidates of each kind, from which as many are kept as fit.
pub(super) const CANDIDATES: usize = 96;

/// Where the zoom looked in a held-out part: left, top, width and height as shares of the full image.
pub(in crate::train) type Place = [f64; 4];

/// What a view is kept for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Real,
    Held,
    Good,
    Mixed,
}

/// One packed view.
#[derive(Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    pub(super) view: usize,
    pub(super) bad: usize,
    /// [`QuantizedFeatures::at`].
    #[serde(default)]
    pub(super) at: [usize; 2],
    pub(super) bytes: usize,
}

/// The table of contents.
#[derive(Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) schema: u32,
    pub(super) grid: [usize; 2],
    pub(super) channels: usize,
    pub(super) good: Vec<String>,
    pub(super) bad: Vec<String>,
    pub(super) effects: [[Option<f64>; PER_VIEW]; 2],
    /// Lowest bits that were dropped of what is not exact.
    pub(super) dropped: u8,
    /// Numbers of one head, 0 without.
    pub(super) head: usize,
    pub(super) pooled: [usize; 2],
    pub(super) pooled_bad: [Vec<usize>; 2],
    /// The bad that each of them shows; recipes before 2026-11-29 do not say.
    #[serde(default)]
    pub(super) pooled_of: [Vec<Vec<usize>>; 2],
    /// Bytes of the deflated numbers: heads, then pooled features.
    pub(super) numbers: usize,
    /// Of each held-out part.
    pub(super) places: Vec<Vec<Place>>,
    pub(super) entries: Vec<Entry>,
}
