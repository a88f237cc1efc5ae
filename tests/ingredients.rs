//! Parts of the method earn their place: what each is there for fails without it.
//!
//! Pseudo-anomalies have their test beside the head, `overall` beside its code.

#![cfg(feature = "teach")]

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use zoomgate::frame::Frame;
use zoomgate::inspect::Inspect as _;
use zoomgate::inspect::model::Model;
use zoomgate::nn::backbone::Backbone;
use zoomgate::teach::ingredients::Ingredients;
use zoomgate::teach::metrics::auroc;
use zoomgate::teach::{Options, Picture, Silent, teach};

/// Side of the square pictures, pixels.
const SIDE: u32 = 160;

/// A brushed plate: streaks along x, a little grain, never twice the same.
fn plate(seed: u64) -> (Vec<f32>, ChaCha8Rng) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut pixels = Vec::new();
    let mut streak = 0.0f32;
    for y in 0..SIDE {
        streak = 0.7 * streak + rng.random_range(-6.0..6.0);
        for x in 0..SIDE {
            let slope = 20.0 * (x as f32 / SIDE as f32 - 0.5) + 10.0 * (y as f32 / SIDE as f32 - 0.5);
            pixels.push(120.0 + streak + slope + rng.random_range(-5.0..5.0));
        }
    }
    (pixels, rng)
}

/// Adds a smooth spot of `radius` pixels and `depth` at `(x, y)`.
fn spot(pixels: &mut [f32], (cx, cy): (f32, f32), radius: f32, depth: f32) {
    for y in 0..SIDE {
        for x in 0..SIDE {
            let d = ((x as f32 - cx).powi(2) + (y as f32 - cy).powi(2)).sqrt() / radius;
            pixels[(y * SIDE + x) as usize] += depth * (1.0 - d).clamp(0.0, 1.0).sqrt();
        }
    }
}

fn picture(pixels: &[f32]) -> Frame {
    Frame::still(SIDE, SIDE, pixels.iter().flat_map(|&v| [v.round().clamp(0.0, 255.0) as u8; 3]).collect::<Vec<u8>>())
}

fn good(seed: u64) -> Frame {
    picture(&plate(seed).0)
}

fn spotted(seed: u64, radius: f32, depth: f32) -> Frame {
    let (mut pixels, mut rng) = plate(seed);
    let mut at = || rng.random_range(20.0..SIDE as f32 - 20.0);
    let at = (at(), at());
    spot(&mut pixels, at, radius, depth);
    picture(&pixels)
}

fn taught(good: &[Frame], bad: &[Frame], ingredients: Ingredients) -> Model {
    let pictures = |frames: &[Frame], kind: &str| -> Vec<Picture> {
        frames.iter().enumerate().map(|(i, f)| Picture::memory(f.clone(), format!("{kind}/{i}"))).collect()
    };
    let options = Options { size: 96, prototypes: 32, steps: 60, ingredients, ..Options::default() };
    let backbone = Backbone::bundled().unwrap();
    let taught = teach(&pictures(good, "good"), &pictures(bad, "bad"), &backbone, &options, &Silent).unwrap();
    Model::from_bytes(&taught.bytes, "the recipe just taught").unwrap()
}

fn many(count: u64, from: u64, of: impl Fn(u64) -> Frame) -> Vec<Frame> {
    (from..from + count).map(of).collect()
}

/// How well a recipe tells 24 plates with such a spot from 24 good ones, none of them taught: image AUROC.
fn separates(model: &Model, radius: f32, depth: f32) -> f64 {
    let mut inspector = model.inspector().unwrap();
    let mut scores =
        |frames: Vec<Frame>| -> Vec<f32> { frames.iter().map(|f| inspector.inspect(f).unwrap().score.0).collect() };
    let goods = scores(many(24, 1000, good));
    auroc(&goods, &scores(many(24, 3000, |s| spotted(s, radius, depth)))).unwrap()
}

/// A lesson of 30 good plates and 6 with such a spot, without one ingredient or with all of them.
fn lesson(radius: f32, depth: f32, without: Option<&str>) -> Model {
    let all = Ingredients::default();
    let ingredients = without.map_or(all, |part| all.without(part).unwrap());
    taught(&many(30, 0, good), &many(6, 2000, |s| spotted(s, radius, depth)), ingredients)
}

/// Wide and faint: less than the streaks vary.
const FAINT: (f32, f32) = (9.0, -12.0);

fn faint_without(part: &str) -> f64 {
    separates(&lesson(FAINT.0, FAINT.1, Some(part)), FAINT.0, FAINT.1)
}

#[test]
fn a_faint_defect_is_learnt_and_not_without_the_deviation_loss_or_cutmix_or_one_light() {
    let all = separates(&lesson(FAINT.0, FAINT.1, None), FAINT.0, FAINT.1);
    assert!(all > 0.95, "with everything {all}");
    for part in ["deviation", "cutmix", "light"] {
        let rest = faint_without(part);
        assert!(rest < all - 0.1, "without {part} {rest}, with everything {all}");
    }
}

#[test]
fn a_defect_of_two_pixels_takes_the_zoom() {
    let (radius, depth) = (1.5, -40.0);
    let model = lesson(radius, depth, None);
    let all = separates(&model, radius, depth);
    let rest = separates(&lesson(radius, depth, Some("zoom")), radius, depth);
    assert!(rest < all - 0.1, "without the zoom {rest}, with it {all}");
}
