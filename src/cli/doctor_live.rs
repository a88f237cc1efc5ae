//! `zoomgate doctor --live`: readings of the camera as a line that stays in its place, or as lines.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::doctor::Args;
use super::output::print_json;
use crate::clock::{Clock, MonotonicClock, WakeToken};
use crate::config::{self, Config};
use crate::daemon::{self, setup};
use crate::doctor::live::{self, Pace, Reading, Watched};
use crate::error::{Error, Result};
use crate::inspect::model::Model;
use crate::inspect::{Inspect, notes};
use crate::pipeline::Stop;

/// The bar of the sharpness.
const BAR: usize = 10;

/// Prints readings until Ctrl-C, the camera's end or `--for` is over.
///
/// # Errors
/// Those of the configuration and the camera.
pub fn run(args: &Args) -> Result<()> {
    let config = config::load(&args.config)?;
    super::logging::set_level(config.log_level);
    let clock: Arc<dyn Clock> = Arc::new(MonotonicClock);
    let (stop, token) = (Stop::new(), WakeToken::new());
    stop.attach(&clock, &token);
    let mut camera = setup::camera(&config, &clock, super::run::scene(&config.camera))?;
    let _signals = daemon::stop_on_signals(&stop)?;
    let in_place = !args.json && std::io::stdout().is_terminal();
    let period = if in_place { live::LOOK } else { Duration::from_secs(1) };
    let until = args.for_seconds.map(|seconds| clock.now() + Duration::from_secs_f64(seconds));
    let mut recipe = recipe(&config);
    let inspect = recipe.as_mut().map(|inspect| &mut **inspect as &mut dyn Inspect);
    let mut say = |reading: &Reading| match (args.json, in_place) {
        (true, _) => print_json(reading),
        (false, true) => print(&format!("\r{}\x1b[K", line(reading))),
        (false, false) => print(&format!("{}\n", line(reading))),
    };
    let outcome = live::watch(
        Watched { camera: &mut *camera, inspect },
        &*clock,
        &token,
        &stop,
        Pace { until, period },
        &mut say,
    );
    if in_place {
        print("\n")?;
    }
    let last = outcome.map_err(|error| setup::name_the_holder(error, &config))?;
    if let (Some(best), false) = (last.best, args.json) {
        eprintln!("best sharpness {best:.1} in {} frames, {} lost", last.frames, last.lost);
    }
    Ok(())
}

/// The configured recipe, where there is one that knows what good pictures show: a camera is aimed before it is taught.
fn recipe(config: &Config) -> Option<Box<dyn Inspect>> {
    notes::load(&config.model.recipe).ok()?.sight?;
    let inspector = Model::load(&config.model.recipe).and_then(|model| model.inspector());
    let inspector =
        inspector.inspect_err(|error| log::warn!("frames are not asked whether they can be judged: {error}"));
    Some(daemon::watch_camera(&config.camera.source, Box::new(inspector.ok()?)))
}

fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.map_err(|e| Error::io("write to", Path::new("standard output"), e))
}

/// A reading in at most 80 columns or so.
fn line(reading: &Reading) -> String {
    if let Some(silent) = reading.silent_s {
        return format!("no frame for {silent:.0} s: check the camera's cable, its light and what triggers it");
    }
    let Reading { sharpness: Some(sharpness), best: Some(best), .. } = *reading else {
        return "no frame yet".to_owned();
    };
    let filled = if best > 0.0 { (sharpness / best * BAR as f32).round() as usize } else { 0 };
    let bar: String = (0..BAR).map(|i| if i < filled { '#' } else { '-' }).collect();
    let percent = |share: Option<f32>| 100.0 * share.unwrap_or_default();
    let mut line = format!(
        "sharp {sharpness:5.1} |{bar}| best {best:.1}  {}: mean {:.0}, clip {:.1} %, black {:.1} %",
        reading.exposure.unwrap_or_default().replace('_', " "),
        reading.brightness.unwrap_or_default(),
        percent(reading.clipped_bright),
        percent(reading.clipped_dark)
    );
    if let Some(rate) = reading.rate_hz {
        line.push_str(&format!("  {rate:.1} Hz"));
    }
    if reading.lost > 0 {
        line.push_str(&format!(", {} lost", reading.lost));
    }
    if let Some(unseen) = reading.unseen {
        line.push_str(&format!("  NOT JUDGED: {}", unseen.replace('_', " ")));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_bar_the_light_and_the_rate() {
        let reading = Reading {
            schema: 1,
            seconds: 3.0,
            frames: 90,
            lost: 0,
            rate_hz: Some(29.97),
            silent_s: None,
            sharpness: Some(12.3),
            best: Some(20.5),
            brightness: Some(118.4),
            clipped_bright: Some(0.021),
            clipped_dark: Some(0.0),
            exposure: Some("too_bright"),
            unseen: None,
        };
        let expected = "sharp  12.3 |######----| best 20.5  too bright: mean 118, clip 2.1 %, black 0.0 %  30.0 Hz";
        assert_eq!(line(&reading), expected);
        let blind = Reading { unseen: Some("blind_bright"), ..reading.clone() };
        assert!(line(&blind).ends_with("30.0 Hz  NOT JUDGED: blind bright"));
        assert!(line(&Reading { lost: 2, ..reading.clone() }).ends_with("30.0 Hz, 2 lost"));
        assert_eq!(line(&Reading { sharpness: None, best: None, ..reading.clone() }), "no frame yet");
        assert!(line(&Reading { silent_s: Some(3.2), ..reading }).starts_with("no frame for 3 s: check"));
    }
}
