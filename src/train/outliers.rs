//! A look at every picture before anything is taught: by a template of good parts that it was not fitted on.
//!
//! The good pictures to fit on are halved by groups, a [`Template`] is fitted on each half, and each half is measured by
//! the other's, so that a bad picture among the good ones cannot make itself look usual. Held-out and bad pictures are
//! measured by both. What stands out is in [`super::label_noise`].

use rayon::prelude::*;

use super::features::QuantizedFeatures;
use super::fold::{Fold, ScreenedFold};
use super::label_noise::{self, Look, Outliers};
use super::template::{Batches, Template};
use super::trainer::{PROBES, Trainer};
use super::view::{distance_cells, top_mean};
use crate::error::Result;
use crate::stats;

/// Blocks of the picture, in both directions, whose mean features say what product it shows.
const BLOCKS: usize = 4;

/// Looks at every picture; good ones that cannot be meant are taken out of the training run.
///
/// Draws from no generator but its own.
/// Cost: a pass for each picture, which the fit is spared, and two templates.
pub(super) fn screen(trainer: &Trainer<'_>, fold: Fold) -> Result<ScreenedFold> {
    let features =
        trainer.codes("looking at good parts", fold.fit.len(), |i| trainer.full_view(&trainer.good, fold.fit[i]))?;
    let bad = trainer.codes("looking at bad parts", trainer.bad.len(), |i| trainer.full_view(&trainer.bad, i))?;
    trainer.progress.stage("comparing pictures", 1);
    let halves = halves(fold.fit.len(), |i| trainer.good.group(fold.fit[i]));
    let templates: Vec<Template> = (0..2)
        .map(|h| {
            let of_half: Vec<QuantizedFeatures> =
                features.iter().zip(&halves).filter(|(_, half)| **half == h).map(|(c, _)| c.clone()).collect();
            let batch = |_: usize| Ok(of_half.clone());
            let all = Batches::whole(trainer.space.grid, &batch);
            Template::fit(&trainer.space, &of_half, Some(&all), &mut trainer.rng(7, h))
        })
        .collect::<Result<_>>()?;
    let mut goods: Vec<Look> = (0..features.len())
        .into_par_iter()
        .map(|i| look_at(trainer, trainer.good.name(fold.fit[i]), &templates[1 - halves[i]..][..1], &features[i]))
        .collect();
    let bads: Vec<Look> =
        (0..bad.len()).into_par_iter().map(|i| look_at(trainer, trainer.bad.name(i), &templates, &bad[i])).collect();
    trainer.progress.stage("looking at held-out parts", fold.held.len() as u64);
    let mut probes = Vec::new();
    for chunk in fold.held.chunks(PROBES) {
        let view = |i: usize| trainer.full_view(&trainer.good, chunk[i]).inspect(|_| trainer.progress.tick());
        let codes = trainer.extractor.codes(chunk.len(), view)?;
        let look =
            |(&i, codes): (&usize, &QuantizedFeatures)| look_at(trainer, trainer.good.name(i), &templates, codes);
        goods.par_extend(chunk.par_iter().zip(&codes).map(look));
        // Not all are kept: there may be thousands.
        probes.extend(codes.into_iter().take(2 * PROBES - probes.len()));
    }
    let Outliers { left_out, suspects, warnings } = label_noise::find(&goods, &bads)?;
    let fitted = features.len();
    let is_kept = |n: &usize| !left_out.contains(n);
    let kept: Vec<usize> = (0..fold.held.len()).filter(|n| is_kept(&(fitted + n))).collect();
    let probes = kept.iter().filter_map(|&n| probes.get(n).cloned()).take(PROBES).collect();
    let held = kept.iter().map(|&n| fold.held[n]).collect();
    let kept: Vec<usize> = (0..fitted).filter(is_kept).collect();
    let fit = kept.iter().map(|&n| fold.fit[n]).collect();
    let good = kept.iter().map(|&n| features[n].clone()).collect();
    Ok(ScreenedFold { fit, held, good, bad, probes, suspects, warnings })
}

fn look_at(trainer: &Trainer<'_>, name: &str, templates: &[Template], codes: &QuantizedFeatures) -> Look {
    let n = templates.len() as f32;
    let (mut peak, mut bulk) = (0.0, 0.0);
    for template in templates {
        let mut map = template.distances(&template.whitened(&trainer.space, codes), codes.at);
        peak += top_mean(&map, distance_cells(map.len())) / n;
        bulk += stats::upper_median(&mut map).unwrap_or(0.0) / n;
    }
    Look { name: name.to_owned(), peak, bulk, blocks: blocks(trainer, codes) }
}

/// The mean features of [`BLOCKS`] x [`BLOCKS`] blocks of the picture.
fn blocks(trainer: &Trainer<'_>, codes: &[u8]) -> Vec<f32> {
    let ([rows, columns], channels) = (trainer.space.grid, trainer.space.channels);
    let mut sums = vec![0.0f32; BLOCKS * BLOCKS * channels];
    let share = trainer.space.quant.scale * (BLOCKS * BLOCKS) as f32 / (rows * columns) as f32;
    for (cell, values) in codes.chunks(channels).enumerate() {
        let block = (cell / columns * BLOCKS / rows) * BLOCKS + cell % columns * BLOCKS / columns;
        let sums = &mut sums[block * channels..][..channels];
        sums.iter_mut().zip(values).for_each(|(s, &v)| *s += share * f32::from(v));
    }
    sums
}

/// 0 or 1 for each picture, whole groups alike, about as many of each.
fn halves<'a>(count: usize, group: impl Fn(usize) -> &'a str) -> Vec<usize> {
    let groups: std::collections::BTreeSet<&str> = (0..count).map(&group).collect();
    if groups.len() < 2 {
        return (0..count).map(|i| i % 2).collect();
    }
    let half: std::collections::BTreeMap<&str, usize> =
        groups.into_iter().enumerate().map(|(n, g)| (g, n % 2)).collect();
    (0..count).map(|i| half[group(i)]).collect()
}
