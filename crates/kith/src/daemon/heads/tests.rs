use std::collections::BTreeMap;

use kith_identity::{Identity, IdentitySeed};
use proptest::prelude::*;

use super::compare::Comparison;
use super::known::{Gone, set_hash};
use super::*;
use crate::daemon::db::Table;

const ARCHIVE: ArchiveId = ArchiveId::from_bytes([7; 16]);

fn identity() -> Identity {
    Identity::from_seed(&IdentitySeed::from_bytes([1; 32])).unwrap()
}

fn id(n: u8) -> SnapshotId {
    SnapshotId::of(&[n])
}

fn at(n: u8) -> Timestamp {
    Timestamp::from_second(1_000_000 + i64::from(n) * 3600).unwrap()
}

fn made(n: u8) -> Made {
    Made { time: at(n), set: Some("docs".into()), by_kith: true }
}

fn listed(ids: impl IntoIterator<Item = u8>) -> Listed {
    ids.into_iter().map(|n| (id(n), at(n))).collect()
}

/// A computer that made these backups, one after the other.
fn backed_up(ids: impl IntoIterator<Item = u8>) -> Known {
    ids.into_iter().fold(Known::default(), |known, n| backed_up_again(known, n, 0))
}

fn backed_up_again(mut known: Known, n: u8, incarnation: u64) -> Known {
    known.kept.insert(id(n), made(n));
    signed(known, incarnation)
}

fn signed(mut known: Known, incarnation: u64) -> Known {
    let head = known.next_head(ARCHIVE, incarnation, at(200));
    known.put_head(SignedHead::sign(head, &identity()));
    known
}

/// What came of a comparison: verdict, missing, unnamed, new.
#[track_caller]
fn check(known: &Known, list: &Listed, verdict: ArchiveVerdict, missing: &[u8], unnamed: u64, new: &[u8]) {
    let ids = |numbers: &[u8]| numbers.iter().map(|n| id(*n)).collect::<BTreeSet<_>>();
    let came = compare(known, list);
    assert_eq!(
        (came.verdict, came.missing, came.unnamed, came.new),
        (verdict, ids(missing), unnamed, ids(new))
    );
}

#[test]
fn what_is_there_and_what_is_not_gets_the_right_name() {
    use ArchiveVerdict::{Complete, Emptied, RolledBack, SnapshotsMissing, Unknown};
    let known = backed_up(1..=4);
    check(&Known::default(), &listed([]), Unknown, &[], 0, &[]);
    check(&Known::default(), &listed([1]), Unknown, &[], 0, &[1]);
    check(&known, &listed(1..=4), Complete, &[], 0, &[]);
    check(&known, &listed(1..=2), RolledBack, &[3, 4], 0, &[]);
    check(&known, &listed([1, 2, 4]), SnapshotsMissing, &[3], 0, &[]);
    check(&known, &listed([2, 3, 4]), SnapshotsMissing, &[1], 0, &[]);
    check(&known, &listed([]), Emptied, &[1, 2, 3, 4], 0, &[]);
    // Something else in the place of what was there is no excuse.
    check(&known, &listed([9]), SnapshotsMissing, &[1, 2, 3, 4], 0, &[9]);
    check(&known, &listed([1, 2, 3, 9]), RolledBack, &[4], 0, &[9]);
}

#[test]
fn a_snapshot_that_no_head_knows_accuses_nobody() {
    check(&backed_up(1..=2), &listed(1..=3), ArchiveVerdict::Complete, &[], 0, &[3]);
    // Made before the first head, by an older Kith.
    check(&Known::default(), &listed(1..=3), ArchiveVerdict::Unknown, &[], 0, &[1, 2, 3]);
}

#[test]
fn what_is_gone_on_purpose_is_not_missing_and_a_lost_one_may_come_back() {
    let mut known = backed_up(1..=4);
    known.kept.remove(&id(1));
    known.gone.insert(id(1), Gone::Removed);
    known.kept.remove(&id(2));
    known.gone.insert(id(2), Gone::Lost);
    let known = signed(known, 0);
    check(&known, &listed(3..=4), ArchiveVerdict::Complete, &[], 0, &[]);
    // Held objects that the holder brought back, or never removed.
    let came = compare(&known, &listed(1..=4));
    assert_eq!((came.verdict, came.new), (ArchiveVerdict::Complete, BTreeSet::new()));
    assert_eq!(came.returned, BTreeSet::from([id(2)]));
}

