//! One view's codes in few bytes: neighbours predict each other, and what is left is deflated.
//!
//! Features are averages over neighbours, so that a cell is much like those beside and above it (the median edge
//! detector of LOCO-I, Weinberger et al. 2000, eq. 1); coarse features, repeated onto the fine grid, are kept once.

use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

use crate::train::features::cell_major;

/// How often a coarse cell may be repeated, in both directions.
const REPEATS: [usize; 2] = [4, 2];

/// Codes `[cells, channels]` on `grid`, without their `drop` lowest bits. Cost: 4 ms for 200 KB.
pub fn pack(codes: &[u8], channels: usize, grid: [usize; 2], drop: u8) -> Vec<u8> {
    let planes: Vec<u8> = cell_major(codes, codes.len() / channels).iter().map(|v| v >> drop).collect();
    let (mut repeats, mut rest) = (Vec::with_capacity(channels), Vec::with_capacity(planes.len()));
    for plane in planes.chunks(planes.len() / channels) {
        let by = REPEATS.into_iter().find(|&by| is_repeated(plane, grid, by)).unwrap_or(1);
        repeats.push(by as u8);
        let small = thin(plane, grid, by);
        let columns = grid[1] / by;
        rest.extend((0..small.len()).map(|i| small[i].wrapping_sub(predicted(&small, i, columns))));
    }
    deflate(&[repeats, rest].concat())
}

/// What [`pack`] packed, with the dropped bits at the middle of what they were; `None` where the bytes are damaged.
pub fn unpack(bytes: &[u8], channels: usize, grid: [usize; 2], drop: u8) -> Option<Vec<u8>> {
    let cells = grid[0].checked_mul(grid[1]).filter(|cells| *cells > 0 && channels > 0)?;
    let all = inflate(bytes, cells.checked_add(1)?.checked_mul(channels)?)?;
    let (repeats, mut rest) = all.split_at_checked(channels)?;
    let middle = 1u8.checked_shl(drop.into())? >> 1;
    let mut planes = Vec::with_capacity(cells * channels);
    for by in repeats.iter().map(|&by| usize::from(by)) {
        if by == 0 || grid.iter().any(|side| side % by != 0) {
            return None;
        }
        let (mut small, more) = rest.split_at_checked(cells / by / by).map(|(s, more)| (s.to_vec(), more))?;
        rest = more;
        let columns = grid[1] / by;
        for i in 0..small.len() {
            small[i] = small[i].wrapping_add(predicted(&small, i, columns));
        }
        planes.extend((0..cells).map(|i| (small[i / grid[1] / by * columns + i % grid[1] / by] << drop) | middle));
    }
    rest.is_empty().then(|| cell_major(&planes, channels))
}

/// Bytes, deflated, with a checksum.
pub fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("writing into memory does not fail")
}

/// What [`deflate`] deflated; `None` where it is damaged or longer than `most`.
pub fn inflate(bytes: &[u8], most: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    ZlibDecoder::new(bytes).take(most as u64 + 1).read_to_end(&mut out).ok()?;
    (out.len() <= most).then_some(out)
}

fn is_repeated(plane: &[u8], [rows, columns]: [usize; 2], by: usize) -> bool {
    rows % by == 0
        && columns % by == 0
        && (0..plane.len()).all(|i| plane[i] == plane[i / columns / by * by * columns + i % columns / by * by])
}

fn thin(plane: &[u8], [rows, columns]: [usize; 2], by: usize) -> Vec<u8> {
    (0..rows).step_by(by).flat_map(|y| (0..columns).step_by(by).map(move |x| plane[y * columns + x])).collect()
}

/// What the cells to the left and above let expect.
fn predicted(plane: &[u8], i: usize, columns: usize) -> u8 {
    let left = (!i.is_multiple_of(columns)).then(|| plane[i - 1]);
    let above = i.checked_sub(columns).map(|i| plane[i]);
    match (left, above) {
        (Some(left), Some(above)) => {
            let corner = plane[i - columns - 1];
            let (low, high) = (left.min(above), left.max(above));
            if corner >= high {
                low
            } else if corner <= low {
                high
            } else {
                // Between them, so that the sum fits whatever wraps on the way.
                left.wrapping_add(above).wrapping_sub(corner)
            }
        }
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn views_come_back_and_coarse_or_smooth_ones_are_small() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        for (grid, channels) in [([8, 12], 6), ([2, 2], 1), ([6, 6], 3)] {
            let cells = grid[0] * grid[1];
            let coarse: Vec<u8> = (0..cells / 4).map(|_| rng.random()).collect();
            let value = |rng: &mut ChaCha8Rng, i: usize, c: usize| match c % 3 {
                0 => rng.random(),
                1 => (i % grid[1] * 3 + i / grid[1] * 5) as u8,
                _ => coarse[i / grid[1] / 2 * (grid[1] / 2) + i % grid[1] / 2],
            };
            let codes: Vec<u8> = (0..cells)
                .flat_map(|i| (0..channels).map(move |c| (i, c)))
                .map(|(i, c)| value(&mut rng, i, c))
                .collect();
            let packed = pack(&codes, channels, grid, 0);
            assert_eq!(unpack(&packed, channels, grid, 0).as_ref(), Some(&codes));
            if channels == 6 {
                assert!(packed.len() < codes.len() * 7 / 12, "{} of {}", packed.len(), codes.len());
            }
            let rough = unpack(&pack(&codes, channels, grid, 2), channels, grid, 2).unwrap();
            assert!(codes.iter().zip(&rough).all(|(a, b)| a.abs_diff(*b) <= 2));
            // Packed again, nothing more is lost.
            assert_eq!(unpack(&pack(&rough, channels, grid, 2), channels, grid, 2), Some(rough));
            for at in [2, packed.len() / 2, packed.len() - 1] {
                let mut damaged = packed.clone();
                damaged[at] ^= 0x55;
                assert_eq!(unpack(&damaged, channels, grid, 0), None, "byte {at}");
            }
            assert_eq!(unpack(&packed, channels + 1, grid, 0), None);
            for (channels, grid) in [(0, grid), (channels, [0, grid[1]]), (usize::MAX, grid), (2, [usize::MAX / 2; 2])]
            {
                assert_eq!(unpack(&packed, channels, grid, 0), None, "{channels} on {grid:?}");
            }
            assert_eq!(unpack(&packed, channels, grid, 8), None);
        }
        assert_eq!(inflate(&deflate(&[7; 100]), 99), None);
    }
}
