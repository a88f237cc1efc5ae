//! One lesson from beginning to end, and what it gives.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::calibrate::Concluded;
use super::features::FeatureGraph;
use super::inventory::{Fingerprint, Inventory, first};
use super::label_noise::SuspectedLabel;
use super::options::{GOOD_MIN, Options, Register};
use super::picture::{ImageCache, Picture};
use super::progress::Progress;
use super::sight;
use super::trainer::{Screened, Trainer, calibration_views};
use crate::error::{Error, ErrorKind, Result};
use crate::inspect::crop::{CropLattice, CropPolicy};
use crate::inspect::recipe::{Recipe, Standard};
use crate::inspect::register::{self, Aligner, Grey, Registration, as_they_lie, mean_of};
use crate::nn::backbone::Backbone;

/// Good pictures that are fitted on, at most: their features stay in memory.
const GOOD_KEPT: usize = 512;

/// What a lesson gave.
pub struct TrainedModel {
    /// The recipe file.
    pub bytes: Vec<u8>,
    /// Its notes.
    pub recipe: Recipe,
    /// How long it took.
    pub took: Duration,
    /// What the technician should know.
    pub warnings: Vec<String>,
    /// Pictures that do not look like what they were given as; the warnings speak of them, too.
    pub suspects: Vec<SuspectedLabel>,
}

/// Teaches a recipe from `good` pictures and known `bad` ones (which may be none).
///
/// Cost: about 2 passes for each good picture fitted on, 3 for each held out, 6 for each bad one, 330 more for mixed and
/// held-out ones, and four fits.
/// Memory: 200 KB for each of at most 512 good pictures and its crop, 256 MB of decoded pictures, 100 MB of fitting.
///
/// # Errors
/// When there are too few good pictures, a picture cannot be read, or the backbone cannot be run. Nothing is written.
pub fn train(
    good: &[Picture],
    bad: &[Picture],
    backbone: &Backbone,
    options: &Options,
    progress: &dyn Progress,
) -> Result<TrainedModel> {
    let start = Instant::now();
    if good.len() < GOOD_MIN {
        return Err(Error::new(
            ErrorKind::Refused,
            format!("{} good pictures are too few to teach from: give at least {GOOD_MIN}, better 100", good.len()),
        ));
    }
    let (good, bad) = (ImageCache::new(good), ImageCache::new(bad));
    let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
    let inventory = Inventory::of(&good, &bad, progress)?;
    inventory.refuse_both(&good, &bad)?;
    let repeats = inventory.repeats(&good, &bad);
    if !repeats.is_empty() {
        let distinct = |images: &ImageCache<'_>, seen: &[Fingerprint]| -> Vec<Picture> {
            (0..images.len()).filter(|&i| first(seen, i) == i).map(|i| images.picture(i).clone()).collect()
        };
        let (good, bad) = (distinct(&good, &inventory.good), distinct(&bad, &inventory.bad));
        let mut taught = train(&good, &bad, backbone, options, progress)?;
        taught.warnings.splice(0..0, repeats);
        return Ok(TrainedModel { took: start.elapsed(), ..taught });
    }
    let (size, digest) = (inventory.input(options.size), inventory.digest(&good, &bad));
    let prints = inventory.fingerprints();
    let seen = options.ingredients.sight.then(|| sight::measure(&good, &bad, options, progress)).transpose()?;
    let (seen, words) = seen.map_or((None, Vec::new()), |(sight, words)| (Some(sight), words));
    let aligner = registration(&good, options.register, progress)?;
    let (good, bad) = (good.aligned(aligner.clone(), size), bad.aligned(aligner.clone(), size));
    let mut folds = splits(&good, options.held_out, options.folds, &mut rng).into_iter();
    let (fit, held) = folds.next().expect("at least one");
    let views = calibration_views(&good, &fit, &bad, size, options.light(), &mut rng)?;
    progress.stage("quantising the backbone", 1);
    let floats = (!options.ingredients.int8).then(|| backbone.clone().in_floats());
    let space = FeatureGraph::fit(floats.as_ref().unwrap_or(backbone), size[0], size[1], &views)?;
    let extractor = space.extractor()?;
    let screened = Screened::default();
    let chart =
        if options.ingredients.chart { CropLattice::new(space.grid, CropPolicy::default().side_min) } else { None };
    let mut trainer =
        Trainer { sight: seen, good, bad, fit, held, space, extractor, chart, screened, prints, options, progress };
    let mut warnings = words;
    warnings.extend(trainer.screen()?);
    let fitted = trainer.fit(&mut rng)?;
    let reckoned = trainer.reckon(&fitted)?;
    let mut others = Vec::new();
    for (fit, held) in folds {
        let (fit, held, screened) = trainer.swap(fit, held, Screened::default());
        trainer.screen()?;
        others.extend(trainer.reckon(&trainer.fit(&mut rng)?)?.scores);
        trainer.swap(fit, held, screened);
    }
    let Concluded { recipe, bytes, warnings: more, suspects } =
        trainer.conclude(&fitted, reckoned, &others, backbone, digest, aligner.as_deref())?;
    warnings.extend(more);
    Ok(TrainedModel { bytes, recipe, took: start.elapsed(), warnings, suspects })
}

