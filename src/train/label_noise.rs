//! Which pictures do not belong where they were put: a bad part among the good ones, another product among either.
//!
//! Measured on four real sets (200 good and 10 bad pictures of castings, solar cells, magnetic tiles and bottles), in
//! spreads above the middle of good pictures:
//!
//! | | peak | bulk | nearest good picture, in medians |
//! |---|---|---|---|
//! | good | up to 6.6 | up to 4.1 | up to 2.0 |
//! | bad, of the same product | up to 28 | up to 14, one broken bottle 36 | up to 4.6 |
//! | of another product | 12 to 48 | 20 to 80 | 3.0 to 9.2 |
//!
//! So a bad part among the good ones is found when its defect is gross, and never at the price of a good one; and a
//! whole folder of another product is told from gross defects by its number, since one picture alone is not.

use serde::Serialize;

use super::inventory::listed;
use crate::error::{Error, ErrorKind, Result};
use crate::stats;

/// A good picture whose most deviating cells are so many spreads above the others' is left out.
const PEAK_MAX: f32 = 7.0;
/// A good picture that deviates so much all over is left out.
const BULK_MAX: f32 = 10.0;
/// A bad picture that deviates so much all over …
const FOREIGN_BULK: f32 = 18.0;
/// … and lies so far from every good picture, in medians of the good ones' distances, shows no part of this product.
const FOREIGN_NEAREST: f32 = 2.5;
/// Two groups of good pictures so far apart, in medians of the distances to the next picture, are two products.
const GROUPS_APART: f32 = 2.2;
/// Fewer good pictures do not say what is far above the others.
const GOOD_ENOUGH: usize = 20;
/// The share of good pictures that is left out at most (two always may be): more are no exceptions, and a person must
/// decide.
const LEFT_OUT_MAX: f64 = 0.05;

/// Why a picture should be looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Given as good, and far from all other good ones.
    LooksBad,
    /// Given as bad, and scored like a good part by heads that have not seen it.
    LooksGood,
    /// Given as bad, and like no part of this product anywhere.
    AnotherProduct,
    /// Given as good and held out, and alone the reason for a high threshold.
    RaisesThreshold,
}

/// A picture that does not look like what it was given as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SuspectedLabel {
    /// What it is called.
    pub file: String,
    /// Why it should be looked at again.
    pub why: Why,
    /// Whether the training run left it out.
    pub left_out: bool,
}

/// What one picture looks like to templates that were not fitted on it.
#[derive(Clone, Debug)]
pub(super) struct Look {
    /// What it is called.
    pub(super) name: String,
    /// The mean of its most deviating cells: a defect.
    pub(super) peak: f32,
    /// The middle cell's deviation: another product, another light.
    pub(super) bulk: f32,
    /// Mean features of its blocks.
    pub(super) blocks: Vec<f32>,
}

/// What stands out among the pictures of a training run.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Outliers {
    /// Good pictures to leave out, by their place.
    pub(super) left_out: Vec<usize>,
    /// Pictures that a person should look at again.
    pub(super) suspects: Vec<SuspectedLabel>,
    /// What the technician should know.
    pub(super) warnings: Vec<String>,
}

/// Looks for pictures that do not belong.
///
/// # Errors
/// `Refused` when half of the bad pictures, and two or more, show another product than the good ones.
pub(super) fn find(good: &[Look], bad: &[Look]) -> Result<Outliers> {
    let mut found = Outliers::default();
    if good.len() < GOOD_ENOUGH {
        return Ok(found);
    }
    let foreign = foreign(good, bad);
    if foreign.len() >= 2 && 2 * foreign.len() >= bad.len() {
        return Err(Error::new(
            ErrorKind::Refused,
            format!(
                "{} of {} bad pictures show another product than the good ones, or another view of it: {}; give bad parts \
                 of the product that is taught, as the same camera sees them (a part so ruined need not be taught: what \
                 looks like no good part anywhere is rejected anyhow)",
                foreign.len(),
                bad.len(),
                listed(foreign.iter().map(|l| l.name.as_str()))
            ),
        ));
    }
    if !foreign.is_empty() {
        let names = listed(foreign.iter().map(|l| l.name.as_str()));
        found.warnings.push(format!(
            "look at {names} again: no place there looks like a good part; leave out what shows another product"
        ));
    }
    let suspect = |l: &Look, why, left_out| SuspectedLabel { file: l.name.clone(), why, left_out };
    found.suspects.extend(foreign.iter().map(|l| suspect(l, Why::AnotherProduct, false)));
    found.warnings.extend(groups(good));
    let outliers = outliers(good);
    if outliers.is_empty() {
        return Ok(found);
    }
    let names = listed(outliers.iter().map(|&i| good[i].name.as_str()));
    let is_few = outliers.len() <= ((good.len() as f64 * LEFT_OUT_MAX) as usize).max(2);
    found.warnings.push(if is_few {
        format!(
            "look at {names} again: far from all other good pictures, so left out of the lesson, which promises nothing \
             about parts like that; move what is bad to the bad ones, and add more good pictures like what is good"
        )
    } else {
        let (many, all) = (outliers.len(), good.len());
        format!(
            "look at {names} again: {many} of {all} good pictures are far from the others, too many to be left out; move \
             what is bad to the bad ones, and teach again"
        )
    });
    found.suspects.extend(outliers.iter().map(|&i| suspect(&good[i], Why::LooksBad, is_few)));
    if is_few {
        found.left_out = outliers;
    }
    Ok(found)
}

