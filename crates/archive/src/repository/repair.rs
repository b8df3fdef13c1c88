//! Copying out of packs that are damaged where they lie what can still be read.
//!
//! Bytes that have changed can't be put right under their name: sealing again gives other bytes. So what can still be read
//! of a damaged pack is [copied into a new one](Repository::salvage) first; the next backup stores again what is still on this
//! computer; and at last the damaged pack [is removed](Repository::retire), if that loses nothing.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError};

use bytes::Bytes;

use super::pack::{BlobType, PackBuilder, PackedBlob};
use super::{BlobLocation, FileId, IndexFile, IndexedPack, Repository, RepositoryError, run_blocking};
use crate::store::{FileKind, StoreError};

/// A pack with salvaged blobs is as large as any other.
const PACK_SIZE: usize = 16 * 1024 * 1024;

/// What can be looked at in one go; the next backup takes the others.
const MOST_SUSPECTS: usize = 1000;

/// When so many reads came to a standstill, the rest is left to the next backup: a disk that is dying gives an error only
/// after a long while, and nobody's backup shall wait for all of them.
const MOST_STALLS: usize = 3;

/// What came of looking at files that are said to be damaged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Salvaged {
    /// Files that are there and not what their names say, or don't come: for [`Repository::retire`].
    pub damaged: Vec<(FileKind, FileId)>,
    /// Files that turned out to be as they should.
    pub intact: usize,
    /// Blobs that were copied out of damaged packs.
    pub blobs_copied: u64,
    /// Blobs that can't be read any more, and lie nowhere else.
    pub blobs_lost: u64,
    /// Reads came to a standstill too often: not everything was looked at.
    pub cut_short: bool,
}

impl Repository {
    /// Looks at packs and index files that are said to be damaged. What is only in a damaged pack and can be read is copied;
    /// the rest of its content counts as [not there](Self::contains) from now on, so that a backup stores it again.
    ///
    /// Nobody's word is believed: each is read and compared with its name. Only packs in `known` are not read again: those
    /// are damaged, and what can be read of them was copied before.
    ///
    /// Must not run while another run removes packs.
    ///
    /// # Errors
    /// The store fails, not just in handing over a file.
    pub async fn salvage(
        &self,
        suspects: &[(FileKind, FileId)],
        known: &[FileId],
    ) -> Result<Salvaged, RepositoryError> {
        self.ensure_writable()?;
        let mut salvaged = Salvaged::default();
        let mut stalls = 0;
        let known: HashSet<FileId> = known.iter().copied().collect();
        let mut wanted: Vec<_> = suspects.to_vec();
        wanted.retain(|(kind, id)| match kind {
            FileKind::Pack => !known.contains(id),
            kind => *kind == FileKind::Index,
        });
        wanted.sort_unstable();
        wanted.dedup();
        salvaged.cut_short = wanted.len() > MOST_SUSPECTS;
        wanted.truncate(MOST_SUSPECTS);
        for (kind, id) in wanted {
            if stalls >= MOST_STALLS {
                salvaged.cut_short = true;
                break;
            }
            match self.look_at(kind, &id).await? {
                Seen::Intact => salvaged.intact += 1,
                Seen::Gone => {}
                Seen::Damaged => salvaged.damaged.push((kind, id)),
                // It could not be restored from either. That it may be sound does no harm: see the rule of `retire`.
                Seen::Stalled => {
                    stalls += 1;
                    salvaged.damaged.push((kind, id));
                }
            }
        }
        let to_read: HashSet<FileId> = packs_of(&salvaged.damaged).collect();
        salvaged.damaged.extend(known.iter().map(|id| (FileKind::Pack, *id)));
        let packs: HashSet<FileId> = packs_of(&salvaged.damaged).collect();
        if salvaged.damaged.is_empty() {
            return Ok(salvaged);
        }
        self.index.write().unwrap_or_else(PoisonError::into_inner).set_damaged(&packs);
        // The index file that names a damaged pack may be damaged, too: then the pack's header tells what is in it.
        self.compare_packs().await?;
        let contents = self.only_in(&packs);
        let mut copies = Copies::default();
        let mut lost = HashSet::new();
        for (pack, mut blobs) in contents {
            blobs.sort_unstable_by_key(|blob| (blob.offset, blob.id));
            blobs.retain(|blob| !self.contains(blob.blob_type, &blob.id) && !copies.has(blob));
            if blobs.is_empty() {
                continue;
            }
            let mut source = if to_read.contains(&pack) { Source::Pieces } else { Source::Nothing };
            if let Source::Pieces = source
                && stalls < MOST_STALLS
            {
                source = match self.store.load(FileKind::Pack, &pack, None).await {
                    Ok(bytes) => Source::Whole(bytes),
                    // Perhaps parts of it are given out.
                    Err(error) => stop_unless_about_it(error, &mut stalls).map(|()| Source::Pieces)?,
                };
            }
            for blob in blobs {
                let sealed = match &source {
                    Source::Whole(bytes) => slice(bytes, &blob),
                    Source::Pieces if stalls < MOST_STALLS => {
                        self.load_piece(&pack, &blob, &mut stalls).await?
                    }
                    Source::Pieces => {
                        salvaged.cut_short = true;
                        None
                    }
                    Source::Nothing => None,
                };
                let opened = match sealed {
                    Some(sealed) => self.open_blob(blob, sealed.clone()).await.ok().map(|_| sealed),
                    None => None,
                };
                let handle = (blob.blob_type, blob.id);
                match opened {
                    Some(sealed) => {
                        lost.remove(&handle);
                        salvaged.blobs_copied += 1;
                        if let Some(full) = copies.add(&blob, &sealed)? {
                            self.store_copies(full).await?;
                        }
                    }
                    None => drop(lost.insert(handle)),
                }
            }
        }
        salvaged.blobs_lost = lost.len() as u64;
        for last in copies.finish() {
            self.store_copies(last).await?;
        }
        Ok(salvaged)
    }

