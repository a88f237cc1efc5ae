//! Which controls are set, in which order, and what became of it. Pure; the device carries the plan out.
//!
//! An automatic mode goes off before the value that it governs is set, since drivers refuse or forget the value
//! otherwise. What the camera lacks or clamps is a [`Deviation`], never silence: a line whose exposure is not what was
//! configured is not the line that was taught.

use std::fmt;

use super::offer::ControlOffer;

/// The controls that the configuration sets; `None` leaves the camera's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Controls {
    /// Exposure time in microseconds.
    pub exposure_us: Option<u64>,
    /// Gain, in the camera's own unit.
    pub gain: Option<u64>,
    /// White balance in kelvins.
    pub white_balance_k: Option<u64>,
    /// Focus, in the camera's own unit.
    pub focus: Option<u64>,
    /// The mains frequency whose flicker is suppressed: 50, 60, or 0 for none.
    pub power_line_hz: Option<u64>,
}

// Numbers of `linux/v4l2-controls.h`.
const AUTO_WHITE_BALANCE: u32 = 0x0098_090c;
const AUTOGAIN: u32 = 0x0098_0912;
const GAIN: u32 = 0x0098_0913;
const POWER_LINE_FREQUENCY: u32 = 0x0098_0918;
const WHITE_BALANCE_TEMPERATURE: u32 = 0x0098_091a;
const EXPOSURE_AUTO: u32 = 0x009a_0901;
const EXPOSURE_ABSOLUTE: u32 = 0x009a_0902;
const EXPOSURE_AUTO_PRIORITY: u32 = 0x009a_0903;
const FOCUS_ABSOLUTE: u32 = 0x009a_090a;
const FOCUS_AUTO: u32 = 0x009a_090c;
const ANALOGUE_GAIN: u32 = 0x009e_0903;

/// Every control that may be set here.
pub const IDS: [u32; 11] = [
    AUTO_WHITE_BALANCE,
    AUTOGAIN,
    GAIN,
    POWER_LINE_FREQUENCY,
    WHITE_BALANCE_TEMPERATURE,
    EXPOSURE_AUTO,
    EXPOSURE_ABSOLUTE,
    EXPOSURE_AUTO_PRIORITY,
    FOCUS_ABSOLUTE,
    FOCUS_AUTO,
    ANALOGUE_GAIN,
];

/// One control to set, and to read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The key of `[camera]` that asks for it.
    pub key: &'static str,
    /// The V4L2 control number.
    pub id: u32,
    /// What is written, in the control's own unit and range.
    pub value: i64,
}

/// A control that is not what was configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deviation {
    /// The key of `[camera]`.
    pub key: &'static str,
    /// What happened, as the end of a sentence.
    pub what: String,
}

impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[camera] {} {}", self.key, self.what)
    }
}

/// What governs the wanted value, what holds it, and how a value becomes the control's.
struct Row {
    key: &'static str,
    wanted: Option<u64>,
    /// Controls and the value that puts them off; a camera may lack them.
    autos: &'static [(u32, i64)],
    /// The first that the camera has is set.
    values: &'static [u32],
    /// From the key's unit to the control's: divided by this, rounded.
    unit: u64,
}

impl Controls {
    fn rows(&self) -> [Row; 5] {
        // Manual exposure is 1 in the menu; the last of its autos lets the rate drop in the dark.
        let exposure: &[_] = &[(EXPOSURE_AUTO, 1), (EXPOSURE_AUTO_PRIORITY, 0)];
        let row = |key, wanted, autos, values, unit| Row { key, wanted, autos, values, unit };
        // In the menu of mains frequencies 0 is off, 1 is 50 Hz and 2 is 60 Hz.
        let mains = self.power_line_hz.map(|hz| if hz == 50 { 1 } else { hz / 30 });
        [
            row("exposure_us", self.exposure_us, exposure, &[EXPOSURE_ABSOLUTE], 100),
            row("gain", self.gain, &[(AUTOGAIN, 0)], &[GAIN, ANALOGUE_GAIN], 1),
            row("white_balance_k", self.white_balance_k, &[(AUTO_WHITE_BALANCE, 0)], &[WHITE_BALANCE_TEMPERATURE], 1),
            row("focus", self.focus, &[(FOCUS_AUTO, 0)], &[FOCUS_ABSOLUTE], 1),
            row("power_line_hz", mains, &[], &[POWER_LINE_FREQUENCY], 1),
        ]
    }
}

