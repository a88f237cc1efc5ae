//! The world outside zoomgate's lines in the virtual machine: the belt with its parts, and who looks at the outputs.
//!
//! ```text
//! probe belt BANK EYE CAMERA PARTS PERIOD_MS    parts on the belt: the camera's picture, then the photo-eye
//! probe watch BANK NAME=OFFSET…                 every change of these lines, of the first most exactly, until SIGTERM
//! probe strobes BANK EYE LIGHT PARTS PERIOD_MS  parts on the belt, and when each one's light is seen
//! probe encoder BANK LINE PERIOD_US             an encoder of a belt with constant speed, until SIGTERM
//! probe spin SECONDS                            a thread that goes before all ordinary ones and never waits
//! probe kill PID [SIGNAL]                       SIGKILL, or SEGV (twice) or ABRT
//! probe hold CHIP OFFSET MS                     another program that wants a line
//! probe set CAMERA CONTROL VALUE                one control of a camera
//! probe mark WORDS…                             a moment to remember
//! ```
//!
//! `BANK` is the folder of a chip of the kernel's gpio-sim, where each line has a file `value` and a file `pull`.
//! Every observation is a line on stdout, its time first, in nanoseconds of CLOCK_MONOTONIC as zoomgate's events have it.
//! What can only be known to lie between two instants has both. `tests/vm/judge.py` reads them.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};
use v4l::Device;
use v4l::control::{Control, Value};
use zoomgate::clock::{Clock, MonotonicClock, Timestamp};

type Failure = Box<dyn std::error::Error>;

/// Pause between two looks at the first of the lines, and how many of them pass until the others are looked at.
const LOOK: Duration = Duration::from_micros(500);
const OTHERS: u64 = 10;
/// How long a part covers the photo-eye.
const COVERS: Duration = Duration::from_millis(40);

/// Entry of vivid's menu "Test Pattern": what a part looks like (tests/vm/pictures.py).
const BARS: i64 = 0;
/// Saturation of a good part, and of a bad one: that is pale, and has about as much light, contrast and detail, so that
/// nothing but its score tells it.
const COLOURED: i64 = 128;
const PALE: i64 = 64;
/// Entry "None" of vivid's menu "OSD Text Mode": no clock in the pictures.
const NO_TEXT: i64 = 2;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match args.as_slice() {
        ["belt", bank, eye, camera, parts, period] => belt(Path::new(bank), eye, camera, parts, period),
        ["strobes", bank, eye, light, parts, period] => strobes(Path::new(bank), eye, light, parts, period),
        ["encoder", bank, line, period] => encoder(Path::new(bank), line, period),
        ["spin", seconds] => spin(seconds),
        ["watch", bank, lines @ ..] if !lines.is_empty() => watch(Path::new(bank), lines),
        ["kill", pid] => kill(pid, "KILL"),
        ["kill", pid, signal] => kill(pid, signal),
        ["hold", chip, offset, ms] => hold(chip, offset, ms),
        ["set", camera, control, value] => set(camera, control, value),
        ["mark", words @ ..] => say(now(), &format!("mark {}", words.join(" "))),
        _ => Err("usage: see the head of tests/vm/probe.rs".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("probe: {}: {error}", args.join(" "));
            ExitCode::FAILURE
        }
    }
}

fn now() -> Timestamp {
    MonotonicClock.now()
}

fn say(at: Timestamp, what: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{} {what}", at.0)?;
    Ok(out.flush()?)
}

/// Ahead of everything else that runs, zoomgate's actuation (40) included: a late look would be taken for a late pulse.
fn hurry() -> Result<(), Failure> {
    go_first(90)
}

fn go_first(priority: u8) -> Result<(), Failure> {
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    let priority = ThreadPriority::Crossplatform(ThreadPriorityValue::try_from(priority)?);
    Ok(set_thread_priority_and_policy(thread_native_id(), priority, policy).map_err(|e| format!("{e:?}"))?)
}

