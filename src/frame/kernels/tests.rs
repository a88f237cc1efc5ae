use proptest::prelude::*;
use proptest::test_runner::{Config as Runs, RngSeed};

use super::input::{Affine, moments};
use super::portably;
use super::resample::{Resampler, Taps};
use super::warp::{Origin, mirrored, warp};
use crate::frame::geometry::Roi;

/// One axis: for each output, the first position and shares that sum to 1.
type Axis = Vec<(usize, Vec<f64>)>;

fn aim(resampler: &mut Resampler, columns: &Axis, rows: &Axis) {
    let fill = |taps: &mut Taps, axis: &Axis| {
        taps.clear(axis.len(), axis.iter().map(|(_, shares)| shares.len()).max().unwrap_or(0));
        axis.iter().for_each(|(first, shares)| taps.push(*first, shares.iter().copied()));
    };
    resampler.aim(|c, r| {
        fill(c, columns);
        fill(r, rows);
    });
}

fn resampled(rgb: &[u8], width: usize, columns: &Axis, rows: &Axis) -> Vec<u8> {
    let run = || {
        let mut resampler = Resampler::default();
        let mut out = vec![0xA5; 3 * columns.len() * rows.len()];
        aim(&mut resampler, columns, rows);
        resampler.run(rgb, width, &mut out);
        out
    };
    let out = run();
    assert_eq!(out, portably(run), "an instruction set gives something else");
    out
}

/// The same in floating point.
fn exact(rgb: &[u8], width: usize, columns: &Axis, rows: &Axis) -> Vec<f64> {
    let mut out = Vec::new();
    for c in 0..3 {
        for (top, down) in rows {
            for (left, along) in columns {
                let at = |y: usize, x: usize| f64::from(rgb[3 * ((top + y) * width + left + x) + c]);
                let row = |y: usize| along.iter().enumerate().map(|(x, share)| share * at(y, x)).sum::<f64>();
                out.push(down.iter().enumerate().map(|(y, share)| share * row(y)).sum());
            }
        }
    }
    out
}

