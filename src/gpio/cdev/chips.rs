//! What there is: chips, their lines and who holds them; and the search for one line among them.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::refusal::{no_permission, of_chip};
use crate::error::{Error, ErrorKind, Result};
use crate::gpio::name::LineName;

/// A line's names in a message stop after this many; `zoomgate devices` lists all.
const NAMES_MAX: usize = 24;

/// A GPIO chip, for people and for `--json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Chip {
    /// Its device, such as `/dev/gpiochip0`.
    pub path: PathBuf,
    /// What the driver calls it, such as `pinctrl-bcm2711`.
    pub label: String,
    /// Its lines, by offset; empty when it could not be opened.
    pub lines: Vec<ChipLine>,
    /// Why it could not be opened or read, and what helps.
    pub error: Option<String>,
}

/// A line of a chip.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChipLine {
    /// Its number on the chip.
    pub offset: u32,
    /// The board's name for it; empty where it has none.
    pub name: String,
    /// Whether something holds it.
    pub is_used: bool,
    /// Who says to hold it; may be empty even then.
    pub consumer: String,
    /// Whether it is an output now.
    pub is_output: bool,
}

/// A line that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LineAddress {
    /// As the configuration has it.
    pub written: String,
    /// The chip's device.
    pub chip: PathBuf,
    /// Its number there.
    pub offset: u32,
}

/// Every chip with its lines. Opens each for a moment and disturbs no line.
pub fn list() -> Vec<Chip> {
    let paths = gpiocdev::chip::chips().unwrap_or_default();
    paths.iter().map(|path| look(path)).collect()
}

fn look(path: &Path) -> Chip {
    let empty = |error: String| Chip { path: path.to_owned(), label: String::new(), lines: vec![], error: Some(error) };
    let chip = match gpiocdev::Chip::from_path(path) {
        Ok(chip) => chip,
        Err(error) => return empty(of_chip(path, &error).to_string()),
    };
    let read = || -> gpiocdev::Result<Chip> {
        let lines = chip.line_info_iter()?.map(|line| line.map(ChipLine::from)).collect::<gpiocdev::Result<_>>()?;
        Ok(Chip { path: path.to_owned(), label: chip.info()?.label, lines, error: None })
    };
    read().unwrap_or_else(|error| empty(of_chip(path, &error).to_string()))
}

impl From<gpiocdev::line::Info> for ChipLine {
    fn from(info: gpiocdev::line::Info) -> Self {
        Self {
            offset: info.offset,
            name: info.name,
            is_used: info.used,
            consumer: info.consumer,
            is_output: info.direction == gpiocdev::line::Direction::Output,
        }
    }
}

/// Finds the one line that is meant.
pub(super) fn find(written: &str, name: &LineName) -> Result<LineAddress> {
    find_among(&list(), written, name)
}

/// The chip behind a Raspberry Pi's header, by the names that its drivers have had, is the one with this line.
#[cfg(feature = "rppal")]
pub(super) fn on_the_header(written: &str, offset: u32) -> Result<LineAddress> {
    const LABELS: [&str; 3] = ["pinctrl-rp1", "pinctrl-bcm2711", "pinctrl-bcm2835"];
    let chips = list();
    let label = LABELS.into_iter().find(|label| chips.iter().any(|chip| chip.label == *label));
    find_among(&chips, written, &LineName::At { chip: label.unwrap_or(LABELS[0]).to_owned(), offset })
}

/// As [`find`], among these.
fn find_among(chips: &[Chip], written: &str, name: &LineName) -> Result<LineAddress> {
    let address = |chip: &Chip, offset| LineAddress { written: written.to_owned(), chip: chip.path.clone(), offset };
    let not_found = |message: String| Err(Error::new(ErrorKind::NotFound, message));
    if chips.is_empty() {
        return not_found(format!(
            "line {written}: this machine shows no GPIO chip (/dev/gpiochip*): load its driver, or set gpio.backend = \
             \"none\" for a trial without outputs"
        ));
    }
    // A chip that cannot be opened may be the one with the line: that comes before "there is no such line".
    let closed = || chips.iter().find(|chip| chip.error.is_some());
    match name {
        LineName::At { chip: wanted, offset } => {
            let Some(chip) = chips.iter().find(|chip| is_called(chip, wanted)) else {
                let known: Vec<_> = chips.iter().map(title).collect();
                return not_found(format!("line {written}: there is no chip {wanted}; there are {}", known.join(", ")));
            };
            match &chip.error {
                Some(_) => Err(no_permission(written, chip)),
                None if chip.lines.iter().any(|line| line.offset == *offset) => Ok(address(chip, *offset)),
                None => not_found(format!(
                    "line {written}: {} has lines 0 to {} only",
                    title(chip),
                    chip.lines.len().saturating_sub(1)
                )),
            }
        }
        LineName::Named(wanted) => {
            let named = |chip: &Chip| -> Vec<LineAddress> {
                chip.lines.iter().filter(|line| line.name == *wanted).map(|line| address(chip, line.offset)).collect()
            };
            let mut found: Vec<LineAddress> = chips.iter().flat_map(named).collect();
            match (found.len(), closed()) {
                (1, _) => Ok(found.remove(0)),
                (0, Some(chip)) => Err(no_permission(written, chip)),
                (0, None) => not_found(format!("there is no line {written}; {}", names(chips))),
                _ => {
                    let places: Vec<_> = found.iter().map(|p| format!("{}:{}", p.chip.display(), p.offset)).collect();
                    let message = format!(
                        "line {written} is there more than once, as {}: name it by chip and offset",
                        places.join(" and ")
                    );
                    Err(Error::new(ErrorKind::Config, message))
                }
            }
        }
    }
}

