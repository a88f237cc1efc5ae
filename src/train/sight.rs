//! What a frame must show to be judged, measured on the pictures of a training run ([`crate::inspect::sight`]).

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::inventory::listed;
use super::options::Options;
use super::picture::{ImageCache, Picture};
use super::progress::Progress;
use crate::error::{Error, ErrorKind, Result};
use crate::frame::Frame;
use crate::frame::augmentation::Augmentation;
use crate::frame::geometry::View;
use crate::inspect::aligned::AlignedImage;
use crate::inspect::empty::{self, Empty};
use crate::inspect::preprocess;
use crate::inspect::scene::{self, Scene};
use crate::inspect::sight::{Ranges, Sight};

/// Good pictures that are measured as they might have been recorded as well, evenly taken: each costs a compression.
const VARIED: usize = 64;
/// The same where `[teach]` asks for more than every training run does.
const VARIED_WIDELY: usize = 256;
/// Pictures of the empty belt, at least: fewer do not say how belts differ.
pub const EMPTY_MIN: usize = 5;
/// A part must differ from the empty belt by this many times as much as one empty belt may from the others.
const CLEARLY: f32 = 2.0;
/// The share of flat tiles above which a belt looks like a cover.
const EVEN: f32 = 0.9;

impl Augmentation {
    /// A frame as it might have come as well, the `number`-th of such.
    ///
    /// # Errors
    /// When JPEG cannot be written, which is a defect of this program.
    pub fn frame(&self, frame: &Frame, number: usize, rng: &mut ChaCha8Rng) -> Result<Frame> {
        let placed = self.placed(&AlignedImage::from(frame.clone()), number, rng);
        let recorded = self.recorded(&placed, rng)?;
        let view = self.view(View::whole(recorded.width, recorded.height), rng);
        Ok(shown(&recorded, &view))
    }
}

/// What a view shows, in as many pixels as its frame has.
fn shown(frame: &Frame, view: &View) -> Frame {
    let (width, height) = (frame.width as usize, frame.height as usize);
    let mut planes = vec![0; 3 * width * height];
    preprocess::sample(frame, view, width, height, &mut planes, &mut preprocess::Scratch::default());
    Frame::still(frame.width, frame.height, preprocess::pixels(&planes).flatten().collect::<Vec<u8>>())
}

/// Measures good pictures, as they are and as they might have been recorded as well, and the empty belt where pictures of
/// it are given. Also says what the technician should know of these.
///
/// # Errors
/// When a picture cannot be read, or the empty belt's pictures are too few, or black, or look like parts.
pub(super) fn measure(
    good: &ImageCache<'_>,
    bad: &ImageCache<'_>,
    options: &Options,
    progress: &dyn Progress,
) -> Result<(Sight, Vec<String>)> {
    let most = if options.augmentation.is_wide() { VARIED_WIDELY } else { VARIED };
    progress.stage("measuring what is seen", (good.len() + most) as u64);
    let plain = |i: usize| {
        progress.tick();
        Ok(Scene::of(&*good.part(i)?, &mut scene::Scratch::default()))
    };
    let varied = |number: usize| {
        progress.tick();
        let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
        rng.set_stream((44 << 32) + number as u64);
        let frame = options.augmentation.frame(&*good.part(number * good.len() / most)?, number, &mut rng)?;
        Ok(Scene::of(&frame, &mut scene::Scratch::default()))
    };
    let mut scenes: Vec<Scene> = (0..good.len()).into_par_iter().map(plain).collect::<Result<_>>()?;
    scenes.extend((0..most).into_par_iter().map(varied).collect::<Result<Vec<_>>>()?);
    let ranges = Ranges::of(&scenes);
    if options.empty.is_empty() {
        return Ok((Sight { good: ranges, empty: None }, Vec::new()));
    }
    let (empty, warnings) = belt(&options.empty)?;
    refuse_parts(&empty, [good, bad])?;
    Ok((Sight { good: ranges, empty: Some(empty) }, warnings))
}

/// The empty belt from its pictures.
fn belt(pictures: &[Picture]) -> Result<(Empty, Vec<String>)> {
    if pictures.len() < EMPTY_MIN {
        let message = format!(
            "{} pictures of the empty belt are too few to say how it looks: give at least {EMPTY_MIN}, taken over some minutes",
            pictures.len()
        );
        return Err(Error::new(ErrorKind::Refused, message));
    }
    let frames: Vec<Frame> = pictures.par_iter().map(Picture::load).collect::<Result<_>>()?;
    let scenes: Vec<Scene> = frames.par_iter().map(|f| Scene::of(f, &mut scene::Scratch::default())).collect();
    if let Some(black) = scenes.iter().position(|s| s.mean < 8.0) {
        let message = format!(
            "{} is black: an empty belt must not look like a camera without light; light it, or teach without --empty",
            pictures[black].name
        );
        return Err(Error::new(ErrorKind::Refused, message));
    }
    let mut warnings = Vec::new();
    if scenes.iter().all(|s| s.flat > EVEN) {
        warnings.push(
            "the empty belt is even: what covers the camera in the same grey would be taken for it; mark the belt's edge or \
             let [safety] on_no_part reject"
                .to_owned(),
        );
    }
    Ok((Empty::of(&frames, Ranges::of(&scenes)), warnings))
}

/// Refuses an empty belt that looks like a part of the training run.
fn refuse_parts(empty: &Empty, caches: [&ImageCache<'_>; 2]) -> Result<()> {
    let mut alike = Vec::new();
    for images in caches {
        let looks_empty = |i: usize| {
            let most = empty.differs(&*images.part(i)?, &mut empty::Buffers::default());
            Ok(most.is_some_and(|most| most <= CLEARLY * empty.tolerance).then_some(i))
        };
        let found: Vec<Option<usize>> = (0..images.len()).into_par_iter().map(looks_empty).collect::<Result<_>>()?;
        alike.extend(found.into_iter().flatten().map(|i| images.name(i)));
    }
    if alike.is_empty() {
        return Ok(());
    }
    let message = format!(
        "{} of the pictures of parts can hardly be told from the empty belt: {}; take pictures without a part out of the good \
         and bad ones and pictures with one out of --empty, or teach without --empty",
        alike.len(),
        listed(alike.into_iter())
    );
    Err(Error::new(ErrorKind::Refused, message))
}
