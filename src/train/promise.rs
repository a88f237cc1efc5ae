//! A threshold with a promise: "at most 1 good part in N is rejected, at 95 % confidence".
//!
//! The promise is an order statistic of the scores of good pictures that the scoring model has not seen: with the
//! threshold just above the k-th smallest of n, the share of later good parts above it is at most `1 / N` with the
//! confidence that a binomial tail gives ([`promise`]), whatever the scores' distribution is. The lowest such
//! threshold is taken, since a higher one lets more defects pass. 1 in 100 takes 299 good pictures, and then the highest
//! of them; 473 allow one of them above it.

use statrs::distribution::{Beta, ContinuousCDF};

use crate::inspect::recipe::{Promise, Standard};

/// N of "at most 1 in N" unless another is asked for.
pub const ONE_IN: u32 = 100;
/// How sure a promise is.
pub const CONFIDENCE: f64 = 0.95;
/// A threshold that a few scores hold so many times further away is theirs alone. Among 50 good parts whose scores fall
/// off exponentially there are such ones in 2 % of the training runs; at twice, in 17 %.
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
/// "Handbook of Mathematical Functions", 26.2.23. Thresholds of recipes are made of its very bits, so that a more exact
/// one would move them.
pub(super) fn normal_quantile(p: f64) -> f64 {
    let t = (-2.0 * p.min(0.5).ln()).sqrt();
    let upper = 2.515_517 + t * (0.802_853 + t * 0.010_328);
    let lower = 1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308));
    t - upper / lower
}

/// The largest overkill that `held_out` good parts leave possible: "at most this share, with `confidence`".
///
/// The threshold lies just above the `rank`-th smallest held-out score, counted from 1: `rank == held_out` is above all
/// of them, lower ranks reject `held_out - rank` of them. The bound is exact for any distribution of scores (the share
/// above an order statistic follows a Beta law; equal scores only make it safer) as long as later good parts come like
/// the held-out ones. 1 when nothing is promised: rank 0, no held-out part, a confidence of 1.
///
/// Costs microseconds, of thousands of parts, too.
///
/// # Panics
/// If `rank` is above `held_out`, or `confidence` is not in 0..=1.
pub fn promise(held_out: usize, rank: usize, confidence: f64) -> f64 {
    assert!(rank <= held_out, "rank {rank} of {held_out}");
    assert!((0.0..=1.0).contains(&confidence), "confidence {confidence}");
    if rank == 0 || confidence == 1.0 {
        return 1.0;
    }
    let rejected = held_out - rank;
    let doubt = 1.0 - confidence;
    if rejected == 0 {
        return 1.0 - doubt.powf(1.0 / held_out as f64);
    }
    // Clopper-Pearson's upper limit: where seeing so few rejects becomes as rare as the doubt.
    let law = Beta::new((rejected + 1) as f64, rank as f64).expect("both shapes of the law are at least 1");
    law.inverse_cdf(confidence)
}

/// How many held-out good parts a promise of at most `overkill` needs, when the threshold is above all of them.
///
/// 1 in 100 at 95 % needs 299. `None` when no number is enough: `overkill` not above 0 or `confidence` not below 1.
pub fn good_needed(overkill: f64, confidence: f64) -> Option<usize> {
    if !(overkill > 0.0 && confidence < 1.0) {
        return None;
    }
    if overkill >= 1.0 || confidence <= 0.0 {
        return Some(1);
    }
    let exact = (1.0 - confidence).ln() / (-overkill).ln_1p();
    // A count that is exact on paper must not grow by one because of the last bit.
    Some(((exact - 1e-9).ceil() as usize).max(1))
}

