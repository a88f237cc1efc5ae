//! A recipe ready to run: load, verify, warm up, inspect.

mod shapes;

use std::path::Path;
use std::time::Instant;

use sha2::{Digest as _, Sha256};

use super::aligned::ImageAligner;
use super::crop::{self, CropLattice, Map};
use super::intensity::IntensityNorm;
use super::recipe::{KEEPSAKE_KEY, Recipe};
use super::register::Aligner;
use super::scene::{self, Scene};
use super::{Evidence, Inspect, Inspection, StageTimes, Unseen, empty};
use crate::error::{Error, ErrorKind, Result};
use crate::frame::Frame;
use crate::frame::geometry::View;
use crate::frame::motion::Motion;
use crate::nn::ModelProto;
use crate::nn::backbone::Backbone;
use crate::nn::onnx::{self, Elem};
use crate::nn::plan::{ExecutionPlan, Output, Remainder, Running};
use crate::nn::pool::ThreadPool;
use crate::nn::surgery;
use crate::storage;
use crate::units::Score;

/// A loaded recipe: both passes as plans that threads can share.
#[derive(Clone)]
pub struct Model {
    recipe: std::sync::Arc<Recipe>,
    full: ExecutionPlan,
    zoom: ExecutionPlan,
    aligner: Option<std::sync::Arc<Aligner>>,
    zoom_from: f32,
    pool: Option<std::sync::Arc<ThreadPool>>,
}

/// Full images this many deviations below the threshold are not looked at closer where the zoom is lazy. Chosen: the zoom
/// would have to be as far above what is usual, and `eval --lazy-zoom` says what that costs.
const FAR: f32 = 3.0;

/// How far a self-test may be from what the recipe noted, as a share of the evidence's size: another instruction set
/// may round a few activations differently.
const SELF_TEST_TOLERANCE: f32 = 0.02;

