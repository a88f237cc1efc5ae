//! Runs a graph: an ONNX model pruned to the wanted outputs, optimised once by tract, run many times.

mod profile;
mod shapes;
mod slow;

use std::sync::Arc;

use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::*;

use super::onnx::{self, Elem};
use super::pool::{self, ThreadPool};
use super::{check, fusion, qoperator, subgraph};
use crate::error::{Error, ErrorKind, Result};
pub use profile::NodeTime;
pub use slow::Remainder;

/// What runs quantised operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Our int8 operators ([`super::int8`]).
    Int8,
    /// tract's own, as the file writes them: in floats, between DequantizeLinear and QuantizeLinear.
    Stock,
}

/// A graph ready to run: fixed shapes, optimised, shareable between threads. [`ExecutionPlan::spawn`] gives each thread a state.
#[derive(Clone)]
pub struct ExecutionPlan {
    runnable: Arc<TypedSimplePlan>,
    engine: Engine,
    /// Why the stock engine runs it although ours was asked for.
    fallen_back: Option<Arc<str>>,
    input_shape: [usize; 4],
    elem: Elem,
    /// Whether it takes the position of its picture ([`AT`]).
    asks_where: bool,
}

/// The second input of a graph with per-location statistics: row and column at which its picture begins, `[2]` i64.
pub const AT: &str = "zoom_at";

/// One thread's state of an [`ExecutionPlan`]; keep it for as long as the thread runs, since making one is costly.
pub struct Running {
    state: TypedSimpleState,
    /// Shared with the graph while it runs.
    input: Arc<Tensor>,
    /// Row and column, if the graph takes them.
    at: Option<Arc<Tensor>>,
    pool: Option<Arc<ThreadPool>>,
}

/// One output of a run.
pub struct Output(TValue);

/// The outputs of a run, in the order in which they were asked for; up to four fit without the heap.
pub type Outputs = TVec<Output>;

impl Output {
    /// Its shape.
    pub fn shape(&self) -> &[usize] {
        self.0.shape()
    }

    /// The values of a float output, row-major.
    ///
    /// # Panics
    /// If the output is not f32: callers know the types of the outputs that they ask for.
    pub fn f32(&self) -> &[f32] {
        self.0.try_as_plain_ram().and_then(|t| t.as_slice::<f32>()).expect("a float output")
    }

    /// Whether its values are floats.
    pub fn is_f32(&self) -> bool {
        self.0.datum_type() == f32::datum_type()
    }

    /// The bytes of an output of any type, row-major, as this processor orders them.
    pub fn bytes(&self) -> &[u8] {
        self.0.try_as_plain_ram().map(|t| t.as_bytes()).unwrap_or_default()
    }

    /// The values of a u8 output, row-major.
    ///
    /// # Panics
    /// If the output is not u8.
    pub fn u8(&self) -> &[u8] {
        self.0.try_as_plain_ram().map(|t| t.as_bytes()).expect("a u8 output")
    }
}

fn failed(origin: &str, e: TractError) -> Error {
    Error::new(ErrorKind::Corrupt, format!("{origin} cannot be run: {}", e.root_cause())).caused_by(format!("{e:#}"))
}

impl ExecutionPlan {
    /// Prepares `model` for inputs of `input_shape` (`[1, 3, H, W]`, `elem`, and [`AT`] if the outputs depend on it)
    /// and prunes it to `outputs`.
    ///
    /// Order matters: types, constants, then declutter and optimise.
    ///
    /// # Errors
    /// When tract does not know an operator, a shape does not fit, or an output does not exist; `origin` names the file.
    pub fn new(
        model: &ModelProto,
        input_shape: [usize; 4],
        elem: Elem,
        outputs: &[String],
        origin: &str,
    ) -> Result<Self> {
        Self::with(Engine::Int8, model, input_shape, elem, outputs, origin)
    }

