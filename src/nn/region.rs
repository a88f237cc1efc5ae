//! A region of int8 operators, compiled for fixed shapes and run in one go on NHWC bytes.
//!
//! Tensors cross the border once on the way in and once on the way out (tract's are NCHW); between operators nothing is
//! converted, and buffers are shared by tensors that do not live at the same time.

mod op;
mod steps;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use super::fusion::{Becomes, Fused, FusedAdd, FusedPool, FusedStack, FusedStore, Op, Region};
use super::int8::{Conv, ConvShape, Isa, Out, Scratch};
pub(super) use op::{NAME, replace};
use steps::{Add, MaxPool, Squares, Stack, Store};

/// Height, width and channels.
pub(super) type Shape = [usize; 3];

/// What a tensor of the border holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    Unsigned,
    Signed,
    Float,
}

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
    scratch: Scratch,
}

/// A tensor that enters or leaves.
struct Border {
    /// A buffer of bytes, or of floats.
    buffer: usize,
    shape: Shape,
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
    MaxPool(MaxPool),
    Store(Store),
    Squares(Squares),
    Stack(Stack),
}

impl Fused {
    /// The shape of the result for these inputs.
    fn shape(&self, x: &[Shape]) -> Result<Shape, String> {
        let at = |e: &dyn std::fmt::Display| format!("{}: {e} (input {x:?})", self.name);
        match &self.op {
            Op::Conv(conv) => {
                let shape = conv_shape(conv, x[0]);
                shape.validate().map_err(|e| at(&e))?;
                if shape.input[2] != conv.dims[1].saturating_mul(conv.groups) {
                    return Err(at(&format!("weights are for {} channels", conv.dims[1].saturating_mul(conv.groups))));
                }
                let [height, width, channels] = shape.output();
                Ok([height, width, if matches!(conv.becomes, Becomes::Greatest { .. }) { 1 } else { channels }])
            }
            Op::Add(_) if x[0] == x[1] => Ok(x[0]),
            Op::Add(_) => Err(at(&"an addition of different shapes")),
            Op::MaxPool(pool) => MaxPool::shape(pool, x[0]).ok_or_else(|| at(&"a window larger than the input")),
            Op::Store(_) => Ok(x[0]),
            Op::Squares(squares) => Squares::shape(squares, x[0]).ok_or_else(|| at(&"constants of another shape")),
            Op::Stack(stack) => Stack::shape(stack, x).ok_or_else(|| at(&"inputs that do not lie on each other")),
        }
    }

    fn stored(&self) -> Stored {
        match &self.op {
            Op::Conv(conv) => match &conv.becomes {
                Becomes::Bytes { grid, .. } if grid.is_signed => Stored::Signed,
                Becomes::Bytes { .. } => Stored::Unsigned,
                _ => Stored::Float,
            },
            Op::Squares(_) => Stored::Float,
            Op::Add(FusedAdd { y: grid, .. })
            | Op::MaxPool(FusedPool { grid, .. })
            | Op::Store(FusedStore { grid, .. })
            | Op::Stack(FusedStack { y: grid, .. }) => {
                if grid.is_signed {
                    Stored::Signed
                } else {
                    Stored::Unsigned
                }
            }
        }
    }
}

fn conv_shape(conv: &super::fusion::FusedConv, input: Shape) -> ConvShape {
    let [outputs, _, height, width] = conv.dims;
    ConvShape {
        input,
        outputs,
        kernel: [height, width],
        stride: conv.stride,
        pads: conv.pads,
        dilation: conv.dilation,
        groups: conv.groups,
    }
}

impl Region {
    /// Shapes of all tensors that it makes, for these of its inputs.
    pub(super) fn shapes(&self, inputs: &[Shape]) -> Result<HashMap<&str, (Shape, Stored)>, String> {
        let mut shapes: HashMap<&str, (Shape, Stored)> =
            self.inputs.iter().zip(inputs).map(|(name, &shape)| (name.as_str(), (shape, Stored::Unsigned))).collect();
        for step in &self.steps {
            let x: Vec<Shape> = step.x.iter().map(|x| shapes[x.as_str()].0).collect();
            shapes.insert(&step.y, (step.shape(&x)?, step.stored()));
        }
        Ok(shapes)
    }

