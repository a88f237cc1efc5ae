#[path = "../../src/nn/int8/mod.rs"]
pub mod int8;
