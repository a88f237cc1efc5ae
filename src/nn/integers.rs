//! Quantised convolutions on their integers: what the file writes as a float convolution between a `DequantizeLinear`
//! and a `QuantizeLinear` is meant as integer arithmetic, and every runtime with int8 kernels does it that way.
//!
//! ```text
//! x.q ─ DQ(s, z) ─ Conv(DQ(w), DQ(b)) ─ [Relu] ─ Q(t, y)         as written
//! x.q ─ DQ(1, z) ─ Conv(w, b) ─ [Relu] ─ × s·scale(w)/t ─ Q(1, y)  as run
//! ```
//!
//! In float32 the integers are exact up to 2^24, which sums of u8 x i8 products reach in no real network (1,152 of them
//! would have to add up to half of what is possible at all), so the accumulators are those of an integer kernel, on
//! every instruction set, and the rescaling is onnxruntime's: `rint(acc · (s·scale(w)/t)) + y`.
//!
//! As written, products carry the rounding of both scales: 3 activations of 258,048 landed on a neighbouring step in
//! the first layer of the bundled backbone, and each further layer multiplied them, to 12 % of stride 16. As run, every
//! activation of the backbone equals onnxruntime's on the one picture that was compared so, and the worst score of 70 pictures is off by 0.0004 % of the range
//! instead of 0.35 % (tests/peer/run.sh). It costs 8 % of a pass.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};

use super::onnx::{self, Graph};

/// Rewrites every quantised convolution of `graph` that can be run on its integers; the rest stays as it is.
///
/// Left alone: grouped scales of activations, a bias that is not an int32 on the accumulator's scale, a float result
/// that somebody else reads or that is among `outputs`.
pub(super) fn run_on_integers(graph: &mut GraphProto, outputs: &[String]) {
    let found: Vec<Sandwich> = {
        let view = View::of(graph, outputs);
        (0..graph.node.len()).filter_map(|i| view.sandwich(i)).collect()
    };
    let mut added = Graph::default();
    if found.is_empty() {
        return;
    }
    let one = added.f32("zoomgate.one", &[], &[1.0]);
    let mut integers: HashSet<String> = HashSet::new();
    let mut before: HashMap<usize, Vec<NodeProto>> = HashMap::new();
    for s in found {
        let out = graph.node[s.conv].output[0].clone();
        let x = format!("{}.integers", s.x);
        if integers.insert(x.clone()) {
            added.node("DequantizeLinear", &[&s.x, &one, &s.x_zero], &x, &[]);
            before.entry(s.conv).or_default().append(&mut added.nodes);
        }
        let channels = s.rescale.len();
        let w = added.f32(&format!("{out}.w.integers"), &s.w_dims, &s.w);
        let b = added.f32(&format!("{out}.b.integers"), &[channels], &s.b);
        graph.node[s.conv].input = vec![x, w, b];
        let mut accumulator = s.accumulator;
        if accumulator == out {
            // tract multiplies a convolution's weights by what directly follows it, and they would be integers no more.
            let least = added.f32(&format!("{out}.least"), &[], &[f32::MIN]);
            accumulator = added.node("Max", &[&out, &least], &format!("{out}.accumulator"), &[]);
        }
        let by = added.f32(&format!("{out}.rescale"), &[1, channels, 1, 1], &s.rescale);
        let steps = added.node("Mul", &[&accumulator, &by], &format!("{out}.steps"), &[]);
        before.entry(s.quantize).or_default().append(&mut added.nodes);
        let quantize = &mut graph.node[s.quantize];
        quantize.input[0] = steps;
        quantize.input[1].clone_from(&one);
    }
    let nodes = std::mem::take(&mut graph.node);
    for (i, node) in nodes.into_iter().enumerate() {
        graph.node.extend(before.remove(&i).into_iter().flatten());
        graph.node.push(node);
    }
    graph.initializer.extend(added.initializers);
}

/// A convolution between a dequantisation and a quantisation, and its numbers.
struct Sandwich {
    conv: usize,
    quantize: usize,
    /// What of the chain lies right before the quantisation: a ReLU's tensor, or the convolution's own.
    accumulator: String,
    /// The stored input and its zero point, by name.
    x: String,
    x_zero: String,
    w: Vec<f32>,
    w_dims: Vec<usize>,
    b: Vec<f32>,
    /// From the accumulator to steps of the output, for each output channel.
    rescale: Vec<f32>,
}

