//! Says what a comparison found, for people and for programs.

use std::collections::BTreeSet;

use jiff::Timestamp;
use kith_archive::SnapshotId;
use kith_control::view::{ArchiveVerdict, ArchiveView, HeadView, KnownSnapshotView};
use kith_control::{Failure, FailureKind};

use super::known::{Known, Made};

/// Snapshots named in one sentence.
const MOST_NAMED: usize = 5;
/// Snapshots listed in a view.
const MOST_LISTED: usize = 100;

/// The failure of the last comparison, if it is one.
pub(in crate::daemon) fn accusation(friend: &str, known: &Known) -> Option<Failure> {
    let last = known.last.as_ref()?;
    let missing = missing(known);
    let count = missing.len() as u64 + last.unnamed;
    let named = || named(&missing, &last.unreadable, last.unnamed);
    let message = match last.verdict {
        ArchiveVerdict::Unknown | ArchiveVerdict::Complete => return None,
        ArchiveVerdict::Emptied if count == 1 => {
            format!("{friend} does not list the one snapshot that he kept for this computer: {}", named())
        }
        ArchiveVerdict::Emptied => {
            format!(
                "{friend} lists none of the {count} snapshots that he kept for this computer: {}",
                named()
            )
        }
        ArchiveVerdict::RolledBack => {
            let there = known.kept.iter().filter(|(id, _)| !last.missing.contains(*id));
            let newest = there.map(|(_, made)| made.time).max().unwrap_or_default();
            format!(
                "{friend} shows the archive of this computer as it was on {}: {} missing: {}",
                time(newest),
                newer(count),
                named()
            )
        }
        ArchiveVerdict::SnapshotsMissing => {
            format!("{friend} does not list {} of this computer any more: {}", snapshots(count), named())
        }
        ArchiveVerdict::Forked => {
            let sequence = known.rival.map_or(0, |rival| rival.head().sequence);
            format!(
                "two different lists of snapshots number {sequence} were signed for the archive at {friend}: a second \
                 installation of this computer, or somebody with its keys, has backed up there; or the home of this \
                 Kith was set back"
            )
        }
    };
    let hint = if last.verdict == ArchiveVerdict::Forked {
        "`kith snapshots` shows what is there; the next `kith backup` signs one list of everything".to_owned()
    } else {
        format!(
            "ask {friend} whether a disk was exchanged or set back; `kith snapshots` shows what can be restored, `kith \
             backup` stores anew what is still here, and `kith friend accept-loss {friend}` ends this message"
        )
    };
    Some(Failure { kind: FailureKind::Failed, message, hint: Some(hint) })
}

/// A note about snapshots that no Kith made.
pub(in crate::daemon) fn foreign_note<'a>(
    friend: &str,
    foreign: impl Iterator<Item = (&'a SnapshotId, &'a Made)>,
) -> Option<String> {
    let foreign: Vec<_> = foreign.collect();
    (!foreign.is_empty()).then(|| {
        format!(
            "the archive at {friend} holds {} that this computer did not make, written by another program with a key \
             of the archive: {}",
            snapshots(foreign.len() as u64),
            named(&foreign, &BTreeSet::new(), 0)
        )
    })
}

/// Those that were missing at the last comparison, the newest first.
pub(super) fn missing(known: &Known) -> Vec<(&SnapshotId, &Made)> {
    let ids = known.last.iter().flat_map(|last| &last.missing);
    let mut missing: Vec<_> = ids.filter_map(|id| known.kept.get_key_value(id)).collect();
    missing.sort_by_key(|(id, made)| std::cmp::Reverse((made.time, **id)));
    missing
}

fn named(list: &[(&SnapshotId, &Made)], unreadable: &BTreeSet<SnapshotId>, unnamed: u64) -> String {
    let mut parts: Vec<String> = list
        .iter()
        .take(MOST_NAMED)
        .map(|(id, made)| {
            let set = made.set.as_deref().map(|set| format!(" ({set})")).unwrap_or_default();
            let unreadable = if unreadable.contains(*id) { " (there, but damaged)" } else { "" };
            format!("{} of {}{set}{unreadable}", id.short(), time(made.time))
        })
        .collect();
    let more = list.len().saturating_sub(MOST_NAMED) as u64;
    if more > 0 {
        parts.push(format!("and {more} more"));
    }
    if unnamed > 0 {
        parts.push(format!("and {unnamed} whose names this computer does not know"));
    }
    parts.join(", ")
}

fn newer(count: u64) -> String {
    if count == 1 { "a newer snapshot is".to_owned() } else { format!("{count} newer snapshots are") }
}

fn snapshots(count: u64) -> String {
    if count == 1 { "a snapshot".to_owned() } else { format!("{count} snapshots") }
}

fn time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// What programs and the app are told.
pub(in crate::daemon) fn view(friend: &str, known: &Known) -> ArchiveView {
    let accusation = accusation(friend, known);
    let list = |list: &mut dyn Iterator<Item = (&SnapshotId, &Made)>| {
        list.take(MOST_LISTED).map(|(id, made)| snapshot_view(id, made)).collect()
    };
    let mut newest: std::collections::BTreeMap<Option<&str>, (&SnapshotId, &Made)> = Default::default();
    for (id, made) in &known.kept {
        let of_set = newest.entry(made.set.as_deref()).or_insert((id, made));
        if (made.time, id) > (of_set.1.time, of_set.0) {
            *of_set = (id, made);
        }
    }
    let missing = missing(known);
    ArchiveView {
        verdict: known.last.as_ref().map_or(ArchiveVerdict::Unknown, |last| last.verdict),
        compared: known.last.as_ref().map(|last| last.time),
        head: known.head.as_ref().map(|head| HeadView {
            sequence: head.head().sequence,
            snapshots: head.head().snapshots,
            time: Timestamp::from_millisecond(head.head().time_ms).unwrap_or_default(),
        }),
        newest: list(&mut newest.into_values()),
        missing_count: missing.len() as u64 + known.last.as_ref().map_or(0, |last| last.unnamed),
        missing: list(&mut missing.into_iter()),
        foreign: list(&mut known.kept.iter().filter(|(_, made)| !made.by_kith)),
        message: accusation.as_ref().map(|failure| failure.message.clone()),
        hint: accusation.and_then(|failure| failure.hint),
    }
}

fn snapshot_view(id: &SnapshotId, made: &Made) -> KnownSnapshotView {
    KnownSnapshotView { id: id.to_string(), time: made.time, set: made.set.clone() }
}
