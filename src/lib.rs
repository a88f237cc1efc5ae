//! zoomgate: an inspection appliance beside a conveyor camera.
//!
//! ```text
//! trigger ──► Part ┐
//! camera ──► Frame ┴─► inspect: full view ─► attention ─► crops ─► zoomed views ─► Score
//! Score ─► decide ─► Verdict ─► reject plan ─► schedule ─► output line
//! ```
//!
//! Frames may be dropped; a part never. Every part gets exactly one verdict before its reject window closes.
//! See `ARCHITECTURE.md` for the map, the invariants and the threads.

#![deny(unsafe_code)]

pub mod clock;
pub mod error;
pub mod lock;
pub mod stats;
pub mod storage;
pub mod units;

pub mod frame;

pub mod camera;
pub mod gpio;

pub mod inspect;
pub mod nn;

pub mod decide;
pub mod reject;

pub mod pipeline;
pub mod telemetry;

pub mod config;
pub mod sim;
#[cfg(feature = "teach")]
pub mod teach;

pub mod cli;
pub mod daemon;
pub mod doctor;
