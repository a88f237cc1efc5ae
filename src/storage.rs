//! Files that are either wholly new or wholly old: write beside, sync, rename, sync the folder.
//!
//! Every file that zoomgate must not lose (recipes, reports, overlays) is written through here. A full disk, a killed
//! process or a power cut leaves the old file untouched; only a killed process or a power cut can leave a
//! `.NAME.*.zgtmp` behind, which nothing reads and anyone may delete.

pub mod record;

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{self, Read as _, Write};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::{Error, ErrorKind, Result};

/// How the names of unfinished files end.
const UNFINISHED: &str = ".zgtmp";

/// Replaces `path` by `bytes`, or leaves it as it was.
///
/// `action` completes "cannot …" in the error, for example `"write the recipe"`. See [`write_atomic_with`].
///
/// # Errors
/// As [`write_atomic_with`].
pub fn write_atomic(path: &Path, action: &str, bytes: &[u8]) -> Result<()> {
    write_atomic_with(path, action, |file| file.write_all(bytes))
}

/// Writes `bytes` to `path`, which must be new: `false` where there is something of that name, which stays as it is.
///
/// As whole as [`write_atomic`]: there is the complete file or none.
///
/// # Errors
/// As [`write_atomic_with`].
pub fn write_new(path: &Path, action: &str, bytes: &[u8]) -> Result<bool> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let attempt = || -> io::Result<bool> {
        let mut temp = unfinished(path, folder)?;
        temp.as_file_mut().write_all(bytes)?;
        temp.as_file().sync_all()?;
        match temp.persist_noclobber(path) {
            Ok(_) => Ok(true),
            Err(e) if e.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(e) => Err(e.error),
        }
    };
    let is_written = attempt().map_err(|e| Error::io(action, path, e))?;
    if is_written {
        sync_folder(folder).map_err(|e| Error::io(action, path, e))?;
    }
    Ok(is_written)
}

/// What there is at `path` that is no plain file, in words; `None` for a plain file and for nothing. Opens nothing.
pub fn not_plain(path: &Path) -> Option<&'static str> {
    let kind = fs::metadata(path).ok()?.file_type();
    (!kind.is_file()).then(|| match kind {
        kind if kind.is_dir() => "a folder",
        kind if kind.is_fifo() => "a named pipe",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
    })
}

/// `Refused` where there is something at `path` that is no plain file.
fn refuse_special(path: &Path, action: &str) -> Result<()> {
    let Some(what) = not_plain(path) else { return Ok(()) };
    let message = format!("cannot {action} {}: it is {what}; choose a plain file", path.display());
    Err(Error::new(ErrorKind::Refused, message))
}

/// All of a file of at most `most` bytes.
///
/// `action` completes "cannot …" in the error. Never waits: a pipe or a device is refused before it is opened.
///
/// # Errors
/// `NotFound`, `Refused` for what is no plain file or larger, and what reading gives.
pub fn read_bounded(path: &Path, action: &str, most: u64) -> Result<Vec<u8>> {
    refuse_special(path, action)?;
    let found = fs::metadata(path).map_err(|e| Error::io(action, path, e))?;
    if found.len() > most {
        let message = format!(
            "cannot {action} {}: it has {} bytes, and {most} are the most; check the path",
            path.display(),
            found.len()
        );
        return Err(Error::new(ErrorKind::Refused, message));
    }
    let mut bytes = Vec::with_capacity(found.len() as usize);
    let file = File::open(path).map_err(|e| Error::io(action, path, e))?;
    // It may grow while it is read.
    file.take(most).read_to_end(&mut bytes).map_err(|e| Error::io(action, path, e))?;
    Ok(bytes)
}

/// An unfinished file beside `target`; dropping it removes it.
fn unfinished(target: &Path, folder: &Path) -> io::Result<NamedTempFile> {
    let mut prefix = OsString::from(".");
    prefix.push(target.file_name().unwrap_or_default());
    prefix.push(".");
    // Without this the file would be readable by its writer alone, and a recipe taught by one account is read by
    // another. The umask applies to it as to any new file.
    let mode = Permissions::from_mode(0o666);
    tempfile::Builder::new().prefix(&prefix).suffix(UNFINISHED).permissions(mode).tempfile_in(folder)
}

