//! Calibration: from passes of a part, fired at or not, to the travel and the latency of `[reject]`. Pure.
//!
//! What can be measured with a trigger and an eye at the bin, and nothing else: for each pass, whether a pulse that began
//! so long after the trigger rejected the part, and when the eye saw it.
//!
//! ```text
//!  trigger        earliest that hits     aim      latest that hits          eye at the bin
//! ────┼────────────────┼──────────────────┼──────────────┼─────────────────────┼──────►  time after the trigger
//!     │                └── pulses that begin here reject ┘                     │
//!     └───────────────────────── seen (fired at the aim) ──────────────────────┘
//! ```
//!
//! * The **aim** is the middle of the pulses that hit: there the part may come as much early as late.
//! * `travel_mm` = how far the belt has moved when the eye sees a part that was fired at the aim, less
//!   `[confirm] travel_mm`: the place where the part leaves the belt, so that the run expects it at the bin when it comes.
//! * `actuator_latency_ms` = the time for that travel, less the aim, so that the run raises the line at the aim.
//!
//! The aim is exact whatever `[confirm] travel_mm` is worth: an error there moves travel and latency together and matters
//! only on a belt that changes its speed. With a pulse longer than the part the latency holds half of the difference, by
//! which the pulse must come before the part to have it in its middle; [`Estimate::dead_ms`] is without it.
//!
//! Pulses come early and late on purpose. An air jet or a gate does not mind; a pusher may be out when the part comes, so
//! somebody stands beside it.
//!
//! The edges are found by halving, one pass each, from a first hit: blank ─► first hit ─► latest ─► earliest ─► repeats.

use std::time::Duration;

use crate::units::Millimetres;

use crate::stats;

/// Pulses tried, each a width from the last, before it is said that none hits. Chosen: six widths to either side.
const TRIES: u32 = 13;
/// Widths by which an edge may be away from a hit.
const WIDTHS: u32 = 12;

/// Where to look, in milliseconds after the trigger.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CalibrationPlan {
    /// Where a pulse should begin as far as is known.
    pub guess_ms: f64,
    /// No pulse can begin before this: its trigger is not known earlier.
    pub earliest_ms: f64,
    /// How long the line is active.
    pub width_ms: f64,
    /// An edge is known when it lies between two pulses that are no further apart.
    pub resolution_ms: f64,
    /// Passes at the aim.
    pub repeats: usize,
}

/// What to do with the next part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shot {
    /// Let it pass: the eye must not see it.
    Blank,
    /// Begin a pulse this long after the trigger, in milliseconds.
    At(f64),
}

/// Why there is nothing to measure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CalibrationError {
    /// The eye saw a part that was not fired at.
    EyeSeesAll,
    /// No pulse between these beginnings was seen to reject the part.
    NothingHits { from_ms: f64, to_ms: f64 },
    /// Pulses hit as early as can be tried.
    NoEarliest,
    /// Pulses hit however late they come.
    NoLatest,
    /// At the aim, so many of so many were seen.
    Unsteady { seen: usize, of: usize },
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Blank,
    Finding {
        tries: u32,
    },
    /// Beginnings that hit and, once known, that miss; the `first` that hit is where the earliest is looked for.
    Latest {
        first: f64,
        hit: f64,
        miss: Option<f64>,
    },
    Earliest {
        hit: f64,
        miss: Option<f64>,
        latest: f64,
    },
    Repeating {
        hits: Interval,
        seen: usize,
        of: usize,
    },
    Over(Result<Interval, CalibrationError>),
}

/// The beginnings of pulses that reject the part, in milliseconds after the trigger.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The earliest.
    pub from_ms: f64,
    /// The latest.
    pub to_ms: f64,
}

impl Interval {
    /// Its middle.
    pub fn aim_ms(&self) -> f64 {
        f64::midpoint(self.from_ms, self.to_ms)
    }