impl Model {
    /// Loads a recipe file, verifies it and runs its golden self-test.
    ///
    /// # Errors
    /// `NotFound`, `Corrupt` (damaged, or the self-test gives other values), `Refused` (newer schema, another
    /// backbone than the bundled one where it claims that).
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = storage::read_bounded(path, "read the recipe", onnx::BYTES_MAX)?;
        Self::from_bytes(&bytes, &path.display().to_string())
    }

    /// As [`Model::load`], from the file's bytes.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn from_bytes(bytes: &[u8], origin: &str) -> Result<Self> {
        let mut model = onnx::decode(bytes, origin)?;
        // Nothing that inspects needs it, and every plan below copies the graph.
        surgery::take(&mut model, KEEPSAKE_KEY);
        let recipe = super::notes::of(&model, origin)?;
        let bundled = Backbone::bundled()?;
        if recipe.backbone.name == bundled.name && recipe.backbone.digest != bundled.digest {
            return Err(Error::new(
                ErrorKind::Refused,
                format!(
                    "{origin} was taught with another {} than the one in this zoomgate: teach it again with this version",
                    bundled.name
                ),
            ));
        }
        shapes::check_input(&model, &recipe, origin)?;
        let shape = [1, 3, recipe.input.height, recipe.input.width];
        let plan = |outputs: &[&str]| {
            let outputs: Vec<String> = outputs.iter().map(|&o| o.to_owned()).collect();
            ExecutionPlan::new(&model, shape, Elem::U8, &outputs, origin)
        };
        if recipe.constants.as_ref().is_some_and(|written| *written != digest(&model)) {
            let message = format!(
                "{origin} is damaged: its constants are not those it was written with; restore the file or teach again"
            );
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
        if recipe.crop.lattice.is_some_and(|lattice| !has(&model, &lattice)) {
            return Err(other_lattice(origin));
        }
        let full = plan(&["full_map", "full_score", "full_attention"])?;
        let zoom = plan(&["zoom_map", "zoom_score"])?;
        let aligner = recipe.registration.clone().map(|r| std::sync::Arc::new(Aligner::new(r)));
        let loaded = Self { full, zoom, recipe: std::sync::Arc::new(recipe), aligner, zoom_from: f32::MIN, pool: None };
        loaded.self_test(origin)?;
        Ok(loaded)
    }

    fn self_test(&self, origin: &str) -> Result<()> {
        let mut running = (self.full.spawn()?, self.zoom.spawn()?);
        for (i, test) in self.recipe.self_test.iter().enumerate() {
            let input = self.recipe.self_test_input(test.seed);
            let (full, zoom) = (running.0.run(&input)?, running.1.run(&input)?);
            if i == 0 {
                shapes::check_outputs(&self.recipe, &full, &zoom, origin)?;
            }
            for (out, want) in [(full, &test.full), (zoom, &test.zoom)] {
                if let (Some(lattice), &[_, _, rows, columns]) = (&self.recipe.crop.lattice, out[0].shape())
                    && !lattice.holds([rows, columns])
                {
                    return Err(other_lattice(origin));
                }
                let got = out[1].f32();
                let close = |(&g, &w): (&f32, &f32)| (g - w).abs() <= SELF_TEST_TOLERANCE * w.abs().max(1.0);
                if got.len() != want.len() || !got.iter().zip(want).all(close) {
                    return Err(Error::new(
                        ErrorKind::Corrupt,
                        format!(
                            "the self-test of {origin} gives {got:?} instead of {want:?}: the file or this build is damaged; teach again"
                        ),
                    ));
                }
            }
        }
        Ok(())
    }

    /// The recipe's notes.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// What of both passes runs in floats, and not in int8 operators.
    pub fn remainder(&self) -> Remainder {
        self.full.remainder().and(self.zoom.remainder())
    }

    /// The same, which leaves the zoom out where the full image is far below `threshold`: such a part scores as if its
    /// zoom showed what is usual.
    #[must_use]
    pub fn with_lazy_zoom(self, threshold: f32) -> Self {
        Self { zoom_from: threshold - FAR, ..self }
    }

    /// The same, whose inspectors share `threads` threads among them and wait for them; with 1 they work alone.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn with_threads(self, threads: usize) -> Result<Self> {
        Ok(Self { pool: ThreadPool::with_threads(threads)?, ..self })
    }

    /// An inspector for one thread.
    ///
    /// # Errors
    /// When a state cannot be made.
    pub fn inspector(&self) -> Result<Inspector> {
        Ok(Inspector {
            recipe: self.recipe.clone(),
            full: self.full.spawn()?.with_pool(self.pool.clone()),
            zoom: self.zoom.spawn()?.with_pool(self.pool.clone()),
            input: vec![0; 3 * self.recipe.input.height * self.recipe.input.width],
            zoom_from: self.zoom_from,
            aligner: self.aligner.clone(),
            image_aligner: ImageAligner::new([self.recipe.input.height, self.recipe.input.width]),
            cropping: crop::Scratch::default(),
            views: Vec::new(),
            suspicion: Vec::new(),
            shown: Vec::new(),
            zoom_suspicion: Vec::new(),
            grid: (0, 0),
            attention: Vec::new(),
            attention_grid: (0, 0),
            looking: scene::Scratch::default(),
            belt: empty::Buffers::default(),
        })
    }
}

/// Whether a recipe's graph has the tables of this lattice.
fn has(model: &ModelProto, lattice: &CropLattice) -> bool {
    let places = surgery::constant(model, "zoom.distance.usual.all").map(|t| t.dims.clone());
    let steps = surgery::constant(model, "zoom.places.steps").map(|t| t.raw_data.clone());
    let expected = [lattice.columns as i64, 1].map(i64::to_le_bytes).concat();
    places == Some(vec![(lattice.rows * lattice.columns) as i64]) && steps == Some(expected)
}

/// SHA-256 over a recipe's constants but for what it keeps of its training run, hex. Cost: 3 ms a megabyte without instructions
/// for it.
pub fn digest(model: &ModelProto) -> String {
    let constants = model.graph.iter().flat_map(|g| &g.initializer).filter(|t| t.name != KEEPSAKE_KEY);
    let digest = constants.fold(Sha256::new(), |all, t| all.chain_update(&t.name).chain_update(&t.raw_data));
    const_hex::encode(digest.finalize())
}

