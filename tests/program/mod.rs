//! The program that was built beside the tests, as a command.
//!
//! Where the tests themselves run under an emulator, the kernel cannot start a program of that architecture:
//! `ZOOMGATE_RUNNER` then holds the emulator and its arguments, words between spaces, as cargo's `runner` does.
#![allow(dead_code, reason = "each test file uses its share")]

use std::ffi::{OsStr, OsString};
use std::process::Command;

/// What starts the executable at `path`: the words of the runner, where there is one, and the path.
pub fn words(path: impl AsRef<OsStr>) -> Vec<OsString> {
    let runner = std::env::var("ZOOMGATE_RUNNER").unwrap_or_default();
    runner.split_whitespace().map(OsString::from).chain([path.as_ref().to_owned()]).collect()
}

/// The executable at `path`, not yet started.
pub fn command(path: impl AsRef<OsStr>) -> Command {
    let words = words(path);
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command
}

/// The program's path.
pub const PATH: &str = env!("CARGO_BIN_EXE_zoomgate");

/// The program, not yet started, without the environment's wishes for its log.
pub fn program() -> Command {
    let mut command = command(PATH);
    command.env_remove("RUST_LOG");
    command
}
