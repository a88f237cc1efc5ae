//! What can be said of any frame without knowing its product: light, contrast, focus, and where nothing is seen.
//!
//! Read along lines, since a frame is looked at before every inspection: 64 rows and 32 columns, evenly spread. Each
//! line is averaged into at most 256 samples, so that pictures of all sizes are measured at one scale.
//!
//! Focus and noise are told apart by second differences of neighbouring means, which a slope does not touch. Of pure
//! noise their energy halves whenever the means take twice as many samples; what is left beyond that half is detail:
//!
//! ```text
//! E(b)   = mean((m[i-b] - 2 m[i] + m[i+b])²) / 6      m[i]: mean of b samples from i on, for every i
//! noise  = sqrt(E(1))                                 grey levels
//! detail = sqrt(max(0, E(2) - E(1) / 2)) / mean       so that twice the light has as much detail
//! ```
//!
//! A lens out of focus takes the detail away and leaves the noise, and a frame of noise alone has no detail. On five sets of
//! real pictures out of focus by 3 % of their width the detail falls to 1/3 and less of the least in good ones, while good
//! test pictures stay above 0.9 of it (`docs/EXPERIMENTS.md`).

use serde::{Deserialize, Serialize};

use crate::frame::Frame;

/// Rows that are read.
const ROWS: usize = 64;
/// Columns that are read.
const COLUMNS: usize = 32;
/// Samples of a line, at most; a multiple of [`BLOCKS`].
const SAMPLES: usize = 256;
/// Tiles along each side.
const TILES: usize = 8;
/// Blocks along each side of a tile.
const IN_TILE: usize = 4;
/// Blocks along each side.
const BLOCKS: usize = TILES * IN_TILE;
/// A channel from here on is clipped.
const CLIPPED: u8 = 254;
/// A tile whose blocks' means deviate by less than this, grey levels, shows nothing. A block is the mean of 4 and more
/// samples of each of two rows, so that a camera's noise does not reach it.
const FLAT: f32 = 1.5;
/// A tile below this share of the frame's mean is dark.
const DARK: f32 = 0.25;

/// Statistics of one frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scene {
    /// Mean grey level, 0..=255.
    pub mean: f32,
    /// Share of the pixels read with a channel at the end of the range, 0..=1.
    pub clipped: f32,
    /// What differs from one sample to the next, grey levels (see the module).
    pub noise: f32,
    /// What differs from two samples to the next two beyond noise, a share of the mean (see the module).
    pub detail: f32,
    /// Standard deviation of the 8x8 tiles' means, a share of the mean.
    pub relief: f32,
    /// Share of the tiles that show nothing, 0..=1.
    pub flat: f32,
    /// Share of the tiles that are dark beside the others, 0..=1.
    pub dark: f32,
}

/// Buffers that a thread keeps; they grow with the first frames and allocate no more.
#[derive(Default)]
pub struct Scratch {
    /// Sums of one line's grey levels up to each pixel, in quarters.
    sums: Vec<u32>,
    /// `[ROWS, samples]`.
    rows: Vec<f32>,
    /// `[COLUMNS, samples]`.
    columns: Vec<f32>,
    /// Means of a few samples of a line.
    means: Vec<f32>,
}

/// The place of the `i`-th of `count` lines spread over `length` pixels.
fn spread(i: usize, count: usize, length: usize) -> usize {
    (2 * i + 1) * length / (2 * count)
}

/// Samples of a line of `length` pixels.
fn samples(length: usize) -> usize {
    (length / BLOCKS).clamp(1, SAMPLES / BLOCKS) * BLOCKS
}

/// Appends the line whose `sums` these are as `count` means.
fn resample(sums: &[u32], count: usize, out: &mut Vec<f32>) {
    let length = sums.len() - 1;
    let step = length as f32 / count as f32;
    let upto = |at: f32| {
        let whole = (at as usize).min(length - 1);
        let share = (at - whole as f32).min(1.0);
        f64::from(sums[whole]) + f64::from(share) * f64::from(sums[whole + 1] - sums[whole])
    };
    let mut before = 0.0;
    for i in 1..=count {
        let here = upto(i as f32 * step);
        out.push(((here - before) / f64::from(4.0 * step)) as f32);
        before = here;
    }
}

