//! A pair of computers, what is known to be stored, and one kill after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use e2e::{Computer, Random, differences, need, pair, run, run_with, wait_until};
use sha2::{Digest, Sha256};

use super::rest::ask;
use super::schedule::{Pace, Round, Victim, Work};

/// Where objects lie that belong to no snapshot. Any name serves that is not that of the real archive.
const LOOSE: &str = "00000000000000000000000000000001";
/// Requests of the test at one time.
const HANDS: usize = 3;
/// Longest time for something that goes on by itself after a kill.
const PATIENCE: Duration = Duration::from_secs(60);
/// A backup that begins waits for 10 s for the friend's link, and then says that he is not there.
const AWAY: Duration = Duration::from_secs(8);
/// Between two requests for the same.
const BETWEEN_POSTS: Duration = Duration::from_millis(50);
const KINDS: [&str; 3] = ["snapshots", "index", "data"];

/// A pair of computers: the first one's files lie at the second.
pub(super) struct Stand {
    owner: Computer,
    holder: Computer,
    source: PathBuf,
    /// The archive's directory at the holder, and its name.
    archive: PathBuf,
    name: String,
    /// Every object that was ever seen in its place in the archive, with its size.
    seen: BTreeMap<String, u64>,
    /// Snapshots whose backup ended well.
    snapshots: BTreeSet<String>,
    /// Objects outside of the archive that the owner was told are stored.
    loose: BTreeSet<String>,
    counter: u64,
    /// Backups that had not begun when the holder was killed, and failed because he came back too late for them.
    came_late: usize,
    pace: Pace,
    /// A key file for stock restic, its name and its password.
    restic: Option<(PathBuf, String, String)>,
}

impl Stand {
    /// Two friends, a set, and a first snapshot.
    pub(super) fn new(program: &Path, seed: u64) -> Self {
        let computer = |name: &str| {
            let computer = Computer::new(name, "").of_program(program);
            computer.start();
            computer
        };
        let (owner, holder) = (computer("anna"), computer("bert"));
        pair(&owner, &holder);
        let source = owner.folder("source");
        let mut random = Random::new(seed);
        for number in 0..8 {
            change(&source, number, &mut random);
        }
        owner.kith(&["set", "add", "docs", source.to_str().unwrap(), "--to", "bert"]).ok();
        owner.kith(&["backup"]).ok();
        let archive = holder.archive_of(&owner);
        let name = archive.file_name().unwrap().to_str().unwrap().to_owned();
        let restic = need("restic").then(|| {
            let key = owner.folder("out").join("key");
            let password = owner.kith(&["recovery", "restic-key", "bert", "--out", key.to_str().unwrap()]);
            let name = hex(&std::fs::read(&key).unwrap());
            (key, name, password.ok().to_owned())
        });
        let mut stand = Self {
            owner,
            holder,
            source,
            archive,
            name,
            seen: BTreeMap::new(),
            snapshots: BTreeSet::new(),
            loose: BTreeSet::new(),
            counter: 0,
            came_late: 0,
            pace: Pace::default(),
            restic,
        };
        assert_eq!(stand.post(&format!("/{LOOSE}/?create=true"), None), 200);
        stand.note_snapshots();
        stand
    }

    /// Does the work, kills in the middle of it, and then does what is left to do. Whether something was cut off.
    pub(super) fn play(&mut self, round: &Round, what: &str) -> bool {
        let mut random = Random::new(round.seed);
        let inside = match round.work {
            Work::Backup => self.backup(round, &mut random, what),
            Work::Restore => self.restore(round, &mut random, what),
            Work::Upload => self.upload(round, &mut random),
            Work::Delete => self.delete(round, &mut random, what),
            Work::Undelete => self.undelete(round, what),
            Work::Sweep => self.sweep(round, &mut random, what),
        };
        self.pace.note(round.work, inside);
        inside
    }

    /// Of how many backups so far the holder came back too late, after kills before they had begun.
    pub(super) fn came_late(&self) -> usize {
        self.came_late
    }

    fn kill(&self, victim: Victim) {
        match victim {
            Victim::Owner => self.owner.kill(),
            Victim::Holder | Victim::Restorer => self.holder.kill(),
        }
    }

