//! Resampling with weights of two axes, in integers: the same bits on every instruction set.
//!
//! Rows come first, because weighing them is a sum of contiguous bytes; what they give is one line of interleaved pixels
//! with 7 fraction bits, of which columns make one line of each plane.
//!
//! Weights have 14 bits and sum to exactly 1; sums are exact and rounded once, half up. So before the last rounding the
//! error is at most 1/256 of a level for the line, and for the weights `255 n / 2^15` with `n` taps of an axis (0.05 for
//! 6), and far less where neighbours are alike: weights are rounded by their running sum.

use super::isa::{Kernel, PixelIsa, dispatch};

/// A weight of 1.
const ONE: u16 = 1 << 14;
/// What sums of rows are shifted by: 7 of 14 fraction bits stay, and a white line is below 2^15.
pub(super) const ROWS_SHIFT: i32 = 7;
/// What sums of columns are shifted by: no fraction bits stay.
pub(super) const COLUMNS_SHIFT: i32 = 14 + 7;
/// What makes a shift round, half up.
pub(super) const fn half(shift: i32) -> i32 {
    1 << (shift - 1)
}

/// For each output position of an axis, the source positions it reads and their weights.
#[derive(Default)]
pub struct Taps {
    first: Vec<u32>,
    start: Vec<u32>,
    weights: Vec<u16>,
    taps_max: usize,
}

impl Taps {
    /// Forgets everything, for `count` outputs to come. There will be room for `taps_max` positions of each, so that
    /// neither these nor later ones that read less allocate.
    pub fn clear(&mut self, count: usize, taps_max: usize) {
        self.first.clear();
        self.start.clear();
        self.weights.clear();
        self.weights.reserve(count * taps_max);
        self.taps_max = taps_max;
    }

    /// Adds an output that reads positions from `first` on, by `shares`, which are not negative and sum to 1.
    pub fn push(&mut self, first: usize, shares: impl Iterator<Item = f64>) {
        self.first.push(first as u32);
        self.start.push(self.weights.len() as u32);
        let (mut sum, mut given) = (0.0, 0);
        for share in shares {
            sum += share;
            let until = ((sum * f64::from(ONE) + 0.5) as u16).clamp(given, ONE);
            self.weights.push(until - given);
            given = until;
        }
        if let Some(last) = self.weights.last_mut() {
            *last += ONE - given;
        }
    }

    fn count(&self) -> usize {
        self.first.len()
    }

    fn pairs_max(&self) -> usize {
        self.taps_max.div_ceil(2)
    }

    /// First position and weights of output `i`.
    #[inline(always)]
    fn of(&self, i: usize) -> (usize, &[u16]) {
        let end = self.start.get(i + 1).map_or(self.weights.len(), |&end| end as usize);
        (self.first[i] as usize, &self.weights[self.start[i] as usize..end])
    }

    /// The first position that any output reads, and the one after the last.
    fn reach(&self) -> (usize, usize) {
        let outputs = || (0..self.count()).map(|i| self.of(i));
        let from = outputs().map(|(first, _)| first).min().unwrap_or(0);
        (from, outputs().map(|(first, weights)| first + weights.len()).max().unwrap_or(from))
    }
}

/// Values that a line has to have from the first on of an output with `pairs` of taps: a vector of eight begins with the
/// last pair.
fn values_of(pairs: usize) -> usize {
    6 * pairs + 2
}

/// Outputs of columns that stand together in [`Columns::wide`].
pub(super) const BLOCK: usize = 8;

/// Writes a block of outputs from `x` on into each plane, or as many of them as are left there.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[inline(always)]
pub(super) fn put(planes: &mut [&mut [u8]; 3], x: usize, block: [[u8; BLOCK]; 3]) {
    for (plane, eight) in planes.iter_mut().zip(block) {
        let rest = &mut plane[x..];
        match rest.first_chunk_mut() {
            Some(to) => *to = eight,
            None => rest.copy_from_slice(&eight[..rest.len()]),
        }
    }
}

/// The taps of columns as loops want them: as many pairs for each output, the missing ones with weight 0.
#[derive(Default)]
pub(super) struct Columns {
    /// First value of each output in the line, for whole blocks of outputs: those beyond the last read the line's first.
    first: Vec<u32>,
    pairs: usize,
    /// `[outputs, pairs]` of two weights each, for whole blocks of outputs.
    weights: Vec<[i16; 2]>,
    /// The same for vectors of two outputs with four channels; see [`Columns::wide`].
    wide: Vec<[i16; 16]>,
    /// Values of a line that reach as far as any output reads.
    values: usize,
}

