//! A part brought into line: views of it, without moving more pixels than they show.
//!
//! Turning every pixel of a frame costs more than both looks at it (1.3 million at 1280x1024, of which the full image
//! averages twenty for each of its own and a crop shows an eighth). So views that shrink it by more than
//! 2 (`OVERVIEW_ABOVE`) are taken from an overview: the whole frame as it lies, shrunk to twice the model's input and then
//! turned; others from the frame, of which the rectangle that they read is turned. Training runs look through the same two.

use super::preprocess::{self, sample};
use super::register::{self, Aligner};
use crate::frame::Frame;
use crate::frame::geometry::{Roi, View};
use crate::frame::motion::{Motion, warp, warped};

/// Views that shrink a frame by more than this are taken from its overview.
const OVERVIEW_ABOVE: f64 = 2.0;
/// Sides of the overview, in those of the model's input.
const OVERVIEW: usize = 2;

/// Whether a view of a frame is taken from its overview, where the model's input has `size` rows and columns.
fn is_of_overview(view: &View, [rows, columns]: [usize; 2]) -> bool {
    view.width > OVERVIEW_ABOVE * columns as f64 && view.height > OVERVIEW_ABOVE * rows as f64
}

/// Whether there is an overview of a frame at all.
fn has_overview(frame: &Frame, size: [usize; 2]) -> bool {
    is_of_overview(&View::whole(frame.width, frame.height), size)
}

/// As [`sample`], a view of a frame from its overview.
fn sample_overview(
    overview: &Frame,
    frame: &Frame,
    view: &View,
    [rows, columns]: [usize; 2],
    out: &mut [u8],
    scratch: &mut preprocess::Scratch,
) {
    let share = |of: u32, whole: u32| f64::from(of) / f64::from(whole);
    let (x, y) = (share(overview.width, frame.width), share(overview.height, frame.height));
    let view = View { x: x * view.x, y: y * view.y, width: x * view.width, height: y * view.height };
    sample(overview, &view, columns, rows, out, scratch);
}

/// The whole frame, shrunk to an overview for a model's input of `size` rows and columns.
fn shrink(frame: &Frame, size: [usize; 2], out: &mut Frame, planes: &mut Vec<u8>, scratch: &mut preprocess::Scratch) {
    let [rows, columns] = size.map(|side| OVERVIEW * side);
    planes.resize(3 * rows * columns, 0);
    sample(frame, &View::whole(frame.width, frame.height), columns, rows, planes, scratch);
    let shrunk = out.overwrite(columns as u32, rows as u32).as_chunks_mut::<3>().0;
    shrunk.iter_mut().zip(preprocess::pixels(planes)).for_each(|(to, pixel)| *to = pixel);
}

/// Buffers in which one thread brings one frame after the other into line; they allocate while they grow.
pub struct ImageAligner {
    /// Rows and columns of the model's input.
    size: [usize; 2],
    planes: Vec<u8>,
    lying: Frame,
    overview: Frame,
    /// As large as the frame; only what was looked at is in it.
    moved: Frame,
    registering: register::Scratch,
    sampling: [preprocess::Scratch; 3],
    correction: Motion,
}

impl ImageAligner {
    /// For a model whose input has `size` rows and columns.
    pub fn new(size: [usize; 2]) -> Self {
        Self {
            size,
            planes: Vec::new(),
            lying: Frame::empty(),
            overview: Frame::empty(),
            moved: Frame::empty(),
            registering: register::Scratch::default(),
            sampling: Default::default(),
            correction: Motion::NONE,
        }
    }

    /// Finds the part in `frame`: what brings it into line, which is nothing where there is no `aligner` or it is not
    /// believed. [`ImageAligner::sample`] is of this frame from now on.
    ///
    /// Cost: one read of the frame, and what the search costs.
    pub fn find(&mut self, frame: &Frame, aligner: Option<&Aligner>) -> Motion {
        self.correction = Motion::NONE;
        let Some(aligner) = aligner else { return Motion::NONE };
        let is_large = has_overview(frame, self.size);
        if is_large {
            shrink(frame, self.size, &mut self.lying, &mut self.planes, &mut self.sampling[0]);
        }
        let (seen, size) = (if is_large { &self.lying } else { frame }, [frame.width, frame.height]);
        self.correction = aligner.find(seen, size, &mut self.registering);
        if is_large && self.correction != Motion::NONE {
            let whole = Roi::whole(self.lying.width, self.lying.height);
            warp(&self.lying, &self.correction, size, whole, &mut self.overview);
        }
        self.correction
    }

