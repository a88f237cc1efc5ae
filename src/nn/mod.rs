//! The inference engine: ONNX graphs in, runnable plans out. Only `nn/` imports tract.

pub mod backbone;
pub mod onnx;
pub mod plan;

pub use tract_onnx::pb::ModelProto;
