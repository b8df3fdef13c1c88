//! The scrub finds what the disk has changed, tells it, and changes nothing.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use kith_vault::{Damage, DamagedObject, Haste, Scrubbed};

use crate::simulated::{Call, SimulatedDisk, TestClock};
use crate::support::{Fixture, bytes_of, files, pack_path, sha256};

const BEGIN: u64 = 1_700_000_000_000;
const DAY: u64 = 24 * 60 * 60 * 1000;

impl Fixture {
    async fn store_pack(&self, seed: u64, length: usize) -> String {
        let bytes = bytes_of(seed, length);
        self.post(&pack_path(&bytes), &bytes).await.expect_ok();
        sha256(&bytes)
    }

    fn pack(&self, name: &str) -> PathBuf {
        self.root().join("ALICE/a/data").join(&name[..2]).join(name)
    }

    fn flip(&self, name: &str) {
        let mut bytes = fs::read(self.pack(name)).unwrap();
        bytes[10] ^= 1;
        fs::write(self.pack(name), bytes).unwrap();
    }

    async fn scrub(&self, haste: Haste) -> Scrubbed {
        self.vault().scrub(haste).await.unwrap()
    }

    /// A whole round; gives how many objects were read and what was found.
    async fn round(&self) -> (u64, Vec<DamagedObject>) {
        self.vault().begin_scrub().await.unwrap();
        let (mut objects, mut found) = (0, Vec::new());
        loop {
            let step = self.scrub(Haste::Now).await;
            assert_eq!(step.wait, Duration::ZERO);
            objects += step.objects;
            found.extend(step.found);
            if step.round_ended {
                return (objects, found);
            }
        }
    }

    fn kept(&self) -> Vec<PathBuf> {
        files(&self.archive())
    }

    fn damaged(&self) -> Vec<String> {
        self.vault().damaged(&self.owner).into_iter().map(|object| object.object).collect()
    }
}

#[tokio::test]
async fn a_flipped_bit_is_found_told_remembered_and_forgotten_when_its_owner_has_deleted_it() {
    let clock = TestClock::at(BEGIN);
    let mut f = Fixture::by(&clock).await;
    let packs = [f.store_pack(1, 1000).await, f.store_pack(2, 300_000).await, f.store_pack(3, 1).await];
    f.post(&format!("/a/index/{}", sha256(b"index")), b"index").await.expect_ok();
    f.post(&format!("/a/snapshots/{}", sha256(b"snapshot")), b"snapshot").await.expect_ok();
    assert_eq!(f.round().await, (5, vec![]));
    let before = f.kept();
    f.flip(&packs[1]);
    clock.pass(5000);
    let (objects, found) = f.round().await;
    assert_eq!(objects, 5);
    let expected = DamagedObject {
        owner: f.owner.clone(),
        archive: "a".parse().unwrap(),
        object: format!("data/{}", packs[1]),
        damage: Damage::Changed,
        found: UNIX_EPOCH + Duration::from_millis(BEGIN + 5000),
    };
    assert_eq!(found, std::slice::from_ref(&expected));
    assert_eq!(f.kept(), before, "the scrub moved or removed something");
    // It is told once, and known from then on.
    assert_eq!(f.round().await, (5, vec![]));
    for _ in 0..2 {
        assert_eq!(f.vault().damaged(&f.owner), std::slice::from_ref(&expected));
        assert_eq!(f.vault().damaged_count(&f.owner), 1);
        f.stop();
        f.start(&clock).await;
    }
    // Still given out: part of it may be of use.
    assert_eq!(f.get(&format!("/a/data/{}", packs[1])).await.expect_ok().body.len(), 300_000);
    f.delete(&format!("/a/data/{}", packs[1])).await.expect_ok();
    assert_eq!(f.damaged(), Vec::<String>::new());
    f.stop();
    f.start(&clock).await;
    assert_eq!((f.damaged(), f.round().await.0), (vec![], 4));
}

#[tokio::test]
async fn what_the_disk_does_not_give_out_is_found_and_what_is_all_right_again_is_forgotten() {
    let clock = TestClock::at(BEGIN);
    let f = Fixture::by(&clock).await;
    let (good, bad) = (f.store_pack(1, 1000).await, f.store_pack(2, 1000).await);
    let right = fs::read(f.pack(&bad)).unwrap();
    fs::remove_file(f.pack(&bad)).unwrap();
    std::os::unix::fs::symlink(f.pack(&good), f.pack(&bad)).unwrap();
    let (_, found) = f.round().await;
    assert_eq!(found.iter().map(|found| found.damage).collect::<Vec<_>>(), [Damage::Unreadable]);
    fs::remove_file(f.pack(&bad)).unwrap();
    fs::write(f.pack(&bad), right).unwrap();
    assert_eq!(f.round().await, (2, vec![]));
    assert_eq!(f.damaged(), Vec::<String>::new());
}

#[tokio::test]
async fn a_restart_goes_on_where_it_stopped_and_a_damaged_record_begins_anew() {
    let clock = TestClock::at(BEGIN);
    let mut f = Fixture::by(&clock).await;
    for seed in 0..5 {
        f.store_pack(seed, 8 << 20).await;
    }
    // A step reads 16 MiB: two packs.
    f.vault().begin_scrub().await.unwrap();
    let step = f.scrub(Haste::Now).await;
    assert_eq!((step.objects, step.round_ended), (2, false));
    clock.pass(60_000);
    assert_eq!(f.scrub(Haste::Now).await.objects, 2);
    f.stop();
    f.start(&clock).await;
    assert!(f.vault().scrub_state().under_way);
    let rest = f.scrub(Haste::Now).await;
    assert_eq!((rest.objects, rest.round_ended), (1, true));
    let state = f.vault().scrub_state();
    assert_eq!(
        (state.under_way, state.finished),
        (false, Some(UNIX_EPOCH + Duration::from_millis(BEGIN + 60_000)))
    );
    let record = f.root().join(".kith-vault.scrub");
    let text = fs::read_to_string(&record).unwrap();
    for damage in ["", "scrub 2\n", &text[..text.len() / 2]] {
        f.stop();
        fs::write(&record, damage).unwrap();
        f.start(&clock).await;
        assert_eq!(f.vault().scrub_state().finished, None);
        assert_eq!(f.round().await.0, 5);
    }
}

