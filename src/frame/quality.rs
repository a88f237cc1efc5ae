//! How sharp and how well exposed a frame is: for a person who aims a camera, never for a verdict.
//!
//! Sharpness is Tenengrad, the energy of the Sobel gradient (Tenenbaum 1970; Krotkov, "Focusing", International Journal
//! of Computer Vision 1, 1988; among the steadier ones of the 36 that Pertuz, Puig and Garcia compare, "Analysis of
//! focus measure operators for shape-from-focus", Pattern Recognition 46, 2013). Taken as a root and over the mean
//! brightness, so that it is a length and twice the light does not look like better focus:
//!
//! ```text
//! sharpness = 100 · sqrt(mean(Gx² + Gy²)) / (8 · mean grey)      per cent of the brightness a pixel
//! ```
//!
//! It compares pictures of one scene: a part with more edges is "sharper", and so is noise. Find the peak by turning the
//! lens to and fro; no absolute value is good.

use super::{Frame, grey};

/// A channel at or above this is clipped: no camera's noise reaches from there to the end of the range and back.
const BRIGHT: u8 = 254;
/// A pixel none of whose channels is above this is black.
const DARK: u8 = 1;
/// The share of clipped pixels from which a picture is too bright. Chosen: a glint on a bolt is less, a face of a part
/// is more.
const BRIGHT_SHARE_MAX: f32 = 0.01;
/// The brightest hundredth of a picture that is not too dark reaches this grey. Chosen: a third of the range; below it
/// fewer than 7 of 8 bits are used and noise weighs twice as much.
const BRIGHTEST_MIN: u8 = 85;

/// What can be said of one frame.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Quality {
    /// See the module's formula; 0 for a black or uniform frame.
    pub sharpness: f32,
    /// Mean grey level, 0..=255.
    pub mean: f32,
    /// The grey level that a hundredth of the pixels reach, 0..=255.
    pub brightest: u8,
    /// The share of pixels with a channel at the end of the range, 0..=1.
    pub bright: f32,
    /// The share of black pixels, 0..=1.
    pub dark: f32,
}

/// What to do about the light.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// Nothing.
    Good,
    /// Less of it, or a shorter exposure.
    TooBright,
    /// More of it, or a longer exposure.
    TooDark,
}

impl Exposure {
    /// The stable word of `--json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::TooBright => "too_bright",
            Self::TooDark => "too_dark",
        }
    }
}

impl Quality {
    /// Measures a frame. Cost: two passes over it and one allocation of a byte a pixel; some 10 ms at two megapixels.
    pub fn of(frame: &Frame) -> Self {
        let mut histogram = [0_u32; 256];
        let (mut bright, mut dark) = (0_u32, 0_u32);
        let grey: Vec<u8> = frame
            .rgb
            .as_chunks()
            .0
            .iter()
            .map(|&p: &[u8; 3]| {
                let most = p[0].max(p[1]).max(p[2]);
                bright += u32::from(most >= BRIGHT);
                dark += u32::from(most <= DARK);
                let grey = grey(p);
                histogram[usize::from(grey)] += 1;
                grey
            })
            .collect();
        if grey.is_empty() {
            return Self::default();
        }
        let pixels = grey.len() as f64;
        let mean = (0_u64..).zip(histogram).map(|(level, n)| level * u64::from(n)).sum::<u64>() as f64 / pixels;
        let gradient = gradient_rms(&grey, frame.width as usize);
        let share = |count: u32| (f64::from(count) / pixels) as f32;
        Self {
            sharpness: if mean > 0.0 { (100.0 * gradient / mean) as f32 } else { 0.0 },
            mean: mean as f32,
            brightest: brightest_hundredth(&histogram, grey.len()),
            bright: share(bright),
            dark: share(dark),
        }
    }

    /// What to do about the light.
    pub fn exposure(&self) -> Exposure {
        match self {
            q if q.bright > BRIGHT_SHARE_MAX => Exposure::TooBright,
            q if q.brightest < BRIGHTEST_MIN => Exposure::TooDark,
            _ => Exposure::Good,
        }
    }
}