    /// By how much a part may come early or late when the pulse begins at the aim.
    pub fn margin_ms(&self) -> f64 {
        (self.to_ms - self.from_ms) / 2.0
    }
}

/// The search for the pulses that hit; fed a pass at a time.
#[derive(Clone, Debug)]
pub struct Search {
    plan: CalibrationPlan,
    phase: Phase,
    first_hit_tried: [f64; 2],
}

impl Search {
    /// A search that begins with a pass without a pulse.
    pub fn new(plan: CalibrationPlan) -> Self {
        Self { plan, phase: Phase::Blank, first_hit_tried: [plan.guess_ms; 2] }
    }

    /// What to do with the next part; `None` when the search is over.
    pub fn next(&self) -> Option<Shot> {
        let CalibrationPlan { width_ms: width, earliest_ms: earliest, .. } = self.plan;
        Some(match self.phase {
            Phase::Blank => Shot::Blank,
            Phase::Finding { tries } => Shot::At(self.beginning(tries)),
            Phase::Latest { hit, miss, .. } => Shot::At(miss.map_or(hit + width, |miss| f64::midpoint(hit, miss))),
            Phase::Earliest { hit, miss, .. } => {
                Shot::At(miss.map_or((hit - width).max(earliest), |miss| f64::midpoint(hit, miss)))
            }
            Phase::Repeating { hits, .. } => Shot::At(hits.aim_ms()),
            Phase::Over(_) => return None,
        })
    }

    /// Takes what became of the part: when its pulse began, as it really did, and whether the eye saw it.
    pub fn answer(&mut self, began_ms: Option<f64>, was_seen: bool) {
        let CalibrationPlan {
            width_ms: width,
            earliest_ms: earliest,
            guess_ms: guess,
            resolution_ms: resolution,
            repeats,
        } = self.plan;
        let began = began_ms.unwrap_or(guess);
        let is_far = |from: f64| (from - guess).abs() > f64::from(WIDTHS) * width + guess;
        self.phase = match self.phase {
            Phase::Blank if was_seen => Phase::Over(Err(CalibrationError::EyeSeesAll)),
            Phase::Blank => Phase::Finding { tries: 0 },
            Phase::Finding { .. } if was_seen => Phase::Latest { first: began, hit: began, miss: None },
            Phase::Finding { tries } => {
                self.first_hit_tried = [self.first_hit_tried[0].min(began), self.first_hit_tried[1].max(began)];
                let [from_ms, to_ms] = self.first_hit_tried;
                match (tries + 1..TRIES).find(|tries| self.beginning(*tries) >= earliest) {
                    Some(tries) => Phase::Finding { tries },
                    None => Phase::Over(Err(CalibrationError::NothingHits { from_ms, to_ms })),
                }
            }
            Phase::Latest { miss, .. } if was_seen && is_far(began) && miss.is_none() => {
                Phase::Over(Err(CalibrationError::NoLatest))
            }
            Phase::Latest { first, hit, miss } => {
                let (hit, miss) = if was_seen { (began, miss) } else { (hit, Some(began)) };
                match miss {
                    Some(miss) if miss - hit <= resolution => {
                        Phase::Earliest { hit: first, miss: None, latest: f64::midpoint(hit, miss) }
                    }
                    miss => Phase::Latest { first, hit, miss },
                }
            }
            Phase::Earliest { miss: None, .. } if was_seen && began <= earliest + resolution => {
                Phase::Over(Err(CalibrationError::NoEarliest))
            }
            Phase::Earliest { hit, miss, latest } => {
                let (hit, miss) = if was_seen { (began, miss) } else { (hit, Some(began)) };
                match miss {
                    Some(miss) if hit - miss <= resolution => {
                        let hits = Interval { from_ms: f64::midpoint(hit, miss), to_ms: latest };
                        Phase::Repeating { hits, seen: 0, of: 0 }
                    }
                    miss => Phase::Earliest { hit, miss, latest },
                }
            }
            Phase::Repeating { hits, seen, of } => {
                let (seen, of) = (seen + usize::from(was_seen), of + 1);
                match of {
                    of if of < repeats => Phase::Repeating { hits, seen, of },
                    of if seen < of => Phase::Over(Err(CalibrationError::Unsteady { seen, of })),
                    _ => Phase::Over(Ok(hits)),
                }
            }
            Phase::Over(outcome) => Phase::Over(outcome),
        };
    }

