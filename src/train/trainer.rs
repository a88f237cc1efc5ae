//! What every step of a run works with: its pictures, its feature extractor, and the views made of both.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::features::{Extractor, FeatureGraph, QuantizedFeatures, RenderedView};
use super::options::Options;
use super::picture::ImageCache;
use super::progress::Progress;
use crate::error::Result;
use crate::frame::Frame;
use crate::frame::geometry::{Roi, View};
use crate::inspect::aligned::AlignedImage;
use crate::inspect::crop::{self, CropLattice, CropPolicy, Map};
use crate::inspect::intensity::{IntensityNorm, IntensityStats};
use crate::inspect::preprocess::Scratch;

/// Good parts, fitted or held out, that a head's usual logits and the weights are measured on.
pub(super) const PROBES: usize = 64;
/// Pictures that the backbone's grids are calibrated on.
pub(super) const CALIBRATION: usize = 24;
/// The data of one run, and how its views are made: pictures, backbone, options, progress.
///
/// Every random choice of a view has a generator of its own ([`Trainer::rng`]), so that threads change nothing.
pub(super) struct Trainer<'a> {
    pub(super) good: ImageCache<'a>,
    pub(super) bad: ImageCache<'a>,
    pub(super) space: FeatureGraph,
    pub(super) extractor: Extractor,
    /// On which crops lie.
    pub(super) lattice: Option<CropLattice>,
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

/// A random crop around `centre`, 0.3 to 0.5 of the full image's size.
pub(super) fn loose_crop(centre: (f64, f64), least: f64, frame: &Frame, rng: &mut ChaCha8Rng) -> View {
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
        view: impl Fn(usize) -> Result<RenderedView> + Sync,
    ) -> Result<Vec<QuantizedFeatures>> {
        self.progress.stage(name, count as u64);
        self.extractor.codes(count, |i| view(i).inspect(|_| self.progress.tick()))
    }

    /// A view as the device's model will see it.
    pub(super) fn render(&self, part: &AlignedImage, view: &View) -> RenderedView {
        let at = self.lattice.map_or([0, 0], |lattice| lattice.at(view, &whole(part)));
        RenderedView { pixels: render(part, view, self.size(), self.options.light()), at }
    }

    /// The whole of a part as it might have lain as well, the `number`-th of such.
    pub(super) fn varied(&self, part: &AlignedImage, number: usize, rng: &mut ChaCha8Rng) -> RenderedView {
        let augmentation = &self.options.augmentation;
        let view = augmentation.view(whole(part), rng);
        self.render(&augmentation.placed(part, number, rng), &view)
    }

    /// Good part `i`, as it might have been recorded as well.
    pub(super) fn recorded(&self, i: usize, rng: &mut ChaCha8Rng) -> Result<AlignedImage> {
        self.options.augmentation.recorded(&self.good.part(i)?, rng)
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

    /// A crop around a defect, of any size and not quite in the middle: heads should not care where it lies.
    pub(super) fn zoom_on(&self, defect: Roi, frame: &Frame, rng: &mut ChaCha8Rng) -> View {
        let full = whole(frame);
        let least = (f64::from(defect.width) / full.width).max(f64::from(defect.height) / full.height);
        loose_crop(middle(defect), least, frame, rng)
    }

    /// The same as the device would cut it: on the lattice, where there is one.
    pub(super) fn cut_on(&self, defect: Roi, frame: &Frame, rng: &mut ChaCha8Rng) -> View {
        let Some(lattice) = &self.lattice else { return self.zoom_on(defect, frame, rng) };
        let full = whole(frame);
        let side = lattice.crop([0, 0], self.space.grid, &full);
        let mut off = |side: f64| side * rng.random_range(-0.15..0.15);
        let (x, y) = middle(defect);
        lattice.around((x + off(side.width), y + off(side.height)), self.space.grid, &full)
    }

    pub(super) fn full_view(&self, images: &ImageCache<'_>, i: usize) -> Result<RenderedView> {
        let frame = images.part(i)?;
        Ok(self.render(&frame, &whole(&frame)))
    }
}
