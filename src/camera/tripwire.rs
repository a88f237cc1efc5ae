//! The trigger `tripwire`: a light barrier made of pixels. A pure state machine, fed one frame at a time by `cap`.
//!
//! ```text
//!   learning ──(frames enough)──► empty ──(level ≥ trip_level: a part starts)──► occupied
//!                                   ▲                                              │
//!                                   └──────────(level < clear_level)─────────────────┘
//! ```
//!
//! The level is the mean absolute difference, in grey levels 0..=255, between a strip of the frame and the strip of the
//! empty belt. The empty belt is the median of the first frames, pixel by pixel, so that parts that pass meanwhile do
//! not spoil it; no part starts before it is known. While the strip is empty it follows the light slowly; while it is
//! occupied it stays, so that a part that stops in the strip does not become the belt.
//! Two levels rather than one, because noise at a single one would start a part twice.

use crate::frame::geometry::Roi;
use crate::frame::{Frame, grey};

/// Frames from which the empty belt is learnt. Chosen: half a second at 30 Hz; odd, for the median.
const LEARNING: usize = 15;

/// The share of the difference by which the empty belt follows each empty frame. Chosen: half a minute at 30 Hz takes a
/// cloud for what it is; a part is over in a second.
const FOLLOW: f32 = 1.0 / 256.0;

/// The strip and its levels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// The strip, in frame pixels.
    pub strip: Roi,
    /// A part starts when the level reaches this, in grey levels.
    pub trip_level: f32,
    /// The strip is empty again below this.
    pub clear_level: f32,
}

/// A light barrier made of pixels.
#[derive(Debug)]
pub struct Tripwire {
    settings: Settings,
    /// Strips seen while learning, one after the other.
    seen: Vec<u8>,
    /// The empty belt, row by row; nothing while learning.
    empty: Vec<f32>,
    is_occupied: bool,
}

impl Tripwire {
    /// A barrier that has not learnt its belt yet; allocates once.
    pub fn new(settings: Settings) -> Self {
        let pixels = settings.strip.width as usize * settings.strip.height as usize;
        let seen = Vec::with_capacity(LEARNING * pixels);
        Self { settings, seen, empty: Vec::with_capacity(pixels), is_occupied: false }
    }

    /// Whether it knows the empty belt, so that parts are seen.
    pub fn has_learnt(&self) -> bool {
        !self.empty.is_empty()
    }

    /// Looks at the next frame; whether a part starts with it. Cost: one pass over the strip, no allocation.
    ///
    /// A frame that does not hold the strip says nothing.
    pub fn look(&mut self, frame: &Frame) -> bool {
        let Roi { x, y, width, height } = self.settings.strip;
        if x + width > frame.width || y + height > frame.height {
            return false;
        }
        if !self.has_learnt() {
            self.learn(frame);
            return false;
        }
        let count = self.empty.len() as f32;
        let level = self.empty.iter().zip(greys(frame, self.settings.strip)).map(|(e, g)| (f32::from(g) - e).abs());
        let level = level.sum::<f32>() / count;
        let was_occupied = self.is_occupied;
        self.is_occupied = level >= if was_occupied { self.settings.clear_level } else { self.settings.trip_level };
        if !self.is_occupied && level < self.settings.clear_level {
            for (empty, grey) in self.empty.iter_mut().zip(greys(frame, self.settings.strip)) {
                *empty += FOLLOW * (f32::from(grey) - *empty);
            }
        }
        self.is_occupied && !was_occupied
    }

    fn learn(&mut self, frame: &Frame) {
        self.seen.extend(greys(frame, self.settings.strip));
        let pixels = self.seen.len() / LEARNING;
        if self.seen.len() < self.seen.capacity() || pixels == 0 {
            return;
        }
        for pixel in 0..pixels {
            let mut greys: [u8; LEARNING] = std::array::from_fn(|frame| self.seen[frame * pixels + pixel]);
            greys.sort_unstable();
            self.empty.push(f32::from(greys[LEARNING / 2]));
        }
    }
}

