//! The inference engine: ONNX graphs in, runnable plans out. Only `nn/` imports tract.

pub mod backbone;
mod integers;
pub mod onnx;
pub mod plan;
pub mod surgery;

pub use tract_onnx::pb::ModelProto;
