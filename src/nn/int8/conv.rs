//! A convolution with packed weights, and its run over an image.

use std::fmt;

use super::epilogue::{Out, Target};
use super::grouped;
use super::isa::Isa;
use super::kernels::{Kernels, SEGMENTS, STRIP, Strip};
use super::pack::{self, Packed};
use super::rows::{Rows, SLACK, Segments, gather, gather_wide};
use super::shape::{ConvError, ConvShape};

/// A quantised convolution: weights packed for one instruction set, the input's zero point folded into the bias.
pub struct Conv {
    shape: ConvShape,
    isa: Isa,
    zero: u8,
    plan: Plan,
    packed: Packed,
}

/// How windows reach the kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    /// Segments are read in place, with so many bytes each, of which the last ones may have weights of 0 only.
    Direct(usize),
    /// Windows are copied a strip at a time, padded to whole units once rather than in each segment.
    Gathered,
    /// One filter a channel.
    Depthwise,
    /// Anything else: a plain loop.
    Grouped,
}

/// Memory that runs need besides their arguments; one serves any number of convolutions, one after the other.
#[derive(Debug, Default)]
pub struct Scratch {
    ring: Vec<u8>,
    gathered: Vec<u8>,
    acc: Vec<i32>,
    factors: Vec<f32>,
    least: Vec<f32>,
}

impl Scratch {
    /// Bytes of the heap that it holds.
    pub fn bytes(&self) -> usize {
        self.ring.capacity()
            + self.gathered.capacity()
            + self.acc.capacity() * size_of::<i32>()
            + (self.factors.capacity() + self.least.capacity()) * size_of::<f32>()
    }

    /// Grows to what `conv` needs. [`Conv::run`] does it too; done before, the first run does not allocate either.
    pub fn fit(&mut self, conv: &Conv) {
        fn grow<T: Copy + Default>(values: &mut Vec<T>, to: usize) {
            if values.len() < to {
                values.resize(to, T::default());
            }
        }
        let padded = conv.packed.bias.len();
        let (lanes, _) = conv.plan.lanes_and_flips(conv.isa.kernels());
        grow(&mut self.ring, Rows::ring(&conv.shape));
        grow(&mut self.factors, 2 * padded);
        grow(&mut self.least, STRIP * lanes);
        match conv.plan {
            Plan::Direct(_) | Plan::Depthwise => {}
            Plan::Gathered => {
                let bytes = if conv.isa.kernels().widens { 2 } else { 1 };
                grow(&mut self.gathered, STRIP * conv.packed.window * bytes + SLACK);
            }
            Plan::Grouped => grow(&mut self.acc, padded),
        }
    }
}

impl Conv {
    /// Packs a convolution for `isa`.
    ///
    /// `weights` are `[outputs, channels / groups, height, width]` with a zero point of 0, as ONNX has them; `bias` has
    /// one number of accumulator steps for each output; `x_zero` is the input's zero point, and the value of padding.
    /// Costs about a copy of the weights.
    ///
    /// # Errors
    ///
    /// If the shape is not valid, a slice has another length, or this processor lacks `isa`. Never panics.
    pub fn new(shape: ConvShape, weights: &[i8], bias: &[i32], x_zero: u8, isa: Isa) -> Result<Self, ConvError> {
        shape.validate()?;
        if !isa.is_available() {
            return Err(ConvError::Isa);
        }
        length("weights", shape.outputs * shape.window(), weights.len())?;
        length("bias", shape.outputs, bias.len())?;
        let kernels = isa.kernels();
        let plan = Plan::of(&shape, kernels);
        let segments = Segments::of(&shape, false);
        let window = shape.window().next_multiple_of(kernels.unit);
        let (window, packed) = match plan {
            Plan::Direct(bytes) => (segments.count * bytes, pack::dense(&shape, weights, kernels, segments, bytes)),
            Plan::Gathered => (window, pack::dense(&shape, weights, kernels, segments.joined(), window)),
            Plan::Depthwise => (window, pack::depthwise(&shape, weights)),
            Plan::Grouped => (window, weights.to_vec()),
        };
        let (lanes, flips) = plan.lanes_and_flips(kernels);
        let zero = i32::from(x_zero) - if flips { 128 } else { 0 };
        let packed = Packed {
            weights: packed,
            bias: pack::bias(&shape, weights, bias, zero, lanes),
            window,
            above_min: !weights.contains(&i8::MIN),
        };
        Ok(Self { shape, isa, zero: x_zero, plan, packed })
    }

    /// The geometry.
    pub fn shape(&self) -> &ConvShape {
        &self.shape
    }