    /// As [`preprocess::sample`], of the part in its place.
    pub fn sample(&mut self, frame: &Frame, view: &View, out: &mut [u8]) {
        let [rows, columns] = self.size;
        let [_, overview, part] = &mut self.sampling;
        if self.correction == Motion::NONE {
            sample(frame, view, columns, rows, out, part);
        } else if is_of_overview(view, self.size) {
            sample_overview(&self.overview, frame, view, self.size, out, overview);
        } else {
            let roi = preprocess::reach(frame, view, columns, rows, part);
            warp(frame, &self.correction, [frame.width, frame.height], roi, &mut self.moved);
            sample(&self.moved, view, columns, rows, out, part);
        }
    }

    /// The part in its place, to be looked at as often as one likes: turns every pixel.
    pub fn part(&mut self, frame: Frame, aligner: Option<&Aligner>) -> AlignedImage {
        if self.find(&frame, aligner) == Motion::NONE {
            return AlignedImage::from(frame);
        }
        let overview = has_overview(&frame, self.size).then(|| self.overview.clone());
        AlignedImage { frame: warped(&frame, &self.correction), overview }
    }
}

/// A part in its place: all of its frame, and what [`ImageAligner`] takes large views from.
#[derive(Clone, Debug)]
pub struct AlignedImage {
    frame: Frame,
    overview: Option<Frame>,
}

impl From<Frame> for AlignedImage {
    /// A part that lies as it lies.
    fn from(frame: Frame) -> Self {
        Self { frame, overview: None }
    }
}

impl std::ops::Deref for AlignedImage {
    type Target = Frame;

    fn deref(&self) -> &Frame {
        &self.frame
    }
}

impl AlignedImage {
    /// The same part with other pixels of its frame. Its overview changes by what an overview of either frame does, and so
    /// only where the frame did: how it was made must not tell one from the other.
    pub fn repainted(&self, frame: Frame) -> Self {
        let overview = self.overview.as_ref().map(|overview| {
            let size = [overview.height, overview.width].map(|side| side as usize / OVERVIEW);
            let shrunk = |frame: &Frame| {
                let mut out = Frame::empty();
                shrink(frame, size, &mut out, &mut Vec::new(), &mut preprocess::Scratch::default());
                out.rgb
            };
            let (old, new) = (shrunk(&self.frame), shrunk(&frame));
            let changed = overview.rgb.iter().zip(old.iter().zip(new.iter()));
            let rgb: Vec<u8> = changed
                .map(|(&v, (&old, &new))| {
                    v.saturating_sub(old.saturating_sub(new)).saturating_add(new.saturating_sub(old))
                })
                .collect();
            Frame::still(overview.width, overview.height, rgb)
        });
        Self { frame, overview }
    }

    /// The same part after a change that says the same of its frame and of its overview, whatever their sizes.
    pub fn changed(&self, change: impl Fn(&Frame) -> Frame) -> Self {
        Self { frame: change(&self.frame), overview: self.overview.as_ref().map(change) }
    }

    /// Bytes of its pixels.
    pub fn bytes(&self) -> usize {
        self.frame.rgb.len() + self.overview.as_ref().map_or(0, |o| o.rgb.len())
    }

