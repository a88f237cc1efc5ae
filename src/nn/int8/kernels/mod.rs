//! Kernels of the instruction sets. Unsafe code stands here, in two files of `src/frame/kernels/`, and nowhere else.
//!
//! A kernel gets a strip of neighbouring output pixels and writes all their channels. [`Strip::new`] checks the slices
//! once; inside, addresses are trusted.

#![allow(unsafe_code, reason = "vectors are loaded from addresses")]
#![deny(clippy::undocumented_unsafe_blocks, unsafe_op_in_unsafe_fn)]
#![allow(clippy::needless_range_loop, reason = "loops over constants become registers; iterators need not")]

#[cfg(target_arch = "x86_64")]
pub(super) mod avx2;
#[cfg(target_arch = "x86_64")]
mod depthwise;
#[cfg(target_arch = "aarch64")]
pub(super) mod dotprod;
#[cfg(target_arch = "aarch64")]
pub(super) mod i8mm;
#[cfg(target_arch = "aarch64")]
pub(super) mod neon;
pub(in crate::nn) mod pointwise;
pub(super) mod portable;
#[cfg(target_arch = "x86_64")]
pub(super) mod vnni;
pub(super) mod winograd;

use super::epilogue::Sink;
use super::packed::{Packed, SLACK, STRIP};
use winograd::Winograd;

/// Makes little-endian words of bytes.
pub(super) type Widen = unsafe fn(&[[u8; SLACK]], &mut [u8]);

/// The kernels of an instruction set and what they expect.
pub(super) struct Kernels {
    /// Outputs of a panel of dense weights.
    pub lanes: usize,
    /// Activations of one pixel that are multiplied together; segments of dense windows are whole units.
    pub unit: usize,
    /// Whether the dense kernel flips the top bit of activations and so sees `x - 128`.
    pub flips: bool,
    /// Whether dense weights are stored [`RAISED`](super::packed::RAISED) higher, as unsigned bytes.
    pub raises: bool,
    /// Where dense activations are read as little-endian u16: makes them. Needs the instruction set.
    pub widen: Option<Widen>,
    /// Needs the instruction set; segments are parts of the window, contiguous in memory.
    pub dense: unsafe fn(&Strip<'_>, &mut Sink<'_>),
    /// Channels whose results [`Sink::Min`] keeps apart in depthwise convolutions.
    pub depthwise_lanes: usize,
    /// As `flips`, for the depthwise kernel.
    pub depthwise_flips: bool,
    /// Needs the instruction set; segments are the taps, each with all channels.
    pub depthwise: unsafe fn(&Strip<'_>, &mut Sink<'_>),
    /// 3x3 windows in tiles, where words are multiplied as fast as bytes.
    pub winograd: Option<Winograd>,
}

impl Kernels {
    /// Bytes of an activation as the dense kernel reads it.
    pub(super) fn bytes(&self) -> usize {
        if self.widen.is_some() { 2 } else { 1 }
    }

    /// Activations as the dense kernel reads them.
    ///
    /// # Panics
    ///
    /// If there is not room for all.
    #[inline(always)]
    pub(super) fn put(&self, from: &[[u8; SLACK]], to: &mut [u8]) {
        assert!(to.len() >= self.bytes() * SLACK * from.len(), "room for activations");
        match self.widen {
            // SAFETY: a table is reached only through a `Conv`, which exists only if the processor has the instruction set.
            Some(widen) => unsafe { widen(from, to) },
            // Blocks of one length are an instruction or two each.
            None => to.as_chunks_mut().0.iter_mut().zip(from).for_each(|(to, from)| *to = *from),
        }
    }

    /// Runs the dense kernel.
    pub(super) fn dense(&self, strip: &Strip<'_>, sink: &mut Sink<'_>) {
        // SAFETY: as above.
        unsafe { (self.dense)(strip, sink) }
    }

