//! What a training run is told: how large, how long, with what held out.

use super::ablation::Ablation;
use super::bank::PROTOTYPES;
use super::picture::Picture;
use super::promise;
use crate::frame::augmentation::Augmentation;
use crate::inspect::intensity::IntensityStats;

/// The fewest good pictures that can be taught: chosen so that two can be held out and six fitted. The promise that so
/// few allow is weak, and says so; see [`promise::promise`].
pub const GOOD_MIN: usize = 8;

/// When parts are brought into line before they are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// Where good pictures say that it makes them more alike.
    Auto,
    /// Always; a training run of parts that are not alike is refused.
    Always,
    /// Never.
    Never,
}

/// How a training run is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Side of a square model input with the same area, pixels.
    pub size: usize,
    /// Prototypes in each bank.
    pub prototypes: usize,
    /// Crops that an inspection looks into, 1 to [`CROPS_MAX`](crate::inspect::CROPS_MAX).
    pub crops: usize,
    /// Optimiser steps of each head.
    pub steps: usize,
    /// Share of the good pictures held out for standardisation and threshold.
    pub held_out: f64,
    /// Training runs, each of which holds out other good pictures: the first gives the recipe, all give scores that its threshold
    /// promises by. As many as there are good pictures for, 3 at `held_out` of .3.
    pub folds: usize,
    /// N of the promise that at most 1 good part in N is rejected.
    pub one_in: u32,
    /// Whether parts are brought into line before they are looked at.
    pub register: Register,
    /// How parts and pictures may differ from one to the next.
    pub augmentation: Augmentation,
    /// Seed of every random choice.
    pub seed: u64,
    /// Parts of the method, of which some may be left out to measure them.
    pub ablation: Ablation,
    /// Pictures of the empty belt, so that where no part lies is known; none where that is not taught.
    pub empty: Vec<Picture>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            size: 256,
            prototypes: PROTOTYPES,
            crops: 1,
            steps: 160,
            held_out: 0.3,
            folds: 1,
            one_in: promise::ONE_IN,
            register: Register::Auto,
            augmentation: Augmentation::default(),
            seed: 0,
            ablation: Ablation::default(),
            empty: Vec::new(),
        }
    }
}

impl Options {
    /// What every frame's light is brought to.
    pub fn light(&self) -> Option<IntensityStats> {
        self.ablation.light.then(IntensityStats::default)
    }
}
