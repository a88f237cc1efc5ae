//! The backend `gpiocdev`: lines of the kernel's GPIO character devices.
//!
//! A requested line is ours: nobody else can drive it until we let it go, and a line that somebody else holds is
//! refused with that somebody's name. An output is requested with its safe level in the same call, so that there is no
//! instant at which it is ours and at another level. The kernel lets a line go when its holder ends, however it ends;
//! what the pin does then is the board's affair: a pull resistor outside, or `zoomgate failsafe`.
//!
//! An input has a small thread of its own that waits for its edges, both ways, and hands them on with the kernel's
//! CLOCK_MONOTONIC stamps, taken by the interrupt.

mod chips;
mod refusal;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use gpiocdev::Request;
use gpiocdev::line::{self, EdgeDetection, EdgeKind, EventClock, Value};

use super::filter::Debounced;
use super::listen::{self, EDGES, Teller};
use super::name::LineName;
use super::{Bias, Edge, InputOptions, Inputs, Level, LineFault, OutputLine, Outputs, SafeLine, TriggerInput};
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, Result};

pub use chips::{Chip, Line, list};
use chips::{Place, find};
use refusal::{errno, refused};

/// What `gpioinfo` shows as the holder of our lines.
pub const CONSUMER: &str = "zoomgate";
/// How it begins where a guardian holds them; its process number follows.
const GUARDIAN: &str = "zoomgate guardian ";

/// The process number of a guardian, from what the kernel shows as a line's holder.
pub fn guardian(holder: &str) -> Option<u32> {
    holder.strip_prefix(GUARDIAN)?.parse().ok()
}

/// How soon a listener notices that it is not needed any more.
const LISTENER_LOOKS_UP: Duration = Duration::from_millis(100);

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

    fn find(&self, name: &str) -> Result<Place> {
        find(name, &LineName::parse(name, self.chip.as_deref())?)
    }
}

impl Outputs for Cdev {
    fn request(&mut self, name: &str, safe: Level) -> Result<SafeLine> {
        let place = self.find(name)?;
        let request = Request::builder()
            .on_chip(&place.chip)
            .with_consumer(&self.consumer)
            .with_line(place.offset)
            .as_output(value(safe))
            .request()
            .map_err(|error| refused(&place, "as an output", &error))?;
        Ok(SafeLine::new(Box::new(Output { name: name.to_owned(), request }), safe))
    }
}

impl Inputs for Cdev {
    fn request_input(&mut self, name: &str, options: InputOptions) -> Result<Box<dyn TriggerInput>> {
        let place = self.find(name)?;
        let mut builder = Request::builder();
        builder
            .on_chip(&place.chip)
            .with_consumer(&self.consumer)
            .with_line(place.offset)
            .as_input()
            .with_edge_detection(EdgeDetection::BothEdges)
            .with_event_clock(EventClock::Monotonic)
            .with_kernel_event_buffer_size(u32::try_from(EDGES).expect("the ring is small"));
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
        let request = builder.request().map_err(|error| refused(&place, how, &error))?;
        let (teller, heard) = listen::ring(name);
        let input = heard.kept_by(Listener::start(name, request, teller)?);
        Ok(Box::new(Debounced::new(input, options.debounce)))
    }
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

/// The thread that waits for an input's edges; ends, and lets the line go, when dropped.
struct Listener {
    enough: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    fn start(name: &str, request: Request, teller: Teller) -> Result<Self> {
        let enough = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&enough);
        // The kernel shows 15 bytes of a thread's name.
        let title: String = format!("in-{name}").chars().filter(char::is_ascii).take(15).collect();
        let body = move || {
            if let Err(error) = listen(&request, &teller, &told) {
                teller.fault(format!("its edges cannot be read any more: {error}"));
            }
        };
        let thread = thread::Builder::new().name(title).spawn(body).map_err(|error| {
            let message = format!("line {name}: cannot start its listener: check the limits on threads and memory");
            Error::new(ErrorKind::Internal, message).caused_by(error)
        })?;
        Ok(Self { enough, thread: Some(thread) })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.enough.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the listener of an input panicked");
        }
    }
}

/// Hands on every edge until there is enough, the line fails or the kernel has lost one.
fn listen(request: &Request, teller: &Teller, enough: &AtomicBool) -> Result<(), gpiocdev::Error> {
    let mut events = request.new_edge_event_buffer(16);
    let mut last = None;
    while !enough.load(Ordering::SeqCst) {
        match request.wait_edge_event(LISTENER_LOOKS_UP) {
            Ok(false) => continue,
            Ok(true) => {}
            Err(error) if errno(&error) == Some(EINTR) => continue,
            Err(error) => return Err(error),
        }
        loop {
            let event = events.read_event()?;
            // The kernel counts the edges of a line; when its own buffer is full it drops the oldest.
            if let Some(lost) = gap(last.replace(event.line_seqno), event.line_seqno) {
                teller.fault(format!("the kernel lost {lost} edges: nobody read them in time"));
                return Ok(());
            }
            let level = if event.kind == EdgeKind::Rising { Level::High } else { Level::Low };
            teller.edge(Edge { at: Timestamp(event.timestamp_ns), level });
            if events.is_empty() {
                break;
            }
        }
    }
    Ok(())
}

/// `EINTR`: a signal came; nothing has happened to the line.
const EINTR: i32 = 4;

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
    fn a_machine_without_such_a_line_says_what_it_has() {
        let error = Cdev::default().request("zoomgate-no-such-line", Level::Low).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.message().contains("zoomgate-no-such-line"), "{error}");
        let error = Cdev::default().request_input("nochip:3", InputOptions::default()).err().unwrap();
        assert!(error.kind() == ErrorKind::NotFound && error.message().contains("nochip"), "{error}");
    }
}
