//! The promise, on a thousand simulated parts through the very daemon: one verdict each before the deadline, and no
//! pulse outside its window.
//!
//! These tests were seen to fail with the ledger's late rule deleted (`Part::is_final` always false), with only
//! `Ledger::settle` not asking it, and with only `Ledger::expire` not asking it.

mod rig;

use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rig::{Rig, Watch, is_defective, ms};
use zoomgate::clock::Timestamp;
use zoomgate::decide::{Reason, Verdict};
use zoomgate::gpio::Level;
use zoomgate::pipeline::inspection::InspectionCost;
use zoomgate::pipeline::recording::PartRecord;
use zoomgate::reject::PulseOutcome;
use zoomgate::sim::camera::{EXPOSURE_DELAY, READOUT};
use zoomgate::units::PartId;

const PARTS: u64 = 1000;
/// From trigger to deadline in the rig: 600 ms of travel less 10 ms of actuator latency.
const TO_DEADLINE: Duration = Duration::from_millis(590);

/// The inspection delay of a part: most are quick, one in eight takes longer than there is, and one in thirty ends at
/// the very nanosecond of the deadline (if its inspection starts at once), which is too late.
fn delay(seed: u64, part: PartId) -> Duration {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(part.0);
    match rng.random::<f64>() {
        x if x < 0.125 => ms(rng.random_range(600..700)),
        x if x < 0.160 => TO_DEADLINE - EXPOSURE_DELAY - READOUT,
        _ => Duration::from_micros(rng.random_range(20_000..120_000)),
    }
}

fn thousand_parts(seed: u64) -> Rig {
    let mut rig = Rig::new(PARTS, seed);
    rig.spacing.crowded = 0.08;
    rig.cost = InspectionCost::Modelled(Box::new(move |part| delay(seed, part)));
    rig
}

/// What every verdict has to be, worked out from arrivals and delays alone: one inspection at a time, in order, none
/// started for a part whose deadline has come.
fn expected_verdicts(seed: u64, arrivals: &[Timestamp]) -> Vec<Verdict> {
    let mut free_at = Timestamp::ZERO;
    let verdict = |(index, trigger_at): (u64, &Timestamp)| {
        let deadline = *trigger_at + TO_DEADLINE;
        let start = free_at.max(*trigger_at + EXPOSURE_DELAY + READOUT);
        if start >= deadline {
            return Verdict::Uninspected(Reason::Late);
        }
        free_at = start + delay(seed, PartId(index + 1));
        match is_defective(index) {
            _ if free_at >= deadline => Verdict::Uninspected(Reason::Late),
            true => Verdict::Reject,
            false => Verdict::Pass,
        }
    };
    (0..).zip(arrivals).map(verdict).collect()
}

#[test]
fn a_thousand_parts_get_one_verdict_each_and_no_pulse_leaves_its_window() {
    for seed in [1, 2] {
        let rig = thousand_parts(seed);
        let (arrivals, window, width) = (rig.arrivals(), rig.reject.window, rig.reject.pulse_width);
        let (report, watch) = rig.run();
        let counts = report.unwrap().counts;
        let records = watch.one_record_each(PARTS);

        let late = records.iter().filter(|r| r.verdict == Verdict::Uninspected(Reason::Late)).count();
        let overlapping = arrivals.windows(2).filter(|w| w[1].since(w[0]) < width).count();
        assert!(late >= 100, "only {late} parts are late");
        assert!(overlapping >= 50, "only {overlapping} parts overlap");

        let expected = expected_verdicts(seed, &arrivals);
        for ((record, verdict), trigger_at) in records.iter().zip(expected).zip(arrivals.iter()) {
            assert_eq!(record.part.trigger_at, *trigger_at);
            assert_eq!(record.verdict, verdict, "part {}", record.part.id);
            assert!(record.settled_at <= record.part.deadline, "part {} settled past its deadline", record.part.id);
            assert_eq!(record.pulse.is_some(), verdict != Verdict::Pass, "part {}", record.part.id);
        }
        pulses_stay_in_their_windows(&records, &watch, window, width);

        let pulses = counts.pulses;
        assert_eq!(counts.passes + counts.rejects + counts.uninspected(), PARTS);
        assert_eq!(pulses.planned, pulses.fired + pulses.merged + pulses.late + pulses.failed);
        assert_eq!((pulses.late, pulses.failed, counts.missed_rejects), (0, 0, 0));
        assert!(pulses.merged > 0, "overlapping parts share pulses");
        assert!(counts.late_scores > 0 && counts.late_scores == watch.events_of("late_score").len() as u64);
        watch.all_lines_are_safe();
    }
}

/// The line rises exactly for the fired parts, each inside its window, stays for a full width past the start of every
/// part that it serves, and falls as soon as the last of them is served.
fn pulses_stay_in_their_windows(records: &[PartRecord], watch: &Watch, window: Duration, width: Duration) {
    let edges = watch.edges("reject");
    let mut served = records.iter().filter(|r| r.pulse.is_some_and(PulseOutcome::has_hit)).peekable();
    // The first record is the level at request.
    for pulse in edges[1..].chunks(2) {
        let [rise, fall] = pulse else { panic!("a pulse without an end") };
        assert_eq!((rise.level, fall.level), (Level::High, Level::Low));
        let fired = served.next().expect("a part for every pulse");
        assert_eq!((fired.pulse, fired.pulse_at), (Some(PulseOutcome::Fired), Some(rise.at)));
        let deadline = fired.part.deadline;
        assert!((deadline..=deadline + window).contains(&rise.at), "part {} outside its window", fired.part.id);
        let mut end = rise.at + width;
        while let Some(merged) = served.next_if(|r| r.pulse == Some(PulseOutcome::Merged)) {
            let deadline = merged.part.deadline;
            assert!(rise.at <= deadline + window && deadline <= end, "part {} was not hit", merged.part.id);
            end = end.max(deadline + width);
        }
        assert_eq!(fall.at, end, "the pulse of part {}", fired.part.id);
    }
    assert!(served.next().is_none(), "a pulse for every part that was served");
}

#[test]
fn every_part_has_one_event_and_the_fields_it_should_have() {
    let (report, watch) = thousand_parts(3).run();
    report.unwrap();
    let text = watch.events.text();
    assert!(text.starts_with("{\"event\":\"start\",\"schema\":1,"));
    assert!(text.lines().last().unwrap().starts_with("{\"event\":\"stop\","));
    let mut parts: Vec<_> = watch.events_of("verdict").iter().map(|e| e["part"].as_u64().unwrap()).collect();
    parts.sort_unstable();
    assert_eq!(parts, (1..=PARTS).collect::<Vec<_>>());
    let fields = "event part trigger_ns verdict reason score threshold crops fire_at_ns pulse";
    let mut fields: Vec<_> = fields.split(' ').collect();
    fields.sort_unstable();
    for event in watch.events_of("verdict") {
        let mut keys: Vec<_> = event.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, fields);
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let run = |seed| {
        let (report, watch) = thousand_parts(seed).run();
        report.unwrap();
        (watch.events.text(), watch.recorder.records())
    };
    let first = run(7);
    assert_eq!(first, run(7));
    assert_ne!(first.0, run(8).0);
}
