//! What the state object says of our archives: heads, and the snapshots behind them, in few bytes.

use std::collections::BTreeMap;

use data_encoding::BASE64_NOPAD;
use jiff::Timestamp;
use kith_archive::SnapshotId;
use kith_identity::{ArchiveId, PublicKey, SignedHead};
use serde::{Deserialize, Serialize};

use super::known::{Gone, Known, Made};

/// Most snapshots of all archives together in a state object, the newest of each: 54 bytes each, and the object may have 1 MiB.
/// What a head counts beyond them is counted, and can't be named.
pub(super) const MOST_TOLD: usize = 8192;
/// Most that are gone.
const MOST_GONE: usize = 2048;
/// An id and a time.
const ENTRY: usize = 32 + 8;

/// One archive.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::daemon) struct Told {
    archive: ArchiveId,
    /// [`SignedHead::to_text`]
    head: Option<String>,
    /// All snapshots of the head are named below.
    #[serde(default)]
    whole: bool,
    #[serde(default)]
    snapshots: Vec<ToldSet>,
    /// Base64 of 33 bytes each: id, and 0 for lost or 1 for removed.
    #[serde(default)]
    gone: String,
}

/// The snapshots of one set.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct ToldSet {
    set: Option<String>,
    by_kith: bool,
    /// Base64 of 40 bytes each: id, and time in milliseconds since 1970-01-01 UTC.
    entries: String,
}

impl Told {
    /// At most `most` snapshots, the newest ones.
    pub(super) fn of(archive: ArchiveId, known: &Known, most: usize) -> Self {
        let mut newest: Vec<(&SnapshotId, &Made)> = known.kept.iter().collect();
        newest.sort_by_key(|(id, made)| (made.time, **id));
        let whole = known.whole && newest.len() <= most;
        let newest = newest.split_off(newest.len().saturating_sub(most));
        let mut sets: BTreeMap<(Option<&str>, bool), Vec<u8>> = BTreeMap::new();
        for (id, made) in newest {
            let entries = sets.entry((made.set.as_deref(), made.by_kith)).or_default();
            entries.extend_from_slice(id.as_bytes());
            entries.extend_from_slice(&made.time.as_millisecond().to_be_bytes());
        }
        let gone = known.gone.iter().rev().take(MOST_GONE);
        let gone: Vec<u8> = gone
            .flat_map(|(id, gone)| id.as_bytes().iter().copied().chain([u8::from(*gone == Gone::Removed)]))
            .collect();
        Self {
            archive,
            head: known.head.as_ref().map(SignedHead::to_text),
            whole,
            snapshots: sets
                .into_iter()
                .map(|((set, by_kith), entries)| ToldSet {
                    set: set.map(str::to_owned),
                    by_kith,
                    entries: BASE64_NOPAD.encode(&entries),
                })
                .collect(),
            gone: BASE64_NOPAD.encode(&gone),
        }
    }

    /// What is known, told as it is told to friends, and what that says.
    pub(in crate::daemon) fn again(&self, known: &Known, us: &PublicKey) -> Known {
        Self::of(self.archive, known, MOST_TOLD).known(us)
    }

    /// Which archive.
    pub(in crate::daemon) const fn archive(&self) -> ArchiveId {
        self.archive
    }

    /// What it says; a head that we did not sign for this archive, and what makes no sense, is left out.
    pub(in crate::daemon) fn known(&self, us: &PublicKey) -> Known {
        let head = self.head.as_ref().and_then(|text| SignedHead::from_text(text, us).ok());
        let head = head.filter(|head| head.head().archive == self.archive);
        let mut kept = BTreeMap::new();
        for told in &self.snapshots {
            let bytes = BASE64_NOPAD.decode(told.entries.as_bytes()).unwrap_or_default();
            for entry in bytes.chunks_exact(ENTRY) {
                let (id, time) = entry.split_at(32);
                let (Ok(id), Ok(time)) = (id.try_into(), time.try_into()) else { continue };
                let Ok(time) = Timestamp::from_millisecond(i64::from_be_bytes(time)) else { continue };
                let made = Made { time, set: told.set.clone(), by_kith: told.by_kith };
                kept.insert(SnapshotId(id), made);
            }
        }
        let bytes = BASE64_NOPAD.decode(self.gone.as_bytes()).unwrap_or_default();
        let gone: BTreeMap<SnapshotId, Gone> = bytes
            .chunks_exact(33)
            .filter_map(|entry| {
                let (id, why) = entry.split_at(32);
                let gone = if why == [1] { Gone::Removed } else { Gone::Lost };
                Some((SnapshotId(id.try_into().ok()?), gone))
            })
            .collect();
        Known { head, rival: None, whole: self.whole, kept, gone, last: None }
    }
}
