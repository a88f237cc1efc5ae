//! Registration: a part that lies shifted or turned is brought to where the parts lay that were taught.
//!
//! The mean good part, some hundred pixels wide, is compared with each frame: a coarse search over shifts and turns at an
//! eighth of the size, then Gauss-Newton on the squared difference at each size from there to the full one (Lucas and Kanade 1981; the
//! gradient is the mean of both pictures', Benhimane and Malis 2004). Both pictures are brought to mean 0 and deviation 1
//! wherever they overlap, so that light does not matter. What comes out counts only above a smallest correlation;
//! otherwise the part is inspected as it lies, and what is unlike its place there is suspicious.

mod grey;
mod search;

use serde::{Deserialize, Serialize};

pub use grey::Grey;
use grey::{Moved, Pose, pyramid};
use search::{correlation, search};

use super::preprocess;
use crate::frame::Frame;
use crate::frame::motion::Motion;

/// Longer side of the reference, pixels.
///
/// A pixel of it is 7 of a frame that is 1,280 wide; parts of the simulated belt come to rest within a tenth of a pixel of
/// that frame, with half the size within one.
const SIDE: usize = 192;
/// The longer side of the coarsest picture, which is searched, is from this to twice as many pixels; each level before is
/// twice as large as the next.
const COARSE: usize = 24;
/// Levels of a reference of [`SIDE`].
const LEVELS: usize = levels(SIDE);

/// What parts are brought into line with; part of the recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Registration {
    /// Columns of the reference.
    pub width: usize,
    /// Rows of it.
    pub height: usize,
    /// The mean good part's full image, `[height, width]` grey levels.
    pub reference: Vec<u8>,
    /// The least correlation with the reference at which a motion counts, -1 to 1.
    pub correlation_min: f32,
}

/// A part's place, found.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Placed {
    /// Brings the frame's part to the reference's place.
    correction: Motion,
    /// Correlation with the reference there, -1 to 1.
    correlation: f32,
}

/// Buffers that a thread keeps.
#[derive(Default)]
pub struct Scratch {
    sampling: preprocess::Scratch,
    rgb: Vec<u8>,
    frame: Vec<Grey>,
    moved: Moved,
}

/// Levels of a pyramid whose finest picture has this longer side.
const fn levels(side: usize) -> usize {
    let mut count = 1;
    while side >> count >= COARSE {
        count += 1;
    }
    count
}

/// Columns and rows of a frame's reference: multiples of what the pyramid divides by.
fn size(frame: &Frame) -> [usize; 2] {
    let longer = f64::from(frame.width.max(frame.height));
    let unit = 1 << (LEVELS - 1);
    let side = |length: u32| ((f64::from(length) / longer * SIDE as f64 / unit as f64).round() as usize).max(2) * unit;
    [side(frame.width), side(frame.height)]
}

impl Grey {
    /// The full image of a frame, `SIDE` pixels along its longer side.
    pub fn of(frame: &Frame, scratch: &mut Scratch) -> Self {
        let mut grey = Self::default();
        grey.fill(frame, size(frame), &mut scratch.sampling, &mut scratch.rgb);
        grey
    }

    /// Itself and its halves.
    fn pyramid(self) -> Vec<Self> {
        let count = levels(self.width.max(self.height));
        pyramid(self, count)
    }
}

impl Registration {
    /// With a mean good part; a motion counts from `correlation_min` on.
    pub fn new(mean: &Grey, correlation_min: f32) -> Self {
        let reference = mean.values.iter().map(|v| v.round().clamp(0.0, 255.0) as u8).collect();
        Self { width: mean.width, height: mean.height, reference, correlation_min }
    }

    /// Whether the sizes are ones that can be searched.
    pub fn is_sound(&self) -> bool {
        let unit = 1 << (levels(self.width.max(self.height)) - 1);
        let is_side = |side: usize| (2 * unit..=2 * SIDE).contains(&side) && side.is_multiple_of(unit);
        is_side(self.width) && is_side(self.height) && self.reference.len() == self.width * self.height
    }

    /// The reference and its halves, finest first.
    fn pyramid(&self) -> Vec<Grey> {
        let values = self.reference.iter().map(|&v| f32::from(v)).collect();
        Grey { width: self.width, height: self.height, values }.pyramid()
    }

