//! One labelled picture on disk.

use std::path::PathBuf;

use crate::error::{Error, ErrorKind, Result};
use crate::frame::Frame;
use crate::frame::picture::{self, Mask};

/// The kind of every good part.
pub const GOOD_KIND: &str = "good";

/// What a picture truly shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Label {
    /// A good part.
    Good,
    /// A defective part.
    Bad,
}

/// One picture of a dataset; nothing of it has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Where it is, absolute.
    pub path: PathBuf,
    /// Its name inside the dataset, `/` between folders.
    pub rel: String,
    /// The kind of defect, [`GOOD_KIND`] for a good part.
    pub kind: String,
    /// What it shows.
    pub label: Label,
    /// Its mask of defective pixels, absolute.
    pub mask: Option<PathBuf>,
    /// Pictures of one group (one part, one module, one burst) must not stand on both sides of a split; empty: alone.
    pub group: String,
}

impl Item {
    /// Reads the picture; see [`picture::load`].
    ///
    /// # Errors
    /// Those of [`picture::load`].
    pub fn load(&self) -> Result<Frame> {
        picture::load(&self.path)
    }

    /// Reads the mask that belongs to `frame`, if there is one; see [`picture::load_mask`].
    ///
    /// # Errors
    /// Those of [`picture::load_mask`]; `Refused` when the sizes differ.
    pub fn load_mask(&self, frame: &Frame) -> Result<Option<Mask>> {
        let Some(path) = &self.mask else { return Ok(None) };
        let mask = picture::load_mask(path)?;
        if (mask.width, mask.height) != (frame.width, frame.height) {
            return Err(Error::new(
                ErrorKind::Refused,
                format!(
                    "{} is {}x{} pixels and its picture {} is {}x{}: make the mask again at the picture's size",
                    path.display(),
                    mask.width,
                    mask.height,
                    self.path.display(),
                    frame.width,
                    frame.height
                ),
            ));
        }
        Ok(Some(mask))
    }
}

/// Which part of a dataset a picture belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Split {
    Train,
    Test,
}
