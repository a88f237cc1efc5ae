//! `x.q ─ DQ ─ GlobalAveragePool | ReduceMean over the image ─ Q ─ y.q`

use super::super::graph_view::GraphView;
use super::super::int8::Isa;
use super::super::int8::pointwise::{self, Averaging, Window};
use super::super::tensor::{DType, Hwc, QuantizedType, TensorShape};
use super::mean;
use super::operator::{FusedOp, Inputs, IntOp, Memory, Pattern, Run, Step};

pub(super) const PATTERN: Pattern = Pattern { nodes: mean::NODES, find };

fn find(view: &GraphView<'_>, i: usize) -> Option<FusedOp> {
    let node = &view.nodes[i];
    let is_row = mean::is_to_row(node)?;
    let (name, x) = view.quantized(node.input.first()?)?;
    let closing = view.closing(&node.output[0])?;
    if !closing.is_open() {
        return None;
    }
    let op = GlobalAveragePool { x, y: closing.quantized, is_row };
    Some(FusedOp::new(view, i, vec![name], closing.y, op, closing.nodes))
}

/// The mean of each channel over the whole image: `rint((sum / n - zx) * (sx / sy)) + zy`.
#[derive(Debug)]
struct GlobalAveragePool {
    x: QuantizedType,
    y: QuantizedType,
    /// Whether the result is `[1, channels]`.
    is_row: bool,
}

impl IntOp for GlobalAveragePool {
    fn input(&self, _at: usize) -> DType {
        self.x.dtype()
    }

    fn output(&self) -> DType {
        self.y.dtype()
    }

    fn infer(&self, x: &[TensorShape]) -> Result<TensorShape, String> {
        mean::infer(x[0], self.is_row)
    }

    fn compile(&self, x: &[Hwc], isa: Isa) -> Result<Step, String> {
        let [height, width, channels] = x[0];
        let window = Window { rows: [0, height], columns: [0, width], width, outside: 0 };
        let to = Averaging { zero: self.x.zero_point(), clamp: self.y.clamp() };
        let factor = vec![self.x.scale() / self.y.scale(); channels];
        Ok(Step::bytes(GlobalAveragePoolStep { isa, window, to, factor }))
    }
}

struct GlobalAveragePoolStep {
    isa: Isa,
    window: Window,
    to: Averaging,
    factor: Vec<f32>,
}

impl Run<u8> for GlobalAveragePoolStep {
    fn name(&self) -> &'static str {
        "mean"
    }

    fn run(&self, x: Inputs<'_>, y: &mut [u8], _memory: &mut Memory<'_>) {
        pointwise::average(self.isa, self.to, self.window, x.bytes(0), &self.factor, y);
    }
}

#[cfg(test)]
mod tests {
    use super::super::operator::testing;
    use super::*;

    #[test]
    fn each_channel_has_its_mean() {
        let pool = GlobalAveragePool { x: testing::u8_type(1.0, 2), y: testing::u8_type(0.5, 1), is_row: true };
        assert_eq!(testing::bytes(&pool, &[([1, 2, 2], &[2, 10, 5, 20])]), [4, 27]);
        assert_eq!(pool.infer(&[TensorShape::image([4, 5, 6])]).map(TensorShape::dims), Ok(vec![1, 6]));
        assert!(pool.infer(&[TensorShape::image([0, 5, 6])]).is_err());
    }
}