    fn start(&self, victim: Victim) {
        match victim {
            Victim::Owner => self.owner.start(),
            Victim::Holder | Victim::Restorer => self.holder.start(),
        }
    }

    fn backup(&mut self, round: &Round, random: &mut Random, what: &str) -> bool {
        for _ in 0..2 {
            change(&self.source, random.below(8), random);
        }
        let mut running = spawn(self.owner.command(&["backup"]));
        std::thread::sleep(self.pace.delay(round));
        let inside = running.try_wait().unwrap().is_none();
        let killed = Instant::now();
        self.kill(round.victim);
        let had_begun = round.victim == Victim::Holder && self.has_begun();
        self.start(round.victim);
        self.wait_linked();
        let away = killed.elapsed();
        let (code, said) = finish(running, what);
        if round.victim == Victim::Holder {
            // The friend came back: it went on by itself, if it had begun or he came in time.
            let came_late = !had_begun && away > AWAY && code == 1 && said.contains("is not connected");
            assert!(
                code == 0 || came_late,
                "{what}: {code} after he was away for {away:?}, begun: {had_begun}: {said}"
            );
            self.came_late += usize::from(came_late);
        }
        if code != 0 {
            let again = self.owner.kith(&["backup"]);
            assert_eq!(again.code, 0, "{what}: {again}");
        }
        self.note_snapshots();
        inside
    }

    /// Whether the owner's backup is past its first wait for the link. From then on it waits for its friend until he is back.
    fn has_begun(&self) -> bool {
        let phase = self.owner.job("bert")["progress"]["phase"].take();
        // None: the owner has not heard of it yet, or it is over.
        phase.as_str().is_some_and(|phase| phase != "connecting")
    }

    /// Also the holder has to say so: the owner may not have noticed yet that a link has ended.
    fn wait_linked(&self) {
        wait_until("the link to be up again", PATIENCE, || {
            self.holder.linked("anna") && self.owner.linked("bert")
        });
    }

    /// Every snapshot of which the owner knows is there from now on.
    fn note_snapshots(&mut self) {
        let listed = self.owner.kith(&["snapshots", "--json"]).json();
        let listed: BTreeSet<String> =
            listed.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect();
        assert!(self.snapshots.is_subset(&listed), "of {:?} only {listed:?} are left", self.snapshots);
        self.snapshots = listed;
    }

    fn restore(&mut self, round: &Round, random: &mut Random, what: &str) -> bool {
        let number = self.next();
        let target = self.owner.folder(&format!("restored-{number}"));
        let overwrite = if random.below(2) == 0 { "never" } else { "changed" };
        let args = ["restore", "latest", "--target", target.to_str().unwrap(), "--overwrite", overwrite];
        let mut running = spawn(self.owner.command(&args));
        std::thread::sleep(self.pace.delay(round));
        let inside = running.try_wait().unwrap().is_none();
        let restored = target.join(self.source.strip_prefix("/").unwrap());
        if round.victim == Victim::Restorer {
            running.kill().unwrap();
            running.wait().unwrap();
            assert_whole_files(&self.source, &restored, what);
            // Folders that it made are closed until the end, and `never` changes nothing that exists.
            let again = self.owner.kith(&[&args[..4], &["--overwrite", "changed"]].concat());
            assert_eq!(again.code, 0, "{what}: {again}");
        } else {
            self.kill(round.victim);
            self.start(round.victim);
            let (code, said) = finish(running, what);
            // Once it has begun it goes on; before, it says that there is no daemon.
            if code != 0 {
                assert!(!restored.exists(), "{what}: it did not go on: {said}");
                let again = self.owner.kith(&args);
                assert_eq!(again.code, 0, "{what}: {again}\nbefore that {said}");
            }
        }
        let mut found = differences(&self.source, &restored);
        if round.victim == Victim::Restorer {
            // A killed program can't clear up: unfinished files stay, and their names say what they are.
            found.retain(|line| !line.contains(".kith-restore-"));
        }
        assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
        std::fs::remove_dir_all(target).unwrap();
        inside
    }

