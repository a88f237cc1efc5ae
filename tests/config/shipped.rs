//! The file that ships.

use std::fs;
use std::path::Path;

use zoomgate::config::keys::KEYS;
use zoomgate::config::{self, Config, Trigger, render};
use zoomgate::decide::{OnMissedReject, OnUninspected};
use zoomgate::{camera, gpio};

use super::{assert_golden, root};

#[test]
fn shipped_file_is_the_key_table_and_passes() {
    assert_golden(&root("config.toml"), &render::shipped());
    let findings = config::examine_file(&root("config.toml"));
    assert_eq!(findings.warnings, []);
    let config = findings.config.unwrap();
    assert_eq!(config.safety.on_uninspected, OnUninspected::Reject);
    assert_eq!(config.safety.on_missed_reject, OnMissedReject::Alarm);
    assert!(matches!(config.camera.source, camera::Source::Simulated { .. }));
    assert_eq!(config.trigger, Trigger::Simulated);
    assert_eq!(config.gpio.backend, gpio::Backend::Recorded { path: root("edges.jsonl"), inputs: None });
}

#[test]
fn shipped_file_shows_every_key_once() {
    let shipped = fs::read_to_string(root("config.toml")).unwrap();
    let mut section = "";
    let mut shown = Vec::new();
    for line in shipped.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        } else if let Some((name, _)) = line.strip_prefix('#').unwrap_or(line).split_once(" = ")
            && !name.contains(' ')
        {
            shown.push(format!("{section}.{name}"));
        }
    }
    assert_eq!(shown, KEYS.iter().map(|key| key.path).collect::<Vec<_>>());
}

#[test]
fn relative_paths_start_at_the_folder_of_the_file() {
    let shipped = render::shipped();
    let paths = |config: Config| (config.model.recipe, config.record.events.unwrap());
    for (origin, folder) in
        [("config.toml", ""), ("etc/line.toml", "etc"), ("/etc/zoomgate/config.toml", "/etc/zoomgate")]
    {
        let config = config::parse(&shipped, Path::new(origin)).unwrap();
        assert_eq!(paths(config), (Path::new(folder).join("recipe.onnx"), Path::new(folder).join("events.jsonl")));
    }
    let absolute = shipped.replace("\"events.jsonl\"", "\"/var/log/events.jsonl\"");
    let config = config::parse(&absolute, Path::new("etc/line.toml")).unwrap();
    assert_eq!(config.record.events.unwrap(), Path::new("/var/log/events.jsonl"));
}

#[test]
fn what_an_editor_may_do_to_a_file_is_no_mistake() {
    let shipped = render::shipped();
    let expected = config::parse(&shipped, Path::new("config.toml")).unwrap();
    for text in [format!("\u{feff}{shipped}"), shipped.replace('\n', "\r\n")] {
        assert_eq!(config::parse(&text, Path::new("config.toml")).unwrap(), expected);
    }
}
