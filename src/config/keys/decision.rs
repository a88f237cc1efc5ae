//! Keys of `[model]` and `[decision]`: what was taught, and when a score is a reject.

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
        path: "decision.threshold",
        kind: Kind::Number { min: -1000.0, max: 1000.0, unit: "standard deviations of good parts" },
        absent: Absent::Unset { means: "without it the recipe's threshold counts", example: "4.0" },
        active: None,
        only_with: None,
        doc: "A part is rejected when its score reaches this.",
        hint: "",
    },
];
