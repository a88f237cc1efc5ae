//! The fit: from the features of one fold to banks, templates, heads, weights and the crops' policy.

use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::ablation::Ablation;
use super::cutmix_mining::{Mined, mine};
use super::effect_size::{EffectSizes, Question};
use super::examples::{Examples, fit_known};
use super::features::QuantizedFeatures;
use super::fold::ScreenedFold;
use super::normality;
use super::trainer::{CALIBRATION, PROBES, Trainer, loose_crop, whole};
use super::view::{Alignment, Known, Normality, suspicion};
use super::weights::{self, PER_VIEW};
use crate::error::Result;
use crate::frame::geometry::View;
use crate::inspect::aligned::AlignedImage;
use crate::inspect::crop::CropPolicy;

/// Good pictures that are shown varied as well.
const VARIED_GOODS: usize = 64;
/// Good pictures that are shown with other noise and compression as well.
const RECORDED_GOODS: usize = 64;
/// Zoomed views of each known bad part.
const ZOOMS: usize = 3;
/// What is fitted for one view.
pub(super) struct FittedView {
    pub(super) normality: Normality,
    pub(super) known: Option<Known>,
}

/// What the fit gave for both views.
pub(super) struct FittedModel {
    pub(super) full: FittedView,
    pub(super) zoom: FittedView,
    pub(super) policy: CropPolicy,
    /// Weights of both views' evidences, in the order of [`weights`].
    pub(super) weights: [[f32; PER_VIEW]; 2],
    /// What both views know from each half of the known bads; none where those are few.
    pub(super) halves: [Vec<Known>; 2],
    pub(super) calibration: [Vec<Vec<u8>>; 2],
    /// What the heads were fitted on; without known bads, good views alone.
    pub(super) examples: [Examples; 2],
    /// What the weights were made of.
    pub(super) effects: [[Option<f64>; PER_VIEW]; 2],
}

