//! Whether the index and the packs in the store fit together: packs that an interrupted run left behind before it could
//! write their index, and packs of the index that the store lost.

use std::collections::HashMap;
use std::sync::PoisonError;

use futures::{StreamExt, stream};

use super::{
    FileId, IndexFile, IndexedPack, MOST_BLOBS_PER_FILE, PARALLEL_LOADS, Repository, RepositoryError,
};
use super::{pack, run_blocking};
use crate::store::{FileKind, StoredFile};

/// So many packs are adopted in one go (64 GiB of packs); the next run takes the others.
const MOST_PACKS: usize = 4096;
/// Bytes at the end of a pack that contain most headers whole: read at once, larger ones in a second read.
const EAGER: u64 = 8 * 1024;

/// What came of looking for packs without an index.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Adopted {
    /// Packs that are known now.
    pub packs: usize,
    /// Their size in bytes.
    pub bytes: u64,
    /// Packs that can't be read: they are left alone.
    pub unreadable: usize,
}

/// What came of comparing the index with the packs in the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compared {
    /// Packs that no index named.
    pub adopted: Adopted,
    /// Packs of the index that are missing or have the wrong size, if something in them lies nowhere else.
    pub lost_packs: usize,
}

impl Repository {
    /// Lists the packs in the store and compares them with the index.
    ///
    /// Packs that no index names become known by reading their headers, so that their blobs need not be sent again.
    /// Packs that are missing or have the wrong size count as lost: what only they have is
    /// [not there](Self::contains) any more, so that it is stored again. Nothing is removed, neither from the index (a
    /// pack may come back) nor from the store (a pack that is too short still has something).
    ///
    /// Must not run while another run removes packs: it would make known again what is about to go.
    ///
    /// # Errors
    /// The store fails.
    pub async fn compare_packs(&self) -> Result<Compared, RepositoryError> {
        self.ensure_writable()?;
        // What another run adds meanwhile need not be in the list.
        let known = self.index().packs().len();
        let listed = self.store().list(FileKind::Pack).await?;
        let stored: HashMap<FileId, u64> = listed.iter().map(|file| (file.id, file.size)).collect();
        // First: what is adopted may make up for what is lost.
        let adopted = self.adopt_orphan_packs(listed).await?;
        Ok(Compared { adopted, lost_packs: self.note_lost_packs(known, &stored) })
    }

    fn note_lost_packs(&self, known: usize, stored: &HashMap<FileId, u64>) -> usize {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        let losses = index.compare(known, stored);
        let count = losses.needed_count();
        index.set_lost(losses);
        drop(index);
        if count > 0 {
            tracing::warn!(packs = count, "the archive lost packs: what was in them is stored again");
        }
        count
    }

    async fn adopt_orphan_packs(&self, listed: Vec<StoredFile>) -> Result<Adopted, RepositoryError> {
        let mut orphans = listed;
        orphans.retain(|file| !self.contains_pack(&file.id));
        orphans.sort_unstable();
        orphans.truncate(MOST_PACKS);
        let mut reads = stream::iter(orphans)
            .map(|file| async move { (file, self.read_pack_header(&file).await) })
            .buffer_unordered(PARALLEL_LOADS);
        let mut adopted = Adopted::default();
        let mut file = IndexFile::default();
        let mut blobs = 0;
        while let Some((pack, header)) = reads.next().await {
            match header {
                Ok(header) => {
                    blobs += header.len();
                    file.packs.push(IndexedPack::new(pack.id, &header));
                    adopted.packs += 1;
                    adopted.bytes += pack.size;
                }
                Err(RepositoryError::Damaged { reason, .. }) => {
                    tracing::warn!(pack = %pack.id, %reason, "a pack without an index can't be read");
                    adopted.unreadable += 1;
                }
                Err(RepositoryError::Store(error)) if error.is_about_the_object() => {
                    tracing::warn!(pack = %pack.id, %error, "a pack without an index can't be read");
                    adopted.unreadable += 1;
                }
                Err(error) => return Err(error),
            }
            if blobs >= MOST_BLOBS_PER_FILE {
                blobs = 0;
                self.adopt(std::mem::take(&mut file)).await?;
            }
        }
        if !file.packs.is_empty() {
            self.adopt(file).await?;
        }
        if adopted.packs > 0 {
            tracing::info!(
                packs = adopted.packs,
                bytes = adopted.bytes,
                "packs of an interrupted run are used again"
            );
        }
        Ok(adopted)
    }

    async fn adopt(&self, file: IndexFile) -> Result<(), RepositoryError> {
        let packs = file.packs.clone();
        self.save_index(file).await?;
        for pack in &packs {
            self.insert_pack(pack);
        }
        Ok(())
    }

    /// What is in a pack, by its header.
    ///
    /// # Errors
    /// The header is damaged, or the store fails.
    pub async fn read_pack_header(
        &self,
        file: &StoredFile,
    ) -> Result<Vec<pack::PackedBlob>, RepositoryError> {
        let damaged = |id: FileId| {
            move |error: pack::HeaderError| RepositoryError::damaged(format_args!("pack {id}"), error)
        };
        let load = |length: u64| {
            let range = file.size.saturating_sub(length)..file.size;
            self.store().load(FileKind::Pack, &file.id, Some(range))
        };
        let mut tail = load(EAGER).await?;
        let span = pack::header_span(&tail, file.size).map_err(damaged(file.id))?;
        if span > tail.len() as u64 {
            tail = load(span).await?;
        }
        let (key, file) = (std::sync::Arc::clone(self.key()), *file);
        run_blocking(move || pack::read_header(&key, &tail, file.size)).await?.map_err(damaged(file.id))
    }
}
