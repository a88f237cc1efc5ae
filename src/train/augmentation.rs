//! Good and known bad parts as they might have come as well, by what the plant says of them (`[teach]` of the
//! configuration).
//!
//! Pure. Everything is drawn evenly from nothing to the most on either side; which way a part is mirrored goes round.
//! Noise and compression vary in every training run: without, what tells a known bad from good parts may rest on differences so
//! small that another camera's noise hides or makes them (`docs/EXPERIMENTS.md`).

use std::path::Path;

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use super::filters::{defocus, each_value, noise};
use crate::error::Result;
use crate::frame::augmentation::Augmentation;
use crate::frame::geometry::View;
use crate::frame::motion::{Motion, warped};
use crate::frame::{Frame, picture};
use crate::inspect::aligned::AlignedImage;

/// Varied views of each known bad part, at least.
const COPIES: usize = 2;

/// Anything from `-most` to `most`.
fn about(most: f64, rng: &mut ChaCha8Rng) -> f64 {
    most * rng.random_range(-1.0..1.0)
}

/// Mirrored left to right, top to bottom, or both.
fn flipped(frame: &Frame, [across, down]: [bool; 2]) -> Frame {
    let (width, height) = (frame.width as usize, frame.height as usize);
    let pixels = frame.rgb.as_chunks::<3>().0;
    let mut out = Vec::with_capacity(frame.rgb.len());
    for y in 0..height {
        let row = &pixels[if down { height - 1 - y } else { y } * width..][..width];
        if across {
            row.iter().rev().for_each(|pixel| out.extend_from_slice(pixel));
        } else {
            out.extend_from_slice(row.as_flattened());
        }
    }
    Frame::still(frame.width, frame.height, out)
}

impl Augmentation {
    /// Whether more is asked for than every training run does: then what is normal is learnt from varied parts, too. A shift and a
    /// scale alone ask for no more.
    pub fn is_wide(&self) -> bool {
        let Self { shift, scale, .. } = *self;
        *self != Self { shift, scale, ..Self::default() }
    }

    /// Ways in which a part may lie mirrored, as it is first.
    fn ways(&self) -> Vec<[bool; 2]> {
        let one = |may: bool| if may { vec![false, true] } else { vec![false] };
        let [across, down] = self.flips.map(one);
        down.iter().flat_map(|&down| across.iter().map(move |&across| [across, down])).collect()
    }

    /// How many varied views a training run has of each known bad part: as many as show every way.
    pub fn copies(&self) -> usize {
        COPIES.max(self.ways().len() - 1)
    }

    /// A part as it might have lain as well, the `number`-th of such: the first ones are mirrored where parts may be.
    pub fn placed(&self, part: &AlignedImage, number: usize, rng: &mut ChaCha8Rng) -> AlignedImage {
        let ways = self.ways();
        let way = ways[(number + 1) % ways.len()];
        let mut part = part.clone();
        if way != [false; 2] {
            part = part.changed(|frame| flipped(frame, way));
        }
        if self.rotation > 0.0 {
            let turned = Motion { degrees: about(self.rotation, rng), ..Motion::NONE };
            part = part.changed(|frame| warped(frame, &turned));
        }
        part
    }

    /// A part where it is, as it might have been recorded as well. That is for good parts: what bad ones alone are shown
    /// with would be learnt as a defect.
    ///
    /// # Errors
    /// When JPEG cannot be written, which is a defect of this program.
    pub fn recorded(&self, part: &AlignedImage, rng: &mut ChaCha8Rng) -> Result<AlignedImage> {
        let mut part = part.clone();
        if self.brightness > 0.0 || self.contrast > 0.0 || self.gamma > 0.0 {
            let [gain, contrast] = [self.brightness, self.contrast].map(|most| 1.0 + about(most, rng));
            let power = (1.0 + self.gamma).powf(rng.random_range(-1.0..1.0));
            let mean = part.rgb.iter().map(|&v| u64::from(v)).sum::<u64>() as f64 / part.rgb.len().max(1) as f64;
            let bent = |v: f64| 255.0 * (v / 255.0).powf(power);
            let value = |v: f64| bent((gain * (mean + contrast * (v - mean))).clamp(0.0, 255.0));
            part = part.changed(|frame| each_value(frame, value));
        }
        // What happens to single pixels is another thing where an overview has averaged them.
        if self.blur > 0.0 {
            part = part.repainted(defocus(&part, (self.blur * rng.random::<f64>()).max(f64::MIN_POSITIVE)));
        }
        // Half of them each: noise covers what compression does.
        if self.noise > 0.0 && rng.random::<bool>() {
            let deviation = self.noise * rng.random::<f64>();
            part = part.repainted(noise(&part, |_| deviation * deviation, rng));
        }
        if self.jpeg < 100 && rng.random::<bool>() {
            let jpeg = picture::jpeg(&part, rng.random_range(self.jpeg..100))?;
            part = part.repainted(picture::decode(&jpeg, Path::new("a picture compressed for a lesson"))?);
        }
        Ok(part)
    }

