//! An inspection as a picture: what the model saw, laid over the frame by [`crate::inspect::overlay`].

use crate::decide::{Reason, Verdict, decide};
use crate::frame::Frame;
use crate::inspect::Inspection;
use crate::inspect::model::Inspector;
use crate::inspect::overlay::{self, Bar, Caption, Heat, Tone, Zoom};

/// Draws the last inspection of `inspector`, which must have been `found` in `frame`; some 40 ms.
///
/// `file` names the picture in the caption, `note` is anything else in a few words.
pub fn draw(inspector: &Inspector, frame: &Frame, found: &Inspection, threshold: f32, file: &str, note: &str) -> Frame {
    let heat = |(map, width, height, view)| Heat { map, width, height, view };
    let zoomed = inspector.zoom_heat().map(heat);
    // Only the last crop's map is kept; the others are outlined.
    let zooms = found.crops.as_slice().iter().map(|&roi| {
        let heat = zoomed.filter(|h| h.view.inside(frame.width, frame.height) == roi);
        Zoom { roi, heat }
    });
    let zooms: Vec<Zoom<'_>> = zooms.collect();
    let (word, tone) = match decide(found.score, threshold) {
        Verdict::Pass => ("PASS", Tone::Good),
        Verdict::Reject => ("REJECT", Tone::Bad),
        Verdict::Uninspected(_) => ("UNINSPECTED", Tone::Unsure),
    };
    let limit = if threshold > 0.0 { threshold } else { 1.0 };
    let recipe = inspector.recipe();
    let known = found.zoom.and_then(|z| z.known).zip(recipe.zoom.known).map(|(known, c)| c.image.z(known));
    let evidence = [
        Bar { name: "full image", value: Some(found.score_full.0), limit },
        Bar { name: "zoom", value: found.score_zoom.map(|s| s.0), limit },
        Bar { name: "known, zoom", value: known, limit },
    ];
    let caption =
        Caption { verdict: word, tone, score: Some(found.score.0), threshold, evidence: &evidence, file, note };
    let attention = inspector.attention(frame).map(heat);
    let picture = overlay::draw(frame, Some(heat(inspector.heat(frame))), &zooms, attention, &caption);
    Frame::still(picture.width(), picture.height(), picture.into_raw())
}

/// Draws a frame that was not judged, as it is, and why.
pub fn draw_unseen(frame: &Frame, reason: Reason, threshold: f32, file: &str) -> Frame {
    let (verdict, tone, note) = ("UNINSPECTED", Tone::Unsure, reason.as_str());
    let caption = Caption { verdict, tone, score: None, threshold, evidence: &[], file, note };
    let picture = overlay::draw(frame, None, &[], None, &caption);
    Frame::still(picture.width(), picture.height(), picture.into_raw())
}
