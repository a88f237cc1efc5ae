//! Every key of the table: written, left out, misspelt, out of range.

use zoomgate::camera;
use zoomgate::config::keys::{self, Absent, KEYS, Key, Kind, SECTIONS};
use zoomgate::config::{Problem, render};

use super::{examine, file_with, full_file, problems};

#[test]
fn every_key_can_be_written_and_every_default_is_what_absence_means() {
    assert_eq!(problems(&full_file()), []);
    let minimal: String = KEYS
        .iter()
        .filter(|k| matches!(k.absent, Absent::Required(_)))
        .fold(String::new(), |t, k| t + &format!("{} = {}\n", k.path, k.shown()));
    let defaults: String = KEYS.iter().fold(minimal.clone(), |text, key| match key.absent {
        Absent::Default(literal) => text + &format!("{} = {literal}\n", key.path),
        _ => text,
    });
    assert_ne!(minimal, defaults);
    assert_eq!(examine(&minimal).config.unwrap(), examine(&defaults).config.unwrap());
}

#[test]
fn every_offered_word_is_understood_and_every_later_one_names_the_offer() {
    let mut later_words = 0;
    for key in KEYS {
        let Kind::Choice { offered, later } = key.kind else { continue };
        for word in offered {
            let mut text = file_with(key, &format!("{} = \"{word}\"", key.name()));
            // What the word needs elsewhere in the file.
            match *word {
                "folder" | "v4l2" => {
                    text = text.replace("[trigger]\nsource = \"simulated\"", "[trigger]\nsource = \"every_frame\"")
                }
                "tripwire" => text = text.replace("[camera]\nsource = \"simulated\"", "[camera]\nsource = \"folder\""),
                "none" => text = text.replace("enabled = true", "enabled = false"),
                _ => {}
            }
            assert_eq!(problems(&text), [], "{} = {word}", key.path);
        }
        for word in later {
            later_words += 1;
            let problem = only_problem(&file_with(key, &format!("{} = \"{word}\"", key.name())), key);
            assert!(problem.message.contains("not in this build"), "{}", problem.message);
            assert!(offered.iter().all(|offer| problem.message.contains(offer)), "{}", problem.message);
        }
    }
    assert_eq!(later_words, if cfg!(feature = "v4l2") { 0 } else { 1 });
}

#[test]
fn the_camera_formats_are_those_that_are_read() {
    let Kind::Choice { offered, .. } = keys::find("camera.format").unwrap().kind else { panic!("format is a choice") };
    let read = camera::convert::PixelFormat::ALL.map(|(format, _)| format.name());
    assert_eq!(offered[0], "auto");
    assert_eq!(offered[1..], read);
}

fn only_problem(text: &str, key: &Key) -> Problem {
    let mut found = problems(text);
    assert_eq!(found.len(), 1, "{}: {found:#?}", key.path);
    found.remove(0)
}

/// `name` with each letter left out and each two neighbours swapped.
fn typos(name: &str) -> Vec<String> {
    let letters: Vec<char> = name.chars().collect();
    let without = (0..letters.len()).map(|at| {
        let mut letters = letters.clone();
        letters.remove(at);
        letters.into_iter().collect()
    });
    let swapped = (1..letters.len()).map(|at| {
        let mut letters = letters.clone();
        letters.swap(at - 1, at);
        letters.into_iter().collect()
    });
    without.chain(swapped).filter(|typo| typo != name).collect()
}

#[test]
fn every_typo_of_every_key_is_recognised() {
    for key in KEYS {
        for typo in typos(key.name()) {
            let text = file_with(key, &format!("{typo} = {}", key.shown()));
            let problem = only_problem(&text, key);
            assert_eq!(problem.message, "unknown key", "{typo}");
            assert_eq!(problem.key, Some(format!("{}.{typo}", key.section())));
            assert_eq!(problem.suggestion.as_deref(), Some(key.path), "{typo}");
            assert_eq!(text.lines().nth(problem.line.unwrap() - 1), Some(format!("{typo} = {}", key.shown()).as_str()));
        }
    }
}

