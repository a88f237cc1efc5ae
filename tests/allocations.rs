//! What a frame and a part cost in allocations once the line runs: nothing, in every thread and in everything of ours.
//!
//! Allocations are counted for each thread apart, on the simulated clock. Each thread of the line is asked what a short
//! run and a long one cost it: start and end cost the same, so that a difference is what parts and frames cost.
//! Two libraries allocate for themselves and are counted apart: the JPEG decoder, a few tables and lines for each
//! picture, and tract, the tensors between its operators. Faults allocate their message; a folder's replay decodes.
//!
//! Seen to fail with `Vec::<u8>::with_capacity(1)` in the capture loop, in the actuation loop's turn, in `sample`, and
//! with the list of crops that `rec` used to make for each part.

mod lesson;
mod program;
mod rig;

use std::hint::black_box;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use allocation_counter::measure;
use rig::{ByPixel, Rig, SIZE, ms};
use zoomgate::camera::convert::{Colour, Matrix, PixelFormat, Range, convert};
use zoomgate::camera::v4l2::timing::Stamp;
use zoomgate::camera::v4l2::{Driver, Opened, RawFrame, Setup, V4l2Camera};
use zoomgate::camera::{Tripwire, tripwire};
use zoomgate::clock::{Clock, SchedulerSlot, SimClock, Timestamp, WakeToken};
use zoomgate::error::Result;
use zoomgate::frame::geometry::Roi;
use zoomgate::gpio::{Edge, InputOptions, Level, LineFault, OutputLine, SafeLine, TriggerInput};
use zoomgate::inspect::Inspect;
use zoomgate::inspect::frozen::FrozenWatch;
use zoomgate::inspect::model::Model;
use zoomgate::nn::onnx::{self, Elem};
use zoomgate::nn::plan::{ExecutionPlan, Running};
use zoomgate::pipeline::actuation::{
    Actuation, AuxiliaryOutputs, Heartbeat, Indicators, Line, Results, Sensors, StrobeLight, Trigger,
};
use zoomgate::pipeline::capture::capture;
use zoomgate::pipeline::inspection::{InspectionCost, inspection};
use zoomgate::pipeline::recording::Recording;
use zoomgate::pipeline::{Shared, Stop, Thread};
use zoomgate::reject::{EncoderBelt, confirm, encoder};
use zoomgate::sim::belt::{PhotoEye, Spacing};
use zoomgate::sim::camera::EXPOSURE_DELAY;
use zoomgate::telemetry::board::{About, Board};
use zoomgate::units::{Millimetres, Score};

const FULL: Colour = Colour { matrix: Matrix::Bt601, range: Range::Full };

fn allocations(body: impl FnOnce()) -> u64 {
    measure(body).count_total
}

#[test]
fn no_conversion_allocates_but_the_jpeg_decoder_for_itself() {
    let size = (64, 48);
    let mut out = vec![0; 64 * 48 * 3];
    for (format, _) in PixelFormat::ALL {
        let Some(needed) = format.frame_bytes(size, 0) else { continue };
        let bytes = vec![77; needed];
        let count = allocations(|| convert(format, FULL, size, 0, black_box(&bytes), &mut out).unwrap());
        assert_eq!(count, 0, "{}", format.name());
    }
    let mut jpeg = Vec::new();
    let grey = image::RgbImage::from_pixel(size.0, size.1, image::Rgb([90, 120, 150]));
    grey.write_to(&mut io::Cursor::new(&mut jpeg), image::ImageFormat::Jpeg).unwrap();
    let ours: Vec<u64> =
        (0..4).map(|_| allocations(|| convert(PixelFormat::Mjpeg, FULL, size, 0, &jpeg, &mut out).unwrap())).collect();
    let theirs = allocations(|| {
        use zune_jpeg::zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions};
        let options = DecoderOptions::default().set_strict_mode(true).jpeg_set_out_colorspace(ColorSpace::RGB);
        let mut decoder = zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(&jpeg), options);
        decoder.decode_headers().unwrap();
        decoder.decode_into(&mut out).unwrap();
    });
    println!("a JPEG costs its decoder {theirs} allocations");
    assert_eq!(ours, [theirs; 4]);
}

