//! Reading a file: in pieces, cut into chunks, some of which other threads store.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use nix::fcntl::OFlag;

use super::directory::Place;
use super::metadata;
use super::progress::add;
use super::queue::{ChunkJob, FileItem, Previous};
use super::stop::Stopped;
use super::worker::Worker;
use crate::chunker::{MAX_SIZE, MIN_SIZE};
use crate::id::BlobId;
use crate::repository::BlobType;
use crate::store::SystemError;
use crate::tree::{Node, NodeKind};

/// How much is read at a time beyond the smallest chunk: small enough that the chunker finds it in the processor's cache.
const READ: usize = 256 * 1024;
/// Length of a buffer: enough for most chunks and what was read beyond them. Larger chunks make it grow.
pub(super) const BUFFER: usize = 2 * 1024 * 1024;
/// The largest chunk and what may have been read beyond it.
const LARGEST_BUFFER: usize = MAX_SIZE + READ;

/// A file with several chunks, which is done when all of them are.
pub(super) struct PendingFile {
    place: Place,
    previous: Previous,
    state: Mutex<State>,
}

struct State {
    ids: Vec<Option<BlobId>>,
    /// Chunks that are not done yet, and one more while the file is being read.
    open: usize,
    /// Set when the file was read to its end.
    node: Option<Node>,
}

/// What to do when the last part of a file is done.
enum Done {
    NotYet,
    Store(Box<Node>),
    /// It could not be read to its end.
    Leave,
}

impl PendingFile {
    fn new(place: Place, previous: Previous) -> Arc<Self> {
        let state = State { ids: Vec::new(), open: 1, node: None };
        Arc::new(Self { place, previous, state: Mutex::new(state) })
    }

    fn reserve(&self) -> usize {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.ids.push(None);
        state.open += 1;
        state.ids.len() - 1
    }

    fn set_node(&self, node: Node) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).node = Some(node);
    }

    fn finish_one(&self, chunk: Option<(usize, BlobId)>) -> Done {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((number, id)) = chunk {
            state.ids[number] = Some(id);
        }
        state.open -= 1;
        if state.open > 0 {
            return Done::NotYet;
        }
        match state.node.take() {
            Some(mut node) => {
                node.content = Some(state.ids.drain(..).flatten().collect());
                Done::Store(Box::new(node))
            }
            None => Done::Leave,
        }
    }
}

/// Why a file is not stored.
enum FileError {
    Stopped,
    Io(io::Error),
}

impl From<Stopped> for FileError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Worker {
    /// Stores a file, without reading it if the parent snapshot has the same.
    pub(super) fn store_file(&mut self, item: FileItem) -> Result<(), Stopped> {
        let counters = &self.shared.counters;
        match &item.previous {
            Previous::Same(content) if self.has_all(content) => {
                let mut node = metadata::node(&item.name, &item.metadata, &self.shared.names);
                self.shared.add_attributes(&mut node, &item.path, metadata::extended_attributes(&item.path));
                let Previous::Same(content) = item.previous else { return Ok(()) };
                node.content = Some(content);
                add(&counters.files_unmodified, 1);
                add(&counters.known_bytes, node.size);
                add(&counters.done_bytes, node.size);
                add(&counters.done_files, 1);
                return self.complete(item.place.fill(&node));
            }
            Previous::Same(_) => {
                tracing::warn!(path = %item.path.display(), "the archive lost parts of an unchanged file: storing it again");
            }
            _ => {}
        }
        counters.set_current(&item.path);
        let path = item.path.clone();
        match self.read_file(item) {
            Ok(()) => Ok(()),
            Err(FileFailure { error: FileError::Stopped, .. }) => Err(Stopped),
            Err(FileFailure { error: FileError::Io(error), rest }) => {
                self.shared.skip(&path, describe(error));
                match rest {
                    Rest::Place(place) => self.complete(place.leave()),
                    Rest::Pending(pending) => self.finish_part(&pending, None),
                    Rest::Nothing => Ok(()),
                }
            }
        }
    }

    /// Stores a chunk that another worker read.
    pub(super) fn store_chunk(&mut self, job: ChunkJob) -> Result<(), Stopped> {
        let id = self.store_blob(BlobType::Data, &job.buffer[..job.length])?;
        self.buffers().give(job.buffer);
        self.finish_part(&job.file, Some((job.number, id)))
    }