    /// Runs the depthwise kernel.
    pub(super) fn depthwise(&self, strip: &Strip<'_>, sink: &mut Sink<'_>) {
        // SAFETY: as above.
        unsafe { (self.depthwise)(strip, sink) }
    }
}

/// Neighbouring output pixels of one row.
pub(super) struct Strip<'a> {
    segments: &'a [&'a [u8]],
    bytes: usize,
    step: usize,
    pixels: usize,
    packed: &'a Packed,
    outputs: usize,
}

impl<'a> Strip<'a> {
    /// `pixels` windows of `segments.len() * bytes` bytes, each `step` bytes after the one before in each segment.
    ///
    /// # Panics
    ///
    /// If there are no pixels or more than [`STRIP`], or a segment is shorter than the last one needs.
    pub(super) fn new(
        segments: &'a [&'a [u8]],
        bytes: usize,
        step: usize,
        pixels: usize,
        packed: &'a Packed,
        outputs: usize,
    ) -> Self {
        assert!((1..=STRIP).contains(&pixels), "a strip of {pixels} pixels");
        let needed = (pixels - 1) * step + bytes;
        assert!(segments.iter().all(|s| s.len() >= needed), "a segment is too short");
        Self { segments, bytes, step, pixels, packed, outputs }
    }
}

impl Strip<'_> {
    /// Checks what dense kernels read of the weights: `widened` is 2 where an activation has two bytes.
    #[inline(always)]
    fn check_dense(&self, lanes: usize, unit: usize, widened: usize) {
        let panels = self.outputs.div_ceil(lanes);
        assert_eq!(self.bytes % (unit * widened), 0, "segments are whole units");
        assert_eq!(self.segments.len() * self.bytes, self.packed.window * widened, "segments are the window");
        assert!(self.packed.weights.len() >= panels * lanes * self.packed.window, "weights are too few");
        assert!(self.packed.bias.len() >= panels * lanes, "biases are too few");
    }

    /// Checks what depthwise kernels read of the weights.
    #[inline(always)]
    fn check_depthwise(&self, lanes: usize) {
        assert_eq!(self.bytes, self.outputs, "segments are all channels");
        assert!(self.packed.weights.len() >= self.segments.len() * self.outputs, "weights are too few");
        assert!(self.packed.bias.len() >= self.outputs.next_multiple_of(lanes), "biases are too few");
    }
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
impl Strip<'_> {
    /// Channels at which blocks of `lanes` begin. The last block overlaps the one before rather than being incomplete:
    /// results that are written twice are the same. Nothing where there are fewer channels than one block.
    #[inline(always)]
    fn blocks(&self, lanes: usize) -> impl Iterator<Item = usize> {
        let last = self.outputs.checked_sub(lanes);
        (0..self.outputs).step_by(lanes).filter_map(move |channel| last.map(|last| channel.min(last)))
    }

    /// Addresses of `channel` of the first pixel in each of `T` taps, which there must be.
    #[inline(always)]
    fn taps<const T: usize>(&self, channel: usize) -> [*const u8; T] {
        let mut taps = [std::ptr::null(); T];
        for (to, segment) in taps.iter_mut().zip(&self.segments[..T]) {
            *to = segment[channel..].as_ptr();
        }
        taps
    }

    /// Addresses in a segment of the pixels of the tile that begins at `pixel`, at their `offsets`.
    #[inline(always)]
    fn addresses<const M: usize>(&self, segment: &[u8], pixel: usize, offsets: &[usize; M]) -> [*const u8; M] {
        let first = segment.as_ptr().wrapping_add(pixel * self.step);
        let mut addresses = [first; M];
        for m in 0..M {
            addresses[m] = first.wrapping_add(offsets[m]);
        }
        addresses
    }

    /// Bytes from the first pixel of a tile to each of its pixels; pixels after the last one repeat it.
    #[inline(always)]
    fn offsets<const M: usize>(&self, pixel: usize) -> [usize; M] {
        let last = self.pixels - 1 - pixel;
        std::array::from_fn(|i| i.min(last) * self.step)
    }
}