/// The root of the mean squared Sobel gradient over all pixels that have eight neighbours, in grey levels a pixel.
fn gradient_rms(grey: &[u8], width: usize) -> f64 {
    let rows: Vec<&[u8]> = grey.chunks_exact(width).collect();
    let (mut energy, mut count) = (0_u64, 0_u64);
    for row in rows.windows(3) {
        let sides = row[0].windows(3).zip(row[1].windows(3)).zip(row[2].windows(3));
        for ((a, b), c) in sides {
            let [a, b, c] = [a, b, c].map(|w| [i32::from(w[0]), i32::from(w[1]), i32::from(w[2])]);
            let x = (a[2] + 2 * b[2] + c[2]) - (a[0] + 2 * b[0] + c[0]);
            let y = (c[0] + 2 * c[1] + c[2]) - (a[0] + 2 * a[1] + a[2]);
            energy += (x * x + y * y) as u64;
            count += 1;
        }
    }
    // The kernel's weights differ by 8 for a slope of one grey level a pixel.
    if count == 0 { 0.0 } else { (energy as f64 / count as f64).sqrt() / 8.0 }
}

fn brightest_hundredth(histogram: &[u32; 256], pixels: usize) -> u8 {
    let wanted = pixels.div_ceil(100) as u64;
    let mut reached = 0;
    for level in (0..=u8::MAX).rev() {
        reached += u64::from(histogram[usize::from(level)]);
        if reached >= wanted {
            return level;
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(width: u32, height: u32, grey: impl Fn(u32, u32) -> u8) -> Frame {
        let rgb: Vec<u8> = (0..width * height).flat_map(|p| [grey(p % width, p / width); 3]).collect();
        Frame::still(width, height, rgb)
    }

    /// A step from 50 to 150 that is spread over `blur` pixels.
    fn edge(blur: u32, light: f32) -> Frame {
        frame(64, 16, |x, _| {
            let along = ((x as f32 - 32.0) / blur as f32 + 0.5).clamp(0.0, 1.0);
            ((50.0 + 100.0 * along) * light) as u8
        })
    }

    #[test]
    fn a_slope_has_the_sharpness_of_the_formula() {
        // One grey level a pixel, mean 31.5.
        let slope = Quality::of(&frame(64, 16, |x, _| x as u8));
        assert!((slope.sharpness - 100.0 / 31.5).abs() < 1e-4, "{slope:?}");
        let upright = Quality::of(&frame(16, 64, |_, y| y as u8));
        assert_eq!(slope, upright);
        assert_eq!(Quality::of(&frame(64, 16, |_, _| 90)).sharpness, 0.0);
    }

    #[test]
    fn focus_counts_and_light_does_not() {
        let sharp: Vec<f32> = [2, 4, 8, 16].iter().map(|blur| Quality::of(&edge(*blur, 1.0)).sharpness).collect();
        assert!(sharp.windows(2).all(|w| w[0] > 1.2 * w[1]), "{sharp:?}");
        let (day, dusk) = (Quality::of(&edge(4, 1.0)).sharpness, Quality::of(&edge(4, 0.5)).sharpness);
        assert!((day / dusk - 1.0).abs() < 0.05, "{day} {dusk}");
    }

    #[test]
    fn exposure_is_judged_by_what_is_clipped_and_by_what_is_used() {
        // `bright` of 1000 pixels are clipped, the others have this grey.
        let judged = |bright: u32, grey: u8| {
            let quality = Quality::of(&frame(100, 10, |x, y| if y * 100 + x < bright { 255 } else { grey }));
            (quality.exposure(), (quality.bright * 1000.0).round() as u32, (quality.dark * 1000.0).round() as u32)
        };
        assert_eq!(judged(0, 120), (Exposure::Good, 0, 0));
        assert_eq!(judged(10, 120), (Exposure::Good, 10, 0), "a glint");
        assert_eq!(judged(11, 120), (Exposure::TooBright, 11, 0));
        assert_eq!(judged(9, 60), (Exposure::TooDark, 9, 0), "a glint in the dark");
        assert_eq!(judged(0, 0), (Exposure::TooDark, 0, 1000));
        // One channel at its end is clipped, whatever the grey.
        let red = Frame::still(10, 10, [255, 0, 0].repeat(100));
        assert_eq!(Quality::of(&red).exposure(), Exposure::TooBright);
    }

    #[test]
    fn frames_too_small_to_have_neighbours_are_not_sharp() {
        for (width, height) in [(1, 1), (2, 9), (9, 2)] {
            assert_eq!(Quality::of(&frame(width, height, |x, _| x as u8 * 9)).sharpness, 0.0);
        }
    }
}
