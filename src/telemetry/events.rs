//! Events as JSON lines: the record of a run, one object a line, `event` first, times in nanoseconds of
//! CLOCK_MONOTONIC.
//!
//! | event | when |
//! |---|---|
//! | `start` | once, first; carries the schema version |
//! | `verdict` | once for each part, as soon as the outcome of its pulse is known |
//! | `late_score` | a score came when its part's verdict was final; it changed nothing |
//! | `missed_reject` | a known reject was not fired in its window, or was (`pulse` says so) and not seen at the bin |
//! | `belt` | the measured belt has stopped, or moves again |
//! | `camera_back` | the camera delivers again; `down_s` is for how long it did not |
//! | `sight_back` | a camera that was blind for several parts sees again; `blind` is for how many parts it did not |
//! | `acknowledged` | a person reset faults and alarms |
//! | `recipe_selected` | the number on the recipe lines, at the start and when it changed |
//! | `realtime` | once after `start`, where real-time scheduling or locked memory was asked for: what was permitted |
//! | `fault` | anything else that went wrong |
//! | `stop` | once, last |

use std::io::Write;

use serde::Serialize;

/// Version of the events' fields; grows when a field changes its meaning or goes away.
pub const SCHEMA: u32 = 1;

/// One line of the record.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event<'a> {
    /// The run begins.
    Start { schema: u32, version: &'a str, t_ns: u64, threshold: f32, dry_run: bool },
    /// A part is done.
    Verdict(VerdictEvent<'a>),
    /// A score came too late.
    LateScore { part: u64, t_ns: u64, score: Option<f32> },
    /// A known reject was not fired.
    MissedReject { part: u64, t_ns: u64, fire_at_ns: Option<u64>, pulse: &'a str },
    /// The belt stopped or moves again.
    Belt { t_ns: u64, moving: bool },
    /// The camera delivers again.
    CameraBack { t_ns: u64, down_s: f64 },
    /// The camera sees again.
    SightBack { t_ns: u64, blind: u64 },
    /// Faults and alarms were reset.
    Acknowledged { t_ns: u64 },
    /// What the recipe lines say.
    RecipeSelected { t_ns: u64, number: u32 },
    /// Something went wrong.
    Fault { code: &'a str, t_ns: u64, part: Option<u64>, message: &'a str },
    /// How the actuation thread is scheduled.
    Realtime { t_ns: u64, fifo_priority: Option<u8>, memory_locked: bool, refused: &'a [String] },
    /// The run ends.
    Stop {
        t_ns: u64,
        parts: u64,
        passes: u64,
        rejects: u64,
        uninspected: u64,
        events_lost: u64,
        error: Option<&'a str>,
    },
}

/// A part's verdict and what became of it. Values that are not available are null, never absent.
#[derive(Debug, Serialize)]
pub struct VerdictEvent<'a> {
    /// The part's number, from 1.
    pub part: u64,
    /// Its trigger edge.
    pub trigger_ns: u64,
    /// `pass | reject | uninspected`.
    pub verdict: &'a str,
    /// Why it is uninspected.
    pub reason: Option<&'a str>,
    /// The fused score.
    pub score: Option<f32>,
    /// The threshold it was compared with.
    pub threshold: f32,
    /// Where the zoom looked, most suspicious first.
    pub crops: &'a [Crop],
    /// When the part lay in front of the actuator; null where the belt stood still before it.
    pub fire_at_ns: Option<u64>,
    /// `fired | merged | late | refused | failed`; null where no pulse was planned.
    pub pulse: Option<&'a str>,
}

/// A crop in frame pixels.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Crop {
    /// Left edge.
    pub x: u32,
    /// Top edge.
    pub y: u32,
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
}

/// Writes one event as a line.
///
/// # Errors
/// Those of `out`.
pub fn write(out: &mut dyn Write, event: &Event<'_>) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, event)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_has_every_field_in_order() {
        let crops = &[Crop { x: 1, y: 2, width: 3, height: 4 }];
        let event = Event::Verdict(VerdictEvent {
            part: 7,
            trigger_ns: 10,
            verdict: "uninspected",
            reason: Some("not_finite"),
            score: Some(f32::NAN),
            threshold: 3.5,
            crops,
            fire_at_ns: Some(20),
            pulse: None,
        });
        let mut line = Vec::new();
        write(&mut line, &event).unwrap();
        assert_eq!(
            String::from_utf8(line).unwrap(),
            "{\"event\":\"verdict\",\"part\":7,\"trigger_ns\":10,\"verdict\":\"uninspected\",\
             \"reason\":\"not_finite\",\"score\":null,\"threshold\":3.5,\
             \"crops\":[{\"x\":1,\"y\":2,\"width\":3,\"height\":4}],\"fire_at_ns\":20,\"pulse\":null}\n"
        );
    }
}
