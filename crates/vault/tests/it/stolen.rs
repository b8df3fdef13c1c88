//! A thief has the owner's keys: whatever the owner may ask for, in any order, while the holder's clock is set by others
//! and the holder restarts and crashes. Random sequences, beside a model of what must be there after each.
//!
//! What is promised: nothing that was there goes before its hold window has passed. As of the moment at which a snapshot
//! was complete, it is seen whole; and undeleting brings all of it back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use kith_vault::{Incarnation, LocalDisk, MAX_STEP, Owner, Vault, VaultError, Writer};
use tempfile::TempDir;

use crate::simulated::TestClock;
use crate::support::{HOLD, bytes_of, fast_directory, open_on, owner, sha256};

/// How many sequences unless `KITH_STOLEN_SEQUENCES` says otherwise.
const SEQUENCES: u64 = 1_000;
/// Steps of one sequence.
const STEPS: u64 = 50;
const BEGIN: u64 = 1_700_000_000_000;
const BLOCK: u64 = 4096;
/// Small, so that it can be filled.
const QUOTA: u64 = 60 * BLOCK;
const KINDS: [&str; 3] = ["data", "index", "snapshots"];
/// Objects that are stored again and again, apart from those of floods.
const SEEDS: u64 = 8;

/// Numbers that look random, the same for the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}

/// An object: its archive, its kind, and what its bytes are made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    archive: char,
    kind: &'static str,
    seed: u64,
}

impl Key {
    fn bytes(self) -> Vec<u8> {
        let place = KINDS.iter().position(|kind| *kind == self.kind).unwrap() as u64;
        bytes_of(self.seed * 3 + place + 1, 40 + (self.seed as usize * 977) % 6000)
    }

    fn path(self) -> String {
        format!("/{}/{}/{}", self.archive, self.kind, sha256(&self.bytes()))
    }

    fn charge(self) -> u64 {
        (self.bytes().len() as u64).max(1).div_ceil(BLOCK) * BLOCK
    }
}

#[derive(Clone, Debug)]
struct HeldObject {
    key: Key,
    arrived: u64,
    deleted: u64,
    hold: u64,
}

/// A snapshot of the owner's, complete at a time, and all that it needs. None of it was deleted longer ago than the window.
#[derive(Clone, Debug)]
struct Snapshot {
    objects: Vec<Key>,
    complete: u64,
    /// Hold time at the first deletion of any of it.
    harmed: Option<u64>,
}

/// What must be there. Knows nothing of files.
#[derive(Clone, Debug, Default)]
struct Model {
    live: BTreeMap<Key, u64>,
    held: Vec<HeldObject>,
    latest_arrival: BTreeMap<char, u64>,
    snapshots: Vec<Snapshot>,
    /// Hold time, and the monotonic time at which it was looked at last.
    hold: u64,
    looked: u64,
    newest: Option<Incarnation>,
}

/// Of two installations the one of the greater number writes, of one number that of the greater id.
fn rank(installation: Incarnation) -> (u64, [u8; 16]) {
    (installation.number(), installation.installation())
}

impl Model {
    fn look(&mut self, monotonic: u64) {
        let step = monotonic.saturating_sub(self.looked);
        self.hold += step.min(MAX_STEP.as_millis() as u64);
        self.looked = monotonic;
    }

    fn used(&self) -> (u64, u64) {
        // Both archives have a config.
        let live: u64 = self.live.keys().map(|key| key.charge()).sum();
        (live + 2 * BLOCK, self.held.iter().map(|held| held.key.charge()).sum())
    }

    fn admits(&self, writer: Option<Incarnation>) -> bool {
        match (writer, self.newest) {
            (Some(writer), Some(newest)) => rank(writer) >= rank(newest),
            _ => true,
        }
    }

