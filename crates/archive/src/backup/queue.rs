//! What the worker threads do next: chunks of large files first, then batches of files.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::Metadata;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::directory::Place;
use super::file::PendingFile;
use super::stop::{Stop, Stopped};
use crate::id::BlobId;

/// Batches that wait. With [`BATCH_FILES`] this bounds how far the walker is ahead.
const MOST_BATCHES: usize = 32;
/// Files of a batch.
pub(super) const BATCH_FILES: usize = 64;
/// Bytes to read in a batch: it ends with the file that exceeds this.
pub(super) const BATCH_BYTES: u64 = 2 * 1024 * 1024;
/// How often a waiting thread looks whether the backup was stopped.
const LOOK: Duration = Duration::from_millis(50);

/// A file to store.
pub(super) struct FileItem {
    pub(super) place: Place,
    pub(super) path: PathBuf,
    pub(super) name: OsString,
    pub(super) metadata: Metadata,
    pub(super) previous: Previous,
}

/// What the parent snapshot says about a file.
pub(super) enum Previous {
    /// It does not have it.
    None,
    /// It has another version.
    Different,
    /// It has the same, with this content.
    Same(Vec<BlobId>),
    /// It seems to have the same, with this content; to be sure, it is read again.
    Unsettled(Vec<BlobId>),
}

/// A chunk of a large file that another thread may store.
pub(super) struct ChunkJob {
    pub(super) file: Arc<PendingFile>,
    pub(super) number: usize,
    pub(super) buffer: Vec<u8>,
    pub(super) length: usize,
}

pub(super) enum Job {
    Chunk(ChunkJob),
    Files(Vec<FileItem>),
}

pub(super) struct Queue {
    state: Mutex<State>,
    work: Condvar,
    room: Condvar,
    most_chunks: usize,
}

#[derive(Default)]
struct State {
    chunks: VecDeque<ChunkJob>,
    batches: VecDeque<Vec<FileItem>>,
    closed: bool,
    /// Workers that have a job, and so may bring new chunks.
    busy: usize,
}

impl Queue {
    /// A queue for a number of workers.
    pub(super) fn new(workers: usize) -> Self {
        Self {
            state: Mutex::default(),
            work: Condvar::new(),
            room: Condvar::new(),
            most_chunks: workers.div_ceil(2),
        }
    }

    /// Adds a batch, waiting for room.
    pub(super) fn push_files(&self, files: Vec<FileItem>, stop: &Stop) -> Result<(), Stopped> {
        let mut state = self.lock();
        while state.batches.len() >= MOST_BATCHES {
            stop.check()?;
            state = wait(&self.room, state);
        }
        state.batches.push_back(files);
        self.work.notify_one();
        Ok(())
    }

    /// Offers a chunk to the other workers; it comes back if enough are waiting.
    pub(super) fn offer_chunk(&self, job: ChunkJob) -> Result<(), ChunkJob> {
        let mut state = self.lock();
        if state.chunks.len() >= self.most_chunks {
            return Err(job);
        }
        state.chunks.push_back(job);
        self.work.notify_one();
        Ok(())
    }

    /// Says that no more batches will come.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.work.notify_all();
    }

    /// The next job, or `None` when everything is done. [`Queue::done`] must follow.
    pub(super) fn next(&self, stop: &Stop) -> Result<Option<Job>, Stopped> {
        let mut state = self.lock();
        loop {
            stop.check()?;
            if let Some(chunk) = state.chunks.pop_front() {
                state.busy += 1;
                return Ok(Some(Job::Chunk(chunk)));
            }
            if let Some(files) = state.batches.pop_front() {
                state.busy += 1;
                self.room.notify_one();
                return Ok(Some(Job::Files(files)));
            }
            if state.closed && state.busy == 0 {
                return Ok(None);
            }
            state = wait(&self.work, state);
        }
    }

    /// Says that a job is done.
    pub(super) fn done(&self) {
        let mut state = self.lock();
        state.busy -= 1;
        if state.closed && state.busy == 0 {
            self.work.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wait<'a>(condition: &Condvar, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
    condition.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0
}
