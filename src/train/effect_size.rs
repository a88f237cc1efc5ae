//! What each evidence is worth, asked of known bads that it has not seen.

use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::examples::{Examples, fit_known};
use super::features::QuantizedFeatures;
use super::head::top_cells;
use super::trainer::{PROBES, Trainer};
use super::view::{Alignment, Known, Normality, distance_cells, top_mean};
use super::weights::{self, DIVIDED_MIN, PER_VIEW};

/// One view's evidences, and what they are asked about.
pub(super) struct Question<'a> {
    pub(super) alignment: Alignment,
    pub(super) normality: &'a Normality,
    /// What heads of half the known bads are fitted on.
    pub(super) examples: &'a Examples,
    /// Held-out good parts.
    pub(super) goods: &'a [QuantizedFeatures],
    /// Known bads with their numbers.
    pub(super) bads: &'a [(usize, QuantizedFeatures)],
}

/// How far each of a view's evidences sets known bads apart from held-out good parts.
#[derive(Default)]
pub(super) struct EffectSizes {
    /// In the order of [`weights`].
    pub(super) effects: [Option<f64>; PER_VIEW],
    /// What was learnt from each half of the known bads; none where they are few.
    pub(super) halves: Vec<Known>,
}

impl EffectSizes {
    /// What is taught from known bads is fitted on one half of them and asked about the other half.
    pub(super) fn measure(trainer: &Trainer<'_>, question: &Question<'_>, rng: &mut ChaCha8Rng) -> Self {
        let (space, examples) = (&trainer.space, question.examples);
        let deviations = |value: &(dyn Fn(&QuantizedFeatures) -> f32 + Sync), tests: &[&QuantizedFeatures]| {
            let goods: Vec<f32> = question.goods.par_iter().map(value).collect();
            let bads: Vec<f32> = tests.par_iter().map(|codes| value(codes)).collect();
            weights::deviations(&goods, &bads)
        };
        let count = distance_cells(space.cells());
        let all: Vec<&QuantizedFeatures> = question.bads.iter().map(|(_, codes)| codes).collect();
        let normal = deviations(&|codes| top_mean(&question.normality.map(space, codes), count), &all);
        if trainer.bad.len() < DIVIDED_MIN {
            return Self { effects: [weights::effect(normal), None, None], halves: Vec::new() };
        }
        let (mut local, mut overall, mut halves) = (Vec::new(), Vec::new(), Vec::new());
        for half in 0..2 {
            let taught = fit_known(
                trainer,
                "weighing the evidence",
                trainer.options.steps / 3,
                examples,
                |b| b % 2 == half,
                rng,
            );
            let known =
                Known::measure(space, taught, question.alignment, &examples.good[..examples.good.len().min(PROBES)]);
            let unseen: Vec<&QuantizedFeatures> =
                question.bads.iter().filter(|(b, _)| b % 2 != half).map(|(_, codes)| codes).collect();
            let count = top_cells(space.cells());
            local.extend(deviations(&|codes| top_mean(&known.map(space, codes), count), &unseen));
            overall.extend(deviations(&|codes| known.overall.score(space, codes), &unseen));
            halves.push(known);
        }
        let effects = [weights::effect(normal), weights::effect(local), weights::effect(overall)];
        Self { effects, halves }
    }
}