    /// The answer to an upload.
    fn store(&mut self, key: Key, now: u64) -> u16 {
        if self.live.contains_key(&key) {
            return 200;
        }
        let (live, held) = self.used();
        let after = live + key.charge();
        if after > QUOTA || after + held > 2 * QUOTA {
            return 507;
        }
        self.live.insert(key, now);
        let latest = self.latest_arrival.entry(key.archive).or_default();
        *latest = now.max(*latest);
        200
    }

    fn delete(&mut self, key: Key, now: u64) -> u16 {
        let Some(arrived) = self.live.remove(&key) else { return 404 };
        let mut deleted = now.max(self.latest_arrival[&key.archive] + 1);
        let hold = self.hold;
        // Held files are told apart by all of their times.
        let same = |deleted: u64, held: &HeldObject| {
            held.key == key && (held.deleted, held.hold, held.arrived) == (deleted, hold, arrived)
        };
        while self.held.iter().any(|held| same(deleted, held)) {
            deleted += 1;
        }
        self.held.push(HeldObject { key, arrived, deleted, hold });
        for snapshot in self.snapshots.iter_mut().filter(|snapshot| snapshot.objects.contains(&key)) {
            snapshot.harmed.get_or_insert(hold);
        }
        200
    }

    /// What is deleted after a time comes back, unless it is there. Of several copies of one object any may.
    fn undelete(&mut self, archive: char, after: u64) -> BTreeSet<Key> {
        let wanted = |held: &HeldObject| held.key.archive == archive && held.deleted > after;
        let keys: BTreeSet<Key> = self.held.iter().filter(|held| wanted(held)).map(|held| held.key).collect();
        keys.into_iter().filter(|key| !self.live.contains_key(key)).collect()
    }

    fn sweep(&mut self) {
        let (now, window) = (self.hold, HOLD.as_millis() as u64);
        self.held.retain(|held| now.saturating_sub(held.hold) < window);
        // What was once deleted longer ago than the window is promised no more, even if the clock falls back in a crash.
        self.snapshots
            .retain(|snapshot| snapshot.harmed.is_none_or(|hold| now.saturating_sub(hold) < window));
    }

    /// What is seen as of a time.
    fn view(&self, archive: char, at: u64) -> BTreeSet<Key> {
        let live = self.live.iter().filter(|(_, arrived)| **arrived <= at).map(|(key, _)| *key);
        let held = self.held.iter().filter(|held| held.arrived <= at && at < held.deleted);
        live.chain(held.map(|held| held.key)).filter(|key| key.archive == archive).collect()
    }
}

type Story = Arc<Mutex<Vec<String>>>;

/// A holder with a real vault, and the model beside it.
struct World {
    directory: TempDir,
    clock: Arc<TestClock>,
    monotonic: u64,
    owner: Owner,
    vault: Option<Vault>,
    model: Model,
    chance: Chance,
    writer: Option<Incarnation>,
    flood: u64,
    /// What was done, for whoever has to find out why.
    story: Story,
}

impl World {
    async fn new(seed: u64, story: Story) -> Self {
        let mut world = Self {
            directory: fast_directory(),
            clock: TestClock::at(BEGIN),
            monotonic: 7_000_000,
            owner: owner("ALICE"),
            vault: None,
            model: Model { looked: 7_000_000, ..Model::default() },
            chance: Chance(seed),
            writer: None,
            flood: 1_000,
            story,
        };
        world.start().await;
        for archive in ['a', 'b'] {
            assert_eq!(world.ask("POST", &format!("/{archive}/?create=true"), None, b"").await.0, 200);
            assert_eq!(world.ask("POST", &format!("/{archive}/config"), None, b"config").await.0, 200);
            world.model.latest_arrival.insert(archive, 0);
        }
        world
    }

    fn note(&self, what: impl Into<String>) {
        self.story.lock().unwrap().push(what.into());
    }

    fn vault(&self) -> &Vault {
        self.vault.as_ref().unwrap()
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("vault")
    }

    fn now(&self) -> u64 {
        self.clock.wall_ms()
    }