    /// What [`ImageAligner::sample`] gives, for a model's input of `size` rows and columns.
    pub fn sample(&self, view: &View, size: [usize; 2], out: &mut [u8], scratch: &mut preprocess::Scratch) {
        match self.overview.as_ref().filter(|_| is_of_overview(view, size)) {
            Some(overview) => sample_overview(overview, &self.frame, view, size, out, scratch),
            None => sample(&self.frame, view, size[1], size[0], out, scratch),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::register::tests::{part as plate, registration};

    fn aligner(frame: &Frame) -> Aligner {
        Aligner::new(registration(frame))
    }

    const LIES: Motion = Motion { dx: 23.0, dy: -11.0, degrees: 4.0 };

    #[test]
    fn views_of_a_part_show_it_in_its_place_and_as_lessons_see_it() {
        let size = [48, 60];
        let mut pixels = vec![0; 3 * 48 * 60];
        // With an overview and without one.
        for side in [400, 110] {
            let frame = plate(side, side * 4 / 5);
            let (aligner, scale) = (aligner(&frame), f64::from(side) / 400.0);
            let lies = Motion { dx: scale * LIES.dx, dy: scale * LIES.dy, ..LIES };
            let moved = warped(&frame, &lies);
            let mut image_aligner = ImageAligner::new(size);
            let part = ImageAligner::new(size).part(moved.clone(), Some(&aligner));
            let correction = image_aligner.find(&moved, Some(&aligner));
            assert!((correction.degrees + 4.0).abs() < 0.1, "{correction:?}");
            assert_eq!(part.overview.is_some(), side == 400);
            let whole = View::whole(frame.width, frame.height);
            let third =
                View { x: 0.4 * whole.width, y: 0.3 * whole.height, width: 140.0 * scale, height: 112.0 * scale };
            // Beyond the edges, too.
            for view in [whole, third, View { x: -9.0, y: -4.0, ..third }] {
                image_aligner.sample(&moved, &view, &mut pixels);
                let mut other = vec![0; pixels.len()];
                part.sample(&view, size, &mut other, &mut preprocess::Scratch::default());
                assert!(pixels == other, "a lesson sees {view:?} otherwise");
                sample(&frame, &view, size[1], size[0], &mut other, &mut preprocess::Scratch::default());
                // What was moved out of the frame does not come back: its edges are left alone.
                let inner = |i: &usize| (6..42).contains(&(i / 60 % 48)) && (8..52).contains(&(i % 60));
                let far = |i: usize| u64::from(pixels[i].abs_diff(other[i]));
                let places: Vec<usize> = (0..pixels.len()).filter(inner).collect();
                let mean = places.iter().map(|&i| far(i)).sum::<u64>() as f64 / places.len() as f64;
                assert!(mean < 3.0, "{mean} levels from where it would lie: {view:?} at {side}");
            }
        }
    }

    #[test]
    fn a_part_that_is_not_believed_or_not_sought_is_seen_as_it_lies() {
        let frame = plate(400, 320);
        let other = Frame::still(400, 320, vec![77; 400 * 320 * 3]);
        let (mut pixels, mut plain) = (vec![0; 3 * 48 * 60], vec![0; 3 * 48 * 60]);
        let mut image_aligner = ImageAligner::new([48, 60]);
        let aligner = aligner(&frame);
        for (frame, aligner) in [(&other, Some(&aligner)), (&frame, None)] {
            assert_eq!(image_aligner.find(frame, aligner), Motion::NONE);
            let view = View::whole(400, 320);
            image_aligner.sample(frame, &view, &mut pixels);
            sample(frame, &view, 60, 48, &mut plain, &mut preprocess::Scratch::default());
            assert_eq!(pixels, plain);
        }
    }

    #[test]
    fn paint_changes_an_overview_where_it_is_and_nowhere_else() {
        let frame = plate(400, 320);
        let part = ImageAligner::new([48, 60]).part(warped(&frame, &LIES), Some(&aligner(&frame)));
        assert_eq!(part.repainted(part.frame.clone()).overview.map(|o| o.rgb), part.overview.clone().map(|o| o.rgb));
        let mut rgb = part.frame.rgb.to_vec();
        for y in 100..140 {
            rgb[3 * (400 * y + 200)..3 * (400 * y + 240)].fill(250);
        }
        let painted = part.repainted(Frame::still(400, 320, rgb)).overview.unwrap();
        let old = part.overview.unwrap();
        for y in 0..96u32 {
            for x in 0..120u32 {
                let at = 3 * (120 * y + x) as usize;
                let is_inside = (61..=70).contains(&x) && (31..=40).contains(&y);
                let is_far = !(59..=72).contains(&x) || !(29..=42).contains(&y);
                assert!(!is_far || painted.rgb[at..at + 3] == old.rgb[at..at + 3], "{x}, {y}");
                assert!(!is_inside || painted.rgb[at] > 230, "{x}, {y}");
            }
        }
    }
}
