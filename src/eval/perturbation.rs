//! Pictures as another day would have given them: other light, other focus, another place, noise, compression.
//!
//! Pure and the same for a seed. How much is what a line that nobody readjusts may come to; the noise and the radius of
//! the defocus are chosen: no plant told us its own.

use std::path::Path;

use rand::{Rng as _, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest as _, Sha256};

use crate::error::Result;
use crate::frame::motion::{Motion, warped};
use crate::frame::{Frame, picture};
use crate::train::filters::{defocus, each_value, noise};

/// One way in which a picture can differ from those that were taught.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Perturbation {
    /// Every value times this; clipped.
    Brightness(f64),
    /// Every value v of 0..1 becomes v to this power.
    Gamma(f64),
    /// A disc of this radius, as a share of the shorter side (at least one pixel).
    Defocus(f64),
    /// The part lies elsewhere by this share of the sides, right or left, down or up; the edges are mirrored.
    Shift(f64),
    /// The part lies turned about the middle by this many degrees, to one side or the other.
    Rotation(f64),
    /// Gaussian noise of each pixel; its variance is `READ + SHOT * v` for a grey level of v.
    Noise,
    /// Compressed as a JPEG of this quality and decoded again.
    Jpeg(u8),
    /// A little of everything that happens from one part to the next: up to this share of shift on each axis, as many
    /// times 100 degrees, 5 times as much brightness, and the noise.
    Jitter(f64),
}

/// Variance of the noise in the dark, grey levels squared.
const READ: f64 = 4.0;
/// Its growth with the light: 4 grey levels at 128, as from an 8-bit camera with a gain of a few decibels.
const SHOT: f64 = 0.1;

impl Perturbation {
    /// All that a trial asks for.
    pub const ALL: [Self; 10] = [
        Self::Brightness(0.7),
        Self::Brightness(1.3),
        Self::Gamma(0.7),
        Self::Gamma(1.4),
        Self::Defocus(0.004),
        Self::Shift(0.02),
        Self::Rotation(3.0),
        Self::Noise,
        Self::Jpeg(60),
        Self::Jitter(0.01),
    ];

    /// A few words for tables and JSON.
    pub fn name(&self) -> String {
        let percent = |share: f64| format!("{:+.0} %", 100.0 * share);
        match *self {
            Self::Brightness(factor) => format!("brightness {}", percent(factor - 1.0)),
            Self::Gamma(power) => format!("gamma {power}"),
            Self::Defocus(_) => "defocus".to_owned(),
            Self::Shift(share) => format!("shift {:.0} %", 100.0 * share),
            Self::Rotation(degrees) => format!("rotation {degrees:.0} degrees"),
            Self::Noise => "sensor noise".to_owned(),
            Self::Jpeg(quality) => format!("JPEG {quality}"),
            Self::Jitter(_) => "jitter".to_owned(),
        }
    }

    /// The picture so changed, and how what it shows moved; `name` and `seed` decide what is left to chance.
    ///
    /// # Errors
    /// When JPEG cannot be written, which is a defect of this program.
    pub fn apply(&self, frame: &Frame, name: &str, seed: u64) -> Result<(Frame, Motion)> {
        let mut rng = rng(&self.name(), name, seed);
        let mut sign = || if rng.random::<bool>() { 1.0 } else { -1.0 };
        let (width, height) = (f64::from(frame.width), f64::from(frame.height));
        let moved = match *self {
            Self::Brightness(factor) => return Ok((each_value(frame, |v| v * factor), Motion::NONE)),
            Self::Gamma(power) => {
                return Ok((each_value(frame, |v| 255.0 * (v / 255.0).powf(power)), Motion::NONE));
            }
            Self::Defocus(share) => {
                return Ok((defocus(frame, (share * width.min(height)).max(1.0)), Motion::NONE));
            }
            Self::Noise => return Ok((sensor(frame, &mut rng), Motion::NONE)),
            Self::Jpeg(quality) => {
                let jpeg = picture::jpeg(frame, quality)?;
                return Ok((picture::decode(&jpeg, Path::new(name))?, Motion::NONE));
            }
            Self::Shift(share) => {
                Motion { dx: (sign() * share * width).round(), dy: (sign() * share * height).round(), degrees: 0.0 }
            }
            Self::Rotation(degrees) => Motion { dx: 0.0, dy: 0.0, degrees: sign() * degrees },
            Self::Jitter(share) => {
                let mut upto = |most: f64| (2.0 * rng.random::<f64>() - 1.0) * most;
                let (dx, dy) = (upto(share * width).round(), upto(share * height).round());
                let (degrees, light) = (upto(100.0 * share), 1.0 + upto(5.0 * share));
                let moved = Motion { dx, dy, degrees };
                let lit = each_value(&warped(frame, &moved), |v| v * light);
                return Ok((sensor(&lit, &mut rng), moved));
            }
        };
        Ok((warped(frame, &moved), moved))
    }
}

/// A generator of its own for each perturbation of each picture, whatever the order and the threads.
fn rng(perturbation: &str, name: &str, seed: u64) -> ChaCha8Rng {
    let mut hash = Sha256::new();
    for part in [perturbation.as_bytes(), &[0], name.as_bytes(), &seed.to_le_bytes()] {
        hash.update(part);
    }
    ChaCha8Rng::from_seed(hash.finalize().into())
}

