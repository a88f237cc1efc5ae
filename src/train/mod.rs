//! Teaching: from good parts and a few known bad ones to a recipe, on the device.
//!
//! ```text
//! pictures ─► views ─► quantised features ─┬─► bank of good cells, template ────┐
//!                                          └─► first head ─► located defects    │
//! located defects ─► CutMix ─► full head ─► crops by the same policy            ├─► one graph
//! crops ─► features ─► bank and head of the crops ──────────────────────────────┘
//! known bads through heads that have not seen them ─► weights
//! held-out good parts through that graph ─► standardisation, threshold and its promise
//! all of them again ─► expected escape, pictures to look at again
//! ```
//!
//! Bank and heads are fitted on features that the quantised backbone gives, and every constant is measured on the
//! finished graph: what is taught is what runs. Deterministic for a seed on one kind of processor. Only the pictures
//! given are opened.

pub mod ablation;
pub mod adapt;
mod augmentation;
pub mod bank;
mod bounds;
pub mod budget;
mod calibrate;
pub mod cutmix;
mod cutmix_mining;
mod effect_size;
mod examples;
mod export;
pub mod features;
pub mod filters;
mod fit;
mod fold;
pub mod graph;
pub mod head;
pub mod image_classifier;
pub mod inventory;
mod label_audit;
mod label_noise;
mod linear;
pub mod location_stats;
mod measure;
mod normality;
pub mod options;
mod out_of_fold;
mod outliers;
pub mod picture;
pub mod progress;
pub mod promise;
mod registration;
pub mod replay;
mod run;
mod sight;
pub mod template;
mod trainer;
pub mod view;
pub mod weights;

pub use adapt::adapt;
pub use label_noise::{SuspectedLabel, Why};
pub use options::{Options, Register};
pub use picture::Picture;
pub use progress::{Progress, Silent};
pub use run::{TrainedModel, train};
pub use weights::DIVIDED_MIN;
