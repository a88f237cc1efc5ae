//! The verdict in three sentences, and what to collect next: the figures as a manager reads them.

use super::Facts;
use super::html::escape;
use crate::eval::interval::wilson;
use crate::eval::metrics;

/// A kind that more than this share of passes is worth collecting. Chosen: one in ten.
const ESCAPE_WORTH: f64 = 0.1;
/// Known defects that the method was laid out for.
const KNOWN_ENOUGH: usize = 10;
/// An interval of escape that is wider than this calls for more test pictures. Chosen.
const WIDE: f64 = 0.2;

/// A share with its interval, over all runs: the mean of the rates, and one run's pictures (the runs share them).
#[derive(Clone, Copy)]
pub struct Rate {
    /// The share.
    pub rate: f64,
    /// Its lower bound, 95 % confidence.
    pub low: f64,
    /// Its upper bound.
    pub high: f64,
    /// Pictures of one run.
    pub n: f64,
}

impl Rate {
    /// `None` where no run has the figure.
    pub fn over(rates: &[(Option<f64>, usize)]) -> Option<Self> {
        let known: Vec<(f64, f64)> = rates.iter().filter_map(|&(r, n)| Some((r?, n as f64))).collect();
        let rate = metrics::mean(&known.iter().map(|k| k.0).collect::<Vec<_>>())?;
        let n = metrics::mean(&known.iter().map(|k| k.1).collect::<Vec<_>>())?;
        let (low, high) = wilson(rate, n);
        Some(Self { rate, low, high, n })
    }
}

/// Of `of` parts, rounded: whole ones from ten on, one decimal below.
fn count(share: f64, of: f64) -> f64 {
    let count = share * of;
    if count < 9.95 { (10.0 * count).round() / 10.0 } else { count.round() }
}

fn parts(share: f64, of: f64) -> String {
    trimmed(count(share, of))
}

fn trimmed(count: f64) -> String {
    let text = format!("{count:.1}");
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}

