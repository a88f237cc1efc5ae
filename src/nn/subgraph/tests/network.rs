//! Random networks of what fused subgraphs are made of, and of what they are not.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::{SIDE, X};
use crate::nn::onnx::{Attr, Elem, Graph, QuantParams};

/// A random network of what fused subgraphs are made of, and of what they are not; returns its last stored tensors.
pub(super) struct Network {
    pub(super) graph: Graph,
    pub(super) rng: ChaCha8Rng,
    /// Stored tensors: name, channels, side.
    pub(super) stored: Vec<(String, QuantParams, usize, usize)>,
    /// Stored rows: name, length.
    pub(super) rows: Vec<(String, QuantParams, usize)>,
    count: usize,
}

impl Network {
    pub(super) fn new(seed: u64) -> Self {
        let mut graph = Graph::default();
        graph.input("image", Elem::U8, &[1, 3, SIDE, SIDE]);
        let rng = ChaCha8Rng::seed_from_u64(seed);
        Self { graph, rng, stored: vec![("image".into(), X, 3, SIDE)], rows: Vec::new(), count: 0 }
    }

    fn quant_params(&mut self) -> QuantParams {
        QuantParams { scale: self.rng.random_range(0.02..0.2), zero_point: self.rng.random_range(0..=255) }
    }

    fn name(&mut self) -> String {
        self.count += 1;
        format!("t{}", self.count)
    }

    fn pick(&mut self) -> (String, QuantParams, usize, usize) {
        let i = self.rng.random_range(0..self.stored.len());
        self.stored[i].clone()
    }

    fn store(&mut self, float: &str, name: &str, q: QuantParams, channels: usize, side: usize) {
        self.graph.fake_quantize(float, q, name);
        self.stored.push((format!("{name}.q"), q, channels, side));
    }

    pub(super) fn conv(&mut self) {
        let ((x, q, channels, side), name) = (self.pick(), self.name());
        let depthwise = self.rng.random_bool(0.3);
        let outputs = if depthwise { channels } else { self.rng.random_range(1..9) };
        let kernel = if side >= 3 && self.rng.random_bool(0.6) { 3usize } else { 1 };
        let stride = self.rng.random_range(1..=2usize);
        let pad = if kernel == 3 { self.rng.random_range(0..2usize) } else { 0 };
        let x = self.graph.dequantize(&x, q, &format!("{name}.x"));
        let per = if depthwise { 1 } else { channels } * kernel * kernel;
        let scales: Vec<f32> = (0..outputs).map(|_| self.rng.random_range(0.001..0.01)).collect();
        let w: Vec<f32> =
            (0..outputs * per).map(|i| f32::from(self.rng.random_range(-127..=127i8)) * scales[i / per]).collect();
        let b: Vec<f32> = (0..outputs).map(|_| self.rng.random_range(-1.0..1.0)).collect();
        let w =
            self.graph.weight_i8(&format!("{name}.w"), &[outputs, per / kernel / kernel, kernel, kernel], &w, &scales);
        let b = self.graph.bias_i32(&format!("{name}.b"), &b, q.scale, &scales);
        let groups = if depthwise { channels } else { 1 };
        let [k, s, p] = [kernel, stride, pad].map(|v| v as i64);
        let attrs = [
            Attr::Ints("kernel_shape", &[k, k]),
            Attr::Ints("pads", &[p, p, p, p]),
            Attr::Ints("strides", &[s, s]),
            Attr::Int("group", groups as i64),
        ];
        let mut y = self.graph.node("Conv", &[&x, &w, &b], &format!("{name}.conv"), &attrs);
        let side = (side + 2 * pad - kernel) / stride + 1;
        match self.rng.random_range(0..5) {
            0..=1 => y = self.graph.node("Relu", &[&y], &format!("{name}.relu"), &[]),
            2 => y = self.graph.node("LeakyRelu", &[&y], &format!("{name}.leaky"), &[Attr::Float("alpha", 0.2)]),
            _ => {}
        }
        let q = self.quant_params();
        self.store(&y, &name, q, outputs, side);
    }