/// Fits a recipe's parts to one fold.
///
/// Draws from `rng` in this order: normality of full images, mined defects, heads of full images, normality of crops,
/// heads of crops.
pub(super) fn fit(trainer: &Trainer<'_>, fold: &ScreenedFold, rng: &mut ChaCha8Rng) -> Result<FittedModel> {
    let space = &trainer.space;
    let aim = trainer.options.ablation.aim;
    let policy = CropPolicy { count: trainer.options.crops, aim, lattice: trainer.lattice, ..CropPolicy::default() };
    let alignment = Alignment::fixed(space.grid);
    let normality = normality::fit_full(trainer, fold, rng)?;
    let mined = if fold.bad.is_empty() { None } else { Some(mine(trainer, fold, &normality, rng)?) };
    let examples = mined.as_ref().map(|m| full_examples(trainer, fold, m)).transpose()?;
    let steps = trainer.options.steps;
    let head = examples.as_ref().map(|e| fit_known(trainer, "teaching the full image", steps, e, |_| true, rng));
    let known = head.map(|head| Known::measure(space, head, alignment, &fold.good));
    let full_sizes = examples.as_ref().map(|examples| {
        let bads: Vec<_> = fold.bad.iter().cloned().enumerate().collect();
        let question = Question { alignment, normality: &normality, examples, goods: &fold.probes, bads: &bads };
        EffectSizes::measure(trainer, &question, rng)
    });
    let full_sizes = full_sizes.unwrap_or_default();
    let [[_, head_weight, _], _] = weights::weights([full_sizes.effects, [None; PER_VIEW]], trainer.bad.len());

    let full = FittedView { normality, known };
    let look = |codes: &QuantizedFeatures| {
        suspicion(space, &full.normality, full.known.as_ref().map(|k| (k, head_weight)), codes)
    };
    let centres: Vec<View> = (0..fold.fit.len())
        .into_par_iter()
        .map(|i| {
            let frame = trainer.good.part(fold.fit[i])?;
            Ok(trainer.locate(&look(&fold.good[i]), &frame, &policy))
        })
        .collect::<Result<_>>()?;
    let crops = Crops::cut(trainer, fold, &centres, mined.as_ref())?;
    let normality = normality::fit_crops(trainer, fold, &crops.good, rng)?;
    let crop_examples = mined.as_ref().map(|m| crops.examples(m));
    let head = crop_examples.as_ref().map(|e| fit_known(trainer, "teaching the crop", steps, e, |_| true, rng));
    let crop_sizes = crop_examples.as_ref().map(|examples| -> Result<EffectSizes> {
        let goods = trainer.codes("zooming into held-out parts", fold.probes.len(), |i| {
            let frame = trainer.good.part(fold.held[i])?;
            Ok(trainer.render(&frame, &trainer.locate(&look(&fold.probes[i]), &frame, &policy)))
        })?;
        // Only what lies on the lattice is compared with it.
        let step = if trainer.lattice.is_some() { ZOOMS } else { 1 };
        let bads: Vec<_> = crops.bad.iter().step_by(step).cloned().collect();
        let alignment = Alignment::Free;
        let question = Question { alignment, normality: &normality, examples, goods: &goods, bads: &bads };
        Ok(EffectSizes::measure(trainer, &question, rng))
    });
    let crop_sizes = crop_sizes.transpose()?.unwrap_or_default();
    let effects = [full_sizes.effects, crop_sizes.effects];
    let weights = counting(trainer, weights::weights(effects, trainer.bad.len()));
    log::debug!("effects of the evidences {effects:.2?}, weights {weights:.2?}");

    let calibration = calibration(trainer, fold, &centres, mined.as_ref())?;
    let goods = &crops.good[..fold.fit.len().min(PROBES)];
    let known = head.map(|head| Known::measure(space, head, Alignment::Free, goods));
    Ok(FittedModel {
        full,
        zoom: FittedView { normality, known },
        policy,
        weights,
        halves: [full_sizes.halves, crop_sizes.halves],
        calibration,
        examples: [
            examples.unwrap_or_else(|| Examples::of(fold.good.clone())),
            crop_examples.unwrap_or_else(|| Examples::of(crops.good)),
        ],
        effects,
    })
}

/// Full images: good parts as they are, varied and recorded again; bad ones as they are and varied; mined defects.
fn full_examples(trainer: &Trainer<'_>, fold: &ScreenedFold, mined: &Mined) -> Result<Examples> {
    let varied_goods = trainer.codes("varying good parts", fold.fit.len().min(VARIED_GOODS), |i| {
        Ok(trainer.varied(&trainer.good.part(fold.fit[i])?, i, &mut trainer.rng(1, i)))
    })?;
    // In their places: beside what a shift does, what noise and compression do would not be seen.
    let recorded = trainer.codes("recording good parts again", fold.fit.len().min(RECORDED_GOODS), |i| {
        let part = trainer.recorded(fold.fit[i], &mut trainer.rng(43, i))?;
        Ok(trainer.render(&part, &whole(&part)))
    })?;
    let copies = trainer.options.augmentation.copies();
    let varied = trainer.codes("varying bad parts", copies * trainer.bad.len(), |i| {
        Ok(trainer.varied(&trainer.bad.part(i / copies)?, i % copies, &mut trainer.rng(2, i)))
    })?;
    let varied = varied.into_iter().enumerate().map(|(i, codes)| (i / copies, codes));
    Ok(Examples {
        good: fold.good.iter().chain(&varied_goods).chain(&recorded).cloned().collect(),
        real: fold.bad.iter().cloned().enumerate().chain(varied).collect(),
        mixed: mined.full.clone(),
    })
}

/// Crops of the parts that are fitted on.
struct Crops {
    /// One of each good part, where it is most suspicious, then the mined ones.
    good: Vec<QuantizedFeatures>,
    /// Of the first good parts, recorded again; none without known bads.
    recorded: Vec<QuantizedFeatures>,
    /// [`ZOOMS`] of each known bad, with its number.
    bad: Vec<(usize, QuantizedFeatures)>,
}

