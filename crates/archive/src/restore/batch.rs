//! A piece of the work that fits into memory: some entries, and where in which packs their content lies.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::sys::stat::FileStat;

use super::context::Context;
use super::events::add;
use super::target::{self, Directory, Placing};
use crate::id::FileId;
use crate::repository::{BlobType, PackedBlob, Repository, RepositoryError};
use crate::tree::Node;

/// One read from the store spans no more than this, unless a single blob does.
const LONGEST_READ: u64 = 4 * 1024 * 1024;
/// Reading this much for nothing is cheaper than a further read.
const LARGEST_GAP: u64 = 128 * 1024;

/// The name under which something with several names is restored; the other names become hard links to it.
pub(super) struct First {
    pub(super) directory: Arc<Directory>,
    pub(super) name: OsString,
    /// Set when it has its final name.
    pub(super) done: AtomicBool,
}

/// How far a file is.
pub(super) enum State {
    /// Nothing was written.
    Waiting,
    /// It is being written, under this name.
    Open(OsString),
    /// It has its final name, or needs nothing.
    Done,
    /// It can't be restored.
    Failed,
}

/// A file to be restored.
pub(super) struct FileWork {
    pub(super) directory: Arc<Directory>,
    pub(super) node: Node,
    pub(super) placing: Placing,
    /// A file of the same size is there: it may be the same.
    pub(super) compare: bool,
    pub(super) first: Option<Arc<First>>,
    state: Mutex<State>,
    /// Length of the content, once it was looked up.
    pub(super) length: AtomicU64,
    /// Parts that were not written yet.
    pub(super) remaining: AtomicUsize,
    /// Whether zeros were left out, so that the length must be set.
    pub(super) holes: AtomicBool,
}

impl FileWork {
    pub(super) fn new(directory: Arc<Directory>, node: Node, placing: Placing) -> Self {
        Self {
            directory,
            node,
            placing,
            compare: false,
            first: None,
            state: Mutex::new(State::Waiting),
            length: AtomicU64::new(0),
            remaining: AtomicUsize::new(0),
            holes: AtomicBool::new(false),
        }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.directory.join(&self.node.name)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives up: removes what was written. True for the first to call it.
    pub(super) fn give_up(&self, context: &Context) -> bool {
        let before = std::mem::replace(&mut *self.state(), State::Failed);
        if let State::Open(name) = &before
            && let Ok(descriptor) = context.target.descriptor(&self.directory)
        {
            target::discard(&*descriptor, name);
        }
        let is_first = !matches!(before, State::Failed);
        if is_first {
            add(&context.counters.done_files, 1);
        }
        is_first
    }
}

/// A symbolic link, FIFO, device or socket.
pub(super) struct OtherWork {
    pub(super) directory: Arc<Directory>,
    pub(super) node: Node,
    pub(super) placing: Placing,
    pub(super) existing: Option<FileStat>,
    pub(super) first: Option<Arc<First>>,
}

/// A further name of something.
pub(super) struct LinkWork {
    pub(super) directory: Arc<Directory>,
    pub(super) node: Node,
    pub(super) placing: Placing,
    pub(super) first: Arc<First>,
}

/// A directory whose metadata are set when it is complete.
pub(super) struct DirectoryWork {
    pub(super) directory: Arc<Directory>,
    pub(super) node: Node,
}

/// What the planner hands over.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) files: Vec<FileWork>,
    pub(super) others: Vec<OtherWork>,
    pub(super) links: Vec<LinkWork>,
    /// Directories that are complete after the batch.
    pub(super) directories: Vec<Arc<Directory>>,
    /// Number of blobs that the files consist of.
    pub(super) blobs: usize,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.entries() == 0
    }

    pub(super) fn entries(&self) -> usize {
        self.files.len() + self.others.len() + self.links.len() + self.directories.len()
    }
}

/// The files of a batch. When the last thread lets go of them, unfinished ones are removed.
pub(super) struct Files {
    pub(super) context: Arc<Context>,
    pub(super) list: Vec<FileWork>,
}

impl Drop for Files {
    fn drop(&mut self) {
        for file in &self.list {
            let unfinished = match &*file.state() {
                State::Open(name) => name.clone(),
                _ => continue,
            };
            if let Ok(descriptor) = self.context.target.descriptor(&file.directory) {
                target::discard(&*descriptor, OsStr::new(&unfinished));
            }
        }
    }
}

/// A blob at one place of one file.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub(super) blob: PackedBlob,
    /// Length of the content.
    pub(super) length: u32,
    /// Number of the file in the batch.
    pub(super) file: u32,
    /// Where in the file.
    pub(super) at: u64,
    /// Number of the pack.
    pack: u32,
}

/// A read from a pack and the parts that come of it: parts with the same blob follow each other.
pub(super) struct Run {
    pub(super) pack: FileId,
    /// Bytes of the pack.
    pub(super) bytes: Range<u64>,
    pub(super) parts: Range<usize>,
}

