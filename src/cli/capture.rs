//! `zoomgate capture`: pictures of parts for `zoomgate teach`, from the configured camera, trigger and light.
//!
//! The line's own threads run, with a stand-in for the inspection that saves each part's frame: parts are matched with
//! their frames as `run` matches them. No recipe is needed and no output is driven. A picture is there as a whole or
//! not at all; a disk that is slower than the belt costs pictures, which are counted, and never holds up the camera.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

use super::output::print_json;
use crate::camera::{Camera, Grab};
use crate::clock::{Clock, MonotonicClock, Timestamp, WakeToken};
use crate::config::{self, Config};
use crate::daemon::{self, Wiring, setup};
use crate::decide::{Reason, Verdict};
use crate::error::{Error, ErrorKind, Result};
use crate::frame::quality::{Exposure, Quality};
use crate::frame::{Frame, picture};
use crate::inspect::{Inspect, Inspection, Unseen};
use crate::pipeline::Stop;
use crate::pipeline::recording::PartRecord;
use crate::telemetry::Counters;
use crate::units::Score;

/// A picture below this share of the usual sharpness is blurred. Chosen: a lens that has moved halves it, parts of one
/// kind differ by a tenth.
const BLURRED: f32 = 0.7;
/// Pictures from which the usual sharpness is known.
const USUAL: usize = 5;
/// Without a part for so long a person is told what to look at.
const NO_PART: Duration = Duration::from_secs(10);

/// Arguments of `capture`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// What the parts are that come now.
    #[arg(long, value_enum)]
    pub label: Label,
    /// How many pictures to add to those that are there.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub count: u64,
    /// Pictures go to DIR/good or DIR/bad, as PNG.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = "config.toml")]
    pub config: PathBuf,
    /// Strobe `[outputs] light` as `run` does; no other output is ever driven.
    #[arg(long)]
    pub light: bool,
    /// Print a JSON line for each picture on stdout, and a summary as the last.
    #[arg(long)]
    pub json: bool,
}

/// What the parts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Label {
    /// Good parts.
    Good,
    /// Defective parts.
    Bad,
}

impl Label {
    fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
        }
    }
}

/// Saves pictures until there are enough of them, the camera ends, or a signal comes.
///
/// # Errors
/// Those of the configuration and the wiring; when the camera fails or ends too early, and when a picture cannot be
/// written. What was saved until then stays.
pub fn run(args: &Args) -> Result<()> {
    let config = config::load(&args.config)?;
    super::logging::set_level(config.log_level);
    if config.outputs.light.is_some() && !args.light {
        log::warn!("[outputs] light stays off: with --light it strobes as in a run");
    }
    let album = Album::open(&args.out, args.label)?;
    let say: fn(&Saved) -> Result<()> = if args.json { print_json } else { print_line };
    let session = Session::new(args.count, album, Box::new(say));
    let (clock, parts) = (Arc::new(MonotonicClock), super::run::scene(&config.camera));
    let _signals = daemon::stop_on_signals(&session.stop)?;
    let wiring = setup::watching(&config, clock, session.saver(), parts, args.light)?;
    eprintln!("zoomgate capture: ready for {} {} parts; Ctrl-C ends earlier", args.count, args.label.as_str());
    let outcome = session.run(wiring, &config);
    let summary = session.summary();
    let Summary { saved, not_saved, .. } = summary;
    let folder = session.album.folder.display();
    eprintln!("zoomgate capture: {saved} of {} pictures saved in {folder}, {not_saved} parts without", args.count);
    if args.json {
        print_json(&summary)?;
    }
    outcome?;
    if saved < args.count && !summary.interrupted {
        let message = format!("the camera ended after {saved} of {} pictures: let more parts pass", args.count);
        return Err(Error::new(ErrorKind::Refused, message));
    }
    Ok(())
}

fn print_line(saved: &Saved) -> Result<()> {
    let Saved { file, sharpness, brightness, clipped_bright, warnings, .. } = saved;
    let name = file.file_name().unwrap_or_default().display();
    let mut line = format!(
        "{name}  sharpness {sharpness:.1}, brightness {brightness:.0}, clipped {:.1} %",
        f64::from(*clipped_bright) * 100.0
    );
    for warning in warnings {
        line.push_str(&format!("  ! {warning}"));
    }
    writeln!(std::io::stdout().lock(), "{line}").map_err(|e| Error::io("write to", Path::new("standard output"), e))
}

/// One saved picture, and what `--json` prints of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Saved {
    /// The file.
    pub file: PathBuf,
    /// See [`Quality::sharpness`].
    pub sharpness: f32,
    /// Mean grey level, 0 to 255.
    pub brightness: f32,
    /// The share of clipped pixels.
    pub clipped_bright: f32,
    /// What is wrong with it, in words.
    pub warnings: Vec<String>,
}

/// The last line of `--json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    schema: u32,
    label: &'static str,
    /// Where the pictures are.
    pub folder: PathBuf,
    /// Pictures saved now.
    pub saved: u64,
    /// Parts that passed and are not among them: no frame, a broken one, or one that found the disk too slow.
    pub not_saved: u64,
    /// A person has ended it.
    pub interrupted: bool,
}