/// Pixels of noise, of the two ends of the range alone, or of one value.
fn pixels(count: usize, kind: u8, seed: u64) -> Vec<u8> {
    let noise = (0..count as u64).map(|i| ((i + seed).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8);
    match kind {
        0 => noise.collect(),
        1 => noise.map(|v| if v < 128 { 0 } else { 255 }).collect(),
        _ => vec![seed as u8; count],
    }
}

fn axis(limit: usize) -> impl Strategy<Value = Axis> {
    let tap = (0..limit, proptest::collection::vec(0.0..1.0f64, 1..12));
    let tap = tap.prop_map(move |(first, mut shares)| {
        shares.truncate(limit - first);
        let sum: f64 = shares.iter().sum();
        let even = 1.0 / shares.len() as f64;
        shares.iter_mut().for_each(|share| *share = if sum > 0.0 { *share / sum } else { even });
        (first, shares)
    });
    proptest::collection::vec(tap, 1..30)
}

proptest! {
    #![proptest_config(Runs { cases: 300, rng_seed: RngSeed::Fixed(7), failure_persistence: None, ..Runs::default() })]

    #[test]
    fn resampling_is_the_same_on_every_instruction_set_and_within_a_level_of_the_exact_one(
        ((width, columns), (height, rows)) in (
            (1usize..70).prop_flat_map(|n| (Just(n), axis(n))),
            (1usize..20).prop_flat_map(|n| (Just(n), axis(n))),
        ),
        kind in 0u8..3,
        seed in any::<u64>(),
    ) {
        let rgb = pixels(3 * width * height, kind, seed);
        let out = resampled(&rgb, width, &columns, &rows);
        for (got, want) in out.iter().zip(exact(&rgb, width, &columns, &rows)) {
            prop_assert!((f64::from(*got) - want).abs() < 1.0, "{got} for {want}");
        }
        // One colour is that colour, whatever the weights.
        prop_assert!(kind < 2 || out.iter().all(|&v| v == seed as u8));
    }

    #[test]
    fn moments_and_maps_are_those_of_plain_arithmetic(
        values in proptest::collection::vec(any::<u8>(), 0..400),
        gain in 0.0..70.0f64,
        from in 0.0..255.0f64,
    ) {
        let sums = values.iter().fold((0, 0), |(s, q), &v| (s + u64::from(v), q + u64::from(v) * u64::from(v)));
        prop_assert_eq!(moments(&values), sums);
        prop_assert_eq!(portably(|| moments(&values)), sums);
        let map = Affine::new(gain, from, 128.0);
        let (mut out, mut portable) = (values.clone(), values.clone());
        map.apply(&mut out);
        portably(|| map.apply(&mut portable));
        prop_assert_eq!(&out, &portable);
        for (v, got) in values.iter().zip(out) {
            let want = ((f64::from(*v) - from) * gain.min(Affine::GAIN_MAX) + 128.0).clamp(0.0, 255.0);
            prop_assert!((f64::from(got) - want).abs() <= 0.51, "{got} for {want}");
        }
    }
}

#[test]
fn sums_of_a_large_white_input_have_room() {
    let white = vec![255; 3 << 16];
    assert_eq!(moments(&white), (255 * (3 << 16), 255 * 255 * (3 << 16)));
    let mut same: Vec<u8> = (0..=255).collect();
    Affine::IDENTITY.apply(&mut same);
    assert!(same.iter().enumerate().all(|(i, &v)| i == usize::from(v)));
}

#[test]
fn hundreds_of_taps_keep_black_and_white_and_the_mean() {
    let (width, height) = (700, 3);
    let wide: Axis = vec![(0, vec![1.0 / 700.0; 700]), (1, vec![1.0 / 699.0; 699]), (350, vec![1.0 / 350.0; 350])];
    let rows: Axis = (0..3).map(|y| (y, vec![1.0])).collect();
    for value in [0, 1, 127, 254, 255] {
        let out = resampled(&vec![value; 3 * width * height], width, &wide, &rows);
        assert!(out.iter().all(|&v| v == value), "{value}: {out:?}");
    }
    let rgb = pixels(3 * width * height, 1, 5);
    for (got, want) in resampled(&rgb, width, &wide, &rows).iter().zip(exact(&rgb, width, &wide, &rows)) {
        assert!((f64::from(*got) - want).abs() < 1.0, "{got} for {want}");
    }
}

#[test]
fn a_resampler_is_aimed_again_and_again() {
    let rgb = pixels(3 * 40 * 9, 0, 1);
    let mut resampler = Resampler::default();
    for (first, count) in [(0, 40), (39, 1), (3, 17), (30, 10), (0, 8)] {
        let columns: Axis = (first..first + count).map(|x| (x, vec![1.0])).collect();
        let rows: Axis = vec![(2, vec![0.5, 0.5]), (8, vec![1.0])];
        aim(&mut resampler, &columns, &rows);
        let mut out = vec![0; 3 * count * 2];
        resampler.run(&rgb, 40, &mut out);
        assert_eq!(out, resampled(&rgb, 40, &columns, &rows), "{count} columns from {first}");
    }
    let mut nothing = Resampler::default();
    nothing.run(&rgb, 40, &mut []);
}

proptest! {
    #![proptest_config(Runs { cases: 300, rng_seed: RngSeed::Fixed(9), failure_persistence: None, ..Runs::default() })]

    #[test]
    fn moving_is_the_same_on_every_instruction_set_and_within_three_levels_of_the_exact_one(
        (width, height) in (1u32..40, 1u32..30),
        start in [-50.0..50.0f64, -40.0..40.0f64],
        along in [-1.5..1.5f64, -1.5..1.5f64],
        down in [-1.5..1.5f64, -1.5..1.5f64],
        corner in [0.0..1.0f64, 0.0..1.0f64],
        kind in 0u8..3,
        seed in any::<u64>(),
    ) {
        let size = [width, height];
        let source = pixels(3 * (width * height) as usize, kind, seed);
        let [x, y] = [0, 1].map(|i| (corner[i] * f64::from(size[i])) as u32);
        let roi = Roi { x, y, width: (width - x).div_ceil(1 + kind as u32), height: height - y };
        let run = || {
            let mut out = vec![0xA5; source.len()];
            warp(&source, size, &Origin { start, along, down }, roi, &mut out);
            out
        };
        let out = run();
        prop_assert_eq!(&out, &portably(run));
        let exact = |x: u32, y: u32, c: usize| -> f64 {
            let at = |i: usize| start[i] + f64::from(x) * along[i] + f64::from(y) * down[i];
            let (u, v) = (at(0), at(1));
            let pixel = |dx: i64, dy: i64| {
                let (column, row) = (mirrored(u.floor() as i64 + dx, width), mirrored(v.floor() as i64 + dy, height));
                f64::from(source[3 * (row * width as usize + column) + c])
            };
            let (fx, fy) = (u - u.floor(), v - v.floor());
            let row = |dy: i64| pixel(0, dy) * (1.0 - fx) + pixel(1, dy) * fx;
            row(0) * (1.0 - fy) + row(1) * fy
        };
        for y in 0..height {
            for x in 0..width {
                for c in 0..3 {
                    let got = out[3 * (y * width + x) as usize + c];
                    if roi.contains(x, y) {
                        // Fractions of a 128th, rounded: half of one in either direction, and half a level.
                        let want = exact(x, y, c);
                        prop_assert!((f64::from(got) - want).abs() < 2.6, "{got} for {want} at {x}, {y}");
                    } else {
                        prop_assert_eq!(got, 0xA5, "outside of what was asked for");
                    }
                }
            }
        }
    }
}
