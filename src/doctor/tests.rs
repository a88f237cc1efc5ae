use std::fs;

use super::*;

/// A machine in a folder, with a configuration without problems in it.
struct Machine(tempfile::TempDir);

const GOOD: &str = r#"
camera = { source = "folder", folder = "pictures", width_px = 32, height_px = 32 }
trigger.source = "every_frame"
reject = { travel_mm = 300, belt_speed_mm_s = 300 }
gpio.backend = "recorded"
safety = { on_uninspected = "reject", on_missed_reject = "alarm" }
record.events = "log/events.jsonl"
"#;

impl Machine {
    fn with(files: &[(&str, &str)]) -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        machine.write("config.toml", GOOD);
        for (path, text) in files {
            machine.write(path, text);
        }
        machine
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn subject(&self) -> Subject {
        let findings = config::examine_file(&self.0.path().join("config.toml"));
        Subject { findings, root: self.0.path().to_owned() }
    }

    fn find(&self, name: &str) -> Finding {
        let check = CHECKS.iter().find(|check| check.name == name).expect("a check of that name");
        (check.examine)(&self.subject())
    }
}

fn picture(machine: &Machine, size: u32) {
    let folder = machine.0.path().join("pictures");
    fs::create_dir_all(&folder).unwrap();
    let frame = crate::frame::Frame::still(size, size, vec![0; 3 * (size * size) as usize]);
    crate::frame::picture::save_png(&folder.join("a.png"), &frame).unwrap();
}

#[test]
fn names_are_unique_and_every_trouble_has_a_remedy() {
    let names: std::collections::BTreeSet<_> = CHECKS.iter().map(|check| check.name).collect();
    assert_eq!(names.len(), CHECKS.len());
    for config in [GOOD, "nonsense = 1"] {
        let machine = Machine::with(&[("config.toml", config)]);
        for examined in examine(&machine.subject()) {
            assert_eq!(examined.remedy.is_none(), examined.outcome == Outcome::Ok, "{}: {examined:?}", examined.name);
            assert!(!examined.message.contains('\n'), "{examined:?}");
        }
    }
}

#[test]
fn the_machine_is_judged_by_what_its_files_say() {
    let zone = |n| format!("sys/class/thermal/thermal_zone{n}/temp");
    let throttled = "sys/devices/platform/soc/soc:firmware/get_throttled";
    let governor = "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor";
    let arm = "processor\t: 0\nFeatures\t: fp asimd crc32 asimddp\n\nprocessor\t: 1\nFeatures\t: fp asimd\n";
    let old = "processor\t: 0\nflags\t\t: fpu sse sse2\n\nprocessor\t: 1\n";
    let single = "processor\t: 0\nflags\t\t: fpu avx2\n";
    type Files = Vec<(String, &'static str)>;
    let cases: Vec<(&str, Files, Outcome, &str)> = vec![
        ("temperature", vec![], Outcome::Ok, "no temperature"),
        ("temperature", vec![(zone(0), "41000\n"), (zone(1), "52300\n")], Outcome::Ok, "52 °C"),
        ("temperature", vec![(zone(0), "79000\n")], Outcome::Warn, "79 °C"),
        ("temperature", vec![(zone(0), "91000\n"), (zone(1), "20000\n")], Outcome::Fail, "91 °C"),
        ("temperature", vec![(zone(0), "broken\n")], Outcome::Ok, "no temperature"),
        ("power", vec![], Outcome::Ok, "not slowed down"),
        ("power", vec![(throttled.into(), "0\n")], Outcome::Ok, "not slowed down"),
        ("power", vec![(throttled.into(), "50005\n")], Outcome::Fail, "voltage is too low now"),
        ("power", vec![(throttled.into(), "0x50000\n")], Outcome::Warn, "voltage was too low"),
        ("power", vec![(throttled.into(), "4\n")], Outcome::Fail, "slowed down now"),
        ("power", vec![(governor.into(), "powersave\n")], Outcome::Warn, "powersave"),
        ("cpu", vec![("proc/cpuinfo".into(), arm)], Outcome::Ok, "2 cores, asimddp"),
        ("cpu", vec![("proc/cpuinfo".into(), old)], Outcome::Warn, "no vector unit"),
        ("cpu", vec![("proc/cpuinfo".into(), single)], Outcome::Warn, "1 cores, avx2"),
        ("devices", vec![], Outcome::Ok, "0 camera and GPIO devices"),
        ("devices", vec![("dev/video0".into(), ""), ("dev/gpiochip0".into(), "")], Outcome::Ok, "2 camera"),
    ];
    for (name, files, outcome, words) in cases {
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
        let found = Machine::with(&files).find(name);
        assert_eq!(found.outcome, outcome, "{name} {files:?}: {found:?}");
        assert!(found.message.contains(words), "{name}: {found:?}");
    }
}

#[test]
fn a_camera_is_a_folder_with_pictures_of_the_size() {
    let machine = Machine::with(&[]);
    assert_eq!(machine.find("camera").outcome, Outcome::Fail, "no folder");
    picture(&machine, 16);
    assert_eq!(machine.find("camera").outcome, Outcome::Fail, "another size");
    picture(&machine, 32);
    assert_eq!(
        machine.find("camera"),
        Finding::ok(format!("1 pictures below {}", machine.0.path().join("pictures").display()))
    );
}

#[test]
fn what_needs_a_configuration_says_so_and_the_configuration_is_what_failed() {
    let machine = Machine::with(&[("config.toml", "nonsense = 1")]);
    assert_eq!(machine.find("config").outcome, Outcome::Fail);
    for name in ["recipe", "sight", "camera", "outputs", "record", "disk", "realtime", "memory_lock"] {
        assert_eq!(machine.find(name), Finding::without_config(), "{name}");
    }
}

#[test]
fn records_go_where_a_file_can_be_made() {
    let machine = Machine::with(&[]);
    assert_eq!(machine.find("record").outcome, Outcome::Ok);
    assert!(!machine.0.path().join("log").exists(), "a check makes nothing");
    // A folder cannot be made below a file, whoever asks.
    let blocked = Machine::with(&[("config.toml", &GOOD.replace("log/events", "config.toml/events"))]);
    assert_eq!(blocked.find("record").outcome, Outcome::Fail);
    let silent = GOOD.replace("record.events = \"log/events.jsonl\"", "").replace("recorded", "none");
    assert_eq!(Machine::with(&[("config.toml", &silent)]).find("record").outcome, Outcome::Warn);
}

#[test]
fn a_recipe_that_is_not_there_or_none_fails() {
    assert_eq!(Machine::with(&[]).find("recipe").outcome, Outcome::Fail);
    let machine = Machine::with(&[("recipe.onnx", "no recipe")]);
    assert_eq!((machine.find("recipe").outcome, machine.find("sight").outcome), (Outcome::Fail, Outcome::Warn));
}
