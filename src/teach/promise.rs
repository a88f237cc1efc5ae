//! A threshold with a promise: "at most 1 good part in N is rejected, at 95 % confidence".
//!
//! The promise is an order statistic of the scores of good pictures that the scoring model has not seen: with the
//! threshold just above the k-th smallest of n, the share of later good parts above it is at most `1 / N` with the
//! confidence that a binomial tail gives ([`metrics::promise`]), whatever the scores' distribution is. The lowest such
//! threshold is taken, since a higher one lets more defects pass. 1 in 100 takes 299 good pictures, and then the highest
//! of them; 473 allow one of them above it.

use super::metrics;
use crate::inspect::recipe::{Promise, Standard};

/// N of "at most 1 in N" unless another is asked for.
pub const ONE_IN: u32 = 100;
/// How sure a promise is.
pub const CONFIDENCE: f64 = 0.95;
/// A threshold that a few scores hold so many times further away is theirs alone. Among 50 good parts whose scores fall
/// off exponentially there are such ones in 2 % of the lessons; at twice, in 17 %.
const RAISED: f32 = 3.0;

/// A threshold and what it promises.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Promised {
    /// Reject at this score and above.
    pub threshold: f32,
    /// What that promises about good parts.
    pub promise: Promise,
}

/// Deviations of a normal distribution above which 5 % lie.
const Z_CONFIDENCE: f64 = 1.644_854;
/// A dozen good parts or fewer ask for more deviations than that; any defect but the grossest would pass.
const LEAST_MAX: f64 = 3.5;

/// Standard deviations above the mean that a normal distribution known from `goods` values needs, so that with 95 %
/// confidence at most 1 in `one_in` lies above: the one-sided tolerance limit (Natrella, "Experimental Statistics",
/// 1963, 2-14), 3.5 at most. 2.80 of 60 and 2.52 of 300 for 1 in 100.
pub fn least(goods: usize, one_in: u32) -> f32 {
    let (n, z) = (goods as f64, normal_quantile(1.0 / f64::from(one_in)));
    let a = 1.0 - Z_CONFIDENCE * Z_CONFIDENCE / (2.0 * (n - 1.0));
    let b = z * z - Z_CONFIDENCE * Z_CONFIDENCE / n;
    let limit = (z + (z * z - a * b).sqrt()) / a;
    // Of one or two values there is none.
    (if goods > 2 { limit.min(LEAST_MAX) } else { LEAST_MAX }) as f32
}

/// Deviations above which a share of `p` (up to a half) of a normal distribution lies, to 0.0005: Abramowitz and Stegun,
/// "Handbook of Mathematical Functions", 26.2.23.
pub(super) fn normal_quantile(p: f64) -> f64 {
    let t = (-2.0 * p.min(0.5).ln()).sqrt();
    let upper = 2.515_517 + t * (0.802_853 + t * 0.010_328);
    let lower = 1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308));
    t - upper / lower
}

/// The lowest rank (counted from 1, by size) of `goods` scores that proves 1 in `one_in`; the highest where none does.
pub fn rank(goods: usize, one_in: u32, confidence: f64) -> usize {
    let overkill = 1.0 / f64::from(one_in);
    // Lower ranks promise less: the ones that prove it are the last of them.
    let ranks: Vec<usize> = (1..=goods).collect();
    let too_low = ranks.partition_point(|&r| metrics::promise(goods, r, confidence) > overkill);
    (too_low + 1).min(goods)
}

/// The lowest threshold, not below `least`, that promises 1 in `one_in` by the `scores` of good pictures; where so few
/// cannot prove that, the one above all of them, with the tightest promise that they can.
pub fn promised(scores: &[f32], one_in: u32, least: f32) -> Promised {
    let mut sorted = scores.to_vec();
    sorted.sort_by(f32::total_cmp);
    let rank = rank(sorted.len(), one_in, CONFIDENCE);
    // Just above that score: the promise is about the share at the threshold and above.
    let above = |score: f32| score + 1e-3 * score.abs().max(1.0);
    let threshold = rank.checked_sub(1).map_or(least, |r| above(sorted[r]).max(least));
    let promise = Promise {
        overkill_max: metrics::promise(sorted.len(), rank, CONFIDENCE),
        confidence: CONFIDENCE,
        held_out: sorted.len(),
        good_needed: metrics::good_needed(1.0 / f64::from(one_in), CONFIDENCE).unwrap_or(0),
        one_in,
    };
    Promised { threshold, promise }
}

