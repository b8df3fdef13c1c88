//! A crash before every call that changes the disk, hence before, in and after every call of the store.

use std::collections::{BTreeMap, BTreeSet};

use e2e::{need, say};
use kith_archive::crypto::KeyFile;
use kith_archive::{FileId, FileKind};

use super::simulated::{Leaves, SimulatedDisk, make_image};
use super::{Acknowledged, Sources, back_up, fast_directory, key, recovers, restic_is_content, store, vault};

/// So many of the crashes are followed by stock restic's check, which takes a second each.
const CHECKED_BY_RESTIC: usize = 25;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_call_of_a_backup_loses_nothing_acknowledged_and_the_next_run_completes() {
    let (sources, directory) = (Sources::new(), fast_directory());
    let root = directory.path().join("vault");
    let disk = SimulatedDisk::new(&root);
    let acknowledged = Acknowledged::default();
    let opened = vault(&root, disk.clone()).await.unwrap();
    let first = back_up(store(&opened, Some(&disk), &acknowledged), &sources.now()).await.unwrap();
    sources.change();
    let second = back_up(store(&opened, Some(&disk), &acknowledged), &sources.now()).await.unwrap();
    drop(opened);
    let snapshots = BTreeMap::from([(FileId::from(first.snapshot), 1), (FileId::from(second.snapshot), 2)]);
    let (log, acknowledged) = (disk.log(), acknowledged.lock().unwrap().clone());
    let kinds: BTreeSet<FileKind> = acknowledged.iter().map(|(_, kind, _)| *kind).collect();
    assert_eq!(kinds.len(), 4, "config, packs, indexes and snapshots: {kinds:?}");
    assert!(acknowledged.len() >= 9 && log.len() > 80, "{} objects, {} calls", acknowledged.len(), log.len());

    let has_restic = need("restic");
    let key_file = KeyFile::export(&key(), "secret", jiff::Timestamp::now()).unwrap();
    let between = log.len() / CHECKED_BY_RESTIC + 1;
    let (mut crashes, mut checked) = (0, 0);
    for at in 0..=log.len() {
        let promised: Vec<(FileKind, FileId)> = acknowledged
            .iter()
            .filter(|(position, ..)| *position <= at)
            .map(|(_, kind, id)| (*kind, *id))
            .collect();
        let seed = at as u64;
        for leaves in [Leaves::Nothing, Leaves::Everything, Leaves::Some(seed), Leaves::Some(!seed)] {
            let what = format!("after {at} calls, {leaves:?} left, next {:?}", log.get(at).map(kind_of));
            let image = directory.path().join("image");
            make_image(&image, &log[..at], leaves);
            recovers(&image, &promised, &sources, &snapshots, &what).await;
            crashes += 1;
            if has_restic && at % between == 0 && matches!(leaves, Leaves::Nothing) {
                restic_is_content(&image, &sources, &key_file, &what);
                checked += 1;
            }
            std::fs::remove_dir_all(&image).unwrap();
        }
    }
    say(&format!("{crashes} crashes at {} calls, {checked} of them checked by restic", log.len() + 1));
}

fn kind_of(call: &super::simulated::Call) -> String {
    format!("{call:?}").chars().take(80).collect()
}