#[test]
fn a_head_alone_exposes_what_has_no_name_any_more() {
    use ArchiveVerdict::{Complete, Emptied, SnapshotsMissing};
    // All that is left of what was known is the head of four snapshots.
    let mut known = backed_up(1..=4);
    known.whole = false;
    known.kept.clear();
    check(&known, &listed(1..=4), Complete, &[], 0, &[1, 2, 3, 4]);
    assert!(compare(&known, &listed(1..=4)).whole, "the names are known again");
    check(&known, &listed(1..=5), Complete, &[], 0, &[1, 2, 3, 4, 5]);
    check(&known, &listed(1..=3), SnapshotsMissing, &[], 1, &[1, 2, 3]);
    check(&known, &listed([1, 2, 3, 9]), SnapshotsMissing, &[], 1, &[1, 2, 3, 9]);
    check(&known, &listed([]), Emptied, &[], 4, &[]);
    // And of one whose newest snapshots have names.
    let mut known = backed_up(1..=4);
    known.whole = false;
    known.kept.retain(|other, _| *other == id(4) || *other == id(3));
    check(&known, &listed(1..=4), Complete, &[], 0, &[1, 2]);
    check(&known, &listed([1, 3, 4]), SnapshotsMissing, &[], 1, &[1]);
    check(&known, &listed(1..=2), SnapshotsMissing, &[3, 4], 0, &[1, 2]);
}

#[test]
fn an_accepted_loss_is_not_told_again_and_the_next_head_leaves_it_out() {
    let mut known = backed_up(1..=4);
    let came = compare(&known, &listed(1..=2));
    let Comparison { verdict, missing, unnamed, .. } = came;
    let unreadable = BTreeSet::from([id(4)]);
    known.last = Some(Last { time: at(100), verdict, missing, unreadable, unnamed });
    let accused = words::accusation("bert", &known).unwrap();
    for part in [
        "bert",
        "2 newer snapshots are missing",
        &id(3).short(),
        &id(4).short(),
        "docs) (there, but damaged)",
    ] {
        assert!(accused.message.contains(part), "{}", accused.message);
    }
    assert!(accused.hint.unwrap().contains("kith friend accept-loss bert"));
    known.accept_loss();
    let known = signed(known, 0);
    assert!(words::accusation("bert", &known).is_none());
    assert_eq!(known.head.unwrap().head().snapshots, 2);
    check(&known, &listed(1..=2), ArchiveVerdict::Complete, &[], 0, &[]);
    check(&known, &listed(1..=1), ArchiveVerdict::RolledBack, &[2], 0, &[]);
}

#[test]
fn two_heads_of_one_installation_and_sequence_are_a_fork_until_the_next_backup() {
    let base = backed_up(1..=2);
    let (mut here, there) = (backed_up_again(base.clone(), 3, 0), backed_up_again(base, 4, 0));
    let mut other_way = there.clone();
    other_way.merge(&here);
    here.merge(&there);
    assert_eq!((here.head, here.rival), (other_way.head, other_way.rival), "both sides agree");
    check(&here, &listed(1..=4), ArchiveVerdict::Forked, &[], 0, &[]);
    check(&here, &listed(1..=3), ArchiveVerdict::RolledBack, &[4], 0, &[]);
    let mended = backed_up_again(here, 5, 0);
    assert_eq!(mended.head.unwrap().head().sequence, 4);
    check(&mended, &listed(1..=5), ArchiveVerdict::Complete, &[], 0, &[]);
    // The old copies say nothing new.
    let mut again = mended;
    again.merge(&there);
    assert_eq!(again.rival, None);
}

#[test]
fn a_home_that_was_set_back_and_went_on_is_a_fork_also_with_other_numbers() {
    let base = backed_up(1..=2);
    let lost = backed_up_again(base.clone(), 3, 0);
    let mut went_on = backed_up_again(backed_up_again(base, 4, 0), 5, 0);
    went_on.merge(&lost);
    check(&went_on, &listed(1..=5), ArchiveVerdict::Forked, &[], 0, &[]);
}

#[test]
fn a_recovery_between_two_heads_explains_them() {
    let base = backed_up(1..=2);
    let lost = backed_up_again(base.clone(), 3, 0);
    // Recovered from a friend who had missed the third, backed up, and then the other friend is met.
    let mut recovered = backed_up_again(base, 4, 1);
    recovered.merge(&lost);
    assert_eq!(recovered.rival, None);
    check(&recovered, &listed([1, 2, 4]), ArchiveVerdict::SnapshotsMissing, &[3], 0, &[]);
    check(&recovered, &listed(1..=4), ArchiveVerdict::Complete, &[], 0, &[]);
}

fn told_and_read(known: &Known, most: usize) -> Known {
    let told = Told::of(ARCHIVE, known, most);
    let json = serde_json::to_string(&told).unwrap();
    let told: Told = serde_json::from_str(&json).unwrap();
    told.known(&identity().public_key())
}

