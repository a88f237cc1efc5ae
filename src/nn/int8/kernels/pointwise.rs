//! Loops over bytes that a wider instruction set makes faster, and nothing else changes: the same Rust, compiled again.
//!
//! Results are the same bits: every operation is one that IEEE 754 defines, and none is contracted.

use super::super::epilogue::Clamp;
use super::super::isa::Isa;

/// Sums that are kept apart, so that they can be vectors: as many with every instruction set, so that they round alike.
const LANES: usize = 16;

/// Bytes whose sum is less than 2^16.
const BYTES_OF_A_WORD: usize = 257;

/// Squares of bytes whose sum is less than 2^32; 66,051 of them fit.
const SQUARES_OF_A_SUM: usize = 1 << 16;

/// What two stored numbers mean, and what is stored of their sum or product.
#[derive(Clone, Copy, Debug)]
pub(in crate::nn) struct BinaryParams {
    pub(in crate::nn) scales: [f32; 2],
    pub(in crate::nn) zeros: [f32; 2],
    pub(in crate::nn) y: f32,
    pub(in crate::nn) clamp: Clamp,
}

/// Floats that become bytes; negative ones are multiplied by `leak` first.
#[derive(Clone, Copy, Debug)]
pub(in crate::nn) struct Quantizing {
    pub(in crate::nn) scale: f32,
    pub(in crate::nn) leak: f32,
    pub(in crate::nn) clamp: Clamp,
}

/// From the mean of bytes around a zero point to steps of the result.
#[derive(Clone, Copy, Debug)]
pub(in crate::nn) struct Averaging {
    pub(in crate::nn) zero: u8,
    pub(in crate::nn) clamp: Clamp,
}

/// From four neighbours to steps of the result.
#[derive(Clone, Copy, Debug)]
pub(in crate::nn) struct Blending {
    /// The byte that stands for 0.
    pub(in crate::nn) from: u8,
    pub(in crate::nn) factor: f32,
    /// Whether fractions are cut off rather than rounded.
    pub(in crate::nn) truncates: bool,
    pub(in crate::nn) clamp: Clamp,
}

/// A rectangle of a picture of `width` columns: its first row and column, those after its last, and how many cells
/// `outside` of the picture count as zeros.
#[derive(Clone, Copy, Debug)]
pub(in crate::nn) struct Window {
    pub(in crate::nn) rows: [usize; 2],
    pub(in crate::nn) columns: [usize; 2],
    pub(in crate::nn) width: usize,
    pub(in crate::nn) outside: u32,
}

