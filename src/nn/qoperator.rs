//! QOperator form written out as QDQ form: `QLinearConv` and its like become DequantizeLinear, the operator on floats,
//! and QuantizeLinear, which is how ONNX and onnxruntime define them.
//!
//! ```text
//! x.q ─ QLinearConv(w.q, b) ─ y.q        x.q ─ DQ ─ Conv(DQ(w.q), DQ(b)) ─ Q ─ y.q
//! ```
//!
//! After it fusion finds the integers again ([`super::fusion`]), and what it does not find is run by tract, with our
//! operators or without. A bias of 32 bits has the accumulators' parameters: the scales of input and weights multiplied, zero
//! point 0.

mod signatures;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto};

use super::{check, onnx};
use crate::error::{Error, ErrorKind, Result};
use signatures::{Operand, Signature, signature};

/// Whether a node is one of ONNX's or of onnxruntime's own.
fn is_known(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx" | "com.microsoft")
}

/// `model` with every such node written out; `origin` names it.
///
/// # Errors
/// `Corrupt` with the node's name where an input is missing, a scale or zero point is no constant of the file or not as
/// many as it should be; `Refused` where channels come last.
pub(super) fn to_qdq<'m>(model: &'m ModelProto, origin: &str) -> Result<Cow<'m, ModelProto>> {
    let is_ours = |n: &NodeProto| is_known(&n.domain) && (signature(n).is_some() || !n.domain.is_empty());
    let Some(graph) = model.graph.as_ref().filter(|g| g.node.iter().any(is_ours)) else {
        return Ok(Cow::Borrowed(model));
    };
    let mut writer = QdqWriter::of(graph);
    for node in &graph.node {
        match signature(node).filter(|_| is_known(&node.domain)) {
            Some(signature) => writer.node(node, &signature).map_err(|problem| problem.of(node, origin))?,
            None => writer.nodes.push(standard(node.clone())),
        }
    }
    let QdqWriter { nodes, added, .. } = writer;
    let mut model = model.clone();
    if let Some(graph) = &mut model.graph {
        graph.node = nodes;
        graph.initializer.extend(added);
    }
    Ok(Cow::Owned(model))
}

/// onnxruntime's own QuantizeLinear and DequantizeLinear are ONNX's.
fn standard(mut node: NodeProto) -> NodeProto {
    if is_known(&node.domain) && matches!(node.op_type.as_str(), "QuantizeLinear" | "DequantizeLinear") {
        node.domain.clear();
    }
    node
}

/// What is wrong with a node.
enum Problem {
    Corrupt(String),
    Refused(&'static str),
}

impl Problem {
    fn of(self, node: &NodeProto, origin: &str) -> Error {
        let called = check::called(node);
        match self {
            Self::Corrupt(what) => {
                Error::new(ErrorKind::Corrupt, format!("{origin}: {called} {what}: export or copy it again"))
            }
            Self::Refused(what) => Error::new(ErrorKind::Refused, format!("{origin}: {called} {what}")),
        }
    }
}

fn corrupt<T>(what: String) -> std::result::Result<T, Problem> {
    Err(Problem::Corrupt(what))
}

/// Scales and zero points of one tensor: one of each, or one for each of its channels.
struct ChannelQuantParams {
    scales: Vec<f32>,
    zero_points: Vec<u8>,
    dtype: DataType,
}

struct QdqWriter<'m> {
    constants: HashMap<&'m str, &'m TensorProto>,
    nodes: Vec<NodeProto>,
    added: Vec<TensorProto>,
    /// Names of tensors and of nodes.
    taken: HashSet<String>,
}

impl<'m> QdqWriter<'m> {
    fn of(graph: &'m GraphProto) -> Self {
        let named = graph.node.iter().flat_map(|n| n.input.iter().chain(&n.output).chain([&n.name]));
        let given = graph.input.iter().map(|i| &i.name).chain(graph.initializer.iter().map(|t| &t.name));
        Self {
            constants: graph.initializer.iter().map(|t| (t.name.as_str(), t)).collect(),
            nodes: Vec::new(),
            added: Vec::new(),
            taken: named.chain(given).cloned().collect(),
        }
    }

