//! The daemon as a service: what the service manager hears, what a client of the status socket gets, what a stall does.
//!
//! The simulated clock serves wherever no other process and no real hang is part of the story.

mod lesson;
mod program;
mod rig;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use lesson::{SIZE, write_recipe, zoomgate};
use rig::{ByPixel, Rig, ms};
use sd_notify::NotifyState;
use serde_json::Value;
use zoomgate::camera::{Camera, CameraFault, Grab, Tripwire};
use zoomgate::clock::{Clock, MonotonicClock, SimClock, WakeToken};
use zoomgate::config::{self, Config};
use zoomgate::daemon::watch::Notifier;
use zoomgate::daemon::{self, Service, Wiring};
use zoomgate::decide::{Reason, Verdict};
use zoomgate::error::{Error, ErrorKind, Result};
use zoomgate::frame::Frame;
use zoomgate::inspect::{Inspect, Inspection, Unseen};
use zoomgate::pipeline::actuation::Trigger;
use zoomgate::pipeline::inspection::InspectionCost;
use zoomgate::sim::belt::Spacing;
use zoomgate::telemetry::Fault;
use zoomgate::telemetry::watchdog::Limits;

/// The service manager's end of the notify socket.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn bind(folder: &Path) -> Self {
        let path = folder.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { socket, path }
    }

    /// The next states, one string each.
    fn hear(&self) -> Vec<String> {
        let mut bytes = [0; 4096];
        let count = self.socket.recv(&mut bytes).expect("something within a minute");
        std::str::from_utf8(&bytes[..count]).unwrap().lines().map(str::to_owned).collect()
    }

    fn hear_until(&self, state: &str) -> Vec<String> {
        let mut heard = Vec::new();
        while !heard.iter().any(|s| s == state) {
            heard.extend(self.hear());
        }
        heard
    }

    /// What was sent and not heard yet.
    fn rest(&self) -> Vec<String> {
        self.socket.set_nonblocking(true).unwrap();
        let mut bytes = [0; 4096];
        let heard = std::iter::from_fn(|| self.socket.recv(&mut bytes).ok().map(|n| bytes[..n].to_vec()));
        heard.flat_map(|b| String::from_utf8(b).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()).collect()
    }

    /// A notifier in this process that sends to the socket, as the crate does by the environment.
    fn notifier(&self, period: Duration) -> Notifier {
        let (socket, path) = (UnixDatagram::unbound().unwrap(), self.path.clone());
        let send = move |states: &[NotifyState<'_>]| {
            let text: String = states.iter().map(|state| format!("{state}\n")).collect();
            socket.send_to(text.as_bytes(), &path).map(drop)
        };
        Notifier::new(Box::new(send), Some(period))
    }
}

/// A notifier that only remembers, for runs on the simulated clock.
fn remembering(period: Option<Duration>) -> (Notifier, Arc<Mutex<Vec<String>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let theirs = Arc::clone(&heard);
    let send = move |states: &[NotifyState<'_>]| {
        theirs.lock().unwrap().extend(states.iter().map(ToString::to_string));
        Ok(())
    };
    (Notifier::new(Box::new(send), period), heard)
}

fn count(heard: &[String], state: &str) -> usize {
    heard.iter().filter(|s| *s == state).count()
}

/// Parts 50 ms apart, 300 ms to the actuator.
fn quick(parts: u64) -> Rig {
    let mut rig = Rig::new(parts, 3);
    rig.spacing = Spacing { mean: ms(50), jitter: 0.0, crowded: 0.0, crowded_gap: ms(15) };
    rig.reject.travel = zoomgate::units::Millimetres(300.0);
    rig.reject.pulse_width = ms(5);
    rig.reject.window = ms(40);
    rig
}

fn on_the_real_clock(parts: u64) -> (Wiring, rig::Watch) {
    let mut rig = quick(parts);
    rig.cost = InspectionCost::Measured;
    rig.wire_on(Arc::new(MonotonicClock))
}

