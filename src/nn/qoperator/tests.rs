//! Models in QOperator form against plain arithmetic on the numbers that their bytes stand for.

mod network;
mod windows;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use rand::Rng as _;

use crate::error::ErrorKind;
use crate::nn::ModelProto;
use crate::nn::onnx::Elem;
use crate::nn::plan::{Engine, ExecutionPlan};
use network::{Network, Tensor};

/// What is left of nodes once fused subgraphs have taken theirs.
const LEFT: [&str; 3] = ["Source", "Int8Region", "IntoShape"];

fn planned(engine: Engine, model: &ModelProto, shape: [usize; 3], outputs: &[String]) -> ExecutionPlan {
    let [c, h, w] = shape;
    let plan = ExecutionPlan::with(engine, model, [1, c, h, w], Elem::U8, outputs, "line3.onnx").unwrap();
    assert_eq!(plan.engine(), engine, "it fell back");
    plan
}

/// Whether every stored tensor is what its node makes of the stored tensors before it, and the same where only the last one
/// is wanted.
fn check(net: &Network, is_all_ours: bool) {
    let names: Vec<String> = net.made.iter().skip(1).map(|t| t.name.clone()).collect();
    let model = net.graph.clone().into_model("test", &[]);
    let shape = net.made[0].shape;
    let plan = planned(Engine::Int8, &model, shape, &names);
    let mut running = plan.spawn().unwrap();
    let outputs: Vec<Vec<u8>> = running.run(&net.image).unwrap().iter().map(|o| o.u8().to_vec()).collect();
    let stored: Vec<&[u8]> = std::iter::once(&net.image[..]).chain(outputs.iter().map(Vec::as_slice)).collect();
    let real: Vec<Vec<f64>> = net.made.iter().zip(&stored).map(|(t, bytes)| t.real(bytes)).collect();
    for ((tensor, bytes), rule) in net.made.iter().zip(&stored).zip(&net.rules).skip(1) {
        let expected = rule(&real);
        assert_eq!(expected.len(), bytes.len(), "{}", tensor.name);
        for (i, (byte, real)) in bytes.iter().zip(expected).enumerate() {
            assert!(tensor.stores(*byte, real), "{} at {i}: {byte} for {real} on {tensor:?}", tensor.name);
        }
    }
    if is_all_ours {
        let left: Vec<String> =
            running.profile(&plan, &net.image, 1).unwrap().into_iter().map(|n| n.operator).collect();
        assert!(left.iter().all(|op| LEFT.contains(&op.as_str())), "{left:?}");
    }
    let last = [names.last().unwrap().clone()];
    let alone = planned(Engine::Int8, &model, shape, &last).spawn().unwrap().run(&net.image).unwrap()[0].u8().to_vec();
    assert_eq!(Some(&alone), outputs.last());
}

#[test]
fn every_operator_is_what_its_definition_says() {
    type Step = fn(&mut Network);
    let steps: [(&str, Step); 14] = [
        ("conv", Network::conv),
        ("add", Network::add),
        ("mul", Network::multiply),
        ("mul by a mean", |net| {
            net.mean();
            net.multiply();
        }),
        ("concat", Network::concat),
        ("max pool", Network::max_pool),
        ("average pool", Network::average_pool),
        ("mean", Network::mean),
        ("leaky relu", |net| net.function("QLinearLeakyRelu")),
        ("sigmoid", |net| net.function("QLinearSigmoid")),
        ("resize of bytes", |net| net.resize(true)),
        ("resize", |net| net.resize(false)),
        ("gemm", |net| net.product("QGemm")),
        ("matmul", |net| net.product("QLinearMatMul")),
    ];
    for (name, step) in steps {
        for seed in 0..12 {
            let mut net = Network::new(seed);
            // Something stored by a node before it, unsigned or signed.
            net.conv();
            step(&mut net);
            assert!(net.made.len() > 2, "{name} made nothing");
            check(&net, true);
        }
    }
}

#[test]
fn a_profile_says_what_a_region_is_made_of() {
    let mut net = Network::new(8);
    net.conv();
    net.average_pool();
    net.conv();
    let outputs = [net.made[3].name.clone()];
    let plan = planned(Engine::Int8, &net.graph.clone().into_model("test", &[]), net.made[0].shape, &outputs);
    let nodes = plan.spawn().unwrap().profile(&plan, &net.image, 1).unwrap();
    let subgraph = nodes.iter().find(|n| n.operator == "Int8Region").unwrap();
    let holds = subgraph.holds.as_deref().unwrap();
    assert!(
        holds.contains("Conv") && subgraph.is_int8 && subgraph.name.ends_with("node.region"),
        "{holds} {subgraph:?}"
    );
    assert!(nodes.iter().all(|n| n.holds.is_some() == (n.operator == "Int8Region")), "{nodes:?}");
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 60, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn networks_in_qoperator_form_are_what_their_nodes_say(seed in any::<u64>(), size in 1usize..10) {
        let mut net = Network::new(seed);
        for _ in 0..size {
            match net.rng.random_range(0..13) {
                0..=3 => net.conv(),
                4 => net.add(),
                12 => net.multiply(),
                5 => net.concat(),
                6 => net.max_pool(),
                7 => net.average_pool(),
                8 => net.function("QLinearLeakyRelu"),
                9 => net.resize(true),
                10 => net.resize(false),
                _ => net.mean(),
            }
        }
        check(&net, false);
    }
}

