//! Keys of `[model]`, `[zoom]` and `[decision]`: what was taught, when it looks closer, and when a score is a reject.

use super::{Absent, Key, Kind};

/// In the order of the shipped file.
pub(super) const KEYS: &[Key] = &[
    Key {
        path: "model.recipe",
        kind: Kind::Path,
        absent: Absent::Default("\"recipe.onnx\""),
        active: None,
        only_with: None,
        doc: "The recipe file that `zoomgate teach` wrote.",
        hint: "",
    },
    Key {
        path: "model.threads",
        kind: Kind::Integer { min: 1, max: 4, unit: "threads" },
        absent: Absent::Default("1"),
        active: None,
        only_with: None,
        doc: "So many processors share one inspection. Leave one to the camera and the outputs.",
        hint: "",
    },
    Key {
        path: "model.slow",
        kind: Kind::Boolean,
        absent: Absent::Default("false"),
        active: None,
        only_with: None,
        doc: "With true a recipe runs although int8 operators have less than half of its work: it takes some ten times as \
              long. `zoomgate doctor` says what runs in floats.",
        hint: "",
    },
    Key {
        path: "zoom.always",
        kind: Kind::Boolean,
        absent: Absent::Default("true"),
        active: None,
        only_with: None,
        doc: "With false the zoom is left out where the full image is 3 deviations and more below the threshold: faster, and \
              measured with `zoomgate eval --lazy-zoom`.",
        hint: "",
    },
    Key {
        path: "decision.threshold",
        kind: Kind::Number { min: -1000.0, max: 1000.0, unit: "standard deviations of good parts" },
        absent: Absent::Unset { means: "without it the recipe's threshold counts", example: "4.0" },
        active: None,
        only_with: None,
        doc: "A part is rejected when its score reaches this.",
        hint: "",
    },
];
