//! A look at every picture before anything is taught: by a template of good parts that it was not fitted on.
//!
//! The good pictures to fit on are halved by groups, a [`Template`] is fitted on each half, and each half is measured by
//! the other's, so that a bad picture among the good ones cannot make itself look usual. Held-out and bad pictures are
//! measured by both. What stands out is in [`super::label_noise`].

use rayon::prelude::*;

use super::features::Codes;
use super::label_noise::{self, Look, Outliers};
use super::template::{Batches, Template};
use super::trainer::{PROBES, Screened, Trainer};
use super::view::{distance_cells, top_mean};
use crate::error::Result;

/// Blocks of the picture, in both directions, whose mean features say what product it shows.
const BLOCKS: usize = 4;

impl Trainer<'_> {
    /// Looks at every picture; good ones that cannot be meant are taken out of the lesson.
    ///
    /// Returns what the technician should know. Leaves the lesson's random choices as they are.
    /// Cost: a pass for each picture, which the fit is spared, and two templates.
    pub(super) fn screen(&mut self) -> Result<Vec<String>> {
        let fit = self.codes("looking at good parts", self.fit.len(), |i| self.full_view(&self.good, self.fit[i]))?;
        let bad = self.codes("looking at bad parts", self.bad.len(), |i| self.full_view(&self.bad, i))?;
        self.progress.stage("comparing pictures", 1);
        let halves = halves(self.fit.len(), |i| self.good.group(self.fit[i]));
        let templates: Vec<Template> = (0..2)
            .map(|h| {
                let of_half: Vec<Codes> =
                    fit.iter().zip(&halves).filter(|(_, half)| **half == h).map(|(c, _)| c.clone()).collect();
                let batch = |_: usize| Ok(of_half.clone());
                let all = Batches::whole(self.space.grid, &batch);
                Template::fit(&self.space, &of_half, Some(&all), &mut self.rng(7, h))
            })
            .collect::<Result<_>>()?;
        let mut goods: Vec<Look> = (0..fit.len())
            .into_par_iter()
            .map(|i| self.look(self.good.name(self.fit[i]), &templates[1 - halves[i]..][..1], &fit[i]))
            .collect();
        let bads: Vec<Look> =
            (0..bad.len()).into_par_iter().map(|i| self.look(self.bad.name(i), &templates, &bad[i])).collect();
        self.progress.stage("looking at held-out parts", self.held.len() as u64);
        let mut held = Vec::new();
        for chunk in self.held.chunks(PROBES) {
            let view = |i: usize| self.full_view(&self.good, chunk[i]).inspect(|_| self.progress.tick());
            let codes = self.extractor.codes(chunk.len(), view)?;
            let look = |(&i, codes): (&usize, &Codes)| self.look(self.good.name(i), &templates, codes);
            goods.par_extend(chunk.par_iter().zip(&codes).map(look));
            // Not all are kept: there may be thousands.
            held.extend(codes.into_iter().take(2 * PROBES - held.len()));
        }
        let Outliers { left_out, suspects, warnings } = label_noise::find(&goods, &bads)?;
        let fitted = fit.len();
        let is_kept = |n: &usize| !left_out.contains(n);
        let kept: Vec<usize> = (0..self.held.len()).filter(|n| is_kept(&(fitted + n))).collect();
        let held = kept.iter().filter_map(|&n| held.get(n).cloned()).take(PROBES).collect();
        self.held = kept.iter().map(|&n| self.held[n]).collect();
        let kept: Vec<usize> = (0..fitted).filter(is_kept).collect();
        self.fit = kept.iter().map(|&n| self.fit[n]).collect();
        let good = kept.iter().map(|&n| fit[n].clone()).collect();
        self.screened = Screened { good, bad, held, suspects };
        Ok(warnings)
    }

    fn look(&self, name: &str, templates: &[Template], codes: &Codes) -> Look {
        let n = templates.len() as f32;
        let (mut peak, mut bulk) = (0.0, 0.0);
        for template in templates {
            let mut map = template.distances(&template.whitened(&self.space, codes), codes.at);
            peak += top_mean(&map, distance_cells(map.len())) / n;
            let middle = map.len() / 2;
            bulk += *map.select_nth_unstable_by(middle, f32::total_cmp).1 / n;
        }
        Look { name: name.to_owned(), peak, bulk, blocks: self.blocks(codes) }
    }

    /// The mean features of [`BLOCKS`] x [`BLOCKS`] blocks of the picture.
    fn blocks(&self, codes: &[u8]) -> Vec<f32> {
        let ([rows, columns], channels) = (self.space.grid, self.space.channels);
        let mut sums = vec![0.0f32; BLOCKS * BLOCKS * channels];
        let share = self.space.quant.scale * (BLOCKS * BLOCKS) as f32 / (rows * columns) as f32;
        for (cell, values) in codes.chunks(channels).enumerate() {
            let block = (cell / columns * BLOCKS / rows) * BLOCKS + cell % columns * BLOCKS / columns;
            let sums = &mut sums[block * channels..][..channels];
            sums.iter_mut().zip(values).for_each(|(s, &v)| *s += share * f32::from(v));
        }
        sums
    }
}

/// 0 or 1 for each picture, whole groups alike, about as many of each.
fn halves<'a>(count: usize, group: impl Fn(usize) -> &'a str) -> Vec<usize> {
    let groups: std::collections::BTreeSet<&str> = (0..count).map(&group).collect();
    if groups.len() < 2 {
        return (0..count).map(|i| i % 2).collect();
    }
    let half: std::collections::BTreeMap<&str, usize> =
        groups.into_iter().enumerate().map(|(n, g)| (g, n % 2)).collect();
    (0..count).map(|i| half[group(i)]).collect()
}
