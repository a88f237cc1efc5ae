//! A convolution with packed weights, and its run over an image.

use std::fmt;
use std::ops::Range;

use super::epilogue::{Out, Target};
use super::isa::Isa;
use super::kernels::Strip;
use super::kernels::winograd::Winograd;
use super::layout::{KernelChoice, Layout};
use super::pack;
use super::packed::{Packed, SLACK, STRIP};
use super::plain;
use super::rows::{Rows, gather};
use super::shape::{ConvError, ConvShape};
use super::winograd;

/// A quantised convolution: weights packed for one instruction set, the input's zero point folded into the bias.
pub struct Conv {
    shape: ConvShape,
    isa: Isa,
    zero: u8,
    layout: Layout,
    /// One for each block.
    packed: Vec<Packed>,
    /// Weights of two bytes: as given for the plain loop, transformed for tiles.
    wide: Vec<i16>,
}

/// Memory that runs need besides their arguments; one serves any number of convolutions, one after the other.
#[derive(Debug, Default)]
pub struct Scratch {
    ring: Vec<u8>,
    gathered: Vec<u8>,
    tiles: Vec<i16>,
    acc: Vec<i32>,
    factors: Vec<f32>,
    minima: Vec<f32>,
}

impl Scratch {
    /// Bytes of the heap that it holds.
    pub fn bytes(&self) -> usize {
        self.ring.capacity()
            + self.gathered.capacity()
            + self.tiles.capacity() * size_of::<i16>()
            + self.acc.capacity() * size_of::<i32>()
            + (self.factors.capacity() + self.minima.capacity()) * size_of::<f32>()
    }

