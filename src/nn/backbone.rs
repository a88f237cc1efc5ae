//! The frozen backbone: any ONNX feature extractor, cut at the wanted feature tensors, quantised to int8 on pictures
//! of the product.
//!
//! Static post-training quantisation in QDQ form: activations u8 for each tensor from the smallest and largest value
//! seen while calibrating, weights int8 for each output channel, biases int32. ReLU and Clip are fused with the
//! convolution before them, so only what follows them is quantised.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, TensorProto};

use super::onnx::{self, Elem, Graph, QuantParams};
use super::plan::ExecutionPlan;
use crate::error::{Error, ErrorKind, Result};
use crate::storage;

/// The backbone that ships with the binary (`models/backbone-s.onnx`), ours.
const BUNDLED: &[u8] = include_bytes!("../../models/backbone-s.onnx");
const BUNDLED_FEATURES: [&str; 2] = ["f8", "f16"];

/// What the backbone's float input expects for a picture of 0..=255.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputRange {
    /// The values as they are.
    Byte,
    /// Divided by 255.
    Unit,
    /// Divided by 127.5, minus 1.
    Signed,
    /// Divided by 255, minus ImageNet's channel means, over its channel deviations.
    ImageNet,
}

impl InputRange {
    /// Parses the words of `--input-range`: `0..255`, `0..1`, `-1..1`, `imagenet`.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "0..255" => Some(Self::Byte),
            "0..1" => Some(Self::Unit),
            "-1..1" => Some(Self::Signed),
            "imagenet" => Some(Self::ImageNet),
            _ => None,
        }
    }

    /// `(scale, zero)` a channel: `real = (byte - zero) * scale`.
    fn affine(self) -> [(f32, f32); 3] {
        match self {
            Self::Byte => [(1.0, 0.0); 3],
            Self::Unit => [(1.0 / 255.0, 0.0); 3],
            Self::Signed => [(1.0 / 127.5, 127.5); 3],
            Self::ImageNet => {
                let of = |mean: f32, std: f32| (1.0 / (255.0 * std), 255.0 * mean);
                [of(0.485, 0.229), of(0.456, 0.224), of(0.406, 0.225)]
            }
        }
    }
}

/// A float feature extractor, cut and cleaned; not yet tied to an input size.
#[derive(Clone)]
pub struct Backbone {
    graph: GraphProto,
    opset: i64,
    input: String,
    features: Vec<String>,
    range: InputRange,
    is_float: bool,
    /// SHA-256 of the file, hex; stored in recipes.
    pub digest: String,
    /// The file's name, for people.
    pub name: String,
}

/// One feature tensor of a quantised backbone.
#[derive(Clone, Debug)]
pub struct Feature {
    /// Name of the float tensor after quantisation.
    pub tensor: String,
    /// Channels.
    pub channels: usize,
    /// Rows and columns.
    pub grid: [usize; 2],
}

/// A backbone quantised for one input size, as the first part of a recipe's graph.
#[derive(Clone)]
pub struct Quantised {
    /// Nodes from the u8 input `image` to the features.
    pub graph: Graph,
    /// The features, in the order asked for.
    pub features: Vec<Feature>,
}

impl Backbone {
    /// The bundled backbone.
    ///
    /// # Errors
    /// Never in a sound build: the file is checked by a test.
    pub fn bundled() -> Result<Self> {
        let features = BUNDLED_FEATURES.map(str::to_owned).to_vec();
        Self::from_bytes(BUNDLED, "backbone-s.onnx", features, InputRange::Byte)
    }

    /// Opens any other ONNX feature extractor: one image input `[1, 3, H, W]` f32 RGB, features `[1, C, H/s, W/s]`.
    ///
    /// # Errors
    /// When the file cannot be read, is no ONNX, or lacks a feature (the error lists what the file has).
    pub fn open(path: &Path, features: Vec<String>, range: InputRange) -> Result<Self> {
        let bytes = storage::read_bounded(path, "read the backbone", onnx::BYTES_MAX)?;
        Self::from_bytes(&bytes, &path.display().to_string(), features, range)
    }

