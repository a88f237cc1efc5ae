//! Numbers put into a configuration that a person wrote: its comments, order and layout stay as they are.
//!
//! A key that is written gets another value in its place. One that stands there commented out, as in the shipped file, is
//! put to work where it stands. Any other is added to its section. The result is read again with all of `check`'s rules:
//! what does not pass is not handed out.
//!
//! Over the places that `toml` gives for every value. An editor of whole documents changes line ends and the order of keys,
//! and knows no key that is commented out (docs/decisions/0040).

use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::raw::Raw;
use crate::error::{Error, ErrorKind, Result};

/// The text of a configuration with these keys (`section.name`) at these values, and everything else as it was.
///
/// `origin` is the file's path, for messages and relative paths.
///
/// # Errors
/// `Config` where the text has problems already or would have with these values, with the lines to write by hand.
pub fn with_numbers(text: &str, origin: &Path, values: &[(&str, f64)]) -> Result<String> {
    super::parse(text, origin)?;
    let by_hand = |why: &str| {
        let lines: Vec<String> = values.iter().map(|(path, value)| format!("{path} = {}", literal(*value))).collect();
        let message = format!("{} is unchanged, because {why}; write by hand: {}", origin.display(), lines.join(", "));
        Error::new(ErrorKind::Config, message)
    };
    let mut edited = text.to_owned();
    for (path, value) in values {
        edited = with(&edited, path, &literal(*value)).ok_or_else(|| by_hand("a key cannot be put into it safely"))?;
    }
    if let Err(problems) = super::parse(&edited, origin) {
        return Err(by_hand("with the new values it would not pass `zoomgate check`").caused_by(problems));
    }
    let raw = Raw::read(&edited);
    if values.iter().any(|(path, value)| raw.number(path) != Some(*value)) {
        return Err(by_hand("a key cannot be put into it safely"));
    }
    Ok(edited)
}

/// The number as TOML has it, with decimals.
fn literal(value: f64) -> String {
    format!("{value:?}")
}

