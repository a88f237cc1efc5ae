//! The inference engine: ONNX graphs in, execution plans out. Only `nn/` imports tract.
//!
//! ```text
//! file ─► check ─► qoperator (QDQ form) ─► fusion (finds ops in a graph_view) ─► subgraph (compiles and runs ops)
//!                                             └► everything else: tract                └► int8 (kernels), pool
//! ```

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
