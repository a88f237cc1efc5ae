//! Keys of `[inputs]`: lines that are read beside the trigger.

use super::{Absent, Key, Kind};

/// In the order of the shipped file.
pub(super) const KEYS: &[Key] = &[
    Key {
        path: "inputs.bin_full",
        kind: Kind::Line,
        absent: Absent::Unset { means: "without it the line is not read", example: "\"bin_full\"" },
        active: None,
        only_with: None,
        doc: "High while the bin of rejects is full: raises the fault output, and stops the line if on_missed_reject does.",
        hint: "",
    },
    Key {
        path: "inputs.reset",
        kind: Kind::Line,
        absent: Absent::Unset { means: "without it faults stay until the run ends", example: "\"reset\"" },
        active: None,
        only_with: None,
        doc: "Its rising edge acknowledges faults and alarms: fault and stop-line outputs go low.",
        hint: "",
    },
    Key {
        path: "inputs.recipe_one",
        kind: Kind::Line,
        absent: Absent::Unset { means: "without it the digit is 0", example: "\"recipe_one\"" },
        active: None,
        only_with: None,
        doc: "Counts 1 in the recipe number, which is reported at the start and when it changes.",
        hint: "",
    },
    Key {
        path: "inputs.recipe_two",
        kind: Kind::Line,
        absent: Absent::Unset { means: "without it the digit is 0", example: "\"recipe_two\"" },
        active: None,
        only_with: None,
        doc: "Counts 2 in the recipe number, which is reported at the start and when it changes.",
        hint: "",
    },
    Key {
        path: "inputs.recipe_four",
        kind: Kind::Line,
        absent: Absent::Unset { means: "without it the digit is 0", example: "\"recipe_four\"" },
        active: None,
        only_with: None,
        doc: "Counts 4 in the recipe number, which is reported at the start and when it changes.",
        hint: "",
    },
    Key {
        path: "inputs.recipe_eight",
        kind: Kind::Line,
        absent: Absent::Unset { means: "without it the digit is 0", example: "\"recipe_eight\"" },
        active: None,
        only_with: None,
        doc: "Counts 8 in the recipe number, which is reported at the start and when it changes.",
        hint: "",
    },
];
