//! Which inputs of a QOperator node are what.

use tract_onnx::pb::NodeProto;

/// Where a stored tensor stands among a node's inputs.
pub(super) struct Stored {
    /// Unused for the output.
    pub(super) tensor: usize,
    pub(super) scale: usize,
    pub(super) zero: Option<usize>,
    pub(super) is_zero_optional: bool,
}

/// A node in QOperator form.
pub(super) struct Form {
    /// What it does in floats.
    pub(super) op: &'static str,
    pub(super) inputs: Vec<Stored>,
    /// Which of the inputs may have a scale for each of its outputs, and the axis along which those lie.
    pub(super) weights: Option<(usize, usize)>,
    /// A bias in accumulator steps.
    pub(super) bias: Option<usize>,
    /// What the accumulators are multiplied by.
    pub(super) alpha: f32,
    /// Scale and zero point of the result.
    pub(super) output: Option<Stored>,
    /// Whether the result is stored in any case; in floats where no scale is given, otherwise.
    pub(super) must_store: bool,
}

/// Inputs from `at` on: tensor, scale, zero point.
fn triple(at: usize, is_zero_optional: bool) -> Stored {
    Stored { tensor: at, scale: at + 1, zero: Some(at + 2), is_zero_optional }
}

/// Inputs from `at` on: scale, zero point.
fn pair(at: usize, is_zero_optional: bool) -> Stored {
    Stored { tensor: at, scale: at, zero: Some(at + 1), is_zero_optional }
}

/// How `node` is read; none where it is not in QOperator form.
///
/// ONNX: QLinearConv, QLinearMatMul. The others are onnxruntime's (`docs/ContribOperators.md` of its sources).
pub(super) fn form(node: &NodeProto) -> Option<Form> {
    let unary = |op| Form {
        op,
        inputs: vec![triple(0, true)],
        weights: None,
        bias: None,
        alpha: 1.0,
        output: Some(pair(3, true)),
        must_store: true,
    };
    let binary = |op, is_zero_optional| Form {
        inputs: vec![triple(0, is_zero_optional), triple(3, is_zero_optional)],
        output: Some(pair(6, is_zero_optional)),
        ..unary(op)
    };
    let attribute = |name: &str| node.attribute.iter().find(|a| a.name == name);
    Some(match node.op_type.as_str() {
        "QLinearConv" => Form { weights: Some((1, 0)), bias: Some(8), ..binary("Conv", false) },
        "QLinearMatMul" => Form { weights: Some((1, 1)), ..binary("MatMul", false) },
        "QGemm" => {
            let is_turned = attribute("transB").is_some_and(|a| a.i != 0);
            Form {
                weights: Some((1, usize::from(!is_turned))),
                bias: Some(6),
                alpha: attribute("alpha").map_or(1.0, |a| a.f),
                output: Some(pair(7, true)),
                must_store: false,
                ..binary("Gemm", false)
            }
        }
        "QLinearAdd" => binary("Add", true),
        "QLinearMul" => binary("Mul", true),
        "QLinearConcat" => {
            let count = node.input.len().saturating_sub(2).div_ceil(3).max(1);
            let inputs = (0..count).map(|i| triple(2 + 3 * i, true)).collect();
            Form { inputs, output: Some(pair(0, true)), ..unary("Concat") }
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