    fn next(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    fn upload(&mut self, round: &Round, random: &mut Random) -> bool {
        let objects: Vec<Vec<u8>> = (0..600)
            .map(|_| random.bytes(1 + usize::try_from(random.clone().below(60_000)).unwrap()))
            .collect();
        let stored = Mutex::new(BTreeSet::new());
        let inside = self.with_hands(round, objects.len(), |number| {
            let name = hex(&objects[number]);
            let path = format!("/{LOOSE}/data/{name}");
            let answer = ask(&self.owner, "bert", ("POST", &path), None, &objects[number]);
            if answer.is_ok_and(|answer| answer.status == 200) {
                stored.lock().unwrap().insert(name);
            }
        });
        self.loose.extend(stored.into_inner().unwrap());
        inside
    }

    /// Several hands do pieces of work one after the other until all are done or somebody is killed.
    fn with_hands(&self, round: &Round, pieces: usize, work: impl Fn(usize) + Sync) -> bool {
        let (stop, next) = (AtomicBool::new(false), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..HANDS {
                scope.spawn(|| {
                    while !stop.load(Ordering::SeqCst) {
                        let piece = next.fetch_add(1, Ordering::SeqCst);
                        if piece >= pieces {
                            break;
                        }
                        work(piece);
                    }
                });
            }
            std::thread::sleep(self.pace.delay(round));
            stop.store(true, Ordering::SeqCst);
            self.kill(round.victim);
            let inside = next.load(Ordering::SeqCst) < pieces + HANDS;
            // Those who still wait for the holder get their answer when it is back.
            self.start(round.victim);
            inside
        })
    }

    /// All objects of the archive as the holder has them in their places.
    fn objects(&self) -> Vec<String> {
        let mut objects = Vec::new();
        for kind in KINDS {
            let files = files_below(&self.archive.join(kind));
            objects.extend(
                files.iter().map(|file| format!("{kind}/{}", file.file_name().unwrap().to_str().unwrap())),
            );
        }
        objects
    }

    fn delete(&mut self, round: &Round, random: &mut Random, what: &str) -> bool {
        let before = now() - 1;
        let all = random.below(2) == 0;
        let objects: Vec<String> =
            self.objects().into_iter().filter(|_| all || random.below(3) == 0).collect();
        let gone = Mutex::new(Vec::new());
        let inside = self.with_hands(round, objects.len(), |number| {
            let path = format!("/{}/{}", self.name, objects[number]);
            let answer = ask(&self.owner, "bert", ("DELETE", &path), None, b"");
            if answer.is_ok_and(|answer| answer.status == 200) {
                gone.lock().unwrap().push(objects[number].clone());
            }
        });
        self.assert_held(&gone.into_inner().unwrap(), &objects, what);
        // A deletion that a killed owner had asked for may come after the first time.
        let longest = if round.victim == Victim::Owner { PATIENCE } else { Duration::ZERO };
        self.bring_back(before, &objects, longest, what);
        inside
    }

    /// The held copies, by the names of their objects.
    fn held(&self) -> BTreeMap<String, PathBuf> {
        let held = self.archive.parent().unwrap().join("held").join(&self.name);
        let files = files_below(&held).into_iter();
        files.map(|file| (file.file_name().unwrap().to_str().unwrap()[..64].to_owned(), file)).collect()
    }

    /// What is live and what is held at one moment: after the owner was killed, the holder may still do what he had asked for.
    fn live_and_held(&self, what: &str) -> (BTreeSet<String>, BTreeMap<String, PathBuf>) {
        let begun = Instant::now();
        let live = || self.objects().into_iter().collect::<BTreeSet<_>>();
        let mut before = live();
        loop {
            let held = self.held();
            let after = live();
            if before == after {
                return (after, held);
            }
            assert!(begun.elapsed() < PATIENCE, "{what}: it goes on and on");
            before = after;
        }
    }

    /// What was deleted is held, whole; nothing is in neither place, and nothing in both.
    fn assert_held(&self, gone: &[String], touched: &[String], what: &str) {
        let (live, held) = self.live_and_held(what);
        for object in gone {
            assert!(!live.contains(object), "{what}: {object} was deleted, and is there after the kill");
        }
        for object in touched {
            let copy = held.get(object.split('/').nth(1).unwrap());
            assert!(
                copy.is_some() != live.contains(object),
                "{what}: {object} is in neither place, or in both"
            );
            if let Some(copy) = copy {
                let bytes = std::fs::read(copy).unwrap();
                assert!(object.ends_with(&hex(&bytes)), "{what}: {object} is held with other bytes");
            }
        }
    }

