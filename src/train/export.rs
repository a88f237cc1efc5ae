//! Export: the threshold, the recipe's notes, and its bytes.

use std::time::{Duration, SystemTime};

use super::bounds::Bounds;
use super::calibrate::Calibrated;
use super::fit::FittedModel;
use super::fold::ScreenedFold;
use super::graph::{self, VIEWS};
use super::label_audit::{LabelAudit, audit};
use super::label_noise::SuspectedLabel;
use super::measure::{Passes, score};
use super::promise::{Promised, least, promised};
use super::replay;
use super::trainer::Trainer;
use crate::error::{Error, ErrorKind, Result};
use crate::inspect::model::{Model, digest};
use crate::inspect::recipe::{
    BackboneNote, Input, KEEPSAKE_KEY, METADATA_KEY, Promise, Recipe, SCHEMA, SCHEMA_PLAIN, SelfTest, Standard,
    Teaching, ViewConstants,
};
use crate::inspect::register::Aligner;
use crate::inspect::sight::Sight;
use crate::nn::backbone::Backbone;
use crate::nn::onnx;

/// What a run knows of its data besides the pictures themselves.
pub(super) struct Provenance<'a> {
    pub(super) backbone: &'a Backbone,
    /// SHA-256 over all pictures' names and pixels, hex.
    pub(super) digest: String,
    /// Fingerprints of the good and of the bad pictures.
    pub(super) prints: [Vec<String>; 2],
    /// What a frame must show to be judged; `None` where that is left out.
    pub(super) sight: Option<Sight>,
    pub(super) aligner: Option<&'a Aligner>,
}

/// A finished recipe.
pub(super) struct Exported {
    pub(super) recipe: Recipe,
    pub(super) bytes: Vec<u8>,
    pub(super) warnings: Vec<String>,
    pub(super) suspects: Vec<SuspectedLabel>,
}

/// Sets the threshold and writes the recipe's bytes; `others` are scores of good parts that this fold was fitted on, by
/// folds that were not.
pub(super) fn export(
    trainer: &Trainer<'_>,
    fold: &ScreenedFold,
    fitted: &FittedModel,
    mut calibrated: Calibrated,
    others: &[f32],
    provenance: Provenance<'_>,
) -> Result<Exported> {
    let all = [&calibrated.scores, others].concat();
    let one_in = trainer.options.one_in;
    let promised = promised(&all, one_in, least(all.len(), one_in));
    let views = [&calibrated.full, &calibrated.zoom];
    let bounds = guard(&mut calibrated.graph, calibrated.bounds.clone(), views, &calibrated.fused, promised.threshold);
    let passes = Passes::new(&calibrated.graph, &trainer.space)?;
    let located = |n: usize| calibrated.located(trainer, fold, &fitted.policy, n);
    let memory = replay::gather(trainer, fold, fitted, &provenance.prints, located)?;
    let mut recipe = notes(trainer, fitted, &calibrated, promised, provenance);
    let LabelAudit { expected_escape, suspects: doubts, mut warnings } =
        audit(trainer, fold, fitted, &recipe, &calibrated.scores, (&passes.zoom, &bounds[0]))?;
    recipe.expected_escape = expected_escape;
    let suspects: Vec<SuspectedLabel> = fold.suspects.iter().cloned().chain(doubts).collect();
    recipe.teaching.suspects = suspects.iter().map(|s| s.file.clone()).collect();
    calibrated.graph.bytes(KEEPSAKE_KEY, memory.encode()?);
    let bytes = written(&calibrated.graph, &passes, &mut recipe)?;
    warnings.extend(unproved(&promised.promise, trainer.good.len()));
    Ok(Exported { recipe, bytes, warnings, suspects })
}

/// The recipe's notes, but for what follows from the finished graph.
fn notes(
    trainer: &Trainer<'_>,
    fitted: &FittedModel,
    calibrated: &Calibrated,
    Promised { threshold, promise }: Promised,
    provenance: Provenance<'_>,
) -> Recipe {
    let Provenance { backbone, digest, sight, aligner, .. } = provenance;
    let [height, width] = trainer.size();
    Recipe {
        schema: if aligner.is_some() || trainer.lattice.is_some() { SCHEMA } else { SCHEMA_PLAIN },
        version: env!("CARGO_PKG_VERSION").into(),
        input: Input { height, width },
        backbone: BackboneNote {
            name: backbone.name.clone(),
            digest: backbone.digest.clone(),
            features: backbone.features().to_vec(),
        },
        light: trainer.options.light(),
        sight,
        registration: aligner.map(|a| a.registration().clone()),
        crop: fitted.policy,
        constants: None,
        full: calibrated.full,
        zoom: calibrated.zoom,
        fused: calibrated.fused,
        threshold,
        promise,
        expected_escape: None,
        teaching: Teaching {
            date: date(),
            good: trainer.good.len(),
            bad: trainer.bad.len(),
            seed: trainer.options.seed,
            digest,
            adapted_from: None,
            suspects: Vec::new(),
        },
        self_test: Vec::new(),
    }
}

/// A word where the held-out parts prove less than was asked for; `good` pictures were given in all.
fn unproved(promise: &Promise, good: usize) -> Option<String> {
    (promise.proved() < promise.one_in).then(|| {
        format!(
            "{} good pictures held out prove at most 1 false reject in {} good parts; 1 in {} takes {} of them, about {} good pictures in all",
            promise.held_out,
            promise.proved(),
            promise.one_in,
            promise.good_needed,
            (promise.good_needed as f64 * good as f64 / promise.held_out as f64).ceil()
        )
    })
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
