//! Whether a frame shows enough to be judged, asked before the model looks at it.
//!
//! What the model has never seen it cannot judge: a camera without light, out of focus or behind a cover gives frames
//! whose score means nothing. Such a frame never leads to a score; its part is uninspected, and the plant's policy says what
//! happens to it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::empty::Empty;
use super::scene::Scene;
use crate::stats;

/// Why a camera is taken to be blind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blindness {
    /// Much less light than in any good picture.
    Dark,
    /// Clipped, or much more light than in any good picture.
    Bright,
    /// Without contrast, or with nothing in it but noise.
    Flat,
    /// Out of focus.
    Blurred,
    /// The camera gives the same picture again.
    Frozen,
}

impl Blindness {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Dark, Self::Bright, Self::Flat, Self::Blurred, Self::Frozen];

    /// The stable word used in `--json` output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dark => "dark",
            Self::Bright => "bright",
            Self::Flat => "flat",
            Self::Blurred => "blurred",
            Self::Frozen => "frozen",
        }
    }
}

impl fmt::Display for Blindness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a frame is not judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unseen {
    /// The camera sees nothing that could be judged.
    Blind(Blindness),
    /// The whole background of an empty belt is seen, so there is no part.
    NoPart,
}

/// What frames must show to be judged; part of the recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sight {
    /// What good pictures showed.
    pub good: Ranges,
    /// What an empty belt looks like, where that was taught (`teach --empty`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty: Option<Empty>,
}

impl Sight {
    /// Why a frame with these statistics cannot be judged; `matches` says whether it shows an empty belt and is asked only
    /// where that was taught.
    ///
    /// An even belt may look as if the camera was covered: whether it is the belt is asked first.
    pub fn judge(&self, scene: &Scene, matches: impl FnOnce(&Empty) -> bool) -> Option<Unseen> {
        let is_empty =
            self.empty.as_ref().is_some_and(|empty| empty.ranges.blindness(scene).is_none() && matches(empty));
        if is_empty {
            return Some(Unseen::NoPart);
        }
        self.good.blindness(scene).map(Unseen::Blind)
    }

    /// Whether the numbers are ones that a training run writes.
    pub fn is_sound(&self) -> bool {
        self.good.is_sound() && self.empty.as_ref().is_none_or(|empty| empty.ranges.is_sound() && empty.is_sound())
    }
}

/// A frame darker than this share of the darkest good picture is dark, and one whose distance to white is this share of the
/// brightest one's is bright. Chosen, as those below, so that gross cases of five sets lie beyond and their test pictures,
/// bad ones included, far inside (`docs/EXPERIMENTS.md`): a lamp that has lost a third of its light is none of its business.
const LIGHT: f32 = 0.5;
/// The same of contrast, relief and detail.
const CONTRAST: f32 = 0.5;
/// A frame with this many times the noise of the noisiest good picture shows nothing but noise.
const NOISE: f32 = 3.0;
/// Shares of the frame that are flat, dark or clipped may be larger by this much than in any good picture.
const SHARE: f32 = 0.25;
/// One picture in so many at either end says nothing: it may be a gross exception among the good.
const ONE_IN: usize = 100;

/// Between which limits the [`Scene`]s of good pictures lay.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ranges {
    /// Least and largest mean grey level.
    pub mean: [f32; 2],
    /// Largest share of clipped pixels.
    pub clipped: f32,
    /// Largest noise, grey levels.
    pub noise: f32,
    /// Least detail, a share of the mean.
    pub detail: f32,
    /// Least relief, a share of the mean.
    pub relief: f32,
    /// Largest share of flat tiles.
    pub flat: f32,
    /// Largest share of dark tiles.
    pub dark: f32,
}

impl Ranges {
    /// Of pictures, one in a hundred of which may lie outside.
    ///
    /// # Panics
    /// If there are none.
    pub fn of(scenes: &[Scene]) -> Self {
        assert!(!scenes.is_empty(), "ranges of no pictures");
        let ends = |value: fn(&Scene) -> f32| {
            let mut all: Vec<f32> = scenes.iter().map(value).collect();
            let out = all.len() / ONE_IN;
            [out, all.len() - 1 - out].map(|rank| stats::nth(&mut all, rank).unwrap_or_default())
        };
        Self {
            mean: ends(|s| s.mean),
            clipped: ends(|s| s.clipped)[1],
            noise: ends(|s| s.noise)[1],
            detail: ends(|s| s.detail)[0],
            relief: ends(|s| s.relief)[0],
            flat: ends(|s| s.flat)[1],
            dark: ends(|s| s.dark)[1],
        }
    }