fn other_lattice(origin: &str) -> Error {
    let message = format!(
        "the notes in {origin} speak of another chart than its graph has: the file is damaged; teach again or restore it"
    );
    Error::new(ErrorKind::Corrupt, message)
}

/// Inspects frames on one thread; owns its buffers.
pub struct Inspector {
    recipe: std::sync::Arc<Recipe>,
    full: Running,
    zoom: Running,
    input: Vec<u8>,
    zoom_from: f32,
    aligner: Option<std::sync::Arc<Aligner>>,
    image_aligner: ImageAligner,
    cropping: crop::Scratch,
    views: Vec<View>,
    suspicion: Vec<f32>,
    /// The maps as they lie over the frame, where the part was moved.
    shown: Vec<f32>,
    zoom_suspicion: Vec<f32>,
    grid: (usize, usize),
    attention: Vec<f32>,
    attention_grid: (usize, usize),
    looking: scene::Scratch,
    belt: empty::Buffers,
}

/// The raw evidences of a pass's score output: `[1, 1]` without known bads, else `[1, 3]`.
pub fn evidence(score: &Output) -> Evidence {
    let v = score.f32();
    Evidence { normality: v[0], known: v.get(1).copied(), overall: v.get(2).copied() }
}

impl Inspector {
    /// The recipe's notes.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// The suspicion map of the last inspection's full image, in standard deviations of good cells, with the view it
    /// covers. For display, never for deciding.
    pub fn heat(&self, frame: &Frame) -> (&[f32], usize, usize, View) {
        (&self.suspicion, self.grid.0, self.grid.1, View::whole(frame.width, frame.height))
    }

    /// The same of the last crop.
    pub fn zoom_heat(&self) -> Option<(&[f32], usize, usize, View)> {
        let view = *self.views.last()?;
        Some((&self.zoom_suspicion, self.grid.0, self.grid.1, view))
    }

    /// How much the full image's head listens to each cell, as multiples of the average, with its width, height and view;
    /// `None` where no defect was taught, and so nothing listens.
    pub fn attention(&self, frame: &Frame) -> Option<(&[f32], usize, usize, View)> {
        let (width, height) = self.attention_grid;
        let is_taught = self.recipe.full.known.is_some() && !self.attention.is_empty();
        is_taught.then(|| (&self.attention[..], width, height, View::whole(frame.width, frame.height)))
    }

