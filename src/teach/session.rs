//! One lesson from beginning to end.

use std::time::{Duration, Instant, SystemTime};

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use super::bank::{Bank, PROTOTYPES};
use super::cutmix;
use super::dataset::GOOD_MIN;
use super::features::{Codes, Extractor, FeatureGraph};
use super::graph::{self, ViewParts};
use super::head::{FitOptions, Head};
use super::picture::{Picture, Shelf};
use super::places::Places;
use crate::error::{Error, ErrorKind, Result};
use crate::frame::Frame;
use crate::frame::geometry::{Roi, View};
use crate::inspect::crop::{self, CropPolicy, Map};
use crate::inspect::model::evidence;
use crate::inspect::preprocess::{Scratch, sample};
use crate::inspect::recipe::{
    BackboneNote, EvidenceConstants, Input, METADATA_KEY, Promise, Recipe, SCHEMA, SelfTest, Standard, Teaching,
    ViewConstants,
};
use crate::inspect::{Evidence, model::Model};
use crate::nn::backbone::Backbone;
use crate::nn::onnx::{self, Elem};
use crate::nn::plan::Plan;
use crate::teach::metrics;

const GOOD_KEPT: usize = 512;
const PROBES: usize = 64;
const CALIBRATION: usize = 24;
const MIXED: usize = 60;
const JITTERED_GOODS: usize = 64;
/// Evidences that spread less than this over good parts are constant.
const CONSTANT: f32 = 1e-3;
const CONFIDENCE: f64 = 0.95;

/// How a lesson is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Side of a square model input with the same area, pixels.
    pub size: usize,
    /// Prototypes in each bank.
    pub prototypes: usize,
    /// Optimiser steps of each head.
    pub steps: usize,
    /// Share of the good pictures held out for standardisation and threshold.
    pub held_out: f64,
    /// Seed of every random choice.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { size: 256, prototypes: PROTOTYPES, steps: 160, held_out: 0.3, seed: 0 }
    }
}

/// Hears how far a lesson is.
pub trait Progress: Sync {
    /// A stage with `total` steps begins.
    fn stage(&self, name: &str, total: u64);
    /// One more step of the stage is done.
    fn tick(&self);
}

/// Tells nobody.
pub struct Silent;

impl Progress for Silent {
    fn stage(&self, _: &str, _: u64) {}
    fn tick(&self) {}
}

/// What a lesson gave.
pub struct Taught {
    /// The recipe file.
    pub bytes: Vec<u8>,
    /// Its notes.
    pub recipe: Recipe,
    /// How long it took.
    pub took: Duration,
    /// What the technician should know.
    pub warnings: Vec<String>,
}

/// Everything a lesson holds while it runs.
struct Lesson<'a> {
    good: Shelf<'a>,
    bad: Shelf<'a>,
    fit: Vec<usize>,
    held: Vec<usize>,
    space: FeatureGraph,
    extractor: Extractor,
    options: &'a Options,
    progress: &'a dyn Progress,
}

