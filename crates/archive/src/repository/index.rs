//! The index: which blob lies where. On disk JSON files, in memory sorted tables of 48 bytes per blob.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet, hash_map};

use serde::{Deserialize, Serialize};

use super::pack::{BlobType, EMPTY_PACK, PackedBlob};
use crate::id::{BlobId, FileId};

/// An index file has about so many blobs at most (a pack is never split over two files). restic allows 50,000; smaller
/// files need less memory when they are written and read.
pub(crate) const MOST_BLOBS_PER_FILE: usize = 20_000;

/// An index file.
#[derive(Serialize, Deserialize, Default)]
pub(crate) struct IndexFile {
    /// Index files that this one replaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) supersedes: Vec<FileId>,
    pub(crate) packs: Vec<IndexedPack>,
}

/// A pack in an index file.
#[derive(Serialize, Deserialize, Clone)]
pub(crate) struct IndexedPack {
    pub(crate) id: FileId,
    pub(crate) blobs: Vec<IndexedBlob>,
}

/// A blob in an index file.
#[derive(Serialize, Deserialize, Clone)]
pub(crate) struct IndexedBlob {
    id: BlobId,
    #[serde(rename = "type")]
    blob_type: BlobType,
    offset: u32,
    length: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uncompressed_length: Option<u32>,
}

impl IndexedPack {
    pub(crate) fn new(id: FileId, blobs: &[PackedBlob]) -> Self {
        let blobs = blobs
            .iter()
            .map(|blob| IndexedBlob {
                id: blob.id,
                blob_type: blob.blob_type,
                offset: blob.offset,
                length: blob.length,
                uncompressed_length: blob.uncompressed_length,
            })
            .collect();
        Self { id, blobs }
    }

    /// Types and ids of the blobs.
    pub(crate) fn handles(&self) -> impl Iterator<Item = (BlobType, BlobId)> {
        self.blobs.iter().map(|blob| (blob.blob_type, blob.id))
    }
}

/// Where a blob lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobLocation {
    /// The pack.
    pub pack: FileId,
    /// The blob in it.
    pub blob: PackedBlob,
}

impl BlobLocation {
    /// Length of the content.
    #[must_use]
    pub fn content_length(&self) -> u32 {
        let overhead = u32::try_from(crate::crypto::OVERHEAD).unwrap_or(0);
        self.blob.uncompressed_length.unwrap_or_else(|| self.blob.length.saturating_sub(overhead))
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    id: BlobId,
    spot: Spot,
}

impl Entry {
    /// As derived, but the first bytes of the ids, which nearly always decide, are compared as a number.
    fn compare(&self, other: &Self) -> Ordering {
        self.id.leading().cmp(&other.id.leading()).then_with(|| self.cmp(other))
    }
}

/// Where a blob lies, without its id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Spot {
    pack: u32,
    offset: u32,
    length: u32,
    /// 0 if not compressed.
    uncompressed: u32,
}

impl Spot {
    fn blob(&self, blob_type: BlobType, id: &BlobId) -> PackedBlob {
        PackedBlob {
            blob_type,
            id: *id,
            offset: self.offset,
            length: self.length,
            uncompressed_length: (self.uncompressed != 0).then_some(self.uncompressed),
        }
    }
}

/// Packs that the store does not have, or not in the size that the index implies, by their numbers.
#[derive(Default)]
pub(crate) struct Losses {
    packs: HashSet<u32>,
    /// Those with a blob that lies in no other pack.
    needed: HashSet<u32>,
}

impl Losses {
    /// How many packs there are of which something lies nowhere else.
    pub(crate) fn needed_count(&self) -> usize {
        self.needed.len()
    }
}

/// The blobs of one type: what was loaded is sorted, what came later is in a map.
#[derive(Default)]
struct Table {
    sorted: Vec<Entry>,
    recent: HashMap<BlobId, Spot>,
    /// Other places of what is in `recent`. There are few.
    recent_too: HashMap<BlobId, Vec<Spot>>,
}