    /// Where a pulse should begin as far as is known, in milliseconds after the trigger.
    pub fn guess_ms(&self) -> f64 {
        self.plan.guess_ms
    }

    /// Whether the next pass is one of the repeats at the aim, from which the times come.
    pub fn is_repeating(&self) -> bool {
        matches!(self.phase, Phase::Repeating { .. })
    }

    /// How it ended; `None` while it goes on.
    pub fn outcome(&self) -> Option<Result<Interval, CalibrationError>> {
        if let Phase::Over(outcome) = self.phase { Some(outcome) } else { None }
    }

    /// Passes that are still to come if the first pulse hits, as far as can be said.
    pub fn passes_left(&self) -> usize {
        let CalibrationPlan { width_ms: width, resolution_ms: resolution, repeats, .. } = self.plan;
        let halvings = |from: f64| (from / resolution).log2().ceil().max(0.0) as usize;
        let edge = 1 + halvings(width);
        let left = |hit: f64, miss: Option<f64>| miss.map_or(edge, |miss| halvings((miss - hit).abs()));
        match self.phase {
            Phase::Blank => 2 + 2 * edge + repeats,
            Phase::Finding { .. } => 1 + 2 * edge + repeats,
            Phase::Latest { hit, miss, .. } => left(hit, miss) + edge + repeats,
            Phase::Earliest { hit, miss, .. } => left(hit, miss) + repeats,
            Phase::Repeating { of, .. } => repeats - of,
            Phase::Over(_) => 0,
        }
    }

    /// The beginnings in the order in which a first hit is looked for: the guess, then to and fro.
    fn beginning(&self, tries: u32) -> f64 {
        let steps = f64::from(tries.div_ceil(2)) * if tries % 2 == 1 { 1.0 } else { -1.0 };
        self.plan.guess_ms + steps * self.plan.width_ms
    }
}

/// A pass at the aim.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pass {
    /// From the trigger to the eye.
    pub seen: Duration,
    /// How far the belt has moved meanwhile.
    pub moved: Millimetres,
}

/// Several measurements of one thing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The one in the middle.
    pub median: f64,
    /// From the least to the most.
    pub range: f64,
    /// How many.
    pub count: usize,
}

impl Spread {
    /// Of these values; `None` of none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        let median = stats::median(&mut values)?;
        let count = values.len();
        let (first, last) = (stats::nth(&mut values, 0)?, stats::nth(&mut values, count - 1)?);
        Some(Self { median, range: last - first, count })
    }
}

/// What the passes come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// From the trigger to the eye, in milliseconds.
    pub seen_ms: Spread,
    /// The belt's speed in these passes.
    pub speed_mm_s: f64,
    /// For `[reject] travel_mm`.
    pub travel_mm: f64,
    /// For `[reject] actuator_latency_ms`.
    pub latency_ms: f64,
}

/// Why the passes come to nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CalibrationWarning {
    /// No pass was seen.
    NoPass,
    /// The times differ by more than the pulses that hit allow.
    TooWide { range_ms: f64, margin_ms: f64 },
    /// The eye sees the part before the belt can have brought it there, or so late that no actuator is so slow.
    Impossible { latency_ms: f64 },
}

/// The slowest actuator: the most that `[reject] actuator_latency_ms` takes.
const LATENCY_MS_MAX: f64 = 2000.0;
/// A latency below zero by no more than this is none: a fast valve, and edges known to a few milliseconds.
const NOISE_MS: f64 = 3.0;

