//! Open set: what a recipe that was taught every kind of defect but one makes of that one.
//!
//! A head that knows some defects may look away from all others. Each kind is left out of the training run in turn and is all
//! that is tested, beside the good pictures; the same pictures are scored by a recipe of the same seed that knows no
//! defect at all. A difference well below zero says that teaching known defects costs unknown ones.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;

use serde::Serialize;

use super::dataset::{Dataset, Draw};
use super::evaluation::trial_run;
use super::item::Label;
use super::metrics;
use super::report::SCHEMA;
use super::run_metrics::RunMetrics;
use super::table::{decimals, write_table};
use crate::error::{Error, ErrorKind, Result};
use crate::nn::backbone::Backbone;
use crate::train::options::Options;
use crate::train::progress::Progress;

/// The kinds of defect among the test pictures, in byte order.
pub fn kinds(dataset: &Dataset) -> Vec<&str> {
    let bad = dataset.test.iter().filter(|i| i.label == Label::Bad);
    bad.map(|i| i.kind.as_str()).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Draws `known` defects of every kind but `kind`, and tests on `kind` and the good pictures alone.
///
/// A picture that shares its group with one of `kind` shows the same part and is not drawn either.
///
/// # Errors
/// `Config` when the other kinds have fewer than `known` pictures, or none is asked for; as [`Dataset::draw_known`].
pub fn leave_out(dataset: &Dataset, kind: &str, known: usize, seed: u64) -> Result<Draw> {
    let (left_out, rest): (Vec<_>, Vec<_>) = dataset.test.iter().cloned().partition(|i| i.kind == kind);
    let groups: HashSet<&str> = left_out.iter().map(|i| i.group.as_str()).filter(|g| !g.is_empty()).collect();
    let (good, others): (Vec<_>, Vec<_>) = rest.into_iter().partition(|i| i.label == Label::Good);
    let others: Vec<_> = others.into_iter().filter(|i| !groups.contains(i.group.as_str())).collect();
    if known == 0 || others.len() < known {
        let step = if others.is_empty() {
            "a folder with two kinds of defect or more is needed".to_owned()
        } else {
            format!("ask for --known 1 to {}", others.len())
        };
        return Err(Error::new(
            ErrorKind::Config,
            format!(
                "without the kind `{kind}` {} shows {} defective test pictures and {known} known ones were asked for: {step}",
                dataset.root.display(),
                others.len()
            ),
        ));
    }
    let mut test = [good, left_out.clone()].concat();
    test.sort_by(|a, b| a.rel.cmp(&b.rel));
    let known = Dataset { test: others, ..dataset.clone() }.draw_known(known, seed)?.known;
    Ok(Draw { known, test })
}

/// Teaches without `kind` and tests on it.
///
/// # Errors
/// As [`leave_out`] and [`trial_run`].
pub fn trial_without(
    dataset: &Dataset,
    kind: &str,
    known: usize,
    backbone: &Backbone,
    options: &Options,
    progress: &dyn Progress,
) -> Result<RunMetrics> {
    let draw = leave_out(dataset, kind, known, options.seed)?;
    Ok(trial_run(&dataset.good, &draw.known, &draw.test, backbone, options, progress)?.tested.run)
}

/// One kind that was left out of one training run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LeftOut {
    /// The run's seed.
    pub seed: u64,
    /// The kind that was not taught.
    pub kind: String,
    /// What was taught instead, relative to the data folder.
    pub known: Vec<String>,
    /// Test pictures of this kind.
    pub count: usize,
    /// Good test pictures.
    pub good_test: usize,
    /// AUROC of this kind by the recipe that was taught the others.
    pub auroc_without: Option<f64>,
    /// AUROC of this kind by the recipe that was taught no defect.
    pub auroc_zero: Option<f64>,
    /// `auroc_without - auroc_zero`.
    pub difference: Option<f64>,
    /// Share of this kind that would pass the recipe that was taught the others.
    pub escape_without: Option<f64>,
    /// Share of this kind that would pass the recipe that was taught no defect.
    pub escape_zero: Option<f64>,
}

