//! Known bad parts as heads see them that have not seen them: what will escape, and what looks like a good part.
//!
//! Each known bad part goes through both views by the heads that were fitted on the other half of the bads, and so does
//! its crop's place; held-out good parts go through the same heads and say what a deviation is. What knows only good
//! parts has seen none of them anyhow.
//!
//! Heads of half the bads and a third of the steps know less than the recipe's, so that the estimate errs towards more
//! escape, and wrong labels spoil it (`docs/EXPERIMENTS.md`, "The expected escape").

use rayon::prelude::*;

use super::bounds::floor;
use super::features::QuantizedFeatures;
use super::fit::FittedModel;
use super::fold::ScreenedFold;
use super::head::top_cells;
use super::picture::ImageCache;
use super::trainer::Trainer;
use super::view::{distance_cells, top_mean};
use super::weights::PER_VIEW;
use crate::error::Result;
use crate::inspect::recipe::Standard;

/// The evidences of one part, in the order of [`super::weights`].
type Evidences = [[f32; PER_VIEW]; 2];

/// The score of each known bad part, in standard deviations of held-out good parts; none where they are too few.
///
/// Cost: a pass for each bad part and two for each of at most 64 held-out ones.
pub(super) fn unseen(trainer: &Trainer<'_>, fold: &ScreenedFold, fitted: &FittedModel) -> Result<Vec<f32>> {
    if fitted.halves.iter().any(Vec::is_empty) {
        return Ok(Vec::new());
    }
    let goods: Vec<(usize, &QuantizedFeatures)> = fold.held.iter().copied().zip(&fold.probes).collect();
    let mut scores = vec![0.0; trainer.bad.len()];
    for half in 0..2 {
        let bads: Vec<(usize, &QuantizedFeatures)> =
            fold.bad.iter().enumerate().filter(|(b, _)| b % 2 != half).collect();
        let mut of_goods = evidences(trainer, fitted, half, &trainer.good, &goods)?;
        let mut of_bads = evidences(trainer, fitted, half, &trainer.bad, &bads)?;
        if trainer.options.ablation.bounds {
            bound(&mut of_goods, &mut of_bads);
        }
        let found = fused(&of_goods, &of_bads, &fitted.weights);
        bads.iter().zip(found).for_each(|((b, _), score)| scores[*b] = score);
    }
    Ok(scores)
}

/// The evidences of `pictures` of a shelf, with their full images' features, by the heads of one half.
fn evidences(
    trainer: &Trainer<'_>,
    fitted: &FittedModel,
    half: usize,
    images: &ImageCache<'_>,
    pictures: &[(usize, &QuantizedFeatures)],
) -> Result<Vec<Evidences>> {
    let space = &trainer.space;
    let (far, known) = (distance_cells(space.cells()), top_cells(space.cells()));
    let [full, zoom] = [&fitted.halves[0][half], &fitted.halves[1][half]];
    let [[normality_weight, known_weight, _], _] = fitted.weights;
    let maps: Vec<[Vec<f32>; 2]> = pictures
        .par_iter()
        .map(|(_, codes)| [fitted.full.normality.map(space, codes), full.map(space, codes)])
        .collect();
    let zooms = trainer.codes("looking at parts that heads have not seen", pictures.len(), |n| {
        let frame = images.part(pictures[n].0)?;
        let [normality, logits] = &maps[n];
        let both = |(n, l): (&f32, &f32)| normality_weight * n + known_weight * l;
        let suspicion: Vec<f32> = normality.iter().zip(logits).map(both).collect();
        Ok(trainer.render(&frame, &trainer.locate(&suspicion, &frame, &fitted.policy)))
    })?;
    let evidences = |n: usize| {
        let ([normality, logits], (_, seen), codes) = (&maps[n], pictures[n], &zooms[n]);
        let (near, taught) = (fitted.zoom.normality.map(space, codes), zoom.map(space, codes));
        [
            [top_mean(normality, far), top_mean(logits, known), full.overall.score(space, seen)],
            [top_mean(&near, far), top_mean(&taught, known), zoom.overall.score(space, codes)],
        ]
    };
    Ok((0..pictures.len()).into_par_iter().map(evidences).collect())
}

/// Evidences acquit no more than the recipe's do: no less than the floors that `goods` give.
fn bound(goods: &mut [Evidences], bads: &mut [Evidences]) {
    for e in 0..2 * PER_VIEW {
        let least = floor(&goods.iter().map(|g| g.as_flattened()[e]).collect::<Vec<_>>());
        for part in goods.iter_mut().chain(bads.iter_mut()) {
            let value = &mut part.as_flattened_mut()[e];
            *value = value.max(least);
        }
    }
}

/// Scores of `bads`: weighted sums of evidences, each and all of them in standard deviations of `goods`.
fn fused(goods: &[Evidences], bads: &[Evidences], weights: &Evidences) -> Vec<f32> {
    let of = |e: usize| Standard::of(&goods.iter().map(|g| g.as_flattened()[e]).collect::<Vec<_>>());
    let standards: [Standard; 2 * PER_VIEW] = std::array::from_fn(of);
    let sum = |part: &Evidences| {
        let weighed = part.as_flattened().iter().zip(weights.as_flattened()).zip(&standards);
        weighed.map(|((&e, w), s)| w * s.z(e)).sum::<f32>()
    };
    let all = Standard::of(&goods.iter().map(sum).collect::<Vec<_>>());
    bads.iter().map(|b| all.z(sum(b))).collect()
}
