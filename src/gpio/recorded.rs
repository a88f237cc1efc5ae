//! The backend `recorded`: every edge with its time, as JSON lines `{"t_ns":…,"line":…,"level":0|1}`, in order.
//!
//! The first line of each output is its level at request; after that only changes are written. A thread of its own
//! writes them out as they come (`writer.rs`), so that a record is complete when the lines are dropped, by return or by
//! panic; a process that is killed may take the edges of its last milliseconds along.
//! Inputs play such records back: their times count from the moment at which they are given. Records at 0 are the level
//! that a line has when it is requested, and no edge.

mod writer;

use std::collections::VecDeque;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use super::filter::Debounced;
use super::{Edge, InitialLevel, InputOptions, Inputs, Level, LineFault, OutputLine, Outputs, SafeLine, TriggerInput};
use crate::clock::{Clock, Timestamp, WakeToken};
use crate::error::{Error, ErrorKind, Result};
use crate::lock::Lock;
use crate::storage::record;
use writer::Writer;

/// Completes "cannot …".
const ACTION: &str = "write the GPIO record";

/// One recorded change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When.
    pub at: Timestamp,
    /// Which line.
    pub line: String,
    /// Its new level.
    pub level: Level,
}

/// Hands out lines that only write down what they are told.
#[derive(Clone)]
pub struct Recorder {
    clock: Arc<dyn Clock>,
    store: Arc<Store>,
    /// What the inputs play, oldest first, in the run's time, and since when.
    played: Arc<[Record]>,
    played_since: Timestamp,
}

enum Store {
    /// With the path of the file, where it has one.
    File(Writer, Option<PathBuf>),
    Memory(Lock<Vec<Record>>),
}

/// A record as it is read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    t_ns: u64,
    line: String,
    level: u8,
}

impl Recorder {
    /// Records to a new file; an old one of that name is replaced, because a record is one run's.
    ///
    /// # Errors
    /// When the file or its folder cannot be made.
    pub fn to_file(clock: Arc<dyn Clock>, path: &Path) -> Result<Self> {
        let writer = Writer::start(Box::new(record::begin(path, ACTION)?))?;
        Ok(Self::new(clock, Store::File(writer, Some(path.to_owned()))))
    }

    /// Records to the end of a file: who puts the lines of a run that was killed to rest goes on with its record.
    ///
    /// # Errors
    /// As [`to_file`](Self::to_file).
    pub fn going_on(clock: Arc<dyn Clock>, path: &Path) -> Result<Self> {
        let writer = Writer::start(Box::new(record::go_on(path, ACTION)?))?;
        Ok(Self::new(clock, Store::File(writer, Some(path.to_owned()))))
    }

    /// Opens the file anew by its name; whoever rotates records has renamed the old one. Each edge is in one of them.
    ///
    /// # Errors
    /// As [`to_file`](Self::to_file); the old file is written on.
    pub fn reopen(&self) -> Result<()> {
        if let Store::File(writer, Some(path)) = &*self.store {
            writer.go_on_in(Box::new(record::append(path, ACTION)?));
        }
        Ok(())
    }

    /// Records to whatever takes bytes; it may be slow, and is only waited for when a line is requested and at the end.
    ///
    /// # Errors
    /// When the thread that writes cannot be started.
    pub fn to_writer(clock: Arc<dyn Clock>, out: Box<dyn Write + Send>) -> Result<Self> {
        Ok(Self::new(clock, Store::File(Writer::start(out)?, None)))
    }

    /// Records to memory, for a demo or a test; it grows with every edge.
    pub fn in_memory(clock: Arc<dyn Clock>) -> Self {
        Self::new(clock, Store::Memory(Lock::default()))
    }

    fn new(clock: Arc<dyn Clock>, store: Store) -> Self {
        Self { clock, store: Arc::new(store), played: Arc::new([]), played_since: Timestamp::ZERO }
    }

    /// Lets the inputs play these records, whose times count from now.
    #[must_use]
    pub fn playing(mut self, mut records: Vec<Record>) -> Self {
        let start = self.clock.now();
        records.iter_mut().for_each(|record| record.at = Timestamp(start.0.saturating_add(record.at.0)));
        records.sort_by_key(|record| record.at);
        self.played = records.into();
        self.played_since = start;
        self
    }

    /// As [`playing`](Self::playing), from a file of the form that [`to_file`](Self::to_file) writes.
    ///
    /// # Errors
    /// When the file cannot be read, or a line of it is no record.
    pub fn playing_file(self, path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io("read the edges to play", path, e))?;
        let mut records = Vec::new();
        for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
            let read: Read = serde_json::from_str(line).map_err(|error| {
                let form = r#"{"t_ns":1000000,"line":"eye","level":1}"#;
                let message = format!("{} line {number} is no edge: write each as {form}", path.display());
                Error::new(ErrorKind::Corrupt, message).caused_by(error)
            })?;
            let level = if read.level == 0 { Level::Low } else { Level::High };
            records.push(Record { at: Timestamp(read.t_ns), line: read.line, level });
        }
        Ok(self.playing(records))
    }

    /// What was recorded to memory so far, oldest first; nothing where it went to a file.
    pub fn records(&self) -> Vec<Record> {
        match &*self.store {
            Store::File(..) => Vec::new(),
            Store::Memory(records) => records.hold().clone(),
        }
    }

    fn write(&self, line: &Arc<str>, level: Level) -> Result<(), LineFault> {
        match &*self.store {
            Store::Memory(records) => {
                let mut records = records.hold();
                records.push(Record { at: self.clock.now(), line: line.as_ref().to_owned(), level });
                Ok(())
            }
            Store::File(writer, _) => writer.push(&*self.clock, line, level).map_err(fault(line)),
        }
    }
}

