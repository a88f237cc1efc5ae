//! Calibration: one graph of what was fitted, and its constants from held-out good parts.

use rayon::prelude::*;

use super::bounds::Bounds;
use super::fit::FittedModel;
use super::fold::ScreenedFold;
use super::graph::{self, ViewParts};
use super::measure::{Measured, Passes, fuse, measure};
use super::trainer::Trainer;
use crate::error::Result;
use crate::frame::geometry::View;
use crate::inspect::aligned::AlignedImage;
use crate::inspect::crop::CropPolicy;
use crate::inspect::recipe::{Standard, ViewConstants};
use crate::nn::onnx;

/// A finished graph, what it says of held-out good parts, and the constants that follow.
pub(super) struct Calibrated {
    pub(super) graph: onnx::Graph,
    pub(super) goods: Measured,
    pub(super) full: ViewConstants,
    pub(super) zoom: ViewConstants,
    /// Of the full image and of the crop, without their guards: those follow from the threshold.
    pub(super) bounds: [Bounds; 2],
    pub(super) fused: Standard,
    /// Of held-out good parts, in their own standard deviations.
    pub(super) scores: Vec<f32>,
}

impl Calibrated {
    /// The `n`-th held-out good part, and where the zoom looks in it.
    pub(super) fn located(
        &self,
        trainer: &Trainer<'_>,
        fold: &ScreenedFold,
        policy: &CropPolicy,
        n: usize,
    ) -> Result<(AlignedImage, Vec<View>)> {
        located(trainer, fold.held[n], policy, &self.full, &self.goods.maps[n])
    }
}

/// Builds the graph and measures its constants on held-out good parts.
pub(super) fn calibrate(trainer: &Trainer<'_>, fold: &ScreenedFold, fitted: &FittedModel) -> Result<Calibrated> {
    trainer.progress.stage("quantising the heads", 1);
    let views = [("full", &fitted.full, 0), ("zoom", &fitted.zoom, 1)].map(|(name, parts, i)| ViewParts {
        name,
        normality: &parts.normality,
        known: parts.known.as_ref(),
        calibration: &fitted.calibration[i],
    });
    let graph = graph::build(&trainer.space, &views)?;
    let passes = Passes::new(&graph, &trainer.space)?;
    let held = &fold.held;
    trainer.progress.stage("measuring held-out good parts", 2 * held.len() as u64);
    let mut goods = measure(&passes.full, held.len(), |i| trainer.full_view(&trainer.good, held[i]), trainer.progress)?;
    let is_bounded = trainer.options.ablation.bounds;
    let full_bounds = goods.bound(is_bounded, true);
    let [full_weights, zoom_weights] = fitted.weights;
    let full = goods.constants(full_weights);
    let policy = &fitted.policy;
    let boxes = |i: usize| {
        let (_, views) = located(trainer, held[i], policy, &full, &goods.maps[i])?;
        Ok(views.into_iter().map(|view| (i, view)).collect())
    };
    let boxes: Vec<Vec<(usize, View)>> = (0..held.len()).into_par_iter().map(boxes).collect::<Result<_>>()?;
    let boxes = boxes.concat();
    let zoomed = |b: usize| {
        let (i, view) = boxes[b];
        Ok(trainer.render(&trainer.good.part(held[i])?, &view))
    };
    let mut zooms = measure(&passes.zoom, boxes.len(), zoomed, trainer.progress)?;
    let bounds = [full_bounds, zooms.bound(is_bounded, false)];
    let zoom = zooms.constants(zoom_weights);
    let parts: Vec<usize> = boxes.iter().map(|(i, _)| *i).collect();
    let (fused, scores) = fuse([&full, &zoom], [&goods, &zooms], &parts);
    Ok(Calibrated { graph, goods, full, zoom, bounds, fused, scores })
}

/// Good part `i`, and where the zoom looks in it by the `maps` of its full image.
fn located(
    trainer: &Trainer<'_>,
    i: usize,
    policy: &CropPolicy,
    full: &ViewConstants,
    maps: &[f32],
) -> Result<(AlignedImage, Vec<View>)> {
    let frame = trainer.good.part(i)?;
    let mut suspicion = Vec::new();
    full.suspicion(maps, &mut suspicion);
    let views = trainer.crops(&suspicion, &frame, policy);
    Ok((frame, views))
}