    /// What lies in these packs and nowhere else.
    fn only_in(&self, packs: &HashSet<FileId>) -> HashMap<FileId, Vec<PackedBlob>> {
        let mut contents: HashMap<FileId, Vec<PackedBlob>> = HashMap::new();
        let index = self.index();
        index.for_each(|BlobLocation { pack, blob }| {
            if packs.contains(&pack) && !index.contains(blob.blob_type, &blob.id) {
                contents.entry(pack).or_default().push(blob);
            }
        });
        contents
    }

    pub(super) async fn look_at(&self, kind: FileKind, id: &FileId) -> Result<Seen, RepositoryError> {
        match self.store.load(kind, id, None).await {
            Ok(bytes) => {
                let named = run_blocking(move || FileId::of(&bytes)).await?;
                Ok(if named == *id { Seen::Intact } else { Seen::Damaged })
            }
            Err(StoreError::NotFound { .. }) => Ok(Seen::Gone),
            // It is listed, and not given out.
            Err(StoreError::Withheld { .. } | StoreError::Corrupt { .. } | StoreError::Io { .. }) => {
                Ok(Seen::Damaged)
            }
            Err(StoreError::Stalled { .. }) => Ok(Seen::Stalled),
            Err(error) => Err(error.into()),
        }
    }

    /// A blob's sealed bytes out of a pack that is not given out as a whole.
    async fn load_piece(
        &self,
        pack: &FileId,
        blob: &PackedBlob,
        stalls: &mut usize,
    ) -> Result<Option<Bytes>, RepositoryError> {
        let start = u64::from(blob.offset);
        let range = start..start + u64::from(blob.length);
        match self.store.load(FileKind::Pack, pack, Some(range)).await {
            Ok(sealed) => Ok(Some(sealed)),
            Err(error) => stop_unless_about_it(error, stalls).map(|()| None),
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
}

pub(super) enum Seen {
    Intact,
    Gone,
    Damaged,
    Stalled,
}

/// Where the content of a damaged pack is read from.
enum Source {
    Whole(Bytes),
    Pieces,
    /// What can be read was copied by an earlier run.
    Nothing,
}

/// Errors that tell nothing about this object end the work; how often it came to a standstill is counted.
fn stop_unless_about_it(error: StoreError, stalls: &mut usize) -> Result<(), RepositoryError> {
    match error {
        StoreError::Stalled { .. } => *stalls += 1,
        StoreError::NotFound { .. }
        | StoreError::Withheld { .. }
        | StoreError::Corrupt { .. }
        | StoreError::Io { .. } => {}
        other => return Err(other.into()),
    }
    Ok(())
}

pub(super) fn packs_of(files: &[(FileKind, FileId)]) -> impl Iterator<Item = FileId> {
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
