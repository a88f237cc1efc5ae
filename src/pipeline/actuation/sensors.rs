//! What comes in beside triggers and frames: the encoder, the eye at the bin, and what people press and switch.

use std::time::Duration;

use super::Actuation;
use crate::clock::Timestamp;
use crate::decide::{Part, Verdict};
use crate::gpio::{Edge, Level, LineFault, TriggerInput};
use crate::pipeline::recording::Note;
use crate::reject::{self, Channel, PulseOutcome};
use crate::telemetry::{Counters, Fault};

use super::Panel;

/// The lines of a recipe number need not switch at the same instant; it counts when they have rested this long. Chosen:
/// longer than the contacts of a selector switch bounce.
const RECIPE_SETTLE: Duration = Duration::from_millis(50);

/// So many parts in a row while the belt is said to stand are a broken encoder. Chosen: one may be a hand in the light
/// barrier, two the part that is taken out and put back.
const PARTS_ON_A_STANDING_BELT: u32 = 3;

/// How long a run that ends waits for a belt that stands to go on. Chosen: long enough for the inspections that are
/// under way, far below the 90 s after which systemd ends a process the hard way.
pub(super) const END_GRACE: Duration = Duration::from_secs(2);

type Input = Option<Box<dyn TriggerInput>>;

/// The inputs beside the trigger; `None` where not wired.
///
/// `bin_full` and `recipe` are states: requested with [`InitialLevel::Reported`](crate::gpio::InitialLevel), each reports
/// a level that is active when the run starts as its first edge. On the others an edge is an event, and only what changes
/// while the run goes on is one.
#[derive(Default)]
pub struct Sensors {
    /// The encoder's channel A.
    pub encoder_a: Input,
    /// The encoder's channel B.
    pub encoder_b: Input,
    /// The eye at the bin.
    pub confirm: Input,
    /// High while the bin is full.
    pub bin_full: Input,
    /// Rises when a person acknowledges faults and alarms.
    pub reset: Input,
    /// The digits of a binary number, those that count 1, 2, 4 and 8; one that is not wired is 0.
    pub recipe: [Input; 4],
}

impl Sensors {
    pub(super) fn all(&mut self) -> impl Iterator<Item = &mut Box<dyn TriggerInput>> {
        let single = [&mut self.encoder_a, &mut self.encoder_b, &mut self.confirm, &mut self.bin_full, &mut self.reset];
        single.into_iter().chain(&mut self.recipe).flatten()
    }

    fn next_at(&self) -> Option<Timestamp> {
        let single = [&self.encoder_a, &self.encoder_b, &self.confirm, &self.bin_full, &self.reset];
        single.into_iter().chain(&self.recipe).flatten().filter_map(|input| input.next_at()).min()
    }
}

/// What the loop remembers about them.
#[derive(Debug, Default)]
pub(super) struct Watched {
    /// The oldest edge of each channel that was not fed yet.
    pending: [Option<Edge>; 2],
    slips: u64,
    bin_is_full: bool,
    /// By the camera's own words.
    pub(super) camera_is_down: bool,
    recipe: Recipe,
    parts_standing: u32,
    /// Since when the belt stands; `None` while it moves.
    pub(super) standing_since: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct Recipe {
    number: u32,
    changed_at: Option<Timestamp>,
    reported: Option<u32>,
}

/// A part that was hit and is expected at the bin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hit {
    part: Part,
    verdict: Verdict,
    pulse: PulseOutcome,
}

impl Actuation {
    pub(super) fn start_watching(&mut self) {
        let now = self.shared.clock.now();
        self.watched.standing_since = self.belt.is_measured().then_some(now);
        self.watched.recipe.changed_at = self.sensors.recipe.iter().any(Option::is_some).then_some(now);
    }

