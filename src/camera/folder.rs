//! The folder camera: replays the pictures below a folder at a rate.
//!
//! Order is the byte order of the paths relative to the folder, or a shuffle by seed (the same every time round).
//! Folders named `ground_truth` hold masks, not parts, and are skipped; so are files that do not look like pictures.
//! Pictures are decoded while the next exposure is awaited, so that decoding does not delay the replay.
//!
//! Size: if the first picture is not of the configured size, the configuration is wrong and [`FolderCamera::open`]
//! refuses. A later picture of another size, or a damaged one, is a broken frame: its part is uninspected, and the
//! error names the file and both sizes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::{BrokenFrame, Camera, Grab, Settings};
use crate::clock::{Clock, Timestamp, Wake, WakeToken};
use crate::error::{Error, ErrorKind, Result};
use crate::frame::{Frame, picture};
use crate::units::FrameId;

/// What counts as a picture, by extension in lower case.
const EXTENSIONS: [&str; 10] = ["png", "jpg", "jpeg", "bmp", "tif", "tiff", "pgm", "ppm", "pnm", "webp"];

/// How a folder is replayed.
#[derive(Clone, Debug)]
pub struct Replay {
    /// The folder.
    pub folder: PathBuf,
    /// Shuffles the pictures by this seed.
    pub shuffle_seed: Option<u64>,
    /// Starts again after the last picture, for ever.
    pub repeat: bool,
    /// From one exposure to the next.
    pub period: Duration,
    /// Width and height that every picture must have.
    pub size: (u32, u32),
}

impl Replay {
    /// Replays `folder` with the rate and the size that `settings` have.
    pub fn new(settings: &Settings, folder: &Path, shuffle_seed: Option<u64>, repeat: bool) -> Self {
        let period = Duration::try_from_secs_f64(1.0 / settings.rate_hz).unwrap_or(Duration::MAX);
        let size = (settings.width, settings.height);
        Self { folder: folder.to_owned(), shuffle_seed, repeat, period, size }
    }
}

/// Replays a folder of pictures.
pub struct FolderCamera {
    clock: Arc<dyn Clock>,
    replay: Replay,
    files: Vec<PathBuf>,
    next: usize,
    exposed: u64,
    due: Timestamp,
    ready: Option<Result<Frame>>,
}

impl FolderCamera {
    /// Lists the folder and checks its first picture; the first exposure is one period from now.
    ///
    /// # Errors
    /// When the folder cannot be read, has no pictures, or its first picture is damaged or not of the configured size.
    pub fn open(clock: Arc<dyn Clock>, replay: Replay) -> Result<Self> {
        let mut files = pictures_below(&replay.folder)?;
        if files.is_empty() {
            let message = format!("no pictures below {}: check [camera] path", replay.folder.display());
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        if let Some(seed) = replay.shuffle_seed {
            files.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        }
        let first = load(&files[0], replay.size).map_err(|error| match error.kind() {
            ErrorKind::Refused => Error::new(ErrorKind::Config, error.message()),
            _ => error,
        })?;
        let due = clock.now() + replay.period;
        Ok(Self { clock, replay, files, next: 0, exposed: 0, due, ready: Some(Ok(first)) })
    }

    /// The pictures in the order of replay.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }
}

impl Camera for FolderCamera {
    fn grab(&mut self, token: &WakeToken) -> Grab {
        if self.next == self.files.len() {
            if !self.replay.repeat {
                return Grab::End;
            }
            self.next = 0;
        }
        let ready = self.ready.take().unwrap_or_else(|| load(&self.files[self.next], self.replay.size));
        if self.clock.now() < self.due && self.clock.wait(token, Some(self.due)) == Wake::Woken {
            self.ready = Some(ready);
            return Grab::Idle;
        }
        let now = self.clock.now();
        let id = FrameId(self.exposed);
        self.next += 1;
        self.exposed += 1;
        // A replay that cannot keep up slips; it never bunches pictures to catch up, as no belt does.
        self.due = (self.due + self.replay.period).max(now);
        match ready {
            Ok(frame) => Grab::Frame(Frame { id, exposure_at: now, dequeued_at: now, ..frame }),
            Err(error) => Grab::Broken(BrokenFrame { id, exposure_at: now, error }),
        }
    }
}

fn load(path: &Path, (width, height): (u32, u32)) -> Result<Frame> {
    let frame = picture::load(path)?;
    if (frame.width, frame.height) != (width, height) {
        let message = format!(
            "{} is {}x{}, [camera] says {width}x{height}: set width and height to the pictures' or replace the file",
            path.display(),
            frame.width,
            frame.height
        );
        return Err(Error::new(ErrorKind::Refused, message));
    }
    Ok(frame)
}

/// Lists the pictures below a folder in byte order of their paths; see the module's description for what is skipped.
///
/// # Errors
/// When the folder, or one below it, cannot be read.
pub fn pictures_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let walk = walkdir::WalkDir::new(folder).follow_links(true).into_iter();
    for entry in walk.filter_entry(|e| !(e.file_type().is_dir() && e.file_name() == "ground_truth")) {
        let entry = entry.map_err(|e| {
            let path = e.path().unwrap_or(folder).to_owned();
            Error::io("read the folder", &path, e.into())
        })?;
        let extension = entry.path().extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
        if entry.file_type().is_file() && extension.is_some_and(|e| EXTENSIONS.contains(&e.as_str())) {
            files.push(entry.into_path());
        }
    }
    // Whole paths, not names folder by folder: `a-b/1.png` comes before `a/1.png` in byte order.
    files.sort_by(|a, b| a.as_os_str().as_encoded_bytes().cmp(b.as_os_str().as_encoded_bytes()));
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{SchedulerSlot, SimClock};

