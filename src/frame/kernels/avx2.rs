//! AVX2: 32 bytes a vector.
//!
//! No closures stand in functions with the instruction set: they have it as well, so that what takes them (`map`,
//! `map_or`) has to call them.

#![allow(unsafe_code, reason = "the processor is asked once, and vectors are loaded from addresses")]
#![deny(clippy::undocumented_unsafe_blocks, unsafe_op_in_unsafe_fn)]

use std::arch::x86_64::*;

use super::colour::{Matrix, PAIRS, PIXELS};
use super::isa::{Kernel, PixelIsa};
use super::resample::{BLOCK, COLUMNS_SHIFT, Columns, ROWS_SHIFT, Rows, half, put};
use super::warp::{FRACTION, NEAR, POSITION, Stretch};

/// Proof that this processor has AVX2.
#[derive(Clone, Copy)]
pub(super) struct Avx2(());

impl Avx2 {
    /// Asks the processor, once a process.
    #[inline]
    pub(super) fn detect() -> Option<Self> {
        std::is_x86_feature_detected!("avx2").then_some(Self(()))
    }

    /// Runs a loop as it was compiled for AVX2.
    pub(super) fn dispatch<K: Kernel>(self, kernel: K) -> K::Out {
        #[target_feature(enable = "avx2")]
        fn with_avx2<K: Kernel>(kernel: K, isa: Avx2) -> K::Out {
            kernel.run(isa)
        }
        // SAFETY: there is a value of `Avx2` only where the processor has it.
        unsafe { with_avx2(kernel, self) }
    }
}

impl PixelIsa for Avx2 {
    #[inline(always)]
    fn yuv(self, matrix: &Matrix, words: &[u32; PAIRS]) -> [[u8; PIXELS]; 3] {
        // SAFETY: as above.
        unsafe { yuv(matrix, words) }
    }

    #[inline(always)]
    fn rows(self, rows: &Rows<'_>, line: &mut [i16]) {
        if line.len() < BYTES {
            return rows.weigh(line);
        }
        // SAFETY: as above.
        unsafe { weigh_rows(rows, line) }
    }

    #[inline(always)]
    fn columns(self, columns: &Columns, line: &[i16], planes: [&mut [u8]; 3]) {
        // SAFETY: as above.
        unsafe { weigh_columns(columns, line, planes) }
    }

    #[inline(always)]
    fn moved(self, stretch: Stretch<'_>, to: &mut [[u8; 3]]) {
        // SAFETY: as above.
        unsafe { moved(stretch, to) }
    }
}

/// As [`Matrix::planes`].
#[target_feature(enable = "avx2")]
#[inline]
fn yuv(matrix: &Matrix, words: &[u32; PAIRS]) -> [[u8; PIXELS]; 3] {
    let mut planes = [[0; PIXELS]; 3];
    for half in 0..PAIRS / 16 {
        // SAFETY: 16 words from each half on are two vectors.
        let (first, second) = unsafe {
            let from = words.as_ptr().add(16 * half).cast();
            (_mm256_loadu_si256(from), _mm256_loadu_si256(from.add(1)))
        };
        let (first, second) = (sums(matrix, first), sums(matrix, second));
        for (plane, (a, b)) in planes.iter_mut().zip(first.into_iter().zip(second)) {
            // Pixels 0..8 of either, then 8..16 of either, are put in order.
            let codes = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi16(a, b));
            // SAFETY: 32 bytes from each half on are a vector.
            unsafe { _mm256_storeu_si256(plane.as_mut_ptr().add(32 * half).cast(), codes) };
        }
    }
    planes
}

