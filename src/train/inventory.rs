//! The first look at every picture of a training run: its size and its pixels' fingerprint, and which of them are the same.

use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use super::picture::ImageCache;
use super::progress::Progress;
use crate::error::{Error, ErrorKind, Result};
use crate::stats;

/// Names that a message lists at most.
const NAMED: usize = 5;

/// What is known of a picture that was opened once.
pub(super) struct Fingerprint {
    aspect: f64,
    pixels: [u8; 32],
}

/// Every picture of a training run, looked at once.
pub(super) struct Inventory {
    pub(super) good: Vec<Fingerprint>,
    pub(super) bad: Vec<Fingerprint>,
}

/// Bytes as hex digits, two each.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The first picture with the pixels of picture `i`.
pub(super) fn first(seen: &[Fingerprint], i: usize) -> usize {
    seen.iter().position(|s| s.pixels == seen[i].pixels).expect("it is itself one of them")
}

impl Inventory {
    /// Opens every picture.
    pub(super) fn of(good: &ImageCache<'_>, bad: &ImageCache<'_>, progress: &dyn Progress) -> Result<Self> {
        progress.stage("reading pictures", (good.len() + bad.len()) as u64);
        let look = |images: &ImageCache<'_>| -> Result<Vec<Fingerprint>> {
            let one = |i| {
                let f = images.part(i)?;
                progress.tick();
                Ok(Fingerprint { aspect: f64::from(f.width) / f64::from(f.height), pixels: images.pixels(i)? })
            };
            (0..images.len()).into_par_iter().map(one).collect()
        };
        Ok(Self { good: look(good)?, bad: look(bad)? })
    }

    /// Model input rows and columns, from the median aspect of good pictures and the side of a square of that area.
    pub(super) fn input(&self, side: usize) -> [usize; 2] {
        let mut aspects: Vec<f64> = self.good.iter().map(|g| g.aspect).collect();
        let aspect = stats::upper_median(&mut aspects).unwrap_or(1.0).clamp(0.25, 4.0);
        let sixteens = |v: f64| ((v / 16.0).round() as usize).max(4) * 16;
        let (w, h) = (side as f64 * aspect.sqrt(), side as f64 / aspect.sqrt());
        [sixteens(h), sixteens(w)]
    }

    /// SHA-256 over all names and pixels, hex.
    pub(super) fn digest(&self, good: &ImageCache<'_>, bad: &ImageCache<'_>) -> String {
        let mut hash = Sha256::new();
        for (label, images, seen) in [(b"good", good, &self.good), (b"bad\0", bad, &self.bad)] {
            hash.update(label);
            for (i, s) in seen.iter().enumerate() {
                hash.update(images.name(i).as_bytes());
                hash.update([0]);
                hash.update(s.pixels);
            }
        }
        hex(&hash.finalize())
    }

    /// The beginning of each picture's digest, hex: of the good ones, of the bad ones.
    pub(super) fn fingerprints(&self) -> [Vec<String>; 2] {
        [&self.good, &self.bad].map(|seen| seen.iter().map(|s| hex(&s.pixels[..8])).collect())
    }

    /// Refuses pictures that are given as bad and as good, whatever their files' names and formats.
    pub(super) fn refuse_both(&self, good: &ImageCache<'_>, bad: &ImageCache<'_>) -> Result<()> {
        let twin = |b: &Fingerprint| self.good.iter().position(|g| g.pixels == b.pixels);
        let pairs: Vec<String> = (0..bad.len())
            .filter_map(|b| Some(format!("\n  {} shows the pixels of {}", bad.name(b), good.name(twin(&self.bad[b])?))))
            .collect();
        if pairs.is_empty() {
            return Ok(());
        }
        let text = "the same pictures are given as bad and as good: decide what each shows and delete the other";
        Err(Error::new(ErrorKind::Refused, format!("{text}{}", pairs.concat())))
    }

    /// A word about each label's pictures that repeat another of the same label.
    pub(super) fn repeats(&self, good: &ImageCache<'_>, bad: &ImageCache<'_>) -> Vec<String> {
        let mut words = Vec::new();
        for (label, images, seen) in [("good", good, &self.good), ("bad", bad, &self.bad)] {
            let again: Vec<String> = (0..seen.len())
                .filter_map(|i| Some((i, first(seen, i))).filter(|(i, f)| i != f))
                .map(|(i, f)| format!("{} shows the pixels of {}", images.name(i), images.name(f)))
                .collect();
            if !again.is_empty() {
                words.push(format!(
                    "{} {label} pictures repeat others and count once: {}",
                    again.len(),
                    listed(again.iter().map(String::as_str))
                ));
            }
        }
        words
    }
}

/// The first names, and how many more there are.
pub(super) fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    let shown = names[..names.len().min(NAMED)].join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
