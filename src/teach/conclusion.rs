//! The end of a lesson: one graph, its constants and threshold from held-out good parts, the recipe's bytes.

use std::time::{Duration, SystemTime};

use rayon::prelude::*;

use super::bounds::{Bounds, normality_mean};
use super::features::{FeatureGraph, Seen};
use super::graph::{self, VIEWS, ViewParts};
use super::lesson::{Fitted, Lesson};
use super::promise::{Promised, least, promised};
use super::second_look::SecondLook;
use super::session::Progress;
use super::suspects::Suspect;
use super::weights::PER_VIEW;
use crate::error::{Error, ErrorKind, Result};
use crate::frame::geometry::View;
use crate::inspect::Evidence;
use crate::inspect::aligned::Part;
use crate::inspect::model::{Model, digest, evidence};
use crate::inspect::recipe::{
    BackboneNote, EvidenceConstants, Input, KEEPSAKE_KEY, METADATA_KEY, OverallConstants, Recipe, SCHEMA, SCHEMA_PLAIN,
    SelfTest, Standard, Teaching, ViewConstants,
};
use crate::inspect::register::Aligner;
use crate::nn::backbone::Backbone;
use crate::nn::onnx::{self, Elem};
use crate::nn::plan::ExecutionPlan;

/// The least weight of the normality evidence in a view that counts. Chosen: a deviation of rounding noise then weighs nothing.
const WEIGHT_MIN: f32 = 0.01;

/// Evidences that spread less than this over good parts are constant.
const CONSTANT: f32 = 1e-3;

/// What the end of a lesson gave.
pub(super) struct Concluded {
    pub(super) recipe: Recipe,
    pub(super) bytes: Vec<u8>,
    pub(super) warnings: Vec<String>,
    pub(super) suspects: Vec<Suspect>,
}

impl Lesson<'_> {
    /// Builds the graph and measures its constants on held-out good parts.
    pub(super) fn reckon(&self, fitted: &Fitted) -> Result<Reckoned> {
        self.progress.stage("quantising the heads", 1);
        let views = [("full", &fitted.full, 0), ("zoom", &fitted.zoom, 1)].map(|(name, parts, i)| ViewParts {
            name,
            normality: &parts.normality,
            known: parts.known.as_ref(),
            calibration: &fitted.calibration[i],
        });
        let graph = graph::build(&self.space, &views)?;
        let passes = Passes::new(&graph, &self.space)?;
        let held = &self.held;
        self.progress.stage("measuring held-out good parts", 2 * held.len() as u64);
        let mut goods = measure(&passes.full, held.len(), |i| self.full_view(&self.good, held[i]), self.progress)?;
        let is_bounded = self.options.ingredients.bounds;
        let full_bounds = goods.bound(is_bounded, true);
        let [full_weights, zoom_weights] = fitted.weights;
        let full = goods.constants(full_weights);
        let boxes = |i: usize| {
            let (_, views) = self.located(fitted, &full, &goods, i)?;
            Ok(views.into_iter().map(|view| (i, view)).collect())
        };
        let boxes: Vec<Vec<(usize, View)>> = (0..held.len()).into_par_iter().map(boxes).collect::<Result<_>>()?;
        let boxes = boxes.concat();
        let zoomed = |b: usize| {
            let (i, view) = boxes[b];
            Ok(self.render(&self.good.part(held[i])?, &view))
        };
        let mut zooms = measure(&passes.zoom, boxes.len(), zoomed, self.progress)?;
        let bounds = [full_bounds, zooms.bound(is_bounded, false)];
        let zoom = zooms.constants(zoom_weights);
        let parts: Vec<usize> = boxes.iter().map(|(i, _)| *i).collect();
        let (fused, scores) = fuse([&full, &zoom], [&goods, &zooms], &parts);
        Ok(Reckoned { graph, goods, full, zoom, bounds, fused, scores })
    }

    /// The `i`-th held-out good part, and where the zoom looks in it.
    fn located(&self, fitted: &Fitted, full: &ViewConstants, goods: &Measured, i: usize) -> Result<(Part, Vec<View>)> {
        let frame = self.good.part(self.held[i])?;
        let mut suspicion = Vec::new();
        full.suspicion(&goods.maps[i], &mut suspicion);
        let views = self.crops(&suspicion, &frame, &fitted.policy);
        Ok((frame, views))
    }

    /// Sets the threshold and writes the recipe's bytes; `others` are scores of good parts that this lesson was fitted on,
    /// by lessons like it that were not.
    pub(super) fn conclude(
        &self,
        fitted: &Fitted,
        reckoned: Reckoned,
        others: &[f32],
        backbone: &Backbone,
        digest: String,
        aligner: Option<&Aligner>,
    ) -> Result<Concluded> {
        let Reckoned { mut graph, goods, full, zoom, bounds, fused, scores } = reckoned;
        let located = |i: usize| self.located(fitted, &full, &goods, i);
        let all = [&scores, others].concat();
        let one_in = self.options.one_in;
        let Promised { threshold, promise } = promised(&all, one_in, least(all.len(), one_in));
        let bounds = guard(&mut graph, bounds, [&full, &zoom], &fused, threshold);
        let passes = Passes::new(&graph, &self.space)?;
        let keepsake = self.keepsake(fitted, located)?;
        let input = Input { height: self.size()[0], width: self.size()[1] };
        let mut recipe = Recipe {
            schema: if aligner.is_some() || self.chart.is_some() { SCHEMA } else { SCHEMA_PLAIN },
            version: env!("CARGO_PKG_VERSION").into(),
            input,
            backbone: BackboneNote {
                name: backbone.name.clone(),
                digest: backbone.digest.clone(),
                features: backbone.features().to_vec(),
            },
            light: self.options.light(),
            sight: self.sight.clone(),
            registration: aligner.map(|a| a.registration().clone()),
            crop: fitted.policy,
            constants: None,
            full,
            zoom,
            fused,
            threshold,
            promise,
            expected_escape: None,
            teaching: Teaching {
                date: date(),
                good: self.good.len(),
                bad: self.bad.len(),
                seed: self.options.seed,
                digest,
                adapted_from: None,
                suspects: Vec::new(),
            },
            self_test: Vec::new(),
        };
        let SecondLook { expected_escape, suspects: doubts, mut warnings } =
            self.second_look(fitted, &recipe, &scores, (&passes.zoom, &bounds[0]))?;
        recipe.expected_escape = expected_escape;
        let suspects: Vec<Suspect> = self.screened.suspects.iter().cloned().chain(doubts).collect();
        recipe.teaching.suspects = suspects.iter().map(|s| s.file.clone()).collect();
        graph.bytes(KEEPSAKE_KEY, keepsake.encode()?);
        let bytes = written(&graph, &passes, &mut recipe)?;
        if promise.proved() < promise.one_in {
            warnings.push(format!(
                "{} good pictures held out prove at most 1 false reject in {} good parts; 1 in {} takes {} of them, about {} good pictures in all",
                promise.held_out,
                promise.proved(),
                promise.one_in,
                promise.good_needed,
                (promise.good_needed as f64 * self.good.len() as f64 / promise.held_out as f64).ceil()
            ));
        }
        Ok(Concluded { recipe, bytes, warnings, suspects })
    }
}