/// Red, green and blue of 16 pixels in order, without their fraction bits and not yet clamped.
#[target_feature(enable = "avx2")]
#[inline]
fn sums(matrix: &Matrix, words: __m256i) -> [__m256i; 3] {
    let (byte, luma) = (_mm256_set1_epi32(0xFF), _mm256_set1_epi32(matrix.luma));
    let y0 = _mm256_mullo_epi32(_mm256_and_si256(words, byte), luma);
    let y1 = _mm256_mullo_epi32(_mm256_and_si256(_mm256_srli_epi32::<16>(words), byte), luma);
    let (u, v) = (_mm256_and_si256(_mm256_srli_epi32::<8>(words), byte), _mm256_srli_epi32::<24>(words));
    let mut sums = [
        _mm256_mullo_epi32(v, _mm256_set1_epi32(matrix.red_v)),
        _mm256_add_epi32(
            _mm256_mullo_epi32(u, _mm256_set1_epi32(matrix.green_u)),
            _mm256_mullo_epi32(v, _mm256_set1_epi32(matrix.green_v)),
        ),
        _mm256_mullo_epi32(u, _mm256_set1_epi32(matrix.blue_u)),
    ];
    for (sum, constant) in sums.iter_mut().zip(matrix.constants) {
        let chroma = _mm256_add_epi32(*sum, _mm256_set1_epi32(constant));
        let (left, right) = (_mm256_add_epi32(y0, chroma), _mm256_add_epi32(y1, chroma));
        // The high halves: that of the left pixel goes to the low half, that of the right one stays.
        *sum = _mm256_blend_epi16::<0b1010_1010>(_mm256_srli_epi32::<16>(left), right);
    }
    sums
}

/// Bytes of rows that are weighed at a time.
const BYTES: usize = 32;

/// As [`Rows::weigh`], for lines of at least [`BYTES`].
#[target_feature(enable = "avx2")]
fn weigh_rows(rows: &Rows<'_>, line: &mut [i16]) {
    let last = rows.weights.len().saturating_sub(1) * rows.pitch;
    assert!(line.len() >= BYTES && last + line.len() <= rows.bytes.len(), "rows are too short");
    // The last block overlaps the one before rather than being incomplete.
    let end = line.len() - BYTES;
    let mut at = 0;
    loop {
        // SAFETY: from `at` on each row has a block, and the line.
        unsafe { weigh_block(rows, at, line) };
        if at == end {
            return;
        }
        at = end.min(at + BYTES);
    }
}

/// [`BYTES`] values of a line from `at` on: products of two rows are added by the instruction that makes them.
///
/// # Safety
/// Each row and the line have to have [`BYTES`] from `at` on.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn weigh_block(rows: &Rows<'_>, at: usize, line: &mut [i16]) {
    let mut start = rows.bytes.as_ptr().wrapping_add(at);
    let mut sums = [_mm256_set1_epi32(half(ROWS_SHIFT)); 4];
    let (pairs, single) = rows.weights.as_chunks::<2>();
    for pair in pairs {
        let pair = i32::from(pair[0]) | i32::from(pair[1]) << 16;
        // SAFETY: the caller's.
        unsafe { add_two(start, start.add(rows.pitch), pair, &mut sums) };
        start = start.wrapping_add(2 * rows.pitch);
    }
    if let [weight] = *single {
        // A row without a partner is its own, with weight 0.
        // SAFETY: the caller's.
        unsafe { add_two(start, start, weight.into(), &mut sums) };
    }
    for sum in &mut sums {
        *sum = _mm256_srai_epi32::<ROWS_SHIFT>(*sum);
    }
    // Bytes 0..8 and 16..24, then 8..16 and 24..32.
    let (even, odd) = (_mm256_packs_epi32(sums[0], sums[1]), _mm256_packs_epi32(sums[2], sums[3]));
    // SAFETY: the caller's.
    unsafe {
        let to = line.as_mut_ptr().add(at).cast::<__m256i>();
        _mm256_storeu_si256(to, _mm256_permute2x128_si256::<0x20>(even, odd));
        _mm256_storeu_si256(to.add(1), _mm256_permute2x128_si256::<0x31>(even, odd));
    }
}

/// Adds blocks of two rows, of which the first has its weight in the low half of `pair`.
///
/// # Safety
/// Both addresses have to be those of [`BYTES`].
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn add_two(first: *const u8, second: *const u8, pair: i32, sums: &mut [__m256i; 4]) {
    // SAFETY: the caller's.
    let (a, b) = unsafe { (_mm256_loadu_si256(first.cast()), _mm256_loadu_si256(second.cast())) };
    let (pair, zero) = (_mm256_set1_epi32(pair), _mm256_setzero_si256());
    let (low, high) = (_mm256_unpacklo_epi8(a, b), _mm256_unpackhi_epi8(a, b));
    let words = [
        _mm256_unpacklo_epi8(low, zero),
        _mm256_unpackhi_epi8(low, zero),
        _mm256_unpacklo_epi8(high, zero),
        _mm256_unpackhi_epi8(high, zero),
    ];
    for (sum, words) in sums.iter_mut().zip(words) {
        *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(words, pair));
    }
}

