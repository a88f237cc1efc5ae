//! QOperator form written out as QDQ form: `QLinearConv` and its like become DequantizeLinear, the operator on floats,
//! and QuantizeLinear, which is how ONNX and onnxruntime define them.
//!
//! ```text
//! x.q ─ QLinearConv(w.q, b) ─ y.q        x.q ─ DQ ─ Conv(DQ(w.q), DQ(b)) ─ Q ─ y.q
//! ```
//!
//! After it fusion finds the integers again ([`super::fusion`]), and what it does not find is run by tract, with our
//! operators or without. A bias of 32 bits is on the accumulators' grid: the scales of input and weights multiplied, zero
//! point 0.

mod forms;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto};

use super::{check, onnx};
use crate::error::{Error, ErrorKind, Result};
use forms::{Form, Stored, form};

/// Whether a node is one of ONNX's or of onnxruntime's own.
fn is_known(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx" | "com.microsoft")
}

/// `model` with every such node written out; `origin` names it.
///
/// # Errors
/// `Corrupt` with the node's name where an input is missing, a scale or zero point is no constant of the file or not as
/// many as it should be; `Refused` where channels come last.
pub(super) fn unfolded<'m>(model: &'m ModelProto, origin: &str) -> Result<Cow<'m, ModelProto>> {
    let is_ours = |n: &NodeProto| is_known(&n.domain) && (form(n).is_some() || !n.domain.is_empty());
    let Some(graph) = model.graph.as_ref().filter(|g| g.node.iter().any(is_ours)) else {
        return Ok(Cow::Borrowed(model));
    };
    let mut unfolding = Unfolding::of(graph);
    for node in &graph.node {
        match form(node).filter(|_| is_known(&node.domain)) {
            Some(form) => unfolding.node(node, &form).map_err(|problem| problem.of(node, origin))?,
            None => unfolding.nodes.push(standard(node.clone())),
        }
    }
    let Unfolding { nodes, added, .. } = unfolding;
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

/// Scales and zero points of one tensor, and the axis along which they lie where they are several.
struct Grid {
    scales: Vec<f32>,
    zeros: Vec<u8>,
    zero_type: DataType,
}

struct Unfolding<'m> {
    constants: HashMap<&'m str, &'m TensorProto>,
    nodes: Vec<NodeProto>,
    added: Vec<TensorProto>,
    /// Names of tensors and of nodes.
    taken: HashSet<String>,
}

impl<'m> Unfolding<'m> {
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

    fn node(&mut self, node: &NodeProto, form: &Form) -> std::result::Result<(), Problem> {
        let is_set = |name: &str| node.attribute.iter().any(|a| a.name == name && a.i != 0);
        if is_set("channels_last") {
            return Err(Problem::Refused("has its channels last: export it with channels first"));
        }
        let [y] = &node.output[..] else { return corrupt(format!("has {} outputs instead of 1", node.output.len())) };
        let (mut inputs, mut grids) = (Vec::new(), Vec::new());
        let zero_type = form.inputs.iter().find_map(|at| self.type_of_zero(node, at)).unwrap_or(DataType::Uint8);
        for (i, at) in form.inputs.iter().enumerate() {
            let x = given(node, at.tensor)
                .ok_or_else(|| Problem::Corrupt(format!("has no input {}, {}", at.tensor, ordinal(i))))?;
            let grid = self.grid(node, at, zero_type)?;
            let axis = form.weights.filter(|(of, _)| *of == i).map(|(_, axis)| axis);
            self.fits(x, &grid, axis)?;
            inputs.push(self.dequantized(y, x, &format!("x{i}"), &grid, axis.unwrap_or(0)));
            grids.push(grid);
        }
        if let Some(bias) = form.bias.and_then(|at| given(node, at)) {
            inputs.push(self.bias(y, bias, &grids, form.alpha)?);
        }
        let last = form.output.as_ref().filter(|at| given(node, at.scale).is_some() || form.must_store);
        let grid = last.map(|at| self.grid(node, at, zero_type)).transpose()?;
        let real = if grid.is_some() { self.fresh(&format!("{y}.real")) } else { y.clone() };
        let is_kept = |a: &&AttributeProto| !matches!(a.name.as_str(), "channels_last" | "opset");
        self.nodes.push(NodeProto {
            op_type: form.op.into(),
            name: if node.name.is_empty() { y.clone() } else { node.name.clone() },
            input: inputs,
            output: vec![real.clone()],
            attribute: node.attribute.iter().filter(is_kept).cloned().collect(),
            ..NodeProto::default()
        });
        if let Some(grid) = grid {
            self.convert("QuantizeLinear", &real, "y", &grid, 0, y.clone());
        }
        Ok(())
    }