    pub(super) fn add(&mut self) {
        let (a, name) = (self.pick(), self.name());
        let same: Vec<_> = self.stored.iter().filter(|b| (b.2, b.3) == (a.2, a.3)).cloned().collect();
        let b = same[self.rng.random_range(0..same.len())].clone();
        let left = self.graph.dequantize(&a.0, a.1, &format!("{name}.a"));
        let right = self.graph.dequantize(&b.0, b.1, &format!("{name}.b"));
        let sum = self.graph.node("Add", &[&left, &right], &format!("{name}.sum"), &[]);
        let q = self.quant_params();
        self.store(&sum, &name, q, a.2, a.3);
    }

    pub(super) fn pool(&mut self) {
        let ((x, q, channels, side), name) = (self.pick(), self.name());
        if side < 2 {
            return;
        }
        let x = self.graph.dequantize(&x, q, &format!("{name}.x"));
        let attrs = [Attr::Ints("kernel_shape", &[2, 2]), Attr::Ints("strides", &[2, 2])];
        let y = self.graph.node("MaxPool", &[&x], &format!("{name}.pool"), &attrs);
        self.store(&y, &name, q, channels, side / 2);
    }

    /// A mean over the picture, as it is or as a row.
    pub(super) fn mean(&mut self) {
        let ((x, q, channels, _), name) = (self.pick(), self.name());
        let x = self.graph.dequantize(&x, q, &format!("{name}.x"));
        // Means have a smaller range than what they are taken of.
        let q = QuantParams { scale: q.scale / 3.0, zero_point: self.rng.random_range(60..200) };
        match self.rng.random_range(0..3) {
            0 => {
                let attrs = [Attr::Ints("axes", &[2, 3]), Attr::Int("keepdims", 0)];
                let y = self.graph.node("ReduceMean", &[&x], &format!("{name}.mean"), &attrs);
                self.graph.fake_quantize(&y, q, &name);
                self.rows.push((format!("{name}.q"), q, channels));
            }
            1 => {
                let y = self.graph.node("GlobalAveragePool", &[&x], &format!("{name}.mean"), &[]);
                self.graph.fake_quantize(&y, q, &name);
                let y = self.graph.node("Flatten", &[&name], &format!("{name}.flat"), &[]);
                self.graph.fake_quantize(&y, q, &format!("{name}.row"));
                self.rows.push((format!("{name}.row.q"), q, channels));
            }
            _ => {
                let y = self.graph.node("GlobalAveragePool", &[&x], &format!("{name}.mean"), &[]);
                self.store(&y, &name, q, channels, 1);
            }
        }
    }

    /// A mean over the picture, or one of squares, of floats that are quantised a step later.
    pub(super) fn reduce_mean(&mut self) {
        let ((x, q, channels, _), name) = (self.pick(), self.name());
        let mut x = self.graph.dequantize(&x, q, &format!("{name}.x"));
        let mut largest = 255.0 * q.scale;
        if self.rng.random_bool(0.5) {
            x = self.graph.node("Mul", &[&x, &x], &format!("{name}.squared"), &[]);
            largest *= largest;
        }
        let is_row = self.rng.random_bool(0.5);
        let attrs = [Attr::Ints("axes", &[2, 3]), Attr::Int("keepdims", i64::from(!is_row))];
        let y = self.graph.node("ReduceMean", &[&x], &format!("{name}.mean"), &attrs);
        let share = self.graph.f32(&format!("{name}.share"), &[], &[10.0 / largest]);
        let y = self.graph.node("Mul", &[&y, &share], &format!("{name}.part"), &[]);
        let q = QuantParams { scale: 0.08, zero_point: 128 };
        if is_row {
            self.graph.fake_quantize(&y, q, &name);
            self.rows.push((format!("{name}.q"), q, channels));
        } else {
            self.store(&y, &name, q, channels, 1);
        }
    }

