//! Loops over pixels: raw lines to RGB, resampling, pictures turned and shifted, sums and levels of a model's input.
//!
//! A loop is written once, in integers, and compiled once for each instruction set: the compiler makes vectors of blocks
//! of a constant size, and what it gives is the same bits on every processor. By hand stands only what it does not see:
//! how pixels that begin at any byte become vectors. `isa.rs` says how an instruction set's own code is put into a loop.
//!
//! x86-64 programs may use SSE2 only; one that finds AVX2 runs the loops that were compiled for it (`avx2.rs`). Every
//! aarch64 has NEON, for which the whole program is compiled (`neon.rs`).

pub mod colour;
pub mod input;
mod isa;
pub mod mosaic;
pub mod resample;
pub mod warp;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "aarch64")]
mod neon;

#[cfg(test)]
pub(crate) use isa::portably;
pub use isa::{Loop, vectorised};
#[cfg(test)]
mod tests;