/// Who makes and who reads what.
struct View<'a> {
    nodes: &'a [NodeProto],
    constants: HashMap<&'a str, &'a TensorProto>,
    maker: HashMap<&'a str, &'a NodeProto>,
    readers: HashMap<&'a str, Vec<usize>>,
    outputs: HashSet<&'a str>,
}

impl<'a> View<'a> {
    fn of(graph: &'a GraphProto, outputs: &'a [String]) -> Self {
        let mut readers: HashMap<&str, Vec<usize>> = HashMap::new();
        for (i, node) in graph.node.iter().enumerate() {
            for input in &node.input {
                readers.entry(input).or_default().push(i);
            }
        }
        Self {
            nodes: &graph.node,
            constants: graph.initializer.iter().map(|t| (t.name.as_str(), t)).collect(),
            maker: graph.node.iter().flat_map(|n| n.output.iter().map(move |o| (o.as_str(), n))).collect(),
            readers,
            outputs: outputs.iter().map(String::as_str).collect(),
        }
    }

    fn sandwich(&self, conv: usize) -> Option<Sandwich> {
        let node = &self.nodes[conv];
        let [x, w] = (node.op_type == "Conv").then_some([node.input.first()?, node.input.get(1)?])?;
        let x = self.dequantize(x)?;
        let x_scale = self.scalar(&x.input[1])?;
        let w = self.dequantize(w)?;
        let (w_stored, w_scale) = (self.constants.get(w.input[0].as_str())?, self.floats(&w.input[1])?);
        let w_dims: Vec<usize> = w_stored.dims.iter().map(|&d| usize::try_from(d).ok()).collect::<Option<_>>()?;
        let channels = *w_dims.first()?;
        let axis = w.attribute.iter().find(|a| a.name == "axis").map_or(1, |a| a.i);
        if w_scale.len() != 1 && (w_scale.len() != channels || axis != 0) {
            return None;
        }
        let scale = |c: usize| w_scale[if w_scale.len() == 1 { 0 } else { c }];
        let values = self.integers(&w.input[0], DataType::Int8)?;
        let zeros = w.input.get(2).map_or(Some(vec![0.0]), |z| self.integers(z, DataType::Int8))?;
        let per = values.len() / channels;
        let w = values.iter().enumerate().map(|(i, v)| v - zeros[if zeros.len() == 1 { 0 } else { i / per }]).collect();
        let b = match node.input.get(2).filter(|b| !b.is_empty()) {
            None => vec![0.0; channels],
            Some(b) => {
                let b = self.dequantize(b)?;
                let scales = self.floats(&b.input[1])?;
                let is_accumulators = |(c, s): (usize, &f32)| (s / (x_scale * scale(c)) - 1.0).abs() < 1e-5;
                if scales.len() != channels || !scales.iter().enumerate().all(is_accumulators) {
                    return None;
                }
                self.integers(&b.input[0], DataType::Int32)?
            }
        };
        let (quantize, accumulator) = self.closing(&node.output[0])?;
        let y_scale = self.scalar(&self.nodes[quantize].input[1])?;
        let rescale = (0..channels).map(|c| x_scale * scale(c) / y_scale).collect();
        let x_zero = x.input.get(2)?.clone();
        Some(Sandwich { conv, quantize, accumulator, x: x.input[0].clone(), x_zero, w, w_dims, b, rescale })
    }

    /// The quantisation that alone reads `tensor`, directly or behind a ReLU, and the last tensor before it that counts.
    ///
    /// A Clip whose bounds lie outside what the quantisation can store does nothing; it is passed over.
    fn closing(&self, tensor: &str) -> Option<(usize, String)> {
        let [reader] = self.readers.get(tensor)?[..] else { return None };
        let node = &self.nodes[reader];
        match node.op_type.as_str() {
            _ if self.outputs.contains(tensor) => None,
            "Relu" => self.closing(&node.output[0]),
            "Clip" => {
                let (quantize, _) = self.closing(&node.output[0])?;
                self.is_wide(node, &self.nodes[quantize]).then(|| (quantize, tensor.to_owned()))
            }
            "QuantizeLinear" => Some((reader, tensor.to_owned())),
            _ => None,
        }
    }