impl Scene {
    /// Measures a frame. Cost: a read of 64 rows and 32 columns, 0.8 ms at 1280x1024 on an x86 core.
    pub fn of(frame: &Frame, scratch: &mut Scratch) -> Self {
        let (width, height) = (frame.width as usize, frame.height as usize);
        if width == 0 || height == 0 {
            return Self::default();
        }
        let Scratch { sums, rows, columns, means } = scratch;
        let pixels = frame.rgb.as_chunks::<3>().0;
        // Green counts twice, as it does for the eye and in a Bayer pattern.
        let grey = |p: &[u8; 3]| u32::from(p[0]) + 2 * u32::from(p[1]) + u32::from(p[2]);
        let mut add = |line: &mut dyn Iterator<Item = u32>, count: usize, out: &mut Vec<f32>| {
            sums.clear();
            sums.push(0);
            let mut sum = 0;
            sums.extend(line.map(|v| {
                sum += v;
                sum
            }));
            resample(sums, count, out);
        };
        let (mut clipped, mut read) = (0usize, 0usize);
        rows.clear();
        for i in 0..ROWS {
            let row = &pixels[spread(i, ROWS, height) * width..][..width];
            clipped += row.iter().filter(|p| p[0].max(p[1]).max(p[2]) >= CLIPPED).count();
            read += width;
            add(&mut row.iter().map(grey), samples(width), rows);
        }
        columns.clear();
        for i in 0..COLUMNS {
            let column = pixels[spread(i, COLUMNS, width)..].iter().step_by(width);
            add(&mut column.map(grey), samples(height), columns);
        }
        let energy = |block: usize, means: &mut Vec<f32>| {
            let along = bent(rows, samples(width), block, means);
            (along + bent(columns, samples(height), block, means)) / 2.0
        };
        let (fine, coarse) = (energy(1, means), energy(2, means));
        let mean = rows.iter().sum::<f32>() / rows.len() as f32;
        let [relief, flat, dark] = tiled(rows, samples(width), mean);
        Self {
            mean,
            clipped: clipped as f32 / read as f32,
            noise: fine.sqrt(),
            detail: (coarse - fine / 2.0).max(0.0).sqrt() / mean.max(1.0),
            relief,
            flat,
            dark,
        }
    }
}

/// Mean squared second difference of the means of `block` samples, over all `lines`, of which each has `count`. Wherever
/// such blocks begin: an edge is as sharp in the middle of one as between two.
fn bent(lines: &[f32], count: usize, block: usize, means: &mut Vec<f32>) -> f32 {
    let (mut sum, mut terms) = (0.0f64, 0usize);
    for line in lines.chunks_exact(count) {
        means.clear();
        means.extend(line.windows(block).map(|b| b.iter().sum::<f32>() / block as f32));
        let bends = means.windows(2 * block + 1).map(|m| m[0] - 2.0 * m[block] + m[2 * block]);
        sum += bends.map(|bend| f64::from(bend).powi(2)).sum::<f64>();
        terms += means.len().saturating_sub(2 * block);
    }
    (sum / (6 * terms.max(1)) as f64) as f32
}

/// Relief, share of flat tiles and share of dark tiles of `[ROWS, count]` samples.
fn tiled(rows: &[f32], count: usize, mean: f32) -> [f32; 3] {
    let (down, along) = (ROWS / BLOCKS, count / BLOCKS);
    let mut blocks = [[0.0f32; BLOCKS]; BLOCKS];
    for (i, row) in rows.chunks_exact(count).enumerate() {
        for (block, samples) in blocks[i / down].iter_mut().zip(row.chunks_exact(along)) {
            *block += samples.iter().sum::<f32>() / (down * along) as f32;
        }
    }
    let mut tiles = [0.0f32; TILES * TILES];
    let mut flat = 0;
    for (at, tile) in tiles.iter_mut().enumerate() {
        let (top, left) = (at / TILES * IN_TILE, at % TILES * IN_TILE);
        let inside = || blocks[top..top + IN_TILE].iter().flat_map(|row| &row[left..left + IN_TILE]).copied();
        let (usual, deviation) = moments(inside());
        *tile = usual;
        flat += usize::from(deviation < FLAT);
    }
    let dark = tiles.iter().filter(|&&t| t < DARK * mean).count();
    let share = |n: usize| n as f32 / tiles.len() as f32;
    [moments(tiles.into_iter()).1 / mean.max(1.0), share(flat), share(dark)]
}

