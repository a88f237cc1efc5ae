//! Random networks in QOperator form, and what each of their nodes means.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tract_onnx::pb::tensor_proto::DataType;

use super::windows::{cells, inside};
use crate::nn::onnx::{Attr, Elem, Graph};

/// A stored tensor, `[1, channels, height, width]`, or `[1, channels]` where both sides are 0.
#[derive(Clone, Debug)]
pub(super) struct Tensor {
    pub(super) name: String,
    pub(super) shape: [usize; 3],
    pub(super) scale: f32,
    /// As an unsigned byte.
    pub(super) zero: u8,
    pub(super) is_signed: bool,
    /// Whether fractions of bytes are cut off rather than rounded.
    pub(super) cuts: bool,
}

/// From the numbers of all tensors to those of one.
pub(super) type Rule = Box<dyn Fn(&[Vec<f64>]) -> Vec<f64>>;

pub(super) struct Network {
    pub(super) graph: Graph,
    pub(super) rng: ChaCha8Rng,
    pub(super) image: Vec<u8>,
    /// Stored tensors, of which the first is the input.
    pub(super) made: Vec<Tensor>,
    pub(super) rules: Vec<Rule>,
}

impl Tensor {
    /// What bytes stand for.
    pub(super) fn real(&self, bytes: &[u8]) -> Vec<f64> {
        let flip = if self.is_signed { 0x80 } else { 0 };
        bytes.iter().map(|b| (f64::from(b ^ flip) - f64::from(self.zero)) * f64::from(self.scale)).collect()
    }

    /// Whether `byte` stores `real`: either neighbour does where it is half way between two, but for what f32 cannot tell.
    pub(super) fn stores(&self, byte: u8, real: f64) -> bool {
        let flip = if self.is_signed { 0x80 } else { 0 };
        let (byte, close) = (f64::from(byte ^ flip), 1e-3);
        let steps = real / f64::from(self.scale) + f64::from(self.zero);
        if !self.cuts {
            return (byte - steps.clamp(0.0, 255.0)).abs() <= 0.5 + close;
        }
        // Towards the byte 0, which of signed bytes is in the middle.
        let (byte, steps) = (byte - f64::from(flip), steps - f64::from(flip));
        let inwards = (steps - byte) * if steps < 0.0 { -1.0 } else { 1.0 };
        (-close..1.0 + close).contains(&inwards)
    }

    fn is_row(&self) -> bool {
        self.shape[1] == 0
    }
}

