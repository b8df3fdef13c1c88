//! What all parts of a running restore share.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use tokio_util::sync::CancellationToken;

use super::batch::DirectoryWork;
use super::error::EntryError;
use super::events::{Counters, add};
use super::report::{Failure, RestoreReport, Withheld, WithheldKind};
use super::target::{Directory, Target};
use super::{Overwrite, RestoreError, RestoreRequest, Special};

/// The work was stopped: cancelled, or because of the fatal error that the [`Context`] holds.
#[derive(Debug)]
pub(super) struct Stopped;

pub(super) struct Context {
    pub(super) target: Target,
    pub(super) overwrite: Overwrite,
    pub(super) special: Special,
    /// Whether owners can be restored.
    pub(super) root: bool,
    pub(super) counters: Counters,
    pub(super) stop: CancellationToken,
    fatal: Mutex<Option<RestoreError>>,
    /// Directories that get their metadata when what is in them is complete, by number.
    pending: Mutex<BTreeMap<u64, DirectoryWork>>,
    /// Only its lists are used.
    lists: Mutex<RestoreReport>,
}

impl Context {
    /// Opens the target. Blocks.
    pub(super) fn new(request: &RestoreRequest, stop: CancellationToken) -> Result<Self, RestoreError> {
        Ok(Self {
            target: Target::open(&request.target)?,
            overwrite: request.overwrite,
            special: request.special,
            root: nix::unistd::geteuid().is_root(),
            counters: Counters::default(),
            stop,
            fatal: Mutex::default(),
            pending: Mutex::default(),
            lists: Mutex::default(),
        })
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Ends everything with an error. The first one is what is told.
    pub(super) fn stop_with(&self, error: RestoreError) -> Stopped {
        let mut fatal = self.fatal.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.stop.is_cancelled() {
            fatal.get_or_insert(error);
        }
        drop(fatal);
        self.stop.cancel();
        Stopped
    }

    pub(super) fn take_fatal(&self) -> Option<RestoreError> {
        self.fatal.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn pending(&self) -> MutexGuard<'_, BTreeMap<u64, DirectoryWork>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a directory whose metadata are to be set.
    pub(super) fn await_directory(&self, work: DirectoryWork) {
        self.pending().insert(work.directory.number(), work);
    }

    /// A directory that is complete now.
    pub(super) fn take_directory(&self, directory: &Directory) -> Option<DirectoryWork> {
        self.pending().remove(&directory.number())
    }

    /// The directories that never became complete, inner ones first.
    pub(super) fn take_directories(&self) -> Vec<DirectoryWork> {
        std::mem::take(&mut *self.pending()).into_values().rev().collect()
    }

    fn lists(&self) -> MutexGuard<'_, RestoreReport> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn fail(&self, path: PathBuf, reason: impl ToString) {
        self.lists().failed.push(Failure { path, reason: reason.to_string() });
    }

    /// An operation on the target failed: full and read-only disks end everything, other errors concern one entry.
    pub(super) fn fail_entry(&self, path: PathBuf, error: EntryError) {
        let target = self.target.path().to_owned();
        let fatal = match error.errno {
            Errno::ENOSPC | Errno::EDQUOT => RestoreError::Full { target },
            Errno::EROFS => RestoreError::ReadOnly { target },
            // Not even the first component of the path can be made.
            Errno::EACCES | Errno::EPERM if path.components().count() == 2 => RestoreError::Denied { target },
            _ => return self.fail(path, error),
        };
        self.stop_with(fatal);
    }

    pub(super) fn incomplete(&self, path: PathBuf, reason: impl ToString) {
        self.lists().incomplete.push(Failure { path, reason: reason.to_string() });
    }

    pub(super) fn withhold(&self, path: PathBuf, kind: WithheldKind) {
        self.lists().withheld.push(Withheld { path, kind });
    }

    pub(super) fn keep(&self, path: PathBuf) {
        self.lists().kept.push(path);
    }

    /// A file is dealt with, whatever came of it.
    pub(super) fn done(&self, bytes: u64) {
        add(&self.counters.done_files, 1);
        add(&self.counters.done_bytes, bytes);
    }

    /// The listed failures from a position on, and how many there are altogether.
    pub(super) fn failures_from(&self, start: usize) -> (Vec<Failure>, u64) {
        let lists = self.lists();
        (lists.failed.items.get(start..).unwrap_or_default().to_vec(), lists.failed.total)
    }

    pub(super) fn report(&self, duration: Duration) -> RestoreReport {
        let counters = &self.counters;
        let mut report = std::mem::take(&mut *self.lists());
        report.failed.items.sort_by(|a, b| a.path.cmp(&b.path));
        report.incomplete.items.sort_by(|a, b| a.path.cmp(&b.path));
        report.withheld.items.sort_by(|a, b| a.path.cmp(&b.path));
        report.kept.items.sort();
        RestoreReport {
            files: counters.files.load(Relaxed),
            bytes: counters.bytes.load(Relaxed),
            directories: counters.directories.load(Relaxed),
            others: counters.others.load(Relaxed),
            links: counters.links.load(Relaxed),
            unchanged: counters.unchanged.load(Relaxed),
            sockets: counters.sockets.load(Relaxed),
            duration,
            ..report
        }
    }
}
