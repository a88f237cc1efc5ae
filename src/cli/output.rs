//! What `--json` prints: one object a line on stdout, nothing else there.

use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use crate::error::{Error, ErrorKind, Result};

/// Prints `value` as one JSON line on stdout and flushes it, so that a reader sees each line as it falls.
///
/// # Errors
/// When stdout is closed or full.
pub fn print_json<T: Serialize>(value: &T) -> Result<()> {
    write_json_line(&mut io::stdout().lock(), Path::new("standard output"), value)
}

/// Writes `value` as one JSON line to `out` and flushes it; `path` names `out` in the error.
///
/// # Errors
/// `Internal` when `value` has no JSON form (a map with keys that are not text), else what writing gave.
pub fn write_json_line<T: Serialize>(out: &mut impl Write, path: &Path, value: &T) -> Result<()> {
    // Formed first and written at once: a failing value must not leave half a line.
    let mut line = serde_json::to_vec(value).map_err(|e| {
        Error::new(ErrorKind::Internal, "a result has no JSON form: report this as a defect of zoomgate").caused_by(e)
    })?;
    line.push(b'\n');
    out.write_all(&line).and_then(|()| out.flush()).map_err(|e| Error::io("write the result to", path, e))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn one_line_a_value_and_null_for_what_is_not_there() {
        let mut out = Vec::new();
        for value in [Some(0.5), None, Some(f64::NAN)] {
            write_json_line(&mut out, Path::new("out"), &BTreeMap::from([("score", value)])).unwrap();
        }
        assert_eq!(String::from_utf8(out).unwrap(), "{\"score\":0.5}\n{\"score\":null}\n{\"score\":null}\n");
    }

    #[test]
    fn a_full_disk_is_an_error() {
        let mut full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let error = write_json_line(&mut full, Path::new("/dev/full"), &1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutOfSpace);
    }

    #[test]
    fn a_value_without_json_writes_nothing() {
        let mut out = Vec::new();
        let error = write_json_line(&mut out, Path::new("out"), &BTreeMap::from([(vec![1], 2)])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert!(out.is_empty());
    }
}
