//! Functions of one stored number: a table of 256 bytes, whatever they cost.

use tract_onnx::pb::NodeProto;

use super::super::{Fused, FusedTable, Grid, Op};
use super::attributes::float;
use super::{Closing, View};

impl View<'_> {
    pub(super) fn table(&self, i: usize) -> Option<Fused> {
        let node = &self.nodes[i];
        let (x, grid) = self.stored(node.input.first()?)?;
        let function = self.function(node)?;
        let Closing { nodes, y, grid: on, low, high } = self.closing(&node.output[0])?;
        let table = std::array::from_fn(|byte| {
            let real = (byte as f32 - f32::from(grid.zero)) * grid.scale;
            on_grid(function(real), on).clamp(low, high)
        });
        Some(self.made(i, vec![x], y, Op::Table(FusedTable { x: grid, y: on, table }), nodes))
    }

    /// What a node makes of one number.
    fn function(&self, node: &NodeProto) -> Option<Box<dyn Fn(f32) -> f32>> {
        let bound = |at: usize, none: f32| match node.input.get(at).filter(|n| !n.is_empty()) {
            None => Some(none),
            Some(name) => self.scalar(name),
        };
        Some(match node.op_type.as_str() {
            "LeakyRelu" => {
                let alpha = float(node, "alpha", 0.01);
                Box::new(move |x| if x < 0.0 { x * alpha } else { x })
            }
            "Sigmoid" => Box::new(|x| 1.0 / (1.0 + (-x).exp())),
            "HardSigmoid" => {
                let (alpha, beta) = (float(node, "alpha", 0.2), float(node, "beta", 0.5));
                Box::new(move |x| (alpha * x + beta).clamp(0.0, 1.0))
            }
            "Tanh" => Box::new(f32::tanh),
            "Relu" => Box::new(|x| x.max(0.0)),
            // Bounds are attributes before operator set 11.
            "Clip" if node.attribute.is_empty() => {
                let (low, high) = (bound(1, f32::MIN)?, bound(2, f32::MAX)?);
                Box::new(move |x| x.max(low).min(high))
            }
            _ => return None,
        })
    }
}

/// The byte that stores `value`, as QuantizeLinear has it; what is no number becomes the zero point.
fn on_grid(value: f32, grid: Grid) -> u8 {
    super::on_grid(value, grid).unwrap_or(grid.zero)
}
