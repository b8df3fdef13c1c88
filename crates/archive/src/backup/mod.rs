//! From files to a snapshot.
//!
//! ```text
//! walker ──batches──▶ workers ──sealed blobs──▶ open packs ──full packs──▶ upload ──▶ store
//!   compares with       read, chunk, hash,        two at a                  several at a time,
//!   the parent          compress, seal            time, by chance           then their index
//! ```
//!
//! Walker and workers are threads of their own, the upload is asynchronous. Every queue between them has a bound, so memory
//! does not depend on the size of what is backed up. A directory becomes a tree blob when its last entry is done. The
//! snapshot is written when every pack and the index are durable, and not at all if any of them failed.

mod ahead;
mod directory;
mod exclude;
mod file;
mod metadata;
mod packer;
mod plan;
mod progress;
mod queue;
mod report;
mod run;
mod stop;
mod upload;
mod walk;
mod worker;

use std::path::PathBuf;

use jiff::Timestamp;

use crate::id::SnapshotId;
use crate::repository::RepositoryError;
use crate::store::{StoreError, SystemError};

pub use exclude::{Exclude, ExcludeError};
pub use progress::{Event, Phase, Progress, Totals};
pub use report::{BackupReport, MOST_LISTED, Skipped};
pub use run::{backup, link_reason};

/// What to back up.
#[derive(Debug, Clone)]
pub struct BackupRequest {
    /// Files and directories, absolute paths. Symbolic links are stored as such, never followed (apart from those on the
    /// way to a source). A path that is one itself is an omission: the link alone is no backup of what it leads to.
    pub paths: Vec<PathBuf>,
    /// What to leave out.
    pub excludes: Vec<Exclude>,
    /// Tags of the snapshot.
    pub tags: Vec<String>,
    /// The computer's name in the snapshot.
    pub hostname: String,
    /// The user's name in the snapshot.
    pub username: String,
    /// The snapshot's time.
    pub time: Timestamp,
    /// By which snapshot to recognise unchanged files; `None` takes the newest with the same paths, host and tags.
    pub parent: Option<SnapshotId>,
    /// How much of the computer to use.
    pub limits: Limits,
}

impl BackupRequest {
    /// A request with defaults for everything but the paths and the names.
    #[must_use]
    pub fn new(paths: Vec<PathBuf>, hostname: impl Into<String>, username: impl Into<String>) -> Self {
        Self {
            paths,
            excludes: Vec::new(),
            tags: Vec::new(),
            hostname: hostname.into(),
            username: username.into(),
            time: Timestamp::now(),
            parent: None,
            limits: Limits::default(),
        }
    }
}

/// How much of the computer a backup may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Threads that read, hash, compress and seal. Each needs up to 30 MB. 0 means one per core, at most eight.
    pub workers: usize,
    /// Packs that are sent at the same time, 16 MiB each.
    pub packs_in_flight: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { workers: 0, packs_in_flight: 2 }
    }
}

impl Limits {
    fn worker_count(self) -> usize {
        match self.workers {
            0 => std::thread::available_parallelism().map_or(2, usize::from).min(8),
            count => count,
        }
    }
}

/// Why a backup made no snapshot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// No path was given.
    #[error("there is nothing to back up: no path is given")]
    NoSource,
    /// A path is relative.
    #[error("{} is not an absolute path", path.display())]
    SourceNotAbsolute {
        /// The path.
        path: PathBuf,
    },
    /// A path does not exist.
    #[error("{} is not there", path.display())]
    SourceMissing {
        /// The path.
        path: PathBuf,
    },
    /// All paths are symbolic links, which are not followed.
    #[error("{} can't be backed up: {reason}", path.display())]
    SourceIsLink {
        /// The first of them.
        path: PathBuf,
        /// Where it leads, as a sentence.
        reason: String,
    },
    /// A path can't be looked at.
    #[error("{} can't be read", path.display())]
    SourceUnreadable {
        /// The path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: SystemError,
    },
    /// A pattern is malformed.
    #[error("an exclude pattern is wrong")]
    Exclude(#[from] ExcludeError),
    /// Everything was excluded or could not be read.
    #[error("there is nothing to back up: everything is excluded or can't be read")]
    Empty,
    /// Something could not be stored.
    #[error("storing {what} failed")]
    Store {
        /// The object.
        what: String,
        /// What the store said.
        #[source]
        source: StoreError,
    },
    /// The archive could not be read or written.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// It was cancelled.
    #[error("the backup was cancelled")]
    Cancelled,
    /// A thread ended in an unexpected way.
    #[error("the backup was interrupted inside the program")]
    Interrupted,
}