    /// Inspects and hands every model input to `dump` (`"full"`, `"zoom0"`…) before it is run, with the row and the column
    /// at which it begins on the recipe's lattice.
    ///
    /// # Errors
    /// As [`Inspect::inspect`].
    pub fn inspect_with(&mut self, frame: &Frame, mut dump: impl FnMut(&str, &[u8], [usize; 2])) -> Result<Inspection> {
        let start = Instant::now();
        let correction = self.image_aligner.find(frame, self.aligner.as_deref());
        let whole = View::whole(frame.width, frame.height);
        self.image_aligner.sample(frame, &whole, &mut self.input);
        let norm =
            self.recipe.light.map_or_else(IntensityNorm::identity, |light| IntensityNorm::of(&self.input, &light));
        norm.apply(&mut self.input);
        dump("full", &self.input, [0, 0]);
        let converted = Instant::now();
        let out = self.full.run(&self.input)?;
        let mut passes = converted.elapsed();
        let full = evidence(&out[1]);
        let [_, _, rows, columns] = *out[0].shape() else {
            return Err(Error::new(ErrorKind::Internal, format!("full_map has shape {:?}", out[0].shape())));
        };
        self.grid = (columns, rows);
        self.recipe.full.suspicion(out[0].f32(), &mut self.suspicion);
        self.attend(&out[2]);
        let looked = Instant::now();
        let map = Map { values: &self.suspicion, width: columns, height: rows };
        let size = (frame.width, frame.height);
        let score_full = self.recipe.full.score(&full);
        if score_full < self.zoom_from {
            self.views.clear();
        } else {
            self.recipe.crop.crops(map, &whole, size, &mut self.views, &mut self.cropping);
        }
        let lies = correction.inverse();
        let mut best: Option<(f32, Evidence)> = None;
        let mut crops = super::Crops::default();
        for (i, view) in self.views.iter().enumerate() {
            self.image_aligner.sample(frame, view, &mut self.input);
            norm.apply(&mut self.input);
            let at = self.recipe.crop.lattice.map_or([0, 0], |lattice| lattice.at(view, &whole));
            dump(["zoom0", "zoom1", "zoom2", "zoom3"][i], &self.input, at);
            let ready = Instant::now();
            let out = self.zoom.run_at(&self.input, at)?;
            passes += ready.elapsed();
            let e = evidence(&out[1]);
            self.recipe.zoom.suspicion(out[0].f32(), &mut self.zoom_suspicion);
            let score = self.recipe.zoom.score(&e);
            if best.is_none_or(|(s, _)| score > s) {
                best = Some((score, e));
            }
            let roi = view.inside(frame.width, frame.height);
            crops.push(if correction == Motion::NONE { roi } else { lies.follow(&roi, size.0, size.1) });
        }
        if correction != Motion::NONE {
            self.put_back(&lies, frame);
        }
        let end = Instant::now();
        Ok(Inspection {
            score: Score(self.recipe.score(&full, best.as_ref().map(|(_, zoom)| zoom))),
            score_full: Score(score_full),
            score_zoom: best.map(|(score, _)| Score(score)),
            full,
            zoom: best.map(|(_, zoom)| zoom),
            crops,
            times: StageTimes {
                convert: converted - start,
                full: looked - converted,
                zoom: end - looked,
                passes,
                total: end - start,
            },
        })
    }
}

impl Inspector {
    /// Lays maps and views for people over the frame again, whose part `lies` moved.
    fn put_back(&mut self, lies: &Motion, frame: &Frame) {
        let size = (f64::from(frame.width), f64::from(frame.height));
        for (map, grid) in [(&mut self.suspicion, self.grid), (&mut self.attention, self.attention_grid)] {
            self.shown.clear();
            for (row, column) in (0..grid.1).flat_map(|row| (0..grid.0).map(move |column| (row, column))) {
                let along = |cell: usize, cells: usize, length: f64| (cell as f64 + 0.5) / cells as f64 * length;
                let at = (along(column, grid.0, size.0), along(row, grid.1, size.1));
                let (x, y) = lies.origin(at, size.0, size.1);
                let cell = |at: f64, length: f64, cells: usize| ((at / length * cells as f64) as usize).min(cells - 1);
                self.shown.push(map[cell(y, size.1, grid.1) * grid.0 + cell(x, size.0, grid.0)]);
            }
            map.clear();
            map.extend_from_slice(&self.shown);
        }
        for view in &mut self.views {
            *view = View::of(lies.follow(&view.inside(frame.width, frame.height), frame.width, frame.height));
        }
    }

    /// Keeps the attention map, `[1, 1, h, w]`, for people.
    fn attend(&mut self, map: &Output) {
        let [.., rows, columns] = *map.shape() else { return };
        let values = map.f32();
        let times = values.len() as f32 / values.iter().sum::<f32>();
        self.attention.clear();
        self.attention.extend(values.iter().map(|v| v * times));
        self.attention_grid = (columns, rows);
    }
}

impl Inspect for Inspector {
    fn look(&mut self, frame: &Frame) -> Option<Unseen> {
        let sight = self.recipe.sight.as_ref()?;
        let scene = Scene::of(frame, &mut self.looking);
        sight.judge(&scene, |empty| empty.matches(frame, &mut self.belt))
    }

    fn inspect(&mut self, frame: &Frame) -> Result<Inspection> {
        self.inspect_with(frame, |_, _, _| {})
    }
}
