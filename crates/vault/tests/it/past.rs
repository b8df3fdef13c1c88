//! The archive as it was, and undoing deletions.

use std::time::{Duration, UNIX_EPOCH};

use crate::simulated::TestClock;
use crate::support::{Answer, Fixture, HOLD, QUOTA, bytes_of, files, sha256};

const BEGIN: u64 = 1_700_000_000_000;
const HOUR: u64 = 3_600_000;

/// Somebody copied the vault, later, and did not care for the times of files.
fn copied(directory: &std::path::Path) {
    for file in files(directory) {
        let file = std::fs::File::options().append(true).open(file).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(2_000_000_000)).unwrap();
    }
}

fn object(kind: &str, seed: u64) -> (String, Vec<u8>) {
    let bytes = bytes_of(seed, 500 + seed as usize);
    (format!("/a/{kind}/{}", sha256(&bytes)), bytes)
}

impl Fixture {
    async fn store(&self, kind: &str, seed: u64) {
        let (path, bytes) = object(kind, seed);
        self.post(&path, &bytes).await.expect_ok();
    }

    async fn remove(&self, kind: &str, seed: u64) {
        self.delete(&object(kind, seed).0).await.expect_ok();
    }

    async fn at(&self, time: u64, method: &str, path: &str) -> Answer {
        self.call(method, path, &[("kith-as-of", &time.to_string())], b"").await
    }

    /// The seeds of what is listed, as of a time; each must be there and whole.
    async fn seeds(&self, kind: &str, time: u64) -> Vec<u64> {
        let headers = [("kith-as-of", &*time.to_string()), ("accept", "application/vnd.x.restic.rest.v2")];
        let listed = self.call("GET", &format!("/a/{kind}/"), &headers, b"").await.expect_ok().json();
        let names = self.at(time, "GET", &format!("/a/{kind}/")).await.expect_ok().json();
        let mut seeds = Vec::new();
        for (listed, name) in listed.as_array().unwrap().iter().zip(names.as_array().unwrap()) {
            assert_eq!(listed["name"], *name);
            let seed = (0..100).find(|seed| sha256(&object(kind, *seed).1) == *name).unwrap();
            let (path, bytes) = object(kind, seed);
            assert_eq!(listed["size"], bytes.len());
            assert!(self.at(time, "GET", &path).await.expect_ok().body == bytes);
            let head = self.at(time, "HEAD", &path).await.expect_ok();
            assert_eq!(head.headers["content-length"], bytes.len().to_string());
            seeds.push(seed);
        }
        for seed in 0..10 {
            if !seeds.contains(&seed) {
                self.at(time, "GET", &object(kind, seed).0).await.expect(404, "not-found");
                self.at(time, "HEAD", &object(kind, seed).0).await.expect(404, "not-found");
            }
        }
        seeds.sort_unstable();
        seeds
    }
}

/// A story: what was there when.
async fn story(clock: &TestClock, f: &Fixture) {
    f.post("/a/config", b"config").await.expect_ok();
    for kind in ["data", "index", "snapshots"] {
        for seed in [1, 2] {
            f.store(kind, seed).await;
        }
    }
    clock.pass(HOUR);
    for kind in ["snapshots", "index", "data"] {
        f.remove(kind, 1).await;
        f.store(kind, 3).await;
    }
    clock.pass(HOUR);
    for kind in ["snapshots", "index", "data"] {
        f.store(kind, 1).await;
        f.remove(kind, 2).await;
    }
    clock.pass(HOUR);
    for kind in ["snapshots", "index", "data"] {
        f.remove(kind, 1).await;
        f.remove(kind, 3).await;
    }
}