/// Makes the function `finish` of a kernel module from its functions on vectors of `LANES` channels:
///
/// - `load(&[f32]) -> V` and `array(V) -> [f32; LANES]`,
/// - `real(&[i32; LANES], scale: V, bias: V) -> V`,
/// - `min(V, V) -> V`,
/// - `quantise(&[[i32; LANES]; TOGETHER], scale: V, Clamp) -> [[u8; LANES]; TOGETHER]`.
///
/// A function of its own for each instruction set, where the results have all registers; compilers that vectorise plain
/// loops inside kernels sometimes leave a call to code without the kernel's instructions.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! finish_with {
    ($features:literal) => {
        /// Writes accumulators of some pixels from `pixel` on and a vector of channels from `channel` on.
        #[target_feature(enable = $features)]
        #[inline(never)]
        pub(super) fn finish(sums: &[[i32; LANES]], sink: &mut Sink<'_>, pixel: usize, channel: usize, outputs: usize) {
            let left = outputs - channel;
            match sink {
                Sink::Quantised { y, pitch, scale, clamp } => {
                    let (scale, clamp) = (load(&scale[channel..]), *clamp);
                    let y = &mut y[pixel * *pitch + channel..][..(sums.len() - 1) * *pitch + LANES.min(left)];
                    if left >= LANES {
                        let mut to = y.as_mut_ptr();
                        let mut put = |bytes| {
                            // SAFETY: `y` has a vector after each pitch; what is after the last one is not written.
                            unsafe { to.cast::<[u8; LANES]>().write_unaligned(bytes) };
                            to = to.wrapping_add(*pitch);
                        };
                        let (whole, rest) = sums.as_chunks();
                        for sums in whole {
                            for bytes in quantise(sums, scale, clamp) {
                                put(bytes);
                            }
                        }
                        if !rest.is_empty() {
                            for bytes in &quantise(&padded(rest), scale, clamp)[..rest.len()] {
                                put(*bytes);
                            }
                        }
                    } else {
                        for (y, sums) in y.chunks_mut(*pitch).zip(sums) {
                            let [bytes, ..] = quantise(&padded(&[*sums]), scale, clamp);
                            y[..left].copy_from_slice(&bytes[..left]);
                        }
                    }
                }
                Sink::Real { y, pitch, scale, bias } => {
                    let (scale, bias) = (load(&scale[channel..]), load(&bias[channel..]));
                    let y = &mut y[pixel * *pitch + channel..][..(sums.len() - 1) * *pitch + LANES.min(left)];
                    if left >= LANES {
                        let mut to = y.as_mut_ptr();
                        for sums in sums {
                            // SAFETY: `y` has a vector after each pitch; what is after the last one is not written.
                            unsafe { to.cast::<[f32; LANES]>().write_unaligned(array(real(sums, scale, bias))) };
                            to = to.wrapping_add(*pitch);
                        }
                    } else {
                        for (y, sums) in y.chunks_mut(*pitch).zip(sums) {
                            y[..left].copy_from_slice(&array(real(sums, scale, bias))[..left]);
                        }
                    }
                }
                Sink::Min { minima: lanes, scale, bias } => {
                    let (scale, bias) = (load(&scale[channel..]), load(&bias[channel..]));
                    let lanes = lanes[pixel * LANES..].chunks_exact_mut(LANES);
                    for (lanes, sums) in lanes.zip(sums) {
                        lanes.copy_from_slice(&array(min(real(sums, scale, bias), load(lanes))));
                    }
                }
            }
        }

        /// Fewer pixels than are quantised together, and zeros.
        fn padded(sums: &[[i32; LANES]]) -> [[i32; LANES]; TOGETHER] {
            let mut padded = [[0; LANES]; TOGETHER];
            padded[..sums.len()].copy_from_slice(sums);
            padded
        }
    };
}
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use finish_with;
