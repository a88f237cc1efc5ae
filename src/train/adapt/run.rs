//! A new kind of defect for a recipe that exists, from a few pictures and what the recipe keeps of its training run.
//!
//! ```text
//! recipe ─► keepsake: good views, held-out parts, known bads, heads
//! new pictures ─► the recipe's own features ─► located ─► mixed into kept good views ─┐
//! heads as they are ─────────────────────────────────────────────────────────────────┴─► heads that know both
//! the recipe's graph without its heads + new heads ─► kept held-out parts ─► standardisation, threshold, promise
//! ```
//!
//! What is normal stays as it was, node by node. Heads start from what they know and see old and new defects in turn
//! (rehearsal), so that they forget little. Only the new pictures are opened.

use std::sync::Arc;
use std::time::Instant;

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest as _, Sha256};

use super::adaptation::{Adaptation, real};
use super::fresh::{self, Fresh};
use super::old::Old;
use crate::error::{Error, ErrorKind, Result};
use crate::inspect::recipe::{KEEPSAKE_KEY, Recipe};
use crate::inspect::register::Aligner;
use crate::train::export::{date, guard, written};
use crate::train::features::{QuantizedFeatures, planar};
use crate::train::graph::{headless, rewrite};
use crate::train::head::Head;
use crate::train::image_classifier::ImageClassifier;
use crate::train::inventory::{Inventory, first, hex, listed};
use crate::train::measure::{Measured, Passes, fuse, measure};
use crate::train::options::Options;
use crate::train::picture::{ImageCache, Picture};
use crate::train::progress::{Progress, Silent};
use crate::train::promise::{self, Promised, least, promised, rank};
use crate::train::replay::ReplayMemory;
use crate::train::run::TrainedModel;
use crate::train::trainer::Trainer;
use crate::train::view::{Alignment, Known};
use crate::train::weights::{self, PER_VIEW};

/// How far a head goes from what it was to what it became by fitting: most of what is new comes with the first half of the
/// way, most of what is forgotten goes with the second (WiSE-FT, Wortsman et al. 2022). `docs/EXPERIMENTS.md` has figures.
const SHARE: f32 = 0.5;
/// Views of each label that the heads' grids are calibrated on.
const CALIBRATION: usize = 12;

/// Teaches the recipe in `bytes` the defects that `bad` pictures show; `origin` names the recipe in messages.
///
/// Of `options`, `steps` and `seed` count. What the threshold promises rests on the held-out parts that the recipe keeps.
///
/// Cost: twelve passes for each new picture, two and a half fits of at most 0.4 of the steps, a pass from the features on
/// for each kept part; 10 s on two cores. Memory: 100 MB for what was kept, 100 MB of fitting.
///
/// # Errors
/// When the recipe keeps nothing or is damaged, a picture cannot be read, was taught as good, or all were taught before.
/// Nothing is written.
pub fn adapt(
    bytes: &[u8],
    origin: &str,
    bad: &[Picture],
    options: &Options,
    progress: &dyn Progress,
) -> Result<TrainedModel> {
    let start = Instant::now();
    progress.stage("reading the recipe", 1);
    let old = Old::open(bytes, origin)?;
    let (images, none) = (ImageCache::new(bad), ImageCache::new(&[]));
    let inventory = Inventory::of(&none, &images, progress)?;
    let mut warnings = inventory.repeats(&none, &images);
    let [_, prints] = inventory.fingerprints();
    refuse_good(&old.kept, &images, &prints, origin)?;
    let is_new = |i: &usize| first(&inventory.bad, *i) == *i && !old.kept.bad.contains(&prints[*i]);
    let new: Vec<usize> = (0..bad.len()).filter(is_new).collect();
    let known: Vec<&str> =
        (0..bad.len()).filter(|&i| old.kept.bad.contains(&prints[i])).map(|i| images.name(i)).collect();
    if new.is_empty() {
        let message =
            format!("{origin} was taught all of these pictures already ({}): give new ones", listed(known.into_iter()));
        return Err(Error::new(ErrorKind::Refused, message));
    }
    if !known.is_empty() {
        warnings.push(format!(
            "{} bad pictures were taught already and change nothing: {}",
            known.len(),
            listed(known.into_iter())
        ));
    }
    let digest = inventory.digest(&none, &images);
    let pictures: Vec<Picture> = new.iter().map(|&i| bad[i].clone()).collect();
    let prints: Vec<String> = new.iter().map(|&i| prints[i].clone()).collect();

    let Old { recipe, kept, graph, space } = old;
    let aligner = recipe.registration.clone().map(|r| Arc::new(Aligner::new(r)));
    let extractor = space.extractor()?;
    let trainer = Trainer {
        good: ImageCache::new(&[]),
        bad: ImageCache::new(&pictures).aligned(aligner, space.input),
        space,
        extractor,
        lattice: recipe.crop.lattice,
        options,
        progress,
    };
    let adapted = Adaptation { trainer, prints, recipe, kept, graph };
    let (recipe, bytes, more) = adapted.run(&hex(&Sha256::digest(bytes)), &digest)?;
    warnings.extend(more);
    Ok(TrainedModel { bytes, recipe, took: start.elapsed(), warnings, suspects: Vec::new() })
}

