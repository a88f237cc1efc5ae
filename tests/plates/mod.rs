//! Brushed plates, never twice the same, with spots and scratches that are fainter than the streaks: for lessons whose
//! outcome is no matter of luck.

#![allow(dead_code, reason = "each test file uses its share")]

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use zoomgate::frame::Frame;

/// Side of the square pictures, pixels.
pub const SIDE: u32 = 160;

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

/// A plate without a defect.
pub fn good(seed: u64) -> Frame {
    picture(&plate(seed).0)
}

/// A plate with one spot, anywhere.
pub fn spotted(seed: u64, radius: f32, depth: f32) -> Frame {
    let (mut pixels, mut rng) = plate(seed);
    let mut at = || rng.random_range(20.0..SIDE as f32 - 20.0);
    let at = (at(), at());
    spot(&mut pixels, at, radius, depth);
    picture(&pixels)
}

/// A plate with a scratch 30 pixels long and 2 wide, anywhere, brighter by `height`.
pub fn scratched(seed: u64, height: f32) -> Frame {
    let (mut pixels, mut rng) = plate(seed);
    let (x, y) = (rng.random_range(20..SIDE - 50), rng.random_range(20..SIDE - 40));
    for (along, across) in (0..30).flat_map(|along| (0..2).map(move |across| (along, across))) {
        pixels[((y + across + along / 2) * SIDE + x + along) as usize] += height;
    }
    picture(&pixels)
}