/// Told of each picture.
pub type Say = Box<dyn FnMut(&Saved) -> Result<()> + Send>;

/// A folder of numbered pictures of one label.
#[derive(Clone, Debug)]
pub struct Album {
    folder: PathBuf,
    label: Label,
    /// The number of the next picture, unless somebody else has taken it.
    next: u64,
}

impl Album {
    /// Makes the folder below `out`, or goes on behind the pictures that are in it.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub fn open(out: &Path, label: Label) -> Result<Self> {
        let folder = out.join(label.as_str());
        std::fs::create_dir_all(&folder).map_err(|e| Error::io("make the folder", &folder, e))?;
        let entries = std::fs::read_dir(&folder).map_err(|e| Error::io("read the folder", &folder, e))?;
        let numbers = entries.flatten().filter_map(|entry| number(entry.file_name().to_str()?, label));
        let next = numbers.max().unwrap_or(0).saturating_add(1);
        Ok(Self { folder, label, next })
    }

    /// Saves a frame under the next free number; never over another picture.
    fn save(&mut self, frame: &Frame) -> Result<PathBuf> {
        loop {
            let path = self.folder.join(format!("{}-{:06}.png", self.label.as_str(), self.next));
            self.next += 1;
            if picture::save_new_png(&path, frame)? {
                return Ok(path);
            }
        }
    }
}

/// The number in a name that [`Album::save`] gives.
fn number(name: &str, label: Label) -> Option<u64> {
    name.strip_prefix(label.as_str())?.strip_prefix('-')?.strip_suffix(".png")?.parse().ok()
}

/// One call of `capture`.
pub struct Session {
    wanted: u64,
    album: Album,
    say: Arc<Mutex<Say>>,
    told: Arc<Told>,
    stop: Stop,
}

/// What the threads of the run tell.
#[derive(Default)]
struct Told {
    saved: AtomicU64,
    not_saved: AtomicU64,
    /// Of those, the ones whose time was over; and how many pictures were finished only then, or when the run was over.
    late: AtomicU64,
    finished_late: AtomicU64,
    /// What ended it before its time.
    failure: Mutex<Option<Error>>,
}

impl Told {
    fn fail(&self, error: Error, stop: &Stop) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        stop.request();
    }
}

impl Session {
    /// `wanted` pictures into `album`, each told to `say`.
    pub fn new(wanted: u64, album: Album, say: Say) -> Self {
        Self { wanted, album, say: Arc::new(Mutex::new(say)), told: Arc::default(), stop: Stop::new() }
    }

    /// What looks at each part's frame.
    pub fn saver(&self) -> Box<dyn Inspect> {
        Box::new(Saver {
            wanted: self.wanted,
            album: self.album.clone(),
            usual: Vec::new(),
            say: Arc::clone(&self.say),
            told: Arc::clone(&self.told),
            stop: self.stop.clone(),
            has_failed: false,
        })
    }

    /// Runs what [`setup::watching`] has wired to the [`saver`](Self::saver), to its end.
    ///
    /// # Errors
    /// When the camera fails, a picture cannot be written, or the run fails.
    pub fn run(&self, mut wiring: Wiring, config: &Config) -> Result<Summary> {
        wiring.stop = self.stop.clone();
        wiring.camera = Box::new(Attended {
            camera: wiring.camera,
            told: Arc::clone(&self.told),
            stop: self.stop.clone(),
            config: config.clone(),
            counters: Arc::clone(&wiring.counters),
            last_part: (0, wiring.clock.now()),
            clock: Arc::clone(&wiring.clock),
        });
        let told = Arc::clone(&self.told);
        wiring.observer = Some(Box::new(move |record| told.note(record)));
        let counters = Arc::clone(&wiring.counters);
        let report = daemon::run(wiring);
        self.told.finished_late.store(counters.snapshot().late_scores, Ordering::SeqCst);
        if let Some(failure) = self.told.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(failure);
        }
        report?;
        Ok(self.summary())
    }

    /// What has become of it so far.
    pub fn summary(&self) -> Summary {
        let saved = self.told.saved.load(Ordering::SeqCst);
        Summary {
            schema: 1,
            label: self.album.label.as_str(),
            folder: self.album.folder.clone(),
            saved,
            not_saved: self.told.not_saved(),
            interrupted: saved < self.wanted && self.stop.is_requested(),
        }
    }
}

