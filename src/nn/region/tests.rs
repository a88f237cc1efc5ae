//! Regions against what an integer kernel gives, and against the same graphs run by tract alone.

use proptest::prelude::*;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::nn::onnx::{Attr, Elem, Graph, Quant};
use crate::nn::plan::{Engine, Plan};

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
fn reference(image: &[u8], y: Quant, least: f32, greatest: f32) -> Vec<u8> {
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
            let steps =
                (acc * (X.scale * scale / y.scale)).clamp(least / y.scale, greatest / y.scale).round_ties_even();
            out.push((steps + f32::from(y.zero)).clamp(0.0, 255.0) as u8);
        }
    }
    out
}

fn plan(engine: Engine, g: &Graph, outputs: &[&str]) -> Plan {
    let outputs: Vec<String> = outputs.iter().map(|o| (*o).to_owned()).collect();
    let model = g.clone().into_model("test", &[]);
    let plan = Plan::with(engine, &model, [1, 3, SIDE, SIDE], Elem::U8, &outputs, "the test").unwrap();
    assert_eq!(plan.engine(), engine, "it fell back");
    plan
}

#[test]
fn every_step_is_that_of_an_integer_kernel() {
    let signed = Quant { scale: 0.31, zero: 131 };
    let positive = Quant { scale: 6.0 / 255.0, zero: 0 };
    type Case<'a> = (&'a str, Option<(&'a str, &'a [f32])>, Quant, [f32; 2]);
    let cases: [Case; 5] = [
        ("linear", None, signed, [f32::MIN, f32::MAX]),
        ("relu", Some(("Relu", &[])), signed, [0.0, f32::MAX]),
        ("relu from 0", Some(("Relu", &[])), positive, [0.0, f32::MAX]),
        ("a clip that the grid does anyhow", Some(("Clip", &[0.0, 6.0])), positive, [0.0, 6.0]),
        ("a clip that the grid does not", Some(("Clip", &[-3.1, 6.2])), signed, [-3.1, 6.2]),
    ];
    for (name, activation, y, [least, greatest]) in cases {
        let plan = plan(Engine::Int8, &graph(activation, y), &["y.q"]);
        assert_eq!(plan.regions(), 1, "{name}");
        let mut running = plan.spawn().unwrap();
        for seed in 0..40 {
            let image = bytes(3 * SIDE * SIDE, 1000 * seed);
            let expected = reference(&image, y, least, greatest);
            let distinct = expected.iter().collect::<std::collections::BTreeSet<_>>().len();
            assert!(distinct > 10, "{name}: {distinct} values prove little");
            assert_eq!(running.run(&image).unwrap()[0].u8(), expected, "{name}, seed {seed}");
        }
    }
}

#[test]
fn what_somebody_else_reads_is_still_made() {
    let y = Quant { scale: 0.31, zero: 131 };
    let image = bytes(3 * SIDE * SIDE, 5);
    // The float result is wanted beside the stored one, and so is what lies between.
    for outputs in [&["y.q", "conv"][..], &["y", "y.q"], &["activated", "y"], &["y"]] {
        let g = graph(Some(("Relu", &[])), y);
        let run = |engine| plan(engine, &g, outputs).spawn().unwrap().run(&image).unwrap();
        let (ours, stock) = (run(Engine::Int8), run(Engine::Stock));
        for ((ours, stock), name) in ours.iter().zip(&stock).zip(outputs) {
            assert_eq!(ours.shape(), stock.shape(), "{name}");
            if *name == "y.q" {
                assert!(ours.u8().iter().zip(stock.u8()).all(|(a, b)| a.abs_diff(*b) <= 1), "{name}");
            } else {
                let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 0.311;
                assert!(ours.f32().iter().zip(stock.f32()).all(close), "{name}");
            }
        }
    }
}

/// A random network of what regions are made of, and of what they are not; returns its last stored tensors.
struct Network {
    graph: Graph,
    rng: ChaCha8Rng,
    /// Stored tensors: name, channels, side.
    stored: Vec<(String, Quant, usize, usize)>,
    /// Stored rows: name, length.
    rows: Vec<(String, Quant, usize)>,
    count: usize,
}

