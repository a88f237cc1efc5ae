use std::collections::VecDeque;
use std::sync::Mutex;

use super::*;
use crate::camera::convert::{Matrix, Range};
use crate::clock::{SchedulerSlot, SimClock};

const SIZE: (u32, u32) = (2, 1);
const OPENED: Opened =
    Opened { format: PixelFormat::Grey, colour: Colour { matrix: Matrix::Bt601, range: Range::Full }, stride: 0 };
const ENODEV: i32 = 19;

/// What a device does next.
#[derive(Clone, Copy, Debug)]
enum Does {
    /// It delivers a frame of this sequence and these bytes.
    Frame(u32, &'static [u8]),
    /// It delivers one that it calls corrupted.
    Corrupted(u32),
    /// It delivers one stamped by another clock.
    OtherClock(u32),
    /// It says nothing for so many milliseconds.
    Nothing(u64),
    /// It fails with this number.
    Fails(i32),
    /// It can be opened, or not.
    Opens(bool),
    /// Another format from here on.
    ChangesFormat,
}
use Does::*;

/// A device that does what it is told, on the simulated clock.
struct Script {
    clock: Arc<dyn Clock>,
    does: VecDeque<Does>,
    is_changed: bool,
    opened: Arc<Mutex<(u32, u32)>>,
}

impl Driver for Script {
    fn open(&mut self) -> Result<Opened> {
        match self.does.front() {
            Some(Opens(can)) => {
                let can = *can;
                self.does.pop_front();
                if !can {
                    return Err(Error::new(ErrorKind::NotFound, "cannot open cam: plug it in"));
                }
            }
            other => panic!("opened where the script says {other:?}"),
        }
        self.opened.lock().unwrap().0 += 1;
        self.is_changed = false;
        Ok(OPENED)
    }

    fn next(&mut self, timeout: Duration) -> io::Result<Option<RawFrame<'_>>> {
        let now = self.clock.now();
        let frame = |sequence, bytes: &'static [u8], is_corrupted, is_monotonic| {
            let micros = i64::try_from(now.0 / 1000).unwrap();
            let stamp = Stamp { is_monotonic, seconds: micros / 1_000_000, microseconds: micros % 1_000_000 };
            Ok(Some(RawFrame { bytes, sequence, stamp, is_corrupted }))
        };
        match self.does.pop_front() {
            Some(Frame(sequence, bytes)) => frame(sequence, bytes, false, true),
            Some(Corrupted(sequence)) => frame(sequence, &[1, 2], true, true),
            Some(OtherClock(sequence)) => frame(sequence, &[1, 2], false, false),
            Some(Nothing(ms)) => {
                let waited = timeout.as_millis() as u64;
                if ms > waited {
                    self.does.push_front(Nothing(ms - waited));
                }
                self.clock.sleep_until(now + Duration::from_millis(ms.min(waited)));
                Ok(None)
            }
            Some(Fails(number)) => Err(io::Error::from_raw_os_error(number)),
            Some(ChangesFormat) => {
                self.is_changed = true;
                self.next(timeout)
            }
            Some(Opens(_)) | None => panic!("read where the script has it closed"),
        }
    }

    fn has_changed(&mut self) -> bool {
        self.is_changed
    }

    fn close(&mut self) {
        self.opened.lock().unwrap().1 += 1;
    }
}

/// Runs a script to its end and says what the camera said, `Idle` left out; also how often it was opened and closed.
fn story(does: &[Does], frames: usize, hold: bool) -> (Vec<String>, (u32, u32)) {
    let clock: Arc<dyn Clock> = Arc::new(SimClock::new());
    let slot = SchedulerSlot::reserve(&clock, "cap");
    slot.take();
    clock.sleep_until(Timestamp(1_000_000_000));
    let opened = Arc::default();
    let script = Script {
        clock: Arc::clone(&clock),
        does: [&[Opens(true)], does].concat().into(),
        is_changed: false,
        opened: Arc::clone(&opened),
    };
    let setup = Setup { device: "cam".into(), size: SIZE, stall: Duration::from_millis(500), frames };
    let mut camera = V4l2Camera::open(Arc::clone(&clock), script, setup).unwrap();
    let token = WakeToken::new();
    let (mut said, mut held) = (Vec::new(), Vec::new());
    while !camera.driver.does.is_empty() {
        let before = clock.now();
        let grab = camera.grab(&token);
        assert!(clock.now().since(before) <= Duration::from_millis(200), "an answer five times a second");
        match grab {
            Grab::Idle => {}
            Grab::Frame(frame) => {
                said.push(format!("{} {:?}", frame.id.0, &frame.rgb[..]));
                assert_eq!((frame.width, frame.height), SIZE);
                assert!(frame.exposure_at <= frame.dequeued_at);
                if hold {
                    held.push(frame);
                }
            }
            Grab::Broken(broken) => said.push(format!("{} broken: {}", broken.id.0, broken.error)),
            Grab::Fault(fault, _) => said.push(format!("{fault:?}")),
            Grab::End => panic!("a camera has no end"),
        }
    }
    let counts = *opened.lock().unwrap();
    (said, counts)
}