/// Teaches a recipe from `good` pictures and known `bad` ones (which may be none).
///
/// Cost: about 2 passes for each good picture, 5 for each bad one, 200 more for mixed ones, and four fits.
/// Memory: 200 KB for each of at most 512 good pictures and its crop, 256 MB of decoded pictures, 100 MB of fitting.
///
/// # Errors
/// When there are too few good pictures, a picture cannot be read, or the backbone cannot be run. Nothing is written.
pub fn teach(
    good: &[Picture],
    bad: &[Picture],
    backbone: &Backbone,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Taught> {
    let start = Instant::now();
    if good.len() < GOOD_MIN {
        return Err(Error::new(
            ErrorKind::Refused,
            format!("{} good pictures are too few to teach from: give at least {GOOD_MIN}, better 100", good.len()),
        ));
    }
    let (good, bad) = (Shelf::new(good), Shelf::new(bad));
    let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
    let (size, digest) = survey(&good, &bad, options.size, progress)?;
    let (fit, held) = split(&good, options.held_out, &mut rng);
    let views = calibration_views(&good, &fit, &bad, size, &mut rng)?;
    progress.stage("quantising the backbone", 1);
    let space = FeatureGraph::fit(backbone, size[0], size[1], &views)?;
    let extractor = space.extractor()?;
    let lesson = Lesson { good, bad, fit, held, space, extractor, options, progress };
    let fitted = lesson.fit(&mut rng)?;
    let (recipe, bytes, warnings) = lesson.conclude(&fitted, backbone, digest)?;
    Ok(Taught { bytes, recipe, took: start.elapsed(), warnings })
}

/// Opens every picture once: model input rows and columns from the median aspect, and the digest.
fn survey(good: &Shelf<'_>, bad: &Shelf<'_>, side: usize, progress: &dyn Progress) -> Result<([usize; 2], String)> {
    progress.stage("reading pictures", (good.len() + bad.len()) as u64);
    let look = |shelf: &Shelf<'_>| -> Result<Vec<(f64, [u8; 32])>> {
        (0..shelf.len())
            .into_par_iter()
            .map(|i| {
                let f = shelf.frame(i)?;
                progress.tick();
                Ok((f64::from(f.width) / f64::from(f.height), shelf.digest(i)?))
            })
            .collect()
    };
    let (goods, bads) = (look(good)?, look(bad)?);
    let mut hash = Sha256::new();
    for (label, seen) in [(b"good", &goods), (b"bad\0", &bads)] {
        hash.update(label);
        seen.iter().for_each(|(_, d)| hash.update(d));
    }
    let mut aspects: Vec<f64> = goods.iter().map(|g| g.0).collect();
    aspects.sort_by(f64::total_cmp);
    let aspect = aspects[aspects.len() / 2].clamp(0.25, 4.0);
    let sixteens = |v: f64| ((v / 16.0).round() as usize).max(4) * 16;
    let (w, h) = (side as f64 * aspect.sqrt(), side as f64 / aspect.sqrt());
    let digest = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
    Ok(([sixteens(h), sixteens(w)], digest))
}

/// Good pictures to fit on and to hold out, whole groups on one side.
fn split(good: &Shelf<'_>, share: f64, rng: &mut ChaCha8Rng) -> (Vec<usize>, Vec<usize>) {
    let mut groups: std::collections::BTreeMap<&str, Vec<usize>> = std::collections::BTreeMap::new();
    for i in 0..good.len() {
        groups.entry(good.group(i)).or_default().push(i);
    }
    let mut groups: Vec<Vec<usize>> = groups.into_values().collect();
    groups.shuffle(rng);
    let want = ((good.len() as f64 * share).round() as usize).clamp(2, good.len() - 2);
    let (mut fit, mut held) = (Vec::new(), Vec::new());
    for group in groups {
        if held.len() < want { &mut held } else { &mut fit }.extend(group);
    }
    if fit.len() < 2 {
        // One huge group: there is nothing to keep apart, so split inside it.
        let all: Vec<usize> = (0..good.len()).collect();
        (held, fit) = (all[..want].to_vec(), all[want..].to_vec());
    }
    fit.sort_unstable();
    held.sort_unstable();
    if fit.len() > GOOD_KEPT {
        fit.partial_shuffle(rng, GOOD_KEPT);
        fit.truncate(GOOD_KEPT);
        fit.sort_unstable();
    }
    (fit, held)
}

fn whole(frame: &Frame, [h, w]: [usize; 2]) -> View {
    View::whole(frame.width, frame.height, w as f64 / h as f64)
}

