//! The largest model that inspects a part in a given time on the board at hand.
//!
//! Candidates are tried from the largest down: each is taught for a moment on a few of the training run's own pictures, loaded
//! as the device loads it, and timed on whole inspections, with sampling and both views. What is timed is what will run;
//! a model's time does not depend on what it learns.

use std::time::{Duration, Instant};

use super::ablation::Ablation;
use super::options::Options;
use super::picture::Picture;
use super::progress::{Progress, Silent};
use super::run::train;
use crate::error::{Error, ErrorKind, Result};
use crate::inspect::Inspect as _;
use crate::inspect::model::Model;
use crate::nn::backbone::Backbone;

/// Good pictures of a candidate's training run.
const GOODS: usize = 16;
/// Inspections that are timed; the middle one counts.
const TIMED: usize = 7;
/// The smallest side of a model input, and how much smaller each next one is.
const SIDE_MIN: usize = 96;
const SMALLER: f64 = 0.8;
/// Prototypes of a small bank; fewer save next to nothing.
const FEW_PROTOTYPES: usize = 128;

/// What fits.
#[derive(Clone, Debug)]
pub struct Affordable {
    /// The training run's options, with what the budget left of input size, prototypes and crops.
    pub options: Options,
    /// How long an inspection takes with them.
    pub takes: Duration,
}

/// Sides, prototypes and crops to try, the one that loses least first.
///
/// Chosen: further crops gave .002 of AUROC (`docs/EXPERIMENTS.md`), a smaller bank little more, a smaller input loses
/// small defects.
fn candidates(asked: &Options) -> Vec<Options> {
    let mut all = Vec::new();
    let with = |size, prototypes, crops| Options { size, prototypes, crops, ..asked.clone() };
    all.extend((1..=asked.crops).rev().map(|crops| with(asked.size, asked.prototypes, crops)));
    let few = asked.prototypes.min(FEW_PROTOTYPES);
    let mut size = asked.size;
    loop {
        if size != asked.size {
            all.push(with(size, asked.prototypes, 1));
        }
        if few != asked.prototypes {
            all.push(with(size, few, 1));
        }
        let next = (size as f64 * SMALLER).round() as usize;
        if size <= SIDE_MIN {
            return all;
        }
        size = next.max(SIDE_MIN);
    }
}

/// How long an inspection takes with `options`: the median of a few.
fn timed(good: &[Picture], bad: &[Picture], backbone: &Backbone, options: &Options) -> Result<Duration> {
    let brief =
        Options { steps: 1, folds: 1, ablation: Ablation { cutmix: false, ..options.ablation }, ..options.clone() };
    let taught = train(&good[..good.len().min(GOODS)], &bad[..bad.len().min(2)], backbone, &brief, &Silent)?;
    let mut inspector = Model::from_bytes(&taught.bytes, "the recipe being timed")?.inspector()?;
    let frame = good[0].load()?;
    let mut times = Vec::new();
    for _ in 0..=TIMED {
        let start = Instant::now();
        inspector.inspect(&frame)?;
        times.push(start.elapsed());
    }
    // The first one warms up.
    times.remove(0);
    times.sort_unstable();
    Ok(times[TIMED / 2])
}

/// The first of the candidates that inspects one of the `good` pictures within `budget`.
///
/// Cost: a few seconds for each candidate.
///
/// # Errors
/// `Refused` when even the smallest takes longer, with its time; what [`train`] says of the pictures.
pub fn affordable(
    budget: Duration,
    [good, bad]: [&[Picture]; 2],
    backbone: &Backbone,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Affordable> {
    let candidates = candidates(options);
    progress.stage("timing models", candidates.len() as u64);
    let mut takes = Duration::ZERO;
    for options in candidates {
        takes = timed(good, bad, backbone, &options)?;
        progress.tick();
        let Options { size, prototypes, crops, .. } = options;
        log::debug!("size {size}, {prototypes} prototypes, {crops} crops: {takes:.1?}");
        if takes <= budget {
            return Ok(Affordable { options, takes });
        }
    }
    let message = format!(
        "the smallest model takes {:.1} ms here and the budget is {:.1} ms: allow more, or use a faster board",
        takes.as_secs_f64() * 1e3,
        budget.as_secs_f64() * 1e3
    );
    Err(Error::new(ErrorKind::Refused, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_give_up_crops_first_and_detail_last() {
        let asked = Options { size: 150, prototypes: 512, crops: 2, seed: 9, ..Options::default() };
        let all: Vec<_> = candidates(&asked).iter().map(|o| (o.size, o.prototypes, o.crops)).collect();
        let want =
            [(150, 512, 2), (150, 512, 1), (150, 128, 1), (120, 512, 1), (120, 128, 1), (96, 512, 1), (96, 128, 1)];
        assert_eq!(all, want);
        assert!(candidates(&asked).iter().all(|o| o.seed == 9));
        let small = Options { size: 64, prototypes: 100, ..Options::default() };
        assert_eq!(candidates(&small).len(), 1);
    }
}
