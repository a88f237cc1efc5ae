//! The backend `recorded`: every edge with its time, as JSON lines `{"t_ns":…,"line":…,"level":0|1}`, in order.
//!
//! The first line of each output is its level at request; after that only changes are written. Each line is written
//! out at once, so that a record is complete up to the last edge however the process ends.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::{Level, LineFault, OutputLine, Outputs, SafeLine};
use crate::clock::{Clock, Timestamp};
use crate::error::{Error, Result};

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
    store: Arc<Mutex<Store>>,
}

enum Store {
    File(File),
    Memory(Vec<Record>),
}

/// A record as it stands in the file.
#[derive(Serialize)]
struct Written<'a> {
    t_ns: u64,
    line: &'a str,
    level: u8,
}

impl Recorder {
    /// Records to a new file; an old one of that name is replaced, because a record is one run's.
    ///
    /// # Errors
    /// When the file or its folder cannot be made.
    pub fn to_file(clock: Arc<dyn Clock>, path: &Path) -> Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|e| Error::io("make the folder of the GPIO record", folder, e))?;
        }
        let file = File::create(path).map_err(|e| Error::io("write the GPIO record", path, e))?;
        Ok(Self { clock, store: Arc::new(Mutex::new(Store::File(file))) })
    }

    /// Records to memory, for a demo or a test; it grows with every edge.
    pub fn in_memory(clock: Arc<dyn Clock>) -> Self {
        Self { clock, store: Arc::new(Mutex::new(Store::Memory(Vec::new()))) }
    }

    /// What was recorded to memory so far, oldest first; nothing where it went to a file.
    pub fn records(&self) -> Vec<Record> {
        match &*self.store() {
            Store::File(_) => Vec::new(),
            Store::Memory(records) => records.clone(),
        }
    }

    /// No panic can happen under this lock that leaves half a record.
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, line: &str, level: Level) -> Result<(), LineFault> {
        let mut store = self.store();
        let at = self.clock.now();
        match &mut *store {
            Store::Memory(records) => records.push(Record { at, line: line.to_owned(), level }),
            Store::File(file) => {
                let written = Written { t_ns: at.0, line, level: u8::from(level == Level::High) };
                let mut text = serde_json::to_vec(&written).expect("a record has nothing that JSON cannot hold");
                text.push(b'\n');
                file.write_all(&text).map_err(|e| LineFault { line: line.to_owned(), message: e.to_string() })?;
            }
        }
        Ok(())
    }
}

impl Outputs for Recorder {
    fn request(&mut self, name: &str, safe: Level) -> Result<SafeLine> {
        self.write(name, safe)?;
        let line = RecordedLine { name: name.to_owned(), level: safe, recorder: self.clone() };
        Ok(SafeLine::new(Box::new(line), safe))
    }
}

struct RecordedLine {
    name: String,
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
        drop(line);
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
