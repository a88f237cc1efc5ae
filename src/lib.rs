//! zoomgate: an inspection appliance beside a conveyor camera.
//!
//! It looks at every part, zooms into what is suspicious, and rejects what the crop confirms. Frames may be dropped; a part
//! never: every trigger ends in exactly one verdict before its reject window closes, and outputs are safe whenever we are not
//! sure.
//!
//! ```text
//! trigger ──► part ┐
//! camera ──► frame ┴─► inspect: full image ─► suspicion map ─► crops ─► score
//! score ─► decide: verdict ─► reject: plan ─► schedule ─► output line
//! pictures ─► train: recipe ─► eval: figures
//! ```
//!
//! # Where to start
//!
//! The program is `src/main.rs`, one file of [`cli`] for each subcommand; [`daemon`] puts a run together. Whoever wants to
//! inspect pictures from Rust needs three modules:
//!
//! ```no_run
//! use std::path::Path;
//!
//! use zoomgate::decide::decide;
//! use zoomgate::frame::picture;
//! use zoomgate::inspect::Inspect;
//! use zoomgate::inspect::model::Model;
//!
//! let model = Model::load(Path::new("recipe.onnx"))?;
//! let mut inspector = model.inspector()?;
//! let frame = picture::load(Path::new("part.png"))?;
//! // A frame that shows nothing to judge gets no score: its part is uninspected, and never passes.
//! match inspector.look(&frame) {
//!     Some(unseen) => println!("uninspected: {unseen:?}"),
//!     None => {
//!         let score = inspector.inspect(&frame)?.score;
//!         println!("{:?} at {}", decide(score, model.recipe().threshold), score.0);
//!     }
//! }
//! # Ok::<(), zoomgate::error::Error>(())
//! ```
//!
//! # Modules, in the order in which data flows
//!
//! | modules | hold |
//! |---|---|
//! | [`units`], [`error`], [`clock`], [`lock`], [`storage`], [`stats`] | the base: knows nothing of inspection |
//! | [`frame`], [`camera`], [`gpio`] | from light to pixels; lines in and out |
//! | [`nn`], [`inspect`] | from pixels to a score: networks in integers; recipes, registration, crops |
//! | [`decide`], [`reject`] | from a score to a pulse: verdicts and the ledger of parts; belt and schedule. Pure but for the actuator |
//! | [`pipeline`], [`telemetry`] | the threads of a line and their links; what a run reports |
//! | [`train`], [`eval`] | from pictures to a recipe; how good it is. Feature `teach` |
//! | [`sim`] | a belt with nothing attached: rendered parts with their ground truth |
//! | [`config`], [`daemon`], [`doctor`], [`cli`] | the program |
//!
//! # Features
//!
//! `teach` (default) trains and evaluates recipes, `v4l2` adds cameras of the kernel, `rppal` the registers of a Raspberry Pi.
//!
//! # Papers
//!
//! In the repository: `docs/GLOSSARY.md` has the words, `ARCHITECTURE.md` the map with threads, links and where to add what,
//! `docs/INVARIANTS.md` what always holds and which test guards it, `docs/decisions/` the reasons.

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
#[cfg(feature = "teach")]
pub mod eval;
pub mod sim;
#[cfg(feature = "teach")]
pub mod train;

pub mod cli;
pub mod daemon;
pub mod doctor;