    /// Until nothing of it is held. It is asked for once, and again for so long.
    fn bring_back(&self, before: u64, touched: &[String], longest: Duration, what: &str) {
        let begun = Instant::now();
        loop {
            let status = self.post(&format!("/{}/?undelete", self.name), Some(before));
            assert_eq!(status, 200, "{what}");
            let held = self.held();
            let left = touched.iter().find(|object| held.contains_key(object.split('/').nth(1).unwrap()));
            let Some(left) = left else { return };
            assert!(begun.elapsed() < longest, "{what}: {left} does not come back");
            std::thread::sleep(BETWEEN_POSTS);
        }
    }

    fn undelete(&mut self, round: &Round, what: &str) -> bool {
        let before = now() - 1;
        let objects = self.objects();
        for object in &objects {
            let path = format!("/{}/{object}", self.name);
            assert_eq!(ask(&self.owner, "bert", ("DELETE", &path), None, b"").unwrap().status, 200, "{what}");
        }
        let path = format!("/{}/?undelete", self.name);
        let inside = std::thread::scope(|scope| {
            let undeleting = scope.spawn(|| ask(&self.owner, "bert", ("POST", &path), Some(before), b""));
            std::thread::sleep(self.pace.delay(round));
            let inside = !undeleting.is_finished();
            self.kill(round.victim);
            self.start(round.victim);
            drop(undeleting.join().unwrap());
            inside
        });
        // What is visible can be read: a snapshot comes back after all that it needs.
        let live: BTreeSet<String> = self.objects().into_iter().collect();
        if live.iter().any(|object| object.starts_with("snapshots/")) {
            let missing =
                self.seen.keys().find(|object| !object.starts_with("snapshots/") && !live.contains(*object));
            assert!(missing.is_none(), "{what}: {missing:?} is missing, and a snapshot is there");
        }
        self.bring_back(before, &objects, Duration::ZERO, what);
        inside
    }

    fn sweep(&mut self, round: &Round, random: &mut Random, what: &str) -> bool {
        while self.loose.len() < 150 {
            let bytes = random.bytes(200);
            let name = hex(&bytes);
            let path = format!("/{LOOSE}/data/{name}");
            assert_eq!(
                ask(&self.owner, "bert", ("POST", &path), None, &bytes).unwrap().status,
                200,
                "{what}"
            );
            self.loose.insert(name);
        }
        let doomed: Vec<String> = self.loose.iter().take(120).cloned().collect();
        for name in &doomed {
            let path = format!("/{LOOSE}/data/{name}");
            assert_eq!(ask(&self.owner, "bert", ("DELETE", &path), None, b"").unwrap().status, 200, "{what}");
            self.loose.remove(name);
        }
        let held = self.archive.parent().unwrap().join("held").join(LOOSE);
        let before = files_below(&held).len();
        assert!(before >= doomed.len(), "{what}: {before} of {} are held", doomed.len());
        self.holder.stop();
        // This daemon is told that the window is over at once, and its janitor comes at the start.
        let mut command = self.holder.command(&["daemon"]);
        command.env("KITH_VAULT__HOLD_DAYS", "0");
        let mut janitor = spawn(command);
        std::thread::sleep(self.pace.delay(round));
        janitor.kill().unwrap();
        let (_, said) = finish(janitor, what);
        let left = files_below(&held).len();
        self.holder.start();
        assert!(left <= before, "{what}: {said}");
        0 < left && left < before
    }

    /// One request that has to succeed, as soon as both are linked again.
    fn post(&self, path: &str, as_of: Option<u64>) -> u16 {
        let begun = Instant::now();
        loop {
            let answer = ask(&self.owner, "bert", ("POST", path), as_of, b"");
            match answer {
                Ok(answer) if answer.status < 500 => return answer.status,
                other => assert!(begun.elapsed() < PATIENCE, "POST {path}: {other:?}"),
            }
            std::thread::sleep(BETWEEN_POSTS);
        }
    }