impl Told {
    /// A part is done: says why there is no picture of it.
    fn note(&self, record: &PartRecord) {
        let Verdict::Uninspected(reason) = record.verdict else { return };
        let why = match reason {
            Reason::NoFrame => "no frame at its trigger: see [trigger] exposure_offset_ms and tolerance_ms",
            Reason::FrameLost => "its frame never arrived from the camera",
            Reason::Broken => "its frame is damaged or has not the size of [camera]",
            Reason::Overrun => "pictures are written more slowly than parts come: slow the belt",
            Reason::Late => "pictures are written far too slowly: check the disk, or slow the belt",
            // The failure itself is told at the end; parts on the belt at the end are nobody's fault.
            Reason::InspectionFailed | Reason::NotFinite | Reason::Shutdown => return,
            // A picture is saved whatever it shows: there is no recipe yet that could tell.
            Reason::BlindDark
            | Reason::BlindBright
            | Reason::BlindFlat
            | Reason::BlindBlurred
            | Reason::BlindFrozen
            | Reason::NoPart => return,
        };
        self.not_saved.fetch_add(1, Ordering::SeqCst);
        if reason == Reason::Late {
            self.late.fetch_add(1, Ordering::SeqCst);
        }
        eprintln!("part {}: not saved: {why}", record.part.id);
    }

    /// Parts without a picture: a late one may have got it in the end.
    fn not_saved(&self) -> u64 {
        let [all, late, finished] =
            [&self.not_saved, &self.late, &self.finished_late].map(|n| n.load(Ordering::SeqCst));
        // More pictures may be finished late than parts were called so: those of parts that the run's end has settled.
        all - late.min(finished)
    }
}

/// Saves what it is asked to inspect, in the thread of the inspection.
struct Saver {
    wanted: u64,
    album: Album,
    /// The sharpness of each picture so far, in order of size.
    usual: Vec<f32>,
    say: Arc<Mutex<Say>>,
    told: Arc<Told>,
    stop: Stop,
    has_failed: bool,
}

impl Saver {
    fn save(&mut self, frame: &Frame) -> Result<()> {
        let quality = Quality::of(frame);
        let warnings = self.warnings(&quality);
        let saved = Saved {
            file: self.album.save(frame)?,
            sharpness: quality.sharpness,
            brightness: quality.mean,
            clipped_bright: quality.bright,
            warnings,
        };
        let count = self.told.saved.fetch_add(1, Ordering::SeqCst) + 1;
        if count == self.wanted {
            self.stop.request();
        }
        let at = self.usual.partition_point(|sharpness| *sharpness < quality.sharpness);
        self.usual.insert(at, quality.sharpness);
        (self.say.lock().unwrap_or_else(PoisonError::into_inner))(&saved)
    }

    fn warnings(&self, quality: &Quality) -> Vec<String> {
        let mut warnings = Vec::new();
        match quality.exposure() {
            Exposure::Good => {}
            Exposure::TooBright => {
                warnings.push(format!("too bright: {:.1} % of it is clipped", f64::from(quality.bright) * 100.0));
            }
            Exposure::TooDark => {
                warnings.push(format!("too dark: its brightest parts reach {} of 255", quality.brightest));
            }
        }
        if self.usual.len() >= USUAL {
            let usual = self.usual[self.usual.len() / 2];
            if quality.sharpness < BLURRED * usual {
                warnings.push(format!("blurred: sharpness {:.1}, usual here is {usual:.1}", quality.sharpness));
            }
        }
        warnings
    }
}

impl Inspect for Saver {
    fn look(&mut self, _frame: &Frame) -> Option<Unseen> {
        None
    }

    fn inspect(&mut self, frame: &Frame) -> Result<Inspection> {
        // What follows are parts that were on the belt when there were enough, or when the disk failed.
        let is_wanted = self.told.saved.load(Ordering::SeqCst) < self.wanted && !self.has_failed;
        if let Some(error) = is_wanted.then(|| self.save(frame)).and_then(Result::err) {
            // Told at the end: to the run it is nothing that an inspection could mend.
            self.has_failed = true;
            self.told.not_saved.fetch_add(1, Ordering::SeqCst);
            self.told.fail(error, &self.stop);
        }
        Ok(Inspection {
            score: Score(0.0),
            score_full: Score(0.0),
            score_zoom: None,
            full: Default::default(),
            zoom: None,
            crops: Default::default(),
            times: Default::default(),
        })
    }
}

/// A camera beside which a person stands: its failure ends the session instead of being waited out.
struct Attended {
    camera: Box<dyn Camera>,
    told: Arc<Told>,
    stop: Stop,
    config: Config,
    counters: Arc<Counters>,
    clock: Arc<dyn Clock>,
    /// Parts so far, and when the last one, or the last word about them, came.
    last_part: (u64, Timestamp),
}

impl Camera for Attended {
    fn grab(&mut self, token: &WakeToken) -> Grab {
        let grab = self.camera.grab(token);
        let (now, parts) = (self.clock.now(), self.counters.snapshot().parts);
        if parts > self.last_part.0 {
            self.last_part = (parts, now);
        } else if now.since(self.last_part.1) >= NO_PART {
            self.last_part.1 = now;
            eprintln!("no part for {} s: check [trigger] and its line", NO_PART.as_secs());
        }
        match grab {
            Grab::Fault(fault, error) => {
                let message = format!("{fault}: {}", error.message());
                let error = Error::new(error.kind(), message).caused_by(error);
                self.told.fail(setup::name_the_holder(error, &self.config), &self.stop);
                Grab::End
            }
            grab => grab,
        }
    }
}
