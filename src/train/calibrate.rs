//! The end of a lesson: one graph, its constants and threshold from held-out good parts, the recipe's bytes.

use std::time::{Duration, SystemTime};

use rayon::prelude::*;

use super::bounds::Bounds;
use super::graph::{self, VIEWS, ViewParts};
use super::label_audit::LabelAudit;
use super::label_noise::SuspectedLabel;
use super::measure::{Measured, Passes, fuse, measure, score};
use super::promise::{Promised, least, promised};
use super::trainer::{Fitted, Trainer};
use crate::error::{Error, ErrorKind, Result};
use crate::frame::geometry::View;
use crate::inspect::aligned::AlignedImage;
use crate::inspect::model::{Model, digest};
use crate::inspect::recipe::{
    BackboneNote, Input, KEEPSAKE_KEY, METADATA_KEY, Recipe, SCHEMA, SCHEMA_PLAIN, SelfTest, Standard, Teaching,
    ViewConstants,
};
use crate::inspect::register::Aligner;
use crate::nn::backbone::Backbone;
use crate::nn::onnx;

/// What the end of a lesson gave.
pub(super) struct Concluded {
    pub(super) recipe: Recipe,
    pub(super) bytes: Vec<u8>,
    pub(super) warnings: Vec<String>,
    pub(super) suspects: Vec<SuspectedLabel>,
}

impl Trainer<'_> {
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
    fn located(
        &self,
        fitted: &Fitted,
        full: &ViewConstants,
        goods: &Measured,
        i: usize,
    ) -> Result<(AlignedImage, Vec<View>)> {
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
        let keepsake = self.remember(fitted, located)?;
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
        let LabelAudit { expected_escape, suspects: doubts, mut warnings } =
            self.audit(fitted, &recipe, &scores, (&passes.zoom, &bounds[0]))?;
        recipe.expected_escape = expected_escape;
        let suspects: Vec<SuspectedLabel> = self.screened.suspects.iter().cloned().chain(doubts).collect();
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
