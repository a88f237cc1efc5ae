//! Features of views: the quantised backbone's tensors, averaged over neighbours, put on one scale and one grid.
//!
//! This is the very graph that goes into the recipe, so that bank and head are fitted on what the device will see.
//! The common grid is the finest feature's; coarser ones are repeated onto it. Local averaging over 3x3 cells is
//! PatchCore's (Roth et al., 2022, eq. 1).

use std::sync::Arc;

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::error::{Error, ErrorKind, Result};
use crate::nn::backbone::{Backbone, Feature, Quantised};
use crate::nn::onnx::{Attr, Elem, Graph, QuantParams};
use crate::nn::plan::{ExecutionPlan, Running};

/// Headroom above the largest feature seen while calibrating: defects are further out than good parts.
const HEADROOM: f32 = 1.25;

/// Largest feature told apart from larger ones, in standard deviations: a few rare spikes must not coarsen the grid of
/// all others.
const RANGE_MAX: f32 = 8.0;

/// Cells that stand for all the good ones, where the bank and the template are fitted.
pub const SAMPLE: usize = 32_768;

/// The graph from the u8 input `image` to the tensor `x`, and what is known about `x`.
#[derive(Clone)]
pub struct FeatureGraph {
    /// Nodes up to `x` (float on its u8 grid) and `x.q` (stored).
    pub graph: Graph,
    /// Rows and columns of the grid.
    pub grid: [usize; 2],
    /// Channels of `x`.
    pub channels: usize,
    /// The grid of `x`.
    pub quant: QuantParams,
    /// Model input rows and columns.
    pub input: [usize; 2],
}

/// Features of one view: `[cells, channels]` u8 codes, cell-major, on [`FeatureGraph::quant`]'s grid.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QuantizedFeatures {
    values: Arc<[u8]>,
    /// Row and column at which a crop begins on the [lattice](crate::inspect::crop::CropLattice); zeros for others.
    pub at: [usize; 2],
}

impl QuantizedFeatures {
    /// Of a view that begins at a row and a column.
    pub fn new(values: impl Into<Arc<[u8]>>, at: [usize; 2]) -> Self {
        Self { values: values.into(), at }
    }
}

/// Of a full image.
impl FromIterator<u8> for QuantizedFeatures {
    fn from_iter<I: IntoIterator<Item = u8>>(values: I) -> Self {
        Self::new(values.into_iter().collect::<Vec<u8>>(), [0, 0])
    }
}

impl std::ops::Deref for QuantizedFeatures {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.values
    }
}

/// A view as the model takes it.
pub struct RenderedView {
    /// `[3, H, W]` u8.
    pub pixels: Vec<u8>,
    /// As [`QuantizedFeatures::at`].
    pub at: [usize; 2],
}

