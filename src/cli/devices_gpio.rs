//! The GPIO section of `zoomgate devices`: chips, lines and who holds them.

use std::fmt::Write as _;

use crate::gpio::cdev::{self, Chip, ChipLine};

/// Every chip of this machine with its lines, as `--json` prints it. Disturbs no line.
pub fn gpio_section() -> Vec<Chip> {
    cdev::list()
}

/// The section as text, ending with a line break.
pub fn gpio_text(chips: &[Chip]) -> String {
    if chips.is_empty() {
        return "GPIO: no chip (/dev/gpiochip*). Load the board's driver.\n".to_owned();
    }
    let mut text = "GPIO\n".to_owned();
    for chip in chips {
        write_chip(&mut text, chip).expect("writing to a String cannot fail");
    }
    text
}

fn write_chip(text: &mut String, chip: &Chip) -> std::fmt::Result {
    let Chip { path, label, lines, error } = chip;
    if let Some(error) = error {
        return writeln!(text, "\n{error}");
    }
    let device = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    writeln!(text, "\n{} ({label}), {} lines", path.display(), lines.len())?;
    writeln!(text, "  as a line's name: its name below, or {device}:OFFSET")?;
    let width = lines.iter().map(|line| line.name.chars().count()).max().unwrap_or(0);
    for line in lines {
        let name = format!("{:width$}", line.name);
        writeln!(text, "  {:>3}  {name}  {}", line.offset, state(line))?;
    }
    Ok(())
}

fn state(line: &ChipLine) -> String {
    let direction = if line.is_output { "output" } else { "input" };
    match (line.is_used, line.consumer.as_str()) {
        (false, _) => format!("free, {direction}"),
        (true, "") => format!("held by a program without a name, {direction}"),
        (true, holder) => format!("held by `{holder}`, {direction}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_listed_with_their_holders() {
        let line = |offset, name: &str, consumer: Option<&str>, is_output| ChipLine {
            offset,
            name: name.to_owned(),
            is_used: consumer.is_some(),
            consumer: consumer.unwrap_or_default().to_owned(),
            is_output,
        };
        let lines = vec![
            line(0, "ID_SDA", None, false),
            line(1, "", Some(""), false),
            line(17, "GPIO17", Some("zoomgate"), true),
        ];
        let board = Chip { path: "/dev/gpiochip0".into(), label: "pinctrl-bcm2711".into(), lines, error: None };
        let error = Some("/dev/gpiochip1: no permission".to_owned());
        let closed = Chip { path: "/dev/gpiochip1".into(), label: String::new(), lines: vec![], error };
        let expected = "\
GPIO

/dev/gpiochip0 (pinctrl-bcm2711), 3 lines
  as a line's name: its name below, or gpiochip0:OFFSET
    0  ID_SDA  free, input
    1          held by a program without a name, input
   17  GPIO17  held by `zoomgate`, output

/dev/gpiochip1: no permission
";
        assert_eq!(gpio_text(&[board, closed]), expected);
        assert!(gpio_text(&[]).contains("no chip"));
    }

    #[test]
    fn this_machine_can_be_listed() {
        assert!(gpio_text(&gpio_section()).starts_with("GPIO"));
    }
}