    /// As [`ExecutionPlan::new`], with a given engine, for comparison.
    ///
    /// # Errors
    /// As [`ExecutionPlan::new`].
    pub fn with(
        engine: Engine,
        model: &ModelProto,
        input_shape: [usize; 4],
        elem: Elem,
        outputs: &[String],
        origin: &str,
    ) -> Result<Self> {
        check::check(model, outputs, origin)?;
        let model = qoperator::to_qdq(model, origin)?;
        let asks_where = asks_where(&model, outputs);
        let build = |engine: Engine| -> TractResult<Arc<TypedSimplePlan>> {
            let mut inputs = vec![InferenceFact::dt_shape(datum(elem), input_shape)];
            if asks_where {
                inputs.push(InferenceFact::dt_shape(i64::datum_type(), [2]));
            }
            let mut proto = model.clone().into_owned();
            let mut subgraphs = Vec::new();
            if let Some(g) = proto.graph.as_mut() {
                keep_ancestors(g, outputs);
                g.input.retain(|i| asks_where || i.name != AT);
                g.value_info.clear();
            }
            if engine == Engine::Int8 {
                let shapes = shapes::of(&proto, &inputs).unwrap_or_default();
                if let Some(g) = proto.graph.as_mut() {
                    subgraphs = fusion::fuse(g, outputs, &shapes);
                    keep_ancestors(g, outputs);
                }
            }
            let mut inference = tract_onnx::onnx().with_ignore_output_shapes(true).parse(&proto, None)?.model;
            subgraph::replace(&mut inference, subgraphs);
            inputs.into_iter().enumerate().try_for_each(|(i, fact)| inference.set_input_fact(i, fact))?;
            inference.select_outputs_by_name(outputs)?;
            let mut typed = inference.into_typed()?;
            typed.prop_consts()?;
            typed.into_decluttered()?.into_optimized()?.into_runnable()
        };
        // tract trusts its input more than we do: where it panics, the model is damaged.
        let build = |engine: Engine| -> TractResult<Arc<TypedSimplePlan>> {
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| build(engine)))
                .unwrap_or_else(|_| Err(TractError::msg("the runtime gives up on it")))
        };
        let (runnable, engine, fallen_back) = match build(engine) {
            Ok(runnable) => (runnable, engine, None),
            Err(e) if engine == Engine::Stock => return Err(failed(origin, e)),
            Err(e) => {
                // tract may run what our operators cannot; whoever runs a line checks [`ExecutionPlan::remainder`].
                let stock = build(Engine::Stock).map_err(|_| failed(origin, TractError::msg(format!("{e:#}"))))?;
                (stock, Engine::Stock, Some(e.root_cause().to_string().into()))
            }
        };
        Ok(Self { runnable, engine, fallen_back, input_shape, elem, asks_where })
    }

    /// Bytes that a run takes.
    pub fn input_bytes(&self) -> usize {
        self.input_shape.iter().product()
    }

    /// What runs it: the stock engine if ours was asked for and could not.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// How many fused subgraphs of int8 operators it has.
    pub fn subgraphs(&self) -> usize {
        self.runnable.model().nodes.iter().filter(|n| n.op.name() == subgraph::NAME).count()
    }

    /// A state of its own for one thread.
    ///
    /// # Errors
    /// When an operator cannot be initialised.
    pub fn spawn(&self) -> Result<Running> {
        let failed = |e| failed("the model", e);
        let state = self.runnable.spawn().map_err(failed)?;
        let zeros = |elem: Elem, shape: &[usize]| Tensor::zero_dt(datum(elem), shape).map(Arc::new).map_err(failed);
        let input = zeros(self.elem, &self.input_shape)?;
        let at = if self.asks_where { Some(zeros(Elem::I64, &[2])?) } else { None };
        Ok(Running { state, input, at, pool: None })
    }
}

impl Running {
    /// The same, run by a pool instead of the calling thread.
    #[must_use]
    pub fn with_pool(self, pool: Option<Arc<ThreadPool>>) -> Self {
        Self { pool, ..self }
    }

