//! A new kind of defect for a recipe that exists.

mod adaptation;
mod cutmix;
mod fresh;
mod old;
mod run;

pub use run::adapt;
