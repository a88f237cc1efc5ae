//! Frame numbers and frame times from what the driver says. Pure.
//!
//! The driver counts exposures in 32 bits; a number that is missing was exposed and never arrived. Our numbers go on
//! where its numbers wrap, and where they start anew: after a replug nobody knows what would have been exposed.
//!
//! The time is the driver's: the start of the exposure from USB cameras, the end of the frame's transfer from most
//! others (`V4L2_BUF_FLAG_TSTAMP_SRC_SOE`, `_EOF`). The difference is constant, and belongs into the trigger's offset.

use crate::clock::Timestamp;
use crate::units::FrameId;

/// Frame numbers from the driver's sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbering {
    next: u64,
    last: Option<u32>,
}

impl Numbering {
    /// The number of the frame with this `sequence`; numbers that it skips are lost frames.
    ///
    /// A sequence that stands still or goes back (a driver that does not count, or has begun anew) is the next frame:
    /// a gap cannot be told from it.
    pub fn number(&mut self, sequence: u32) -> FrameId {
        let ahead = match self.last.replace(sequence) {
            None => 1,
            Some(last) => match sequence.wrapping_sub(last) {
                0 => 1,
                // More than half a round ahead is behind.
                ahead if ahead > u32::MAX / 2 => 1,
                ahead => ahead,
            },
        };
        let id = self.next + u64::from(ahead - 1);
        self.next = id + 1;
        FrameId(id)
    }

    /// The stream began anew: the next sequence may be any.
    pub fn restart(&mut self) {
        self.last = None;
    }
}

/// What the driver says about a frame's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The stamp is CLOCK_MONOTONIC's (`V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC`).
    pub is_monotonic: bool,
    /// Whole seconds.
    pub seconds: i64,
    /// Microseconds beyond them.
    pub microseconds: i64,
}

impl Stamp {
    /// A `struct timeval`, whose fields have 32 or 64 bits by board.
    pub fn new(is_monotonic: bool, seconds: impl Into<i64>, microseconds: impl Into<i64>) -> Self {
        Self { is_monotonic, seconds: seconds.into(), microseconds: microseconds.into() }
    }

    /// The instant on our clock; `None` for another clock, for no time at all (0), and for what is no time.
    pub fn instant(self) -> Option<Timestamp> {
        if !self.is_monotonic || !(0..1_000_000).contains(&self.microseconds) {
            return None;
        }
        let nanos = u64::try_from(self.seconds).ok()?.checked_mul(1_000_000_000)?;
        let nanos = nanos.checked_add(u64::try_from(self.microseconds).ok()? * 1000)?;
        (nanos > 0).then_some(Timestamp(nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(sequences: &[u32]) -> Vec<u64> {
        let mut numbering = Numbering::default();
        sequences.iter().map(|&sequence| numbering.number(sequence).0).collect()
    }

    #[test]
    fn gaps_in_the_sequence_are_gaps_in_the_numbers() {
        for (name, sequences, expected) in [
            ("no gap", &[0, 1, 2][..], &[0, 1, 2][..]),
            ("the first may be any", &[77, 78], &[0, 1]),
            ("two lost", &[5, 8, 9], &[0, 3, 4]),
            ("over the wrap", &[u32::MAX - 1, u32::MAX, 0, 1], &[0, 1, 2, 3]),
            ("lost at the wrap", &[u32::MAX - 1, 1], &[0, 3]),
            ("a driver that does not count", &[0, 0, 0], &[0, 1, 2]),
            ("a driver that begins anew", &[900, 901, 0, 1], &[0, 1, 2, 3]),
            ("one that came twice and late", &[3, 4, 3, 4, 5], &[0, 1, 2, 3, 4]),
            ("half a round ahead", &[0, u32::MAX / 2], &[0, u64::from(u32::MAX / 2)]),
            ("more than half is behind", &[0, u32::MAX / 2 + 1], &[0, 1]),
        ] {
            assert_eq!(numbers(sequences), expected, "{name}");
        }
    }

    #[test]
    fn after_a_replug_the_numbers_go_on_without_a_gap() {
        let mut numbering = Numbering::default();
        assert_eq!((numbering.number(10), numbering.number(12)), (FrameId(0), FrameId(2)));
        numbering.restart();
        assert_eq!((numbering.number(500), numbering.number(501)), (FrameId(3), FrameId(4)));
    }

    #[test]
    fn a_stamp_is_an_instant_of_our_clock_or_nothing() {
        for (is_monotonic, seconds, microseconds, nanos) in [
            (true, 12, 345_678, Some(12_345_678_000)),
            (true, 0, 1, Some(1000)),
            (true, 0, 0, None),
            (true, -1, 5, None),
            (true, 1, 1_000_000, None),
            (true, 1, -1, None),
            (true, i64::MAX, 0, None),
            (false, 12, 345_678, None),
        ] {
            let stamp = Stamp { is_monotonic, seconds, microseconds };
            assert_eq!(stamp.instant(), nanos.map(Timestamp), "{stamp:?}");
        }
    }
}
