//! The progress bar on stderr.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::train::Progress;

/// One bar, renamed and refilled at every stage; silent where stderr is no terminal.
pub struct Bar {
    bar: ProgressBar,
}

impl Bar {
    /// A bar on stderr, or none at all with `quiet`.
    pub fn new(quiet: bool) -> Self {
        let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(Some(1), target);
        let style = ProgressStyle::with_template("{elapsed:>4} {bar:30} {pos:>4}/{len:<4} {msg}")
            .expect("the template is fixed");
        bar.set_style(style);
        Self { bar }
    }
}

impl Progress for Bar {
    fn stage(&self, name: &str, total: u64) {
        log::debug!("{:.1} s: {name}, {total} steps", self.bar.elapsed().as_secs_f64());
        self.bar.set_position(0);
        self.bar.set_length(total.max(1));
        self.bar.set_message(name.to_owned());
    }

    fn tick(&self) {
        self.bar.inc(1);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