#[test]
fn the_service_manager_hears_ready_then_the_watchdog_then_stopping() {
    let dir = tempfile::tempdir().unwrap();
    let manager = Manager::bind(dir.path());
    let (mut wiring, watch) = on_the_real_clock(20);
    wiring.service.notifier = Some(manager.notifier(ms(200)));
    let run = thread::spawn(move || daemon::run(wiring));
    let mut heard = manager.hear_until("STOPPING=1");
    run.join().unwrap().unwrap();
    heard.extend(manager.rest());
    let at = |state: &str| heard.iter().position(|s| s == state).unwrap_or_else(|| panic!("{state} in {heard:?}"));
    assert!(at("READY=1") < at("WATCHDOG=1") && at("WATCHDOG=1") < at("STOPPING=1"), "{heard:?}");
    assert_eq!((count(&heard, "READY=1"), count(&heard, "STOPPING=1")), (1, 1), "{heard:?}");
    assert!(count(&heard, "WATCHDOG=1") >= 5, "a second of parts, a feed each tenth: {heard:?}");
    assert_eq!(count(&heard, "WATCHDOG=trigger"), 0, "{heard:?}");
    assert!(heard.iter().any(|s| s.starts_with("STATUS=") && s.contains(" parts: ")), "{heard:?}");
    watch.one_record_each(20);
}

/// An inspection that hangs for real until it is told to go on, from its third part on.
struct Hanging {
    seen: u32,
    go_on: Receiver<()>,
}

impl Inspect for Hanging {
    fn look(&mut self, _frame: &Frame) -> Option<Unseen> {
        None
    }

    fn inspect(&mut self, frame: &Frame) -> Result<Inspection> {
        self.seen += 1;
        if self.seen >= 3 {
            // A closed channel is the word, too.
            _ = self.go_on.recv();
        }
        ByPixel.inspect(frame)
    }
}

#[test]
fn a_stalled_inspection_stops_the_feed() {
    let dir = tempfile::tempdir().unwrap();
    let manager = Manager::bind(dir.path());
    let journal = UnixDatagram::bind(dir.path().join("journal")).unwrap();
    let (tell, go_on) = channel();
    let (mut wiring, watch) = on_the_real_clock(200);
    wiring.inspect = Box::new(Hanging { seen: 0, go_on });
    let notifier = manager.notifier(ms(800)).with_journal(&dir.path().join("journal")).unwrap();
    wiring.service.notifier = Some(notifier);
    wiring.service.limits = Limits { inspection: ms(400), ..Limits::default() };
    let counters = Arc::clone(&wiring.counters);
    let run = thread::spawn(move || daemon::run(wiring));
    let heard = manager.hear_until("WATCHDOG=trigger");
    assert!(count(&heard, "WATCHDOG=1") > 0, "it was fed before: {heard:?}");
    // Nothing but the hanging thread keeps the run: parts are settled and outputs are at rest by now, or soon.
    tell.send(()).unwrap();
    drop(tell);
    let error = run.join().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(error.to_string().contains("the inspection (insp) makes no progress"), "{error}");
    let rest = manager.rest();
    assert_eq!(count(&rest, "WATCHDOG=1"), 0, "never fed again");
    assert_eq!(count(&heard, "STOPPING=1") + count(&rest, "STOPPING=1"), 1, "the run ends: {heard:?} {rest:?}");
    let counts = counters.snapshot();
    assert_eq!((counts.fault(Fault::Stalled), counts.fault(Fault::RunFailed)), (1, 1));
    let records = watch.one_record_each(counts.parts);
    assert!(records[2..].iter().all(|r| matches!(r.verdict, Verdict::Uninspected(_))), "nothing is inspected any more");
    assert!(watch.events_of("fault").iter().any(|e| e["code"] == "SUP-02"));
    journal.set_nonblocking(true).unwrap();
    let mut bytes = [0; 4096];
    let entries = std::iter::from_fn(|| journal.recv(&mut bytes).ok().map(|n| bytes[..n].to_vec()));
    let entries: Vec<String> = entries.map(|b| String::from_utf8(b).unwrap()).collect();
    let id = format!("MESSAGE_ID={}\n", Fault::Stalled.message_id());
    let of_the_stall: Vec<_> =
        entries.iter().filter(|e| e.contains(&id) && e.contains("ZOOMGATE_CODE=SUP-02\n")).collect();
    assert_eq!(of_the_stall.len(), 1, "{entries:?}");
    watch.all_lines_are_safe();
}

