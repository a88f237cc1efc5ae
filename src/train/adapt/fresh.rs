//! The new bads as examples: their features, where their defects are, and those defects in kept good views.

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::adaptation::Adaptation;
use super::cutmix;
use crate::error::Result;
use crate::frame::geometry::{Roi, View};
use crate::inspect::crop::{self, CropPolicy, Map};
use crate::inspect::recipe::Recipe;
use crate::train::features::{QuantizedFeatures, planar};
use crate::train::image_classifier::{ImageClassifier, Pooled, pooled};
use crate::train::measure::{Measured, Passes};
use crate::train::replay::{Place, rough};
use crate::train::trainer::{Trainer, whole};
use crate::train::view::{Alignment, Known};
use crate::train::weights::PRIOR;

/// Views of each new bad part that are shifted and scaled a little, beside the one as it is.
const VARIED: usize = 5;
/// Zoomed views of each.
const ZOOMS: usize = 6;
/// Kept good views that the new defects are mixed into, of each kind.
const MIXED: usize = 24;
/// Share of a head's steps that finding the defects takes.
const FINDING: f64 = 0.5;

/// Crops that overlap less than this share of their union look at different places.
const SAME_PLACE: f64 = 0.5;

/// Examples of the new bads; of two views each, the full one first.
pub(super) struct Fresh {
    /// With the new bad's number.
    pub(super) real: [Vec<(usize, QuantizedFeatures)>; 2],
    pub(super) mixed: [Vec<(usize, QuantizedFeatures)>; 2],
    /// Each part as it is, and its crops, as the device's model will see them; the first of each as it would cut
    /// them.
    pub(super) exact: [Vec<QuantizedFeatures>; 2],
    pub(super) pooled: [Pooled; 2],
}

impl Fresh {
    /// Reads the new bads, finds their defects and mixes them into kept good views.
    pub(super) fn of(adaptation: &Adaptation<'_>, rng: &mut ChaCha8Rng) -> Result<Self> {
        let trainer = &adaptation.trainer;
        let (grid, count) = (trainer.space.grid, trainer.bad.len());
        let full = trainer.codes("looking at new bad parts", count * (1 + VARIED), |i| {
            let frame = trainer.bad.part(i % count)?;
            // The first of each as it is.
            Ok(match (i / count).checked_sub(1) {
                None => trainer.render(&frame, &whole(&frame)),
                Some(number) => trainer.varied(&frame, number, &mut trainer.rng(2, i)),
            })
        })?;
        let boxes = boxes(adaptation, &full, rng)?;
        let frames = (0..count).map(|b| trainer.bad.part(b)).collect::<Result<Vec<_>>>()?;
        let views: Vec<View> = (0..count * ZOOMS)
            .map(|i| {
                // The first of each as the device would cut it.
                let cut = if i < count { Trainer::cut_on } else { Trainer::zoom_on };
                cut(trainer, boxes[i % count], &frames[i % count], &mut trainer.rng(4, i))
            })
            .collect();
        let zoom = trainer
            .codes("zooming into new bad parts", views.len(), |i| Ok(trainer.render(&frames[i % count], &views[i])))?;
        let places = [
            (0..count).map(|b| cutmix::cells(boxes[b], &whole(&frames[b]), grid)).collect::<Vec<_>>(),
            views.iter().enumerate().map(|(i, view)| cutmix::cells(boxes[i % count], view, grid)).collect(),
        ];
        let exact = [full[..count].to_vec(), zoom.clone()];
        let mixed = [0, 1].map(|v| {
            let one = |i: usize| {
                let mut rng = trainer.rng(6 + v as u64, i);
                let from = i % exact[v].len();
                let good = &adaptation.kept.goods[v][rng.random_range(0..adaptation.kept.goods[v].len())];
                (from % count, cutmix::paste(good, &rough(&exact[v][from]), places[v][from], grid, &mut rng))
            };
            (0..MIXED).map(one).collect()
        });
        let all = [full, zoom];
        let pooled = [0, 1].map(|v| {
            all[v].par_iter().enumerate().map(|(i, codes)| (i % count, pooled(&trainer.space, codes))).collect()
        });
        let real = all.map(|codes| codes.iter().map(rough).enumerate().map(|(i, c)| (i % count, c)).collect());
        Ok(Self { real, mixed, exact, pooled })
    }
}

/// Where the defects are: by what is normal, and by a head that has seen them once.
fn boxes(adaptation: &Adaptation<'_>, full: &[QuantizedFeatures], rng: &mut ChaCha8Rng) -> Result<Vec<Roi>> {
    let (trainer, kept) = (&adaptation.trainer, &adaptation.kept);
    let space = &trainer.space;
    let bads = adaptation.rehearsed(0, full.iter().map(rough).collect());
    let head = adaptation.head("finding the new defects", 0, &bads, FINDING, rng);
    let overall = ImageClassifier::fit_pooled(&kept.pooled[0], &[vec![(0, pooled(space, &full[0]))]]);
    let first = Known::measure(space, (head, overall), Alignment::fixed(space.grid), &kept.goods[0]);
    let mut running = Passes::behind_features(&adaptation.graph, space)?.full.spawn()?;
    (0..trainer.bad.len())
        .map(|b| {
            let maps = running.run(&planar(&full[b], space.channels).pixels)?;
            let normality = &maps[0].f32()[..space.cells()];
            let known = first.map(space, &full[b]);
            let sum: Vec<f32> = normality.iter().zip(known).map(|(n, k)| n + PRIOR[0][1] as f32 * k).collect();
            let frame = trainer.bad.part(b)?;
            Ok(trainer.locate(&sum, &frame, &CropPolicy::TIGHT).inside(frame.width, frame.height))
        })
        .collect()
}

/// In which kept parts the zoom of `recipe` would look elsewhere than where it did.
pub(super) fn moved(adaptation: &Adaptation<'_>, recipe: &Recipe, goods: &Measured) -> Vec<bool> {
    let [height, width] = adaptation.trainer.space.grid;
    let size = (recipe.input.width as u32, recipe.input.height as u32);
    let full = View::whole(size.0, size.1);
    let is_elsewhere = |(n, maps): (usize, &Vec<f32>)| {
        let (mut suspicion, mut out) = (Vec::new(), Vec::new());
        recipe.full.suspicion(maps, &mut suspicion);
        let map = Map { values: &suspicion, width, height };
        recipe.crop.crops(map, &full, size, &mut out, &mut crop::Scratch::default());
        let is_there = |view: &View, [x, y, w, h]: Place| {
            let was = View { x: x * full.width, y: y * full.height, width: w * full.width, height: h * full.height };
            view.iou(&was) >= SAME_PLACE
        };
        let kept = &adaptation.kept.held[n].zooms;
        !out.iter().all(|view| kept.iter().any(|(_, place)| is_there(view, *place)))
    };
    goods.maps.iter().enumerate().map(is_elsewhere).collect()
}
