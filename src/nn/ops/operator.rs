//! What every int8 operator is: how it is found in a graph, what it makes of which tensors, how it is compiled and run.

use std::fmt;

use super::super::graph_view::GraphView;
use super::super::int8::{Conv, Isa, Scratch};
use super::super::tensor::{DType, Hwc, TensorShape};

/// How an operator is found in a graph.
pub(super) struct Pattern {
    /// Types of the nodes at which it begins.
    pub(super) nodes: &'static [&'static str],
    /// The operator that begins at a node, which is of one of these types.
    pub(super) find: fn(&GraphView<'_>, usize) -> Option<FusedOp>,
}

/// An operator of a fused subgraph, as far as the graph says what it does; shapes are not known yet.
pub(in crate::nn) trait IntOp: fmt::Debug + Send + Sync {
    /// As what it reads input `at`.
    fn input(&self, at: usize) -> DType;

    /// What its result holds.
    fn output(&self) -> DType;

    /// Whether its inputs may be rows.
    fn takes_rows(&self) -> bool {
        false
    }

    /// The shape of the result for these inputs.
    ///
    /// # Errors
    /// Says why they do not fit.
    fn infer(&self, x: &[TensorShape]) -> Result<TensorShape, String>;

    /// Packs its constants for `isa`, for inputs that [`IntOp::infer`] takes.
    ///
    /// # Errors
    /// Says why it cannot be run.
    fn compile(&self, x: &[Hwc], isa: Isa) -> Result<Step, String>;
}

/// An operator with its place in a graph: reads tensors, makes one.
#[derive(Debug)]
pub(in crate::nn) struct FusedOp {
    pub(in crate::nn) x: Vec<String>,
    pub(in crate::nn) y: String,
    pub(in crate::nn) op: Box<dyn IntOp>,
    /// The node at which it begins, for messages.
    pub(in crate::nn) name: String,
    /// The nodes that it stands for.
    pub(in crate::nn) nodes: Vec<usize>,
}

impl FusedOp {
    /// The operator that stands for node `i` and the `others`.
    pub(super) fn new(
        view: &GraphView<'_>,
        i: usize,
        x: Vec<String>,
        y: String,
        op: impl IntOp + 'static,
        others: Vec<usize>,
    ) -> Self {
        let node = &view.nodes[i];
        let name = if node.name.is_empty() { node.output[0].clone() } else { node.name.clone() };
        Self { x, y, op: Box::new(op), name, nodes: std::iter::once(i).chain(others).collect() }
    }

    /// As [`IntOp::infer`]; rows are refused where it does not take them.
    ///
    /// # Errors
    /// As [`IntOp::infer`], with its name.
    pub(in crate::nn) fn infer(&self, x: &[TensorShape]) -> Result<TensorShape, String> {
        let has_rows = !self.op.takes_rows() && x.iter().any(|x| x.is_row);
        let made = if has_rows { Err("a row where a picture should be".into()) } else { self.op.infer(x) };
        made.map_err(|e| format!("{}: {e} (input {x:?})", self.name))
    }
}

/// A compiled operator, by what its result holds.
pub(in crate::nn) enum Step {
    Bytes(Box<dyn Run<u8>>),
    Floats(Box<dyn Run<f32>>),
}

impl Step {
    pub(super) fn bytes(step: impl Run<u8> + 'static) -> Self {
        Self::Bytes(Box::new(step))
    }

    pub(super) fn floats(step: impl Run<f32> + 'static) -> Self {
        Self::Floats(Box::new(step))
    }

    /// As ONNX has it, for people.
    pub(in crate::nn) fn name(&self) -> &'static str {
        match self {
            Self::Bytes(step) => step.name(),
            Self::Floats(step) => step.name(),
        }
    }

    /// The convolution that it runs.
    pub(in crate::nn) fn conv(&self) -> Option<&Conv> {
        match self {
            Self::Bytes(step) => step.conv(),
            Self::Floats(step) => step.conv(),
        }
    }
}

/// What a compiled operator does. All tensors are NHWC.
pub(in crate::nn) trait Run<T>: Send + Sync {
    /// As ONNX has it, for people.
    fn name(&self) -> &'static str;

    /// The convolution that it runs: it decides on scratches and threads.
    fn conv(&self) -> Option<&Conv> {
        None
    }

