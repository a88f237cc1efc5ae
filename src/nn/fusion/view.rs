//! Who makes and who reads what in a graph, and which of its nodes are an int8 operator in other words.

mod attributes;
mod filters;
mod pools;
mod small;
mod stack;
mod table;

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};

use super::super::{check, onnx};
use super::{Fused, Grid, Op, Shapes};
use attributes::int;

pub(super) struct View<'a> {
    pub(super) nodes: &'a [NodeProto],
    constants: HashMap<&'a str, &'a TensorProto>,
    maker: HashMap<&'a str, usize>,
    readers: HashMap<&'a str, Vec<usize>>,
    outputs: HashSet<&'a str>,
    shapes: &'a Shapes,
}

/// What lies between a sum and the grid that it is stored on.
struct Closing {
    /// The activations, and the quantisation at the end.
    nodes: Vec<usize>,
    y: String,
    grid: Grid,
    low: u8,
    high: u8,
}

impl Closing {
    /// Whether nothing is clipped but by the grid itself.
    fn is_open(&self) -> bool {
        (self.low, self.high) == (u8::MIN, u8::MAX)
    }
}

impl<'a> View<'a> {
    pub(super) fn of(graph: &'a GraphProto, outputs: &'a [String], shapes: &'a Shapes) -> Self {
        let mut readers: HashMap<&str, Vec<usize>> = HashMap::new();
        let mut maker = HashMap::new();
        for (i, node) in graph.node.iter().enumerate() {
            for input in &node.input {
                readers.entry(input).or_default().push(i);
            }
            for output in &node.output {
                maker.insert(output.as_str(), i);
            }
        }
        Self {
            nodes: &graph.node,
            constants: graph.initializer.iter().map(|t| (t.name.as_str(), t)).collect(),
            maker,
            readers,
            outputs: outputs.iter().map(String::as_str).collect(),
            shapes,
        }
    }

    /// Nodes, each after those that it reads; none where one waits for itself.
    pub(super) fn order(&self) -> Vec<usize> {
        check::order(self.nodes).unwrap_or_default()
    }