impl FeatureGraph {
    /// Quantises `backbone` for `height` x `width` and scales its features on `views` (`[3, H, W]` u8 each).
    ///
    /// # Errors
    /// When the backbone cannot be run at that size.
    pub fn fit(backbone: &Backbone, height: usize, width: usize, views: &[Vec<u8>]) -> Result<Self> {
        let Quantised { mut graph, features } = backbone.quantise(height, width, views)?;
        let grid = features
            .iter()
            .map(|f| f.grid)
            .max()
            .ok_or_else(|| Error::new(ErrorKind::Internal, "a backbone without features".to_owned()))?;
        if features
            .iter()
            .any(|f| grid[0] % f.grid[0] != 0 || grid[1] % f.grid[1] != 0 || f.grid[0] * grid[1] != f.grid[1] * grid[0])
            || grid.iter().any(|g| g % 2 != 0)
        {
            let grids: Vec<_> = features.iter().map(|f| f.grid).collect();
            return Err(Error::new(
                ErrorKind::Refused,
                format!(
                    "the features' grids {grids:?} for a {height}x{width} input do not divide each other evenly: choose other features or another --size"
                ),
            ));
        }
        let pooled: Vec<String> = features.iter().map(|f| pool(&mut graph, f)).collect();
        let model = graph.clone().into_model("features", &[]);
        let plan = ExecutionPlan::new(&model, [1, 3, height, width], Elem::U8, &pooled, &backbone.name)?;
        let mut running = plan.spawn()?;
        let mut moments: Vec<Vec<[f64; 2]>> = features.iter().map(|f| vec![[0.0; 2]; f.channels]).collect();
        let mut outputs = Vec::with_capacity(views.len());
        for view in views {
            let out = running.run(view)?;
            for (m, o) in moments.iter_mut().zip(&out) {
                let per = o.f32().len() / m.len();
                for (sum, values) in m.iter_mut().zip(o.f32().chunks(per)) {
                    for &v in values {
                        sum[0] += f64::from(v);
                        sum[1] += f64::from(v) * f64::from(v);
                    }
                }
            }
            outputs.push(out);
        }
        let mut scaled = Vec::new();
        let (mut low, mut high) = (0.0f32, 0.0f32);
        for (i, f) in features.iter().enumerate() {
            let cells = (f.grid[0] * f.grid[1] * views.len()) as f64;
            let gain = gains(&moments[i], cells);
            for out in &outputs {
                let per = f.grid[0] * f.grid[1];
                for (values, g) in out[i].f32().chunks(per).zip(&gain) {
                    for v in values {
                        (low, high) = (low.min(v * g), high.max(v * g));
                    }
                }
            }
            let g = graph.f32(&format!("{}.gain", f.tensor), &[1, f.channels, 1, 1], &gain);
            let name = graph.node("Mul", &[&pooled[i], &g], &format!("{}.scaled", f.tensor), &[]);
            scaled.push(repeat(&mut graph, &name, grid[0] / f.grid[0]));
        }
        let channels = features.iter().map(|f| f.channels).sum();
        let joined = if scaled.len() == 1 {
            scaled.remove(0)
        } else {
            let names: Vec<&str> = scaled.iter().map(String::as_str).collect();
            graph.node("Concat", &names, "x.float", &[Attr::Int("axis", 1)])
        };
        let quant = QuantParams::covering((low * HEADROOM).max(-RANGE_MAX), (high * HEADROOM).min(RANGE_MAX));
        graph.fake_quantize(&joined, quant, "x");
        Ok(Self { graph, grid, channels, quant, input: [height, width] })
    }

    /// Cells of the grid.
    pub fn cells(&self) -> usize {
        self.grid[0] * self.grid[1]
    }

    /// A runner for many views at once.
    ///
    /// # Errors
    /// When the graph cannot be run.
    pub fn extractor(&self) -> Result<Extractor> {
        let model = self.graph.clone().into_model("features", &[]);
        let shape = [1, 3, self.input[0], self.input[1]];
        let plan = ExecutionPlan::new(&model, shape, Elem::U8, &["x.q".to_owned()], "the feature graph")?;
        Ok(Extractor { plan, channels: self.channels })
    }

    /// The real values of codes: `[cells, channels]` f32 appended to `out`.
    pub fn real(&self, codes: &[u8], out: &mut Vec<f32>) {
        let zero = f32::from(self.quant.zero_point);
        out.extend(codes.iter().map(|&c| (f32::from(c) - zero) * self.quant.scale));
    }

    /// A sample of at most [`SAMPLE`] of the views' cells, `[n, channels]` f32, in the views' order.
    ///
    /// Deterministic for a generator state, which it leaves alone where all cells are few enough.
    pub fn sample(&self, views: &[QuantizedFeatures], rng: &mut ChaCha8Rng) -> Vec<f32> {
        let all = views.len() * self.cells();
        let mut chosen: Vec<usize> = (0..all).collect();
        if all > SAMPLE {
            chosen.partial_shuffle(rng, SAMPLE);
            chosen.truncate(SAMPLE);
            chosen.sort_unstable();
        }
        let mut cells = Vec::with_capacity(chosen.len() * self.channels);
        for i in chosen {
            let at = (i % self.cells()) * self.channels;
            self.real(&views[i / self.cells()][at..at + self.channels], &mut cells);
        }
        cells
    }
}

