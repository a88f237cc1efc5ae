//! The recording loop (`rec`): notes to events and to the observer. The only thread of the line that touches a disk.

use std::borrow::Cow;
use std::io::Write;
use std::time::Duration;

use super::queue::Next;
use super::{Reopen, Shared};
use crate::clock::Timestamp;
use crate::decide::{Part, Verdict};
use crate::error::Result;
use crate::frame::geometry::Roi;
use crate::inspect::{CROPS_MAX, Inspection};
use crate::reject::PulseOutcome;
use crate::telemetry::board::{Realtime, Remembered};
use crate::telemetry::events::{self, Crop, Event, VerdictEvent};
use crate::telemetry::{Counters, Fault};
use crate::units::PartId;

/// A part when everything about it is known; exactly one for each part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PartRecord {
    /// The part and its plan.
    pub part: Part,
    /// Its verdict.
    pub verdict: Verdict,
    /// When the verdict fell.
    pub settled_at: Timestamp,
    /// What was found; `None` where nothing was inspected in time.
    pub inspection: Option<Inspection>,
    /// What became of its pulse; `None` where none was planned.
    pub pulse: Option<PulseOutcome>,
    /// When that became known: the rise of the line for a fired pulse.
    pub pulse_at: Option<Timestamp>,
}

/// What `act` sends to `rec`.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a box for each part would allocate on the line's threads")]
pub enum Note {
    /// A part is done.
    Part(PartRecord),
    /// A score came when its part's verdict was final; `None` where the inspection failed.
    LateScore { part: PartId, at: Timestamp, score: Option<f32> },
    /// A known reject was not fired in its window, or not seen at the bin.
    MissedReject { part: PartId, at: Timestamp, fire_at: Timestamp, pulse: PulseOutcome },
    /// The measured belt stopped or moves again.
    Belt { at: Timestamp, moving: bool },
    /// The camera delivers again.
    CameraBack { at: Timestamp, down: Duration },
    /// The camera sees again, after so many blind parts.
    SightBack { at: Timestamp, blind: u64 },
    /// A person reset faults and alarms.
    Acknowledged { at: Timestamp },
    /// The number on the recipe lines.
    RecipeSelected { at: Timestamp, number: u32 },
    /// Something went wrong.
    Fault { fault: Fault, at: Timestamp, part: Option<PartId>, message: Cow<'static, str> },
    /// How `act` is scheduled, where that was asked for.
    Realtime { at: Timestamp, realtime: Realtime },
}

/// Called on `rec` for each part as soon as it is done; it may be slow, it must not panic.
pub type Observer = Box<dyn FnMut(&PartRecord) + Send>;

/// JSON lines go here; `None` writes nothing.
pub type Events = Option<Box<dyn Write + Send>>;

/// Record files that can be opened anew in mid-run: whoever rotates them renames the old ones first.
pub struct Rotation {
    /// Asks for it.
    pub request: Reopen,
    /// Opens every record file by its name; what it gives takes the place of the events.
    pub open: Box<dyn FnMut() -> Result<Events> + Send>,
}

/// Where `rec` writes to.
pub struct Recording {
    /// JSON lines; `None` writes nothing.
    pub events: Events,
    /// How the files are opened anew, where they can be.
    pub rotation: Option<Rotation>,
    /// Sees every part.
    pub observer: Option<Observer>,
    /// What scores are compared with.
    pub threshold: f32,
    /// Nothing fires.
    pub dry_run: bool,
}

impl Recording {
    /// Records until `act` closes the link, then writes the `stop` event.
    pub fn run(mut self, shared: &Shared) {
        let version = env!("CARGO_PKG_VERSION");
        let (threshold, dry_run) = (self.threshold, self.dry_run);
        let t_ns = shared.clock.now().0;
        self.write(shared, &Event::Start { schema: events::SCHEMA, version, t_ns, threshold, dry_run });
        let mut told = Told::default();
        if let Some(rotation) = &self.rotation {
            rotation.request.attach(&shared.clock, &shared.rec_bell);
        }
        loop {
            self.rotate(shared);
            match shared.notes.next() {
                Next::Item(note) => {
                    told.log(&note);
                    self.record(shared, &note);
                }
                Next::Closed => break,
                Next::Empty => {
                    // Flushed whenever there is time for it, so that who follows the file sees the last part.
                    self.flush(shared);
                    shared.clock.wait(&shared.rec_bell, None);
                }
            }
        }
        let (counts, failure) = (shared.counters.snapshot(), shared.failure());
        let stop = Event::Stop {
            t_ns: shared.clock.now().0,
            parts: counts.parts,
            passes: counts.passes,
            rejects: counts.rejects,
            uninspected: counts.uninspected(),
            events_lost: counts.events_lost,
            error: failure.as_deref(),
        };
        self.write(shared, &stop);
        self.flush(shared);
    }

    /// Between two events: each of them is whole, in the old file or in the new one.
    fn rotate(&mut self, shared: &Shared) {
        let Some(rotation) = self.rotation.as_mut().filter(|rotation| rotation.request.take()) else { return };
        if let Some(Err(error)) = self.events.as_mut().map(|out| out.flush()) {
            // What could not be written is kept with the old file, and goes there when there is room.
            lost(shared, &error);
            log::error!(
                "the record files were not opened anew: the old one is full; free some space and send SIGHUP again"
            );
            return;
        }
        match (rotation.open)() {
            Ok(events) => {
                self.events = events;
                log::info!("the record files were opened anew");
            }
            Err(error) => log::error!("{error}; the old record files are written on"),
        }
    }