/// A model of one QLinearConv with something changed.
fn refused(change: impl FnOnce(&mut ModelProto), kind: ErrorKind, words: &[&str]) {
    let mut net = Network::new(3);
    net.conv();
    let outputs = [net.made[1].name.clone()];
    let [c, h, w] = net.made[0].shape;
    let mut model = net.graph.into_model("test", &[]);
    change(&mut model);
    let Err(error) = ExecutionPlan::new(&model, [1, c, h, w], Elem::U8, &outputs, "line3.onnx") else {
        panic!("{words:?} was planned")
    };
    let text = error.to_string();
    assert_eq!(error.kind(), kind, "{text}");
    for word in ["line3.onnx", "node `t1.node` (QLinearConv)"].iter().chain(words) {
        assert!(text.contains(word), "{word:?} is missing in: {text}");
    }
}

#[test]
fn what_is_missing_or_not_constant_is_refused_by_name() {
    let at = |model: &mut ModelProto, input: usize, to: &str| {
        model.graph.as_mut().unwrap().node[0].input[input] = to.into();
    };
    let constant = |model: &mut ModelProto, input: usize, raw: Vec<u8>| {
        let graph = model.graph.as_mut().unwrap();
        let name = graph.node[0].input[input].clone();
        let tensor = graph.initializer.iter_mut().find(|t| t.name == name).unwrap();
        tensor.dims = vec![raw.len() as i64 / if tensor.data_type == 1 || tensor.data_type == 6 { 4 } else { 1 }];
        tensor.raw_data = raw;
    };
    let corrupt = ErrorKind::Corrupt;
    refused(|m| m.graph.as_mut().unwrap().node[0].input.truncate(6), corrupt, &["no input 6"]);
    refused(|m| at(m, 3, ""), corrupt, &["no input 3", "operand 2"]);
    refused(|m| at(m, 2, "image"), corrupt, &["zero point `image`", "no constant"]);
    refused(|m| at(m, 1, "nowhere"), corrupt, &["scale `nowhere`", "no constant"]);
    refused(|m| at(m, 8, "image"), corrupt, &["bias `image`", "no constant"]);
    refused(|m| constant(m, 1, f32::NAN.to_le_bytes().to_vec()), corrupt, &["no positive number"]);
    refused(|m| constant(m, 4, [0.5f32; 77].iter().flat_map(|s| s.to_le_bytes()).collect()), corrupt, &["77 scales"]);
    refused(|m| constant(m, 7, vec![1, 2, 3]), corrupt, &["1 scales and 3 zero points"]);
    refused(|m| constant(m, 8, vec![0; 4 * 99]), corrupt, &["bias", "for each output"]);
    let last = |m: &mut ModelProto| {
        let attribute = crate::nn::onnx::Attr::Int("channels_last", 1).proto();
        m.graph.as_mut().unwrap().node[0].attribute.push(attribute);
    };
    refused(last, ErrorKind::Refused, &["channels"]);
}

#[test]
fn names_that_are_taken_are_left_alone() {
    let mut net = Network::new(5);
    net.conv();
    let Tensor { name, .. } = &net.made[1];
    let (name, taken) = (name.clone(), format!("{name}.real"));
    let output = [name.clone(), taken.clone()];
    let mut graph = net.graph.clone();
    let two = graph.f32("two", &[], &[2.0]);
    let scale = graph.f32("other.scale", &[], &[0.5]);
    let real = graph.node("DequantizeLinear", &[&name, &scale, &format!("{name}.zero")], "other", &[]);
    graph.node("Mul", &[&real, &two], &taken, &[]);
    let plan = planned(Engine::Int8, &graph.into_model("test", &[]), net.made[0].shape, &output);
    let outputs = plan.spawn().unwrap().run(&net.image).unwrap();
    let zero = f32::from(net.made[1].zero);
    let flip = if net.made[1].is_signed { 0x80 } else { 0 };
    let expected: Vec<f32> = outputs[0].u8().iter().map(|b| f32::from(b ^ flip) - zero).collect();
    assert_eq!(outputs[1].f32(), expected);
}
