//! A full disk, a disk that fails, a sync that fails: at every call.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use e2e::{need, say};
use kith_archive::crypto::KeyFile;
use kith_archive::{FileId, FileKind};
use nix::errno::Errno;
use tempfile::TempDir;

use super::simulated::{Call, Leaves, SimulatedDisk, make_image};
use super::{Acknowledged, Sources, back_up, fast_directory, key, recovers, restic_is_content, store, vault};

/// How a backup went on that met a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Went {
    /// It did not matter.
    Through,
    /// It failed with a sentence.
    Failed,
    /// The vault was not even opened.
    NotOpened,
}

/// Of every kind of call, stock restic looks at what became of these failures, counted from 0. Which calls there are differs a little from run to run: packs are
/// stored side by side.
const CHECKED_BY_RESTIC: [usize; 4] = [0, 4, 8, 12];

/// Two backups on a disk with a fault.
struct Attempt {
    disk: Arc<SimulatedDisk>,
    root: PathBuf,
    went: Went,
    acknowledged: Vec<(usize, FileKind, FileId)>,
    snapshots: BTreeMap<FileId, usize>,
    directory: TempDir,
}

impl Attempt {
    async fn make(sources: &Sources, fault: impl FnOnce(&Path) -> Arc<SimulatedDisk>) -> Self {
        let directory = fast_directory();
        let root = directory.path().join("vault");
        let disk = fault(&root);
        let acknowledged = Acknowledged::default();
        let mut snapshots = BTreeMap::new();
        let mut went = Went::NotOpened;
        if let Some(vault) = vault(&root, disk.clone()).await {
            went = Went::Through;
            for _ in 0..2 {
                match back_up(store(&vault, Some(&disk), &acknowledged), &sources.now()).await {
                    Ok(report) => {
                        let id = FileId::from(report.snapshot);
                        snapshots.insert(id, 2);
                        let all = acknowledged.lock().unwrap().clone();
                        assert!(
                            all.contains(&(all.last().unwrap().0, FileKind::Snapshot, id)),
                            "not acknowledged: {id}"
                        );
                    }
                    Err(sentence) => {
                        went = Went::Failed;
                        assert!(sentence.len() > 20 && !sentence.contains("Os {"), "{sentence}");
                    }
                }
            }
        }
        // Snapshots that were written and not acknowledged are of the same folder.
        for file in std::fs::read_dir(root.join("ANNA/a/snapshots")).into_iter().flatten() {
            let name = file.unwrap().file_name().into_string().unwrap();
            snapshots.entry(name.parse().unwrap()).or_insert(2);
        }
        let acknowledged = acknowledged.lock().unwrap().clone();
        Self { disk, root, went, acknowledged, snapshots, directory }
    }

    fn promised(&self) -> Vec<(FileKind, FileId)> {
        self.acknowledged.iter().map(|(_, kind, id)| (*kind, *id)).collect()
    }

    /// What had been acknowledged and not been synced, as a sentence: at the first acknowledgement from this call on for which
    /// there is such a thing, or in the end.
    fn not_synced(&self, log: &[Call], from: usize) -> Option<String> {
        let acknowledged = self.acknowledged.iter().map(|(position, ..)| *position);
        let moments: BTreeSet<usize> =
            acknowledged.filter(|position| *position >= from).chain([log.len()]).collect();
        for at in moments {
            let image = self.directory.path().join("image");
            make_image(&image, &log[..at], Leaves::Nothing);
            let due = self.acknowledged.iter().filter(|(position, ..)| *position <= at);
            let lost = due
                .filter(|(_, kind, id)| !is_whole(&image, *kind, id))
                .map(|(_, kind, id)| format!("{kind} {id} was acknowledged by call {at} and not synced"));
            let lost = lost.collect::<Vec<_>>();
            std::fs::remove_dir_all(&image).unwrap();
            if !lost.is_empty() {
                return Some(lost.join("; "));
            }
        }
        None
    }
}

/// Whether a file of the archive is there, with the bytes that its name promises.
fn is_whole(image: &Path, kind: FileKind, id: &FileId) -> bool {
    let name = id.to_string();
    let archive = image.join("ANNA/a");
    let path = match kind {
        FileKind::Config => archive.join("config"),
        FileKind::Pack => archive.join("data").join(&name[..2]).join(&name),
        _ => archive.join(kind.dir_name()).join(&name),
    };
    let bytes = std::fs::read(&path).unwrap_or_default();
    if kind == FileKind::Config { !bytes.is_empty() } else { FileId::of(&bytes) == *id }
}

