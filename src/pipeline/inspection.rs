//! The inspection loop (`insp`): jobs in, scores out. May be late; blocks nobody.

use std::ops::RangeInclusive;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::queue::Next;
use super::{Outcome, Scored, Shared};
use crate::inspect::Inspect;
use crate::telemetry::Counters;
use crate::units::PartId;

/// How long an inspection takes on the run's clock.
pub enum InspectionCost {
    /// As long as it takes: for real clocks.
    Measured,
    /// A modelled time for each part, slept on the clock: for simulated clocks, on which work itself takes none.
    Modelled(Box<dyn FnMut(PartId) -> Duration + Send>),
}

impl InspectionCost {
    /// A time drawn uniformly from `range`, a pure function of the seed and the part.
    pub fn seeded(seed: u64, range: RangeInclusive<Duration>) -> Self {
        Self::Modelled(Box::new(move |part| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(part.0);
            let (low, high) = (range.start().as_nanos() as u64, range.end().as_nanos() as u64);
            Duration::from_nanos(rng.random_range(low..=high.max(low)))
        }))
    }
}

/// Inspects until `act` closes the link.
///
/// A part whose verdict is final already is skipped: inspecting it would only make the next one late. A frame is looked
/// at before it is judged; one that shows nothing to judge never gets a score.
pub fn inspection(shared: &Shared, inspect: &mut dyn Inspect, cost: &mut InspectionCost) {
    loop {
        let job = match shared.jobs.next() {
            Next::Item(job) => job,
            Next::Closed => {
                shared.board.beats.inspecting.clear();
                return;
            }
            Next::Empty => {
                shared.board.beats.inspecting.clear();
                shared.clock.wait(&shared.insp_bell, None);
                continue;
            }
        };
        let started_at = shared.clock.now();
        shared.board.beats.inspecting.set(started_at);
        if started_at >= job.deadline {
            Counters::add(&shared.counters.skipped);
            continue;
        }
        let outcome = match inspect.look(&job.frame) {
            Some(unseen) => Outcome::Unseen(unseen),
            None => inspect.inspect(&job.frame).map_or_else(Outcome::Failed, Outcome::Judged),
        };
        if let (InspectionCost::Modelled(cost), Outcome::Judged(_) | Outcome::Failed(_)) = (&mut *cost, &outcome) {
            shared.clock.sleep_until(started_at + cost(job.part));
        }
        let scored = Scored { part: job.part, dequeued_at: job.frame.dequeued_at, started_at, outcome };
        if shared.scores.try_push(scored).is_err() {
            shared.scores_lost.fetch_add(1, Ordering::SeqCst);
        }
    }
}
