//! A convolution with packed weights, and its run over an image.

use std::fmt;

use super::epilogue::{Out, Target};
use super::isa::Isa;
use super::kernels::{STRIP, Strip};
use super::layout::{Layout, Plan};
use super::pack::{self, Packed};
use super::plain;
use super::rows::{Rows, SLACK, gather, gather_wide};
use super::shape::{ConvError, ConvShape};

/// A quantised convolution: weights packed for one instruction set, the input's zero point folded into the bias.
pub struct Conv {
    shape: ConvShape,
    isa: Isa,
    zero: u8,
    layout: Layout,
    /// One for each block.
    packed: Vec<Packed>,
    /// Weights as given, for the plain loop.
    plain: Vec<i16>,
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
        let padded = conv.layout.blocks.count * conv.layout.blocks.padded;
        let (lanes, _) = conv.layout.plan.lanes_and_flips(conv.isa.kernels());
        grow(&mut self.ring, Rows::ring(&conv.shape));
        grow(&mut self.factors, 2 * padded);
        grow(&mut self.least, STRIP * lanes);
        match conv.layout.plan {
            Plan::Direct(_) | Plan::Depthwise => {}
            Plan::Gathered => {
                let bytes = if conv.isa.kernels().widens { 2 } else { 1 };
                grow(&mut self.gathered, STRIP * conv.layout.window(conv.isa.kernels()) * bytes + SLACK);
            }
            Plan::Plain => grow(&mut self.acc, padded),
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
        Self::of_parts(shape, &[weights], bias, x_zero, isa)
    }

    /// As [`Conv::new`], with weights that are the sums of `parts`, as those of unsigned bytes less their zero point are:
    /// what a second part has in it is read and multiplied a second time.
    ///
    /// # Errors
    ///
    /// As [`Conv::new`].
    pub fn of_parts(shape: ConvShape, parts: &[&[i8]], bias: &[i32], x_zero: u8, isa: Isa) -> Result<Self, ConvError> {
        shape.validate()?;
        if !isa.is_available() {
            return Err(ConvError::Isa);
        }
        let count = shape.outputs * shape.window();
        for part in parts {
            length("weights", count, part.len())?;
        }
        length("bias", shape.outputs, bias.len())?;
        let kernels = isa.kernels();
        let layout = Layout::of(&shape, parts, kernels);
        let (_, flips) = layout.plan.lanes_and_flips(kernels);
        let zero = i32::from(x_zero) - if flips { 128 } else { 0 };
        let packed = pack::blocks(&shape, parts, bias, zero, &layout, kernels);
        let sum = |i: usize| parts.iter().map(|part| i16::from(part[i])).sum();
        let plain = if layout.plan == Plan::Plain { (0..count).map(sum).collect() } else { Vec::new() };
        Ok(Self { shape, isa, zero: x_zero, layout, packed, plain })
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
        let packed = self.packed.iter().map(|p| p.weights.len() + size_of_val(&p.bias[..]));
        packed.sum::<usize>() + size_of_val(&self.plain[..])
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
        let Layout { plan, of, again, blocks, inputs } = &self.layout;
        let (lanes, _) = plan.lanes_and_flips(kernels);
        let mut target = Target::new(out, shape.output(), *blocks, lanes, factors, least);
        let [mut height, mut width, _] = shape.output();
        if shape.is_pointwise() && *plan == Plan::Direct(of.bytes) {
            (height, width) = (1, height * width);
        }
        // Blocks of gathered windows and padded segments go beyond the end of a row.
        let copies = match plan {
            Plan::Direct(bytes) => *bytes > of.bytes,
            Plan::Gathered => !kernels.widens,
            Plan::Depthwise | Plan::Plain => false,
        };
        let mut rows = Rows::new(shape, x, ring, self.zero, copies);
        for y in 0..height {
            rows.advance(y);
            for x in (0..width).step_by(STRIP) {
                let pixels = STRIP.min(width - x);
                for (block, packed) in self.packed.iter().enumerate() {
                    let mut sink = target.strip(y * width + x, pixels, block);
                    if *plan == Plan::Plain {
                        let filters = plain::Filters { shape, weights: &self.plain, bias: &packed.bias };
                        filters.strip(&rows, [y, x], pixels, acc, &mut sink);
                        continue;
                    }
                    let segments = &rows.segments([y, x], block * inputs, *of, again)[..of.count + again.len()];
                    let strip =
                        |segments, bytes, step| Strip::new(segments, bytes, step, pixels, packed, blocks.outputs);
                    match plan {
                        Plan::Direct(bytes) => kernels.dense(&strip(segments, *bytes, of.step), &mut sink),
                        Plan::Depthwise => kernels.depthwise(&strip(segments, of.bytes, of.step), &mut sink),
                        Plan::Gathered => {
                            let gather = if kernels.widens { gather_wide } else { gather };
                            gather(segments, *of, pixels, packed.window, gathered);
                            let bytes = packed.window * if kernels.widens { 2 } else { 1 };
                            kernels.dense(&strip(&[&gathered[..]], bytes, bytes), &mut sink);
                        }
                        Plan::Plain => unreachable!("handled above"),
                    }
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

fn length(what: &'static str, expected: usize, found: usize) -> Result<(), ConvError> {
    if expected == found { Ok(()) } else { Err(ConvError::Length { what, expected, found }) }
}
