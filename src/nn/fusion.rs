//! Finds what a graph writes in floats and means in integers, and takes it out as subgraphs of int8 operators.
//!
//! Which nodes an operator stands for is said in its own file ([`super::ops`]). Nodes in QOperator form have been written
//! out in QDQ form before ([`super::qoperator`]). Operators that feed each other make a [`FusedSubgraph`], which runs in one
//! go on NHWC bytes; in the graph one node takes its place. Everything else stays for tract as it is.
//!
//! Works on the file's graph and not on tract's: there a quantised convolution is still written as its exporter meant it,
//! while tract has taken some of it apart before a rewrite can look.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::{GraphProto, NodeProto};

use super::graph_view::{GraphView, Shapes};
use super::ops;
use super::ops::operator::FusedOp;
use super::subgraph::FusedSubgraph;
use super::tensor::TensorShape;

/// The operator that stands for a subgraph in the graph.
const SUBGRAPH: &str = "ZoomgateRegion";

/// Takes every subgraph out of `graph`, whose wanted results are `outputs`; each leaves a node with its name.
///
/// What does not fit `shapes` is left for tract; where shapes are not known yet, it is refused once they are.
pub(super) fn fuse(graph: &mut GraphProto, outputs: &[String], shapes: &Shapes) -> Vec<FusedSubgraph> {
    let subgraphs = {
        let view = GraphView::of(graph, outputs, shapes);
        let order = view.order();
        let found = find(&view, &order);
        group(&view, &order, found)
    };
    let gone: HashSet<usize> = subgraphs.iter().flat_map(|s| &s.ops).flat_map(|op| op.nodes.iter().copied()).collect();
    let mut nodes = Vec::with_capacity(graph.node.len());
    for (i, node) in std::mem::take(&mut graph.node).into_iter().enumerate() {
        if !gone.contains(&i) {
            nodes.push(node);
        }
    }
    nodes.extend(subgraphs.iter().map(|subgraph| NodeProto {
        name: subgraph.name.clone(),
        op_type: SUBGRAPH.into(),
        input: subgraph.inputs.clone(),
        output: subgraph.outputs.clone(),
        ..NodeProto::default()
    }));
    graph.node = nodes;
    let order = GraphView::of(graph, outputs, shapes).order();
    graph.node = order.iter().map(|&i| graph.node[i].clone()).collect();
    subgraphs
}

/// The operators of a graph, each by the node at which it begins.
fn find(view: &GraphView<'_>, order: &[usize]) -> HashMap<usize, FusedOp> {
    let fits = |op: &FusedOp| {
        let shapes = op.x.iter().map(|x| view.dims(x).map(TensorShape::of));
        // Sizes that are not known may fit; sizes that are neither an image's nor a row's do not.
        let Some(shapes) = shapes.collect::<Option<Vec<_>>>() else { return true };
        shapes.into_iter().collect::<Option<Vec<_>>>().is_some_and(|x| op.infer(&x).is_ok())
    };
    let mut found: HashMap<usize, FusedOp> =
        order.iter().filter_map(|&i| Some((i, ops::find(view, i).filter(fits)?))).collect();
    let mut taken: HashSet<usize> = found.values().flat_map(|op| op.nodes.iter().copied()).collect();
    let read: HashSet<String> = found.values().flat_map(|op| op.x.iter().cloned()).collect();
    for &i in order {
        let is_free = |op: &FusedOp| fits(op) && op.nodes.iter().all(|n| !taken.contains(n));
        if let Some(op) = ops::quantize_linear::find(view, i, &read).filter(is_free) {
            taken.extend(&op.nodes);
            found.insert(i, op);
        }
    }
    found
}

/// Subgraphs of operators that feed each other, none of which depends on anything that depends on itself.
fn group(view: &GraphView<'_>, order: &[usize], mut found: HashMap<usize, FusedOp>) -> Vec<FusedSubgraph> {
    let taken: HashSet<usize> = found.values().flat_map(|op| op.nodes.iter().copied()).collect();
    let live = {
        let inputs_of = found.values().map(|op| (op.y.as_str(), op.x.as_slice())).collect();
        view.live(&inputs_of)
    };
    let mut subgraphs: Vec<Vec<FusedOp>> = Vec::new();
    // Of each subgraph, those that it depends on.
    let mut dependencies: Vec<HashSet<usize>> = Vec::new();
    // Of each tensor, the subgraphs that it comes from with none between, and the one that makes it.
    let mut sources: HashMap<String, HashSet<usize>> = HashMap::new();
    let mut makers: HashMap<String, usize> = HashMap::new();
    for &i in order {
        let Some(op) = found.remove(&i) else {
            if !taken.contains(&i) {
                let node = &view.nodes[i];
                let all: HashSet<usize> = node.input.iter().filter_map(|t| sources.get(t)).flatten().copied().collect();
                node.output.iter().for_each(|o| {
                    sources.insert(o.clone(), all.clone());
                });
            }
            continue;
        };
        // What comes from elsewhere must be there before a subgraph begins.
        let before = |subgraph: usize| -> HashSet<usize> {
            let outside = op.x.iter().filter(|x| makers.get(*x) != Some(&subgraph));
            outside.filter_map(|x| sources.get(x)).flatten().copied().collect()
        };
        let may_join = |&subgraph: &usize| before(subgraph).iter().all(|&b| !depends_on(b, subgraph, &dependencies));
        let joined = op.x.iter().filter_map(|x| makers.get(x).copied()).filter(may_join).max();
        let subgraph = joined.unwrap_or_else(|| {
            subgraphs.push(Vec::new());
            dependencies.push(HashSet::new());
            subgraphs.len() - 1
        });
        dependencies[subgraph].extend(before(subgraph));
        sources.insert(op.y.clone(), HashSet::from([subgraph]));
        makers.insert(op.y.clone(), subgraph);
        subgraphs[subgraph].push(op);
    }
    // Of each tensor, the subgraphs that read it.
    let mut readers: HashMap<String, HashSet<usize>> = HashMap::new();
    for (i, x) in subgraphs
        .iter()
        .enumerate()
        .flat_map(|(i, ops)| ops.iter().flat_map(move |op| op.x.iter().map(move |x| (i, x))))
    {
        readers.entry(x.clone()).or_default().insert(i);
    }
    let leaves =
        |i: usize, y: &str| view.is_read(y, &live) || readers.get(y).is_some_and(|r| r.iter().any(|&r| r != i));
    subgraphs.into_iter().enumerate().map(|(i, ops)| FusedSubgraph::of(ops, |y| leaves(i, y))).collect()
}

/// Whether `subgraph` is `other`, or depends on it however far back.
///
/// Cost: each subgraph once, by as many ways as it may be reached.
fn depends_on(subgraph: usize, other: usize, dependencies: &[HashSet<usize>]) -> bool {
    let mut seen = HashSet::from([subgraph]);
    let mut waiting = vec![subgraph];
    while let Some(subgraph) = waiting.pop() {
        if subgraph == other {
            return true;
        }
        waiting.extend(dependencies[subgraph].iter().copied().filter(|d| seen.insert(*d)));
    }
    false
}
