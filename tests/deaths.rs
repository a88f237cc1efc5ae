//! However a run ends, its outputs end at rest: every signal, a terminal that closes, a process that is killed.
//!
//! Real processes on the real clock with the recorded backend; `tests/vm/run.sh` does the same with lines of the kernel.

mod lesson;
mod program;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use lesson::{SIZE, json_lines, write_parts, write_recipe};
use serde_json::Value;
use zoomgate::clock::{Clock, MonotonicClock, Timestamp};

/// Long enough for a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);

/// Two pictures again and again, each of which is rejected.
struct Line {
    folder: tempfile::TempDir,
    config: PathBuf,
}

/// Parts half a second apart, and a pulse that is longer than half of that.
const SLOW: &str = "rate_hz = 2.0 300.0";
/// As many as get through.
const FAST: &str = "rate_hz = 50.0 5.0";

impl Line {
    fn new(pace: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_recipe(folder.path());
        write_parts(&folder.path().join("pictures"), 2);
        let (rate, pulse_ms) = pace.rsplit_once(' ').unwrap();
        let (width, height) = SIZE;
        let text = format!(
            "[camera]\nsource = \"folder\"\nfolder = \"pictures\"\nloop = true\n{rate}\nwidth_px = {width}\n\
             height_px = {height}\n[trigger]\nsource = \"every_frame\"\n[decision]\nthreshold = -100.0\n[reject]\n\
             enabled = true\ntravel_mm = 60.0\nbelt_speed_mm_s = 300.0\npulse_width_ms = {pulse_ms}\n[gpio]\n\
             backend = \"recorded\"\n[safety]\non_uninspected = \"reject\"\non_missed_reject = \"alarm\"\n[record]\n\
             events = \"events.jsonl\"\n[status]\nsocket = \"status.sock\"\n"
        );
        let config = folder.path().join("config.toml");
        fs::write(&config, text).unwrap();
        Self { folder, config }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program and its arguments after `words`, as the arguments of another program.
    fn start<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Run<'_> {
        let mut words: Vec<_> = words.into_iter().map(|word| word.as_ref().to_owned()).collect();
        words.extend(program::words(program::PATH));
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(["run", "--config"]).arg(&self.config);
        self.spawn(command.stdin(Stdio::null()))
    }

    fn spawn(&self, command: &mut Command) -> Run<'_> {
        let log = File::create(self.path("log")).unwrap();
        for variable in ["RUST_LOG", "NOTIFY_SOCKET", "SYSTEMD_EXEC_PID"] {
            command.env_remove(variable);
        }
        let child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        Run { line: self, child }
    }

    fn read(&self, names: &[&str]) -> Vec<Value> {
        names.iter().flat_map(|name| json_lines(&fs::read(self.path(name)).unwrap_or_default())).collect()
    }

    /// The levels of the reject line with their times, oldest first; the last line may be half written.
    fn levels(&self) -> Vec<(Timestamp, u64)> {
        let text = fs::read_to_string(self.path("edges.jsonl")).unwrap_or_default();
        let edges = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        edges
            .filter(|edge| edge["line"] == "reject")
            .map(|edge| (Timestamp(edge["t_ns"].as_u64().unwrap()), edge["level"].as_u64().unwrap()))
            .collect()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    /// Panics unless the run ended in order: every part with its verdict, the line at rest, everything written.
    fn ended_in_order(&self, how: &str) {
        assert_eq!(self.levels().last().map(|(_, level)| *level), Some(0), "{how}: the last edge; {}", self.log());
        let events = self.read(&["events.jsonl"]);
        let of = |kind: &str| events.iter().filter(|event| event["event"] == kind).collect::<Vec<_>>();
        let stops = of("stop");
        assert_eq!(stops.len(), 1, "{how}: {events:?}; {}", self.log());
        assert_eq!((&stops[0]["parts"], &stops[0]["error"]), (&of("verdict").len().into(), &Value::Null), "{how}");
    }
}

