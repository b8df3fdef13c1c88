//! What is known of an archive without asking its holder: the newest head, and the snapshots that were acknowledged.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use kith_archive::{Snapshot, SnapshotId};
use kith_control::view::ArchiveVerdict;
use kith_identity::{Head, SignedHead, SnapshotSetHash};
use serde::{Deserialize, Serialize};

use super::compare::Listed;

/// A snapshot that an archive must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::daemon) struct Made {
    /// When it was made.
    pub(in crate::daemon) time: Timestamp,
    /// Of which set.
    pub(in crate::daemon) set: Option<String>,
    /// Whether a Kith made it; else another program did, with an exported key.
    pub(in crate::daemon) by_kith: bool,
}

impl Made {
    /// What a snapshot says of itself. Whoever can write it has the archive's key: we ourselves, a program that the person
    /// gave the key, or a thief of it. The holder can't.
    pub(in crate::daemon) fn of(snapshot: &Snapshot) -> Self {
        let set = super::set_of(snapshot).map(str::to_owned);
        let by_kith = set.is_some() && snapshot.program_version.starts_with("kith ");
        Self { time: snapshot.time, set, by_kith }
    }
}

/// Why a snapshot need not be there any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::daemon) enum Gone {
    /// The holder lost it, and the person knows.
    Lost,
    /// We removed it.
    Removed,
}

/// What came of the last comparison with what the holder listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::daemon) struct Last {
    /// When.
    pub(in crate::daemon) time: Timestamp,
    /// The verdict.
    pub(in crate::daemon) verdict: ArchiveVerdict,
    /// Known snapshots that were not there.
    pub(in crate::daemon) missing: BTreeSet<SnapshotId>,
    /// Those of them that were listed, and did not open: damaged, or something else in their place.
    #[serde(default)]
    pub(in crate::daemon) unreadable: BTreeSet<SnapshotId>,
    /// How many more the head counts whose ids are not known here.
    pub(in crate::daemon) unnamed: u64,
}

/// Everything known of one archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::daemon) struct Known {
    /// The newest head seen anywhere.
    pub(in crate::daemon) head: Option<SignedHead>,
    /// Another head of an installation like ours that the newest one does not follow from.
    pub(in crate::daemon) rival: Option<SignedHead>,
    /// The ids of all snapshots of the head are among `kept`. After a recovery that need not be so.
    pub(in crate::daemon) whole: bool,
    /// What must be there.
    pub(in crate::daemon) kept: BTreeMap<SnapshotId, Made>,
    /// What need not be there any more.
    pub(in crate::daemon) gone: BTreeMap<SnapshotId, Gone>,
    /// The last comparison.
    pub(in crate::daemon) last: Option<Last>,
}

impl Known {
    /// Whether a snapshot was there and damaged when it was read last.
    pub(in crate::daemon) fn was_unreadable(&self, id: &SnapshotId) -> bool {
        self.last.as_ref().is_some_and(|last| last.unreadable.contains(id))
    }

    /// What a list of names says of the known snapshots when nothing is read: those that are there, and those that were damaged
    /// when they were read, of which that is as true as before.
    pub(in crate::daemon) fn by_name(&self, names: &[SnapshotId]) -> (Listed, BTreeSet<SnapshotId>) {
        let known = names.iter().filter(|id| self.kept.contains_key(*id));
        let (damaged, there): (Vec<&SnapshotId>, Vec<&SnapshotId>) =
            known.partition(|id| self.was_unreadable(id));
        let there = there.into_iter().filter_map(|id| Some((*id, self.kept.get(id)?.time)));
        (there.collect(), damaged.into_iter().copied().collect())
    }

    /// Whether there is anything to compare with.
    pub(in crate::daemon) fn is_blank(&self) -> bool {
        self.head.is_none() && self.kept.is_empty()
    }