impl Columns {
    /// Takes over `taps` for a line that begins at pixel `from`.
    fn fill(&mut self, taps: &Taps, from: usize) {
        let count = taps.count();
        self.pairs = (0..count).map(|i| taps.of(i).1.len().div_ceil(2)).max().unwrap_or(0);
        let pairs_max = taps.pairs_max();
        self.first.clear();
        self.first.resize(count.next_multiple_of(BLOCK), 0);
        self.weights.clear();
        self.weights.reserve(self.first.len() * pairs_max);
        self.weights.resize(self.first.len() * self.pairs, [0; 2]);
        self.wide.clear();
        self.wide.reserve(self.first.len() / 2 * pairs_max);
        self.wide.resize(self.first.len() / 2 * self.pairs, [0; 16]);
        for i in 0..count {
            let (first, weights) = taps.of(i);
            self.first[i] = 3 * (first - from) as u32;
            for (k, pair) in weights.chunks(2).enumerate() {
                // At most 2^14.
                let pair = [pair[0] as i16, pair.get(1).map_or(0, |&w| w as i16)];
                self.weights[i * self.pairs + k] = pair;
                let (vector, half) = (i / BLOCK * (BLOCK / 2) + i % (BLOCK / 2), i % BLOCK / (BLOCK / 2));
                let lanes = &mut self.wide[vector * self.pairs + k].as_chunks_mut::<8>().0[half];
                *lanes = std::array::from_fn(|lane| pair[lane % 2]);
            }
        }
        let last = self.first.iter().max().map_or(0, |&first| first as usize);
        self.values = last + values_of(self.pairs);
    }

    /// Values that a line has to have.
    pub(super) fn values(&self) -> usize {
        self.values
    }

    /// First value of each output, for as many outputs as fill whole blocks. What each reads from there on, `6 pairs + 2`
    /// values with what vectors read beside them, is within [`Columns::values`].
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    pub(super) fn first(&self) -> &[u32] {
        &self.first
    }

    /// Pairs of taps of each output.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    pub(super) fn pairs(&self) -> usize {
        self.pairs
    }

    /// `[outputs, pairs]` of two weights each, for as many outputs as [`Columns::first`] has.
    #[cfg(target_arch = "aarch64")]
    pub(super) fn weights(&self) -> &[[i16; 2]] {
        &self.weights
    }

    /// Weights for vectors of two outputs with four channels, `[blocks of outputs, 4, pairs]`: each has the two weights of
    /// output `n` of a block four times, and those of output `n + 4`.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn wide(&self) -> &[[i16; 16]] {
        &self.wide
    }

    /// One line of each plane: the weighted sum of each output's pixels in `line`, which are interleaved and have 7
    /// fraction bits, rounded. This is the definition; other instruction sets give the same.
    #[inline(always)]
    pub(super) fn weigh(&self, line: &[i16], [reds, greens, blues]: [&mut [u8]; 3]) {
        let planes = reds.iter_mut().zip(greens).zip(blues);
        let taps = self.first.iter().zip(self.weights.chunks_exact(self.pairs.max(1)));
        for ((&first, weights), ((red, green), blue)) in taps.zip(planes) {
            let line = &line[first as usize..][..values_of(self.pairs)];
            // A fourth value, which is the next pixel's red and of no use, makes a vector of three.
            let mut sums = [half(COLUMNS_SHIFT); 4];
            for (pair, pixels) in weights.iter().zip(line.windows(7).step_by(6)) {
                for c in 0..4 {
                    sums[c] += i32::from(pair[0]) * i32::from(pixels[c]);
                    sums[c] += i32::from(pair[1]) * i32::from(pixels[c + 3]);
                }
            }
            [*red, *green, *blue] = [sums[0], sums[1], sums[2]].map(|sum| (sum >> COLUMNS_SHIFT) as u8);
        }
    }
}

/// Taps of both axes and what resampling needs beside them; kept, it allocates nothing once it has grown.
#[derive(Default)]
pub struct Resampler {
    rows: Taps,
    columns: Taps,
    placed: Columns,
    /// First column that any output reads, and the one after the last.
    reach: (usize, usize),
    line: Vec<i16>,
}

impl Resampler {
    /// Lets `fill` give the taps of the output's columns and of its rows.
    pub fn aim(&mut self, fill: impl FnOnce(&mut Taps, &mut Taps)) {
        fill(&mut self.columns, &mut self.rows);
        self.reach = self.columns.reach();
        self.placed.fill(&self.columns, self.reach.0);
    }

