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
    Plan::with(engine, &model, [1, 3, SIDE, SIDE], Elem::U8, &outputs, "the test").unwrap()
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
    count: usize,
}

impl Network {
    fn new(seed: u64) -> Self {
        let mut graph = Graph::default();
        graph.input("image", Elem::U8, &[1, 3, SIDE, SIDE]);
        let rng = ChaCha8Rng::seed_from_u64(seed);
        Self { graph, rng, stored: vec![("image".into(), X, 3, SIDE)], count: 0 }
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
        if self.rng.random_bool(0.5) {
            y = self.graph.node("Relu", &[&y], &format!("{name}.relu"), &[]);
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
            match net.rng.random_range(0..8) {
                0..=3 => net.conv(),
                4..=5 => net.add(),
                6 => net.pool(),
                _ => net.outside(),
            }
        }
        let last: Vec<String> = net.stored.iter().skip(1).map(|s| s.0.clone()).collect();
        let names: Vec<&str> = last.iter().rev().take(3).map(String::as_str).collect();
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
