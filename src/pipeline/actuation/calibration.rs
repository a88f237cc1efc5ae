//! The loop of a calibration: `act` with one part at a time, a pulse at a known instant, and an eye that tells.
//!
//! ```text
//!   waiting ──(trigger)──► pass ──(seen and the line at rest, or nothing for long)──► answer the search ──► waiting
//!                           └──(a second part, a pulse that came late)──► the pass does not count
//! ```
//!
//! Drives the reject line and the light as [`Actuation`](super::Actuation) does, and no other output: those rest at their
//! safe level while it holds them. The lines are at their safe levels when [`Bench::run`] returns, and after a panic.

use std::time::Duration;

use super::sensors::ChannelMerge;
use super::{AuxiliaryOutputs, Indicators, Sensors, Trigger};
use crate::camera::part_centre::PartCentreTracker;
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, Result};
use crate::gpio::{Level, SafeLine};
use crate::pipeline::queue::Next;
use crate::pipeline::{Captured, Shared};
use crate::reject::calibration::{CalibrationError, Interval, Pass, Search, Shot, Spread};
use crate::reject::{Actuator, Belt};
use crate::units::Millimetres;

/// Without a part for so long a person is told.
const NO_PART: Duration = Duration::from_secs(10);
/// The furthest that a part's frame may be from its trigger: what `trigger.exposure_offset_ms` takes.
const FRAME_REACH: Duration = Duration::from_secs(1);
/// What may spoil a pass in a row, less one. Chosen: a hand needs two tries; more is a belt with too many parts.
const SPOILT_MAX: u32 = 5;
/// A pulse further from where it should be makes its pass not count. Chosen: a tenth of a usual pulse; what is measured
/// is where it really was.
const LATE: Duration = Duration::from_millis(5);
/// How long a part may take beyond what is known of the line before the eye is taken to have not seen it.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the loop needs beside the links.
pub struct Bench {
    /// What starts a pass.
    pub trigger: Trigger,
    /// The eye at the bin, and the encoder where there is one; the others are not read.
    pub sensors: Sensors,
    /// The belt.
    pub belt: Box<dyn Belt>,
    /// The reject line.
    pub actuator: SafeLine,
    /// The outputs that show how the line is.
    pub indicators: Indicators,
    /// The outputs that follow each part.
    pub auxiliary: AuxiliaryOutputs,
    /// How long the line is active.
    pub pulse_width: Duration,
    /// From the actuator to the eye, as far as it is known.
    pub flight: Duration,
    /// Where to look.
    pub search: Search,
    /// Told of what happens, in this thread: it must not be slow.
    pub tell: Box<dyn FnMut(Word) + Send>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Word {
    /// A pass is over.
    Pass {
        /// Counted from 1.
        number: usize,
        /// How many are still to come, as far as can be said.
        left: usize,
        /// When its pulse began after the trigger, in milliseconds; `None` where none was to.
        began_ms: Option<f64>,
        /// When the eye saw the part.
        seen_ms: Option<f64>,
    },
    /// A pass that does not count, and why.
    Spoilt(String),
    /// No part for a while.
    Waiting,
    /// The camera fails: there will be no [`Measured::middle_ms`].
    NoCamera(String),
}

/// What came out.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The pulses that hit, or why that is not known.
    pub hits: Result<Interval, CalibrationError>,
    /// The passes at the aim that were seen.
    pub passes: Vec<Pass>,
    /// How long a part covers the trigger's eye, where that tells, in milliseconds.
    pub body_ms: Option<Spread>,
    /// From the trigger to the part in the middle of the picture, where the camera shows it, in milliseconds.
    pub middle_ms: Option<Spread>,
}

struct Passing {
    trigger_at: Timestamp,
    fire_at: Option<Timestamp>,
    began: Option<Timestamp>,
    release_at: Option<Timestamp>,
    seen: Option<Timestamp>,
    ends_at: Timestamp,
    spoilt: Option<String>,
}

impl Passing {
    /// When its pulse is to begin, if it still is.
    fn fires_at(&self) -> Option<Timestamp> {
        self.fire_at.filter(|_| self.began.is_none() && self.spoilt.is_none())
    }
}

struct Loop<'a> {
    shared: &'a Shared,
    trigger: Trigger,
    sensors: Sensors,
    belt: Box<dyn Belt>,
    actuator: Actuator,
    indicators: Indicators,
    auxiliary: AuxiliaryOutputs,
    pulse_width: Duration,
    flight: Duration,
    search: Search,
    tell: Box<dyn FnMut(Word) + Send>,
    pass: Option<Passing>,
    /// When the part that covers the trigger's eye came.
    covered_at: Option<Timestamp>,
    centres: PartCentreTracker,
    is_camera_told: bool,
    number: usize,
    spoilt: u32,
    heard_at: Timestamp,
    encoder: ChannelMerge,
    passes: Vec<Pass>,
    bodies: Vec<f64>,
    middles: Vec<f64>,
}

