//! A line on the simulated clock, wired as the daemon is: parts whose first pixel tells whether they are defective, an
//! inspection that reads it, recorded outputs, events in memory.

#![allow(dead_code, reason = "each test file uses its share")]

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use zoomgate::clock::{Clock, SimClock, Timestamp};
use zoomgate::daemon::{self, MATCH_TOLERANCE, RunReport, Service, Wiring};
use zoomgate::decide::{OnMissedReject, OnUninspected, Safety};
use zoomgate::error::Result;
use zoomgate::frame::Frame;
use zoomgate::frame::geometry::Roi;
use zoomgate::gpio::recorded::Record;
use zoomgate::gpio::{Level, Outputs, Recorder};
use zoomgate::inspect::{Crops, Inspect, Inspection, Unseen};
use zoomgate::pipeline::actuation::{AuxiliaryOutputs, Indicators, Line, Sensors, Trigger};
use zoomgate::pipeline::inspection::InspectionCost;
use zoomgate::pipeline::recording::PartRecord;
use zoomgate::pipeline::{Capacity, Stop};
use zoomgate::reject::{ConstantSpeed, OnOverlap, Settings};
use zoomgate::sim::belt::{PhotoEye, Spacing, arrivals};
use zoomgate::sim::camera::{EXPOSURE_DELAY, SimCamera};
use zoomgate::sim::{PartSource, Rendered};
use zoomgate::units::{Millimetres, MmPerSecond, PartId, Score};

pub const SIZE: (u32, u32) = (2, 2);
pub const THRESHOLD: f32 = 5.0;

pub fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Whether part `index` (from 0) is defective: three in ten, without a pattern that spacings could follow.
pub fn is_defective(index: u64) -> bool {
    index.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32 & 0xFF < 77
}

/// Parts of four pixels; the first is 200 for a defective part.
pub struct Pixels;

impl PartSource for Pixels {
    fn render(&self, index: u64) -> Rendered {
        let mut rgb = [0; 12];
        rgb[0] = if is_defective(index) { 200 } else { 0 };
        Rendered { width: SIZE.0, height: SIZE.1, rgb: rgb.into(), truth: Vec::new() }
    }
}

/// Scores a frame by its first pixel: 10 or 0.
pub struct ByPixel;

impl Inspect for ByPixel {
    fn look(&mut self, _frame: &Frame) -> Option<Unseen> {
        None
    }

    fn inspect(&mut self, frame: &Frame) -> Result<Inspection> {
        let mut crops = Crops::default();
        crops.push(Roi { x: 0, y: 0, width: 1, height: 1 });
        let score = Score(f32::from(frame.rgb[0]) / 20.0);
        Ok(Inspection {
            score,
            score_full: score,
            score_zoom: None,
            full: Default::default(),
            zoom: None,
            crops,
            times: Default::default(),
        })
    }
}

/// A writer whose bytes can be read while it is in use.
#[derive(Clone, Default)]
pub struct Bytes(Arc<Mutex<Vec<u8>>>);

impl Bytes {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Bytes {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What a test varies.
pub struct Rig {
    pub parts: u64,
    pub seed: u64,
    pub spacing: Spacing,
    pub reject: Settings,
    pub safety: Safety,
    pub capacity: Capacity,
    pub cost: InspectionCost,
}

impl Rig {
    /// 4 parts a second, 600 ms from trigger to actuator, 10 ms latency, 40 ms pulses, 5 ms window, 30 ms inspections.
    pub fn new(parts: u64, seed: u64) -> Self {
        Self {
            parts,
            seed,
            spacing: Spacing { mean: ms(250), jitter: 0.3, crowded: 0.0, crowded_gap: ms(15) },
            reject: Settings {
                enabled: true,
                line: "reject".to_owned(),
                active_low: false,
                travel: Millimetres(600.0),
                belt_speed: MmPerSecond(1000.0),
                actuator_latency: ms(10),
                pulse_width: ms(40),
                window: ms(5),
                on_overlap: OnOverlap::Merge,
            },
            safety: Safety {
                on_uninspected: OnUninspected::Reject,
                on_missed_reject: OnMissedReject::Alarm,
                on_no_part: None,
            },
            capacity: Capacity { jobs: 16, ledger: 64 },
            cost: InspectionCost::Modelled(Box::new(|_| ms(30))),
        }
    }