impl Network {
    fn new(seed: u64) -> Self {
        let mut graph = Graph::default();
        graph.input("image", Elem::U8, &[1, 3, SIDE, SIDE]);
        let rng = ChaCha8Rng::seed_from_u64(seed);
        Self { graph, rng, stored: vec![("image".into(), X, 3, SIDE)], rows: Vec::new(), count: 0 }
    }

    fn grid(&mut self) -> Quant {
        Quant { scale: self.rng.random_range(0.02..0.2), zero: self.rng.random_range(0..=255) }
    }

    fn name(&mut self) -> String {
        self.count += 1;
        format!("t{}", self.count)
    }

    fn pick(&mut self) -> (String, Quant, usize, usize) {
        let i = self.rng.random_range(0..self.stored.len());
        self.stored[i].clone()
    }

    fn store(&mut self, float: &str, name: &str, q: Quant, channels: usize, side: usize) {
        self.graph.fake_quantize(float, q, name);
        self.stored.push((format!("{name}.q"), q, channels, side));
    }

    fn conv(&mut self) {
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
        let q = self.grid();
        self.store(&y, &name, q, outputs, side);
    }

    fn add(&mut self) {
        let (a, name) = (self.pick(), self.name());
        let same: Vec<_> = self.stored.iter().filter(|b| (b.2, b.3) == (a.2, a.3)).cloned().collect();
        let b = same[self.rng.random_range(0..same.len())].clone();
        let left = self.graph.dequantize(&a.0, a.1, &format!("{name}.a"));
        let right = self.graph.dequantize(&b.0, b.1, &format!("{name}.b"));
        let sum = self.graph.node("Add", &[&left, &right], &format!("{name}.sum"), &[]);
        let q = self.grid();
        self.store(&sum, &name, q, a.2, a.3);
    }