    /// Runs one input: `[1, 3, H, W]` u8, planar RGB (converted to float for a graph with a float input).
    ///
    /// Allocates nothing itself; tract allocates for its operators, the same number of times in each run.
    ///
    /// # Errors
    /// When the input has the wrong length or an operator fails.
    pub fn run(&mut self, input: &[u8]) -> Result<Outputs> {
        self.run_at(input, [0, 0])
    }

    /// As [`run`](Self::run), for a picture that begins at a row and a column of a larger one; a graph without [`AT`]
    /// ignores them.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_at(&mut self, input: &[u8], at: [usize; 2]) -> Result<Outputs> {
        if input.len() != self.input.len() {
            let (shape, want) = (self.input.shape(), self.input.len());
            let message = format!("model input {shape:?} takes {want} bytes, got {}", input.len());
            return Err(Error::new(ErrorKind::Internal, message));
        }
        let Self { state, input: tensor, at: place, pool } = self;
        let run = || -> TractResult<Outputs> {
            let inputs = filled(tensor, place.as_mut(), input, at)?;
            Ok(state.run(inputs)?.into_iter().map(Output).collect())
        };
        pool::run(pool.as_deref(), run).map_err(|e| failed("the model", e))
    }
}

fn datum(elem: Elem) -> DatumType {
    match elem {
        Elem::U8 => u8::datum_type(),
        Elem::F32 => f32::datum_type(),
        Elem::I64 => i64::datum_type(),
    }
}

/// Whether any of `outputs` depends on [`AT`] in a graph that has it as an input.
fn asks_where(model: &ModelProto, outputs: &[String]) -> bool {
    let Some(graph) = &model.graph else { return false };
    let needed = onnx::ancestors(graph, outputs);
    let mut kept = graph.node.iter().zip(needed).filter(|(_, is_needed)| *is_needed);
    graph.input.iter().skip(1).any(|i| i.name == AT) && kept.any(|(n, _)| n.input.iter().any(|name| name == AT))
}

/// A plan's inputs, with a picture and its position written into them.
fn filled(
    tensor: &mut Arc<Tensor>,
    place: Option<&mut Arc<Tensor>>,
    input: &[u8],
    at: [usize; 2],
) -> TractResult<TVec<TValue>> {
    fill(tensor, input)?;
    let mut inputs = tvec!(TValue::from_const(Arc::clone(tensor)));
    if let Some(place) = place {
        let mut room = Arc::make_mut(place).try_as_plain_ram_mut()?;
        room.as_slice_mut::<i64>()?.iter_mut().zip(at).for_each(|(cell, at)| *cell = at as i64);
        inputs.push(TValue::from_const(Arc::clone(place)));
    }
    Ok(inputs)
}

/// Writes bytes into a plan's input.
fn fill(tensor: &mut Arc<Tensor>, input: &[u8]) -> TractResult<()> {
    // No operator keeps its input, so this does not copy; if one did, it would keep the old tensor.
    let mut room = Arc::make_mut(tensor).try_as_plain_ram_mut()?;
    if let Ok(bytes) = room.as_slice_mut::<u8>() {
        bytes.copy_from_slice(input);
    } else {
        room.as_slice_mut::<f32>()?.iter_mut().zip(input).for_each(|(float, &byte)| *float = f32::from(byte));
    }
    Ok(())
}

/// Drops the nodes that no wanted output needs, and makes the wanted tensors the graph's outputs.
fn keep_ancestors(graph: &mut tract_onnx::pb::GraphProto, outputs: &[String]) {
    let needed = onnx::ancestors(graph, outputs);
    let mut keep = needed.iter();
    graph.node.retain(|_| *keep.next().expect("one flag for each node"));
    graph.output = outputs
        .iter()
        .map(|name| tract_onnx::pb::ValueInfoProto { name: name.clone(), ..Default::default() })
        .collect();
    let used: std::collections::HashSet<&String> = graph.node.iter().flat_map(|n| &n.input).collect();
    graph.initializer.retain(|t| used.contains(&t.name));
}