/// Concludes from the passes at the aim; `eye` is from the actuator to the eye along the belt.
///
/// # Errors
/// [`CalibrationWarning`] where they contradict each other or what was measured by hand.
pub fn estimate(hits: Interval, passes: &[Pass], eye: Millimetres) -> Result<Estimate, CalibrationWarning> {
    let seen_ms =
        Spread::of(passes.iter().map(|pass| pass.seen.as_secs_f64() * 1e3)).ok_or(CalibrationWarning::NoPass)?;
    let moved = Spread::of(passes.iter().map(|pass| pass.moved.0)).ok_or(CalibrationWarning::NoPass)?;
    if seen_ms.range > hits.margin_ms() {
        return Err(CalibrationWarning::TooWide { range_ms: seen_ms.range, margin_ms: hits.margin_ms() });
    }
    let speed_mm_s = moved.median / seen_ms.median * 1e3;
    let travel_mm = moved.median - eye.0;
    let latency_ms = travel_mm / speed_mm_s * 1e3 - hits.aim_ms();
    if (-NOISE_MS..0.0).contains(&latency_ms) {
        // The line must rise at the aim, whatever the ruler says.
        let travel_mm = hits.aim_ms() / 1e3 * speed_mm_s;
        return Ok(Estimate { seen_ms, speed_mm_s, travel_mm, latency_ms: 0.0 });
    }
    // A speed of zero ends here too: no comparison with what is not a number holds.
    if travel_mm > 0.0 && (0.0..=LATENCY_MS_MAX).contains(&latency_ms) {
        Ok(Estimate { seen_ms, speed_mm_s, travel_mm, latency_ms })
    } else {
        Err(CalibrationWarning::Impossible { latency_ms })
    }
}

