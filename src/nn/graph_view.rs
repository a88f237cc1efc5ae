//! Who makes and who reads each tensor of a graph, and what lies between quantised tensors: what patterns of operators
//! are written in ([`super::ops`]).

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};

use super::check;
use super::onnx::{self, QuantParams};
use super::tensor::QuantizedType;

/// Shapes of tensors, as far as they are known.
pub(super) type Shapes = HashMap<String, Vec<usize>>;

/// A graph with an index of its tensors.
pub(super) struct GraphView<'a> {
    pub(super) nodes: &'a [NodeProto],
    constants: HashMap<&'a str, &'a TensorProto>,
    makers: HashMap<&'a str, usize>,
    readers: HashMap<&'a str, Vec<usize>>,
    outputs: HashSet<&'a str>,
    shapes: &'a Shapes,
}

/// What lies between floats and the quantised tensor that they become.
pub(super) struct Closing {
    /// The activations, and the quantisation at the end.
    pub(super) nodes: Vec<usize>,
    pub(super) y: String,
    pub(super) quantized: QuantizedType,
    pub(super) low: u8,
    pub(super) high: u8,
}

impl Closing {
    /// Whether nothing is clipped except by the range of a byte.
    pub(super) fn is_open(&self) -> bool {
        (self.low, self.high) == (u8::MIN, u8::MAX)
    }
}

impl<'a> GraphView<'a> {
    pub(super) fn of(graph: &'a GraphProto, outputs: &'a [String], shapes: &'a Shapes) -> Self {
        let mut readers: HashMap<&str, Vec<usize>> = HashMap::new();
        let mut makers = HashMap::new();
        for (i, node) in graph.node.iter().enumerate() {
            for input in &node.input {
                readers.entry(input).or_default().push(i);
            }
            for output in &node.output {
                makers.insert(output.as_str(), i);
            }
        }
        Self {
            nodes: &graph.node,
            constants: graph.initializer.iter().map(|t| (t.name.as_str(), t)).collect(),
            makers,
            readers,
            outputs: outputs.iter().map(String::as_str).collect(),
            shapes,
        }
    }

    /// Nodes, each after those that it reads; empty where one depends on itself.
    pub(super) fn order(&self) -> Vec<usize> {
        check::order(self.nodes).unwrap_or_default()
    }