    async fn start(&mut self) {
        // What was under way when it was closed may still hold it for a moment.
        let vault = loop {
            match open_on(&self.root(), Arc::new(LocalDisk::default()), &self.clock).await {
                Err(VaultError::InUse { .. }) => tokio::task::yield_now().await,
                opened => break opened.unwrap(),
            }
        };
        vault.set_quota(&self.owner, Some(QUOTA));
        vault.set_hold(HOLD);
        self.vault = Some(vault);
        self.model.looked = self.monotonic;
    }

    fn pass(&mut self, milliseconds: u64) {
        self.clock.pass(milliseconds);
        self.monotonic += milliseconds;
    }

    async fn ask(&self, method: &str, path: &str, as_of: Option<u64>, body: &[u8]) -> (u16, Bytes) {
        let mut request = Request::builder().method(method).uri(path).header("content-length", body.len());
        if let Some(at) = as_of {
            request = request.header("kith-as-of", at.to_string());
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body))).unwrap();
        let answer = match self.writer {
            Some(writer) => self.vault().handle_from(&self.owner, writer, request).await,
            None => self.vault().handle(&self.owner, request).await,
        };
        let status = answer.status().as_u16();
        (status, answer.into_body().collect().await.unwrap().to_bytes())
    }

    async fn store(&mut self, key: Key) -> u16 {
        let expected = match self.model.admits(self.writer) {
            true => self.model.store(key, self.now()),
            false => 409,
        };
        let (status, body) = self.ask("POST", &key.path(), None, &key.bytes()).await;
        assert_eq!(status, expected, "storing {key:?}: {body:?}");
        self.pass(1);
        status
    }

    async fn delete(&mut self, key: Key) {
        let expected = match self.model.admits(self.writer) {
            true => {
                self.model.look(self.monotonic);
                self.model.delete(key, self.now())
            }
            false => 409,
        };
        let (status, body) = self.ask("DELETE", &key.path(), None, b"").await;
        assert_eq!(status, expected, "deleting {key:?}: {body:?}");
        self.pass(1);
    }

    async fn undelete(&mut self, archive: char, after: u64) {
        let path = format!("/{archive}/?undelete");
        let (status, body) = self.ask("POST", &path, Some(after), b"").await;
        if !self.model.admits(self.writer) {
            assert_eq!(status, 409, "{body:?}");
            return;
        }
        assert_eq!(status, 200, "{body:?}");
        for key in self.model.undelete(archive, after) {
            // Which of several copies came back is told by what is left.
            let left = self.held_copies(key);
            let copies: Vec<usize> = (0..self.model.held.len())
                .filter(|n| self.model.held[*n].key == key && self.model.held[*n].deleted > after)
                .collect();
            let gone: Vec<usize> = copies
                .into_iter()
                .filter(|n| {
                    let held = &self.model.held[*n];
                    !left.contains(&(held.deleted, held.hold, held.arrived))
                })
                .collect();
            assert_eq!(gone.len(), 1, "of the held copies of {key:?} one comes back");
            let back = self.model.held.remove(gone[0]);
            self.model.live.insert(key, back.arrived);
        }
        self.pass(1);
    }

    /// The times of the held copies of an object, from the names of its files.
    fn held_copies(&self, key: Key) -> BTreeSet<(u64, u64, u64)> {
        let name = sha256(&key.bytes());
        let Ok(entries) = std::fs::read_dir(self.held_directory(key)) else { return BTreeSet::new() };
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let of_it = names.filter(|file| file.starts_with(&name));
        let times = of_it.map(|file| {
            let times: Vec<u64> = file.split('.').skip(1).map(|time| time.parse().unwrap()).collect();
            (times[0], times[1], times[2])
        });
        times.collect()
    }

    fn held_directory(&self, key: Key) -> PathBuf {
        let directory = self.root().join("ALICE/held").join(key.archive.to_string()).join(key.kind);
        if key.kind == "data" { directory.join(&sha256(&key.bytes())[..2]) } else { directory }
    }

    async fn sweep(&mut self) {
        self.model.look(self.monotonic);
        self.model.sweep();
        self.vault().sweep().await.unwrap();
    }

    /// The owner, who knows nothing of the thief, backs up.
    async fn backup(&mut self) {
        let archive = self.chance.of(&['a', 'b']);
        let mut objects = BTreeSet::new();
        for _ in 0..2 + self.chance.below(3) {
            objects.insert(Key { archive, kind: "data", seed: self.chance.below(SEEDS) });
        }
        objects.insert(Key { archive, kind: "index", seed: self.chance.below(SEEDS) });
        objects.insert(Key { archive, kind: "snapshots", seed: self.chance.below(SEEDS) });
        for key in &objects {
            if self.store(*key).await != 200 {
                return;
            }
        }
        // A crash may have left the record of an earlier copy, so that something counts as there before it was; nobody is
        // promised that it stays so.
        let complete = objects.iter().map(|key| modified(&self.live_file(*key))).max().unwrap();
        let objects = objects.into_iter().collect();
        self.model.snapshots.push(Snapshot { objects, complete, harmed: None });
    }

    /// Requests that nobody is granted.
    async fn overreach(&mut self) {
        let archive = self.chance.of(&['a', 'b']);
        let key = Key { archive, kind: self.chance.of(&KINDS), seed: self.chance.below(SEEDS) };
        let held = self.model.held.first().map_or(key, |held| held.key);
        let name = sha256(&held.bytes());
        let bad: [(&str, String, Option<u64>, &[u8]); 12] = [
            ("POST", key.path(), None, b"other bytes than its name says"),
            ("PUT", key.path(), None, b"put"),
            ("POST", key.path(), Some(self.now()), b"in the past"),
            ("DELETE", key.path(), Some(BEGIN), b""),
            ("DELETE", format!("/{archive}/config"), None, b""),
            ("POST", format!("/{archive}/config"), None, b"another config"),
            ("DELETE", format!("/{archive}/"), None, b""),
            ("POST", format!("/{archive}/keys/{name}"), None, b"key"),
            ("DELETE", format!("/held/{}/{}/{name}", held.archive, held.kind), None, b""),
            (
                "DELETE",
                format!("/{archive}/data/../../held/{}/{}/{name}", held.archive, held.kind),
                None,
                b"",
            ),
            ("POST", format!("/{archive}/?undelete"), None, b""),
            ("DELETE", format!("/{archive}/?hold=0"), None, b""),
        ];
        for (method, path, as_of, body) in bad {
            // Bytes that are there already are not read again: nothing is written either.
            let present = method == "POST" && path == key.path() && as_of.is_none();
            let (status, answer) = self.ask(method, &path, as_of, body).await;
            assert!(
                (400..600).contains(&status) && (status != 500 || present),
                "{method} {path} as of {as_of:?}: {status} {answer:?}"
            );
        }
    }

    async fn restart(&mut self, crash: bool) {
        let file = self.root().join(".kith-vault.clock");
        let saved = std::fs::read(&file).ok();
        self.vault = None;
        // It is closed when its mark is gone.
        while self.root().join(".kith-vault.in-use").exists() {
            tokio::task::yield_now().await;
        }
        if crash {
            std::fs::write(self.root().join(".kith-vault.in-use"), b"").unwrap();
            match &saved {
                Some(saved) => std::fs::write(&file, saved).unwrap(),
                None => drop(std::fs::remove_file(&file)),
            }
            // The last lines of the record of arrivals were not synced.
            for archive in ['a', 'b'] {
                let journal = self.root().join(format!("ALICE/.record/{archive}.arrivals"));
                if let Ok(text) = std::fs::read(&journal) {
                    let keep = self.chance.below(text.len() as u64 + 1) as usize;
                    std::fs::write(&journal, &text[..keep]).unwrap();
                }
            }
            // What was deleted from the names is known by the stamps.
            let text = saved.map(|saved| String::from_utf8(saved).unwrap()).unwrap_or_default();
            let line = text.lines().next().and_then(|line| line.strip_prefix("hold ")).map(str::to_owned);
            let saved: u64 = line.map_or(0, |line| line.parse().unwrap());
            let stamps = self.model.held.iter().map(|held| held.hold).max().unwrap_or(0);
            self.model.hold = saved.max(stamps);
            // Where nothing is held any more, the clock falls back behind what was deleted and brought back: a snapshot
            // is promised from its next deletion on.
            for snapshot in &mut self.model.snapshots {
                snapshot.harmed = snapshot.harmed.map(|hold| hold.min(self.model.hold));
            }
        } else if self.model.held.is_empty() {
            // Nothing is held: the clock need not be saved.
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            let line = text.lines().next().and_then(|line| line.strip_prefix("hold "));
            self.model.hold = line.map_or(0, |line| line.parse().unwrap());
        }
        let off = self.chance.below(100_000_000);
        self.pass(off);
        self.start().await;
        self.model_arrivals();
    }

    fn live_file(&self, key: Key) -> PathBuf {
        let (name, archive) = (sha256(&key.bytes()), self.root().join(format!("ALICE/{}", key.archive)));
        match key.kind {
            "data" => archive.join(format!("data/{}/{name}", &name[..2])),
            kind => archive.join(format!("{kind}/{name}")),
        }
    }

    fn held_file_time(&self, held: &HeldObject) -> u64 {
        let HeldObject { key, arrived, deleted, hold } = held;
        let file = format!("{}.{deleted}.{hold}.{arrived}", sha256(&key.bytes()));
        modified(&self.held_directory(*key).join(file))
    }

    /// When things arrived is told by the record and by the times of files; the earlier counts.
    fn model_arrivals(&mut self) {
        let root = self.root();
        let times: BTreeMap<Key, u64> =
            self.model.live.keys().map(|key| (*key, modified(&self.live_file(*key)))).collect();
        for archive in ['a', 'b'] {
            let journal = std::fs::read(root.join(format!("ALICE/.record/{archive}.arrivals")));
            let journal = String::from_utf8(journal.unwrap_or_default()).unwrap();
            let lines: BTreeMap<&str, u64> = journal
                .lines()
                .filter_map(|line| line.split_once(' '))
                .map(|(time, object)| (object, time.parse().unwrap()))
                .collect();
            let held = self.model.held.iter().filter(|held| held.key.archive == archive);
            let mut latest = held.map(|held| held.arrived.max(self.held_file_time(held))).max().unwrap_or(0);
            for (key, arrived) in self.model.live.iter_mut().filter(|(key, _)| key.archive == archive) {
                let name = sha256(&key.bytes());
                let object = format!("{}/{name}", key.kind);
                let modified = times[key];
                *arrived = modified.min(lines.get(&*object).copied().unwrap_or(u64::MAX));
                latest = latest.max(modified);
            }
            // For deletions the latest arrival counts of all that is still there.
            self.model.latest_arrival.insert(archive, latest);
        }
    }

    async fn step(&mut self) {
        let archive = self.chance.of(&['a', 'a', 'b']);
        let kind = self.chance.of(&KINDS);
        let key = Key { archive, kind, seed: self.chance.below(SEEDS) };
        match self.chance.below(100) {
            0..14 => {
                self.note(format!("store {key:?}"));
                self.store(key).await;
            }
            14..38 => {
                let there: Vec<Key> = self.model.live.keys().copied().collect();
                let key = if there.is_empty() { key } else { self.chance.of(&there) };
                self.note(format!("delete {key:?}"));
                self.delete(key).await;
            }
            38..41 => {
                self.note(format!("delete all of {archive}"));
                let there: Vec<Key> =
                    self.model.live.keys().copied().filter(|key| key.archive == archive).collect();
                for key in there {
                    self.delete(key).await;
                }
            }
            41..47 => {
                let times: Vec<u64> = self.model.snapshots.iter().map(|snapshot| snapshot.complete).collect();
                let after =
                    if times.is_empty() || self.chance.below(3) == 0 { 0 } else { self.chance.of(&times) };
                self.note(format!("undelete {archive} after {after}"));
                self.undelete(archive, after).await;
            }
            47..50 => {
                self.note("flood");
                for _ in 0..200 {
                    self.flood += 1;
                    if self.store(Key { archive, kind, seed: self.flood }).await != 200 {
                        break;
                    }
                }
            }
            50..54 => {
                let number =
                    self.model.newest.map_or(1, |newest| newest.number() + 1) - self.chance.below(2).min(1);
                let claimed = Incarnation::new(number, [self.chance.below(3) as u8; 16]);
                self.note(format!("claim {claimed:?}"));
                let current = self.vault().writer(&self.owner, claimed).await.unwrap() == Writer::Current;
                let newer = self.model.newest.is_none_or(|newest| rank(claimed) > rank(newest));
                assert_eq!(current, newer || self.model.newest == Some(claimed));
                if newer {
                    self.model.newest = Some(claimed);
                }
                self.writer = self.chance.of(&[Some(claimed), self.model.newest, None]);
            }
            54..58 => {
                self.note("overreach");
                self.overreach().await;
            }
            58..72 => {
                let steps = 1 + self.chance.below(12);
                let each = self.chance.of(&[1_000, 60_000, 200_000, 3_000_000]);
                self.note(format!("{steps} times {each} ms pass"));
                for _ in 0..steps {
                    self.pass(each);
                    self.sweep().await;
                }
            }
            72..79 => {
                let jump = self.chance.of(&[1_000, 3_600_000, 40 * 86_400_000, 800 * 86_400_000]);
                let now = if self.chance.below(2) == 0 { self.now() + jump } else { self.now() - jump };
                self.note(format!("the clock is set to {now}"));
                self.clock.set_wall(now);
            }
            79..84 => {
                let crash = self.chance.below(2) == 0;
                self.note(format!("restart, crash: {crash}"));
                self.restart(crash).await;
            }
            _ => {
                self.note("backup");
                let thief = self.writer.take();
                self.backup().await;
                self.writer = thief;
            }
        }
        self.sweep().await;
    }

    /// Names of an archive as they are listed; each once.
    async fn listed(&self, archive: char, kind: &str, as_of: Option<u64>) -> BTreeSet<String> {
        let (status, body) = self.ask("GET", &format!("/{archive}/{kind}/"), as_of, b"").await;
        assert_eq!(status, 200);
        let names: Vec<String> = serde_json::from_slice(&body).unwrap();
        let set: BTreeSet<String> = names.iter().cloned().collect();
        assert_eq!(set.len(), names.len(), "something is listed twice");
        set
    }

    async fn assert_view(&self, as_of: Option<u64>) {
        for archive in ['a', 'b'] {
            let expected = match as_of {
                Some(at) => self.model.view(archive, at),
                None => self.model.live.keys().copied().filter(|key| key.archive == archive).collect(),
            };
            for kind in KINDS {
                let of_kind = expected.iter().filter(|key| key.kind == kind);
                let expected: BTreeSet<String> = of_kind.map(|key| sha256(&key.bytes())).collect();
                assert_eq!(
                    self.listed(archive, kind, as_of).await,
                    expected,
                    "{archive}/{kind} as of {as_of:?}"
                );
            }
        }
    }

    /// What is there now, and a snapshot of those that are promised.
    async fn assert_some(&mut self) -> usize {
        let usage = self.vault().usage(&self.owner);
        assert_eq!((usage.live_bytes, usage.held_bytes), self.model.used());
        self.assert_view(None).await;
        let promised = self.model.snapshots.clone();
        if !promised.is_empty() {
            let snapshot = &promised[self.chance.below(promised.len() as u64) as usize];
            self.assert_view(Some(snapshot.complete)).await;
            self.assert_whole(snapshot).await;
        }
        promised.len()
    }

    /// As of the time at which it was complete a snapshot is what it was, byte for byte.
    async fn assert_whole(&self, snapshot: &Snapshot) {
        for key in &snapshot.objects {
            let (status, body) = self.ask("GET", &key.path(), Some(snapshot.complete), b"").await;
            let known = || {
                let held: Vec<&HeldObject> = self.model.held.iter().filter(|held| held.key == *key).collect();
                (self.model.live.get(key), held, self.held_copies(*key))
            };
            assert_eq!(status, 200, "{key:?} of {snapshot:?}: {:?} at {}", known(), self.now());
            assert!(body == key.bytes(), "{key:?} has other bytes");
        }
    }

    /// The person brings back everything; each promised snapshot is as if nothing had happened.
    async fn assert_undeleted(&mut self) {
        self.writer = None;
        let promised = self.model.snapshots.clone();
        for archive in ['a', 'b'] {
            self.undelete(archive, 0).await;
        }
        self.assert_view(None).await;
        for key in promised.iter().flat_map(|snapshot| &snapshot.objects) {
            let (status, body) = self.ask("GET", &key.path(), None, b"").await;
            assert!(status == 200 && body == key.bytes(), "{key:?} did not come back: {status}");
        }
    }
}