    fn node(&mut self, node: &NodeProto, signature: &Signature) -> std::result::Result<(), Problem> {
        let is_set = |name: &str| node.attribute.iter().any(|a| a.name == name && a.i != 0);
        if is_set("channels_last") {
            return Err(Problem::Refused("has its channels last: export it with channels first"));
        }
        let [y] = &node.output[..] else { return corrupt(format!("has {} outputs instead of 1", node.output.len())) };
        let (mut inputs, mut inputs_params) = (Vec::new(), Vec::new());
        let dtype = signature.inputs.iter().find_map(|at| self.type_of_zero_point(node, at)).unwrap_or(DataType::Uint8);
        for (i, at) in signature.inputs.iter().enumerate() {
            let x = given(node, at.tensor)
                .ok_or_else(|| Problem::Corrupt(format!("has no input {}, {}", at.tensor, ordinal(i))))?;
            let params = self.quant_params(node, at, dtype)?;
            let axis = signature.weights.filter(|(of, _)| *of == i).map(|(_, axis)| axis);
            self.fits(x, &params, axis)?;
            inputs.push(self.dequantized(y, x, &format!("x{i}"), &params, axis.unwrap_or(0)));
            inputs_params.push(params);
        }
        if let Some(bias) = signature.bias.and_then(|at| given(node, at)) {
            inputs.push(self.bias(y, bias, &inputs_params, signature.alpha)?);
        }
        let last = signature.output.as_ref().filter(|at| given(node, at.scale).is_some() || signature.must_quantize);
        let params = last.map(|at| self.quant_params(node, at, dtype)).transpose()?;
        let real = if params.is_some() { self.fresh(&format!("{y}.real")) } else { y.clone() };
        let is_kept = |a: &&AttributeProto| !matches!(a.name.as_str(), "channels_last" | "opset");
        self.nodes.push(NodeProto {
            op_type: signature.op.into(),
            name: if node.name.is_empty() { y.clone() } else { node.name.clone() },
            input: inputs,
            output: vec![real.clone()],
            attribute: node.attribute.iter().filter(is_kept).cloned().collect(),
            ..NodeProto::default()
        });
        if let Some(params) = params {
            self.convert("QuantizeLinear", &real, "y", &params, 0, y.clone());
        }
        Ok(())
    }

    fn type_of_zero_point(&self, node: &NodeProto, at: &Operand) -> Option<DataType> {
        DataType::try_from(self.constants.get(given(node, at.zero_point?)?)?.data_type).ok()
    }

    /// The parameters of an input or of the output. Zero points that may be left out are 0, of the type that the others have.
    fn quant_params(
        &self,
        node: &NodeProto,
        at: &Operand,
        other: DataType,
    ) -> std::result::Result<ChannelQuantParams, Problem> {
        let constant = |at: usize, what: &str| match given(node, at) {
            None => corrupt(format!("has no input {at}, a {what}")),
            Some(name) => match self.constants.get(name) {
                None => corrupt(format!("has a {what} `{name}` that is no constant of the file")),
                Some(tensor) => Ok(*tensor),
            },
        };
        let tensor = constant(at.scale, "scale")?;
        let scales = onnx::floats(tensor).unwrap_or_default();
        if scales.is_empty() || !scales.iter().all(|&s| check::is_scale(s)) {
            return corrupt(format!("has a scale `{}` that is no positive number", tensor.name));
        }
        let Some(zero) = at.zero_point.filter(|&z| !at.is_zero_point_optional || given(node, z).is_some()) else {
            return Ok(ChannelQuantParams { zero_points: vec![0; scales.len()], scales, dtype: other });
        };
        let tensor = constant(zero, "zero point")?;
        let (dtype, mut zero_points) = match (DataType::try_from(tensor.data_type), onnx::bytes(tensor)) {
            (Ok(of @ (DataType::Int8 | DataType::Uint8)), Some(zero_points)) => (of, zero_points),
            _ => return corrupt(format!("has a zero point `{}` that is no byte", tensor.name)),
        };
        if let [one] = zero_points[..] {
            zero_points = vec![one; scales.len()];
        }
        if zero_points.len() != scales.len() {
            return corrupt(format!("has {} scales and {} zero points", scales.len(), zero_points.len()));
        }
        Ok(ChannelQuantParams { scales, zero_points, dtype })
    }

