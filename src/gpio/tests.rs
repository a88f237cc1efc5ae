//! What every backend must do, written once and run for each one that can run here.
//!
//! A character device needs a chip whose lines can be seen and driven from outside. Where `ZOOMGATE_GPIO_SIM` names
//! one of the kernel's simulator (`gpiochip1`, module gpio-sim), its lines 0 to 3 are used: 0 and 1 as outputs, 2 and
//! 3 as inputs. Elsewhere that part skips, loudly.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::cdev::{self, Cdev};
use super::recorded::Record;
use super::{Bias, Edge, InitialLevel, InputOptions, Level, Lines, Recorder, TriggerInput, Unconnected};
use crate::clock::{Clock, MonotonicClock, SimClock, Timestamp, WakeToken};
use crate::error::ErrorKind;

/// Time between the edges that a test gives.
const STEP: Duration = Duration::from_millis(20);

type See = Box<dyn Fn(&str) -> Option<Level>>;
type Drive = Box<dyn Fn(&str, usize) + Send>;
type Pull = Box<dyn Fn(&mut Bench, &str, Level)>;

/// A backend and the world outside its lines.
struct Bench {
    lines: Box<dyn Lines>,
    outputs: [String; 2],
    inputs: [String; 2],
    /// A name that the backend does not have, if it has names at all.
    missing: Option<&'static str>,
    /// What an output shows to the outside; `None` where nobody can see it.
    see: See,
    /// Pulls an input before it is requested, on a bench that is not used yet.
    pull: Pull,
    /// Drives an input from outside, low then high, [`STEP`] each, as often as asked; `None` where it is played.
    drive: Option<Drive>,
    clock: Arc<dyn Clock>,
    owns: bool,
    /// Tests run beside each other and there is one chip.
    _turn: Option<MutexGuard<'static, ()>>,
}

static CHIP: Mutex<()> = Mutex::new(());

fn recorded() -> Bench {
    recorded_from(&[])
}

/// The same, its inputs at these levels before anything moves.
fn recorded_from(start: &[(&str, Level)]) -> Bench {
    let clock: Arc<dyn Clock> = Arc::new(SimClock::new());
    let step = u64::try_from(STEP.as_nanos()).unwrap();
    let eye = |line: &str| -> Vec<Record> {
        let at = |n: u64| Timestamp(step * n);
        let record = |n: u64| Record {
            at: at(n),
            line: line.to_owned(),
            level: if n.is_multiple_of(2) { Level::High } else { Level::Low },
        };
        (2..8).map(record).collect()
    };
    let start = start.iter().map(|&(line, level)| Record { at: Timestamp::ZERO, line: line.to_owned(), level });
    let played = start.chain(eye("in0")).chain(eye("in1")).collect();
    let recorder = Recorder::in_memory(Arc::clone(&clock)).playing(played);
    let seen = recorder.clone();
    Bench {
        lines: Box::new(recorder),
        outputs: ["out0", "out1"].map(str::to_owned),
        inputs: ["in0", "in1"].map(str::to_owned),
        missing: None,
        pull: Box::new(|bench, line, level| *bench = recorded_from(&[(line, level)])),
        see: Box::new(move |line| seen.records().iter().rev().find(|r| r.line == line).map(|r| r.level)),
        drive: None,
        clock,
        owns: false,
        _turn: None,
    }
}

fn none() -> Bench {
    Bench { lines: Box::new(Unconnected), see: Box::new(|_| None), ..recorded() }
}

/// The simulated chip, if there is one.
fn simulated_chip() -> Option<Bench> {
    let Ok(chip) = std::env::var("ZOOMGATE_GPIO_SIM") else {
        eprintln!("SKIPPED for gpiocdev: ZOOMGATE_GPIO_SIM names no gpio-sim chip");
        return None;
    };
    let turn = CHIP.lock().unwrap_or_else(PoisonError::into_inner);
    // The simulator shows each line as a folder with `value` and `pull`, below the chip's parent device.
    let bank: PathBuf = std::fs::read_dir("/sys/devices/platform")
        .unwrap()
        .map(|entry| entry.unwrap().path().join(&chip))
        .find(|path| path.is_dir())
        .unwrap_or_else(|| panic!("{chip} is no chip of gpio-sim below /sys/devices/platform"));
    let attribute = move |line: &str, name: &str| {
        let offset = line.rsplit(':').next().unwrap();
        bank.join(format!("sim_gpio{offset}/{name}"))
    };
    let (value, before) = (attribute.clone(), attribute.clone());
    let see = move |line: &str| match std::fs::read_to_string(value(line, "value")).unwrap().trim() {
        "0" => Some(Level::Low),
        _ => Some(Level::High),
    };
    let drive = move |line: &str, times: usize| {
        for pull in ["pull-down", "pull-up"].iter().cycle().skip(1).take(2 * times) {
            MonotonicClock.sleep_until(MonotonicClock.now() + STEP);
            std::fs::write(attribute(line, "pull"), pull).unwrap();
        }
    };
    let pull = move |line: &str, level: Level| {
        let pull = if level == Level::High { "pull-up" } else { "pull-down" };
        std::fs::write(before(line, "pull"), pull).unwrap();
    };
    for input in [2, 3] {
        pull(&format!("{chip}:{input}"), Level::Low);
    }
    Some(Bench {
        lines: Box::new(Cdev::new(Some(chip.clone()))),
        // One by offset on the default chip, one in full.
        outputs: ["0".to_owned(), format!("{chip}:1")],
        inputs: [2, 3].map(|offset| format!("{chip}:{offset}")),
        missing: Some("no-such-line"),
        see: Box::new(see),
        pull: Box::new(move |_, line, level| pull(line, level)),
        drive: Some(Box::new(drive)),
        clock: Arc::new(MonotonicClock),
        owns: true,
        _turn: Some(turn),
    })
}

