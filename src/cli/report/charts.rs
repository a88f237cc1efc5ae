//! Charts as SVG inside the page: no script, colours from the page's light or dark scheme.

use std::fmt::{self, Write as _};

use crate::stats;

/// The ROC of `good` and `bad` scores, with the point at `threshold` marked. Empty without both.
pub fn roc(good: &[f32], bad: &[f32], auroc: Option<f64>, threshold: f64) -> String {
    let Some(auroc) = auroc else { return String::new() };
    draw(|out| {
        let at = |x: f64, y: f64| (50.0 + 250.0 * x, 270.0 - 250.0 * y);
        let share =
            |scores: &[f32], t: f64| scores.iter().filter(|&&s| f64::from(s) >= t).count() as f64 / scores.len() as f64;
        let (overkill, caught) = (share(good, threshold), share(bad, threshold));
        let said = format!(
            "ROC curve: area {auroc:.3}; at the threshold {:.1} % of the defective parts are caught and {:.1} % of the good ones rejected",
            100.0 * caught,
            100.0 * overkill
        );
        open(out, "0 0 320 320", &said)?;
        for i in 0..=4 {
            let v = f64::from(i) / 4.0;
            let (x, y) = at(v, v);
            write!(out, "<path class=\"grid\" d=\"M{x:.1} 20V270M50 {y:.1}H300\"/>")?;
            write!(out, "<text x=\"{x:.1}\" y=\"286\" text-anchor=\"middle\">{:.0}</text>", 100.0 * v)?;
            write!(out, "<text x=\"44\" y=\"{:.1}\" text-anchor=\"end\">{:.0}</text>", y + 4.0, 100.0 * v)?;
        }
        write!(out, "<path class=\"chance\" d=\"M50 270L300 20\"/><path class=\"curve\" d=\"M50 270")?;
        for (x, y) in roc_points(good, bad) {
            let (x, y) = at(x, y);
            write!(out, "L{x:.1} {y:.1}")?;
        }
        let (x, y) = at(overkill, caught);
        write!(out, "\"/><circle class=\"mark\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\"/>")?;
        write!(out, "<text x=\"175\" y=\"306\" text-anchor=\"middle\">good parts rejected, %</text>")?;
        write!(
            out,
            "<text x=\"14\" y=\"145\" text-anchor=\"middle\" transform=\"rotate(-90 14 145)\">defective parts caught, %</text></svg>"
        )
    })
}

/// (overkill, caught) at every distinct score, from the highest, where the curve changes its direction.
fn roc_points(good: &[f32], bad: &[f32]) -> Vec<(f64, f64)> {
    let mut scores: Vec<(f32, bool)> = good.iter().map(|&s| (s, false)).chain(bad.iter().map(|&s| (s, true))).collect();
    scores.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    let (mut rejected, mut caught) = (0usize, 0usize);
    let mut points: Vec<(f64, f64)> = Vec::new();
    for tie in scores.chunk_by(|a, b| a.0 == b.0) {
        let bad_here = tie.iter().filter(|t| t.1).count();
        caught += bad_here;
        rejected += tie.len() - bad_here;
        let point = (rejected as f64 / good.len() as f64, caught as f64 / bad.len() as f64);
        // A straight run needs its last point alone.
        if let [.., a, b] = points[..]
            && ((a.0 == b.0 && b.0 == point.0) || (a.1 == b.1 && b.1 == point.1))
        {
            points.pop();
        }
        points.push(point);
    }
    points
}

const BINS: usize = 40;