impl Facts<'_> {
    /// Share of the defective parts that pass.
    pub fn escape(&self) -> Option<Rate> {
        Rate::over(&self.runs.iter().map(|r| (r.escape, r.bad_test)).collect::<Vec<_>>())
    }

    /// Share of the good parts that are rejected.
    pub fn overkill(&self) -> Option<Rate> {
        Rate::over(&self.runs.iter().map(|r| (r.overkill, r.good_test)).collect::<Vec<_>>())
    }

    /// What is caught, what is lost, what is promised and comes next. Plain text.
    pub fn sentences(&self) -> [String; 3] {
        let caught = match self.escape() {
            None => {
                "How many defective parts would be caught is not known, because no defective picture was tested.".into()
            }
            Some(e) => format!(
                "Of 100 defective parts about {} would be caught and {} would pass (between {} and {} would pass, with 95 % confidence, from {:.0} defective pictures tested).",
                // Not rounded by itself: both must make 100.
                trimmed(100.0 - count(e.rate, 100.0)),
                parts(e.rate, 100.0),
                parts(e.low, 100.0),
                parts(e.high, 100.0),
                e.n
            ),
        };
        let lost = match self.overkill() {
            None => "How many good parts would be rejected is not known, because no good picture was tested.".into(),
            Some(o) => format!(
                "Of 1,000 good parts about {} would be rejected (between {} and {}, with 95 % confidence, from {:.0} good pictures tested).",
                parts(o.rate, 1000.0),
                parts(o.low, 1000.0),
                parts(o.high, 1000.0),
                o.n
            ),
        };
        let next = self.next_steps();
        let next = next.first().map_or("nothing in these figures asks for more pictures", |(short, _)| short.as_str());
        let promise = if self.has_own_threshold {
            "This test used another threshold than the recipe's, so that the recipe's promise does not hold".to_owned()
        } else {
            format!("The recipe promises that {}", self.promise())
        };
        [caught, lost, format!("{promise}; next: {next}.")]
    }

    /// The promise in half a sentence.
    pub fn promise(&self) -> String {
        let p = &self.recipe.promise;
        let proved = p.proved();
        let most = if proved < 2 {
            format!("at most {} % of the good parts are rejected", parts(p.overkill_max, 100.0))
        } else {
            format!("at most 1 good part in {proved} is rejected")
        };
        format!("{most} ({:.0} % confidence, from {} good pictures held out)", 100.0 * p.confidence, p.held_out)
    }

    /// What to collect, most useful first: in a few words, and why. Plain text.
    pub fn next_steps(&self) -> Vec<(String, String)> {
        let mut steps = Vec::new();
        let (promise, teaching) = (&self.recipe.promise, &self.recipe.teaching);
        if let [first, more @ ..] = &teaching.suspects[..] {
            let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
            steps.push((
                format!("look at {first}{more} again, and teach again"),
                format!("what they show does not look like what they were taught as: {}", teaching.suspects.join(", ")),
            ));
        }
        if let Some(worst) = self.kinds().iter().filter(|k| k.escape.rate > ESCAPE_WORTH).max_by(|a, b| {
            (a.escape.rate * a.escape.n).total_cmp(&(b.escape.rate * b.escape.n)).then(b.kind.cmp(&a.kind))
        }) {
            let passed = worst.escape.rate * worst.escape.n;
            steps.push((
                format!("collect and teach more defective parts of the kind {}", worst.kind),
                format!("{:.0} of {:.0} of them pass, the most of all kinds", passed, worst.escape.n),
            ));
        }
        if promise.proved() < promise.one_in && promise.held_out > 0 {
            let share = promise.held_out as f64 / teaching.good.max(1) as f64;
            let more = promise.good_needed as f64 / share - teaching.good as f64;
            // Nobody counts them to the last one.
            let more = 10.0 * (more / 10.0).ceil();
            steps.push((
                format!("collect and teach about {more:.0} more good parts"),
                format!(
                    "{} were held out to set the threshold; {} would allow the promise of 1 in {}",
                    promise.held_out, promise.good_needed, promise.one_in
                ),
            ));
        }
        if teaching.bad < KNOWN_ENOUGH {
            steps.push((
                format!("collect and teach {} known defective parts", KNOWN_ENOUGH - teaching.bad),
                format!("{} were taught; {KNOWN_ENOUGH} are a good start", teaching.bad),
            ));
        }
        if let Some(o) = self.overkill().filter(|o| !self.has_own_threshold && o.low > promise.overkill_max) {
            steps.push((
                "collect and teach good parts like the false alarms below".to_owned(),
                format!("{} % of the good pictures are rejected, more than promised", parts(o.rate, 100.0)),
            ));
        }
        match self.escape() {
            None => steps.push((
                "collect defective parts for the test".to_owned(),
                "without them nobody knows what escapes".to_owned(),
            )),
            Some(e) if e.high - e.low > WIDE => steps.push((
                "collect more defective parts for the test".to_owned(),
                format!(
                    "{:.0} leave open whether {} or {} of 100 pass",
                    e.n,
                    parts(e.low, 100.0),
                    parts(e.high, 100.0)
                ),
            )),
            Some(_) => {}
        }
        steps
    }

    /// Each kind of defect over all runs.
    pub fn kinds(&self) -> Vec<Kind> {
        let names: std::collections::BTreeSet<&String> = self.runs.iter().flat_map(|r| r.by_kind.keys()).collect();
        let of = |kind: &String| {
            let seen: Vec<_> = self.runs.iter().filter_map(|r| r.by_kind.get(kind)).collect();
            let aurocs: Vec<f64> = seen.iter().filter_map(|k| k.auroc_image).collect();
            let escape = Rate::over(&seen.iter().map(|k| (k.escape, k.count)).collect::<Vec<_>>())?;
            Some(Kind { kind: kind.clone(), auroc: metrics::mean(&aurocs), escape })
        };
        names.into_iter().filter_map(of).collect()
    }
}

/// One kind of defect.
pub struct Kind {
    /// Its name.
    pub kind: String,
    /// Its AUROC against the good pictures.
    pub auroc: Option<f64>,
    /// The share that passes.
    pub escape: Rate,
}

/// A share as per cent with its interval, as HTML.
pub fn per_cent(rate: Option<Rate>) -> String {
    rate.map_or_else(
        || "–".to_owned(),
        |r| {
            let interval = format!("({} to {})", parts(r.low, 100.0), parts(r.high, 100.0));
            format!("{} % <small>{}</small>", parts(r.rate, 100.0), escape(&interval))
        },
    )
}
