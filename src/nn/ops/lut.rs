//! `x.q ─ DQ ─ LeakyRelu | Sigmoid | … ─ Q ─ y.q`: functions of one number, as a table of 256 bytes, whatever they cost.

use tract_onnx::pb::NodeProto;

use super::super::attributes::float;
use super::super::graph_view::{Closing, GraphView};
use super::super::int8::Isa;
use super::super::tensor::{DType, Hwc, TensorShape};
use super::operator::{FusedOp, Inputs, IntOp, Memory, Pattern, Run, Step};

pub(super) const PATTERN: Pattern =
    Pattern { nodes: &["LeakyRelu", "Sigmoid", "HardSigmoid", "Tanh", "Relu", "Clip"], find };

fn find(view: &GraphView<'_>, i: usize) -> Option<FusedOp> {
    let node = &view.nodes[i];
    let (name, x) = view.quantized(node.input.first()?)?;
    let function = function(view, node)?;
    let Closing { nodes, y, quantized, low, high } = view.closing(&node.output[0])?;
    let table = std::array::from_fn(|byte| {
        let real = (byte as f32 - f32::from(x.zero_point())) * x.scale();
        // What is not a number becomes the zero point.
        quantized.quantize(function(real)).unwrap_or(quantized.zero_point()).clamp(low, high)
    });
    let op = Lut { x: x.dtype(), y: quantized.dtype(), table };
    Some(FusedOp::new(view, i, vec![name], y, op, nodes))
}

/// What a node makes of one number.
fn function(view: &GraphView<'_>, node: &NodeProto) -> Option<Box<dyn Fn(f32) -> f32>> {
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
            let (min, max) = (view.bound(node, 1, f32::MIN)?, view.bound(node, 2, f32::MAX)?);
            Box::new(move |x| x.max(min).min(max))
        }
        _ => return None,
    })
}

/// Another byte for each byte.
#[derive(Debug)]
struct Lut {
    x: DType,
    y: DType,
    table: [u8; 256],
}

impl IntOp for Lut {
    fn input(&self, _at: usize) -> DType {
        self.x
    }

    fn output(&self) -> DType {
        self.y
    }

    fn takes_rows(&self) -> bool {
        true
    }

    fn infer(&self, x: &[TensorShape]) -> Result<TensorShape, String> {
        Ok(x[0])
    }

    fn compile(&self, _x: &[Hwc], _isa: Isa) -> Result<Step, String> {
        Ok(Step::bytes(LutStep { table: Box::new(self.table) }))
    }
}

struct LutStep {
    table: Box<[u8; 256]>,
}

impl Run<u8> for LutStep {
    fn name(&self) -> &'static str {
        "function"
    }

    fn run(&self, x: Inputs<'_>, y: &mut [u8], _memory: &mut Memory<'_>) {
        y.iter_mut().zip(x.bytes(0)).for_each(|(y, &x)| *y = self.table[usize::from(x)]);
    }
}
