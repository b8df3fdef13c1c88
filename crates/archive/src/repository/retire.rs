//! Removing damaged files that were replaced.
//!
//! **The rule: a repair removes nothing that can be read.** A pack goes only if all of its content is known (it has the size that
//! follows from the index, or less), and if each blob of it was read a moment ago out of another pack, one that stays, and
//! opened as what its id says. An index file goes only if it can't be read and every pack in the store is named by another one.
//! Nothing else is ever removed: whatever is not known for certain stays, and is told.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use futures::{StreamExt, stream};

use super::load::load_index_file;
use super::pack::{BlobType, PackedBlob};
use super::repair::{Seen, packs_of};
use super::{
    BlobLocation, FileId, IndexFile, IndexedPack, MOST_BLOBS_PER_FILE, PARALLEL_LOADS, Repository,
    RepositoryError,
};
use crate::id::BlobId;
use crate::store::{FileKind, StoreError};

/// Blobs that lie closer together than this are read at once.
const GAP: u64 = 64 * 1024;
/// Most bytes of one read, but for a single blob.
const MOST_AT_ONCE: u64 = 4 * 1024 * 1024;

/// What came of removing damaged files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retired {
    /// How many damaged packs and index files were replaced and removed.
    pub replaced: usize,
    /// Those that stay, because something in them lies nowhere else or is not known: it is lost, or may be, and a check goes on
    /// telling it.
    pub kept: Vec<(FileKind, FileId)>,
    /// Packs in which a copy was looked for in vain: they are suspects, too.
    pub unsound: Vec<FileId>,
}

type Handle = (BlobType, BlobId);