/// Runs the feature graph on many views, on all cores.
pub struct Extractor {
    plan: ExecutionPlan,
    channels: usize,
}

impl Extractor {
    /// The shape that the stored features have. Cost: a pass.
    ///
    /// # Errors
    /// When the graph cannot be run.
    pub fn shape(&self) -> Result<Vec<usize>> {
        Ok(self.plan.spawn()?.run(&vec![0; self.plan.input_bytes()])?[0].shape().to_vec())
    }

    /// Codes of `count` views; `view(i)` renders view `i` and is called on a worker thread.
    ///
    /// The order of the result is that of the indices, whatever the threads do.
    ///
    /// # Errors
    /// The first error that rendering or running gave.
    pub fn codes(
        &self,
        count: usize,
        view: impl Fn(usize) -> Result<RenderedView> + Sync,
    ) -> Result<Vec<QuantizedFeatures>> {
        (0..count).into_par_iter().map_init(|| self.plan.spawn(), |state, i| self.one(state, &view(i)?)).collect()
    }

    fn one(
        &self,
        state: &mut Result<Running>,
        RenderedView { pixels, at }: &RenderedView,
    ) -> Result<QuantizedFeatures> {
        let state = state.as_mut().map_err(|e| Error::new(ErrorKind::Internal, e.message().to_owned()))?;
        let out = state.run(pixels)?;
        Ok(QuantizedFeatures::new(cell_major(out[0].u8(), self.channels), *at))
    }
}

/// Channel-major to cell-major: the fit reads whole cells.
pub(super) fn cell_major(planar: &[u8], channels: usize) -> Vec<u8> {
    let mut codes = vec![0u8; planar.len()];
    for (c, plane) in planar.chunks(planar.len() / channels).enumerate() {
        for (cell, &v) in plane.iter().enumerate() {
            codes[cell * channels + c] = v;
        }
    }
    codes
}

/// A view's codes as the graph's `x.q` has them, channel-major, in the place of its pixels.
pub(super) fn planar(codes: &QuantizedFeatures, channels: usize) -> RenderedView {
    RenderedView { pixels: cell_major(codes, codes.len() / channels), at: codes.at }
}

fn pool(graph: &mut Graph, f: &Feature) -> String {
    let attrs = [
        Attr::Ints("kernel_shape", &[3, 3]),
        Attr::Ints("pads", &[1, 1, 1, 1]),
        Attr::Ints("strides", &[1, 1]),
        Attr::Int("count_include_pad", 0),
    ];
    graph.node("AveragePool", &[&f.tensor], &format!("{}.near", f.tensor), &attrs)
}

/// Repeats every cell `factor` times in both directions.
pub(super) fn repeat(graph: &mut Graph, name: &str, factor: usize) -> String {
    if factor == 1 {
        return name.to_owned();
    }
    let output = format!("{name}.up");
    let scales = graph.f32(&format!("{output}.scales"), &[4], &[1.0, 1.0, factor as f32, factor as f32]);
    let attrs = [
        Attr::Str("mode", "nearest"),
        Attr::Str("coordinate_transformation_mode", "asymmetric"),
        Attr::Str("nearest_mode", "floor"),
    ];
    graph.node("Resize", &[name, "", &scales], &output, &attrs)
}

/// One over each channel's standard deviation; nearly constant channels are not blown up.
fn gains(moments: &[[f64; 2]], cells: f64) -> Vec<f32> {
    let deviations: Vec<f64> =
        moments.iter().map(|[s, s2]| (s2 / cells - (s / cells).powi(2)).max(0.0).sqrt()).collect();
    let typical = deviations.iter().sum::<f64>() / deviations.len() as f64;
    deviations.iter().map(|d| (1.0 / (d * d + 0.01 * typical * typical).sqrt().max(1e-9)) as f32).collect()
}