impl LeftOut {
    fn of(kind: &str, without: &RunMetrics, zero: &RunMetrics) -> Self {
        let (ours, theirs) = (without.by_kind.get(kind), zero.by_kind.get(kind));
        let auroc_without = ours.and_then(|k| k.auroc_image);
        let auroc_zero = theirs.and_then(|k| k.auroc_image);
        Self {
            seed: without.seed.unwrap_or(0),
            kind: kind.to_owned(),
            known: without.known.clone().unwrap_or_default(),
            count: ours.map_or(0, |k| k.count),
            good_test: without.good_test,
            auroc_without,
            auroc_zero,
            difference: auroc_without.zip(auroc_zero).map(|(a, b)| a - b),
            escape_without: ours.and_then(|k| k.escape),
            escape_zero: theirs.and_then(|k| k.escape),
        }
    }
}

/// Leaves out each kind in turn, for one seed: a training run for each kind and one without any defect.
///
/// # Errors
/// As [`trial_without`].
pub fn leave_each_out(
    dataset: &Dataset,
    known: usize,
    backbone: &Backbone,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Vec<LeftOut>> {
    // Every draw before the first training run: a mistake in the command line must not cost minutes.
    let kinds = kinds(dataset);
    for kind in &kinds {
        leave_out(dataset, kind, known, options.seed)?;
    }
    let zero = trial_run(&dataset.good, &[], &dataset.test, backbone, options, progress)?.tested.run;
    let left_out = |kind: &&str| {
        let without = trial_without(dataset, kind, known, backbone, options, progress)?;
        Ok(LeftOut::of(kind, &without, &zero))
    };
    kinds.iter().map(left_out).collect()
}

/// The mean of one kind over all seeds.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the fields are those of LeftOut")]
pub struct KindLeftOut {
    pub count: usize,
    pub auroc_without: Option<f64>,
    pub auroc_zero: Option<f64>,
    pub difference: Option<f64>,
    pub escape_without: Option<f64>,
    pub escape_zero: Option<f64>,
}

/// What `trial --leave-kind-out` prints.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OpenSetReport {
    /// [`SCHEMA`].
    pub schema: u32,
    /// One entry for each seed and kind.
    pub runs: Vec<LeftOut>,
    /// The means over seeds.
    pub by_kind: BTreeMap<String, KindLeftOut>,
    /// The lowest mean difference of any kind.
    pub difference_min: Option<f64>,
}

impl OpenSetReport {
    /// Sums up the runs.
    pub fn new(runs: Vec<LeftOut>) -> Self {
        let mut kinds: BTreeMap<&str, Vec<&LeftOut>> = BTreeMap::new();
        for run in &runs {
            kinds.entry(&run.kind).or_default().push(run);
        }
        let mean = |runs: Vec<&LeftOut>| {
            let over = |figure: fn(&LeftOut) -> Option<f64>| {
                metrics::mean(&runs.iter().filter_map(|r| figure(r)).collect::<Vec<_>>())
            };
            KindLeftOut {
                count: runs.first().map_or(0, |r| r.count),
                auroc_without: over(|r| r.auroc_without),
                auroc_zero: over(|r| r.auroc_zero),
                difference: over(|r| r.difference),
                escape_without: over(|r| r.escape_without),
                escape_zero: over(|r| r.escape_zero),
            }
        };
        let by_kind: BTreeMap<_, _> = kinds.into_iter().map(|(kind, runs)| (kind.to_owned(), mean(runs))).collect();
        let difference_min = by_kind.values().filter_map(|k| k.difference).min_by(f64::total_cmp);
        Self { schema: SCHEMA, runs, by_kind, difference_min }
    }
}

