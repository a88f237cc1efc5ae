//! Nothing but: parse, call, print the error with its causes, map it to an exit code.

#![forbid(unsafe_code)]

use std::error::Error as _;
use std::process::ExitCode;

use clap::Parser as _;

/// Fitting allocates the same few megabytes thousands of times; glibc gives each back to the kernel and takes it again,
/// which was a third of the time of `teach` in page faults.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = zoomgate::cli::Cli::parse();
    zoomgate::cli::logging::init();
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("zoomgate: {error}");
            let mut cause = error.source();
            while let Some(c) = cause {
                eprintln!("  caused by: {c}");
                cause = c.source();
            }
            ExitCode::from(error.exit_code())
        }
    }
}