    fn pool(&mut self) {
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
    fn mean(&mut self) {
        let ((x, q, channels, _), name) = (self.pick(), self.name());
        let x = self.graph.dequantize(&x, q, &format!("{name}.x"));
        // Means have a smaller range than what they are taken of.
        let q = Quant { scale: q.scale / 3.0, zero: self.rng.random_range(60..200) };
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

    /// A row times a matrix.
    fn product(&mut self) {
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
        let q = self.grid();
        self.graph.fake_quantize(&y, q, &name);
        self.rows.push((format!("{name}.q"), q, outputs));
    }

    /// The sum of two rows, which stays with tract.
    fn add_rows(&mut self) {
        let Some((x, q, count)) = self.rows.last().cloned() else { return };
        let name = self.name();
        let x = self.graph.dequantize(&x, q, &format!("{name}.x"));
        let y = self.graph.node("Add", &[&x, &x], &format!("{name}.sum"), &[]);
        let q = Quant { scale: 2.0 * q.scale, ..q };
        self.graph.fake_quantize(&y, q, &name);
        self.rows.push((format!("{name}.q"), q, count));
    }

    /// Distances from what is usual, stored.
    fn squares(&mut self) {
        let ((x, q, channels, side), name) = (self.pick(), self.name());
        let mut y = self.graph.dequantize(&x, q, &format!("{name}.x"));
        if self.rng.random_bool(0.5) {
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
        let attrs = [Attr::Ints("axes", &[1]), Attr::Int("keepdims", 1)];
        let y = self.graph.node("ReduceSumSquare", &[&y], &format!("{name}.squares"), &attrs);
        let greatest = (255.0 * q.scale).powi(2) * channels as f32;
        self.store(&y, &name, Quant { scale: greatest / 400.0, zero: 3 }, 1, side);
    }

    /// Tensors side by side, each averaged, multiplied and repeated or not.
    fn stack(&mut self) {
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
        let q = self.grid();
        self.store(&y, &name, q, channels, side);
    }

    /// Something that only tract runs.
    fn outside(&mut self) {
        let ((x, q, channels, side), name) = (self.pick(), self.name());
        let x = self.graph.dequantize(&x, q, &format!("{name}.x"));
        let y = self.graph.node("Abs", &[&x], &format!("{name}.abs"), &[]);
        let q = self.grid();
        self.store(&y, &name, q, channels, side);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// tract multiplies floats where we multiply integers, so that a step may fall on its neighbour now and then, and what
    /// comes after may be further off: outputs are compared by how far they are on the whole.
    #[test]
    fn networks_say_what_they_say_without_regions(seed in 0u64..1_000_000, size in 2usize..14) {
        let mut net = Network::new(seed);
        for _ in 0..size {
            match net.rng.random_range(0..17) {
                0..=3 => net.conv(),
                4..=5 => net.add(),
                6 => net.pool(),
                7..=8 => net.mean(),
                9..=10 => net.product(),
                11 => net.add_rows(),
                12..=13 => net.squares(),
                14..=15 => net.stack(),
                _ => net.outside(),
            }
        }
        let stored = net.stored.iter().skip(1).map(|s| &s.0).rev().take(3);
        let names: Vec<&str> = stored.chain(net.rows.iter().map(|r| &r.0).rev().take(2)).map(String::as_str).collect();
        prop_assume!(!names.is_empty());
        let image = bytes(3 * SIDE * SIDE, seed as u32);
        let run = |engine| plan(engine, &net.graph, &names).spawn().unwrap().run(&image).unwrap();
        let (ours, stock) = (run(Engine::Int8), run(Engine::Stock));
        for ((ours, stock), name) in ours.iter().zip(&stock).zip(&names) {
            prop_assert_eq!(ours.shape(), stock.shape());
            let off: u32 = ours.u8().iter().zip(stock.u8()).map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
            let mean = f64::from(off) / ours.u8().len() as f64;
            prop_assert!(mean < 1.5, "{name} of seed {seed} is {mean} steps off");
        }
    }
}

#[test]
fn a_row_is_multiplied_in_integers_and_rows_are_added_by_tract() {
    let y = Quant { scale: 0.31, zero: 131 };
    let mut g = graph(None, y);
    let x = g.dequantize("y.q", y, "again");
    let mean = g.node("GlobalAveragePool", &[&x], "mean", &[]);
    g.fake_quantize(&mean, y, "m");
    let row = g.node("Flatten", &["m"], "flat", &[]);
    g.fake_quantize(&row, y, "row");
    let w: Vec<f32> = bytes(7 * CHANNELS, 3).iter().map(|&v| f32::from(v as i8) * 0.01).collect();
    let w = g.weight_i8("matrix", &[7, CHANNELS], &w, &[0.01; 7]);
    let product = g.node("Gemm", &["row", &w], "product", &[Attr::Int("transB", 1)]);
    g.fake_quantize(&product, y, "p");
    let sum = g.node("Add", &["p", "p"], "sum", &[]);
    g.fake_quantize(&sum, y, "s");
    let run = |engine| {
        let plan = plan(engine, &g, &["p.q", "s.q"]);
        let outputs = plan.spawn().unwrap().run(&bytes(3 * SIDE * SIDE, 5)).unwrap();
        (plan.regions(), outputs.iter().map(|o| (o.shape().to_vec(), o.u8().to_vec())).collect::<Vec<_>>())
    };
    let ((regions, ours), (_, stock)) = (run(Engine::Int8), run(Engine::Stock));
    assert_eq!((regions, ours[0].0.as_slice()), (1, &[1, 7][..]));
    for ((shape, ours), (stock_shape, stock)) in ours.iter().zip(&stock) {
        assert_eq!(shape, stock_shape);
        assert!(ours.iter().zip(stock).all(|(a, b)| a.abs_diff(*b) <= 2), "{ours:?} {stock:?}");
    }
}

#[test]
fn shapes_that_do_not_fit_are_refused_by_name() {
    let mut g = graph(None, Quant { scale: 0.31, zero: 131 });
    // Weights for three channels see five.
    let x = g.dequantize("y.q", Quant { scale: 0.31, zero: 131 }, "again");
    g.node("Conv", &[&x, "w"], "wrong", &[]);
    let outputs = ["wrong".to_owned()];
    let model = g.into_model("test", &[]);
    let Err(error) = Plan::new(&model, [1, 3, SIDE, SIDE], Elem::U8, &outputs, "line3.onnx") else {
        panic!("a convolution of the wrong channels was planned")
    };
    let text = format!("{error} {error:?}");
    assert!(text.contains("line3.onnx") && text.contains("wrong") && text.contains("channels"), "{text}");
}
