//! A worker thread: hashes, compresses, seals and packs.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::directory::Complete;
use super::exclude::Excludes;
use super::file::{BUFFER, describe};
use super::metadata::{Attributes, Names};
use super::packer::Packer;
use super::progress::{Counters, add};
use super::queue::{Job, Queue};
use super::report::Problems;
use super::stop::{Stop, Stopped};
use crate::chunker::Chunker;
use crate::id::BlobId;
use crate::repository::{BlobSealer, BlobType, LARGEST_BLOB, Repository, RepositoryError};
use crate::tree::Node;

/// A buffer that a larger chunk made grow is given back: few chunks are that large, and there are more buffers than threads.
const KEEP: usize = BUFFER + 64 * 1024;

/// What all threads of a backup share.
pub(super) struct Shared {
    pub(super) repository: Arc<Repository>,
    pub(super) chunker: Chunker,
    pub(super) excludes: Excludes,
    pub(super) names: Names,
    pub(super) packer: Packer,
    pub(super) queue: Queue,
    pub(super) buffers: Buffers,
    pub(super) counters: Counters,
    pub(super) problems: Problems,
    pub(super) stop: Stop,
    /// The root tree, when it is complete.
    pub(super) root: Mutex<Option<BlobId>>,
}

impl Shared {
    /// Counts and lists something that could not be read.
    pub(super) fn skip(&self, path: &Path, reason: impl ToString) {
        add(&self.counters.errors, 1);
        let reason = reason.to_string();
        tracing::debug!(path = %path.display(), reason, "not stored");
        self.problems.skip(path, reason);
    }

    /// Gives a node its extended attributes. What can't be read of them is an omission.
    pub(super) fn add_attributes(&self, node: &mut Node, path: &Path, read: io::Result<Attributes>) {
        match read {
            Ok(Attributes { found, mut unreadable }) => {
                node.extended_attributes = found;
                let further = unreadable.len().saturating_sub(1);
                if let Some((name, error)) = unreadable.drain(..).next() {
                    let others = if further > 0 { format!(" (and {further} more)") } else { String::new() };
                    let (name, reason) = (name.display(), describe(error));
                    self.skip(
                        path,
                        format_args!("its extended attribute {name}{others} can't be read: {reason}"),
                    );
                }
            }
            Err(error) => {
                self.skip(path, format_args!("its extended attributes can't be read: {}", describe(error)));
            }
        }
    }
}

/// Buffers for chunks, used again.
#[derive(Default)]
pub(super) struct Buffers {
    kept: Mutex<Vec<Vec<u8>>>,
}

impl Buffers {
    pub(super) fn take(&self) -> Vec<u8> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.unwrap_or_else(|| vec![0; BUFFER])
    }

    /// Takes back a buffer, unless a large chunk made it grow.
    pub(super) fn give(&self, buffer: Vec<u8>) {
        if buffer.len() > KEEP {
            return;
        }
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    }
}

