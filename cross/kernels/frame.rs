#[path = "../../src/frame/geometry.rs"]
pub mod geometry;
#[path = "../../src/frame/kernels/mod.rs"]
pub mod kernels;
