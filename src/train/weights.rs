//! How much each evidence counts: as much as it tells known bad parts from good ones that it has not seen.
//!
//! Equal weights let an evidence that knows nothing drown one that knows all (METHOD: a head of .987 beside prototypes of
//! .650 gave .945). The effect of an evidence is how many standard deviations of held-out good parts lie between them
//! and the known bad ones; heads are asked about bads that they were not fitted on. Few bads say little, so the weights
//! are shrunk towards what held on average on other products.

use crate::stats;

/// Normality, known and overall of one view; the full image's come before the zoomed one's.
pub const PER_VIEW: usize = 3;

/// What the weights are without any known bad part. Chosen: where the zoom or a head helps, the known bads say so; without
/// them the full image's normality is the one to trust.
pub const PRIOR: [[f64; PER_VIEW]; 2] = [[1.0, 0.5, 0.25], [0.5, 0.5, 0.25]];

/// So few known bads that no half of them can be asked about the other ([`DIVIDED_MIN`]) count the zoom half as much:
/// its crops then follow what one part showed. magnetic_tile with 1 known, seeds 100 to 102: .871 against .866, normality
/// alone .838.
const ZOOM_OF_FEW: f64 = 0.5;

/// Fewer known bads are not divided: half of them teach a head nothing.
pub const DIVIDED_MIN: usize = 4;

/// Weight of the prior, in known bad parts.
const SHRINK: f64 = 2.0;

/// Effects beyond this do not count more: one gross defect must not silence all other evidences.
const EFFECT_MAX: f64 = 10.0;

/// Each of `bads` in standard deviations of `goods` from their mean; none where it cannot be said.
pub fn deviations(goods: &[f32], bads: &[f32]) -> Vec<f64> {
    let goods = goods.iter().map(|&v| f64::from(v));
    let Some((mean, std)) = stats::mean(goods.clone()).zip(stats::deviation(goods)) else { return Vec::new() };
    let z: Vec<f64> = bads.iter().map(|&b| (f64::from(b) - mean) / std).collect();
    if z.iter().all(|v| v.is_finite()) { z } else { Vec::new() }
}

/// The effect of an evidence: the median of its [`deviations`]; `None` without any.
pub fn effect(mut deviations: Vec<f64>) -> Option<f64> {
    stats::median(&mut deviations)
}

/// Weights from the effects over `bads` known bad parts, for evidences of unit variance taken as independent: in
/// proportion to
/// the effect (Fisher's discriminant with a diagonal covariance), scaled to the prior's mean, shrunk towards it.
///
/// An effect that is not known leaves its weight at the prior.
pub fn weights(effects: [[Option<f64>; PER_VIEW]; 2], bads: usize) -> [[f32; PER_VIEW]; 2] {
    let zoom = if bads < DIVIDED_MIN { ZOOM_OF_FEW } else { 1.0 };
    let prior = [PRIOR[0], PRIOR[1].map(|w| w * zoom)];
    let known: Vec<f64> = effects.iter().flatten().flatten().map(|e| e.clamp(0.0, EFFECT_MAX)).collect();
    let mean = known.iter().sum::<f64>() / known.len().max(1) as f64;
    let all = prior.as_flattened();
    let scale = all.iter().sum::<f64>() / all.len() as f64 / mean;
    let n = bads as f64;
    let weight = |effect: Option<f64>, prior: f64| match effect.filter(|_| mean > 0.0) {
        Some(e) => ((n * e.clamp(0.0, EFFECT_MAX) * scale + SHRINK * prior) / (n + SHRINK)) as f32,
        None => prior as f32,
    };
    std::array::from_fn(|v| std::array::from_fn(|i| weight(effects[v][i], prior[v][i])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effect_is_counted_in_deviations_of_good_parts() {
        let goods = [1.0, 3.0, 2.0, 2.0, 0.0, 4.0];
        let deviation = 2.0f64.sqrt();
        for (bads, expected) in [(&[4.0f32][..], 2.0), (&[2.0, 6.0], 2.0), (&[9.0, 1.0, 0.0], -1.0)] {
            let effect = effect(deviations(&goods, bads)).unwrap();
            assert!((effect - expected / deviation).abs() < 1e-6, "{bads:?}: {effect}");
        }
        assert_eq!(effect(deviations(&goods, &[])), None);
        assert_eq!(effect(deviations(&[2.0, 2.0, 2.0], &[2.0])), None, "an evidence that says the same of every part");
    }

    #[test]
    fn useless_evidences_fade_as_known_bads_grow_and_few_change_little() {
        let effects = [[Some(3.0), Some(0.0), Some(-2.0)], [Some(1.0), None, Some(0.0)]];
        let few = weights(effects, 1);
        let many = weights(effects, 50);
        assert!(few[0][1] > 0.3 && many[0][1] < 0.05 && many[0][2] < 0.05, "{few:?} {many:?}");
        assert!(many[0][0] > 2.5 * many[1][0] && many[0][0] < 3.5 * many[1][0]);
        assert_eq!(many[1][1], PRIOR[1][1] as f32, "nothing is known of it");
        assert_eq!(few[1][1], (ZOOM_OF_FEW * PRIOR[1][1]) as f32, "one part does not say where to look");
        let prior = PRIOR.map(|view| view.map(|p| p as f32));
        assert_eq!(weights([[None; PER_VIEW]; 2], 10), prior);
        assert_eq!(weights([[Some(-1.0); PER_VIEW]; 2], 10), prior, "nothing helps: nobody knows better");
        let gross = weights([[Some(400.0), Some(2.0), None], [None; PER_VIEW]], 10);
        assert!(gross[0][1] > 0.15 * gross[0][0], "{gross:?}");
    }
}
