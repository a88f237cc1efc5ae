//! A region of int8 operators, compiled for fixed shapes and run in one go on NHWC bytes.
//!
//! Tensors cross the border once on the way in and once on the way out (tract's are NCHW); between operators nothing is
//! converted, and buffers are shared by tensors that do not live at the same time.

mod compile;
mod form;
mod op;
mod steps;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::int8::{Conv, Out, Scratch};
use super::pool;
pub(super) use form::Form;
use form::Stored;
pub(super) use op::{NAME, replace};
use steps::{Add, AveragePool, MaxPool, Mean, Moment, Mul, Resize, Squares, Stack, Store};

/// Multiplications from which on a convolution is shared by a pool: a tenth of a millisecond on one core of a small
/// board, and some microseconds to wake a thread. Chosen.
const SHARED: u64 = 1 << 20;

/// A region for fixed shapes; shared by all threads.
pub(super) struct Compiled {
    steps: Vec<Step>,
    inputs: Vec<Border>,
    outputs: Vec<Border>,
    /// Bytes of each buffer.
    bytes: Vec<usize>,
    /// Floats of each result that is none of bytes.
    floats: Vec<usize>,
    /// Multiplications of one run.
    pub(super) macs: u64,
}

/// What one thread runs a region with.
#[derive(Debug, Default)]
pub(super) struct Workspace {
    bytes: Vec<Vec<u8>>,
    floats: Vec<Vec<f32>>,
    /// One for each thread of the pool.
    scratches: Vec<Scratch>,
    /// Means and gains of a pixel.
    usual: [Vec<f32>; 2],
}

/// A tensor that enters or leaves.
struct Border {
    /// A buffer of bytes, or of floats.
    buffer: usize,
    form: Form,
    stored: Stored,
}

struct Step {
    kind: Kind,
    /// Buffers that are read, with the bytes (or floats) that count.
    x: Vec<(usize, usize)>,
    /// The buffer that is written, with the bytes or floats that count.
    y: (usize, usize),
}

enum Kind {
    Bytes {
        conv: Conv,
        scale: Vec<f32>,
        zero: u8,
        low: u8,
        high: u8,
    },
    Floats {
        conv: Conv,
        scale: Vec<f32>,
        bias: Vec<f32>,
    },
    /// The greatest as the least of what is negated, the same bits.
    Greatest {
        conv: Conv,
        scale: Vec<f32>,
        bias: Vec<f32>,
    },
    Add(Add),
    Mul(Mul),
    MaxPool(MaxPool),
    AveragePool(AveragePool),
    Resize(Resize),
    /// Another byte for each byte.
    Table(Box<[u8; 256]>),
    Mean(Mean),
    Moment(Moment),
    Store(Store),
    Squares(Squares),
    Stack(Stack),
}

impl Kind {
    /// As ONNX has it.
    fn name(&self) -> &'static str {
        match self {
            Self::Bytes { .. } | Self::Floats { .. } => "Conv",
            Self::Greatest { .. } => "Conv to its greatest",
            Self::Add(_) => "Add",
            Self::Mul(_) => "Mul",
            Self::MaxPool(_) => "MaxPool",
            Self::AveragePool(_) => "AveragePool",
            Self::Resize(_) => "Resize",
            Self::Table(_) => "function",
            Self::Mean(_) => "mean",
            Self::Moment(_) => "mean in floats",
            Self::Store(_) => "QuantizeLinear",
            Self::Squares(_) => "ReduceSumSquare",
            Self::Stack(_) => "Concat",
        }
    }

    fn conv(&self) -> Option<&Conv> {
        match self {
            Self::Bytes { conv, .. } | Self::Floats { conv, .. } | Self::Greatest { conv, .. } => Some(conv),
            _ => None,
        }
    }
}

impl Compiled {
    /// Everything that a run needs, so that runs allocate nothing.
    pub(super) fn workspace(&self) -> Workspace {
        Workspace {
            bytes: self.bytes.iter().map(|&n| vec![0; n]).collect(),
            floats: self.floats.iter().map(|&n| vec![0.0; n]).collect(),
            scratches: vec![self.scratch()],
            usual: Default::default(),
        }
    }

    fn scratch(&self) -> Scratch {
        let mut scratch = Scratch::default();
        for step in &self.steps {
            step.kind.conv().into_iter().for_each(|conv| scratch.fit(conv));
        }
        scratch
    }

    /// How many operators of each kind it is made of.
    pub(super) fn holds(&self) -> String {
        let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
        self.steps.iter().for_each(|step| *kinds.entry(step.kind.name()).or_default() += 1);
        kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect::<Vec<_>>().join(", ")
    }

