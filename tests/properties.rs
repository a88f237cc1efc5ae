//! Properties of the ledger and the schedule under random events.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use zoomgate::clock::Timestamp;
use zoomgate::decide::{Ledger, Part, Reason, Receipt, Settled, Verdict};
use zoomgate::reject::{Belt, ConstantSpeed, Due, OnOverlap, Schedule, Settings};
use zoomgate::units::{Millimetres, MmPerSecond, PartId};

const MS: u64 = 1_000_000;

/// Something that happens to the ledger, each some milliseconds after the one before.
#[derive(Clone, Debug)]
enum Event {
    Birth { to_deadline_ms: u64 },
    Settle { part: u64, reject: bool },
    Frame,
    Expire,
}

fn event() -> impl Strategy<Value = (u64, Event)> {
    let event = prop_oneof![
        3 => (0_u64..80).prop_map(|to_deadline_ms| Event::Birth { to_deadline_ms }),
        4 => (1_u64..40, any::<bool>()).prop_map(|(part, reject)| Event::Settle { part, reject }),
        2 => Just(Event::Frame),
        2 => Just(Event::Expire),
    ];
    (0_u64..20, event)
}

/// The same cases every time: a test that fails must fail again.
fn fixed() -> ProptestConfig {
    ProptestConfig { cases: 1000, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(fixed())]

    #[test]
    fn every_part_is_settled_exactly_once(events in prop::collection::vec(event(), 1..120), capacity in 1_usize..12) {
        let mut ledger = Ledger::new(capacity);
        let mut settled: BTreeMap<PartId, Settled<bool>> = BTreeMap::new();
        let mut note = |s: Settled<bool>| {
            let id = s.part.id;
            assert!(settled.insert(id, s).is_none(), "part {id} settled twice");
        };
        let mut now = Timestamp::ZERO;
        for (after_ms, event) in events {
            now = now + Duration::from_millis(after_ms);
            match event {
                Event::Birth { to_deadline_ms } => {
                    let deadline = Timestamp(now.0 + to_deadline_ms * MS);
                    let plan = |id| Part { id, trigger_at: now, position: Millimetres(0.0), fire_at: deadline, deadline };
                    let (_, refused) = ledger.open(now, plan);
                    refused.into_iter().for_each(&mut note);
                }
                Event::Settle { part, reject } => {
                    let verdict = if reject { Verdict::Reject } else { Verdict::Pass };
                    if let Receipt::Settled(s) = ledger.settle(PartId(part), verdict, Some(reject), now) {
                        prop_assert_eq!((s.part.id, s.verdict, s.settled_at), (PartId(part), verdict, now));
                        prop_assert!(now < s.part.deadline, "a score settled part {} at its deadline", part);
                        note(s);
                    }
                }
                Event::Frame => _ = ledger.attach(now, Duration::ZERO, Duration::from_millis(15)),
                Event::Expire => {
                    std::iter::from_fn(|| ledger.expire(now)).for_each(&mut note);
                    prop_assert!(ledger.next_deadline().is_none_or(|at| at > now));
                }
            }
        }
        std::iter::from_fn(|| ledger.expire(Timestamp::NEVER)).for_each(&mut note);
        prop_assert!(ledger.is_empty());
        let ids: Vec<_> = settled.keys().copied().collect();
        prop_assert_eq!(ids, (1..=ledger.born()).map(PartId).collect::<Vec<_>>());
        for s in settled.values() {
            let expired = matches!(s.verdict, Verdict::Uninspected(Reason::Late | Reason::NoFrame));
            prop_assert_eq!(expired, s.settled_at >= s.part.deadline && s.verdict != Verdict::Uninspected(Reason::Overrun));
        }
    }

    #[test]
    fn every_pulse_has_one_outcome_and_starts_in_its_window(
        // From the actuator's latency on: no window begins before the clock does.
        inserts in prop::collection::vec((10_u64..400, 0_u64..60), 1..60),
        wakes in prop::collection::vec(1_u64..30, 1..80),
    ) {
        let ms = Duration::from_millis;
        let settings = Settings {
            enabled: true,
            line: "reject".to_owned(),
            active_low: false,
            travel: Millimetres(100.0),
            belt_speed: MmPerSecond(1000.0),
            actuator_latency: ms(10),
            pulse_width: ms(12),
            window: ms(4),
            on_overlap: OnOverlap::Merge,
        };
        let belt = ConstantSpeed::new(settings.belt_speed, Timestamp::ZERO);
        let mut schedule = Schedule::new(&settings);
        let start_of = |position: u64| Timestamp(position * MS) - settings.actuator_latency;
        // Each pulse is planned some time before (or after) its instant, as verdicts fall when they fall.
        let mut pending: Vec<(u64, PartId, u64)> = Vec::new();
        for (i, (position, ahead)) in inserts.iter().enumerate() {
            pending.push((position.saturating_sub(*ahead), PartId(i as u64), *position));
        }
        pending.sort();
        let mut planned = pending.iter().map(|(at, part, position)| (Timestamp(at * MS), *part, *position)).peekable();
        let positions: BTreeMap<_, _> = pending.iter().map(|(_, part, position)| (*part, *position)).collect();

        let mut outcomes: BTreeMap<PartId, Due> = BTreeMap::new();
        let mut active_since = None;
        let (mut now, mut wakes) = (Timestamp::ZERO, wakes.into_iter());
        while planned.peek().is_some() || !schedule.is_idle() {
            while let Some((_, part, position)) = planned.next_if(|(at, ..)| *at <= now) {
                schedule.insert(part, Millimetres(position as f64)).unwrap();
            }
            while let Some(due) = schedule.due(now, &belt) {
                let part = match due {
                    Due::Release => {
                        let since: Timestamp = active_since.take().expect("only an active line is released");
                        prop_assert!(now.since(since) >= settings.pulse_width);
                        continue;
                    }
                    Due::Start(part) | Due::Merge(part) | Due::Late(part) => part,
                    Due::Refuse(part) => panic!("part {part} was refused where pulses are shared"),
                };
                let start = start_of(positions[&part]);
                let last = start + settings.window;
                match due {
                    Due::Start(_) => {
                        prop_assert!((start..=last).contains(&now), "{:?} at {:?}, window {:?}", due, now, start);
                        prop_assert!(active_since.replace(now).is_none(), "the line was active already");
                    }
                    Due::Merge(_) => prop_assert!(active_since.is_some_and(|since| since <= last)),
                    _ => prop_assert!(now > last),
                }
                prop_assert!(outcomes.insert(part, due).is_none(), "part {} has two outcomes", part);
            }
            // On time as long as the random wakes last they may come late; then exactly when asked for.
            now = match wakes.next() {
                Some(after) => now + ms(after),
                None => {
                    let next = planned.peek().map(|(at, ..)| *at);
                    schedule.next_at(&belt).into_iter().chain(next).min().map_or(now, |at| at.max(now))
                }
            };
        }
        prop_assert_eq!(outcomes.len(), inserts.len());
        prop_assert!(active_since.is_none());
    }

    #[test]
    fn a_belt_finds_its_way_back(speed in 1.0_f64..5000.0, origin in 0_u64..1 << 50, at in 0_u64..1 << 50) {
        let belt = ConstantSpeed::new(MmPerSecond(speed), Timestamp(origin));
        let back = belt.time_at(belt.position_at(Timestamp(at))).unwrap();
        // 2^50 ns are 13 days: a float holds them to a few nanoseconds.
        prop_assert!(back.0.abs_diff(at) <= 8, "{} became {}", at, back.0);
    }
}
