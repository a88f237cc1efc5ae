use super::*;

fn s(n: u64) -> Timestamp {
    Timestamp(n * 1_000_000_000)
}

/// 2 s for the camera, 60 s while it is down, 10 s for an inspection, 2 s for the loop.
fn limits(may_idle: bool) -> Limits {
    Limits::at_rate(2.0, may_idle)
}

/// A line at 100 s on which all is well.
fn fresh() -> Beats {
    Beats { frame: Some(s(99)), turned: Some(s(100)), ..Beats::default() }
}

#[test]
fn each_part_of_the_line_has_its_own_limit() {
    let cases = [
        ("all is well", fresh(), true, None),
        ("no frame, yet idle", Beats { frame: None, idle: Some(s(99)), ..fresh() }, true, None),
        (
            "idle where frames must come",
            Beats { frame: None, idle: Some(s(99)), ..fresh() },
            false,
            Some(Stale::Camera),
        ),
        (
            "idle, where frames came",
            Beats { frame: Some(s(90)), idle: Some(s(99)), ..fresh() },
            false,
            Some(Stale::Camera),
        ),
        ("never seen a frame", Beats { frame: None, ..fresh() }, true, Some(Stale::Camera)),
        ("just in time", Beats { frame: Some(s(98)), ..fresh() }, false, None),
        ("silent", Beats { frame: Some(s(97)), ..fresh() }, true, Some(Stale::Camera)),
        ("answered long ago", Beats { frame: None, idle: Some(s(97)), ..fresh() }, true, Some(Stale::Camera)),
        ("down for a while", Beats { frame: Some(s(50)), camera_down: Some(s(52)), ..fresh() }, false, None),
        ("down for long", Beats { camera_down: Some(s(39)), ..fresh() }, false, Some(Stale::Camera)),
        ("ended", Beats { frame: None, camera_ended: Some(s(1)), ..fresh() }, false, None),
        ("inspecting", Beats { inspecting: Some(s(90)), ..fresh() }, false, None),
        ("inspecting for long", Beats { inspecting: Some(s(89)), ..fresh() }, false, Some(Stale::Inspection)),
        ("the loop is late", Beats { turned: Some(s(97)), ..fresh() }, true, Some(Stale::Actuation)),
        ("the loop never turned", Beats { turned: None, ..fresh() }, true, Some(Stale::Actuation)),
        ("nothing at all", Beats::default(), true, Some(Stale::Actuation)),
    ];
    for (name, beats, may_idle, stale) in cases {
        assert_eq!(beats.stale(&limits(may_idle), s(100)), stale, "{name}");
        if stale.is_some() {
            assert!(!beats.is_ready(&limits(may_idle), s(100)), "{name}");
        }
    }
}

#[test]
fn a_line_whose_camera_is_down_is_not_ready() {
    let down = Beats { camera_down: Some(s(99)), ..fresh() };
    assert_eq!(down.camera(&limits(true), s(100)), CameraState::Down);
    assert!(!down.is_ready(&limits(true), s(100)));
}

#[test]
fn a_tripwire_that_learns_is_no_stall_and_not_ready() {
    let learning = Beats { learning: Some(s(1)), ..fresh() };
    assert_eq!((learning.stale(&limits(false), s(100)), learning.is_ready(&limits(false), s(100))), (None, false));
    assert!(fresh().is_ready(&limits(false), s(100)));
}

#[test]
fn camera_states_have_words_of_their_own() {
    let words: std::collections::BTreeSet<_> = CameraState::ALL.iter().map(|state| state.as_str()).collect();
    assert_eq!(words.len(), CameraState::ALL.len());
}

#[test]
fn slow_cameras_have_longer_limits() {
    for (rate_hz, seconds) in [(100.0, 2), (2.0, 2), (0.5, 8), (0.01, 400)] {
        assert_eq!(Limits::at_rate(rate_hz, false).camera, Duration::from_secs(seconds), "{rate_hz} Hz");
    }
    assert_eq!(Limits::at_rate(0.0, false).camera, Duration::MAX);
}

#[test]
fn beats_begin_once_and_end() {
    let beat = Beat::default();
    assert_eq!(beat.get(), None);
    beat.begin(s(1));
    beat.begin(s(2));
    assert_eq!(beat.get(), Some(s(1)));
    beat.clear();
    assert_eq!(beat.get(), None);
    beat.set(Timestamp::ZERO);
    assert_eq!(beat.get(), Some(Timestamp::ZERO));
}

/// What a watchdog says at each second, from its first to its last.
fn said(dog: &mut Watchdog, seconds: std::ops::RangeInclusive<u64>, beats: impl Fn(u64) -> Beats) -> Vec<(u64, Say)> {
    seconds.flat_map(|t| dog.turn(&beats(t), false, s(t)).into_iter().flatten().map(move |say| (t, say))).collect()
}

fn alive(t: u64) -> Beats {
    Beats { frame: Some(s(t)), turned: Some(s(t)), ..Beats::default() }
}

#[test]
fn it_is_ready_once_and_fed_at_half_the_period() {
    let mut dog = Watchdog::new(limits(true), Some(Duration::from_secs(4)));
    let starting = |t| Beats { frame: None, ..alive(t) };
    assert_eq!(said(&mut dog, 0..=9, starting), [], "no frame yet");
    let expected = [(10, Say::Ready), (10, Say::Feed), (12, Say::Feed), (14, Say::Feed)];
    assert_eq!(said(&mut dog, 10..=15, alive), expected);
    assert_eq!(dog.turn(&alive(16), true, s(16)), [Some(Say::Stopping), None, Some(Say::Feed)]);
    assert_eq!(dog.turn(&alive(17), true, s(17)), [None; 3]);
}

#[test]
fn a_stall_ends_the_feed_for_good_and_triggers_before_the_period_is_over() {
    let mut dog = Watchdog::new(limits(true), Some(Duration::from_secs(4)));
    said(&mut dog, 0..=8, alive);
    let hanging = |t| Beats { inspecting: Some(s(0)), ..alive(t) };
    let expected = [(11, Say::Stalled(Stale::Inspection)), (11, Say::Trigger)];
    assert_eq!(said(&mut dog, 11..=13, hanging), expected, "fed at 8, three quarters of 4 s later");
    assert_eq!(said(&mut dog, 14..=20, alive), [], "what comes back is not fed any more");
}

#[test]
fn a_live_loop_has_the_rest_of_the_period_and_a_dead_one_has_none() {
    for (hanging, triggered) in
        [(Beats { inspecting: Some(s(0)), ..alive(20) }, false), (Beats { turned: Some(s(0)), ..alive(20) }, true)]
    {
        let mut dog = Watchdog::new(limits(true), Some(Duration::from_secs(20)));
        said(&mut dog, 19..=19, alive);
        assert_eq!(dog.turn(&hanging, false, s(20))[2], triggered.then_some(Say::Trigger), "{hanging:?}");
    }
}

#[test]
fn without_a_watchdog_a_stall_is_told_and_so_is_its_end() {
    let mut dog = Watchdog::new(limits(true), None);
    said(&mut dog, 0..=8, alive);
    let silent = |t| Beats { frame: Some(s(8)), ..alive(t) };
    assert_eq!(said(&mut dog, 9..=14, silent), [(11, Say::Stalled(Stale::Camera))]);
    assert_eq!(said(&mut dog, 15..=16, alive), [(15, Say::Recovered(Stale::Camera))]);
}
