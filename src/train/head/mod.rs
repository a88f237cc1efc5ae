//! The attention head: fitted on few known bad pictures with the deviation loss.
//!
//! ```text
//! x [B·N, C] ─ linear ─ relu ──┬──────────────────────────── + ─ linear ─ relu ── linear ─► map [B, N]
//!                              └ mean 2x2 ─ self-attention ─ γ·repeat ┘
//! ```
//!
//! A 1x1 convolution is a linear layer over cells, so everything is a matrix product with cells as rows, the four cells
//! of every 2x2 block in four planes. The image's score is the mean of the largest cells (DRA). Loss for images: the deviation loss of DevNet (Pang et al. 2019, eq. 6
//! and 7): `dev = (score - mean(r)) / std(r)`, `r` 5,000 draws of N(0, 1); `(1-y)|dev| + y·max(0, 5 - dev)`. Noise
//! pseudo-anomalies in feature space add a per-cell cross entropy, so that the head learns with no known bad at all
//! what "not like the good ones" means, and where.

mod cells;
mod fit;
mod net;
mod ops;
mod optimiser;
mod parameters;
mod refit;

pub use fit::FitOptions;
pub use parameters::{HIDDEN, Head, KEY, LEAK, Linear, TOP_SHARE, top_cells};
pub use refit::Views;
