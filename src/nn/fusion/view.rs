//! Who makes and who reads what in a graph, and which of its nodes are an int8 operator in other words.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};

use super::super::{check, onnx};
use super::{Becomes, Branch, Fused, FusedAdd, FusedConv, FusedPool, FusedSquares, FusedStack, FusedStore, Grid, Op};

pub(super) struct View<'a> {
    pub(super) nodes: &'a [NodeProto],
    constants: HashMap<&'a str, &'a TensorProto>,
    maker: HashMap<&'a str, usize>,
    readers: HashMap<&'a str, Vec<usize>>,
    outputs: HashSet<&'a str>,
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

impl<'a> View<'a> {
    pub(super) fn of(graph: &'a GraphProto, outputs: &'a [String]) -> Self {
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
        }
    }

    /// Nodes, each after those that it reads; none where one waits for itself.
    pub(super) fn order(&self) -> Vec<usize> {
        check::order(self.nodes).unwrap_or_default()
    }

    /// Whether anything but `inner` nodes and these `steps` reads `tensor`.
    pub(super) fn is_read_outside(&self, tensor: &str, inner: &HashSet<usize>, steps: &[Fused]) -> bool {
        let feeds_a_step = |dequantised: &str| {
            let inside = |r: &usize| inner.contains(r);
            !self.outputs.contains(dequantised) && self.readers.get(dequantised).is_none_or(|r| r.iter().all(inside))
        };
        let is_step = steps.iter().any(|s| s.x.iter().any(|x| x == tensor));
        let readers = self.readers.get(tensor).map_or(&[][..], |r| r);
        // A dequantisation that only steps read is written, but never needed.
        let is_needless =
            |r: usize| is_step && self.nodes[r].op_type == "DequantizeLinear" && feeds_a_step(&self.nodes[r].output[0]);
        let is_outer = |&r: &usize| !inner.contains(&r) && !is_needless(r);
        self.outputs.contains(tensor) || readers.iter().any(is_outer)
    }

    pub(super) fn fused(&self, i: usize) -> Option<Fused> {
        let node = &self.nodes[i];
        match node.op_type.as_str() {
            "Conv" => self.conv(i),
            "Add" => self.add(i),
            "MaxPool" => self.max_pool(i),
            "ReduceSumSquare" => self.squares(i),
            "Concat" => self.stack(i),
            _ => None,
        }
    }

    fn conv(&self, i: usize) -> Option<Fused> {
        let node = &self.nodes[i];
        let (x, x_grid) = self.stored(node.input.first()?)?;
        let w = self.dequantize(node.input.get(1)?)?;
        let stored = self.constants.get(w.input[0].as_str())?;
        let dims: Vec<usize> = stored.dims.iter().map(|&d| usize::try_from(d).ok()).collect::<Option<_>>()?;
        let dims: [usize; 4] = dims.try_into().ok()?;
        let outputs = dims[0];
        let w_scale = self.floats(&w.input[1])?;
        if w_scale.len() != 1 && (w_scale.len() != outputs || int(w, "axis", 1) != 0) {
            return None;
        }
        let scale = |c: usize| w_scale[if w_scale.len() == 1 { 0 } else { c }];
        if w.input.get(2).is_some_and(|z| self.bytes(z, DataType::Int8).is_none_or(|z| z.iter().any(|&z| z != 0))) {
            return None;
        }
        let weights: Vec<i8> = self.bytes(&w.input[0], DataType::Int8)?.iter().map(|&b| b as i8).collect();
        if weights.len() != dims.iter().product::<usize>() || outputs == 0 || string(node, "auto_pad").is_some() {
            return None;
        }
        let (bias, real_bias) = match node.input.get(2).filter(|b| !b.is_empty()) {
            None => (vec![0; outputs], vec![0.0; outputs]),
            Some(b) => self.bias(b, outputs, |c| x_grid.scale * scale(c))?,
        };
        let real: Vec<f32> = (0..outputs).map(|c| x_grid.scale * scale(c)).collect();
        let out = &node.output[0];
        let (becomes, y, nodes) = if let Some(closing) = self.closing(out, u8::MIN, u8::MAX) {
            let Closing { nodes, y, grid, low, high } = closing;
            let scale = (0..outputs).map(|c| x_grid.scale * scale(c) / grid.scale).collect();
            (Becomes::Bytes { scale, grid, low, high }, y, nodes)
        } else if let Some(max) = self.greatest(out) {
            // The accumulators' own bias would be rounded.
            let y = self.nodes[max].output[0].clone();
            (Becomes::Greatest { scale: real, bias: real_bias }, y, vec![max])
        } else {
            (Becomes::Floats { scale: real, bias: real_bias }, out.clone(), Vec::new())
        };
        let bias = if matches!(becomes, Becomes::Bytes { .. }) { bias } else { vec![0; outputs] };
        let op = FusedConv {
            x: x_grid,
            dims,
            weights,
            bias,
            stride: pair(node, "strides", 1)?,
            pads: pads(node)?,
            dilation: pair(node, "dilations", 1)?,
            groups: usize::try_from(int(node, "group", 1)).ok()?,
            becomes,
        };
        Some(self.made(i, vec![x], y, Op::Conv(op), nodes))
    }

    /// A bias as accumulator steps and as floats. One that is written in floats is rounded to steps, half of one at most.
    fn bias(&self, name: &str, outputs: usize, scale: impl Fn(usize) -> f32) -> Option<(Vec<i32>, Vec<f32>)> {
        let (steps, floats): (Vec<i32>, Vec<f32>) = if let Some(b) = self.dequantize(name) {
            let scales = self.floats(&b.input[1])?;
            let is_accumulators = |(c, s): (usize, &f32)| (s / scale(c) - 1.0).abs() < 1e-5;
            if scales.len() != outputs || !scales.iter().enumerate().all(is_accumulators) {
                return None;
            }
            let steps: Vec<i32> = self
                .bytes(&b.input[0], DataType::Int32)?
                .as_chunks::<4>()
                .0
                .iter()
                .map(|b| i32::from_le_bytes(*b))
                .collect();
            let floats = steps.iter().zip(&scales).map(|(&b, s)| b as f32 * s).collect();
            (steps, floats)
        } else {
            let floats = self.floats(name)?;
            let steps = floats.iter().enumerate().map(|(c, b)| (b / scale(c)).round_ties_even() as i32).collect();
            (steps, floats)
        };
        (steps.len() == outputs).then_some((steps, floats))
    }

    fn add(&self, i: usize) -> Option<Fused> {
        let node = &self.nodes[i];
        let (a, a_grid) = self.stored(node.input.first()?)?;
        let (b, b_grid) = self.stored(node.input.get(1)?)?;
        let Closing { nodes, y, grid, low, high } = self.closing(&node.output[0], u8::MIN, u8::MAX)?;
        let op = Op::Add(FusedAdd { x: [a_grid, b_grid], y: grid, low, high });
        Some(self.made(i, vec![a, b], y, op, nodes))
    }

    fn max_pool(&self, i: usize) -> Option<Fused> {
        let node = &self.nodes[i];
        let (x, grid) = self.stored(node.input.first()?)?;
        let closing = self.closing(&node.output[0], u8::MIN, u8::MAX)?;
        // Quantising rounds nothing where the grid stays.
        if closing.grid != grid || (closing.low, closing.high) != (u8::MIN, u8::MAX) || int(node, "ceil_mode", 0) != 0 {
            return None;
        }
        if string(node, "auto_pad").is_some() || pair(node, "dilations", 1)? != [1, 1] || node.output.len() > 1 {
            return None;
        }
        let [kernel, stride] = [pair(node, "kernel_shape", 0)?, pair(node, "strides", 1)?];
        let op = Op::MaxPool(FusedPool { grid, kernel, stride, pads: pads(node)? });
        Some(self.made(i, vec![x], closing.y, op, closing.nodes))
    }

    /// A quantisation of floats whose result is one of those `wanted`.
    pub(super) fn store(&self, i: usize, wanted: &HashSet<String>) -> Option<Fused> {
        let node = &self.nodes[i];
        if node.op_type != "QuantizeLinear" || !wanted.contains(&node.output[0]) {
            return None;
        }
        let grid = self.grid(node)?;
        let leaky = self
            .maker
            .get(node.input[0].as_str())
            .map(|&m| (m, &self.nodes[m]))
            .filter(|(_, n)| n.op_type == "LeakyRelu" && self.is_alone(&n.output[0]));
        let (x, leak, nodes) = match leaky {
            Some((m, leaky)) => (leaky.input[0].clone(), Some(float(leaky, "alpha", 0.01)), vec![m]),
            None => (node.input[0].clone(), None, Vec::new()),
        };
        let is_constant = self.constants.contains_key(x.as_str());
        (!is_constant)
            .then(|| self.made(i, vec![x], node.output[0].clone(), Op::Store(FusedStore { grid, leak }), nodes))
    }

    fn squares(&self, i: usize) -> Option<Fused> {
        let node = &self.nodes[i];
        if int(node, "keepdims", 1) != 1 || ints(node, "axes")? != [1] {
            return None;
        }
        let y = node.output[0].clone();
        if let Some((x, grid)) = self.stored(&node.input[0]) {
            return Some(self.made(i, vec![x], y, Op::Squares(FusedSquares { x: grid, from: None }), Vec::new()));
        }
        let step = |tensor: &str, op: &str| -> Option<(usize, &'a NodeProto, Vec<f32>)> {
            let m = *self.maker.get(tensor)?;
            let n = &self.nodes[m];
            let fits = n.op_type == op && self.is_alone(tensor);
            fits.then(|| Some((m, n, self.constant_map(n.input.get(1)?)?)))?
        };
        let (mul, scaled, gain) = step(&node.input[0], "Mul")?;
        let (sub, centred, mean) = step(&scaled.input[0], "Sub")?;
        let (x, grid) = self.stored(&centred.input[0])?;
        let op = Op::Squares(FusedSquares { x: grid, from: Some((mean, gain)) });
        Some(self.made(i, vec![x], y, op, vec![mul, sub]))
    }

    fn stack(&self, i: usize) -> Option<Fused> {
        let node = &self.nodes[i];
        if int(node, "axis", 0) != 1 {
            return None;
        }
        let closing = self.closing(&node.output[0], u8::MIN, u8::MAX)?;
        if (closing.low, closing.high) != (u8::MIN, u8::MAX) {
            return None;
        }
        let mut nodes = closing.nodes;
        let (mut x, mut branches) = (Vec::new(), Vec::new());
        for input in &node.input {
            let (stored, branch, of) = self.branch(input)?;
            x.push(stored);
            branches.push(branch);
            nodes.extend(of);
        }
        Some(self.made(i, x, closing.y, Op::Stack(FusedStack { branches, y: closing.grid }), nodes))
    }

    /// What one input of a concatenation is made of, from its end to its beginning.
    fn branch(&self, tensor: &str) -> Option<(String, Branch, Vec<usize>)> {
        let (mut at, mut nodes) = (tensor, Vec::new());
        let mut branch =
            Branch { x: Grid { scale: 1.0, zero: 0, is_signed: false }, window: [1, 1], gain: Vec::new(), repeat: 1 };
        loop {
            if let Some((stored, grid)) = self.stored(at) {
                branch.x = grid;
                return Some((stored, branch, nodes));
            }
            let m = *self.maker.get(at)?;
            let n = &self.nodes[m];
            if !self.is_alone(at) {
                return None;
            }
            match n.op_type.as_str() {
                // In this order alone: what comes later in the graph comes first here.
                "Resize" if branch.gain.is_empty() && branch.window == [1, 1] && branch.repeat == 1 => {
                    branch.repeat = self.repeats(n)?;
                }
                "Mul" if branch.gain.is_empty() && branch.window == [1, 1] => {
                    branch.gain = self.floats(n.input.get(1)?)?;
                    let dims = &self.constants.get(n.input[1].as_str())?.dims;
                    if dims.iter().filter(|&&d| d != 1).count() > 1
                        || dims.len() < 3
                        || dims[dims.len() - 3] != branch.gain.len() as i64
                    {
                        return None;
                    }
                }
                "AveragePool" if branch.window == [1, 1] => {
                    let [height, width] = pair(n, "kernel_shape", 0)?;
                    let around = [height / 2, width / 2, height / 2, width / 2];
                    let is_plain =
                        height % 2 == 1 && width % 2 == 1 && pads(n)? == around && pair(n, "strides", 1)? == [1, 1];
                    let is_ours = is_plain && pair(n, "dilations", 1)? == [1, 1] && int(n, "count_include_pad", 0) == 0;
                    if !is_ours || string(n, "auto_pad").is_some() || int(n, "ceil_mode", 0) != 0 {
                        return None;
                    }
                    branch.window = [height, width];
                }
                _ => return None,
            }
            nodes.push(m);
            at = n.input[0].as_str();
        }
    }

    /// How often a nearest-neighbour resize repeats each cell along both sides.
    fn repeats(&self, node: &NodeProto) -> Option<usize> {
        let is = |name: &str, value: &[u8]| string(node, name) == Some(value);
        if !is("mode", b"nearest")
            || !is("coordinate_transformation_mode", b"asymmetric")
            || !is("nearest_mode", b"floor")
        {
            return None;
        }
        match self.floats(node.input.get(2)?)?[..] {
            [1.0, 1.0, y, x] if y == x && y.fract() == 0.0 && (1.0..=64.0).contains(&y) => Some(y as usize),
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
    fn closing(&self, tensor: &str, low: u8, high: u8) -> Option<Closing> {
        let [reader] = self.readers.get(tensor)?[..] else { return None };
        let node = &self.nodes[reader];
        match node.op_type.as_str() {
            _ if self.outputs.contains(tensor) => None,
            "QuantizeLinear" if node.input[0] == tensor => {
                let grid = self.grid(node)?;
                let y = node.output[0].clone();
                (low <= high).then(|| Closing { nodes: vec![reader], y, grid, low, high })
            }
            "Relu" | "Clip" if node.input[0] == tensor => {
                let mut rest = self.closing(&node.output[0], low, high)?;
                let bound = |i: usize, none: f32| match node.input.get(i).filter(|n| !n.is_empty()) {
                    None => Some(none),
                    Some(name) => self.scalar(name),
                };
                let is_relu = node.op_type == "Relu";
                let least = if is_relu { 0.0 } else { bound(1, f32::MIN)? };
                let greatest = if is_relu { f32::MAX } else { bound(2, f32::MAX)? };
                // Rounding keeps an order, so that clipping before it is clipping after it.
                rest.low = rest.low.max(on_grid(least, rest.grid)?);
                rest.high = rest.high.min(on_grid(greatest, rest.grid)?);
                rest.nodes.push(reader);
                (rest.low <= rest.high).then_some(rest)
            }
            _ => None,
        }
    }

    /// The maximum over channels that alone reads `tensor`.
    fn greatest(&self, tensor: &str) -> Option<usize> {
        let [reader] = self.readers.get(tensor)?[..] else { return None };
        let node = &self.nodes[reader];
        let keeps = int(node, "keepdims", 1) == 1;
        (node.op_type == "ReduceMax" && keeps && ints(node, "axes")? == [1] && !self.outputs.contains(tensor))
            .then_some(reader)
    }

    /// The stored tensor that a dequantised one comes from.
    fn stored(&self, tensor: &str) -> Option<(String, Grid)> {
        let dequantize = self.dequantize(tensor)?;
        let stored = dequantize.input[0].as_str();
        let grid = self.grid(dequantize)?;
        (!self.constants.contains_key(stored)).then(|| (stored.to_owned(), grid))
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
        let size = if data_type == DataType::Int32 { 4 } else { 1 };
        if !t.raw_data.is_empty() {
            return (Some(t.raw_data.len()) == count.checked_mul(size)).then(|| t.raw_data.clone());
        }
        if t.int32_data.len() != count {
            return None;
        }
        Some(match size {
            4 => t.int32_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
            _ => t.int32_data.iter().map(|&v| v as u8).collect(),
        })
    }
}

/// The byte that stores `value`.
fn on_grid(value: f32, grid: Grid) -> Option<u8> {
    let steps = (value / grid.scale).round_ties_even() + f32::from(grid.zero);
    (!steps.is_nan()).then(|| steps.clamp(0.0, 255.0) as u8)
}

fn int(node: &NodeProto, name: &str, default: i64) -> i64 {
    node.attribute.iter().find(|a| a.name == name).map_or(default, |a| a.i)
}

fn float(node: &NodeProto, name: &str, default: f32) -> f32 {
    node.attribute.iter().find(|a| a.name == name).map_or(default, |a| a.f)
}

fn ints<'a>(node: &'a NodeProto, name: &str) -> Option<&'a [i64]> {
    node.attribute.iter().find(|a| a.name == name).map(|a| &a.ints[..])
}

/// A string attribute that says something.
fn string<'a>(node: &'a NodeProto, name: &str) -> Option<&'a [u8]> {
    let text = node.attribute.iter().find(|a| a.name == name).map(|a| &a.s[..])?;
    (!text.is_empty() && text != b"NOTSET").then_some(text)
}

/// Two sizes, or the default twice.
fn pair(node: &NodeProto, name: &str, default: usize) -> Option<[usize; 2]> {
    let Some(values) = ints(node, name) else { return Some([default; 2]) };
    let values: Vec<usize> = values.iter().map(|&v| usize::try_from(v).ok()).collect::<Option<_>>()?;
    values.try_into().ok()
}

/// Pads as ONNX orders them: top, left, bottom, right.
fn pads(node: &NodeProto) -> Option<[usize; 4]> {
    let Some(values) = ints(node, "pads") else { return Some([0; 4]) };
    let values: Vec<usize> = values.iter().map(|&v| usize::try_from(v).ok()).collect::<Option<_>>()?;
    values.try_into().ok()
}
