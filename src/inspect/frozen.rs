//! A camera that gives a picture again: seen by its bytes.
//!
//! No two exposures of a sensor are equal, since each pixel has noise of its own. A driver that hangs gives the last
//! picture under new numbers, and every part behind it would get the verdict of the one that it shows.

use super::{Blindness, Inspect, Inspection, Unseen};
use crate::error::Result;
use crate::frame::Frame;

/// An inspection that is asked about each part's frame once, and remembers the last.
///
/// Keeps that frame, and so one of its camera's buffers. Costs a look at the first bytes that differ: those of the first
/// pixels on a sensor that lives, all of them where the picture comes again.
pub struct FrozenWatch {
    inspect: Box<dyn Inspect>,
    last: Option<Frame>,
}

impl FrozenWatch {
    /// Watches the frames that `inspect` gets.
    pub fn new(inspect: Box<dyn Inspect>) -> Self {
        Self { inspect, last: None }
    }

    /// Whether this is the last part's picture under another number.
    ///
    /// One frame may serve two parts. Where every pixel is at an end of its range there is no noise that could differ:
    /// such a frame is dark or bright, which is not for this to say.
    fn repeats(&self, frame: &Frame) -> bool {
        let is_clipped = |rgb: &[u8]| rgb.iter().all(|&value| value == 0 || value == u8::MAX);
        self.last.as_ref().is_some_and(|last| {
            let is_same = (last.width, last.height) == (frame.width, frame.height) && last.rgb == frame.rgb;
            last.id != frame.id && is_same && !is_clipped(&frame.rgb)
        })
    }
}

impl Inspect for FrozenWatch {
    fn look(&mut self, frame: &Frame) -> Option<Unseen> {
        let is_frozen = self.repeats(frame);
        self.last = Some(frame.clone());
        match self.inspect.look(frame) {
            // What is wrong with the light or the lens says more.
            Some(Unseen::Blind(blindness)) => Some(Unseen::Blind(blindness)),
            // Before an empty belt: a camera that froze in front of one would let every part pass.
            _ if is_frozen => Some(Unseen::Blind(Blindness::Frozen)),
            unseen => unseen,
        }
    }

    fn inspect(&mut self, frame: &Frame) -> Result<Inspection> {
        self.inspect.inspect(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, ErrorKind};
    use crate::units::FrameId;

    /// Sees what it is told to see and judges nothing.
    struct Sees(Option<Unseen>);

    impl Inspect for Sees {
        fn look(&mut self, _frame: &Frame) -> Option<Unseen> {
            self.0
        }

        fn inspect(&mut self, _frame: &Frame) -> Result<Inspection> {
            Err(Error::new(ErrorKind::Internal, "asked for a verdict"))
        }
    }

    fn frame(id: u64, rgb: [u8; 6]) -> Frame {
        Frame { id: FrameId(id), ..Frame::still(2, 1, rgb) }
    }

    #[test]
    fn a_picture_that_comes_again_under_another_number_is_frozen() {
        const FROZEN: Option<Unseen> = Some(Unseen::Blind(Blindness::Frozen));
        let (grey, other, black, white) = ([7; 6], [7, 7, 7, 7, 7, 8], [0; 6], [255; 6]);
        let mixed = [0, 255, 0, 255, 255, 0];
        type Case<'a> = (&'a str, &'a [(u64, [u8; 6])], &'a [Option<Unseen>]);
        let cases: &[Case] = &[
            ("each is another", &[(0, grey), (1, other), (2, grey)], &[None, None, None]),
            (
                "frozen from the second on, and back",
                &[(0, grey), (1, grey), (9, grey), (10, other)],
                &[None, FROZEN, FROZEN, None],
            ),
            ("one frame for two parts", &[(3, grey), (3, grey), (4, other)], &[None, None, None]),
            ("clipped pixels have no noise", &[(0, black), (1, black), (2, white), (3, white)], &[None; 4]),
            ("at either end", &[(0, mixed), (1, mixed)], &[None, None]),
        ];
        for (name, frames, expected) in cases {
            let mut watch = FrozenWatch::new(Box::new(Sees(None)));
            let seen: Vec<_> = frames.iter().map(|&(id, rgb)| watch.look(&frame(id, rgb))).collect();
            assert_eq!(seen, *expected, "{name}");
        }
    }

    #[test]
    fn a_better_reason_goes_before_it_and_an_empty_belt_behind() {
        for (sees, expected) in [
            (Unseen::Blind(Blindness::Flat), Unseen::Blind(Blindness::Flat)),
            (Unseen::NoPart, Unseen::Blind(Blindness::Frozen)),
        ] {
            let mut watch = FrozenWatch::new(Box::new(Sees(Some(sees))));
            assert_eq!([0, 1].map(|id| watch.look(&frame(id, [9; 6]))), [Some(sees), Some(expected)]);
        }
    }
}
