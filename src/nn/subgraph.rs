//! Int8 operators that feed each other, compiled for fixed shapes and run in one go on NHWC bytes.
//!
//! Tensors are transposed once on the way in and once on the way out (tract's are NCHW); between operators nothing is
//! converted, and buffers are shared by tensors that do not live at the same time.

mod compile;
mod fused;
mod run;
#[cfg(test)]
mod tests;
mod tract;

pub(super) use fused::FusedSubgraph;
pub(super) use tract::{NAME, replace};