fn render(frame: &Frame, view: &View, [h, w]: [usize; 2]) -> Vec<u8> {
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

fn calibration_views(
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

/// Bank and head of one view, and what is usual at its places.
struct FittedView {
    bank: Bank,
    usual: Places,
    head: Option<(Head, Places)>,
}

/// What the fit gave for both views.
struct Fitted {
    full: FittedView,
    zoom: FittedView,
    policy: CropPolicy,
    calibration: [Vec<Vec<u8>>; 2],
}

/// Puts distance and logits on one scale, by what is usual at each place.
struct Suspicion<'a> {
    bank: &'a Bank,
    distance: Places,
    head: Option<(&'a Head, Places)>,
}

impl<'a> Suspicion<'a> {
    /// `goods` and `probes`: views of good parts; the head has seen the former.
    fn measure(
        space: &FeatureGraph,
        bank: &'a Bank,
        head: Option<&'a Head>,
        goods: &[Codes],
        probes: &[Codes],
    ) -> Self {
        let distances: Vec<_> = goods.par_iter().map(|c| bank.distances(space, c)).collect();
        let logits = |h: &Head| -> Vec<_> { probes.par_iter().map(|c| h.map(space, c)).collect() };
        Self {
            bank,
            distance: Places::fit(&distances, space.grid),
            head: head.map(|h| (h, Places::fit(&logits(h), space.grid))),
        }
    }

    fn map(&self, space: &FeatureGraph, codes: &Codes) -> Vec<f32> {
        let mut map = self.bank.distances(space, codes);
        self.distance.standardise(&mut map);
        if let Some((head, usual)) = &self.head {
            let mut logits = head.map(space, codes);
            usual.standardise(&mut logits);
            map.iter_mut().zip(logits).for_each(|(m, l)| *m += l);
        }
        map
    }
}

impl Lesson<'_> {
    fn size(&self) -> [usize; 2] {
        self.space.input
    }

    fn rng(&self, stream: u64, index: usize) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.options.seed);
        rng.set_stream((stream << 32) + index as u64 + 1);
        rng
    }

    /// Codes of one rendered view for each index.
    fn codes(&self, name: &str, count: usize, view: impl Fn(usize) -> Result<Vec<u8>> + Sync) -> Result<Vec<Codes>> {
        self.progress.stage(name, count as u64);
        self.extractor.codes(count, |i| {
            let v = view(i);
            self.progress.tick();
            v
        })
    }

    fn head(&self, name: &str, steps: usize, good: &[Codes], bad: &[Codes], rng: &mut ChaCha8Rng) -> Head {
        self.progress.stage(name, steps as u64);
        let options = FitOptions { steps, rate: 1e-3 };
        Head::fit(&self.space, good, bad, options, rng, || self.progress.tick())
    }

    /// The box of suspicion in a frame.
    fn locate(&self, map: &[f32], frame: &Frame, policy: &CropPolicy) -> View {
        let mut out = Vec::new();
        let [height, width] = self.space.grid;
        let full = whole(frame, self.size());
        let map = Map { values: map, width, height };
        policy.crops(map, &full, (frame.width, frame.height), &mut out, &mut crop::Scratch::default());
        out[0]
    }

    fn fit(&self, rng: &mut ChaCha8Rng) -> Result<Fitted> {
        let size = self.size();
        let goods = self.codes("looking at good parts", self.fit.len(), |i| self.full_view(&self.good, self.fit[i]))?;
        let probes = self.held.len().min(PROBES);
        let probes = self.codes("looking at held-out parts", probes, |i| self.full_view(&self.good, self.held[i]))?;
        let bads = self.codes("looking at bad parts", self.bad.len(), |i| self.full_view(&self.bad, i))?;
        let bank = Bank::fit(&self.space, &goods, self.options.prototypes, rng);
        let policy = CropPolicy::default();

        let mixed = if bads.is_empty() { None } else { Some(self.mix(&goods, &probes, &bads, &bank, rng)?) };
        let full_head = match &mixed {
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
                let real = bads.iter().chain(&varied);
                let bad: Vec<Codes> = real.clone().chain(real).chain(&m.full).cloned().collect();
                Some(self.head("teaching the full view", self.options.steps, &good, &bad, rng))
            }
            None => None,
        };
        let suspicion = Suspicion::measure(&self.space, &bank, full_head.as_ref(), &goods, &probes);

        let centres: Vec<View> = (0..self.fit.len())
            .into_par_iter()
            .map(|i| {
                let frame = self.good.frame(self.fit[i])?;
                Ok(self.locate(&suspicion.map(&self.space, &goods[i]), &frame, &policy))
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
        let mut zoom_bads = Vec::new();
        if let Some(m) = &mixed {
            zoom_goods.extend(m.zoom_good.iter().cloned());
            let per = 3;
            let real = self.codes("zooming into bad parts", per * self.bad.len(), |i| {
                let frame = self.bad.frame(i / per)?;
                Ok(render(&frame, &self.zoom_on(m.boxes[i / per], &frame, &mut self.rng(4, i)), size))
            })?;
            zoom_bads = real.iter().cloned().chain(real.iter().cloned()).chain(m.zoom_bad.iter().cloned()).collect();
        }
        self.progress.stage("choosing prototypes", 1);
        let zoom_bank = Bank::fit(&self.space, &zoom_goods, self.options.prototypes, rng);
        let zoom_head = mixed
            .is_some()
            .then(|| self.head("teaching the zoomed view", self.options.steps, &zoom_goods, &zoom_bads, rng));

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
        // Crops lie anywhere on the part, so that no place of a zoomed view is like itself.
        let zoomed = |map: &(dyn Fn(&Codes) -> Vec<f32> + Sync)| {
            let maps: Vec<_> = zoom_goods[..self.fit.len().min(PROBES)].par_iter().map(map).collect();
            Places::anywhere(&maps, self.space.cells())
        };
        let zoom_usual = zoomed(&|c| zoom_bank.distances(&self.space, c));
        let zoom_head = zoom_head.map(|h| {
            let usual = zoomed(&|c| h.map(&self.space, c));
            (h, usual)
        });
        let (distance, full_usual) = (suspicion.distance, suspicion.head.map(|(_, usual)| usual));
        Ok(Fitted {
            full: FittedView { bank, usual: distance, head: full_head.zip(full_usual) },
            zoom: FittedView { bank: zoom_bank, usual: zoom_usual, head: zoom_head },
            policy,
            calibration: [full_cal, zoom_cal],
        })
    }

    fn zoom_on(&self, defect: Roi, frame: &Frame, rng: &mut ChaCha8Rng) -> View {
        let full = whole(frame, self.size());
        let centre =
            (f64::from(defect.x) + f64::from(defect.width) / 2.0, f64::from(defect.y) + f64::from(defect.height) / 2.0);
        let least = (f64::from(defect.width) / full.width).max(f64::from(defect.height) / full.height);
        loose_crop(centre, least, frame, self.size(), rng)
    }

    /// Locates the known defects with a first head and mixes them into good pictures.
    fn mix(
        &self,
        goods: &[Codes],
        probes: &[Codes],
        bads: &[Codes],
        bank: &Bank,
        rng: &mut ChaCha8Rng,
    ) -> Result<Mixed> {
        let size = self.size();
        let first = self.head("finding the known defects", self.options.steps / 2, goods, bads, rng);
        let suspicion = Suspicion::measure(&self.space, bank, Some(&first), goods, probes);
        let tight = CropPolicy { count: 1, theta: 0.5, pad: 0.15, side_min: 0.12 };
        let boxes: Vec<Roi> = (0..bads.len())
            .into_par_iter()
            .map(|i| {
                let frame = self.bad.frame(i)?;
                let view = self.locate(&suspicion.map(&self.space, &bads[i]), &frame, &tight);
                Ok(view.inside(frame.width, frame.height))
            })
            .collect::<Result<_>>()?;
        let pasted = |i: usize| -> Result<(Frame, Frame, Roi, ChaCha8Rng)> {
            let mut rng = self.rng(6, i);
            let b = rng.random_range(0..self.bad.len());
            let good = self.good.frame(self.fit[rng.random_range(0..self.fit.len())])?;
            let (frame, roi) = cutmix::paste(&good, &self.bad.frame(b)?, boxes[b], &mut rng);
            Ok((good, frame, roi, rng))
        };
        let full = self.codes("mixing defects into good parts", MIXED, |i| {
            let (_, frame, _, _) = pasted(i)?;
            Ok(render(&frame, &whole(&frame, size), size))
        })?;
        // The same place with and without the defect: what is left to tell them apart is the defect.
        let pairs = self.codes("zooming into mixed parts", 2 * MIXED, |i| {
            let (good, frame, roi, mut rng) = pasted(i / 2)?;
            let view = self.zoom_on(roi, &frame, &mut rng);
            Ok(render(if i % 2 == 0 { &frame } else { &good }, &view, size))
        })?;
        let (zoom_bad, zoom_good) = pairs.chunks(2).map(|p| (p[0].clone(), p[1].clone())).unzip();
        Ok(Mixed { boxes, full, zoom_bad, zoom_good })
    }

    /// Builds the graph, measures its constants on held-out good parts, and writes the recipe's bytes.
    fn conclude(&self, fitted: &Fitted, backbone: &Backbone, digest: String) -> Result<(Recipe, Vec<u8>, Vec<String>)> {
        self.progress.stage("quantising the heads", 1);
        let views = [("full", &fitted.full, 0), ("zoom", &fitted.zoom, 1)].map(|(name, parts, i)| ViewParts {
            name,
            bank: &parts.bank,
            usual: &parts.usual,
            head: parts.head.as_ref().map(|(head, usual)| (head, usual)),
            calibration: &fitted.calibration[i],
        });
        let graph = graph::build(&self.space, &views)?;
        let passes = Passes::new(&graph, &self.space)?;
        let held = &self.held;
        self.progress.stage("measuring held-out good parts", 2 * held.len() as u64);
        let goods = measure(&passes.full, held.len(), |i| self.full_view(&self.good, held[i]), self.progress)?;
        let full = goods.constants();
        let zoomed = |i: usize| -> Result<Vec<u8>> {
            let frame = self.good.frame(held[i])?;
            let mut suspicion = Vec::new();
            full.suspicion(&goods.maps[i], &mut suspicion);
            Ok(render(&frame, &self.locate(&suspicion, &frame, &fitted.policy), self.size()))
        };
        let zooms = measure(&passes.zoom, held.len(), zoomed, self.progress)?;
        let zoom = zooms.constants();
        let sums: Vec<f32> =
            goods.evidences.iter().zip(&zooms.evidences).map(|(f, z)| full.weighted(f) + zoom.weighted(z)).collect();
        let fused = Standard::of(&sums);
        let mut scores: Vec<f32> = sums.iter().map(|&s| fused.z(s)).collect();
        scores.sort_by(f32::total_cmp);
        let highest = scores[scores.len() - 1];
        // Just above the highest held-out score: the promise is about the share above it.
        let threshold = highest + 1e-3 * highest.abs().max(1.0);
        let input = Input { height: self.size()[0], width: self.size()[1] };
        let mut recipe = Recipe {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").into(),
            input,
            backbone: BackboneNote {
                name: backbone.name.clone(),
                digest: backbone.digest.clone(),
                features: backbone.features().to_vec(),
            },
            crop: fitted.policy,
            full,
            zoom,
            fused,
            threshold,
            promise: Promise {
                overkill_max: metrics::promise(held.len(), held.len(), CONFIDENCE),
                confidence: CONFIDENCE,
                held_out: held.len(),
                good_needed: metrics::good_needed(0.01, CONFIDENCE).unwrap_or(0),
            },
            expected_escape: None,
            teaching: Teaching {
                date: date(),
                good: self.good.len(),
                bad: self.bad.len(),
                seed: self.options.seed,
                digest,
            },
            self_test: Vec::new(),
        };
        for seed in 1..=2 {
            let input = recipe.self_test_input(seed);
            recipe.self_test.push(SelfTest {
                seed,
                full: score(&passes.full, &input)?,
                zoom: score(&passes.zoom, &input)?,
            });
        }
        let notes = serde_json::to_string(&recipe)
            .map_err(|e| Error::new(ErrorKind::Internal, "the recipe's notes cannot be written").caused_by(e))?;
        let bytes = onnx::encode(&graph::as_model(&graph, &[(METADATA_KEY, notes)]));
        // What was written must load: the same checks that the device will make.
        Model::from_bytes(&bytes, "the recipe just taught")?;
        let mut warnings = Vec::new();
        if held.len() < recipe.promise.good_needed {
            warnings.push(format!(
                "{} held-out good pictures prove at most 1 false reject in {:.0} good parts; {} would prove 1 in 100",
                held.len(),
                1.0 / recipe.promise.overkill_max,
                recipe.promise.good_needed
            ));
        }
        Ok((recipe, bytes, warnings))
    }

    fn full_view(&self, shelf: &Shelf<'_>, i: usize) -> Result<Vec<u8>> {
        let frame = shelf.frame(i)?;
        Ok(render(&frame, &whole(&frame, self.size()), self.size()))
    }
}