struct Run<'a> {
    line: &'a Line,
    child: Child,
}

impl Run<'_> {
    /// Panics when it ends or `is_so` takes too long.
    fn until(&mut self, what: &str, mut is_so: impl FnMut(&Line) -> bool) {
        let begun = MonotonicClock.now();
        while !is_so(self.line) {
            let (ended, log) = (self.child.try_wait().unwrap(), self.line.log());
            assert!(ended.is_none(), "it ended with {ended:?} before {what}: {log}");
            assert!(MonotonicClock.now().since(begun) < PATIENCE, "no {what}: {log}");
            MonotonicClock.sleep_until(MonotonicClock.now() + Duration::from_millis(2));
        }
    }

    fn until_in_a_pulse(&mut self) {
        self.until("pulse", |line| line.levels().last().is_some_and(|(_, level)| *level == 1));
    }

    fn until_verdicts(&mut self, count: usize) {
        self.until("verdicts", |line| {
            let text = fs::read_to_string(line.path("events.jsonl")).unwrap_or_default();
            text.matches("\"event\":\"verdict\"").count() >= count
        });
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("sh").args(["-c", "kill -$0 $1", signal, &pid]).status().unwrap().success(), "{signal}");
    }

    fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Run<'_> {
    /// Nothing is left of a test that fails.
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

#[test]
fn every_signal_that_ends_a_process_ends_the_run_in_order() {
    // 16 is SIGSTKFLT; 35 is the first real-time signal that every C library lets a program have, 64 the last.
    let signals = ["INT", "QUIT", "TERM", "USR1", "USR2", "ALRM", "VTALRM", "PROF", "XCPU", "IO", "PWR"];
    let signals: Vec<&str> = signals.into_iter().chain(["16", "35", "50", "64"]).collect();
    let lines: Vec<Line> = signals.iter().map(|_| Line::new(SLOW)).collect();
    let mut runs: Vec<Run> = lines.iter().map(|line| line.start::<&str>([])).collect();
    for (signal, run) in signals.iter().zip(&mut runs) {
        run.until_in_a_pulse();
        run.signal(signal);
    }
    for (signal, mut run) in signals.iter().zip(runs) {
        let status = run.wait();
        assert!(status.success(), "SIG{signal}: {status}");
        run.line.ended_in_order(signal);
    }
}

#[test]
fn a_terminal_that_closes_in_a_pulse_ends_the_run_in_order() {
    let line = Line::new(SLOW);
    // `script` gives its command a terminal of its own, and takes it away when it is killed.
    let program: Vec<_> = program::words(program::PATH).into_iter().map(|word| word.into_string().unwrap()).collect();
    let command = format!("exec {} run --config {}", program.join(" "), line.config.display());
    let mut script = Command::new("script");
    script.args(["--quiet", "--flush", "--command", &command, "/dev/null"]);
    let mut run = line.spawn(script.stdin(Stdio::piped()));
    run.until_in_a_pulse();
    assert!(line.log().contains("SIGHUP ends the run"), "{}", line.log());
    // Ctrl-Z is no way to leave a valve open.
    run.child.stdin.as_mut().unwrap().write_all(b"\x1a").unwrap();
    run.until("answer to Ctrl-Z", |line| line.log().contains("not suspended"));
    run.until_in_a_pulse();
    run.child.kill().unwrap();
    run.wait();
    let begun = MonotonicClock.now();
    while line.read(&["events.jsonl"]).last().is_none_or(|event| event["event"] != "stop") {
        assert!(MonotonicClock.now().since(begun) < PATIENCE, "no end: {}", line.log());
        MonotonicClock.sleep_until(MonotonicClock.now() + Duration::from_millis(5));
    }
    line.ended_in_order("a closed terminal");
}