    /// Everything that was ever seen in its place, or that somebody was told is stored, is there and whole.
    pub(super) fn assert_nothing_lost(&mut self, what: &str) {
        self.wait_linked();
        let live: BTreeSet<String> = self.objects().into_iter().collect();
        for object in self.seen.keys() {
            assert!(live.contains(object), "{what}: {object} is gone");
        }
        for object in live {
            let path = self.path_of(&self.archive, &object);
            let size = std::fs::metadata(&path).unwrap().len();
            match self.seen.get(&object) {
                Some(known) => assert_eq!(*known, size, "{what}: {object}"),
                None => {
                    let bytes = std::fs::read(&path).unwrap();
                    assert!(
                        object.ends_with(&hex(&bytes)),
                        "{what}: {object} has other bytes than its name says"
                    );
                    self.seen.insert(object, size);
                }
            }
        }
        let loose = self.archive.with_file_name(LOOSE);
        for name in &self.loose {
            let bytes = std::fs::read(self.path_of(&loose, &format!("data/{name}")));
            assert!(
                bytes.is_ok_and(|bytes| hex(&bytes) == *name),
                "{what}: {name} was acknowledged and is not there"
            );
        }
        self.note_snapshots();
    }

    fn path_of(&self, archive: &Path, object: &str) -> PathBuf {
        match object.split_once('/').unwrap() {
            ("data", name) => archive.join("data").join(&name[..2]).join(name),
            (kind, name) => archive.join(kind).join(name),
        }
    }

    /// Stock restic finds no fault, Kith neither, and everything comes back.
    pub(super) fn assert_sound(&mut self, what: &str) {
        let check = self.owner.kith(&["check", "bert", "--read-data"]);
        assert_eq!(check.code, 0, "{what}: {check}");
        if let Some((key, name, password)) = &self.restic {
            let copy = self.holder.folder("copies").join(&self.name);
            run(Command::new("cp").args(["-r", "--link"]).arg(&self.archive).arg(&copy)).ok();
            std::fs::create_dir(copy.join("keys")).unwrap();
            std::fs::copy(key, copy.join("keys").join(name)).unwrap();
            let mut restic = Command::new("restic");
            restic.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
            restic
                .env("RESTIC_PASSWORD", password)
                .args(["--no-cache", "check", "--read-data", "--repo"])
                .arg(&copy);
            let checked = run_with(&mut restic, b"");
            assert_eq!(checked.code, 0, "{what}: {checked}");
            checked.says(&["no errors were found"]);
            std::fs::remove_dir_all(copy).unwrap();
        }
        let number = self.next();
        let target = self.owner.folder(&format!("sound-{number}"));
        // The newest snapshot may be older than the last change.
        self.owner.kith(&["backup"]).ok();
        self.owner.kith(&["restore", "latest", "--target", target.to_str().unwrap()]).ok();
        let restored = target.join(self.source.strip_prefix("/").unwrap());
        let found = differences(&self.source, &restored);
        assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
        std::fs::remove_dir_all(target).unwrap();
    }
}

/// Every file that has its name has its content.
fn assert_whole_files(source: &Path, restored: &Path, what: &str) {
    for file in files_below(restored) {
        let relative = file.strip_prefix(restored).unwrap();
        if relative.file_name().unwrap().to_str().unwrap().starts_with(".kith-restore-") {
            continue;
        }
        let same = std::fs::read(&file).unwrap() == std::fs::read(source.join(relative)).unwrap();
        assert!(same, "{what}: {} has its name and not its content", relative.display());
    }
}

/// A folder of the source: large and small files, some of which change.
fn change(source: &Path, folder: u64, random: &mut Random) {
    let folder = source.join(format!("folder {folder}"));
    std::fs::create_dir_all(&folder).unwrap();
    let length = usize::try_from(500_000 + random.below(3_000_000)).unwrap();
    std::fs::write(folder.join("large"), random.bytes(length)).unwrap();
    for number in 0..5 {
        let length = usize::try_from(random.below(20_000)).unwrap();
        std::fs::write(folder.join(format!("small {number}")), random.bytes(length)).unwrap();
    }
}

fn spawn(mut command: Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// How a program ended, and what it said. It says little: no pipe fills up meanwhile.
fn finish(mut child: Child, what: &str) -> (i32, String) {
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("{what}: no end after {PATIENCE:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned())
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(path) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&path) else { continue };
        for entry in entries {
            let entry = entry.unwrap();
            match entry.file_type().unwrap().is_dir() {
                true => open.push(entry.path()),
                false => files.push(entry.path()),
            }
        }
    }
    files.sort();
    files
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}