/// A device that delivers a frame at each instant, then asks the run to end.
struct Reel {
    clock: Arc<dyn Clock>,
    stop: Stop,
    exposures: Arc<[Timestamp]>,
    next: usize,
    is_bright: fn(u64) -> bool,
    /// Dark and bright, in YUYV.
    pictures: [[u8; 8]; 2],
}

impl Driver for Reel {
    fn open(&mut self) -> Result<Opened> {
        Ok(Opened { format: PixelFormat::Yuyv, colour: FULL, stride: 0 })
    }

    fn next(&mut self, timeout: Duration) -> io::Result<Option<RawFrame<'_>>> {
        let until = self.clock.now() + timeout;
        let due = self.exposures.get(self.next).copied();
        if due.is_none() {
            self.stop.request();
        }
        let Some(at) = due.filter(|at| *at <= until) else {
            self.clock.sleep_until(until);
            return Ok(None);
        };
        self.clock.sleep_until(at);
        let sequence = self.next as u32;
        self.next += 1;
        // A sensor's noise, in the last pixel: no two pictures are equal.
        let picture = &mut self.pictures[usize::from((self.is_bright)(u64::from(sequence)))];
        picture[6] = picture[0] + (sequence % 8) as u8;
        let micros = (at.0 / 1000) as i64;
        let stamp = Stamp { is_monotonic: true, seconds: micros / 1_000_000, microseconds: micros % 1_000_000 };
        Ok(Some(RawFrame { bytes: picture, sequence, stamp, is_corrupted: false }))
    }

    fn has_changed(&mut self) -> bool {
        false
    }

    fn close(&mut self) {}
}

/// An output that is there.
struct Wire;

impl OutputLine for Wire {
    fn set_level(&mut self, _level: Level) -> std::result::Result<(), LineFault> {
        Ok(())
    }

    fn name(&self) -> &str {
        "wire"
    }
}

fn wire() -> SafeLine {
    SafeLine::new(Box::new(Wire), Level::Low)
}

/// Channel A of an encoder: an edge each 5 ms until the last part has long passed.
struct Turning {
    next: Timestamp,
    level: Level,
    last: Timestamp,
}

impl TriggerInput for Turning {
    fn next_edge(&mut self, now: Timestamp) -> std::result::Result<Option<Edge>, LineFault> {
        if self.next_at().is_none_or(|at| at > now) {
            return Ok(None);
        }
        let edge = Edge { at: self.next, level: self.level };
        (self.next, self.level) = (self.next + ms(5), self.level.inverted());
        Ok(Some(edge))
    }

    fn next_at(&self) -> Option<Timestamp> {
        Some(self.next).filter(|next| *next <= self.last)
    }

    fn is_exhausted(&self) -> bool {
        false
    }