    pub fn arrivals(&self) -> Arc<[Timestamp]> {
        arrivals(Timestamp::ZERO, self.parts, self.spacing, self.seed)
    }

    /// The daemon's wiring and what a test watches.
    pub fn wire(self) -> (Wiring, Watch) {
        self.wire_on(Arc::new(SimClock::new()))
    }

    pub fn wire_on(self, clock: Arc<dyn Clock>) -> (Wiring, Watch) {
        let arrivals = arrivals(clock.now(), self.parts, self.spacing, self.seed);
        let mut recorder = Recorder::in_memory(Arc::clone(&clock));
        let reject_line = recorder.request("reject", Level::Low).unwrap();
        let mut output = |name| Some(recorder.request(name, Level::Low).unwrap());
        let indicators = Indicators {
            ready: output("ready"),
            fault: output("fault"),
            stop_line: output("stop_line"),
            ..Indicators::default()
        };
        let (events, records) = (Bytes::default(), Arc::new(Mutex::new(Vec::new())));
        let seen = Arc::clone(&records);
        let line = Line {
            trigger: Trigger::Edge {
                input: Box::new(PhotoEye::new(Arc::clone(&arrivals))),
                exposure_offset: EXPOSURE_DELAY.into(),
                tolerance: MATCH_TOLERANCE,
            },
            belt: Box::new(ConstantSpeed::new(self.reject.belt_speed, clock.now())),
            sensors: Sensors::default(),
            confirm: None,
            alarms: Default::default(),
            threshold: THRESHOLD,
            reject: self.reject,
            safety: self.safety,
            capacity: self.capacity,
            reject_line,
            indicators,
            auxiliary: AuxiliaryOutputs::default(),
        };
        let wiring = Wiring {
            camera: Box::new(SimCamera::new(Arc::clone(&clock), Arc::new(Pixels), arrivals)),
            frame_size: SIZE,
            tripwire: None,
            inspect: Box::new(ByPixel),
            cost: self.cost,
            line,
            events: Some(Box::new(events.clone())),
            observer: Some(Box::new(move |record| seen.lock().unwrap().push(*record))),
            stop: Stop::new(),
            counters: Arc::default(),
            rotation: None,
            service: Service::default(),
            clock,
        };
        (wiring, Watch { recorder, events, records })
    }

    pub fn run(self) -> (Result<RunReport>, Watch) {
        let (wiring, watch) = self.wire();
        (daemon::run(wiring), watch)
    }
}

/// What came out of a run.
pub struct Watch {
    pub recorder: Recorder,
    pub events: Bytes,
    records: Arc<Mutex<Vec<PartRecord>>>,
}

impl Watch {
    /// The records in the order of the parts; panics unless there is exactly one for each of parts 1 to `count`.
    pub fn one_record_each(&self, count: u64) -> Vec<PartRecord> {
        let mut records = self.records.lock().unwrap().clone();
        records.sort_by_key(|r| r.part.id);
        let ids: Vec<_> = records.iter().map(|r| r.part.id).collect();
        assert_eq!(ids, (1..=count).map(PartId).collect::<Vec<_>>(), "one verdict for each part");
        records
    }

    pub fn edges(&self, line: &str) -> Vec<Record> {
        self.recorder.records().into_iter().filter(|r| r.line == line).collect()
    }

    pub fn was_ever_high(&self, line: &str) -> bool {
        self.edges(line).iter().any(|r| r.level == Level::High)
    }

    /// Panics unless every line's last level is low.
    pub fn all_lines_are_safe(&self) {
        assert_eq!(self.edges("reject").last().map(|r| r.level), Some(Level::Low), "reject at the end");
        self.all_lines_of_the_panel_are_safe();
    }

    /// The same without the reject line, which a test may have replaced.
    pub fn all_lines_of_the_panel_are_safe(&self) {
        for line in ["ready", "fault", "stop_line"] {
            assert_eq!(self.edges(line).last().map(|r| r.level), Some(Level::Low), "{line} at the end");
        }
    }

    /// The events as JSON, of one kind.
    pub fn events_of(&self, kind: &str) -> Vec<serde_json::Value> {
        let text = self.events.text();
        let all = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        all.filter(|event| event["event"] == kind).collect()
    }
}
