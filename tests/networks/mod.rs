//! Networks small enough that most of their files' bytes mean something, and the way from bytes to a plan.

use zoomgate::error::Error;
use zoomgate::nn::ModelProto;
use zoomgate::nn::onnx::{self, Attr, Elem, Graph, QuantParams};
use zoomgate::nn::plan::ExecutionPlan;

/// Shape of their input.
pub const SHAPE: [usize; 4] = [1, 3, 16, 16];

/// A small quantised network: two convolutions, a sum, a softmax over channels.
pub fn model() -> ModelProto {
    let mut g = Graph::default();
    g.input("image", Elem::U8, &SHAPE);
    let q = QuantParams { scale: 0.02, zero_point: 128 };
    let x = g.dequantize("image", q, "x");
    let conv = |g: &mut Graph, x: &str, name: &str, channels: usize| {
        let values: Vec<f32> = (0..4 * channels * 9).map(|i| (i as f32 * 0.37).sin() * 0.1).collect();
        let scales = [0.001f32; 4];
        let w = g.weight_i8(&format!("{name}.w"), &[4, channels, 3, 3], &values, &scales);
        let b = g.bias_i32(&format!("{name}.b"), &[0.1, -0.1, 0.0, 0.3], q.scale, &scales);
        let attrs = [Attr::Ints("kernel_shape", &[3, 3]), Attr::Ints("pads", &[1, 1, 1, 1])];
        let y = g.node("Conv", &[x, &w, &b], &format!("{name}.y"), &attrs);
        g.fake_quantize(&y, q, name)
    };
    let a = conv(&mut g, &x, "a", 3);
    let b = conv(&mut g, &a, "b", 4);
    let sum = g.node("Add", &[&a, &b], "sum", &[]);
    g.node("Softmax", &[&sum], "y", &[Attr::Int("axis", 1)]);
    g.output("y", Elem::F32, &[1, 4, 16, 16]);
    g.into_model("a small network", &[])
}

/// A small network in QOperator form: a convolution, pools, a sum and a concatenation.
pub fn qoperator_model() -> ModelProto {
    let mut g = Graph::default();
    g.input("image", Elem::U8, &SHAPE);
    // The constants of a sandwich that nothing reads: names of scales and zero points.
    let q = QuantParams { scale: 0.02, zero_point: 128 };
    g.dequantize("image", q, "x");
    let w = g.weight_i8("w", &[4, 3, 3, 3], &[0.05; 108], &[0.001; 4]);
    let b = g.bias_i32("b", &[0.1, -0.1, 0.0, 0.3], q.scale, &[0.001; 4]);
    g.nodes.clear();
    let [stored, steps] = [w, b].map(|name| format!("{name}.q"));
    let on = ["x.scale", "x.zero"];
    let node = |g: &mut Graph, op: &str, inputs: &[&str], y: &str, attrs: &[Attr<'_>]| {
        g.node(op, inputs, y, attrs);
        if op != "QLinearConv" && op.starts_with('Q') {
            g.nodes.last_mut().unwrap().domain = "com.microsoft".into();
        }
    };
    let (pads, same) = (Attr::Ints("pads", &[1, 1, 1, 1]), [Attr::Ints("kernel_shape", &[3, 3])]);
    let inputs = ["image", on[0], on[1], &stored, "w.scale", "w.zero", on[0], on[1], &steps];
    node(&mut g, "QLinearConv", &inputs, "a", &[pads, Attr::Ints("kernel_shape", &[3, 3])]);
    node(&mut g, "MaxPool", &["a"], "m", &same);
    node(&mut g, "QLinearAveragePool", &["a", on[0], on[1], on[0], on[1]], "v", &same);
    node(&mut g, "QLinearAdd", &["m", on[0], on[1], "v", on[0], on[1], on[0], on[1]], "s", &[]);
    node(&mut g, "QLinearConcat", &[on[0], on[1], "s", on[0], on[1], "m", on[0], on[1]], "c", &[Attr::Int("axis", 1)]);
    node(&mut g, "DequantizeLinear", &["c", on[0], on[1]], "y", &[]);
    g.output("y", Elem::F32, &[1, 8, 14, 14]);
    g.into_model("a small network in QOperator form", &[])
}

