//! What ends a restore, and what a failed operation on the target means.

use std::fmt;
use std::path::PathBuf;

use nix::errno::Errno;

use crate::browse::BrowseError;
use crate::repository::RepositoryError;

/// Why a restore ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The path is not in the snapshot.
    #[error(transparent)]
    Browse(#[from] BrowseError),
    /// The archive can't be read at all.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// The target can't be made or opened, or its disk fails in the end.
    #[error("the target folder {} can't be used: {reason}", target.display())]
    Target {
        /// The target.
        target: PathBuf,
        /// Why.
        reason: String,
    },
    /// The target may not be written to.
    #[error("no permission to write into the target folder {}", target.display())]
    Denied {
        /// The target.
        target: PathBuf,
    },
    /// The target is on a file system that can't be written to.
    #[error("the target folder {} is read-only", target.display())]
    ReadOnly {
        /// The target.
        target: PathBuf,
    },
    /// The disk is full, or the person's quota on it is used up.
    #[error("the disk with the target folder {} is full; files restored so far are complete", target.display())]
    Full {
        /// The target.
        target: PathBuf,
    },
    /// It was cancelled.
    #[error("the restore was cancelled; files restored so far are complete")]
    Cancelled,
    /// The program ends.
    #[error("the restore was interrupted")]
    Interrupted,
}

/// An operation on one entry of the target failed.
#[derive(Debug, Clone, Copy)]
pub(super) struct EntryError {
    /// What could not be done, as in "it can't be created".
    pub(super) what: &'static str,
    pub(super) errno: Errno,
}

impl fmt::Display for EntryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self.errno {
            Errno::EACCES | Errno::EPERM => "no permission",
            Errno::ENAMETOOLONG => "its name is too long for this file system",
            Errno::ENOTEMPTY => "a folder that is not empty is in the way",
            Errno::EEXIST => {
                "something of this name came there meanwhile; probably the file system of the target can't tell it from \
                 another name in the same folder (capital letters, accents): restore it to another target"
            }
            Errno::ENOTDIR | Errno::ELOOP => {
                "a file or symbolic link is in the way of its folder, and it is not followed"
            }
            Errno::EFBIG => "it is too large for this file system",
            other => other.desc(),
        };
        write!(f, "{}: {reason}", self.what)
    }
}

/// For `map_err`.
pub(super) fn entry(what: &'static str) -> impl Fn(Errno) -> EntryError {
    move |errno| EntryError { what, errno }
}

/// For `map_err`.
pub(super) fn entry_io(what: &'static str) -> impl Fn(std::io::Error) -> EntryError {
    move |error| EntryError { what, errno: error.raw_os_error().map_or(Errno::EIO, Errno::from_raw) }
}