/// Pictures that the mean good part is taken of, at most.
const ALIGNED: usize = 64;
/// A median correlation of good parts with their mean below this is no likeness.
const LIKENESS_MIN: f32 = 0.5;
/// A part counts as found within this many deviations of good parts' correlations.
const GATE: f32 = 6.0;

/// Parts are brought into line without being asked for where that takes away this share of what the median good part
/// lacks in correlation with the mean one, and leaves it above a least correlation.
const GAIN: f32 = 0.4;
const ALIKE_MIN: f32 = 0.8;

/// What good parts are brought into line with, and from which correlation on.
fn registration(good: &ImageCache<'_>, when: Register, progress: &dyn Progress) -> Result<Option<Arc<Aligner>>> {
    if when == Register::Never {
        return Ok(None);
    }
    let count = good.len().min(ALIGNED);
    progress.stage("bringing parts into line", count as u64);
    let pictures = (0..count)
        .into_par_iter()
        .map(|n| {
            let frame = good.part(n * good.len() / count)?;
            progress.tick();
            Ok(Grey::of(&frame, &mut register::Scratch::default()))
        })
        .collect::<Result<Vec<Grey>>>()?;
    let unlike = |median: f32| {
        let message = format!(
            "the good pictures do not show parts that can be brought into line (median correlation with their mean \
             {median:.2}, {LIKENESS_MIN} is the least): teach without --register=always"
        );
        Error::new(ErrorKind::Refused, message)
    };
    let found = mean_of(&pictures);
    let (Some((mean, correlations)), Some(lying)) = (found, as_they_lie(&pictures)) else {
        return if when == Register::Auto { Ok(None) } else { Err(unlike(0.0)) };
    };
    let Standard { mean: usual, std } = Standard::of(&correlations);
    let [before, after] = [&lying, &correlations].map(|c| median(c));
    log::debug!("median correlation with the mean good part {before:.4}, brought into line {after:.4}");
    match when {
        Register::Auto if after < ALIKE_MIN || 1.0 - after > (1.0 - GAIN) * (1.0 - before) => return Ok(None),
        Register::Always if after < LIKENESS_MIN => return Err(unlike(after)),
        _ => {}
    }
    let gate = (usual - GATE * std).max(LIKENESS_MIN / 2.0);
    Ok(Some(Arc::new(Aligner::new(Registration::new(&mean, gate)))))
}

fn median(values: &[f32]) -> f32 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f32::total_cmp);
    sorted[sorted.len() / 2]
}

/// Good pictures to fit on and to hold out, whole groups on one side; `folds` times, none held out twice, or as often as
/// there are enough.
fn splits(good: &ImageCache<'_>, share: f64, folds: usize, rng: &mut ChaCha8Rng) -> Vec<(Vec<usize>, Vec<usize>)> {
    let mut groups: std::collections::BTreeMap<&str, Vec<usize>> = std::collections::BTreeMap::new();
    for i in 0..good.len() {
        groups.entry(good.group(i)).or_default().push(i);
    }
    let mut groups: Vec<Vec<usize>> = groups.into_values().collect();
    groups.shuffle(rng);
    let want = ((good.len() as f64 * share).round() as usize).clamp(2, good.len() - 2);
    let mut splits = Vec::new();
    let mut from = 0;
    while splits.len() < folds {
        let mut held = Vec::new();
        let first = from;
        while held.len() < want && from < groups.len() {
            held.extend(&groups[from]);
            from += 1;
        }
        if !splits.is_empty() && held.len() < want {
            break;
        }
        let fit: Vec<usize> = [&groups[..first], &groups[from..]].concat().concat();
        splits.push(bounded(fit, held, good.len(), want, rng));
    }
    splits
}

/// One split in order, and no more to fit on than fit into memory.
fn bounded(
    mut fit: Vec<usize>,
    mut held: Vec<usize>,
    count: usize,
    want: usize,
    rng: &mut ChaCha8Rng,
) -> (Vec<usize>, Vec<usize>) {
    if fit.len() < 2 {
        // One huge group: there is nothing to keep apart, so split inside it.
        let all: Vec<usize> = (0..count).collect();
        (held, fit) = (all[..want].to_vec(), all[want..].to_vec());
    }
    fit.sort_unstable();
    held.sort_unstable();
    if fit.len() > GOOD_KEPT {
        fit.partial_shuffle(rng, GOOD_KEPT);
        fit.truncate(GOOD_KEPT);
        fit.sort_unstable();
    }
    (fit, held)
}
