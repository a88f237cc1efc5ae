//! Lines of a sensor's mosaic to lines of interleaved RGB: what a pixel has not comes from its nearest neighbours.

use super::colour::{PIXELS, high_byte, interleave};
use super::isa::{Kernel, PixelIsa, dispatch};

/// How the samples of a line are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Samples {
    /// 8 bits in a byte.
    Bytes,
    /// `8 + shift` bits in the low ones of 16-bit little-endian words.
    Words {
        /// Bits that are dropped.
        shift: u32,
    },
    /// Four pixels in five bytes: the high 8 bits of each, then the low ones of all.
    Fours,
    /// Two pixels in three bytes, in the same way.
    Twos,
}

impl Samples {
    /// The high 8 bits of sample `x`.
    #[inline(always)]
    fn of(self, line: &[u8], x: usize) -> u8 {
        match self {
            Self::Bytes => line[x],
            Self::Words { shift } => high_byte([line[2 * x], line[2 * x + 1]], shift),
            Self::Fours => line[x / 4 * 5 + x % 4],
            Self::Twos => line[x / 2 * 3 + x % 2],
        }
    }

    /// Where sample `x`, the first of four, begins.
    #[inline(always)]
    fn start(self, x: usize) -> usize {
        match self {
            Self::Bytes => x,
            Self::Words { .. } => 2 * x,
            Self::Fours => x / 4 * 5,
            Self::Twos => x / 2 * 3,
        }
    }
}

/// One line of a mosaic to RGB, bilinear: means of two and four neighbours, rounded to the nearest and half up.
///
/// * `lines`: the line above, the line itself and the one below; at the frame's edges the mirrored one.
/// * `is_red_line`: whether the line has red pixels beside its green ones, or blue ones.
/// * `is_odd`: whether those pixels stand in odd columns.
///
/// # Panics
/// If a line has fewer samples than `rgb` has pixels.
pub fn demosaic(lines: [&[u8]; 3], samples: Samples, is_red_line: bool, is_odd: bool, rgb: &mut [u8]) {
    if is_odd {
        dispatch(Demosaic::<1> { lines, samples, is_red_line, rgb });
    } else {
        dispatch(Demosaic::<0> { lines, samples, is_red_line, rgb });
    }
}

struct Demosaic<'a, const PHASE: usize> {
    lines: [&'a [u8]; 3],
    samples: Samples,
    is_red_line: bool,
    rgb: &'a mut [u8],
}

/// A block of samples with one neighbour on each side.
type Block = [u8; PIXELS + 2];

impl<const PHASE: usize> Kernel for Demosaic<'_, PHASE> {
    type Out = ();

    #[inline(always)]
    fn run<I: PixelIsa>(self, _: I) {
        let width = self.rgb.len() / 3;
        let mut three = [[0; PIXELS + 2]; 3];
        for (n, rgb) in self.rgb.chunks_mut(3 * PIXELS).enumerate() {
            for (line, block) in self.lines.iter().zip(&mut three) {
                take(self.samples, line, n * PIXELS, rgb.len() / 3, width, block);
            }
            let [line_colour, green, other] = planes::<PHASE>(&three);
            let planes = if self.is_red_line { [line_colour, green, other] } else { [other, green, line_colour] };
            if let Ok(rgb) = rgb.try_into() {
                interleave(&planes, rgb);
            } else {
                let mut whole = [0; 3 * PIXELS];
                interleave(&planes, &mut whole);
                rgb.copy_from_slice(&whole[..rgb.len()]);
            }
        }
    }
}

/// Takes `count` samples from `x` on, and their neighbours, from a line of `width`.
#[inline(always)]
fn take(samples: Samples, line: &[u8], x: usize, count: usize, width: usize, block: &mut Block) {
    block[0] = samples.of(line, neighbours(x, width).0);
    block[count + 1] = samples.of(line, neighbours(x + count - 1, width).1);
    let to = &mut block[1..=count];
    let line = &line[samples.start(x)..];
    match <&mut [u8; PIXELS]>::try_from(to) {
        Ok(to) => take_block(samples, line, to),
        Err(_) => (0..count).for_each(|n| block[n + 1] = samples.of(line, n)),
    }
}

#[inline(always)]
fn take_block(samples: Samples, line: &[u8], to: &mut [u8; PIXELS]) {
    // A loop for each, whose length the compiler knows.
    match samples {
        Samples::Bytes => to.copy_from_slice(&line[..PIXELS]),
        Samples::Words { shift } => {
            let line = &line[..2 * PIXELS];
            for n in 0..PIXELS {
                to[n] = high_byte([line[2 * n], line[2 * n + 1]], shift);
            }
        }
        Samples::Fours => {
            let line = &line[..PIXELS / 4 * 5 - 1];
            for n in 0..PIXELS {
                to[n] = line[n / 4 * 5 + n % 4];
            }
        }
        Samples::Twos => {
            let line = &line[..PIXELS / 2 * 3 - 1];
            for n in 0..PIXELS {
                to[n] = line[n / 2 * 3 + n % 2];
            }
        }
    }
}

/// The colour that the line has beside green, green, and the third, of a block of the line in the middle.
///
/// A loop for each, and masks where a choice would do: so all of them become vectors.
#[inline(always)]
fn planes<const PHASE: usize>([above, here, below]: &[Block; 3]) -> [[u8; PIXELS]; 3] {
    let (mut beside, mut upright, mut corners, mut cross) = ([0; PIXELS], [0; PIXELS], [0; PIXELS], [0; PIXELS]);
    for n in 0..PIXELS {
        beside[n] = mean2(here[n], here[n + 2]);
    }
    for n in 0..PIXELS {
        upright[n] = mean2(above[n + 1], below[n + 1]);
    }
    for n in 0..PIXELS {
        corners[n] = mean4([above[n], above[n + 2], below[n], below[n + 2]]);
    }
    for n in 0..PIXELS {
        cross[n] = mean4([here[n], here[n + 2], above[n + 1], below[n + 1]]);
    }
    let mut centre = [0; PIXELS];
    centre.copy_from_slice(&here[1..=PIXELS]);
    [by_turns::<PHASE>(&centre, &beside), by_turns::<PHASE>(&cross, &centre), by_turns::<PHASE>(&corners, &upright)]
}

/// `own` in the columns of the line's colour, `others` in the columns of green.
#[inline(always)]
fn by_turns<const PHASE: usize>(own: &[u8; PIXELS], others: &[u8; PIXELS]) -> [u8; PIXELS] {
    let mut both = [0; PIXELS];
    for n in 0..PIXELS {
        let mask = if n % 2 == PHASE { 0xFF } else { 0 };
        both[n] = own[n] & mask | others[n] & !mask;
    }
    both
}

/// The places before and after `at`, mirrored at the ends; itself where there is only one.
#[inline(always)]
pub fn neighbours(at: usize, count: usize) -> (usize, usize) {
    let last = count - 1;
    let before = if at == 0 { last.min(1) } else { at - 1 };
    let after = if at == last { last.saturating_sub(1) } else { at + 1 };
    (before, after)
}

#[inline(always)]
fn mean2(a: u8, b: u8) -> u8 {
    ((u16::from(a) + u16::from(b) + 1) >> 1) as u8
}

#[inline(always)]
fn mean4([a, b, c, d]: [u8; 4]) -> u8 {
    ((u16::from(a) + u16::from(b) + u16::from(c) + u16::from(d) + 2) / 4) as u8
}