/// Both groups' scores: good ones above the line, defective ones below it, each to its own scale.
pub fn histogram(good: &[f32], bad: &[f32], threshold: f64) -> String {
    let mut all: Vec<f32> = good.iter().chain(bad).copied().collect();
    let rank = all.len() * 95 / 100;
    let (Some(lowest), Some(far)) = (stats::nth(&mut all, 0), stats::nth(&mut all, rank)) else { return String::new() };
    // A few far scores must not squeeze all others into one bar: they share the last one.
    let low = f64::from(lowest).min(threshold);
    let high = f64::from(far).max(threshold + 0.5 * (threshold - low)).max(low + 1e-6);
    let place = |v: f64| ((v - low) / (high - low)).clamp(0.0, 1.0);
    let count = |scores: &[f32]| {
        let mut bins = [0usize; BINS];
        for &s in scores {
            bins[((place(s.into()) * BINS as f64) as usize).min(BINS - 1)] += 1;
        }
        bins
    };
    draw(|out| {
        let said = format!(
            "Histogram of scores from {low:.1} to {high:.1} and beyond: {} good pictures above the line, {} defective ones below it; rejected from {threshold:.2}",
            good.len(),
            bad.len()
        );
        open(out, "0 0 440 320", &said)?;
        let step = 400.0 / BINS as f64;
        for (bins, class, is_up) in [(count(good), "good", true), (count(bad), "bad", false)] {
            let most = bins.iter().copied().max().unwrap_or(0).max(1) as f64;
            for (i, &n) in bins.iter().enumerate().filter(|(_, n)| **n > 0) {
                let height = (120.0 * n as f64 / most).max(1.0);
                let (x, y) = (20.0 + i as f64 * step, if is_up { 150.0 - height } else { 150.0 });
                let width = step - 1.0;
                write!(
                    out,
                    "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
                )?;
            }
        }
        let x = 20.0 + 400.0 * place(threshold);
        write!(out, "<path class=\"grid\" d=\"M20 150H420\"/><path class=\"limit\" d=\"M{x:.1} 20V280\"/>")?;
        write!(out, "<text x=\"{x:.1}\" y=\"14\" text-anchor=\"middle\">rejected from {threshold:.2}</text>")?;
        write!(out, "<text x=\"20\" y=\"40\">good</text><text x=\"20\" y=\"270\">defective</text>")?;
        write!(
            out,
            "<text x=\"20\" y=\"296\">{low:.1}</text><text x=\"420\" y=\"296\" text-anchor=\"end\">{high:.1}+</text>"
        )?;
        write!(out, "<text x=\"220\" y=\"312\" text-anchor=\"middle\">score</text></svg>")
    })
}

fn open(out: &mut String, view: &str, said: &str) -> fmt::Result {
    write!(out, "<svg viewBox=\"{view}\" role=\"img\" aria-label=\"{said}\"><title>{said}</title>")
}

fn draw(chart: impl FnOnce(&mut String) -> fmt::Result) -> String {
    let mut out = String::new();
    chart(&mut out).expect("writing to a string never fails");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curve_goes_from_corner_to_corner_and_ties_are_one_step() {
        let points = roc_points(&[0.0, 1.0], &[1.0, 2.0]);
        assert_eq!(points, [(0.0, 0.5), (0.5, 1.0), (1.0, 1.0)]);
        let svg = roc(&[0.0, 1.0], &[1.0, 2.0], Some(0.875), 1.5);
        assert!(svg.contains("area 0.875") && svg.contains("50.0 % of the defective parts are caught"), "{svg}");
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>"));
        assert!(roc(&[], &[1.0], None, 0.0).is_empty());
    }

    #[test]
    fn a_histogram_counts_every_score_once_and_far_ones_in_the_last_bar() {
        let good: Vec<f32> = (0..100).map(|i| i as f32 / 50.0).collect();
        let svg = histogram(&good, &[2.5, 1e9], 3.0);
        assert!(svg.contains("100 good pictures") && svg.contains("2 defective") && svg.contains("from 3.00"), "{svg}");
        assert_eq!(svg.matches("class=\"bad\"").count(), 2);
        assert!(histogram(&[], &[], 1.0).is_empty());
        assert!(histogram(&[1.0], &[], 1.0).contains("</svg>"), "one score is a histogram");
    }
}