#[test]
fn every_typo_of_every_section_is_recognised() {
    for section in SECTIONS {
        for typo in typos(section.name) {
            let text = full_file().replace(&format!("[{}]", section.name), &format!("[{typo}]"));
            let found = problems(&text);
            assert_eq!(found[0].message, "unknown section", "{typo}");
            assert_eq!(found[0].suggestion, Some(format!("[{}]", section.name)), "{typo}");
            assert_eq!(found.len(), 1, "{found:#?}");
        }
    }
}

#[test]
fn every_key_in_a_wrong_section_is_sent_to_its_own() {
    for key in KEYS.iter().filter(|key| KEYS.iter().filter(|other| other.name() == key.name()).count() == 1) {
        let text = file_with(key, "").replace("[web]\n", &format!("[web]\n{} = {}\n", key.name(), key.shown()));
        let problem = only_problem(&text, key);
        assert_eq!(problem.suggestion.as_deref(), Some(key.path));
    }
}

#[test]
fn every_number_is_held_to_its_range() {
    let mut numbers = 0;
    for key in KEYS {
        let refused = match key.kind {
            Kind::Integer { min, max, .. } => {
                let below = i128::from(min) - 1;
                vec![below.to_string(), (max + 1).to_string(), format!("{:#x}", max + 1), "9".repeat(30)]
            }
            Kind::Number { min, max, .. } => {
                let step = max.abs() * f64::EPSILON * 2.0;
                let mut refused = vec![format!("{:?}", min - step), format!("{:?}", max + step)];
                refused.extend(["nan", "-nan", "inf", "-inf", "1e300", "-1e300", "1e999"].map(str::to_owned));
                refused.push(format!("-{}", "9".repeat(60)));
                refused
            }
            _ => continue,
        };
        numbers += 1;
        for literal in refused {
            let problem = only_problem(&file_with(key, &format!("{} = {literal}", key.name())), key);
            assert!(problem.message.starts_with(&format!("must be {}", render::range(&key.kind))), "{problem:?}");
            assert_eq!(problem.key.as_deref(), Some(key.path));
        }
        let ends = match key.kind {
            Kind::Integer { min, max, .. } => [min.to_string(), max.to_string()],
            Kind::Number { min, max, .. } => [format!("{min:?}"), format!("{max:?}")],
            _ => unreachable!("only numbers come here"),
        };
        for literal in ends {
            let found = problems(&file_with(key, &format!("{} = {literal}", key.name())));
            assert!(!found.iter().any(|p| p.message.starts_with("must be")), "{} = {literal}: {found:?}", key.path);
        }
    }
    assert!(numbers >= 10, "the table has {numbers} numbers");
}

#[test]
fn every_key_refuses_every_other_type() {
    for key in KEYS {
        let literals = [
            (matches!(key.kind, Kind::Boolean), "true"),
            (matches!(key.kind, Kind::Integer { .. } | Kind::Number { .. }), "1"),
            (matches!(key.kind, Kind::Number { .. }), "1.5"),
            (matches!(key.kind, Kind::Choice { .. } | Kind::Line | Kind::Path), "\"word\""),
            (false, "2026-01-01"),
            (false, "[1, 2]"),
            (false, "{ a = 1 }"),
        ];
        for (_, literal) in literals.into_iter().filter(|(suits, _)| !suits) {
            let problem = only_problem(&file_with(key, &format!("{} = {literal}", key.name())), key);
            let expected = format!("must be {}, not ", render::range(&key.kind));
            assert!(problem.message.starts_with(&expected), "{}: {}", key.path, problem.message);
        }
    }
}

#[test]
fn every_key_left_out_is_its_default_or_asked_for() {
    for key in KEYS {
        let found = problems(&file_with(key, ""));
        match key.absent {
            Absent::Required(why) => {
                assert_eq!(found.len(), 1, "{found:?}");
                assert!(found[0].message.starts_with("is required") && found[0].message.contains(why), "{found:?}");
            }
            _ => assert_eq!(found, [], "{}", key.path),
        }
    }
}