/// The strip in grey, row by row.
fn greys(frame: &Frame, strip: Roi) -> impl Iterator<Item = u8> {
    let rows = strip.y as usize..(strip.y + strip.height) as usize;
    rows.flat_map(move |row| {
        let start = 3 * (row * frame.width as usize + strip.x as usize);
        let (pixels, _) = frame.rgb[start..start + 3 * strip.width as usize].as_chunks();
        pixels.iter().map(|&pixel| grey(pixel))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::units::FrameId;

    const SETTINGS: Settings =
        Settings { strip: Roi { x: 30, y: 4, width: 4, height: 40 }, trip_level: 30.0, clear_level: 10.0 };

    /// A belt of 64×48 pixels with a grain, seen in some light, and a part 16 pixels wide whose right edge is at `part`.
    fn picture(n: u64, light: f32, part: Option<i64>) -> Frame {
        let (width, height) = (64, 48);
        let grey = |x: i64, y: i64| {
            let grain = ((x * 31 + y * 17) % 13) as f32 + ((n as i64 * 7 + x * 3 + y * 5) % 5) as f32;
            let is_part = part.is_some_and(|right| (right - 16..right).contains(&x) && (8..40).contains(&y));
            ((if is_part { 170.0 } else { 60.0 + grain }) * light) as u8
        };
        let rgb = (0..height).flat_map(|y| (0..width).flat_map(move |x| [grey(x, y); 3])).collect::<Vec<_>>();
        let at = Timestamp(n);
        Frame { id: FrameId(n), exposure_at: at, dequeued_at: at, width: 64, height: 48, rgb: rgb.into() }
    }

    /// The numbers of the frames that start a part.
    fn trips(frames: impl IntoIterator<Item = (f32, Option<i64>)>) -> Vec<usize> {
        let mut wire = Tripwire::new(SETTINGS);
        let frames = frames.into_iter().enumerate();
        frames.filter(|(n, (light, part))| wire.look(&picture(*n as u64, *light, *part))).map(|(n, _)| n).collect()
    }

    fn empty(n: usize) -> impl Iterator<Item = (f32, Option<i64>)> {
        std::iter::repeat_n((1.0, None), n)
    }

    /// A part that crosses the picture in steps of `step` pixels.
    fn passing(step: usize) -> impl Iterator<Item = (f32, Option<i64>)> {
        (0..80).step_by(step).map(|right| (1.0, Some(right)))
    }

    #[test]
    fn each_part_trips_once_in_the_frame_in_which_it_comes() {
        // Its right edge reaches the strip, which begins at 30, in the ninth of its frames.
        assert_eq!(trips(empty(15).chain(passing(4)).chain(empty(3)).chain(passing(4))), [23, 46]);
        assert_eq!(trips(empty(15).chain(passing(1))).len(), 1, "a slow part trips once");
    }

    #[test]
    fn a_level_between_the_two_changes_nothing() {
        // A part that stays half in the strip: the level is between on and off, from either side.
        let edge = |n| std::iter::repeat_n((1.0, Some(31)), n);
        assert_eq!(trips(empty(15).chain(edge(20))), [0_usize; 0], "a quarter of the strip is not enough to start");
        let inside = std::iter::repeat_n((1.0, Some(40)), 3);
        assert_eq!(trips(empty(15).chain(inside.clone()).chain(edge(20)).chain(inside)), [15], "nor to end");
    }

    #[test]
    fn the_empty_belt_is_learnt_with_parts_on_it_and_follows_the_light() {
        let busy = (0..15).map(|n| (1.0, (n % 3 == 0).then_some(40)));
        assert_eq!(trips(busy.chain(empty(5)).chain(passing(4))).len(), 1);
        let dusk = (0..3000).map(|n| (1.0 - n as f32 * 0.5 / 3000.0, None));
        assert_eq!(trips(empty(15).chain(dusk)), [0_usize; 0], "half the light is gone and no part came");
    }

    #[test]
    fn a_part_that_stops_in_the_strip_does_not_become_the_belt() {
        let waiting = std::iter::repeat_n((1.0, Some(40)), 2000);
        assert_eq!(trips(empty(15).chain(waiting).chain(empty(1)).chain(passing(4))).len(), 2);
    }

    #[test]
    fn a_frame_that_does_not_hold_the_strip_says_nothing() {
        let mut wire = Tripwire::new(Settings { strip: Roi { x: 62, ..SETTINGS.strip }, ..SETTINGS });
        assert!((0..40).all(|n| !wire.look(&picture(n, 1.0, Some(64)))));
    }
}
