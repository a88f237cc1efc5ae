//! From a finished training run to what its recipe keeps.

use rayon::prelude::*;

use super::header::{CANDIDATES, Place};
use super::memory::{Exemplar, ReplayMemory, pool, spread};
use crate::error::Result;
use crate::frame::geometry::View;
use crate::inspect::aligned::AlignedImage;
use crate::train::features::QuantizedFeatures;
use crate::train::fit::FittedModel;
use crate::train::fold::ScreenedFold;
use crate::train::image_classifier::{Pooled, pooled};
use crate::train::trainer::Trainer;

/// Where `view` lies in its frame, as shares of it.
pub(in crate::train) fn place(view: &View, frame: &AlignedImage) -> Place {
    let (w, h) = (f64::from(frame.width), f64::from(frame.height));
    [view.x / w, view.y / h, view.width / w, view.height / h]
}

/// What the recipe keeps; `located` gives a held-out part by its place in the list, and where the zooms look in it.
///
/// Cost: a pass for each of at most 96 held-out parts and for each crop of it.
pub(in crate::train) fn gather(
    trainer: &Trainer<'_>,
    fold: &ScreenedFold,
    fitted: &FittedModel,
    prints: &[Vec<String>; 2],
    located: impl Fn(usize) -> Result<(AlignedImage, Vec<View>)> + Sync,
) -> Result<ReplayMemory> {
    let chosen: Vec<usize> = spread(fold.held.len()).into_iter().take(CANDIDATES).collect();
    let name = "keeping what a later defect needs";
    let full = trainer.codes(name, chosen.len(), |n| trainer.full_view(&trainer.good, fold.held[chosen[n]]))?;
    let zooms = trainer.codes(name, chosen.len() * trainer.options.crops, |n| {
        let (frame, views) = located(chosen[n / trainer.options.crops])?;
        // Where the policy found fewer, the last counts again: one crop twice is as strong as once.
        let view = views[(n % trainer.options.crops).min(views.len() - 1)];
        Ok(trainer.render(&frame, &view))
    })?;
    let places = chosen.par_iter().map(|&n| {
        let (frame, views) = located(n)?;
        Ok((0..trainer.options.crops).map(|c| place(&views[c.min(views.len() - 1)], &frame)).collect())
    });
    let places: Vec<Vec<Place>> = places.collect::<Result<_>>()?;
    let mut zooms = zooms.into_iter();
    let held = full.into_iter().zip(places).map(|(full, places)| {
        let zooms = places.into_iter().map(|place| (zooms.next().expect("one for each place"), place)).collect();
        Exemplar { full, zooms }
    });
    let [good, bad] = prints.clone();
    let heads = fitted.full.known.as_ref().zip(fitted.zoom.known.as_ref());
    let chosen = |views: &[QuantizedFeatures]| -> Vec<QuantizedFeatures> {
        spread(views.len()).into_iter().take(CANDIDATES).map(|i| views[i].clone()).collect()
    };
    let [full, zoom] = &fitted.examples;
    let pooled_bad = |views: &[(usize, QuantizedFeatures)]| -> Vec<Pooled> {
        let rows = views.par_iter().take(2 * CANDIDATES).map(|(b, codes)| (*b, pooled(&trainer.space, codes)));
        if views.is_empty() { Vec::new() } else { vec![rows.collect()] }
    };
    Ok(ReplayMemory {
        grid: trainer.space.grid,
        channels: trainer.space.channels,
        good,
        bad,
        effects: fitted.effects,
        heads: heads.map(|(f, z)| [f.head.clone(), z.head.clone()]),
        pooled: [pool(&trainer.space, &full.good), pool(&trainer.space, &zoom.good)],
        pooled_bad: [pooled_bad(&full.real), pooled_bad(&zoom.real)],
        // The full image's varied good views come last: what is usual at a place is learnt from parts as they lie.
        goods: [chosen(&fold.good), chosen(&zoom.good)],
        held: held.collect(),
        real: [full.real.clone(), zoom.real.clone()],
        mixed: [full.mixed.clone(), zoom.mixed.clone()],
    })
}
