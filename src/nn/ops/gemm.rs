//! `x.q ─ DQ ─ Gemm(DQ(w), b) | MatMul(DQ(w)) ─ [Relu | Clip] ─ [Q] ─ y`: a row times a constant matrix, as a convolution of
//! one pixel.

use super::super::attributes::{float, int};
use super::super::graph_view::GraphView;
use super::super::int8;
use super::super::tensor::QuantizedType;
use super::conv::{Conv, Filters, Tail};
use super::operator::{FusedOp, Pattern};

pub(super) const PATTERN: Pattern = Pattern { nodes: &["Gemm", "MatMul"], find };

fn find(view: &GraphView<'_>, i: usize) -> Option<FusedOp> {
    let node = &view.nodes[i];
    let is_plain = float(node, "alpha", 1.0) == 1.0 && float(node, "beta", 1.0) == 1.0;
    if !is_plain || int(node, "transA", 0) != 0 {
        return None;
    }
    let (name, x, count) = row(view, node.input.first()?)?;
    let is_transposed = int(node, "transB", 0) == 0;
    let Filters { dims, weights, scale } = Filters::of(view, node.input.get(1)?, usize::from(is_transposed))?;
    let [rows, columns] = dims[..] else { return None };
    let (outputs, weights) = match is_transposed {
        true => (columns, (0..columns).flat_map(|c| weights[c..].iter().step_by(columns).copied()).collect()),
        false => (rows, weights),
    };
    if weights.len() != outputs * count {
        return None;
    }
    let Tail { y, bias, epilogue, nodes } = Tail::of(view, i, x, &scale)?;
    let op = Conv {
        x,
        dims: [outputs, count, 1, 1],
        parts: int8::parts(&weights),
        bias,
        stride: [1; 2],
        pads: [0; 4],
        dilation: [1; 2],
        groups: 1,
        epilogue,
        is_row: true,
    };
    Some(FusedOp::new(view, i, vec![name], y, op, nodes))
}

/// The quantised tensor that a row of numbers comes from, past nodes that only write it in another shape, and its length.
fn row(view: &GraphView<'_>, tensor: &str) -> Option<(String, QuantizedType, usize)> {
    let (mut x, quantized) = view.quantized(reshaped(view, tensor))?;
    loop {
        let before = reshaped(view, &x);
        let again = || {
            let (_, node) = view.maker(before)?;
            let is_again = node.op_type == "QuantizeLinear" && view.quantized_type(node) == Some(quantized);
            let (x, of) = is_again.then(|| view.quantized(reshaped(view, &node.input[0])))??;
            (of == quantized).then_some(x)
        };
        match again() {
            Some(earlier) => x = earlier,
            None if before != x => x = before.to_owned(),
            None => break,
        }
    }
    let count = view.dims(&x).and_then(row_of)?;
    Some((x, quantized, count))
}

/// What `tensor` was before it was written as a row, or as an image of one pixel.
fn reshaped<'t>(view: &GraphView<'t>, tensor: &'t str) -> &'t str {
    let before = || {
        let (_, node) = view.maker(tensor)?;
        let length = |t: &str| view.dims(t).and_then(row_of);
        let is_ours = matches!(node.op_type.as_str(), "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" | "Identity");
        let before = node.input.first()?.as_str();
        (is_ours && length(tensor).is_some() && length(tensor) == length(before)).then_some(before)
    };
    before().unwrap_or(tensor)
}

/// The length of a row, `[1, n]` or `[1, n, 1, 1]`.
fn row_of(shape: &[usize]) -> Option<usize> {
    match *shape {
        [1, n] | [1, n, 1, 1] => Some(n),
        _ => None,
    }
}
