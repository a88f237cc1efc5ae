//! What is left of a recipe's figures when its test pictures are perturbed, and whether the crop stays where it was.

use std::collections::BTreeMap;
use std::fmt;

use super::evaluation::{Tested, inspect_each};
use super::item::{Item, Label};
use super::metrics;
use super::perturbation::Perturbation;
use super::run_metrics::Perturbed;
use super::table::{decimals, write_table};
use crate::error::Result;
use crate::frame::geometry::Roi;
use crate::frame::motion::Motion;
use crate::inspect::model::Model;
use crate::inspect::{Inspect as _, Inspection};
use crate::train::progress::Progress;

/// Crops that overlap less than this show something else. Chosen: half of either box is shared from two thirds on, and
/// what was in the middle of the one is still inside the other.
const IOU_KEPT: f64 = 0.5;

/// Inspects `test` again under every one of [`Perturbation::ALL`]; the first row is the pictures as they are.
///
/// Costs a test for each; deterministic for `seed`.
///
/// # Errors
/// The first picture that cannot be read or inspected.
pub fn perturbed(
    model: &Model,
    test: &[Item],
    plain: &Tested,
    seed: u64,
    progress: &dyn Progress,
) -> Result<Vec<Perturbed>> {
    let still: Vec<(Inspection, f64)> = plain.inspections.iter().map(|&i| (i, 1.0)).collect();
    let base = plain.run.auroc_image;
    let mut rows = vec![measure("as they are", test, &still, plain.run.threshold, base)];
    for p in Perturbation::ALL {
        progress.stage(&format!("testing with {}", p.name()), test.len() as u64);
        let seen = inspect_each(model, test, progress, |inspector, i| {
            let frame = test[i].load()?;
            let (changed, moved) = p.apply(&frame, &test[i].rel, seed)?;
            let found = inspector.inspect(&changed)?;
            Ok((found, overlap(&plain.inspections[i], &found, &moved, (frame.width, frame.height))))
        })?;
        rows.push(measure(&p.name(), test, &seen, plain.run.threshold, base));
    }
    Ok(rows)
}

/// Intersection over union of both first crops, the plain one moved along with the part.
fn overlap(plain: &Inspection, found: &Inspection, moved: &Motion, (width, height): (u32, u32)) -> f64 {
    let first = |i: &Inspection| i.crops.as_slice().first().copied().unwrap_or(Roi::whole(width, height));
    moved.follow(&first(plain), width, height).iou(&first(found))
}

fn measure(name: &str, test: &[Item], seen: &[(Inspection, f64)], threshold: f64, base: Option<f64>) -> Perturbed {
    let of = |label| test.iter().zip(seen).filter(move |(t, _)| t.label == label).map(|(_, s)| s);
    let scores = |label| of(label).map(|s| s.0.score.0).collect::<Vec<f32>>();
    let overlaps = |label| of(label).map(|s| s.1).collect::<Vec<f64>>();
    let (good, bad) = (scores(Label::Good), scores(Label::Bad));
    let auroc_image = metrics::auroc(&good, &bad);
    let kept: Vec<f64> = overlaps(Label::Bad).iter().map(|&o| if o >= IOU_KEPT { 1.0 } else { 0.0 }).collect();
    Perturbed {
        perturbation: name.to_owned(),
        auroc_image,
        auroc_change: auroc_image.zip(base).map(|(a, b)| a - b),
        escape: metrics::escape(&bad, threshold),
        overkill: metrics::overkill(&good, threshold),
        crop_iou: metrics::mean(&overlaps(Label::Bad)),
        crop_kept: metrics::mean(&kept),
        crop_iou_good: metrics::mean(&overlaps(Label::Good)),
    }
}