impl fmt::Display for OpenSetReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "each kind by a recipe that was taught the other kinds, and by one that was taught no defect")?;
        let heads = ["left out", "tested", "AUROC", "0 known", "difference", "escape", "0 known"];
        let mut rows = vec![heads.map(str::to_owned)];
        rows.extend(self.by_kind.iter().map(|(kind, k)| {
            [
                kind.clone(),
                k.count.to_string(),
                decimals(k.auroc_without, 3),
                decimals(k.auroc_zero, 3),
                k.difference.map_or_else(|| "-".to_owned(), |d| format!("{d:+.3}")),
                decimals(k.escape_without, 3),
                decimals(k.escape_zero, 3),
            ]
        }));
        write_table(f, &rows)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::item::Item;
    use super::*;

    fn item(kind: &str, i: usize, group: &str) -> Item {
        let label = if kind == "good" { Label::Good } else { Label::Bad };
        let rel = format!("test/{kind}/{i}.png");
        // Drawing compares file sizes, so the files must exist: any file serves.
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        Item { path, rel, kind: kind.into(), label, mask: None, group: group.into() }
    }

    fn dataset() -> Dataset {
        let kinds = ["crack", "dent", "good", "stain"];
        let test = kinds.iter().flat_map(|k| (0..5).map(|i| item(k, i, ""))).collect();
        Dataset { root: PathBuf::from("data"), good: vec![], bad: vec![], test, left_out: 0 }
    }

    #[test]
    fn the_kind_left_out_is_never_drawn_and_all_of_it_is_tested() {
        let dataset = dataset();
        for (kind, seed) in kinds(&dataset).into_iter().flat_map(|k| (0..20).map(move |s| (k, s))) {
            let draw = leave_out(&dataset, kind, 4, seed).unwrap();
            assert_eq!(draw.known.len(), 4);
            assert!(draw.known.iter().all(|i| i.kind != kind && i.label == Label::Bad), "{kind} {seed}: {draw:?}");
            let of = |k: &str| draw.test.iter().filter(|i| i.kind == k).count();
            assert_eq!((of(kind), of("good"), draw.test.len()), (5, 5, 10));
        }
    }

    #[test]
    fn a_part_that_shows_two_kinds_is_not_taught_by_the_other() {
        let mut dataset = dataset();
        dataset.test.retain(|i| i.kind != "stain");
        dataset.test.iter_mut().filter(|i| i.rel.ends_with("0.png")).for_each(|i| i.group = "part".into());
        let draw = leave_out(&dataset, "dent", 4, 0).unwrap();
        assert!(draw.known.iter().all(|i| i.kind == "crack" && i.group.is_empty()), "{draw:?}");
        let error = leave_out(&dataset, "dent", 5, 0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains("`dent`") && error.message().contains("--known 1 to 4"), "{error}");
    }

    #[test]
    fn differences_are_means_over_seeds_and_the_lowest_is_named() {
        let run = |seed, kind: &str, ours, zero| LeftOut {
            seed,
            kind: kind.into(),
            known: vec![],
            count: 5,
            good_test: 5,
            auroc_without: Some(ours),
            auroc_zero: Some(zero),
            difference: Some(ours - zero),
            escape_without: Some(0.5),
            escape_zero: None,
        };
        let runs = vec![run(0, "dent", 0.75, 0.5), run(1, "dent", 0.5, 0.75), run(0, "crack", 0.5, 0.625)];
        let report = OpenSetReport::new(runs);
        assert_eq!((report.by_kind["dent"].difference, report.difference_min), (Some(0.0), Some(-0.125)));
        let text = report.to_string();
        let row = text.lines().find(|l| l.starts_with("crack")).unwrap();
        assert_eq!(
            row.split_whitespace().collect::<Vec<_>>(),
            ["crack", "5", "0.500", "0.625", "-0.125", "0.500", "-"]
        );
    }
}
