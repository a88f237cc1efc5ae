//! One error type for the whole crate: a public kind that says what the caller should do, and a private cause.
//!
//! Degraded outcomes (late, stale, uninspected) are values of the domain and never appear here.
//! Messages name the thing (path, key, device, shape) and the next step; the cause chain is printed once, by `main`.

use std::fmt;

/// What the caller should do about an error.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The person's settings or arguments are wrong: fix them and start again (exit code 2).
    Config,
    /// A file, device or line does not exist.
    NotFound,
    /// Something else holds the device or line.
    Busy,
    /// A device went away while in use.
    Disconnected,
    /// Something did not answer in time.
    Timeout,
    /// A file's content is damaged, truncated or not what it should be.
    Corrupt,
    /// The request was understood and is not allowed (newer schema, wrong backbone, too few pictures).
    Refused,
    /// A disk or a bounded store is full.
    OutOfSpace,
    /// A defect in zoomgate itself.
    Internal,
}

/// An error with a kind, a sentence for people, and the cause it wraps.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The crate's result type.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error without a deeper cause. `message` names the thing and the next step.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// Adds the cause to be printed below the message.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// An I/O error on `path`, its kind taken from the operating system's.
    ///
    /// `action` completes "cannot …", for example `"write the recipe"`.
    pub fn io(action: &str, path: &std::path::Path, source: std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let (kind, step) = match source.kind() {
            Io::NotFound => (ErrorKind::NotFound, "check the path"),
            Io::PermissionDenied => (ErrorKind::Refused, "check the permissions of the file and its folder"),
            Io::StorageFull | Io::QuotaExceeded | Io::FileTooLarge => {
                (ErrorKind::OutOfSpace, "free some space and try again")
            }
            Io::TimedOut => (ErrorKind::Timeout, "try again"),
            Io::ResourceBusy => (ErrorKind::Busy, "find out what holds it"),
            Io::UnexpectedEof | Io::InvalidData => (ErrorKind::Corrupt, "replace the file"),
            _ => (ErrorKind::Internal, "see the cause below"),
        };
        Self::new(kind, format!("cannot {action} {}: {step}", path.display())).caused_by(source)
    }

    /// What the caller should do.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The sentence for people, without the causes.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The stable word used in `--json` output.
    pub fn code(&self) -> &'static str {
        match self.kind {
            ErrorKind::Config => "config",
            ErrorKind::NotFound => "not_found",
            ErrorKind::Busy => "busy",
            ErrorKind::Disconnected => "disconnected",
            ErrorKind::Timeout => "timeout",
            ErrorKind::Corrupt => "corrupt",
            ErrorKind::Refused => "refused",
            ErrorKind::OutOfSpace => "out_of_space",
            ErrorKind::Internal => "internal",
        }
    }

    /// The process exit code: 2 for usage and configuration, 1 for everything else.
    pub fn exit_code(&self) -> u8 {
        if self.kind == ErrorKind::Config { 2 } else { 1 }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|s| s as _)
    }
}
