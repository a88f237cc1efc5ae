//! ONNX graphs as data: read, write, and a small builder for the nodes that a recipe is made of.
//!
//! Uses tract's own protobuf types, so that what is written is what the runtime reads. Nothing here runs a model.

use prost::Message;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, attribute_proto::AttributeType, tensor_proto::DataType,
    tensor_shape_proto::Dimension, tensor_shape_proto::dimension, type_proto,
};

use crate::error::{Error, ErrorKind, Result};

/// The ONNX operator set that recipes are written in.
pub const OPSET: i64 = 17;
const IR_VERSION: i64 = 8;
/// The largest file that is read as a model. Chosen: far more than a board has room for.
pub const BYTES_MAX: u64 = 1 << 30;

/// Parses an ONNX file's bytes; `origin` names the file in the error.
///
/// # Errors
/// `Corrupt` when the bytes are no ONNX model or carry no graph.
pub fn decode(bytes: &[u8], origin: &str) -> Result<ModelProto> {
    let model = ModelProto::decode(bytes).map_err(|e| {
        Error::new(ErrorKind::Corrupt, format!("{origin} is not an ONNX model, or is damaged: copy or make it again"))
            .caused_by(e)
    })?;
    if model.graph.as_ref().is_none_or(|g| g.node.is_empty()) {
        return Err(Error::new(ErrorKind::Corrupt, format!("{origin} holds no graph: copy or make it again")));
    }
    Ok(model)
}

/// Serialises a model.
pub fn encode(model: &ModelProto) -> Vec<u8> {
    model.encode_to_vec()
}

/// The value of a `metadata_props` key.
pub fn metadata<'a>(model: &'a ModelProto, key: &str) -> Option<&'a str> {
    model.metadata_props.iter().find(|p| p.key == key).map(|p| p.value.as_str())
}

/// An attribute's value, for [`Graph::node`].
pub enum Attr<'a> {
    /// An integer.
    Int(&'a str, i64),
    /// Several integers.
    Ints(&'a str, &'a [i64]),
    /// A float.
    Float(&'a str, f32),
    /// A string.
    Str(&'a str, &'a str),
}

impl Attr<'_> {
    pub(super) fn proto(&self) -> AttributeProto {
        let of = |name: &str, r#type: AttributeType| AttributeProto {
            name: name.into(),
            r#type: r#type as i32,
            ..AttributeProto::default()
        };
        match *self {
            Attr::Int(n, v) => AttributeProto { i: v, ..of(n, AttributeType::Int) },
            Attr::Ints(n, v) => AttributeProto { ints: v.to_vec(), ..of(n, AttributeType::Ints) },
            Attr::Float(n, v) => AttributeProto { f: v, ..of(n, AttributeType::Float) },
            Attr::Str(n, v) => AttributeProto { s: v.as_bytes().to_vec(), ..of(n, AttributeType::String) },
        }
    }
}

/// Element types of graph inputs and outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elem {
    /// 8-bit unsigned.
    U8,
    /// 32-bit float.
    F32,
    /// 64-bit integer: indices.
    I64,
}

/// Scale and zero point of a quantised tensor: `real = (stored - zero_point) * scale`, stored as u8.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QuantParams {
    /// Step of one unit, > 0.
    pub scale: f32,
    /// The stored value that means 0.
    pub zero_point: u8,
}

impl QuantParams {
    /// The u8 quantisation that covers `min..=max` and represents 0 exactly.
    pub fn covering(min: f32, max: f32) -> Self {
        let (min, max) = (min.min(0.0), max.max(0.0));
        let scale = ((max - min) / 255.0).max(1e-8);
        Self { scale, zero_point: (-min / scale).round_ties_even().clamp(0.0, 255.0) as u8 }
    }
}

/// A graph under construction. Tensor names are unique because callers prefix them.
#[derive(Clone, Default)]
pub struct Graph {
    /// Nodes in topological order.
    pub nodes: Vec<NodeProto>,
    /// Constants.
    pub initializers: Vec<TensorProto>,
    /// Declared inputs.
    pub inputs: Vec<ValueInfoProto>,
    pub(super) outputs: Vec<ValueInfoProto>,
    /// Weights and activations stay floats, to measure what grids cost; tensors are still stored on theirs beside that.
    pub is_float: bool,
}