    fn from_bytes(bytes: &[u8], origin: &str, features: Vec<String>, range: InputRange) -> Result<Self> {
        use sha2::Digest as _;
        let model = onnx::decode(bytes, origin)?;
        let opset = model.opset_import.iter().filter(|o| o.domain.is_empty()).map(|o| o.version).max().unwrap_or(0);
        if !(11..=onnx::OPSET).contains(&opset) {
            return Err(Error::new(
                ErrorKind::Refused,
                format!(
                    "{origin} is written in ONNX opset {opset}; opsets 11 to {} are understood: export it again",
                    onnx::OPSET
                ),
            ));
        }
        let mut graph = model.graph.expect("decode checks the graph");
        constants_to_initializers(&mut graph);
        let known: HashSet<&String> = graph.node.iter().flat_map(|n| &n.output).collect();
        if features.is_empty() {
            return Err(Error::new(
                ErrorKind::Config,
                format!("no features of {origin} are named: give --features a,b"),
            ));
        }
        if let Some(missing) = features.iter().find(|f| !known.contains(f)) {
            let has: Vec<&str> = graph.output.iter().map(|o| o.name.as_str()).collect();
            return Err(Error::new(
                ErrorKind::Config,
                format!(
                    "{origin} has no tensor `{missing}`; its outputs are {}: name two of them with --features",
                    has.join(", ")
                ),
            ));
        }
        let needed = onnx::ancestors(&graph, &features);
        let mut keep = needed.iter();
        graph.node.retain(|_| *keep.next().expect("one flag for each node"));
        let used: HashSet<String> = graph.node.iter().flat_map(|n| n.input.iter().cloned()).collect();
        graph.initializer.retain(|t| used.contains(&t.name));
        let constant: HashSet<&String> = graph.initializer.iter().map(|t| &t.name).collect();
        let inputs: Vec<String> = graph
            .input
            .iter()
            .map(|i| &i.name)
            .filter(|n| !constant.contains(n) && used.contains(*n))
            .cloned()
            .collect();
        let [input] = <[String; 1]>::try_from(inputs).map_err(|found| {
            Error::new(ErrorKind::Refused, format!("{origin} must have exactly one image input, it has {found:?}"))
        })?;
        graph.input.retain(|i| i.name == input);
        let digest = const_hex::encode(sha2::Sha256::digest(bytes));
        let name =
            Path::new(origin).file_name().map_or_else(|| origin.to_owned(), |n| n.to_string_lossy().into_owned());
        Ok(Self { graph, opset, input, features, range, is_float: false, digest, name })
    }

    /// The same, but it stays in floats when it is quantised: to measure what int8 costs.
    #[must_use]
    pub fn in_floats(self) -> Self {
        Self { is_float: true, ..self }
    }

    /// The feature tensors' names.
    pub fn features(&self) -> &[String] {
        &self.features
    }

    /// The float model with the given tensors as outputs.
    fn float_model(&self) -> ModelProto {
        ModelProto {
            ir_version: 8,
            opset_import: vec![tract_onnx::pb::OperatorSetIdProto { domain: String::new(), version: self.opset }],
            graph: Some(self.graph.clone()),
            ..ModelProto::default()
        }
    }

