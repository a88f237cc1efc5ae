//! The fit: from pictures to banks, templates, heads, weights and the crops' policy.

use std::borrow::Cow;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::ablation::Ingredients;
use super::features::{Codes, Extractor, FeatureGraph, Seen};
use super::head::{FitOptions, Head};
use super::image_classifier::ImageClassifier;
use super::label_noise::SuspectedLabel;
use super::location_stats::Layout;
use super::options::Options;
use super::picture::ImageCache;
use super::progress::Progress;
use super::template::Batches;
use super::view::{Alignment, Known, Normality, suspicion};
use super::weights::{self, PER_VIEW};
use crate::error::Result;
use crate::frame::Frame;
use crate::frame::geometry::{Roi, View};
use crate::inspect::aligned::AlignedImage;
use crate::inspect::crop::{self, CropLattice, CropPolicy, Map};
use crate::inspect::intensity::{IntensityNorm, IntensityStats};
use crate::inspect::preprocess::Scratch;
use crate::inspect::sight::Sight;

/// Good parts, fitted or held out, that a head's usual logits and the weights are measured on.
pub(super) const PROBES: usize = 64;
/// Pictures that the backbone's grids are calibrated on.
const CALIBRATION: usize = 24;
/// Good pictures that are shown varied as well.
const VARIED_GOODS: usize = 64;
/// Good pictures that are shown with other noise and compression as well.
const RECORDED_GOODS: usize = 64;
/// Zoomed views of each known bad part.
const ZOOMS: usize = 3;
/// Zoomed views of good parts all over them, from which it is learnt what each place looks like there; at least two and at
/// most twelve of each part. A crop shows an eighth of it.
const SWEEP: usize = 1000;
/// As many again say how far good parts are from that.
const SWEEP_AGAIN: usize = 320;
/// Good parts that are looked at all over at a time: each is decoded once for all its views.
const SWEPT: usize = 16;

/// What the first look gave.
#[derive(Clone, Default)]
pub(super) struct Screened {
    /// Features of the good pictures to fit on, whole views.
    pub(super) good: Vec<Codes>,
    /// Of the bad ones.
    pub(super) bad: Vec<Codes>,
    /// Of the first few held-out ones.
    pub(super) held: Vec<Codes>,
    /// Pictures that a person should look at again.
    pub(super) suspects: Vec<SuspectedLabel>,
}

/// Everything a lesson holds while it runs.
pub(super) struct Trainer<'a> {
    pub(super) good: ImageCache<'a>,
    pub(super) bad: ImageCache<'a>,
    pub(super) fit: Vec<usize>,
    pub(super) held: Vec<usize>,
    pub(super) space: FeatureGraph,
    pub(super) extractor: Extractor,
    /// On which crops lie.
    pub(super) chart: Option<CropLattice>,
    /// What the first look gave.
    pub(super) screened: Screened,
    /// Fingerprints of the good and of the bad pictures.
    pub(super) prints: [Vec<String>; 2],
    /// What a frame must show to be judged; `None` where that is left out.
    pub(super) sight: Option<Sight>,
    pub(super) options: &'a Options,
    pub(super) progress: &'a dyn Progress,
}

pub(super) fn whole(frame: &Frame) -> View {
    View::whole(frame.width, frame.height)
}

/// A view as the device's model will see it: sampled, in the light of its frame.
fn render(part: &AlignedImage, view: &View, size: [usize; 2], light: Option<IntensityStats>) -> Vec<u8> {
    let mut scratch = Scratch::default();
    let mut out = vec![0; 3 * size[0] * size[1]];
    let full = whole(part);
    part.sample(&full, size, &mut out, &mut scratch);
    let norm = light.map_or_else(IntensityNorm::identity, |light| IntensityNorm::of(&out, &light));
    if *view != full {
        part.sample(view, size, &mut out, &mut scratch);
    }
    norm.apply(&mut out);
    out
}

/// The middle of a box.
fn middle(defect: Roi) -> (f64, f64) {
    let along = |at: u32, length: u32| f64::from(at) + f64::from(length) / 2.0;
    (along(defect.x, defect.width), along(defect.y, defect.height))
}

