//! Packs: are they there, have they the right size, and (if data are read) the right content.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use futures::{StreamExt, stream};

use super::report::Collector;
use super::{CheckError, Finding, reason};
use crate::id::{BlobId, FileId};
use crate::repository::{
    BlobLocation, BlobOpener, BlobType, PackedBlob, Repository, RepositoryError, read_header,
};
use crate::store::{FileKind, StoreError};

/// So many packs are read at the same time.
const PARALLEL_READS: usize = 4;
/// The blobs of so many packs are taken from the index at a time.
const PACKS_AT_ONCE: usize = 512;
/// A larger pack is not read into memory; nobody writes such packs.
const LARGEST_PACK: u64 = 512 * 1024 * 1024;

/// What is known about the packs of an archive.
pub(super) struct Packs {
    /// Size of every pack in the store.
    sizes: HashMap<FileId, u64>,
    /// What the index says about every pack.
    indexed: HashMap<FileId, Indexed>,
    /// Packs that are missing or have the wrong size, though everything in them lies in other packs, too: a backup stored
    /// it again. Nothing depends on them.
    replaced: HashSet<FileId>,
    /// Blobs that can't be read, by pack.
    damaged: HashSet<(FileId, BlobType, BlobId)>,
}

#[derive(Clone, Copy, Default)]
struct Indexed {
    blobs: u64,
    /// Size that the pack must have.
    size: u64,
}

impl Packs {
    /// Compares the index with the list of packs.
    pub(super) async fn compare(
        repository: &Arc<Repository>,
        collector: &Collector,
    ) -> Result<Self, CheckError> {
        let listed = repository.store().list(FileKind::Pack).await.map_err(RepositoryError::from)?;
        let sizes: HashMap<FileId, u64> = listed.into_iter().map(|file| (file.id, file.size)).collect();
        let shared = Arc::clone(repository);
        let packs = blocking(move || {
            let mut indexed: HashMap<FileId, Indexed> = HashMap::new();
            for id in shared.packs() {
                let size = shared.size_of_pack(&id).unwrap_or(0);
                indexed.insert(id, Indexed { blobs: 0, size });
            }
            shared.for_each_blob(|location| {
                indexed.entry(location.pack).or_default().blobs += 1;
            });
            let needed = shared.needed_packs(&sizes);
            let replaced = |(id, pack): (&FileId, &Indexed)| {
                (sizes.get(id) != Some(&pack.size) && !needed.contains(id)).then_some(*id)
            };
            let replaced = indexed.iter().filter_map(replaced).collect();
            Self { sizes, indexed, replaced, damaged: HashSet::new() }
        })
        .await?;
        packs.report(collector);
        Ok(packs)
    }

    fn report(&self, collector: &Collector) {
        let mut ids: Vec<FileId> = self.indexed.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            let Some(indexed) = self.indexed.get(&id).filter(|pack| pack.blobs > 0) else { continue };
            if self.replaced.contains(&id) {
                collector.update(|report| report.replaced += 1);
                continue;
            }
            match self.sizes.get(&id) {
                None => collector.find(Finding::MissingPack { id, blobs: indexed.blobs }),
                Some(&found) => {
                    collector.update(|report| {
                        report.packs += 1;
                        report.bytes += found;
                    });
                    if found != indexed.size {
                        collector.find(Finding::PackSize { id, expected: indexed.size, found });
                    }
                }
            }
        }
        for (id, size) in &self.sizes {
            if !self.indexed.contains_key(id) {
                collector.update(|report| {
                    report.orphans.packs += 1;
                    report.orphans.bytes += size;
                });
            }
        }
    }

    /// Whether some copy of a blob can be read, as far as is known. If not, why.
    pub(super) fn can_read(
        &self,
        repository: &Repository,
        blob_type: BlobType,
        id: &BlobId,
    ) -> Result<(), String> {
        let mut why = format!("{blob_type} {} is in no index", id.short());
        for location in repository.locate(blob_type, id) {
            match self.why_not(&location) {
                None => return Ok(()),
                Some(reason) => why = reason,
            }
        }
        Err(why)
    }

    fn why_not(&self, location: &BlobLocation) -> Option<String> {
        let (pack, blob) = (location.pack, &location.blob);
        let end = u64::from(blob.offset) + u64::from(blob.length);
        match self.sizes.get(&pack) {
            None => Some(format!("pack {} is missing", pack.short())),
            // It is not read, so nobody knows.
            Some(_) if self.replaced.contains(&pack) => Some(format!("pack {} is damaged", pack.short())),
            Some(&size) if size < end => Some(format!("pack {} is too short", pack.short())),
            Some(_) if self.damaged.contains(&(pack, blob.blob_type, blob.id)) => {
                Some(format!("{} {} in pack {} is damaged", blob.blob_type, blob.id.short(), pack.short()))
            }
            Some(_) => None,
        }
    }

    /// Reads every pack of the index.
    pub(super) async fn read_all(
        &mut self,
        repository: &Arc<Repository>,
        collector: &Arc<Collector>,
    ) -> Result<(), CheckError> {
        let is_read = |id: &&FileId| self.sizes.contains_key(*id) && !self.replaced.contains(*id);
        let mut ids: Vec<FileId> = self.indexed.keys().filter(is_read).copied().collect();
        ids.sort_unstable();
        collector.packs_total.store(ids.len() as u64, Relaxed);
        let bytes = ids.iter().filter_map(|id| self.sizes.get(id)).sum();
        collector.bytes_total.store(bytes, Relaxed);
        for some in ids.chunks(PACKS_AT_ONCE) {
            let work = self.take_blobs(repository, some).await?;
            let mut reads = stream::iter(work)
                .map(|pack| Box::pin(pack.read(repository, collector)))
                .buffer_unordered(PARALLEL_READS);
            while let Some(damaged) = reads.next().await {
                self.damaged.extend(damaged?);
            }
        }
        Ok(())
    }

    /// The blobs of some packs.
    async fn take_blobs(
        &self,
        repository: &Arc<Repository>,
        ids: &[FileId],
    ) -> Result<Vec<PackToRead>, CheckError> {
        let mut packs: HashMap<FileId, PackToRead> = ids
            .iter()
            .map(|id| {
                // As much as is there, so that what lies in its place is looked at whole. What no pack can have was told as a
                // finding, and what was stored is read.
                let stored = self.indexed.get(id).map_or(0, |pack| pack.size);
                let listed = self.sizes.get(id).copied().unwrap_or(0);
                let size = if listed > LARGEST_PACK { stored } else { listed };
                (*id, PackToRead { id: *id, size, blobs: Vec::new() })
            })
            .collect();
        let repository = Arc::clone(repository);
        blocking(move || {
            repository.for_each_blob(|location| {
                if let Some(pack) = packs.get_mut(&location.pack) {
                    pack.blobs.push(location.blob);
                }
            });
            let mut packs: Vec<PackToRead> = packs.into_values().collect();
            packs.sort_unstable_by_key(|pack| pack.id);
            for pack in &mut packs {
                pack.blobs.sort_unstable_by_key(|blob| (blob.offset, blob.id));
            }
            packs
        })
        .await
    }
}

