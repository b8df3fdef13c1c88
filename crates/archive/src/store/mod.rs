//! Where the files of a repository lie: a trait, and a local directory.
//!
//! A store keeps opaque files named by the SHA-256 of their content. It needs no keys and is not trusted: whatever it
//! returns is verified by the [repository](crate::repository).

mod buffers;
mod local;
mod system;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;

pub use crate::id::FileId;
pub use buffers::{Buffer, Buffers};
pub use local::LocalStore;
pub use system::SystemError;

/// The kinds of files in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileKind {
    /// The one config file.
    Config,
    /// Packs of blobs (`data`).
    Pack,
    /// Index files: which blob lies in which pack.
    Index,
    /// Snapshots.
    Snapshot,
    /// Locks of programs that use the repository.
    Lock,
    /// Key files: the master key sealed with a password.
    Key,
}

impl FileKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [Self::Config, Self::Pack, Self::Index, Self::Snapshot, Self::Lock, Self::Key];

    /// The name of the kind's directory, also used by restic's REST protocol; for the config it is its file's name.
    #[must_use]
    pub fn dir_name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Pack => "data",
            Self::Index => "index",
            Self::Snapshot => "snapshots",
            Self::Lock => "locks",
            Self::Key => "keys",
        }
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Config => "config",
            Self::Pack => "pack",
            Self::Index => "index",
            Self::Snapshot => "snapshot",
            Self::Lock => "lock",
            Self::Key => "key",
        })
    }
}

/// One entry of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoredFile {
    /// The file's name.
    pub id: FileId,
    /// Its size in bytes.
    pub size: u64,
}

/// Why a store could not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no such file.
    #[error("{} is not there", object(*kind, id))]
    NotFound {
        /// What was asked for.
        kind: FileKind,
        /// Its name.
        id: FileId,
    },
    /// The holder does not permit it.
    #[error("{what} was refused: {reason}")]
    Refused {
        /// The operation and its object.
        what: String,
        /// The holder's reason.
        reason: String,
    },
    /// The place that the holder gives us is used up.
    #[error("the quota is used up: {message}")]
    QuotaExceeded {
        /// The holder's words: how much is allowed and used.
        message: String,
    },
    /// Another installation of this computer has taken over; this one can only read.
    #[error("another installation of this computer writes the archive now: this one can only read it")]
    Superseded {
        /// Since when by the holder's clock, Unix milliseconds.
        since_ms: Option<u64>,
    },
    /// The holder's disk is full.
    #[error("the disk that holds the archive is full")]
    Full,
    /// The holder can't be reached at present. Trying again later makes sense.
    #[error("the archive can't be reached: {0}")]
    Unavailable(String),
    /// The holder does not move on, though he can be reached.
    #[error("{what} does not come or go: {reason}")]
    Stalled {
        /// The object.
        what: String,
        /// What was waited for, and for how long.
        reason: String,
    },
    /// The holder answers, but does not hand over what is asked for. Others may be had.
    #[error("{} is not handed over: {reason}", object(*kind, id))]
    Withheld {
        /// What was asked for.
        kind: FileKind,
        /// Its name.
        id: FileId,
        /// How the holder evades.
        reason: String,
    },
    /// What came back is not what was stored.
    #[error("{} is damaged: {reason}", object(*kind, id))]
    Corrupt {
        /// What was asked for.
        kind: FileKind,
        /// Its name.
        id: FileId,
        /// What is wrong with it.
        reason: String,
    },
    /// Reading or writing failed.
    #[error("{what} failed")]
    Io {
        /// The operation and its object.
        what: String,
        /// What the system said.
        #[source]
        source: SystemError,
    },
}

/// What an error is about. Without a name it is the config, or a list.
fn object(kind: FileKind, id: &FileId) -> String {
    match (kind, *id == FileId::ZERO) {
        (FileKind::Config, true) => "the config".to_owned(),
        (kind, true) => format!("the list of the {kind} files"),
        (kind, false) => format!("{kind} {id}"),
    }
}

impl StoreError {
    /// Whether the same request may succeed later without anyone doing something about it.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Stalled { .. })
    }

    /// Whether this object is not to be had as it was stored, while others may be.
    #[must_use]
    pub fn is_about_the_object(&self) -> bool {
        matches!(self, Self::NotFound { .. } | Self::Withheld { .. } | Self::Corrupt { .. })
    }
}

/// A place that keeps the files of one repository.
///
/// Implementations wait out short interruptions themselves: an error they return ends the job that asked.
#[async_trait]
pub trait Store: Send + Sync {
    /// The files of a kind, in no particular order. The config is listed as [`FileId::ZERO`] if it exists.
    async fn list(&self, kind: FileKind) -> Result<Vec<StoredFile>, StoreError>;

    /// A file's content, or the given range of it. A range that reaches beyond the end is an error.
    async fn load(&self, kind: FileKind, id: &FileId, range: Option<Range<u64>>)
    -> Result<Bytes, StoreError>;

    /// Stores a file; it is durable when this returns. Storing what is there already is fine.
    async fn save(&self, kind: FileKind, id: &FileId, data: Bytes) -> Result<(), StoreError>;

    /// Removes a file. Removing what is not there is [`StoreError::NotFound`].
    async fn remove(&self, kind: FileKind, id: &FileId) -> Result<(), StoreError>;
}
