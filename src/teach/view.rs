//! What is fitted for one view, and its maps as the fit sees them, before they are written into the graph.

use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::bank::Bank;
use super::features::{Codes, FeatureGraph};
use super::graph::TEMPLATE_SHARE;
use super::head::Head;
use super::overall::Overall;
use super::places::Places;
use super::template::Template;

/// Whether a view shows the same place of every part in the same cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// As parts lie in front of the camera.
    Registered,
    /// The view moves over the part: no place of it is like itself.
    Anywhere,
}

impl Lie {
    /// What is usual where, over the maps of good parts.
    pub fn usual(self, maps: &[Vec<f32>], space: &FeatureGraph) -> Places {
        match self {
            Self::Registered => Places::fit(maps, space.grid),
            Self::Anywhere => Places::anywhere(maps, space.cells()),
        }
    }
}

/// How far a cell is from good ones: from the bank's prototypes, and from the template of its place.
pub struct Normality {
    /// Prototypes of good cells.
    pub bank: Bank,
    /// What distances to the bank are usual where.
    pub bank_usual: Places,
    /// What each place looks like.
    pub template: Template,
    /// What deviations from the template are usual where.
    pub template_usual: Places,
}

impl Normality {
    /// Fits on `goods`; the first `measured` of them say what is usual.
    pub fn fit(
        space: &FeatureGraph,
        goods: &[Codes],
        lie: Lie,
        prototypes: usize,
        measured: usize,
        rng: &mut ChaCha8Rng,
    ) -> Self {
        let template = Template::fit(space, goods, lie == Lie::Registered, rng);
        let bank = Bank::fit(&template.whiten(&space.sample(goods, rng)), space.channels, prototypes, rng);
        let goods = &goods[..goods.len().min(measured)];
        let maps = |map: &(dyn Fn(&Codes) -> Vec<f32> + Sync)| goods.par_iter().map(map).collect::<Vec<_>>();
        let bank_usual = lie.usual(&maps(&|c| bank.distances(&template.whitened(space, c))), space);
        let template_usual = lie.usual(&maps(&|c| template.distances(&template.whitened(space, c))), space);
        Self { bank, bank_usual, template, template_usual }
    }

    /// The normality map of one view, `[cells]`, in standard deviations of what is usual at each place.
    pub fn map(&self, space: &FeatureGraph, codes: &[u8]) -> Vec<f32> {
        let cells = self.template.whitened(space, codes);
        let mut map = self.bank.distances(&cells);
        self.bank_usual.standardise(&mut map);
        let mut deviation = self.template.distances(&cells);
        self.template_usual.standardise(&mut deviation);
        let mix = |(m, d): (&mut f32, f32)| *m = (1.0 - TEMPLATE_SHARE) * *m + TEMPLATE_SHARE * d;
        map.iter_mut().zip(deviation).for_each(mix);
        map
    }
}

/// What is known of defects: a head with what logits are usual where, and what whole views look like.
pub struct Known {
    /// The head.
    pub head: Head,
    /// Whole views.
    pub overall: Overall,
    /// What its logits usually are at each place.
    pub usual: Places,
}

impl Known {
    /// Measures a head on `goods`.
    ///
    /// They may be parts that it was fitted on: it is the pattern of places that matters, the scale is measured again on
    /// the finished graph. They must not be those that the threshold comes from: what is usual would be learnt from
    /// the very parts that stand for unknown ones, which then look more usual than those.
    pub fn measure(space: &FeatureGraph, (head, overall): (Head, Overall), lie: Lie, goods: &[Codes]) -> Self {
        let maps: Vec<_> = goods.par_iter().map(|c| head.map(space, c)).collect();
        Self { usual: lie.usual(&maps, space), head, overall }
    }

    /// The standardised logits of one view, `[cells]`.
    pub fn map(&self, space: &FeatureGraph, codes: &[u8]) -> Vec<f32> {
        let mut logits = self.head.map(space, codes);
        self.usual.standardise(&mut logits);
        logits
    }
}

/// The image's evidence from a map: the mean of its `count` largest cells.
pub fn top_mean(map: &[f32], count: usize) -> f32 {
    let mut map = map.to_vec();
    map.select_nth_unstable_by(count - 1, |a, b| b.total_cmp(a));
    map[..count].iter().sum::<f32>() / count as f32
}

/// Both evidences' maps added up, the head's with a weight: where the zoom looks.
pub fn suspicion(space: &FeatureGraph, normality: &Normality, known: Option<(&Known, f32)>, codes: &[u8]) -> Vec<f32> {
    let mut map = normality.map(space, codes);
    if let Some((known, weight)) = known {
        map.iter_mut().zip(known.map(space, codes)).for_each(|(m, l)| *m += weight * l);
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_cells_are_averaged() {
        let map = [1.0, -2.0, 5.0, 3.0, 4.0];
        for (count, mean) in [(1, 5.0), (2, 4.5), (5, 2.2)] {
            assert!((top_mean(&map, count) - mean).abs() < 1e-6, "{count}");
        }
    }
}
