//! What heads and image-level classifiers are fitted on, and that fit.

use rand_chacha::ChaCha8Rng;

use super::features::QuantizedFeatures;
use super::head::{FitOptions, Head};
use super::image_classifier::ImageClassifier;
use super::trainer::Trainer;

/// What a head is fitted on; bads with the number of the known bad that they show.
pub(super) struct Examples {
    pub(super) good: Vec<QuantizedFeatures>,
    /// Views of known bads themselves.
    pub(super) real: Vec<(usize, QuantizedFeatures)>,
    /// Their defects in good pictures.
    pub(super) mixed: Vec<(usize, QuantizedFeatures)>,
}

impl Examples {
    pub(super) fn of(good: Vec<QuantizedFeatures>) -> Self {
        Self { good, real: Vec::new(), mixed: Vec::new() }
    }
}

/// Fits a head, and what whole views look like, on the examples of those known bads that `is_taught`.
pub(super) fn fit_known(
    trainer: &Trainer<'_>,
    name: &str,
    steps: usize,
    examples: &Examples,
    is_taught: impl Fn(usize) -> bool,
    rng: &mut ChaCha8Rng,
) -> (Head, ImageClassifier) {
    trainer.progress.stage(name, steps as u64);
    let taught = |views: &[(usize, QuantizedFeatures)]| -> Vec<(usize, QuantizedFeatures)> {
        views.iter().filter(|(b, _)| is_taught(*b)).cloned().collect()
    };
    let (real, mixed) = (taught(&examples.real), taught(&examples.mixed));
    let overall = ImageClassifier::fit(&trainer.space, &examples.good, &real);
    let bad: Vec<QuantizedFeatures> = real.iter().chain(&real).chain(&mixed).map(|(_, codes)| codes.clone()).collect();
    let options = FitOptions { steps, rate: 1e-3, ablation: trainer.options.ablation };
    (Head::fit(&trainer.space, &examples.good, &bad, options, rng, || trainer.progress.tick()), overall)
}