    /// A view shifted and scaled, as parts shift under a camera.
    pub fn view(&self, view: View, rng: &mut ChaCha8Rng) -> View {
        let scale = 1.0 + about(self.scale, rng);
        let (width, height) = (view.width * scale, view.height * scale);
        let shift = |at: f64, old: f64, new: f64, r: f64| at + (old - new) / 2.0 + r * old;
        View {
            x: shift(view.x, view.width, width, about(self.shift, rng)),
            y: shift(view.y, view.height, height, about(self.shift, rng)),
            width,
            height,
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn rng(seed: u64) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(seed)
    }

    /// A ramp with a bright corner, so that no two ways of lying look alike.
    fn part() -> AlignedImage {
        let at = |x: u32, y: u32| if x < 6 && y < 4 { 220 } else { 40 + x + 2 * y };
        let pixels = (0..40u32).flat_map(|y| (0..60u32).map(move |x| at(x, y) as u8)).flat_map(|v| [v; 3]);
        AlignedImage::from(Frame::still(60, 40, pixels.collect::<Vec<u8>>()))
    }

    fn varied(augmentation: &Augmentation, number: usize, seed: u64) -> AlignedImage {
        let mut rng = rng(seed);
        augmentation.recorded(&augmentation.placed(&part(), number, &mut rng), &mut rng).unwrap()
    }

    fn corner(part: &AlignedImage) -> [bool; 2] {
        let bright = part.rgb.iter().step_by(3).position(|&v| v == 220).unwrap();
        [bright % 60 >= 30, bright / 60 >= 20]
    }

    const NOTHING: Augmentation = Augmentation {
        flips: [false; 2],
        rotation: 0.0,
        shift: 0.0,
        scale: 0.0,
        brightness: 0.0,
        contrast: 0.0,
        gamma: 0.0,
        blur: 0.0,
        noise: 0.0,
        jpeg: 100,
    };

    #[test]
    fn what_may_not_vary_stays_as_it_is() {
        let whole = View::whole(60, 40);
        for seed in 0..5 {
            assert_eq!(varied(&NOTHING, seed as usize, seed).rgb, part().rgb);
            assert_eq!(NOTHING.view(whole, &mut rng(seed)), whole);
        }
        assert!(!Augmentation { shift: 0.1, scale: 0.0, ..Augmentation::default() }.is_wide());
        assert_eq!(NOTHING.copies(), COPIES);
    }

    #[test]
    fn parts_are_mirrored_in_every_way_that_they_may_be() {
        let shown = |flips: [bool; 2]| {
            let augmentation = Augmentation { flips, ..NOTHING };
            let copies = augmentation.copies();
            let mut ways: Vec<_> = (0..copies).map(|n| corner(&varied(&augmentation, n, n as u64))).collect();
            ways.sort_unstable();
            ways.dedup();
            ways
        };
        assert_eq!(shown([false, false]), [[false, false]]);
        assert_eq!(shown([true, false]), [[false, false], [true, false]]);
        assert_eq!(shown([false, true]), [[false, false], [false, true]]);
        assert_eq!(shown([true, true]), [[false, true], [true, false], [true, true]]);
    }

    #[test]
    fn each_kind_changes_pictures_and_no_more_than_it_may() {
        let mean = |part: &AlignedImage| part.rgb.iter().map(|&v| f64::from(v)).sum::<f64>() / part.rgb.len() as f64;
        let old = part();
        let cases = [
            Augmentation { rotation: 5.0, ..NOTHING },
            Augmentation { brightness: 0.1, ..NOTHING },
            Augmentation { contrast: 0.2, ..NOTHING },
            Augmentation { gamma: 0.2, ..NOTHING },
            Augmentation { blur: 2.0, ..NOTHING },
            Augmentation { noise: 4.0, ..NOTHING },
            Augmentation { jpeg: 30, ..NOTHING },
        ];
        for augmentation in cases {
            assert!(augmentation.is_wide(), "{augmentation:?}");
            let mut is_changed = false;
            for seed in 1..6 {
                let new = varied(&augmentation, 0, seed);
                is_changed |= new.rgb != old.rgb;
                let most = 0.01 + 1.05 * augmentation.brightness + 0.8 * augmentation.gamma;
                assert!((mean(&new) / mean(&old) - 1.0).abs() < most, "{augmentation:?}");
                let again = varied(&augmentation, 0, seed);
                assert_eq!(new.rgb, again.rgb, "another picture of the same seed");
            }
            assert!(is_changed, "{augmentation:?} changes nothing");
        }
        let view = Augmentation { shift: 0.1, scale: 0.2, ..NOTHING }.view(View::whole(60, 40), &mut rng(1));
        assert!((view.width / 60.0 - 1.0).abs() <= 0.2 && view.width != 60.0, "{view:?}");
        assert!((view.x + view.width / 2.0 - 30.0).abs() <= 6.0 && view.x + view.width / 2.0 != 30.0, "{view:?}");
    }
}