    /// Writes 2x2 pictures whose red value is their position in the list.
    fn folder(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (i, name) in names.iter().enumerate() {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            image::RgbImage::from_pixel(2, 2, image::Rgb([i as u8, 0, 0])).save(path).unwrap();
        }
        folder
    }

    fn replay(folder: &tempfile::TempDir) -> Replay {
        let period = Duration::from_millis(10);
        Replay { folder: folder.path().to_owned(), shuffle_seed: None, repeat: false, period, size: (2, 2) }
    }

    /// Grabs until the end (or `limit`) and returns what came as `red@milliseconds`.
    fn grab_all(replay: Replay, limit: usize) -> Vec<String> {
        let clock: Arc<dyn Clock> = Arc::new(SimClock::new());
        let slot = SchedulerSlot::reserve(&clock, "cap");
        slot.take();
        let mut camera = FolderCamera::open(Arc::clone(&clock), replay).unwrap();
        let token = WakeToken::new();
        let mut seen = Vec::new();
        while seen.len() < limit {
            match camera.grab(&token) {
                Grab::Frame(f) => seen.push(format!("{}@{}", f.rgb[0], f.exposure_at.0 / 1_000_000)),
                Grab::Broken(b) => seen.push(b.error.to_string()),
                Grab::End => break,
                other => panic!("{other:?}"),
            }
        }
        seen
    }

    #[test]
    fn pictures_come_in_byte_order_without_ground_truth() {
        let folder =
            folder(&["b/2.png", "a-b/1.png", "a/1.png", "B.png", "ground_truth/1.png", "a/ground_truth/x/1.png"]);
        std::fs::write(folder.path().join("a/notes.txt"), "no picture").unwrap();
        assert_eq!(grab_all(replay(&folder), 99), ["3@10", "1@20", "2@30", "0@40"]);
    }

    #[test]
    fn a_shuffle_repeats_for_its_seed() {
        let folder = folder(&["0.png", "1.png", "2.png", "3.png", "4.png", "5.png", "6.png"]);
        let with = |seed| grab_all(Replay { shuffle_seed: Some(seed), ..replay(&folder) }, 99);
        assert_eq!(with(1), with(1));
        assert_ne!(with(1), with(2));
        assert_eq!(with(1).len(), 7);
    }

    #[test]
    fn a_repeated_folder_starts_again() {
        let folder = folder(&["0.png", "1.png"]);
        assert_eq!(grab_all(Replay { repeat: true, ..replay(&folder) }, 3), ["0@10", "1@20", "0@30"]);
    }

    #[test]
    fn a_later_picture_of_another_size_is_broken_and_named() {
        let folder = folder(&["0.png", "1.png", "3.png"]);
        image::RgbImage::new(5, 4).save(folder.path().join("1.png")).unwrap();
        std::fs::write(folder.path().join("2.png"), b"\x89PNG cut").unwrap();
        let seen = grab_all(replay(&folder), 99);
        assert!(seen[1].contains("1.png is 5x4, [camera] says 2x2"), "{}", seen[1]);
        assert!(seen[2].contains("2.png"), "{}", seen[2]);
        assert_eq!(seen[3], "2@40");
    }

    #[test]
    fn a_wrong_first_picture_or_an_empty_folder_is_refused() {
        let clock: Arc<dyn Clock> = Arc::new(SimClock::new());
        let pictures = folder(&["0.png"]);
        let error = FolderCamera::open(Arc::clone(&clock), Replay { size: (3, 3), ..replay(&pictures) }).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains("2x2") && error.message().contains("3x3"), "{error}");
        let empty = folder(&["ground_truth/0.png"]);
        assert_eq!(FolderCamera::open(clock, replay(&empty)).err().unwrap().kind(), ErrorKind::NotFound);
    }
}
