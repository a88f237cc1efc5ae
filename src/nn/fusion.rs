//! Finds what a graph writes in floats and means in integers, and takes it out as regions of int8 operators.
//!
//! ```text
//! x.q ─ DQ ─ Conv(DQ(w), b) ─ [Relu | Clip] ─ Q ─ y.q      one convolution, quantised
//! x.q ─ DQ ─ Conv(DQ(w), b) ─ y                            one convolution that ends in floats
//! x.q ─ DQ ─ Conv(DQ(w), b) ─ ReduceMax over channels ─ y  the best of many, without their matrix
//! a.q, b.q ─ DQ ─ Add ─ [Relu | Clip] ─ Q ─ y.q            one addition
//! a.q, b.q ─ DQ ─ Mul ─ [Relu | Clip] ─ Q ─ y.q            one product, number by number or by one for each channel
//! x.q ─ DQ ─ Gemm(DQ(w), b) ─ [Relu | Clip] ─ [Q] ─ y      one convolution over one pixel
//! x.q ─ DQ ─ MaxPool ─ Q (same grid) ─ y.q                 one pooling of bytes
//! x.q ─ MaxPool ─ y.q                                      the same
//! x.q ─ DQ ─ AveragePool ─ Q ─ y.q                         one mean of each window
//! x.q ─ DQ ─ GlobalAveragePool ─ Q ─ y.q                   one mean
//! x.q ─ DQ ─ [· itself] ─ ReduceMean over the picture ─ y  one mean, or one of squares, that ends in floats
//! x.q ─ DQ ─ Resize ─ Q ─ y.q                              cells repeated, or blended and rounded half to even
//! x.q ─ Resize ─ y.q                                       cells repeated, or blended and cut off towards 0
//! x.q ─ DQ ─ LeakyRelu | Sigmoid | … ─ Q ─ y.q             one table of 256 bytes
//! x ─ [LeakyRelu] ─ Q ─ y.q                                floats on their way to one of these
//! x.q ─ DQ ─ [- m ─ · g] ─ ReduceSumSquare over channels   distances from what is usual; m and g constant, or stored
//! a.q, b.q… ─ DQ ─ [AveragePool] ─ [· gain] ─ [Resize] ─ Concat ─ Q ─ y.q      features side by side
//! ```
//!
//! Weights are signed or unsigned bytes around any zero point. Nodes in QOperator form have been written out like this
//! before ([`super::qoperator`]).
//!
//! Operators that feed each other make a [`Region`], which is run in one go on NHWC bytes ([`super::region`]); its place
//! in the graph takes one node. Everything else stays for tract as it is.
//!
//! Works on the file's graph and not on tract's: there a quantised convolution is still written as its exporter meant it,
//! while tract has taken some of it apart before a rewrite can look.

mod ops;
mod view;

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::{GraphProto, NodeProto};

use super::region::Form;
pub(super) use ops::{
    Becomes, Branch, Coordinates, Fused, FusedAdd, FusedAverage, FusedConv, FusedMean, FusedMoment, FusedMul,
    FusedPool, FusedResize, FusedSquares, FusedStack, FusedStore, FusedTable, Grid, Op, Usual,
};
use view::View;

/// The operator that stands for a region in the graph.
pub(super) const REGION: &str = "ZoomgateRegion";

/// Operators that run as one; `outputs` are read outside of it.
#[derive(Clone, Debug)]
pub(super) struct Region {
    pub(super) name: String,
    pub(super) inputs: Vec<String>,
    pub(super) steps: Vec<Fused>,
    pub(super) outputs: Vec<String>,
}

/// Shapes of tensors, as far as they are known.
pub(super) type Shapes = HashMap<String, Vec<usize>>;

/// Takes every region out of `graph`, whose wanted results are `outputs`; each leaves a node of [`REGION`] with its name.
///
/// What does not fit `shapes` is left for tract; where shapes are not known, it is found out when they are.
pub(super) fn fuse(graph: &mut GraphProto, outputs: &[String], shapes: &Shapes) -> Vec<Region> {
    let regions = {
        let view = View::of(graph, outputs, shapes);
        let order = view.order();
        let is_ours = |fused: &Fused| {
            let forms = fused.x.iter().map(|x| shapes.get(x).map(|dims| Form::of(dims)));
            // No shape: not known. A shape without a form: not one picture or one row.
            let Some(forms) = forms.collect::<Option<Vec<_>>>() else { return true };
            forms.into_iter().collect::<Option<Vec<_>>>().is_some_and(|x| fused.form(&x).is_ok())
        };
        let mut found: HashMap<usize, Fused> =
            order.iter().filter_map(|&i| Some((i, view.fused(i).filter(is_ours)?))).collect();
        let mut taken: HashSet<usize> = found.values().flat_map(|f| f.nodes.iter().copied()).collect();
        let wanted: HashSet<String> = found.values().flat_map(|f| f.x.iter().cloned()).collect();
        for &i in &order {
            let is_free = |s: &Fused| is_ours(s) && s.nodes.iter().all(|n| !taken.contains(n));
            if let Some(store) = view.store(i, &wanted).filter(is_free) {
                taken.extend(&store.nodes);
                found.insert(i, store);
            }
        }
        grow(&view, &order, found, &taken)
    };
    let gone: HashSet<usize> = regions.iter().flat_map(|r| &r.steps).flat_map(|s| s.nodes.iter().copied()).collect();
    let mut nodes = Vec::with_capacity(graph.node.len());
    for (i, node) in std::mem::take(&mut graph.node).into_iter().enumerate() {
        if !gone.contains(&i) {
            nodes.push(node);
        }
    }
    nodes.extend(regions.iter().map(|region| NodeProto {
        name: region.name.clone(),
        op_type: REGION.into(),
        input: region.inputs.clone(),
        output: region.outputs.clone(),
        ..NodeProto::default()
    }));
    graph.node = nodes;
    let order = View::of(graph, outputs, shapes).order();
    graph.node = order.iter().map(|&i| graph.node[i].clone()).collect();
    regions
}