/// RFC 3339 to the second; SOURCE_DATE_EPOCH where it is set, so that a recipe can be made again byte for byte.
fn date() -> String {
    let epoch = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|s| s.parse().ok());
    let at = epoch.map_or_else(SystemTime::now, |s| SystemTime::UNIX_EPOCH + Duration::from_secs(s));
    humantime::format_rfc3339_seconds(at).to_string()
}

/// The finished graph's two passes.
struct Passes {
    full: Plan,
    zoom: Plan,
}

/// Raw results of one view over several parts.
struct Measured {
    evidences: Vec<Evidence>,
    maps: Vec<Vec<f32>>,
}

impl Passes {
    fn new(graph: &onnx::Graph, space: &FeatureGraph) -> Result<Self> {
        let model = graph::as_model(graph, &[]);
        let shape = [1, 3, space.input[0], space.input[1]];
        let plan = |v: &str| {
            Plan::new(&model, shape, Elem::U8, &[format!("{v}_map"), format!("{v}_score")], "the recipe being taught")
        };
        Ok(Self { full: plan("full")?, zoom: plan("zoom")? })
    }
}

/// The raw evidences of one input.
fn score(plan: &Plan, input: &[u8]) -> Result<Vec<f32>> {
    Ok(plan.spawn()?.run(input)?[1].f32().to_vec())
}