#[test]
fn on_the_simulated_clock_a_slow_inspection_is_a_stall_and_the_policy_takes_over() {
    let run = |period| {
        let mut rig = Rig::new(120, 1);
        rig.cost = InspectionCost::Modelled(Box::new(|part| if part.0 == 20 { ms(15_000) } else { ms(30) }));
        let (mut wiring, watch) = rig.wire();
        let (notifier, heard) = remembering(period);
        wiring.service.notifier = Some(notifier);
        let result = daemon::run(wiring);
        (result, watch, Arc::into_inner(heard).unwrap().into_inner().unwrap())
    };
    let (result, watch, heard) = run(Some(ms(4000)));
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(count(&heard, "WATCHDOG=trigger"), 1, "{heard:?}");
    assert!(watch.was_ever_high("fault"), "somebody is called");
    watch.all_lines_are_safe();
    let (result, watch, heard) = run(None);
    let counts = result.unwrap().counts;
    assert_eq!(counts.fault(Fault::Stalled), 1, "without a watchdog a stall is told and nothing ends");
    assert_eq!((count(&heard, "WATCHDOG=1"), count(&heard, "WATCHDOG=trigger")), (0, 0));
    watch.one_record_each(120);
}

/// Says one thing again and again, a tenth of a second apart, and ends after `times`.
struct Monotonous {
    clock: Arc<dyn Clock>,
    times: u32,
    says: fn() -> Grab,
}

impl Camera for Monotonous {
    fn grab(&mut self, token: &WakeToken) -> Grab {
        if self.times == 0 {
            return Grab::End;
        }
        self.times -= 1;
        self.clock.wait(token, Some(self.clock.now() + ms(100)));
        (self.says)()
    }
}

/// What the manager hears in 30 s of a camera that never shows a frame, with a configured trigger.
fn heard_of_a_camera(says: fn() -> Grab, trigger: &str) -> Vec<String> {
    let clock: Arc<dyn Clock> = Arc::new(SimClock::new());
    let (mut wiring, _watch) = Rig::new(120, 1).wire_on(Arc::clone(&clock));
    let config = configured(trigger);
    match config.trigger {
        config::Trigger::EveryFrame => wiring.line.trigger = Trigger::EveryFrame,
        config::Trigger::Tripwire { wire, exposure } => {
            wiring.tripwire = Some(Tripwire::new(wire));
            wiring.line.trigger = Trigger::Tripwire { exposure_offset: exposure.offset, tolerance: exposure.tolerance };
        }
        // The rig's own: edges that are known beforehand.
        _ => {}
    }
    wiring.camera = Box::new(Monotonous { clock, times: 300, says });
    wiring.service.limits = Service::from_config(&config).limits;
    let (notifier, heard) = remembering(Some(ms(1000)));
    wiring.service.notifier = Some(notifier);
    _ = daemon::run(wiring);
    Arc::into_inner(heard).unwrap().into_inner().unwrap()
}