fn with(text: &str, path: &str, literal: &str) -> Option<String> {
    let (section, name) = path.split_once('.')?;
    let file = DeTable::parse(text).ok()?;
    let found = file.get_ref().iter().find(|(key, _)| key.get_ref() == section).map(|(_, value)| value);
    let replaced = |range: Range<usize>, by: &str| Some(format!("{}{by}{}", &text[..range.start], &text[range.end..]));
    let Some(value) = found else {
        let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        return Some(format!("{text}{end}\n[{section}]\n{name} = {literal}\n"));
    };
    let DeValue::Table(keys) = value.get_ref() else { return None };
    let of_name = keys.iter().find(|(key, _)| key.get_ref() == name);
    if let Some((_, value)) = of_name {
        return replaced(value.span(), literal);
    }
    if text.get(value.span()).is_some_and(|table| table.starts_with('{')) {
        return within_braces(text, value.span(), name, literal);
    }
    match header(text, section) {
        Some(header) => {
            let (line, is_whole) = place(text, header, name);
            let text_of_line = format!("{name} = {literal}");
            replaced(line, &if is_whole { text_of_line } else { format!("\n{text_of_line}") })
        }
        None => {
            // Dotted keys: after the last of them.
            let last = keys.iter().map(|(_, value): (_, &Spanned<DeValue<'_>>)| value.span().end).max()?;
            let at = line_end(text, last);
            replaced(at..at, &format!("\n{path} = {literal}"))
        }
    }
}

/// A further key in `{ … }`.
fn within_braces(text: &str, span: Range<usize>, name: &str, literal: &str) -> Option<String> {
    let close = span.start + text.get(span.clone())?.rfind('}')?;
    let inside = text.get(span.start + 1..close)?;
    let kept = inside.trim_end();
    let comma = if kept.trim().is_empty() || kept.ends_with(',') { "" } else { "," };
    let at = span.start + 1 + kept.len();
    Some(format!(
        "{}{comma} {name} = {literal}{}",
        &text[..at],
        if at == close { format!(" {}", &text[close..]) } else { text[at..].to_owned() }
    ))
}

/// The byte behind the header line of a section, without its line end.
fn header(text: &str, section: &str) -> Option<usize> {
    lines(text).find_map(|line| {
        let rest = text[line.clone()].trim_start().strip_prefix('[')?.trim_start().strip_prefix(section)?;
        rest.trim_start().starts_with(']').then_some(line.end)
    })
}

/// Where a key goes in the section whose header ends at `header`: the line that has it commented out, which it takes
/// over (`true`), or the end of the section's last line that is no comment.
fn place(text: &str, header: usize, name: &str) -> (Range<usize>, bool) {
    let mut last = header;
    for line in lines(text).skip_while(|line| line.start <= header) {
        let content = text[line.clone()].trim();
        if content.starts_with('[') {
            break;
        }
        let commented = content.strip_prefix('#').and_then(|rest| rest.trim_start().strip_prefix(name));
        if commented.is_some_and(|rest| rest.trim_start().starts_with('=')) {
            return (line, true);
        }
        if !content.is_empty() && !content.starts_with('#') {
            last = line.end;
        }
    }
    (last..last, false)
}

/// The lines of a text without their ends, which may be `\r\n`.
fn lines(text: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    text.split_inclusive('\n').scan(0, |start, line| {
        let begin = *start;
        *start += line.len();
        Some(begin..begin + line.trim_end_matches(['\n', '\r']).len())
    })
}

fn line_end(text: &str, from: usize) -> usize {
    let end = text[from..].find('\n').map_or(text.len(), |at| from + at);
    from + text[from..end].trim_end_matches('\r').len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::render;

    fn edit(text: &str, values: &[(&str, f64)]) -> Result<String> {
        with_numbers(text, Path::new("config.toml"), values)
    }

    /// The lines that differ, old and new.
    fn changed(old: &str, new: &str) -> Vec<(String, String)> {
        assert_eq!(old.lines().count(), new.lines().count());
        old.lines().zip(new.lines()).filter(|(a, b)| a != b).map(|(a, b)| (a.to_owned(), b.to_owned())).collect()
    }

    const NEW: [(&str, f64); 3] =
        [("reject.travel_mm", 312.5), ("reject.actuator_latency_ms", 23.0), ("trigger.exposure_offset_ms", -4.5)];

    #[test]
    fn the_shipped_file_changes_in_three_lines() {
        for ending in ["\n", "\r\n"] {
            let shipped = render::shipped().replace('\n', ending);
            let edited = edit(&shipped, &NEW).unwrap();
            let expected = [
                ("#exposure_offset_ms = 0.0", "exposure_offset_ms = -4.5"),
                ("travel_mm = 300.0", "travel_mm = 312.5"),
                ("#actuator_latency_ms = 10.0", "actuator_latency_ms = 23.0"),
            ];
            let expected = expected.map(|(a, b)| (a.to_owned(), b.to_owned()));
            assert_eq!(changed(&shipped, &edited), expected);
            assert_eq!(edited.matches(ending).count(), shipped.matches(ending).count());
            assert_eq!(edit(&edited, &NEW).unwrap(), edited, "twice is once");
        }
    }

    #[test]
    fn every_way_to_write_a_section_keeps_what_a_person_wrote() {
        let rest = "[camera]\nsource = \"folder\"\nfolder = \"in\"\n[gpio]\nbackend = \"none\"\n[safety]\n\
                    on_uninspected = \"pass\"\non_missed_reject = \"alarm\"\n";
        let cases = [
            (
                "[trigger]\nsource = \"every_frame\" # each\n\n[reject]\n  travel_mm = 700 # ruler\n  belt_speed_mm_s = 250\n\n# end\n",
                "[trigger]\nsource = \"every_frame\" # each\nexposure_offset_ms = -4.5\n\n[reject]\n  travel_mm = 312.5 # \
                 ruler\n  belt_speed_mm_s = 250\nactuator_latency_ms = 23.0\n\n# end\n",
            ),
            (
                "trigger.source = \"every_frame\" # each\nreject = { travel_mm = 700, belt_speed_mm_s = 250 }\n",
                "trigger.source = \"every_frame\" # each\ntrigger.exposure_offset_ms = -4.5\n\
                 reject = { travel_mm = 312.5, belt_speed_mm_s = 250, actuator_latency_ms = 23.0 }\n",
            ),
            (
                "reject.travel_mm = 7e2\nreject.belt_speed_mm_s = 250\ntrigger = {source = \"every_frame\"}\n",
                "reject.travel_mm = 312.5\nreject.belt_speed_mm_s = 250\nreject.actuator_latency_ms = 23.0\n\
                 trigger = {source = \"every_frame\", exposure_offset_ms = -4.5 }\n",
            ),
            (
                "[ trigger ]\nsource = \"every_frame\"\n# exposure_offset_ms = 3\n[reject]\nactuator_latency_ms = 5\n\
                 travel_mm = 700\nbelt_speed_mm_s = 250\n",
                "[ trigger ]\nsource = \"every_frame\"\nexposure_offset_ms = -4.5\n[reject]\nactuator_latency_ms = 23.0\n\
                 travel_mm = 312.5\nbelt_speed_mm_s = 250\n",
            ),
        ];
        for (before, after) in cases {
            // Dotted keys of the root stand before every header.
            assert_eq!(edit(&format!("{before}{rest}"), &NEW).unwrap(), format!("{after}{rest}"));
        }
        let without =
            format!("trigger.source = \"every_frame\"\nreject.travel_mm = 9\nreject.belt_speed_mm_s = 9\n{rest}");
        let added = edit(without.trim_end(), &[("encoder.debounce_ms", 0.5)]).unwrap();
        assert!(added.ends_with("\"alarm\"\n\n[encoder]\ndebounce_ms = 0.5\n"), "{added}");
    }

    #[test]
    fn what_would_not_pass_is_not_handed_out() {
        let shipped = render::shipped();
        let error = edit(&shipped, &[("reject.travel_mm", 2.0), ("reject.actuator_latency_ms", 23.0)]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        for words in ["is unchanged", "zoomgate check", "reject.travel_mm = 2.0, reject.actuator_latency_ms = 23.0"] {
            assert!(error.message().contains(words), "{error}");
        }
        assert!(edit("[camera]\nsource = 3\n", &NEW).unwrap_err().message().contains("problems"));
        // A line of a text of several lines looks like the key.
        let tricky = format!("# [reject]\n{}", render::shipped().replace("#events", "events"));
        assert_eq!(changed(&tricky, &edit(&tricky, &NEW).unwrap()).len(), 3);
    }
}