    /// Nodes that are still needed once some tensors are made by operators that read `inputs_of` them.
    pub(super) fn live(&self, inputs_of: &HashMap<&str, &[String]>) -> HashSet<usize> {
        let mut live = HashSet::new();
        let mut seen: HashSet<&str> = self.outputs.clone();
        let mut waiting: Vec<&str> = seen.iter().copied().collect();
        while let Some(tensor) = waiting.pop() {
            let inputs: &[String] = match (inputs_of.get(tensor), self.makers.get(tensor)) {
                (Some(inputs), _) => inputs,
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

    /// Whether `tensor` is an output of the graph, or read by a node that is still `live`.
    pub(super) fn is_read(&self, tensor: &str, live: &HashSet<usize>) -> bool {
        self.outputs.contains(tensor) || self.readers.get(tensor).is_some_and(|r| r.iter().any(|r| live.contains(r)))
    }

    /// The node that makes `tensor`.
    pub(super) fn maker(&self, tensor: &str) -> Option<(usize, &'a NodeProto)> {
        self.makers.get(tensor).map(|&i| (i, &self.nodes[i]))
    }

    /// The one node that reads `tensor`, where that is not an output of the graph.
    pub(super) fn only_reader(&self, tensor: &str) -> Option<(usize, &'a NodeProto)> {
        let [reader] = self.readers.get(tensor)?[..] else { return None };
        (!self.outputs.contains(tensor)).then(|| (reader, &self.nodes[reader]))
    }

    /// The node that makes `tensor` for one reader only.
    pub(super) fn only_maker(&self, tensor: &str) -> Option<(usize, &'a NodeProto)> {
        self.only_reader(tensor).and_then(|_| self.maker(tensor))
    }

    /// The sizes of a tensor, where they are known.
    pub(super) fn dims(&self, tensor: &str) -> Option<&'a [usize]> {
        self.shapes.get(tensor).map(Vec::as_slice)
    }

    pub(super) fn constant(&self, name: &str) -> Option<&'a TensorProto> {
        self.constants.get(name).copied()
    }

    /// The activations and the quantisation that follow `tensor`, where nothing else reads it.
    pub(super) fn closing(&self, tensor: &str) -> Option<Closing> {
        let (mut tensor, mut clipped) = (tensor, Vec::new());
        let mut closing = loop {
            let (reader, node) = self.only_reader(tensor)?;
            if node.input[0] != tensor {
                return None;
            }
            match node.op_type.as_str() {
                "QuantizeLinear" => {
                    let (y, quantized) = (node.output[0].clone(), self.quantized_type(node)?);
                    break Closing { nodes: vec![reader], y, quantized, low: u8::MIN, high: u8::MAX };
                }
                "Relu" | "Clip" => clipped.push((reader, node)),
                _ => return None,
            }
            tensor = &node.output[0];
        };
        // The last one first: what it leaves may be clipped further by those before it.
        for (reader, node) in clipped.into_iter().rev() {
            let [min, max] = match node.op_type.as_str() {
                "Relu" => [0.0, f32::MAX],
                _ => [self.bound(node, 1, f32::MIN)?, self.bound(node, 2, f32::MAX)?],
            };
            // Rounding is monotonic, so that clipping after it gives the same as clipping before it.
            closing.low = closing.low.max(closing.quantized.quantize(min)?);
            closing.high = closing.high.min(closing.quantized.quantize(max)?);
            closing.nodes.push(reader);
            if closing.low > closing.high {
                return None;
            }
        }
        Some(closing)
    }

    /// The bound of a Clip at an input, or `default` where it has none; `None` where it is not a constant.
    pub(super) fn bound(&self, clip: &NodeProto, at: usize, default: f32) -> Option<f32> {
        match clip.input.get(at).filter(|n| !n.is_empty()) {
            None => Some(default),
            Some(name) => self.scalar(name),
        }
    }

    /// The quantised tensor that a dequantised one comes from.
    pub(super) fn quantized(&self, tensor: &str) -> Option<(String, QuantizedType)> {
        let dequantize = self.dequantize(tensor)?;
        let stored = dequantize.input[0].as_str();
        let quantized = self.quantized_type(dequantize)?;
        (!self.constants.contains_key(stored)).then(|| (stored.to_owned(), quantized))
    }

    /// A tensor of bytes that is read without being dequantised, and its type: what quantised it, past operators that
    /// leave it unchanged.
    pub(super) fn quantized_bytes(&self, tensor: &str) -> Option<(String, QuantizedType)> {
        let mut at = tensor;
        // No chain is longer than all nodes; one that depends on itself has been refused.
        for _ in 0..self.nodes.len() {
            let (_, node) = self.maker(at)?;
            match node.op_type.as_str() {
                "QuantizeLinear" => return Some((tensor.to_owned(), self.quantized_type(node)?)),
                "MaxPool" | "Resize" | "Identity" => at = node.input.first()?,
                _ => return None,
            }
        }
        None
    }

    /// The DequantizeLinear that makes `tensor`.
    pub(super) fn dequantize(&self, tensor: &str) -> Option<&'a NodeProto> {
        let (_, node) = self.maker(tensor)?;
        (node.op_type == "DequantizeLinear" && node.input.len() >= 2).then_some(node)
    }

    /// The one scale and zero point of a QuantizeLinear or DequantizeLinear of bytes.
    pub(super) fn quantized_type(&self, node: &NodeProto) -> Option<QuantizedType> {
        let scale = self.scalar(node.input.get(1)?).filter(|s| s.is_finite() && *s > 0.0)?;
        let zero = node.input.get(2).filter(|z| !z.is_empty())?;
        let byte = |t: DataType| self.integers(zero, t).filter(|z| z.len() == 1).map(|z| z[0]);
        let typed = |zero_point, is_signed| QuantizedType { params: QuantParams { scale, zero_point }, is_signed };
        if let Some(zero) = byte(DataType::Uint8) {
            return Some(typed(zero, false));
        }
        byte(DataType::Int8).map(|zero| typed(zero ^ 0x80, true))
    }

    /// The values of a float constant.
    pub(super) fn floats(&self, name: &str) -> Option<Vec<f32>> {
        onnx::floats(self.constant(name)?).ok()
    }

    /// The one number of a float constant.
    pub(super) fn scalar(&self, name: &str) -> Option<f32> {
        let [value] = self.floats(name)?[..] else { return None };
        (!value.is_nan()).then_some(value)
    }

    /// The raw bytes of an integer constant of the given type, little-endian.
    pub(super) fn integers(&self, name: &str, data_type: DataType) -> Option<Vec<u8>> {
        let t = self.constant(name).filter(|t| t.data_type == data_type as i32)?;
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
}
