//! Tiles of 4x4 pixels for 2x2 outputs of 3x3 windows (see `src/nn/int8/winograd.rs`): what each instruction set does with
//! them.

use std::ops::Range;

use super::super::epilogue::Sink;
use super::super::packed::STRIP;

/// Tiles of a strip.
pub(in super::super) const TILES: usize = STRIP / 2;
/// Channels are multiples of this.
pub(in super::super) const CHANNELS: usize = 16;
/// Places of a transformed tile.
pub(in super::super) const PLACES: usize = 16;
/// Outputs of a panel.
pub(in super::super) const LANES: usize = 8;
/// Tiles whose words of [`WORDS`] channels stand together.
pub(super) const GROUP: usize = 8;
/// Channels that stand together.
pub(super) const WORDS: usize = 8;

/// The kernels of an instruction set.
pub(in super::super) struct Winograd {
    /// Channels whose products are added together.
    pub unit: usize,
    /// Needs the instruction set.
    pub transform: unsafe fn(&Lines<'_>, &mut [i16]),
    /// Needs the instruction set.
    pub multiply: unsafe fn(&Tiles<'_>, &mut [[i32; LANES]]),
    /// Needs the instruction set.
    pub finish: unsafe fn(&[[i32; LANES]], &mut Sink<'_>, usize, usize, usize),
}

impl Winograd {
    /// Transformed tiles of some lines: `[PLACES][TILES / GROUP][channels / WORDS][GROUP][WORDS]`.
    ///
    /// # Panics
    ///
    /// If `tiles` is too short.
    pub(in super::super) fn transform(&self, lines: &Lines<'_>, tiles: &mut [i16]) {
        assert!(tiles.len() >= PLACES * TILES * lines.channels, "room for transformed tiles");
        // SAFETY: a table is reached only through a `Conv`, which exists only if the processor has the instruction set.
        unsafe { (self.transform)(lines, tiles) }
    }

    /// Sums of each tile's outputs, `[2][panels][STRIP][LANES]`.
    ///
    /// # Panics
    ///
    /// If `sums` is too short.
    pub(in super::super) fn multiply(&self, tiles: &Tiles<'_>, sums: &mut [[i32; LANES]]) {
        assert!(sums.len() >= 2 * tiles.panels() * STRIP, "room for sums");
        // SAFETY: as above.
        unsafe { (self.multiply)(tiles, sums) }
    }

    /// Writes the sums of some pixels and a panel.
    pub(in super::super) fn finish(&self, sums: &[[i32; LANES]], sink: &mut Sink<'_>, channel: usize, outputs: usize) {
        // SAFETY: as above.
        unsafe { (self.finish)(sums, sink, 0, channel, outputs) }
    }
}

/// Four rows of pixels, `[4][2 * count + 2][channels]`.
pub(in super::super) struct Lines<'a> {
    pub(super) pixels: &'a [u8],
    pub(super) channels: usize,
    pub(super) count: usize,
}

impl<'a> Lines<'a> {
    /// Those of `count` tiles.
    ///
    /// # Panics
    ///
    /// If there are no tiles or more than [`TILES`], channels are not whole vectors, or `pixels` are not as many.
    pub(in super::super) fn new(pixels: &'a [u8], channels: usize, count: usize) -> Self {
        assert!((1..=TILES).contains(&count), "a strip of {count} tiles");
        assert!(channels > 0 && channels.is_multiple_of(CHANNELS), "{channels} channels");
        assert_eq!(pixels.len(), 4 * (2 * count + 2) * channels, "four rows of {count} tiles");
        Self { pixels, channels, count }
    }
}

/// Transformed tiles and weights.
pub(in super::super) struct Tiles<'a> {
    pub(super) tiles: &'a [i16],
    pub(super) channels: usize,
    pub(super) count: usize,
    pub(super) weights: &'a [i16],
    pub(super) bias: &'a [i32],
}

impl<'a> Tiles<'a> {
    /// `tiles` are as [`Winograd::transform`] gives them, of which `count` count, `weights`
    /// `[panels][PLACES][channels / unit][LANES][unit]`, and `bias` `[panels][LANES]`.
    ///
    /// # Panics
    ///
    /// If there are no tiles or more than [`TILES`], channels are not whole vectors, or a slice is shorter.
    pub(in super::super) fn new(
        tiles: &'a [i16],
        channels: usize,
        count: usize,
        weights: &'a [i16],
        bias: &'a [i32],
    ) -> Self {
        assert!((1..=TILES).contains(&count), "a strip of {count} tiles");
        assert!(channels > 0 && channels.is_multiple_of(CHANNELS), "{channels} channels");
        assert!(tiles.len() >= PLACES * TILES * channels, "transformed tiles");
        assert!(weights.len() >= bias.len() * PLACES * channels, "transformed weights");
        assert!(bias.len().is_multiple_of(LANES), "biases of whole panels");
        Self { tiles, channels, count, weights, bias }
    }

