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
        let outcome = self.anna.kith(&["restore", "latest", "--target", target.path().to_str().unwrap()]);
        let found = target.path().join(self.source.strip_prefix("/").unwrap());
        let missing = std::panic::catch_unwind(|| missing(&self.source, &found, what));
        drop(target);
        let missing = missing.unwrap_or_else(|_| panic!("{what}: see above"));
        assert!(outcome.code == 0 || outcome.code == 1, "{what}: {outcome}");
        assert_eq!(outcome.code == 0, missing.is_empty(), "{what}: {missing:?} missing: {outcome}");
        let has_control = |text: &str| text.chars().any(|c| c.is_control() && c != '\n');
        assert!(!has_control(&outcome.stderr) && !has_control(&outcome.stdout), "{what}: {outcome:?}");
        Restored { outcome, missing }
    }
}

struct Restored {
    outcome: Outcome,
    missing: BTreeSet<PathBuf>,
}

impl Restored {
    /// Requires that what is missing, or a folder above it, was named.
    #[track_caller]
    fn names_all_that_is_missing(&self, world: &World, what: &str) {
        let said = &self.outcome.stderr;
        if said.contains("the folder / can't be read") {
            return;
        }
        for path in &self.missing {
            let full = world.source.join(path);
            let named = full.ancestors().filter(|above| *above != Path::new("/")).any(|path| {
                // Names that a terminal could take for something else are shown otherwise.
                let text = path.to_string_lossy();
                text.chars().any(|c| !c.is_ascii_graphic() && c != ' ')
                    || said.contains(&format!("  {text}: "))
            });
            assert!(named, "{what}: {} is missing and was not named: {}", path.display(), self.outcome);
        }
    }
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