/// The noise of a camera.
fn sensor(frame: &Frame, rng: &mut ChaCha8Rng) -> Frame {
    noise(frame, |v| READ + SHOT * v, rng)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::geometry::Roi;

    fn grey(width: u32, height: u32, value: impl Fn(u32, u32) -> u8) -> Frame {
        let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        Frame::still(width, height, pixels.flat_map(|(x, y)| [value(x, y); 3]).collect::<Vec<u8>>())
    }

    fn mean(frame: &Frame) -> f64 {
        frame.rgb.iter().map(|&v| f64::from(v)).sum::<f64>() / frame.rgb.len() as f64
    }

    fn apply(p: Perturbation, frame: &Frame) -> (Frame, Motion) {
        p.apply(frame, "test/dent/1.png", 0).unwrap()
    }

    #[test]
    fn brightness_scales_the_mean_and_gamma_keeps_black_and_white() {
        let frame = grey(40, 30, |x, y| (60 + x + y) as u8);
        for factor in [0.7, 1.3] {
            let (changed, moved) = apply(Perturbation::Brightness(factor), &frame);
            assert!((mean(&changed) / mean(&frame) - factor).abs() < 0.005, "{factor}");
            assert_eq!(moved, Motion::NONE);
        }
        let ends = grey(3, 1, |x, _| [0, 128, 255][x as usize]);
        let (bent, _) = apply(Perturbation::Gamma(0.7), &ends);
        assert_eq!((bent.rgb[0], bent.rgb[6]), (0, 255));
        assert_eq!(f64::from(bent.rgb[3]), (255.0 * (128.0f64 / 255.0).powf(0.7)).round());
    }

    #[test]
    fn a_shift_moves_every_pixel_by_two_per_cent_and_the_box_with_it() {
        let frame = grey(100, 50, |x, y| if (x, y) == (40, 20) { 255 } else { 10 });
        let (shifted, moved) = apply(Perturbation::Shift(0.02), &frame);
        assert_eq!((moved.dx.abs(), moved.dy.abs(), moved.degrees), (2.0, 1.0, 0.0));
        let at = shifted.rgb.iter().position(|&v| v == 255).unwrap() as i64 / 3;
        assert_eq!((at % 100, at / 100), (40 + moved.dx as i64, 20 + moved.dy as i64));
        let followed = moved.follow(&Roi { x: 30, y: 10, width: 20, height: 20 }, 100, 50);
        assert_eq!((i64::from(followed.x), i64::from(followed.y)), (30 + moved.dx as i64, 10 + moved.dy as i64));
        assert_eq!((followed.width, followed.height), (20, 20));
    }

    #[test]
    fn a_rotation_turns_by_its_angle_and_keeps_the_middle() {
        let frame = grey(101, 101, |x, y| if x.abs_diff(90) < 2 && y.abs_diff(50) < 2 { 255 } else { 0 });
        let (turned, moved) = apply(Perturbation::Rotation(3.0), &frame);
        assert_eq!(moved.degrees.abs(), 3.0);
        let (mut sum, mut centre) = (0.0, (0.0, 0.0));
        for (i, pixel) in turned.rgb.chunks_exact(3).enumerate() {
            let v = f64::from(pixel[0]);
            sum += v;
            centre = (centre.0 + v * (i % 101) as f64, centre.1 + v * (i / 101) as f64);
        }
        let angle = (centre.1 / sum - 50.0).atan2(centre.0 / sum - 50.0).to_degrees();
        assert!((angle - moved.degrees).abs() < 0.3, "{angle} for {}", moved.degrees);
    }

    #[test]
    fn defocus_keeps_the_light_and_blunts_an_edge() {
        let frame = grey(60, 60, |x, _| if x < 30 { 50 } else { 200 });
        let (blurred, _) = apply(Perturbation::Defocus(0.05), &frame);
        assert!((mean(&blurred) - mean(&frame)).abs() < 1.0);
        let row = |x: usize| blurred.rgb[(30 * 60 + x) * 3];
        assert!(row(29) > 70 && row(30) < 180 && row(20) == 50 && row(40) == 200);
    }

    #[test]
    fn noise_has_its_deviation_and_keeps_a_grey_picture_grey() {
        let frame = grey(200, 200, |_, _| 128);
        let (noisy, _) = apply(Perturbation::Noise, &frame);
        let variance = noisy.rgb.iter().map(|&v| (f64::from(v) - 128.0).powi(2)).sum::<f64>() / noisy.rgb.len() as f64;
        let wanted = READ + SHOT * 128.0;
        assert!((variance / wanted - 1.0).abs() < 0.05, "{variance} for {wanted}");
        assert!(noisy.rgb.chunks_exact(3).all(|p| p[0] == p[1] && p[1] == p[2]));
        assert!((mean(&noisy) - 128.0).abs() < 0.2);
    }

    #[test]
    fn jpeg_changes_little_and_the_same_seed_gives_the_same_picture() {
        let frame = grey(64, 48, |x, y| (x * 3 + (y % 7) * 9) as u8);
        let (jpeg, _) = apply(Perturbation::Jpeg(60), &frame);
        let error = jpeg.rgb.iter().zip(frame.rgb.iter()).map(|(&a, &b)| f64::from(a.abs_diff(b))).sum::<f64>();
        let error = error / frame.rgb.len() as f64;
        assert!(error > 0.1 && error < 8.0, "{error}");
        for p in Perturbation::ALL {
            let one = |name, seed| p.apply(&frame, name, seed).unwrap();
            assert_eq!((one("a", 1).0.rgb, one("a", 1).1), (one("a", 1).0.rgb, one("a", 1).1), "{}", p.name());
            assert_ne!(one("a", 1).0.rgb, frame.rgb, "{} changes nothing", p.name());
        }
        let noise = |name, seed| Perturbation::Noise.apply(&frame, name, seed).unwrap().0.rgb;
        assert!(noise("a", 1) != noise("b", 1) && noise("a", 1) != noise("a", 2));
        let names: std::collections::HashSet<String> = Perturbation::ALL.iter().map(Perturbation::name).collect();
        assert_eq!(names.len(), Perturbation::ALL.len());
    }
}