#[test]
fn frames_are_converted_and_numbered_by_what_was_exposed() {
    let (said, counts) =
        story(&[Frame(40, &[1, 2]), Nothing(450), Frame(41, &[3, 4]), Frame(44, &[5, 6, 99])], 4, false);
    assert_eq!(said, ["0 [1, 1, 1, 2, 2, 2]", "1 [3, 3, 3, 4, 4, 4]", "4 [5, 5, 5, 6, 6, 6]"]);
    assert_eq!(counts, (1, 0));
}

#[test]
fn a_corrupted_or_truncated_frame_is_broken_and_the_next_one_is_not() {
    let (said, counts) = story(&[Corrupted(0), Frame(1, &[9]), Frame(2, &[]), Frame(3, &[1, 2])], 4, false);
    assert!(said[0].starts_with("0 broken: frame 0 of cam arrived damaged"), "{said:?}");
    assert!(said[1].starts_with("1 broken: frame 1 of cam has 1 of the 2 bytes it needs"), "{said:?}");
    assert!(said[2].starts_with("2 broken: frame 2 of cam has 0 of the 2 bytes"), "{said:?}");
    assert_eq!((said[3].as_str(), counts), ("3 [1, 1, 1, 2, 2, 2]", (1, 0)));
}

#[test]
fn an_unplugged_camera_is_a_fault_until_it_is_back_and_the_numbers_go_on() {
    let (said, counts) = story(
        &[Frame(7, &[1, 2]), Fails(ENODEV), Opens(false), Opens(false), Opens(true), Frame(0, &[3, 4])],
        4,
        false,
    );
    let gone = "Disconnected";
    assert_eq!(said, ["0 [1, 1, 1, 2, 2, 2]", gone, gone, gone, "1 [3, 3, 3, 4, 4, 4]"]);
    assert_eq!(counts.0, 2);
}

#[test]
fn a_camera_that_sends_nothing_is_silent_and_opened_again() {
    let (said, counts) = story(&[Frame(0, &[1, 2]), Nothing(500), Opens(true), Frame(9, &[3, 4])], 4, false);
    assert_eq!(said, ["0 [1, 1, 1, 2, 2, 2]", "Silent", "1 [3, 3, 3, 4, 4, 4]"]);
    assert_eq!(counts, (2, 1));
    // One that never sent anything is silent too.
    assert_eq!(story(&[Nothing(500)], 4, false).0, ["Silent"]);
}

#[test]
fn a_changed_format_is_a_fault_of_its_own_whichever_way_it_shows() {
    let cut = story(&[ChangesFormat, Frame(0, &[1]), Opens(true), Frame(0, &[1, 2])], 4, false).0;
    assert_eq!(cut, ["FormatChanged", "1 [1, 1, 1, 2, 2, 2]"]);
    let silence = story(&[Frame(0, &[1, 2]), ChangesFormat, Nothing(500)], 4, false).0;
    assert_eq!(silence.last().map(String::as_str), Some("FormatChanged"));
}

#[test]
fn another_clock_is_refused() {
    assert_eq!(
        story(&[OtherClock(0), Opens(true), Frame(0, &[1, 2])], 4, false).0,
        ["UnknownClock", "0 [1, 1, 1, 2, 2, 2]"]
    );
}

#[test]
fn a_frame_without_a_free_buffer_is_lost_and_its_number_missing() {
    let script = [Frame(0, &[1, 2]), Frame(1, &[1, 2]), Frame(2, &[1, 2])];
    assert_eq!(story(&script, 2, true).0.len(), 2);
    let freed = story(&script, 1, false).0;
    assert_eq!(freed.len(), 3, "each is dropped before the next: {freed:?}");
    // The gap shows when a buffer is free again.
    let clock: Arc<dyn Clock> = Arc::new(SimClock::new());
    let slot = SchedulerSlot::reserve(&clock, "cap");
    slot.take();
    clock.sleep_until(Timestamp(1_000_000_000));
    let does = [&[Opens(true)], &script[..]].concat().into();
    let script = Script { clock: Arc::clone(&clock), does, is_changed: false, opened: Arc::default() };
    let setup = Setup { device: "cam".into(), size: SIZE, stall: Duration::from_secs(1), frames: 1 };
    let mut camera = V4l2Camera::open(clock, script, setup).unwrap();
    let token = WakeToken::new();
    let Grab::Frame(first) = camera.grab(&token) else { panic!("a frame was due") };
    assert!(matches!(camera.grab(&token), Grab::Idle));
    drop(first);
    let Grab::Frame(third) = camera.grab(&token) else { panic!("a frame was due") };
    assert_eq!(third.id.0, 2);
}

#[test]
fn a_camera_that_cannot_be_opened_at_the_start_is_an_error() {
    let clock: Arc<dyn Clock> = Arc::new(SimClock::new());
    let does = [Opens(false)].into();
    let script = Script { clock: Arc::clone(&clock), does, is_changed: false, opened: Arc::default() };
    let setup = Setup { device: "cam".into(), size: SIZE, stall: Duration::from_secs(1), frames: 1 };
    assert_eq!(V4l2Camera::open(clock, script, setup).err().unwrap().kind(), ErrorKind::NotFound);
}