    /// Writes the whole result into `y`. Allocates nothing once `memory` has served a run.
    fn run(&self, x: Inputs<'_>, y: &mut [T], memory: &mut Memory<'_>);
}

/// Where a tensor lies in the buffers of a run.
#[derive(Clone, Copy)]
pub(in crate::nn) struct Slot {
    /// Among those of its kind, of bytes or of floats.
    pub(in crate::nn) buffer: usize,
    /// Elements.
    pub(in crate::nn) len: usize,
}

/// The tensors that an operator reads.
#[derive(Clone, Copy)]
pub(in crate::nn) struct Inputs<'a> {
    pub(in crate::nn) slots: &'a [Slot],
    pub(in crate::nn) bytes: &'a [Vec<u8>],
    pub(in crate::nn) floats: &'a [Vec<f32>],
}

impl<'a> Inputs<'a> {
    /// Input `at`, which is read as bytes.
    pub(super) fn bytes(self, at: usize) -> &'a [u8] {
        let Slot { buffer, len } = self.slots[at];
        &self.bytes[buffer][..len]
    }

    /// Input `at`, which is read as floats.
    pub(super) fn floats(self, at: usize) -> &'a [f32] {
        let Slot { buffer, len } = self.slots[at];
        &self.floats[buffer][..len]
    }
}

/// What a run needs besides tensors.
pub(in crate::nn) struct Memory<'a> {
    /// One for each thread that may share a convolution.
    pub(in crate::nn) scratches: &'a mut [Scratch],
    /// Room for two rows of floats.
    pub(in crate::nn) rows: &'a mut [Vec<f32>; 2],
}

/// Operators compiled and run by themselves, for their tests.
#[cfg(test)]
pub(super) mod testing {
    use super::super::super::onnx::QuantParams;
    use super::super::super::tensor::QuantizedType;
    use super::*;

    /// Unsigned bytes.
    pub(in super::super) fn u8_type(scale: f32, zero_point: u8) -> QuantizedType {
        QuantizedType { params: QuantParams { scale, zero_point }, is_signed: false }
    }

    /// What `op` makes of NHWC images, on every instruction set of this processor.
    pub(in super::super) fn bytes(op: &dyn IntOp, x: &[(Hwc, &[u8])]) -> Vec<u8> {
        run(op, x, |step, x, len, memory| {
            let Step::Bytes(step) = step else { panic!("it makes floats") };
            let mut y = vec![0xaa; len];
            step.run(x, &mut y, memory);
            y
        })
    }

    /// As [`bytes`], of an operator that makes floats.
    pub(in super::super) fn floats(op: &dyn IntOp, x: &[(Hwc, &[u8])]) -> Vec<f32> {
        run(op, x, |step, x, len, memory| {
            let Step::Floats(step) = step else { panic!("it makes bytes") };
            let mut y = vec![f32::NAN; len];
            step.run(x, &mut y, memory);
            y
        })
    }

    fn run<T: PartialEq + fmt::Debug>(
        op: &dyn IntOp,
        x: &[(Hwc, &[u8])],
        made: impl Fn(&Step, Inputs<'_>, usize, &mut Memory<'_>) -> Vec<T>,
    ) -> Vec<T> {
        let shapes: Vec<TensorShape> = x.iter().map(|(hwc, _)| TensorShape::image(*hwc)).collect();
        let sizes: Vec<Hwc> = x.iter().map(|(hwc, _)| *hwc).collect();
        let len = op.infer(&shapes).unwrap().len();
        let slots: Vec<Slot> = x.iter().enumerate().map(|(buffer, (_, x))| Slot { buffer, len: x.len() }).collect();
        let buffers: Vec<Vec<u8>> = x.iter().map(|(_, x)| x.to_vec()).collect();
        let of = |isa| {
            let step = op.compile(&sizes, isa).unwrap();
            let mut scratches = [Scratch::default()];
            let mut memory = Memory { scratches: &mut scratches, rows: &mut Default::default() };
            made(&step, Inputs { slots: &slots, bytes: &buffers, floats: &[] }, len, &mut memory)
        };
        let expected = of(Isa::Portable);
        Isa::available().for_each(|isa| assert_eq!(of(isa), expected, "{isa:?}"));
        expected
    }
}
