//! Evaluation: labelled pictures on disk, figures of merit, and what `eval` and `trial` report.
//!
//! Uses the trainer ([`crate::train`]), which knows nothing of this module.

pub mod dataset;
pub mod evaluation;
pub mod interval;
pub mod item;
pub mod metrics;
pub mod open_set;
pub mod perturbation;
pub mod report;
pub mod robustness;
pub mod run_metrics;
mod split_csv;
mod table;