/// As [`Columns::weigh`]: a vector holds red, green, blue and a value of no use of outputs `n` and `n + 4` of a block.
#[target_feature(enable = "avx2")]
fn weigh_columns(columns: &Columns, line: &[i16], mut planes: [&mut [u8]; 3]) {
    let count = planes[0].len();
    assert!(columns.first().len() >= count.next_multiple_of(BLOCK), "outputs are too few");
    assert!(columns.wide().len() >= columns.first().len() / 2 * columns.pairs(), "weights are too few");
    assert!(columns.values() <= line.len(), "the line is too short");
    for x in (0..count).step_by(BLOCK) {
        // SAFETY: a whole block of outputs and their weights is there, and `line` has what any of them reads.
        put(&mut planes, x, unsafe { block(columns, line, x) });
    }
}

/// Eight outputs from `x` on of each plane.
///
/// # Safety
/// `first` has to have eight outputs from `x` on, `wide` their weights, and `line` the values they read.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn block(columns: &Columns, line: &[i16], x: usize) -> [[u8; BLOCK]; 3] {
    // Two pixels, `r g b r g b`, to pairs of one channel each: `rr gg bb` and what comes after.
    let pairs = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11, 12, 13, 14, 15));
    let planar = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    // SAFETY: the caller's.
    let first: &[u32] = unsafe { columns.first().get_unchecked(x..x + BLOCK) };
    let mut sums = [_mm256_set1_epi32(half(COLUMNS_SHIFT)); 4];
    // SAFETY: the caller's: `x / 2` vectors of `pairs` weights each come before this block's four.
    let mut weights = unsafe { columns.wide().as_ptr().add(x / 2 * columns.pairs()).cast::<__m256i>() };
    for (n, sum) in sums.iter_mut().enumerate() {
        let mut low = line.as_ptr().wrapping_add(first[n] as usize);
        let mut high = line.as_ptr().wrapping_add(first[n + 4] as usize);
        for _ in 0..columns.pairs() {
            // SAFETY: the caller's: eight values are there from the last pair of any output on.
            unsafe {
                let two = _mm256_castsi128_si256(_mm_loadu_si128(low.cast()));
                let two = _mm256_inserti128_si256::<1>(two, _mm_loadu_si128(high.cast()));
                let products = _mm256_madd_epi16(_mm256_shuffle_epi8(two, pairs), _mm256_loadu_si256(weights));
                *sum = _mm256_add_epi32(*sum, products);
                (low, high, weights) = (low.wrapping_add(6), high.wrapping_add(6), weights.add(1));
            }
        }
    }
    for sum in &mut sums {
        *sum = _mm256_srai_epi32::<COLUMNS_SHIFT>(*sum);
    }
    let [a, b, c, d] = sums;
    let bytes = _mm256_packus_epi16(_mm256_packus_epi32(a, b), _mm256_packus_epi32(c, d));
    // Four bytes of each plane in either half, the first outputs' in the lower one.
    let bytes = _mm256_shuffle_epi8(bytes, planar);
    let bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    [
        _mm256_extract_epi64::<0>(bytes).to_le_bytes(),
        _mm256_extract_epi64::<1>(bytes).to_le_bytes(),
        _mm256_extract_epi64::<2>(bytes).to_le_bytes(),
    ]
}