    fn finish_part(&mut self, file: &PendingFile, chunk: Option<(usize, BlobId)>) -> Result<(), Stopped> {
        match file.finish_one(chunk) {
            Done::NotYet => Ok(()),
            Done::Store(node) => self.store_node(&file.place, &file.previous, &node),
            Done::Leave => self.complete(file.place.leave()),
        }
    }

    fn has_all(&self, content: &[BlobId]) -> bool {
        content.iter().all(|id| self.shared.repository.contains(BlobType::Data, id))
    }

    /// Counts a file that was read, and puts it into its place.
    fn store_node(&mut self, place: &Place, previous: &Previous, node: &Node) -> Result<(), Stopped> {
        let counters = &self.shared.counters;
        let counter = match previous {
            Previous::None => &counters.files_new,
            Previous::Unsettled(content) if node.content.as_ref() == Some(content) => {
                &counters.files_unmodified
            }
            Previous::Different | Previous::Same(_) | Previous::Unsettled(_) => &counters.files_changed,
        };
        add(counter, 1);
        add(&counters.done_files, 1);
        self.complete(place.fill(node))
    }

    fn read_file(&mut self, item: FileItem) -> Result<(), FileFailure> {
        let FileItem { place, path, name, metadata, previous } = item;
        let opened = open(&path, &metadata).and_then(|file| Ok((file.metadata()?, file)));
        let (before, mut file) = match opened {
            Ok(opened) => opened,
            Err(error) => return Err(FileFailure { error: error.into(), rest: Rest::Place(place) }),
        };
        let mut node = metadata::node(&name, &before, &self.shared.names);
        if node.kind != NodeKind::File {
            let error = io::Error::other("it is no regular file any more");
            return Err(FileFailure { error: error.into(), rest: Rest::Place(place) });
        }
        // Of the open file, which saves looking for it again.
        self.shared.add_attributes(&mut node, &path, metadata::attributes_of_file(&file));
        // Most files are small: one chunk, no bookkeeping.
        if before.size() <= MIN_SIZE as u64 {
            let read = self.read_small(&mut file, &before).and_then(|length| self.store_buffer(length));
            let content = match read {
                Ok(content) => content,
                Err(error) => return Err(FileFailure { error, rest: Rest::Place(place) }),
            };
            if let Some((length, content)) = content {
                node.size = length;
                node.content = Some(content);
                self.note_change(&file, &before, length, &path);
                return self.store_node(&place, &previous, &node).map_err(FileFailure::stopped);
            }
        }
        let pending = PendingFile::new(place, previous);
        match self.read_large(&mut file, before.size(), &pending) {
            Ok(length) => {
                node.size = length;
                self.note_change(&file, &before, length, &path);
                pending.set_node(node);
                self.finish_part(&pending, None).map_err(FileFailure::stopped)
            }
            Err(error) => Err(FileFailure { error, rest: Rest::Pending(pending) }),
        }
    }

    /// Reads a small file into the worker's buffer. `None`: it is larger than it was said to be, nothing was stored.
    fn read_small(&mut self, file: &mut File, before: &Metadata) -> Result<Option<usize>, FileError> {
        // A file without size may have content all the same: those of /proc have.
        let expected = usize::try_from(before.size()).unwrap_or(0);
        let limit = if expected == 0 { MIN_SIZE + 1 } else { expected };
        self.make_room(limit);
        let mut length = 0;
        while length < limit {
            match read(file, &mut self.buffer[length..limit])? {
                0 => break,
                count => length += count,
            }
        }
        Ok((length <= MIN_SIZE).then_some(length))
    }

    /// Makes the buffer long enough for `wanted` bytes.
    fn make_room(&mut self, wanted: usize) {
        if self.buffer.is_empty() {
            self.buffer = self.buffers().take();
        }
        if self.buffer.len() < wanted {
            let doubled = (2 * self.buffer.len()).min(LARGEST_BUFFER);
            self.buffer.resize(wanted.max(doubled), 0);
        }
    }