    /// Quantises for inputs of `height` x `width`, calibrated on `pictures` (each `[3, H, W]` u8 planar RGB).
    ///
    /// Cost: one float pass of the backbone for each picture.
    ///
    /// # Errors
    /// When the backbone cannot be run at that size or uses something that cannot be written as opset 17.
    pub fn quantise(&self, height: usize, width: usize, pictures: &[Vec<u8>]) -> Result<Quantised> {
        let normalised = self.normalised();
        let cut = quantised_tensors(&self.graph, &self.features);
        let mut names: Vec<String> = cut.iter().cloned().collect();
        names.sort();
        for f in &self.features {
            if !cut.contains(f) {
                names.push(f.clone());
            }
        }
        let plan = ExecutionPlan::new(&normalised, [1, 3, height, width], Elem::F32, &names, &self.name)?;
        let mut running = plan.spawn()?;
        let mut ranges: BTreeMap<&str, (f32, f32)> = BTreeMap::new();
        let mut shapes: HashMap<&str, Vec<usize>> = HashMap::new();
        for picture in pictures {
            for (name, out) in names.iter().zip(running.run(picture)?) {
                let (lo, hi) = out.f32().iter().fold((f32::MAX, f32::MIN), |(l, h), &v| (l.min(v), h.max(v)));
                if !(lo.is_finite() && hi.is_finite()) {
                    return Err(Error::new(
                        ErrorKind::Refused,
                        format!(
                            "{}: tensor `{name}` is not finite on the pictures given; is --input-range right?",
                            self.name
                        ),
                    ));
                }
                let r = ranges.entry(name).or_insert((lo, hi));
                *r = (r.0.min(lo), r.1.max(hi));
                shapes.entry(name).or_insert_with(|| out.shape().to_vec());
            }
        }
        let features =
            self.features.iter().map(|f| self.feature(f, &shapes[f.as_str()], height, width)).collect::<Result<_>>()?;
        let quants = ranges.iter().map(|(n, &(lo, hi))| ((*n).to_owned(), QuantParams::covering(lo, hi))).collect();
        let graph = self.write(height, width, &cut, &quants)?;
        Ok(Quantised { graph, features })
    }

    fn feature(&self, name: &str, shape: &[usize], height: usize, width: usize) -> Result<Feature> {
        match *shape {
            [1, channels, h, w] if h > 0 && w > 0 && height.is_multiple_of(h) && width.is_multiple_of(w) => {
                Ok(Feature { tensor: name.to_owned(), channels, grid: [h, w] })
            }
            _ => Err(Error::new(
                ErrorKind::Refused,
                format!(
                    "{}: feature `{name}` has shape {shape:?} for a {height}x{width} input; a feature must be [1, C, H/s, W/s] with whole strides",
                    self.name
                ),
            )),
        }
    }

    /// The float graph fed with values of 0..=255: the input range's arithmetic in front of it.
    fn normalised(&self) -> ModelProto {
        let mut model = self.float_model();
        let graph = model.graph.as_mut().expect("made with a graph");
        let affine = self.range.affine();
        let mut front = Graph::default();
        let zero = front.f32("zoomgate.in.zero", &[1, 3, 1, 1], &affine.map(|(_, z)| z));
        let scale = front.f32("zoomgate.in.scale", &[1, 3, 1, 1], &affine.map(|(s, _)| s));
        front.node("Sub", &["image", &zero], "zoomgate.in.centred", &[]);
        front.node("Mul", &["zoomgate.in.centred", &scale], "zoomgate.in.real", &[]);
        graph.input[0].name = "image".into();
        rename_input(graph, &self.input, "zoomgate.in.real");
        graph.node.splice(0..0, front.nodes);
        graph.initializer.extend(front.initializers);
        model
    }

