//! The backend `gpiocdev`: lines of the kernel's GPIO character devices.
//!
//! A requested line is ours: nobody else can drive it until we let it go, and a line that somebody else holds is
//! refused with that somebody's name. An output is requested with its safe level in the same call, so that there is no
//! instant at which it is ours and at another level. The kernel lets a line go when its holder ends, however it ends;
//! what the pin does then is the board's affair: a pull resistor outside, or `zoomgate failsafe`.
//!
//! An input's edges, both ways, wait in the kernel with their CLOCK_MONOTONIC stamps, taken by the interrupt, until they
//! are read by the thread that wants them. That thread's token watches the line: there is no other thread in between, which
//! a busy machine might set aside (docs/decisions/0037-act-reads-the-edges-itself.md has the figures), no wake-up and no lock.
//!
//! An edge is a part, so nothing is ever dropped in silence: a gap in the kernel's count of a line's edges, or a line that
//! can no longer be read, is a fault, which comes after the edges before it.

mod chips;
mod refusal;

use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use gpiocdev::Request;
use gpiocdev::line::{self, EdgeDetection, EdgeKind, EventClock, Value};
use rustix::io::Errno;

use super::filter::Debounced;
use super::name::LineName;
use super::{
    Bias, Edge, InitialLevel, InputOptions, Inputs, Level, LineFault, OutputLine, Outputs, SafeLine, TriggerInput,
};
use crate::clock::{Clock, MonotonicClock, Source, Timestamp, WakeToken};
use crate::error::Result;

pub use chips::{Chip, ChipLine, list};
use chips::{LineAddress, find};
use refusal::{errno, refused};

/// What `gpioinfo` shows as the holder of our lines.
pub const CONSUMER: &str = "zoomgate";
/// How it begins where a guardian holds them; its process number follows.
const GUARDIAN: &str = "zoomgate guardian ";

/// The process number of a guardian, from what the kernel shows as a line's holder.
pub fn guardian(holder: &str) -> Option<u32> {
    holder.strip_prefix(GUARDIAN)?.parse().ok()
}

/// Edges that can wait in the kernel, for each line. Chosen: `act` reads within a millisecond, and no eye that works
/// gives a thousand edges in that time. It is also the most that the kernel takes.
const EDGES: u32 = 1024;

/// Edges that are read in one call.
const AT_ONCE: usize = 16;

/// How often a line is asked that says nothing. Not every kernel wakes who waits for a line whose chip goes away.
const ASKED: Duration = Duration::from_millis(100);

/// Hands out lines of the character devices.
#[derive(Clone, Debug)]
pub struct Cdev {
    chip: Option<String>,
    consumer: String,
}

impl Default for Cdev {
    fn default() -> Self {
        Self::new(None)
    }
}

impl Cdev {
    /// `chip` is that of lines named by their offset alone: a device's name or path, or a label.
    pub fn new(chip: Option<String>) -> Self {
        Self { chip, consumer: CONSUMER.to_owned() }
    }

    /// For a guardian: the kernel names it, and process `pid`, as the holder of its lines.
    #[must_use]
    pub fn guarding(self, pid: u32) -> Self {
        Self { consumer: format!("{GUARDIAN}{pid}"), ..self }
    }

    /// Who holds a line: `None` for nobody, an empty text for a program that gives no name. Disturbs no line.
    ///
    /// # Errors
    /// When there is no such line, or its chip may not be opened.
    pub fn holder(&self, name: &str) -> Result<Option<String>> {
        Ok(refusal::holder(&self.find(name)?))
    }

    fn find(&self, name: &str) -> Result<LineAddress> {
        find(name, &LineName::parse(name, self.chip.as_deref())?)
    }
}

impl Outputs for Cdev {
    fn request(&mut self, name: &str, safe: Level) -> Result<SafeLine> {
        let address = self.find(name)?;
        let request = Request::builder()
            .on_chip(&address.chip)
            .with_consumer(&self.consumer)
            .with_line(address.offset)
            .as_output(value(safe))
            .request()
            .map_err(|error| refused(&address, "as an output", &error))?;
        Ok(SafeLine::new(Box::new(Output { name: name.to_owned(), request }), safe))
    }
}

impl Inputs for Cdev {
    fn request_input(
        &mut self,
        name: &str,
        options: InputOptions,
        initial: InitialLevel,
    ) -> Result<Box<dyn TriggerInput>> {
        input(&self.find(name)?, options, initial)
    }
}

/// An input of a Raspberry Pi's header by its BCM number, which is its offset on the chip behind the header.
///
/// # Errors
/// As those of [`Inputs::request_input`].
#[cfg(feature = "rppal")]
pub(super) fn input_of_the_header(
    name: &str,
    number: u32,
    options: InputOptions,
    initial: InitialLevel,
) -> Result<Box<dyn TriggerInput>> {
    input(&chips::on_the_header(name, number)?, options, initial)
}

