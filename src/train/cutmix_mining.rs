//! Known defects mixed into good pictures: many examples from few.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::cutmix;
use super::features::Codes;
use super::trainer::{Examples, Trainer, whole};
use super::view::{Alignment, Known, Normality, suspicion};
use super::weights::PRIOR;
use crate::error::Result;
use crate::frame::geometry::Roi;
use crate::inspect::aligned::AlignedImage;
use crate::inspect::crop::CropPolicy;

/// Good pictures that a known defect is mixed into.
const MIXED: usize = 60;

impl Trainer<'_> {
    /// Locates the known defects with a first head and mixes them into good pictures.
    pub(super) fn mix(
        &self,
        goods: &[Codes],
        bads: &[Codes],
        normality: &Normality,
        rng: &mut ChaCha8Rng,
    ) -> Result<Mixed> {
        let real = bads.iter().cloned().enumerate().collect();
        let examples = Examples { good: goods.to_vec(), real, mixed: Vec::new() };
        let first = self.known("finding the known defects", self.options.steps / 2, &examples, |_| true, rng);
        let first = Known::measure(&self.space, first, Alignment::fixed(self.space.grid), goods);
        let boxes: Vec<Roi> = (0..bads.len())
            .into_par_iter()
            .map(|i| {
                let frame = self.bad.part(i)?;
                let view = self.locate(
                    &suspicion(&self.space, normality, Some((&first, PRIOR[0][1] as f32)), &bads[i]),
                    &frame,
                    &CropPolicy::TIGHT,
                );
                Ok(view.inside(frame.width, frame.height))
            })
            .collect::<Result<_>>()?;
        let pasted = |i: usize| -> Result<Pasted> {
            let mut rng = self.rng(6, i);
            let b = rng.random_range(0..self.bad.len());
            let good = self.good.part(self.fit[rng.random_range(0..self.fit.len())])?;
            let bad = self.bad.part(b)?;
            let (frame, roi) = cutmix::paste(&good, &bad, boxes[b], &mut rng);
            Ok(Pasted { frame: good.repainted(frame), good, roi, rng })
        };
        let mixed = if self.options.ingredients.cutmix { MIXED } else { 0 };
        let full = self.codes("mixing defects into good parts", mixed, |i| {
            let frame = pasted(i)?.frame;
            Ok(self.render(&frame, &whole(&frame)))
        })?;
        // The same place with and without the defect: what is left to tell them apart is the defect.
        let pairs = self.codes("zooming into mixed parts", 2 * mixed, |i| {
            let Pasted { good, frame, roi, mut rng, .. } = pasted(i / 2)?;
            let view = self.zoom_on(roi, &frame, &mut rng);
            Ok(self.render(if i % 2 == 0 { &frame } else { &good }, &view))
        })?;
        // Which bad each came from is drawn first of all: drawing it again needs no picture.
        let source = |i: usize| self.rng(6, i).random_range(0..self.bad.len());
        let full = full.into_iter().enumerate().map(|(i, v)| (source(i), v)).collect();
        let (zoom_bad, zoom_good) =
            pairs.chunks(2).enumerate().map(|(i, p)| ((source(i), p[0].clone()), p[1].clone())).unzip();
        Ok(Mixed { boxes, full, zoom_bad, zoom_good })
    }
}

/// A known defect in a good picture.
struct Pasted {
    good: AlignedImage,
    frame: AlignedImage,
    roi: Roi,
    rng: ChaCha8Rng,
}

/// What mixing gave; bads with the number of the known bad that they show.
pub(super) struct Mixed {
    /// Where each known bad's defect is.
    pub(super) boxes: Vec<Roi>,
    pub(super) full: Vec<(usize, Codes)>,
    pub(super) zoom_bad: Vec<(usize, Codes)>,
    pub(super) zoom_good: Vec<Codes>,
}