    /// A row times a matrix.
    pub(super) fn product(&mut self) {
        let name = self.name();
        if self.rows.is_empty() {
            return;
        }
        let (x, q, count) = self.rows[self.rng.random_range(0..self.rows.len())].clone();
        let outputs = self.rng.random_range(1..40usize);
        let x = self.graph.dequantize(&x, q, &format!("{name}.x"));
        let scales: Vec<f32> = (0..outputs).map(|_| self.rng.random_range(0.001..0.01)).collect();
        let w: Vec<i8> = (0..outputs * count).map(|_| self.rng.random_range(-127..=127i8)).collect();
        let b: Vec<f32> = (0..outputs).map(|_| self.rng.random_range(-1.0..1.0)).collect();
        let b = self.graph.bias_i32(&format!("{name}.b"), &b, q.scale, &scales);
        let is_turned = self.rng.random_bool(0.5);
        let dims = if is_turned { [outputs, count] } else { [count, outputs] };
        let axis = Attr::Int("axis", if is_turned { 0 } else { 1 });
        let w = self.graph.i8(&format!("{name}.w.q"), &dims, &w);
        let s = self.graph.f32(&format!("{name}.w.scale"), &[outputs], &scales);
        let z = self.graph.i8(&format!("{name}.w.zero"), &[outputs], &vec![0; outputs]);
        let w = self.graph.node("DequantizeLinear", &[&w, &s, &z], &format!("{name}.w"), &[axis]);
        let y = match is_turned {
            true => self.graph.node("Gemm", &[&x, &w, &b], &format!("{name}.gemm"), &[Attr::Int("transB", 1)]),
            false if self.rng.random_bool(0.5) => self.graph.node("MatMul", &[&x, &w], &format!("{name}.matmul"), &[]),
            false => self.graph.node("Gemm", &[&x, &w, &b], &format!("{name}.gemm"), &[]),
        };
        let q = self.quant_params();
        self.graph.fake_quantize(&y, q, &name);
        self.rows.push((format!("{name}.q"), q, outputs));
    }

    /// The sum of two rows, which stays with tract.
    pub(super) fn add_rows(&mut self) {
        let Some((x, q, count)) = self.rows.last().cloned() else { return };
        let name = self.name();
        let x = self.graph.dequantize(&x, q, &format!("{name}.x"));
        let y = self.graph.node("Add", &[&x, &x], &format!("{name}.sum"), &[]);
        let q = QuantParams { scale: 2.0 * q.scale, ..q };
        self.graph.fake_quantize(&y, q, &name);
        self.rows.push((format!("{name}.q"), q, count));
    }

    /// Distances from an expected feature, quantised.
    pub(super) fn reduce_sum_square(&mut self) {
        let ((x, q, channels, side), name) = (self.pick(), self.name());
        let mut y = self.graph.dequantize(&x, q, &format!("{name}.x"));
        let from = self.rng.random_range(0..3);
        if from == 1 {
            let dims = [1, channels, side, side];
            let map = |net: &mut Self, low: f32, high: f32| -> Vec<f32> {
                (0..channels * side * side).map(|_| net.rng.random_range(low..high)).collect()
            };
            let (mean, gain) = (map(self, -50.0 * q.scale, 50.0 * q.scale), map(self, 0.2, 1.0));
            let mean = self.graph.f32(&format!("{name}.usual"), &dims, &mean);
            let gain = self.graph.f32(&format!("{name}.gain"), &dims, &gain);
            y = self.graph.node("Sub", &[&y, &mean], &format!("{name}.centred"), &[]);
            y = self.graph.node("Mul", &[&y, &gain], &format!("{name}.scaled"), &[]);
        }
        if from == 2 {
            // Means and gains that are made of what comes in, as signed bytes with a scale for each channel.
            let map = |net: &mut Self, part: &str, steps: std::ops::Range<f32>| {
                let steps: Vec<f32> = (0..channels).map(|_| net.rng.random_range(steps.clone())).collect();
                let step = net.graph.f32(&format!("{name}.{part}.step"), &[channels], &steps);
                let zero = net.graph.i8(&format!("{name}.{part}.zero"), &[channels], &vec![0; channels]);
                let axis = [Attr::Int("axis", 1)];
                let stored =
                    net.graph.node("QuantizeLinear", &[&y, &step, &zero], &format!("{name}.{part}.stored"), &axis);
                net.graph.node("DequantizeLinear", &[&stored, &step, &zero], &format!("{name}.{part}"), &axis)
            };
            let mean = map(self, "usual", q.scale..2.0 * q.scale);
            let gain = map(self, "gain", 0.002..0.008);
            y = self.graph.node("Sub", &[&y, &mean], &format!("{name}.centred"), &[]);
            y = self.graph.node("Mul", &[&y, &gain], &format!("{name}.scaled"), &[]);
        }
        let attrs = [Attr::Ints("axes", &[1]), Attr::Int("keepdims", 1)];
        let y = self.graph.node("ReduceSumSquare", &[&y], &format!("{name}.squares"), &attrs);
        // Squares of squares would leave what bytes can be made of.
        let share =
            self.graph.f32(&format!("{name}.share"), &[], &[20.0 / ((255.0 * q.scale).powi(2) * channels as f32)]);
        let y = self.graph.node("Mul", &[&y, &share], &format!("{name}.part"), &[]);
        self.store(&y, &name, QuantParams { scale: 0.05, zero_point: 3 }, 1, side);
    }