    fn record(&mut self, shared: &Shared, note: &Note) {
        match note {
            Note::Part(record) => {
                self.write_verdict(shared, record);
                shared.board.remember(remembered(record));
                if let Some(observer) = &mut self.observer {
                    observer(record);
                }
            }
            Note::LateScore { part, at, score } => {
                self.write(shared, &Event::LateScore { part: part.0, t_ns: at.0, score: *score });
            }
            Note::MissedReject { part, at, fire_at, pulse } => {
                let (fire_at_ns, pulse) = (known(*fire_at), pulse.as_str());
                self.write(shared, &Event::MissedReject { part: part.0, t_ns: at.0, fire_at_ns, pulse });
            }
            Note::Belt { at, moving } => self.write(shared, &Event::Belt { t_ns: at.0, moving: *moving }),
            Note::CameraBack { at, down } => {
                self.write(shared, &Event::CameraBack { t_ns: at.0, down_s: down.as_secs_f64() });
            }
            Note::SightBack { at, blind } => self.write(shared, &Event::SightBack { t_ns: at.0, blind: *blind }),
            Note::Acknowledged { at } => self.write(shared, &Event::Acknowledged { t_ns: at.0 }),
            Note::RecipeSelected { at, number } => {
                self.write(shared, &Event::RecipeSelected { t_ns: at.0, number: *number });
            }
            Note::Fault { fault, at, part, message } => {
                let (code, part) = (fault.code(), part.map(|p| p.0));
                self.write(shared, &Event::Fault { code, t_ns: at.0, part, message });
            }
            Note::Realtime { at, realtime } => {
                let Realtime { fifo_priority, memory_locked, ref refused } = *realtime;
                self.write(shared, &Event::Realtime { t_ns: at.0, fifo_priority, memory_locked, refused });
            }
        }
    }

    fn write_verdict(&mut self, shared: &Shared, record: &PartRecord) {
        // Beside the event rather than in it: a list of its own would be an allocation for each part.
        let mut crops = [Crop::default(); CROPS_MAX];
        let found = record.inspection.as_ref().map_or(&[][..], |i| i.crops.as_slice());
        for (crop, &Roi { x, y, width, height }) in crops.iter_mut().zip(found) {
            *crop = Crop { x, y, width, height };
        }
        let event = VerdictEvent {
            part: record.part.id.0,
            trigger_ns: record.part.trigger_at.0,
            verdict: record.verdict.as_str(),
            reason: record.verdict.reason().map(|r| r.as_str()),
            score: record.inspection.map(|i| i.score.0),
            threshold: self.threshold,
            crops: &crops[..found.len()],
            fire_at_ns: known(record.part.fire_at),
            pulse: record.pulse.map(PulseOutcome::as_str),
        };
        self.write(shared, &Event::Verdict(event));
    }

    fn write(&mut self, shared: &Shared, event: &Event<'_>) {
        if let Some(out) = &mut self.events
            && let Err(error) = events::write(out, event)
        {
            lost(shared, &error);
        }
    }

    fn flush(&mut self, shared: &Shared) {
        if let Some(out) = &mut self.events
            && let Err(error) = out.flush()
        {
            lost(shared, &error);
        }
    }
}

/// Which faults the log has.
#[derive(Default)]
struct Told([bool; Fault::ALL.len()]);

impl Told {
    /// Logs what is news: here and not in `act`, which would wait for whoever reads the log.
    fn log(&mut self, note: &Note) {
        match note {
            // A stall is logged by whoever saw it: `rec` may be what hangs on a disk.
            Note::Fault { fault: Fault::Stalled, .. } => {}
            Note::Fault { fault, part, message, .. } => {
                let about = part.map(|p| format!("part {p}: ")).unwrap_or_default();
                // The first of a kind, and each time that the camera goes or is blind; the others are in the events and the counters.
                let level = if self.is_news(*fault) { log::Level::Warn } else { log::Level::Debug };
                log::log!(level, "{} {about}{message}", fault.code());
            }
            Note::MissedReject { part, pulse, .. } if self.is_news(Fault::MissedReject) => {
                let (code, how) = (Fault::MissedReject.code(), pulse.missed());
                log::error!("{code} part {part} was to be rejected and {how}");
            }
            Note::SightBack { blind, .. } => log::info!("the camera sees again after {blind} blind parts"),
            Note::CameraBack { down, .. } => log::info!("the camera is back after {:.1} s", down.as_secs_f64()),
            _ => {}
        }
    }

    fn is_news(&mut self, fault: Fault) -> bool {
        let comes_back = matches!(fault, Fault::Camera | Fault::CameraBlind);
        !std::mem::replace(&mut self.0[fault as usize], true) || comes_back
    }
}

/// A full disk must not stop the belt: the loss is counted, and `act` raises the fault output.
fn lost(shared: &Shared, error: &std::io::Error) {
    if shared.counters.events_lost.load(std::sync::atomic::Ordering::Relaxed) == 0 {
        log::error!("cannot write events: {error}; free some space, parts are inspected all the same");
    }
    Counters::add(&shared.counters.events_lost);
}

/// An instant that the belt has yet to name is not available.
fn known(at: Timestamp) -> Option<u64> {
    (at != Timestamp::NEVER).then_some(at.0)
}

fn remembered(record: &PartRecord) -> Remembered {
    Remembered {
        part: record.part.id,
        verdict: record.verdict,
        score: record.inspection.map(|i| i.score.0),
        pulse: record.pulse.map(PulseOutcome::as_str),
    }
}
