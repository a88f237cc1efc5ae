//! CutMix of located defects: what is known to be bad is cut out of its picture and blended onto good ones.
//!
//! Turns ten bad pictures into as many as the fit wants, at places and sizes where the defect was not yet seen
//! (CutMix: Yun et al. 2019; here with soft edges and only the located defect, since a rectangle of background taught
//! as bad is a lie).

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::frame::Frame;
use crate::frame::geometry::Roi;

/// Share of the patch's shorter side over which it fades into the good picture.
const FADE: f64 = 0.2;
/// The pasted defect's size against its own, at the picture's scale.
const SCALES: std::ops::Range<f64> = 0.7..1.3;

/// Pastes the `defect` of `bad` onto `good` at a random place, scaled by 0.7 to 1.3, flipped by chance; returns the
/// picture and where the defect is now.
///
/// Sizes may differ: the defect keeps its share of the picture. Where it fits, it lands within a third of the
/// picture's size of where it was, because parts lie in about the same place and background is no place for a defect.
pub fn paste(good: &Frame, bad: &Frame, defect: Roi, rng: &mut ChaCha8Rng) -> (Frame, Roi) {
    let scale = rng.random_range(SCALES);
    let (gw, gh) = (f64::from(good.width), f64::from(good.height));
    let (bw, bh) = (f64::from(bad.width), f64::from(bad.height));
    let size = |side: u32, good: f64, bad: f64| {
        (f64::from(side) * scale * good / bad).round().clamp(4.0f64.min(good), good) as u32
    };
    let (width, height) = (size(defect.width, gw, bw), size(defect.height, gh, bh));
    let place = |at: u32, side: u32, new: u32, good: f64, bad: f64, rng: &mut ChaCha8Rng| {
        let centre = (f64::from(at) + f64::from(side) / 2.0) / bad * good + rng.random_range(-0.33..0.33) * good;
        (centre - f64::from(new) / 2.0).round().clamp(0.0, good - f64::from(new)) as u32
    };
    let x = place(defect.x, defect.width, width, gw, bw, rng);
    let y = place(defect.y, defect.height, height, gh, bh, rng);
    let flips = [rng.random::<bool>(), rng.random::<bool>()];
    let fade = (f64::from(width.min(height)) * FADE).max(1.0);
    let mut rgb = good.rgb.to_vec();
    for dy in 0..height {
        for dx in 0..width {
            let edge = f64::from(dx.min(width - 1 - dx).min(dy).min(height - 1 - dy)) + 0.5;
            let alpha = (edge / fade).min(1.0) as f32;
            let along = |d: u32, new: u32, flip: bool| {
                let t = (f64::from(d) + 0.5) / f64::from(new);
                if flip { 1.0 - t } else { t }
            };
            let sx = f64::from(defect.x) + along(dx, width, flips[0]) * f64::from(defect.width) - 0.5;
            let sy = f64::from(defect.y) + along(dy, height, flips[1]) * f64::from(defect.height) - 0.5;
            let colour = bilinear(bad, sx, sy);
            let at = ((y + dy) as usize * good.width as usize + (x + dx) as usize) * 3;
            for (p, c) in rgb[at..at + 3].iter_mut().zip(colour) {
                *p = (f32::from(*p) + alpha * (c - f32::from(*p)) + 0.5) as u8;
            }
        }
    }
    (Frame::still(good.width, good.height, rgb), Roi { x, y, width, height })
}

fn bilinear(frame: &Frame, x: f64, y: f64) -> [f32; 3] {
    let (w, h) = (frame.width as usize, frame.height as usize);
    let (x, y) = (x.clamp(0.0, (w - 1) as f64), y.clamp(0.0, (h - 1) as f64));
    let (ix, iy) = (x as usize, y as usize);
    let (fx, fy) = ((x - ix as f64) as f32, (y - iy as f64) as f32);
    let px = |x: usize, y: usize, c: usize| f32::from(frame.rgb[(y.min(h - 1) * w + x.min(w - 1)) * 3 + c]);
    [0, 1, 2].map(|c| {
        let top = px(ix, iy, c) * (1.0 - fx) + px(ix + 1, iy, c) * fx;
        let bottom = px(ix, iy + 1, c) * (1.0 - fx) + px(ix + 1, iy + 1, c) * fx;
        top * (1.0 - fy) + bottom * fy
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn the_defect_lands_inside_and_nothing_else_changes() {
        let good = Frame::still(60, 40, vec![100; 60 * 40 * 3]);
        let bad = Frame::still(120, 80, vec![200; 120 * 80 * 3]);
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        for _ in 0..200 {
            let (out, roi) = paste(&good, &bad, Roi { x: 10, y: 60, width: 24, height: 18 }, &mut rng);
            assert!(roi.x + roi.width <= 60 && roi.y + roi.height <= 40, "{roi:?}");
            let mut changed = 0;
            for y in 0..40 {
                for x in 0..60 {
                    let inside = roi.contains(x, y);
                    let p = out.rgb[((y * 60 + x) * 3) as usize];
                    assert!(inside || p == 100);
                    changed += usize::from(p > 150);
                }
            }
            assert!(changed > 10, "the defect is hardly there: {changed} pixels of {roi:?}");
        }
    }
}