impl Graph {
    /// Adds a node with one output and returns the output's name, which is also the node's.
    pub fn node(&mut self, op: &str, inputs: &[&str], output: &str, attrs: &[Attr<'_>]) -> String {
        self.nodes.push(NodeProto {
            op_type: op.into(),
            name: output.into(),
            input: inputs.iter().map(|s| (*s).to_owned()).collect(),
            output: vec![output.to_owned()],
            attribute: attrs.iter().map(Attr::proto).collect(),
            ..NodeProto::default()
        });
        output.to_owned()
    }

    /// The `k` largest values of the last axis, in descending order.
    pub fn top_k(&mut self, x: &str, k: &str, output: &str) -> String {
        self.node("TopK", &[x, k], output, &[Attr::Int("axis", -1)]);
        if let Some(node) = self.nodes.last_mut() {
            node.output.push(format!("{output}.indices"));
        }
        output.to_owned()
    }

    pub(super) fn constant(&mut self, name: &str, dims: &[usize], data_type: DataType, raw_data: Vec<u8>) -> String {
        self.initializers.push(TensorProto {
            name: name.into(),
            dims: dims.iter().map(|&d| d as i64).collect(),
            data_type: data_type as i32,
            raw_data,
            ..TensorProto::default()
        });
        name.to_owned()
    }

    /// A float constant.
    pub fn f32(&mut self, name: &str, dims: &[usize], data: &[f32]) -> String {
        debug_assert_eq!(dims.iter().product::<usize>(), data.len(), "{name}");
        self.constant(name, dims, DataType::Float, data.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    /// Gives a float constant of the same size other values; without one of that name nothing changes.
    pub fn set_f32(&mut self, name: &str, data: &[f32]) {
        if let Some(constant) = self.initializers.iter_mut().find(|t| t.name == name) {
            debug_assert_eq!(constant.raw_data.len(), 4 * data.len(), "{name}");
            constant.raw_data = data.iter().flat_map(|v| v.to_le_bytes()).collect();
        }
    }

    /// A 64-bit integer constant (shapes).
    pub fn i64(&mut self, name: &str, data: &[i64]) -> String {
        self.constant(name, &[data.len()], DataType::Int64, data.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    pub(super) fn i32(&mut self, name: &str, data: &[i32]) -> String {
        self.constant(name, &[data.len()], DataType::Int32, data.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    /// A constant of signed bytes.
    pub fn i8(&mut self, name: &str, dims: &[usize], data: &[i8]) -> String {
        self.constant(name, dims, DataType::Int8, data.iter().map(|&v| v as u8).collect())
    }

    fn u8_scalar(&mut self, name: &str, v: u8) -> String {
        self.constant(name, &[], DataType::Uint8, vec![v])
    }

    /// Bytes that no node reads: every runtime leaves them alone.
    pub fn bytes(&mut self, name: &str, data: Vec<u8>) {
        self.constant(name, &[data.len()], DataType::Uint8, data);
    }

    /// `DequantizeLinear` of a u8 tensor.
    pub fn dequantize(&mut self, x: &str, q: QuantParams, output: &str) -> String {
        let s = self.f32(&format!("{output}.scale"), &[], &[q.scale]);
        let z = self.u8_scalar(&format!("{output}.zero"), q.zero_point);
        self.node("DequantizeLinear", &[x, &s, &z], output, &[])
    }

    /// `QuantizeLinear` to u8 followed by `DequantizeLinear`: `output` is the float tensor on the quantised grid,
    /// `output.q` the stored one.
    pub fn fake_quantize(&mut self, x: &str, q: QuantParams, output: &str) -> String {
        let s = self.f32(&format!("{output}.scale"), &[], &[q.scale]);
        let z = self.u8_scalar(&format!("{output}.zero"), q.zero_point);
        let stored = self.node("QuantizeLinear", &[x, &s, &z], &format!("{output}.q"), &[]);
        if self.is_float {
            return self.node("Identity", &[x], output, &[]);
        }
        self.node("DequantizeLinear", &[&stored, &s, &z], output, &[])
    }

    /// A weight stored as int8 with one symmetric scale for each output channel (axis 0); returns its float name.
    ///
    /// `scales` come from [`weight_scales`].
    pub fn weight_i8(&mut self, name: &str, dims: &[usize], data: &[f32], scales: &[f32]) -> String {
        if self.is_float {
            return self.f32(name, dims, data);
        }
        let per = data.len() / scales.len();
        let stored: Vec<i8> = data
            .iter()
            .enumerate()
            .map(|(i, &v)| (v / scales[i / per]).round_ties_even().clamp(-127.0, 127.0) as i8)
            .collect();
        let q = self.i8(&format!("{name}.q"), dims, &stored);
        let s = self.f32(&format!("{name}.scale"), &[scales.len()], scales);
        let z = self.i8(&format!("{name}.zero"), &[scales.len()], &vec![0; scales.len()]);
        self.node("DequantizeLinear", &[&q, &s, &z], name, &[Attr::Int("axis", 0)])
    }

    /// A bias stored as int32 with the scale that integer accumulators have: input scale times weight scale.
    pub fn bias_i32(&mut self, name: &str, data: &[f32], x_scale: f32, w_scales: &[f32]) -> String {
        if self.is_float {
            return self.f32(name, &[data.len()], data);
        }
        let scales: Vec<f32> = w_scales.iter().map(|w| w * x_scale).collect();
        let stored: Vec<i32> = data.iter().zip(&scales).map(|(&b, &s)| (b / s).round_ties_even() as i32).collect();
        let q = self.i32(&format!("{name}.q"), &stored);
        let s = self.f32(&format!("{name}.scale"), &[scales.len()], &scales);
        let z = self.i32(&format!("{name}.zero"), &vec![0; scales.len()]);
        self.node("DequantizeLinear", &[&q, &s, &z], name, &[Attr::Int("axis", 0)])
    }

    /// A 1x1 convolution with int8 weights `[out, in]` and a float bias; its output is float.
    pub fn conv1x1(&mut self, x: &str, weight: &[f32], bias: &[f32], output: &str) -> String {
        let scales = weight_scales(weight, bias.len(), None);
        let b = self.f32(&format!("{output}.b"), &[bias.len()], bias);
        self.write_conv1x1(x, weight, &scales, &b, output)
    }

    /// As [`Graph::conv1x1`], with the bias on the accumulator's scale (`x_scale` is that of `x`): followed by a
    /// quantisation, also behind a ReLU, it is a convolution of integers, and gives the same steps in every runtime.
    pub fn conv1x1_of_integers(&mut self, x: &str, x_scale: f32, weight: &[f32], bias: &[f32], output: &str) -> String {
        let scales = weight_scales(weight, bias.len(), Some((bias, x_scale)));
        let b = self.bias_i32(&format!("{output}.b"), bias, x_scale, &scales);
        self.write_conv1x1(x, weight, &scales, &b, output)
    }

    fn write_conv1x1(&mut self, x: &str, weight: &[f32], scales: &[f32], bias: &str, output: &str) -> String {
        let (out, inp) = (scales.len(), weight.len() / scales.len());
        let w = self.weight_i8(&format!("{output}.w"), &[out, inp, 1, 1], weight, scales);
        self.node("Conv", &[x, &w, bias], output, &[Attr::Ints("kernel_shape", &[1, 1])])
    }

    /// Declares a graph input.
    pub fn input(&mut self, name: &str, elem: Elem, shape: &[usize]) {
        self.inputs.push(value_info(name, elem, shape));
    }

    /// Declares a graph output.
    pub fn output(&mut self, name: &str, elem: Elem, shape: &[usize]) {
        self.outputs.push(value_info(name, elem, shape));
    }

    /// The finished model with its metadata.
    pub fn into_model(self, name: &str, metadata: &[(&str, String)]) -> ModelProto {
        ModelProto {
            ir_version: IR_VERSION,
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
            producer_name: "zoomgate".into(),
            producer_version: env!("CARGO_PKG_VERSION").into(),
            graph: Some(GraphProto {
                name: name.into(),
                node: self.nodes,
                initializer: self.initializers,
                input: self.inputs,
                output: self.outputs,
                ..GraphProto::default()
            }),
            metadata_props: metadata
                .iter()
                .map(|(k, v)| StringStringEntryProto { key: (*k).into(), value: v.clone() })
                .collect(),
            ..ModelProto::default()
        }
    }
}

/// Symmetric int8 scales, one for each of `out` output channels, of a weight whose axis 0 is the output channel.
///
/// With `bias = Some((bias, x_scale))` a scale is enlarged where the bias would overflow int32 otherwise.
pub fn weight_scales(weight: &[f32], out: usize, bias: Option<(&[f32], f32)>) -> Vec<f32> {
    weight
        .chunks(weight.len() / out)
        .enumerate()
        .map(|(i, w)| {
            let s = w.iter().fold(0.0f32, |m, v| m.max(v.abs())) / 127.0;
            let floor = bias.map_or(0.0, |(b, x)| b[i].abs() / (x * 2.0e9));
            s.max(floor).max(1e-10)
        })
        .collect()
}

fn value_info(name: &str, elem: Elem, shape: &[usize]) -> ValueInfoProto {
    let dim = |&d: &usize| Dimension { value: Some(dimension::Value::DimValue(d as i64)), ..Dimension::default() };
    let elem_type = match elem {
        Elem::U8 => DataType::Uint8,
        Elem::F32 => DataType::Float,
        Elem::I64 => DataType::Int64,
    } as i32;
    ValueInfoProto {
        name: name.into(),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(type_proto::Tensor {
                elem_type,
                shape: Some(TensorShapeProto { dim: shape.iter().map(dim).collect() }),
            })),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    }
}

/// The sizes of a model's first input, as its file declares them; `None` where it declares nothing.
pub fn first_input(model: &ModelProto) -> Option<Vec<Option<usize>>> {
    let type_proto::Value::TensorType(tensor) = model.graph.as_ref()?.input.first()?.r#type.as_ref()?.value.as_ref()?;
    Some(tensor.shape.as_ref()?.dim.iter().map(size).collect())
}

/// A side's size; `None` where the file leaves it open.
fn size(dim: &Dimension) -> Option<usize> {
    match dim.value {
        Some(dimension::Value::DimValue(n)) => usize::try_from(n).ok().filter(|n| *n > 0),
        _ => None,
    }
}

/// The sizes of a model's one input (`None` where the file leaves them open), what it holds, and the names of the outputs;
/// `None` where it takes more than one input, or one that holds neither bytes nor floats.
pub fn interface(model: &ModelProto) -> Option<(Vec<Option<usize>>, Elem, Vec<String>)> {
    let graph = model.graph.as_ref()?;
    // Older exporters list constants among the inputs.
    let is_constant = |i: &&ValueInfoProto| graph.initializer.iter().any(|t| t.name == i.name);
    let mut inputs = graph.input.iter().filter(|i| !is_constant(i));
    let (input, None) = (inputs.next()?, inputs.next()) else { return None };
    let type_proto::Value::TensorType(tensor) = input.r#type.as_ref()?.value.as_ref()?;
    let elem = match tensor.elem_type {
        t if t == DataType::Uint8 as i32 => Elem::U8,
        t if t == DataType::Float as i32 => Elem::F32,
        _ => return None,
    };
    let dims = tensor.shape.as_ref()?.dim.iter().map(size).collect();
    Some((dims, elem, graph.output.iter().map(|o| o.name.clone()).collect()))
}

/// The float data of a constant tensor.
///
/// # Errors
/// `Refused` for a type other than float32 (and for data kept outside the file).
pub fn floats(t: &TensorProto) -> Result<Vec<f32>> {
    let dims = t.dims.iter().try_fold(1usize, |n, &d| n.checked_mul(usize::try_from(d).ok()?));
    let data = if t.data_type != DataType::Float as i32 {
        None
    } else if t.raw_data.is_empty() {
        Some(t.float_data.clone())
    } else {
        Some(t.raw_data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
    };
    data.filter(|d: &Vec<f32>| Some(d.len()) == dims).ok_or_else(|| {
        Error::new(
            ErrorKind::Refused,
            format!(
                "constant `{}` is not a float32 tensor inside the file: export the backbone as plain float32",
                t.name
            ),
        )
    })
}

/// The raw bytes of a constant of signed or unsigned bytes, one for each element; `None` where it is another.
pub(super) fn bytes(t: &TensorProto) -> Option<Vec<u8>> {
    let is_bytes = [DataType::Int8, DataType::Uint8].iter().any(|d| t.data_type == *d as i32);
    let count = t.dims.iter().try_fold(1usize, |n, &d| n.checked_mul(usize::try_from(d).ok()?))?;
    let data = match t.raw_data.is_empty() {
        true => t.int32_data.iter().map(|&v| v as u8).collect(),
        false => t.raw_data.clone(),
    };
    (is_bytes && data.len() == count).then_some(data)
}

/// For each node of `graph`, whether any of `outputs` depends on it.
pub fn ancestors(graph: &GraphProto, outputs: &[String]) -> Vec<bool> {
    needed(&graph.node, outputs)
}

/// As [`ancestors`], of a list of nodes.
pub(super) fn needed(nodes: &[NodeProto], outputs: &[String]) -> Vec<bool> {
    let mut wanted: std::collections::HashSet<&str> = outputs.iter().map(String::as_str).collect();
    let mut needed = vec![false; nodes.len()];
    // Nodes are in topological order, so that one backward sweep finds them all.
    for (i, n) in nodes.iter().enumerate().rev() {
        if n.output.iter().any(|o| wanted.contains(o.as_str())) {
            needed[i] = true;
            wanted.extend(n.input.iter().map(String::as_str));
        }
    }
    needed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantisation_covers_its_range_and_keeps_zero_exact() {
        for (min, max) in [(0.0, 6.0), (-1.0, 1.0), (-0.3, 7.5), (2.0, 3.0), (-5.0, -1.0), (0.0, 0.0)] {
            let q = QuantParams::covering(min, max);
            let low = (0.0 - f32::from(q.zero_point)) * q.scale;
            let high = (255.0 - f32::from(q.zero_point)) * q.scale;
            assert!(low <= min + q.scale && high >= max - q.scale, "{min}..{max}: {q:?} covers {low}..{high}");
        }
    }

    #[test]
    fn garbage_is_no_model() {
        let e = decode(&[0xff; 40], "x.onnx").expect_err("garbage");
        assert_eq!(e.kind(), ErrorKind::Corrupt);
        assert!(e.to_string().contains("x.onnx"));
        assert_eq!(decode(&[], "y.onnx").expect_err("empty").kind(), ErrorKind::Corrupt);
    }
}