/// The lowest rank (counted from 1, by size) of `goods` scores that proves 1 in `one_in`; the highest where none does.
pub fn rank(goods: usize, one_in: u32, confidence: f64) -> usize {
    let overkill = 1.0 / f64::from(one_in);
    // Lower ranks promise less: the ones that prove it are the last of them.
    let ranks: Vec<usize> = (1..=goods).collect();
    let too_low = ranks.partition_point(|&r| promise(goods, r, confidence) > overkill);
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
        overkill_max: promise(sorted.len(), rank, CONFIDENCE),
        confidence: CONFIDENCE,
        held_out: sorted.len(),
        good_needed: good_needed(1.0 / f64::from(one_in), CONFIDENCE).unwrap_or(0),
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

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    /// P(X <= `k`) for X ~ Binomial(`n`, `p`), 0 < p < 1. Summed as logarithms: thousands of parts underflow otherwise.
    fn binomial_at_most(k: usize, n: usize, p: f64) -> f64 {
        let (ln_p, ln_q) = (p.ln(), (-p).ln_1p());
        let mut ln_choose = 0.0;
        let mut total = 0.0;
        for i in 0..=k {
            total += (ln_choose + i as f64 * ln_p + (n - i) as f64 * ln_q).exp();
            ln_choose += ((n - i) as f64).ln() - ((i + 1) as f64).ln();
        }
        total.min(1.0)
    }

    #[test]
    fn promises_by_hand() {
        // Above all 299: 1 - 0.05^(1/299) is just under one in a hundred.
        assert!(close(promise(299, 299, 0.95), 1.0 - 0.05f64.powf(1.0 / 299.0)));
        assert!(promise(299, 299, 0.95) <= 0.01 && promise(298, 298, 0.95) > 0.01);
        // One held-out part: (1 - p) = 0.05.
        assert!(close(promise(1, 1, 0.95), 0.95));
        // Rank 1 of 2, one rejected: P(X <= 1) = 1 - p^2 = 0.05.
        assert!(close(promise(2, 1, 0.95), 0.95f64.sqrt()));
        // Statistical tables: Clopper-Pearson's one-sided 95 % limit for 5 of 100 is 0.10225.
        assert!((promise(100, 95, 0.95) - 0.10225).abs() < 1e-5, "{}", promise(100, 95, 0.95));
        for nothing in [promise(0, 0, 0.95), promise(10, 0, 0.95), promise(10, 10, 1.0)] {
            assert_eq!(nothing, 1.0);
        }
        assert!(promise(20_000, 19_000, 0.95) > 0.05);
    }

    #[test]
    fn promises_by_another_program() {
        // SciPy 1.17, `binomtest(rejected, goods, alternative="less").proportion_ci(0.95, "exact").high`.
        for (goods, rejected, limit) in [
            (2, 1, 0.974_679_434_481),
            (10, 1, 0.394_163_302_437),
            (50, 3, 0.147_837_176_364),
            (100, 5, 0.102_253_377_643),
            (473, 1, 0.009_989_707_474),
            (628, 2, 0.009_990_915_930),
            (1000, 17, 0.025_390_748_776),
            (5000, 40, 0.010_401_291_234),
        ] {
            let found = promise(goods, goods - rejected, 0.95);
            assert!((found - limit).abs() < 1e-10, "{rejected} of {goods}: {found}, not {limit}");
        }
    }

    #[test]
    fn normal_quantiles_by_another_program() {
        // SciPy 1.17, `norm.isf`; within what Abramowitz and Stegun promise.
        for (share, exact) in
            [(0.5, 0.0), (0.1, 1.281_552), (0.05, 1.644_854), (0.01, 2.326_348), (1e-3, 3.090_232), (1e-4, 3.719_016)]
        {
            let found = normal_quantile(share);
            assert!((found - exact).abs() < 4.5e-4, "{found} above which {share}, not {exact}");
        }
    }

    #[test]
    fn good_parts_needed() {
        assert_eq!(good_needed(0.01, 0.95), Some(299));
        assert_eq!(good_needed(0.001, 0.95), Some(2995));
        assert_eq!(good_needed(0.5, 0.5), Some(1));
        assert_eq!(good_needed(0.5, 0.75), Some(2));
        assert_eq!(good_needed(1.0, 0.95), Some(1));
        assert_eq!((good_needed(0.0, 0.95), good_needed(0.01, 1.0), good_needed(f64::NAN, 0.95)), (None, None, None));
    }

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
            1.0 - scores[rank - 1] > promise(goods, rank, CONFIDENCE)
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
        fn a_promise_covers_and_is_tight(held_out in 1usize..400, share in 0.0f64..1.0, confidence in 0.5f64..0.999) {
            let rank = 1 + (share * (held_out - 1) as f64) as usize;
            let p = promise(held_out, rank, confidence);
            prop_assert!((binomial_at_most(held_out - rank, held_out, p) - (1.0 - confidence)).abs() < 1e-6);
            prop_assert!(rank == held_out || p > promise(held_out, rank + 1, confidence));
        }

        #[test]
        fn as_many_good_parts_as_needed_and_no_more(overkill in 0.001f64..0.9, confidence in 0.1f64..0.999) {
            let n = good_needed(overkill, confidence).unwrap();
            prop_assert!(promise(n, n, confidence) <= overkill + 1e-9);
            prop_assert!(n == 1 || promise(n - 1, n - 1, confidence) > overkill);
        }

        #[test]
        fn the_lowest_rank_that_proves_it(goods in 1usize..900, one_in in 2u32..300) {
            let rank = rank(goods, one_in, CONFIDENCE);
            let bound = |r| promise(goods, r, CONFIDENCE) <= 1.0 / f64::from(one_in);
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
