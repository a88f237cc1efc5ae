//! Checks of a model from outside before anything is built from it: none of its claims is taken for granted.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{ModelProto, NodeProto, TensorProto};

use super::onnx;
use crate::error::{Error, ErrorKind, Result};

/// Supported operator sets of ONNX.
const OPSETS: std::ops::RangeInclusive<i64> = 7..=21;
/// The most elements of a tensor: more is a damaged file, or one that no board could hold.
pub(super) const ELEMENTS_MAX: usize = 1 << 28;
/// The most nodes: ten times as many as the largest networks that a line has time for. Planning is up to quadratic.
const NODES_MAX: usize = 1 << 14;
/// The most activations in a row: networks have one or two. tract's time and memory grow with the square of such a chain.
const ACTIVATIONS_MAX: usize = 64;

/// Whether a quantised tensor can have this scale.
pub(super) fn is_scale(step: f32) -> bool {
    step.is_normal() && step > 0.0
}

/// Whether `model` can be read safely and makes the `outputs`; `origin` names it.
///
/// # Errors
/// `Refused` for an unsupported operator set and for too many nodes; `Corrupt`, with the name, for constants whose data does
/// not match their sizes, scales that are not positive, two nodes that make one tensor, outputs that no node makes, and
/// nodes that depend on themselves.
pub(super) fn check(model: &ModelProto, outputs: &[String], origin: &str) -> Result<()> {
    let corrupt = |what: String| Error::new(ErrorKind::Corrupt, format!("{origin}: {what}: export or copy it again"));
    let is_standard = |domain: &str| domain.is_empty() || domain == "ai.onnx";
    if let Some(set) = model.opset_import.iter().find(|o| is_standard(&o.domain) && !OPSETS.contains(&o.version)) {
        let (first, last) = (OPSETS.start(), OPSETS.end());
        let message = format!(
            "{origin} is written in operator set {} of ONNX, and {first} to {last} are run: export it again with one of them",
            set.version
        );
        return Err(Error::new(ErrorKind::Refused, message));
    }
    let Some(graph) = &model.graph else { return Ok(()) };
    if graph.node.len() > NODES_MAX {
        let message = format!(
            "{origin} has {} nodes, and {NODES_MAX} are the most that are run: export a smaller network",
            graph.node.len()
        );
        return Err(Error::new(ErrorKind::Refused, message));
    }
    for tensor in &graph.initializer {
        claims(tensor).map_err(|what| corrupt(format!("constant `{}` {what}", tensor.name)))?;
    }
    let constants: HashMap<&str, &TensorProto> = graph.initializer.iter().map(|t| (t.name.as_str(), t)).collect();
    let scale = |name: &String| constants.get(name.as_str()).and_then(|t| onnx::floats(t).ok());
    let mut made: HashSet<&str> = constants.keys().copied().collect();
    for node in &graph.node {
        let is_grid = matches!(node.op_type.as_str(), "QuantizeLinear" | "DequantizeLinear");
        let bad = node.input.get(1).filter(|_| is_grid).and_then(scale).filter(|s| !s.iter().all(|&s| is_scale(s)));
        if bad.is_some() {
            return Err(corrupt(format!("{} has a scale that is no positive number", called(node))));
        }
        windows(node).map_err(|what| corrupt(format!("{} {what}", called(node))))?;
        if let Some(twice) = node.output.iter().find(|o| !o.is_empty() && !made.insert(o)) {
            return Err(corrupt(format!("{} makes `{twice}`, which is made already", called(node))));
        }
    }
    made.extend(graph.input.iter().map(|i| i.name.as_str()));
    if let Some(missing) = outputs.iter().find(|o| !made.contains(o.as_str())) {
        return Err(corrupt(format!("nothing makes its output `{missing}`")));
    }
    let order = order(&graph.node).map_err(|i| corrupt(format!("{} waits for itself", called(&graph.node[i]))))?;
    match longest(&graph.node, &order) {
        Some(i) => Err(corrupt(format!("{} is behind {ACTIVATIONS_MAX} other activations", called(&graph.node[i])))),
        None => Ok(()),
    }
}

