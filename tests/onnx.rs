//! Models from outside: what is damaged, absurd or unknown is an error with a name, never a panic.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use zoomgate::error::{Error, ErrorKind};
use zoomgate::nn::ModelProto;
use zoomgate::nn::onnx::{self, Attr, Elem, Graph, Quant};
use zoomgate::nn::plan::Plan;

const SHAPE: [usize; 4] = [1, 3, 16, 16];

/// A small quantised network: two convolutions, a sum, a softmax over channels.
fn model() -> ModelProto {
    let mut g = Graph::default();
    g.input("image", Elem::U8, &SHAPE);
    let q = Quant { scale: 0.02, zero: 128 };
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
fn qoperator_model() -> ModelProto {
    let mut g = Graph::default();
    g.input("image", Elem::U8, &SHAPE);
    // The constants of a sandwich that nothing reads: names of scales and zero points.
    let q = Quant { scale: 0.02, zero: 128 };
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

fn planned(bytes: &[u8]) -> Result<Plan, Error> {
    let model = onnx::decode(bytes, "line3.onnx")?;
    Plan::new(&model, SHAPE, Elem::U8, &["y".to_owned()], "line3.onnx")
}

fn refused(change: impl FnOnce(&mut ModelProto), kind: ErrorKind, words: &[&str]) {
    let mut changed = model();
    change(&mut changed);
    let Err(error) = planned(&onnx::encode(&changed)) else { panic!("{words:?} was planned") };
    let text = error.to_string();
    assert_eq!(error.kind(), kind, "{text}");
    for word in ["line3.onnx"].iter().chain(words) {
        assert!(text.contains(word), "{word:?} is missing in: {text}");
    }
}

#[test]
fn what_cannot_be_trusted_is_refused_by_name() {
    let whole = onnx::encode(&model());
    planned(&whole).unwrap();
    refused(|m| m.opset_import[0].version = 99, ErrorKind::Refused, &["operator set 99", "7 to 21"]);
    let tensor = |m: &mut ModelProto, name: &str| {
        m.graph.as_mut().unwrap().initializer.iter().position(|t| t.name == name).unwrap()
    };
    refused(
        |m| {
            let i = tensor(m, "a.w.q");
            m.graph.as_mut().unwrap().initializer[i].dims = vec![1 << 16, 1 << 16, 3, 3];
        },
        ErrorKind::Corrupt,
        &["`a.w.q`", "65536"],
    );
    refused(
        |m| {
            let i = tensor(m, "a.w.q");
            m.graph.as_mut().unwrap().initializer[i].dims = vec![-1, 3];
        },
        ErrorKind::Corrupt,
        &["`a.w.q`", "-1"],
    );
    refused(
        |m| {
            let i = tensor(m, "a.w.q");
            m.graph.as_mut().unwrap().initializer[i].raw_data.truncate(50);
        },
        ErrorKind::Corrupt,
        &["`a.w.q`", "50 elements"],
    );
    for scale in [f32::NAN, f32::INFINITY, 0.0, -1.0] {
        refused(
            |m| {
                let i = tensor(m, "a.scale");
                m.graph.as_mut().unwrap().initializer[i].raw_data = scale.to_le_bytes().to_vec();
            },
            ErrorKind::Corrupt,
            &["node `a", "scale"],
        );
    }
    refused(|m| m.graph.as_mut().unwrap().node[0].input[0] = "y".into(), ErrorKind::Corrupt, &["waits for itself"]);
    refused(
        |m| {
            let again = m.graph.as_ref().unwrap().node[2].clone();
            m.graph.as_mut().unwrap().node.push(again);
        },
        ErrorKind::Corrupt,
        &["made already"],
    );
    refused(
        |m| m.graph.as_mut().unwrap().node.last_mut().unwrap().output[0] = "z".into(),
        ErrorKind::Corrupt,
        &["output `y`"],
    );
    refused(
        |m| {
            m.graph.as_mut().unwrap().node.iter_mut().find(|n| n.op_type == "Conv").unwrap().attribute[1]
                .ints
                .truncate(3)
        },
        ErrorKind::Corrupt,
        &["(Conv)", "3 pads", "2 sides"],
    );
    let text = {
        let mut changed = qoperator_model();
        changed.graph.as_mut().unwrap().node[3].input[5] = "m".into();
        let Err(error) = planned(&onnx::encode(&changed)) else { panic!("a zero point that changes was planned") };
        error.to_string()
    };
    for word in ["line3.onnx", "node `s` (QLinearAdd)", "zero point `m`"] {
        assert!(text.contains(word), "{word:?} is missing in: {text}");
    }
    refused(
        |m| m.graph.as_mut().unwrap().node.last_mut().unwrap().op_type = "Quench".into(),
        ErrorKind::Corrupt,
        &["Quench"],
    );
}

/// Bytes changed, left out and doubled at random, in files small enough that most of them mean something.
#[test]
fn damage_is_an_error_or_another_model_and_never_a_panic() {
    for whole in [model(), qoperator_model()] {
        damaged(&onnx::encode(&whole));
    }
}

fn damaged(whole: &[u8]) {
    planned(whole).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let (mut planned_anyhow, mut errors, mut panics) = (0, 0, Vec::new());
    for case in 0..4000 {
        let mut bytes = whole.to_vec();
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(0..bytes.len());
            match rng.random_range(0..4) {
                0 => bytes[at] ^= 1 << rng.random_range(0..8),
                1 => bytes[at] = rng.random(),
                2 => bytes.truncate(at.max(1)),
                _ => {
                    let end = (at + rng.random_range(1..40)).min(bytes.len());
                    let piece = bytes[at..end].to_vec();
                    let to = rng.random_range(0..bytes.len());
                    bytes.splice(to..to, piece);
                }
            }
        }
        match catch_unwind(AssertUnwindSafe(|| planned(&bytes))) {
            Ok(Ok(_)) => planned_anyhow += 1,
            Ok(Err(_)) => errors += 1,
            Err(_) => panics.push(case),
        }
    }
    assert!(panics.is_empty(), "these cases panic: {panics:?}");
    assert!(planned_anyhow > 100 && errors > 100, "{planned_anyhow} were planned, {errors} were refused");
}
