//! A compiled subgraph and its run.

use std::collections::BTreeMap;

use super::super::int8::Scratch;
use super::super::nhwc::{deinterleave, interleave};
use super::super::ops::operator::{Inputs, Memory, Slot, Step};
use super::super::pool;
use super::super::tensor::{DType, TensorShape};

/// Multiplications from which on a convolution is shared by the threads of a pool: a tenth of a millisecond on one core of
/// a small board, and waking a thread takes some microseconds. Chosen.
const SHARED: u64 = 1 << 20;

/// A subgraph for fixed shapes; shared by all threads.
pub(super) struct Compiled {
    pub(super) steps: Vec<PlacedStep>,
    pub(super) inputs: Vec<Boundary>,
    pub(super) outputs: Vec<Boundary>,
    /// Length of each buffer of bytes.
    pub(super) bytes: Vec<usize>,
    /// Length of each buffer of floats.
    pub(super) floats: Vec<usize>,
    /// Multiplications of one run.
    pub(super) macs: u64,
}

/// An input or output.
pub(super) struct Boundary {
    /// A buffer of bytes, or of floats.
    pub(super) buffer: usize,
    pub(super) shape: TensorShape,
    pub(super) dtype: DType,
}

/// An operator with the buffers that it reads and writes.
pub(super) struct PlacedStep {
    pub(super) step: Step,
    pub(super) x: Vec<Slot>,
    pub(super) y: Slot,
}

/// What one thread runs a subgraph with.
#[derive(Debug, Default)]
pub(super) struct Workspace {
    bytes: Vec<Vec<u8>>,
    floats: Vec<Vec<f32>>,
    /// One for each thread of the pool.
    scratches: Vec<Scratch>,
    rows: [Vec<f32>; 2],
}

impl Compiled {
    /// Everything that a run needs, so that runs allocate nothing.
    pub(super) fn workspace(&self) -> Workspace {
        Workspace {
            bytes: self.bytes.iter().map(|&n| vec![0; n]).collect(),
            floats: self.floats.iter().map(|&n| vec![0.0; n]).collect(),
            scratches: vec![self.scratch()],
            rows: Default::default(),
        }
    }

    fn scratch(&self) -> Scratch {
        let mut scratch = Scratch::default();
        self.steps.iter().filter_map(|placed| placed.step.conv()).for_each(|conv| scratch.fit(conv));
        scratch
    }

    /// How many operators of each kind it has.
    pub(super) fn holds(&self) -> String {
        let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
        self.steps.iter().for_each(|placed| *kinds.entry(placed.step.name()).or_default() += 1);
        kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect::<Vec<_>>().join(", ")
    }

    /// Takes input `at`, NCHW bytes.
    pub(super) fn enter_bytes(&self, at: usize, x: &[u8], workspace: &mut Workspace) {
        let Boundary { buffer, shape: TensorShape { hwc: [height, width, channels], .. }, dtype } = self.inputs[at];
        let flip = dtype.flip();
        let out = &mut workspace.bytes[buffer][..height * width * channels];
        interleave(x, height * width, channels, out, |v| v ^ flip);
    }

    /// Takes input `at`, NCHW floats.
    pub(super) fn enter_floats(&self, at: usize, x: &[f32], workspace: &mut Workspace) {
        let Boundary { buffer, shape: TensorShape { hwc: [height, width, channels], .. }, .. } = self.inputs[at];
        interleave(x, height * width, channels, &mut workspace.floats[buffer], |v| v);
    }

    /// Runs all operators on what has been entered, with the pool that the calling thread belongs to. The first run in a
    /// pool makes its scratches.
    pub(super) fn run(&self, workspace: &mut Workspace) {
        while workspace.scratches.len() < pool::size() {
            workspace.scratches.push(self.scratch());
        }
        for step in &self.steps {
            step.run(workspace);
        }
    }

    /// Result `at` of the last run if it is one of bytes, NCHW.
    pub(super) fn leave_bytes(&self, at: usize, workspace: &Workspace, y: &mut [u8]) {
        let Boundary { buffer, shape: TensorShape { hwc: [height, width, channels], .. }, dtype } = self.outputs[at];
        let flip = dtype.flip();
        let x = &workspace.bytes[buffer][..height * width * channels];
        deinterleave(x, height * width, channels, y, |v| v ^ flip);
    }

    /// Result `at` of the last run if it is one of floats, NCHW.
    pub(super) fn leave_floats(&self, at: usize, workspace: &Workspace, y: &mut [f32]) {
        let Boundary { buffer, shape: TensorShape { hwc: [height, width, channels], .. }, .. } = self.outputs[at];
        deinterleave(&workspace.floats[buffer], height * width, channels, y, |v| v);
    }
}

impl PlacedStep {
    fn run(&self, workspace: &mut Workspace) {
        let Workspace { bytes, floats, scratches, rows } = workspace;
        let is_shared = self.step.conv().is_some_and(|conv| conv.shape().macs() >= SHARED);
        let scratches = &mut scratches[..if is_shared { pool::size() } else { 1 }];
        let mut memory = Memory { scratches, rows };
        let Slot { buffer, len } = self.y;
        // The result's buffer is out of the way meanwhile, so that others can be read beside it.
        match &self.step {
            Step::Bytes(step) => {
                let mut y = std::mem::take(&mut bytes[buffer]);
                step.run(Inputs { slots: &self.x, bytes, floats }, &mut y[..len], &mut memory);
                bytes[buffer] = y;
            }
            Step::Floats(step) => {
                let mut y = std::mem::take(&mut floats[buffer]);
                step.run(Inputs { slots: &self.x, bytes, floats }, &mut y[..len], &mut memory);
                floats[buffer] = y;
            }
        }
    }
}
