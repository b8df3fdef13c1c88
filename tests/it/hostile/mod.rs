//! A real owner, over a real link, with a friend who lies: never a wrong byte in a restored file, never a minute without
//! progress, always a message that names the friend and the object.

mod lies;
mod mutations;
mod older;
mod stalls;
mod uploads;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use e2e::hostile::{Answer, Asked, Deed, HostileFriend};
use e2e::{Computer, Outcome, Tree, pair, write_tree};

/// An owner with a backup at a friend, in whose place a liar has stepped.
struct World {
    anna: Computer,
    bert: Computer,
    source: PathBuf,
    liar: HostileFriend,
    /// The packs that hold folders.
    folders: Arc<BTreeSet<String>>,
}

impl World {
    /// With files of every kind, in two snapshots.
    fn new() -> Self {
        Self::with(|source| write_tree(source, Tree { files: 40, largest: 5 << 20, ..Tree::default() }))
    }

    fn with(write: impl FnOnce(&Path)) -> Self {
        let (mut anna, mut bert) = (Computer::started("anna"), Computer::started("bert"));
        pair(&anna, &bert);
        let source = anna.folder("source");
        write(&source);
        anna.kith(&["set", "add", "docs", source.to_str().unwrap(), "--to", "bert"]).ok();
        anna.kith(&["backup"]).ok();
        std::fs::write(source.join("added later"), e2e::Random::new(99).bytes(70_000)).unwrap();
        anna.kith(&["backup"]).ok();
        let liar = HostileFriend::in_the_place_of(&mut bert, &mut anna);
        let mut world = Self { anna, bert, source, liar, folders: Arc::default() };
        // Whoever looks for a name reads all folders and nothing else.
        world.liar.behaves();
        world.anna.kith(&["find", "no such name"]);
        let asked = world.liar.asked();
        world.folders = Arc::new(
            asked.iter().filter(|asked| asked.reads("data")).map(|asked| asked.name().to_owned()).collect(),
        );
        assert!(!world.folders.is_empty() && world.folders.len() < objects(&world.archive(), "data").len());
        world
    }

    fn archive(&self) -> PathBuf {
        self.bert.archive_of(&self.anna)
    }

    /// Whether contents of files are read.
    fn contents(&self) -> impl Fn(&Asked) -> bool + Clone + Send + Sync + 'static {
        let folders = self.folders.clone();
        move |asked| asked.reads("data") && !folders.contains(asked.name())
    }

    /// Whether folders are read.
    fn folders(&self) -> impl Fn(&Asked) -> bool + Clone + Send + Sync + 'static {
        let folders = self.folders.clone();
        move |asked| asked.reads("data") && folders.contains(asked.name())
    }

    /// Restores everything, and requires that no wrong byte came of it.
    #[track_caller]
    fn restore(&self, what: &str) -> Restored {
        // Thousands of files that live for a second: in memory, if there is a place.
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let target = tempfile::Builder::new().prefix("kith-restored-").tempdir_in(place).unwrap();
        let begin = Instant::now();
        let outcome = self.anna.kith(&["restore", "latest", "--target", target.path().to_str().unwrap()]);
        let waited = self.liar.longest_without_progress(begin, Instant::now());
        let found = target.path().join(self.source.strip_prefix("/").unwrap());
        let missing = std::panic::catch_unwind(|| missing(&self.source, &found, what));
        drop(target);
        let missing = missing.unwrap_or_else(|_| panic!("{what}: see above"));
        assert!(outcome.code == 0 || outcome.code == 1, "{what}: {outcome}");
        assert_eq!(outcome.code == 0, missing.is_empty(), "{what}: {missing:?} missing: {outcome}");
        let has_control = |text: &str| text.chars().any(|c| c.is_control() && c != '\n');
        assert!(!has_control(&outcome.stderr) && !has_control(&outcome.stdout), "{what}: {outcome:?}");
        Restored { outcome, missing, waited }
    }
}

struct Restored {
    outcome: Outcome,
    missing: BTreeSet<PathBuf>,
    /// The longest time in which nothing came.
    waited: Duration,
}

/// Kinds of objects, as a message names them.
const OBJECTS: [&str; 6] = ["pack", "index", "snapshot", "config", "list of", "folder"];