/// What to set, in order, and what cannot be set as configured.
pub fn plan(wanted: &Controls, offered: &[ControlOffer]) -> (Vec<Step>, Vec<Deviation>) {
    let (mut steps, mut deviations) = (Vec::new(), Vec::new());
    let find = |id: u32| offered.iter().find(|control| control.id == id);
    for Row { key, wanted, autos, values, unit } in wanted.rows() {
        let Some(wanted) = wanted else { continue };
        for &(id, off) in autos {
            if find(id).is_some_and(|auto| !auto.is_read_only) {
                steps.push(Step { key, id, value: off });
            }
        }
        let Some(control) = values.iter().find_map(|&id| find(id)) else {
            deviations.push(Deviation { key, what: "is not a control of this camera: take the key out".into() });
            continue;
        };
        if control.is_read_only {
            deviations.push(Deviation { key, what: format!("cannot be set: {} is read only", control.name) });
            continue;
        }
        let asked = i64::try_from((wanted + unit / 2) / unit).unwrap_or(i64::MAX);
        let value = nearest(control, asked);
        if value != asked {
            // In the key's unit, so that the technician can write it down.
            let own = |v: i64| i128::from(v) * i128::from(unit);
            let what = if control.menu.is_empty() {
                format!(
                    "= {wanted} becomes {}: this camera takes {} to {} in steps of {}",
                    own(value),
                    own(control.min),
                    own(control.max),
                    i128::from(control.step.max(1)) * i128::from(unit)
                )
            } else {
                format!("is not in the menu of this camera: {control}")
            };
            deviations.push(Deviation { key, what });
        }
        if control.menu.is_empty() || value == asked {
            steps.push(Step { key, id: control.id, value });
        }
    }
    (steps, deviations)
}

/// The value of the control that is nearest to `asked`.
fn nearest(control: &ControlOffer, asked: i64) -> i64 {
    let clamped = i128::from(asked).clamp(i128::from(control.min), i128::from(control.max).max(control.min.into()));
    let step = i128::from(control.step.max(1));
    let min = i128::from(control.min);
    let rounded = min + (clamped - min + step / 2) / step * step;
    let largest = min + (i128::from(control.max).max(min) - min) / step * step;
    i64::try_from(rounded.min(largest)).unwrap_or(control.max)
}

/// What reading a step back says: `None` when the camera took it.
pub fn compare(step: &Step, read_back: Option<i64>) -> Option<Deviation> {
    let what = match read_back {
        Some(value) if value == step.value => return None,
        Some(value) => format!("was set to {} and reads back as {value} (control {:#x})", step.value, step.id),
        None => format!("was set to {} and cannot be read back (control {:#x})", step.value, step.id),
    };
    Some(Deviation { key: step.key, what })
}