    fn is_wide(&self, clip: &NodeProto, quantize: &NodeProto) -> bool {
        let bound = |i: usize, none: f32| match clip.input.get(i).filter(|n| !n.is_empty()) {
            None => Some(none),
            Some(name) => self.floats(name).and_then(|v| v.first().copied()),
        };
        let zero = quantize.input.get(2).and_then(|z| self.constants.get(z.as_str())).and_then(|z| z.raw_data.first());
        let (Some(scale), Some(&zero)) = (self.scalar(&quantize.input[1]), zero) else { return false };
        let (Some(low), Some(high)) = (bound(1, f32::MIN), bound(2, f32::MAX)) else { return false };
        let slack = scale * 1e-3;
        -f32::from(zero) * scale >= low - slack && (255.0 - f32::from(zero)) * scale <= high + slack
    }

    fn dequantize(&self, tensor: &str) -> Option<&'a NodeProto> {
        self.maker.get(tensor).copied().filter(|n| n.op_type == "DequantizeLinear" && n.input.len() >= 2)
    }

    fn floats(&self, name: &str) -> Option<Vec<f32>> {
        onnx::floats(self.constants.get(name)?).ok()
    }

    fn scalar(&self, name: &str) -> Option<f32> {
        let [scale] = self.floats(name)?[..] else { return None };
        (scale.is_finite() && scale > 0.0).then_some(scale)
    }

    /// The values of an integer constant of the given type, stored raw.
    fn integers(&self, name: &str, data_type: DataType) -> Option<Vec<f32>> {
        let t = self.constants.get(name).filter(|t| t.data_type == data_type as i32)?;
        let count: usize = t.dims.iter().map(|&d| usize::try_from(d).unwrap_or(0)).product();
        let values: Vec<f32> = match data_type {
            DataType::Int8 => t.raw_data.iter().map(|&b| f32::from(b as i8)).collect(),
            DataType::Int32 => {
                t.raw_data.chunks_exact(4).map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]) as f32).collect()
            }
            _ => return None,
        };
        (values.len() == count).then_some(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::onnx::{Attr, Elem, Quant};
    use crate::nn::plan::Plan;

    const SIDE: usize = 9;
    const CHANNELS: usize = 5;
    const X: Quant = Quant { scale: 0.0173, zero: 117 };
    const SCALES: [f32; CHANNELS] = [0.0031, 0.011, 0.0007, 0.02, 0.0053];

    /// A fixed sequence of bytes.
    fn bytes(count: usize, seed: u32) -> Vec<u8> {
        (0..count as u32).map(|i| ((i + seed).wrapping_mul(2_654_435_761) >> 23) as u8).collect()
    }

    /// image ─ 3x3 convolution of stride 2 ─ `activation` ─ grid `y`.
    fn graph(activation: Option<(&str, &[f32])>, y: Quant) -> Graph {
        let mut g = Graph::default();
        g.input("image", Elem::U8, &[1, 3, SIDE, SIDE]);
        let x = g.dequantize("image", X, "x");
        let (w, b) = numbers();
        let real = |(i, v): (usize, &i64)| *v as f32 * SCALES[i / 27];
        let w: Vec<f32> = w.iter().enumerate().map(real).collect();
        let b: Vec<f32> = b.iter().zip(SCALES).map(|(&b, s)| b as f32 * s * X.scale).collect();
        let w = g.weight_i8("w", &[CHANNELS, 3, 3, 3], &w, &SCALES);
        let b = g.bias_i32("b", &b, X.scale, &SCALES);
        let attrs =
            [Attr::Ints("kernel_shape", &[3, 3]), Attr::Ints("pads", &[1, 1, 1, 1]), Attr::Ints("strides", &[2, 2])];
        let mut last = g.node("Conv", &[&x, &w, &b], "conv", &attrs);
        if let Some((op, bounds)) = activation {
            let bounds: Vec<String> = (0..).zip(bounds).map(|(i, &v)| g.f32(&format!("bound{i}"), &[], &[v])).collect();
            let inputs: Vec<&str> = std::iter::once("conv").chain(bounds.iter().map(String::as_str)).collect();
            last = g.node(op, &inputs, "activated", &[]);
        }
        g.fake_quantize(&last, y, "y");
        g
    }

    /// Weights `[5, 3, 3, 3]` and biases `[5]` as integers.
    fn numbers() -> (Vec<i64>, Vec<i64>) {
        let w = bytes(CHANNELS * 27, 7).iter().map(|&v| i64::from(v as i8).max(-127)).collect();
        (w, vec![-4000, 0, 777, 15_000, -1])
    }

    /// What an integer kernel gives, `[5, 5, 5]`.
    fn reference(image: &[u8], y: Quant, least: f32) -> Vec<u8> {
        let (w, b) = numbers();
        let at = |c: usize, row: usize, column: usize| match (row.checked_sub(1), column.checked_sub(1)) {
            (Some(r), Some(k)) if r < SIDE && k < SIDE => i64::from(image[(c * SIDE + r) * SIDE + k]) - 117,
            _ => 0,
        };
        let mut out = Vec::new();
        for (o, (bias, scale)) in b.iter().zip(SCALES).enumerate() {
            for (row, column) in (0..5).flat_map(|r| (0..5).map(move |c| (2 * r, 2 * c))) {
                let taps = (0..27).map(|t| at(t / 9, row + t % 9 / 3, column + t % 3) * w[o * 27 + t]);
                let acc = (bias + taps.sum::<i64>()) as f32;
                let steps = (acc * (X.scale * scale / y.scale)).max(least).round_ties_even();
                out.push((steps + f32::from(y.zero)).clamp(0.0, 255.0) as u8);
            }
        }
        out
    }

    fn run(g: Graph, outputs: &[&str], image: &[u8]) -> Vec<u8> {
        let outputs: Vec<String> = outputs.iter().map(|o| (*o).to_owned()).collect();
        let plan = Plan::new(&g.into_model("test", &[]), [1, 3, SIDE, SIDE], Elem::U8, &outputs, "the test").unwrap();
        plan.spawn().unwrap().run(image).unwrap()[0].u8().to_vec()
    }

    #[test]
    fn every_step_is_that_of_an_integer_kernel() {
        let signed = Quant { scale: 0.31, zero: 131 };
        let positive = Quant { scale: 6.0 / 255.0, zero: 0 };
        type Case<'a> = (&'a str, Option<(&'a str, &'a [f32])>, Quant, f32);
        let cases: [Case; 4] = [
            ("linear", None, signed, f32::MIN),
            ("relu", Some(("Relu", &[])), signed, 0.0),
            ("relu from 0", Some(("Relu", &[])), positive, 0.0),
            ("clip", Some(("Clip", &[0.0, 6.0])), positive, 0.0),
        ];
        for (name, activation, y, least) in cases {
            for seed in 0..40 {
                let image = bytes(3 * SIDE * SIDE, 1000 * seed);
                let expected = reference(&image, y, least);
                let distinct = expected.iter().collect::<std::collections::BTreeSet<_>>().len();
                assert!(distinct > 10, "{name}: {distinct} values prove little");
                assert_eq!(run(graph(activation, y), &["y.q"], &image), expected, "{name}, seed {seed}");
            }
        }
    }

    #[test]
    fn what_somebody_else_reads_stays_as_it_is() {
        let count = |outputs: &[&str], activation| {
            let mut model = graph(activation, Quant { scale: 0.31, zero: 131 }).into_model("test", &[]);
            let graph = model.graph.as_mut().unwrap();
            let outputs: Vec<String> = outputs.iter().map(|o| (*o).to_owned()).collect();
            run_on_integers(graph, &outputs);
            graph.node.iter().filter(|n| n.op_type == "Mul").count()
        };
        assert_eq!(count(&["y.q"], None), 1);
        assert_eq!(count(&["y.q", "conv"], None), 0, "the float result is wanted");
        // This grid stores -40 to 38, the clip cuts at 6: it is no formality.
        assert_eq!(count(&["y.q"], Some(("Clip", &[0.0, 6.0]))), 0);
    }
}
