//! The closing table: verdicts against what was drawn. The only place that knows the ground truth.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::Serialize;

use crate::daemon::RunReport;
use crate::decide::Verdict;
use crate::pipeline::recording::PartRecord;
use crate::sim::{Defect, DefectKind};
use crate::telemetry::{LatencyMs, Pulses, Stage};

/// Defects at least this wide, as a fraction of the frame's width, are held against a target.
const WIDE: f64 = 0.02;

/// What was taught.
#[derive(Clone, Copy, Debug)]
pub(super) struct Training {
    pub(super) seed: u64,
    pub(super) good: usize,
    pub(super) bad: usize,
    pub(super) teach_s: f64,
}

/// A part with its verdict, and what was truly on it.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) record: PartRecord,
    /// `None` for a good part.
    pub(super) truth: Option<Defect>,
    /// Whether the plain difference from the mean good part would have rejected it.
    pub(super) baseline_rejects: bool,
}

/// What a verdict was in the light of the truth, where there is something to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// Defective and passed.
    Escape,
    /// Good and rejected.
    Overkill,
    /// Defective and rejected.
    Caught,
}

impl Finding {
    pub(super) fn file_word(self) -> &'static str {
        match self {
            Self::Escape => "escape",
            Self::Overkill => "overkill",
            Self::Caught => "caught",
        }
    }
}

impl Outcome {
    pub(super) fn finding(&self) -> Option<Finding> {
        match (self.record.verdict, self.truth.is_some()) {
            (Verdict::Pass, true) => Some(Finding::Escape),
            (Verdict::Reject, false) => Some(Finding::Overkill),
            (Verdict::Reject, true) => Some(Finding::Caught),
            _ => None,
        }
    }
}

/// Counts over some of the parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Row {
    parts: u64,
    passes: u64,
    rejects: u64,
    uninspected: u64,
    #[serde(rename = "baseline_rejects")]
    baseline: u64,
}

impl Row {
    fn of<'a>(outcomes: impl Iterator<Item = &'a Outcome>) -> Self {
        outcomes.fold(Self::default(), |mut row, o| {
            row.parts += 1;
            *match o.record.verdict {
                Verdict::Pass => &mut row.passes,
                Verdict::Reject => &mut row.rejects,
                Verdict::Uninspected(_) => &mut row.uninspected,
            } += 1;
            row.baseline += u64::from(o.baseline_rejects);
            row
        })
    }

    fn baseline_passes(&self) -> u64 {
        self.parts - self.baseline
    }
}

/// Everything the demo tells at its end.
pub(super) struct Summary {
    training: Training,
    good: Row,
    defective: Row,
    wide: Row,
    by_kind: Vec<(DefectKind, Row)>,
    pulses: Pulses,
    latency_ms: LatencyMs,
    folder: String,
}

/// The object that `--json` prints.
#[derive(Serialize)]
pub(super) struct SummaryJson<'a> {
    schema: u32,
    seed: u64,
    parts: u64,
    defective: u64,
    passes: u64,
    rejects: u64,
    uninspected: u64,
    escapes: u64,
    overkills: u64,
    /// Of the defects at least 2 % as wide as the frame.
    defective_2pct: u64,
    escapes_2pct: u64,
    by_kind: BTreeMap<&'static str, Row>,
    baseline: BaselineSummary,
    latency_ms: &'a LatencyMs,
    pulses: Pulses,
    folder: &'a str,
    teach_s: f64,
}

#[derive(Serialize)]
struct BaselineSummary {
    escapes: u64,
    overkills: u64,
}

impl Summary {
    pub(super) fn new(training: Training, report: &RunReport, outcomes: &[Outcome], folder: &Path) -> Self {
        let row =
            |is_counted: &dyn Fn(Option<Defect>) -> bool| Row::of(outcomes.iter().filter(|o| is_counted(o.truth)));
        let of_kind = |kind: DefectKind| row(&|truth| truth.is_some_and(|d| d.kind == kind.name()));
        Self {
            training,
            good: row(&|truth| truth.is_none()),
            defective: row(&|truth| truth.is_some()),
            wide: row(&|truth| truth.is_some_and(|d| d.width_fraction >= WIDE)),
            by_kind: DefectKind::ALL.into_iter().map(|kind| (kind, of_kind(kind))).collect(),
            pulses: report.counts.pulses,
            latency_ms: report.latency.summary(),
            folder: folder.display().to_string(),
        }
    }

