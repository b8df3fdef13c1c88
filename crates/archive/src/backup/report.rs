//! What came of a backup.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::progress::Counters;
use crate::id::{BlobId, SnapshotId};
use crate::repository::{Adopted, Compared};

/// Lists in a report have no more entries than this; the counts beside them are complete.
pub const MOST_LISTED: usize = 1000;

/// Something that is not in the snapshot, or not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The file or directory.
    pub path: PathBuf,
    /// Why.
    pub reason: String,
}

/// What came of a finished backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupReport {
    /// The new snapshot.
    pub snapshot: SnapshotId,
    /// Its root tree.
    pub tree: BlobId,
    /// The snapshot that unchanged files were recognised by.
    pub parent: Option<SnapshotId>,
    /// Files that the parent does not have.
    pub files_new: u64,
    /// Files that differ from the parent's.
    pub files_changed: u64,
    /// Files as in the parent: they were not read.
    pub files_unmodified: u64,
    /// Directories that the parent does not have.
    pub dirs_new: u64,
    /// Directories that differ from the parent's.
    pub dirs_changed: u64,
    /// Directories as in the parent.
    pub dirs_unmodified: u64,
    /// Symbolic links, devices and FIFOs.
    pub others: u64,
    /// Size of all files.
    pub bytes_processed: u64,
    /// New blobs of content.
    pub data_blobs: u64,
    /// New blobs of directories.
    pub tree_blobs: u64,
    /// Size of the new blobs before compression.
    pub bytes_added: u64,
    /// What was stored for them: compressed and sealed.
    pub bytes_stored: u64,
    /// Entries left out by patterns.
    pub excluded: u64,
    /// What could not be read, at most [`MOST_LISTED`].
    pub skipped: Vec<Skipped>,
    /// How many there are.
    pub skipped_total: u64,
    /// Files that changed while they were read: they are stored, but may be a mixture of old and new. At most
    /// [`MOST_LISTED`].
    pub changed_while_read: Vec<PathBuf>,
    /// How many there are.
    pub changed_while_read_total: u64,
    /// What was taken over from an interrupted run.
    pub adopted: Adopted,
    /// Packs that the store had lost, wholly or in part, with something that lay nowhere else: what of it is still on this
    /// computer was stored again.
    pub lost_packs: u64,
    /// How long it took.
    pub duration: Duration,
}

impl BackupReport {
    /// Whether everything is in the snapshot.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.skipped_total == 0
    }
}

/// Lists of limited length that many threads add to.
#[derive(Default)]
pub(super) struct Problems {
    lists: Mutex<Lists>,
}

#[derive(Default)]
struct Lists {
    skipped: Vec<Skipped>,
    skipped_total: u64,
    changed: Vec<PathBuf>,
    changed_total: u64,
}

impl Problems {
    pub(super) fn skip(&self, path: &Path, reason: impl ToString) {
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        lists.skipped_total += 1;
        if lists.skipped.len() < MOST_LISTED {
            lists.skipped.push(Skipped { path: path.to_owned(), reason: reason.to_string() });
        }
    }

    pub(super) fn changed(&self, path: &Path) {
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        lists.changed_total += 1;
        if lists.changed.len() < MOST_LISTED {
            lists.changed.push(path.to_owned());
        }
    }

    #[cfg(test)]
    pub(super) fn skipped(&self) -> Vec<Skipped> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner).skipped.clone()
    }

    /// The report of a finished run.
    pub(super) fn to_report(&self, counters: &Counters, outcome: Outcome) -> BackupReport {
        let mut lists = std::mem::take(&mut *self.lists.lock().unwrap_or_else(PoisonError::into_inner));
        lists.skipped.sort_by(|a, b| a.path.cmp(&b.path));
        lists.changed.sort();
        BackupReport {
            snapshot: outcome.snapshot,
            tree: outcome.tree,
            parent: outcome.parent,
            files_new: counters.files_new.load(Relaxed),
            files_changed: counters.files_changed.load(Relaxed),
            files_unmodified: counters.files_unmodified.load(Relaxed),
            dirs_new: counters.dirs_new.load(Relaxed),
            dirs_changed: counters.dirs_changed.load(Relaxed),
            dirs_unmodified: counters.dirs_unmodified.load(Relaxed),
            others: counters.others.load(Relaxed),
            bytes_processed: counters.done_bytes.load(Relaxed),
            data_blobs: counters.data_blobs.load(Relaxed),
            tree_blobs: counters.tree_blobs.load(Relaxed),
            bytes_added: counters.new_bytes.load(Relaxed) + counters.new_tree_bytes.load(Relaxed),
            bytes_stored: counters.sealed_bytes.load(Relaxed),
            excluded: counters.excluded.load(Relaxed),
            skipped: lists.skipped,
            skipped_total: lists.skipped_total,
            changed_while_read: lists.changed,
            changed_while_read_total: lists.changed_total,
            adopted: outcome.compared.adopted,
            lost_packs: outcome.compared.lost_packs as u64,
            duration: outcome.duration,
        }
    }
}

/// What the counters don't know.
pub(super) struct Outcome {
    pub(super) snapshot: SnapshotId,
    pub(super) tree: BlobId,
    pub(super) parent: Option<SnapshotId>,
    pub(super) compared: Compared,
    pub(super) duration: Duration,
}
