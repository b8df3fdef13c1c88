//! Trees are small and lie next to each other in their packs: reading each one alone would cost a round trip per
//! directory. So a stretch of the pack around the wanted tree is read and kept for a while.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use super::Repository;
use super::index::BlobLocation;
use crate::id::FileId;
use crate::store::{FileKind, StoreError};

/// Length of a stretch.
const STRETCH: u64 = 1024 * 1024;
/// How many stretches are kept.
const KEPT: usize = 8;

/// Recently read stretches of packs with trees, the latest used first. They are sealed as they came from the store.
#[derive(Default)]
pub(super) struct TreeCache {
    stretches: Mutex<VecDeque<Stretch>>,
}

struct Stretch {
    pack: FileId,
    start: u64,
    bytes: Bytes,
}

impl Stretch {
    fn get(&self, location: &BlobLocation) -> Option<Bytes> {
        let offset = u64::from(location.blob.offset).checked_sub(self.start)?;
        let start = usize::try_from(offset).ok()?;
        let end = start.checked_add(location.blob.length as usize)?;
        (self.pack == location.pack && end <= self.bytes.len()).then(|| self.bytes.slice(start..end))
    }
}

impl TreeCache {
    /// The sealed bytes of a tree.
    pub(super) async fn load(
        &self,
        repository: &Repository,
        location: &BlobLocation,
    ) -> Result<Bytes, StoreError> {
        if let Some(found) = self.find(location) {
            return Ok(found);
        }
        let offset = u64::from(location.blob.offset);
        let blob_end = offset + u64::from(location.blob.length);
        let start = offset - offset % STRETCH;
        let pack_end = u64::from(repository.index().end_of(&location.pack).unwrap_or(0));
        let end = (start + STRETCH).min(pack_end).max(blob_end);
        let bytes = match repository.store.load(FileKind::Pack, &location.pack, Some(start..end)).await {
            Ok(bytes) => bytes,
            // A pack that is too short may still have this tree.
            Err(StoreError::Corrupt { .. }) => return repository.load_range(location).await,
            Err(error) => return Err(error),
        };
        let stretch = Stretch { pack: location.pack, start, bytes };
        let Some(found) = stretch.get(location) else { return repository.load_range(location).await };
        let mut stretches = self.stretches.lock().unwrap_or_else(PoisonError::into_inner);
        stretches.push_front(stretch);
        stretches.truncate(KEPT);
        Ok(found)
    }

    fn find(&self, location: &BlobLocation) -> Option<Bytes> {
        let mut stretches = self.stretches.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, found) =
            stretches.iter().enumerate().find_map(|(at, stretch)| Some((at, stretch.get(location)?)))?;
        if let Some(stretch) = stretches.remove(at) {
            stretches.push_front(stretch);
        }
        Some(found)
    }
}
