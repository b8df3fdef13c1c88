//! Compares what a holder lists with what he should. Pure: data in, verdict out.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use kith_archive::SnapshotId;
use kith_control::view::ArchiveVerdict;

use super::known::{Gone, Known, set_hash};

/// What a holder lists and what of it opens with our key, each with the time it says it was made at.
pub(in crate::daemon) type Listed = BTreeMap<SnapshotId, Timestamp>;

/// What came of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::daemon) struct Comparison {
    /// The verdict.
    pub(in crate::daemon) verdict: ArchiveVerdict,
    /// Known snapshots that are not listed.
    pub(in crate::daemon) missing: BTreeSet<SnapshotId>,
    /// How many more the head counts whose ids are not known here.
    pub(in crate::daemon) unnamed: u64,
    /// Listed, and not known yet.
    pub(in crate::daemon) new: BTreeSet<SnapshotId>,
    /// Given up as lost, and there again.
    pub(in crate::daemon) returned: BTreeSet<SnapshotId>,
    /// Whether the ids of all snapshots that the head counts are known after this.
    pub(in crate::daemon) whole: bool,
}

/// Compares. A snapshot that is listed and not known is no accusation: who can't open our archive can't make one.
pub(in crate::daemon) fn compare(known: &Known, listed: &Listed) -> Comparison {
    let missing: BTreeSet<SnapshotId> =
        known.kept.keys().filter(|id| !listed.contains_key(*id)).copied().collect();
    let unknown = |id: &&SnapshotId| !known.kept.contains_key(*id) && !known.gone.contains_key(*id);
    let new: BTreeSet<SnapshotId> = listed.keys().filter(unknown).copied().collect();
    let returned = listed.keys().filter(|id| known.gone.get(*id) == Some(&Gone::Lost)).copied().collect();
    let unnamed = unnamed(known, listed, &new, missing.len() as u64);
    let verdict = verdict(known, listed, &missing, unnamed);
    Comparison { verdict, missing, unnamed, new, returned, whole: known.whole || unnamed == 0 }
}

/// How many snapshots the head counts that are neither known nor among the new ones.
fn unnamed(known: &Known, listed: &Listed, new: &BTreeSet<SnapshotId>, missing: u64) -> u64 {
    let Some(head) = known.head.as_ref().filter(|_| !known.whole).map(|head| head.head()) else { return 0 };
    // The snapshots of the head are those that are known, and the oldest of the new ones; the others came after it.
    let mut by_age: Vec<&SnapshotId> = new.iter().collect();
    by_age.sort_by_key(|id| (listed.get(*id), *id));
    let lacking = head.snapshots.saturating_sub(known.kept.len() as u64);
    let oldest = by_age.into_iter().take(usize::try_from(lacking).unwrap_or(usize::MAX));
    if set_hash(known.kept.keys().chain(oldest)) == head.set {
        return 0;
    }
    let found = listed.len() as u64 + missing;
    // If the number fits, something else stands in the place of at least one.
    head.snapshots.saturating_sub(found).max(1)
}

fn verdict(known: &Known, listed: &Listed, missing: &BTreeSet<SnapshotId>, unnamed: u64) -> ArchiveVerdict {
    if missing.is_empty() && unnamed == 0 {
        return match (known.is_blank(), &known.rival) {
            (true, _) => ArchiveVerdict::Unknown,
            (false, Some(_)) => ArchiveVerdict::Forked,
            (false, None) => ArchiveVerdict::Complete,
        };
    }
    if listed.is_empty() {
        return ArchiveVerdict::Emptied;
    }
    let times = |there: bool| {
        let kept = known.kept.iter().filter(move |(id, _)| missing.contains(*id) != there);
        kept.map(|(_, made)| made.time)
    };
    // Whatever is there is older than whatever is missing: that is how it looked before.
    match (times(true).max(), times(false).min()) {
        (Some(newest_there), Some(oldest_missing)) if newest_there <= oldest_missing && unnamed == 0 => {
            ArchiveVerdict::RolledBack
        }
        _ => ArchiveVerdict::SnapshotsMissing,
    }
}
