//! The replay memory: what a recipe keeps of its pictures, and how that is packed.

mod bounds;
mod gather;
mod header;
mod memory;
mod pack;

pub(super) use bounds::Features;
pub(super) use gather::gather;
pub(super) use header::Place;
pub use memory::BYTES_MAX;
pub(super) use memory::{ReplayMemory, rough};
