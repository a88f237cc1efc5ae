//! `x.q ─ DQ ─ AveragePool ─ Q ─ y.q`

use super::super::attributes::int;
use super::super::graph_view::GraphView;
use super::super::int8::Isa;
use super::super::int8::pointwise::{self, Averaging, Window};
use super::super::tensor::{DType, Hwc, QuantizedType, TensorShape};
use super::operator::{FusedOp, Inputs, IntOp, Memory, Pattern, Run, Step};
use super::window::SlidingWindow;

pub(super) const PATTERN: Pattern = Pattern { nodes: &["AveragePool"], find };

/// Sums of more bytes would not fit into 32 bits.
const CELLS_MAX: usize = 1 << 24;

/// One that is read only by a Concat is part of that.
fn find(view: &GraphView<'_>, i: usize) -> Option<FusedOp> {
    let node = &view.nodes[i];
    let (name, x) = view.quantized(node.input.first()?)?;
    let closing = view.closing(&node.output[0])?;
    if !closing.is_open() {
        return None;
    }
    let counts_pads = int(node, "count_include_pad", 0) != 0;
    let op = AveragePool { x, y: closing.quantized, window: SlidingWindow::of(node)?, counts_pads };
    Some(FusedOp::new(view, i, vec![name], closing.y, op, closing.nodes))
}

/// The mean of each window: `rint((sum / n - zx) * (sx / sy)) + zy`.
#[derive(Clone, Debug)]
struct AveragePool {
    x: QuantizedType,
    y: QuantizedType,
    window: SlidingWindow,
    /// Whether what lies outside of the image counts as zeros, or not at all.
    counts_pads: bool,
}

impl AveragePool {
    fn shape(&self, x: Hwc) -> Result<Hwc, String> {
        let cells = self.window.kernel[0].checked_mul(self.window.kernel[1]);
        let is_ours = cells.is_some_and(|n| (1..=CELLS_MAX).contains(&n)) && !x.contains(&0);
        let shape = if is_ours { self.window.output(x) } else { None };
        shape.ok_or_else(|| "a window larger than the input".into())
    }
}

impl IntOp for AveragePool {
    fn input(&self, _at: usize) -> DType {
        self.x.dtype()
    }

    fn output(&self) -> DType {
        self.y.dtype()
    }

    fn infer(&self, x: &[TensorShape]) -> Result<TensorShape, String> {
        self.shape(x[0].hwc).map(TensorShape::image)
    }

    fn compile(&self, x: &[Hwc], isa: Isa) -> Result<Step, String> {
        let to = Averaging { zero: self.x.zero_point(), clamp: self.y.clamp() };
        let factor = vec![self.x.scale() / self.y.scale(); x[0][2]];
        let (window, counts_pads) = (self.window, self.counts_pads);
        Ok(Step::bytes(AveragePoolStep {
            isa,
            window,
            counts_pads,
            input: x[0],
            output: self.shape(x[0])?,
            to,
            factor,
        }))
    }
}

struct AveragePoolStep {
    isa: Isa,
    window: SlidingWindow,
    counts_pads: bool,
    input: Hwc,
    output: Hwc,
    to: Averaging,
    factor: Vec<f32>,
}

impl Run<u8> for AveragePoolStep {
    fn name(&self) -> &'static str {
        "AveragePool"
    }

    fn run(&self, x: Inputs<'_>, y: &mut [u8], _memory: &mut Memory<'_>) {
        let x = x.bytes(0);
        let ([height, width, channels], [_, columns, _]) = (self.input, self.output);
        let SlidingWindow { kernel, stride, pads: [top, left, ..] } = self.window;
        let inside = |at: usize, axis: usize, before: usize, size: usize| {
            let first = at * stride[axis];
            [first.saturating_sub(before), (first + kernel[axis]).saturating_sub(before).min(size)]
        };
        for (i, y) in y.chunks_exact_mut(channels).enumerate() {
            let (rows, columns) = (inside(i / columns, 0, top, height), inside(i % columns, 1, left, width));
            let seen = (rows[1] - rows[0]) * (columns[1] - columns[0]);
            let outside = if self.counts_pads { kernel[0] * kernel[1] - seen } else { 0 };
            let window = Window { rows, columns, width, outside: outside as u32 };
            pointwise::average(self.isa, self.to, window, x, &self.factor, y);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::operator::testing;
    use super::*;

    #[test]
    fn padding_counts_as_zeros_or_not_at_all() {
        let window = SlidingWindow { kernel: [1, 2], stride: [1, 2], pads: [0, 1, 0, 0] };
        let (x, y) = (testing::u8_type(1.0, 4), testing::u8_type(0.5, 10));
        let made = |counts_pads| testing::bytes(&AveragePool { x, y, window, counts_pads }, &[([1, 3, 1], &[8, 5, 9])]);
        assert_eq!(made(false), [18, 16]);
        assert_eq!(made(true), [14, 16]);
    }
}
