//! Replacing files of an archive that are damaged where they lie.
//!
//! Bytes that have changed can't be put right under their name: sealing again gives other bytes. So what can still be read
//! of a damaged pack is [copied into a new one](Repository::salvage) first; the next backup stores again what is still on this
//! computer; and at last the damaged pack [is taken out of the index and removed](Repository::retire), if everything in it
//! lies elsewhere by then. A holder sets aside what is removed, and keeps it for a while.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError};

use bytes::Bytes;

use super::load::load_index_file;
use super::pack::{BlobType, PackBuilder, PackedBlob};
use super::{FileId, IndexFile, IndexedPack, Repository, RepositoryError, run_blocking};
use crate::store::{FileKind, StoreError};

/// A pack with salvaged blobs is as large as any other.
const PACK_SIZE: usize = 16 * 1024 * 1024;

/// What can be looked at in one go; the next backup takes the others.
const MOST_SUSPECTS: usize = 1000;

/// What came of looking at files that are said to be damaged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Salvaged {
    /// Files that are there and not what their names say: for [`Repository::retire`].
    pub damaged: Vec<(FileKind, FileId)>,
    /// Files that turned out to be as they should.
    pub intact: usize,
    /// Blobs that were copied out of damaged packs.
    pub blobs_copied: u64,
    /// Blobs that can't be read any more, and lie nowhere else.
    pub blobs_lost: u64,
}

/// What came of removing damaged files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retired {
    /// Damaged packs and index files that were replaced and removed.
    pub replaced: usize,
    /// Those that stay, because something in them lies nowhere else: it is lost, and a check goes on telling it.
    pub kept: usize,
}

impl Repository {
    /// Looks at packs and index files that are said to be damaged. What is only in a damaged pack and can be read is copied;
    /// the rest of its content counts as [not there](Self::contains) from now on, so that a backup stores it again.
    ///
    /// Nobody's word is believed: each is read and compared with its name.
    ///
    /// # Errors
    /// The store fails.
    pub async fn salvage(&self, suspects: &[(FileKind, FileId)]) -> Result<Salvaged, RepositoryError> {
        self.ensure_writable()?;
        let mut salvaged = Salvaged::default();
        let mut wanted: Vec<_> = suspects.to_vec();
        wanted.sort_unstable();
        wanted.dedup();
        wanted.truncate(MOST_SUSPECTS);
        for (kind, id) in wanted {
            if !matches!(kind, FileKind::Pack | FileKind::Index) {
                continue;
            }
            match self.look_at(kind, &id).await? {
                Seen::Intact => salvaged.intact += 1,
                Seen::Gone => {}
                Seen::Damaged => salvaged.damaged.push((kind, id)),
            }
        }
        let packs: HashSet<FileId> = packs_of(&salvaged.damaged).collect();
        if packs.is_empty() {
            return Ok(salvaged);
        }
        self.index.write().unwrap_or_else(PoisonError::into_inner).set_damaged(&packs);
        let mut contents: HashMap<FileId, Vec<PackedBlob>> = HashMap::new();
        self.for_each_blob(|location| {
            if packs.contains(&location.pack) {
                contents.entry(location.pack).or_default().push(location.blob);
            }
        });
        let mut copies = Copies::default();
        for (pack, mut blobs) in contents {
            blobs.sort_unstable_by_key(|blob| (blob.offset, blob.id));
            let bytes = match self.store.load(FileKind::Pack, &pack, None).await {
                Ok(bytes) => Some(bytes),
                Err(error @ (StoreError::Unavailable(_) | StoreError::Stalled { .. })) => {
                    return Err(error.into());
                }
                // Perhaps parts of it are given out.
                Err(_) => None,
            };
            for blob in blobs {
                if self.contains(blob.blob_type, &blob.id) || copies.has(&blob) {
                    continue;
                }
                let sealed = match &bytes {
                    Some(bytes) => slice(bytes, &blob),
                    None => self.load_piece(&pack, &blob).await?,
                };
                let opened = match sealed {
                    Some(sealed) => self.open_blob(blob, sealed.clone()).await.ok().map(|_| sealed),
                    None => None,
                };
                match opened {
                    Some(sealed) => {
                        salvaged.blobs_copied += 1;
                        if let Some(full) = copies.add(&blob, &sealed)? {
                            self.store_copies(full).await?;
                        }
                    }
                    None => salvaged.blobs_lost += 1,
                }
            }
        }
        for last in copies.finish() {
            self.store_copies(last).await?;
        }
        Ok(salvaged)
    }

