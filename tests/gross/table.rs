//! What a recipe makes of frames in which no part can be judged: the tables of `docs/EXPERIMENTS.md`.
//!
//! ```sh
//! cargo run --release --example gross -- RECIPE.onnx GOOD.png OTHER.png [SEED [DRAWN]]
//! ```
//!
//! A JSON line for each frame: what the frame's statistics say (`unseen`), and what the score says by itself (`score`,
//! `verdict`); at the end how many each of the two alone stops, and both.

#[path = "mod.rs"]
mod cases;

use std::path::Path;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use zoomgate::frame::picture;
use zoomgate::inspect::Inspect as _;
use zoomgate::inspect::model::Model;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [recipe, good, other, more @ ..] = &arguments[..] else {
        return Err("usage: gross RECIPE.onnx GOOD.png OTHER.png [SEED [DRAWN]]".into());
    };
    let number = |at: usize, usual: u64| more.get(at).map_or(Ok(usual), |text| text.parse());
    let (seed, drawn) = (number(0, 1)?, number(1, 0)?);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let model = Model::load(Path::new(recipe))?;
    let mut inspector = model.inspector()?;
    let (good, other) = (picture::load(Path::new(good))?, picture::load(Path::new(other))?);
    let mut cases = cases::reported(&good, &other, &mut rng);
    cases.extend((0..drawn).map(|_| cases::drawn(&good, &mut rng)));
    let (mut by_statistics, mut by_score, mut by_either) = (0, 0, 0);
    let threshold = model.recipe().threshold;
    for (name, frame) in &cases {
        let unseen = inspector.look(frame);
        let found = inspector.inspect(frame)?;
        let is_rejected = found.score.0 >= threshold;
        by_statistics += usize::from(unseen.is_some());
        by_score += usize::from(is_rejected);
        by_either += usize::from(unseen.is_some() || is_rejected);
        let unseen = unseen.map(|u| format!("{u:?}"));
        println!("{}", json!({ "case": name, "unseen": unseen, "score": found.score.0, "is_rejected": is_rejected }));
    }
    println!(
        "{}",
        json!({ "cases": cases.len(), "by_statistics": by_statistics, "by_score": by_score, "by_either": by_either })
    );
    Ok(())
}