    fn attach(&mut self, _clock: &Arc<dyn Clock>, _bell: &WakeToken) {}
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Plant {
    /// An eye, a light, results and a heartbeat.
    Eye,
    /// The same on a belt with an encoder, and an eye at the bin.
    Encoder,
    EveryFrame,
    Tripwire,
}

/// What each thread of a run of so many parts allocates.
fn run(plant: Plant, parts: u64) -> [u64; 4] {
    let clock: Arc<dyn Clock> = Arc::new(SimClock::new());
    let mut rig = Rig::new(parts, 3);
    rig.spacing = Spacing { mean: ms(100), jitter: 0.3, crowded: 0.1, crowded_gap: ms(15) };
    let arrivals = rig.arrivals();
    let last = *arrivals.last().unwrap();
    let after = |delay: Duration| arrivals.iter().map(|at| *at + delay).collect::<Arc<[Timestamp]>>();
    let stop = Stop::new();
    let (exposures, is_bright): (_, fn(u64) -> bool) = match plant {
        // Each fifth frame shows a part, all after the empty belt is learnt.
        Plant::Tripwire => {
            let frames = (1..=5 * parts + 20).map(|n| Timestamp(n * 20_000_000));
            (frames.collect(), |n| n >= 20 && n % 5 == 0)
        }
        _ => (after(EXPOSURE_DELAY), rig::is_defective),
    };
    let reel = Reel {
        clock: Arc::clone(&clock),
        stop: stop.clone(),
        exposures,
        next: 0,
        is_bright,
        pictures: [0, 200].map(|y| [y, 128, y, 128, y, 128, y, 128]),
    };
    let setup = Setup { device: "reel".into(), size: SIZE, stall: Duration::MAX, frames: 32 };
    let mut camera = V4l2Camera::open(Arc::clone(&clock), reel, setup).unwrap();
    let (exposure_offset, tolerance) = (EXPOSURE_DELAY.into(), ms(5));
    let trigger = match plant {
        Plant::EveryFrame => Trigger::EveryFrame,
        Plant::Tripwire => Trigger::Tripwire { exposure_offset: Default::default(), tolerance },
        _ => Trigger::Edge { input: Box::new(PhotoEye::new(Arc::clone(&arrivals))), exposure_offset, tolerance },
    };
    let strip = Roi { x: 0, y: 0, width: SIZE.0, height: SIZE.1 };
    let tripwire = tripwire::Settings { strip, trip_level: 50.0, clear_level: 20.0 };
    let tripwire = (plant == Plant::Tripwire).then(|| Tripwire::new(tripwire));

    let (mut wiring, _watch) = rig.wire_on(Arc::clone(&clock));
    wiring.line.reject.window = ms(20);
    let mut sensors = Sensors::default();
    if plant == Plant::Encoder {
        let settings = encoder::Settings {
            line_a: "a".to_owned(),
            line_b: None,
            mm_per_pulse: Millimetres(10.0),
            stopped: ms(500),
            options: InputOptions::default(),
        };
        wiring.line.belt = Box::new(EncoderBelt::new(&settings));
        let (line, travel, window) = ("bin".to_owned(), Millimetres(100.0), ms(30));
        let (options, holdoff) = (InputOptions::default(), Duration::ZERO);
        wiring.line.confirm = Some(confirm::Settings { line, travel, window, options, holdoff });
        let turning = Turning { next: Timestamp(1_000_000), level: Level::High, last: last + Duration::from_secs(5) };
        sensors.encoder_a = Some(Box::new(turning));
        sensors.confirm = Some(Box::new(PhotoEye::new(after(ms(700)))));
    }
    let indicators = Indicators {
        ready: Some(wire()),
        fault: Some(wire()),
        stop_line: Some(wire()),
        heartbeat: Some(Heartbeat::new(wire(), ms(100))),
    };
    let auxiliary = AuxiliaryOutputs {
        results: Some(Results::new(wire(), Some(wire()), ms(2))),
        light: Some(StrobeLight::new(wire(), ms(1), ms(3))),
    };
    let about = About { threshold: wiring.line.threshold, ..About::default() };
    let board = Arc::new(Board::new(about, Arc::clone(&wiring.counters)));
    let shared = Arc::new(Shared::new(Arc::clone(&clock), board, stop, wiring.line.capacity));
    let recording = Recording {
        events: Some(Box::new(io::sink())),
        rotation: None,
        observer: Some(Box::new(|record| _ = black_box(record))),
        threshold: wiring.line.threshold,
        dry_run: false,
    };
    let line = Line { trigger, sensors, reject_line: wire(), indicators, auxiliary, ..wiring.line };
    let actuation = Actuation::new(Arc::clone(&shared), line);
    let mut cost = InspectionCost::Modelled(Box::new(|_| ms(5)));
    type Body = Box<dyn FnOnce(&Shared) + Send>;
    let bodies: [Body; 4] = [
        Box::new(move |shared| capture(shared, &mut camera, SIZE, tripwire)),
        Box::new(move |shared| inspection(shared, &mut FrozenWatch::new(Box::new(ByPixel)), &mut cost)),
        Box::new(move |_| _ = actuation.run()),
        Box::new(move |shared| recording.run(shared)),
    ];
    let slots = Thread::ALL.map(|thread| SchedulerSlot::reserve(&clock, thread.name()));
    let threads: Vec<_> = Thread::ALL
        .into_iter()
        .zip(slots)
        .zip(bodies)
        .map(|((thread, slot), body)| {
            let shared = Arc::clone(&shared);
            let counted = move || {
                slot.take();
                body(&shared);
                shared.thread_ended(thread);
                drop(slot);
            };
            thread::Builder::new().name(thread.name().to_owned()).spawn(|| allocations(counted)).unwrap()
        })
        .collect();
    let mut counts = threads.into_iter().map(|thread| thread.join().unwrap());
    let counts = std::array::from_fn(|_| counts.next().unwrap());
    let seen = shared.counters.snapshot();
    assert_eq!((seen.parts, seen.passes + seen.rejects), (parts, parts), "{plant:?}: {seen:?}");
    assert!(seen.pulses.fired > parts / 10 && seen.frames >= parts, "{plant:?}: {seen:?}");
    assert!(plant != Plant::Encoder || seen.rejects_confirmed > parts / 10, "{plant:?}: {seen:?}");
    counts
}

#[test]
fn no_frame_and_no_part_costs_an_allocation_in_any_thread() {
    for plant in [Plant::Eye, Plant::Encoder, Plant::EveryFrame, Plant::Tripwire] {
        let [few, many] = [100, 600].map(|parts| run(plant, parts));
        println!("{plant:?}: cap, insp, act, rec allocate {few:?} times around 100 parts, {many:?} around 600");
        assert_eq!(few, many, "{plant:?}");
    }
}

#[test]
fn an_inspection_allocates_what_its_graphs_do_and_always_as_often() {
    let bytes = lesson::recipe();
    let model = Model::from_bytes(bytes, "recipe").unwrap();
    let mut inspector = model.inspector().unwrap();
    let scene = lesson::scene();
    let frames: Vec<_> = (0..8).map(|n| lesson::part(&scene, n, zoomgate::sim::render::Want::AsDrawn)).collect();
    // The first grows the buffers.
    inspector.inspect(&frames[0]).unwrap();
    let mut scores: Vec<Score> = Vec::with_capacity(frames.len());
    let counts: Vec<u64> = frames
        .iter()
        .map(|frame| allocations(|| scores.push(inspector.inspect(black_box(frame)).unwrap().score)))
        .collect();

    let mut inputs = Vec::new();
    inspector.inspect_with(&frames[7], |_, input, _| inputs.push(input.to_vec())).unwrap();
    let graphs = onnx::decode(bytes, "recipe").unwrap();
    let input = model.recipe().input;
    let spawn = |view: &str| -> Running {
        let mut outputs = vec![format!("{view}_map"), format!("{view}_score")];
        if view == "full" {
            outputs.push("full_attention".into());
        }
        let plan =
            ExecutionPlan::new(&graphs, [1, 3, input.height, input.width], Elem::U8, &outputs, "recipe").unwrap();
        plan.spawn().unwrap()
    };
    let alone: u64 = [("full", &inputs[0]), ("zoom", &inputs[1])]
        .into_iter()
        .map(|(view, input)| {
            let mut running = spawn(view);
            running.run(input).unwrap();
            allocations(|| drop(black_box(running.run(input).unwrap())))
        })
        .sum();
    println!("an inspection allocates {counts:?} times, its two graphs {alone}");
    assert_eq!(counts, [alone; 8]);
}
