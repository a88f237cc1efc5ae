//! A subgraph as an operator of tract's.

use std::sync::Arc;

use tract_onnx::prelude::*;
use tract_onnx::tract_hir::internal::*;

use super::super::int8::Isa;
use super::super::tensor::{DType, TensorShape};
use super::fused::FusedSubgraph;
use super::run::{Boundary, Compiled, Workspace};

/// What tract calls one.
pub(crate) const NAME: &str = "Int8Region";

/// Puts `subgraphs` where fusion left nodes of their names.
pub(crate) fn replace(model: &mut InferenceModel, subgraphs: Vec<FusedSubgraph>) {
    for subgraph in subgraphs {
        if let Some(node) = model.nodes.iter_mut().find(|n| n.name == subgraph.name) {
            node.op = expand(Unshaped(Arc::new(subgraph)));
        }
    }
}

fn datum(dtype: DType) -> DatumType {
    match dtype {
        DType::U8 => u8::datum_type(),
        DType::I8 => i8::datum_type(),
        DType::F32 => f32::datum_type(),
    }
}

fn tensor_shape(dims: &[TDim]) -> TractResult<TensorShape> {
    let dims = dims.iter().map(|d| Ok(d.to_usize()?)).collect::<TractResult<Vec<usize>>>()?;
    let wrong = || format_err!("int8 operators take one picture, [1, C, H, W], or one row, and this is {dims:?}");
    TensorShape::of(&dims).ok_or_else(wrong)
}

/// Before shapes are known.
#[derive(Clone, Debug)]
struct Unshaped(Arc<FusedSubgraph>);

impl Expansion for Unshaped {
    fn name(&self) -> StaticName {
        NAME.into()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(self.0.outputs.len())
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, self.0.inputs.len())?;
        check_output_arity(outputs, self.0.outputs.len())?;
        s.given_all(inputs.iter().map(|i| &i.shape), move |s, shapes: Vec<TVec<TDim>>| {
            let shapes: Vec<TensorShape> = shapes.iter().map(|s| tensor_shape(s)).collect::<TractResult<_>>()?;
            let made = self.0.infer(&shapes).map_err(|e| format_err!("{e}"))?;
            for (proxy, name) in outputs.iter().zip(&self.0.outputs) {
                let (shape, dtype) = made[name.as_str()];
                s.equals(&proxy.datum_type, datum(dtype))?;
                s.equals(&proxy.shape, shape.dims().iter().map(|&d| d.to_dim()).collect::<TVec<TDim>>())?;
            }
            Ok(())
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let shape = |i: &OutletId| tensor_shape(&model.outlet_fact(*i)?.shape.to_tvec());
        let shapes: Vec<TensorShape> = inputs.iter().map(shape).collect::<TractResult<_>>()?;
        let compiled = self.0.compile(&shapes, Isa::best()).map_err(|e| format_err!("{e}"))?;
        model.wire_node(prefix, Shaped(Arc::new(compiled)), inputs)
    }
}

/// With shapes, compiled.
#[derive(Clone)]
struct Shaped(Arc<Compiled>);

impl std::fmt::Debug for Shaped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Int8Region of {} MACs", self.0.macs)
    }
}

impl PartialEq for Shaped {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Shaped {}

impl Op for Shaped {
    fn name(&self) -> StaticName {
        NAME.into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        Ok(vec![self.0.holds()])
    }

    op_as_typed_op!();
}

impl TypedOp for Shaped {
    fn output_facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(self.0.outputs.iter().map(|y| datum(y.dtype).fact(y.shape.dims())).collect())
    }

    fn cost(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<(Cost, TDim)>> {
        Ok(tvec!((Cost::FMA(i8::datum_type()), self.0.macs.to_dim())))
    }

    as_op!();
}

impl EvalOp for Shaped {
    not_out_of_plan!();

    fn state(&self, _ctx: &EvalContext) -> TractResult<Option<Box<dyn OpState>>> {
        Ok(Some(Box::new(State { compiled: Arc::clone(&self.0), workspace: self.0.workspace() })))
    }
}

/// One thread's buffers; nothing in them outlives a run.
struct State {
    compiled: Arc<Compiled>,
    workspace: Workspace,
}

impl Clone for State {
    fn clone(&self) -> Self {
        Self { compiled: Arc::clone(&self.compiled), workspace: self.compiled.workspace() }
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("buffers of an Int8Region")
    }
}

impl OpState for State {
    fn eval(&mut self, _ctx: &EvalContext, _op: &dyn Op, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let Self { compiled, workspace } = self;
        for (i, input) in inputs.iter().enumerate() {
            let ram = input.try_as_plain_ram()?;
            match compiled.inputs[i].dtype {
                DType::F32 => compiled.enter_floats(i, ram.as_slice::<f32>()?, workspace),
                DType::U8 | DType::I8 => compiled.enter_bytes(i, ram.as_bytes(), workspace),
            }
        }
        compiled.run(workspace);
        let leave = |(i, &Boundary { shape, dtype, .. }): (usize, &Boundary)| {
            // Written from end to end below.
            let mut y = Tensor::zero_dt(datum(dtype), &shape.dims())?;
            let mut ram = y.try_as_plain_ram_mut()?;
            match dtype {
                DType::F32 => compiled.leave_floats(i, workspace, ram.as_slice_mut::<f32>()?),
                DType::U8 | DType::I8 => compiled.leave_bytes(i, workspace, ram.as_bytes_mut()),
            }
            Ok(y.into_tvalue())
        };
        compiled.outputs.iter().enumerate().map(leave).collect()
    }

    fn reset_lanes(&mut self, _lanes: &[LaneId]) -> TractResult<()> {
        Ok(())
    }
}
