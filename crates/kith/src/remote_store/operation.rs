//! What is asked of a friend: how much may come back, how long it may take, and what it is called.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use kith_archive::{FileId, FileKind, StoreError};

use super::MOST_WORDS_BYTES;

/// Largest object that is read: restic's packs are up to 128 MiB.
pub(super) const MOST_OBJECT_BYTES: usize = 256 * 1024 * 1024;
/// Largest list: some 80 bytes for each of a million packs.
const MOST_LIST_BYTES: usize = 128 * 1024 * 1024;
/// A read that moves nothing for this long is given up, and tried once more.
const READ_STALLED: Duration = Duration::from_secs(25);
/// The same for a write, which is not tried again: disks take their time to make things durable.
const WRITE_STALLED: Duration = Duration::from_secs(50);

/// Undoing deletions renames every file of an archive, and answers at its end.
const UNDELETE_STALLED: Duration = Duration::from_secs(600);

/// One request.
pub(super) struct Operation<'a> {
    pub(super) kind: FileKind,
    pub(super) id: FileId,
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) range: Option<Range<u64>>,
    pub(super) data: Option<&'a Bytes>,
    pub(super) list: bool,
    /// Deletions after this time are to be undone, Unix milliseconds by the friend's clock.
    pub(super) undelete: Option<u64>,
}

impl Operation<'_> {
    pub(super) const fn new(kind: FileKind, id: FileId, method: Method, path: String) -> Self {
        Self { kind, id, method, path, range: None, data: None, list: false, undelete: None }
    }

    pub(super) fn is_read(&self) -> bool {
        self.method == Method::GET || self.method == Method::HEAD
    }

    pub(super) fn stalled_after(&self) -> Duration {
        match self.undelete {
            Some(_) => UNDELETE_STALLED,
            None if self.is_read() => READ_STALLED,
            None => WRITE_STALLED,
        }
    }

    pub(super) fn most_stalls(&self) -> usize {
        if self.is_read() { 2 } else { 1 }
    }

    /// Whether an object is read beside which there are others.
    pub(super) fn is_one_of_many(&self) -> bool {
        self.is_read() && !self.list && self.kind != FileKind::Config
    }

    /// The object, for people.
    pub(super) fn what(&self) -> String {
        if self.undelete.is_some() {
            return "bringing back what was deleted".to_owned();
        }
        match (self.list, self.kind) {
            (true, kind) => format!("the list of the {kind} files"),
            (false, FileKind::Config) => "the config".to_owned(),
            (false, kind) => format!("{kind} {}", self.id.short()),
        }
    }

    /// The friend is not there, or can't be asked.
    pub(super) fn unavailable(&self, reason: &str) -> StoreError {
        StoreError::Unavailable(format!("{reason} (wanted: {})", self.what()))
    }

    /// The friend does nothing: about this object, or about anything.
    pub(super) fn stalled(&self, reason: String, about_anything: bool) -> StoreError {
        if self.is_one_of_many() && !about_anything {
            StoreError::Withheld { kind: self.kind, id: self.id, reason }
        } else {
            StoreError::Stalled { what: self.what(), reason }
        }
    }

    pub(super) fn most_bytes(&self, status: StatusCode) -> usize {
        if !status.is_success() {
            return MOST_WORDS_BYTES;
        }
        match &self.range {
            Some(range) => usize::try_from(range.end - range.start)
                .unwrap_or(MOST_OBJECT_BYTES)
                .clamp(MOST_WORDS_BYTES, MOST_OBJECT_BYTES),
            None if self.list => MOST_LIST_BYTES,
            None if self.method != Method::GET => MOST_WORDS_BYTES,
            None => MOST_OBJECT_BYTES,
        }
    }
}
