//! Runs that end although something in them hangs: a model, a camera, a disk. On the real clock, because it is the real
//! clock on which something hangs, with limits of a second.

mod rig;

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use rig::{ByPixel, Rig, Watch, ms};
use zoomgate::camera::{Camera, Grab};
use zoomgate::clock::{MonotonicClock, WakeToken};
use zoomgate::daemon::{self, Wiring};
use zoomgate::decide::{Reason, Verdict};
use zoomgate::error::{Error, ErrorKind, Result};
use zoomgate::frame::Frame;
use zoomgate::inspect::{Inspect, Inspection, Unseen};
use zoomgate::pipeline::inspection::InspectionCost;
use zoomgate::reject::PulseOutcome;
use zoomgate::telemetry::watchdog::Limits;
use zoomgate::telemetry::{Counts, Fault};
use zoomgate::units::Millimetres;

const PARTS: u64 = 3;

/// Hangs until its test is over.
struct Hangs<T>(T, Receiver<()>);

impl Inspect for Hangs<ByPixel> {
    fn look(&mut self, _frame: &Frame) -> Option<Unseen> {
        None
    }

    fn inspect(&mut self, frame: &Frame) -> Result<Inspection> {
        _ = self.1.recv();
        self.0.inspect(frame)
    }
}

impl Camera for Hangs<(Box<dyn Camera>, u64)> {
    fn grab(&mut self, token: &WakeToken) -> Grab {
        let (camera, left) = &mut self.0;
        if *left == 0 {
            _ = self.1.recv();
        }
        *left = left.saturating_sub(1);
        camera.grab(token)
    }
}

impl Write for Hangs<()> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        _ = self.1.recv();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs a line of three parts in which `hang` has put something that hangs; the run has to end with an error.
fn end(hang: impl FnOnce(&mut Wiring, Receiver<()>)) -> (Error, Counts, Watch, Sender<()>) {
    let mut rig = Rig::new(PARTS, 1);
    rig.spacing.mean = ms(50);
    rig.reject.travel = Millimetres(200.0);
    rig.reject.window = ms(100);
    rig.cost = InspectionCost::Measured;
    let (mut wiring, watch) = rig.wire_on(std::sync::Arc::new(MonotonicClock));
    wiring.service.limits = Limits { camera: ms(1000), inspection: ms(1000), ..Limits::default() };
    let (let_go, hangs) = channel();
    hang(&mut wiring, hangs);
    let counters = std::sync::Arc::clone(&wiring.counters);
    let (tell, told) = channel();
    thread::spawn(move || tell.send(daemon::run(wiring).map(|_| ())));
    let outcome = told.recv_timeout(Duration::from_secs(20)).expect("the run ends whatever hangs in it");
    (outcome.unwrap_err(), counters.snapshot(), watch, let_go)
}

#[test]
fn an_inspection_that_never_comes_back_does_not_keep_the_run_from_its_end() {
    let (error, counts, watch, _let_go) = end(|wiring, hangs| wiring.inspect = Box::new(Hangs(ByPixel, hangs)));
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.message().contains("thread insp did not end within 1 s"), "{error}");
    assert_eq!(counts.fault(Fault::Stalled), 1);
    for record in watch.one_record_each(PARTS) {
        assert_eq!(record.verdict, Verdict::Uninspected(Reason::Late));
        assert_eq!(record.pulse, Some(PulseOutcome::Fired), "the plant's policy");
    }
    watch.all_lines_are_safe();
    assert_eq!(watch.events_of("stop")[0]["error"].as_str(), Some(error.message()), "and it is written");
    assert!(watch.events_of("fault").iter().any(|event| event["code"] == "SUP-02"));
}

#[test]
fn a_camera_that_never_comes_back_does_not_keep_the_run_from_its_end() {
    let (error, counts, watch, _let_go) = end(|wiring, hangs| {
        let camera = std::mem::replace(&mut wiring.camera, Box::new(Gone));
        wiring.camera = Box::new(Hangs((camera, 2), hangs));
    });
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.message().contains("thread cap did not end within 1 s"), "{error}");
    assert_eq!(counts.fault(Fault::Stalled), 1);
    let unseen = watch.one_record_each(PARTS).into_iter().filter(|r| r.verdict.reason().is_some()).count();
    assert_eq!(unseen, 1, "the part that it did not show");
    watch.all_lines_are_safe();
    assert_eq!(watch.events_of("stop").len(), 1);
}

struct Gone;

impl Camera for Gone {
    fn grab(&mut self, _bell: &WakeToken) -> Grab {
        Grab::End
    }
}

#[test]
fn a_disk_that_never_comes_back_does_not_keep_the_run_from_its_end() {
    let (error, _, watch, _let_go) = end(|wiring, hangs| wiring.events = Some(Box::new(Hangs((), hangs))));
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.message().contains("thread rec did not end within 1 s"), "{error}");
    watch.all_lines_are_safe();
}