/// With each call failing in turn: how it went, and how often stock restic was asked.
async fn at_every_call(errno: Errno) -> (usize, BTreeSet<Went>) {
    let sources = Sources::new();
    sources.change();
    let has_restic = need("restic");
    let key_file = KeyFile::export(&key(), "secret", jiff::Timestamp::now()).unwrap();
    let mut went = BTreeSet::new();
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    let mut checked = 0;
    for at in 0.. {
        let attempt = Attempt::make(&sources, |root| SimulatedDisk::failing(root, at, errno)).await;
        let Some(failed) = attempt.disk.failed() else {
            say(&format!("{errno} at {at} calls, {checked} of them checked by restic: {kinds:?}"));
            assert!(!has_restic || checked >= 16, "{checked} of {kinds:?}");
            return (at, went);
        };
        let what = format!("{errno} at call {at}, {}", failed.what);
        went.insert(attempt.went);
        recovers(&attempt.root, &attempt.promised(), &sources, &attempt.snapshots, &what).await;
        // What is visible after a failed sync may be gone after a crash: nothing of it was acknowledged.
        assert_eq!(attempt.not_synced(&attempt.disk.log(), failed.position), None, "{what}");
        let image = attempt.directory.path().join("synced");
        make_image(&image, &attempt.disk.log(), Leaves::Nothing);
        let synced = format!("{what}: what was synced");
        recovers(&image, &attempt.promised(), &sources, &attempt.snapshots, &synced).await;
        let number = kinds.entry(failed.kind()).or_default();
        if has_restic && CHECKED_BY_RESTIC.contains(number) {
            restic_is_content(&attempt.root, &sources, &key_file, &what);
            restic_is_content(&image, &sources, &key_file, &synced);
            checked += 1;
        }
        *number += 1;
    }
    unreachable!("a backup has an end")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full_at_any_call_of_a_backup_loses_nothing_and_the_next_run_completes() {
    let (calls, went) = at_every_call(Errno::ENOSPC).await;
    assert!(calls > 60, "{calls}");
    assert!(went.contains(&Went::Failed), "{went:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_at_any_call_of_a_backup_loses_nothing_and_the_next_run_completes() {
    let (calls, went) = at_every_call(Errno::EIO).await;
    assert!(calls > 60, "{calls}");
    assert!(went.contains(&Went::Failed), "{went:?}");
}

/// What the others are worth: were a sync left out, or its failure ignored, it would be noticed that something was acknowledged too soon.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_that_is_left_out_of_a_backup_is_noticed() {
    let sources = Sources::new();
    sources.change();
    let attempt = Attempt::make(&sources, SimulatedDisk::new).await;
    assert_eq!(attempt.went, Went::Through);
    let log = attempt.disk.log();
    assert_eq!(attempt.not_synced(&log, 0), None);
    let without = |is_left_out: &dyn Fn(&Call) -> bool| -> Vec<Call> {
        log.iter().map(|call| if is_left_out(call) { Call::Nothing } else { call.clone() }).collect()
    };

    let mut files = BTreeSet::new();
    for call in &log {
        let Call::Rename { to, file, .. } = call else { continue };
        if !to.starts_with("ANNA/a") {
            continue;
        }
        let log = without(&|call| matches!(call, Call::SyncFile { file: synced } if synced == file));
        assert!(attempt.not_synced(&log, 0).is_some(), "the file {} was not missed", to.display());
        files.insert(*file);
    }
    // A config, two packs at least, an index, two snapshots.
    assert!(files.len() >= 6, "{}", files.len());

    // By this pattern of all directories that hold something acknowledged, or lead there.
    for place in ["", "ANNA", "ANNA/a", "ANNA/a/data", "ANNA/a/data/*", "ANNA/a/index", "ANNA/a/snapshots"] {
        let is_there = |path: &Path| match place.strip_suffix("/*") {
            Some(parent) => path.parent() == Some(Path::new(parent)),
            None => path == Path::new(place),
        };
        let log = without(&|call| matches!(call, Call::SyncDirectory { path } if is_there(path)));
        assert!(attempt.not_synced(&log, 0).is_some(), "the directory {place:?} was not missed");
    }
}
