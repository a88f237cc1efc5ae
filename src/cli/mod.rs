//! The command line: one file a subcommand, each with its arguments and one `run` function.

#[cfg(feature = "teach")]
mod background;
pub mod bench;
pub mod calibrate;
pub mod capture;
pub mod check;
#[cfg(feature = "teach")]
pub mod demo;
pub mod devices;
pub mod devices_gpio;
pub mod doctor;
pub mod doctor_live;
pub mod failsafe;
pub mod inspect;
#[cfg(feature = "teach")]
pub mod lesson;
pub mod logging;
pub mod output;
pub mod overlay;
#[cfg(feature = "teach")]
pub mod progress;
#[cfg(feature = "teach")]
pub mod report;
pub mod run;
pub mod status;

use clap::{Parser, Subcommand};

use crate::daemon::guardian;
use crate::error::Result;

/// Inspects every part on a conveyor: looks at the whole, zooms into what is suspicious, rejects what the zoom confirms.
#[derive(Debug, Parser)]
#[command(name = "zoomgate", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// See the main job with nothing attached: teach on a simulated belt, inspect it, reject.
    #[cfg(feature = "teach")]
    Demo(demo::Args),
    /// Inspect every part until the camera ends or a signal comes.
    Run(run::RunArgs),
    /// Put every output to its safe level and hold it there; for `ExecStopPost=`.
    Failsafe(failsafe::Args),
    /// Put the outputs to rest when the process that has started this one dies; `run` starts it.
    #[command(hide = true)]
    Guardian,
    /// See how the running daemon is.
    Status(status::Args),
    /// Find out what keeps this machine from inspecting, and what to do about it.
    Doctor(doctor::Args),
    /// Find every mistake in a configuration at once.
    Check(check::Args),
    /// List the cameras and GPIO lines of this machine, with what each of them offers.
    Devices(devices::Args),
    /// Measure how far the actuator is and how long it takes, with one part and the eye at the bin.
    Calibrate(calibrate::Args),
    /// Save pictures of good or of bad parts as they pass, for `zoomgate teach`.
    Capture(capture::Args),
    /// Make a recipe from good pictures and a few known bad ones.
    #[cfg(feature = "teach")]
    Teach(lesson::TeachArgs),
    /// Teach and test several times on a folder of labelled pictures.
    #[cfg(feature = "teach")]
    Trial(lesson::TrialArgs),
    /// Measure a recipe on a folder of labelled pictures.
    #[cfg(feature = "teach")]
    Eval(lesson::EvalArgs),
    /// Inspect pictures: a JSON line for each, and a picture of the verdict; what shows nothing to judge is `uninspected`.
    Inspect(inspect::Args),
    /// Time a recipe or another model on this machine, and see what runs each of its nodes.
    Bench(bench::Args),
}

impl Cli {
    /// Runs the subcommand.
    ///
    /// # Errors
    /// Whatever the subcommand gives; `main` prints it and maps it to an exit code.
    pub fn run(self) -> Result<()> {
        #[cfg(feature = "teach")]
        if matches!(self.command, Command::Teach(_) | Command::Trial(_)) {
            background::stand_back();
        }
        match self.command {
            #[cfg(feature = "teach")]
            Command::Demo(args) => demo::run(&args),
            Command::Run(args) => run::run(&args),
            Command::Failsafe(args) => failsafe::run(&args),
            Command::Guardian => guardian::stand_guard(),
            Command::Status(args) => status::run(&args),
            Command::Doctor(args) => doctor::run(&args),
            Command::Check(args) => check::run(&args),
            Command::Devices(args) => devices::run(&args),
            Command::Calibrate(args) => calibrate::run(&args),
            Command::Capture(args) => capture::run(&args),
            #[cfg(feature = "teach")]
            Command::Teach(args) => lesson::run_teach(&args),
            #[cfg(feature = "teach")]
            Command::Trial(args) => lesson::run_trial(&args),
            #[cfg(feature = "teach")]
            Command::Eval(args) => lesson::run_eval(&args),
            Command::Inspect(args) => inspect::run(&args),
            Command::Bench(args) => bench::run(&args),
        }
    }
}