struct PackToRead {
    id: FileId,
    size: u64,
    blobs: Vec<PackedBlob>,
}

type Damaged = Vec<(FileId, BlobType, BlobId)>;

impl PackToRead {
    /// Reads the pack and everything in it; gives back the blobs that can't be read.
    async fn read(
        self,
        repository: &Arc<Repository>,
        collector: &Arc<Collector>,
    ) -> Result<Damaged, CheckError> {
        let bytes = if self.size > LARGEST_PACK {
            Err(RepositoryError::damaged(format_args!("pack {}", self.id), "it is far too large"))
        } else {
            let load = repository.store().load(FileKind::Pack, &self.id, Some(0..self.size));
            load.await.map_err(RepositoryError::from)
        };
        let size = self.size;
        let damaged = match bytes {
            Ok(bytes) => {
                let (repository, collector) = (Arc::clone(repository), Arc::clone(collector));
                blocking(move || self.verify(&repository, &collector, &bytes)).await?
            }
            Err(error) if error.concerns_one_object() => {
                collector.find(match error {
                    RepositoryError::Store(StoreError::NotFound { .. }) => {
                        Finding::MissingPack { id: self.id, blobs: self.blobs.len() as u64 }
                    }
                    error => Finding::DamagedPack { id: self.id, reason: reason(&error) },
                });
                self.blobs.iter().map(|blob| (self.id, blob.blob_type, blob.id)).collect()
            }
            Err(error) => return Err(error.into()),
        };
        collector.update(|report| {
            report.packs_read += 1;
            report.bytes_read += size;
        });
        Ok(damaged)
    }

    /// Blocks.
    fn verify(&self, repository: &Repository, collector: &Collector, bytes: &Bytes) -> Damaged {
        let id = self.id;
        if FileId::of(bytes) != id {
            let reason = "its bytes are not those that were stored".to_owned();
            collector.find(Finding::DamagedPack { id, reason });
        }
        match read_header(repository.key(), bytes, bytes.len() as u64) {
            Ok(header) => {
                let mut header = header;
                header.sort_unstable_by_key(|blob| (blob.offset, blob.id));
                if header != self.blobs {
                    collector.find(Finding::IndexMismatch { id });
                }
            }
            Err(error) => collector.find(Finding::DamagedPack { id, reason: error.to_string() }),
        }
        let mut damaged = Vec::new();
        let mut opener = BlobOpener::default();
        for blob in &self.blobs {
            if collector.stop.is_cancelled() {
                break;
            }
            let start = blob.offset as usize;
            let sealed = bytes.get(start..start.saturating_add(blob.length as usize));
            let opened = sealed
                .ok_or_else(|| RepositoryError::damaged(format_args!("pack {id}"), "it is too short"))
                .and_then(|sealed| repository.open_blob_blocking(&mut opener, blob, sealed));
            let problem = match opened {
                Ok(content) if content.len() == content_length(blob) => continue,
                Ok(_) => "it has not the length that the index says".to_owned(),
                Err(RepositoryError::Damaged { reason, .. }) => reason,
                Err(error) => error.to_string(),
            };
            let (blob_type, blob_id) = (blob.blob_type, blob.id);
            collector.find(Finding::DamagedBlob { pack: id, blob_type, id: blob_id, reason: problem });
            damaged.push((id, blob_type, blob_id));
        }
        damaged
    }
}

fn content_length(blob: &PackedBlob) -> usize {
    BlobLocation { pack: FileId::ZERO, blob: *blob }.content_length() as usize
}

/// Runs work that computes for long, away from the async threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, CheckError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| CheckError::Interrupted)
}