/// The fewest of the highest `scores`, by their places, that alone hold the threshold up, and how many times nearer to the
/// usual good part it would be without them; `None` where that takes more than one in twenty (one may always go).
///
/// Nearer in the recipe's own measure: the others' mean and deviation are taken anew.
pub fn raised_by(scores: &[f32], one_in: u32, least: f32) -> Option<(Vec<usize>, f32)> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let threshold = promised(scores, one_in, least).threshold;
    (1..=(scores.len() / 20).max(1)).take_while(|few| few + 2 <= scores.len()).find_map(|few| {
        let others: Vec<f32> = order[few..].iter().map(|&i| scores[i]).collect();
        let usual = Standard::of(&others);
        let others: Vec<f32> = others.iter().map(|&s| usual.z(s)).collect();
        let times = usual.z(threshold) / promised(&others, one_in, least).threshold;
        (times >= RAISED).then(|| (order[..few].to_vec(), times))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn ranks_by_the_book() {
        // Wilks (1941): 299 for one in a hundred at 95 % above the highest, 473 above all but one, 628 above all but two.
        for (goods, below) in [(1, 0), (298, 0), (299, 0), (472, 0), (473, 1), (627, 1), (628, 2)] {
            assert_eq!(rank(goods, 100, 0.95), goods - below, "{goods}");
        }
        assert_eq!((rank(0, 100, 0.95), rank(59, 20, 0.95), rank(93, 20, 0.95)), (0, 59, 92));
    }

    #[test]
    fn tolerance_limits_by_the_book() {
        // Hahn and Meeker, "Statistical Intervals", table of one-sided normal tolerance factors, 95 %: exact ones.
        for (goods, one_in, exact) in
            [(30, 100, 3.064), (60, 100, 2.807), (100, 100, 2.684), (50, 20, 2.065), (50, 10, 1.646)]
        {
            let limit = f64::from(least(goods, one_in));
            assert!((limit - exact).abs() < 0.02, "{limit} for {goods} and 1 in {one_in}, {exact} by the book");
        }
        assert_eq!([0, 1, 2, 3, 9].map(|goods| least(goods, 100)), [3.5; 5]);
        assert!((2..2000).all(|goods| least(goods + 1, 100) <= least(goods, 100)));
        assert!((normal_quantile(0.01) - 2.326_35).abs() < 5e-4 && normal_quantile(0.5).abs() < 5e-4);
    }

    #[test]
    fn a_score_that_alone_raises_the_threshold_is_found() {
        // Of few scores one that stands out widens the very deviation that it is measured by: 11 allow 3.0 at most.
        for count in [11u16, 60] {
            let mut scores: Vec<f32> = (0..count).map(|i| f32::from(i) / f32::from(count)).collect();
            let measured = |scores: &[f32]| {
                let usual = Standard::of(scores);
                raised_by(&scores.iter().map(|&s| usual.z(s)).collect::<Vec<_>>(), 100, 3.0)
            };
            assert_eq!(measured(&scores), None);
            scores[7] = 6.0;
            let (alone, times) = measured(&scores).unwrap();
            assert!(alone == [7] && times > 4.0, "{alone:?} {times}");
            // Three may go of sixty and one of eleven: more are a spread, and no exception.
            scores[5] = 5.9;
            assert_eq!(measured(&scores).map(|found| found.0), (count == 60).then(|| vec![7, 5]));
            (scores[6], scores[8]) = (5.8, 5.7);
            assert_eq!(measured(&scores), None);
        }
        assert_eq!((raised_by(&[], 100, 3.0), raised_by(&[2.0, 9.0], 100, 3.0)), (None, None));
    }

    /// How often the highest of exponential scores is called an exception.
    #[test]
    fn the_highest_good_part_is_seldom_an_exception() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut one = || {
            let scores: Vec<f32> = (0..50).map(|_| -rng.random_range(1e-6..1.0f32).ln()).collect();
            let usual = Standard::of(&scores);
            raised_by(&scores.iter().map(|&s| usual.z(s)).collect::<Vec<_>>(), 100, 3.0).is_some()
        };
        let called = (0..1000).filter(|_| one()).count();
        assert!((1..=40).contains(&called), "{called} of 1,000");
    }

    #[test]
    fn what_cannot_be_proved_is_not_promised() {
        let scores: Vec<f32> = (0..298u16).map(f32::from).collect();
        let few = promised(&scores, 100, 3.0);
        assert!(few.threshold > 297.0 && few.promise.proved() == 99 && few.promise.good_needed == 299, "{few:?}");
        let asked = promised(&scores, 50, 3.0);
        assert!(asked.threshold < 297.0 && asked.promise.proved() >= 50, "{asked:?}");
        assert_eq!(promised(&scores, 100, 400.0).threshold, 400.0);
        let nothing = promised(&[], 100, 3.0);
        assert_eq!((nothing.threshold, nothing.promise.proved()), (3.0, 1));
    }

    /// How often the share of good parts above the threshold is larger than what was promised, over `runs` samples of
    /// `goods` scores, uniform ones: the share above a threshold t is then 1 - t, for every distribution alike.
    fn broken(goods: usize, one_in: u32, runs: u32) -> f64 {
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        let broken = (0..runs).filter(|_| {
            let mut scores: Vec<f64> = (0..goods).map(|_| rng.random()).collect();
            scores.sort_by(f64::total_cmp);
            let rank = rank(goods, one_in, CONFIDENCE);
            1.0 - scores[rank - 1] > metrics::promise(goods, rank, CONFIDENCE)
        });
        broken.count() as f64 / f64::from(runs)
    }

    #[test]
    fn a_promise_is_broken_one_time_in_twenty() {
        for (goods, one_in) in [(40, 100), (299, 100), (500, 100), (300, 20), (90, 10)] {
            let share = broken(goods, one_in, 4000);
            assert!((0.035..0.063).contains(&share), "{goods} goods, 1 in {one_in}: broken {share}");
        }
    }

    proptest! {
        #[test]
        fn the_lowest_rank_that_proves_it(goods in 1usize..900, one_in in 2u32..300) {
            let rank = rank(goods, one_in, CONFIDENCE);
            let bound = |r| metrics::promise(goods, r, CONFIDENCE) <= 1.0 / f64::from(one_in);
            prop_assert!(bound(rank) || rank == goods);
            prop_assert!(rank == 1 || !bound(rank - 1));
        }

        #[test]
        fn more_scores_never_promise_less(scores in proptest::collection::vec(-5.0f32..9.0, 1..400), one_in in 2u32..200) {
            let all = promised(&scores, one_in, -9.0);
            let fewer = promised(&scores[1..], one_in, -9.0);
            prop_assert!(all.promise.proved().min(one_in) >= fewer.promise.proved().min(one_in));
            let rejected = scores.iter().filter(|&&s| s >= all.threshold).count();
            prop_assert!(rejected <= scores.len() - rank(scores.len(), one_in, CONFIDENCE));
        }
    }
}