    /// Grows to what `conv` needs. [`Conv::run`] does it too; done before, the first run does not allocate either.
    pub fn fit(&mut self, conv: &Conv) {
        fn grow<T: Copy + Default>(values: &mut Vec<T>, to: usize) {
            if values.len() < to {
                values.resize(to, T::default());
            }
        }
        let padded = conv.layout.blocks.count * conv.layout.blocks.padded;
        let (lanes, _) = conv.layout.choice.lanes_and_flips(conv.isa.kernels());
        grow(&mut self.factors, 2 * padded);
        grow(&mut self.minima, STRIP * lanes);
        if conv.layout.choice != KernelChoice::Winograd {
            grow(&mut self.ring, Rows::ring(&conv.shape));
        }
        match conv.layout.choice {
            KernelChoice::Direct(_) | KernelChoice::Depthwise => {}
            KernelChoice::Winograd => {
                let [lines, tiles, sums] = winograd::needed(&conv.shape);
                grow(&mut self.gathered, lines);
                grow(&mut self.tiles, tiles);
                grow(&mut self.acc, sums);
            }
            KernelChoice::Gathered => {
                let kernels = conv.isa.kernels();
                grow(&mut self.gathered, (STRIP * conv.layout.window(kernels) + SLACK) * kernels.bytes());
            }
            KernelChoice::Plain => grow(&mut self.acc, padded),
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
        let (_, flips) = layout.choice.lanes_and_flips(kernels);
        let zero = i32::from(x_zero) - if flips { 128 } else { 0 };
        let packed = pack::blocks(&shape, parts, bias, zero, &layout, kernels);
        let sum = |i: usize| parts.iter().map(|part| i16::from(part[i])).sum();
        let wide = match (layout.choice, &kernels.winograd) {
            (KernelChoice::Plain, _) => (0..count).map(sum).collect(),
            (KernelChoice::Winograd, Some(winograd)) => winograd::pack(&shape, parts, winograd.unit),
            _ => Vec::new(),
        };
        Ok(Self { shape, isa, zero: x_zero, layout, packed, wide })
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
        packed.sum::<usize>() + size_of_val(&self.wide[..])
    }

    /// Convolves one image: `x` is u8, `[height, width, channels]`.
    ///
    /// Costs [`ConvShape::macs`] multiplications, on the calling thread where there is one scratch, otherwise shared by as
    /// many threads of its rayon pool, to the same bits. Allocates only if a scratch does not fit yet.
    ///
    /// # Panics
    ///
    /// If a slice of `x` or `out` does not have the length that the shape asks for, `low > high`, or there is no scratch.
    pub fn run(&self, x: &[u8], out: Out<'_>, scratches: &mut [Scratch]) {
        self.share(x, 0..self.pace()[0], out, scratches);
    }

    fn share(&self, x: &[u8], lines: Range<usize>, out: Out<'_>, scratches: &mut [Scratch]) {
        let [_, width] = self.pace();
        // No share ends within a strip, or a row of tiles.
        let whole =
            STRIP.div_ceil(width).next_multiple_of(if self.layout.choice == KernelChoice::Winograd { 2 } else { 1 });
        let count = scratches.len();
        let first = (lines.len() * (count / 2) / count).next_multiple_of(whole);
        if count == 1 || !(1..lines.len()).contains(&first) {
            return self.lines(x, lines, out, &mut scratches[0]);
        }
        let middle = lines.start + first;
        let (one, other) = out.split_at(first * width);
        let (mine, others) = scratches.split_at_mut(count / 2);
        rayon::join(
            || self.share(x, lines.start..middle, one, mine),
            || self.share(x, middle..lines.end, other, others),
        );
    }

    /// Whether windows are single pixels, side by side in memory from the first row to the last.
    fn is_flat(&self) -> bool {
        self.shape.is_pointwise() && self.layout.choice == KernelChoice::Direct(self.layout.of.bytes)
    }

    /// How many lines a run has, and the pixels of each: rows, or single pixels where it is flat.
    fn pace(&self) -> [usize; 2] {
        let [height, width, _] = self.shape.output();
        if self.is_flat() { [height * width, 1] } else { [height, width] }
    }

    /// Convolves the image as far as some lines of the output need it.
    fn lines(&self, x: &[u8], lines: Range<usize>, out: Out<'_>, scratch: &mut Scratch) {
        let shape = &self.shape;
        assert_eq!(x.len(), shape.input.iter().product::<usize>(), "the length of the input");
        scratch.fit(self);
        let Scratch { ring, gathered, tiles, acc, factors, minima } = scratch;
        let kernels = self.isa.kernels();
        let Layout { choice, of, again, blocks, inputs } = &self.layout;
        let (lanes, _) = choice.lanes_and_flips(kernels);
        let [_, width] = self.pace();
        let pixels = [lines.len() * width, shape.outputs];
        let mut target = Target::new(out, pixels, *blocks, lanes, factors, minima);
        if let (KernelChoice::Winograd, Some(kernels)) = (choice, &kernels.winograd) {
            let memory = winograd::Memory { lines: gathered, tiles, sums: acc };
            return self.in_tiles(x, lines, kernels, target, memory);
        }
        let (before, ys, xs) = match self.is_flat() {
            true => (lines.start, 0..1, lines),
            false => (lines.start * width, lines, 0..width),
        };
        // Blocks of gathered windows and padded segments go beyond the end of a row.
        let copies = match choice {
            KernelChoice::Direct(bytes) => *bytes > of.bytes,
            KernelChoice::Gathered => true,
            KernelChoice::Depthwise | KernelChoice::Winograd | KernelChoice::Plain => false,
        };
        let mut rows = Rows::new(shape, x, ring, self.zero, copies);
        for y in ys {
            rows.advance(y);
            for x in xs.clone().step_by(STRIP) {
                let pixels = STRIP.min(xs.end - x);
                let first = y * width + x - before;
                for (block, packed) in self.packed.iter().enumerate() {
                    let mut sink = target.strip(first, pixels, block);
                    if *choice == KernelChoice::Plain {
                        let filters = plain::Filters { shape, weights: &self.wide, bias: &packed.bias };
                        filters.strip(&rows, [y, x], pixels, acc, &mut sink);
                        continue;
                    }
                    let segments = &rows.segments([y, x], block * inputs, *of, again)[..of.count + again.len()];
                    let strip =
                        |segments, bytes, step| Strip::new(segments, bytes, step, pixels, packed, blocks.outputs);
                    match choice {
                        KernelChoice::Direct(bytes) => kernels.dense(&strip(segments, *bytes, of.step), &mut sink),
                        KernelChoice::Depthwise => kernels.depthwise(&strip(segments, of.bytes, of.step), &mut sink),
                        KernelChoice::Gathered => {
                            gather(segments, *of, pixels, packed.window, kernels, gathered);
                            let bytes = packed.window * kernels.bytes();
                            kernels.dense(&strip(&[&gathered[..]], bytes, bytes), &mut sink);
                        }
                        KernelChoice::Winograd | KernelChoice::Plain => unreachable!("handled above"),
                    }
                }
                target.close(first, pixels);
            }
        }
    }

    /// [`Conv::lines`], two at a time.
    fn in_tiles(
        &self,
        picture: &[u8],
        lines: Range<usize>,
        kernels: &Winograd,
        mut target: Target<'_>,
        mut memory: winograd::Memory<'_>,
    ) {
        let (shape, bias) = (&self.shape, &self.packed[0].bias[..]);
        let run = winograd::Run { shape, picture, zero: self.zero, weights: &self.wide, bias, kernels };
        let [_, width] = self.pace();
        let of_row = bias.len() / winograd::LANES * STRIP;
        for y in lines.clone().step_by(2) {
            for x in (0..width).step_by(STRIP) {
                let pixels = STRIP.min(width - x);
                let sums = run.strip([y, x], pixels, &mut memory);
                for (y, sums) in (y..lines.end).zip(sums.chunks_exact(of_row).take(2)) {
                    let first = (y - lines.start) * width + x;
                    let mut sink = target.strip(first, pixels, 0);
                    for (panel, sums) in sums.chunks_exact(STRIP).enumerate() {
                        kernels.finish(&sums[..pixels], &mut sink, panel * winograd::LANES, shape.outputs);
                    }
                    target.close(first, pixels);
                }
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