impl Estimate {
    /// The actuator's own dead time, in milliseconds: the latency without the lead that a pulse of `width_ms` has which
    /// is longer than a part that covers the trigger's eye for `body_ms`.
    pub fn dead_ms(&self, width_ms: f64, body_ms: f64) -> f64 {
        self.latency_ms - ((width_ms - body_ms) / 2.0).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: CalibrationPlan =
        CalibrationPlan { guess_ms: 290.0, earliest_ms: 5.0, width_ms: 50.0, resolution_ms: 3.0, repeats: 5 };

    /// Plays a search against pulses that hit between these beginnings; the passes it took.
    fn play(plan: CalibrationPlan, hits: std::ops::Range<f64>) -> (Search, usize) {
        let (mut search, mut passes) = (Search::new(plan), 0);
        while let Some(shot) = search.next() {
            passes += 1;
            assert!(passes < 100, "it does not end: {search:?}");
            match shot {
                Shot::Blank => search.answer(None, false),
                Shot::At(ms) => {
                    assert!(ms >= plan.earliest_ms, "{ms}");
                    search.answer(Some(ms), hits.contains(&ms));
                }
            }
        }
        (search, passes)
    }

    #[test]
    fn the_middle_of_what_hits_is_found_wherever_the_guess_was() {
        for (from, to) in [(240.0, 340.0), (289.0, 295.0), (330.0, 480.0), (60.0, 190.0), (10.0, 70.0), (500.0, 551.0)]
        {
            let (search, passes) = play(PLAN, from..to);
            let hits = search.outcome().unwrap().unwrap_or_else(|trouble| panic!("{from}..{to}: {trouble:?}"));
            assert!((hits.from_ms - from).abs() <= 1.5 && (hits.to_ms - to).abs() <= 1.5, "{from}..{to}: {hits:?}");
            assert!(passes <= 35, "{passes} passes for {from}..{to}");
        }
    }

    #[test]
    fn the_passes_left_are_said_beforehand_where_the_guess_is_good() {
        let said = Search::new(PLAN).passes_left();
        let (_, passes) = play(PLAN, 245.0..335.0);
        assert_eq!((said, passes), (19, 19));
        assert_eq!(play(PLAN, 245.0..335.0).0.passes_left(), 0);
    }

    #[test]
    fn what_cannot_be_measured_is_named() {
        let mut search = Search::new(PLAN);
        search.answer(None, true);
        assert_eq!(search.outcome(), Some(Err(CalibrationError::EyeSeesAll)));
        let over = |hits| play(PLAN, hits).0.outcome().unwrap();
        assert_eq!(over(0.0..0.0), Err(CalibrationError::NothingHits { from_ms: 40.0, to_ms: 590.0 }));
        assert_eq!(over(0.0..400.0), Err(CalibrationError::NoEarliest));
        assert_eq!(over(200.0..1e9), Err(CalibrationError::NoLatest));
        let mut search = Search::new(PLAN);
        let mut misfires = 0;
        while let Some(shot) = search.next() {
            let Shot::At(ms) = shot else {
                search.answer(None, false);
                continue;
            };
            misfires += usize::from(search.is_repeating());
            search.answer(Some(ms), (240.0..340.0).contains(&ms) && misfires != 2);
        }
        assert_eq!(search.outcome(), Some(Err(CalibrationError::Unsteady { seen: 4, of: 5 })));
    }

    fn passes(seen_ms: &[f64]) -> Vec<Pass> {
        let pass = |ms: &f64| Pass { seen: Duration::from_secs_f64(ms / 1e3), moved: Millimetres(ms * 0.5) };
        seen_ms.iter().map(pass).collect()
    }

    #[test]
    fn travel_and_latency_follow_from_the_aim_and_the_eye() {
        // 500 mm/s; the part leaves the belt at 300 ms and is seen 200 ms later; pulses from 240 to 320 ms hit.
        let hits = Interval { from_ms: 240.0, to_ms: 320.0 };
        let found = estimate(hits, &passes(&[498.0, 500.0, 510.0]), Millimetres(100.0)).unwrap();
        assert!((found.travel_mm - 150.0).abs() < 1e-9 && (found.latency_ms - 20.0).abs() < 1e-9, "{found:?}");
        assert_eq!((found.seen_ms.median, found.seen_ms.count), (500.0, 3));
        assert!((found.seen_ms.range - 12.0).abs() < 1e-9 && (found.speed_mm_s - 500.0).abs() < 1e-9);
        // A pulse of 60 ms has 15 ms before and after a part of 30 ms.
        assert!((found.dead_ms(60.0, 30.0) - 5.0).abs() < 1e-9);
        assert!((found.dead_ms(30.0, 60.0) - 20.0).abs() < 1e-9);
    }

    #[test]
    fn an_actuator_that_needs_no_time_keeps_its_aim() {
        // Seen at 500 ms, 222 ms behind the actuator: 278 ms of travel for an aim of 280 ms.
        let hits = Interval { from_ms: 240.0, to_ms: 320.0 };
        let found = estimate(hits, &passes(&[500.0]), Millimetres(111.0)).unwrap();
        assert_eq!((found.latency_ms, found.travel_mm), (0.0, 140.0));
    }

    #[test]
    fn passes_that_contradict_are_refused() {
        let hits = Interval { from_ms: 240.0, to_ms: 320.0 };
        let eye = Millimetres(100.0);
        assert_eq!(estimate(hits, &[], eye), Err(CalibrationWarning::NoPass));
        let wide = estimate(hits, &passes(&[480.0, 500.0, 525.0]), eye);
        assert!(
            matches!(wide, Err(CalibrationWarning::TooWide { range_ms, margin_ms }) if range_ms > 44.0 && margin_ms == 40.0)
        );
        for eye in [120.0, 400.0] {
            let impossible = estimate(hits, &passes(&[500.0]), Millimetres(eye));
            assert!(matches!(impossible, Err(CalibrationWarning::Impossible { .. })), "{impossible:?}");
        }
        let standing = [Pass { seen: Duration::from_millis(500), moved: Millimetres(0.0) }];
        assert!(matches!(estimate(hits, &standing, eye), Err(CalibrationWarning::Impossible { .. })));
    }
}
