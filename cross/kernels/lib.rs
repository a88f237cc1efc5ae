//! `nn::int8` and `frame::kernels` of the product, compiled alone for their tests on emulated processors.
//!
//! Nothing here is code of its own. What the product uses of these modules, and nothing here does, is no fault.
#![allow(dead_code, unused_imports)]

mod frame;
mod nn;
