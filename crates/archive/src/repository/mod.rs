//! A repository: config, index, packs, snapshots over a [`Store`].
//!
//! Nothing that comes from the store is believed: a file's bytes must have the hash it is named by, it must open with our
//! key, and a blob's content must have the hash that is its id.

mod cache;
mod codec;
mod config;
mod error;
mod index;
mod load;
mod orphans;
mod pack;
mod repair;
mod retire;
mod snapshot;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use bytes::Bytes;
use futures::{StreamExt, stream};

use crate::chunker::Polynomial;
use crate::crypto::MasterKey;
use crate::id::{BlobId, FileId, SnapshotId};
use crate::store::{FileKind, Store, StoreError, StoredFile};
use crate::tree::Tree;

pub use config::Config;
pub use error::RepositoryError;
pub use index::BlobLocation;
pub use orphans::{Adopted, Compared};
pub use pack::{BlobType, HeaderError, PackedBlob, read_header};
pub use repair::Salvaged;
pub use retire::Retired;
pub use snapshot::{Snapshot, SnapshotSummary};

pub(crate) use codec::{BlobOpener, BlobSealer, LARGEST_BLOB};
pub(crate) use index::{IndexFile, IndexedPack, MOST_BLOBS_PER_FILE};
pub(crate) use pack::PackBuilder;

use cache::TreeCache;
use index::Index;
use load::{load_config, load_file, load_index};

/// How many files of an index or snapshots are loaded at the same time.
const PARALLEL_LOADS: usize = 8;
/// When so many files of a list can't be read, the list is taken for a lie: nobody waits for a million of them.
const MOST_UNREADABLE: usize = 1000;
/// Smaller pieces of work are done where they come up, larger ones on a thread for blocking work.
const SMALL: usize = 32 * 1024;

/// An opened repository.
pub struct Repository {
    store: Arc<dyn Store>,
    key: Arc<MasterKey>,
    config: Config,
    index: RwLock<Index>,
    trees: TreeCache,
    warnings: Vec<Warning>,
}

/// A file that could not be used and was left out.
#[derive(Debug)]
pub struct Warning {
    /// Its kind.
    pub kind: FileKind,
    /// Its name.
    pub id: FileId,
    /// What is wrong with it.
    pub error: RepositoryError,
}

/// The snapshots of a repository.
#[derive(Debug, Default)]
pub struct SnapshotList {
    /// Oldest first.
    pub snapshots: Vec<Snapshot>,
    /// Those that can't be read.
    pub unreadable: Vec<Warning>,
}

impl Repository {
    /// Makes a new repository.
    ///
    /// # Errors
    /// There is one already, or the store fails.
    pub async fn init(
        store: Arc<dyn Store>,
        key: Arc<MasterKey>,
        polynomial: Polynomial,
    ) -> Result<Self, RepositoryError> {
        if !store.list(FileKind::Config).await?.is_empty() {
            return Err(RepositoryError::AlreadyInitialised);
        }
        let mut id = [0; 32];
        getrandom::fill(&mut id)
            .map_err(|_| RepositoryError::Internal("the system gives no random numbers"))?;
        let config =
            Config { version: config::VERSION, id: FileId(id).to_string(), chunker_polynomial: polynomial };
        let json = serde_json::to_vec(&config)
            .map_err(|_| RepositoryError::Internal("the config can't be written"))?;
        let sealed = key.seal(&json).map_err(RepositoryError::Seal)?;
        store.save(FileKind::Config, &FileId::ZERO, sealed.into()).await?;
        Ok(Self {
            store,
            key,
            config,
            index: RwLock::default(),
            trees: TreeCache::default(),
            warnings: Vec::new(),
        })
    }

    /// Opens a repository and loads its index. Index files that can't be read are left out and
    /// [reported](Self::warnings).
    ///
    /// # Errors
    /// There is no repository, it has another key or a version we don't know, or the store fails.
    pub async fn open(store: Arc<dyn Store>, key: Arc<MasterKey>) -> Result<Self, RepositoryError> {
        let config = load_config(&*store, &key).await?;
        let (index, warnings) = load_index(&store, &key).await?;
        Ok(Self { store, key, config, index: RwLock::new(index), trees: TreeCache::default(), warnings })
    }

    /// The config.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The store below.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The master key.
    #[must_use]
    pub fn key(&self) -> &Arc<MasterKey> {
        &self.key
    }

    /// Index files that could not be used when the repository was opened.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Whether the index knows a blob, in a pack that was not [found lost](Self::compare_packs).
    #[must_use]
    pub fn contains(&self, blob_type: BlobType, id: &BlobId) -> bool {
        self.index().contains(blob_type, id)
    }

    /// Every place where a blob should lie; usually one.
    #[must_use]
    pub fn locate(&self, blob_type: BlobType, id: &BlobId) -> Vec<BlobLocation> {
        self.index().locate(blob_type, id)
    }