#[tokio::test]
async fn the_schedule_reads_everything_once_and_waits_for_the_next_round() {
    let clock = TestClock::at(BEGIN);
    let f = Fixture::by(&clock).await;
    for seed in 0..6 {
        f.store_pack(seed, 8 << 20).await;
    }
    f.vault().set_scrub(Some(Duration::from_secs(30 * 24 * 60 * 60)));
    let (mut objects, mut longest) = (0, 0);
    let mut now = 0;
    while now < 30 * DAY - 1 {
        let step = f.scrub(Haste::Scheduled).await;
        objects += step.objects;
        longest = longest.max(step.bytes);
        let wait = (step.wait.as_millis() as u64).clamp(1, 30 * DAY - 1 - now);
        clock.pass(wait);
        now += wait;
    }
    assert_eq!((objects, longest), (6, 16 << 20));
    assert!(!f.vault().scrub_state().under_way);
    clock.pass(1);
    f.scrub(Haste::Scheduled).await;
    assert!(f.vault().scrub_state().under_way, "the next round begins");
    // Switched off, it does nothing.
    f.vault().set_scrub(None);
    clock.pass(100 * DAY);
    assert_eq!(f.scrub(Haste::Scheduled).await.objects, 0);
}

#[tokio::test]
async fn owners_are_told_of_their_own_only_and_two_steps_never_run_at_once() {
    let clock = TestClock::at(BEGIN);
    let f = Fixture::by(&clock).await;
    let mut names = Vec::new();
    for seed in 0..20 {
        names.push(f.store_pack(seed, 1 << 20).await);
    }
    f.flip(&names[7]);
    f.vault().begin_scrub().await.unwrap();
    let steps = futures::future::join_all((0..8).map(|_| f.scrub(Haste::Now))).await;
    let mut objects: u64 = steps.iter().map(|step| step.objects).sum();
    while f.vault().scrub_state().under_way {
        objects += f.scrub(Haste::Now).await.objects;
    }
    assert_eq!(objects, 20, "an object was read twice");
    assert_eq!(f.damaged(), [format!("data/{}", names[7])]);
    let bob = crate::support::owner("BOB");
    assert_eq!((f.vault().damaged(&bob), f.vault().damaged_count(&bob)), (vec![], 0));
}

#[tokio::test]
async fn a_step_is_bounded_by_objects_too_and_rests_for_them() {
    let clock = TestClock::at(BEGIN);
    let f = Fixture::by(&clock).await;
    for seed in 0..150 {
        f.store_pack(seed, 20).await;
    }
    let step = f.scrub(Haste::Scheduled).await;
    assert_eq!((step.objects, step.round_ended), (64, false));
    assert!(step.wait >= Duration::from_secs(1), "{:?}", step.wait);
    f.vault().begin_scrub().await.unwrap();
    let mut steps = 1;
    while !f.scrub(Haste::Now).await.round_ended {
        steps += 1;
    }
    assert_eq!(steps, 3);
}

#[tokio::test]
async fn a_directory_that_can_not_be_read_is_told_and_the_round_is_not_a_whole_one() {
    let clock = TestClock::at(BEGIN);
    let f = Fixture::by(&clock).await;
    let (bad, good) = (f.store_pack(1, 1000).await, f.store_pack(2, 1000).await);
    assert_ne!(bad[..2], good[..2]);
    let shard = f.root().join("ALICE/a/data").join(&bad[..2]);
    let aside = shard.with_extension("aside");
    fs::rename(&shard, &aside).unwrap();
    // What the system says of this is no sign of damage: neither is a mode that somebody forgot.
    fs::write(&shard, "not a directory").unwrap();
    assert_eq!(f.round().await, (1, vec![]));
    let state = f.vault().scrub_state();
    let trouble = state.trouble.clone().unwrap_or_default();
    assert!(trouble.contains(shard.to_str().unwrap()) && trouble.contains("can't be read"), "{trouble}");
    assert_eq!((state.under_way, state.finished), (false, None));
    fs::remove_file(&shard).unwrap();
    fs::rename(&aside, &shard).unwrap();
    assert_eq!(f.round().await, (2, vec![]));
    let state = f.vault().scrub_state();
    assert!(state.trouble.is_none() && state.finished.is_some());
}

#[tokio::test]
async fn what_is_damaged_is_written_down_once_in_a_step() {
    let clock = TestClock::at(BEGIN);
    let mut f = Fixture::closed();
    let disk = SimulatedDisk::new(&f.root());
    f.start_on(disk.clone(), &clock).await;
    f.post("/a/?create=true", b"").await.expect_ok();
    let mut names = Vec::new();
    for seed in 0..60 {
        names.push(f.store_pack(seed, 1000).await);
    }
    names.iter().for_each(|name| f.flip(name));
    let before = disk.position();
    assert_eq!(f.round().await.1.len(), 60);
    let written = |call: &Call| matches!(call, Call::Rename { to, .. } if to.ends_with(".record/damaged"));
    assert_eq!(disk.log()[before..].iter().filter(|call| written(call)).count(), 1);
    assert_eq!(f.damaged().len(), 60);
}