impl Bench {
    /// Runs until the search is over or the run has to end; `None` then, with the reason in `shared` where there is one.
    pub fn run(self, shared: &Shared) -> Option<Measured> {
        let Self { mut trigger, mut sensors, belt, actuator, indicators, auxiliary, .. } = self;
        let Self { pulse_width, flight, search, tell, .. } = self;
        if let Trigger::Edge { input, .. } = &mut trigger {
            input.attach(&shared.clock, &shared.act_token);
        }
        sensors.all().for_each(|input| input.attach(&shared.clock, &shared.act_token));
        let mut this = Loop {
            actuator: Actuator::new(actuator),
            pass: None,
            covered_at: None,
            centres: PartCentreTracker::default(),
            is_camera_told: false,
            number: 0,
            spoilt: 0,
            heard_at: shared.clock.now(),
            encoder: ChannelMerge::default(),
            passes: Vec::new(),
            bodies: Vec::new(),
            middles: Vec::new(),
            shared,
            trigger,
            sensors,
            belt,
            indicators,
            auxiliary,
            pulse_width,
            flight,
            search,
            tell,
        };
        let outcome = this.run();
        this.actuator.make_safe();
        this.auxiliary.make_safe();
        this.indicators.make_safe();
        if let Err(error) = outcome {
            shared.fail(error);
        }
        let Loop { search, passes, bodies, middles, .. } = this;
        let hits = search.outcome()?;
        Some(Measured { hits, passes, body_ms: Spread::of(bodies), middle_ms: Spread::of(middles) })
    }
}

