//! Measures a recipe on labelled pictures: what `eval` and `trial` report.

use std::sync::Mutex;

use rayon::prelude::*;

use super::item::{Item, Label};
use super::metrics::{self, PixelAuroc};
use super::run_metrics::{RunMetrics, Scored};
use crate::error::{Error, ErrorKind, Result};
use crate::frame::Frame;
use crate::frame::geometry::View;
use crate::frame::picture::Mask;
use crate::inspect::model::{Inspector, Model};
use crate::inspect::{Inspect as _, Inspection};
use crate::nn::backbone::Backbone;
use crate::train::options::Options;
use crate::train::picture::Picture;
use crate::train::progress::Progress;
use crate::train::train;

/// A crop that shows this share of a defect's pixels holds it.
const HELD: f64 = 0.5;

/// An item of a dataset as a picture to teach with.
pub fn lesson_picture(item: &Item) -> Picture {
    let group = if item.group.is_empty() { item.rel.clone() } else { item.group.clone() };
    Picture::file(item.path.clone(), item.rel.clone(), group)
}

/// What a test gave: the figures, and what was found in each picture.
pub struct Tested {
    /// The figures.
    pub run: RunMetrics,
    /// One inspection for each test picture, in their order.
    pub inspections: Vec<Inspection>,
}

/// Runs `look` for every picture of `test` by its index, on all cores, with an inspector for each thread.
///
/// # Errors
/// The first that `look` gives.
pub(super) fn inspect_each<T: Send>(
    model: &Model,
    test: &[Item],
    progress: &dyn Progress,
    look: impl Fn(&mut Inspector, usize) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    (0..test.len())
        .into_par_iter()
        .map_init(
            || model.inspector(),
            |inspector, i| {
                let inspector =
                    inspector.as_mut().map_err(|e| Error::new(ErrorKind::Internal, e.message().to_owned()))?;
                let seen = look(inspector, i)?;
                progress.tick();
                Ok(seen)
            },
        )
        .collect()
}

/// Inspects every picture of `test`, on all cores, and works out all figures at the recipe's threshold (or at
/// `threshold` where that is given).
///
/// # Errors
/// The first picture that cannot be read or inspected.
pub fn evaluate(model: &Model, test: &[Item], threshold: Option<f32>, progress: &dyn Progress) -> Result<Tested> {
    progress.stage("testing", test.len() as u64);
    let pixels = Mutex::new(PixelAuroc::default());
    let has_masks = test.iter().any(|i| i.mask.is_some());
    let (looks, held): (Vec<(Inspection, bool)>, Vec<Option<f64>>) =
        inspect_each(model, test, progress, |inspector, i| {
            let frame = test[i].load()?;
            let is_seen = inspector.look(&frame).is_none();
            let inspection = inspector.inspect(&frame)?;
            let mask = if has_masks { test[i].load_mask(&frame)? } else { None };
            let held = mask.as_ref().and_then(|m| held_by(&inspection, m));
            if has_masks {
                count_pixels(inspector, test[i].label, mask, &frame, &pixels);
            }
            Ok(((inspection, is_seen), held))
        })?
        .into_iter()
        .unzip();
    let (inspections, seen): (Vec<Inspection>, Vec<bool>) = looks.into_iter().unzip();
    let held: Vec<f64> = held.into_iter().flatten().map(|share| f64::from(u8::from(share >= HELD))).collect();
    log_evidences(test, &inspections);
    let scored: Vec<Scored<'_>> = test
        .iter()
        .zip(&inspections)
        .zip(&seen)
        .map(|((item, i), &is_seen)| Scored {
            kind: &item.kind,
            label: item.label,
            score: i.score.0,
            normality: i.full.normality,
            full: i.score_full.0,
            zoom: i.score_zoom.map(|s| s.0),
            is_seen,
        })
        .collect();
    let threshold = f64::from(threshold.unwrap_or(model.recipe().threshold));
    let mut run = RunMetrics::measure(&scored, threshold);
    run.good_train = Some(model.recipe().teaching.good);
    run.crop_holds = metrics::mean(&held);
    run.auroc_pixel = pixels.into_inner().expect("no thread panics while counting").auroc().filter(|_| has_masks);
    Ok(Tested { run, inspections })
}

/// AUROC of each evidence by itself, for whoever looks into why a set is hard.
fn log_evidences(test: &[Item], inspections: &[Inspection]) {
    type Value = fn(&Inspection) -> Option<f32>;
    let evidences: [(&str, Value); 6] = [
        ("full normality", |i| Some(i.full.normality)),
        ("full known", |i| i.full.known),
        ("full overall", |i| i.full.overall),
        ("zoom normality", |i| i.zoom.map(|z| z.normality)),
        ("zoom known", |i| i.zoom.and_then(|z| z.known)),
        ("zoom overall", |i| i.zoom.and_then(|z| z.overall)),
    ];
    for (name, value) in evidences {
        let of = |label| -> Vec<f32> {
            test.iter().zip(inspections).filter(|(t, _)| t.label == label).filter_map(|(_, i)| value(i)).collect()
        };
        if let Some(auroc) = metrics::auroc(&of(Label::Good), &of(Label::Bad)) {
            log::debug!("AUROC of {name} alone: {auroc:.3}");
        }
    }
}