/// Regions of operators that feed each other, none of which waits for anything that waits for itself.
fn grow(view: &View<'_>, order: &[usize], mut found: HashMap<usize, Fused>, taken: &HashSet<usize>) -> Vec<Region> {
    let live = view.live(found.values());
    let mut regions: Vec<Vec<Fused>> = Vec::new();
    // Of each region, those that it waits for.
    let mut waits: Vec<HashSet<usize>> = Vec::new();
    // Of each tensor, the regions that it comes from with none between, and of one that a region makes, that region.
    let mut sources: HashMap<String, HashSet<usize>> = HashMap::new();
    let mut maker: HashMap<String, usize> = HashMap::new();
    for &i in order {
        let Some(fused) = found.remove(&i) else {
            if !taken.contains(&i) {
                let node = &view.nodes[i];
                let all: HashSet<usize> = node.input.iter().filter_map(|t| sources.get(t)).flatten().copied().collect();
                node.output.iter().for_each(|o| {
                    sources.insert(o.clone(), all.clone());
                });
            }
            continue;
        };
        // What comes from elsewhere must be there before a region begins.
        let before = |region: usize| -> HashSet<usize> {
            let outside = fused.x.iter().filter(|x| maker.get(*x) != Some(&region));
            outside.filter_map(|x| sources.get(x)).flatten().copied().collect()
        };
        let may_join = |&region: &usize| before(region).iter().all(|&b| !waits_for(b, region, &waits));
        let joined = fused.x.iter().filter_map(|x| maker.get(x).copied()).filter(may_join).max();
        let region = joined.unwrap_or_else(|| {
            regions.push(Vec::new());
            waits.push(HashSet::new());
            regions.len() - 1
        });
        waits[region].extend(before(region));
        sources.insert(fused.y.clone(), HashSet::from([region]));
        maker.insert(fused.y.clone(), region);
        regions[region].push(fused);
    }
    // Of each tensor, the regions that read it.
    let mut readers: HashMap<String, HashSet<usize>> = HashMap::new();
    for (i, x) in regions
        .iter()
        .enumerate()
        .flat_map(|(i, steps)| steps.iter().flat_map(move |s| s.x.iter().map(move |x| (i, x))))
    {
        readers.entry(x.clone()).or_default().insert(i);
    }
    let leaves =
        |i: usize, y: &str| view.is_read(y, &live) || readers.get(y).is_some_and(|r| r.iter().any(|&r| r != i));
    regions.into_iter().enumerate().map(|(i, steps)| bounded(steps, |y| leaves(i, y))).collect()
}

/// Whether `region` is `other`, or waits for it however far back.
///
/// Cost: each region once, by as many ways as it may be reached.
fn waits_for(region: usize, other: usize, waits: &[HashSet<usize>]) -> bool {
    let mut seen = HashSet::from([region]);
    let mut waiting = vec![region];
    while let Some(region) = waiting.pop() {
        if region == other {
            return true;
        }
        waiting.extend(waits[region].iter().copied().filter(|w| seen.insert(*w)));
    }
    false
}

/// A region with what goes in and what `leaves` it.
fn bounded(steps: Vec<Fused>, leaves: impl Fn(&str) -> bool) -> Region {
    let made: HashSet<&String> = steps.iter().map(|s| &s.y).collect();
    let mut inputs: Vec<String> = Vec::new();
    for x in steps.iter().flat_map(|s| &s.x) {
        if !made.contains(x) && !inputs.contains(x) {
            inputs.push(x.clone());
        }
    }
    let outputs: Vec<String> = steps.iter().map(|s| &s.y).filter(|y| leaves(y)).cloned().collect();
    let name = format!("{}.region", steps[0].name);
    Region { name, inputs, steps, outputs }
}