    /// What a camera with such a frame suffers from; `None` where it shows as much as good pictures do.
    pub fn blindness(&self, scene: &Scene) -> Option<Blindness> {
        let [darkest, brightest] = self.mean;
        let is_dark = scene.mean < LIGHT * darkest || scene.dark > self.dark + SHARE;
        let is_bright = 255.0 - scene.mean < LIGHT * (255.0 - brightest) || scene.clipped > self.clipped + SHARE;
        let is_flat = scene.relief < CONTRAST * self.relief || scene.flat > self.flat + SHARE;
        let is_noise = scene.noise > NOISE * self.noise.max(1.0);
        match () {
            () if is_dark => Some(Blindness::Dark),
            () if is_bright => Some(Blindness::Bright),
            () if is_flat || is_noise => Some(Blindness::Flat),
            () if scene.detail < CONTRAST * self.detail => Some(Blindness::Blurred),
            () => None,
        }
    }

    fn is_sound(&self) -> bool {
        let Self { mean: [low, high], clipped, noise, detail, relief, flat, dark } = *self;
        let is_share = |v: f32| (0.0..=1.0).contains(&v);
        (0.0..=255.0).contains(&low)
            && (low..=255.0).contains(&high)
            && [noise, detail, relief].iter().all(|v| v.is_finite() && *v >= 0.0)
            && [clipped, flat, dark].into_iter().all(is_share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As good parts may look.
    const USUAL: Scene =
        Scene { mean: 120.0, clipped: 0.01, noise: 3.0, detail: 0.05, relief: 0.3, flat: 0.1, dark: 0.05 };

    #[test]
    fn each_blindness_has_its_name() {
        let ranges = Ranges::of(&[USUAL; 16]);
        assert_eq!(ranges.blindness(&USUAL), None);
        for (scene, is) in [
            (Scene { mean: 59.0, ..USUAL }, Some(Blindness::Dark)),
            (Scene { mean: 61.0, ..USUAL }, None),
            (Scene { dark: 0.31, ..USUAL }, Some(Blindness::Dark)),
            (Scene { mean: 190.0, ..USUAL }, Some(Blindness::Bright)),
            (Scene { mean: 185.0, ..USUAL }, None),
            (Scene { clipped: 0.27, ..USUAL }, Some(Blindness::Bright)),
            (Scene { relief: 0.14, ..USUAL }, Some(Blindness::Flat)),
            (Scene { flat: 0.36, ..USUAL }, Some(Blindness::Flat)),
            (Scene { noise: 9.1, ..USUAL }, Some(Blindness::Flat)),
            (Scene { detail: 0.024, ..USUAL }, Some(Blindness::Blurred)),
            (Scene { detail: 0.026, ..USUAL }, None),
        ] {
            assert_eq!(ranges.blindness(&scene), is, "{scene:?}");
        }
    }

    #[test]
    fn one_gross_exception_among_the_good_opens_no_range() {
        let mut scenes = vec![USUAL; 120];
        scenes[7] = Scene { flat: 1.0, ..Scene::default() };
        assert_eq!(Ranges::of(&scenes), Ranges::of(&[USUAL]));
        assert_eq!(Ranges::of(&scenes[..20]).relief, 0.0, "of twenty each counts");
    }

    #[test]
    fn the_belt_is_asked_for_before_the_camera_is_called_blind_and_never_by_a_frame_that_is_not_like_it() {
        let belt = Scene { relief: 0.01, flat: 1.0, detail: 0.01, ..USUAL };
        let empty = Empty { ranges: Ranges::of(&[belt]), ..Empty::default() };
        let sight = Sight { good: Ranges::of(&[USUAL]), empty: Some(empty) };
        assert_eq!(sight.judge(&belt, |_| true), Some(Unseen::NoPart));
        assert_eq!(sight.judge(&belt, |_| false), Some(Unseen::Blind(Blindness::Flat)));
        assert_eq!(sight.judge(&USUAL, |_| false), None);
        let dark = Scene { mean: 2.0, ..belt };
        assert_eq!(sight.judge(&dark, |_| true), Some(Unseen::Blind(Blindness::Dark)), "a black frame is no belt");
        let never = Sight { empty: None, ..sight };
        assert_eq!(never.judge(&belt, |_| true), Some(Unseen::Blind(Blindness::Flat)));
    }
}
