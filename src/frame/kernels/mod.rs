//! Loops over pixels: raw lines to RGB, resampling, sums and levels of a model's input.
//!
//! A loop is written once, in integers, and compiled once for each instruction set: the compiler makes vectors of blocks
//! of a constant size, and what it gives is the same bits on every processor. By hand stands only what it does not see:
//! the columns of a resampled picture, whose pixels begin at any byte (`avx2.rs`).
//!
//! x86-64 programs may use SSE2 only; one that finds AVX2 runs the loops that were compiled for it. Every aarch64 has
//! NEON, for which the whole program is compiled.

pub mod colour;
pub mod input;
mod isa;
pub mod mosaic;
pub mod resample;

#[cfg(target_arch = "x86_64")]
mod avx2;

#[cfg(test)]
pub(crate) use isa::portably;
#[cfg(test)]
mod tests;
