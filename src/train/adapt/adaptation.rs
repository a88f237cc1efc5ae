//! An adaptation under way, and the fit of its heads.

use rand_chacha::ChaCha8Rng;

use crate::inspect::recipe::Recipe;
use crate::nn::onnx::Graph;
use crate::train::features::QuantizedFeatures;
use crate::train::head::{FitOptions, Head, Views};
use crate::train::replay::ReplayMemory;
use crate::train::trainer::Trainer;

/// Steps of a head that goes on learning, against those of one that begins.
const AGAIN: f64 = 0.4;
/// Of a first head for a recipe that knew no defect: what is normal has been learnt elsewhere.
const FIRST: f64 = 0.6;
/// The rate at which a head goes on learning, against 1e-3 of one that begins.
const RATE_AGAIN: f64 = 5e-4;

/// An adaptation under way.
pub(super) struct Adaptation<'a> {
    /// With the new bads alone.
    pub(super) trainer: Trainer<'a>,
    /// Fingerprints of the new bads.
    pub(super) prints: Vec<String>,
    pub(super) recipe: Recipe,
    pub(super) kept: ReplayMemory,
    pub(super) graph: Graph,
}

impl Adaptation<'_> {
    /// A view's head, fitted on `bads` from where it is, for a `share` of the steps.
    pub(super) fn head(
        &self,
        name: &str,
        view: usize,
        bads: &[QuantizedFeatures],
        share: f64,
        rng: &mut ChaCha8Rng,
    ) -> Head {
        let (space, goods) = (&self.trainer.space, &self.kept.goods[view]);
        let old = self.kept.heads.as_ref().map(|heads| &heads[view]);
        let steps = self.trainer.options.steps as f64 * share * if old.is_some() { AGAIN } else { FIRST };
        let options = FitOptions {
            steps: (steps.round() as usize).max(1),
            rate: if old.is_some() { RATE_AGAIN } else { 1e-3 },
            ablation: self.trainer.options.ablation,
        };
        self.trainer.progress.stage(name, options.steps as u64);
        let tick = || self.trainer.progress.tick();
        match old {
            Some(head) => {
                let old = self.kept.real[view].iter().chain(&self.kept.mixed[view]);
                let remember: Vec<&QuantizedFeatures> = goods.iter().chain(old.map(|(_, codes)| codes)).collect();
                head.refit(space, &Views { good: goods, bad: bads, remember: &remember }, options, rng, tick)
            }
            None => Head::fit(space, goods, bads, options, rng, tick),
        }
    }

    /// Kept views of old defects and these `new` ones, of which at least every third is new.
    pub(super) fn rehearsed(&self, view: usize, new: Vec<QuantizedFeatures>) -> Vec<QuantizedFeatures> {
        let old = real(&self.kept.real[view]).chain(real(&self.kept.real[view])).chain(real(&self.kept.mixed[view]));
        let mut all: Vec<QuantizedFeatures> = old.cloned().collect();
        let times = (all.len() / 2).div_ceil(new.len()).max(1);
        all.extend(std::iter::repeat_n(new, times).flatten());
        all
    }
}

/// The codes without their bads' numbers.
pub(super) fn real(views: &[(usize, QuantizedFeatures)]) -> impl Iterator<Item = &QuantizedFeatures> {
    views.iter().map(|(_, codes)| codes)
}