/// A random crop around `centre`, 0.3 to 0.5 of the full view's size.
fn loose_crop(centre: (f64, f64), least: f64, frame: &Frame, rng: &mut ChaCha8Rng) -> View {
    let full = whole(frame);
    let share: f64 = rng.random_range(0.3..0.5f64).max(least).min(1.0);
    let off = |side: f64, r: f64| side * share * r;
    let at = (
        centre.0 + off(full.width, rng.random_range(-0.15..0.15)),
        centre.1 + off(full.height, rng.random_range(-0.15..0.15)),
    );
    crop::around(at, share, &full, (frame.width, frame.height))
}

pub(super) fn calibration_views(
    good: &ImageCache<'_>,
    fit: &[usize],
    bad: &ImageCache<'_>,
    size: [usize; 2],
    light: Option<IntensityStats>,
    rng: &mut ChaCha8Rng,
) -> Result<Vec<Vec<u8>>> {
    let mut views = Vec::new();
    for (n, &i) in fit.iter().take(CALIBRATION).enumerate() {
        let frame = good.part(i)?;
        views.push(render(&frame, &whole(&frame), size, light));
        if n % 2 == 0 {
            let at = (rng.random_range(0.0..f64::from(frame.width)), rng.random_range(0.0..f64::from(frame.height)));
            views.push(render(&frame, &loose_crop(at, 0.0, &frame, rng), size, light));
        }
    }
    for i in 0..bad.len().min(CALIBRATION / 2) {
        let frame = bad.part(i)?;
        views.push(render(&frame, &whole(&frame), size, light));
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

impl Trainer<'_> {
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
        view: impl Fn(usize) -> Result<Seen> + Sync,
    ) -> Result<Vec<Codes>> {
        self.progress.stage(name, count as u64);
        self.extractor.codes(count, |i| view(i).inspect(|_| self.progress.tick()))
    }

    /// Fits a head, and what whole views look like, on the examples of those known bads that `is_taught`.
    pub(super) fn known(
        &self,
        name: &str,
        steps: usize,
        examples: &Examples,
        is_taught: impl Fn(usize) -> bool,
        rng: &mut ChaCha8Rng,
    ) -> (Head, ImageClassifier) {
        self.progress.stage(name, steps as u64);
        let taught = |views: &[(usize, Codes)]| -> Vec<(usize, Codes)> {
            views.iter().filter(|(b, _)| is_taught(*b)).cloned().collect()
        };
        let (real, mixed) = (taught(&examples.real), taught(&examples.mixed));
        let overall = ImageClassifier::fit(&self.space, &examples.good, &real);
        let bad: Vec<Codes> = real.iter().chain(&real).chain(&mixed).map(|(_, codes)| codes.clone()).collect();
        let options = FitOptions { steps, rate: 1e-3, ingredients: self.options.ingredients };
        (Head::fit(&self.space, &examples.good, &bad, options, rng, || self.progress.tick()), overall)
    }

    /// A view as the device's model will see it.
    pub(super) fn render(&self, part: &AlignedImage, view: &View) -> Seen {
        let at = self.chart.map_or([0, 0], |chart| chart.at(view, &whole(part)));
        Seen { pixels: render(part, view, self.size(), self.options.light()), at }
    }

    /// The whole of a part as it might have lain as well, the `number`-th of such.
    pub(super) fn varied(&self, part: &AlignedImage, number: usize, rng: &mut ChaCha8Rng) -> Seen {
        let augmentation = &self.options.augmentation;
        let view = augmentation.view(whole(part), rng);
        self.render(&augmentation.placed(part, number, rng), &view)
    }

    /// The `i`-th good part that is fitted on, as it might have been recorded as well.
    fn recorded(&self, i: usize, rng: &mut ChaCha8Rng) -> Result<AlignedImage> {
        self.options.augmentation.recorded(&self.good.part(self.fit[i])?, rng)
    }

    /// The box of most suspicion in a frame.
    pub(super) fn locate(&self, map: &[f32], frame: &Frame, policy: &CropPolicy) -> View {
        self.crops(map, frame, policy)[0]
    }

    /// The boxes of suspicion in a frame, as the device will cut them.
    pub(super) fn crops(&self, map: &[f32], frame: &Frame, policy: &CropPolicy) -> Vec<View> {
        let mut out = Vec::new();
        let [height, width] = self.space.grid;
        let full = whole(frame);
        let map = Map { values: map, width, height };
        policy.crops(map, &full, (frame.width, frame.height), &mut out, &mut crop::Scratch::default());
        out
    }

    /// Other good pictures to fit on and to hold out, with what is known of them, for the present ones.
    pub(super) fn swap(
        &mut self,
        fit: Vec<usize>,
        held: Vec<usize>,
        screened: Screened,
    ) -> (Vec<usize>, Vec<usize>, Screened) {
        use std::mem::replace;
        (replace(&mut self.fit, fit), replace(&mut self.held, held), replace(&mut self.screened, screened))
    }

    pub(super) fn fit(&self, rng: &mut ChaCha8Rng) -> Result<Fitted> {
        let Screened { good: goods, bad: bads, held, .. } = self.screened.clone();
        let alignment = Alignment::fixed(self.space.grid);
        let normality = self.normality(&goods, rng)?;
        let aim = self.options.ingredients.aim;
        let policy = CropPolicy { count: self.options.crops, aim, chart: self.chart, ..CropPolicy::default() };

        let mixed = if bads.is_empty() { None } else { Some(self.mix(&goods, &bads, &normality, rng)?) };
        let full_lesson = match &mixed {
            Some(m) => {
                let varied_goods = self.codes("varying good parts", self.fit.len().min(VARIED_GOODS), |i| {
                    Ok(self.varied(&self.good.part(self.fit[i])?, i, &mut self.rng(1, i)))
                })?;
                // In their places: beside what a shift does, what noise and compression do would not be seen.
                let recorded = self.codes("recording good parts again", self.fit.len().min(RECORDED_GOODS), |i| {
                    let part = self.recorded(i, &mut self.rng(43, i))?;
                    Ok(self.render(&part, &whole(&part)))
                })?;
                let copies = self.options.augmentation.copies();
                let varied = self.codes("varying bad parts", copies * self.bad.len(), |i| {
                    Ok(self.varied(&self.bad.part(i / copies)?, i % copies, &mut self.rng(2, i)))
                })?;
                let good: Vec<Codes> = goods.iter().chain(&varied_goods).chain(&recorded).cloned().collect();
                let varied = varied.into_iter().enumerate().map(|(i, codes)| (i / copies, codes));
                let real = bads.iter().cloned().enumerate().chain(varied);
                Some(Examples { good, real: real.collect(), mixed: m.full.clone() })
            }
            None => None,
        };
        let full_head =
            full_lesson.as_ref().map(|l| self.known("teaching the full view", self.options.steps, l, |_| true, rng));
        let known = full_head.map(|head| Known::measure(&self.space, head, alignment, &goods));
        let (mut effects, mut halves) = ([[None; PER_VIEW]; 2], [Vec::new(), Vec::new()]);
        if let Some(lesson) = &full_lesson {
            let tests: Vec<_> = bads.iter().cloned().enumerate().collect();
            (effects[0], halves[0]) = self.effects(alignment, &normality, lesson, &held, &tests, rng);
        }
        let look = |codes: &Codes| {
            let [[_, weight, _], _] = weights::weights(effects, self.bad.len());
            suspicion(&self.space, &normality, known.as_ref().map(|k| (k, weight)), codes)
        };

        let centres: Vec<View> = (0..self.fit.len())
            .into_par_iter()
            .map(|i| {
                let frame = self.good.part(self.fit[i])?;
                Ok(self.locate(&look(&goods[i]), &frame, &policy))
            })
            .collect::<Result<_>>()?;
        let loosely = |i: usize, frame: &AlignedImage, rng: &mut ChaCha8Rng| {
            let v = centres[i];
            let at = (v.x + v.width / 2.0, v.y + v.height / 2.0);
            let least = v.width / whole(frame).width * 0.85;
            self.render(frame, &loose_crop(at, least, frame, rng))
        };
        let mut zoom_goods = self.codes("zooming into good parts", self.fit.len(), |i| {
            Ok(loosely(i, &self.good.part(self.fit[i])?, &mut self.rng(3, i)))
        })?;
        let (mut real, mut recorded_zooms) = (Vec::new(), Vec::new());
        if let Some(m) = &mixed {
            zoom_goods.extend(m.zoom_good.iter().cloned());
            recorded_zooms = self.codes("recording good zooms again", self.fit.len().min(RECORDED_GOODS), |i| {
                Ok(loosely(i, &self.recorded(i, &mut self.rng(42, i))?, &mut self.rng(3, i)))
            })?;
            let zooms = self.codes("zooming into bad parts", ZOOMS * self.bad.len(), |i| {
                let frame = self.bad.part(i / ZOOMS)?;
                let (defect, mut rng) = (m.boxes[i / ZOOMS], self.rng(4, i));
                let is_first = i % ZOOMS == 0;
                let cut = if is_first { Self::cut_on } else { Self::zoom_on };
                Ok(self.render(&frame, &cut(self, defect, &frame, &mut rng)))
            })?;
            real = zooms.into_iter().enumerate().map(|(i, codes)| (i / ZOOMS, codes)).collect();
        }
        let zoom_normality = self.zoom_normality(&zoom_goods, rng)?;
        let zoom_lesson = mixed.as_ref().map(|m| Examples {
            good: zoom_goods.iter().chain(&recorded_zooms).cloned().collect(),
            real: real.clone(),
            mixed: m.zoom_bad.clone(),
        });
        let zoom_head =
            zoom_lesson.as_ref().map(|l| self.known("teaching the zoomed view", self.options.steps, l, |_| true, rng));
        if let Some(lesson) = &zoom_lesson {
            let zooms = self.codes("zooming into held-out parts", held.len(), |i| {
                let frame = self.good.part(self.held[i])?;
                Ok(self.render(&frame, &self.locate(&look(&held[i]), &frame, &policy)))
            })?;
            // Only what lies on the chart is compared with it.
            let step = if self.chart.is_some() { ZOOMS } else { 1 };
            let tests: Vec<_> = real.iter().step_by(step).cloned().collect();
            (effects[1], halves[1]) = self.effects(Alignment::Free, &zoom_normality, lesson, &zooms, &tests, rng);
        }
        let weights = self.counting(weights::weights(effects, self.bad.len()));
        log::debug!("effects of the evidences {effects:.2?}, weights {weights:.2?}");

        let mut full_cal = Vec::new();
        let mut zoom_cal = Vec::new();
        for (n, &i) in self.fit.iter().take(CALIBRATION / 2).enumerate() {
            let frame = self.good.part(i)?;
            full_cal.push(self.render(&frame, &whole(&frame)).pixels);
            zoom_cal.push(self.render(&frame, &centres[n]).pixels);
        }
        for i in 0..self.bad.len().min(CALIBRATION / 2) {
            let frame = self.bad.part(i)?;
            full_cal.push(self.render(&frame, &whole(&frame)).pixels);
            let boxes = &mixed.as_ref().expect("there are bads").boxes;
            zoom_cal.push(self.render(&frame, &self.zoom_on(boxes[i], &frame, &mut self.rng(5, i))).pixels);
        }
        let zooms = &zoom_goods[..self.fit.len().min(PROBES)];
        let zoom_known = zoom_head.map(|head| Known::measure(&self.space, head, Alignment::Free, zooms));
        Ok(Fitted {
            full: FittedView { normality, known },
            zoom: FittedView { normality: zoom_normality, known: zoom_known },
            policy,
            weights,
            halves,
            calibration: [full_cal, zoom_cal],
            examples: [
                full_lesson.unwrap_or_else(|| Examples::of(goods)),
                zoom_lesson.unwrap_or_else(|| Examples::of(zoom_goods)),
            ],
            effects,
        })
    }

    /// The weights of what counts in this lesson.
    fn counting(&self, mut weights: [[f32; PER_VIEW]; 2]) -> [[f32; PER_VIEW]; 2] {
        let Ingredients { zoom, overall, .. } = self.options.ingredients;
        if !zoom {
            weights[1] = [0.0; PER_VIEW];
        }
        if !overall {
            weights.iter_mut().for_each(|view| view[2] = 0.0);
        }
        weights
    }

    fn normality(&self, goods: &[Codes], rng: &mut ChaCha8Rng) -> Result<Normality> {
        let mut goods = Cow::Borrowed(goods);
        if self.options.augmentation.is_wide() {
            goods.to_mut().extend(self.codes("varying good parts", self.fit.len(), |i| {
                let mut rng = self.rng(40, i);
                Ok(self.varied(&self.recorded(i, &mut rng)?, i, &mut rng))
            })?);
        }
        self.progress.stage("learning what is normal", 1);
        let batch = |_: usize| Ok(goods.to_vec());
        let all = Batches::whole(self.space.grid, &batch);
        Normality::fit(&self.space, &goods, Some(&all), &goods, self.options.prototypes, rng)
    }

    /// What is normal in zoomed views: in those of what is suspicious in good parts, or, where crops lie on a chart, at all
    /// places of them.
    fn zoom_normality(&self, goods: &[Codes], rng: &mut ChaCha8Rng) -> Result<Normality> {
        let Some(chart) = &self.chart else {
            self.progress.stage("learning what is normal", 1);
            let measured = &goods[..self.fit.len().min(PROBES)];
            return Normality::fit(&self.space, goods, None, measured, self.options.prototypes, rng);
        };
        let of_each = |views: usize, least: usize| views.div_ceil(self.fit.len()).clamp(least, 12);
        // The second lot stays in memory.
        let (first, again) = (of_each(SWEEP, 2), of_each(SWEEP_AGAIN, 1));
        let count = self.fit.len().div_ceil(SWEPT);
        self.progress.stage("zooming all over good parts", (self.fit.len() * (first + again)) as u64);
        let mut measured = Vec::new();
        for n in 0..count {
            measured.extend(self.sweep(chart, n, first..first + again)?);
        }
        let sweep = |n: usize| self.sweep(chart, n, 0..first);
        let all = Batches { layout: Layout::on(chart, self.space.grid), count, batch: &sweep };
        Normality::fit(&self.space, &measured, Some(&all), &measured, self.options.prototypes, rng)
    }

    /// Zoomed views, those with these numbers, anywhere on each of the `n`-th few good parts that are fitted on.
    fn sweep(&self, chart: &CropLattice, n: usize, views: std::ops::Range<usize>) -> Result<Vec<Codes>> {
        let parts = &self.fit[n * SWEPT..self.fit.len().min((n + 1) * SWEPT)];
        let part = |(at, &i): (usize, &usize)| {
            let part = self.good.part(i)?;
            let is_varied = at % 2 == 1 && self.options.augmentation.is_wide();
            if !is_varied {
                return Ok(part);
            }
            let (augmentation, mut rng) = (&self.options.augmentation, self.rng(41, i));
            augmentation.recorded(&augmentation.placed(&part, at / 2, &mut rng), &mut rng)
        };
        let frames: Vec<AlignedImage> = parts.par_iter().enumerate().map(part).collect::<Result<_>>()?;
        self.extractor.codes(frames.len() * views.len(), |i| {
            let (part, view) = (i / views.len(), views.start + i % views.len());
            let (frame, mut rng) = (&frames[part], self.rng(8 + view as u64, n * SWEPT + part));
            let full = whole(frame);
            // Beyond the edges as well: fewer views begin there than in the middle, and as many should show them.
            let centre = (full.width * rng.random_range(-0.1..1.1), full.height * rng.random_range(-0.1..1.1));
            self.progress.tick();
            Ok(self.render(frame, &chart.around(centre, self.space.grid, &full)))
        })
    }

    /// A crop around a defect, of any size and not quite in the middle: heads should not care where it lies.
    pub(super) fn zoom_on(&self, defect: Roi, frame: &Frame, rng: &mut ChaCha8Rng) -> View {
        let full = whole(frame);
        let least = (f64::from(defect.width) / full.width).max(f64::from(defect.height) / full.height);
        loose_crop(middle(defect), least, frame, rng)
    }

    /// The same as the device would cut it: on the chart, where there is one.
    pub(super) fn cut_on(&self, defect: Roi, frame: &Frame, rng: &mut ChaCha8Rng) -> View {
        let Some(chart) = &self.chart else { return self.zoom_on(defect, frame, rng) };
        let full = whole(frame);
        let side = chart.crop([0, 0], self.space.grid, &full);
        let mut off = |side: f64| side * rng.random_range(-0.15..0.15);
        let (x, y) = middle(defect);
        chart.around((x + off(side.width), y + off(side.height)), self.space.grid, &full)
    }

    pub(super) fn full_view(&self, images: &ImageCache<'_>, i: usize) -> Result<Seen> {
        let frame = images.part(i)?;
        Ok(self.render(&frame, &whole(&frame)))
    }
}

/// What a head is fitted on; bads with the number of the known bad that they show.
pub(super) struct Examples {
    pub(super) good: Vec<Codes>,
    /// Views of known bads themselves.
    pub(super) real: Vec<(usize, Codes)>,
    /// Their defects in good pictures.
    pub(super) mixed: Vec<(usize, Codes)>,
}

impl Examples {
    fn of(good: Vec<Codes>) -> Self {
        Self { good, real: Vec::new(), mixed: Vec::new() }
    }
}
