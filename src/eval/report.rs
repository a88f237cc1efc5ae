//! What `trial` and `eval` report: one [`RunMetrics`] a run, their mean and deviation, as JSON and as a table.
//!
//! Every field is always there; what is not available is null. Rates are fractions.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::metrics::{self, KindMetrics};
use super::robustness;
use super::run_metrics::{Perturbed, RunMetrics};
use super::table::{decimals, write_table};

/// The version of the JSON that `trial` and `eval` print.
pub const SCHEMA: u32 = 1;

/// One statistic (mean or deviation) of every figure of several runs.
///
/// A figure counts over the runs that have it and is null where too few do.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the fields are those of RunMetrics")]
pub struct Summary {
    pub auroc_image: Option<f64>,
    pub auroc_normality: Option<f64>,
    pub threshold: Option<f64>,
    pub good_train: Option<f64>,
    pub good_test: Option<f64>,
    pub bad_test: Option<f64>,
    pub ap_image: Option<f64>,
    pub auroc_pixel: Option<f64>,
    pub auroc_full: Option<f64>,
    pub auroc_zoom: Option<f64>,
    pub zoomed: Option<f64>,
    pub escape: Option<f64>,
    pub escape_1pct: Option<f64>,
    pub escape_1pct_full: Option<f64>,
    pub crop_holds: Option<f64>,
    pub overkill: Option<f64>,
    pub unseen_good: Option<f64>,
    pub unseen_bad: Option<f64>,
    pub by_kind: BTreeMap<String, KindSummary>,
    pub teach_s: Option<f64>,
}

/// [`Summary`] of one kind of defect, over the runs that tested it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the fields are those of KindMetrics")]
pub struct KindSummary {
    pub count: Option<f64>,
    pub auroc_image: Option<f64>,
    pub escape: Option<f64>,
}

impl Summary {
    fn of(runs: &[RunMetrics], statistic: fn(&[f64]) -> Option<f64>) -> Self {
        let over =
            |figure: fn(&RunMetrics) -> Option<f64>| statistic(&runs.iter().filter_map(figure).collect::<Vec<_>>());
        let mut kinds: BTreeMap<&str, Vec<&KindMetrics>> = BTreeMap::new();
        for (kind, figures) in runs.iter().flat_map(|r| &r.by_kind) {
            kinds.entry(kind).or_default().push(figures);
        }
        let over_kind = |tested: Vec<&KindMetrics>| {
            let over = |figure: fn(&KindMetrics) -> Option<f64>| {
                statistic(&tested.iter().filter_map(|k| figure(k)).collect::<Vec<_>>())
            };
            KindSummary {
                count: over(|k| Some(k.count as f64)),
                auroc_image: over(|k| k.auroc_image),
                escape: over(|k| k.escape),
            }
        };
        Self {
            auroc_image: over(|r| r.auroc_image),
            auroc_normality: over(|r| r.auroc_normality),
            threshold: over(|r| Some(r.threshold)),
            good_train: over(|r| r.good_train.map(|n| n as f64)),
            good_test: over(|r| Some(r.good_test as f64)),
            bad_test: over(|r| Some(r.bad_test as f64)),
            ap_image: over(|r| r.ap_image),
            auroc_pixel: over(|r| r.auroc_pixel),
            auroc_full: over(|r| r.auroc_full),
            auroc_zoom: over(|r| r.auroc_zoom),
            zoomed: over(|r| r.zoomed),
            escape: over(|r| r.escape),
            escape_1pct: over(|r| r.escape_1pct),
            escape_1pct_full: over(|r| r.escape_1pct_full),
            crop_holds: over(|r| r.crop_holds),
            overkill: over(|r| r.overkill),
            unseen_good: over(|r| r.unseen_good),
            unseen_bad: over(|r| r.unseen_bad),
            by_kind: kinds.into_iter().map(|(kind, tested)| (kind.to_owned(), over_kind(tested))).collect(),
            teach_s: over(|r| r.teach_s),
        }
    }
}

/// What `trial` prints: a run for each seed, their mean, and their deviation over n - 1 (null for one run).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrialReport {
    /// [`SCHEMA`].
    pub schema: u32,
    /// One run for each seed, in order.
    pub seeds: Vec<RunMetrics>,
    /// The mean of each figure.
    pub mean: Summary,
    /// The sample standard deviation of each figure.
    pub std: Summary,
    /// The mean over runs of the tests with perturbed pictures; null unless they were asked for.
    pub perturbed: Option<Vec<Perturbed>>,
}

