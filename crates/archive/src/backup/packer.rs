//! Sealed blobs are collected in open packs; full packs go to the upload.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::BackupError;
use super::stop::{Stop, Stopped};
use crate::id::{BlobId, FileId};
use crate::repository::{BlobType, HeaderError, IndexedPack, PackBuilder, Repository, RepositoryError};
use crate::store::{Buffer, Buffers};

/// A pack is full when it has so many bytes.
const PACK_SIZE: usize = 16 * 1024 * 1024;
/// Room for the blob that fills a pack, beyond its size, so that its buffer is never copied to a larger one. What is not
/// used of it stays untouched and takes no memory.
const SLACK: usize = 9 * 1024 * 1024;
/// Blobs go to one of so many open packs by chance. Who sees the packs then can't recognise a file by the sizes of its
/// chunks, which would otherwise lie in a row.
const OPEN_PACKS: usize = 2;

/// Takes part in a backup: hands out what is new, and packs it.
pub(super) struct Packer {
    repository: Arc<Repository>,
    /// Blobs of this run that no index knows yet.
    claimed: Mutex<HashSet<(BlobType, BlobId)>>,
    data: Mutex<OpenPacks>,
    tree: Mutex<OpenPacks>,
    /// One permit for each pack that is open or on its way: this bounds the memory.
    data_permits: Arc<Semaphore>,
    tree_permits: Arc<Semaphore>,
    runtime: Handle,
    full: Mutex<Option<mpsc::Sender<FullPack>>>,
    buffers: Buffers,
}

type OpenPacks = [Option<OpenPack>; OPEN_PACKS];

struct OpenPack {
    builder: PackBuilder,
    permit: OwnedSemaphorePermit,
}

/// A pack that is ready to be stored.
pub(super) struct FullPack {
    pub(super) id: FileId,
    pub(super) data: Bytes,
    pub(super) content: IndexedPack,
    /// Held until the pack is stored.
    pub(super) permit: OwnedSemaphorePermit,
}

impl Packer {
    /// Full packs are sent to `full`, of which `in_flight` may be on their way at a time.
    pub(super) fn new(repository: Arc<Repository>, full: mpsc::Sender<FullPack>, in_flight: usize) -> Self {
        Self {
            repository,
            claimed: Mutex::default(),
            data: Mutex::default(),
            tree: Mutex::default(),
            data_permits: Arc::new(Semaphore::new(OPEN_PACKS + in_flight)),
            tree_permits: Arc::new(Semaphore::new(OPEN_PACKS + 1)),
            runtime: Handle::current(),
            full: Mutex::new(Some(full)),
            buffers: Buffers::default(),
        }
    }

    /// Whether a blob is new. Whoever is told so must add it; to all others it is known from now on.
    pub(super) fn claim(&self, blob_type: BlobType, id: &BlobId) -> bool {
        let mut claimed = self.claimed.lock().unwrap_or_else(PoisonError::into_inner);
        // A pack enters the index before its blobs leave the set, so that one of the two knows a blob at any time.
        !claimed.contains(&(blob_type, *id))
            && !self.repository.contains(blob_type, id)
            && claimed.insert((blob_type, *id))
    }

    /// Says that the index knows the blobs of a pack now.
    pub(super) fn settle(&self, pack: &IndexedPack) {
        let mut claimed = self.claimed.lock().unwrap_or_else(PoisonError::into_inner);
        for handle in pack.handles() {
            claimed.remove(&handle);
        }
    }

    /// Adds a sealed blob. Waits if too many packs are on their way.
    pub(super) fn add(
        &self,
        blob_type: BlobType,
        id: BlobId,
        sealed: &[u8],
        uncompressed_length: Option<u32>,
        stop: &Stop,
    ) -> Result<(), Stopped> {
        let packs = match blob_type {
            BlobType::Data => &self.data,
            BlobType::Tree => &self.tree,
        };
        let full = {
            // The lock is held while waiting for a permit: nobody else could go on either.
            let mut packs = packs.lock().unwrap_or_else(PoisonError::into_inner);
            // Sealed content begins with random bytes, which serve as the dice here.
            let chosen = usize::from(sealed.first().copied().unwrap_or(0)) % OPEN_PACKS;
            let slot = &mut packs[chosen];
            let mut pack = match slot.take() {
                Some(pack) => pack,
                None => self.open_pack(blob_type)?,
            };
            pack.builder
                .push(blob_type, id, sealed, uncompressed_length)
                .map_err(|error| stop.fail(pack_error(error)))?;
            if pack.builder.len() < PACK_SIZE && !pack.builder.header_is_full() {
                *slot = Some(pack);
                return Ok(());
            }
            pack
        };
        self.send(full, stop)
    }

    /// Sends what is left in the open packs, joined if that fits into one. After this nothing can be added.
    pub(super) fn finish(&self, stop: &Stop) -> Result<(), Stopped> {
        let mut ready = Vec::with_capacity(2 * OPEN_PACKS);
        for packs in [&self.data, &self.tree] {
            let packs = std::mem::take(&mut *packs.lock().unwrap_or_else(PoisonError::into_inner));
            let mut last: Option<OpenPack> = None;
            for pack in packs.into_iter().flatten() {
                match &mut last {
                    Some(joined) if joined.builder.len() + pack.builder.len() < PACK_SIZE => {
                        joined.builder.append(&pack.builder).map_err(|error| stop.fail(pack_error(error)))?;
                    }
                    _ => {
                        ready.extend(last.replace(pack));
                    }
                }
            }
            ready.extend(last.filter(|pack| !pack.builder.is_empty()));
        }
        // Nothing else is left to do meanwhile: hashing them one after the other would leave cores idle.
        let sent = std::thread::scope(|scope| {
            let sending: Vec<_> =
                ready.into_iter().map(|pack| scope.spawn(|| self.send(pack, stop))).collect();
            let mut sent = Ok(());
            for thread in sending {
                let ended = thread.join().unwrap_or_else(|_| Err(stop.fail(BackupError::Interrupted)));
                sent = sent.and(ended);
            }
            sent
        });
        sent?;
        self.full.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(())
    }

    /// Makes everyone who waits give up.
    pub(super) fn abort(&self) {
        self.data_permits.close();
        self.tree_permits.close();
        self.full.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn open_pack(&self, blob_type: BlobType) -> Result<OpenPack, Stopped> {
        let permits = match blob_type {
            BlobType::Data => &self.data_permits,
            BlobType::Tree => &self.tree_permits,
        };
        let permit = self.runtime.block_on(Arc::clone(permits).acquire_owned()).map_err(|_| Stopped)?;
        let buffer = match blob_type {
            BlobType::Data => self.buffers.take(PACK_SIZE + SLACK),
            // Packs of trees stay small mostly.
            BlobType::Tree => Buffer::default(),
        };
        Ok(OpenPack { builder: PackBuilder::with_buffer(buffer), permit })
    }

    fn send(&self, pack: OpenPack, stop: &Stop) -> Result<(), Stopped> {
        let finished = pack.builder.finish(self.repository.key());
        let (data, blobs) = finished.map_err(|error| stop.fail(pack_error(error)))?;
        let id = FileId::of(&data);
        let content = IndexedPack::new(id, &blobs);
        let full = self.full.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or(Stopped)?;
        full.blocking_send(FullPack { id, data: data.into(), content, permit: pack.permit })
            .map_err(|_| Stopped)
    }
}

fn pack_error(error: HeaderError) -> RepositoryError {
    RepositoryError::damaged("a new pack", error)
}