/// Replaces `path` by what `fill` writes, or leaves it as it was.
///
/// The new file keeps the old one's permission bits, else it gets the process's usual ones (0666 without the umask). A
/// symbolic link stays one; the file it points at is replaced. Blocks for two fsyncs.
///
/// # Errors
/// `OutOfSpace` on a full disk, `NotFound` without the folder, `Refused` where `path` is a folder or a device, and
/// whatever `fill` returns. The old file stays and the unfinished one is removed, except when syncing the folder is
/// what fails: then the new file is in place but may not survive a power cut.
pub fn write_atomic_with(path: &Path, action: &str, fill: impl FnOnce(&mut File) -> io::Result<()>) -> Result<()> {
    let target = destination(path, action)?;
    let folder = target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let attempt = || -> io::Result<()> {
        let mut temp = unfinished(&target, folder)?;
        fill(temp.as_file_mut())?;
        if let Ok(old) = fs::metadata(&target) {
            temp.as_file().set_permissions(old.permissions())?;
        }
        temp.as_file().sync_all()?;
        // Dropping the temporary file on any error above removes it; so does a failed rename.
        temp.persist(&target).map_err(|e| e.error)?;
        Ok(())
    };
    attempt().map_err(|e| Error::io(action, path, e))?;
    sync_folder(folder).map_err(|e| Error::io(action, path, e))
}

/// The file that is replaced when `path` is written: `path` itself, or what it links to.
fn destination(path: &Path, action: &str) -> Result<PathBuf> {
    let refuse = |what: &str, step: &str| {
        Err(Error::new(ErrorKind::Refused, format!("cannot {action} {}: {what}; {step}", path.display())))
    };
    if path.file_name().is_none() {
        return refuse("the path names no file", "add a file name");
    }
    match fs::metadata(path) {
        Ok(m) if m.is_file() => fs::canonicalize(path).map_err(|e| Error::io(action, path, e)),
        Ok(m) if m.is_dir() => refuse("it is a folder", "add a file name"),
        // Renaming over it would replace the device by a plain file.
        Ok(_) => refuse("it is a device, pipe or socket", "choose a plain file"),
        Err(_) => Ok(path.to_path_buf()),
    }
}

/// Makes a rename inside `folder` survive a power cut.
fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        // Some network and FUSE file systems cannot sync a folder, and there is nothing else to try on them.
        Err(e) if matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn writes_and_replaces_keeping_the_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("recipe.onnx");
        write_atomic(&path, "write the recipe", b"one").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one");
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        write_atomic(&path, "write the recipe", b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(names(dir.path()), ["recipe.onnx"]);
    }

    #[test]
    fn a_new_file_has_the_mode_of_any_new_file() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("plain"), b"").unwrap();
        write_atomic(&dir.path().join("ours"), "write the recipe", b"").unwrap();
        let mode = |name| fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode("ours"), mode("plain"));
    }

    /// `/dev/full` answers every write with the very error of a full disk.
    #[test]
    fn a_full_disk_leaves_the_old_file_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("recipe.onnx");
        fs::write(&path, b"old").unwrap();
        let error = write_atomic_with(&path, "write the recipe", |file| {
            file.write_all(b"half of the new rec")?;
            File::options().write(true).open("/dev/full")?.write_all(b"ipe")
        })
        .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutOfSpace);
        assert!(error.message().contains("recipe.onnx") && error.message().contains("free some space"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(dir.path()), ["recipe.onnx"]);
    }

    #[test]
    fn a_panic_while_writing_leaves_the_old_file_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("recipe.onnx");
        fs::write(&path, b"old").unwrap();
        let outcome = std::panic::catch_unwind(|| {
            write_atomic_with(&path, "write the recipe", |file| {
                file.write_all(b"half").unwrap();
                panic!("a bug in the writer")
            })
        });
        assert!(outcome.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(dir.path()), ["recipe.onnx"]);
    }

    #[test]
    fn a_new_file_never_takes_the_place_of_another() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("good-000001.png");
        assert!(write_new(&path, "write the picture", b"one").unwrap());
        assert!(!write_new(&path, "write the picture", b"two").unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(names(dir.path()), ["good-000001.png"]);
        let error = write_new(&dir.path().join("no/such/folder/a"), "write the picture", b"x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn a_link_stays_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("v1.onnx"), dir.path().join("current.onnx"));
        fs::write(&real, b"old").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        write_atomic(&link, "write the recipe", b"new").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&real).unwrap(), b"new");
    }

    #[test]
    fn refuses_what_is_not_a_plain_file() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("no/such/folder/recipe.onnx");
        for (path, kind) in [
            (dir.path(), ErrorKind::Refused),
            (Path::new("/dev/null"), ErrorKind::Refused),
            (Path::new("/"), ErrorKind::Refused),
            (missing.as_path(), ErrorKind::NotFound),
        ] {
            let error = write_atomic(path, "write the recipe", b"x").unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.message().contains(path.to_str().unwrap()), "{error}");
        }
        assert!(names(dir.path()).is_empty());
    }
}
