//! A graph's passes over views, and the constants that follow from what they say of good parts.

use rayon::prelude::*;

use super::bounds::{Bounds, normality_mean};
use super::features::{FeatureGraph, RenderedView};
use super::graph;
use super::progress::Progress;
use super::weights::PER_VIEW;
use crate::error::{Error, ErrorKind, Result};
use crate::inspect::Evidence;
use crate::inspect::model::evidence;
use crate::inspect::recipe::{EvidenceConstants, ImageClassifierConstants, Standard, ViewConstants};
use crate::nn::onnx::{self, Elem};
use crate::nn::plan::ExecutionPlan;

/// The least weight of the normality evidence in a view that counts. Chosen: a deviation of rounding noise then weighs nothing.
const WEIGHT_MIN: f32 = 0.01;

/// Evidences that spread less than this over good parts are constant.
const CONSTANT: f32 = 1e-3;

/// The finished graph's two passes.
pub(super) struct Passes {
    pub(super) full: ExecutionPlan,
    pub(super) zoom: ExecutionPlan,
}

/// Raw results of one view over several parts.
pub(super) struct Measured {
    pub(super) evidences: Vec<Evidence>,
    pub(super) maps: Vec<Vec<f32>>,
}

impl Passes {
    pub(super) fn new(graph: &onnx::Graph, space: &FeatureGraph) -> Result<Self> {
        Self::of(graph, [1, 3, space.input[0], space.input[1]])
    }

    /// From the features `x.q` on, for views whose features are at hand.
    pub(super) fn behind_features(graph: &onnx::Graph, space: &FeatureGraph) -> Result<Self> {
        let shape = [1, space.channels, space.grid[0], space.grid[1]];
        Self::of(&graph.behind("x.q", Elem::U8, &shape), shape)
    }

    fn of(graph: &onnx::Graph, shape: [usize; 4]) -> Result<Self> {
        let model = graph::as_model(graph, &[]);
        let plan = |v: &str| {
            ExecutionPlan::new(
                &model,
                shape,
                Elem::U8,
                &[format!("{v}_map"), format!("{v}_score")],
                "the recipe being taught",
            )
        };
        Ok(Self { full: plan("full")?, zoom: plan("zoom")? })
    }
}

/// The raw evidences of one input.
pub(super) fn score(plan: &ExecutionPlan, input: &[u8]) -> Result<Vec<f32>> {
    Ok(plan.spawn()?.run(input)?[1].f32().to_vec())
}

pub(super) fn measure(
    plan: &ExecutionPlan,
    count: usize,
    view: impl Fn(usize) -> Result<RenderedView> + Sync,
    progress: &dyn Progress,
) -> Result<Measured> {
    let results: Vec<(Evidence, Vec<f32>)> = (0..count)
        .into_par_iter()
        .map_init(
            || plan.spawn(),
            |state, i| {
                let state = state.as_mut().map_err(|e| Error::new(ErrorKind::Internal, e.message().to_owned()))?;
                let RenderedView { pixels, at } = view(i)?;
                let out = state.run_at(&pixels, at)?;
                progress.tick();
                Ok((evidence(&out[1]), out[0].f32().to_vec()))
            },
        )
        .collect::<Result<_>>()?;
    let (evidences, maps) = results.into_iter().unzip();
    Ok(Measured { evidences, maps })
}

impl Measured {
    /// Maps of each view: the normality map, and the head's where there is one.
    fn parts(&self) -> usize {
        if self.evidences.iter().all(|e| e.known.is_some()) { 2 } else { 1 }
    }

    /// The bounds of these (good) parts' evidences, which are within them from now on; none where that is left out.
    ///
    /// The mean over the map counts where it `is_whole`: a defect may fill a crop.
    pub(super) fn bound(&mut self, is_bounded: bool, is_whole: bool) -> Bounds {
        if !is_bounded {
            return Bounds::NONE;
        }
        let parts = self.parts();
        let means: Vec<f32> = self.maps.iter().map(|maps| normality_mean(maps, parts)).collect();
        let bounds = if is_whole { Bounds::of_full(&self.evidences, &means) } else { Bounds::of_zoom(&self.evidences) };
        self.evidences.iter_mut().zip(&means).for_each(|(e, &mean)| *e = bounds.apply(e, mean));
        bounds
    }

    /// Standardisation of every evidence over these (good) parts; weights as in [`weights`](super::weights).
    pub(super) fn constants(&self, weights: [f32; PER_VIEW]) -> ViewConstants {
        let parts = self.parts();
        let has_head = parts == 2;
        let image = |part: usize, value: &dyn Fn(&Evidence) -> f32| {
            let image: Vec<f32> = self.evidences.iter().map(value).collect();
            // An evidence that says the same of every part says nothing; its rounding noise must not be blown up.
            let (low, high) = image.iter().fold((f32::MAX, f32::MIN), |(l, h), &v| (l.min(v), h.max(v)));
            ImageClassifierConstants {
                image: Standard::of(&image),
                weight: if high - low > CONSTANT { weights[part] } else { 0.0 },
            }
        };
        let constants = |part: usize, value: &dyn Fn(&Evidence) -> f32| {
            let ImageClassifierConstants { image, weight } = image(part, value);
            let cells: Vec<f32> = self
                .maps
                .iter()
                .flat_map(|m| m[part * m.len() / parts..(part + 1) * m.len() / parts].iter().copied())
                .collect();
            EvidenceConstants { image, cell: Standard::of(&cells), weight }
        };
        let mut normality = constants(0, &|e| e.normality);
        if weights[0] > 0.0 {
            // Never nothing: through it what is unlike all good parts is rejected.
            normality.weight = normality.weight.max(WEIGHT_MIN);
        }
        let known = has_head.then(|| constants(1, &|e| e.known.unwrap_or(0.0)));
        let overall = has_head.then(|| image(2, &|e| e.overall.unwrap_or(0.0)));
        let mut view = ViewConstants { normality, known, overall, sum: Standard { mean: 0.0, std: 1.0 } };
        let sums: Vec<f32> = self.evidences.iter().map(|e| view.weighted(e)).collect();
        view.sum = Standard::of(&sums);
        view
    }
}

/// Standardisation of the sum of both views' evidences over (good) parts, and their scores; `parts` says whose each of
/// the crops is.
pub(super) fn fuse(
    [full, zoom]: [&ViewConstants; 2],
    [goods, zooms]: [&Measured; 2],
    parts: &[usize],
) -> (Standard, Vec<f32>) {
    // As on the device: a part counts by its most suspicious crop.
    let mut strongest = vec![f32::MIN; goods.evidences.len()];
    for (&i, e) in parts.iter().zip(&zooms.evidences) {
        strongest[i] = strongest[i].max(zoom.weighted(e));
    }
    let sums: Vec<f32> = goods.evidences.iter().zip(&strongest).map(|(f, zoom)| full.weighted(f) + zoom).collect();
    let fused = Standard::of(&sums);
    let scores = sums.iter().map(|&s| fused.z(s)).collect();
    (fused, scores)
}