impl TrialReport {
    /// Sums up the runs.
    pub fn new(seeds: Vec<RunMetrics>) -> Self {
        let (mean, std) = (Summary::of(&seeds, metrics::mean), Summary::of(&seeds, metrics::std));
        let perturbed: Vec<Vec<Perturbed>> = seeds.iter().filter_map(|r| r.perturbed.clone()).collect();
        let perturbed = (!perturbed.is_empty()).then(|| robustness::mean(&perturbed));
        Self { schema: SCHEMA, seeds, mean, std, perturbed }
    }
}

/// What `eval` prints: the figures of one run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EvalReport {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The figures, at the top level of the JSON.
    #[serde(flatten)]
    pub run: RunMetrics,
}

impl EvalReport {
    /// Wraps the figures of a run.
    pub fn new(run: RunMetrics) -> Self {
        Self { schema: SCHEMA, run }
    }
}

/// The columns of the table of runs.
const COLUMNS: [&str; 11] =
    ["", "fused", "normality", "full", "zoom", "AP", "pixel", "escape", "overkill", "threshold", "teach s"];

impl fmt::Display for TrialReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "AUROC over pictures of the fused score and of each part of it; AP, AUROC over pixels; rates")?;
        let mut rows = vec![COLUMNS.map(str::to_owned)];
        rows.extend(self.seeds.iter().map(|run| {
            let name = run.seed.map_or_else(|| "run".to_owned(), |s| format!("seed {s}"));
            row(name, &Summary::of(std::slice::from_ref(run), metrics::mean))
        }));
        if self.seeds.len() > 1 {
            rows.push(row("mean".to_owned(), &self.mean));
            rows.push(row("std".to_owned(), &self.std));
        }
        write_table(f, &rows)?;
        write_counts(f, &self.mean)?;
        write_kinds(f, &self.mean.by_kind)?;
        self.perturbed.as_deref().map_or(Ok(()), |rows| robustness::write(f, rows))
    }
}

impl fmt::Display for EvalReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figures = Summary::of(std::slice::from_ref(&self.run), metrics::mean);
        write_table(f, &[COLUMNS.map(str::to_owned), row("test".to_owned(), &figures)])?;
        write_counts(f, &figures)?;
        write_kinds(f, &figures.by_kind)
    }
}

fn row(name: String, s: &Summary) -> [String; 11] {
    let three = |v| decimals(v, 3);
    [
        name,
        three(s.auroc_image),
        three(s.auroc_normality),
        three(s.auroc_full),
        three(s.auroc_zoom),
        three(s.ap_image),
        three(s.auroc_pixel),
        three(s.escape),
        three(s.overkill),
        decimals(s.threshold, 2),
        decimals(s.teach_s, 1),
    ]
}

fn write_counts(f: &mut fmt::Formatter<'_>, s: &Summary) -> fmt::Result {
    let count = |v| decimals(v, 0);
    writeln!(
        f,
        "good pictures taught {}, tested {}; defective tested {}",
        count(s.good_train),
        count(s.good_test),
        count(s.bad_test)
    )?;
    if s.zoomed.is_some_and(|share| share < 1.0) {
        writeln!(f, "looked at closer: {} of the pictures", decimals(s.zoomed, 3))?;
    }
    if [s.unseen_good, s.unseen_bad].into_iter().flatten().any(|share| share > 0.0) {
        let [good, bad] = [s.unseen_good, s.unseen_bad].map(|share| decimals(share, 3));
        writeln!(
            f,
            "not judged, since they show too little: {good} of the good pictures, {bad} of the defective ones"
        )?;
    }
    writeln!(
        f,
        "escape where 1 in 100 of these good pictures is rejected {}, by the full image alone {}; first crop holds the defect {}",
        decimals(s.escape_1pct, 3),
        decimals(s.escape_1pct_full, 3),
        decimals(s.crop_holds, 3)
    )
}

fn write_kinds(f: &mut fmt::Formatter<'_>, kinds: &BTreeMap<String, KindSummary>) -> fmt::Result {
    if kinds.is_empty() {
        return Ok(());
    }
    let mut rows = vec![["kind", "tested", "AUROC", "escape"].map(str::to_owned)];
    rows.extend(
        kinds
            .iter()
            .map(|(kind, s)| [kind.clone(), decimals(s.count, 0), decimals(s.auroc_image, 3), decimals(s.escape, 3)]),
    );
    writeln!(f)?;
    write_table(f, &rows)
}

#[cfg(test)]
mod tests;
