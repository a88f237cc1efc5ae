//! What a recipe's notes may say: a file from elsewhere is held to what a training run can have written before anything is
//! allocated, divided or cut by it.

use super::{EvidenceConstants, ImageClassifierConstants, Promise, Recipe, SelfTest, Standard, ViewConstants};
use crate::inspect::CROPS_MAX;
use crate::inspect::crop::{CropLattice, CropPolicy};
use crate::inspect::sight::Sight;

/// Sides and area of the model's input, in pixels: those of `--size 1024` in any aspect.
const SIDE_MAX: usize = 1 << 15;
const PIXELS_MAX: usize = 1 << 24;
/// Rows and columns of a lattice.
const LATTICE_MAX: usize = 1 << 14;
/// Self-tests; each costs two passes.
const TESTS_MAX: usize = 64;
/// Pictures that a training run was given.
const PICTURES_MAX: usize = 1 << 30;

impl Recipe {
    /// The first of its notes that no training run writes, as it is called there; `None` for a sound recipe.
    pub(super) fn unsound(&self) -> Option<&'static str> {
        let Self { input, crop, promise, teaching, .. } = self;
        let is_input = [input.height, input.width].iter().all(|side| (1..=SIDE_MAX).contains(side))
            && input.height * input.width <= PIXELS_MAX;
        let is_light = self.light.is_none_or(|l| is_positive(l.contrast) && is_positive(l.gain_max));
        let is_share = |share: f64| (0.0..=1.0).contains(&share);
        let is_escape = self.expected_escape.is_none_or(is_share);
        let is_taught = teaching.good <= PICTURES_MAX && teaching.bad <= PICTURES_MAX;
        let is_tested =
            (1..=TESTS_MAX).contains(&self.self_test.len()) && self.self_test.iter().all(|t| is_test(t, self));
        let notes = [
            ("schema", self.schema > 0),
            ("input", is_input),
            ("light", is_light),
            ("sight", self.sight.as_ref().is_none_or(Sight::is_sound)),
            ("registration", self.registration.as_ref().is_none_or(|r| r.correlation_min.is_finite())),
            ("crop", is_crop(crop)),
            ("crop.chart", crop.lattice.is_none_or(|lattice| is_lattice(&lattice))),
            ("full", is_view(&self.full)),
            ("zoom", is_view(&self.zoom)),
            ("fused", is_standard(&self.fused)),
            ("threshold", self.threshold.is_finite()),
            ("promise", is_promise(promise)),
            ("expected_escape", is_escape),
            ("teaching", is_taught),
            ("self_test", is_tested),
        ];
        notes.into_iter().find(|(_, is_sound)| !is_sound).map(|(name, _)| name)
    }
}

fn is_positive(v: f32) -> bool {
    v.is_finite() && v > 0.0
}

fn is_standard(s: &Standard) -> bool {
    s.mean.is_finite() && s.std.is_normal() && s.std > 0.0
}

fn is_evidence(c: &EvidenceConstants) -> bool {
    is_standard(&c.image) && is_standard(&c.cell) && is_weight(c.weight)
}

fn is_overall(c: &ImageClassifierConstants) -> bool {
    is_standard(&c.image) && is_weight(c.weight)
}

fn is_weight(weight: f32) -> bool {
    weight.is_finite() && weight >= 0.0
}

fn is_view(v: &ViewConstants) -> bool {
    is_evidence(&v.normality)
        && v.known.as_ref().is_none_or(is_evidence)
        && v.overall.as_ref().is_none_or(is_overall)
        && is_standard(&v.sum)
}

fn is_crop(crop: &CropPolicy) -> bool {
    let CropPolicy { count, theta, pad, side_min, .. } = crop;
    let is_share = (0.0..=1.0).contains(theta) && (0.0..=1.0).contains(side_min) && *side_min > 0.0;
    (1..=CROPS_MAX).contains(count) && is_share && (0.0..=100.0).contains(pad)
}

/// Whether something is left of it without its margin.
fn is_lattice(lattice: &CropLattice) -> bool {
    let is_side = |cells: usize| cells <= LATTICE_MAX && cells > 2 * lattice.margin;
    lattice.margin <= LATTICE_MAX && is_side(lattice.rows) && is_side(lattice.columns)
}

fn is_promise(promise: &Promise) -> bool {
    let Promise { overkill_max, confidence, one_in, .. } = promise;
    let is_share = |share: f64| share > 0.0 && share <= 1.0;
    is_share(*overkill_max) && is_share(*confidence) && *one_in >= 2
}

/// Whether a self-test has as many evidences as the views.
fn is_test(test: &SelfTest, recipe: &Recipe) -> bool {
    let fits = |got: &[f32], view: &ViewConstants| {
        // Recipes of schema 1 have no `overall`.
        let known = usize::from(view.known.is_some()) + usize::from(view.overall.is_some());
        got.len() == 1 + known && got.iter().all(|v| v.is_finite())
    };
    fits(&test.full, &recipe.full) && fits(&test.zoom, &recipe.zoom)
}
