//! Known defects mixed into good pictures: many examples from few.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::cutmix;
use super::examples::{Examples, fit_known};
use super::features::QuantizedFeatures;
use super::fold::ScreenedFold;
use super::trainer::{Trainer, whole};
use super::view::{Alignment, Known, Normality, suspicion};
use super::weights::PRIOR;
use crate::error::Result;
use crate::frame::geometry::Roi;
use crate::inspect::aligned::AlignedImage;
use crate::inspect::crop::CropPolicy;

/// Good pictures that a known defect is mixed into.
const MIXED: usize = 60;

/// Locates the known defects with a first head and mixes them into good pictures.
pub(super) fn mine(
    trainer: &Trainer<'_>,
    fold: &ScreenedFold,
    normality: &Normality,
    rng: &mut ChaCha8Rng,
) -> Result<Mined> {
    let (goods, bads) = (&fold.good, &fold.bad);
    let real = bads.iter().cloned().enumerate().collect();
    let examples = Examples { good: goods.clone(), real, mixed: Vec::new() };
    let first = fit_known(trainer, "finding the known defects", trainer.options.steps / 2, &examples, |_| true, rng);
    let first = Known::measure(&trainer.space, first, Alignment::fixed(trainer.space.grid), goods);
    let boxes: Vec<Roi> = (0..bads.len())
        .into_par_iter()
        .map(|i| {
            let frame = trainer.bad.part(i)?;
            let view = trainer.locate(
                &suspicion(&trainer.space, normality, Some((&first, PRIOR[0][1] as f32)), &bads[i]),
                &frame,
                &CropPolicy::TIGHT,
            );
            Ok(view.inside(frame.width, frame.height))
        })
        .collect::<Result<_>>()?;
    let pasted = |i: usize| -> Result<Pasted> {
        let mut rng = trainer.rng(6, i);
        let b = rng.random_range(0..trainer.bad.len());
        let good = trainer.good.part(fold.fit[rng.random_range(0..fold.fit.len())])?;
        let bad = trainer.bad.part(b)?;
        let (frame, roi) = cutmix::paste(&good, &bad, boxes[b], &mut rng);
        Ok(Pasted { frame: good.repainted(frame), good, roi, rng })
    };
    let mixed = if trainer.options.ablation.cutmix { MIXED } else { 0 };
    let full = trainer.codes("mixing defects into good parts", mixed, |i| {
        let frame = pasted(i)?.frame;
        Ok(trainer.render(&frame, &whole(&frame)))
    })?;
    // The same place with and without the defect: what is left to tell them apart is the defect.
    let pairs = trainer.codes("zooming into mixed parts", 2 * mixed, |i| {
        let Pasted { good, frame, roi, mut rng, .. } = pasted(i / 2)?;
        let view = trainer.zoom_on(roi, &frame, &mut rng);
        Ok(trainer.render(if i % 2 == 0 { &frame } else { &good }, &view))
    })?;
    // Which bad each came from is drawn first of all: drawing it again needs no picture.
    let source = |i: usize| trainer.rng(6, i).random_range(0..trainer.bad.len());
    let full = full.into_iter().enumerate().map(|(i, v)| (source(i), v)).collect();
    let (zoom_bad, zoom_good) =
        pairs.chunks(2).enumerate().map(|(i, p)| ((source(i), p[0].clone()), p[1].clone())).unzip();
    Ok(Mined { boxes, full, zoom_bad, zoom_good })
}

/// A known defect in a good picture.
struct Pasted {
    good: AlignedImage,
    frame: AlignedImage,
    roi: Roi,
    rng: ChaCha8Rng,
}

/// What mixing gave; bads with the number of the known bad that they show.
pub(super) struct Mined {
    /// Where each known bad's defect is.
    pub(super) boxes: Vec<Roi>,
    pub(super) full: Vec<(usize, QuantizedFeatures)>,
    pub(super) zoom_bad: Vec<(usize, QuantizedFeatures)>,
    pub(super) zoom_good: Vec<QuantizedFeatures>,
}