fn file_of(bank: &Path, offset: &str, name: &str) -> PathBuf {
    bank.join(format!("sim_gpio{offset}/{name}"))
}

/// Brings parts past the camera and the photo-eye; every other one, in no simple order, is a bad one.
///
/// The camera's picture changes half a period before the photo-eye is covered. A camera that is not there shows nothing.
fn belt(bank: &Path, eye: &str, camera: &str, parts: &str, period: &str) -> Result<(), Failure> {
    let (parts, period) = (parts.parse::<u32>()?, Duration::from_millis(period.parse()?));
    let pull = OpenOptions::new().write(true).open(file_of(bank, eye, "pull"))?;
    hurry()?;
    let mut due = now() + period;
    let mut dice = 1u32;
    for part in 1..=parts {
        dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let is_bad = dice >> 31 == 1;
        MonotonicClock.sleep_until(due - period / 2);
        let looks = match show(camera, is_bad) {
            Ok(()) if is_bad => "bad",
            Ok(()) => "good",
            Err(_) => "unseen",
        };
        MonotonicClock.sleep_until(due);
        let before = now();
        pull.write_all_at(b"pull-up", 0)?;
        let after = now();
        say(before, &format!("part {part} {looks} {}", after.0))?;
        MonotonicClock.sleep_until(before + COVERS);
        pull.write_all_at(b"pull-down", 0)?;
        due = due + period;
    }
    Ok(())
}

/// Pause between two looks at a light that is due.
const GLANCE: Duration = Duration::from_micros(50);

/// Brings parts past the photo-eye and looks for the light that each of them is to have at once.
fn strobes(bank: &Path, eye: &str, light: &str, parts: &str, period: &str) -> Result<(), Failure> {
    let (parts, period) = (parts.parse::<u32>()?, Duration::from_millis(period.parse()?));
    let pull = OpenOptions::new().write(true).open(file_of(bank, eye, "pull"))?;
    let light = File::open(file_of(bank, light, "value"))?;
    hurry()?;
    let mut due = now() + period;
    for part in 1..=parts {
        MonotonicClock.sleep_until(due);
        let before = now();
        pull.write_all_at(b"pull-up", 0)?;
        let after = now();
        let mut lit = after;
        while level(&light)? != '1' && lit < before + COVERS {
            MonotonicClock.sleep_until(lit + GLANCE);
            lit = now();
        }
        say(before, &format!("strobe {part} {} {}", after.0, lit.0))?;
        MonotonicClock.sleep_until(before + COVERS);
        pull.write_all_at(b"pull-down", 0)?;
        due = due + period;
    }
    Ok(())
}

/// What a driver's thread may do to a machine: behind zoomgate's actuation (40), before everything ordinary.
fn spin(seconds: &str) -> Result<(), Failure> {
    go_first(1)?;
    let end = now() + Duration::from_secs(seconds.parse()?);
    while now() < end {
        std::hint::spin_loop();
    }
    Ok(())
}

/// Turns an encoder: one pulse each `period`, however late a pulse may have been.
fn encoder(bank: &Path, line: &str, period: &str) -> Result<(), Failure> {
    let enough = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGTERM, Arc::clone(&enough))?;
    let half = Duration::from_micros(period.parse::<u64>()? / 2);
    let pull = OpenOptions::new().write(true).open(file_of(bank, line, "pull"))?;
    hurry()?;
    let mut due = now();
    for level in ["pull-up", "pull-down"].into_iter().cycle().take_while(|_| !enough.load(Ordering::SeqCst)) {
        due = due + half;
        MonotonicClock.sleep_until(due);
        pull.write_all_at(level.as_bytes(), 0)?;
    }
    Ok(())
}

