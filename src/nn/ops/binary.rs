//! What operators on two quantised tensors share.

use super::super::graph_view::{Closing, GraphView};
use super::super::int8::Clamp;
use super::super::int8::pointwise::BinaryParams;
use super::super::tensor::{DType, QuantizedType};
use super::operator::{FusedOp, IntOp};

/// Two quantised tensors that become a third one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Binary {
    pub(super) x: [QuantizedType; 2],
    pub(super) y: QuantizedType,
    pub(super) low: u8,
    pub(super) high: u8,
}

impl Binary {
    /// The operator that node `i` stands for, if it reads two quantised tensors and its result is quantised.
    pub(super) fn find<O: IntOp + 'static>(view: &GraphView<'_>, i: usize, op: impl Fn(Self) -> O) -> Option<FusedOp> {
        let node = &view.nodes[i];
        let (a, a_type) = view.quantized(node.input.first()?)?;
        let (b, b_type) = view.quantized(node.input.get(1)?)?;
        let Closing { nodes, y, quantized, low, high } = view.closing(&node.output[0])?;
        let op = op(Self { x: [a_type, b_type], y: quantized, low, high });
        Some(FusedOp::new(view, i, vec![a, b], y, op, nodes))
    }

    pub(super) fn input(&self, at: usize) -> DType {
        self.x[at].dtype()
    }

    pub(super) fn output(&self) -> DType {
        self.y.dtype()
    }

    /// As kernels take it.
    pub(super) fn params(&self) -> BinaryParams {
        let clamp = Clamp { zero: self.y.zero_point(), low: self.low, high: self.high };
        let (scales, zeros) = (self.x.map(QuantizedType::scale), self.x.map(|x| x.zero_point().into()));
        BinaryParams { scales, zeros, y: self.y.scale(), clamp }
    }
}