    /// Removes damaged files, as [`Repository::salvage`] named them, if everything in them lies elsewhere; index files that
    /// name them are written anew before.
    ///
    /// Must not run while another run writes to the archive.
    ///
    /// # Errors
    /// The store fails.
    pub async fn retire(&self, damaged: &[(FileKind, FileId)]) -> Result<Retired, RepositoryError> {
        self.ensure_writable()?;
        let mut retired = Retired::default();
        let mut packs: HashSet<FileId> = packs_of(damaged).collect();
        let mut needed = HashSet::new();
        {
            let index = self.index();
            index.for_each(|location| {
                if packs.contains(&location.pack)
                    && !index.contains(location.blob.blob_type, &location.blob.id)
                {
                    needed.insert(location.pack);
                }
            });
        }
        packs.retain(|pack| !needed.contains(pack));
        let broken: Vec<FileId> =
            damaged.iter().filter(|(kind, _)| *kind == FileKind::Index).map(|(_, id)| *id).collect();
        // What only a damaged index names has been found by the headers of the packs, if they could all be read.
        let all_known = self.unknown_packs().await? == 0;
        retired.kept = needed.len() + if all_known { 0 } else { broken.len() };
        if !packs.is_empty() {
            self.rewrite_indexes(&packs).await?;
        }
        let broken = broken.into_iter().filter(|_| all_known).map(|id| (FileKind::Index, id));
        for (kind, id) in broken.chain(packs.into_iter().map(|id| (FileKind::Pack, id))) {
            match self.store.remove(kind, &id).await {
                Ok(()) | Err(StoreError::NotFound { .. }) => retired.replaced += 1,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(retired)
    }

    async fn look_at(&self, kind: FileKind, id: &FileId) -> Result<Seen, RepositoryError> {
        match self.store.load(kind, id, None).await {
            Ok(bytes) => {
                let named = run_blocking(move || FileId::of(&bytes)).await?;
                Ok(if named == *id { Seen::Intact } else { Seen::Damaged })
            }
            Err(StoreError::NotFound { .. }) => Ok(Seen::Gone),
            // It is listed, and not given out.
            Err(
                StoreError::Refused { .. }
                | StoreError::Withheld { .. }
                | StoreError::Corrupt { .. }
                | StoreError::Io { .. },
            ) => Ok(Seen::Damaged),
            Err(error) => Err(error.into()),
        }
    }

    /// A blob's sealed bytes out of a pack that is not given out as a whole.
    async fn load_piece(&self, pack: &FileId, blob: &PackedBlob) -> Result<Option<Bytes>, RepositoryError> {
        let start = u64::from(blob.offset);
        let range = start..start + u64::from(blob.length);
        match self.store.load(FileKind::Pack, pack, Some(range)).await {
            Ok(sealed) => Ok(Some(sealed)),
            Err(error @ (StoreError::Unavailable(_) | StoreError::Stalled { .. })) => Err(error.into()),
            Err(_) => Ok(None),
        }
    }

    async fn store_copies(&self, builder: PackBuilder) -> Result<(), RepositoryError> {
        let key = Arc::clone(self.key());
        let (id, bytes, blobs) = run_blocking(move || {
            let (bytes, blobs) =
                builder.finish(&key).map_err(|error| RepositoryError::damaged("a pack of copies", error))?;
            Ok::<_, RepositoryError>((FileId::of(&bytes), bytes, blobs))
        })
        .await??;
        self.store.save(FileKind::Pack, &id, bytes.into()).await?;
        let pack = IndexedPack::new(id, &blobs);
        self.save_index(IndexFile { packs: vec![pack.clone()], ..IndexFile::default() }).await?;
        self.insert_pack(&pack);
        Ok(())
    }

    /// Packs in the store that no index names.
    async fn unknown_packs(&self) -> Result<usize, RepositoryError> {
        let listed = self.store.list(FileKind::Pack).await?;
        Ok(listed.iter().filter(|file| !self.contains_pack(&file.id)).count())
    }

    /// Writes index files anew that name these packs, without them. The new one is durable before the old one goes.
    async fn rewrite_indexes(&self, packs: &HashSet<FileId>) -> Result<(), RepositoryError> {
        for listed in self.store.list(FileKind::Index).await? {
            let mut file = match load_index_file(&self.store, self.key(), listed.id).await {
                Ok(file) => file,
                Err(RepositoryError::Store(error @ StoreError::Unavailable(_))) => return Err(error.into()),
                // Told as a damaged one, or gone meanwhile.
                Err(_) => continue,
            };
            let before = file.packs.len();
            file.packs.retain(|pack| !packs.contains(&pack.id));
            if file.packs.len() == before {
                continue;
            }
            if !file.packs.is_empty() {
                self.save_index(IndexFile { packs: file.packs, supersedes: vec![listed.id] }).await?;
            }
            match self.store.remove(FileKind::Index, &listed.id).await {
                Ok(()) | Err(StoreError::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

enum Seen {
    Intact,
    Gone,
    Damaged,
}

fn packs_of(files: &[(FileKind, FileId)]) -> impl Iterator<Item = FileId> {
    files.iter().filter(|(kind, _)| *kind == FileKind::Pack).map(|(_, id)| *id)
}

fn slice(bytes: &Bytes, blob: &PackedBlob) -> Option<Bytes> {
    let start = blob.offset as usize;
    let end = start.checked_add(blob.length as usize)?;
    (end <= bytes.len()).then(|| bytes.slice(start..end))
}

/// Packs of copies under way, one of each type.
#[derive(Default)]
struct Copies {
    open: [PackBuilder; 2],
    blobs: HashSet<(BlobType, crate::id::BlobId)>,
}

impl Copies {
    fn has(&self, blob: &PackedBlob) -> bool {
        self.blobs.contains(&(blob.blob_type, blob.id))
    }

    /// Copies a sealed blob as it is; gives back a pack that is full.
    fn add(&mut self, blob: &PackedBlob, sealed: &[u8]) -> Result<Option<PackBuilder>, RepositoryError> {
        self.blobs.insert((blob.blob_type, blob.id));
        let builder = &mut self.open[usize::from(blob.blob_type == BlobType::Tree)];
        builder
            .push(blob.blob_type, blob.id, sealed, blob.uncompressed_length)
            .map_err(|error| RepositoryError::damaged("a pack of copies", error))?;
        let full = builder.len() >= PACK_SIZE || builder.header_is_full();
        Ok(full.then(|| std::mem::take(builder)))
    }

    fn finish(self) -> impl Iterator<Item = PackBuilder> {
        self.open.into_iter().filter(|builder| !builder.is_empty())
    }
}
