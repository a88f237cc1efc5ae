//! Operators without weights that read one or two stored tensors, and the way from floats to stored ones.

use std::collections::HashSet;

use tract_onnx::pb::NodeProto;
use tract_onnx::pb::tensor_proto::DataType;

use super::super::{Fused, FusedAdd, FusedMul, FusedSquares, FusedStore, Op, Usual};
use super::attributes::{float, int, ints};
use super::{Closing, View};

impl<'a> View<'a> {
    pub(super) fn add(&self, i: usize) -> Option<Fused> {
        let (x, y, add, nodes) = self.two(i)?;
        Some(self.made(i, x, y, Op::Add(add), nodes))
    }

    pub(super) fn multiply(&self, i: usize) -> Option<Fused> {
        let (x, y, mul, nodes) = self.two(i)?;
        Some(self.made(i, x, y, Op::Mul(FusedMul(mul)), nodes))
    }

    /// Two stored tensors that become a third one.
    fn two(&self, i: usize) -> Option<(Vec<String>, String, FusedAdd, Vec<usize>)> {
        let node = &self.nodes[i];
        let (a, a_grid) = self.stored(node.input.first()?)?;
        let (b, b_grid) = self.stored(node.input.get(1)?)?;
        let Closing { nodes, y, grid, low, high } = self.closing(&node.output[0])?;
        Some((vec![a, b], y, FusedAdd { x: [a_grid, b_grid], y: grid, low, high }, nodes))
    }

    /// A quantisation of floats whose result is one of those `wanted`.
    pub(in super::super) fn store(&self, i: usize, wanted: &HashSet<String>) -> Option<Fused> {
        let node = &self.nodes[i];
        if node.op_type != "QuantizeLinear" || !wanted.contains(&node.output[0]) {
            return None;
        }
        let grid = self.grid(node)?;
        let leaky = self
            .maker
            .get(node.input[0].as_str())
            .map(|&m| (m, &self.nodes[m]))
            .filter(|(_, n)| n.op_type == "LeakyRelu" && self.is_alone(&n.output[0]));
        let (x, leak, nodes) = match leaky {
            Some((m, leaky)) => (leaky.input[0].clone(), Some(float(leaky, "alpha", 0.01)), vec![m]),
            None => (node.input[0].clone(), None, Vec::new()),
        };
        let is_constant = self.constants.contains_key(x.as_str());
        (!is_constant)
            .then(|| self.made(i, vec![x], node.output[0].clone(), Op::Store(FusedStore { grid, leak }), nodes))
    }

    pub(super) fn squares(&self, i: usize) -> Option<Fused> {
        let node = &self.nodes[i];
        if int(node, "keepdims", 1) != 1 || ints(node, "axes")? != [1] {
            return None;
        }
        let y = node.output[0].clone();
        if let Some((x, grid)) = self.stored(&node.input[0]) {
            return Some(self.made(i, vec![x], y, Op::Squares(FusedSquares { x: grid, from: None }), Vec::new()));
        }
        let step = |tensor: &str, op: &str| -> Option<(usize, &'a NodeProto, &'a String)> {
            let m = *self.maker.get(tensor)?;
            let n = &self.nodes[m];
            let fits = n.op_type == op && self.is_alone(tensor);
            fits.then(|| Some((m, n, n.input.get(1)?)))?
        };
        let (mul, scaled, gain) = step(&node.input[0], "Mul")?;
        let (sub, centred, mean) = step(&scaled.input[0], "Sub")?;
        let (x, grid) = self.stored(&centred.input[0])?;
        let made = |x: Vec<String>, from: Usual| {
            self.made(i, x, y.clone(), Op::Squares(FusedSquares { x: grid, from: Some(from) }), vec![mul, sub])
        };
        if let (Some(mean), Some(gain)) = (self.constant_map(mean), self.constant_map(gain)) {
            return Some(made(vec![x], Usual::Constant([mean, gain])));
        }
        let ((mean, mean_steps), (gain, gain_steps)) = (self.signed_map(mean)?, self.signed_map(gain)?);
        Some(made(vec![x, mean, gain], Usual::Shown([mean_steps, gain_steps])))
    }

    /// The signed bytes behind a map of floats, around 0, and the steps of its channels.
    fn signed_map(&self, name: &str) -> Option<(String, Vec<f32>)> {
        let dequantize = self.dequantize(name).filter(|d| int(d, "axis", 1) == 1)?;
        let stored = &dequantize.input[0];
        let zeros = self.bytes(dequantize.input.get(2)?, DataType::Int8)?;
        let is_around_0 = zeros.iter().all(|z| *z == 0) && !self.constants.contains_key(stored.as_str());
        is_around_0.then(|| Some((stored.clone(), self.floats(&dequantize.input[1])?)))?
    }
}