fn benches() -> Vec<Bench> {
    [recorded(), none()].into_iter().chain(simulated_chip()).collect()
}

fn with_inputs() -> Vec<Bench> {
    [recorded()].into_iter().chain(simulated_chip()).collect()
}

#[track_caller]
fn shows(bench: &Bench, line: &str, level: Level) {
    if let Some(seen) = (bench.see)(line) {
        assert_eq!(seen, level, "{line} from outside");
    }
}

/// What an input gives until two seconds have passed or `count` edges have come.
fn edges(bench: &Bench, input: &mut dyn TriggerInput, count: usize) -> Vec<Edge> {
    let token = WakeToken::new();
    input.attach(&bench.clock, &token);
    let mut came = Vec::new();
    let end = bench.clock.now() + Duration::from_secs(2);
    while came.len() < count {
        // What is played is asked for at its time; what is driven comes when it comes, and must not be overtaken.
        let played = input.next_at().filter(|_| bench.drive.is_none()).unwrap_or(Timestamp::ZERO);
        let now = bench.clock.now().max(played);
        match input.next_edge(now).unwrap() {
            Some(edge) => came.push(edge),
            None if input.is_exhausted() || now >= end => break,
            None if bench.drive.is_some() => _ = bench.clock.wait(&token, Some(end)),
            None => {}
        }
    }
    came
}

#[test]
fn an_output_is_safe_from_its_request_to_its_drop() {
    for mut bench in benches() {
        for safe in [Level::Low, Level::High] {
            for name in bench.outputs.clone() {
                let mut line = bench.lines.request(&name, safe).unwrap();
                assert_eq!(line.safe_level(), safe);
                shows(&bench, &name, safe);
                for level in [safe.inverted(), safe, safe.inverted(), safe.inverted()] {
                    line.set_level(level).unwrap();
                    shows(&bench, &name, level);
                }
                line.make_safe();
                shows(&bench, &name, safe);
            }
        }
    }
}

#[test]
fn a_panic_leaves_an_output_at_its_safe_level() {
    for mut bench in benches() {
        let name = bench.outputs[0].clone();
        let mut line = bench.lines.request(&name, Level::Low).unwrap();
        let outcome = std::thread::spawn(move || {
            line.set_level(Level::High).unwrap();
            panic!("on purpose");
        })
        .join();
        assert!(outcome.is_err());
        shows(&bench, &name, Level::Low);
    }
}

#[test]
fn an_owned_line_is_refused_to_others_and_names_its_holder() {
    for mut bench in benches().into_iter().filter(|bench| bench.owns) {
        let name = bench.outputs[0].clone();
        let held = bench.lines.request(&name, Level::Low).unwrap();
        let error = bench.lines.request(&name, Level::Low).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Busy);
        assert!(error.message().contains("held by `zoomgate`"), "{error}");
        let is_listed =
            cdev::list().iter().flat_map(|chip| &chip.lines).any(|l| l.consumer == cdev::CONSUMER && l.is_used);
        assert!(is_listed, "the list names the holder");
        drop(held);
        bench.lines.request(&name, Level::Low).unwrap();
    }
}

#[test]
fn a_missing_line_is_refused() {
    for mut bench in benches() {
        let Some(missing) = bench.missing else { continue };
        assert_eq!(bench.lines.request(missing, Level::Low).unwrap_err().kind(), ErrorKind::NotFound);
        let input = bench.lines.request_input(missing, InputOptions::default(), InitialLevel::Ignored);
        assert_eq!(input.err().unwrap().kind(), ErrorKind::NotFound);
    }
}

#[test]
fn a_backend_without_inputs_says_so() {
    let error = none().lines.request_input("in0", InputOptions::default(), InitialLevel::Ignored).err().unwrap();
    assert!(error.kind() == ErrorKind::Config && error.message().contains("has no inputs"), "{error}");
}