impl Outputs for Recorder {
    fn request(&mut self, name: &str, safe: Level) -> Result<SafeLine> {
        let name: Arc<str> = name.into();
        self.write(&name, safe)?;
        if let Store::File(writer, _) = &*self.store {
            // A disk that takes nothing is found before the run begins.
            writer.flush().map_err(fault(&name))?;
        }
        let line = RecordedLine { name, level: safe, recorder: self.clone() };
        Ok(SafeLine::new(Box::new(line), safe))
    }
}

fn fault(line: &Arc<str>) -> impl FnOnce(String) -> LineFault {
    move |message| LineFault { line: line.as_ref().to_owned(), message }
}

impl Inputs for Recorder {
    fn request_input(
        &mut self,
        name: &str,
        options: InputOptions,
        initial: InitialLevel,
    ) -> Result<Box<dyn TriggerInput>> {
        let level = |level: Level| if options.active_low { level.inverted() } else { level };
        let of_line = self.played.iter().filter(|record| record.line == name);
        let mut edges: VecDeque<Edge> = of_line.map(|r| Edge { at: r.at, level: level(r.level) }).collect();
        if edges.is_empty() {
            let message = format!(
                "line {name}: gpio.backend = \"recorded\" plays no edge on it: name a file that has some in gpio.inputs"
            );
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        let before = edges.partition_point(|edge| edge.at <= self.played_since);
        let at_request = edges.drain(..before).next_back();
        if let Some(active) = at_request.filter(|edge| edge.level == Level::High && initial == InitialLevel::Reported) {
            edges.push_front(active);
        }
        Ok(Box::new(Debounced::new(Played(edges), options.debounce)))
    }
}

/// An input whose edges are known beforehand, oldest first.
pub(super) struct Played(pub(super) VecDeque<Edge>);

impl TriggerInput for Played {
    fn next_edge(&mut self, now: Timestamp) -> Result<Option<Edge>, LineFault> {
        Ok(self.0.pop_front_if(|edge| edge.at <= now))
    }

    fn next_at(&self) -> Option<Timestamp> {
        self.0.front().map(|edge| edge.at)
    }

    fn is_exhausted(&self) -> bool {
        self.0.is_empty()
    }

    fn attach(&mut self, _clock: &Arc<dyn Clock>, _bell: &WakeToken) {}
}

struct RecordedLine {
    name: Arc<str>,
    level: Level,
    recorder: Recorder,
}

impl OutputLine for RecordedLine {
    fn set_level(&mut self, level: Level) -> Result<(), LineFault> {
        if level != self.level {
            self.recorder.write(&self.name, level)?;
            self.level = level;
        }
        Ok(())
    }

    fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SimClock;

    #[test]
    fn edges_are_written_and_repeats_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/edges.jsonl");
        let mut recorder = Recorder::to_file(Arc::new(SimClock::new()), &path).unwrap();
        let mut line = recorder.request("reject", Level::Low).unwrap();
        line.set_level(Level::High).unwrap();
        line.set_level(Level::High).unwrap();
        drop((line, recorder));
        let text = std::fs::read_to_string(path).unwrap();
        let levels: Vec<_> = text.lines().collect();
        assert_eq!(
            levels,
            [
                r#"{"t_ns":0,"line":"reject","level":0}"#,
                r#"{"t_ns":0,"line":"reject","level":1}"#,
                r#"{"t_ns":0,"line":"reject","level":0}"#
            ]
        );
    }

    #[test]
    fn a_record_can_be_played_and_a_damaged_one_names_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("inputs.jsonl");
        let recorder = || Recorder::in_memory(Arc::new(SimClock::new()));
        std::fs::write(&path, "{\"t_ns\":9,\"line\":\"eye\",\"level\":1}\n\n{\"t_ns\":4}\n").unwrap();
        let error = recorder().playing_file(&path).err().unwrap();
        assert!(error.kind() == ErrorKind::Corrupt && error.message().contains("line 3"), "{error}");
        std::fs::write(&path, "{\"t_ns\":9,\"line\":\"eye\",\"level\":0}\n{\"t_ns\":4,\"line\":\"eye\",\"level\":1}\n")
            .unwrap();
        let mut recorder = recorder().playing_file(&path).unwrap();
        let mut eye = recorder.request_input("eye", InputOptions::default(), InitialLevel::Ignored).unwrap();
        let edges: Vec<_> = std::iter::from_fn(|| eye.next_edge(Timestamp(9)).unwrap()).collect();
        assert_eq!(edges.iter().map(|e| (e.at.0, e.level)).collect::<Vec<_>>(), [(4, Level::High), (9, Level::Low)]);
        assert!(recorder.request_input("other", InputOptions::default(), InitialLevel::Ignored).is_err());
    }

    #[test]
    fn a_panic_leaves_every_edge_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("edges.jsonl");
        let mut recorder = Recorder::to_file(Arc::new(SimClock::new()), &path).unwrap();
        let mut line = recorder.request("reject", Level::Low).unwrap();
        drop(recorder);
        let outcome = std::thread::spawn(move || {
            line.set_level(Level::High).unwrap();
            panic!("on purpose");
        })
        .join();
        assert!(outcome.is_err());
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.ends_with("\"level\":0}\n") && text.lines().count() == 3, "{text}");
    }

    #[test]
    fn a_panic_leaves_the_line_at_its_safe_level() {
        let mut recorder = Recorder::in_memory(Arc::new(SimClock::new()));
        let mut line = recorder.request("reject", Level::High).unwrap();
        let outcome = std::thread::spawn(move || {
            line.set_level(Level::Low).unwrap();
            panic!("on purpose");
        })
        .join();
        assert!(outcome.is_err());
        assert_eq!(recorder.records().last().map(|r| r.level), Some(Level::High));
    }
}
