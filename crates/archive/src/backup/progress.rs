//! What a running backup tells: events, and the counters they are made from.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Events come at most this often, apart from changes of the phase.
const INTERVAL: Duration = Duration::from_millis(200);

/// What a backup is busy with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Looking for the previous snapshot and for what an interrupted run left.
    Preparing,
    /// Reading files and storing what is new.
    Storing,
    /// Everything was read: the last packs, the index and the snapshot are being stored.
    Finishing,
}

/// A number of files and their size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Files.
    pub files: u64,
    /// Bytes of content.
    pub bytes: u64,
}

/// How far a backup is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// What was found so far.
    pub found: Totals,
    /// Whether everything was found, so that `found` is the total.
    pub found_all: bool,
    /// What is done: read, or recognised as unchanged.
    pub done: Totals,
    /// Content that the archive did not have yet, before compression.
    pub new_bytes: u64,
    /// Content that needed not be stored because the archive has it.
    pub known_bytes: u64,
    /// Bytes that were sent and are durable.
    pub stored_bytes: u64,
    /// A file that is being read.
    pub current: Option<PathBuf>,
    /// Files and directories that could not be read.
    pub errors: u64,
}

/// Something that a backup tells while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A new phase began.
    Phase(Phase),
    /// It went on. Comes about five times a second if something changed.
    Progress(Progress),
}

/// Where the threads count.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) scanned_files: AtomicU64,
    pub(super) scanned_bytes: AtomicU64,
    pub(super) scanned_all: AtomicBool,
    pub(super) walked_files: AtomicU64,
    pub(super) walked_bytes: AtomicU64,
    pub(super) walked_all: AtomicBool,
    pub(super) done_files: AtomicU64,
    pub(super) done_bytes: AtomicU64,
    pub(super) files_new: AtomicU64,
    pub(super) files_changed: AtomicU64,
    pub(super) files_unmodified: AtomicU64,
    pub(super) dirs_new: AtomicU64,
    pub(super) dirs_changed: AtomicU64,
    pub(super) dirs_unmodified: AtomicU64,
    pub(super) others: AtomicU64,
    pub(super) excluded: AtomicU64,
    pub(super) errors: AtomicU64,
    pub(super) data_blobs: AtomicU64,
    pub(super) tree_blobs: AtomicU64,
    pub(super) new_bytes: AtomicU64,
    pub(super) new_tree_bytes: AtomicU64,
    pub(super) known_bytes: AtomicU64,
    pub(super) sealed_bytes: AtomicU64,
    pub(super) stored_bytes: AtomicU64,
    current: Mutex<Option<PathBuf>>,
}

pub(super) fn add(counter: &AtomicU64, number: u64) {
    counter.fetch_add(number, Relaxed);
}

impl Counters {
    /// Remembers a file that is being read, for show.
    pub(super) fn set_current(&self, path: &Path) {
        // Never waits: which of several files is shown does not matter.
        if let Ok(mut current) = self.current.try_lock() {
            *current = Some(path.to_owned());
        }
    }

    /// Entries of the snapshot: files, directories and everything else.
    pub(super) fn entries(&self) -> u64 {
        let dirs = [&self.dirs_new, &self.dirs_changed, &self.dirs_unmodified];
        let others = [&self.done_files, &self.others];
        dirs.into_iter().chain(others).map(|counter| counter.load(Relaxed)).sum()
    }

    fn progress(&self, phase: Phase) -> Progress {
        let scanned =
            Totals { files: self.scanned_files.load(Relaxed), bytes: self.scanned_bytes.load(Relaxed) };
        let walked =
            Totals { files: self.walked_files.load(Relaxed), bytes: self.walked_bytes.load(Relaxed) };
        let walked_all = self.walked_all.load(Relaxed);
        let found = if walked_all || walked.files >= scanned.files { walked } else { scanned };
        Progress {
            phase,
            found,
            found_all: walked_all || self.scanned_all.load(Relaxed),
            done: Totals { files: self.done_files.load(Relaxed), bytes: self.done_bytes.load(Relaxed) },
            new_bytes: self.new_bytes.load(Relaxed),
            known_bytes: self.known_bytes.load(Relaxed),
            stored_bytes: self.stored_bytes.load(Relaxed),
            current: self.current.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            errors: self.errors.load(Relaxed),
        }
    }
}

/// Decides when there is something to tell.
pub(super) struct Reporter {
    phase: Phase,
    last: Option<(Instant, Progress)>,
}

impl Reporter {
    pub(super) fn new() -> Self {
        Self { phase: Phase::Preparing, last: None }
    }

    /// How long to wait between two looks.
    pub(super) fn interval() -> Duration {
        INTERVAL
    }

    /// Enters a phase.
    pub(super) fn enter(&mut self, phase: Phase) -> Event {
        self.phase = phase;
        self.last = None;
        Event::Phase(phase)
    }

    /// The progress, if it changed and enough time went by since the last one.
    pub(super) fn look(&mut self, now: Instant, counters: &Counters) -> Option<Event> {
        if self.last.as_ref().is_some_and(|(at, _)| now.saturating_duration_since(*at) < INTERVAL) {
            return None;
        }
        self.tell(now, counters)
    }

    /// The progress if it changed, however soon after the last one: for the end of a phase.
    pub(super) fn tell(&mut self, now: Instant, counters: &Counters) -> Option<Event> {
        let progress = counters.progress(self.phase);
        if self.last.as_ref().is_some_and(|(_, last)| *last == progress) {
            return None;
        }
        self.last = Some((now, progress.clone()));
        Some(Event::Progress(progress))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_told_when_it_changed_and_not_too_often() {
        let counters = Counters::default();
        let mut reporter = Reporter::new();
        let start = Instant::now();
        assert_eq!(reporter.enter(Phase::Storing), Event::Phase(Phase::Storing));
        assert!(reporter.look(start, &counters).is_some());
        add(&counters.done_files, 1);
        assert_eq!(reporter.look(start + INTERVAL / 2, &counters), None);
        let Some(Event::Progress(progress)) = reporter.look(start + INTERVAL, &counters) else {
            panic!("no progress")
        };
        assert_eq!(progress.done.files, 1);
        assert_eq!(reporter.look(start + 5 * INTERVAL, &counters), None);
    }

    #[test]
    fn the_larger_of_both_counts_is_what_was_found() {
        let counters = Counters::default();
        add(&counters.scanned_files, 10);
        add(&counters.walked_files, 3);
        assert_eq!(counters.progress(Phase::Storing).found.files, 10);
        counters.walked_all.store(true, Relaxed);
        let progress = counters.progress(Phase::Storing);
        assert_eq!(progress.found.files, 3);
        assert!(progress.found_all);
    }
}
