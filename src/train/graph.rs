//! Writes the recipe's graph: features, then for each view the bank's distance and the head, then their scores.
//!
//! Outputs for `view` in `full`, `zoom`: `{view}_map` `[1, M, h, w]` f32 (channel 0 the normality map, channel 1 the
//! head's logits where there is one, both in standard deviations of what is usual at that place), `{view}_score` `[1, E]`
//! f32 (the evidences: means of each map's largest cells, then the full image's log odds, all within their
//! bounds, `src/teach/bounds.rs`), `{view}_attention` `[1, 1, h/2, w/2]` f32 (how much each cell is attended to, on average over all
//! cells; the distance map without a head). The two views share everything up to `x`.
//!
//! Where crops lie on a lattice, the crop has a second input, `zoom_at` `[2]` i64: the row and the column of the lattice
//! at which its picture begins. What is usual there is gathered from tables of the whole lattice.

use super::bank::Bank;
use super::bounds::Bounds;
use super::features::FeatureGraph;
use super::head::{HIDDEN, Head, KEY, LEAK, Linear, top_cells};
use super::image_classifier::{FAR, ImageClassifier};
use super::location_stats::{Layout, LocationStats};
use super::template::{Gaussians, Template};
use super::view::{Known, Normality, TEMPLATE_SHARE, distance_cells};
use crate::error::Result;
use crate::nn::ModelProto;
use crate::nn::onnx::{Attr, Elem, Graph, QuantParams};
use crate::nn::plan::{AT, ExecutionPlan};

/// The views, as their parts of the graph are called.
pub const VIEWS: [&str; 2] = ["full", "zoom"];

/// The evidences of a view, in the order of [`super::weights`].
const EVIDENCES: [&str; 3] = ["normality", "known", "overall"];

/// The grid of whitened features, whose deviation is 1: -8 to 8 in steps of a sixteenth. Further out is far enough.
const WHITE: QuantParams = QuantParams { scale: 1.0 / 16.0, zero_point: 128 };

/// What is fitted for one view.
pub struct ViewParts<'a> {
    /// `full` or `zoom`.
    pub name: &'a str,
    /// How far cells are from good ones.
    pub normality: &'a Normality,
    /// The head, where known bads were given.
    pub known: Option<&'a Known>,
    /// A few views (`[3, H, W]` u8) of this kind, good and bad, to calibrate the head's activations on.
    pub calibration: &'a [Vec<u8>],
}