    /// Where the part in `frame` lies, in pixels of a picture of this `size`; `reference` is [`Registration::pyramid`].
    ///
    /// Cost: one read of the frame, and 1 ms. Allocates only while `scratch` grows.
    fn place(&self, reference: &[Grey], frame: &Frame, size: [u32; 2], scratch: &mut Scratch) -> Placed {
        let Scratch { sampling, rgb, frame: levels, moved } = scratch;
        levels.resize_with(reference.len(), Grey::default);
        levels[0].fill(frame, [self.width, self.height], sampling, rgb);
        for level in 1..reference.len() {
            let (fine, coarse) = levels.split_at_mut(level);
            fine[level - 1].halve_into(&mut coarse[0]);
        }
        let (pose, found) = search(reference, levels, moved);
        // Taken from a pose is moved by its inverse; the reference's pixels are so many times as large.
        let (sx, sy) = (f64::from(size[0]) / self.width as f64, f64::from(size[1]) / self.height as f64);
        let lies = Motion { dx: pose.x * sx, dy: pose.y * sy, degrees: pose.turn.to_degrees() };
        Placed { correction: lies.inverse(), correlation: found as f32 }
    }

    /// Whether a place is believed.
    fn is_trusted(&self, placed: &Placed) -> bool {
        placed.correlation >= self.correlation_min
    }
}

/// A registration ready to be used by threads.
#[derive(Clone, Debug)]
pub struct Aligner {
    registration: Registration,
    reference: Vec<Grey>,
}

impl Aligner {
    /// Prepares the reference.
    pub fn new(registration: Registration) -> Self {
        let reference = registration.pyramid();
        Self { registration, reference }
    }

    /// What it was made of.
    pub fn registration(&self) -> &Registration {
        &self.registration
    }

    /// The motion that brings the part in `frame` to its place, in pixels of a picture of this `size`, which `frame` shows as
    /// well, larger or smaller; [`Motion::NONE`] where it is not believed.
    ///
    /// Cost: one read of the frame, and 1 ms. Allocates only while `scratch` grows.
    pub fn find(&self, frame: &Frame, size: [u32; 2], scratch: &mut Scratch) -> Motion {
        let placed = self.registration.place(&self.reference, frame, size, scratch);
        if self.registration.is_trusted(&placed) { placed.correction } else { Motion::NONE }
    }
}

/// The pictures of the first one's size; `None` where all together are fewer than two.
fn of_one_size(pictures: &[Grey]) -> Option<Vec<&Grey>> {
    let first = pictures.first().filter(|_| pictures.len() > 1)?;
    Some(pictures.iter().filter(|p| (p.width, p.height) == (first.width, first.height)).collect())
}

/// The correlation of each picture with the mean of all, as they lie; `None` where they are fewer than two.
pub fn as_they_lie(pictures: &[Grey]) -> Option<Vec<f32>> {
    let same = of_one_size(pictures)?;
    let share = 1.0 / same.len() as f32;
    let mut mean = Grey { values: vec![0.0; same[0].values.len()], ..*same[0] };
    for picture in &same {
        mean.values.iter_mut().zip(&picture.values).for_each(|(m, v)| *m += share * v);
    }
    let mut moved = Moved::default();
    Some(same.iter().map(|p| correlation(&mean, p, Pose::default(), &mut moved) as f32).collect())
}

/// The mean of pictures brought into line with each other, and each one's correlation with it.
///
/// Starts from the picture that is most like the others as they lie, and takes the mean twice. `None` where pictures are
/// fewer than two.
pub fn mean_of(pictures: &[Grey]) -> Option<(Grey, Vec<f32>)> {
    let same = of_one_size(pictures)?;
    let mut moved = Moved::default();
    let likeness = |i: usize, moved: &mut Moved| -> f64 {
        same.iter().take(24).map(|p| correlation(same[i], p, Pose::default(), moved)).sum()
    };
    let scores: Vec<f64> = (0..same.len().min(24)).map(|i| likeness(i, &mut moved)).collect();
    let start = (0..scores.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b]))?;
    let mut mean = same[start].clone();
    let levels: Vec<Vec<Grey>> = same.iter().map(|p| (*p).clone().pyramid()).collect();
    let mut correlations = Vec::new();
    for _ in 0..2 {
        let reference = mean.clone().pyramid();
        let mut sums = vec![[0.0f32; 2]; mean.values.len()];
        correlations.clear();
        for levels in &levels {
            let (pose, found) = search(&reference, levels, &mut moved);
            correlations.push(found as f32);
            levels[0].moved(pose, [0, 0], &mut moved);
            for (y, sums) in sums.chunks_exact_mut(mean.width).enumerate() {
                let (from, values) = moved.row(y);
                sums[from..].iter_mut().zip(values).for_each(|(sum, v)| *sum = [sum[0] + v, sum[1] + 1.0]);
            }
        }
        let values = sums.iter().zip(&mean.values).map(|(s, old)| if s[1] > 0.0 { s[0] / s[1] } else { *old });
        mean.values = values.collect();
    }
    Some((mean, correlations))
}

#[cfg(test)]
pub(super) mod tests;