/// Good pictures far above the others, by their place.
///
/// The modified z-score of Iglewicz and Hoaglin (1993), but with the spread of the upper half alone, since deviations
/// are skewed, and twice their limit of 3.5, since a good picture that is left out weakens the promise.
fn outliers(good: &[Look]) -> Vec<usize> {
    let of = |value: fn(&Look) -> f32| above(good.iter().map(value), good.iter().map(value));
    let (peak, bulk) = (of(|l| l.peak), of(|l| l.bulk));
    (0..good.len()).filter(|&i| peak[i] > PEAK_MAX || bulk[i] > BULK_MAX).collect()
}

/// Bad pictures of another product.
fn foreign<'a>(good: &[Look], bad: &'a [Look]) -> Vec<&'a Look> {
    let bulk = above(good.iter().map(|l| l.bulk), bad.iter().map(|l| l.bulk));
    let next =
        |i: usize| (0..good.len()).filter(|&j| j != i).map(|j| distance(&good[i], &good[j])).fold(f32::MAX, f32::min);
    let usual = median((0..good.len()).map(next));
    let nearest = |l: &Look| good.iter().map(|g| distance(l, g)).fold(f32::MAX, f32::min);
    let is_foreign = |(l, b): &(&Look, f32)| *b > FOREIGN_BULK && nearest(l) > FOREIGN_NEAREST * usual;
    bad.iter().zip(bulk).filter(is_foreign).map(|(l, _)| l).collect()
}

/// A word about two groups of good pictures that have nothing between them.
///
/// The longest edge of the minimum spanning tree (Prim), where both sides are more than exceptions.
fn groups(good: &[Look]) -> Option<String> {
    let n = good.len();
    let mut nearest: Vec<(f32, usize)> = good.iter().map(|g| (distance(g, &good[0]), 0)).collect();
    let mut edges: Vec<(f32, usize, usize)> = Vec::with_capacity(n - 1);
    let mut outside: Vec<usize> = (1..n).collect();
    while let Some(at) = (0..outside.len()).min_by(|&a, &b| nearest[outside[a]].0.total_cmp(&nearest[outside[b]].0)) {
        let next = outside.swap_remove(at);
        edges.push((nearest[next].0, nearest[next].1, next));
        for &i in &outside {
            let d = distance(&good[next], &good[i]);
            if d < nearest[i].0 {
                nearest[i] = (d, next);
            }
        }
    }
    let usual = median(edges.iter().map(|e| e.0));
    let mut long: Vec<usize> = (0..edges.len()).filter(|&e| edges[e].0 > GROUPS_APART * usual).collect();
    long.sort_by(|&a, &b| edges[b].0.total_cmp(&edges[a].0));
    for cut in long {
        // Edges come in the order in which the tree grew: a child's parent is placed before it.
        let mut side = vec![false; n];
        for (e, &(_, parent, child)) in edges.iter().enumerate() {
            side[child] = e == cut || side[parent];
        }
        let names = |is: bool| good.iter().zip(&side).filter(move |(_, s)| **s == is).map(|(g, _)| g.name.as_str());
        let (one, other) = (names(false).count(), names(true).count());
        if one.min(other) > ((n as f64 * LEFT_OUT_MAX) as usize).max(2) {
            return Some(format!(
                "the good pictures fall into two groups that look like two products: {one} ({}) and {other} ({}); teach a \
                 recipe for each unless they are meant to be one",
                listed(names(false)),
                listed(names(true))
            ));
        }
    }
    None
}