/// An activation that follows too many others in a row.
fn longest(nodes: &[NodeProto], order: &[usize]) -> Option<usize> {
    // For each tensor, how many activations in a row it comes from.
    let mut rows: HashMap<&str, usize> = HashMap::new();
    order.iter().copied().find(|&i| {
        let node = &nodes[i];
        let is_activation = matches!(node.op_type.as_str(), "Relu" | "Clip" | "LeakyRelu" | "Max" | "Min");
        let row = node.input.iter().filter_map(|x| rows.get(x.as_str())).max().map_or(1, |row| row + 1);
        if is_activation {
            rows.extend(node.output.iter().map(|y| (y.as_str(), row)));
        }
        is_activation && row > ACTIVATIONS_MAX
    })
}

/// The name of a node in messages.
pub(super) fn called(node: &NodeProto) -> String {
    let name = if node.name.is_empty() { node.output.first() } else { Some(&node.name) };
    format!("node `{}` ({})", name.map_or("", |n| n), node.op_type)
}

/// Whether a window has one size for each of its sides.
fn windows(node: &NodeProto) -> std::result::Result<(), String> {
    let length = |name: &str| node.attribute.iter().find(|a| a.name == name).map(|a| a.ints.len());
    let Some(sides) = length("kernel_shape").or(length("strides")).or(length("dilations")) else { return Ok(()) };
    for (name, expected) in [("kernel_shape", sides), ("strides", sides), ("dilations", sides), ("pads", 2 * sides)] {
        if let Some(found) = length(name).filter(|&n| n != expected && n != 0) {
            return Err(format!("has {found} {name} for a window of {sides} sides"));
        }
    }
    Ok(())
}

/// Whether a constant has as many elements as its sizes say.
fn claims(tensor: &TensorProto) -> std::result::Result<(), String> {
    let count = tensor.dims.iter().try_fold(1usize, |n, &d| n.checked_mul(usize::try_from(d).ok()?));
    let count = count.filter(|n| *n <= ELEMENTS_MAX).ok_or_else(|| format!("claims the sizes {:?}", tensor.dims))?;
    let size = match DataType::try_from(tensor.data_type) {
        Ok(DataType::Float | DataType::Int32 | DataType::Uint32) => 4,
        Ok(DataType::Double | DataType::Int64 | DataType::Uint64) => 8,
        Ok(DataType::Float16 | DataType::Bfloat16 | DataType::Int16 | DataType::Uint16) => 2,
        Ok(DataType::Int8 | DataType::Uint8 | DataType::Bool) => 1,
        // Others have variable lengths, and are not supported.
        _ => return Ok(()),
    };
    if !tensor.external_data.is_empty() {
        return Err("is kept in another file, and one file is all that is read".into());
    }
    let apart = [
        tensor.float_data.len(),
        tensor.int32_data.len(),
        tensor.int64_data.len(),
        tensor.double_data.len(),
        tensor.uint64_data.len(),
    ];
    let held = if tensor.raw_data.is_empty() { apart.iter().sum() } else { tensor.raw_data.len() / size };
    if held == count { Ok(()) } else { Err(format!("has the sizes {:?} and {held} elements", tensor.dims)) }
}

/// Nodes, each after those that make its inputs; or else a node that depends on itself.
pub(super) fn order(nodes: &[NodeProto]) -> std::result::Result<Vec<usize>, usize> {
    let maker: HashMap<&str, usize> =
        nodes.iter().enumerate().flat_map(|(i, n)| n.output.iter().map(move |o| (o.as_str(), i))).collect();
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        New,
        Waiting,
        Done,
    }
    let mut state = vec![State::New; nodes.len()];
    let mut order = Vec::with_capacity(nodes.len());
    for root in 0..nodes.len() {
        // Nodes that wait, each with how many of its inputs have been visited.
        let mut stack = vec![(root, 0)];
        while let Some((i, seen)) = stack.pop() {
            if state[i] == State::Done {
                continue;
            }
            state[i] = State::Waiting;
            let Some(input) = nodes[i].input.get(seen) else {
                state[i] = State::Done;
                order.push(i);
                continue;
            };
            stack.push((i, seen + 1));
            if let Some(&before) = maker.get(input.as_str()).filter(|_| !input.is_empty()) {
                match state[before] {
                    State::New => stack.push((before, 0)),
                    State::Waiting => return Err(before),
                    State::Done => {}
                }
            }
        }
    }
    Ok(order)
}