    /// Writes the quantised graph: the input's dequantisation, then every node with quantised operands.
    fn write(
        &self,
        height: usize,
        width: usize,
        cut: &HashSet<String>,
        quants: &HashMap<String, QuantParams>,
    ) -> Result<Graph> {
        let mut g = Graph { is_float: self.is_float, ..Graph::default() };
        g.input("image", Elem::U8, &[1, 3, height, width]);
        let constants: HashMap<&str, &TensorProto> =
            self.graph.initializer.iter().map(|t| (t.name.as_str(), t)).collect();
        // Tensor name in the float graph -> name in the quantised one, and its quantisation parameters if it has them.
        let mut renamed: HashMap<String, (String, Option<QuantParams>)> = HashMap::new();
        let mut skip = 0;
        let (scale, zero, after) = self.input_affine(&constants, &mut skip);
        let entry = if let (Some(scale), Some(zero)) = (uniform(&scale), uniform(&zero).and_then(near_byte)) {
            let q = QuantParams { scale, zero_point: zero };
            (g.dequantize("image", q, "image.real"), Some(q))
        } else {
            let raw = g.dequantize("image", QuantParams { scale: 1.0, zero_point: 0 }, "image.raw");
            let z = g.f32("image.mean", &[1, 3, 1, 1], &zero);
            let s = g.f32("image.gain", &[1, 3, 1, 1], &scale);
            let centred = g.node("Sub", &[&raw, &z], "image.centred", &[]);
            let real = g.node("Mul", &[&centred, &s], "image.scaled", &[]);
            let ends = (0..3).flat_map(|c| [0.0, 255.0].map(|v| (v - zero[c]) * scale[c]));
            let (lo, hi) = ends.fold((f32::MAX, f32::MIN), |(l, h), v| (l.min(v), h.max(v)));
            let q = QuantParams::covering(lo, hi);
            (g.fake_quantize(&real, q, "image.real"), Some(q))
        };
        renamed.insert(after, entry);
        let mut copied = HashSet::new();
        for node in &self.graph.node[skip..] {
            let inputs = self.operands(&mut g, node, &constants, &renamed, &mut copied)?;
            for output in &node.output {
                let on_grid = cut.contains(output);
                let name = if on_grid { format!("{output}.float") } else { output.clone() };
                renamed.insert(output.clone(), (name, None));
            }
            g.nodes.push(NodeProto {
                input: inputs,
                output: node.output.iter().map(|o| renamed[o].0.clone()).collect(),
                ..node.clone()
            });
            for output in node.output.iter().filter(|o| cut.contains(*o)) {
                let q = quants[output];
                let name = g.fake_quantize(&format!("{output}.float"), q, output);
                renamed.insert(output.clone(), (name, Some(q)));
            }
        }
        Ok(g)
    }

    /// The nodes at the graph's entry that only shift and scale the whole input, folded into scale and zero point.
    ///
    /// Returns scale and zero for each channel and the tensor after those nodes; `skip` counts the nodes folded.
    fn input_affine(&self, constants: &HashMap<&str, &TensorProto>, skip: &mut usize) -> ([f32; 3], [f32; 3], String) {
        let affine = self.range.affine();
        let (mut scale, mut zero) = (affine.map(|a| a.0), affine.map(|a| a.1));
        let mut at = self.input.clone();
        for node in &self.graph.node {
            let constant = node.input.get(1).and_then(|n| constants.get(n.as_str())).and_then(|t| onnx::floats(t).ok());
            let (Some(c), true) = (constant, node.input.first() == Some(&at)) else { break };
            let [c] = c[..] else { break };
            match node.op_type.as_str() {
                // real - c = (byte - (zero + c / scale)) * scale
                "Sub" => (0..3).for_each(|i| zero[i] += c / scale[i]),
                "Add" => (0..3).for_each(|i| zero[i] -= c / scale[i]),
                "Mul" if c > 0.0 => scale.iter_mut().for_each(|s| *s *= c),
                "Div" if c > 0.0 => scale.iter_mut().for_each(|s| *s /= c),
                _ => break,
            }
            at.clone_from(&node.output[0]);
            *skip += 1;
        }
        (scale, zero, at)
    }

