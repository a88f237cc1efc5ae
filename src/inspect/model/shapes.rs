//! Whether a recipe's graph makes what its notes speak of.

use crate::error::{Error, ErrorKind, Result};
use crate::inspect::recipe::{Recipe, ViewConstants};
use crate::nn::ModelProto;
use crate::nn::onnx;
use crate::nn::plan::Output;

fn damaged(origin: &str, what: &str) -> Error {
    let message = format!("{origin} is damaged: {what}; restore the file or teach again");
    Error::new(ErrorKind::Corrupt, message)
}

/// Whether the graph takes pictures of the notes' size.
///
/// # Errors
/// `Corrupt` where it does not.
pub(super) fn check_input(model: &ModelProto, recipe: &Recipe, origin: &str) -> Result<()> {
    let wanted = [1, 3, recipe.input.height, recipe.input.width];
    let declared = onnx::first_input(model);
    if declared.is_some_and(|dims| dims.len() != 4 || dims.iter().zip(wanted).any(|(d, w)| d.is_some_and(|d| d != w))) {
        return Err(damaged(origin, "its notes speak of another `input` than its graph takes"));
    }
    Ok(())
}

/// Whether both passes give maps, scores and attention that an inspection can read without looking twice.
///
/// # Errors
/// `Corrupt` where one does not.
pub(super) fn check_outputs(recipe: &Recipe, full: &[Output], zoom: &[Output], origin: &str) -> Result<()> {
    let is_view = |out: &[Output], view: &ViewConstants| {
        let (known, overall) = (usize::from(view.known.is_some()), usize::from(view.overall.is_some()));
        let is_map = matches!(out[0].shape(), &[1, maps, rows, columns] if maps == 1 + known && rows * columns > 0);
        let is_score = matches!(out[1].shape(), &[1, evidences] if evidences == 1 + known + overall);
        is_map && is_score && out.iter().all(Output::is_f32)
    };
    let grid = |out: &Output| out.shape()[2..].to_vec();
    let is_attention = |out: &Output| matches!(out.shape(), &[1, 1, rows, columns] if rows * columns > 0);
    if !is_view(full, &recipe.full) || !is_attention(&full[2]) {
        return Err(damaged(origin, "its graph looks at the full image in another way than its notes say"));
    }
    if !is_view(zoom, &recipe.zoom) || grid(&zoom[0]) != grid(&full[0]) {
        return Err(damaged(origin, "its graph looks at the crop in another way than its notes say"));
    }
    Ok(())
}