    /// Forms and kinds of its results.
    pub(super) fn results(&self) -> impl Iterator<Item = (Form, Stored)> + '_ {
        self.outputs.iter().map(|e| (e.form, e.stored))
    }

    /// What input `i` holds.
    pub(super) fn entry(&self, i: usize) -> Stored {
        self.inputs[i].stored
    }

    /// Takes input `i`, NCHW bytes.
    pub(super) fn enter_bytes(&self, i: usize, x: &[u8], workspace: &mut Workspace) {
        let Border { buffer, form: Form { shape: [height, width, channels], .. }, stored } = self.inputs[i];
        let flip = stored.flip();
        let out = &mut workspace.bytes[buffer][..height * width * channels];
        steps::interleave(x, height * width, channels, out, |v| v ^ flip);
    }

    /// Takes input `i`, NCHW floats.
    pub(super) fn enter_floats(&self, i: usize, x: &[f32], workspace: &mut Workspace) {
        let Border { buffer, form: Form { shape: [height, width, channels], .. }, .. } = self.inputs[i];
        steps::interleave(x, height * width, channels, &mut workspace.floats[buffer], |v| v);
    }

    /// Runs all steps on what has been entered, with the pool that the calling thread belongs to. The first run in a pool makes
    /// its scratches.
    pub(super) fn run(&self, workspace: &mut Workspace) {
        while workspace.scratches.len() < pool::size() {
            workspace.scratches.push(self.scratch());
        }
        for step in &self.steps {
            step.run(workspace);
        }
    }

    /// Result `i` of the last run if it is one of bytes, NCHW.
    pub(super) fn leave_bytes(&self, i: usize, workspace: &Workspace, y: &mut [u8]) {
        let Border { buffer, form: Form { shape: [height, width, channels], .. }, stored } = self.outputs[i];
        let flip = stored.flip();
        let x = &workspace.bytes[buffer][..height * width * channels];
        steps::deinterleave(x, height * width, channels, y, |v| v ^ flip);
    }

    /// Result `i` of the last run if it is one of floats, NCHW.
    pub(super) fn leave_floats(&self, i: usize, workspace: &Workspace, y: &mut [f32]) {
        let Border { buffer, form: Form { shape: [height, width, channels], .. }, .. } = self.outputs[i];
        steps::deinterleave(&workspace.floats[buffer], height * width, channels, y, |v| v);
    }
}

impl Step {
    fn run(&self, workspace: &mut Workspace) {
        let Workspace { bytes, floats, scratches, usual } = workspace;
        let (to, size) = self.y;
        let is_shared = self.kind.conv().is_some_and(|conv| conv.shape().macs() >= SHARED);
        let scratches = &mut scratches[..if is_shared { pool::size() } else { 1 }];
        match &self.kind {
            Kind::Floats { conv, scale, bias } => {
                let (from, length) = self.x[0];
                conv.run(&bytes[from][..length], Out::Real { y: &mut floats[to], scale, bias }, scratches);
            }
            Kind::Greatest { conv, scale, bias } => {
                let (from, length) = self.x[0];
                let y = &mut floats[to];
                conv.run(&bytes[from][..length], Out::Least { y, scale, bias }, scratches);
                y.iter_mut().for_each(|v| *v = -*v);
            }
            Kind::Squares(squares) => {
                let x = |i: usize| self.x.get(i).map_or(&[][..], |&(from, length)| &bytes[from][..length]);
                squares.run(x(0), [x(1), x(2)], usual, &mut floats[to]);
            }
            Kind::Moment(moment) => {
                let (from, length) = self.x[0];
                moment.run(&bytes[from][..length], &mut floats[to]);
            }
            Kind::Store(store) => store.run(&floats[self.x[0].0], &mut bytes[to][..size]),
            _ => {
                // Out of the way, so that others can be read beside it.
                let mut y = std::mem::take(&mut bytes[to]);
                let x = |i: usize| &bytes[self.x[i].0][..self.x[i].1];
                let out = &mut y[..size];
                match &self.kind {
                    Kind::Bytes { conv, scale, zero, low, high } => {
                        let pitch = scale.len();
                        let [zero, low, high] = [*zero, *low, *high];
                        conv.run(x(0), Out::Quantised { y: out, pitch, offset: 0, scale, zero, low, high }, scratches);
                    }
                    Kind::Add(add) => add.run(x(0), x(1), out),
                    Kind::Mul(mul) => mul.run(x(0), x(1), out),
                    Kind::MaxPool(pool) => pool.run(x(0), out),
                    Kind::AveragePool(pool) => pool.run(x(0), out),
                    Kind::Resize(resize) => resize.run(x(0), out),
                    Kind::Table(table) => out.iter_mut().zip(x(0)).for_each(|(y, &x)| *y = table[usize::from(x)]),
                    Kind::Mean(mean) => mean.run(x(0), out),
                    Kind::Stack(stack) => (0..self.x.len()).for_each(|i| stack.run(i, x(i), out)),
                    _ => unreachable!("handled above"),
                }
                bytes[to] = y;
            }
        }
    }
}