#[tokio::test]
async fn the_archive_is_seen_as_it_was_at_any_time() {
    let clock = TestClock::at(BEGIN);
    let mut f = Fixture::by(&clock).await;
    story(&clock, &f).await;
    for round in 0..3 {
        for kind in ["data", "index", "snapshots"] {
            assert_eq!(f.seeds(kind, 0).await, [0; 0]);
            assert_eq!(f.seeds(kind, BEGIN - 1).await, [0; 0]);
            assert_eq!(f.seeds(kind, BEGIN).await, [1, 2]);
            assert_eq!(f.seeds(kind, BEGIN + HOUR - 1).await, [1, 2]);
            assert_eq!(f.seeds(kind, BEGIN + HOUR + 10).await, [2, 3]);
            assert_eq!(f.seeds(kind, BEGIN + 2 * HOUR + 10).await, [1, 3]);
            assert_eq!(f.seeds(kind, BEGIN + 3 * HOUR + 10).await, [0; 0]);
            assert_eq!(f.seeds(kind, u64::MAX).await, [0; 0]);
            assert_eq!(f.list(kind).await, []);
        }
        assert_eq!(f.at(BEGIN, "GET", "/a/config").await.expect_ok().body, "config");
        if round == 1 {
            copied(&f.root().join("ALICE"));
        }
        f.stop();
        f.start(&clock).await;
    }
}

#[tokio::test]
async fn parts_of_what_was_deleted_are_served_too() {
    let clock = TestClock::at(BEGIN);
    let f = Fixture::by(&clock).await;
    f.store("data", 7).await;
    clock.pass(10);
    f.remove("data", 7).await;
    let (path, bytes) = object("data", 7);
    let headers = [("kith-as-of", &*BEGIN.to_string()), ("range", "bytes=10-19")];
    let part = f.call("GET", &path, &headers, b"").await;
    assert_eq!((part.status.as_u16(), &part.body[..]), (206, &bytes[10..20]));
    f.get(&path).await.expect(404, "not-found");
}

#[tokio::test]
async fn without_its_record_an_object_arrived_when_its_file_was_last_changed() {
    let clock = TestClock::at(BEGIN);
    let mut f = Fixture::by(&clock).await;
    f.store("snapshots", 1).await;
    clock.pass(HOUR);
    f.store("snapshots", 2).await;
    f.stop();
    // Both say the same; with torn and foreign lines the rest counts.
    let journal = f.root().join("ALICE/.record/a.arrivals");
    let text = std::fs::read_to_string(&journal).unwrap();
    let second = text.rfind('\n').unwrap();
    for damaged in [
        String::new(),
        text[..second + 40].to_owned(),
        format!("{}\n17 snapshots/{}", &text[..50], &text[second..]),
        format!("nonsense\n\n\0{text}\n{}", "x".repeat(5000)),
    ] {
        std::fs::write(&journal, &damaged).unwrap();
        f.start(&clock).await;
        assert_eq!(f.seeds("snapshots", BEGIN).await, [1], "{damaged:?}");
        assert_eq!(f.seeds("snapshots", BEGIN + HOUR).await, [1, 2], "{damaged:?}");
        f.stop();
    }
    // A line after a torn one is whole.
    std::fs::write(&journal, &text[..second + 40]).unwrap();
    f.start(&clock).await;
    clock.pass(HOUR);
    f.store("snapshots", 3).await;
    f.stop();
    copied(&f.root().join("ALICE/a/snapshots"));
    f.start(&clock).await;
    // Of the second one nothing tells any more when it came, but that it came before it was copied.
    assert_eq!(f.seeds("snapshots", BEGIN + HOUR).await, [1]);
    assert_eq!(f.seeds("snapshots", BEGIN + 2 * HOUR).await, [1, 3]);
    assert_eq!(f.seeds("snapshots", u64::MAX).await, [1, 2, 3]);
}

#[tokio::test]
async fn the_past_is_not_written_to_and_shows_no_locks() {
    let clock = TestClock::at(BEGIN);
    let f = Fixture::by(&clock).await;
    f.store("data", 1).await;
    f.store("locks", 1).await;
    let now = BEGIN + HOUR;
    f.at(now, "POST", &object("data", 2).0).await.expect(400, "bad-request");
    f.at(now, "DELETE", &object("data", 1).0).await.expect(400, "bad-request");
    f.at(now, "POST", "/b/?create=true").await.expect(400, "bad-request");
    f.at(now, "POST", "/a/config").await.expect(400, "bad-request");
    assert_eq!(f.at(now, "GET", "/a/locks/").await.expect_ok().body, "[]");
    f.at(now, "HEAD", &object("locks", 1).0).await.expect(404, "not-found");
    f.get(&object("locks", 1).0).await.expect_ok();
    for bad in ["", "-1", "+1", "now", "1.5", "99999999999999999999"] {
        f.call("GET", "/a/data/", &[("kith-as-of", bad)], b"").await.expect(400, "bad-request");
    }
    f.call("GET", "/a/data/", &[("kith-as-of", "1"), ("kith-as-of", "2")], b"")
        .await
        .expect(400, "bad-request");
    f.post("/a/?undelete", b"").await.expect(400, "bad-request");
    f.at(now, "POST", "/b/?undelete").await.expect(404, "not-found");
    // Keys were put there by hand: the past has them as the present.
    std::fs::create_dir(f.archive().join("keys")).unwrap();
    std::fs::write(f.archive().join("keys").join(sha256(b"key")), b"key").unwrap();
    assert_eq!(f.at(1, "GET", &format!("/a/keys/{}", sha256(b"key"))).await.expect_ok().body, "key");
}

