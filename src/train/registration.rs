//! Whether parts are brought into line before they are looked at, and with what.

use std::sync::Arc;

use rayon::prelude::*;

use super::options::Register;
use super::picture::ImageCache;
use super::progress::Progress;
use crate::error::{Error, ErrorKind, Result};
use crate::inspect::recipe::Standard;
use crate::inspect::register::{self, Aligner, Grey, Registration, as_they_lie, mean_of};
use crate::stats;

/// Pictures that the mean good part is taken of, at most.
const ALIGNED: usize = 64;
/// A median correlation of good parts with their mean below this is no likeness.
const LIKENESS_MIN: f32 = 0.5;
/// A part counts as found within this many deviations of good parts' correlations.
const GATE: f32 = 6.0;

/// Parts are brought into line without being asked for where that takes away this share of what the median good part
/// lacks in correlation with the mean one, and leaves it above a least correlation.
const GAIN: f32 = 0.4;
const ALIKE_MIN: f32 = 0.8;

/// What good parts are brought into line with, and from which correlation on.
pub(super) fn registration(
    good: &ImageCache<'_>,
    when: Register,
    progress: &dyn Progress,
) -> Result<Option<Arc<Aligner>>> {
    if when == Register::Never {
        return Ok(None);
    }
    let count = good.len().min(ALIGNED);
    progress.stage("bringing parts into line", count as u64);
    let pictures = (0..count)
        .into_par_iter()
        .map(|n| {
            let frame = good.part(n * good.len() / count)?;
            progress.tick();
            Ok(Grey::of(&frame, &mut register::Scratch::default()))
        })
        .collect::<Result<Vec<Grey>>>()?;
    let unlike = |median: f32| {
        let message = format!(
            "the good pictures do not show parts that can be brought into line (median correlation with their mean \
             {median:.2}, {LIKENESS_MIN} is the least): teach without --register=always"
        );
        Error::new(ErrorKind::Refused, message)
    };
    let found = mean_of(&pictures);
    let (Some((mean, correlations)), Some(lying)) = (found, as_they_lie(&pictures)) else {
        return if when == Register::Auto { Ok(None) } else { Err(unlike(0.0)) };
    };
    let Standard { mean: usual, std } = Standard::of(&correlations);
    let median = |of: &[f32]| stats::upper_median(&mut of.to_vec()).unwrap_or(0.0);
    let (before, after) = (median(&lying), median(&correlations));
    log::debug!("median correlation with the mean good part {before:.4}, brought into line {after:.4}");
    match when {
        Register::Auto if after < ALIKE_MIN || 1.0 - after > (1.0 - GAIN) * (1.0 - before) => return Ok(None),
        Register::Always if after < LIKENESS_MIN => return Err(unlike(after)),
        _ => {}
    }
    let gate = (usual - GATE * std).max(LIKENESS_MIN / 2.0);
    Ok(Some(Arc::new(Aligner::new(Registration::new(&mean, gate)))))
}
