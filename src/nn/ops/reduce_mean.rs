//! `x.q ─ DQ ─ [· itself] ─ ReduceMean over the image ─ y`: a mean, or one of squares, that ends in floats.

use super::super::graph_view::GraphView;
use super::super::int8::{Isa, pointwise};
use super::super::tensor::{DType, Hwc, QuantizedType, TensorShape};
use super::mean;
use super::operator::{FusedOp, Inputs, IntOp, Memory, Pattern, Run, Step};

pub(super) const PATTERN: Pattern = Pattern { nodes: mean::NODES, find };

fn find(view: &GraphView<'_>, i: usize) -> Option<FusedOp> {
    let node = &view.nodes[i];
    let is_row = mean::is_to_row(node)?;
    let (input, y) = (node.input.first()?, node.output[0].clone());
    let made = |name, x, is_squared, nodes| {
        Some(FusedOp::new(view, i, vec![name], y, ReduceMean { x, is_squared, is_row }, nodes))
    };
    if let Some((name, x)) = view.quantized(input) {
        return made(name, x, false, Vec::new());
    }
    let (m, square) = view.only_maker(input)?;
    let [a, b] = &square.input[..] else { return None };
    let (name, x) = view.quantized(a).filter(|_| square.op_type == "Mul" && a == b)?;
    made(name, x, true, vec![m])
}

/// The mean of each channel over the whole image, `sum * (sx / n)` of whole numbers around the zero point, or that of
/// squares, `sum * (sx^2 / n)`, in floats.
#[derive(Debug)]
struct ReduceMean {
    x: QuantizedType,
    is_squared: bool,
    /// Whether the result is `[1, channels]`.
    is_row: bool,
}

impl IntOp for ReduceMean {
    fn input(&self, _at: usize) -> DType {
        self.x.dtype()
    }

    fn output(&self) -> DType {
        DType::F32
    }

    fn infer(&self, x: &[TensorShape]) -> Result<TensorShape, String> {
        mean::infer(x[0], self.is_row)
    }

    fn compile(&self, x: &[Hwc], isa: Isa) -> Result<Step, String> {
        let [height, width, _] = x[0];
        let scale = self.x.scale();
        let unit = if self.is_squared { scale * scale } else { scale };
        let factor = unit / (height * width) as f32;
        let (zero_point, is_squared) = (self.x.zero_point(), self.is_squared);
        Ok(Step::floats(ReduceMeanStep { isa, zero_point, is_squared, factor }))
    }
}

struct ReduceMeanStep {
    isa: Isa,
    zero_point: u8,
    is_squared: bool,
    factor: f32,
}

impl Run<f32> for ReduceMeanStep {
    fn name(&self) -> &'static str {
        "mean in floats"
    }

    fn run(&self, x: Inputs<'_>, y: &mut [f32], _memory: &mut Memory<'_>) {
        let mean = if self.is_squared { pointwise::squares } else { pointwise::sums };
        mean(self.isa, self.zero_point, self.factor, x.bytes(0), y);
    }
}

#[cfg(test)]
mod tests {
    use super::super::operator::testing;
    use super::*;

    #[test]
    fn a_mean_and_a_mean_of_squares_are_floats() {
        let image = ([1, 2, 2], &[2, 10, 5, 20][..]);
        let mean = |is_squared| ReduceMean { x: testing::u8_type(2.0, 2), is_squared, is_row: false };
        assert_eq!(testing::floats(&mean(false), &[image]), [3.0, 26.0]);
        assert_eq!(testing::floats(&mean(true), &[image]), [18.0, 776.0]);
    }
}