fn input(address: &LineAddress, options: InputOptions, initial: InitialLevel) -> Result<Box<dyn TriggerInput>> {
    let mut builder = Request::builder();
    builder
        .on_chip(&address.chip)
        .with_consumer(CONSUMER)
        .with_line(address.offset)
        .as_input()
        .with_edge_detection(EdgeDetection::BothEdges)
        .with_event_clock(EventClock::Monotonic)
        .with_kernel_event_buffer_size(EDGES);
    if options.active_low {
        builder.as_active_low();
    }
    if let Some(bias) = bias(options.bias) {
        builder.with_bias(bias);
    }
    let how = match options.bias {
        Bias::AsIs => "as an input with edges",
        _ => "as an input with edges and a bias",
    };
    let before = MonotonicClock.now();
    let request = builder.request().map_err(|error| refused(address, how, &error))?;
    let mut input = Input::new(&address.written, request);
    if initial == InitialLevel::Reported {
        input.report_level(before).map_err(|error| refused(address, how, &error))?;
    }
    Ok(Box::new(Debounced::new(input, options.debounce)))
}

struct Output {
    name: String,
    request: Request,
}

impl OutputLine for Output {
    fn set_level(&mut self, level: Level) -> Result<(), LineFault> {
        let fault = |error: gpiocdev::Error| LineFault { line: self.name.clone(), message: error.to_string() };
        self.request.set_lone_value(value(level)).map_err(fault)
    }

    fn name(&self) -> &str {
        &self.name
    }
}

/// An input, read by whoever asks it; lets the line go when dropped.
struct Input {
    name: String,
    request: Request,
    /// Says whether there are edges to be read; nobody does before there is a token.
    source: Option<Source>,
    /// There may be more in the kernel; and when that was asked last.
    more: bool,
    asked_at: Timestamp,
    /// What the kernel writes edges into.
    words: Vec<u64>,
    /// Edges that were read and not given yet.
    read: VecDeque<Edge>,
    /// What is known of the level at the request while no edge of the kernel has come; `None` where it does not matter.
    initial: Option<Level>,
    /// The kernel's number of the last edge.
    last: Option<u32>,
    fault: Option<LineFault>,
}

impl Input {
    fn new(name: &str, request: Request) -> Self {
        Self {
            name: name.to_owned(),
            source: None,
            more: false,
            asked_at: Timestamp::ZERO,
            words: vec![0; AT_ONCE * request.edge_event_u64_size()],
            read: VecDeque::with_capacity(AT_ONCE + 1),
            initial: None,
            last: None,
            fault: None,
            request,
        }
    }

    /// Makes an active level at the request, which was made after `at`, the first edge.
    ///
    /// The level is read after the request, so that no change is missed, and therefore after edges that have come since:
    /// the first of them says what the level was before it. One may have come and not be in the kernel's queue yet. It
    /// is then known by its level, which is the one that was read.
    fn report_level(&mut self, at: Timestamp) -> gpiocdev::Result<()> {
        let now = match self.request.lone_value()? {
            Value::Active => Level::High,
            Value::Inactive => Level::Low,
        };
        self.fill();
        let initial = level_at_request(now, self.read.front().map(|edge| edge.level));
        self.initial = self.read.is_empty().then_some(initial);
        if initial == Level::High {
            self.read.push_front(Edge { at, level: initial });
        }
        Ok(())
    }

    /// Reads what has come; a line that cannot be read, or has lost edges, is at fault from there on.
    fn fill(&mut self) {
        if self.fault.is_some() {
            return;
        }
        if let Err(message) = self.try_fill() {
            self.fault = Some(LineFault { line: self.name.clone(), message });
        }
    }

    fn try_fill(&mut self) -> Result<(), String> {
        let broken = |error: gpiocdev::Error| format!("its edges cannot be read any more: {error}");
        // Asked first: a read would wait for an edge.
        let read = |request: &Request, words: &mut [u64]| match request.has_edge_event()? {
            true => request.read_edge_events_into_slice(words),
            false => Ok(0),
        };
        let filled = loop {
            match read(&self.request, &mut self.words) {
                // A signal came; nothing has happened to the line.
                Err(error) if errno(&error) == Some(Errno::INTR) => {}
                filled => break filled.map_err(broken)?,
            }
        };
        // Where fewer came than there was room for there were no more: the next one is news.
        self.more = filled == self.words.len();
        for words in self.words[..filled].chunks_exact(self.request.edge_event_u64_size()) {
            let event = self.request.edge_event_from_slice(words).map_err(broken)?;
            // The kernel counts the edges of a line; when its own buffer is full it drops the oldest.
            if let Some(lost) = gap(self.last.replace(event.line_seqno), event.line_seqno) {
                return Err(format!("the kernel lost {lost} edges: nobody read them in time"));
            }
            let level = if event.kind == EdgeKind::Rising { Level::High } else { Level::Low };
            if !is_known(&mut self.initial, level) {
                self.read.push_back(Edge { at: Timestamp(event.timestamp_ns), level });
            }
        }
        Ok(())
    }
}