/// Mean and standard deviation.
fn moments(values: impl Iterator<Item = f32> + Clone) -> (f32, f32) {
    let n = values.clone().count() as f32;
    let mean = values.clone().sum::<f32>() / n;
    (mean, (values.map(|v| (v - mean).powi(2)).sum::<f32>() / n).sqrt())
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn scene(width: u32, height: u32, grey: impl FnMut(u32, u32) -> u8) -> Scene {
        Scene::of(&frame(width, height, grey), &mut Scratch::default())
    }

    fn frame(width: u32, height: u32, mut grey: impl FnMut(u32, u32) -> u8) -> Frame {
        let rgb: Vec<u8> = (0..width * height).flat_map(|p| [grey(p % width, p / width); 3]).collect();
        Frame::still(width, height, rgb)
    }

    #[test]
    fn an_even_frame_shows_nothing() {
        let even = scene(320, 256, |_, _| 90);
        assert_eq!(even, Scene { mean: 90.0, flat: 1.0, ..Scene::default() });
        let clipped = scene(320, 256, |_, _| 255);
        assert_eq!((clipped.mean, clipped.clipped), (255.0, 1.0));
    }

    #[test]
    fn a_slope_has_no_detail_and_much_relief() {
        let slope = scene(256, 256, |x, _| x as u8);
        assert!((slope.mean - 127.5).abs() < 0.5 && slope.noise < 0.01 && slope.detail < 1e-4, "{slope:?}");
        assert!(slope.relief > 0.5 && slope.flat == 0.0, "{slope:?}");
    }

    #[test]
    fn noise_is_no_detail_and_an_edge_is() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let noisy = scene(256, 256, |_, _| rng.random_range(88..=112));
        assert!(noisy.noise > 5.0 && noisy.detail < 0.01, "{noisy:?}");
        let squares = |x: u32, y: u32| if (x / 24 + y / 24).is_multiple_of(2) { 60 } else { 140 };
        let sharp = scene(256, 256, squares);
        assert!(sharp.detail > 0.08, "{sharp:?}");
        let both = scene(256, 256, |x, y| squares(x, y) + rng.random_range(0..24));
        assert!((both.detail / sharp.detail - 1.0).abs() < 0.25, "{both:?} {sharp:?}");
    }

    #[test]
    fn an_edge_is_as_sharp_wherever_it_lies() {
        let at = |edge: u32| scene(320, 180, |x, _| if x < edge { 50 } else { 150 }).detail;
        let details: Vec<f32> = (150..160).map(at).collect();
        let (least, most) = details.iter().fold((f32::MAX, 0.0f32), |(l, m), &d| (l.min(d), m.max(d)));
        assert!(least > 0.8 * most, "{details:?}");
    }

    #[test]
    fn detail_does_not_care_for_light_nor_for_the_number_of_pixels() {
        let squares = |light: f32, pixel: u32| {
            move |x: u32, y: u32| {
                (light * if (x / pixel / 24 + y / pixel / 24).is_multiple_of(2) { 60.0 } else { 140.0 }) as u8
            }
        };
        let base = scene(256, 256, squares(1.0, 1));
        for other in [scene(256, 256, squares(0.5, 1)), scene(1024, 1024, squares(1.0, 4))] {
            assert!((other.detail / base.detail - 1.0).abs() < 0.05, "{other:?} {base:?}");
            assert!((other.relief / base.relief - 1.0).abs() < 0.05, "{other:?} {base:?}");
        }
    }

    #[test]
    fn a_dark_half_and_a_covered_half_are_counted_in_tiles() {
        let part = |x: u32, y: u32| 100 + ((x / 5 + y / 7) % 9 * 8) as u8;
        let whole = scene(300, 300, part);
        assert_eq!((whole.flat, whole.dark), (0.0, 0.0));
        let dark = scene(300, 300, |x, y| if y >= 150 { 0 } else { part(x, y) });
        assert!((dark.dark - 0.5).abs() < 0.01 && dark.flat > 0.4, "{dark:?}");
        let covered = scene(300, 300, |x, y| if x < 150 { 60 } else { part(x, y) });
        assert!(covered.flat > 0.4 && covered.dark == 0.0, "{covered:?}");
    }

    #[test]
    fn frames_of_every_size_are_measured() {
        let mut scratch = Scratch::default();
        for (width, height) in [(1, 1), (1, 900), (3, 2), (31, 33), (64, 1), (1279, 7)] {
            let seen = Scene::of(&frame(width, height, |x, y| (x * 7 + y * 13) as u8), &mut scratch);
            let all = [seen.mean, seen.clipped, seen.noise, seen.detail, seen.relief, seen.flat, seen.dark];
            assert!(all.iter().all(|v| v.is_finite()), "{width}x{height}: {seen:?}");
        }
        assert_eq!(Scene::of(&Frame::empty(), &mut scratch), Scene::default());
    }
}
