//! One loop, compiled for each instruction set.

use super::colour::{Matrix, PAIRS, PIXELS};
use super::resample::{Columns, Rows};
use super::warp::Stretch;

/// A loop over pixels with its arguments. `run` and all that it calls have to be `#[inline(always)]`: what is not inlined
/// is compiled for the least of the processors.
pub(super) trait Kernel {
    /// What the loop gives.
    type Out;
    /// Runs it.
    fn run<I: PixelIsa>(self, isa: I) -> Self::Out;
}

/// What an instruction set may do otherwise than by the same loop. A value of one proves that the processor has it.
pub(super) trait PixelIsa: Copy {
    /// Red, green and blue of pairs of pixels; see [`Matrix::planes`], which says what it gives.
    #[inline(always)]
    fn yuv(self, matrix: &Matrix, words: &[u32; PAIRS]) -> [[u8; PIXELS]; 3] {
        matrix.planes(words)
    }

    /// Weighs rows and writes a line; see [`Rows::weigh`], which says what it gives.
    #[inline(always)]
    fn rows(self, rows: &Rows<'_>, line: &mut [i16]) {
        rows.weigh(line);
    }

    /// Weighs the pixels of `line` and writes one line of each plane; see [`Columns::weigh`], which says what it gives.
    #[inline(always)]
    fn columns(self, columns: &Columns, line: &[i16], planes: [&mut [u8]; 3]) {
        columns.weigh(line, planes);
    }

    /// Fills pixels of a moved picture; see [`Stretch::fill`], which says what it gives.
    #[inline(always)]
    fn moved(self, stretch: Stretch<'_>, to: &mut [[u8; 3]]) {
        stretch.fill(to);
    }
}

/// Every processor.
#[cfg_attr(target_arch = "aarch64", cfg_attr(not(test), allow(dead_code, reason = "aarch64 has NEON")))]
#[derive(Clone, Copy)]
pub(super) struct Portable;

impl PixelIsa for Portable {}

/// Runs a loop as it was compiled for the best instruction set that this processor has.
#[inline]
pub(super) fn dispatch<K: Kernel>(kernel: K) -> K::Out {
    #[cfg(test)]
    if IS_PORTABLE.get() {
        return kernel.run(Portable);
    }
    #[cfg(target_arch = "x86_64")]
    if let Some(avx2) = super::avx2::Avx2::detect() {
        return avx2.dispatch(kernel);
    }
    #[cfg(target_arch = "aarch64")]
    return kernel.run(super::neon::Neon);
    #[cfg(not(target_arch = "aarch64"))]
    kernel.run(Portable)
}

/// A loop over numbers that are no pixels, which every instruction set has the same of. `run` and all that it calls have to
/// be `#[inline(always)]`.
pub trait Loop {
    /// What the loop gives.
    type Out;
    /// Runs it.
    fn run(self) -> Self::Out;
}

struct Same<L>(L);

impl<L: Loop> Kernel for Same<L> {
    type Out = L::Out;

    #[inline(always)]
    fn run<I: PixelIsa>(self, _: I) -> L::Out {
        self.0.run()
    }
}

/// Runs a loop as it was compiled for the best instruction set that this processor has.
#[inline]
pub fn vectorised<L: Loop>(what: L) -> L::Out {
    dispatch(Same(what))
}

#[cfg(test)]
thread_local! {
    static IS_PORTABLE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Runs `what` with the loops that every processor has, whatever this one has.
#[cfg(test)]
pub(crate) fn portably<T>(what: impl FnOnce() -> T) -> T {
    IS_PORTABLE.set(true);
    let out = what();
    IS_PORTABLE.set(false);
    out
}