    /// Packs its weights for this processor and lays its tensors into buffers.
    ///
    /// # Errors
    /// When a shape does not fit, with the node's name.
    pub(super) fn compile(&self, inputs: &[Shape], isa: Isa) -> Result<Compiled, String> {
        let shapes = self.shapes(inputs)?;
        let mut buffers = Buffers::default();
        let mut floats = Vec::new();
        let mut place: HashMap<&str, usize> = HashMap::new();
        let last: HashMap<&str, usize> =
            self.steps.iter().enumerate().flat_map(|(i, s)| s.x.iter().map(move |x| (x.as_str(), i))).collect();
        let is_output = |name: &str| self.outputs.iter().any(|o| o == name);
        for (name, shape) in self.inputs.iter().zip(inputs) {
            let size = shape.iter().product();
            let at = if self.read(name) == Stored::Float {
                floats.push(size);
                floats.len() - 1
            } else {
                buffers.take(size)
            };
            place.insert(name, at);
        }
        let (mut steps, mut macs) = (Vec::new(), 0);
        for (i, fused) in self.steps.iter().enumerate() {
            let x: Vec<Shape> = fused.x.iter().map(|x| shapes[x.as_str()].0).collect();
            let (shape, _) = shapes[fused.y.as_str()];
            let size: usize = shape.iter().product();
            let y = if fused.makes_bytes() {
                buffers.take(size)
            } else {
                floats.push(size);
                floats.len() - 1
            };
            place.insert(&fused.y, y);
            let kind = self.kind(fused, &x, isa)?;
            if let Kind::Bytes { conv, .. } | Kind::Floats { conv, .. } | Kind::Greatest { conv, .. } = &kind {
                macs += conv.shape().macs();
            }
            let read = fused.x.iter().zip(&x).map(|(name, s)| (place[name.as_str()], s.iter().product())).collect();
            steps.push(Step { kind, x: read, y: (y, size) });
            let mut done: Vec<&str> = fused.x.iter().map(String::as_str).collect();
            done.sort_unstable();
            done.dedup();
            let is_done = |name: &&str| fused.reads_bytes() && last[name] == i && !is_output(name);
            for name in done.into_iter().filter(is_done) {
                buffers.free(place[name]);
            }
        }
        let exit = |name: &String| {
            let (shape, stored) = shapes[name.as_str()];
            Border { buffer: place[name.as_str()], shape, stored }
        };
        let entry =
            |(name, &shape): (&String, &Shape)| Border { buffer: place[name.as_str()], shape, stored: self.read(name) };
        Ok(Compiled {
            steps,
            inputs: self.inputs.iter().zip(inputs).map(entry).collect(),
            outputs: self.outputs.iter().map(exit).collect(),
            bytes: buffers.bytes,
            floats,
            macs,
        })
    }

    /// As what an input is read.
    fn read(&self, name: &str) -> Stored {
        let at = |s: &Fused| Some(s.read(s.x.iter().position(|x| x == name)?));
        self.steps.iter().find_map(at).unwrap_or(Stored::Unsigned)
    }

    fn kind(&self, fused: &Fused, x: &[Shape], isa: Isa) -> Result<Kind, String> {
        Ok(match &fused.op {
            Op::Add(add) => Kind::Add(Add::new(add)),
            Op::MaxPool(pool) => Kind::MaxPool(MaxPool::new(pool, x[0])),
            Op::Store(store) => Kind::Store(Store::new(store)),
            Op::Squares(squares) => Kind::Squares(Squares::new(squares, x[0])),
            Op::Stack(stack) => Kind::Stack(Stack::new(stack, x)),
            Op::Conv(conv) => {
                let packed = Conv::new(conv_shape(conv, x[0]), &conv.weights, &conv.bias, conv.x.zero, isa)
                    .map_err(|e| format!("{}: {e}", fused.name))?;
                let negated = |v: &[f32]| v.iter().map(|v| -v).collect::<Vec<f32>>();
                match &conv.becomes {
                    Becomes::Bytes { scale, grid, low, high } => {
                        Kind::Bytes { conv: packed, scale: scale.clone(), zero: grid.zero, low: *low, high: *high }
                    }
                    Becomes::Floats { scale, bias } => {
                        Kind::Floats { conv: packed, scale: scale.clone(), bias: bias.clone() }
                    }
                    Becomes::Greatest { scale, bias } => {
                        Kind::Greatest { conv: packed, scale: negated(scale), bias: negated(bias) }
                    }
                }
            }
        })
    }
}

impl Fused {
    /// As what it reads its input `at`.
    fn read(&self, at: usize) -> Stored {
        let grid = match &self.op {
            Op::Conv(conv) => conv.x,
            Op::Add(add) => add.x[at],
            Op::MaxPool(pool) => pool.grid,
            Op::Squares(squares) => squares.x,
            Op::Stack(stack) => stack.branches[at].x,
            Op::Store(_) => return Stored::Float,
        };
        if grid.is_signed { Stored::Signed } else { Stored::Unsigned }
    }
}

/// Buffers of bytes, reused as soon as nobody needs what is in them.
#[derive(Default)]
struct Buffers {
    bytes: Vec<usize>,
    free: Vec<usize>,
}

impl Buffers {
    /// The free buffer that has to grow least.
    fn take(&mut self, bytes: usize) -> usize {
        let best = (0..self.free.len()).min_by_key(|&i| self.bytes[self.free[i]].abs_diff(bytes));
        let Some(i) = best else {
            self.bytes.push(bytes);
            return self.bytes.len() - 1;
        };
        let buffer = self.free.swap_remove(i);
        self.bytes[buffer] = self.bytes[buffer].max(bytes);
        buffer
    }

