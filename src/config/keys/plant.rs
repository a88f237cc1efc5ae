//! Keys of `[gpio]`, `[safety]` and `[alarm]`: what the plant has and what it wants.

use super::{Absent, Key, Kind};

/// In the order of the shipped file.
pub(super) const KEYS: &[Key] = &[
    Key {
        path: "gpio.backend",
        kind: Kind::Choice { offered: &["gpiocdev", "rppal", "recorded", "none"], later: &[] },
        absent: Absent::Default("\"gpiocdev\""),
        active: Some("\"recorded\""),
        only_with: None,
        doc: "What drives the lines: \"gpiocdev\" the kernel's devices, which own them; \"rppal\" a Raspberry Pi's \
              registers, lines by BCM number; \"recorded\" writes every edge with its time to a file; \"none\" drives \
              nothing.",
        hint: "",
    },
    Key {
        path: "gpio.chip",
        kind: Kind::Path,
        absent: Absent::Unset { means: "without it a line is a name or chip:offset", example: "\"gpiochip0\"" },
        active: None,
        only_with: Some(("gpio.backend", "gpiocdev")),
        doc: "The chip of lines that are written as an offset alone: the name or path of its device, or its label.",
        hint: "",
    },
    Key {
        path: "gpio.edges",
        kind: Kind::Path,
        absent: Absent::Default("\"edges.jsonl\""),
        active: None,
        only_with: Some(("gpio.backend", "recorded")),
        doc: "The file of recorded edges, one JSON object a line.",
        hint: "",
    },
    Key {
        path: "gpio.inputs",
        kind: Kind::Path,
        absent: Absent::Unset { means: "without it there are no inputs", example: "\"inputs.jsonl\"" },
        active: None,
        only_with: Some(("gpio.backend", "recorded")),
        doc: "A file of the same form whose edges the input lines play, its times counted from the start; an edge at 0 is the \
              level that its line has then.",
        hint: "",
    },
    Key {
        path: "safety.on_uninspected",
        kind: Kind::Choice { offered: &["reject", "pass", "stop_line"], later: &[] },
        absent: Absent::Required(
            "choose what happens to a part that could not be inspected before its deadline: \"reject\" fires the \
             actuator (nothing unseen is shipped, good parts may be lost), \"pass\" lets it go (no good part is lost, \
             a defect may be shipped), \"stop_line\" asks the line to stop. Only the plant can choose",
        ),
        active: Some("\"reject\""),
        only_with: None,
        doc: "A part that could not be inspected before its deadline: \"reject\" fires the actuator (good parts may be \
              lost), \"pass\" lets it go (a defect may be shipped), \"stop_line\" asks the line to stop.",
        hint: "",
    },
    Key {
        path: "safety.on_missed_reject",
        kind: Kind::Choice { offered: &["alarm", "stop_line"], later: &[] },
        absent: Absent::Required(
            "choose what happens when a part that should be rejected missed its window: \"alarm\" counts it and raises \
             the fault output (it is shipped unless a person acts), \"stop_line\" also asks the line to stop. Only the \
             plant can choose",
        ),
        active: Some("\"alarm\""),
        only_with: None,
        doc: "A part that should be rejected and missed its window: \"alarm\" counts it and raises the fault output, \
              \"stop_line\" also asks the line to stop.",
        hint: "",
    },
    Key {
        path: "safety.on_no_part",
        kind: Kind::Choice { offered: &["reject", "pass", "stop_line"], later: &[] },
        absent: Absent::Unset {
            means: "required where the recipe was taught with `--empty`, which alone can tell; without effect elsewhere",
            example: "\"reject\"",
        },
        active: None,
        only_with: None,
        doc: "A part is due and the whole empty belt is seen: \"reject\" fires the actuator all the same, \"pass\" lets \
              it go, \"stop_line\" asks the line to stop.",
        hint: "",
    },
    Key {
        path: "alarm.consecutive_rejects",
        kind: Kind::Integer { min: 2, max: 1000000, unit: "parts" },
        absent: Absent::Unset { means: "without it there is no such alarm", example: "10" },
        active: None,
        only_with: None,
        doc: "So many rejects in a row raise the fault output.",
        hint: "",
    },
    Key {
        path: "alarm.uninspected_rate",
        kind: Kind::Number { min: 0.0001, max: 1.0, unit: "" },
        absent: Absent::Unset { means: "without it there is no such alarm", example: "0.05" },
        active: None,
        only_with: None,
        doc: "This share of uninspected parts among the last ones raises the fault output.",
        hint: "a fraction, not percent",
    },
    Key {
        path: "alarm.uninspected_parts",
        kind: Kind::Integer { min: 10, max: 100000, unit: "parts" },
        absent: Absent::Default("100"),
        active: None,
        only_with: None,
        doc: "The last parts over which that share is counted.",
        hint: "",
    },
];
