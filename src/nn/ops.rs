//! The int8 operators that take the place of nodes between quantised tensors: one file each.
//!
//! | file | stands for |
//! |---|---|
//! | [`conv`] | `x.q ─ DQ ─ Conv(DQ(w), b) ─ [Relu \| Clip] ─ Q ─ y.q`, and the same that ends in floats or in their maximum |
//! | [`gemm`] | a row times a constant matrix, as a convolution of one pixel |
//! | [`add`], [`mul`] | `a.q, b.q ─ DQ ─ Add \| Mul ─ [Relu \| Clip] ─ Q ─ y.q` |
//! | [`max_pool`], [`average_pool`] | one value for each window |
//! | [`global_average_pool`], [`reduce_mean`] | one mean over the whole image, as a byte or as a float |
//! | [`resize`] | linear interpolation by whole factors |
//! | [`concat`](mod@concat) | features side by side, each averaged, multiplied and repeated first |
//! | [`lut`] | functions of one number, as a table |
//! | [`reduce_sum_square`] | distances from an expected feature |
//! | [`quantize_linear`] | floats on their way to one of the others |
//!
//! A new operator is a file with a `PATTERN` (how it is found in a graph) and an
//! [`IntOp`](operator::IntOp) (which shapes it takes and makes, how it is compiled and run), and a line in [`PATTERNS`].

mod add;
mod average_pool;
mod binary;
mod concat;
mod conv;
mod gemm;
mod global_average_pool;
mod lut;
mod max_pool;
mod mean;
mod mul;
pub(super) mod operator;
pub(super) mod quantize_linear;
mod reduce_mean;
mod reduce_sum_square;
mod resize;
mod window;

use super::graph_view::GraphView;
use operator::{FusedOp, Pattern};

/// All of them, but [`quantize_linear`], which is found once it is known what the others read. Of those that begin at the
/// same node the first that fits is taken.
const PATTERNS: [Pattern; 13] = [
    conv::PATTERN,
    gemm::PATTERN,
    add::PATTERN,
    mul::PATTERN,
    max_pool::PATTERN,
    average_pool::PATTERN,
    global_average_pool::PATTERN,
    reduce_mean::PATTERN,
    resize::PATTERN,
    concat::REPEAT,
    concat::PATTERN,
    lut::PATTERN,
    reduce_sum_square::PATTERN,
];

/// The operator that begins at node `i`.
pub(super) fn find(view: &GraphView<'_>, i: usize) -> Option<FusedOp> {
    let op_type = view.nodes[i].op_type.as_str();
    PATTERNS.iter().filter(|p| p.nodes.contains(&op_type)).find_map(|p| (p.find)(view, i))
}
