//! What is fitted for one view, and its maps as the fit sees them, before they are written into the graph.

use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::bank::Bank;
use super::features::{FeatureGraph, QuantizedFeatures};
use super::head::Head;
use super::image_classifier::ImageClassifier;
use super::location_stats::{Layout, LocationStats};
use super::template::{Batches, Template};
use crate::error::Result;

/// Share of cells whose mean distance is the image's normality evidence.
///
/// Small on purpose: a defect of 1 % of the picture's width covers a cell or two. AUROC of the template's prototype on the
/// simulated belt with the mean of 1, 8, 20 and 80 of 4,032 cells: .98, .97, .95, .88; on three real sets 1 and 5 of
/// 1,024 differ by .004 at most.
pub const DISTANCE_SHARE: f64 = 0.001;
/// Weight of the template against the bank in the normality map: where one knows more, the other takes little from it.
/// Dividing by what either makes of the known bads was no better (`docs/EXPERIMENTS.md`).
pub const TEMPLATE_SHARE: f32 = 0.65;

/// Whether views show the same place of every part in the same cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alignment {
    /// As parts lie in front of the camera, or as a lattice knows them.
    Registered(Layout),
    /// The view moves over the part: no place of it is like itself.
    Free,
}

impl Alignment {
    /// Every view shows the same `grid` of places, as whole views do.
    pub fn fixed(grid: [usize; 2]) -> Self {
        Self::Registered(Layout::fixed(grid))
    }

    /// What is usual where, over the maps of good parts.
    pub fn usual(self, maps: &[(Vec<f32>, [usize; 2])], space: &FeatureGraph) -> LocationStats {
        match self {
            Self::Registered(layout) => LocationStats::fit(maps, layout),
            Self::Free => LocationStats::anywhere(maps, space.grid),
        }
    }
}

/// How far a cell is from good ones: from the bank's prototypes, and from the template of its place.
pub struct Normality {
    /// Prototypes of good cells.
    pub bank: Bank,
    /// What distances to the bank are usual where.
    pub bank_usual: LocationStats,
    /// What each place looks like.
    pub template: Template,
    /// What deviations from the template are usual where.
    pub template_usual: LocationStats,
}

impl Normality {
    /// Fits the bank on `goods`, the template on `batches` of them; `measured` say what is usual.
    ///
    /// # Errors
    /// Those of the batches.
    pub fn fit(
        space: &FeatureGraph,
        goods: &[QuantizedFeatures],
        batches: Option<&Batches<'_>>,
        measured: &[QuantizedFeatures],
        prototypes: usize,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self> {
        let template = Template::fit(space, goods, batches, rng)?;
        let bank = Bank::fit(&template.whiten(&space.sample(goods, rng)), space.channels, prototypes, rng);
        let alignment = batches.map_or(Alignment::Free, |batches| Alignment::Registered(batches.layout));
        let both = |codes: &QuantizedFeatures| {
            let z = template.whitened(space, codes);
            ((bank.distances(&z), codes.at), (template.distances(&z, codes.at), codes.at))
        };
        let (banks, templates): (Vec<_>, Vec<_>) = measured.par_iter().map(both).unzip();
        let (bank_usual, template_usual) = (alignment.usual(&banks, space), alignment.usual(&templates, space));
        Ok(Self { bank, bank_usual, template, template_usual })
    }

    /// The normality map of one view, `[cells]`, in standard deviations of what is usual at each place.
    pub fn map(&self, space: &FeatureGraph, codes: &QuantizedFeatures) -> Vec<f32> {
        let cells = self.template.whitened(space, codes);
        let mut map = self.bank.distances(&cells);
        self.bank_usual.standardise(&mut map, codes.at);
        let mut deviation = self.template.distances(&cells, codes.at);
        self.template_usual.standardise(&mut deviation, codes.at);
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
    pub overall: ImageClassifier,
    /// What its logits usually are at each place.
    pub usual: LocationStats,
}

impl Known {
    /// Measures a head on `goods`.
    ///
    /// They may be parts that it was fitted on: it is the pattern of places that matters, the scale is measured again on
    /// the finished graph. They must not be those that the threshold comes from: what is usual would be learnt from
    /// the very parts that stand for unknown ones, which then look more usual than those.
    pub fn measure(
        space: &FeatureGraph,
        (head, overall): (Head, ImageClassifier),
        alignment: Alignment,
        goods: &[QuantizedFeatures],
    ) -> Self {
        let maps: Vec<_> = goods.par_iter().map(|c| (head.map(space, c), c.at)).collect();
        Self { usual: alignment.usual(&maps, space), head, overall }
    }

    /// The standardised logits of one view, `[cells]`.
    pub fn map(&self, space: &FeatureGraph, codes: &QuantizedFeatures) -> Vec<f32> {
        let mut logits = self.head.map(space, codes);
        self.usual.standardise(&mut logits, codes.at);
        logits
    }
}

/// Number of cells averaged for the normality evidence.
pub fn distance_cells(cells: usize) -> usize {
    ((cells as f64 * DISTANCE_SHARE).ceil() as usize).max(1)
}

/// The image's evidence from a map: the mean of its `count` largest cells.
pub fn top_mean(map: &[f32], count: usize) -> f32 {
    let mut map = map.to_vec();
    map.select_nth_unstable_by(count - 1, |a, b| b.total_cmp(a));
    map[..count].iter().sum::<f32>() / count as f32
}

/// Both evidences' maps added up, the head's with a weight: where the zoom looks.
pub fn suspicion(
    space: &FeatureGraph,
    normality: &Normality,
    known: Option<(&Known, f32)>,
    codes: &QuantizedFeatures,
) -> Vec<f32> {
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