    /// When an input, the belt or an expectation will have something to say without a ring.
    pub(super) fn next_watched_at(&self) -> Option<Timestamp> {
        let settled = self.watched.recipe.changed_at.map(|at| at + RECIPE_SETTLE);
        let missing = self.confirmations.as_ref().and_then(|c| c.next_at(&*self.belt));
        [self.sensors.next_at(), self.belt.next_change(), settled, missing, self.gives_up_belt_at()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Feeds the encoder's edges and plans everything again that is open.
    pub(super) fn read_belt(&mut self) {
        if !self.belt.is_measured() {
            return;
        }
        let now = self.shared.clock.now();
        loop {
            for (channel, pending) in [Channel::A, Channel::B].into_iter().zip(0..) {
                if self.watched.pending[pending].is_none() {
                    match encoder(&mut self.sensors, channel).as_mut().map(|input| input.next_edge(now)) {
                        Some(Ok(edge)) => self.watched.pending[pending] = edge,
                        Some(Err(line)) => self.lose_encoder(channel, line),
                        None => {}
                    }
                }
            }
            let (channel, edge) = match self.watched.pending {
                [Some(a), Some(b)] if b.at < a.at => (Channel::B, b),
                [Some(a), _] => (Channel::A, a),
                [None, Some(b)] => (Channel::B, b),
                [None, None] => break,
            };
            self.watched.pending[usize::from(channel == Channel::B)] = None;
            self.belt.feed(channel, edge);
        }
        self.belt.observe(now);
        let (settings, belt) = (&self.settings, &*self.belt);
        self.ledger.replan(|part| {
            let plan = reject::plan_at(settings, belt, part.position);
            (part.fire_at, part.deadline) = (plan.fire_at, plan.deadline);
        });
        self.report_belt(now);
    }

    fn lose_encoder(&mut self, channel: Channel, line: LineFault) {
        // Without it nobody knows where the parts are: the only honest answer is to end the run.
        *encoder(&mut self.sensors, channel) = None;
        self.fault(Fault::Encoder, None, line.to_string());
        self.shared.fail(line.into());
    }

    fn report_belt(&mut self, now: Timestamp) {
        let is_moving = self.belt.is_moving();
        if is_moving == self.watched.standing_since.is_some() {
            self.watched.standing_since = (!is_moving).then_some(now);
            self.watched.parts_standing = 0;
            if !is_moving {
                Counters::add(&self.shared.counters.belt_stops);
            }
            self.note(Note::Belt { at: now, moving: is_moving });
        }
        let slips = self.belt.slips();
        if slips > std::mem::replace(&mut self.watched.slips, slips) {
            let message = format!("{slips} edges of the encoder were lost so far: check its cable and its frequency");
            self.fault(Fault::EncoderSlip, None, message);
        }
    }

    /// A part was triggered: on a belt that stands that should not happen, and not again and again.
    pub(super) fn suspect_encoder(&mut self) {
        if self.watched.standing_since.is_none() {
            return;
        }
        self.watched.parts_standing += 1;
        if self.watched.parts_standing == PARTS_ON_A_STANDING_BELT {
            let message = "parts come while the encoder says that the belt stands: check its cable and [encoder]";
            self.fault(Fault::EncoderSilent, None, message);
            self.take_measures(self.safety.missed_reject());
        }
    }

    /// When a run that ends no longer waits for a belt that stands.
    pub(super) fn gives_up_belt_at(&self) -> Option<Timestamp> {
        Some(self.stopping_since?.max(self.watched.standing_since?) + END_GRACE)
    }

    /// The run ends and the belt does not go on: what waits on it gets its record, and nothing is fired any more.
    pub(super) fn give_up_belt(&mut self) {
        self.abandon(crate::decide::Reason::Shutdown);
        let now = self.shared.clock.now();
        self.schedule.drop_planned();
        for mut settled in std::mem::take(&mut self.awaiting_pulse) {
            self.plan_again(&mut settled.part);
            self.close(settled, Some((PulseOutcome::Failed, now)));
        }
        while let Some(hit) = self.confirmations.as_mut().and_then(|c| c.abandon()) {
            self.missed(hit.part, hit.verdict, hit.pulse, now);
        }
    }

    pub(super) fn take_sensors(&mut self) {
        while let Some(edge) = self.sensor_edge(|s| &mut s.confirm) {
            if edge.level == Level::High {
                self.take_confirmation(edge.at);
            }
        }
        while let Some(edge) = self.sensor_edge(|s| &mut s.bin_full) {
            self.watched.bin_is_full = edge.level == Level::High;
            if self.watched.bin_is_full {
                self.fault(Fault::BinFull, None, "the bin of rejects is full: empty it, then reset");
                self.take_measures(self.safety.missed_reject());
            }
        }
        while let Some(edge) = self.sensor_edge(|s| &mut s.reset) {
            if edge.level == Level::High {
                self.acknowledge();
            }
        }
        self.take_recipe();
        let now = self.shared.clock.now();
        while let Some(hit) = self.confirmations.as_mut().and_then(|c| c.missing(now, &*self.belt)) {
            self.missed(hit.part, hit.verdict, hit.pulse, now);
        }
    }

    /// The next edge of an input; one that can no longer be read is reported and given up.
    fn sensor_edge(&mut self, which: fn(&mut Sensors) -> &mut Input) -> Option<Edge> {
        let now = self.shared.clock.now();
        let input = which(&mut self.sensors);
        match input.as_mut()?.next_edge(now) {
            Ok(edge) => edge,
            Err(line) => {
                *input = None;
                self.fault(Fault::Input, None, line.to_string());
                None
            }
        }
    }

    /// A part that was hit is expected at the bin, where there is an eye.
    pub(super) fn expect_at_bin(&mut self, part: Part, verdict: Verdict, pulse: PulseOutcome, at: Timestamp) {
        let Some(confirmations) = &mut self.confirmations else { return };
        if confirmations.expect(part.position, Hit { part, verdict, pulse }).is_err() {
            self.missed(part, verdict, pulse, at);
        }
    }

    fn take_confirmation(&mut self, at: Timestamp) {
        let seen = self.confirmations.as_mut().and_then(|c| c.seen(at, &*self.belt));
        Counters::add(match seen {
            Some(_) => &self.shared.counters.rejects_confirmed,
            None => &self.shared.counters.confirmations_unexpected,
        });
    }

    /// A person has seen what there is: outputs that called for one go down, but for what is still there. A line that
    /// stands because rejects have nowhere to go must not start because somebody has seen it.
    fn acknowledge(&mut self) {
        self.alarms.acknowledge();
        self.watched.parts_standing = 0;
        if self.sight.acknowledge() {
            self.show_ready();
        }
        self.needs_person = self.watched.bin_is_full || self.watched.camera_is_down;
        if !(self.watched.bin_is_full && self.safety.missed_reject().stop_line) {
            self.raise(Panel::stop_line, false);
        }
        self.raise(Panel::fault, self.needs_person);
        self.note(Note::Acknowledged { at: self.shared.clock.now() });
    }

    fn take_recipe(&mut self) {
        let now = self.shared.clock.now();
        for digit in 0..self.sensors.recipe.len() {
            while let Some(input) = &mut self.sensors.recipe[digit] {
                match input.next_edge(now) {
                    Ok(Some(edge)) => {
                        let bit = 1 << digit;
                        let number = self.watched.recipe.number & !bit;
                        self.watched.recipe.number = number | if edge.level == Level::High { bit } else { 0 };
                        self.watched.recipe.changed_at = Some(edge.at);
                    }
                    Ok(None) => break,
                    Err(line) => {
                        // Half a number is none.
                        self.sensors.recipe = Default::default();
                        self.watched.recipe.changed_at = None;
                        self.fault(Fault::Input, None, line.to_string());
                        return;
                    }
                }
            }
        }
        let recipe = &mut self.watched.recipe;
        if recipe.changed_at.is_some_and(|at| at + RECIPE_SETTLE <= now) {
            recipe.changed_at = None;
            let number = recipe.number;
            if recipe.reported.replace(number) != Some(number) {
                self.note(Note::RecipeSelected { at: now, number });
            }
        }
    }
}

fn encoder(sensors: &mut Sensors, channel: Channel) -> &mut Input {
    match channel {
        Channel::A => &mut sensors.encoder_a,
        Channel::B => &mut sensors.encoder_b,
    }
}
