//! Teaching: from good parts and a few known bad ones to a recipe, on the device.
//!
//! ```text
//! pictures ─► views ─► quantised features ─┬─► bank of good cells, template ────┐
//!                                          └─► first head ─► located defects    │
//! located defects ─► CutMix ─► full head ─► crops by the same policy            ├─► one graph
//! crops ─► features ─► bank and head of the zoomed view ────────────────────────┘
//! known bads through heads that have not seen them ─► weights
//! held-out good parts through that graph ─► standardisation, threshold and its promise
//! all of them again ─► expected escape, pictures to look at again
//! ```
//!
//! Bank and heads are fitted on features that the quantised backbone gives, and every constant is measured on the
//! finished graph: what is taught is what runs. Deterministic for a seed on one kind of processor. Only the pictures
//! given are opened.

pub mod adapt;
pub mod bank;
mod bounds;
pub mod budget;
mod conclusion;
pub mod cutmix;
pub mod dataset;
mod effects;
pub mod evaluate;
pub mod features;
mod filters;
pub mod graph;
pub mod head;
pub mod ingredients;
pub mod interval;
pub mod item;
pub mod keepsake;
mod lesson;
mod linear;
mod measure;
pub mod metrics;
mod mixing;
pub mod open_set;
pub mod options;
pub mod overall;
pub mod perturb;
pub mod picture;
pub mod places;
pub mod progress;
pub mod promise;
pub mod report;
pub mod robustness;
pub mod run_metrics;
mod screen;
mod second_look;
pub mod session;
mod sight;
mod split_csv;
mod survey;
mod suspects;
mod table;
pub mod template;
mod unseen;
mod variation;
pub mod view;
pub mod weights;

pub use adapt::adapt;
pub use options::{Options, Register};
pub use picture::Picture;
pub use progress::{Progress, Silent};
pub use session::{Taught, teach};
pub use suspects::{Suspect, Why};
pub use weights::DIVIDED_MIN;
