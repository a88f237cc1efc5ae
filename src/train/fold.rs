//! Folds: which good pictures are fitted on and which are held out.

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::features::QuantizedFeatures;
use super::label_noise::SuspectedLabel;
use super::picture::ImageCache;

/// Good pictures that are fitted on, at most: their features stay in memory.
const GOOD_KEPT: usize = 512;

/// Good pictures by their numbers, both in order.
pub(super) struct Fold {
    /// To fit on.
    pub(super) fit: Vec<usize>,
    /// To measure standardisation and threshold on.
    pub(super) held: Vec<usize>,
}

/// A fold without its outliers, and the features that looking for them gave.
pub(super) struct ScreenedFold {
    /// Good pictures to fit on.
    pub(super) fit: Vec<usize>,
    /// Good pictures that are held out.
    pub(super) held: Vec<usize>,
    /// Features of the good pictures to fit on, full images.
    pub(super) good: Vec<QuantizedFeatures>,
    /// Of the bad ones.
    pub(super) bad: Vec<QuantizedFeatures>,
    /// Of the first few held-out ones.
    pub(super) probes: Vec<QuantizedFeatures>,
    /// Pictures that a person should look at again.
    pub(super) suspects: Vec<SuspectedLabel>,
    /// What the technician should know.
    pub(super) warnings: Vec<String>,
}

/// Good pictures to fit on and to hold out, whole groups on one side; `folds` times, none held out twice, or as often as
/// there are enough.
pub(super) fn split(good: &ImageCache<'_>, share: f64, folds: usize, rng: &mut ChaCha8Rng) -> Vec<Fold> {
    let mut groups: std::collections::BTreeMap<&str, Vec<usize>> = std::collections::BTreeMap::new();
    for i in 0..good.len() {
        groups.entry(good.group(i)).or_default().push(i);
    }
    let mut groups: Vec<Vec<usize>> = groups.into_values().collect();
    groups.shuffle(rng);
    let want = ((good.len() as f64 * share).round() as usize).clamp(2, good.len() - 2);
    let mut splits = Vec::new();
    let mut from = 0;
    while splits.len() < folds {
        let mut held = Vec::new();
        let first = from;
        while held.len() < want && from < groups.len() {
            held.extend(&groups[from]);
            from += 1;
        }
        if !splits.is_empty() && held.len() < want {
            break;
        }
        let fit: Vec<usize> = [&groups[..first], &groups[from..]].concat().concat();
        splits.push(bounded(fit, held, good.len(), want, rng));
    }
    splits
}

/// One split in order, and no more to fit on than fit into memory.
fn bounded(mut fit: Vec<usize>, mut held: Vec<usize>, count: usize, want: usize, rng: &mut ChaCha8Rng) -> Fold {
    if fit.len() < 2 {
        // One huge group: there is nothing to keep apart, so split inside it.
        let all: Vec<usize> = (0..count).collect();
        (held, fit) = (all[..want].to_vec(), all[want..].to_vec());
    }
    fit.sort_unstable();
    held.sort_unstable();
    if fit.len() > GOOD_KEPT {
        fit.partial_shuffle(rng, GOOD_KEPT);
        fit.truncate(GOOD_KEPT);
        fit.sort_unstable();
    }
    Fold { fit, held }
}