#[test]
fn what_is_told_comes_back_and_what_has_no_room_is_still_counted() {
    let mut known = backed_up(1..=9);
    known.kept.insert(id(10), Made { time: at(10), set: None, by_kith: false });
    known.gone.insert(id(11), Gone::Removed);
    known.gone.insert(id(12), Gone::Lost);
    let known = signed(known, 3);
    let read = told_and_read(&known, 100);
    assert_eq!(read, known);
    let cut = told_and_read(&known, 4);
    assert_eq!(cut.kept.keys().collect::<BTreeSet<_>>(), [id(7), id(8), id(9), id(10)].iter().collect());
    assert!(!cut.whole);
    check(&cut, &listed(2..=10), ArchiveVerdict::SnapshotsMissing, &[], 1, &[2, 3, 4, 5, 6]);
    check(&cut, &listed(1..=10), ArchiveVerdict::Complete, &[], 0, &[1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_head_of_another_archive_or_signer_is_not_taken() {
    let known = backed_up(1..=2);
    let told = Told::of(ArchiveId::from_bytes([8; 16]), &known, 9);
    assert_eq!(told.known(&identity().public_key()).head, None, "a head of another archive");
    let other = Identity::from_seed(&IdentitySeed::from_bytes([2; 32])).unwrap();
    assert_eq!(Told::of(ARCHIVE, &known, 9).known(&other.public_key()).head, None, "another signer");
}

/// Eight thousand snapshots with their sets fit into the megabyte that a friend takes.
#[test]
fn the_largest_state_of_the_archives_fits_into_a_state_object() {
    let mut known = Known::default();
    for n in 0..20_000_u32 {
        let made = Made { time: at(0), set: Some(format!("set {}", n % 50)), by_kith: true };
        known.kept.insert(SnapshotId::of(&n.to_be_bytes()), made);
        known.gone.insert(SnapshotId::of(&n.to_le_bytes()), Gone::Lost);
    }
    let told = Told::of(ARCHIVE, &signed(known, 0), told::MOST_TOLD);
    assert!(serde_json::to_vec(&told).unwrap().len() < 600_000);
}

#[tokio::test]
async fn what_is_known_survives_a_reopening_of_the_database() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    let us = identity().public_key();
    let heads = Heads::load(Db::open(&path).unwrap(), &us).await.unwrap();
    let mut wanted = backed_up(1..=3);
    wanted.rival = wanted.head;
    wanted.last = Some(Last {
        time: at(9),
        verdict: ArchiveVerdict::RolledBack,
        missing: BTreeSet::from([id(3)]),
        unreadable: BTreeSet::from([id(3)]),
        unnamed: 1,
    });
    let put = wanted.clone();
    heads.change(ARCHIVE, move |known| *known = put).await.unwrap();
    drop(heads);
    let heads = Heads::load(Db::open(&path).unwrap(), &us).await.unwrap();
    assert_eq!(*heads.of(&ARCHIVE), wanted);
    wanted.accept_loss();
    let put = wanted.clone();
    heads.change(ARCHIVE, move |known| *known = put).await.unwrap();
    let again = Heads::load(Db::open(&path).unwrap(), &us).await.unwrap();
    assert_eq!(*again.of(&ARCHIVE), wanted);
    assert_eq!(again.of(&ARCHIVE).gone, BTreeMap::from([(id(3), Gone::Lost)]));
    // A database that somebody else wrote into can't put heads into our mouth.
    let stranger = Identity::from_seed(&IdentitySeed::from_bytes([2; 32])).unwrap().public_key();
    let foreign = Heads::load(Db::open(&path).unwrap(), &stranger).await.unwrap();
    assert_eq!(foreign.of(&ARCHIVE).head, None);
}

#[tokio::test]
async fn a_comparison_that_comes_to_the_same_is_not_written_again() {
    let directory = tempfile::tempdir().unwrap();
    let db = Db::open(&directory.path().join("state.db")).unwrap();
    let heads = Heads::load(db.clone(), &identity().public_key()).await.unwrap();
    let compared = |seconds: u8| {
        move |known: &mut Known| {
            let verdict = ArchiveVerdict::Complete;
            let (missing, unreadable) = Default::default();
            known.last = Some(Last { time: at(seconds), verdict, missing, unreadable, unnamed: 0 });
        }
    };
    heads.change(ARCHIVE, compared(1)).await.unwrap();
    let written: serde_json::Value = db.get(Table::Heads, &ARCHIVE.to_string()).await.unwrap().unwrap();
    heads.change(ARCHIVE, compared(2)).await.unwrap();
    let again: serde_json::Value = db.get(Table::Heads, &ARCHIVE.to_string()).await.unwrap().unwrap();
    assert_eq!(written, again);
    assert_eq!(heads.of(&ARCHIVE).last.as_ref().unwrap().time, at(2), "the person sees when it was");
}

/// A subset of sixteen numbers.
fn numbers(mask: u16) -> impl Iterator<Item = u8> + Clone {
    (0..16_u8).filter(move |n| mask >> n & 1 == 1)
}

proptest! {
    /// Whatever is kept and whatever is listed: exactly the difference is named, and the verdict is good only if it is
    /// empty.
    #[test]
    fn exactly_what_is_not_listed_is_missing(kept: u16, gone: u16, list: u16) {
        let gone = gone & !kept;
        let mut known = backed_up(numbers(kept));
        known.gone = numbers(gone).map(|n| (id(n), Gone::Removed)).collect();
        let came = compare(&known, &listed(numbers(list)));
        let ids = |mask: u16| numbers(mask).map(id).collect::<BTreeSet<_>>();
        prop_assert_eq!(&came.missing, &ids(kept & !list));
        prop_assert_eq!(&came.new, &ids(list & !kept & !gone));
        prop_assert_eq!(came.unnamed, 0);
        prop_assert_eq!(came.verdict.is_bad(), !came.missing.is_empty());
        prop_assert_eq!(came.verdict == ArchiveVerdict::Emptied, list == 0 && kept != 0);
        if came.verdict == ArchiveVerdict::RolledBack {
            // All that is there of ours is older than all that is missing.
            let newest_there = numbers(kept & list).max().unwrap();
            prop_assert!(numbers(kept & !list).all(|n| n > newest_there));
        }
    }

    /// A head without names: the list is good if and only if all that the head counts is in it, and nothing older was
    /// slipped in.
    #[test]
    fn a_head_without_names_is_enough_to_notice(kept in 1_u16.., list: u16) {
        let mut known = backed_up(numbers(kept));
        known.kept.clear();
        known.whole = false;
        let came = compare(&known, &listed(numbers(list)));
        let oldest = numbers(list).take(kept.count_ones() as usize);
        let good = set_hash(oldest.map(id).collect::<Vec<_>>().iter()) == known.head.unwrap().head().set;
        prop_assert_eq!(came.verdict.is_bad(), !good);
        prop_assert!(list & kept == kept || came.verdict.is_bad(), "an omission was not noticed");
        prop_assert!(list != kept || !came.verdict.is_bad(), "the very set was accused");
    }

    /// Merging knows no order but for forks of the same installation, forgets nothing, and is done when it is done.
    #[test]
    fn merging_copies_of_the_state_forgets_nothing(a in 0_u8..12, b in 0_u8..12, gone: u16) {
        // Two friends who keep the state after so many backups.
        let history = |n: u8| backed_up(0..n);
        let (mut one, mut other) = (history(a), history(b));
        one.gone = numbers(gone & 0xf000).map(|n| (id(n), Gone::Lost)).collect();
        let (first, second) = (one.clone(), other.clone());
        one.merge(&second);
        other.merge(&first);
        prop_assert_eq!(&one.kept, &other.kept);
        prop_assert_eq!(one.head, other.head);
        prop_assert_eq!(&one.gone, &first.gone);
        prop_assert_eq!(one.kept.len(), usize::from(a.max(b)));
        prop_assert_eq!(one.rival, None, "copies of one history are no fork");
        prop_assert!(a.max(b) == 0 || one.whole);
        let again = one.clone();
        one.merge(&second);
        prop_assert_eq!(one, again);
    }

    /// Whatever lies in the base64 of a state object, reading it does not fail.
    #[test]
    fn rubbish_in_a_state_object_is_read_as_nothing(entries in ".{0,200}", gone in ".{0,200}", head in ".{0,50}") {
        let json = serde_json::json!({
            "archive": ARCHIVE, "head": head, "snapshots": [{"set": null, "by_kith": true, "entries": entries}], "gone": gone,
        });
        let told: Told = serde_json::from_value(json).unwrap();
        prop_assert_eq!(told.known(&identity().public_key()).head, None);
    }
}

#[test]
fn names_alone_do_not_take_back_that_a_snapshot_was_damaged() {
    let mut known = backed_up([1, 2, 3]);
    known.last = Some(Last {
        time: at(100),
        verdict: ArchiveVerdict::SnapshotsMissing,
        missing: BTreeSet::from([id(2)]),
        unreadable: BTreeSet::from([id(2)]),
        unnamed: 0,
    });
    // It is listed as before, with a new one beside it.
    let (there, damaged) = known.by_name(&[id(1), id(2), id(3), id(9)]);
    assert_eq!((there.clone(), damaged), (listed([1, 3]), BTreeSet::from([id(2)])));
    check(&known, &there, ArchiveVerdict::SnapshotsMissing, &[2], 0, &[]);
    // It is gone altogether.
    assert_eq!(known.by_name(&[id(1), id(3)]), (listed([1, 3]), BTreeSet::new()));
}
