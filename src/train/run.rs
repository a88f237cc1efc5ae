//! One run from beginning to end, and what it gives.

use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::calibrate::calibrate;
use super::export::{Exported, Provenance, export};
use super::features::FeatureGraph;
use super::fit::fit;
use super::fold::split;
use super::inventory::{Fingerprint, Inventory, first};
use super::label_noise::SuspectedLabel;
use super::options::{GOOD_MIN, Options};
use super::outliers::screen;
use super::picture::{ImageCache, Picture};
use super::progress::Progress;
use super::registration::registration;
use super::sight;
use super::trainer::{Trainer, calibration_views};
use crate::error::{Error, ErrorKind, Result};
use crate::inspect::crop::{CropLattice, CropPolicy};
use crate::inspect::recipe::Recipe;
use crate::nn::backbone::Backbone;

/// What a training run gave.
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
    let sight = options.ablation.sight.then(|| sight::measure(&good, &bad, options, progress)).transpose()?;
    let (sight, mut warnings) = sight.map_or((None, Vec::new()), |(sight, words)| (Some(sight), words));
    let aligner = registration(&good, options.register, progress)?;
    let (good, bad) = (good.aligned(aligner.clone(), size), bad.aligned(aligner.clone(), size));
    let mut folds = split(&good, options.held_out, options.folds, &mut rng).into_iter();
    let fold = folds.next().expect("at least one");
    let views = calibration_views(&good, &fold.fit, &bad, size, options.light(), &mut rng)?;
    progress.stage("quantising the backbone", 1);
    let floats = (!options.ablation.int8).then(|| backbone.clone().in_floats());
    let space = FeatureGraph::fit(floats.as_ref().unwrap_or(backbone), size[0], size[1], &views)?;
    let extractor = space.extractor()?;
    let lattice =
        if options.ablation.lattice { CropLattice::new(space.grid, CropPolicy::default().side_min) } else { None };
    let trainer = Trainer { good, bad, space, extractor, lattice, options, progress };
    let fold = screen(&trainer, fold)?;
    warnings.extend(fold.warnings.iter().cloned());
    let fitted = fit(&trainer, &fold, &mut rng)?;
    let calibrated = calibrate(&trainer, &fold, &fitted)?;
    let mut others = Vec::new();
    for fold in folds {
        let fold = screen(&trainer, fold)?;
        others.extend(calibrate(&trainer, &fold, &fit(&trainer, &fold, &mut rng)?)?.scores);
    }
    let provenance = Provenance { backbone, digest, prints, sight, aligner: aligner.as_deref() };
    let Exported { recipe, bytes, warnings: more, suspects } =
        export(&trainer, &fold, &fitted, calibrated, &others, provenance)?;
    warnings.extend(more);
    Ok(TrainedModel { bytes, recipe, took: start.elapsed(), warnings, suspects })
}