    pub(super) fn json(&self) -> SummaryJson<'_> {
        let Self { good, defective, .. } = self;
        SummaryJson {
            schema: 1,
            seed: self.training.seed,
            parts: good.parts + defective.parts,
            defective: defective.parts,
            passes: good.passes + defective.passes,
            rejects: good.rejects + defective.rejects,
            uninspected: good.uninspected + defective.uninspected,
            escapes: defective.passes,
            overkills: good.rejects,
            defective_2pct: self.wide.parts,
            escapes_2pct: self.wide.passes,
            by_kind: self.by_kind.iter().map(|(kind, row)| (kind.name(), *row)).collect(),
            baseline: BaselineSummary { escapes: defective.baseline_passes(), overkills: good.baseline },
            latency_ms: &self.latency_ms,
            pulses: self.pulses,
            folder: &self.folder,
            teach_s: self.training.teach_s,
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { training, good, defective, wide, .. } = self;
        writeln!(f, "                      parts  passed  rejected  uninspected   mean difference rejects")?;
        let line = |f: &mut fmt::Formatter<'_>, name: &str, row: &Row| {
            let Row { parts, passes, rejects, uninspected, baseline } = row;
            writeln!(f, "{name:<20}  {parts:>5}  {passes:>6}  {rejects:>8}  {uninspected:>11}  {baseline:>24}")
        };
        line(f, "good", good)?;
        line(f, "defective", defective)?;
        line(f, "  2 % wide and more", wide)?;
        for (kind, row) in &self.by_kind {
            line(f, &format!("  {}", kind.name().replace('_', " ")), row)?;
        }
        writeln!(f)?;
        writeln!(
            f,
            "escapes   {} of {}; {} of the {} that are 2 % of the picture wide and more. Plain difference: {}",
            defective.passes,
            defective.parts,
            wide.passes,
            wide.parts,
            defective.baseline_passes()
        )?;
        writeln!(f, "overkill  {} of {} good parts. Plain difference: {}", good.rejects, good.parts, good.baseline)?;
        writeln!(f, "pulses    {}", self.pulses)?;
        write!(f, "latency   p50/p99 ms:")?;
        for stage in Stage::ALL.map(Stage::as_str) {
            if let Some(Some(took)) = self.latency_ms.by_stage.get(stage) {
                write!(f, "  {stage} {:.1}/{:.1}", took.p50, took.p99)?;
            }
        }
        writeln!(f)?;
        let Training { good, bad, teach_s, .. } = training;
        writeln!(
            f,
            "taught    from {good} good and {bad} known bad parts, which are not in this table, in {teach_s:.0} s"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::decide::{Part, Reason};
    use crate::frame::geometry::Roi;
    use crate::units::{Millimetres, PartId};

    fn outcome(verdict: Verdict, width: Option<f64>, baseline_rejects: bool) -> Outcome {
        let at = Timestamp::ZERO;
        let part = Part { id: PartId(1), trigger_at: at, position: Millimetres(0.0), fire_at: at, deadline: at };
        let record = PartRecord { part, verdict, settled_at: at, inspection: None, pulse: None, pulse_at: None };
        let roi = Roi::whole(1, 1);
        let truth = width.map(|width_fraction| Defect { kind: "stain", roi, width_fraction });
        Outcome { record, truth, baseline_rejects }
    }

    #[test]
    fn an_uninspected_defect_is_neither_caught_nor_an_escape() {
        let late = Verdict::Uninspected(Reason::Late);
        for (verdict, width, finding) in [
            (Verdict::Pass, None, None),
            (Verdict::Reject, None, Some(Finding::Overkill)),
            (late, None, None),
            (Verdict::Pass, Some(0.01), Some(Finding::Escape)),
            (Verdict::Reject, Some(0.01), Some(Finding::Caught)),
            (late, Some(0.01), None),
        ] {
            assert_eq!(outcome(verdict, width, false).finding(), finding, "{verdict:?} {width:?}");
        }
    }

    #[test]
    fn a_row_adds_up() {
        let late = Verdict::Uninspected(Reason::Late);
        let outcomes = [
            outcome(Verdict::Pass, Some(0.03), true),
            outcome(Verdict::Reject, Some(0.03), false),
            outcome(late, None, false),
        ];
        let row = Row::of(outcomes.iter());
        assert_eq!(row, Row { parts: 3, passes: 1, rejects: 1, uninspected: 1, baseline: 1 });
        assert_eq!(row.baseline_passes(), 2);
    }
}