    /// The first column and row that any output reads, and the ones after the last: `[[from, to]; 2]`.
    pub fn reach(&self) -> [[usize; 2]; 2] {
        let (top, bottom) = self.rows.reach();
        [[self.reach.0, self.reach.1], [top, bottom]]
    }

    /// Resamples `rgb`, `[height, width, 3]` u8, into `out`, `[3, rows, columns]` u8. Reads what the taps name and nothing
    /// else: bytes of a row once for each output row that weighs them.
    ///
    /// # Panics
    /// If a tap lies outside the picture, or `out` is of another size.
    pub fn run(&mut self, rgb: &[u8], width: usize, out: &mut [u8]) {
        dispatch(self.job(rgb, width, out));
    }

    fn job<'a>(&'a mut self, rgb: &'a [u8], width: usize, out: &'a mut [u8]) -> Resample<'a> {
        let (rows, columns) = (self.rows.count(), self.columns.count());
        assert_eq!(out.len(), 3 * rows * columns, "planes of {columns}x{rows}");
        let (from, to) = self.reach;
        assert!(to <= width, "column {to} of {width}");
        let bytes = 3 * (to - from);
        // What vectors read after the last pixel is weighed by 0. Room for any line of this picture, allocated once.
        self.line.clear();
        self.line.reserve(3 * width + values_of(self.columns.pairs_max()));
        self.line.resize(self.placed.values().max(bytes), 0);
        let (rows, columns, line) = (&self.rows, &self.placed, &mut self.line[..]);
        Resample { rgb, pitch: 3 * width, from: 3 * from, bytes, rows, columns, line, out }
    }
}

struct Resample<'a> {
    rgb: &'a [u8],
    pitch: usize,
    /// Of a row of `rgb`: the first byte and how many.
    from: usize,
    bytes: usize,
    rows: &'a Taps,
    columns: &'a Columns,
    line: &'a mut [i16],
    out: &'a mut [u8],
}

impl Kernel for Resample<'_> {
    type Out = ();

    #[inline(always)]
    fn run<I: PixelIsa>(self, isa: I) {
        let Self { rgb, pitch, from, bytes, rows, columns, line, out } = self;
        let Some(width) = (out.len() / 3).checked_div(rows.count()).filter(|&width| width > 0) else { return };
        let (reds, rest) = out.split_at_mut(out.len() / 3);
        let (greens, blues) = rest.split_at_mut(reds.len());
        let planes =
            reds.chunks_exact_mut(width).zip(greens.chunks_exact_mut(width)).zip(blues.chunks_exact_mut(width));
        for (y, ((red, green), blue)) in planes.enumerate() {
            let (first, weights) = rows.of(y);
            let rows = Rows { bytes: &rgb[first * pitch + from..], pitch, weights };
            isa.rows(&rows, &mut line[..bytes]);
            isa.columns(columns, line, [red, green, blue]);
        }
    }
}

/// The rows of one output.
pub(super) struct Rows<'a> {
    /// From the first byte of the first row on.
    pub bytes: &'a [u8],
    /// Bytes from one row to the next.
    pub pitch: usize,
    /// A weight for each row.
    pub weights: &'a [u16],
}

/// Bytes of rows that are weighed at a time: their sums are registers.
const BYTES: usize = 32;

impl Rows<'_> {
    /// The weighted sum of the rows with 7 fraction bits, rounded. This is the definition; other instruction sets give the
    /// same.
    #[inline(always)]
    pub(super) fn weigh(&self, line: &mut [i16]) {
        let (blocks, rest) = line.as_chunks_mut::<BYTES>();
        let at = BYTES * blocks.len();
        for (n, block) in blocks.iter_mut().enumerate() {
            self.weigh_block(BYTES * n, block);
        }
        for (n, value) in rest.iter_mut().enumerate() {
            let mut one = [0];
            self.weigh_block(at + n, &mut one);
            *value = one[0];
        }
    }

    #[inline(always)]
    fn weigh_block<const N: usize>(&self, at: usize, block: &mut [i16; N]) {
        let mut sums = [half(ROWS_SHIFT); N];
        for (k, &weight) in self.weights.iter().enumerate() {
            let row = &self.bytes[k * self.pitch + at..][..N];
            for n in 0..N {
                sums[n] += i32::from(row[n]) * i32::from(weight);
            }
        }
        for n in 0..N {
            block[n] = (sums[n] >> ROWS_SHIFT) as i16;
        }
    }
}
