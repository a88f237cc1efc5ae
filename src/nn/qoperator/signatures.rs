//! What each input of a QOperator node is.

use tract_onnx::pb::NodeProto;

/// Where a quantised tensor stands among a node's inputs.
pub(super) struct Operand {
    /// Unused for the output.
    pub(super) tensor: usize,
    pub(super) scale: usize,
    pub(super) zero_point: Option<usize>,
    pub(super) is_zero_point_optional: bool,
}

/// A node in QOperator form.
pub(super) struct Signature {
    /// What it does in floats.
    pub(super) op: &'static str,
    pub(super) inputs: Vec<Operand>,
    /// Which of the inputs may have a scale for each of its outputs, and the axis along which those lie.
    pub(super) weights: Option<(usize, usize)>,
    /// A bias in accumulator steps.
    pub(super) bias: Option<usize>,
    /// What the accumulators are multiplied by.
    pub(super) alpha: f32,
    /// Scale and zero point of the result.
    pub(super) output: Option<Operand>,
    /// Whether the result is quantised in any case; otherwise it is in floats where no scale is given.
    pub(super) must_quantize: bool,
}

/// Inputs from `at` on: tensor, scale, zero point.
fn triple(at: usize, is_zero_point_optional: bool) -> Operand {
    Operand { tensor: at, scale: at + 1, zero_point: Some(at + 2), is_zero_point_optional }
}

/// Inputs from `at` on: scale, zero point.
fn pair(at: usize, is_zero_point_optional: bool) -> Operand {
    Operand { tensor: at, scale: at, zero_point: Some(at + 1), is_zero_point_optional }
}

/// What the inputs of `node` are; `None` where it is not in QOperator form.
///
/// ONNX: QLinearConv, QLinearMatMul. The others are onnxruntime's (`docs/ContribOperators.md` of its sources).
pub(super) fn signature(node: &NodeProto) -> Option<Signature> {
    let unary = |op| Signature {
        op,
        inputs: vec![triple(0, true)],
        weights: None,
        bias: None,
        alpha: 1.0,
        output: Some(pair(3, true)),
        must_quantize: true,
    };
    let binary = |op, is_zero_point_optional| Signature {
        inputs: vec![triple(0, is_zero_point_optional), triple(3, is_zero_point_optional)],
        output: Some(pair(6, is_zero_point_optional)),
        ..unary(op)
    };
    let attribute = |name: &str| node.attribute.iter().find(|a| a.name == name);
    Some(match node.op_type.as_str() {
        "QLinearConv" => Signature { weights: Some((1, 0)), bias: Some(8), ..binary("Conv", false) },
        "QLinearMatMul" => Signature { weights: Some((1, 1)), ..binary("MatMul", false) },
        "QGemm" => {
            let is_transposed = attribute("transB").is_some_and(|a| a.i != 0);
            Signature {
                weights: Some((1, usize::from(!is_transposed))),
                bias: Some(6),
                alpha: attribute("alpha").map_or(1.0, |a| a.f),
                output: Some(pair(7, true)),
                must_quantize: false,
                ..binary("Gemm", false)
            }
        }
        "QLinearAdd" => binary("Add", true),
        "QLinearMul" => binary("Mul", true),
        "QLinearConcat" => {
            let count = node.input.len().saturating_sub(2).div_ceil(3).max(1);
            let inputs = (0..count).map(|i| triple(2 + 3 * i, true)).collect();
            Signature { inputs, output: Some(pair(0, true)), ..unary("Concat") }
        }
        "QLinearGlobalAveragePool" => unary("GlobalAveragePool"),
        "QLinearAveragePool" => unary("AveragePool"),
        "QLinearLeakyRelu" => unary("LeakyRelu"),
        "QLinearSigmoid" => unary("Sigmoid"),
        // Before operator set 13 it means something else, and is written out for none that has it so.
        "QLinearSoftmax" if attribute("opset").is_some_and(|a| a.i >= 13) => unary("Softmax"),
        _ => return None,
    })
}
