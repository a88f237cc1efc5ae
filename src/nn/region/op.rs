//! A region as an operator of tract's.

use std::sync::Arc;

use tract_onnx::prelude::*;
use tract_onnx::tract_hir::internal::*;

use super::super::fusion::Region;
use super::super::int8::Isa;
use super::form::{Form, Stored};
use super::{Compiled, Workspace};

/// What tract calls a region.
pub(crate) const NAME: &str = "Int8Region";

/// Puts `regions` where [`super::super::fusion::fuse`] left their nodes.
pub(crate) fn replace(model: &mut InferenceModel, regions: Vec<Region>) {
    for region in regions {
        if let Some(node) = model.nodes.iter_mut().find(|n| n.name == region.name) {
            node.op = expand(Unshaped(Arc::new(region)));
        }
    }
}

fn datum(stored: Stored) -> DatumType {
    match stored {
        Stored::Unsigned => u8::datum_type(),
        Stored::Signed => i8::datum_type(),
        Stored::Float => f32::datum_type(),
    }
}

fn form(dims: &[TDim]) -> TractResult<Form> {
    let dims = dims.iter().map(|d| Ok(d.to_usize()?)).collect::<TractResult<Vec<usize>>>()?;
    let wrong = || format_err!("int8 operators take one picture, [1, C, H, W], or one row, and this is {dims:?}");
    Form::of(&dims).ok_or_else(wrong)
}

/// Before shapes are known.
#[derive(Clone, Debug)]
struct Unshaped(Arc<Region>);

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
            let forms: Vec<Form> = shapes.iter().map(|shape| form(shape)).collect::<TractResult<_>>()?;
            let made = self.0.forms(&forms).map_err(|e| format_err!("{e}"))?;
            for (proxy, name) in outputs.iter().zip(&self.0.outputs) {
                let (form, stored) = made[name.as_str()];
                s.equals(&proxy.datum_type, datum(stored))?;
                s.equals(&proxy.shape, form.dims().iter().map(|&d| d.to_dim()).collect::<TVec<TDim>>())?;
            }
            Ok(())
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let form = |i: &OutletId| form(&model.outlet_fact(*i)?.shape.to_tvec());
        let forms: Vec<Form> = inputs.iter().map(form).collect::<TractResult<_>>()?;
        let compiled = self.0.compile(&forms, Isa::best()).map_err(|e| format_err!("{e}"))?;
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
        Ok(self.0.results().map(|(form, stored)| datum(stored).fact(form.dims())).collect())
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
            match compiled.entry(i) {
                Stored::Float => compiled.enter_floats(i, ram.as_slice::<f32>()?, workspace),
                Stored::Unsigned | Stored::Signed => compiled.enter_bytes(i, ram.as_bytes(), workspace),
            }
        }
        compiled.run(workspace);
        let leave = |(i, (form, stored)): (usize, (Form, Stored))| {
            // Written from end to end below.
            let mut y = Tensor::zero_dt(datum(stored), &form.dims())?;
            let mut ram = y.try_as_plain_ram_mut()?;
            match stored {
                Stored::Float => compiled.leave_floats(i, workspace, ram.as_slice_mut::<f32>()?),
                Stored::Unsigned | Stored::Signed => compiled.leave_bytes(i, workspace, ram.as_bytes_mut()),
            }
            Ok(y.into_tvalue())
        };
        compiled.results().enumerate().map(leave).collect()
    }

    fn reset_lanes(&mut self, _lanes: &[LaneId]) -> TractResult<()> {
        Ok(())
    }
}