#[tokio::test]
async fn everything_deleted_after_a_time_comes_back_once() {
    let clock = TestClock::at(BEGIN);
    let mut f = Fixture::by(&clock).await;
    story(&clock, &f).await;
    let (_, total) = f.usage();
    let answer = f.at(BEGIN + 2 * HOUR - 1, "POST", "/a/?undelete").await.expect_ok();
    assert_eq!(answer.headers["content-type"], "application/json");
    let bytes: usize = [1, 2, 3].map(|seed| 3 * object("data", seed).1.len()).iter().sum();
    let counts = serde_json::json!({"data": 3, "index": 3, "snapshots": 3, "bytes": bytes, "present": 0});
    assert_eq!(answer.json(), counts);
    assert_eq!(f.usage(), (10 * 4096, total - 9 * 4096), "with the config");
    let again = f.at(BEGIN + 2 * HOUR - 1, "POST", "/a/?undelete").await.expect_ok();
    assert_eq!(again.json()["data"], 0);
    // The earlier deletion of the first ones stays held: they are there already.
    let earlier = f.at(0, "POST", "/a/?undelete").await.expect_ok();
    assert_eq!(
        earlier.json(),
        serde_json::json!({"data": 0, "index": 0, "snapshots": 0, "bytes": 0, "present": 3})
    );
    for kind in ["data", "index", "snapshots"] {
        assert_eq!(f.list(kind).await.len(), 3);
        assert_eq!(f.seeds(kind, BEGIN).await, [1, 2], "the past is what it was");
        assert_eq!(f.seeds(kind, u64::MAX).await, [1, 2, 3]);
    }
    let usage = f.usage();
    f.stop();
    f.start(&clock).await;
    assert_eq!(f.usage(), usage, "counting again gives the same");
}

#[tokio::test]
async fn undeleting_needs_no_room_and_makes_none() {
    let clock = TestClock::at(BEGIN);
    let f = Fixture::by(&clock).await;
    f.vault().set_quota(&f.owner, Some(2 * 4096));
    for seed in [1, 2] {
        f.store("data", seed).await;
        f.remove("data", seed).await;
    }
    for seed in [3, 4] {
        f.store("data", seed).await;
    }
    assert_eq!(f.usage(), (2 * 4096, 2 * 4096));
    // Twice the quota is reached; what comes back is there already.
    f.at(BEGIN - 1, "POST", "/a/?undelete").await.expect_ok();
    assert_eq!(f.usage(), (4 * 4096, 0));
    let (path, bytes) = object("data", 5);
    f.post(&path, &bytes).await.expect(507, "quota-exceeded");
    for seed in [1, 2, 3] {
        f.remove("data", seed).await;
    }
    // There would be room in the quota, but what is held is not freed for it.
    let refused = f.post(&path, &bytes).await.expect(507, "quota-exceeded");
    assert!(refused.json()["message"].as_str().unwrap().contains("still held"), "{:?}", refused.body);
    f.vault().set_hold(Duration::ZERO);
    f.vault().sweep().await.unwrap();
    f.post(&path, &bytes).await.expect_ok();
    f.vault().set_quota(&f.owner, Some(QUOTA));
    f.vault().set_hold(HOLD);
}