fn is_called(chip: &Chip, wanted: &str) -> bool {
    chip.path == Path::new(wanted)
        || chip.path.file_name().is_some_and(|name| name == wanted)
        || chip.label == wanted
        || (wanted.contains('/') && std::fs::canonicalize(wanted).is_ok_and(|path| path == chip.path))
}

fn title(chip: &Chip) -> String {
    let name = chip.path.file_name().unwrap_or(chip.path.as_os_str()).to_string_lossy().into_owned();
    if chip.label.is_empty() { name } else { format!("{name} ({})", chip.label) }
}

/// What lines there are, for a message.
fn names(chips: &[Chip]) -> String {
    let mut named: Vec<&str> =
        chips.iter().flat_map(|chip| &chip.lines).map(|line| line.name.as_str()).filter(|n| !n.is_empty()).collect();
    if named.is_empty() {
        let known: Vec<_> =
            chips.iter().map(|chip| format!("{} with {} lines", title(chip), chip.lines.len())).collect();
        return format!("no line has a name here: write chip:offset, of {}", known.join(", "));
    }
    let more = named.len().saturating_sub(NAMES_MAX);
    named.truncate(NAMES_MAX);
    let rest = if more > 0 { format!(" and {more} more, see `zoomgate devices`") } else { String::new() };
    format!("there are {}{rest}", named.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chip(number: u32, label: &str, names: &[&str]) -> Chip {
        let line = |(offset, name): (u32, &&str)| ChipLine {
            offset,
            name: (*name).to_owned(),
            is_used: false,
            consumer: String::new(),
            is_output: false,
        };
        let path = format!("/dev/gpiochip{number}").into();
        Chip { path, label: label.to_owned(), lines: (0..).zip(names).map(line).collect(), error: None }
    }

    #[test]
    fn a_line_is_found_by_name_or_place_or_what_there_is_is_said() {
        let mut closed = chip(2, "", &[]);
        closed.error = Some("not for you".to_owned());
        let board = [chip(0, "soc", &["A", "", "TWICE"]), chip(1, "expander", &["B", "TWICE"])];
        let locked = [board[0].clone(), closed];
        let bare = [chip(0, "sim", &["", ""])];
        type Case<'a> = (&'a [Chip], &'a str, Result<(u32, u32), (ErrorKind, &'a str)>);
        let cases: &[Case] = &[
            (&board, "B", Ok((1, 0))),
            (&board, "gpiochip0:1", Ok((0, 1))),
            (&board, "/dev/gpiochip1:1", Ok((1, 1))),
            (&board, "expander:0", Ok((1, 0))),
            (&board, "TWICE", Err((ErrorKind::Config, "/dev/gpiochip0:2 and /dev/gpiochip1:1"))),
            (&board, "C", Err((ErrorKind::NotFound, "there are A, TWICE, B, TWICE"))),
            (&board, "soc:3", Err((ErrorKind::NotFound, "lines 0 to 2 only"))),
            (&board, "gpiochip7:3", Err((ErrorKind::NotFound, "gpiochip0 (soc), gpiochip1 (expander)"))),
            (&locked, "A", Ok((0, 0))),
            (&locked, "C", Err((ErrorKind::Refused, "gpiochip2"))),
            (&locked, "gpiochip2:0", Err((ErrorKind::Refused, "not for you"))),
            (&bare, "A", Err((ErrorKind::NotFound, "gpiochip0 (sim) with 2 lines"))),
            (&[], "A", Err((ErrorKind::NotFound, "no GPIO chip"))),
        ];
        for (chips, written, expected) in cases {
            let found = find_among(chips, written, &LineName::parse(written, None).unwrap());
            match (found, expected) {
                (Ok(address), Ok((number, offset))) => {
                    assert_eq!(address.chip, Path::new(&format!("/dev/gpiochip{number}")), "{written}");
                    assert_eq!((address.offset, address.written.as_str()), (*offset, *written));
                }
                (Err(error), Err((kind, about))) => {
                    assert!(error.kind() == *kind && error.message().contains(about), "{written}: {error}");
                }
                (found, expected) => panic!("{written}: {found:?}, not {expected:?}"),
            }
        }
    }

    #[test]
    fn a_long_list_of_names_is_cut() {
        let many: Vec<String> = (0..60).map(|n| format!("L{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let text = names(&[chip(0, "soc", &many)]);
        assert!(text.contains("L23 and 36 more") && !text.contains("L24"), "{text}");
    }
}
