//! A recipe's notes without its graphs: for those who ask what it knows and inspect nothing.

use std::path::Path;

use super::recipe::{METADATA_KEY, Recipe};
use crate::error::{Error, ErrorKind, Result};
use crate::nn::{ModelProto, onnx};

/// Reads the notes of a recipe file. Costs reading the file; nothing is planned or tested, so that the recipe may still be
/// one that [`Model::load`](super::model::Model::load) refuses.
///
/// # Errors
/// `NotFound`, `Corrupt` or `Refused`, naming the file.
pub fn load(path: &Path) -> Result<Recipe> {
    let bytes = std::fs::read(path).map_err(|e| Error::io("read the recipe", path, e))?;
    let origin = path.display().to_string();
    of(&onnx::decode(&bytes, &origin)?, &origin)
}

/// The notes in an ONNX file that was read already; `origin` names it.
///
/// # Errors
/// As [`load`].
pub fn of(model: &ModelProto, origin: &str) -> Result<Recipe> {
    let text = onnx::metadata(model, METADATA_KEY).ok_or_else(|| {
        Error::new(
            ErrorKind::Refused,
            format!("{origin} is an ONNX file but no zoomgate recipe (no `{METADATA_KEY}` notes): make one with `zoomgate teach`"),
        )
    })?;
    Recipe::parse(text, origin)
}