impl Repository {
    /// Removes damaged files, as [`Repository::salvage`] named them, if that loses nothing that can be read; index files that
    /// name them are written anew before. A holder sets aside what is removed, and keeps it for a while.
    ///
    /// Must not run while another run writes to the archive.
    ///
    /// # Errors
    /// The store fails. What was not replaced yet is still there.
    pub async fn retire(&self, damaged: &[(FileKind, FileId)]) -> Result<Retired, RepositoryError> {
        self.ensure_writable()?;
        let stored: HashMap<FileId, u64> =
            self.store.list(FileKind::Pack).await?.iter().map(|file| (file.id, file.size)).collect();
        let named: HashSet<FileId> = packs_of(damaged).filter(|pack| stored.contains_key(pack)).collect();
        let mut retired = Retired::default();
        let mut packs = self.replaceable(&named, &stored);
        let mut unsound = BTreeSet::new();
        let missing = self.missing_copies(&packs, &named, &stored, &mut unsound).await?;
        packs.retain(|_, blobs| !blobs.iter().any(|blob| missing.contains(&(blob.blob_type, blob.id))));
        let packs: HashSet<FileId> = packs.into_keys().collect();
        let broken: HashSet<FileId> =
            damaged.iter().filter(|(kind, _)| *kind == FileKind::Index).map(|(_, id)| *id).collect();
        if !broken.is_empty() {
            self.index_what_only_these_name(&broken, &stored).await?;
        }
        // What only a damaged index file names has been found by the headers of the packs, if they could all be read.
        let all_known = stored.keys().all(|pack| self.contains_pack(pack));
        retired.unsound = unsound.into_iter().collect();
        retired.kept.extend(named.difference(&packs).map(|id| (FileKind::Pack, *id)));
        if !all_known {
            retired.kept.extend(broken.iter().map(|id| (FileKind::Index, *id)));
        }
        retired.kept.sort_unstable();
        if !packs.is_empty() {
            self.rewrite_indexes(&packs, &broken).await?;
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

    /// Those of the packs whose whole content is known and is said to lie elsewhere, with that content.
    fn replaceable(
        &self,
        named: &HashSet<FileId>,
        stored: &HashMap<FileId, u64>,
    ) -> HashMap<FileId, Vec<PackedBlob>> {
        let index = self.index();
        let mut contents: HashMap<FileId, Vec<PackedBlob>> = HashMap::new();
        index.for_each(|BlobLocation { pack, blob }| {
            if named.contains(&pack) {
                contents.entry(pack).or_default().push(blob);
            }
        });
        contents.retain(|pack, blobs| {
            // One that is longer has something that the index does not name.
            let whole =
                index.size_of(pack).zip(stored.get(pack)).is_some_and(|(known, there)| *there <= known);
            whole && blobs.iter().all(|blob| index.contains(blob.blob_type, &blob.id))
        });
        contents
    }

    /// Reads every blob of these packs out of other ones that stay: gives those that can't be had there.
    async fn missing_copies(
        &self,
        packs: &HashMap<FileId, Vec<PackedBlob>>,
        named: &HashSet<FileId>,
        stored: &HashMap<FileId, u64>,
        unsound: &mut BTreeSet<FileId>,
    ) -> Result<HashSet<Handle>, RepositoryError> {
        let mut wanted: HashSet<Handle> =
            packs.values().flatten().map(|blob| (blob.blob_type, blob.id)).collect();
        // Nearly always the first place is good for all.
        let mut tried: HashSet<(FileId, Handle)> = HashSet::new();
        loop {
            let mut places: BTreeMap<FileId, Vec<PackedBlob>> = BTreeMap::new();
            for handle in &wanted {
                let copies = self.locate(handle.0, &handle.1).into_iter();
                let mut copies =
                    copies.filter(|copy| !named.contains(&copy.pack) && stored.contains_key(&copy.pack));
                let copy = copies
                    .find(|copy| !self.index().is_lost(&copy.pack) && tried.insert((copy.pack, *handle)));
                if let Some(BlobLocation { pack, blob }) = copy {
                    places.entry(pack).or_default().push(blob);
                }
            }
            if places.is_empty() {
                return Ok(wanted);
            }
            let batches = places
                .into_iter()
                .flat_map(|(pack, blobs)| batches(blobs).into_iter().map(move |batch| (pack, batch)));
            let mut reads = stream::iter(batches)
                .map(|(pack, batch)| async move {
                    let read = self.load_pack_blobs(&pack, &batch).await;
                    (pack, batch, read)
                })
                .buffer_unordered(PARALLEL_LOADS);
            while let Some((pack, batch, read)) = reads.next().await {
                let read = match read {
                    Ok(read) => read,
                    Err(RepositoryError::Store(error)) if !error.is_about_the_object() => {
                        return Err(error.into());
                    }
                    Err(error) if !error.concerns_one_object() => return Err(error),
                    Err(_) => Vec::new(),
                };
                let good = batch.iter().zip(&read).filter(|(_, content)| content.is_ok());
                let mut found = 0;
                for (blob, _) in good {
                    found += 1;
                    wanted.remove(&(blob.blob_type, blob.id));
                }
                if found < batch.len() {
                    unsound.insert(pack);
                }
            }
        }
    }

    /// What an index file says that could be read when the repository was opened, and can't be any more, is written down again.
    async fn index_what_only_these_name(
        &self,
        broken: &HashSet<FileId>,
        stored: &HashMap<FileId, u64>,
    ) -> Result<(), RepositoryError> {
        let mut named = HashSet::new();
        for listed in self.store.list(FileKind::Index).await? {
            if !broken.contains(&listed.id)
                && let Some(file) = self.load_index_if_ours(listed.id).await?
            {
                named.extend(file.packs.iter().map(|pack| pack.id));
            }
        }
        let mut lacking: BTreeMap<FileId, Vec<PackedBlob>> = BTreeMap::new();
        self.for_each_blob(|BlobLocation { pack, blob }| {
            if stored.contains_key(&pack) && !named.contains(&pack) {
                lacking.entry(pack).or_default().push(blob);
            }
        });
        let (mut file, mut count) = (IndexFile::default(), 0);
        for (pack, blobs) in lacking {
            count += blobs.len();
            file.packs.push(IndexedPack::new(pack, &blobs));
            if count >= MOST_BLOBS_PER_FILE {
                count = 0;
                self.save_index(std::mem::take(&mut file)).await?;
            }
        }
        if !file.packs.is_empty() {
            self.save_index(file).await?;
        }
        Ok(())
    }

    /// An index file; none if it is gone, or was never one that our key opens.
    async fn load_index_if_ours(&self, id: FileId) -> Result<Option<IndexFile>, RepositoryError> {
        match load_index_file(&self.store, self.key(), id).await {
            Ok(file) => Ok(Some(file)),
            Err(RepositoryError::Store(StoreError::NotFound { .. })) => Ok(None),
            Err(error @ RepositoryError::Damaged { .. }) => match self.look_at(FileKind::Index, &id).await? {
                Seen::Intact | Seen::Gone => Ok(None),
                Seen::Damaged | Seen::Stalled => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// Writes index files anew that name these packs, without them. The new one is durable before the old one goes. Those in
    /// `broken` can't be read; as long as any other can't, no pack may go that it could name.
    async fn rewrite_indexes(
        &self,
        packs: &HashSet<FileId>,
        broken: &HashSet<FileId>,
    ) -> Result<(), RepositoryError> {
        for listed in self.store.list(FileKind::Index).await? {
            if broken.contains(&listed.id) {
                continue;
            }
            let Some(mut file) = self.load_index_if_ours(listed.id).await? else { continue };
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

/// Blobs of one pack in groups that are read at once.
fn batches(mut blobs: Vec<PackedBlob>) -> Vec<Vec<PackedBlob>> {
    blobs.sort_unstable_by_key(|blob| (blob.offset, blob.id));
    let mut batches: Vec<Vec<PackedBlob>> = Vec::new();
    let (mut start, mut end) = (0, 0);
    for blob in blobs {
        let (from, to) = (u64::from(blob.offset), u64::from(blob.offset) + u64::from(blob.length));
        match batches.last_mut() {
            Some(batch) if from <= end + GAP && to - start <= MOST_AT_ONCE => batch.push(blob),
            _ => {
                start = from;
                batches.push(vec![blob]);
            }
        }
        end = to;
    }
    batches
}
