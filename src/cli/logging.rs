//! What the program says on stderr: `RUST_LOG` where that is set, else a level.

use log::LevelFilter;

/// The environment variable that overrules the configuration.
const OVERRIDE: &str = "RUST_LOG";

/// Starts logging at `info`. Libraries are heard from `warn` on.
pub fn init() {
    let env = env_logger::Env::default().filter_or(OVERRIDE, "warn,zoomgate=trace");
    env_logger::Builder::from_env(env).format_target(false).init();
    set_level(LevelFilter::Info);
}

/// Sets the least important level that is written; does nothing where the environment has chosen one.
pub fn set_level(level: LevelFilter) {
    if std::env::var_os(OVERRIDE).is_none() {
        log::set_max_level(level);
    }
}