impl Network {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let shape = [3, rng.random_range(1..12), rng.random_range(1..12)];
        let mut graph = Graph::default();
        graph.input("image", Elem::U8, &[1, 3, shape[1], shape[2]]);
        let is_extreme = rng.random_bool(0.2);
        let byte = |rng: &mut ChaCha8Rng| if is_extreme { [0, 255][rng.random_range(0..2)] } else { rng.random() };
        let image = (0..3 * shape[1] * shape[2]).map(|_| byte(&mut rng)).collect();
        let zero = [0, 255, 117][rng.random_range(0..3)];
        let input = Tensor { name: "image".into(), shape, scale: 0.0173, zero, is_signed: false, cuts: false };
        Self { graph, rng, image, made: vec![input], rules: vec![Box::new(|_| Vec::new())] }
    }

    /// One of the last pictures.
    pub(super) fn pick(&mut self) -> usize {
        let pictures: Vec<usize> = (0..self.made.len()).rev().filter(|&i| !self.made[i].is_row()).collect();
        pictures[self.rng.random_range(0..pictures.len().min(3))]
    }

    pub(super) fn next_name(&self) -> String {
        format!("t{}", self.made.len())
    }

    /// A tensor of `shape` on a grid for numbers up to `reach`.
    pub(super) fn tensor(&mut self, shape: [usize; 3], reach: f32) -> Tensor {
        let scale = reach / self.rng.random_range(60.0..130.0);
        let zero = match self.rng.random_range(0..4) {
            0 => [0, 255][self.rng.random_range(0..2)],
            _ => self.rng.random_range(100..150),
        };
        let is_signed = self.rng.random_bool(0.4);
        Tensor { name: self.next_name(), shape, scale, zero, is_signed, cuts: false }
    }

    pub(super) fn reach(&self, i: usize) -> f32 {
        128.0 * self.made[i].scale
    }

    /// A zero point, a byte of the tensor's type.
    pub(super) fn zero(&mut self, of: &Tensor, name: &str) -> String {
        let (data_type, byte) = match of.is_signed {
            true => (DataType::Int8, of.zero ^ 0x80),
            false => (DataType::Uint8, of.zero),
        };
        self.graph.constant(name, &[], data_type, vec![byte])
    }

    /// Name, scale and zero point of tensor `i`, as `role` of the next one.
    pub(super) fn operand(&mut self, i: usize, role: &str) -> [String; 3] {
        let (x, prefix) = (self.made[i].clone(), format!("{}.{role}", self.next_name()));
        let scale = self.graph.f32(&format!("{prefix}.scale"), &[], &[x.scale]);
        let zero = self.zero(&x, &format!("{prefix}.zero"));
        [x.name, scale, zero]
    }

    /// Scale and zero point of a tensor that is made.
    pub(super) fn grid(&mut self, y: &Tensor) -> [String; 2] {
        let scale = self.graph.f32(&format!("{}.scale", y.name), &[1], &[y.scale]);
        [scale, self.zero(y, &format!("{}.zero", y.name))]
    }

    /// Adds the node of `y`, which `rule` says the meaning of.
    pub(super) fn add_node(&mut self, op: &str, inputs: &[String], y: Tensor, attributes: &[Attr<'_>], rule: Rule) {
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        self.graph.node(op, &inputs, &y.name, attributes);
        if let Some(node) = self.graph.nodes.last_mut() {
            node.name = format!("{}.node", y.name);
            if !matches!(op, "QLinearConv" | "QLinearMatMul" | "MaxPool" | "Resize" | "Flatten") {
                node.domain = "com.microsoft".into();
            }
        }
        self.made.push(y);
        self.rules.push(rule);
    }

    /// Weights: names of weights, scale and zero point, what they mean, and a scale for each output. Signed or unsigned
    /// bytes around any zero point, on one grid or on one for each output.
    fn weights(&mut self, dims: &[usize], axis: usize) -> ([String; 3], Vec<f64>, Vec<f32>) {
        let name = format!("{}.w", self.next_name());
        let (outputs, count) = (dims[axis], dims.iter().product::<usize>());
        let (is_signed, is_several) = (self.rng.random_bool(0.5), self.rng.random_bool(0.6) && outputs > 1);
        let grids = if is_several { outputs } else { 1 };
        let scales: Vec<f32> = (0..grids).map(|_| self.rng.random_range(0.001..0.01)).collect();
        let zero = |rng: &mut ChaCha8Rng| match rng.random_range(0..4) {
            0 if is_signed => 0,
            0 => 128,
            1 => [0, 255][rng.random_range(0..2)],
            _ => rng.random(),
        };
        let zeros: Vec<u8> = (0..grids).map(|_| zero(&mut self.rng)).collect();
        let stored: Vec<u8> = (0..count).map(|_| self.rng.random()).collect();
        let data_type = if is_signed { DataType::Int8 } else { DataType::Uint8 };
        let number = |byte: u8| if is_signed { f64::from(byte as i8) } else { f64::from(byte) };
        let inner: usize = dims[axis + 1..].iter().product();
        let grid = |i: usize| if is_several { i / inner % outputs } else { 0 };
        let real = |i: usize| (number(stored[i]) - number(zeros[grid(i)])) * f64::from(scales[grid(i)]);
        let real: Vec<f64> = (0..count).map(real).collect();
        let dims_of_grid: &[usize] = if is_several { &[outputs] } else { &[] };
        let w = self.graph.constant(&format!("{name}.q"), dims, data_type, stored);
        let s = self.graph.f32(&format!("{name}.scale"), dims_of_grid, &scales);
        let z = self.graph.constant(&format!("{name}.zero"), dims_of_grid, data_type, zeros);
        let scales = if is_several { scales } else { vec![scales[0]; outputs] };
        ([w, s, z], real, scales)
    }

    /// A bias: its name and what it means.
    fn bias(&mut self, x_scale: f32, scales: &[f32]) -> (String, Vec<f64>) {
        let stored: Vec<i32> = scales.iter().map(|_| self.rng.random_range(-20_000..20_000)).collect();
        let name = self.graph.i32(&format!("{}.b", self.next_name()), &stored);
        let real = stored.iter().zip(scales).map(|(&b, &s)| f64::from(b) * f64::from(x_scale) * f64::from(s));
        (name, real.collect())
    }

    pub(super) fn conv(&mut self) {
        let i = self.pick();
        let x = self.made[i].clone();
        let [c, h, w] = x.shape;
        let divisors: Vec<usize> = (1..=c).filter(|g| c.is_multiple_of(*g)).collect();
        let groups = divisors[self.rng.random_range(0..divisors.len())];
        let outputs = groups * self.rng.random_range(1..=(12 / groups).max(1));
        let along = |net: &mut Self, size: usize| {
            let kernel = net.rng.random_range(1..=size.min(3));
            let pads = [net.rng.random_range(0..kernel), net.rng.random_range(0..kernel)];
            let dilation = if 2 * (kernel - 1) < size { net.rng.random_range(1..=2usize) } else { 1 };
            (kernel, net.rng.random_range(1..=2usize), pads, dilation)
        };
        let ((kh, sh, ph, dh), (kw, sw, pw, dw)) = (along(self, h), along(self, w));
        let per = c / groups;
        let (weights, real, scales) = self.weights(&[outputs, per, kh, kw], 0);
        let (bias, b) = self.bias(x.scale, &scales);
        let size = |n: usize, k: usize, s: usize, p: [usize; 2], d: usize| (n + p[0] + p[1] - d * (k - 1) - 1) / s + 1;
        let (oh, ow) = (size(h, kh, sh, ph, dh), size(w, kw, sw, pw, dw));
        let y = self.tensor([outputs, oh, ow], self.reach(i) * ((per * kh * kw) as f32).sqrt() * 0.6);
        let mut inputs = self.operand(i, "x").to_vec();
        inputs.extend(weights);
        inputs.extend(self.grid(&y));
        inputs.push(bias);
        let pads = [ph[0], pw[0], ph[1], pw[1]].map(|v| v as i64);
        let [kernel, strides, dilations] = [[kh, kw], [sh, sw], [dh, dw]].map(|v| v.map(|v| v as i64));
        let attributes = [
            Attr::Ints("pads", &pads),
            Attr::Ints("kernel_shape", &kernel),
            Attr::Ints("strides", &strides),
            Attr::Ints("dilations", &dilations),
            Attr::Int("group", groups as i64),
        ];
        let rule = move |all: &[Vec<f64>]| {
            let mut out = Vec::new();
            for (o, row, column) in cells([outputs, oh, ow]) {
                let mut sum = b[o];
                for (k, ky, kx) in cells([per, kh, kw]) {
                    let at = inside(row * sh + ky * dh, ph[0], h).zip(inside(column * sw + kx * dw, pw[0], w));
                    if let Some((r, q)) = at {
                        let channel = o / (outputs / groups) * per + k;
                        sum += all[i][(channel * h + r) * w + q] * real[((o * per + k) * kh + ky) * kw + kx];
                    }
                }
                out.push(sum);
            }
            out
        };
        self.add_node("QLinearConv", &inputs, y, &attributes, Box::new(rule));
    }

    pub(super) fn add(&mut self) {
        let a = self.pick();
        let same: Vec<usize> = (0..self.made.len()).filter(|&b| self.made[b].shape == self.made[a].shape).collect();
        let b = same[self.rng.random_range(0..same.len())];
        let y = self.tensor(self.made[a].shape, self.reach(a) + self.reach(b));
        let mut inputs = self.operand(a, "a").to_vec();
        inputs.extend(self.operand(b, "b"));
        inputs.extend(self.grid(&y));
        let rule = move |all: &[Vec<f64>]| all[a].iter().zip(&all[b]).map(|(a, b)| a + b).collect();
        self.add_node("QLinearAdd", &inputs, y, &[], Box::new(rule));
    }

    /// A product with another tensor, or with one pixel for all of it.
    pub(super) fn multiply(&mut self) {
        let a = self.pick();
        let shape = self.made[a].shape;
        let fits = |b: [usize; 3]| b == shape || b == [shape[0], 1, 1];
        let all: Vec<usize> = (0..self.made.len()).filter(|&b| fits(self.made[b].shape)).collect();
        let b = all[self.rng.random_range(0..all.len())];
        let [a, b] = if self.rng.random_bool(0.5) { [a, b] } else { [b, a] };
        let y = self.tensor(shape, self.reach(a) * self.reach(b));
        let mut inputs = self.operand(a, "a").to_vec();
        inputs.extend(self.operand(b, "b"));
        inputs.extend(self.grid(&y));
        let cells = shape[1] * shape[2];
        let rule = move |all: &[Vec<f64>]| {
            let at = |x: usize, i: usize| all[x][if all[x].len() < shape[0] * cells { i / cells } else { i }];
            (0..shape[0] * cells).map(|i| at(a, i) * at(b, i)).collect()
        };
        self.add_node("QLinearMul", &inputs, y, &[], Box::new(rule));
    }

    pub(super) fn concat(&mut self) {
        let first = self.pick();
        let [_, h, w] = self.made[first].shape;
        let fits: Vec<usize> = (0..self.made.len()).filter(|&i| self.made[i].shape[1..] == [h, w]).collect();
        let of: Vec<usize> = (0..3).map(|_| fits[self.rng.random_range(0..fits.len())]).collect();
        let reach = of.iter().map(|&i| self.reach(i)).fold(0.0, f32::max);
        let channels = of.iter().map(|&i| self.made[i].shape[0]).sum();
        let y = self.tensor([channels, h, w], reach);
        let mut inputs = self.grid(&y).to_vec();
        for (n, &i) in of.iter().enumerate() {
            inputs.extend(self.operand(i, &format!("x{n}")));
        }
        let rule = move |all: &[Vec<f64>]| of.iter().flat_map(|&i| all[i].iter().copied()).collect();
        self.add_node("QLinearConcat", &inputs, y, &[Attr::Int("axis", 1)], Box::new(rule));
    }

    pub(super) fn function(&mut self, op: &str) {
        let i = self.pick();
        let is_sigmoid = op == "QLinearSigmoid";
        let y = self.tensor(self.made[i].shape, if is_sigmoid { 1.0 } else { self.reach(i) });
        let mut inputs = self.operand(i, "x").to_vec();
        inputs.extend(self.grid(&y));
        let function = move |&x: &f64| if is_sigmoid { 1.0 / (1.0 + (-x).exp()) } else { x.max(0.3 * x) };
        let attributes = [Attr::Float("alpha", 0.3)];
        let attributes = if is_sigmoid { &[][..] } else { &attributes };
        self.add_node(op, &inputs, y, attributes, Box::new(move |all| all[i].iter().map(function).collect()));
    }

    /// A mean, flattened, times a matrix.
    pub(super) fn product(&mut self, op: &str) {
        self.mean();
        let i = self.made.len() - 1;
        let mean = self.made[i].clone();
        let row = Tensor { name: self.next_name(), shape: [mean.shape[0], 0, 0], ..mean.clone() };
        self.add_node("Flatten", &[mean.name], row.clone(), &[Attr::Int("axis", 1)], Box::new(move |a| a[i].clone()));
        let (i, count, outputs) = (i + 1, row.shape[0], self.rng.random_range(1..40usize));
        let is_turned = op == "QGemm" && self.rng.random_bool(0.5);
        let (dims, axis) = if is_turned { ([outputs, count], 0) } else { ([count, outputs], 1) };
        let (weights, real, scales) = self.weights(&dims, axis);
        let y = self.tensor([outputs, 0, 0], self.reach(i) * (count as f32).sqrt() * 0.6);
        let mut inputs = self.operand(i, "x").to_vec();
        inputs.extend(weights);
        let mut b = vec![0.0; outputs];
        let mut attributes = vec![];
        if op == "QGemm" {
            let (bias, values) = self.bias(row.scale, &scales);
            inputs.push(bias);
            b = values;
            attributes.push(Attr::Int("transB", is_turned.into()));
        }
        inputs.extend(self.grid(&y));
        let rule = move |all: &[Vec<f64>]| {
            let w = |o: usize, k: usize| if is_turned { real[o * count + k] } else { real[k * outputs + o] };
            (0..outputs).map(|o| b[o] + (0..count).map(|k| all[i][k] * w(o, k)).sum::<f64>()).collect()
        };
        self.add_node(op, &inputs, y, &attributes, Box::new(rule));
    }
}