    fn type_of_zero(&self, node: &NodeProto, at: &Stored) -> Option<DataType> {
        DataType::try_from(self.constants.get(given(node, at.zero?)?)?.data_type).ok()
    }

    /// The grid of an input or of the output. Zero points that may be left out are 0, of the type that the others have.
    fn grid(&self, node: &NodeProto, at: &Stored, other: DataType) -> std::result::Result<Grid, Problem> {
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
        let Some(zero) = at.zero.filter(|&z| !at.is_zero_optional || given(node, z).is_some()) else {
            return Ok(Grid { zeros: vec![0; scales.len()], scales, zero_type: other });
        };
        let tensor = constant(zero, "zero point")?;
        let (zero_type, mut zeros) = match (DataType::try_from(tensor.data_type), onnx::bytes(tensor)) {
            (Ok(of @ (DataType::Int8 | DataType::Uint8)), Some(zeros)) => (of, zeros),
            _ => return corrupt(format!("has a zero point `{}` that is no byte", tensor.name)),
        };
        if let [one] = zeros[..] {
            zeros = vec![one; scales.len()];
        }
        if zeros.len() != scales.len() {
            return corrupt(format!("has {} scales and {} zero points", scales.len(), zeros.len()));
        }
        Ok(Grid { scales, zeros, zero_type })
    }

    /// Whether `x` has as many scales as it should have: one, or one for each of what lies along `axis`.
    fn fits(&self, x: &str, grid: &Grid, axis: Option<usize>) -> std::result::Result<(), Problem> {
        let found = grid.scales.len();
        let stored = self.constants.get(x);
        if stored.is_some_and(|t| t.data_type != grid.zero_type as i32) {
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

    /// `x` on its grid, as floats.
    fn dequantized(&mut self, y: &str, x: &str, role: &str, grid: &Grid, axis: usize) -> String {
        let name = self.fresh(&format!("{y}.{role}"));
        self.convert("DequantizeLinear", x, role, grid, axis, name.clone());
        name
    }

    /// A bias in accumulator steps, as floats.
    fn bias(&mut self, y: &str, bias: &str, grids: &[Grid], alpha: f32) -> std::result::Result<String, Problem> {
        let Some(stored) = self.constants.get(bias) else {
            return corrupt(format!("has a bias `{bias}` that is no constant of the file"));
        };
        let (x, weights) = (grids[0].scales[0], &grids[1].scales);
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
        let grid = Grid { zeros: vec![0; 4 * count], scales, zero_type: DataType::Int32 };
        Ok(self.dequantized(y, bias, "bias", &grid, axis))
    }

    /// Adds a (de)quantisation of `x` with its constants.
    fn convert(&mut self, op: &str, x: &str, role: &str, grid: &Grid, axis: usize, output: String) {
        let name = self.fresh(&format!("{output}.{role}.{op}"));
        let dims = if grid.scales.len() == 1 { vec![] } else { vec![grid.scales.len() as i64] };
        let scale = self.constant(
            &format!("{name}.scale"),
            &dims,
            DataType::Float,
            grid.scales.iter().flat_map(|s| s.to_le_bytes()).collect(),
        );
        let zero = self.constant(&format!("{name}.zero"), &dims, grid.zero_type, grid.zeros.clone());
        let axis = onnx::Attr::Int("axis", axis as i64).proto();
        self.nodes.push(NodeProto {
            op_type: op.into(),
            name,
            input: vec![x.to_owned(), scale, zero],
            output: vec![output],
            attribute: if grid.scales.len() == 1 { vec![] } else { vec![axis] },
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