    /// Nodes that are still needed once `steps` are run for theirs.
    pub(super) fn live<'s>(&self, steps: impl Iterator<Item = &'s Fused>) -> HashSet<usize> {
        let steps: HashMap<&str, &Fused> = steps.map(|s| (s.y.as_str(), s)).collect();
        let mut live = HashSet::new();
        let mut seen: HashSet<&str> = self.outputs.clone();
        let mut waiting: Vec<&str> = seen.iter().copied().collect();
        while let Some(tensor) = waiting.pop() {
            let node = self.maker.get(tensor).filter(|_| !steps.contains_key(tensor));
            let inputs = match (steps.get(tensor), node) {
                (Some(step), _) => &step.x,
                (None, Some(&i)) => {
                    live.insert(i);
                    &self.nodes[i].input
                }
                (None, None) => continue,
            };
            waiting.extend(inputs.iter().map(String::as_str).filter(|x| seen.insert(x)));
        }
        live
    }

    /// Whether `tensor` is wanted, or read by a node that is still `live`.
    pub(super) fn is_read(&self, tensor: &str, live: &HashSet<usize>) -> bool {
        self.outputs.contains(tensor) || self.readers.get(tensor).is_some_and(|r| r.iter().any(|r| live.contains(r)))
    }

    pub(super) fn fused(&self, i: usize) -> Option<Fused> {
        let node = &self.nodes[i];
        match node.op_type.as_str() {
            "Conv" => self.conv(i),
            "Add" => self.add(i),
            "Mul" => self.multiply(i),
            "Gemm" | "MatMul" => self.product(i),
            "MaxPool" => self.max_pool(i).or_else(|| self.max_pool_of_bytes(i)),
            "AveragePool" => self.average_pool(i),
            "Resize" => self.resize(i).or_else(|| self.resize_of_bytes(i)),
            "LeakyRelu" | "Sigmoid" | "HardSigmoid" | "Tanh" | "Relu" | "Clip" => self.table(i),
            "GlobalAveragePool" | "ReduceMean" => self.mean(i).or_else(|| self.moment(i)),
            "ReduceSumSquare" => self.squares(i),
            "Concat" => self.stack(i),
            _ => None,
        }
    }

    /// Whether one node alone reads `tensor`.
    fn is_alone(&self, tensor: &str) -> bool {
        self.readers.get(tensor).is_some_and(|r| r.len() == 1) && !self.outputs.contains(tensor)
    }

    /// A constant map, `[channels, height, width]` with ones before it or not, stored in floats or in bytes of one or one
    /// scale a channel.
    fn constant_map(&self, name: &str) -> Option<Vec<f32>> {
        if let Some(floats) = self.floats(name) {
            return (self.constants.get(name)?.dims.len() >= 3).then_some(floats);
        }
        let dequantize = self.dequantize(name)?;
        let stored = self.constants.get(dequantize.input[0].as_str())?;
        let values = self.bytes(&dequantize.input[0], DataType::Int8)?;
        let scales = self.floats(&dequantize.input[1])?;
        let zeros = dequantize.input.get(2).map_or(Some(vec![0]), |z| self.bytes(z, DataType::Int8))?;
        let channels = usize::try_from(*stored.dims.first()?).ok().filter(|c| *c > 0)?;
        let is_ours = stored.dims.len() == 3 && zeros.iter().all(|&z| z == 0) && values.len().is_multiple_of(channels);
        if !is_ours || (scales.len() != 1 && (scales.len() != channels || int(dequantize, "axis", 1) != 0)) {
            return None;
        }
        let per = values.len() / channels;
        let scale = |i: usize| scales[if scales.len() == 1 { 0 } else { i / per }];
        Some(values.iter().enumerate().map(|(i, &v)| f32::from(v as i8) * scale(i)).collect())
    }

    fn made(&self, i: usize, x: Vec<String>, y: String, op: Op, closing: Vec<usize>) -> Fused {
        let node = &self.nodes[i];
        let name = if node.name.is_empty() { node.output[0].clone() } else { node.name.clone() };
        Fused { x, y, op, name, nodes: std::iter::once(i).chain(closing).collect() }
    }

    /// Activations and quantisation that alone follow `tensor`.
    fn closing(&self, tensor: &str) -> Option<Closing> {
        let (mut tensor, mut clipped) = (tensor, Vec::new());
        let mut closing = loop {
            let [reader] = self.readers.get(tensor)?[..] else { return None };
            let node = &self.nodes[reader];
            if self.outputs.contains(tensor) || node.input[0] != tensor {
                return None;
            }
            match node.op_type.as_str() {
                "QuantizeLinear" => {
                    let y = node.output[0].clone();
                    break Closing { nodes: vec![reader], y, grid: self.grid(node)?, low: u8::MIN, high: u8::MAX };
                }
                "Relu" | "Clip" => clipped.push(reader),
                _ => return None,
            }
            tensor = &node.output[0];
        };
        // The last one first: what it leaves is what those before it may clip further.
        for reader in clipped.into_iter().rev() {
            let node = &self.nodes[reader];
            let bound = |i: usize, none: f32| match node.input.get(i).filter(|n| !n.is_empty()) {
                None => Some(none),
                Some(name) => self.scalar(name),
            };
            let is_relu = node.op_type == "Relu";
            let least = if is_relu { 0.0 } else { bound(1, f32::MIN)? };
            let greatest = if is_relu { f32::MAX } else { bound(2, f32::MAX)? };
            // Rounding keeps an order, so that clipping before it is clipping after it.
            closing.low = closing.low.max(on_grid(least, closing.grid)?);
            closing.high = closing.high.min(on_grid(greatest, closing.grid)?);
            closing.nodes.push(reader);
            if closing.low > closing.high {
                return None;
            }
        }
        Some(closing)
    }

    /// The stored tensor that a dequantised one comes from.
    fn stored(&self, tensor: &str) -> Option<(String, Grid)> {
        let dequantize = self.dequantize(tensor)?;
        let stored = dequantize.input[0].as_str();
        let grid = self.grid(dequantize)?;
        (!self.constants.contains_key(stored)).then(|| (stored.to_owned(), grid))
    }

    /// A stored tensor that is read as it is, and its grid: what quantised it, past operators that leave it there.
    fn stored_bytes(&self, tensor: &str) -> Option<(String, Grid)> {
        let mut at = tensor;
        // No chain is longer than all nodes; one that waits for itself has been refused.
        for _ in 0..self.nodes.len() {
            let node = &self.nodes[*self.maker.get(at)?];
            match node.op_type.as_str() {
                "QuantizeLinear" => return Some((tensor.to_owned(), self.grid(node)?)),
                "MaxPool" | "Resize" | "Identity" => at = node.input.first()?,
                _ => return None,
            }
        }
        None
    }

    fn dequantize(&self, tensor: &str) -> Option<&'a NodeProto> {
        let node = &self.nodes[*self.maker.get(tensor)?];
        (node.op_type == "DequantizeLinear" && node.input.len() >= 2).then_some(node)
    }

    /// The one scale and zero point of a (de)quantisation of bytes.
    fn grid(&self, node: &NodeProto) -> Option<Grid> {
        let scale = self.scalar(node.input.get(1)?).filter(|s| s.is_finite() && *s > 0.0)?;
        let zero = node.input.get(2).filter(|z| !z.is_empty())?;
        let byte = |t: DataType| self.bytes(zero, t).filter(|z| z.len() == 1).map(|z| z[0]);
        if let Some(zero) = byte(DataType::Uint8) {
            return Some(Grid { scale, zero, is_signed: false });
        }
        byte(DataType::Int8).map(|zero| Grid { scale, zero: zero ^ 0x80, is_signed: true })
    }

    fn floats(&self, name: &str) -> Option<Vec<f32>> {
        onnx::floats(self.constants.get(name)?).ok()
    }

    fn scalar(&self, name: &str) -> Option<f32> {
        let [value] = self.floats(name)?[..] else { return None };
        (!value.is_nan()).then_some(value)
    }

    /// The raw bytes of an integer constant of the given type.
    fn bytes(&self, name: &str, data_type: DataType) -> Option<Vec<u8>> {
        let t = self.constants.get(name).filter(|t| t.data_type == data_type as i32)?;
        let count = t.dims.iter().try_fold(1usize, |n, &d| n.checked_mul(usize::try_from(d).ok()?))?;
        let size = match data_type {
            DataType::Int32 => 4,
            DataType::Int64 => 8,
            _ => 1,
        };
        if !t.raw_data.is_empty() {
            return (Some(t.raw_data.len()) == count.checked_mul(size)).then(|| t.raw_data.clone());
        }
        if t.int32_data.len().max(t.int64_data.len()) != count {
            return None;
        }
        Some(match size {
            8 => t.int64_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
            4 => t.int32_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
            _ => t.int32_data.iter().map(|&v| v as u8).collect(),
        })
    }

    /// The numbers of a constant of signed or unsigned bytes.
    fn numbers(&self, name: &str) -> Option<Vec<i16>> {
        let signed = || Some(self.bytes(name, DataType::Int8)?.iter().map(|&v| i16::from(v as i8)).collect());
        let unsigned = || Some(self.bytes(name, DataType::Uint8)?.iter().map(|&v| i16::from(v)).collect());
        signed().or_else(unsigned)
    }
}

/// The byte that stores `value`.
fn on_grid(value: f32, grid: Grid) -> Option<u8> {
    let steps = (value / grid.scale).round_ties_even() + f32::from(grid.zero);
    (!steps.is_nan()).then(|| steps.clamp(0.0, 255.0) as u8)
}