/// A finished graph, what it says of held-out good parts, and the constants that follow.
pub(super) struct Reckoned {
    graph: onnx::Graph,
    goods: Measured,
    full: ViewConstants,
    zoom: ViewConstants,
    /// Of the full and of the zoomed view, without their guards: those follow from the threshold.
    bounds: [Bounds; 2],
    fused: Standard,
    /// Of held-out good parts, in their own standard deviations.
    pub(super) scores: Vec<f32>,
}

/// Standardisation of the sum of both views' evidences over (good) parts, and their scores; `parts` says whose each of
/// the zoomed views is.
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

/// The bounds of both views with their guards, which are written into the graph.
pub(super) fn guard(
    graph: &mut onnx::Graph,
    bounds: [Bounds; 2],
    views: [&ViewConstants; 2],
    fused: &Standard,
    threshold: f32,
) -> [Bounds; 2] {
    let least: [f32; 2] = std::array::from_fn(|v| bounds[v].least(views[v]));
    let [full, zoom] = bounds;
    let bounds =
        [full.guarded(views[0], least[1], fused, threshold), zoom.guarded(views[1], least[0], fused, threshold)];
    for (name, bounds) in VIEWS.into_iter().zip(&bounds) {
        graph::set_bounds(graph, name, bounds);
    }
    bounds
}

/// The recipe's bytes, after its self-test has been measured and everything has passed the device's own checks.
pub(super) fn written(graph: &onnx::Graph, passes: &Passes, recipe: &mut Recipe) -> Result<Vec<u8>> {
    recipe.constants = Some(digest(&graph::as_model(graph, &[])));
    recipe.self_test.clear();
    for seed in 1..=2 {
        let input = recipe.self_test_input(seed);
        let (full, zoom) = (score(&passes.full, &input)?, score(&passes.zoom, &input)?);
        recipe.self_test.push(SelfTest { seed, full, zoom });
    }
    let notes = serde_json::to_string(recipe)
        .map_err(|e| Error::new(ErrorKind::Internal, "the recipe's notes cannot be written").caused_by(e))?;
    let bytes = onnx::encode(&graph::as_model(graph, &[(METADATA_KEY, notes)]));
    // What was written must load: the same checks that the device will make.
    Model::from_bytes(&bytes, "the recipe just taught")?;
    Ok(bytes)
}

/// RFC 3339 to the second; SOURCE_DATE_EPOCH where it is set, so that a recipe can be made again byte for byte.
pub(super) fn date() -> String {
    let epoch = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|s| s.parse().ok());
    let at = epoch.map_or_else(SystemTime::now, |s| SystemTime::UNIX_EPOCH + Duration::from_secs(s));
    humantime::format_rfc3339_seconds(at).to_string()
}

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
fn score(plan: &ExecutionPlan, input: &[u8]) -> Result<Vec<f32>> {
    Ok(plan.spawn()?.run(input)?[1].f32().to_vec())
}

pub(super) fn measure(
    plan: &ExecutionPlan,
    count: usize,
    view: impl Fn(usize) -> Result<Seen> + Sync,
    progress: &dyn Progress,
) -> Result<Measured> {
    let results: Vec<(Evidence, Vec<f32>)> = (0..count)
        .into_par_iter()
        .map_init(
            || plan.spawn(),
            |state, i| {
                let state = state.as_mut().map_err(|e| Error::new(ErrorKind::Internal, e.message().to_owned()))?;
                let Seen { pixels, at } = view(i)?;
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
            OverallConstants {
                image: Standard::of(&image),
                weight: if high - low > CONSTANT { weights[part] } else { 0.0 },
            }
        };
        let constants = |part: usize, value: &dyn Fn(&Evidence) -> f32| {
            let OverallConstants { image, weight } = image(part, value);
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