    /// Whether `x` has as many scales as it should have: one, or one for each of what lies along `axis`.
    fn fits(&self, x: &str, params: &ChannelQuantParams, axis: Option<usize>) -> std::result::Result<(), Problem> {
        let found = params.scales.len();
        let stored = self.constants.get(x);
        if stored.is_some_and(|t| t.data_type != params.dtype as i32) {
            return corrupt(format!("has a zero point of another type than `{x}`"));
        }
        let channels = axis.and_then(|axis| stored?.dims.get(axis)).and_then(|&n| usize::try_from(n).ok());
        if found == 1 || Some(found) == channels {
            return Ok(());
        }
        match channels {
            Some(channels) => corrupt(format!("has {found} scales for the {channels} outputs of `{x}`")),
            None => corrupt(format!("has {found} scales for `{x}`, which takes one")),
        }
    }

    /// `x` dequantised.
    fn dequantized(&mut self, y: &str, x: &str, role: &str, params: &ChannelQuantParams, axis: usize) -> String {
        let name = self.fresh(&format!("{y}.{role}"));
        self.convert("DequantizeLinear", x, role, params, axis, name.clone());
        name
    }

    /// A bias in accumulator steps, as floats.
    fn bias(
        &mut self,
        y: &str,
        bias: &str,
        inputs: &[ChannelQuantParams],
        alpha: f32,
    ) -> std::result::Result<String, Problem> {
        let Some(stored) = self.constants.get(bias) else {
            return corrupt(format!("has a bias `{bias}` that is no constant of the file"));
        };
        let (x, weights) = (inputs[0].scales[0], &inputs[1].scales);
        let scale = |w: &f32| alpha * (x * w);
        let count = stored.dims.last().map_or(1, |&n| usize::try_from(n).unwrap_or(0));
        let scales: Vec<f32> = match weights[..] {
            [one] => vec![scale(&one); count],
            _ => weights.iter().map(scale).collect(),
        };
        if stored.data_type != DataType::Int32 as i32 || scales.len() != count || count == 0 {
            return corrupt(format!("has a bias `{bias}` that is not one whole number of 32 bits for each output"));
        }
        if scales.iter().any(|s| !s.is_normal()) {
            return corrupt(format!("has a bias `{bias}` on a grid too fine or too coarse for a float"));
        }
        let axis = stored.dims.len().saturating_sub(1);
        let params = ChannelQuantParams { zero_points: vec![0; 4 * count], scales, dtype: DataType::Int32 };
        Ok(self.dequantized(y, bias, "bias", &params, axis))
    }

    /// Adds a (de)quantisation of `x` with its constants.
    fn convert(&mut self, op: &str, x: &str, role: &str, params: &ChannelQuantParams, axis: usize, output: String) {
        let name = self.fresh(&format!("{output}.{role}.{op}"));
        let dims = if params.scales.len() == 1 { vec![] } else { vec![params.scales.len() as i64] };
        let scale = self.constant(
            &format!("{name}.scale"),
            &dims,
            DataType::Float,
            params.scales.iter().flat_map(|s| s.to_le_bytes()).collect(),
        );
        let zero = self.constant(&format!("{name}.zero"), &dims, params.dtype, params.zero_points.clone());
        let axis = onnx::Attr::Int("axis", axis as i64).proto();
        self.nodes.push(NodeProto {
            op_type: op.into(),
            name,
            input: vec![x.to_owned(), scale, zero],
            output: vec![output],
            attribute: if params.scales.len() == 1 { vec![] } else { vec![axis] },
            ..NodeProto::default()
        });
    }

    fn constant(&mut self, name: &str, dims: &[i64], data_type: DataType, raw_data: Vec<u8>) -> String {
        let name = self.fresh(name);
        let (dims, data_type) = (dims.to_vec(), data_type as i32);
        self.added.push(TensorProto { name: name.clone(), dims, data_type, raw_data, ..TensorProto::default() });
        name
    }

    /// A name that nothing has yet.
    fn fresh(&mut self, name: &str) -> String {
        let mut name = name.to_owned();
        while !self.taken.insert(name.clone()) {
            name.push('\'');
        }
        name
    }
}

/// The name of input `at`, if there is one.
fn given(node: &NodeProto, at: usize) -> Option<&str> {
    node.input.get(at).map(String::as_str).filter(|n| !n.is_empty())
}

fn ordinal(operand: usize) -> String {
    format!("its operand {}", operand + 1)
}