impl TriggerInput for Input {
    fn next_edge(&mut self, now: Timestamp) -> Result<Option<Edge>, LineFault> {
        self.more |= self.source.as_ref().is_none_or(Source::has_news) || now.since(self.asked_at) >= ASKED;
        if self.read.is_empty() && self.more {
            self.asked_at = now;
            self.fill();
        }
        match (self.read.pop_front(), &self.fault) {
            (Some(edge), _) => Ok(Some(edge)),
            (None, Some(fault)) => Err(fault.clone()),
            (None, None) => Ok(None),
        }
    }

    fn next_at(&self) -> Option<Timestamp> {
        None
    }

    fn is_exhausted(&self) -> bool {
        false
    }

    fn attach(&mut self, _clock: &Arc<dyn Clock>, token: &WakeToken) {
        match token.watch(self.request.as_fd()) {
            Ok(source) => self.source = Some(source),
            Err(error) => {
                let message = format!("its edges cannot be waited for: {error}");
                self.fault.get_or_insert(LineFault { line: self.name.clone(), message });
            }
        }
    }
}

/// What the level was at the request, from what it was a moment later and to what the first edge since then led.
fn level_at_request(now: Level, first: Option<Level>) -> Level {
    first.map_or(now, Level::inverted)
}

/// Whether an edge only says what was read at the request: then it is the first one, which was late.
fn is_known(initial: &mut Option<Level>, level: Level) -> bool {
    initial.take() == Some(level)
}

/// How many numbers lie between two that should follow each other; the kernel's counter wraps, and starts at 1.
fn gap(last: Option<u32>, now: u32) -> Option<u32> {
    let expected = last.map_or(1, |last| last.wrapping_add(1));
    Some(now.wrapping_sub(expected)).filter(|&lost| lost > 0)
}

fn value(level: Level) -> Value {
    match level {
        Level::Low => Value::Inactive,
        Level::High => Value::Active,
    }
}

fn bias(bias: Bias) -> Option<line::Bias> {
    match bias {
        Bias::AsIs => None,
        Bias::Disabled => Some(line::Bias::Disabled),
        Bias::PullUp => Some(line::Bias::PullUp),
        Bias::PullDown => Some(line::Bias::PullDown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn a_gap_in_the_kernels_count_is_seen() {
        for (last, now, lost) in [
            (None, 1, None),
            (None, 3, Some(2)),
            (Some(1), 2, None),
            (Some(u32::MAX), 0, None),
            (Some(7), 9, Some(1)),
            (Some(u32::MAX), 1, Some(1)),
        ] {
            assert_eq!(gap(last, now), lost, "{last:?} to {now}");
        }
    }

    #[test]
    fn the_level_at_the_request_is_what_it_was_before_the_first_edge_since() {
        for (now, first, level) in [
            (Level::High, None, Level::High),
            (Level::Low, None, Level::Low),
            // It rose between the request and the reading, or after it; the same for its fall.
            (Level::High, Some(Level::High), Level::Low),
            (Level::Low, Some(Level::High), Level::Low),
            (Level::Low, Some(Level::Low), Level::High),
            (Level::High, Some(Level::Low), Level::High),
        ] {
            assert_eq!(level_at_request(now, first), level, "{now:?}, then {first:?}");
        }
    }

    #[test]
    fn an_edge_that_comes_late_with_the_level_that_was_read_is_not_told_twice() {
        for (initial, levels, told) in [
            (Some(Level::High), [Level::High, Level::Low, Level::High], 2),
            (Some(Level::High), [Level::Low, Level::High, Level::Low], 3),
            // Of events each is told, also one that follows its like: the encoder counts it as lost edges.
            (None, [Level::High, Level::High, Level::Low], 3),
        ] {
            let mut known = initial;
            let count = levels.into_iter().filter(|level| !is_known(&mut known, *level)).count();
            assert_eq!(count, told, "{initial:?}, then {levels:?}");
        }
    }

    #[test]
    fn a_machine_without_such_a_line_says_what_it_has() {
        let error = Cdev::default().request("zoomgate-no-such-line", Level::Low).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.message().contains("zoomgate-no-such-line"), "{error}");
        let error =
            Cdev::default().request_input("nochip:3", InputOptions::default(), InitialLevel::Reported).err().unwrap();
        assert!(error.kind() == ErrorKind::NotFound && error.message().contains("nochip"), "{error}");
    }
}
