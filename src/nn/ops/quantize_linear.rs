//! `x ─ [LeakyRelu] ─ Q ─ y.q`: floats on their way to another operator.

use std::collections::HashSet;

use super::super::attributes::float;
use super::super::graph_view::GraphView;
use super::super::int8::Isa;
use super::super::int8::pointwise::{self, Quantizing};
use super::super::tensor::{DType, Hwc, QuantizedType, TensorShape};
use super::operator::{FusedOp, Inputs, IntOp, Memory, Run, Step};

/// A quantisation of floats whose result is one of those that other operators read.
pub(in crate::nn) fn find(view: &GraphView<'_>, i: usize, read: &HashSet<String>) -> Option<FusedOp> {
    let node = &view.nodes[i];
    if node.op_type != "QuantizeLinear" || !read.contains(&node.output[0]) {
        return None;
    }
    let y = view.quantized_type(node)?;
    let leaky = view.only_maker(&node.input[0]).filter(|(_, n)| n.op_type == "LeakyRelu");
    let (x, leak, nodes) = match leaky {
        Some((m, leaky)) => (&leaky.input[0], Some(float(leaky, "alpha", 0.01)), vec![m]),
        None => (&node.input[0], None, Vec::new()),
    };
    let is_constant = view.constant(x).is_some();
    let op = QuantizeLinear { y, leak };
    (!is_constant).then(|| FusedOp::new(view, i, vec![x.clone()], node.output[0].clone(), op, nodes))
}

/// Floats that become bytes, as QuantizeLinear does it: true division, half to even.
#[derive(Debug)]
struct QuantizeLinear {
    y: QuantizedType,
    /// What negative values are multiplied by first.
    leak: Option<f32>,
}

impl IntOp for QuantizeLinear {
    fn input(&self, _at: usize) -> DType {
        DType::F32
    }

    fn output(&self) -> DType {
        self.y.dtype()
    }

    fn infer(&self, x: &[TensorShape]) -> Result<TensorShape, String> {
        Ok(x[0])
    }

    fn compile(&self, _x: &[Hwc], isa: Isa) -> Result<Step, String> {
        let to = Quantizing { scale: self.y.scale(), leak: self.leak.unwrap_or(1.0), clamp: self.y.clamp() };
        Ok(Step::bytes(QuantizeLinearStep { isa, to }))
    }
}

struct QuantizeLinearStep {
    isa: Isa,
    to: Quantizing,
}

impl Run<u8> for QuantizeLinearStep {
    fn name(&self) -> &'static str {
        "QuantizeLinear"
    }

    fn run(&self, x: Inputs<'_>, y: &mut [u8], _memory: &mut Memory<'_>) {
        pointwise::quantize(self.isa, self.to, x.floats(0), y);
    }
}