    /// The instruction set it is packed for.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Bytes of packed weights and biases.
    pub fn bytes(&self) -> usize {
        self.packed.weights.len() + size_of_val(&self.packed.bias[..])
    }

    /// Convolves one image: `x` is u8, `[height, width, channels]`.
    ///
    /// Costs [`ConvShape::macs`] multiplications on the calling thread. Allocates only if `scratch` does not fit yet.
    ///
    /// # Panics
    ///
    /// If a slice of `x` or `out` does not have the length that the shape asks for, or `low > high`.
    pub fn run(&self, x: &[u8], out: Out<'_>, scratch: &mut Scratch) {
        let shape = &self.shape;
        assert_eq!(x.len(), shape.input.iter().product::<usize>(), "the length of the input");
        scratch.fit(self);
        let Scratch { ring, gathered, acc, factors, least } = scratch;
        let kernels = self.isa.kernels();
        let (lanes, _) = self.plan.lanes_and_flips(kernels);
        let mut target = Target::new(out, shape.output(), self.packed.bias.len(), lanes, factors, least);
        let [mut height, mut width, _] = shape.output();
        let of = Segments::of(shape, self.plan == Plan::Depthwise);
        if shape.is_pointwise() && self.plan == Plan::Direct(of.bytes) {
            (height, width) = (1, height * width);
        }
        // Blocks of gathered windows and padded segments go beyond the end of a row.
        let copies = match self.plan {
            Plan::Direct(bytes) => bytes > of.bytes,
            Plan::Gathered => !kernels.widens,
            Plan::Depthwise | Plan::Grouped => false,
        };
        let mut rows = Rows::new(shape, x, ring, self.zero, copies);
        let (packed, outputs) = (&self.packed, shape.outputs);
        for y in 0..height {
            rows.advance(y);
            for x in (0..width).step_by(STRIP) {
                let pixels = STRIP.min(width - x);
                let mut sink = target.strip(y * width + x, pixels);
                match self.plan {
                    Plan::Direct(bytes) => {
                        let segments = &rows.segments(y, x, of)[..of.count];
                        kernels.dense(&Strip::new(segments, bytes, of.step, pixels, packed, outputs), &mut sink);
                    }
                    Plan::Gathered => {
                        let segments = &rows.segments(y, x, of)[..of.count];
                        let gather = if kernels.widens { gather_wide } else { gather };
                        gather(segments, of, pixels, packed.window, gathered);
                        let bytes = packed.window * if kernels.widens { 2 } else { 1 };
                        let segments = [&gathered[..]];
                        kernels.dense(&Strip::new(&segments, bytes, bytes, pixels, packed, outputs), &mut sink);
                    }
                    Plan::Depthwise => {
                        let segments = &rows.segments(y, x, of)[..of.count];
                        let strip = Strip::new(segments, of.bytes, of.step, pixels, packed, outputs);
                        kernels.depthwise(&strip, &mut sink);
                    }
                    Plan::Grouped => grouped::strip(shape, packed, &rows, [y, x], pixels, acc, &mut sink),
                }
                target.close(y * width + x, pixels);
            }
        }
    }
}

impl fmt::Debug for Conv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conv").field("shape", &self.shape).field("isa", &self.isa).finish_non_exhaustive()
    }
}

impl Plan {
    fn of(shape: &ConvShape, kernels: &Kernels) -> Self {
        if shape.is_depthwise() && Segments::of(shape, true).count <= SEGMENTS {
            return Self::Depthwise;
        }
        let of = Segments::of(shape, false);
        if shape.groups > 1 || of.count > SEGMENTS {
            return Self::Grouped;
        }
        if kernels.widens {
            return Self::Gathered;
        }
        let bytes = of.bytes.next_multiple_of(kernels.unit);
        let wasted = of.count * bytes - shape.window().next_multiple_of(kernels.unit);
        // What copying a segment costs, in multiplications; in those padding is cheap where units are short.
        let copying = of.count * (1024 / kernels.unit);
        if wasted * shape.outputs <= copying { Self::Direct(bytes) } else { Self::Gathered }
    }

    /// Channels whose minima the kernel keeps apart, and whether it flips the top bit of activations.
    fn lanes_and_flips(self, kernels: &Kernels) -> (usize, bool) {
        match self {
            Self::Direct(_) | Self::Gathered => (kernels.lanes, kernels.flips),
            Self::Depthwise => (kernels.depthwise_lanes, kernels.depthwise_flips),
            Self::Grouped => (grouped::LANES, false),
        }
    }
}

fn length(what: &'static str, expected: usize, found: usize) -> Result<(), ConvError> {
    if expected == found { Ok(()) } else { Err(ConvError::Length { what, expected, found }) }
}