impl Restored {
    /// Requires that what is missing, or a folder above it, was named. Where a restore could not begin, or not go on, an object
    /// is named instead, without which it couldn't.
    #[track_caller]
    fn names_all_that_is_missing(&self, world: &World, what: &str) {
        let said = &self.outcome.stderr;
        let Some(total) = said.lines().find_map(count_of_failures) else {
            let went_on =
                said.contains("the restore of what lies at bert failed: ") && said.contains("hint: ");
            let all_is_missing = self.missing == entries(&world.source);
            assert!(
                went_on || all_is_missing,
                "{what}: some came, and nothing was said of the rest: {}",
                self.outcome
            );
            says_one_of(&self.outcome, &OBJECTS, what);
            return;
        };
        let list: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("  ")).collect();
        let is_named = |path: &Path| {
            path.ancestors().filter(|above| *above != Path::new("/")).any(|path| {
                let text = format!("{}: ", shown(path));
                list.iter().any(|line| line.starts_with(&text))
            })
        };
        let unnamed: Vec<_> =
            self.missing.iter().filter(|path| !is_named(&world.source.join(path))).collect();
        let more =
            said.lines().find_map(|line| line.strip_prefix("  and ")?.strip_suffix(" more")?.parse().ok());
        // A list of thousands is cut, and says how many it leaves out.
        let more: usize = more.unwrap_or(0);
        assert!(
            more == 0 || (total > 1000 && total == 1000 + more),
            "{what}: {total} and {more}: {}",
            self.outcome
        );
        assert!(unnamed.len() <= more, "{what}: missing and not named: {unnamed:?}: {}", self.outcome);
    }
}

/// "error: 17 entries could not be restored from what lies at bert:"
fn count_of_failures(line: &str) -> Option<usize> {
    let (count, rest) = line.strip_prefix("error: ")?.split_once(' ')?;
    rest.starts_with("entries could not be restored from what lies at bert").then(|| count.parse().ok())?
}

/// Requires the name of the friend, and one of these words.
#[track_caller]
fn says_one_of(outcome: &Outcome, words: &[&str], what: &str) {
    let text = format!("{}\n{}", outcome.stdout, outcome.stderr).to_lowercase();
    assert!(text.contains("bert"), "{what}: the friend is not named: {outcome}");
    assert!(words.iter().any(|word| text.contains(word)), "{what}: none of {words:?} is named: {outcome}");
}

/// A path as the command line shows it: what a terminal could take for something else stands there as a number.
fn shown(path: &Path) -> String {
    let mut shown = String::new();
    for character in path.to_string_lossy().chars() {
        match character {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            '\u{202a}'..='\u{202e}' => shown.push_str(&character.escape_unicode().to_string()),
            _ if character.is_control() => shown.push_str(&character.escape_unicode().to_string()),
            _ => shown.push(character),
        }
    }
    shown
}

/// Requires that what was restored is what was there, to the last byte, and gives back what was not restored.
#[track_caller]
fn missing(source: &Path, found: &Path, what: &str) -> BTreeSet<PathBuf> {
    let (all, restored) = (entries(source), entries(found));
    for path in &restored {
        assert!(all.contains(path), "{what}: {} was restored and never was", path.display());
        let (ours, theirs) = (source.join(path), found.join(path));
        let meta = |path: &Path| path.symlink_metadata().unwrap();
        assert_eq!(meta(&ours).file_type(), meta(&theirs).file_type(), "{what}: {}", path.display());
        if meta(&ours).is_symlink() {
            assert_eq!(std::fs::read_link(&ours).unwrap(), std::fs::read_link(&theirs).unwrap(), "{what}");
        } else if meta(&ours).is_file() {
            let same = std::fs::read(&ours).unwrap() == std::fs::read(&theirs).unwrap();
            assert!(same, "{what}: A WRONG BYTE in {}", path.display());
        }
    }
    all.difference(&restored).cloned().collect()
}

fn entries(root: &Path) -> BTreeSet<PathBuf> {
    let mut entries = BTreeSet::new();
    let mut open = vec![root.to_owned()];
    while let Some(path) = open.pop() {
        let Ok(list) = std::fs::read_dir(&path) else { continue };
        for entry in list.map(Result::unwrap) {
            entries.insert(entry.path().strip_prefix(root).unwrap().to_owned());
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            }
        }
    }
    entries
}

/// The names of the objects of a kind at the friend, sorted.
fn objects(archive: &Path, kind: &str) -> Vec<String> {
    let names = entries(&archive.join(kind));
    let names = names.iter().filter_map(|path| path.file_name()?.to_str());
    names.filter(|name| name.len() == 64).map(str::to_owned).collect()
}

/// Something is done to every answer to requests of which `is_meant` is true.
fn each(
    is_meant: impl Fn(&Asked) -> bool + Send + Sync + 'static,
    change: impl Fn(&Asked, Answer) -> Answer + Clone + Send + Sync + 'static,
) -> impl Fn(&Asked) -> Deed + Send + Sync {
    move |asked| {
        if !is_meant(asked) {
            return Deed::Honest;
        }
        let (asked, change) = (asked.clone(), change.clone());
        Deed::Change(Box::new(move |answer| change(&asked, answer)))
    }
}

/// Something else is answered to them.
fn instead(
    is_meant: impl Fn(&Asked) -> bool + Send + Sync + 'static,
    answer: Answer,
) -> impl Fn(&Asked) -> Deed + Send + Sync {
    move |asked| if is_meant(asked) { Deed::Instead(answer.clone()) } else { Deed::Honest }
}
