//! Models from outside: what is damaged, absurd or unknown is an error with a name, never a panic.

mod networks;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use networks::{model, planned, qoperator_model};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use zoomgate::error::ErrorKind;
use zoomgate::nn::ModelProto;
use zoomgate::nn::onnx;
use zoomgate::nn::plan::Engine;

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

/// Branches that part and meet again have as many ways through them as two to the power of their number.
#[test]
fn many_diamonds_are_planned_at_once() {
    let begun = Instant::now();
    let plan = planned(&onnx::encode(&networks::diamonds(60))).unwrap();
    assert!(plan.subgraphs() > 100, "{} subgraphs", plan.subgraphs());
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

/// Deep graphs take neither a stack nor minutes.
#[test]
fn long_chains_are_planned_or_refused_at_once() {
    let begun = Instant::now();
    for (op, count, is_quantised, words) in [
        ("Sigmoid", 100_000, false, Some(&["100002 nodes", "16384", "smaller network"][..])),
        ("Relu", 100_000, true, Some(&["100005 nodes", "16384"])),
        ("Relu", 10_000, true, Some(&["node `n64` (Relu)", "behind 64 other activations"])),
        ("Sigmoid", 8000, false, None),
        ("Softmax", 2000, true, None),
        ("Relu", 60, true, None),
    ] {
        match (planned(&onnx::encode(&networks::chain(op, count, is_quantised))), words) {
            (Ok(_), None) => {}
            (Err(error), Some(words)) => {
                let text = error.to_string();
                for word in ["line3.onnx"].iter().chain(words) {
                    assert!(text.contains(word), "{count} x {op}: {word:?} is missing in: {text}");
                }
            }
            (Ok(_), Some(_)) => panic!("{count} x {op} were planned"),
            (Err(error), None) => panic!("{count} x {op}: {error}"),
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}

/// A convolution of two pictures, which is found out when shapes are known at last: tract runs all of it, and the plan
/// says so.
#[test]
fn what_falls_back_to_floats_says_why() {
    let ours = planned(&onnx::encode(&model())).unwrap().remainder();
    assert!(!ours.is_slow() && ours.macs > 0 && ours.in_floats == 0 && ours.operators.is_empty(), "{ours}");
    let plan = planned(&onnx::encode(&networks::two_pictures())).unwrap();
    let remainder = plan.remainder();
    assert_eq!(plan.engine(), Engine::Stock);
    assert!(remainder.is_slow() && remainder.macs > 0 && remainder.in_floats == remainder.macs, "{remainder}");
    let text = remainder.to_string();
    for word in ["M multiplications in floats (", "int8 operators cannot run it", "one picture"] {
        assert!(text.contains(word), "{word:?} is missing in: {text}");
    }
}
