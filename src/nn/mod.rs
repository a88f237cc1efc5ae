//! The inference engine: ONNX graphs in, runnable plans out. Only `nn/` imports tract.

mod attributes;
pub mod backbone;
mod check;
mod fusion;
mod graph_view;
pub mod int8;
mod nhwc;
pub mod onnx;
mod ops;
pub mod plan;
pub mod pool;
mod qoperator;
mod subgraph;
pub mod surgery;
mod tensor;

pub use tract_onnx::pb::ModelProto;