fn refuse_good(kept: &ReplayMemory, images: &ImageCache<'_>, prints: &[String], origin: &str) -> Result<()> {
    let good: Vec<&str> =
        (0..images.len()).filter(|&i| kept.good.contains(&prints[i])).map(|i| images.name(i)).collect();
    if good.is_empty() {
        return Ok(());
    }
    let names = listed(good.into_iter());
    let message = format!(
        "{origin} was taught that {names} is good: leave it out of the bad ones, or move it there and teach once more from \
         all pictures"
    );
    Err(Error::new(ErrorKind::Refused, message))
}

/// Fits, calibrates and writes the adapted recipe.
impl Adaptation<'_> {
    fn run(mut self, adapted_from: &str, digest: &str) -> Result<(Recipe, Vec<u8>, Vec<String>)> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.trainer.options.seed);
        let fresh = Fresh::of(&self, &mut rng)?;
        let full = self.known("teaching the full image", 0, &fresh, &mut rng);
        let zoom = self.known("teaching the crop", 1, &fresh, &mut rng);
        let Trainer { space, progress, .. } = &self.trainer;
        progress.stage("quantising the heads", 1);
        let calibration = [0, 1].map(|v| {
            let codes = self.kept.goods[v].iter().take(CALIBRATION).chain(real(&fresh.real[v]).take(CALIBRATION));
            codes.chain(real(&self.kept.real[v]).take(CALIBRATION)).map(|c| planar(c, space.channels).pixels).collect()
        });
        let mut graph = rewrite(headless(&self.graph), space, [&full, &zoom], calibration)?;
        let tail = Passes::behind_features(&graph, space)?;

        progress.stage("measuring kept good parts", 2 * self.kept.held.len() as u64);
        let held = &self.kept.held;
        let view = |codes: &QuantizedFeatures| Ok(planar(codes, space.channels));
        let mut goods = measure(&tail.full, held.len(), |i| view(&held[i].full), *progress)?;
        let crops: Vec<(usize, &QuantizedFeatures)> =
            held.iter().enumerate().flat_map(|(i, h)| h.zooms.iter().map(move |(codes, _)| (i, codes))).collect();
        let mut zooms = measure(&tail.zoom, crops.len(), |c| view(crops[c].1), *progress)?;
        let is_bounded = self.trainer.options.ablation.bounds;
        let bounds = [goods.bound(is_bounded, true), zooms.bound(is_bounded, false)];
        let parts: Vec<usize> = crops.iter().map(|(i, _)| *i).collect();
        let effects = self.effects(&fresh, &tail, [&goods, &zooms])?;
        let bads = self.recipe.teaching.bad + self.trainer.bad.len();
        let [full_weights, zoom_weights] = weights::weights(effects, bads);
        log::debug!("effects of the evidences {effects:.2?}, weights {full_weights:.2?} {zoom_weights:.2?}");
        let (full_constants, zoom_constants) = (goods.constants(full_weights), zooms.constants(zoom_weights));
        let (fused, scores) = fuse([&full_constants, &zoom_constants], [&goods, &zooms], &parts);
        let was = self.recipe.threshold;
        let one_in = self.recipe.promise.one_in;
        let Promised { threshold, mut promise } = promised(&scores, one_in, least(scores.len(), one_in));

        guard(&mut graph, bounds, [&full_constants, &zoom_constants], &fused, threshold);
        let passes = Passes::new(&graph, space)?;

        let mut recipe = self.recipe.clone();
        (recipe.full, recipe.zoom, recipe.fused) = (full_constants, zoom_constants, fused);
        (recipe.threshold, recipe.expected_escape) = (threshold, None);
        env!("CARGO_PKG_VERSION").clone_into(&mut recipe.version);
        recipe.teaching.date = date();
        recipe.teaching.bad = bads;
        recipe.teaching.seed = self.trainer.options.seed;
        recipe.teaching.digest = hex(&Sha256::digest(format!("{}{digest}", recipe.teaching.digest)));
        recipe.teaching.adapted_from = Some(adapted_from.to_owned());
        let moved = fresh::moved(&self, &recipe, &goods);
        // What would be seen there is not kept, so that it proves nothing: as if each of them were rejected.
        let below = scores.iter().zip(&moved).filter(|(s, is_moved)| **s < threshold && !**is_moved).count();
        let rank = rank(scores.len(), promise.one_in, promise.confidence).min(below);
        promise.overkill_max = promise::promise(scores.len(), rank, promise.confidence);
        recipe.promise = promise;
        let warnings = self.warnings(&recipe, moved.iter().filter(|m| **m).count(), was);
        progress.stage("keeping what a later defect needs", 1);
        self.keep(fresh, [full.head, zoom.head], effects);
        graph.bytes(KEEPSAKE_KEY, self.kept.encode()?);
        let bytes = written(&graph, &passes, &mut recipe)?;
        Ok((recipe, bytes, warnings))
    }

    /// A view's head and what whole views look like, of old and new defects.
    fn known(&self, name: &str, view: usize, fresh: &Fresh, rng: &mut ChaCha8Rng) -> Known {
        let bads = self.rehearsed(view, real(&fresh.real[view]).chain(real(&fresh.mixed[view])).cloned().collect());
        let head = self.head(name, view, &bads, 1.0, rng);
        let head = match &self.kept.heads {
            Some(old) => old[view].towards(&head, SHARE),
            None => head,
        };
        let goods = &self.kept.pooled[view];
        let old = &self.kept.pooled_bad[view];
        let all: Vec<_> = old.iter().chain([&fresh.pooled[view]]).cloned().collect();
        let overall = ImageClassifier::fit_pooled(goods, &all);
        let alignment = [Alignment::fixed(self.trainer.space.grid), Alignment::Free][view];
        Known::measure(&self.trainer.space, (head, overall), alignment, &self.kept.goods[view])
    }

    /// The evidences' effects over old and new bads: normality's anew for the new ones, which it has not seen; of heads
    /// there are none that have not seen them, so that theirs stay.
    fn effects(&self, fresh: &Fresh, tail: &Passes, goods: [&Measured; 2]) -> Result<[[Option<f64>; PER_VIEW]; 2]> {
        let mut effects = self.kept.effects;
        let (old, new) = (self.recipe.teaching.bad as f64, self.trainer.bad.len() as f64);
        for (view, plan) in [&tail.full, &tail.zoom].into_iter().enumerate() {
            // Only these lie as what is usual is known.
            let codes = &fresh.exact[view][..self.trainer.bad.len()];
            let planes = |i: usize| Ok(planar(&codes[i], self.trainer.space.channels));
            let bads = measure(plan, codes.len(), planes, &Silent)?;
            let normality = |m: &Measured| m.evidences.iter().map(|e| e.normality).collect::<Vec<f32>>();
            let found = weights::effect(weights::deviations(&normality(goods[view]), &normality(&bads)));
            let before = &mut effects[view][0];
            *before = match (*before, found) {
                (Some(b), Some(f)) => Some((old * b + new * f) / (old + new)),
                (b, f) => f.or(b),
            };
        }
        Ok(effects)
    }

    fn warnings(&self, recipe: &Recipe, moved: usize, was: f32) -> Vec<String> {
        let mut warnings = Vec::new();
        let (held, promise) = (self.kept.held.len(), &recipe.promise);
        if moved > 0 {
            warnings.push(format!(
                "in {moved} of {held} kept good parts the zoom would now look elsewhere, and what it would see there is not \
                 kept: the threshold takes what it saw before, and the promise counts them as rejected"
            ));
        }
        if promise.proved() < promise.one_in {
            warnings.push(format!(
                "{held} held-out good parts are kept and prove at most 1 false reject in {} good parts (before: 1 in {}, with \
                 {} of them); 1 in {} takes {} of them: teach once more from all pictures for that",
                promise.proved(),
                self.recipe.promise.proved(),
                self.recipe.promise.held_out,
                promise.one_in,
                promise.good_needed
            ));
        }
        if recipe.threshold > 1.5 * was {
            warnings.push(format!(
                "good parts now score up to {:.1} instead of {was:.1} standard deviations: the new defects look much like good \
                 parts; measure with `zoomgate eval`",
                recipe.threshold
            ));
        }
        warnings
    }

    fn keep(&mut self, fresh: Fresh, heads: [Head; 2], effects: [[Option<f64>; PER_VIEW]; 2]) {
        let kept = &mut self.kept;
        let first = kept.bad.len();
        kept.bad.extend(self.prints.iter().cloned());
        kept.heads = Some(heads);
        kept.effects = effects;
        let number =
            |views: Vec<(usize, QuantizedFeatures)>| views.into_iter().map(move |(b, codes)| (first + b, codes));
        for (view, ((real, mixed), pooled)) in fresh.real.into_iter().zip(fresh.mixed).zip(fresh.pooled).enumerate() {
            kept.real[view].extend(number(real));
            kept.mixed[view].extend(number(mixed));
            kept.pooled_bad[view].push(pooled);
        }
    }
}
