//! `x.q ─ DQ ─ MaxPool ─ Q (as x.q) ─ y.q`, or `x.q ─ MaxPool ─ y.q`

use super::super::graph_view::GraphView;
use super::super::int8::Isa;
use super::super::tensor::{DType, Hwc, QuantizedType, TensorShape};
use super::operator::{FusedOp, Inputs, IntOp, Memory, Pattern, Run, Step};
use super::window::SlidingWindow;

pub(super) const PATTERN: Pattern =
    Pattern { nodes: &["MaxPool"], find: |view, i| of_floats(view, i).or_else(|| of_bytes(view, i)) };

fn of_floats(view: &GraphView<'_>, i: usize) -> Option<FusedOp> {
    let node = &view.nodes[i];
    let (x, quantized) = view.quantized(node.input.first()?)?;
    let closing = view.closing(&node.output[0])?;
    // Quantising rounds nothing where scale and zero point stay.
    if closing.quantized != quantized || !closing.is_open() {
        return None;
    }
    let op = MaxPool { quantized, window: SlidingWindow::of(node)? };
    Some(FusedOp::new(view, i, vec![x], closing.y, op, closing.nodes))
}

fn of_bytes(view: &GraphView<'_>, i: usize) -> Option<FusedOp> {
    let node = &view.nodes[i];
    let (x, quantized) = view.quantized_bytes(node.input.first()?)?;
    let op = MaxPool { quantized, window: SlidingWindow::of(node)? };
    Some(FusedOp::new(view, i, vec![x], node.output[0].clone(), op, Vec::new()))
}

/// The greatest byte of each window; what lies outside counts for nothing.
#[derive(Debug)]
struct MaxPool {
    quantized: QuantizedType,
    window: SlidingWindow,
}

impl MaxPool {
    fn shape(&self, x: Hwc) -> Result<Hwc, String> {
        self.window.output(x).ok_or_else(|| "a window larger than the input".into())
    }
}

impl IntOp for MaxPool {
    fn input(&self, _at: usize) -> DType {
        self.quantized.dtype()
    }

    fn output(&self) -> DType {
        self.quantized.dtype()
    }

    fn infer(&self, x: &[TensorShape]) -> Result<TensorShape, String> {
        self.shape(x[0].hwc).map(TensorShape::image)
    }

    fn compile(&self, x: &[Hwc], _isa: Isa) -> Result<Step, String> {
        Ok(Step::bytes(MaxPoolStep { window: self.window, input: x[0], output: self.shape(x[0])? }))
    }
}

struct MaxPoolStep {
    window: SlidingWindow,
    input: Hwc,
    output: Hwc,
}

impl Run<u8> for MaxPoolStep {
    fn name(&self) -> &'static str {
        "MaxPool"
    }

    fn run(&self, x: Inputs<'_>, y: &mut [u8], _memory: &mut Memory<'_>) {
        let x = x.bytes(0);
        let [height, width, channels] = self.input;
        let [rows, columns, _] = self.output;
        let SlidingWindow { kernel, stride, pads: [top, left, ..] } = self.window;
        for (row, column) in (0..rows).flat_map(|r| (0..columns).map(move |c| (r, c))) {
            let out = &mut y[(row * columns + column) * channels..][..channels];
            out.fill(0);
            for (ky, kx) in (0..kernel[0]).flat_map(|ky| (0..kernel[1]).map(move |kx| (ky, kx))) {
                let at = (row * stride[0] + ky).checked_sub(top).zip((column * stride[1] + kx).checked_sub(left));
                let Some((iy, ix)) = at.filter(|&(iy, ix)| iy < height && ix < width) else { continue };
                let from = &x[(iy * width + ix) * channels..][..channels];
                out.iter_mut().zip(from).for_each(|(out, &v)| *out = (*out).max(v));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::operator::testing;
    use super::*;

    #[test]
    fn the_greatest_of_each_window_is_kept() {
        let window = SlidingWindow { kernel: [2, 2], stride: [2, 2], pads: [1, 0, 0, 0] };
        let pool = MaxPool { quantized: testing::u8_type(1.0, 0), window };
        assert_eq!(testing::bytes(&pool, &[([3, 2, 1], &[1, 2, 3, 9, 8, 4])]), [2, 9]);
    }
}
