//! The fit: from pictures to banks, templates, heads, weights and the crops' policy.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::cutmix;
use super::features::{Codes, Extractor, FeatureGraph};
use super::graph::distance_cells;
use super::head::{FitOptions, Head, top_cells};
use super::picture::Shelf;
use super::screen::Screened;
use super::session::{Options, Progress};
use super::view::{Known, Lie, Normality, suspicion, top_mean};
use super::weights::{self, EVIDENCES, PRIOR};
use crate::error::Result;
use crate::frame::Frame;
use crate::frame::geometry::{Roi, View};
use crate::inspect::crop::{self, CropPolicy, Map};
use crate::inspect::preprocess::{Scratch, sample};

/// Good parts, fitted or held out, that a head's usual logits and the weights are measured on.
pub(super) const PROBES: usize = 64;
/// Pictures that the backbone's grids are calibrated on.
const CALIBRATION: usize = 24;
/// Good pictures that a known defect is mixed into.
const MIXED: usize = 60;
/// Good pictures that are shown shifted and scaled as well.
const JITTERED_GOODS: usize = 64;
/// Zoomed views of each known bad part.
const ZOOMS: usize = 3;
/// Fewer known bads are not divided: half of them teach a head nothing.
pub const DIVIDED_MIN: usize = 4;

/// Everything a lesson holds while it runs.
pub(super) struct Lesson<'a> {
    pub(super) good: Shelf<'a>,
    pub(super) bad: Shelf<'a>,
    pub(super) fit: Vec<usize>,
    pub(super) held: Vec<usize>,
    pub(super) space: FeatureGraph,
    pub(super) extractor: Extractor,
    /// What the first look gave.
    pub(super) screened: Screened,
    pub(super) options: &'a Options,
    pub(super) progress: &'a dyn Progress,
}

pub(super) fn whole(frame: &Frame, [h, w]: [usize; 2]) -> View {
    View::whole(frame.width, frame.height, w as f64 / h as f64)
}

pub(super) fn render(frame: &Frame, view: &View, [h, w]: [usize; 2]) -> Vec<u8> {
    let mut out = vec![0; 3 * h * w];
    sample(frame, view, w, h, &mut out, &mut Scratch::default());
    out
}

/// A view shifted by up to 2 % and scaled by up to 4 %, as parts shift under a camera.
fn jittered(view: View, rng: &mut ChaCha8Rng) -> View {
    let scale = rng.random_range(0.96..1.04);
    let (width, height) = (view.width * scale, view.height * scale);
    let shift = |at: f64, old: f64, new: f64, r: f64| at + (old - new) / 2.0 + r * old;
    View {
        x: shift(view.x, view.width, width, rng.random_range(-0.02..0.02)),
        y: shift(view.y, view.height, height, rng.random_range(-0.02..0.02)),
        width,
        height,
    }
}

/// A random crop around `centre`, 0.3 to 0.5 of the full view's size.
fn loose_crop(centre: (f64, f64), least: f64, frame: &Frame, size: [usize; 2], rng: &mut ChaCha8Rng) -> View {
    let full = whole(frame, size);
    let share: f64 = rng.random_range(0.3..0.5f64).max(least).min(1.0);
    let off = |side: f64, r: f64| side * share * r;
    let at = (
        centre.0 + off(full.width, rng.random_range(-0.15..0.15)),
        centre.1 + off(full.height, rng.random_range(-0.15..0.15)),
    );
    crop::around(at, share, &full, (frame.width, frame.height))
}

pub(super) fn calibration_views(
    good: &Shelf<'_>,
    fit: &[usize],
    bad: &Shelf<'_>,
    size: [usize; 2],
    rng: &mut ChaCha8Rng,
) -> Result<Vec<Vec<u8>>> {
    let mut views = Vec::new();
    for (n, &i) in fit.iter().take(CALIBRATION).enumerate() {
        let frame = good.frame(i)?;
        views.push(render(&frame, &whole(&frame, size), size));
        if n % 2 == 0 {
            let at = (rng.random_range(0.0..f64::from(frame.width)), rng.random_range(0.0..f64::from(frame.height)));
            views.push(render(&frame, &loose_crop(at, 0.0, &frame, size, rng), size));
        }
    }
    for i in 0..bad.len().min(CALIBRATION / 2) {
        let frame = bad.frame(i)?;
        views.push(render(&frame, &whole(&frame, size), size));
    }
    Ok(views)
}

/// What is fitted for one view.
pub(super) struct FittedView {
    pub(super) normality: Normality,
    pub(super) known: Option<Known>,
}