    fn store_buffer(&mut self, length: Option<usize>) -> Result<Option<(u64, Vec<BlobId>)>, FileError> {
        match length {
            None => Ok(None),
            Some(0) => Ok(Some((0, Vec::new()))),
            Some(length) => {
                add(&self.shared.counters.done_bytes, length as u64);
                let buffer = std::mem::take(&mut self.buffer);
                let id = self.store_blob(BlobType::Data, &buffer[..length]);
                self.buffer = buffer;
                Ok(Some((length as u64, vec![id?])))
            }
        }
    }

    /// Reads a file chunk by chunk, up to the size it had in the beginning (a file without size, or one that was read
    /// before, up to its end). Gives the number of bytes.
    fn read_large(
        &mut self,
        file: &mut File,
        size: u64,
        pending: &Arc<PendingFile>,
    ) -> Result<u64, FileError> {
        io::Seek::rewind(file)?;
        let limit = if size <= MIN_SIZE as u64 { u64::MAX } else { size };
        let mut total = 0;
        let (mut filled, mut searched, mut at_end) = (0, 0, false);
        loop {
            self.shared.stop.check()?;
            if !at_end {
                let wanted = if filled < MIN_SIZE { MIN_SIZE + READ } else { filled + READ };
                let wanted =
                    wanted.min(usize::try_from(limit - total).unwrap_or(usize::MAX).saturating_add(filled));
                self.make_room(wanted);
                let count = read(file, &mut self.buffer[filled..wanted])?;
                filled += count;
                total += count as u64;
                add(&self.shared.counters.done_bytes, count as u64);
                at_end = count == 0 || total >= limit;
            }
            while let Some(length) = self.shared.chunker.cut(&self.buffer[..filled], searched) {
                self.cut(length, filled, pending)?;
                filled -= length;
                searched = 0;
            }
            searched = filled;
            if at_end {
                if filled > 0 {
                    self.cut(filled, filled, pending)?;
                }
                return Ok(total);
            }
        }
    }

    /// Stores the chunk at the beginning of the buffer, or hands it to another worker, and moves what follows it to the
    /// beginning.
    fn cut(&mut self, length: usize, filled: usize, pending: &Arc<PendingFile>) -> Result<(), Stopped> {
        self.shared.stop.check()?;
        let mut next = self.buffers().take();
        let rest = filled - length;
        if next.len() < rest {
            next.resize(rest, 0);
        }
        next[..rest].copy_from_slice(&self.buffer[length..filled]);
        let buffer = std::mem::replace(&mut self.buffer, next);
        let job = ChunkJob { file: Arc::clone(pending), number: pending.reserve(), buffer, length };
        match self.shared.queue.offer_chunk(job) {
            Ok(()) => Ok(()),
            Err(job) => self.store_chunk(job),
        }
    }

    /// Reports a file that is not what it was when reading began.
    fn note_change(&self, file: &File, before: &Metadata, length: u64, path: &Path) {
        let unchanged = file.metadata().is_ok_and(|after| {
            metadata::modified(&after) == metadata::modified(before)
                && metadata::changed(&after) == metadata::changed(before)
                && after.size() == before.size()
                && (length == before.size() || before.size() == 0)
        });
        if !unchanged {
            self.shared.problems.changed(path);
        }
    }
}

/// A file that could not be stored, and what is left of it.
struct FileFailure {
    error: FileError,
    rest: Rest,
}

enum Rest {
    Place(Place),
    Pending(Arc<PendingFile>),
    Nothing,
}

impl FileFailure {
    fn stopped(_: Stopped) -> Self {
        Self { error: FileError::Stopped, rest: Rest::Nothing }
    }
}

fn open(path: &Path, metadata: &Metadata) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // Should it have become a FIFO or a terminal meanwhile, opening it must not block or make it ours.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    options.read(true).custom_flags(flags.bits());
    #[cfg(target_os = "linux")]
    {
        let user = nix::unistd::geteuid();
        // Only the owner may read without leaving a trace in the access time.
        if user.is_root() || user.as_raw() == metadata.uid() {
            let quiet = options.custom_flags((flags | OFlag::O_NOATIME).bits()).open(path);
            match quiet {
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                    options.custom_flags(flags.bits());
                }
                other => return other,
            }
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = metadata;
    options.open(path)
}

fn read(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// What the person reads about an error of a file.
pub(super) fn describe(error: io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "it vanished during the backup".to_owned(),
        ErrorKind::PermissionDenied => "no permission to read it".to_owned(),
        _ => SystemError::from(error).to_string(),
    }
}