/// Automatic modes that are on and that nothing configured puts off: pictures drift while they are.
pub fn automatic(wanted: &Controls, offered: &[ControlOffer]) -> Vec<Deviation> {
    let rows = wanted.rows().into_iter().filter(|row| row.wanted.is_none());
    let is_on = |id: u32, off: i64| offered.iter().any(|c| c.id == id && c.value.is_some_and(|value| value != off));
    rows.filter(|row| row.autos.first().is_some_and(|&(id, off)| is_on(id, off)))
        .map(|row| Deviation {
            key: row.key,
            what: "is not set and the camera adjusts it by itself: pictures drift".into(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(id: u32, min: i64, max: i64, step: u64) -> ControlOffer {
        ControlOffer {
            id,
            name: format!("control {id:x}"),
            min,
            max,
            step,
            default: min,
            value: Some(min),
            menu: vec![],
            is_read_only: false,
            is_inactive: false,
        }
    }

    fn webcam() -> Vec<ControlOffer> {
        let menu = vec![(0, "Disabled".to_owned()), (1, "50 Hz".to_owned()), (2, "60 Hz".to_owned())];
        vec![
            ControlOffer { value: Some(3), ..control(EXPOSURE_AUTO, 0, 3, 1) },
            control(EXPOSURE_AUTO_PRIORITY, 0, 1, 1),
            control(EXPOSURE_ABSOLUTE, 3, 2047, 1),
            ControlOffer { value: Some(1), ..control(AUTO_WHITE_BALANCE, 0, 1, 1) },
            control(WHITE_BALANCE_TEMPERATURE, 2000, 6500, 10),
            control(GAIN, 0, 255, 1),
            ControlOffer { menu, ..control(POWER_LINE_FREQUENCY, 0, 2, 1) },
        ]
    }

    fn planned(wanted: Controls, offered: &[ControlOffer]) -> (Vec<(u32, i64)>, Vec<String>) {
        let (steps, deviations) = plan(&wanted, offered);
        (
            steps.into_iter().map(|step| (step.id, step.value)).collect(),
            deviations.iter().map(ToString::to_string).collect(),
        )
    }

    #[test]
    fn automatic_modes_go_off_before_the_value_is_set() {
        let wanted = Controls {
            exposure_us: Some(5000),
            gain: Some(20),
            white_balance_k: Some(4600),
            focus: None,
            power_line_hz: Some(50),
        };
        let steps = [
            (EXPOSURE_AUTO, 1),
            (EXPOSURE_AUTO_PRIORITY, 0),
            (EXPOSURE_ABSOLUTE, 50),
            (GAIN, 20),
            (AUTO_WHITE_BALANCE, 0),
            (WHITE_BALANCE_TEMPERATURE, 4600),
            (POWER_LINE_FREQUENCY, 1),
        ];
        assert_eq!(planned(wanted, &webcam()), (steps.to_vec(), vec![]));
    }

    #[test]
    fn what_is_clamped_or_lacking_is_reported_in_the_unit_of_the_key() {
        let cases = [
            (Controls { exposure_us: Some(100), ..Controls::default() }, "exposure_us = 100 becomes 300", Some(3)),
            (Controls { exposure_us: Some(1_000_000), ..Controls::default() }, "becomes 204700", Some(2047)),
            (Controls { white_balance_k: Some(4604), ..Controls::default() }, "becomes 4600", Some(4600)),
            (Controls { gain: Some(u64::MAX / 2), ..Controls::default() }, "becomes 255", Some(255)),
            (Controls { focus: Some(3), ..Controls::default() }, "focus is not a control of this camera", None),
        ];
        for (wanted, says, value) in cases {
            let (steps, deviations) = planned(wanted, &webcam());
            assert_eq!(deviations.len(), 1, "{deviations:?}");
            assert!(deviations[0].contains(says), "{deviations:?}");
            assert_eq!(steps.last().map(|step| step.1), value, "{wanted:?}");
        }
    }

    #[test]
    fn a_sensor_with_analogue_gain_only_gets_it_there() {
        let sensor = [control(ANALOGUE_GAIN, 16, 1023, 1)];
        let wanted = Controls { gain: Some(64), ..Controls::default() };
        assert_eq!(planned(wanted, &sensor), (vec![(ANALOGUE_GAIN, 64)], vec![]));
    }

    #[test]
    fn read_only_controls_and_words_that_no_menu_has_are_left_alone() {
        let fixed = [ControlOffer { is_read_only: true, ..control(GAIN, 0, 9, 1) }];
        let (steps, deviations) = planned(Controls { gain: Some(1), ..Controls::default() }, &fixed);
        assert!(steps.is_empty() && deviations[0].contains("read only"), "{deviations:?}");
        let menu = vec![(0, "Disabled".to_owned()), (1, "50 Hz".to_owned())];
        let mains = [ControlOffer { menu, ..control(POWER_LINE_FREQUENCY, 0, 1, 1) }];
        let (steps, deviations) = planned(Controls { power_line_hz: Some(60), ..Controls::default() }, &mains);
        assert!(steps.is_empty() && deviations[0].contains("not in the menu"), "{deviations:?}");
    }

    #[test]
    fn odd_ranges_do_not_panic() {
        for (min, max, step) in [(0, 0, 0), (5, -5, 3), (i64::MIN, i64::MAX, u64::MAX), (i64::MAX, i64::MIN, 1)] {
            for asked in [0, 1, i64::MIN, i64::MAX] {
                nearest(&control(GAIN, min, max, step), asked);
            }
        }
        assert_eq!(nearest(&control(GAIN, 0, 10, 4), 10), 8, "the last step that is in range");
    }

    #[test]
    fn what_reads_back_otherwise_is_reported() {
        let step = Step { key: "gain", id: GAIN, value: 20 };
        assert_eq!(compare(&step, Some(20)), None);
        assert!(compare(&step, Some(16)).unwrap().to_string().contains("set to 20 and reads back as 16"));
        assert!(compare(&step, None).unwrap().what.contains("cannot be read back"));
    }

    #[test]
    fn automatic_modes_that_stay_on_are_told() {
        let keys = |wanted: &Controls| automatic(wanted, &webcam()).into_iter().map(|d| d.key).collect::<Vec<_>>();
        assert_eq!(keys(&Controls::default()), ["exposure_us", "white_balance_k"]);
        let wanted = Controls { exposure_us: Some(1000), white_balance_k: Some(4000), ..Controls::default() };
        assert_eq!(keys(&wanted), Vec::<&str>::new());
    }
}