/// Compiles a function for AVX2 and AVX-512 as well, and picks one.
macro_rules! widened {
    ($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*) $body:block) => {
        $(#[$doc])*
        pub(in crate::nn) fn $name(isa: Isa, $($arg: $type),*) {
            #[inline(always)]
            fn plain($($arg: $type),*) $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2")]
            fn avx2($($arg: $type),*) {
                plain($($arg),*);
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
            fn avx512($($arg: $type),*) {
                plain($($arg),*);
            }

            match isa {
                // SAFETY: the processor has the instruction set.
                #[cfg(target_arch = "x86_64")]
                Isa::Vnni if isa.is_available() => unsafe { avx512($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 if isa.is_available() => unsafe { avx2($($arg),*) },
                _ => plain($($arg),*),
            }
        }
    };
}

widened! {
    /// `rint(((a - za) sa + (b - zb) sb) / s) + z`, clamped.
    add(sum: BinaryParams, a: &[u8], b: &[u8], y: &mut [u8]) {
        let BinaryParams { scales: [sa, sb], zeros: [za, zb], y: scale, clamp } = sum;
        for (y, (&a, &b)) in y.iter_mut().zip(a.iter().zip(b)) {
            let sum = (f32::from(a) - za) * sa + (f32::from(b) - zb) * sb;
            *y = clamp.quantise(sum / scale);
        }
    }
}

widened! {
    /// `rint((a - za) sa (b - zb) sb / s) + z`, clamped.
    multiply(of: BinaryParams, a: &[u8], b: &[u8], y: &mut [u8]) {
        let BinaryParams { scales: [sa, sb], zeros: [za, zb], y: scale, clamp } = of;
        for (y, (&a, &b)) in y.iter_mut().zip(a.iter().zip(b)) {
            let product = ((f32::from(a) - za) * sa) * ((f32::from(b) - zb) * sb);
            *y = clamp.quantise(product / scale);
        }
    }
}

widened! {
    /// `rint(x / s) + z`, clamped.
    quantize(to: Quantizing, x: &[f32], y: &mut [u8]) {
        for (y, &x) in y.iter_mut().zip(x) {
            let x = if x < 0.0 { x * to.leak } else { x };
            *y = to.clamp.quantise(x / to.scale);
        }
    }
}

widened! {
    /// The sum of `(x - zero)^2`, times `square`.
    norm(zero: u8, square: f32, x: &[u8], y: &mut f32) {
        // Whole numbers, exact in any order.
        let part = |x: &[u8]| x.iter().map(|&x| squared(x, zero)).sum::<u32>();
        *y = x.chunks(SQUARES_OF_A_SUM).map(|x| part(x) as f32).sum::<f32>() * square;
    }
}

widened! {
    /// The sum of `(((x - zero) scale - mean) gain)^2`.
    distance(params: [f32; 2], centre: [&[f32]; 2], x: &[u8], y: &mut f32) {
        let ([zero, scale], [mean, gain]) = (params, centre);
        let square = |x: u8, mean: f32, gain: f32| {
            let d = ((f32::from(x) - zero) * scale - mean) * gain;
            d * d
        };
        let mut sums = [0.0f32; LANES];
        let (xs, rest) = x.as_chunks::<LANES>();
        let (means, mean_rest) = mean.as_chunks::<LANES>();
        let (gains, gain_rest) = gain.as_chunks::<LANES>();
        for ((x, mean), gain) in xs.iter().zip(means).zip(gains) {
            for i in 0..LANES {
                sums[i] += square(x[i], mean[i], gain[i]);
            }
        }
        let tail = rest.iter().zip(mean_rest).zip(gain_rest).map(|((&x, &mean), &gain)| square(x, mean, gain));
        *y = sums.iter().sum::<f32>() + tail.sum::<f32>();
    }
}

widened! {
    /// For each channel the sum of `x - zero` over all pixels, times `factor`.
    sums(zero: u8, factor: f32, x: &[u8], y: &mut [f32]) {
        let from_zero = |sum, pixels| (i64::from(sum) - i64::from(zero) * pixels as i64) as f32;
        each_sum(x, y, u32::from, |sum, pixels| from_zero(sum, pixels) * factor);
    }
}

widened! {
    /// For each channel the sum of `(x - zero)^2` over all pixels, times `factor`.
    squares(zero: u8, factor: f32, x: &[u8], y: &mut [f32]) {
        each_sum(x, y, |x| squared(x, zero), |sum, _| sum as f32 * factor);
    }
}

/// `(x - zero)^2`, which 16 bits hold.
#[inline(always)]
fn squared(x: u8, zero: u8) -> u32 {
    let distance = u16::from(x.abs_diff(zero));
    u32::from(distance * distance)
}

/// Adds what `of` says of each pixel, exactly, and then what `real` makes of so many pixels' sum.
#[inline(always)]
fn each_sum(x: &[u8], y: &mut [f32], of: impl Fn(u8) -> u32, real: impl Fn(u32, usize) -> f32) {
    let channels = y.len();
    y.fill(0.0);
    for pixels in x.chunks((SQUARES_OF_A_SUM * channels).max(1)) {
        // A piece of the channels at a time, so that sums stay in registers.
        for (piece, y) in y.chunks_mut(LANES).enumerate() {
            let mut sums = [0u32; LANES];
            for pixel in pixels.chunks_exact(channels) {
                let from = &pixel[piece * LANES..];
                match from.first_chunk::<LANES>() {
                    Some(from) => (0..LANES).for_each(|i| sums[i] += of(from[i])),
                    None => sums.iter_mut().zip(from).for_each(|(sum, &x)| *sum += of(x)),
                }
            }
            y.iter_mut().zip(sums).for_each(|(y, sum)| *y += real(sum, pixels.len() / channels));
        }
    }
}

widened! {
    /// The mean of a window for each channel, times its factor, quantised: `rint((sum / n - zero) factor)`.
    average(to: Averaging, of: Window, x: &[u8], factor: &[f32], y: &mut [u8]) {
        let channels = y.len();
        let zero = f32::from(to.zero);
        let seen = ((of.rows[1] - of.rows[0]) * (of.columns[1] - of.columns[0])) as u32;
        let count = (seen + of.outside) as f32;
        // A piece of the channels at a time, so that sums stay in registers.
        for (piece, (y, factor)) in y.chunks_mut(LANES).zip(factor.chunks(LANES)).enumerate() {
            let mut sums = [of.outside * u32::from(to.zero); LANES];
            for row in of.rows[0]..of.rows[1] {
                let first = row * of.width;
                let line = &x[(first + of.columns[0]) * channels..(first + of.columns[1]) * channels];
                // So few bytes at a time that sums of 16 bits hold them.
                for cells in line.chunks(BYTES_OF_A_WORD * channels) {
                    let mut words = [0u16; LANES];
                    for cell in cells.chunks_exact(channels) {
                        let from = &cell[piece * LANES..];
                        match from.first_chunk::<LANES>() {
                            Some(from) => (0..LANES).for_each(|i| words[i] += u16::from(from[i])),
                            None => words.iter_mut().zip(from).for_each(|(sum, &v)| *sum += u16::from(v)),
                        }
                    }
                    (0..LANES).for_each(|i| sums[i] += u32::from(words[i]));
                }
            }
            let mut bytes = [0; LANES];
            let mut factors = [0.0; LANES];
            factors[..factor.len()].copy_from_slice(factor);
            for i in 0..LANES {
                bytes[i] = to.clamp.quantise((sums[i] as f32 / count - zero) * factors[i]);
            }
            y.copy_from_slice(&bytes[..y.len()]);
        }
    }
}

widened! {
    /// Four neighbours, each times its weight, added in this order: `rint` or `trunc` of `(a wa + b wb + …) factor`.
    blend(to: Blending, x: [&[u8]; 4], weights: [f32; 4], y: &mut [u8]) {
        let from = f32::from(to.from);
        let [a, b, c, d] = x;
        let [wa, wb, wc, wd] = weights;
        let cells = a.iter().zip(b).zip(c.iter().zip(d));
        for (y, ((&a, &b), (&c, &d))) in y.iter_mut().zip(cells) {
            let [a, b, c, d] = [a, b, c, d].map(|v| f32::from(v) - from);
            let sum = wa * a + wb * b + wc * c + wd * d;
            // Bytes are small: a whole number of 32 bits holds them.
            let steps = if to.truncates { sum as i32 as f32 } else { sum * to.factor };
            *y = to.clamp.quantise(steps);
        }
    }
}