/// What to read for the files of a batch.
#[derive(Default)]
pub(super) struct Reads {
    pub(super) parts: Vec<Part>,
    pub(super) runs: Vec<Run>,
    /// Files without content.
    pub(super) empty: Vec<u32>,
}

impl Reads {
    /// Looks up where everything lies. Files with a blob that the index doesn't know fail at once.
    pub(super) fn plan(repository: &Repository, files: &Files) -> Self {
        let mut reads = Self::default();
        let mut packs = Packs::default();
        for (number, file) in (0u32..).zip(&files.list) {
            if !matches!(*file.state(), State::Waiting) {
                continue;
            }
            let before = reads.parts.len();
            match reads.add_file(repository, &mut packs, number, file) {
                Ok(0) => reads.empty.push(number),
                Ok(parts) => file.remaining.store(parts, Relaxed),
                Err(error) => {
                    reads.parts.truncate(before);
                    file.give_up(&files.context);
                    files.context.fail(file.path(), error);
                }
            }
        }
        reads.parts.sort_unstable_by_key(|part| (part.pack, part.blob.offset, part.file, part.at));
        reads.runs = runs(&reads.parts, &packs.list);
        reads
    }

    fn add_file(
        &mut self,
        repository: &Repository,
        packs: &mut Packs,
        file: u32,
        work: &FileWork,
    ) -> Result<usize, RepositoryError> {
        let content = work.node.content.as_deref().unwrap_or_default();
        let mut at = 0;
        for id in content {
            let locations = repository.locate(BlobType::Data, id);
            let location = locations
                .first()
                .ok_or(RepositoryError::UnknownBlob { blob_type: BlobType::Data, id: *id })?;
            let (length, pack) = (location.content_length(), packs.number(location.pack));
            self.parts.push(Part { blob: location.blob, length, file, at, pack });
            at += u64::from(length);
        }
        work.length.store(at, Relaxed);
        Ok(content.len())
    }
}

/// Packs in the order in which they are needed first.
#[derive(Default)]
struct Packs {
    list: Vec<FileId>,
    numbers: HashMap<FileId, u32>,
}

impl Packs {
    fn number(&mut self, pack: FileId) -> u32 {
        *self.numbers.entry(pack).or_insert_with(|| {
            self.list.push(pack);
            u32::try_from(self.list.len() - 1).unwrap_or(u32::MAX)
        })
    }
}

/// Cuts sorted parts into reads.
fn runs(parts: &[Part], packs: &[FileId]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (number, part) in parts.iter().enumerate() {
        let start = u64::from(part.blob.offset);
        let end = start + u64::from(part.blob.length);
        let same_pack = number > 0 && parts[number - 1].pack == part.pack;
        match runs.last_mut() {
            Some(run)
                if same_pack
                    && start <= run.bytes.end + LARGEST_GAP
                    && (end <= run.bytes.end || end - run.bytes.start <= LONGEST_READ) =>
            {
                run.bytes.end = run.bytes.end.max(end);
                run.parts.end = number + 1;
            }
            _ => {
                // Every part has the number of a pack in the list.
                let pack = packs.get(part.pack as usize).copied().unwrap_or(FileId::ZERO);
                runs.push(Run { pack, bytes: start..end, parts: number..number + 1 });
            }
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::BlobId;

    fn part(pack: u32, offset: u32, length: u32) -> Part {
        let id = BlobId::of(&offset.to_le_bytes());
        let blob = PackedBlob { blob_type: BlobType::Data, id, offset, length, uncompressed_length: None };
        Part { blob, length, file: 0, at: 0, pack }
    }

    fn check(parts: &[Part], expected: &[(u8, Range<u64>, Range<usize>)]) {
        let packs = [FileId([1; 32]), FileId([2; 32])];
        let found: Vec<_> =
            runs(parts, &packs).into_iter().map(|run| (run.pack.0[0], run.bytes, run.parts)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn blobs_near_each_other_are_read_together() {
        check(&[part(0, 0, 100), part(0, 100, 100), part(0, 5000, 10)], &[(1, 0..5010, 0..3)]);
    }

    #[test]
    fn another_pack_or_a_wide_gap_is_another_read() {
        check(
            &[part(0, 0, 100), part(0, 1_000_000, 10), part(1, 1_000_010, 10)],
            &[(1, 0..100, 0..1), (1, 1_000_000..1_000_010, 1..2), (2, 1_000_010..1_000_020, 2..3)],
        );
    }

    #[test]
    fn reads_are_of_limited_length_but_never_cut_a_blob() {
        let mib = 1 << 20;
        check(
            &[part(0, 0, 3 * mib), part(0, 3 * mib, 2 * mib), part(0, 5 * mib, 9 * mib)],
            &[(1, 0..3 << 20, 0..1), (1, 3 << 20..5 << 20, 1..2), (1, 5 << 20..14 << 20, 2..3)],
        );
    }

    #[test]
    fn a_blob_that_is_needed_twice_is_read_once() {
        check(&[part(0, 7, 9 << 20), part(0, 7, 9 << 20)], &[(1, 7..7 + (9 << 20), 0..2)]);
    }
}