    fn free(&mut self, buffer: usize) {
        self.free.push(buffer);
    }
}

impl Compiled {
    /// Everything that a run needs, so that runs allocate nothing.
    pub(super) fn workspace(&self) -> Workspace {
        let mut scratch = Scratch::default();
        for step in &self.steps {
            if let Kind::Bytes { conv, .. } | Kind::Floats { conv, .. } | Kind::Greatest { conv, .. } = &step.kind {
                scratch.fit(conv);
            }
        }
        Workspace {
            bytes: self.bytes.iter().map(|&n| vec![0; n]).collect(),
            floats: self.floats.iter().map(|&n| vec![0.0; n]).collect(),
            scratch,
        }
    }

    /// Shapes and kinds of its results.
    pub(super) fn results(&self) -> impl Iterator<Item = (Shape, Stored)> + '_ {
        self.outputs.iter().map(|e| (e.shape, e.stored))
    }

    /// What input `i` holds.
    pub(super) fn entry(&self, i: usize) -> Stored {
        self.inputs[i].stored
    }

    /// Takes input `i`, NCHW bytes.
    pub(super) fn enter_bytes(&self, i: usize, x: &[u8], workspace: &mut Workspace) {
        let Border { buffer, shape: [height, width, channels], stored } = self.inputs[i];
        let flip = if stored == Stored::Signed { 0x80 } else { 0 };
        let out = &mut workspace.bytes[buffer][..height * width * channels];
        steps::interleave(x, height * width, channels, out, |v| v ^ flip);
    }

    /// Takes input `i`, NCHW floats.
    pub(super) fn enter_floats(&self, i: usize, x: &[f32], workspace: &mut Workspace) {
        let Border { buffer, shape: [height, width, channels], .. } = self.inputs[i];
        steps::interleave(x, height * width, channels, &mut workspace.floats[buffer], |v| v);
    }

    /// Runs all steps on what has been entered.
    pub(super) fn run(&self, workspace: &mut Workspace) {
        for step in &self.steps {
            step.run(workspace);
        }
    }

    /// Result `i` of the last run if it is one of bytes, NCHW.
    pub(super) fn leave_bytes(&self, i: usize, workspace: &Workspace, y: &mut [u8]) {
        let Border { buffer, shape: [height, width, channels], stored } = self.outputs[i];
        let flip = if stored == Stored::Signed { 0x80 } else { 0 };
        let x = &workspace.bytes[buffer][..height * width * channels];
        steps::deinterleave(x, height * width, channels, y, |v| v ^ flip);
    }

    /// Result `i` of the last run if it is one of floats, NCHW.
    pub(super) fn leave_floats(&self, i: usize, workspace: &Workspace, y: &mut [f32]) {
        let Border { buffer, shape: [height, width, channels], .. } = self.outputs[i];
        steps::deinterleave(&workspace.floats[buffer], height * width, channels, y, |v| v);
    }
}

impl Step {
    fn run(&self, workspace: &mut Workspace) {
        let Workspace { bytes, floats, scratch } = workspace;
        let (to, size) = self.y;
        match &self.kind {
            Kind::Floats { conv, scale, bias } => {
                let (from, length) = self.x[0];
                conv.run(&bytes[from][..length], Out::Real { y: &mut floats[to], scale, bias }, scratch);
            }
            Kind::Greatest { conv, scale, bias } => {
                let (from, length) = self.x[0];
                let y = &mut floats[to];
                conv.run(&bytes[from][..length], Out::Least { y, scale, bias }, scratch);
                y.iter_mut().for_each(|v| *v = -*v);
            }
            Kind::Squares(squares) => {
                let (from, length) = self.x[0];
                squares.run(&bytes[from][..length], &mut floats[to]);
            }
            Kind::Store(store) => store.run(&floats[self.x[0].0], &mut bytes[to][..size]),
            Kind::Bytes { .. } | Kind::Add(_) | Kind::MaxPool(_) | Kind::Stack(_) => {
                // Out of the way, so that others can be read beside it.
                let mut y = std::mem::take(&mut bytes[to]);
                let x = |i: usize| &bytes[self.x[i].0][..self.x[i].1];
                let out = &mut y[..size];
                match &self.kind {
                    Kind::Bytes { conv, scale, zero, low, high } => {
                        let pitch = scale.len();
                        let [zero, low, high] = [*zero, *low, *high];
                        conv.run(x(0), Out::Quantised { y: out, pitch, offset: 0, scale, zero, low, high }, scratch);
                    }
                    Kind::Add(add) => add.run(x(0), x(1), out),
                    Kind::MaxPool(pool) => pool.run(x(0), out),
                    Kind::Stack(stack) => (0..self.x.len()).for_each(|i| stack.run(i, x(i), out)),
                    _ => unreachable!("handled above"),
                }
                bytes[to] = y;
            }
        }
    }
}