/// As [`Stretch::fill`], four pixels at a time.
#[target_feature(enable = "avx2")]
fn moved(mut stretch: Stretch<'_>, to: &mut [[u8; 3]]) {
    let pitch = _mm256_set1_epi64x(stretch.pitch as i64);
    let [mut column, mut row] = [four_from(stretch.at[0], stretch.step[0]), four_from(stretch.at[1], stretch.step[1])];
    let steps = [_mm256_set1_epi64x(4 * stretch.step[0]), _mm256_set1_epi64x(4 * stretch.step[1])];
    let (fours, rest) = to.as_chunks_mut::<4>();
    for four in &mut *fours {
        let columns = _mm256_srli_epi64::<{ POSITION as i32 }>(column);
        let rows = _mm256_srli_epi64::<{ POSITION as i32 }>(row);
        let triple = _mm256_add_epi64(_mm256_add_epi64(columns, columns), columns);
        let at = lanes(_mm256_add_epi64(_mm256_mul_epu32(rows, pitch), triple));
        let (across, down) = (lanes(weights::<8>(column)), lanes(weights::<16>(row)));
        (column, row) = (_mm256_add_epi64(column, steps[0]), _mm256_add_epi64(row, steps[1]));
        let a = between(&stretch, at[0], across[0], down[0]);
        let b = between(&stretch, at[1], across[1], down[1]);
        let c = between(&stretch, at[2], across[2], down[2]);
        let d = between(&stretch, at[3], across[3], down[3]);
        // Four values of each, of which the last is of no use.
        let bytes = _mm_packus_epi16(_mm_packs_epi32(a, b), _mm_packs_epi32(c, d));
        let order = _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
        let mut twelve = [0; 16];
        // SAFETY: 16 bytes are a vector.
        unsafe { _mm_storeu_si128(twelve.as_mut_ptr().cast(), _mm_shuffle_epi8(bytes, order)) };
        four.as_flattened_mut().copy_from_slice(&twelve[..12]);
    }
    let done = 4 * fours.len() as i64;
    stretch.at = [stretch.at[0] + done * stretch.step[0], stretch.at[1] + done * stretch.step[1]];
    stretch.fill(rest);
}

/// Four numbers, a step from each to the next.
#[target_feature(enable = "avx2")]
#[inline]
fn four_from(start: i64, step: i64) -> __m256i {
    _mm256_setr_epi64x(start, start + step, start + 2 * step, start + 3 * step)
}

/// Of four positions the weights of what is before them and, `BITS` further, of what is behind.
#[target_feature(enable = "avx2")]
#[inline]
fn weights<const BITS: i32>(positions: __m256i) -> __m256i {
    let fractions = _mm256_srli_epi64::<{ (POSITION - FRACTION) as i32 }>(positions);
    let behind = _mm256_and_si256(fractions, _mm256_set1_epi64x((1 << FRACTION) - 1));
    let before = _mm256_sub_epi64(_mm256_set1_epi64x(1 << FRACTION), behind);
    _mm256_or_si256(before, _mm256_slli_epi64::<BITS>(behind))
}

/// The four numbers of a vector.
#[target_feature(enable = "avx2")]
#[inline]
fn lanes(vector: __m256i) -> [u64; 4] {
    let mut lanes = [0; 4];
    // SAFETY: 32 bytes are a vector.
    unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), vector) };
    lanes
}

/// Red, green, blue and a value of no use between the pixel at a byte, the next one, and those below: `across` has the
/// weights of left and right in a byte each, `down` those of above and below in 16 bits each.
#[target_feature(enable = "avx2")]
#[inline]
fn between(stretch: &Stretch<'_>, at: u64, across: u64, down: u64) -> __m128i {
    let at = at as usize;
    let (above, below) = (&stretch.pixels[at..][..NEAR], &stretch.pixels[at + stretch.pitch..][..NEAR]);
    // SAFETY: eight bytes of either are half a vector.
    let (above, below) = unsafe { (_mm_loadl_epi64(above.as_ptr().cast()), _mm_loadl_epi64(below.as_ptr().cast())) };
    // Each channel's values left and right, above and then below. Weights are the unsigned ones, so 128 is taken from
    // values and added to what comes out.
    let pairs = _mm_setr_epi8(0, 3, 8, 11, 1, 4, 9, 12, 2, 5, 10, 13, -1, -1, -1, -1);
    let values = _mm_xor_si128(_mm_unpacklo_epi64(above, below), _mm_set1_epi8(i8::MIN));
    let both = _mm_maddubs_epi16(_mm_set1_epi16(across as i16), _mm_shuffle_epi8(values, pairs));
    let sums = _mm_madd_epi16(both, _mm_set1_epi32(down as i32));
    let offset = _mm_set1_epi32((1 << (2 * FRACTION - 1)) + (128 << (2 * FRACTION)));
    _mm_srai_epi32::<{ 2 * FRACTION as i32 }>(_mm_add_epi32(sums, offset))
}
