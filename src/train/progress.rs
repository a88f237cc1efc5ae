//! What a training run tells while it runs.

/// Hears how far a training run is.
pub trait Progress: Sync {
    /// A stage with `total` steps begins.
    fn stage(&self, name: &str, total: u64);
    /// One more step of the stage is done.
    fn tick(&self);
}

/// Tells nobody.
pub struct Silent;

impl Progress for Silent {
    fn stage(&self, _: &str, _: u64) {}
    fn tick(&self) {}
}