impl Loop<'_> {
    fn run(&mut self) -> Result<()> {
        while self.search.next().is_some() && !self.shared.stop.is_requested() {
            self.read_belt()?;
            self.drive()?;
            self.take_triggers()?;
            self.take_frames()?;
            self.take_eye()?;
            self.end_pass()?;
            self.drive()?;
            let now = self.shared.clock.now();
            if self.pass.is_none() && now.since(self.heard_at) >= NO_PART {
                self.heard_at = now;
                (self.tell)(Word::Waiting);
            }
            self.shared.clock.wait(&self.shared.act_token, self.next_at());
        }
        Ok(())
    }

    fn next_at(&self) -> Option<Timestamp> {
        let trigger = match &self.trigger {
            Trigger::Edge { input, .. } => input.next_at(),
            Trigger::EveryFrame | Trigger::Tripwire { .. } => None,
        };
        let pass = self
            .pass
            .as_ref()
            .map(|pass| pass.fires_at().into_iter().chain(pass.release_at).fold(pass.ends_at, Timestamp::min));
        // The encoder's edges are many: they are read when something else is due, from the kernel's stamps.
        let eye = self.sensors.confirm.as_ref().and_then(|eye| eye.next_at());
        let waiting = pass.is_none().then(|| self.heard_at + NO_PART);
        [trigger, pass, eye, waiting, self.auxiliary.next_at(), self.indicators.next_at()].into_iter().flatten().min()
    }

    /// Feeds the encoder's edges, in order.
    fn read_belt(&mut self) -> Result<()> {
        let now = self.shared.clock.now();
        while let Some((channel, edge)) = self.encoder.next(&mut self.sensors, now).map_err(|(_, fault)| fault)? {
            self.belt.feed(channel, edge);
        }
        self.belt.observe(now);
        Ok(())
    }

    /// Does to the lines what is due.
    fn drive(&mut self) -> Result<()> {
        let now = self.shared.clock.now();
        let mut late = Duration::ZERO;
        if let Some(pass) = &mut self.pass {
            if let Some(fire_at) = pass.fires_at().filter(|at| *at <= now) {
                (pass.began, pass.release_at) = (Some(now), Some(now + self.pulse_width));
                self.actuator.fire()?;
                late = now.since(fire_at);
            }
            if pass.release_at.take_if(|at| *at <= now).is_some() {
                self.actuator.release()?;
            }
        }
        while let Some(outcome) = self.auxiliary.step(now).or_else(|| self.indicators.step(now, true)) {
            outcome?;
        }
        if late <= LATE {
            return Ok(());
        }
        let ms = late.as_secs_f64() * 1e3;
        self.spoil(&format!("its pulse came {ms:.1} ms late; `zoomgate doctor` says what keeps pulses exact"))
    }

    /// The pass that goes on does not count.
    fn spoil(&mut self, story: &str) -> Result<()> {
        let Some(pass) = &mut self.pass else { return Ok(()) };
        pass.spoilt.get_or_insert_with(|| story.to_owned());
        self.spoilt += 1;
        if self.spoilt < SPOILT_MAX {
            return Ok(());
        }
        let message = format!("again and again a pass does not count: {story}");
        Err(Error::new(ErrorKind::Refused, message))
    }

    fn take_triggers(&mut self) -> Result<()> {
        loop {
            let Trigger::Edge { input, .. } = &mut self.trigger else { return Ok(()) };
            let now = self.shared.clock.now();
            match input.next_edge(now)? {
                Some(edge) if edge.level == Level::High => {
                    self.covered_at = Some(edge.at);
                    if self.auxiliary.trigger(edge.at).is_err() {
                        log::warn!("a strobe of the light found no room: shorten [outputs] light_delay_ms");
                    }
                    self.begin(edge.at)?;
                }
                Some(edge) => {
                    let covered = self.covered_at.take().map(|at| edge.at.since(at).as_secs_f64() * 1e3);
                    self.bodies.extend(covered);
                }
                None if input.is_exhausted() && self.pass.is_none() => return Err(trigger_ended()),
                None => return Ok(()),
            }
        }
    }

    fn take_frames(&mut self) -> Result<()> {
        let has_ended = self.shared.cap_finished();
        while let Next::Item(captured) = self.shared.frames.next() {
            match captured {
                Captured::Frame(frame) => {
                    self.centres.look(&frame);
                    if matches!(self.trigger, Trigger::EveryFrame) {
                        self.begin(frame.exposure_at)?;
                    }
                }
                Captured::Trip(tripped_at, frame) => {
                    self.centres.look(&frame);
                    self.begin(tripped_at)?;
                }
                Captured::Broken(broken) => self.tell_camera(broken.error.to_string()),
                Captured::Fault(fault, error) => self.tell_camera(format!("{fault}: {error}")),
                Captured::Back(_) => {}
            }
        }
        let needs_camera = !matches!(self.trigger, Trigger::Edge { .. });
        if has_ended && needs_camera && self.pass.is_none() { Err(trigger_ended()) } else { Ok(()) }
    }

    fn tell_camera(&mut self, story: String) {
        if !std::mem::replace(&mut self.is_camera_told, true) {
            (self.tell)(Word::NoCamera(story));
        }
    }

    /// A part comes.
    fn begin(&mut self, trigger_at: Timestamp) -> Result<()> {
        let now = self.shared.clock.now();
        self.heard_at = now;
        let gone_at = trigger_at + self.patience(0.0);
        if let Some(pass) = &mut self.pass {
            // Its pulse is not fired unless it has begun: nobody knows whom it would hit.
            pass.ends_at = pass.ends_at.max(gone_at);
            return self.spoil("another part came before it was over; let one part pass at a time");
        }
        let Some(shot) = self.search.next() else { return Ok(()) };
        let begins_ms = match shot {
            Shot::Blank => None,
            Shot::At(ms) => Some(ms),
        };
        let fire_at = begins_ms.map(|ms| trigger_at + Duration::from_secs_f64(ms.max(0.0) / 1e3));
        self.pass = Some(Passing {
            trigger_at,
            fire_at,
            began: None,
            release_at: None,
            seen: None,
            ends_at: trigger_at + self.patience(begins_ms.unwrap_or(0.0)),
            spoilt: None,
        });
        Ok(())
    }

    /// How long after its trigger a part may be seen.
    fn patience(&self, begins_ms: f64) -> Duration {
        let begins = Duration::from_secs_f64(begins_ms.max(self.search.guess_ms()) / 1e3);
        begins + self.pulse_width + self.flight + PATIENCE
    }

    fn take_eye(&mut self) -> Result<()> {
        let now = self.shared.clock.now();
        while let Some(edge) = self.sensors.confirm.as_mut().map_or(Ok(None), |eye| eye.next_edge(now))? {
            let Some(pass) = self.pass.as_mut().filter(|_| edge.level == Level::High) else { continue };
            pass.seen.get_or_insert(edge.at);
            if pass.fire_at.is_some() && pass.began.is_none_or(|began| edge.at < began) {
                self.spoil("the eye at the bin saw something before the pulse")?;
            }
        }
        Ok(())
    }

    fn end_pass(&mut self) -> Result<()> {
        let now = self.shared.clock.now();
        let is_over = |pass: &Passing| {
            let is_seen = pass.seen.is_some() && pass.spoilt.is_none() && pass.began.is_some();
            pass.release_at.is_none() && (is_seen || pass.ends_at <= now)
        };
        let Some(pass) = self.pass.take_if(|pass| is_over(pass)) else { return Ok(()) };
        self.heard_at = now;
        if let Some(story) = pass.spoilt {
            (self.tell)(Word::Spoilt(story));
            return Ok(());
        }
        self.spoilt = 0;
        self.number += 1;
        let after = |at: Timestamp| at.since(pass.trigger_at).as_secs_f64() * 1e3;
        if let (Some(seen), true) = (pass.seen, self.search.is_repeating()) {
            let moved = self.belt.position_at(seen).0 - self.belt.position_at(pass.trigger_at).0;
            self.passes.push(Pass { seen: seen.since(pass.trigger_at), moved: Millimetres(moved) });
        }
        if matches!(self.trigger, Trigger::Edge { .. }) {
            let middle = self.centres.middle(pass.trigger_at, FRAME_REACH);
            self.middles.extend(middle.map(|offset| offset.0 as f64 / 1e6));
        }
        let began_ms = pass.began.map(after);
        self.search.answer(began_ms, pass.seen.is_some());
        let (left, seen_ms) = (self.search.passes_left(), pass.seen.map(after));
        (self.tell)(Word::Pass { number: self.number, left, began_ms, seen_ms });
        Ok(())
    }
}

fn trigger_ended() -> Error {
    let message = "no more parts come: the trigger has ended; see [trigger] and [gpio] inputs";
    Error::new(ErrorKind::Disconnected, message)
}