    /// The head that says what is known now, to be signed.
    pub(in crate::daemon) fn next_head(
        &self,
        archive: kith_identity::ArchiveId,
        incarnation: u64,
        now: Timestamp,
    ) -> Head {
        let newest = [self.head, self.rival].into_iter().flatten().map(|head| head.head().sequence).max();
        Head {
            archive,
            sequence: newest.unwrap_or(0).saturating_add(1),
            incarnation,
            snapshots: self.kept.len() as u64,
            set: set_hash(self.kept.keys()),
            time_ms: now.as_millisecond(),
        }
    }

    /// Puts a new head of ours in force: it says all that is known.
    pub(in crate::daemon) fn put_head(&mut self, head: SignedHead) {
        self.head = Some(head);
        self.rival = None;
        self.whole = true;
    }

    /// The person knows that what was missing at the last comparison is lost.
    pub(in crate::daemon) fn accept_loss(&mut self) {
        let Some(last) = &mut self.last else { return };
        for id in std::mem::take(&mut last.missing) {
            if self.kept.remove(&id).is_some() {
                self.gone.insert(id, Gone::Lost);
            }
        }
        last.unreadable.clear();
        last.unnamed = 0;
        last.verdict = ArchiveVerdict::Complete;
        self.whole = true;
        self.rival = None;
    }

    /// Takes over what another friend's copy of our state says. The higher head wins; what either side knows of
    /// snapshots is kept, and what is gone on either side is gone.
    pub(in crate::daemon) fn merge(&mut self, other: &Self) {
        let forked = self.is_forked_from(other);
        let others_whole = other.whole && other.head.is_some();
        self.gone.extend(other.gone.iter().map(|(id, gone)| (*id, *gone)));
        for (id, made) in &other.kept {
            self.kept.entry(*id).or_insert_with(|| made.clone());
        }
        let gone = &self.gone;
        self.kept.retain(|id, _| !gone.contains_key(id));
        let (ours, theirs) = (self.head, other.head);
        if rank(theirs.as_ref()) > rank(ours.as_ref()) {
            self.head = theirs;
            self.whole = others_whole || self.knows_all_of(theirs.as_ref());
            if forked {
                self.rival = ours;
            } else if self.rival.is_some() && rank(theirs.as_ref()) > rank(self.rival.as_ref()) {
                // A head that was signed later knew both.
                self.rival = None;
            }
        } else if forked {
            self.rival = theirs;
        }
    }

    /// Two heads of one installation fork if neither can have been signed with the other known: one sequence and two
    /// sets; or the lower one speaks of snapshots that the higher one never heard of.
    fn is_forked_from(&self, other: &Self) -> bool {
        let (Some(ours), Some(theirs)) = (&self.head, &other.head) else { return false };
        let (a, b) = (ours.head(), theirs.head());
        if a.incarnation != b.incarnation {
            return false;
        }
        if a.sequence == b.sequence {
            return a.set != b.set;
        }
        if !self.whole || !other.whole {
            return false;
        }
        let (lower, higher) = if a.sequence < b.sequence { (self, other) } else { (other, self) };
        let unheard = |id: &SnapshotId| !higher.kept.contains_key(id) && !higher.gone.contains_key(id);
        lower.kept.iter().any(|(id, made)| made.by_kith && unheard(id))
    }

    fn knows_all_of(&self, head: Option<&SignedHead>) -> bool {
        head.is_none_or(|head| set_hash(self.kept.keys()) == head.head().set)
    }
}

/// Which of two heads counts.
fn rank(head: Option<&SignedHead>) -> Option<(u64, u64, [u8; 32])> {
    // Of two that fork, everybody takes the same.
    head.map(|head| (head.head().sequence, head.head().incarnation, *head.head().set.as_bytes()))
}

/// The hash of a set of snapshots.
pub(in crate::daemon) fn set_hash<'a>(ids: impl Iterator<Item = &'a SnapshotId>) -> SnapshotSetHash {
    SnapshotSetHash::of(ids.map(SnapshotId::as_bytes))
}
