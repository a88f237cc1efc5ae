//! Keys of `[record]`, `[realtime]`, `[status]` and `[log]`: the program as a service.

use super::{Absent, Key, Kind};

/// In the order of the shipped file.
pub(super) const KEYS: &[Key] = &[
    Key {
        path: "record.events",
        kind: Kind::Path,
        absent: Absent::Unset { means: "without it events are not written", example: "\"events.jsonl\"" },
        active: Some("\"events.jsonl\""),
        only_with: None,
        doc: "The file of verdict events, one JSON object a line.",
        hint: "",
    },
    Key {
        path: "realtime.priority",
        kind: Kind::Integer { min: 0, max: 98, unit: "" },
        absent: Absent::Default("40"),
        active: None,
        only_with: None,
        doc: "SCHED_FIFO priority of the thread that fires pulses; 0 leaves it among the others. The kernel's interrupt \
              threads run at 50.",
        hint: "",
    },
    Key {
        path: "realtime.lock_memory",
        kind: Kind::Boolean,
        absent: Absent::Default("true"),
        active: None,
        only_with: None,
        doc: "Keeps the program's memory from being swapped out or dropped.",
        hint: "",
    },
    Key {
        path: "status.socket",
        kind: Kind::Path,
        absent: Absent::Unset {
            means: "without it /run/zoomgate/status.sock, where that folder exists",
            example: "\"status.sock\"",
        },
        active: None,
        only_with: None,
        doc: "The local socket that `zoomgate status` asks.",
        hint: "",
    },
    Key {
        path: "log.level",
        kind: Kind::Choice { offered: &["error", "warn", "info", "debug", "trace"], later: &[] },
        absent: Absent::Default("\"info\""),
        active: None,
        only_with: None,
        doc: "The least important message that is written.",
        hint: "",
    },
];