    /// Tensors side by side, each averaged, multiplied and repeated or not.
    pub(super) fn concat(&mut self) {
        let (name, repeat) = (self.name(), self.rng.random_range(1..=2usize));
        let (.., small) = self.pick();
        let side = small * repeat;
        let fits: Vec<_> = self.stored.iter().filter(|s| s.3 == side || s.3 == small).cloned().collect();
        let mut channels = 0;
        let mut inputs = Vec::new();
        for at in 0..self.rng.random_range(1..=3) {
            let (x, q, count, of) = fits[self.rng.random_range(0..fits.len())].clone();
            let name = format!("{name}.{at}");
            let mut y = self.graph.dequantize(&x, q, &format!("{name}.x"));
            if self.rng.random_bool(0.5) {
                let attrs = [
                    Attr::Ints("kernel_shape", &[3, 3]),
                    Attr::Ints("pads", &[1, 1, 1, 1]),
                    Attr::Ints("strides", &[1, 1]),
                ];
                y = self.graph.node("AveragePool", &[&y], &format!("{name}.mean"), &attrs);
            }
            if self.rng.random_bool(0.5) {
                let gain: Vec<f32> = (0..count).map(|_| self.rng.random_range(0.3..1.5)).collect();
                let gain = self.graph.f32(&format!("{name}.gain"), &[1, count, 1, 1], &gain);
                y = self.graph.node("Mul", &[&y, &gain], &format!("{name}.scaled"), &[]);
            }
            if of != side {
                let times = repeat as f32;
                let scales = self.graph.f32(&format!("{name}.times"), &[4], &[1.0, 1.0, times, times]);
                let attrs = [
                    Attr::Str("mode", "nearest"),
                    Attr::Str("coordinate_transformation_mode", "asymmetric"),
                    Attr::Str("nearest_mode", "floor"),
                ];
                y = self.graph.node("Resize", &[&y, "", &scales], &format!("{name}.large"), &attrs);
            }
            inputs.push(y);
            channels += count;
        }
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let y = self.graph.node("Concat", &inputs, &format!("{name}.all"), &[Attr::Int("axis", 1)]);
        let q = self.quant_params();
        self.store(&y, &name, q, channels, side);
    }

    /// Something that only tract runs.
    pub(super) fn outside(&mut self) {
        let ((x, q, channels, side), name) = (self.pick(), self.name());
        let x = self.graph.dequantize(&x, q, &format!("{name}.x"));
        let y = self.graph.node("Abs", &[&x], &format!("{name}.abs"), &[]);
        let q = self.quant_params();
        self.store(&y, &name, q, channels, side);
    }
}
