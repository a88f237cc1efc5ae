//! The fit of what is normal, of full images and of crops.

use std::borrow::Cow;

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::features::QuantizedFeatures;
use super::fold::ScreenedFold;
use super::location_stats::Layout;
use super::template::Batches;
use super::trainer::{PROBES, Trainer, whole};
use super::view::Normality;
use crate::error::Result;
use crate::inspect::aligned::AlignedImage;
use crate::inspect::crop::CropLattice;

/// Zoomed views of good parts all over them, from which it is learnt what each place looks like there; at least two and at
/// most twelve of each part. A crop shows an eighth of it.
const SWEEP: usize = 1000;
/// As many again say how far good parts are from that.
const SWEEP_AGAIN: usize = 320;
/// Good parts that are looked at all over at a time: each is decoded once for all its views.
const SWEPT: usize = 16;

/// Fits what is normal in full images of the fold's good parts.
pub(super) fn fit_full(trainer: &Trainer<'_>, fold: &ScreenedFold, rng: &mut ChaCha8Rng) -> Result<Normality> {
    let mut goods = Cow::Borrowed(&fold.good[..]);
    if trainer.options.augmentation.is_wide() {
        goods.to_mut().extend(trainer.codes("varying good parts", fold.fit.len(), |i| {
            let mut rng = trainer.rng(40, i);
            Ok(trainer.varied(&trainer.recorded(fold.fit[i], &mut rng)?, i, &mut rng))
        })?);
    }
    trainer.progress.stage("learning what is normal", 1);
    let batch = |_: usize| Ok(goods.to_vec());
    let all = Batches::whole(trainer.space.grid, &batch);
    Normality::fit(&trainer.space, &goods, Some(&all), &goods, trainer.options.prototypes, rng)
}

/// What is normal in crops: in those of what is suspicious in good parts, or, where crops lie on a lattice, at all
/// places of them.
pub(super) fn fit_crops(
    trainer: &Trainer<'_>,
    fold: &ScreenedFold,
    goods: &[QuantizedFeatures],
    rng: &mut ChaCha8Rng,
) -> Result<Normality> {
    let Some(lattice) = &trainer.lattice else {
        trainer.progress.stage("learning what is normal", 1);
        let measured = &goods[..fold.fit.len().min(PROBES)];
        return Normality::fit(&trainer.space, goods, None, measured, trainer.options.prototypes, rng);
    };
    let of_each = |views: usize, least: usize| views.div_ceil(fold.fit.len()).clamp(least, 12);
    // The second lot stays in memory.
    let (first, again) = (of_each(SWEEP, 2), of_each(SWEEP_AGAIN, 1));
    let count = fold.fit.len().div_ceil(SWEPT);
    trainer.progress.stage("zooming all over good parts", (fold.fit.len() * (first + again)) as u64);
    let mut measured = Vec::new();
    for n in 0..count {
        measured.extend(sweep(trainer, fold, lattice, n, first..first + again)?);
    }
    let batch = |n: usize| sweep(trainer, fold, lattice, n, 0..first);
    let all = Batches { layout: Layout::on(lattice, trainer.space.grid), count, batch: &batch };
    Normality::fit(&trainer.space, &measured, Some(&all), &measured, trainer.options.prototypes, rng)
}

/// Zoomed views, those with these numbers, anywhere on each of the `n`-th few good parts that are fitted on.
fn sweep(
    trainer: &Trainer<'_>,
    fold: &ScreenedFold,
    lattice: &CropLattice,
    n: usize,
    views: std::ops::Range<usize>,
) -> Result<Vec<QuantizedFeatures>> {
    let parts = &fold.fit[n * SWEPT..fold.fit.len().min((n + 1) * SWEPT)];
    let part = |(at, &i): (usize, &usize)| {
        let part = trainer.good.part(i)?;
        let is_varied = at % 2 == 1 && trainer.options.augmentation.is_wide();
        if !is_varied {
            return Ok(part);
        }
        let (variation, mut rng) = (&trainer.options.augmentation, trainer.rng(41, i));
        variation.recorded(&variation.placed(&part, at / 2, &mut rng), &mut rng)
    };
    let frames: Vec<AlignedImage> = parts.par_iter().enumerate().map(part).collect::<Result<_>>()?;
    trainer.extractor.codes(frames.len() * views.len(), |i| {
        let (part, view) = (i / views.len(), views.start + i % views.len());
        let (frame, mut rng) = (&frames[part], trainer.rng(8 + view as u64, n * SWEPT + part));
        let full = whole(frame);
        // Beyond the edges as well: fewer views begin there than in the middle, and as many should show them.
        let centre = (full.width * rng.random_range(-0.1..1.1), full.height * rng.random_range(-0.1..1.1));
        trainer.progress.tick();
        Ok(trainer.render(frame, &lattice.around(centre, trainer.space.grid, &full)))
    })
}