impl Table {
    fn spots<'a>(&'a self, id: &BlobId) -> impl Iterator<Item = &'a Spot> + use<'a> {
        let (id, leading) = (*id, id.leading());
        let before = |entry: &Entry| match entry.id.leading().cmp(&leading) {
            Ordering::Equal => entry.id < id,
            order => order.is_lt(),
        };
        let first = self.sorted.partition_point(before);
        let sorted = self.sorted[first..].iter().take_while(move |entry| entry.id == id);
        sorted
            .map(|entry| &entry.spot)
            .chain(self.recent.get(&id))
            .chain(self.recent_too.get(&id).into_iter().flatten())
    }

    fn add(&mut self, id: BlobId, spot: Spot) {
        match self.recent.entry(id) {
            hash_map::Entry::Vacant(vacant) => drop(vacant.insert(spot)),
            hash_map::Entry::Occupied(known) if *known.get() == spot => {}
            hash_map::Entry::Occupied(_) => {
                let others = self.recent_too.entry(id).or_default();
                if !others.contains(&spot) {
                    others.push(spot);
                }
            }
        }
    }

    fn all(&self) -> impl Iterator<Item = (&BlobId, &Spot)> {
        let sorted = self.sorted.iter().map(|entry| (&entry.id, &entry.spot));
        let others = self.recent_too.iter().flat_map(|(id, spots)| spots.iter().map(move |spot| (id, spot)));
        sorted.chain(&self.recent).chain(others)
    }
}

/// The whole index of a repository.
#[derive(Default)]
pub(crate) struct Index {
    packs: Vec<FileId>,
    /// For each pack the end of its last blob: nothing beyond it is ever read.
    ends: Vec<u32>,
    /// For each pack the size that follows from its blobs.
    sizes: Vec<u64>,
    /// Packs that the store turned out not to have whole. Their blobs count as not there, but may be tried.
    lost: HashSet<u32>,
    /// Packs whose bytes are not what their names say. They are lost, too, whatever their size, and whenever the index hears
    /// of them: it may know one of them only later, by its header.
    damaged: HashSet<FileId>,
    numbers: HashMap<FileId, u32>,
    data: Table,
    tree: Table,
}

impl Index {
    /// The index from all index files with their names. Files that others replace are left out.
    pub(crate) fn build(files: Vec<(FileId, IndexFile)>) -> Self {
        let superseded: HashSet<FileId> =
            files.iter().flat_map(|(_, file)| file.supersedes.clone()).collect();
        let mut index = Self::default();
        for (name, file) in files {
            if superseded.contains(&name) {
                continue;
            }
            for pack in file.packs {
                let number = index.number(pack.id);
                for blob in &pack.blobs {
                    let spot = index.spot(number, blob);
                    index.table_mut(blob.blob_type).sorted.push(Entry { id: blob.id, spot });
                }
            }
        }
        for table in [&mut index.data, &mut index.tree] {
            table.sorted.sort_unstable_by(Entry::compare);
            table.sorted.dedup();
            table.sorted.shrink_to_fit();
        }
        // Only now: a pack that several index files name has its blobs once.
        let mut sizes = std::mem::take(&mut index.sizes);
        index.for_each_numbered(|number, blob| {
            if let Some(size) = sizes.get_mut(number as usize) {
                *size += blob.span();
            }
        });
        index.sizes = sizes;
        index
    }

    /// Adds a pack that was written or found later.
    pub(crate) fn insert(&mut self, pack: &IndexedPack) {
        let is_new = !self.contains_pack(&pack.id);
        let number = self.number(pack.id);
        for blob in &pack.blobs {
            let spot = self.spot(number, blob);
            self.table_mut(blob.blob_type).add(blob.id, spot);
            if let (true, Some(size)) = (is_new, self.sizes.get_mut(number as usize)) {
                *size += spot.blob(blob.blob_type, &blob.id).span();
            }
        }
    }

    /// Whether a blob lies in a pack that is not known to be lost.
    pub(crate) fn contains(&self, blob_type: BlobType, id: &BlobId) -> bool {
        self.lies_outside(&self.lost, blob_type, id)
    }

    fn lies_outside(&self, packs: &HashSet<u32>, blob_type: BlobType, id: &BlobId) -> bool {
        self.table(blob_type).spots(id).any(|spot| !packs.contains(&spot.pack))
    }

    pub(crate) fn contains_pack(&self, id: &FileId) -> bool {
        self.numbers.contains_key(id)
    }

    /// Every place where a blob lies, those in packs that are lost last.
    pub(crate) fn locate(&self, blob_type: BlobType, id: &BlobId) -> Vec<BlobLocation> {
        let mut spots: Vec<&Spot> = self.table(blob_type).spots(id).collect();
        spots.sort_by_key(|spot| self.lost.contains(&spot.pack));
        spots.into_iter().filter_map(|spot| self.location(blob_type, id, spot)).collect()
    }

    /// The size that a pack must have by what the index says about its blobs.
    pub(crate) fn size_of(&self, pack: &FileId) -> Option<u64> {
        self.sizes.get(*self.numbers.get(pack)? as usize).copied()
    }