#[test]
fn a_hangup_that_was_ignored_at_the_start_stays_ignored() {
    let line = Line::new(SLOW);
    let mut run = line.start(["sh", "-c", "trap '' HUP; exec \"$0\" \"$@\""]);
    run.until_in_a_pulse();
    run.signal("HUP");
    run.until_verdicts(4);
    run.signal("TERM");
    assert!(run.wait().success());
    assert!(line.log().contains("SIGHUP is ignored"), "{}", line.log());
    line.ended_in_order("SIGTERM");
}

/// Files are renamed and the daemon told, three times: every event and every edge is in one of them.
#[test]
fn a_rotation_loses_no_event_and_doubles_none() {
    let line = Line::new(FAST);
    let mut run = line.start(["setsid"]);
    for round in 1..=3 {
        run.until_verdicts(10);
        for record in ["events", "edges"] {
            fs::rename(line.path(&format!("{record}.jsonl")), line.path(&format!("{record}.{round}"))).unwrap();
        }
        run.signal("HUP");
    }
    run.until_verdicts(10);
    // Nothing is lost by one that finds the files where they were.
    run.signal("HUP");
    run.until_verdicts(20);
    run.signal("TERM");
    assert!(run.wait().success());
    let events = line.read(&["events.1", "events.2", "events.3", "events.jsonl"]);
    let of = |kind: &str| events.iter().filter(|event| event["event"] == kind).collect::<Vec<_>>();
    assert_eq!((of("start").len(), of("stop").len()), (1, 1), "{}", line.log());
    let mut parts: Vec<u64> = of("verdict").iter().map(|event| event["part"].as_u64().unwrap()).collect();
    parts.sort_unstable();
    assert_eq!(parts, (1..=of("stop")[0]["parts"].as_u64().unwrap()).collect::<Vec<_>>());
    let edges = line.read(&["edges.1", "edges.2", "edges.3", "edges.jsonl"]);
    let levels: Vec<_> = edges.iter().filter(|e| e["line"] == "reject").map(|e| e["level"].as_u64().unwrap()).collect();
    assert!(levels.iter().zip(0u64..).all(|(level, n)| *level == n % 2), "rises and falls alternate: {levels:?}");
    assert!(levels.len() > 60 && levels.last() == Some(&0), "{levels:?}");
}

/// The guardian of a record writes down what it would do to the lines. How soon is for the virtual machine to say, which
/// is not busy with anything else.
#[test]
fn a_process_that_dies_in_a_pulse_leaves_its_line_to_the_guardian() {
    let signals = ["KILL", "SEGV", "BUS", "ILL", "FPE", "ABRT", "TRAP", "SYS"];
    let lines: Vec<Line> = signals.iter().map(|_| Line::new(SLOW)).collect();
    let mut runs: Vec<Run> = lines.iter().map(|line| line.start::<&str>([])).collect();
    for (signal, run) in signals.iter().zip(&mut runs) {
        run.until_in_a_pulse();
        // Rust's runtime takes the first SIGSEGV and SIGBUS for an overflow of the stack that will come again.
        while run.child.try_wait().unwrap().is_none() {
            run.signal(signal);
            MonotonicClock.sleep_until(MonotonicClock.now() + Duration::from_millis(20));
        }
        let begun = MonotonicClock.now();
        while !run.line.log().contains("has died") {
            assert!(MonotonicClock.now().since(begun) < PATIENCE, "SIG{signal}: no guardian; {}", run.line.log());
            MonotonicClock.sleep_until(MonotonicClock.now() + Duration::from_millis(1));
        }
        let level = run.line.levels().last().map(|(_, level)| *level);
        assert_eq!(level, Some(0), "SIG{signal}: {}", run.line.log());
    }
}