    /// Panels of outputs.
    pub(in super::super) fn panels(&self) -> usize {
        self.bias.len() / LANES
    }

    /// The words of a group of tiles at a place: `[channels / WORDS][GROUP][WORDS]`.
    #[inline(always)]
    pub(super) fn group(&self, place: usize, group: usize) -> &'a [i16] {
        &self.tiles[(place * TILES + group * GROUP) * self.channels..][..GROUP * self.channels]
    }

    /// The weights of some panels at a place, each `PLACES * LANES * channels` after the one before.
    #[inline(always)]
    pub(super) fn weights(&self, panels: Range<usize>, place: usize) -> &'a [i16] {
        let of_place = LANES * self.channels;
        let first = panels.start * PLACES + place;
        &self.weights[first * of_place..][..((panels.len() - 1) * PLACES + 1) * of_place]
    }
}

/// Makes `transform` and `sums_of` of a kernel module from its functions on vectors of `$words` words and of `LANES` sums:
///
/// - `words(*const u8) -> W`, `put_words(*mut i16, W)`, which puts each `WORDS` a group further, `plus(W, W)`, `minus(W, W)`,
/// - `sums(*const i32) -> S`, `put_sums(*mut i32, S)`, `plus_sums(S, S)`, `minus_sums(S, S)`, `quarter(S)`.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! winograd_with {
    ($features:literal, $words:literal) => {
        /// Transforms the pixels of each tile, columns first; of two neighbours' eight columns two are the same.
        #[target_feature(enable = $features)]
        fn transform(lines: &Lines<'_>, tiles: &mut [i16]) {
            let (channels, pitch) = (lines.channels, (2 * lines.count + 2) * lines.channels);
            let place = TILES * channels;
            debug_assert!(tiles.len() >= PLACES * place);
            for channel in (0..channels).step_by($words) {
                // SAFETY: `Lines::new` found four rows of two columns for each tile and two more, in which `channel` and the
                // vector that begins there are, and `Winograd::transform` all places of all tiles.
                unsafe {
                    let from = lines.pixels.as_ptr().add(channel);
                    let to = tiles.as_mut_ptr().add(channel * GROUP);
                    let mut left = [column(from, pitch), column(from.add(channels), pitch)];
                    for tile in 0..lines.count {
                        let from = from.add((2 * tile + 2) * channels);
                        let right = [column(from, pitch), column(from.add(channels), pitch)];
                        let to = to.add(tile / GROUP * GROUP * channels + tile % GROUP * WORDS);
                        for row in 0..4 {
                            let [a, b, c, d] = [left[0][row], left[1][row], right[0][row], right[1][row]];
                            let to = to.add(4 * row * place);
                            put_words(to, minus(a, c));
                            put_words(to.add(place), plus(b, c));
                            put_words(to.add(2 * place), minus(c, b));
                            put_words(to.add(3 * place), minus(b, d));
                        }
                        left = right;
                    }
                }
            }
        }

        /// The transformed column of a vector of channels.
        ///
        /// # Safety
        ///
        /// There are as many channels from `from` on, and `pitch` bytes further, and twice, and three times.
        #[target_feature(enable = $features)]
        #[inline]
        unsafe fn column(from: *const u8, pitch: usize) -> [W; 4] {
            // SAFETY: the caller's.
            let [a, b, c, d] = unsafe { [0, 1, 2, 3].map(|row| words(from.add(row * pitch))) };
            [minus(a, c), plus(b, c), minus(c, b), minus(b, d)]
        }

        /// The sums of a panel's outputs from products `[PLACES][TILES]`: a row, and `below` sums further the one below.
        #[target_feature(enable = $features)]
        fn sums_of(
            products: &[[[i32; LANES]; TILES]; PLACES],
            count: usize,
            bias: &[i32; LANES],
            out: &mut [[i32; LANES]],
            below: usize,
        ) {
            assert!(count <= TILES && out.len() >= below + 2 * count, "room for sums");
            // SAFETY: the arrays have as many sums as a vector, and there are two for each tile in either row.
            unsafe {
                let bias = sums(bias.as_ptr());
                for tile in 0..count {
                    let mut columns = [[bias; 2]; 4];
                    for (x, column) in columns.iter_mut().enumerate() {
                        let [a, b, c, d] = [0, 4, 8, 12].map(|y| sums(products[y + x][tile].as_ptr()));
                        *column = [plus_sums(plus_sums(a, b), c), minus_sums(minus_sums(b, c), d)];
                    }
                    for row in 0..2 {
                        let [a, b, c, d] = [columns[0][row], columns[1][row], columns[2][row], columns[3][row]];
                        let to = out.as_mut_ptr().add(row * below + 2 * tile);
                        let [one, other] = [plus_sums(plus_sums(a, b), c), minus_sums(minus_sums(b, c), d)];
                        put_sums(to.cast(), plus_sums(quarter(one), bias));
                        put_sums(to.add(1).cast(), plus_sums(quarter(other), bias));
                    }
                }
            }
        }
    };
}
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(super) use winograd_with;
