//! What a running restore tells.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::context::Context;
use super::report::Failure;

/// What a restore is busy with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RestorePhase {
    /// Looking up the path and opening the target.
    Preparing,
    /// Fetching and writing files.
    Restoring,
}

/// A number of files and their size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RestoreTotals {
    /// Files.
    pub files: u64,
    /// Bytes of content.
    pub bytes: u64,
}

/// How far a restore is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreProgress {
    /// What is to be done, as far as it is known.
    pub found: RestoreTotals,
    /// Whether `found` is the total.
    pub found_all: bool,
    /// What is done: restored, kept, unchanged or failed.
    pub done: RestoreTotals,
    /// A file that is being written.
    pub current: Option<PathBuf>,
    /// Files and directories that could not be restored.
    pub errors: u64,
}

/// Something that a restore tells while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestoreEvent {
    /// A new phase began.
    Phase(RestorePhase),
    /// It went on. Comes about five times a second if something changed.
    Progress(RestoreProgress),
    /// Something could not be restored. Told for the first thousand.
    Failed(Failure),
}

/// Where the threads count.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) found_files: AtomicU64,
    pub(super) found_bytes: AtomicU64,
    pub(super) found_all: AtomicBool,
    expected_files: AtomicU64,
    expected_bytes: AtomicU64,
    pub(super) done_files: AtomicU64,
    pub(super) done_bytes: AtomicU64,
    pub(super) files: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) directories: AtomicU64,
    pub(super) others: AtomicU64,
    pub(super) links: AtomicU64,
    pub(super) unchanged: AtomicU64,
    pub(super) sockets: AtomicU64,
    current: Mutex<Option<PathBuf>>,
}

pub(super) fn add(counter: &AtomicU64, number: u64) {
    counter.fetch_add(number, Relaxed);
}

impl Counters {
    /// What the snapshot says about its size.
    pub(super) fn expect(&self, files: u64, bytes: u64) {
        add(&self.expected_files, files);
        add(&self.expected_bytes, bytes);
    }

    /// Remembers a file that is being written, for show.
    pub(super) fn set_current(&self, path: impl FnOnce() -> PathBuf) {
        // Never waits: which of several files is shown does not matter.
        if let Ok(mut current) = self.current.try_lock() {
            *current = Some(path());
        }
    }

    fn progress(&self, errors: u64) -> RestoreProgress {
        let found_all = self.found_all.load(Relaxed);
        let mut found =
            RestoreTotals { files: self.found_files.load(Relaxed), bytes: self.found_bytes.load(Relaxed) };
        let expected = self.expected_files.load(Relaxed);
        if !found_all {
            found.files = found.files.max(expected);
            found.bytes = found.bytes.max(self.expected_bytes.load(Relaxed));
        }
        RestoreProgress {
            found,
            found_all: found_all || expected > 0,
            done: RestoreTotals {
                files: self.done_files.load(Relaxed),
                bytes: self.done_bytes.load(Relaxed),
            },
            current: self.current.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            errors,
        }
    }
}

/// Decides when there is something to tell.
#[derive(Default)]
pub(super) struct Reporter {
    last: Option<RestoreProgress>,
    failures_told: usize,
}

impl Reporter {
    pub(super) const INTERVAL: Duration = Duration::from_millis(200);

    /// Tells what changed since the last time.
    pub(super) fn look(&mut self, context: &Context, events: &impl Fn(RestoreEvent)) {
        let (failures, errors) = context.failures_from(self.failures_told);
        self.failures_told += failures.len();
        for failure in failures {
            events(RestoreEvent::Failed(failure));
        }
        let progress = context.counters.progress(errors);
        if self.last.as_ref() != Some(&progress) {
            events(RestoreEvent::Progress(progress.clone()));
            self.last = Some(progress);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_snapshots_own_numbers_are_the_total_until_everything_was_found() {
        let counters = Counters::default();
        add(&counters.found_files, 3);
        assert!(!counters.progress(0).found_all);
        counters.expect(10, 1000);
        let progress = counters.progress(2);
        assert_eq!((progress.found.files, progress.found.bytes, progress.errors), (10, 1000, 2));
        assert!(progress.found_all);
        counters.found_all.store(true, Relaxed);
        assert_eq!(counters.progress(0).found, RestoreTotals { files: 3, bytes: 0 });
    }
}