impl Crops {
    /// `centres` are the crops of most suspicion in the good parts.
    fn cut(trainer: &Trainer<'_>, fold: &ScreenedFold, centres: &[View], mined: Option<&Mined>) -> Result<Self> {
        let loosely = |i: usize, part: &AlignedImage, rng: &mut ChaCha8Rng| {
            let v = centres[i];
            let at = (v.x + v.width / 2.0, v.y + v.height / 2.0);
            let least = v.width / whole(part).width * 0.85;
            trainer.render(part, &loose_crop(at, least, part, rng))
        };
        let mut good = trainer.codes("zooming into good parts", fold.fit.len(), |i| {
            Ok(loosely(i, &trainer.good.part(fold.fit[i])?, &mut trainer.rng(3, i)))
        })?;
        let Some(mined) = mined else { return Ok(Self { good, recorded: Vec::new(), bad: Vec::new() }) };
        good.extend(mined.zoom_good.iter().cloned());
        let recorded = trainer.codes("recording good zooms again", fold.fit.len().min(RECORDED_GOODS), |i| {
            let part = trainer.recorded(fold.fit[i], &mut trainer.rng(42, i))?;
            Ok(loosely(i, &part, &mut trainer.rng(3, i)))
        })?;
        let bad = trainer.codes("zooming into bad parts", ZOOMS * trainer.bad.len(), |i| {
            let frame = trainer.bad.part(i / ZOOMS)?;
            let (defect, mut rng) = (mined.boxes[i / ZOOMS], trainer.rng(4, i));
            let is_first = i % ZOOMS == 0;
            let cut = if is_first { Trainer::cut_on } else { Trainer::zoom_on };
            Ok(trainer.render(&frame, &cut(trainer, defect, &frame, &mut rng)))
        })?;
        let bad = bad.into_iter().enumerate().map(|(i, codes)| (i / ZOOMS, codes)).collect();
        Ok(Self { good, recorded, bad })
    }

    fn examples(&self, mined: &Mined) -> Examples {
        Examples {
            good: self.good.iter().chain(&self.recorded).cloned().collect(),
            real: self.bad.clone(),
            mixed: mined.zoom_bad.clone(),
        }
    }
}

/// Views that the heads' activations are calibrated on: full images, then crops.
fn calibration(
    trainer: &Trainer<'_>,
    fold: &ScreenedFold,
    centres: &[View],
    mined: Option<&Mined>,
) -> Result<[Vec<Vec<u8>>; 2]> {
    let (mut full, mut crops) = (Vec::new(), Vec::new());
    for (&i, centre) in fold.fit.iter().zip(centres).take(CALIBRATION / 2) {
        let frame = trainer.good.part(i)?;
        full.push(trainer.render(&frame, &whole(&frame)).pixels);
        crops.push(trainer.render(&frame, centre).pixels);
    }
    for (i, &defect) in mined.iter().flat_map(|m| &m.boxes).enumerate().take(CALIBRATION / 2) {
        let frame = trainer.bad.part(i)?;
        full.push(trainer.render(&frame, &whole(&frame)).pixels);
        crops.push(trainer.render(&frame, &trainer.zoom_on(defect, &frame, &mut trainer.rng(5, i))).pixels);
    }
    Ok([full, crops])
}

/// The weights of what counts in this training run.
fn counting(trainer: &Trainer<'_>, mut weights: [[f32; PER_VIEW]; 2]) -> [[f32; PER_VIEW]; 2] {
    let Ablation { zoom, overall, .. } = trainer.options.ablation;
    if !zoom {
        weights[1] = [0.0; PER_VIEW];
    }
    if !overall {
        weights.iter_mut().for_each(|view| view[2] = 0.0);
    }
    weights
}