/// What the fit gave for both views.
pub(super) struct Fitted {
    pub(super) full: FittedView,
    pub(super) zoom: FittedView,
    pub(super) policy: CropPolicy,
    /// Weights of the evidences, in the order of [`weights`].
    pub(super) weights: [f32; EVIDENCES],
    /// Heads of both views by each half of the known bads; none where those are few.
    pub(super) halves: [Vec<Known>; 2],
    pub(super) calibration: [Vec<Vec<u8>>; 2],
}

impl Lesson<'_> {
    pub(super) fn size(&self) -> [usize; 2] {
        self.space.input
    }

    pub(super) fn rng(&self, stream: u64, index: usize) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.options.seed);
        rng.set_stream((stream << 32) + index as u64 + 1);
        rng
    }

    /// Codes of one rendered view for each index.
    pub(super) fn codes(
        &self,
        name: &str,
        count: usize,
        view: impl Fn(usize) -> Result<Vec<u8>> + Sync,
    ) -> Result<Vec<Codes>> {
        self.progress.stage(name, count as u64);
        self.extractor.codes(count, |i| view(i).inspect(|_| self.progress.tick()))
    }

    /// Fits a head on the examples of those known bads that `is_taught`.
    fn head(
        &self,
        name: &str,
        steps: usize,
        examples: &Examples,
        is_taught: impl Fn(usize) -> bool,
        rng: &mut ChaCha8Rng,
    ) -> Head {
        self.progress.stage(name, steps as u64);
        let bad: Vec<Codes> = examples.bad.iter().filter(|(b, _)| is_taught(*b)).map(|(_, v)| v.clone()).collect();
        let options = FitOptions { steps, rate: 1e-3 };
        Head::fit(&self.space, &examples.good, &bad, options, rng, || self.progress.tick())
    }

    /// How far each of a view's two evidences sets known bads (`tests`, with their numbers) apart from held-out goods.
    ///
    /// The head's is that of heads fitted on one half of the known bads and asked about the other half; they come along.
    fn effects(
        &self,
        lie: Lie,
        normality: &Normality,
        examples: &Examples,
        held: &[Codes],
        tests: &[(usize, Codes)],
        rng: &mut ChaCha8Rng,
    ) -> ([Option<f64>; 2], Vec<Known>) {
        let space = &self.space;
        let count = distance_cells(space.cells());
        let of = |codes: &Codes| top_mean(&normality.map(space, codes), count);
        let goods: Vec<f32> = held.par_iter().map(of).collect();
        let bads: Vec<f32> = tests.par_iter().map(|(_, codes)| of(codes)).collect();
        let normal = weights::effect(weights::deviations(&goods, &bads));
        if self.bad.len() < DIVIDED_MIN {
            return ([normal, None], Vec::new());
        }
        let (mut deviations, mut halves) = (Vec::new(), Vec::new());
        for half in 0..2 {
            let head = self.head("weighing the evidence", self.options.steps / 3, examples, |b| b % 2 == half, rng);
            let known = Known::measure(space, head, lie, &examples.good[..examples.good.len().min(PROBES)]);
            let of = |codes: &Codes| top_mean(&known.map(space, codes), top_cells(space.cells()));
            let goods: Vec<f32> = held.par_iter().map(of).collect();
            let unseen = tests.par_iter().filter(|(b, _)| b % 2 != half);
            let bads: Vec<f32> = unseen.map(|(_, codes)| of(codes)).collect();
            deviations.extend(weights::deviations(&goods, &bads));
            halves.push(known);
        }
        ([normal, weights::effect(deviations)], halves)
    }

    /// The box of suspicion in a frame.
    pub(super) fn locate(&self, map: &[f32], frame: &Frame, policy: &CropPolicy) -> View {
        let mut out = Vec::new();
        let [height, width] = self.space.grid;
        let full = whole(frame, self.size());
        let map = Map { values: map, width, height };
        policy.crops(map, &full, (frame.width, frame.height), &mut out, &mut crop::Scratch::default());
        out[0]
    }

    pub(super) fn fit(&self, rng: &mut ChaCha8Rng) -> Result<Fitted> {
        let size = self.size();
        let Screened { good: goods, bad: bads, held, .. } = self.screened.clone();
        let normality = self.normality(&goods, Lie::Registered, rng);
        let policy = CropPolicy::default();

        let mixed = if bads.is_empty() { None } else { Some(self.mix(&goods, &bads, &normality, rng)?) };
        let full_lesson = match &mixed {
            Some(m) => {
                let jittered_goods = self.codes("varying good parts", self.fit.len().min(JITTERED_GOODS), |i| {
                    let frame = self.good.frame(self.fit[i])?;
                    let view = jittered(whole(&frame, size), &mut self.rng(1, i));
                    Ok(render(&frame, &view, size))
                })?;
                let varied = self.codes("varying bad parts", 2 * self.bad.len(), |i| {
                    let frame = self.bad.frame(i / 2)?;
                    let view = jittered(whole(&frame, size), &mut self.rng(2, i));
                    Ok(render(&frame, &view, size))
                })?;
                let good: Vec<Codes> = goods.iter().chain(&jittered_goods).cloned().collect();
                let real = bads.iter().enumerate().chain(varied.iter().enumerate().map(|(i, v)| (i / 2, v)));
                let bad = real.clone().chain(real).chain(m.full.iter().map(|(b, v)| (*b, v)));
                Some(Examples { good, bad: bad.map(|(b, v)| (b, v.clone())).collect() })
            }
            None => None,
        };
        let full_head =
            full_lesson.as_ref().map(|l| self.head("teaching the full view", self.options.steps, l, |_| true, rng));
        let known = full_head.map(|head| Known::measure(&self.space, head, Lie::Registered, &goods));
        let (mut effects, mut halves) = ([None; EVIDENCES], [Vec::new(), Vec::new()]);
        if let Some(lesson) = full_lesson {
            let tests: Vec<_> = bads.iter().cloned().enumerate().collect();
            ([effects[0], effects[1]], halves[0]) =
                self.effects(Lie::Registered, &normality, &lesson, &held, &tests, rng);
        }
        let look = |codes: &Codes| {
            let [_, weight, ..] = weights::weights(effects, self.bad.len());
            suspicion(&self.space, &normality, known.as_ref().map(|k| (k, weight)), codes)
        };

        let centres: Vec<View> = (0..self.fit.len())
            .into_par_iter()
            .map(|i| {
                let frame = self.good.frame(self.fit[i])?;
                Ok(self.locate(&look(&goods[i]), &frame, &policy))
            })
            .collect::<Result<_>>()?;
        let mut zoom_goods = self.codes("zooming into good parts", self.fit.len(), |i| {
            let frame = self.good.frame(self.fit[i])?;
            let v = centres[i];
            let at = (v.x + v.width / 2.0, v.y + v.height / 2.0);
            let full = whole(&frame, size);
            let view = loose_crop(at, v.width / full.width * 0.85, &frame, size, &mut self.rng(3, i));
            Ok(render(&frame, &view, size))
        })?;
        let mut real = Vec::new();
        if let Some(m) = &mixed {
            zoom_goods.extend(m.zoom_good.iter().cloned());
            let zooms = self.codes("zooming into bad parts", ZOOMS * self.bad.len(), |i| {
                let frame = self.bad.frame(i / ZOOMS)?;
                Ok(render(&frame, &self.zoom_on(m.boxes[i / ZOOMS], &frame, &mut self.rng(4, i)), size))
            })?;
            real = zooms.into_iter().enumerate().map(|(i, codes)| (i / ZOOMS, codes)).collect();
        }
        let zoom_normality = self.normality(&zoom_goods, Lie::Anywhere, rng);
        let zoom_lesson = mixed.as_ref().map(|m| {
            let bad = real.iter().chain(&real).chain(&m.zoom_bad).cloned().collect();
            Examples { good: zoom_goods.clone(), bad }
        });
        let zoom_head =
            zoom_lesson.as_ref().map(|l| self.head("teaching the zoomed view", self.options.steps, l, |_| true, rng));
        if let Some(lesson) = zoom_lesson {
            let zooms = self.codes("zooming into held-out parts", held.len(), |i| {
                let frame = self.good.frame(self.held[i])?;
                Ok(render(&frame, &self.locate(&look(&held[i]), &frame, &policy), size))
            })?;
            ([effects[2], effects[3]], halves[1]) =
                self.effects(Lie::Anywhere, &zoom_normality, &lesson, &zooms, &real, rng);
        }
        let weights = weights::weights(effects, self.bad.len());
        log::debug!("effects of the evidences {effects:.2?}, weights {weights:.2?}");

        let mut full_cal = Vec::new();
        let mut zoom_cal = Vec::new();
        for (n, &i) in self.fit.iter().take(CALIBRATION / 2).enumerate() {
            let frame = self.good.frame(i)?;
            full_cal.push(render(&frame, &whole(&frame, size), size));
            zoom_cal.push(render(&frame, &centres[n], size));
        }
        for i in 0..self.bad.len().min(CALIBRATION / 2) {
            let frame = self.bad.frame(i)?;
            full_cal.push(render(&frame, &whole(&frame, size), size));
            let boxes = &mixed.as_ref().expect("there are bads").boxes;
            zoom_cal.push(render(&frame, &self.zoom_on(boxes[i], &frame, &mut self.rng(5, i)), size));
        }
        let zooms = &zoom_goods[..self.fit.len().min(PROBES)];
        let zoom_known = zoom_head.map(|head| Known::measure(&self.space, head, Lie::Anywhere, zooms));
        Ok(Fitted {
            full: FittedView { normality, known },
            zoom: FittedView { normality: zoom_normality, known: zoom_known },
            policy,
            weights,
            halves,
            calibration: [full_cal, zoom_cal],
        })
    }

    fn normality(&self, goods: &[Codes], lie: Lie, rng: &mut ChaCha8Rng) -> Normality {
        self.progress.stage("learning what is normal", 1);
        let measured = if lie == Lie::Registered { goods.len() } else { self.fit.len().min(PROBES) };
        Normality::fit(&self.space, goods, lie, self.options.prototypes, measured, rng)
    }

    fn zoom_on(&self, defect: Roi, frame: &Frame, rng: &mut ChaCha8Rng) -> View {
        let full = whole(frame, self.size());
        let centre =
            (f64::from(defect.x) + f64::from(defect.width) / 2.0, f64::from(defect.y) + f64::from(defect.height) / 2.0);
        let least = (f64::from(defect.width) / full.width).max(f64::from(defect.height) / full.height);
        loose_crop(centre, least, frame, self.size(), rng)
    }

    /// Locates the known defects with a first head and mixes them into good pictures.
    fn mix(&self, goods: &[Codes], bads: &[Codes], normality: &Normality, rng: &mut ChaCha8Rng) -> Result<Mixed> {
        let size = self.size();
        let examples = Examples { good: goods.to_vec(), bad: bads.iter().cloned().enumerate().collect() };
        let first = self.head("finding the known defects", self.options.steps / 2, &examples, |_| true, rng);
        let first = Known::measure(&self.space, first, Lie::Registered, goods);
        let tight = CropPolicy { count: 1, theta: 0.5, pad: 0.15, side_min: 0.12 };
        let boxes: Vec<Roi> = (0..bads.len())
            .into_par_iter()
            .map(|i| {
                let frame = self.bad.frame(i)?;
                let view = self.locate(
                    &suspicion(&self.space, normality, Some((&first, PRIOR[1] as f32)), &bads[i]),
                    &frame,
                    &tight,
                );
                Ok(view.inside(frame.width, frame.height))
            })
            .collect::<Result<_>>()?;
        let pasted = |i: usize| -> Result<Pasted> {
            let mut rng = self.rng(6, i);
            let b = rng.random_range(0..self.bad.len());
            let good = self.good.frame(self.fit[rng.random_range(0..self.fit.len())])?;
            let (frame, roi) = cutmix::paste(&good, &self.bad.frame(b)?, boxes[b], &mut rng);
            Ok(Pasted { good, frame, roi, rng })
        };
        let full = self.codes("mixing defects into good parts", MIXED, |i| {
            let frame = pasted(i)?.frame;
            Ok(render(&frame, &whole(&frame, size), size))
        })?;
        // The same place with and without the defect: what is left to tell them apart is the defect.
        let pairs = self.codes("zooming into mixed parts", 2 * MIXED, |i| {
            let Pasted { good, frame, roi, mut rng, .. } = pasted(i / 2)?;
            let view = self.zoom_on(roi, &frame, &mut rng);
            Ok(render(if i % 2 == 0 { &frame } else { &good }, &view, size))
        })?;
        // Which bad each came from is drawn first of all: drawing it again needs no picture.
        let source = |i: usize| self.rng(6, i).random_range(0..self.bad.len());
        let full = full.into_iter().enumerate().map(|(i, v)| (source(i), v)).collect();
        let (zoom_bad, zoom_good) =
            pairs.chunks(2).enumerate().map(|(i, p)| ((source(i), p[0].clone()), p[1].clone())).unzip();
        Ok(Mixed { boxes, full, zoom_bad, zoom_good })
    }

    pub(super) fn full_view(&self, shelf: &Shelf<'_>, i: usize) -> Result<Vec<u8>> {
        let frame = shelf.frame(i)?;
        Ok(render(&frame, &whole(&frame, self.size()), self.size()))
    }
}

/// What a head is fitted on; bads with the number of the known bad that they show.
struct Examples {
    good: Vec<Codes>,
    bad: Vec<(usize, Codes)>,
}

/// A known defect in a good picture.
struct Pasted {
    good: Frame,
    frame: Frame,
    roi: Roi,
    rng: ChaCha8Rng,
}

/// What mixing gave; bads with the number of the known bad that they show.
struct Mixed {
    boxes: Vec<Roi>,
    full: Vec<(usize, Codes)>,
    zoom_bad: Vec<(usize, Codes)>,
    zoom_good: Vec<Codes>,
}