/// Opened for a moment each time: a node that somebody has open keeps its number, and a camera that comes back another.
fn show(camera: &str, is_pale: bool) -> Result<(), Failure> {
    let device = Device::with_path(camera)?;
    // From vivid's source: its own controls begin at 0x00f0f000. The last is "Saturation" of all cameras.
    let saturation = if is_pale { PALE } else { COLOURED };
    for (id, value) in [(0x00f0_f001, NO_TEXT), (0x00f0_f000, BARS), (0x0098_0902, saturation)] {
        device.set_control(Control { id, value: Value::Integer(value) })?;
    }
    Ok(())
}

fn set(camera: &str, control: &str, value: &str) -> Result<(), Failure> {
    let device = Device::with_path(camera)?;
    let found = device.query_controls()?.into_iter().find(|c| c.name == control).ok_or("there is no such control")?;
    Ok(device.set_control(Control { id: found.id, value: Value::Integer(value.parse()?) })?)
}

/// Tells every change of the lines, with the last instant at which it had not been seen and the first at which it was.
fn watch(bank: &Path, lines: &[&str]) -> Result<(), Failure> {
    let enough = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGTERM, Arc::clone(&enough))?;
    let mut watched = Vec::new();
    for line in lines {
        let (name, offset) = line.split_once('=').ok_or("a line is NAME=OFFSET")?;
        let file = File::open(file_of(bank, offset, "value"))?;
        let level = level(&file)?;
        say(now(), &format!("level {name} {level}"))?;
        watched.push((name, file, level));
    }
    hurry()?;
    let (mut last, mut looks, mut longest) = (now(), 0u64, Duration::ZERO);
    while !enough.load(Ordering::SeqCst) {
        let start = now();
        longest = longest.max(start.since(last));
        let due = if looks.is_multiple_of(OTHERS) { watched.len() } else { 1 };
        for (name, file, known) in &mut watched[..due] {
            let seen = level(file)?;
            if seen != *known {
                *known = seen;
                say(now(), &format!("edge {name} {seen} {}", last.0))?;
            }
        }
        (last, looks) = (start, looks + 1);
        MonotonicClock.sleep_until(start + LOOK);
    }
    say(now(), &format!("looks {looks} {}", longest.as_nanos()))
}

fn level(file: &File) -> Result<char, Failure> {
    let mut byte = [0];
    file.read_exact_at(&mut byte, 0)?;
    Ok(char::from(byte[0]))
}

/// Rust's runtime takes the first SIGSEGV for an overflow of the stack that will come again, and the second one kills.
fn kill(pid: &str, name: &str) -> Result<(), Failure> {
    let pid = Pid::from_raw(pid.parse()?).ok_or("0 is no process")?;
    let (signal, times) = match name {
        "KILL" => (Signal::KILL, 1),
        "SEGV" => (Signal::SEGV, 2),
        "ABRT" => (Signal::ABORT, 1),
        _ => return Err("SIGNAL is KILL, SEGV or ABRT".into()),
    };
    let mut at = now();
    kill_process(pid, signal)?;
    for _ in 1..times {
        // Two of a kind that wait for their process are one.
        MonotonicClock.sleep_until(at + Duration::from_millis(20));
        at = now();
        kill_process(pid, signal)?;
    }
    say(at, if name == "KILL" { "killed" } else { "died" }).and_then(|()| say(at, &format!("death {name}")))
}

/// Asks for a line as any other program would, and says what the kernel answers.
fn hold(chip: &str, offset: &str, ms: &str) -> Result<(), Failure> {
    use gpiocdev::line::Value::Inactive;
    let request = gpiocdev::Request::builder()
        .on_chip(chip)
        .with_consumer("other-program")
        .with_line(offset.parse()?)
        .as_output(Inactive)
        .request();
    match request {
        Ok(_held) => {
            say(now(), "held")?;
            MonotonicClock.sleep_until(now() + Duration::from_millis(ms.parse()?));
            say(now(), "let go")
        }
        Err(error) => say(now(), &format!("refused {error:?}")),
    }
}
