//! Convolutions, and products with constant matrices as convolutions over one pixel.

use tract_onnx::pb::tensor_proto::DataType;

use super::super::super::int8;
use super::super::{Becomes, Fused, FusedConv, Grid, Op};
use super::attributes::{float, int, ints, pads, pair, string};
use super::{Closing, View};

/// Constant weights, less their zero points.
struct Filters {
    dims: Vec<usize>,
    weights: Vec<i16>,
    /// For each output.
    scale: Vec<f32>,
}

impl View<'_> {
    pub(super) fn conv(&self, i: usize) -> Option<Fused> {
        let node = &self.nodes[i];
        let (x, grid) = self.stored(node.input.first()?)?;
        let Filters { dims, weights, scale } = self.filters(node.input.get(1)?, 0)?;
        let dims: [usize; 4] = dims.try_into().ok()?;
        if string(node, "auto_pad").is_some() {
            return None;
        }
        let plain = self.convolved(i, grid, &scale)?;
        let op = FusedConv {
            dims,
            parts: int8::parts(&weights),
            stride: pair(node, "strides", 1)?,
            pads: pads(node)?,
            dilation: pair(node, "dilations", 1)?,
            groups: usize::try_from(int(node, "group", 1)).ok()?,
            ..plain.op
        };
        Some(self.made(i, vec![x], plain.y, Op::Conv(op), plain.nodes))
    }

    /// `x · w + b` for one row of numbers.
    pub(super) fn product(&self, i: usize) -> Option<Fused> {
        let node = &self.nodes[i];
        let is_plain = float(node, "alpha", 1.0) == 1.0 && float(node, "beta", 1.0) == 1.0;
        if !is_plain || int(node, "transA", 0) != 0 {
            return None;
        }
        let (x, grid, count) = self.row(node.input.first()?)?;
        let is_turned = int(node, "transB", 0) == 0;
        let Filters { dims, weights, scale } = self.filters(node.input.get(1)?, usize::from(is_turned))?;
        let [rows, columns] = dims[..] else { return None };
        let (outputs, weights) = match is_turned {
            true => (columns, (0..columns).flat_map(|c| weights[c..].iter().step_by(columns).copied()).collect()),
            false => (rows, weights),
        };
        if weights.len() != outputs * count {
            return None;
        }
        let plain = self.convolved(i, grid, &scale)?;
        let op = FusedConv { dims: [outputs, count, 1, 1], parts: int8::parts(&weights), is_row: true, ..plain.op };
        Some(self.made(i, vec![x], plain.y, Op::Conv(op), plain.nodes))
    }

    /// The stored tensor that one row of numbers comes from, past nodes that only write it in another shape, and its length.
    fn row(&self, tensor: &str) -> Option<(String, Grid, usize)> {
        let (mut x, grid) = self.stored(self.reshaped(tensor))?;
        loop {
            let before = self.reshaped(&x);
            let again = || {
                let node = &self.nodes[*self.maker.get(before)?];
                let is_again = node.op_type == "QuantizeLinear" && self.grid(node) == Some(grid);
                let (x, of) = is_again.then(|| self.stored(self.reshaped(&node.input[0])))??;
                (of == grid).then_some(x)
            };
            match again() {
                Some(earlier) => x = earlier,
                None if before != x => x = before.to_owned(),
                None => break,
            }
        }
        let count = self.shapes.get(&x).and_then(|s| row_of(s))?;
        Some((x, grid, count))
    }

    /// What `tensor` was before it was written as a row, or as a picture of one pixel.
    fn reshaped<'t>(&'t self, tensor: &'t str) -> &'t str {
        let before = || {
            let node = &self.nodes[*self.maker.get(tensor)?];
            let length = |t: &str| self.shapes.get(t).and_then(|s| row_of(s));
            let is_ours = matches!(node.op_type.as_str(), "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" | "Identity");
            let before = node.input.first()?.as_str();
            (is_ours && length(tensor).is_some() && length(tensor) == length(before)).then_some(before)
        };
        before().unwrap_or(tensor)
    }

    /// Weights whose outputs lie along `axis`.
    fn filters(&self, tensor: &str, axis: usize) -> Option<Filters> {
        let w = self.dequantize(tensor)?;
        let stored = self.constants.get(w.input[0].as_str())?;
        let dims: Vec<usize> = stored.dims.iter().map(|&d| usize::try_from(d).ok()).collect::<Option<_>>()?;
        let outputs = *dims.get(axis).filter(|&&n| n > 0)?;
        let mut scale = self.floats(&w.input[1])?;
        let along = int(w, "axis", 1);
        let along = if along < 0 { along + dims.len() as i64 } else { along };
        if scale.len() == 1 {
            scale = vec![scale[0]; outputs];
        } else if scale.len() != outputs || along != axis as i64 {
            return None;
        }
        let mut weights = self.numbers(&w.input[0])?;
        if weights.len() != dims.iter().product::<usize>() {
            return None;
        }
        if let Some(zeros) = w.input.get(2).filter(|z| !z.is_empty()) {
            let zeros = self.numbers(zeros).filter(|z| z.len() == 1 || z.len() == outputs)?;
            // Weights from one output to the next one.
            let inner: usize = dims[axis + 1..].iter().product();
            let zero = |i: usize| zeros[if zeros.len() == 1 { 0 } else { i / inner % outputs }];
            weights.iter_mut().enumerate().for_each(|(i, w)| *w -= zero(i));
        }
        Some(Filters { dims, weights, scale })
    }

    /// Node `i` as a convolution of one pixel with its bias and what follows it; the weights are still missing.
    fn convolved(&self, i: usize, x: Grid, scale: &[f32]) -> Option<Plain> {
        let node = &self.nodes[i];
        let outputs = scale.len();
        let (bias, real_bias) = match node.input.get(2).filter(|b| !b.is_empty()) {
            None => (vec![0; outputs], vec![0.0; outputs]),
            Some(b) => self.bias(b, outputs, |c| x.scale * scale[c])?,
        };
        let real: Vec<f32> = scale.iter().map(|s| x.scale * s).collect();
        let out = &node.output[0];
        let (becomes, y, nodes) = if let Some(closing) = self.closing(out) {
            let Closing { nodes, y, grid, low, high } = closing;
            let scale = real.iter().map(|s| s / grid.scale).collect();
            (Becomes::Bytes { scale, grid, low, high }, y, nodes)
        } else if let Some(max) = self.greatest(out) {
            // The accumulators' own bias would be rounded.
            let y = self.nodes[max].output[0].clone();
            (Becomes::Greatest { scale: real, bias: real_bias }, y, vec![max])
        } else {
            (Becomes::Floats { scale: real, bias: real_bias }, out.clone(), Vec::new())
        };
        let bias = if matches!(becomes, Becomes::Bytes { .. }) { bias } else { vec![0; outputs] };
        let op = FusedConv {
            x,
            dims: [0; 4],
            parts: Vec::new(),
            bias,
            stride: [1; 2],
            pads: [0; 4],
            dilation: [1; 2],
            groups: 1,
            becomes,
            is_row: false,
        };
        Some(Plain { op, y, nodes })
    }

    /// A bias as accumulator steps and as floats. One that is written in floats is rounded to steps, half of one at most.
    fn bias(&self, name: &str, outputs: usize, scale: impl Fn(usize) -> f32) -> Option<(Vec<i32>, Vec<f32>)> {
        let (steps, floats): (Vec<i32>, Vec<f32>) = if let Some(b) = self.dequantize(name) {
            let scales = self.floats(&b.input[1])?;
            let is_accumulators = |(c, s): (usize, &f32)| (s / scale(c) - 1.0).abs() < 1e-5;
            if scales.len() != outputs || !scales.iter().enumerate().all(is_accumulators) {
                return None;
            }
            let steps: Vec<i32> = self
                .bytes(&b.input[0], DataType::Int32)?
                .as_chunks::<4>()
                .0
                .iter()
                .map(|b| i32::from_le_bytes(*b))
                .collect();
            let floats = steps.iter().zip(&scales).map(|(&b, s)| b as f32 * s).collect();
            (steps, floats)
        } else {
            let floats = self.floats(name)?;
            let steps = floats.iter().enumerate().map(|(c, b)| (b / scale(c)).round_ties_even() as i32).collect();
            (steps, floats)
        };
        (steps.len() == outputs).then_some((steps, floats))
    }

    /// The maximum over channels that alone reads `tensor`.
    fn greatest(&self, tensor: &str) -> Option<usize> {
        let [reader] = self.readers.get(tensor)?[..] else { return None };
        let node = &self.nodes[reader];
        let keeps = int(node, "keepdims", 1) == 1;
        (node.op_type == "ReduceMax" && keeps && ints(node, "axes")? == [1] && !self.outputs.contains(tensor))
            .then_some(reader)
    }
}

/// A convolution without its weights, its result, and the nodes that it stands for beside its own.
struct Plain {
    op: FusedConv,
    y: String,
    nodes: Vec<usize>,
}

/// The length of a row, `[1, n]` or `[1, n, 1, 1]`.
fn row_of(shape: &[usize]) -> Option<usize> {
    match *shape {
        [1, n] | [1, n, 1, 1] => Some(n),
        _ => None,
    }
}
