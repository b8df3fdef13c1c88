//! A full disk, a disk that fails, a sync that fails: at every call.

use std::collections::{BTreeMap, BTreeSet};

use kith_archive::{FileId, FileKind};
use nix::errno::Errno;

use super::simulated::SimulatedDisk;
use super::{Acknowledged, Sources, back_up, fast_directory, recovers, store, vault};

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

/// Two backups on a disk whose call of this number fails; `None` if there is no such call.
async fn attempt(sources: &Sources, errno: Errno, at: usize) -> Option<Went> {
    let directory = fast_directory();
    let root = directory.path().join("vault");
    let disk = SimulatedDisk::failing(&root, at, errno);
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
    let failed = disk.failed()?;
    let what = format!("{errno} at call {at}, {failed}");
    let promised: Vec<_> = acknowledged.lock().unwrap().iter().map(|(_, kind, id)| (*kind, *id)).collect();
    // Snapshots that were written and not acknowledged are of the same folder.
    for file in std::fs::read_dir(root.join("ANNA/a/snapshots")).into_iter().flatten() {
        let name = file.unwrap().file_name().into_string().unwrap();
        snapshots.entry(name.parse().unwrap()).or_insert(2);
    }
    // What is visible after a failed sync may be gone after a crash: the engine was told, so it counts on nothing of it.
    recovers(&root, &promised, sources, &snapshots, &what).await;
    Some(went)
}

async fn at_every_call(errno: Errno) -> (usize, BTreeSet<Went>) {
    let sources = Sources::new();
    sources.change();
    let mut kinds = BTreeSet::new();
    for at in 0.. {
        match attempt(&sources, errno, at).await {
            Some(went) => drop(kinds.insert(went)),
            None => return (at, kinds),
        }
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
