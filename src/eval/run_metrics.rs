//! The figures of one run over a test set, as they are and with its pictures perturbed.

use std::collections::BTreeMap;

use serde::Serialize;

use super::item::Label;
use super::metrics::{self, KindMetrics};

/// The overkill at which escapes of different scores are compared.
const EQUAL_OVERKILL: f64 = 0.01;

/// What the inspection of one test picture came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored<'a> {
    /// The kind of defect, `good` for a good part.
    pub kind: &'a str,
    /// What the picture truly shows.
    pub label: Label,
    /// The fused score that the threshold applies to.
    pub score: f32,
    /// Normality evidence alone.
    pub normality: f32,
    /// The full image alone.
    pub full: f32,
    /// The crops alone; `None` when the zoom was skipped.
    pub zoom: Option<f32>,
    /// Whether a line would judge it at all.
    pub is_seen: bool,
}

/// The figures of one run over a test set.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RunMetrics {
    /// The seed that drew the known defects; null in `eval`.
    pub seed: Option<u64>,
    /// The known defects that were drawn, relative to the data folder; null in `eval`.
    pub known: Option<Vec<String>>,
    /// AUROC over pictures of the fused score.
    pub auroc_image: Option<f64>,
    /// AUROC over pictures of the normality evidence alone.
    pub auroc_normality: Option<f64>,
    /// The threshold that the fused score was compared with.
    pub threshold: f64,
    /// Good pictures taught; null when the recipe does not say.
    pub good_train: Option<usize>,
    /// Good pictures tested.
    pub good_test: usize,
    /// Defective pictures tested.
    pub bad_test: usize,
    /// Average precision of the fused score.
    pub ap_image: Option<f64>,
    /// AUROC over pixels; null without masks.
    pub auroc_pixel: Option<f64>,
    /// AUROC over pictures of the full image alone.
    pub auroc_full: Option<f64>,
    /// AUROC over pictures of the crops alone; null unless every picture was zoomed.
    pub auroc_zoom: Option<f64>,
    /// Share of the pictures that were looked at closer.
    pub zoomed: Option<f64>,
    /// Share of the defective pictures that would pass.
    pub escape: Option<f64>,
    /// The same at the threshold at which 1 in 100 of these good pictures is rejected, whatever the recipe's own is.
    pub escape_1pct: Option<f64>,
    /// As `escape_1pct`, of the full image alone.
    pub escape_1pct_full: Option<f64>,
    /// Share of the defective pictures with a mask whose first crop holds half of the defect or more; null without masks.
    pub crop_holds: Option<f64>,
    /// Share of the good pictures that would be rejected.
    pub overkill: Option<f64>,
    /// Share of the good pictures that a line would not judge, since they show too little (see `inspect::sight`); in every
    /// other figure they count by their score.
    pub unseen_good: Option<f64>,
    /// The same of the defective pictures.
    pub unseen_bad: Option<f64>,
    /// Each kind of defect against all good pictures.
    pub by_kind: BTreeMap<String, KindMetrics>,
    /// Seconds that teaching took; null in `eval`.
    pub teach_s: Option<f64>,
    /// The test again with its pictures perturbed; null unless that was asked for.
    pub perturbed: Option<Vec<Perturbed>>,
}

impl RunMetrics {
    /// Works out all figures that follow from scores and threshold; the caller adds `seed`, `known`, `good_train`,
    /// `auroc_pixel`, `crop_holds`, `teach_s` and `perturbed`, which are left empty.
    ///
    /// # Panics
    /// If a score is NaN.
    pub fn measure(scored: &[Scored<'_>], threshold: f64) -> Self {
        let of = |label, value: fn(&Scored<'_>) -> f32| -> Vec<f32> {
            scored.iter().filter(|s| s.label == label).map(value).collect()
        };
        let ranking = |value| metrics::auroc(&of(Label::Good, value), &of(Label::Bad, value));
        let (good, bad) = (of(Label::Good, |s| s.score), of(Label::Bad, |s| s.score));
        let unseen = |label| {
            let all = scored.iter().filter(|s| s.label == label);
            metrics::mean(&all.map(|s| f64::from(u8::from(!s.is_seen))).collect::<Vec<_>>())
        };
        let kinds = scored.iter().filter(|s| s.label == Label::Bad).map(|s| (s.kind, s.score));
        // NaN cannot reach the ranking: it is asked for only when every picture has a zoom.
        let all_zoomed = scored.iter().all(|s| s.zoom.is_some());
        Self {
            auroc_image: metrics::auroc(&good, &bad),
            auroc_normality: ranking(|s| s.normality),
            threshold,
            good_test: good.len(),
            bad_test: bad.len(),
            ap_image: metrics::average_precision(&good, &bad),
            auroc_full: ranking(|s| s.full),
            auroc_zoom: if all_zoomed { ranking(|s| s.zoom.unwrap_or(f32::NAN)) } else { None },
            zoomed: metrics::mean(&scored.iter().map(|s| f64::from(u8::from(s.zoom.is_some()))).collect::<Vec<_>>()),
            escape: metrics::escape(&bad, threshold),
            escape_1pct: metrics::escape_at(&good, &bad, EQUAL_OVERKILL),
            escape_1pct_full: metrics::escape_at(
                &of(Label::Good, |s| s.full),
                &of(Label::Bad, |s| s.full),
                EQUAL_OVERKILL,
            ),
            overkill: metrics::overkill(&good, threshold),
            unseen_good: unseen(Label::Good),
            unseen_bad: unseen(Label::Bad),
            by_kind: metrics::by_kind(&good, kinds, threshold),
            ..Self::default()
        }
    }
}

/// A recipe's figures over test pictures that were perturbed in one way.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Perturbed {
    /// The perturbation in a few words.
    pub perturbation: String,
    /// AUROC over pictures of the fused score.
    pub auroc_image: Option<f64>,
    /// By how much that is above the same pictures' as they are.
    pub auroc_change: Option<f64>,
    /// Share of the defective pictures that would pass.
    pub escape: Option<f64>,
    /// Share of the good pictures that would be rejected.
    pub overkill: Option<f64>,
    /// Defective pictures: mean intersection over union of the first crop with the unperturbed picture's, moved along.
    pub crop_iou: Option<f64>,
    /// Defective pictures: share whose crop overlaps by half or more.
    pub crop_kept: Option<f64>,
    /// As `crop_iou`, over the good pictures, whose peak is often a matter of chance.
    pub crop_iou_good: Option<f64>,
}
