//! What the frames of the last parts say: whether the camera sees, and whether it sees what the trigger speaks of.
//!
//! One blind frame may be a hand before the lens; it is the policy's business. Several in a row are a camera that sees
//! nothing: a person is called, and the line is not ready. It is ready again with the first part that is seen, while the
//! fault output waits for its reset, as with a camera that went away. A reset lets a line go on that stops when it is not
//! ready, and so would never bring the part that shows whether the camera sees: the next blind one calls again.

use crate::decide::Reason;

/// So many blind parts in a row are a blind camera. Chosen: one may be a hand before the lens and two the arm behind it;
/// at four parts a second three are known within a second.
const BLIND_IN_A_ROW: u64 = 3;

/// So many parts in a row that an edge starts and that the camera does not see call a person. Chosen: a part that is taken
/// off the belt, or a hand in the light barrier, leaves one or two; an eye that has moved, or an offset that is wrong,
/// leaves all of them, and a policy that lets an empty belt pass would let every part pass.
pub(super) const EMPTY_IN_A_ROW: u64 = 10;

/// What the last parts' frames showed.
#[derive(Debug, Default)]
pub(super) struct Sight {
    blind_in_a_row: u64,
    empty_in_a_row: u64,
    is_blind: bool,
}

/// Something that changed with a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// The camera is blind.
    Blind,
    /// It sees again, after so many blind parts.
    Sees(u64),
    /// So many times in a row the belt was empty.
    Empty,
}

impl Sight {
    /// Counts a part whose frame was looked at: blind, or empty, for a reason, or judged. Parts without a frame, and those
    /// whose inspection failed, say nothing about what the camera sees.
    pub(super) fn count(&mut self, reason: Option<Reason>) -> Option<News> {
        if reason.and_then(Reason::blindness).is_some() {
            self.blind_in_a_row += 1;
            let is_news = self.blind_in_a_row >= BLIND_IN_A_ROW && !self.is_blind;
            self.is_blind |= is_news;
            return is_news.then_some(News::Blind);
        }
        self.is_blind = false;
        // Who sees the whole background sees.
        let blind = std::mem::take(&mut self.blind_in_a_row);
        self.empty_in_a_row = if reason == Some(Reason::NoPart) { self.empty_in_a_row + 1 } else { 0 };
        if blind >= BLIND_IN_A_ROW {
            return Some(News::Sees(blind));
        }
        (self.empty_in_a_row == EMPTY_IN_A_ROW).then_some(News::Empty)
    }

    /// So many of the last parts were blind, one after the other.
    pub(super) fn blind_in_a_row(&self) -> u64 {
        self.blind_in_a_row
    }

    /// Whether the camera sees nothing, as far as the last parts tell.
    pub(super) fn is_blind(&self) -> bool {
        self.is_blind
    }

    /// A person has looked: the next part decides. Whether the camera was blind.
    pub(super) fn acknowledge(&mut self) -> bool {
        self.empty_in_a_row = 0;
        std::mem::take(&mut self.is_blind)
    }
}

/// What a person is told of a blind frame; `None` for any other reason.
pub(super) fn story(reason: Reason) -> Option<&'static str> {
    Some(match reason {
        Reason::BlindDark => {
            "its frame is dark: look at the light, the lens and its cover, then at [camera] exposure_us and gain"
        }
        Reason::BlindBright => {
            "its frame is clipped, or much too bright: look at the light, then at [camera] exposure_us and gain"
        }
        Reason::BlindFlat => "its frame shows nothing, or only noise: look at the lens, its cover and the light",
        Reason::BlindBlurred => "its frame is out of focus: look at the lens, with `zoomgate doctor --live`",
        Reason::BlindFrozen => {
            "its frame is the previous part's, byte for byte: the camera is frozen; plug it in again, or set [camera] \
             detect_frozen = false where it may repeat a picture"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is news of each part: `d` dark, `f` frozen, `e` empty, `s` seen, `r` a reset instead of a part.
    fn news(parts: &str) -> Vec<(usize, News)> {
        let mut sight = Sight::default();
        let count = |(i, part)| {
            let reason = match part {
                'd' => Some(Reason::BlindDark),
                'f' => Some(Reason::BlindFrozen),
                'e' => Some(Reason::NoPart),
                's' => None,
                _ => {
                    sight.acknowledge();
                    return None;
                }
            };
            sight.count(reason).map(|news| (i, news))
        };
        parts.chars().enumerate().filter_map(count).collect()
    }

    #[test]
    fn a_few_in_a_row_are_a_blind_camera_and_one_that_is_seen_ends_it() {
        use News::{Blind, Empty, Sees};
        type Case<'a> = (&'a str, &'a str, &'a [(usize, News)]);
        let cases: &[Case] = &[
            ("two are an arm", "ddsdds", &[]),
            ("three are a camera, for whatever reason", "dfdddds", &[(2, Blind), (6, Sees(6))]),
            ("an empty belt is seen", "ddeddesdddde", &[(9, Blind), (11, Sees(4))]),
            ("after a reset the next part decides", "dddrdrs", &[(2, Blind), (4, Blind), (6, Sees(4))]),
            ("ten in a row", "seeeeeeeeeeeees", &[(10, Empty)]),
            ("blind ones between neither count nor end it", "eeeeedeeeee", &[(10, Empty)]),
            ("a part between", "eeeeeeeeeseeeeeeeee", &[]),
            ("a reset counts again", "eeeeeeeeeereeeeeeeeee", &[(9, Empty), (20, Empty)]),
        ];
        for (name, parts, expected) in cases {
            assert_eq!(news(parts), *expected, "{name}");
        }
    }
}