#[test]
fn an_input_gives_every_edge_both_ways_in_order_with_its_time() {
    for active_low in [false, true] {
        for mut bench in with_inputs() {
            let name = bench.inputs[usize::from(active_low)].clone();
            let options = InputOptions { active_low, bias: Bias::AsIs, debounce: Duration::ZERO };
            let mut input = bench.lines.request_input(&name, options, InitialLevel::Ignored).unwrap();
            assert_eq!(input.next_edge(bench.clock.now()).unwrap(), None, "nothing has happened yet");
            let before = bench.clock.now();
            if let Some(drive) = &bench.drive {
                drive(&name, 3);
            }
            let came = edges(&bench, &mut *input, 6);
            let first = if active_low { Level::Low } else { Level::High };
            let expected: Vec<_> = [first, first.inverted()].into_iter().cycle().take(6).collect();
            assert_eq!(came.iter().map(|e| e.level).collect::<Vec<_>>(), expected, "{name}");
            assert!(came[0].at >= before && came.windows(2).all(|w| w[0].at < w[1].at), "{came:?}");
            assert!(!input.ends_with_camera());
            drop(input);
            if bench.owns {
                bench
                    .lines
                    .request_input(&name, options, InitialLevel::Ignored)
                    .expect("a dropped input is free again");
            }
        }
    }
}

#[test]
fn the_level_at_the_request_is_the_first_edge_where_it_is_a_state_and_none_where_edges_are_events() {
    for (active_low, at_start) in [false, true].into_iter().flat_map(|low| [(low, Level::Low), (low, Level::High)]) {
        for (mut bench, initial) in [InitialLevel::Ignored, InitialLevel::Reported]
            .into_iter()
            .flat_map(|i| with_inputs().into_iter().map(move |b| (b, i)))
        {
            let name = bench.inputs[0].clone();
            let pull = std::mem::replace(&mut bench.pull, Box::new(|_, _, _| {}));
            pull(&mut bench, &name, at_start);
            let options = InputOptions { active_low, ..InputOptions::default() };
            let before = bench.clock.now();
            let mut input = bench.lines.request_input(&name, options, initial).unwrap();
            let is_active = (at_start == Level::High) != active_low;
            let first = input.next_edge(bench.clock.now()).unwrap();
            let is_told = is_active && initial == InitialLevel::Reported;
            assert_eq!(first.map(|edge| edge.level), is_told.then_some(Level::High), "{name} {initial:?} {at_start:?}");
            assert!(first.is_none_or(|edge| edge.at >= before), "{first:?}");
            assert_eq!(input.next_edge(bench.clock.now()).unwrap(), None, "once");
            if bench.drive.is_some() {
                // From its other level on each edge comes as it does without a word about the first.
                pull(&mut bench, &name, at_start.inverted());
                let came = edges(&bench, &mut *input, 1);
                assert_eq!(came.iter().map(|e| e.level == Level::High).collect::<Vec<_>>(), [!is_active], "{name}");
                pull(&mut bench, &name, Level::Low);
            }
        }
    }
}

#[test]
fn no_edge_around_the_request_is_lost_or_told_twice() {
    let Some(mut bench) = simulated_chip() else { return };
    let name = bench.inputs[0].clone();
    for round in 0..40_u32 {
        let pull = std::mem::replace(&mut bench.pull, Box::new(|_, _, _| {}));
        pull(&mut bench, &name, Level::Low);
        let (drive, clock) = (bench.drive.take().unwrap(), Arc::clone(&bench.clock));
        let line = name.clone();
        let driver = std::thread::spawn(move || {
            drive(&line, 3);
            drive
        });
        // Somewhere in the 120 ms for which the line moves.
        clock.sleep_until(clock.now() + STEP * (round * 7 % 60) / 10);
        let mut input = bench.lines.request_input(&name, InputOptions::default(), InitialLevel::Reported).unwrap();
        bench.drive = Some(driver.join().unwrap());
        let came: Vec<_> =
            std::iter::from_fn(|| input.next_edge(clock.now()).unwrap()).map(|edge| edge.level).collect();
        let expected: Vec<_> = [Level::High, Level::Low].into_iter().cycle().take(came.len()).collect();
        assert_eq!(came, expected, "round {round}: each level follows the other, an active one first");
        assert_eq!(came.len() % 2, 0, "round {round}: it is low in the end");
        bench.pull = pull;
    }
}

#[test]
fn an_input_that_is_debounced_gives_only_what_holds() {
    for mut bench in with_inputs() {
        let name = bench.inputs[0].clone();
        // Far above a step: a machine under load stretches those.
        let options = InputOptions { debounce: STEP * 25, ..InputOptions::default() };
        let mut input = bench.lines.request_input(&name, options, InitialLevel::Ignored).unwrap();
        if let Some(drive) = &bench.drive {
            drive(&name, 3);
        }
        // The last level holds, and is the one that the line had before.
        assert_eq!(edges(&bench, &mut *input, 1), []);
    }
}