    /// Whether the index knows a pack.
    #[must_use]
    pub fn contains_pack(&self, id: &FileId) -> bool {
        self.index().contains_pack(id)
    }

    /// The packs that the index knows.
    #[must_use]
    pub fn packs(&self) -> Vec<FileId> {
        self.index().packs().to_vec()
    }

    /// The size that a pack must have by what the index says about its blobs.
    pub(crate) fn size_of_pack(&self, id: &FileId) -> Option<u64> {
        self.index().size_of(id)
    }

    /// The packs that are not in `stored` with the right size, if something in them lies in no other pack.
    pub(crate) fn needed_packs(&self, stored: &HashMap<FileId, u64>) -> HashSet<FileId> {
        let index = self.index();
        let losses = index.compare(usize::MAX, stored);
        index.needed(&losses).collect()
    }

    /// How many blobs the index knows.
    #[must_use]
    pub fn blob_count(&self) -> usize {
        self.index().len()
    }

    /// Visits every blob of the index. The index is locked meanwhile: collect, don't work.
    pub fn for_each_blob(&self, visit: impl FnMut(BlobLocation)) {
        self.index().for_each(visit);
    }

    /// A blob's content, compared with its id. If it lies in several places, the first intact copy is taken.
    ///
    /// # Errors
    /// The index doesn't know it, every copy is damaged, or the store fails.
    pub async fn load_blob(&self, blob_type: BlobType, id: &BlobId) -> Result<Bytes, RepositoryError> {
        let locations = self.locate(blob_type, id);
        let mut failure = RepositoryError::UnknownBlob { blob_type, id: *id };
        for location in &locations {
            let sealed = match blob_type {
                BlobType::Tree => self.trees.load(self, location).await,
                BlobType::Data => self.load_range(location).await,
            };
            let opened = match sealed {
                Ok(sealed) => {
                    self.open_blob(location.blob, sealed).await.map_err(|error| error.in_pack(&location.pack))
                }
                Err(error) => Err(error.into()),
            };
            match opened {
                Ok(content) => return Ok(content),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// A directory.
    ///
    /// # Errors
    /// As [`Repository::load_blob`], or the blob is no directory listing.
    pub async fn load_tree(&self, id: &BlobId) -> Result<Tree, RepositoryError> {
        let bytes = self.load_blob(BlobType::Tree, id).await?;
        Tree::parse(&bytes).map_err(|error| RepositoryError::damaged(format_args!("tree {id}"), error))
    }

    /// Several blobs of one pack with one read, from the first to the last of them: choose blobs that lie close together.
    /// Each is compared with its id; the results are in the order of `blobs`.
    ///
    /// # Errors
    /// The store fails. That a single blob is damaged is told in its place.
    pub async fn load_pack_blobs(
        &self,
        pack: &FileId,
        blobs: &[PackedBlob],
    ) -> Result<Vec<Result<Bytes, RepositoryError>>, RepositoryError> {
        let Some(start) = blobs.iter().map(|blob| u64::from(blob.offset)).min() else {
            return Ok(Vec::new());
        };
        let end =
            blobs.iter().map(|blob| u64::from(blob.offset) + u64::from(blob.length)).max().unwrap_or(start);
        let bytes = self.store.load(FileKind::Pack, pack, Some(start..end)).await?;
        let mut opened = Vec::with_capacity(blobs.len());
        for blob in blobs {
            let from = usize::try_from(u64::from(blob.offset) - start).unwrap_or(usize::MAX);
            let range = from..from.saturating_add(blob.length as usize);
            opened.push(match bytes.get(range.clone()) {
                Some(_) => self.open_blob(*blob, bytes.slice(range)).await,
                None => Err(RepositoryError::damaged(format_args!("pack {pack}"), "it is too short")),
            });
        }
        Ok(opened)
    }

    /// The content of a blob from its sealed bytes, compared with its id, on the calling thread, in the buffers of `opener`.
    ///
    /// # Errors
    /// The bytes are not those of this blob.
    pub(crate) fn open_blob_blocking<'a>(
        &self,
        opener: &'a mut BlobOpener,
        blob: &PackedBlob,
        sealed: &[u8],
    ) -> Result<&'a [u8], RepositoryError> {
        opener.open(&self.key, blob, sealed)
    }

    /// All snapshots, each with its name verified.
    ///
    /// # Errors
    /// The store fails.
    pub async fn snapshots(&self) -> Result<SnapshotList, RepositoryError> {
        let files = distinct(self.store.list(FileKind::Snapshot).await?);
        let mut loads = stream::iter(files)
            .map(|file| async move { (file.id, self.load_snapshot(&file.id.into()).await) })
            .buffer_unordered(PARALLEL_LOADS);
        let mut list = SnapshotList::default();
        let mut removed = 0;
        while let Some((id, loaded)) = loads.next().await {
            refuse_lies(FileKind::Snapshot, list.unreadable.len() + removed)?;
            match loaded {
                Ok(snapshot) => list.snapshots.push(snapshot),
                // Removed since it was listed.
                Err(RepositoryError::Store(StoreError::NotFound { .. })) => removed += 1,
                Err(RepositoryError::Store(error)) if !error.is_about_the_object() => {
                    return Err(error.into());
                }
                Err(error) => list.unreadable.push(Warning { kind: FileKind::Snapshot, id, error }),
            }
        }
        list.snapshots.sort_by(|a, b| a.time.cmp(&b.time).then_with(|| a.id.cmp(&b.id)));
        list.unreadable.sort_by_key(|warning| warning.id);
        Ok(list)
    }

    /// One snapshot.
    ///
    /// # Errors
    /// It is not there or can't be read.
    pub async fn load_snapshot(&self, id: &SnapshotId) -> Result<Snapshot, RepositoryError> {
        let file = FileId::from(*id);
        let json = load_file(&*self.store, &self.key, FileKind::Snapshot, &file).await?;
        let mut snapshot: Snapshot = serde_json::from_slice(&json)
            .map_err(|error| RepositoryError::damaged(format_args!("snapshot {id}"), error))?;
        snapshot.id = *id;
        Ok(snapshot)
    }

    /// Stores a snapshot; its `id` field is ignored, the new name returned. Everything it refers to must be durable.
    ///
    /// # Errors
    /// The store fails.
    pub async fn save_snapshot(&self, snapshot: &Snapshot) -> Result<SnapshotId, RepositoryError> {
        let json = serde_json::to_vec(snapshot)
            .map_err(|_| RepositoryError::Internal("the snapshot can't be written"))?;
        Ok(self.save_file(FileKind::Snapshot, json).await?.into())
    }

    /// Stores an index file for packs that are durable.
    pub(crate) async fn save_index(&self, file: IndexFile) -> Result<FileId, RepositoryError> {
        let json = run_blocking(move || serde_json::to_vec(&file))
            .await?
            .map_err(|_| RepositoryError::Internal("the index can't be written"))?;
        self.save_file(FileKind::Index, json).await
    }

    /// Makes the blobs of a stored pack known.
    pub(crate) fn insert_pack(&self, pack: &IndexedPack) {
        self.index.write().unwrap_or_else(PoisonError::into_inner).insert(pack);
    }

    /// Fails for repositories that can be read only.
    pub(crate) fn ensure_writable(&self) -> Result<(), RepositoryError> {
        match self.config.version {
            config::VERSION => Ok(()),
            other => Err(RepositoryError::UnsupportedVersion(other)),
        }
    }

    async fn save_file(&self, kind: FileKind, json: Vec<u8>) -> Result<FileId, RepositoryError> {
        let key = Arc::clone(&self.key);
        let (id, sealed) = run_blocking(move || {
            let sealed = codec::seal_file(&key, &json)?;
            Ok::<_, RepositoryError>((FileId::of(&sealed), sealed))
        })
        .await??;
        self.store.save(kind, &id, sealed.into()).await?;
        Ok(id)
    }

    async fn load_range(&self, location: &BlobLocation) -> Result<Bytes, StoreError> {
        let start = u64::from(location.blob.offset);
        let end = start + u64::from(location.blob.length);
        self.store.load(FileKind::Pack, &location.pack, Some(start..end)).await
    }

    async fn open_blob(&self, blob: PackedBlob, sealed: Bytes) -> Result<Bytes, RepositoryError> {
        if sealed.len() <= SMALL {
            return codec::open_blob(&self.key, &blob, &sealed).map(Bytes::from);
        }
        let key = Arc::clone(&self.key);
        run_blocking(move || codec::open_blob(&key, &blob, &sealed)).await?.map(Bytes::from)
    }

    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Fails when more of a list is unreadable than can be explained by damage.
fn refuse_lies(kind: FileKind, unreadable: usize) -> Result<(), RepositoryError> {
    if unreadable <= MOST_UNREADABLE {
        return Ok(());
    }
    let reason = format!("more than {MOST_UNREADABLE} of the files in it are not there or can't be read");
    Err(RepositoryError::damaged(format_args!("the list of the {kind} files"), reason))
}

/// Each file once: a list may name one several times.
fn distinct(mut files: Vec<StoredFile>) -> Vec<StoredFile> {
    files.sort_unstable_by_key(|file| file.id);
    files.dedup_by_key(|file| file.id);
    files
}

/// Runs work that computes for long, away from the async threads.
async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, RepositoryError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| RepositoryError::Internal("the work was interrupted"))
}