/// The mean of every figure over several runs, perturbation by perturbation, in the first run's order.
pub fn mean(runs: &[Vec<Perturbed>]) -> Vec<Perturbed> {
    let mut by_name: BTreeMap<&str, Vec<&Perturbed>> = BTreeMap::new();
    for row in runs.iter().flatten() {
        by_name.entry(&row.perturbation).or_default().push(row);
    }
    let order = runs.first().into_iter().flatten();
    order
        .map(|row| {
            let over = |figure: fn(&Perturbed) -> Option<f64>| {
                metrics::mean(&by_name[row.perturbation.as_str()].iter().filter_map(|r| figure(r)).collect::<Vec<_>>())
            };
            Perturbed {
                perturbation: row.perturbation.clone(),
                auroc_image: over(|r| r.auroc_image),
                auroc_change: over(|r| r.auroc_change),
                escape: over(|r| r.escape),
                overkill: over(|r| r.overkill),
                crop_iou: over(|r| r.crop_iou),
                crop_kept: over(|r| r.crop_kept),
                crop_iou_good: over(|r| r.crop_iou_good),
            }
        })
        .collect()
}

/// The table for people.
pub(super) fn write(f: &mut fmt::Formatter<'_>, rows: &[Perturbed]) -> fmt::Result {
    writeln!(f, "\ntest pictures perturbed; crop: IoU with the unperturbed one's, share at {IOU_KEPT} and above")?;
    let heads = ["pictures", "AUROC", "change", "escape", "overkill", "crop IoU", "kept", "IoU good"];
    let mut table = vec![heads.map(str::to_owned)];
    table.extend(rows.iter().map(|r| {
        let three = |v| decimals(v, 3);
        [
            r.perturbation.clone(),
            three(r.auroc_image),
            r.auroc_change.map_or_else(|| "-".to_owned(), |d| format!("{d:+.3}")),
            three(r.escape),
            three(r.overkill),
            three(r.crop_iou),
            three(r.crop_kept),
            three(r.crop_iou_good),
        ]
    }));
    write_table(f, &table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::{Crops, Evidence, StageTimes};
    use crate::units::Score;

    fn found(score: f32, roi: Roi) -> Inspection {
        let mut crops = Crops::default();
        crops.push(roi);
        Inspection {
            score: Score(score),
            score_full: Score(score),
            score_zoom: None,
            full: Evidence::default(),
            zoom: None,
            crops,
            times: StageTimes::default(),
        }
    }

    #[test]
    fn a_crop_that_goes_with_its_part_overlaps_wholly() {
        let roi = Roi { x: 20, y: 20, width: 40, height: 40 };
        let moved = Motion { dx: 4.0, dy: -3.0, degrees: 0.0 };
        let with = found(1.0, Roi { x: 24, y: 17, ..roi });
        assert_eq!(overlap(&found(1.0, roi), &with, &moved, (100, 100)), 1.0);
        assert!(overlap(&found(1.0, roi), &found(1.0, roi), &moved, (100, 100)) < 1.0);
    }

    #[test]
    fn figures_by_hand_and_their_mean() {
        let item = |label| Item {
            path: "x.png".into(),
            rel: "x.png".into(),
            kind: "k".into(),
            label,
            mask: None,
            group: String::new(),
        };
        let test = [item(Label::Good), item(Label::Good), item(Label::Bad), item(Label::Bad)];
        let roi = Roi { x: 0, y: 0, width: 10, height: 10 };
        let seen = [(0.0, 0.2), (3.0, 0.4), (2.0, 0.5), (4.0, 0.1)].map(|(score, iou)| (found(score, roi), iou));
        let row = measure("noise", &test, &seen, 2.5, Some(1.0));
        assert_eq!((row.auroc_image, row.auroc_change), (Some(0.75), Some(-0.25)));
        assert_eq!((row.escape, row.overkill, row.crop_kept), (Some(0.5), Some(0.5), Some(0.5)));
        assert!((row.crop_iou.unwrap() - 0.3).abs() < 1e-12 && (row.crop_iou_good.unwrap() - 0.3).abs() < 1e-12);
        let other = Perturbed { auroc_image: Some(0.25), escape: None, ..row.clone() };
        let mean = mean(&[vec![row], vec![other]]);
        assert_eq!((mean.len(), mean[0].auroc_image, mean[0].escape), (1, Some(0.5), Some(0.5)));
    }
}
