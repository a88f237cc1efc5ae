//! Whether a frame shows enough to be judged, asked before the model looks at it.
//!
//! What the model has never seen it cannot judge: a camera without light, out of focus or behind a cover gives frames
//! whose score means nothing. Such a frame never leads to a score; its part is uninspected, and the plant's policy says what
//! happens to it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a camera is taken to be blind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blindness {
    /// Much less light than in any good picture.
    Dark,
    /// Clipped, or much more light than in any good picture.
    Bright,
    /// Without contrast, or with nothing in it but noise.
    Flat,
    /// Out of focus.
    Blurred,
    /// The camera gives the same picture again.
    Frozen,
}

impl Blindness {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Dark, Self::Bright, Self::Flat, Self::Blurred, Self::Frozen];

    /// The stable word used in `--json` output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dark => "dark",
            Self::Bright => "bright",
            Self::Flat => "flat",
            Self::Blurred => "blurred",
            Self::Frozen => "frozen",
        }
    }
}

impl fmt::Display for Blindness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a frame is not judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unseen {
    /// The camera sees nothing that could be judged.
    Blind(Blindness),
    /// The whole background of an empty belt is seen, so there is no part.
    NoPart,
}

/// What good pictures showed when the recipe was taught.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sight {
    /// What an empty belt looks like, where that was taught (`teach --empty`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty: Option<Empty>,
}

/// The background that is seen where no part lies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Empty {}
