//! Quantised convolutions on their integers: u8 activations, i8 weights, i32 accumulators, SIMD kernels for each board.
//!
//! ```text
//! x u8 NHWC ─► rows, padded with the zero point ─► strips of pixels ─► kernel ─► epilogue ─► y u8 | y f32
//! ```
//!
//! Accumulators are exact (wrapping i32, no saturating intermediate) and the epilogue is the same sequence of f32
//! operations everywhere, so every instruction set gives the same bits, which are onnxruntime's.
//!
//! Avx2 and Neon take 3x3 windows of enough channels in tiles (`winograd.rs`), with 16 multiplications instead of 36.
//!
//! Groups of channels are convolutions of their own in the same dense kernels; neighbouring groups run together as far as
//! they fill a vector of outputs. Weights that do not fit into a signed byte are sums of two or three, for which a kernel
//! walks the same bytes again.
//!
//! There is no im2col: a window's bytes are contiguous in each row of an NHWC image, so a kernel walks rows in place.
//! Only windows whose bytes do not fill whole units of the instruction set (the first layer's 27) are gathered, 32
//! pixels at a time.

#![deny(unsafe_code)]

mod conv;
mod epilogue;
mod isa;
mod kernels;
mod layout;
mod pack;
mod packed;
mod plain;
mod rows;
mod shape;
#[cfg(test)]
mod tests;
mod winograd;

pub use conv::{Conv, Scratch};
pub(in crate::nn) use epilogue::Clamp;
pub use epilogue::Out;
pub use isa::Isa;
pub(super) use kernels::pointwise;
pub(in crate::nn) use pack::parts;
pub use shape::{ConvError, ConvShape};
