//! Record files, which grow while a run goes on: plain files, each with one writer.
//!
//! A pipe or a device would hold up who opens it, or whoever writes when nobody reads: it is refused before it is opened.
//! The writer holds an advisory lock (flock) that the kernel takes back when it ends, however it ends; the same lock on
//! the configuration, which is only read, keeps a second daemon away.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};

/// Opens a record that goes on where it ends; it and its folder are made where they are missing.
///
/// `action` completes "cannot …" in the error, for example `"write the events"`.
///
/// # Errors
/// `Refused` where `path` is no plain file, `Busy` while another process writes it, and those of the file system.
pub fn append(path: &Path, action: &str) -> Result<File> {
    let file = go_on(path, action)?;
    claim(&file, |holder| {
        let path = path.display();
        format!("cannot {action} {path}: {holder} writes it: stop that one, or name another file in the configuration")
    })?;
    Ok(file)
}

/// As [`append`], with nothing in it: what another run has left is replaced, and what one still writes is not.
///
/// # Errors
/// As [`append`].
pub fn begin(path: &Path, action: &str) -> Result<File> {
    let file = append(path, action)?;
    // After the lock, not by opening: the record of a run that goes on would be lost.
    file.set_len(0).map_err(|e| Error::io(action, path, e))?;
    Ok(file)
}

/// As [`append`] without the lock: for a last word in the record of a process that has died, which keeps no start waiting.
///
/// # Errors
/// As [`append`].
pub fn go_on(path: &Path, action: &str) -> Result<File> {
    super::refuse_special(path, action)?;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|e| Error::io(&format!("{action}: make the folder"), folder, e))?;
    }
    File::options().create(true).append(true).open(path).map_err(|e| Error::io(action, path, e))
}

/// Locks a file for as long as it is open; read access is enough.
///
/// `refusal` makes the sentence of another holder, which is given as words, with its process number where that is known.
///
/// # Errors
/// `Busy` with that sentence. A file system that cannot lock is a warning: nothing else could be tried there.
pub fn claim(file: &File, refusal: impl FnOnce(&str) -> String) -> Result<()> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => match holder(file) {
            // Opened anew without having been renamed.
            Some(pid) if pid == std::process::id() => Ok(()),
            Some(pid) => Err(Error::new(ErrorKind::Busy, refusal(&format!("process {pid}")))),
            None => Err(Error::new(ErrorKind::Busy, refusal("another process"))),
        },
        Err(TryLockError::Error(error)) => {
            log::warn!("a second run would not be noticed, because this file system does not lock: {error}");
            Ok(())
        }
    }
}

/// Who holds the lock on a file, as far as `/proc/locks` tells.
fn holder(file: &File) -> Option<u32> {
    let inode = file.metadata().ok()?.ino();
    holder_in(&fs::read_to_string("/proc/locks").ok()?, inode)
}

/// By the inode alone: some file systems give `stat` another device than the kernel's list has.
fn holder_in(locks: &str, inode: u64) -> Option<u32> {
    locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, "WRITE", pid, place, ..] = words.as_slice() else { return None };
        (place.rsplit(':').next()? == inode.to_string()).then(|| pid.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn what_is_no_plain_file_is_refused_and_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        let (pipe, socket) = (dir.path().join("pipe"), dir.path().join("socket"));
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
        let _listener = UnixListener::bind(&socket).unwrap();
        let null = Path::new("/dev/null");
        for (path, what) in
            [(&*pipe, "a named pipe"), (&*socket, "a socket"), (dir.path(), "a folder"), (null, "a device")]
        {
            let error = append(path, "write the events").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
            assert!(error.message().contains(what) && error.message().contains(path.to_str().unwrap()), "{error}");
        }
    }

    #[test]
    fn a_record_goes_on_or_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/events.jsonl");
        for _ in 0..2 {
            append(&path, "write the events").unwrap().write_all(b"x").unwrap();
        }
        assert_eq!(fs::read(&path).unwrap(), b"xx");
        begin(&path, "write the edges").unwrap().write_all(b"y").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"y");
        // The same process may open it anew, renamed or not.
        let (_first, _second) = (append(&path, "").unwrap(), append(&path, "").unwrap());
    }

    #[test]
    fn the_holder_of_a_lock_is_found() {
        let locks = "1: POSIX  ADVISORY  WRITE 5 00:1a:77 0 EOF\n\
                     2: FLOCK  ADVISORY  READ  6 00:1a:77 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 7 00:1a:77 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 8 00:1a:77 0 EOF\n";
        assert_eq!((holder_in(locks, 77), holder_in(locks, 7)), (Some(8), None));
        let file = tempfile::tempfile().unwrap();
        file.try_lock().unwrap();
        assert_eq!(holder(&file), Some(std::process::id()));
    }
}
