//! The index: which blob lies where. On disk JSON files, in memory sorted tables of 48 bytes per blob.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::pack::{BlobType, PackedBlob};
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

/// Where a blob lies, without its id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Spot {
    pack: u32,
    offset: u32,
    length: u32,
    /// 0 if not compressed.
    uncompressed: u32,
}

/// The blobs of one type: what was loaded is sorted, what came later is in a map.
#[derive(Default)]
struct Table {
    sorted: Vec<Entry>,
    recent: HashMap<BlobId, Spot>,
}

impl Table {
    fn spots<'a>(&'a self, id: &BlobId) -> impl Iterator<Item = &'a Spot> + use<'a> {
        let id = *id;
        let first = self.sorted.partition_point(|entry| entry.id < id);
        let sorted = self.sorted[first..].iter().take_while(move |entry| entry.id == id);
        sorted.map(|entry| &entry.spot).chain(self.recent.get(&id))
    }
}

/// The whole index of a repository.
#[derive(Default)]
pub(crate) struct Index {
    packs: Vec<FileId>,
    /// For each pack the end of its last blob: nothing beyond it is ever read.
    ends: Vec<u32>,
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
            table.sorted.sort_unstable();
            table.sorted.dedup();
            table.sorted.shrink_to_fit();
        }
        index
    }

    /// Adds a pack that was written or found later.
    pub(crate) fn insert(&mut self, pack: &IndexedPack) {
        let number = self.number(pack.id);
        for blob in &pack.blobs {
            let spot = self.spot(number, blob);
            self.table_mut(blob.blob_type).recent.insert(blob.id, spot);
        }
    }

    pub(crate) fn contains(&self, blob_type: BlobType, id: &BlobId) -> bool {
        self.table(blob_type).spots(id).next().is_some()
    }

    pub(crate) fn contains_pack(&self, id: &FileId) -> bool {
        self.numbers.contains_key(id)
    }

    /// Every place where a blob lies.
    pub(crate) fn locate(&self, blob_type: BlobType, id: &BlobId) -> Vec<BlobLocation> {
        self.table(blob_type).spots(id).filter_map(|spot| self.location(blob_type, id, spot)).collect()
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
        [&self.data, &self.tree].iter().map(|table| table.sorted.len() + table.recent.len()).sum()
    }

    /// Every blob.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(BlobLocation)) {
        for blob_type in [BlobType::Data, BlobType::Tree] {
            let table = self.table(blob_type);
            let sorted = table.sorted.iter().map(|entry| (&entry.id, &entry.spot));
            for (id, spot) in sorted.chain(&table.recent) {
                if let Some(location) = self.location(blob_type, id, spot) {
                    visit(location);
                }
            }
        }
    }

    fn location(&self, blob_type: BlobType, id: &BlobId, spot: &Spot) -> Option<BlobLocation> {
        let blob = PackedBlob {
            blob_type,
            id: *id,
            offset: spot.offset,
            length: spot.length,
            uncompressed_length: (spot.uncompressed != 0).then_some(spot.uncompressed),
        };
        Some(BlobLocation { pack: *self.packs.get(spot.pack as usize)?, blob })
    }

    fn number(&mut self, pack: FileId) -> u32 {
        let next = u32::try_from(self.packs.len()).unwrap_or(u32::MAX);
        *self.numbers.entry(pack).or_insert_with(|| {
            self.packs.push(pack);
            self.ends.push(0);
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