fn count_pixels(inspector: &Inspector, label: Label, mask: Option<Mask>, frame: &Frame, pixels: &Mutex<PixelAuroc>) {
    let (map, width, height, view) = inspector.heat(frame);
    let map = enlarge(map, (width, height), &view, frame);
    let mask = match (mask, label) {
        (Some(mask), _) => mask,
        (None, Label::Good) => Mask { width: frame.width, height: frame.height, pixels: vec![false; map.len()] },
        // A defective picture without a mask says nothing about pixels.
        (None, Label::Bad) => return,
    };
    pixels.lock().expect("no thread panics while counting").add(&map, &mask.pixels);
}

/// Share of a mask's pixels that lie in the first crop; `None` for an empty mask.
fn held_by(inspection: &Inspection, mask: &Mask) -> Option<f64> {
    let crop = inspection.crops.as_slice().first()?;
    let (mut inside, mut all) = (0u64, 0u64);
    for (i, _) in mask.pixels.iter().enumerate().filter(|(_, is_defect)| **is_defect) {
        let (x, y) = (i as u32 % mask.width, i as u32 / mask.width);
        all += 1;
        inside += u64::from(crop.contains(x, y));
    }
    (all > 0).then(|| inside as f64 / all as f64)
}

/// A map of cells as one value for each frame pixel, bilinear between the cells' centres.
fn enlarge(map: &[f32], (mw, mh): (usize, usize), view: &View, frame: &Frame) -> Vec<f32> {
    let axis = |at: f64, length: f64, cells: usize, pixels: u32| -> Vec<(usize, usize, f32)> {
        (0..pixels)
            .map(|p| {
                let c = ((f64::from(p) + 0.5 - at) / length * cells as f64 - 0.5).clamp(0.0, (cells - 1) as f64);
                let i = c as usize;
                (i, (i + 1).min(cells - 1), (c - i as f64) as f32)
            })
            .collect()
    };
    let columns = axis(view.x, view.width, mw, frame.width);
    let mut out = Vec::with_capacity(frame.width as usize * frame.height as usize);
    for (y0, y1, fy) in axis(view.y, view.height, mh, frame.height) {
        for &(x0, x1, fx) in &columns {
            let row = |y: usize| map[y * mw + x0] * (1.0 - fx) + map[y * mw + x1] * fx;
            out.push(row(y0) * (1.0 - fy) + row(y1) * fy);
        }
    }
    out
}

/// One run of a trial: the recipe and what its test gave.
pub struct Trial {
    /// The recipe, ready to inspect.
    pub model: Model,
    /// The figures, with seed and known defects.
    pub tested: Tested,
}

/// One run of METHOD's protocol: teach from the training goods and the drawn known bads, test on the rest.
///
/// No test picture but the drawn ones is opened before the recipe is finished.
///
/// # Errors
/// As [`train`] and [`evaluate`].
pub fn trial_run(
    good: &[Item],
    known: &[Item],
    test: &[Item],
    backbone: &Backbone,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Trial> {
    let lesson = |items: &[Item]| items.iter().map(lesson_picture).collect::<Vec<_>>();
    let taught = train(&lesson(good), &lesson(known), backbone, options, progress)?;
    let model = Model::from_bytes(&taught.bytes, "the recipe just taught")?;
    let mut tested = evaluate(&model, test, None, progress)?;
    tested.run.seed = Some(options.seed);
    tested.run.known = Some(known.iter().map(|i| i.rel.clone()).collect());
    tested.run.teach_s = Some(taught.took.as_secs_f64());
    Ok(Trial { model, tested })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::geometry::Roi;

    #[test]
    fn a_crop_holds_the_share_of_the_defect_that_lies_in_it() {
        let mut inspection = Inspection {
            score: crate::units::Score(0.0),
            score_full: crate::units::Score(0.0),
            score_zoom: None,
            full: crate::inspect::Evidence::default(),
            zoom: None,
            crops: crate::inspect::Crops::default(),
            times: crate::inspect::StageTimes::default(),
        };
        // A defect of 4 x 1 pixels from (3, 2) on.
        let mut mask = Mask { width: 10, height: 5, pixels: vec![false; 50] };
        (3..7).for_each(|x| mask.pixels[2 * 10 + x] = true);
        assert_eq!(held_by(&inspection, &mask), None, "no crop");
        inspection.crops.push(Roi { x: 4, y: 1, width: 6, height: 3 });
        inspection.crops.push(Roi { x: 0, y: 0, width: 10, height: 5 });
        assert_eq!(held_by(&inspection, &mask), Some(0.75));
        mask.pixels.fill(false);
        assert_eq!(held_by(&inspection, &mask), None, "no defect");
    }
}