    /// The operand names of `node` in the quantised graph; constants are copied, a convolution's quantised.
    fn operands(
        &self,
        g: &mut Graph,
        node: &NodeProto,
        constants: &HashMap<&str, &TensorProto>,
        renamed: &HashMap<String, (String, Option<QuantParams>)>,
        copied: &mut HashSet<String>,
    ) -> Result<Vec<String>> {
        let x_quant = node.input.first().and_then(|n| renamed.get(n)).and_then(|r| r.1);
        let weight = node.input.get(1).and_then(|n| constants.get(n.as_str()));
        if let ("Conv", Some(q), Some(w)) = (node.op_type.as_str(), x_quant, weight) {
            let dims: Vec<usize> = w.dims.iter().map(|&d| d as usize).collect();
            let values = onnx::floats(w)?;
            let bias = match node.input.get(2).and_then(|n| constants.get(n.as_str())) {
                Some(b) => onnx::floats(b)?,
                None => vec![0.0; dims[0]],
            };
            let scales = onnx::weight_scales(&values, dims[0], Some((&bias, q.scale)));
            let stem = &node.output[0];
            let w = g.weight_i8(&format!("{stem}.w"), &dims, &values, &scales);
            let b = g.bias_i32(&format!("{stem}.b"), &bias, q.scale, &scales);
            return Ok(vec![renamed[&node.input[0]].0.clone(), w, b]);
        }
        let mut names = Vec::with_capacity(node.input.len());
        for input in &node.input {
            if let Some(t) = constants.get(input.as_str()) {
                if copied.insert(input.clone()) {
                    g.initializers.push((*t).clone());
                }
                names.push(input.clone());
            } else if input.is_empty() {
                names.push(String::new());
            } else {
                names.push(renamed.get(input).map_or_else(|| input.clone(), |r| r.0.clone()));
            }
        }
        Ok(names)
    }
}

fn uniform(v: &[f32; 3]) -> Option<f32> {
    (v[0] == v[1] && v[1] == v[2]).then_some(v[0])
}

/// The byte nearest to a zero point, if it is at most half a grey level away (1/510 of the range).
fn near_byte(zero: f32) -> Option<u8> {
    let byte = zero.round_ties_even();
    ((0.0..=255.0).contains(&byte) && (byte - zero).abs() <= 0.5).then_some(byte as u8)
}

fn rename_input(graph: &mut GraphProto, from: &str, to: &str) {
    for name in graph.node.iter_mut().flat_map(|n| &mut n.input) {
        if name == from {
            *name = to.to_owned();
        }
    }
}

/// `Constant` nodes become initializers, so that everything constant is found in one place.
fn constants_to_initializers(graph: &mut GraphProto) {
    let (constant, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut graph.node)
        .into_iter()
        .partition(|n| n.op_type == "Constant" && n.attribute.iter().any(|a| a.name == "value" && a.t.is_some()));
    graph.node = rest;
    for node in constant {
        let tensor = node.attribute.into_iter().find_map(|a| a.t);
        if let (Some(mut t), Some(name)) = (tensor, node.output.into_iter().next()) {
            t.name = name;
            graph.initializer.push(t);
        }
    }
}

/// The activations that are quantised to u8: what convolutions (with their activation), additions, concatenations and
/// average pools produce. Max pools and reshapes keep their input's values, and so its parameters.
fn quantised_tensors(graph: &GraphProto, features: &[String]) -> HashSet<String> {
    let mut readers: HashMap<&str, Vec<&NodeProto>> = HashMap::new();
    for node in &graph.node {
        for input in &node.input {
            readers.entry(input).or_default().push(node);
        }
    }
    let activation = |n: &NodeProto| matches!(n.op_type.as_str(), "Relu" | "Clip");
    let mut cut = HashSet::new();
    for node in &graph.node {
        let Some(out) = node.output.first() else { continue };
        let fused = match readers.get(out.as_str()).map(Vec::as_slice) {
            Some([only]) => activation(only) && !features.contains(out),
            _ => false,
        };
        let computes = matches!(
            node.op_type.as_str(),
            "Conv"
                | "Relu"
                | "Clip"
                | "LeakyRelu"
                | "Add"
                | "Mul"
                | "Concat"
                | "AveragePool"
                | "GlobalAveragePool"
                | "Gemm"
        );
        if computes && !fused {
            cut.insert(out.clone());
        }
    }
    // The input's own shift and scale are folded into its zero point and scale.
    if let Some(first) = graph.input.first() {
        let mut at = &first.name;
        while let Some([only]) = readers.get(at.as_str()).map(Vec::as_slice) {
            if !matches!(only.op_type.as_str(), "Sub" | "Add" | "Mul" | "Div") {
                break;
            }
            at = &only.output[0];
            cut.remove(at);
        }
    }
    cut
}