    /// Compares the first `known` packs with those that the store has, by name and size.
    pub(crate) fn compare(&self, known: usize, stored: &HashMap<FileId, u64>) -> Losses {
        let wrong = |(id, size): (&FileId, &u64)| *size > EMPTY_PACK && stored.get(id) != Some(size);
        let packs: HashSet<u32> = (0u32..)
            .zip(self.packs.iter().zip(&self.sizes).take(known))
            .filter_map(|(number, pack)| (wrong(pack) || self.damaged.contains(pack.0)).then_some(number))
            .collect();
        let mut needed = HashSet::new();
        if !packs.is_empty() {
            self.for_each_numbered(|number, blob| {
                if packs.contains(&number) && !self.lies_outside(&packs, blob.blob_type, &blob.id) {
                    needed.insert(number);
                }
            });
        }
        Losses { packs, needed }
    }

    /// Remembers which packs are lost.
    pub(crate) fn set_lost(&mut self, losses: Losses) {
        self.lost = losses.packs;
        self.lost.extend(self.damaged.iter().filter_map(|pack| self.numbers.get(pack)));
    }

    /// Remembers which packs are damaged: what lies only in them counts as not there.
    pub(crate) fn set_damaged(&mut self, packs: &HashSet<FileId>) {
        self.damaged.extend(packs);
        self.lost.extend(packs.iter().filter_map(|pack| self.numbers.get(pack)));
    }

    /// Whether a pack is lost or damaged.
    pub(crate) fn is_lost(&self, pack: &FileId) -> bool {
        self.numbers.get(pack).is_some_and(|number| self.lost.contains(number))
    }

    /// The packs of which something lies nowhere else.
    pub(crate) fn needed<'a>(&'a self, losses: &'a Losses) -> impl Iterator<Item = FileId> + use<'a> {
        losses.needed.iter().filter_map(|number| self.packs.get(*number as usize).copied())
    }

    /// The end of the last blob in a pack.
    pub(crate) fn end_of(&self, pack: &FileId) -> Option<u32> {
        self.ends.get(*self.numbers.get(pack)? as usize).copied()
    }

    pub(crate) fn packs(&self) -> &[FileId] {
        &self.packs
    }

    /// Number of blobs.
    pub(crate) fn len(&self) -> usize {
        let tables = [&self.data, &self.tree];
        let others = tables.iter().flat_map(|table| table.recent_too.values()).map(Vec::len).sum::<usize>();
        tables.iter().map(|table| table.sorted.len() + table.recent.len()).sum::<usize>() + others
    }

    /// Every blob.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(BlobLocation)) {
        self.for_each_numbered(|number, blob| {
            if let Some(pack) = self.packs.get(number as usize) {
                visit(BlobLocation { pack: *pack, blob });
            }
        });
    }

    /// Every blob with the number of its pack.
    fn for_each_numbered(&self, mut visit: impl FnMut(u32, PackedBlob)) {
        for blob_type in [BlobType::Data, BlobType::Tree] {
            for (id, spot) in self.table(blob_type).all() {
                visit(spot.pack, spot.blob(blob_type, id));
            }
        }
    }

    fn location(&self, blob_type: BlobType, id: &BlobId, spot: &Spot) -> Option<BlobLocation> {
        Some(BlobLocation { pack: *self.packs.get(spot.pack as usize)?, blob: spot.blob(blob_type, id) })
    }

    fn number(&mut self, pack: FileId) -> u32 {
        let next = u32::try_from(self.packs.len()).unwrap_or(u32::MAX);
        *self.numbers.entry(pack).or_insert_with(|| {
            self.packs.push(pack);
            self.ends.push(0);
            self.sizes.push(EMPTY_PACK);
            if self.damaged.contains(&pack) {
                self.lost.insert(next);
            }
            next
        })
    }

    fn spot(&mut self, pack: u32, blob: &IndexedBlob) -> Spot {
        if let Some(end) = self.ends.get_mut(pack as usize) {
            *end = (*end).max(blob.offset.saturating_add(blob.length));
        }
        Spot {
            pack,
            offset: blob.offset,
            length: blob.length,
            uncompressed: blob.uncompressed_length.unwrap_or(0),
        }
    }

    fn table(&self, blob_type: BlobType) -> &Table {
        match blob_type {
            BlobType::Data => &self.data,
            BlobType::Tree => &self.tree,
        }
    }

    fn table_mut(&mut self, blob_type: BlobType) -> &mut Table {
        match blob_type {
            BlobType::Data => &mut self.data,
            BlobType::Tree => &mut self.tree,
        }
    }
}