/// The number of the guardian's process, as the log has it.
fn guardian(log: &str) -> u32 {
    let after = log.split("if this process dies, process ").nth(1).unwrap_or_else(|| panic!("no guardian: {log}"));
    after.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_guardian_leaves_with_its_daemon_and_its_own_end_is_said() {
    let line = Line::new(SLOW);
    let mut run = line.start::<&str>([]);
    run.until_in_a_pulse();
    let pid = guardian(&line.log());
    // What ends a terminal's programs goes to its whole group; the guardian is not in it, and deaf.
    for signal in ["INT", "TERM", "HUP"] {
        assert!(Command::new("kill").args([format!("-{signal}"), pid.to_string()]).status().unwrap().success());
    }
    run.until_verdicts(2);
    assert!(Path::new(&format!("/proc/{pid}")).exists() && !line.log().contains("has ended"), "{}", line.log());
    run.signal("TERM");
    assert!(run.wait().success());
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "the guardian is still there: {}", line.log());
    line.ended_in_order("SIGTERM");

    let mut run = line.start::<&str>([]);
    run.until("guardian", |line| line.log().contains("puts the outputs to rest"));
    let pid = guardian(&line.log());
    assert!(Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
    run.until("word about it", |line| line.log().contains(&format!("process {pid}, has ended")));
    run.signal("TERM");
    assert!(run.wait().success());
}

#[test]
fn a_second_run_on_one_configuration_is_refused_until_the_first_is_dead() {
    let line = Line::new(SLOW);
    let mut permissions = fs::metadata(&line.config).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&line.config, permissions).unwrap();
    let mut first = line.start::<&str>([]);
    first.until_in_a_pulse();
    let refused = lesson::zoomgate(["run", "--config", line.config.to_str().unwrap()]);
    let said = String::from_utf8(refused.stderr).unwrap();
    let holder = format!("process {} runs with ", first.child.id());
    assert!(refused.status.code() == Some(1) && said.contains(&holder) && said.contains("end it first"), "{said}");
    assert!(line.levels().len() >= 2, "the record of the first is still there");
    // An editor that has put a new file in its place: then it is the record that has a writer.
    let copy = line.path("copy.toml");
    fs::copy(&line.config, &copy).unwrap();
    let refused = lesson::zoomgate(["run", "--config", copy.to_str().unwrap()]);
    let said = String::from_utf8(refused.stderr).unwrap();
    let holder = format!("process {} writes it", first.child.id());
    assert!(refused.status.code() == Some(1) && said.contains(&holder), "{said}");

    first.signal("KILL");
    first.wait();
    let mut second = line.start::<&str>([]);
    second.until("start", |line| line.log().contains("if this process dies"));
    second.until_in_a_pulse();
    second.signal("TERM");
    assert!(second.wait().success());
}

#[test]
fn a_pipe_or_a_device_as_a_file_is_refused_before_it_is_opened() {
    let line = Line::new(SLOW);
    let text = fs::read_to_string(&line.config).unwrap();
    let made = Command::new("mkfifo").arg(line.path("pipe")).status().unwrap();
    assert!(made.success());
    for (key, old, new, what) in [
        ("record.events", "events = \"events.jsonl\"", "events = \"pipe\"", "a named pipe"),
        ("record.events", "events = \"events.jsonl\"", "events = \"/dev/tty\"", "a device"),
        ("gpio.edges", "backend = \"recorded\"", "backend = \"recorded\"\nedges = \"pipe\"", "a named pipe"),
        ("gpio.inputs", "backend = \"recorded\"", "backend = \"recorded\"\ninputs = \"pipe\"", "a named pipe"),
        ("gpio.edges", "backend = \"recorded\"", "backend = \"recorded\"\nedges = \"pictures\"", "a folder"),
    ] {
        fs::write(&line.config, text.replace(old, new)).unwrap();
        for command in [&["check"][..], &["run", "--config"]] {
            let output = lesson::zoomgate(command.iter().chain(&[line.config.to_str().unwrap()]));
            let said = String::from_utf8(output.stderr).unwrap();
            let is_refused = output.status.code() == Some(2) && said.contains(key) && said.contains(what);
            assert!(is_refused, "{command:?} with {key} at {what}: {:?}, {said}", output.status);
        }
    }
}