/// When a file was last changed, in milliseconds since 1970.
fn modified(file: &Path) -> u64 {
    let modified = std::fs::metadata(file).unwrap().modified().unwrap();
    modified.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64
}

/// What a sequence was about, to see that it was about something.
#[derive(Default, Debug)]
struct Seen {
    promised: usize,
    deleted: usize,
    erased: usize,
}

async fn sequence(seed: u64, seen: &mut Seen, story: Story) {
    let mut world = World::new(seed, story).await;
    let mut before = 0;
    for step in 0..STEPS {
        world.step().await;
        let held = world.model.held.len();
        seen.erased += usize::from(held < before);
        before = held;
        if step % 25 == 24 {
            seen.promised += world.assert_some().await;
        }
    }
    seen.deleted += world.model.held.len();
    for snapshot in &world.model.snapshots {
        world.assert_whole(snapshot).await;
    }
    world.assert_undeleted().await;
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

#[test]
fn a_thief_with_the_owners_keys_removes_no_snapshot_inside_the_hold_window() {
    let first = number("KITH_STOLEN_SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        now.as_nanos() as u64 >> 8
    });
    let sequences = number("KITH_STOLEN_SEQUENCES").unwrap_or(SEQUENCES);
    println!("KITH_STOLEN_SEED={first}, {sequences} sequences of {STEPS} steps");
    let threads = 2;
    let seen: Vec<Seen> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || {
                    let mut seen = Seen::default();
                    for seed in (first..first + sequences).filter(|seed| seed % threads == thread) {
                        let story = Story::default();
                        let runtime =
                            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                        let run = std::panic::AssertUnwindSafe(|| {
                            runtime.block_on(sequence(seed, &mut seen, Arc::clone(&story)));
                        });
                        if let Err(panic) = std::panic::catch_unwind(run) {
                            let story = story.lock().unwrap_or_else(PoisonError::into_inner);
                            println!("KITH_STOLEN_SEED={seed} KITH_STOLEN_SEQUENCES=1\n{}", story.join("\n"));
                            std::panic::resume_unwind(panic);
                        }
                        runtime.shutdown_timeout(Duration::from_secs(5));
                    }
                    seen
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    println!("{seen:?}");
    for seen in seen {
        // Each did what it is about: snapshots were kept although much was deleted, and windows did end.
        let each = usize::try_from(sequences / threads).unwrap();
        assert!(seen.promised >= each && seen.deleted >= each && seen.erased >= each / 2, "{seen:?}");
    }
}