/// What a thread needs to store things.
pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    sealer: BlobSealer,
    /// What is being read. Empty until the first file.
    pub(super) buffer: Vec<u8>,
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>) -> Result<Self, Stopped> {
        let sealer = BlobSealer::new().map_err(|error| shared.stop.fail(error))?;
        Ok(Self { shared, sealer, buffer: Vec::new() })
    }

    /// Works until nothing is left to do.
    pub(super) fn run(&mut self) -> Result<(), Stopped> {
        loop {
            let shared = Arc::clone(&self.shared);
            let Some(job) = shared.queue.next(&shared.stop)? else { return Ok(()) };
            match job {
                Job::Chunk(chunk) => self.store_chunk(chunk)?,
                Job::Files(files) => {
                    for file in files {
                        shared.stop.check()?;
                        self.store_file(file)?;
                    }
                }
            }
            shared.queue.done();
        }
    }

    pub(super) fn buffers(&self) -> &Buffers {
        &self.shared.buffers
    }

    /// Stores a blob if it is new.
    pub(super) fn store_blob(&mut self, blob_type: BlobType, content: &[u8]) -> Result<BlobId, Stopped> {
        let id = BlobId::of(content);
        let Shared { packer, counters, stop, repository, .. } = &*self.shared;
        if !packer.claim(blob_type, &id) {
            if blob_type == BlobType::Data {
                add(&counters.known_bytes, content.len() as u64);
            }
            return Ok(id);
        }
        let (sealed, uncompressed_length) =
            self.sealer.seal(repository.key(), content).map_err(|error| stop.fail(error))?;
        packer.add(blob_type, id, sealed, uncompressed_length, stop)?;
        let (blobs, bytes) = match blob_type {
            BlobType::Data => (&counters.data_blobs, &counters.new_bytes),
            BlobType::Tree => (&counters.tree_blobs, &counters.new_tree_bytes),
        };
        add(blobs, 1);
        add(bytes, content.len() as u64);
        add(&counters.sealed_bytes, sealed.len() as u64);
        self.sealer.shrink();
        Ok(id)
    }

    /// Stores a directory whose last entry was done, and those above it for which it was the last entry.
    pub(super) fn complete(&mut self, complete: Option<Complete>) -> Result<(), Stopped> {
        let mut next = complete;
        while let Some(Complete { directory, node, tree }) = next {
            if tree.len() > LARGEST_BLOB as usize {
                // It could be stored, but never be read again.
                let reason = "it has too many entries, its listing is longer than 1 GiB";
                self.shared.skip(&directory.path, reason);
                next = match &directory.parent {
                    Some(place) => place.leave(),
                    None => {
                        let error = RepositoryError::damaged("the listing of /", reason);
                        return Err(self.shared.stop.fail(error));
                    }
                };
                continue;
            }
            let id = self.store_blob(BlobType::Tree, &tree)?;
            let counters = &self.shared.counters;
            next = match (&directory.parent, node) {
                (Some(place), Some(mut node)) => {
                    match directory.previous {
                        None => add(&counters.dirs_new, 1),
                        Some(previous) if previous == id => add(&counters.dirs_unmodified, 1),
                        Some(_) => add(&counters.dirs_changed, 1),
                    }
                    node.subtree = Some(id);
                    place.fill(&node)
                }
                _ => {
                    *self.shared.root.lock().unwrap_or_else(PoisonError::into_inner) = Some(id);
                    None
                }
            };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;
    use tokio_util::sync::CancellationToken;

    use super::super::directory::Directory;
    use super::*;
    use crate::Polynomial;
    use crate::crypto::MasterKey;
    use crate::store::LocalStore;
    use crate::tree::{NodeKind, Tree};

    #[tokio::test]
    async fn a_folder_whose_listing_could_not_be_read_again_is_an_omission() {
        let temp = tempfile::tempdir().unwrap();
        let store = Arc::new(LocalStore::create(temp.path().join("archive")).unwrap());
        let key = Arc::new(MasterKey::from_bytes(&[3; 64]).unwrap());
        let repository = Arc::new(Repository::init(store, key, Polynomial::derive(&[1; 32])).await.unwrap());
        let (full, _packs) = mpsc::channel(1);
        let shared = Arc::new(Shared {
            chunker: Chunker::new(repository.config().chunker_polynomial),
            packer: Packer::new(Arc::clone(&repository), full, 1),
            repository,
            excludes: Excludes::new(&[]).unwrap(),
            names: Default::default(),
            queue: Queue::new(1),
            buffers: Buffers::default(),
            counters: Counters::default(),
            problems: Problems::default(),
            stop: Stop::new(CancellationToken::new()),
            root: Mutex::default(),
        });
        let mut worker = Worker::new(Arc::clone(&shared)).unwrap();
        let root = Directory::new("/".into(), None, None, None);
        let (huge, fitting) = (root.reserve(), root.reserve());
        let node = Node::new("huge", NodeKind::Dir);
        let directory = Directory::new("/huge".into(), Some(node.clone()), None, Some(huge));
        // The system gives no memory for zeros that nobody looks at.
        let tree = vec![0; LARGEST_BLOB as usize + 1];
        worker.complete(Some(Complete { directory, node: Some(node), tree })).unwrap();
        assert!(fitting.fill(&Node::new("others", NodeKind::Fifo)).is_none());
        let tree = Tree::parse(&root.close().unwrap().tree).unwrap();
        let names: Vec<_> = tree.nodes.into_iter().map(|node| node.name).collect();
        assert_eq!(names, ["others"]);
        let skipped = shared.problems.skipped();
        assert_eq!(skipped.len(), 1);
        assert_eq!(skipped[0].path, Path::new("/huge"));
        assert!(skipped[0].reason.contains("too many entries"), "{skipped:?}");
    }
}