#[tokio::test]
async fn a_clock_set_back_hides_nothing_for_ever() {
    let clock = TestClock::at(BEGIN);
    let f = Fixture::by(&clock).await;
    f.store("data", 1).await;
    clock.set_wall(BEGIN - 10 * HOUR);
    f.remove("data", 1).await;
    // It had gone just after it came, not before.
    assert_eq!(f.seeds("data", BEGIN).await, [1]);
    f.at(BEGIN, "POST", "/a/?undelete").await.expect_ok();
    assert_eq!(f.list("data").await.len(), 1);
}

#[tokio::test]
async fn the_same_object_deleted_again_and_again_is_seen_in_each_of_its_times() {
    let clock = TestClock::at(BEGIN);
    let f = Fixture::by(&clock).await;
    for _ in 0..5 {
        f.store("index", 1).await;
        clock.pass(100);
        f.remove("index", 1).await;
        clock.pass(100);
    }
    for round in 0..5 {
        assert_eq!(f.seeds("index", BEGIN + 200 * round + 50).await, [1]);
        assert_eq!(f.seeds("index", BEGIN + 200 * round + 150).await, [0; 0]);
    }
    let answer = f.at(BEGIN, "POST", "/a/?undelete").await.expect_ok();
    assert_eq!((&answer.json()["index"], &answer.json()["present"]), (&1.into(), &4.into()));
}

#[tokio::test]
async fn a_long_record_is_written_anew_without_what_is_gone() {
    let clock = TestClock::at(BEGIN);
    let mut f = Fixture::by(&clock).await;
    f.store("snapshots", 1).await;
    f.stop();
    let journal = f.root().join("ALICE/.record/a.arrivals");
    let mut text = std::fs::read_to_string(&journal).unwrap();
    for number in 0..15_000_u32 {
        text += &format!("\n{} data/{}", BEGIN, sha256(&number.to_le_bytes()));
    }
    std::fs::write(&journal, &text).unwrap();
    copied(&f.root().join("ALICE/a/snapshots"));
    f.start(&clock).await;
    f.vault().sweep().await.unwrap();
    assert!(std::fs::metadata(&journal).unwrap().len() < 200);
    clock.pass(HOUR);
    f.store("snapshots", 2).await;
    assert_eq!(f.seeds("snapshots", BEGIN - 1).await, [0; 0], "the record counts, not the file's time");
    assert_eq!(f.seeds("snapshots", BEGIN).await, [1]);
    f.stop();
    f.start(&clock).await;
    assert_eq!(f.seeds("snapshots", BEGIN + HOUR).await, [1, 2]);
    assert_eq!(std::fs::read_to_string(&journal).unwrap().lines().count(), 3);
}

#[tokio::test]
async fn a_record_of_any_length_is_written_anew_with_one_line_for_what_is_there() {
    let clock = TestClock::at(BEGIN);
    let mut f = Fixture::by(&clock).await;
    f.store("snapshots", 1).await;
    f.stop();
    let journal = f.root().join("ALICE/.record/a.arrivals");
    let first = std::fs::read_to_string(&journal).unwrap();
    // More names than are ever kept in memory, and the one that counts again and again.
    let mut text = String::with_capacity(100 << 20);
    for number in 0..1_060_000_u32 {
        text += &format!("\n{BEGIN} data/{number:064x}");
        if number % 10_000 == 0 {
            text += &first;
        }
    }
    std::fs::write(&journal, &text).unwrap();
    f.start(&clock).await;
    f.vault().sweep().await.unwrap();
    assert_eq!(std::fs::read_to_string(&journal).unwrap(), first);
}

#[tokio::test]
async fn deleting_and_bringing_back_again_and_again_does_not_fill_the_disk() {
    let clock = TestClock::at(BEGIN);
    let mut f = Fixture::by(&clock).await;
    f.store("snapshots", 1).await;
    f.stop();
    let journal = f.root().join("ALICE/.record/a.arrivals");
    let line = std::fs::read_to_string(&journal).unwrap();
    // What twenty thousand such rounds leave between two visits of the janitor.
    std::fs::write(&journal, line.repeat(20_000)).unwrap();
    f.start(&clock).await;
    f.at(BEGIN, "POST", "/a/?undelete").await.expect_ok();
    assert_eq!(std::fs::read_to_string(&journal).unwrap(), line);
}
