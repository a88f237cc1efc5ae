//! What a camera does to a picture: other values, noise, defocus.

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use crate::frame::Frame;
use crate::frame::kernels::warp::mirrored;

fn to_byte(v: f64) -> u8 {
    v.round().clamp(0.0, 255.0) as u8
}

/// Every value of a frame changed alike; rounded and clipped.
pub fn each_value(frame: &Frame, value: impl Fn(f64) -> f64) -> Frame {
    let table: [u8; 256] = std::array::from_fn(|v| to_byte(value(v as f64)));
    let rgb: Vec<u8> = frame.rgb.iter().map(|&v| table[usize::from(v)]).collect();
    Frame::still(frame.width, frame.height, rgb)
}

/// Gaussian noise whose variance is this of a grey level.
pub fn noise(frame: &Frame, variance: impl Fn(f64) -> f64, rng: &mut ChaCha8Rng) -> Frame {
    // A grey camera has one value a pixel: its three channels must stay equal.
    let is_grey = frame.rgb.chunks_exact(3).all(|p| p[0] == p[1] && p[1] == p[2]);
    let noisy = |v: u8, normal: f64| to_byte(f64::from(v) + variance(f64::from(v)).sqrt() * normal);
    let mut rgb = Vec::with_capacity(frame.rgb.len());
    for pixel in frame.rgb.chunks_exact(3) {
        if is_grey {
            rgb.extend([noisy(pixel[0], normal(rng)); 3]);
        } else {
            rgb.extend(pixel.iter().map(|&v| noisy(v, normal(rng))));
        }
    }
    Frame::still(frame.width, frame.height, rgb)
}

/// A number from the standard normal law (Box and Muller).
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let (u, v): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// The mean over a disc, as a lens out of focus gives it.
pub fn defocus(frame: &Frame, radius: f64) -> Frame {
    let reach = radius.ceil() as i64;
    // A pixel counts by how much of it the disc covers, roughly: its distance to the rim, in pixels.
    let taps: Vec<(i64, i64, f64)> = (-reach..=reach)
        .flat_map(|y| (-reach..=reach).map(move |x| (x, y)))
        .map(|(x, y)| (x, y, (radius + 0.5 - ((x * x + y * y) as f64).sqrt()).clamp(0.0, 1.0)))
        .filter(|t| t.2 > 0.0)
        .collect();
    let total: f64 = taps.iter().map(|t| t.2).sum();
    let mut rgb = Vec::with_capacity(frame.rgb.len());
    for (y, x) in (0..i64::from(frame.height)).flat_map(|y| (0..i64::from(frame.width)).map(move |x| (y, x))) {
        let mut sum = [0.0; 3];
        for &(dx, dy, weight) in &taps {
            let at = (mirrored(y + dy, frame.height) * frame.width as usize + mirrored(x + dx, frame.width)) * 3;
            for (s, &v) in sum.iter_mut().zip(&frame.rgb[at..at + 3]) {
                *s += weight * f64::from(v);
            }
        }
        rgb.extend(sum.map(|s| to_byte(s / total)));
    }
    Frame::still(frame.width, frame.height, rgb)
}
