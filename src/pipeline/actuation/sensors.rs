//! What comes in beside triggers and frames: the encoder, the eye at the bin, and what people press and switch.

use std::sync::Arc;
use std::time::Duration;

use super::outbound::Outbound;
use super::supervision::Supervision;
use crate::clock::Timestamp;
use crate::gpio::{Edge, Level, LineFault, TriggerInput};
use crate::pipeline::Shared;
use crate::pipeline::recording::Note;
use crate::reject::{Belt, Channel};
use crate::telemetry::Fault;

/// The lines of a recipe number need not switch at the same instant; it counts when they have rested this long. Chosen:
/// longer than the contacts of a selector switch bounce.
const RECIPE_SETTLE: Duration = Duration::from_millis(50);

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

    fn encoder(&mut self, channel: Channel) -> &mut Input {
        match channel {
            Channel::A => &mut self.encoder_a,
            Channel::B => &mut self.encoder_b,
        }
    }
}

/// Brings the edges of the encoder's two channels into one order, that of their instants.
#[derive(Debug, Default)]
pub(super) struct ChannelMerge {
    /// The oldest edge of each channel that was not given yet.
    pending: [Option<Edge>; 2],
}

impl ChannelMerge {
    /// The next edge of either channel; call until `None`.
    ///
    /// # Errors
    /// With the channel whose line can no longer be read; the other goes on where that one is taken away.
    pub(super) fn next(
        &mut self,
        sensors: &mut Sensors,
        now: Timestamp,
    ) -> Result<Option<(Channel, Edge)>, (Channel, LineFault)> {
        for (channel, pending) in [Channel::A, Channel::B].into_iter().zip(&mut self.pending) {
            if let (Some(input), None) = (sensors.encoder(channel), &pending) {
                *pending = input.next_edge(now).map_err(|fault| (channel, fault))?;
            }
        }
        let first = match self.pending {
            [Some(a), Some(b)] if b.at < a.at => Some((Channel::B, b)),
            [Some(a), _] => Some((Channel::A, a)),
            [None, Some(b)] => Some((Channel::B, b)),
            [None, None] => None,
        };
        if let Some((channel, _)) = first {
            self.pending[usize::from(channel == Channel::B)] = None;
        }
        Ok(first)
    }
}

/// The number that a selector switch shows, once its lines have rested.
#[derive(Debug, Default)]
struct RecipeSelector {
    number: u32,
    changed_at: Option<Timestamp>,
    reported: Option<u32>,
}

impl RecipeSelector {
    /// A digit has changed.
    fn set(&mut self, digit: usize, edge: Edge) {
        let bit = 1 << digit;
        self.number = (self.number & !bit) | if edge.level == Level::High { bit } else { 0 };
        self.changed_at = Some(edge.at);
    }

    fn settles_at(&self) -> Option<Timestamp> {
        self.changed_at.map(|at| at + RECIPE_SETTLE)
    }

    /// The number, where it is another one and has rested.
    fn selected(&mut self, now: Timestamp) -> Option<u32> {
        self.settles_at().filter(|at| *at <= now)?;
        self.changed_at = None;
        (self.reported.replace(self.number) != Some(self.number)).then_some(self.number)
    }
}

/// Reads the sensors of a run.
pub(super) struct SensorReader {
    shared: Arc<Shared>,
    sensors: Sensors,
    encoder: ChannelMerge,
    recipe: RecipeSelector,
}

impl SensorReader {
    /// The sensors wake the loop's token from here on.
    pub(super) fn new(shared: &Arc<Shared>, mut sensors: Sensors) -> Self {
        sensors.all().for_each(|input| input.attach(&shared.clock, &shared.act_token));
        let shared = Arc::clone(shared);
        Self { shared, sensors, encoder: ChannelMerge::default(), recipe: RecipeSelector::default() }
    }

    /// The run begins: what the selector switch shows is news.
    pub(super) fn start(&mut self) {
        self.recipe.changed_at = self.sensors.recipe.iter().any(Option::is_some).then(|| self.shared.clock.now());
    }

    /// When a sensor has something to say without a wake-up.
    pub(super) fn next_at(&self) -> Option<Timestamp> {
        self.sensors.next_at().into_iter().chain(self.recipe.settles_at()).min()
    }

    /// Feeds the encoder's edges to the belt.
    pub(super) fn read_encoder(&mut self, now: Timestamp, belt: &mut dyn Belt, supervision: &mut Supervision) {
        loop {
            match self.encoder.next(&mut self.sensors, now) {
                Ok(Some((channel, edge))) => belt.feed(channel, edge),
                Ok(None) => break,
                Err((channel, line)) => {
                    // Without it nobody knows where the parts are: the only honest answer is to end the run.
                    *self.sensors.encoder(channel) = None;
                    supervision.fault(Fault::Encoder, None, line.to_string());
                    self.shared.fail(line.into());
                }
            }
        }
        belt.observe(now);
    }

    /// Takes what the other sensors say.
    pub(super) fn take(&mut self, outbound: &mut Outbound, supervision: &mut Supervision) {
        while let Some(edge) = self.next_edge(|s| &mut s.confirm, supervision) {
            if edge.level == Level::High {
                outbound.confirm(edge.at);
            }
        }
        while let Some(edge) = self.next_edge(|s| &mut s.bin_full, supervision) {
            supervision.bin_is(edge.level == Level::High);
        }
        while let Some(edge) = self.next_edge(|s| &mut s.reset, supervision) {
            if edge.level == Level::High {
                supervision.acknowledge();
            }
        }
        self.take_recipe(supervision);
        outbound.take_missing(supervision);
    }

    /// The next edge of an input; one that can no longer be read is reported and given up.
    fn next_edge(&mut self, which: fn(&mut Sensors) -> &mut Input, supervision: &mut Supervision) -> Option<Edge> {
        let now = self.shared.clock.now();
        let input = which(&mut self.sensors);
        match input.as_mut()?.next_edge(now) {
            Ok(edge) => edge,
            Err(line) => {
                *input = None;
                supervision.fault(Fault::Input, None, line.to_string());
                None
            }
        }
    }

    fn take_recipe(&mut self, supervision: &mut Supervision) {
        let now = self.shared.clock.now();
        for digit in 0..self.sensors.recipe.len() {
            while let Some(input) = &mut self.sensors.recipe[digit] {
                match input.next_edge(now) {
                    Ok(Some(edge)) => self.recipe.set(digit, edge),
                    Ok(None) => break,
                    Err(line) => {
                        // Half a number is none.
                        self.sensors.recipe = Default::default();
                        self.recipe.changed_at = None;
                        supervision.fault(Fault::Input, None, line.to_string());
                        return;
                    }
                }
            }
        }
        if let Some(number) = self.recipe.selected(now) {
            supervision.note(Note::RecipeSelected { at: now, number });
        }
    }
}