fn configured(trigger: &str) -> Config {
    let camera = match trigger {
        "simulated" => r#"source = "simulated", parts = 9"#,
        _ => r#"source = "folder", folder = ".""#,
    };
    let more = match trigger {
        "photo_eye" => r#", line = "eye""#,
        "interval" => ", interval_ms = 100",
        "tripwire" => ", strip_left_px = 300, strip_top_px = 20, strip_width_px = 8",
        _ => "",
    };
    let text = format!(
        r#"
        camera = {{ {camera}, rate_hz = 4 }}
        trigger = {{ source = "{trigger}"{more} }}
        reject = {{ travel_mm = 600, belt_speed_mm_s = 1000 }}
        gpio = {{ backend = "recorded", inputs = "in", edges = "out" }}
        safety = {{ on_uninspected = "reject", on_missed_reject = "alarm" }}
        "#
    );
    config::parse(&text, Path::new("config.toml")).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn a_camera_that_was_never_seen_is_not_ready_and_an_idle_one_only_where_an_edge_starts_a_part() {
    let down = || Grab::Fault(CameraFault::Disconnected, Error::new(ErrorKind::Disconnected, "unplugged"));
    let idle = || Grab::Idle;
    type Says = fn() -> Grab;
    let cases: [(&str, Says, &str, bool); 6] = [
        ("idle between edges", idle, "photo_eye", true),
        ("idle between simulated edges", idle, "simulated", true),
        ("idle where every frame is a part", idle, "every_frame", false),
        ("idle where the picture tells that a part comes", idle, "tripwire", false),
        ("idle where the clock asks for parts", idle, "interval", false),
        ("down", down, "photo_eye", false),
    ];
    for (name, says, trigger, ready) in cases {
        let heard = heard_of_a_camera(says, trigger);
        assert_eq!(count(&heard, "READY=1"), usize::from(ready), "{name}: {heard:?}");
        let fed = heard.iter().take_while(|s| *s != "STOPPING=1").filter(|s| *s == "WATCHDOG=1").count();
        assert_eq!(fed > 40, ready, "{name}: fed {fed} times");
    }
}

#[test]
fn a_camera_that_is_down_keeps_the_daemon_and_its_policy_for_a_while() {
    let clock: Arc<dyn Clock> = Arc::new(SimClock::new());
    let rig = Rig::new(400, 1);
    let arrivals = rig.arrivals();
    let (mut wiring, watch) = rig.wire_on(Arc::clone(&clock));
    // Idle for a second, then down: the trigger goes on.
    struct Unplugged(Monotonous);
    impl Camera for Unplugged {
        fn grab(&mut self, token: &WakeToken) -> Grab {
            if self.0.times > 290 {
                return self.0.grab(token);
            }
            Grab::Fault(CameraFault::Disconnected, Error::new(ErrorKind::Disconnected, "unplugged"))
        }
    }
    wiring.camera = Box::new(Unplugged(Monotonous { clock, times: 300, says: || Grab::Idle }));
    let (notifier, heard) = remembering(Some(ms(4000)));
    wiring.service.notifier = Some(notifier);
    assert_eq!(daemon::run(wiring).unwrap_err().kind(), ErrorKind::Timeout);
    let heard = Arc::into_inner(heard).unwrap().into_inner().unwrap();
    // A second idle and a minute down, a feed each two seconds.
    assert!((28..=33).contains(&count(&heard, "WATCHDOG=1")), "{heard:?}");
    let records = watch.one_record_each(watch.events_of("verdict").len() as u64);
    assert!(records.len() > 200 && records.len() < arrivals.len(), "{} of {}", records.len(), arrivals.len());
    assert!(records.iter().all(|r| r.verdict == Verdict::Uninspected(Reason::NoFrame)));
    watch.all_lines_are_safe();
}

/// The object that a daemon hands out.
fn ask(socket: &Path) -> Value {
    let mut text = String::new();
    UnixStream::connect(socket).unwrap().read_to_string(&mut text).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

#[test]
fn a_slow_or_hostile_client_of_the_status_socket_holds_nothing_up() {
    let dir = tempfile::tempdir().unwrap();
    let manager = Manager::bind(dir.path());
    let socket = dir.path().join("status.sock");
    // What a killed daemon leaves: a file that nobody listens on.
    drop(UnixListener::bind(&socket).unwrap());
    let (mut wiring, watch) = on_the_real_clock(40);
    wiring.service.notifier = Some(manager.notifier(ms(5000)));
    wiring.service.status_socket = Some(socket.clone());
    let run = thread::spawn(move || daemon::run(wiring));
    manager.hear_until("READY=1");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o660);
    // Clients that ask and never read, and one that writes until nobody takes it any more.
    let silent: Vec<UnixStream> = (0..60).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    let mut loud = UnixStream::connect(&socket).unwrap();
    loud.set_write_timeout(Some(ms(50))).unwrap();
    let chunk = [b'x'; 65536];
    while loud.write_all(&chunk).is_ok() {}
    let status = ask(&socket);
    assert_eq!((status["schema"].as_u64(), &status["state"]), (Some(1), &"running".into()), "{status}");
    assert!(status["counts"]["parts"].as_u64().is_some_and(|n| n > 0), "{status}");
    for key in
        ["uptime_s", "pulses", "faults", "latency_ms", "camera", "threshold", "recipe", "realtime", "recent", "sight"]
    {
        assert!(!status[key].is_null(), "{key}: {status}");
    }
    let report = run.join().unwrap().unwrap();
    drop(silent);
    let records = watch.one_record_each(40);
    assert!(records.iter().all(|r| r.pulse.is_none_or(|p| p.has_hit())), "pulses: {:?}", report.counts.pulses);
    assert!(!socket.exists(), "the socket goes with the daemon");
}

#[test]
fn a_status_socket_that_is_taken_costs_the_status_and_no_part() {
    let dir = tempfile::tempdir().unwrap();
    let taken = dir.path().join("taken.sock");
    let _other = UnixListener::bind(&taken).unwrap();
    let file = dir.path().join("file.sock");
    fs::write(&file, "precious").unwrap();
    for socket in [&taken, &file, &dir.path().join("no/folder.sock")] {
        let (mut wiring, watch) = quick(5).wire();
        wiring.service.status_socket = Some(socket.clone());
        daemon::run(wiring).unwrap();
        watch.one_record_each(5);
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    assert!(taken.exists(), "another daemon's socket stays");
}

#[test]
fn what_real_time_was_refused_is_in_the_events() {
    let (mut wiring, watch) = quick(3).wire();
    wiring.service.realtime = zoomgate::config::Realtime { priority: Some(40), lock_memory: false };
    daemon::run(wiring).unwrap();
    let event = &watch.events_of("realtime")[0];
    let was_given = event["fifo_priority"] == 40;
    assert_eq!(event["refused"].as_array().unwrap().is_empty(), was_given, "{event}");
}

/// A child that does not outlive its test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// The program, as the unit starts it.
#[test]
fn the_program_tells_the_service_manager_and_answers_status_and_doctor() {
    let dir = tempfile::tempdir().unwrap();
    write_recipe(dir.path());
    let (width, height) = SIZE;
    let config = dir.path().join("config.toml");
    let text = format!(
        r#"
camera = {{ source = "simulated", width_px = {width}, height_px = {height}, parts = 36000, rate_hz = 10.0 }}
trigger.source = "simulated"
reject = {{ enabled = true, travel_mm = 400.0, belt_speed_mm_s = 400.0, pulse_width_ms = 20.0 }}
gpio.backend = "recorded"
safety = {{ on_uninspected = "reject", on_missed_reject = "alarm" }}
record.events = "events.jsonl"
status.socket = "status.sock"
"#
    );
    fs::write(&config, text).unwrap();
    let socket = dir.path().join("status.sock");
    let (config, socket) = (config.to_str().unwrap(), socket.to_str().unwrap());

    let output = zoomgate(["doctor", "--json", "--config", config]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let of = |name: &str| report["checks"].as_array().unwrap().iter().find(|c| c["name"] == name).cloned().unwrap();
    assert_eq!(output.status.success(), report["ok"] == true, "{report}");
    for name in ["config", "recipe", "camera", "outputs", "record", "clock"] {
        assert_eq!(of(name)["outcome"], "ok", "{}", of(name));
    }
    let missing = zoomgate(["doctor", "--config", "/nowhere/config.toml"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8(missing.stderr).unwrap().contains("checks failed: config"));
    assert!(String::from_utf8(missing.stdout).unwrap().contains("what to do: see them all with `zoomgate check"));

    let nobody = zoomgate(["status", "--socket", socket]);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(String::from_utf8(nobody.stderr).unwrap().contains("no daemon listens"));

    let manager = Manager::bind(dir.path());
    let mut command = program::program();
    command.args(["run", "--config", config]).env("NOTIFY_SOCKET", &manager.path).env("WATCHDOG_USEC", "4000000");
    let mut child = Killed(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let heard = manager.hear_until("WATCHDOG=1");
    let ready =
        heard.iter().position(|s| s == "READY=1").unwrap_or_else(|| panic!("fed before it is ready: {heard:?}"));
    assert!(heard[..ready].iter().all(|s| s.starts_with("STATUS=")), "{heard:?}");
    let answer = zoomgate(["status", "--json", "--socket", socket]);
    let status: Value = serde_json::from_slice(&answer.stdout).unwrap();
    assert_eq!(status["pid"], child.0.id());
    assert!(status["recipe"].as_str().unwrap().ends_with("recipe.onnx"), "{status}");
    let people = String::from_utf8(zoomgate(["status", "--socket", socket]).stdout).unwrap();
    assert!(people.starts_with("state       running"), "{people}");
    let pid = rustix::process::Pid::from_child(&child.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    manager.hear_until("STOPPING=1");
    assert!(child.0.wait().unwrap().success());
    assert_eq!(count(&manager.rest(), "WATCHDOG=trigger"), 0);
}

/// Every fault code has an entry in the journal's catalogue, under the identifier that the daemon sends.
#[test]
fn the_journal_catalogue_explains_every_fault() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/zoomgate.catalog");
    let text = fs::read_to_string(path).unwrap();
    let entries: Vec<(&str, &str)> =
        text.split("\n-- ").skip(1).map(|entry| entry.split_once('\n').expect("text below its identifier")).collect();
    assert_eq!(entries.len(), Fault::ALL.len(), "an entry for each fault and no other");
    for fault in Fault::ALL {
        let (_, entry) = entries
            .iter()
            .find(|(id, _)| *id == fault.message_id())
            .unwrap_or_else(|| panic!("{} ({}) has no entry", fault.code(), fault.message_id()));
        assert!(entry.starts_with(&format!("Subject: {} {}\n", fault.code(), fault.name())), "{entry}");
        assert!(entry.contains("Defined-By: zoomgate\n") && entry.contains("\n\nWhat to do: "), "{entry}");
    }
}