/// How far each of `values` lies above the middle of `usual`, in spreads of what lies above it there.
fn above(usual: impl Iterator<Item = f32>, values: impl Iterator<Item = f32>) -> Vec<f32> {
    let usual: Vec<f32> = usual.collect();
    let middle = median(usual.iter().copied());
    let spread = 1.4826 * median(usual.iter().map(|v| v - middle).filter(|d| *d > 0.0));
    let spread = spread.max(0.02 * middle.abs()).max(1e-6);
    values.map(|v| (v - middle) / spread).collect()
}

fn median(values: impl Iterator<Item = f32>) -> f32 {
    let mut values: Vec<f32> = values.collect();
    stats::upper_median(&mut values).unwrap_or(0.0)
}

fn distance(a: &Look, b: &Look) -> f32 {
    a.blocks.iter().zip(&b.blocks).map(|(a, b)| (a - b) * (a - b)).sum::<f32>().sqrt()
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Pictures around a place of the feature space, with skewed peaks as good ones have.
    fn looks(name: &str, count: usize, place: f32, rng: &mut ChaCha8Rng) -> Vec<Look> {
        let mut one = |i| Look {
            name: format!("{name}{i}"),
            peak: 2.0 - 0.2 * rng.random_range(0.01..1.0f32).ln(),
            bulk: 0.8 + 0.1 * rng.random::<f32>(),
            blocks: (0..64).map(|_| place + rng.random::<f32>()).collect(),
        };
        (0..count).map(&mut one).collect()
    }

    #[test]
    fn pictures_that_belong_are_left_alone() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for count in [8, 20, 60, 300] {
            let (good, mut bad) = (looks("good", count, 0.0, &mut rng), looks("bad", 6, 0.0, &mut rng));
            // Gross defects, all over the part but still of it.
            bad.iter_mut().for_each(|b| (b.peak, b.bulk) = (9.0, 1.4));
            assert_eq!(find(&good, &bad).unwrap(), Outliers::default(), "{count}");
        }
    }

    #[test]
    fn the_bad_one_in_a_hundred_is_named_and_left_out() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mut good = looks("good", 100, 0.0, &mut rng);
        good[37].peak = 6.0;
        let found = find(&good, &[]).unwrap();
        assert_eq!((found.left_out, found.warnings.len()), (vec![37], 1));
        assert!(found.warnings[0].starts_with("look at good37 again"), "{:?}", found.warnings);
        // A tenth of them is no exception: named, and left to a person.
        good.iter_mut().take(10).for_each(|g| g.peak = 6.0);
        let found = find(&good, &[]).unwrap();
        assert!(found.left_out.is_empty() && found.warnings[0].contains("too many"), "{found:?}");
        assert!(found.suspects.len() == 11 && !found.suspects[0].left_out, "{found:?}");
    }

    #[test]
    fn another_product_is_refused_and_one_ruined_part_is_not() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let (good, mut bad) = (looks("good", 80, 0.0, &mut rng), looks("bad", 6, 0.0, &mut rng));
        let mut other = looks("other", 6, 2.0, &mut rng);
        other.iter_mut().for_each(|o| o.bulk = 3.0);
        bad[2] = other[0].clone();
        let found = find(&good, &bad).unwrap();
        assert!(found.warnings.len() == 1 && found.warnings[0].starts_with("look at other0 again"), "{found:?}");
        bad[..3].clone_from_slice(&other[..3]);
        let refused = find(&good, &bad).unwrap_err();
        assert!(refused.message().contains("3 of 6") && refused.message().contains("other2"), "{refused}");
    }

    #[test]
    fn two_products_among_the_good_are_told_apart() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let mut good = looks("plate", 60, 0.0, &mut rng);
        good.extend(looks("ring", 20, 2.0, &mut rng));
        let found = find(&good, &[]).unwrap();
        let said = |w: &String| ["60 (plate0", "20 (ring", "two products"].iter().all(|p| w.contains(p));
        assert!(found.warnings.iter().any(said), "{found:?}");
    }
}