/// The whole recipe as an ONNX model without metadata.
///
/// # Errors
/// When the calibration runs fail.
pub fn build(space: &FeatureGraph, views: &[ViewParts<'_>]) -> Result<Graph> {
    let mut g = space.graph.clone();
    for view in views {
        let ranges = match view.known {
            Some(known) => {
                let shape = [1, 3, space.input[0], space.input[1]];
                calibrate(space.graph.clone(), shape, space, view.name, &known.head, view.calibration)?
            }
            None => Ranges::default(),
        };
        write_normality(&mut g, space, view);
        write_outputs(&mut g, space, view.name, view.known, &ranges);
    }
    Ok(g)
}

/// Heads and outputs for both views onto the graph of a recipe that has them no more (see [`headless`]).
///
/// `calibration` are views of each kind, as planar codes.
///
/// # Errors
/// When the calibration runs fail.
pub fn rewrite(
    mut g: Graph,
    space: &FeatureGraph,
    known: [&Known; 2],
    calibration: [Vec<Vec<u8>>; 2],
) -> Result<Graph> {
    let [h, w] = space.grid;
    let shape = [1, space.channels, h, w];
    let features = space.graph.behind("x.q", Elem::U8, &shape);
    for ((name, known), codes) in VIEWS.into_iter().zip(known).zip(&calibration) {
        let ranges = calibrate(features.clone(), shape, space, name, &known.head, codes)?;
        write_outputs(&mut g, space, name, Some(known), &ranges);
    }
    Ok(g)
}

/// A recipe's graph without heads and outputs: features, and what is normal in both views.
pub fn headless(graph: &Graph) -> Graph {
    let ends: Vec<String> = VIEWS.iter().map(|v| format!("{v}.normality.score")).chain(["x".to_owned()]).collect();
    graph.up_to(&ends)
}

/// A graph as a runnable model, for the constants that are measured on the finished graph.
pub fn as_model(graph: &Graph, metadata: &[(&str, String)]) -> ModelProto {
    graph.clone().into_model("zoomgate recipe", metadata)
}

/// Grids of the head's activations; `None` while they are being measured.
#[derive(Default)]
struct Ranges {
    first: Option<QuantParams>,
    mixed: Option<QuantParams>,
    second: Option<QuantParams>,
}

/// What the head's activations reach on `pictures`, inputs of `g` (`shape`), which leads to `x`.
fn calibrate(
    mut g: Graph,
    shape: [usize; 4],
    space: &FeatureGraph,
    view: &str,
    head: &Head,
    pictures: &[Vec<u8>],
) -> Result<Ranges> {
    write_head(&mut g, space, view, head, &Ranges::default());
    let names: Vec<String> = ["first", "mixed", "second"].map(|n| format!("{view}.{n}")).to_vec();
    let model = g.into_model("calibration", &[]);
    let plan = ExecutionPlan::new(&model, shape, Elem::U8, &names, "the head")?;
    let mut running = plan.spawn()?;
    let mut ranges = [(0.0f32, 0.0f32); 3];
    for picture in pictures {
        for (r, out) in ranges.iter_mut().zip(running.run(picture)?) {
            *r = out.f32().iter().fold(*r, |(l, h), &v| (l.min(v), h.max(v)));
        }
    }
    let [first, mixed, second] = ranges.map(|(l, h)| Some(QuantParams::covering(l, h)));
    Ok(Ranges { first, mixed, second })
}

fn on_grid(g: &mut Graph, name: String, q: Option<QuantParams>) -> String {
    match q {
        Some(q) => g.fake_quantize(&name, q, &format!("{name}.grid")),
        None => name,
    }
}

/// The normality map, `{v}.normality`, and its evidence, `{v}.normality.score`.
fn write_normality(g: &mut Graph, space: &FeatureGraph, view: &ViewParts<'_>) {
    let v = view.name;
    let Normality { bank, bank_usual, template, template_usual } = view.normality;
    let z = g.conv1x1_of_integers("x", space.quant.scale, &template.weight, &template.bias, &format!("{v}.white"));
    g.fake_quantize(&z, WHITE, &format!("{v}.white.z"));
    let distance = write_bank(g, space, v, bank);
    let layouts = [bank_usual.layout, template_usual.layout];
    let places = layouts.into_iter().find(Layout::moves).map(|layout| write_places(g, v, layout));
    let places = places.as_deref();
    let distance = standardise(g, &distance, bank_usual, 1.0 - TEMPLATE_SHARE, places);
    let deviation = write_template(g, space, v, template, places);
    let deviation = standardise(g, &deviation, template_usual, TEMPLATE_SHARE, places);
    let whole = format!("{v}.normality");
    let sum = if template_usual.layout.margin > 0 { format!("{whole}.sum") } else { whole.clone() };
    let mut distance = g.node("Add", &[&distance, &deviation], &sum, &[]);
    if template_usual.layout.margin > 0 {
        let [h, w] = space.grid;
        let mut inside = vec![0.0; space.cells()];
        template_usual.layout.of([0, 0]).for_each(|(cell, _)| inside[cell] = 1.0);
        let inside = g.f32(&format!("{v}.inside"), &[1, 1, h, w], &inside);
        distance = g.node("Mul", &[&distance, &inside], &whole, &[]);
    }
    top(g, &distance, space.cells(), distance_cells(space.cells()));
}

/// The head behind what [`write_normality`] wrote, and the view's outputs.
fn write_outputs(g: &mut Graph, space: &FeatureGraph, v: &str, known: Option<&Known>, ranges: &Ranges) {
    let [h, w] = space.grid;
    let distance = format!("{v}.normality");
    let mut maps = vec![distance.clone()];
    let mut scores = vec![format!("{distance}.score")];
    let attention = format!("{v}_attention");
    if let Some(known) = known {
        let logits = write_head(g, space, v, &known.head, ranges);
        let logits = standardise(g, &logits, &known.usual, 1.0, None);
        scores.push(top(g, &logits, space.cells(), top_cells(space.cells())));
        maps.push(logits);
        scores.push(write_overall(g, space, v, &known.overall));
        let shape = g.i64(&format!("{attention}.shape"), &[1, 1, (h / 2) as i64, (w / 2) as i64]);
        let mean =
            g.node("ReduceMean", &[&format!("{v}.weights")], &format!("{v}.attended"), &[Attr::Ints("axes", &[1])]);
        g.node("Reshape", &[&mean, &shape], &attention, &[]);
    } else {
        let attrs = [Attr::Ints("kernel_shape", &[2, 2]), Attr::Ints("strides", &[2, 2])];
        g.node("MaxPool", &[&distance], &attention, &attrs);
    }
    let (layers, evidences) = (maps.len(), scores.len());
    join(g, &maps, &format!("{v}_map"));
    let cells = g.node(
        "ReduceMean",
        &[&distance],
        &format!("{distance}.mean"),
        &[Attr::Ints("axes", &[2, 3]), Attr::Int("keepdims", 0)],
    );
    for (evidence, score) in EVIDENCES.into_iter().zip(&mut scores).skip(1) {
        *score = write_floor(g, v, evidence, score);
    }
    let guard = write_guard(g, v, &scores[1..]);
    scores[0] = write_bounds(g, v, &scores[0], &cells, &guard);
    join(g, &scores, &format!("{v}_score"));
    g.output(&format!("{v}_map"), Elem::F32, &[1, layers, h, w]);
    g.output(&attention, Elem::F32, &[1, 1, h / 2, w / 2]);
    g.output(&format!("{v}_score"), Elem::F32, &[1, evidences]);
}

/// A tensor of a view's [`Bounds`].
fn bound(v: &str, evidence: &str, what: &str) -> String {
    format!("{v}.{evidence}.{what}")
}

/// An evidence `[1, 1]` that says no less than its floor. One that is not a number stays so.
fn write_floor(g: &mut Graph, v: &str, evidence: &str, score: &str) -> String {
    let name = |n: &str| bound(v, evidence, n);
    let floor = g.f32(&name("floor"), &[1, 1], &Bounds::NONE.floor[..1]);
    let is_below = g.node("Less", &[score, &floor], &name("is_below"), &[]);
    g.node("Where", &[&is_below, &floor, score], &name("floored"), &[])
}

/// The least normality evidence of a view that is too far from usual, `[1, 1]`: less where its `others`, which are no less
/// than their floors, say more.
fn write_guard(g: &mut Graph, v: &str, others: &[String]) -> String {
    let name = |n: &str| bound(v, "normality", n);
    let mut guard = g.f32(&name("guard"), &[1, 1], &[Bounds::NONE.guard]);
    for (evidence, score) in EVIDENCES.into_iter().skip(1).zip(others) {
        let name = |n: &str| bound(v, evidence, n);
        let rise = g.node("Sub", &[score, &name("floor")], &name("rise"), &[]);
        let spared = g.f32(&name("spared"), &[1, 1], &Bounds::NONE.spared[..1]);
        let spares = g.node("Mul", &[&rise, &spared], &name("spares"), &[]);
        guard = g.node("Sub", &[&guard, &spares], &name("guard"), &[]);
    }
    guard
}

/// The normality evidence within its bounds, of which none is set yet ([`set_bounds`]): no less than its floor, and no less
/// than `guard` where it or the mean over the map, all `[1, 1]`, is too far from usual.
fn write_bounds(g: &mut Graph, v: &str, evidence: &str, mean: &str, guard: &str) -> String {
    let name = |n: &str| bound(v, "normality", n);
    let none = Bounds::NONE;
    let floored = write_floor(g, v, "normality", evidence);
    let both = g.node("Concat", &[evidence, mean], &name("both"), &[Attr::Int("axis", 1)]);
    let usual = g.f32(&name("usual"), &[1, 2], &none.usual);
    let inverse = g.f32(&name("inverse"), &[1, 2], &none.inverse);
    let centred = g.node("Sub", &[&both, &usual], &name("unusual.centred"), &[]);
    let far = g.node("Mul", &[&centred, &inverse], &name("unusual.both"), &[]);
    let attrs = [Attr::Ints("axes", &[1]), Attr::Int("keepdims", 1)];
    let unusual = g.node("ReduceMax", &[&far], &name("unusual"), &attrs);
    let one = g.f32(&name("unusual.from"), &[1, 1], &[1.0]);
    let is_far = g.node("Greater", &[&unusual, &one], &name("is_far"), &[]);
    let guarded = g.node("Max", &[&floored, guard], &name("guarded"), &[]);
    g.node("Where", &[&is_far, &guarded, &floored], &name("bounded"), &[])
}

/// Sets the bounds of a finished graph's view.
pub(super) fn set_bounds(g: &mut Graph, v: &str, bounds: &Bounds) {
    for (evidence, floor) in EVIDENCES.into_iter().zip(bounds.floor) {
        g.set_f32(&bound(v, evidence, "floor"), &[floor]);
    }
    for (evidence, spared) in EVIDENCES.into_iter().skip(1).zip(bounds.spared) {
        g.set_f32(&bound(v, evidence, "spared"), &[spared]);
    }
    g.set_f32(&bound(v, "normality", "usual"), &bounds.usual);
    g.set_f32(&bound(v, "normality", "inverse"), &bounds.inverse);
    g.set_f32(&bound(v, "normality", "guard"), &[bounds.guard]);
}

/// The places that a view's cells show, `[cells]` i64 into tables of all of them.
fn write_places(g: &mut Graph, v: &str, layout: Layout) -> String {
    let name = |n: &str| format!("{v}.places.{n}");
    if g.inputs.iter().all(|i| i.name != AT) {
        g.input(AT, Elem::I64, &[2]);
    }
    let steps = g.i64(&name("steps"), &[layout.extent[1] as i64, 1]);
    let ([rows, columns], across) = (layout.grid, layout.extent[1]);
    let first: Vec<i64> = (0..rows).flat_map(|y| (0..columns).map(move |x| (y * across + x) as i64)).collect();
    let first = g.i64(&name("first"), &first);
    let along = g.node("Mul", &[AT, &steps], &name("along"), &[]);
    let axis = g.i64(&name("axis"), &[0]);
    let begin = g.node("ReduceSum", &[&along, &axis], &name("begin"), &[Attr::Int("keepdims", 1)]);
    g.node("Add", &[&first, &begin], &name("shown"), &[])
}

/// What a table, of which `axis` are places, says of those that a view shows, in another shape.
fn gather(g: &mut Graph, table: &str, axis: i64, places: &str, shape: &[usize], output: &str) -> String {
    let rows = g.node("Gather", &[table, places], &format!("{output}.rows"), &[Attr::Int("axis", axis)]);
    let shape: Vec<i64> = shape.iter().map(|&d| d as i64).collect();
    let shape = g.i64(&format!("{output}.shape"), &shape);
    g.node("Reshape", &[&rows, &shape], output, &[])
}

/// A map `[1, 1, h, w]` in standard deviations of what is usual at each place, times `weight`; `places` are those that it
/// shows, where views differ in that.
fn standardise(g: &mut Graph, map: &str, usual: &LocationStats, weight: f32, places: Option<&str>) -> String {
    let [h, w] = usual.layout.grid;
    let inverse: Vec<f32> = usual.std.iter().map(|s| weight / s).collect();
    let mut table = |name: String, values: &[f32]| match places.filter(|_| usual.layout.moves()) {
        Some(places) => {
            let all = g.f32(&format!("{name}.all"), &[values.len()], values);
            gather(g, &all, 0, places, &[1, 1, h, w], &name)
        }
        None => g.f32(&name, &[1, 1, h, w], values),
    };
    let (mean, gain) = (table(format!("{map}.usual"), &usual.mean), table(format!("{map}.gain"), &inverse));
    let centred = g.node("Sub", &[map, &mean], &format!("{map}.centred"), &[]);
    g.node("Mul", &[&centred, &gain], &format!("{map}.z"), &[])
}

fn join(g: &mut Graph, names: &[String], output: &str) {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    if names.len() == 1 {
        g.node("Identity", &names, output, &[]);
    } else {
        g.node("Concat", &names, output, &[Attr::Int("axis", 1)]);
    }
}

/// Root mean squared distance to the nearest prototype, `[1, 1, h, w]`.
///
/// `|x - p|² = |x|² - 2 (x·p - |p|²/2)`; both norms are of the values on their grids, so that the distance is exactly
/// that between quantised vectors. The product ends in float: its two large parts cancel.
fn write_bank(g: &mut Graph, space: &FeatureGraph, v: &str, bank: &Bank) -> String {
    let scales = crate::nn::onnx::weight_scales(&bank.values, bank.len(), None);
    let half: Vec<f32> = bank
        .values
        .chunks(bank.channels)
        .zip(&scales)
        .map(|(p, s)| {
            let stored = |x: &f32| if g.is_float { *x } else { (x / s).round_ties_even() * s };
            -p.iter().map(|x| stored(x).powi(2)).sum::<f32>() / 2.0
        })
        .collect();
    let z = format!("{v}.white.z");
    let product = g.conv1x1(&z, &bank.values, &half, &format!("{v}.bank"));
    let best = g.node("ReduceMax", &[&product], &format!("{v}.bank.best"), &[Attr::Ints("axes", &[1])]);
    let norm = g.node("ReduceSumSquare", &[&z], &format!("{v}.bank.norm"), &[Attr::Ints("axes", &[1])]);
    let half_norm = g.f32(&format!("{v}.bank.half"), &[], &[0.5]);
    let n = g.node("Mul", &[&norm, &half_norm], &format!("{v}.bank.halfnorm"), &[]);
    let d = g.node("Sub", &[&n, &best], &format!("{v}.bank.d"), &[]);
    let d = g.node("Relu", &[&d], &format!("{v}.bank.positive"), &[]);
    let k = g.f32(&format!("{v}.bank.k"), &[], &[2.0 / space.channels as f32]);
    let d = g.node("Mul", &[&d, &k], &format!("{v}.bank.mean"), &[]);
    g.node("Sqrt", &[&d], &format!("{v}.distance"), &[])
}

/// Root mean squared deviation of the whitened features from what is usual at each place, `[1, 1, h, w]`.
///
/// Means and gains are stored as int8, each channel on its own scale.
fn write_template(g: &mut Graph, space: &FeatureGraph, v: &str, template: &Template, places: Option<&str>) -> String {
    let name = |n: &str| format!("{v}.template.{n}");
    let mut z = format!("{v}.white.z");
    if let Some(Gaussians { layout, mean, gain }) = &template.places {
        let mut stored = |values: &[f32], part: &str| match places.filter(|_| layout.moves()) {
            Some(places) => write_table(g, values, space, *layout, places, &name(part)),
            None => {
                let [h, w] = space.grid;
                let planes = planes(values, space.channels);
                let scales = crate::nn::onnx::weight_scales(&planes, space.channels, None);
                g.weight_i8(&name(part), &[space.channels, h, w], &planes, &scales)
            }
        };
        let (mean, gain) = (stored(mean, "mean"), stored(gain, "gain"));
        let centred = g.node("Sub", &[&z, &mean], &name("centred"), &[]);
        z = g.node("Mul", &[&centred, &gain], &name("z"), &[]);
    }
    let sum = g.node("ReduceSumSquare", &[&z], &name("sum"), &[Attr::Ints("axes", &[1])]);
    let share = g.f32(&name("share"), &[], &[1.0 / space.channels as f32]);
    let mean = g.node("Mul", &[&sum, &share], &name("square"), &[]);
    g.node("Sqrt", &[&mean], &name("deviation"), &[])
}

/// `[places, channels]` as `[channels, places]`.
fn planes(values: &[f32], channels: usize) -> Vec<f32> {
    (0..channels).flat_map(|c| values.iter().skip(c).step_by(channels).copied()).collect()
}

/// What a table `[places, channels]`, stored as int8 `[channels, places]`, says of the places that a view shows: `[1, channels, h, w]`.
fn write_table(
    g: &mut Graph,
    values: &[f32],
    space: &FeatureGraph,
    layout: Layout,
    places: &str,
    output: &str,
) -> String {
    let (channels, [h, w]) = (space.channels, space.grid);
    let planes = planes(values, channels);
    let scales = crate::nn::onnx::weight_scales(&planes, channels, None);
    let table = format!("{output}.all");
    let dims = [channels, layout.count()];
    if g.is_float {
        let all = g.f32(&table, &dims, &planes);
        return gather(g, &all, 1, places, &[1, channels, h, w], output);
    }
    let of_channels =
        planes.chunks(layout.count()).zip(&scales).flat_map(|(plane, s)| plane.iter().map(move |v| v / s));
    let stored: Vec<i8> = of_channels.map(|v| v.round_ties_even().clamp(-127.0, 127.0) as i8).collect();
    let all = g.i8(&table, &dims, &stored);
    // Stored as it lies in the view, so that it can be read as bytes.
    let shown = gather(g, &all, 1, places, &[1, channels, h, w], &format!("{output}.shown"));
    let scale = g.f32(&format!("{output}.scale"), &[channels], &scales);
    let zero = g.i8(&format!("{output}.zero"), &[channels], &vec![0; channels]);
    g.node("DequantizeLinear", &[&shown, &scale, &zero], output, &[Attr::Int("axis", 1)])
}

fn conv(g: &mut Graph, x: &str, layer: &Linear, output: &str) -> String {
    g.conv1x1(x, &layer.weight, &layer.bias, output)
}

/// The head's logits, `[1, 1, h, w]`; leaves the attention weights in `{v}.weights` `[1, cells/4, cells/4]`.
fn write_head(g: &mut Graph, space: &FeatureGraph, v: &str, head: &Head, ranges: &Ranges) -> String {
    let name = |n: &str| format!("{v}.{n}");
    let Linear { weight, bias } = &head.first;
    let a = g.conv1x1_of_integers("x", space.quant.scale, weight, bias, &name("first.linear"));
    let a = g.node("Relu", &[&a], &name("first"), &[]);
    let a = on_grid(g, a, ranges.first);
    let pool = [Attr::Ints("kernel_shape", &[2, 2]), Attr::Ints("strides", &[2, 2])];
    let tokens = g.node("AveragePool", &[&a], &name("tokens"), &pool);
    // Not put on a grid again: means of four grid values fall on exact halves, which rounding noise would decide.
    let n = (space.cells() / 4) as i64;
    let flat = |g: &mut Graph, layer: &Linear, part: &str, channels: usize| {
        let c = conv(g, &tokens, layer, &name(part));
        let shape = g.i64(&name(&format!("{part}.shape")), &[1, channels as i64, n]);
        g.node("Reshape", &[&c, &shape], &name(&format!("{part}.flat")), &[])
    };
    let q = flat(g, &head.query, "query", KEY);
    let k = flat(g, &head.key, "key", KEY);
    let z = flat(g, &head.value, "value", HIDDEN);
    let q = g.node("Transpose", &[&q], &name("query.t"), &[Attr::Ints("perm", &[0, 2, 1])]);
    let scores = g.node("MatMul", &[&q, &k], &name("attention.dot"), &[]);
    let scale = g.f32(&name("attention.scale"), &[], &[1.0 / (KEY as f32).sqrt()]);
    let scores = g.node("Mul", &[&scores, &scale], &name("attention.scaled"), &[]);
    let weights = g.node("Softmax", &[&scores], &name("weights"), &[Attr::Int("axis", 2)]);
    // The values are turned, not the weights: those are many more.
    let turned = [Attr::Ints("perm", &[0, 2, 1])];
    let z = g.node("Transpose", &[&z], &name("value.t"), &turned);
    let z = g.node("MatMul", &[&weights, &z], &name("attended.t"), &[]);
    let z = g.node("Transpose", &[&z], &name("attended.flat"), &turned);
    let [h, w] = space.grid;
    let shape = g.i64(&name("attended.shape"), &[1, HIDDEN as i64, (h / 2) as i64, (w / 2) as i64]);
    let z = g.node("Reshape", &[&z, &shape], &name("attended.half"), &[]);
    let z = super::features::repeat(g, &z, 2);
    let mixed = g.node("Add", &[&a, &z], &name("mixed"), &[]);
    let mixed = on_grid(g, mixed, ranges.mixed);
    let b = conv(g, &mixed, &head.second, &name("second.linear"));
    let b = g.node("LeakyRelu", &[&b], &name("second"), &[Attr::Float("alpha", LEAK as f32)]);
    let b = on_grid(g, b, ranges.second);
    conv(g, &b, &head.last, &name("logits"))
}

/// The log odds of the full image, `[1, 1]`.
fn write_overall(g: &mut Graph, space: &FeatureGraph, v: &str, overall: &ImageClassifier) -> String {
    let name = |n: &str| format!("{v}.overall.{n}");
    let axes = [Attr::Ints("axes", &[2, 3]), Attr::Int("keepdims", 0)];
    let means = g.node("ReduceMean", &["x"], &name("means"), &axes);
    let squared = g.node("Mul", &["x", "x"], &name("squared"), &[]);
    let squares = g.node("ReduceMean", &[&squared], &name("squares"), &axes);
    let pooled = g.node("Concat", &[&means, &squares], &name("pooled"), &[Attr::Int("axis", 1)]);
    let features = 2 * space.channels;
    let mean = g.f32(&name("mean"), &[1, features], &overall.mean);
    let gain = g.f32(&name("gain"), &[1, features], &overall.gain);
    let centred = g.node("Sub", &[&pooled, &mean], &name("centred"), &[]);
    let z = g.node("Mul", &[&centred, &gain], &name("standard"), &[]);
    let (near, far) = (g.f32(&name("near"), &[], &[-FAR]), g.f32(&name("far"), &[], &[FAR]));
    let z = g.node("Clip", &[&z, &near, &far], &name("clipped"), &[]);
    let runs = overall.odds.len();
    let weights: Vec<f32> = (0..features).flat_map(|i| overall.odds.iter().map(move |o| o.weight[i])).collect();
    let biases: Vec<f32> = overall.odds.iter().map(|o| o.bias).collect();
    let weight = g.f32(&name("weight"), &[features, runs], &weights);
    let bias = g.f32(&name("bias"), &[1, runs], &biases);
    let sum = g.node("MatMul", &[&z, &weight], &name("sum"), &[]);
    let odds = g.node("Add", &[&sum, &bias], &name("odds"), &[]);
    g.node("ReduceMax", &[&odds], &name("score"), &[Attr::Ints("axes", &[1]), Attr::Int("keepdims", 1)])
}

/// Mean of the `count` largest cells of a `[1, 1, h, w]` map: `[1, 1]`.
fn top(g: &mut Graph, map: &str, cells: usize, count: usize) -> String {
    let shape = g.i64(&format!("{map}.row"), &[1, cells as i64]);
    let flat = g.node("Reshape", &[map, &shape], &format!("{map}.flat"), &[]);
    let k = g.i64(&format!("{map}.k"), &[count as i64]);
    let values = g.top_k(&flat, &k, &format!("{map}.top"));
    g.node("ReduceMean", &[&values], &format!("{map}.score"), &[Attr::Ints("axes", &[1]), Attr::Int("keepdims", 1)])
}
