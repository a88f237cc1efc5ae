//! The pictures of one training run: from files or already in memory, loaded once if they fit.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use sha2::{Digest as _, Sha256};

use crate::error::Result;
use crate::frame::{Frame, picture};
use crate::inspect::aligned::{AlignedImage, ImageAligner};
use crate::inspect::register::Aligner;

/// Decoded pictures kept in memory; the rest is decoded again whenever it is needed.
const KEPT_BYTES: usize = 256 << 20;

/// One picture to teach with.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Its name in messages and in the digest.
    pub name: String,
    /// Pictures of one group (shots of the same part) never lie on both sides of a split.
    pub group: String,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    File(PathBuf),
    Memory(Frame),
}

impl Picture {
    /// A picture in a file; `name` is how it is called in messages.
    pub fn file(path: PathBuf, name: impl Into<String>, group: impl Into<String>) -> Self {
        Self { name: name.into(), group: group.into(), source: Source::File(path) }
    }

    /// A frame that was just captured.
    pub fn memory(frame: Frame, name: impl Into<String>) -> Self {
        let name = name.into();
        Self { group: name.clone(), name, source: Source::Memory(frame) }
    }

    /// Decodes it.
    ///
    /// # Errors
    /// When the file is missing or no picture.
    pub fn load(&self) -> Result<Frame> {
        match &self.source {
            Source::File(path) => picture::load(path),
            Source::Memory(frame) => Ok(frame.clone()),
        }
    }
}

/// A training run's pictures, each decoded once while they fit in memory.
pub struct ImageCache<'a> {
    pictures: &'a [Picture],
    kept: Vec<OnceLock<AlignedImage>>,
    bytes: AtomicUsize,
    /// Brings parts into line for a model's input of so many rows and columns.
    aligner: Option<(Arc<Aligner>, [usize; 2])>,
}

impl<'a> ImageCache<'a> {
    /// Nothing is opened yet.
    pub fn new(pictures: &'a [Picture]) -> Self {
        Self {
            pictures,
            kept: pictures.iter().map(|_| OnceLock::new()).collect(),
            bytes: AtomicUsize::new(0),
            aligner: None,
        }
    }

    /// The same pictures, each brought into line from now on, for a model whose input has `size` rows and columns.
    pub fn aligned(self, aligner: Option<Arc<Aligner>>, size: [usize; 2]) -> Self {
        match aligner {
            Some(aligner) => Self { aligner: Some((aligner, size)), ..Self::new(self.pictures) },
            None => self,
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.pictures.len()
    }

    /// The group of picture `i`.
    pub fn group(&self, i: usize) -> &'a str {
        &self.pictures[i].group
    }

    /// Picture `i`, unopened.
    pub fn picture(&self, i: usize) -> &'a Picture {
        &self.pictures[i]
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.pictures.is_empty()
    }

    /// Picture `i`, decoded and brought into line.
    ///
    /// # Errors
    /// As [`Picture::load`].
    pub fn part(&self, i: usize) -> Result<AlignedImage> {
        if let Some(part) = self.kept[i].get() {
            return Ok(part.clone());
        }
        let frame = self.pictures[i].load()?;
        let part = match &self.aligner {
            Some((aligner, size)) => ImageAligner::new(*size).part(frame, Some(aligner)),
            None => AlignedImage::from(frame),
        };
        let bytes = part.bytes();
        if self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes <= KEPT_BYTES {
            return Ok(self.kept[i].get_or_init(|| part).clone());
        }
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        Ok(part)
    }

    /// What picture `i` is called in messages.
    pub fn name(&self, i: usize) -> &'a str {
        &self.pictures[i].name
    }

    /// SHA-256 of picture `i`'s size and pixels, whatever its name and its file's format.
    ///
    /// # Errors
    /// As [`Picture::load`].
    pub fn pixels(&self, i: usize) -> Result<[u8; 32]> {
        let frame = self.part(i)?;
        let mut hash = Sha256::new();
        hash.update(frame.width.to_le_bytes());
        hash.update(frame.height.to_le_bytes());
        hash.update(&frame.rgb);
        Ok(hash.finalize().into())
    }
}
