//! The inference engine: ONNX graphs in, runnable plans out. Only `nn/` imports tract.

pub mod backbone;
mod check;
mod fusion;
pub mod int8;
pub mod onnx;
pub mod plan;
pub mod pool;
mod qoperator;
mod region;
pub mod surgery;

pub use tract_onnx::pb::ModelProto;
