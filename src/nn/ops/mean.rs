//! What means over the whole image share.

use tract_onnx::pb::NodeProto;

use super::super::attributes::{int, ints};
use super::super::tensor::TensorShape;

/// Nodes that take a mean over the whole image, or may.
pub(super) const NODES: &[&str] = &["GlobalAveragePool", "ReduceMean"];

/// Sums of more bytes would not fit into 32 bits.
const PIXELS_MAX: usize = 1 << 24;

/// Whether the mean that a node takes over the image becomes a row; `None` where it does something else.
pub(super) fn is_to_row(node: &NodeProto) -> Option<bool> {
    match node.op_type.as_str() {
        "GlobalAveragePool" => Some(false),
        _ => matches!(ints(node, "axes")?, [2, 3] | [-2, -1]).then(|| int(node, "keepdims", 1) == 0),
    }
}

/// The shape of the mean of `x`, as `[1, channels]` or as an image of one pixel.
pub(super) fn infer(x: TensorShape, is_row: bool) -> Result<TensorShape, String> {
    let [height, width, channels] = x.hwc;
    let pixels = height.checked_mul(width).filter(|n| (1..=PIXELS_MAX).contains(n));
    pixels
        .map(|_| TensorShape { hwc: [1, 1, channels], is_row })
        .ok_or_else(|| "a mean of nothing, or of too much".into())
}
