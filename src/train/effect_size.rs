//! What each evidence is worth, asked of known bads that it has not seen.

use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::features::Codes;
use super::head::top_cells;
use super::trainer::{Examples, PROBES, Trainer};
use super::view::{Alignment, Known, Normality, distance_cells, top_mean};
use super::weights::{self, DIVIDED_MIN, PER_VIEW};

impl Trainer<'_> {
    /// How far each of a view's evidences sets known bads (`tests`, with their numbers) apart from held-out goods.
    ///
    /// What is taught from known bads is fitted on one half of them and asked about the other half; both come along.
    pub(super) fn effects(
        &self,
        alignment: Alignment,
        normality: &Normality,
        examples: &Examples,
        held: &[Codes],
        tests: &[(usize, Codes)],
        rng: &mut ChaCha8Rng,
    ) -> ([Option<f64>; PER_VIEW], Vec<Known>) {
        let space = &self.space;
        let deviations = |value: &(dyn Fn(&Codes) -> f32 + Sync), tests: &[&Codes]| {
            let goods: Vec<f32> = held.par_iter().map(value).collect();
            let bads: Vec<f32> = tests.par_iter().map(|codes| value(codes)).collect();
            weights::deviations(&goods, &bads)
        };
        let count = distance_cells(space.cells());
        let all: Vec<&Codes> = tests.iter().map(|(_, codes)| codes).collect();
        let normal = deviations(&|codes| top_mean(&normality.map(space, codes), count), &all);
        if self.bad.len() < DIVIDED_MIN {
            return ([weights::effect(normal), None, None], Vec::new());
        }
        let (mut local, mut overall, mut halves) = (Vec::new(), Vec::new(), Vec::new());
        for half in 0..2 {
            let taught = self.known("weighing the evidence", self.options.steps / 3, examples, |b| b % 2 == half, rng);
            let known = Known::measure(space, taught, alignment, &examples.good[..examples.good.len().min(PROBES)]);
            let unseen: Vec<&Codes> = tests.iter().filter(|(b, _)| b % 2 != half).map(|(_, codes)| codes).collect();
            let count = top_cells(space.cells());
            local.extend(deviations(&|codes| top_mean(&known.map(space, codes), count), &unseen));
            overall.extend(deviations(&|codes| known.overall.score(space, codes), &unseen));
            halves.push(known);
        }
        ([weights::effect(normal), weights::effect(local), weights::effect(overall)], halves)
    }
}