/// `layers` times two branches of integers that part from one tensor and meet again, with floats between them.
pub fn diamonds(layers: usize) -> ModelProto {
    let mut g = Graph::default();
    g.input("image", Elem::U8, &SHAPE);
    let q = QuantParams { scale: 0.01, zero_point: 0 };
    let x = g.dequantize("image", q, "x");
    let mut from = g.node("Softmax", &[&x], "x.s", &[Attr::Int("axis", 1)]);
    for layer in 0..layers {
        let branches = ["a", "b"].map(|side| {
            let name = format!("{side}{layer}");
            let stored = g.fake_quantize(&from, q, &name);
            let y = g.node("Sigmoid", &[&stored], &format!("{name}.y"), &[]);
            let y = g.fake_quantize(&y, q, &format!("{name}.z"));
            let real = g.node("Softmax", &[&y], &format!("{name}.s"), &[Attr::Int("axis", 1)]);
            g.fake_quantize(&real, q, &format!("{name}.t"))
        });
        let sum = g.node("Add", &[&branches[0], &branches[1]], &format!("c{layer}.y"), &[]);
        let sum = g.fake_quantize(&sum, q, &format!("c{layer}"));
        from = g.node("Softmax", &[&sum], &format!("c{layer}.s"), &[Attr::Int("axis", 1)]);
    }
    g.node("Softmax", &[&from], "y", &[Attr::Int("axis", 1)]);
    g.output("y", Elem::F32, &SHAPE);
    g.into_model("diamonds", &[])
}

/// `count` nodes of one kind, one after the other, on floats or behind a sum of integers.
pub fn chain(op: &str, count: usize, is_quantised: bool) -> ModelProto {
    let mut g = Graph::default();
    g.input("image", Elem::U8, &SHAPE);
    let q = QuantParams { scale: 0.01, zero_point: 0 };
    let mut at = g.dequantize("image", q, "x");
    if is_quantised {
        at = g.node("Add", &[&at, &at], "sum", &[]);
    }
    for i in 0..count {
        at = g.node(op, &[&at], &format!("n{i}"), &[]);
    }
    let at = if is_quantised { g.fake_quantize(&at, q, "z") } else { at };
    g.node("Neg", &[&at], "y", &[]);
    g.output("y", Elem::F32, &SHAPE);
    g.into_model("a chain", &[])
}

/// A quantised convolution of two pictures, the halves of one, by sizes that are themselves quantised: nobody knows them
/// before the graph is planned.
pub fn two_pictures() -> ModelProto {
    let mut g = Graph::default();
    g.input("image", Elem::U8, &SHAPE);
    let q = QuantParams { scale: 0.02, zero_point: 128 };
    let x = g.dequantize("image", q, "x");
    // Sizes among many numbers, so that they are taken for weights.
    let mut values = [0i8; 80];
    values[..4].copy_from_slice(&[2, 3, 8, 16]);
    g.i8("sizes.q", &[80], &values);
    let one = g.f32("sizes.scale", &[], &[1.0]);
    let zero = g.i8("sizes.zero", &[], &[0]);
    let all = g.node("DequantizeLinear", &["sizes.q", &one, &zero], "sizes.real", &[]);
    let all = g.node("Cast", &[&all], "sizes.all", &[Attr::Int("to", 7)]);
    let (from, to) = (g.i64("from", &[0]), g.i64("to", &[4]));
    let sizes = g.node("Slice", &[&all, &from, &to], "sizes", &[]);
    let halves = g.node("Reshape", &[&x, &sizes], "halves", &[]);
    let halves = g.fake_quantize(&halves, q, "h");
    let scales = [0.001f32; 4];
    let w = g.weight_i8("w", &[4, 3, 3, 3], &[0.05; 108], &scales);
    let b = g.bias_i32("b", &[0.1, -0.1, 0.0, 0.3], q.scale, &scales);
    let y = g.node("Conv", &[&halves, &w, &b], "c.y", &[Attr::Ints("kernel_shape", &[3, 3])]);
    let y = g.fake_quantize(&y, q, "c");
    g.node("Neg", &[&y], "y", &[]);
    g.output("y", Elem::F32, &[2, 4, 6, 14]);
    g.into_model("two pictures", &[])
}

/// A plan of what these bytes say, from another machine or damaged on the way.
pub fn planned(bytes: &[u8]) -> Result<ExecutionPlan, Error> {
    let model = onnx::decode(bytes, "line3.onnx")?;
    ExecutionPlan::new(&model, SHAPE, Elem::U8, &["y".to_owned()], "line3.onnx")
}