fn measure(
    plan: &Plan,
    count: usize,
    view: impl Fn(usize) -> Result<Vec<u8>> + Sync,
    progress: &dyn Progress,
) -> Result<Measured> {
    let results: Vec<(Evidence, Vec<f32>)> = (0..count)
        .into_par_iter()
        .map_init(
            || plan.spawn(),
            |state, i| {
                let state = state.as_mut().map_err(|e| Error::new(ErrorKind::Internal, e.message().to_owned()))?;
                let out = state.run(&view(i)?)?;
                progress.tick();
                Ok((evidence(&out[1]), out[0].f32().to_vec()))
            },
        )
        .collect::<Result<_>>()?;
    let (evidences, maps) = results.into_iter().unzip();
    Ok(Measured { evidences, maps })
}

impl Measured {
    /// Standardisation of every evidence over these (good) parts, equal weights.
    fn constants(&self) -> ViewConstants {
        let has_head = self.evidences.iter().all(|e| e.known.is_some());
        let parts = if has_head { 2 } else { 1 };
        let constants = |part: usize, value: &dyn Fn(&Evidence) -> f32| {
            let image: Vec<f32> = self.evidences.iter().map(value).collect();
            let cells: Vec<f32> = self
                .maps
                .iter()
                .flat_map(|m| m[part * m.len() / parts..(part + 1) * m.len() / parts].iter().copied())
                .collect();
            // An evidence that says the same of every part says nothing; its rounding noise must not be blown up.
            let (low, high) = image.iter().fold((f32::MAX, f32::MIN), |(l, h), &v| (l.min(v), h.max(v)));
            let weight = if high - low > CONSTANT { 1.0 } else { 0.0 };
            EvidenceConstants { image: Standard::of(&image), cell: Standard::of(&cells), weight }
        };
        let normality = constants(0, &|e| e.normality);
        let known = has_head.then(|| constants(1, &|e| e.known.unwrap_or(0.0)));
        let mut view = ViewConstants { normality, known, sum: Standard { mean: 0.0, std: 1.0 } };
        let sums: Vec<f32> = self.evidences.iter().map(|e| view.weighted(e)).collect();
        view.sum = Standard::of(&sums);
        view
    }
}

/// What mixing gave.
struct Mixed {
    boxes: Vec<Roi>,
    full: Vec<Codes>,
    zoom_bad: Vec<Codes>,
    zoom_good: Vec<Codes>,
}
