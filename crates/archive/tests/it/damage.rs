//! Archives with damage: a check names it, a restore gives back everything else and never a wrong byte.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use kith_archive::check::{CheckDepth, CheckError, CheckEvent, CheckPhase, CheckReport, Finding, check};
use kith_archive::repository::{Retired, Salvaged};
use kith_archive::restore::{RestoreReport, RestoreRequest, restore};
use kith_archive::store::{FileId, FileKind, LocalStore, Store, StoreError, StoredFile};
use kith_archive::{BlobType, Repository};
use tokio_util::sync::CancellationToken;

use crate::support::*;

struct Archive {
    _temp: tempfile::TempDir,
    source: PathBuf,
    dir: PathBuf,
    target: PathBuf,
}

/// Files of several packs, backed up.
async fn archive() -> Archive {
    let temp = tempfile::tempdir().unwrap();
    let (source, dir, target) =
        (temp.path().join("source"), temp.path().join("archive"), temp.path().join("target"));
    for folder in 0..4u64 {
        let sub = source.join(format!("folder {folder}"));
        fs::create_dir_all(&sub).unwrap();
        for file in 0..10u64 {
            fs::write(sub.join(format!("file {file}")), noise(folder * 100 + 2 * file + 1, 1_500_000))
                .unwrap();
        }
        fs::write(sub.join("text"), format!("folder {folder} ").repeat(1000)).unwrap();
    }
    let repository = init(&dir).await;
    run(&repository, request(&source)).await;
    Archive { _temp: temp, source, dir, target }
}

impl Archive {
    fn pack_path(&self, id: &FileId) -> PathBuf {
        self.dir.join("data").join(&id.to_string()[..2]).join(id.to_string())
    }

    /// Packs with blobs of a type.
    async fn packs(&self, blob_type: BlobType) -> Vec<FileId> {
        let mut packs = Vec::new();
        open(&self.dir).await.for_each_blob(|location| {
            if location.blob.blob_type == blob_type {
                packs.push(location.pack);
            }
        });
        packs.sort();
        packs.dedup();
        packs
    }

    fn change(&self, pack: &FileId, change: impl FnOnce(&mut Vec<u8>)) {
        change_file(&self.pack_path(pack), change);
    }

    async fn check(&self, depth: CheckDepth) -> CheckReport {
        check(open(&self.dir).await, depth, |_| (), CancellationToken::new()).await.unwrap()
    }

    /// Restores; what came must be right, and what did not must be in the report.
    async fn restore(&self) -> RestoreReport {
        let repository = open(&self.dir).await;
        let snapshot = repository.snapshots().await.unwrap().snapshots.pop().unwrap();
        let request = RestoreRequest::new(snapshot, &self.target);
        let report = restore(repository, request, |_| (), CancellationToken::new()).await.unwrap();
        let failed: Vec<&Path> = report.failed.items.iter().map(|failure| failure.path.as_path()).collect();
        for folder in fs::read_dir(&self.source).unwrap() {
            for file in fs::read_dir(folder.unwrap().path()).unwrap() {
                let path = file.unwrap().path();
                let told = failed.iter().any(|failed| path.starts_with(failed));
                match fs::read(below(&self.target, &path)) {
                    Ok(content) => {
                        assert!(content == fs::read(&path).unwrap(), "{} is wrong", path.display());
                        assert!(!told, "{} was restored and told as failed", path.display());
                    }
                    Err(_) => assert!(told, "{} is missing and was not told", path.display()),
                }
            }
        }
        report
    }
}

fn change_file(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Findings about objects, and the files that are lost.
fn told(report: &CheckReport) -> (Vec<&Finding>, u64) {
    let mut lost = 0;
    let mut objects = Vec::new();
    for finding in &report.findings.items {
        match finding {
            Finding::LostFiles { count, .. } => lost += count,
            other => objects.push(other),
        }
    }
    (objects, lost)
}

#[tokio::test]
async fn a_whole_archive_has_no_findings() {
    let archive = archive().await;
    for depth in [CheckDepth::Structure, CheckDepth::ReadData] {
        let report = archive.check(depth).await;
        assert!(report.is_clean(), "{:?}", report.findings);
        assert_eq!((report.snapshots, report.orphans.packs), (1, 0));
        assert!(report.packs >= 4 && report.trees >= 5);
        let read = if depth == CheckDepth::ReadData { report.packs } else { 0 };
        assert_eq!(report.packs_read, read);
    }
    assert!(archive.restore().await.is_complete());
}

#[tokio::test]
async fn what_restic_wrote_has_no_findings() {
    let temp = tempfile::tempdir().unwrap();
    let source = temp.path().join("source");
    make_files(&source);
    for version in ["1", "2"] {
        let dir = temp.path().join(version);
        let Some(restic) = Restic::find(&dir) else { return };
        restic.run(["init", "--repository-version", version]);
        restic.run(["backup".as_ref(), source.as_os_str()]);
        fs::write(source.join("another"), "another").unwrap();
        restic.run(["backup".as_ref(), source.as_os_str()]);
        let store: Arc<dyn Store> = Arc::new(LocalStore::open(&dir).unwrap());
        let key = kith_archive::crypto::open_with_password(&*store, "secret").await.unwrap();
        let repository = Arc::new(Repository::open(store, Arc::new(key)).await.unwrap());
        let report = check(repository, CheckDepth::ReadData, |_| (), CancellationToken::new()).await.unwrap();
        assert!(report.is_clean(), "{:?}", report.findings);
        assert_eq!((report.snapshots, report.packs), (2, report.packs_read));
    }
}

#[tokio::test]
async fn a_missing_pack_costs_only_the_files_in_it() {
    let archive = archive().await;
    let pack = archive.packs(BlobType::Data).await[0];
    fs::remove_file(archive.pack_path(&pack)).unwrap();
    for depth in [CheckDepth::Structure, CheckDepth::ReadData] {
        let report = archive.check(depth).await;
        let (objects, lost) = told(&report);
        assert!(matches!(objects[..], [Finding::MissingPack { id, .. }] if *id == pack), "{objects:?}");
        assert!(lost > 0 && lost < 40);
        let sentence = report.findings.items.last().unwrap().to_string();
        assert!(sentence.contains("can't be restored: /") && sentence.contains("is missing)"), "{sentence}");
        assert!(!sentence.contains("/,") && !sentence.contains("/ "), "a name ends in a slash: {sentence}");
        let restored = archive.restore().await;
        assert_eq!(restored.failed.total, lost);
        assert!(restored.failed.items[0].reason.contains("is not there"), "{:?}", restored.failed);
        fs::remove_dir_all(&archive.target).unwrap();
    }
}

#[tokio::test]
async fn a_flipped_bit_costs_only_the_file_it_is_in() {
    let archive = archive().await;
    let pack = archive.packs(BlobType::Data).await[1];
    archive.change(&pack, |bytes| bytes[100_000] ^= 4);
    // Without reading, nobody can know.
    assert!(archive.check(CheckDepth::Structure).await.is_clean());
    let report = archive.check(CheckDepth::ReadData).await;
    let (objects, lost) = told(&report);
    assert!(
        matches!(objects[..], [Finding::DamagedPack { id, .. }, Finding::DamagedBlob { pack: of, .. }]
            if *id == pack && *of == pack),
        "{objects:?}"
    );
    assert_eq!(lost, 1);
    let restored = archive.restore().await;
    assert_eq!(restored.failed.total, 1);
    assert!(restored.failed.items[0].reason.contains("is damaged"), "{:?}", restored.failed);
}

#[tokio::test]
async fn a_truncated_pack_costs_only_what_was_at_its_end() {
    let archive = archive().await;
    let pack = archive.packs(BlobType::Data).await[0];
    archive.change(&pack, |bytes| bytes.truncate(bytes.len() * 2 / 3));
    for depth in [CheckDepth::Structure, CheckDepth::ReadData] {
        let report = archive.check(depth).await;
        let (objects, lost) = told(&report);
        assert!(matches!(objects[0], Finding::PackSize { id, .. } if *id == pack), "{objects:?}");
        let restored = archive.restore().await;
        assert!(lost > 0 && restored.failed.total == lost, "{lost} {:?}", restored.failed);
        assert!(restored.files > 30);
        fs::remove_dir_all(&archive.target).unwrap();
    }
}

#[tokio::test]
async fn a_pack_in_the_place_of_another_is_noticed() {
    let archive = archive().await;
    let packs = archive.packs(BlobType::Data).await;
    let (a, b) = (archive.pack_path(&packs[0]), archive.pack_path(&packs[1]));
    let between = archive.dir.join("between");
    fs::rename(&a, &between).unwrap();
    fs::rename(&b, &a).unwrap();
    fs::rename(&between, &b).unwrap();
    let report = archive.check(CheckDepth::ReadData).await;
    let (objects, lost) = told(&report);
    for pack in &packs[..2] {
        assert!(
            objects.iter().any(|finding| matches!(finding, Finding::DamagedPack { id, .. } if id == pack))
        );
        assert!(objects.iter().any(|finding| matches!(finding, Finding::IndexMismatch { id } if id == pack)));
    }
    let restored = archive.restore().await;
    assert!(lost > 0 && restored.failed.total == lost, "{lost} {:?}", restored.failed);
}

#[tokio::test]
async fn a_second_copy_of_a_blob_makes_up_for_the_first() {
    let archive = archive().await;
    let pack = archive.packs(BlobType::Data).await[0];
    // A run that doesn't know the index stores everything once more.
    let hidden = archive.dir.join("hidden");
    fs::rename(archive.dir.join("index"), &hidden).unwrap();
    fs::create_dir(archive.dir.join("index")).unwrap();
    let packs = archive.dir.join("data");
    let aside = archive.dir.join("aside");
    fs::rename(&packs, &aside).unwrap();
    fs::create_dir(&packs).unwrap();
    run(&open(&archive.dir).await, request(&archive.source)).await;
    for (from, to) in [(hidden, archive.dir.join("index")), (aside, packs)] {
        let status =
            std::process::Command::new("cp").args(["-r"]).arg(from.join(".")).arg(to).status().unwrap();
        assert!(status.success());
    }
    archive.change(&pack, |bytes| bytes[100_000] ^= 4);
    let report = archive.check(CheckDepth::ReadData).await;
    let (objects, lost) = told(&report);
    assert_eq!((objects.len(), lost), (2, 0), "{objects:?}");
    assert!(archive.restore().await.is_complete());
    fs::remove_dir_all(&archive.target).unwrap();
    fs::remove_file(archive.pack_path(&pack)).unwrap();
    assert!(archive.restore().await.is_complete());
}

#[tokio::test]
async fn a_lost_folder_is_named_and_the_others_are_restored() {
    let archive = archive().await;
    let repository = open(&archive.dir).await;
    let snapshot = repository.snapshots().await.unwrap().snapshots.pop().unwrap();
    let node = find(&repository, snapshot.tree, &archive.source.join("folder 2")).await.unwrap();
    let place = repository.locate(BlobType::Tree, &node.subtree.unwrap())[0];
    archive.change(&place.pack, |bytes| bytes[place.blob.offset as usize + 20] ^= 1);
    let report = archive.check(CheckDepth::Structure).await;
    let [Finding::UnreadableFolder { path, snapshot: of, .. }] = &report.findings.items[..] else {
        panic!("{:?}", report.findings)
    };
    assert_eq!((path, *of), (&archive.source.join("folder 2"), snapshot.id));
    let sentence = report.findings.items[0].to_string();
    assert!(sentence.contains("/folder 2 of snapshot"), "{sentence}");
    let restored = archive.restore().await;
    assert_eq!(restored.failed.total, 1);
    assert_eq!(restored.failed.items[0].path, archive.source.join("folder 2"));
    assert_eq!(restored.files, 33);
}

#[tokio::test]
async fn junk_among_index_and_snapshots_is_named_and_stops_nothing() {
    let archive = archive().await;
    let store = LocalStore::open(&archive.dir).unwrap();
    let junk = FileId::of(b"junk");
    store.save(FileKind::Index, &junk, b"junk"[..].into()).await.unwrap();
    store.save(FileKind::Snapshot, &junk, b"junk"[..].into()).await.unwrap();
    store.save(FileKind::Pack, &junk, b"junk"[..].into()).await.unwrap();
    let report = archive.check(CheckDepth::ReadData).await;
    let (objects, lost) = told(&report);
    assert!(
        matches!(objects[..], [Finding::UnreadableIndex { id, .. }, Finding::UnreadableSnapshot { .. }]
            if *id == junk),
        "{objects:?}"
    );
    assert_eq!(lost, 0);
    assert_eq!((report.orphans.packs, report.orphans.bytes), (1, 4));
    assert!(archive.restore().await.is_complete());
}

#[tokio::test]
async fn without_an_index_everything_is_told_as_lost() {
    let archive = archive().await;
    fs::remove_dir_all(archive.dir.join("index")).unwrap();
    let report = archive.check(CheckDepth::ReadData).await;
    let [Finding::UnreadableFolder { path, reason, .. }] = &report.findings.items[..] else {
        panic!("{:?}", report.findings)
    };
    assert_eq!(path, Path::new("/"));
    assert!(reason.contains("in no index"), "{reason}");
    assert!(report.orphans.packs > 3);
}

#[tokio::test]
async fn a_check_tells_its_phases_and_can_be_cancelled() {
    let archive = archive().await;
    let events = Mutex::new(Vec::new());
    let tell = |event| events.lock().unwrap().push(event);
    let report =
        check(open(&archive.dir).await, CheckDepth::ReadData, tell, CancellationToken::new()).await.unwrap();
    let events = events.into_inner().unwrap();
    let Some(CheckEvent::Progress(last)) = events.last() else { panic!("{events:?}") };
    assert_eq!((last.packs_done, last.packs_total), (report.packs, report.packs));
    assert_eq!((last.snapshots_done, last.snapshots_total, last.findings), (1, 1, 0));
    assert!(events.contains(&CheckEvent::Phase(CheckPhase::Snapshots)));
    let cancel = CancellationToken::new();
    cancel.cancel();
    let result = check(open(&archive.dir).await, CheckDepth::ReadData, |_| (), cancel).await;
    assert!(matches!(result, Err(CheckError::Cancelled)));
}

/// Packs of the store whose bytes are not what their names say.
fn suspects(archive: &Archive) -> Vec<(FileKind, FileId)> {
    let mut found = Vec::new();
    for shard in fs::read_dir(archive.dir.join("data")).unwrap() {
        for file in fs::read_dir(shard.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let id: FileId = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
            if FileId::of(&fs::read(&path).unwrap()) != id {
                found.push((FileKind::Pack, id));
            }
        }
    }
    found
}

fn replaced(count: usize) -> Retired {
    Retired { replaced: count, ..Retired::default() }
}

fn stays(files: &[(FileKind, FileId)]) -> Retired {
    Retired { kept: files.to_vec(), ..Retired::default() }
}

/// What a backup does that was told of damage.
async fn repair(archive: &Archive, suspects: &[(FileKind, FileId)]) -> (Salvaged, u64, Retired) {
    let repository = open(&archive.dir).await;
    let salvaged = repository.salvage(suspects, &[]).await.unwrap();
    let report = run(&repository, request(&archive.source)).await;
    let retired = repository.retire(&salvaged.damaged).await.unwrap();
    (salvaged, report.lost_packs, retired)
}

#[tokio::test]
async fn a_flipped_bit_is_repaired_by_the_next_backup_that_hears_of_it() {
    for blob_type in [BlobType::Data, BlobType::Tree] {
        let archive = archive().await;
        let pack = archive.packs(blob_type).await[0];
        archive.change(&pack, |bytes| bytes[100] ^= 1);
        assert!(!archive.check(CheckDepth::ReadData).await.is_clean());
        let suspects = suspects(&archive);
        assert_eq!(suspects, [(FileKind::Pack, pack)]);
        let (salvaged, lost_packs, retired) = repair(&archive, &suspects).await;
        assert_eq!((salvaged.damaged.as_slice(), salvaged.blobs_lost), (suspects.as_slice(), 1));
        assert!(salvaged.blobs_copied > 0, "{salvaged:?}");
        assert_eq!((lost_packs, retired), (1, replaced(1)));
        assert!(!archive.pack_path(&pack).exists());
        assert!(archive.check(CheckDepth::ReadData).await.is_clean());
        assert!(archive.restore().await.is_complete());
        if let Some(restic) = Restic::find(&archive.dir) {
            crate::interop::export_key(&archive.dir);
            restic.run(["check", "--read-data"]);
        }
    }
}

#[tokio::test]
async fn what_is_gone_from_the_source_is_copied_out_of_a_damaged_pack_and_not_given_up() {
    let archive = archive().await;
    let snapshot = open(&archive.dir).await.snapshots().await.unwrap().snapshots.pop().unwrap();
    // Only one blob is hit; everything else in its pack belongs to files that are nowhere else any more.
    let pack = archive.packs(BlobType::Data).await[0];
    archive.change(&pack, |bytes| bytes[100] ^= 1);
    let kept: Vec<(PathBuf, Vec<u8>)> = (0..4)
        .flat_map(|folder| (0..10).map(move |file| (folder, file)))
        .map(|(folder, file)| archive.source.join(format!("folder {folder}/file {file}")))
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    for (path, _) in &kept {
        fs::remove_file(path).unwrap();
    }
    let (salvaged, _, retired) = repair(&archive, &suspects(&archive)).await;
    assert!(salvaged.blobs_copied > 0 && salvaged.blobs_lost == 1, "{salvaged:?}");
    assert_eq!(retired, stays(&[(FileKind::Pack, pack)]), "a lost blob keeps its pack, and its finding");
    assert!(archive.pack_path(&pack).exists());
    let repository = open(&archive.dir).await;
    let request = RestoreRequest::new(snapshot, &archive.target);
    let report = restore(repository, request, |_| (), CancellationToken::new()).await.unwrap();
    assert_eq!(report.failed.total, 1, "{:?}", report.failed.items);
    for (path, content) in kept {
        let restored = fs::read(below(&archive.target, &path));
        assert!(restored.map_or(true, |restored| restored == content), "{} is wrong", path.display());
    }
}

#[tokio::test]
async fn a_holder_who_calls_sound_packs_damaged_makes_us_read_and_nothing_else() {
    let archive = archive().await;
    let all: Vec<_> =
        archive.packs(BlobType::Data).await.into_iter().map(|id| (FileKind::Pack, id)).collect();
    let invented = (FileKind::Pack, FileId([7; 32]));
    let before = fingerprint(&archive.dir.join("data"));
    let repository = open(&archive.dir).await;
    let salvaged = repository.salvage(&[all.clone(), vec![invented]].concat(), &[]).await.unwrap();
    assert_eq!(salvaged, Salvaged { intact: all.len(), ..Salvaged::default() });
    assert_eq!(repository.retire(&salvaged.damaged).await.unwrap(), Retired::default());
    assert_eq!(fingerprint(&archive.dir.join("data")), before);
}

#[tokio::test]
async fn a_damaged_index_is_replaced_and_removed() {
    let archive = archive().await;
    let index = fs::read_dir(archive.dir.join("index")).unwrap().next().unwrap().unwrap().path();
    change_file(&index, |bytes| bytes[40] ^= 1);
    let id: FileId = index.file_name().unwrap().to_str().unwrap().parse().unwrap();
    let repository = open(&archive.dir).await;
    assert_eq!(repository.warnings().len(), 1);
    // Not before its packs are known again.
    let damaged = [(FileKind::Index, id)];
    assert_eq!(repository.retire(&damaged).await.unwrap(), stays(&damaged));
    let salvaged = repository.salvage(&damaged, &[]).await.unwrap();
    assert_eq!(salvaged.damaged, damaged);
    assert_eq!(repository.retire(&salvaged.damaged).await.unwrap(), replaced(1));
    assert!(archive.check(CheckDepth::ReadData).await.is_clean());
    if let Some(restic) = Restic::find(&archive.dir) {
        crate::interop::export_key(&archive.dir);
        restic.run(["check", "--read-data"]);
    }
}

impl Archive {
    fn index_files(&self) -> Vec<FileId> {
        let files = fs::read_dir(self.dir.join("index")).unwrap();
        files.map(|file| file.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
    }

    fn index_path(&self, id: &FileId) -> PathBuf {
        self.dir.join("index").join(id.to_string())
    }

    fn change_index(&self, id: &FileId) {
        change_file(&self.index_path(id), |bytes| bytes[40] ^= 1);
    }

    /// The archive is as good as new, also in the eyes of stock restic.
    async fn is_whole(&self) {
        let report = self.check(CheckDepth::ReadData).await;
        assert!(report.is_clean(), "{:?}", report.findings.items);
        assert!(self.restore().await.is_complete());
        if let Some(restic) = Restic::find(&self.dir) {
            crate::interop::export_key(&self.dir);
            restic.run(["check", "--read-data"]);
        }
    }
}

#[tokio::test]
async fn a_pack_and_its_index_that_are_damaged_together_are_both_replaced() {
    for blob_type in [BlobType::Data, BlobType::Tree] {
        let archive = archive().await;
        let pack = archive.packs(blob_type).await[0];
        let index = archive.index_files();
        archive.change(&pack, |bytes| bytes[100] ^= 1);
        index.iter().for_each(|id| archive.change_index(id));
        let mut told: Vec<_> = index.iter().map(|id| (FileKind::Index, *id)).collect();
        told.push((FileKind::Pack, pack));
        let (salvaged, _, retired) = repair(&archive, &told).await;
        assert!(salvaged.blobs_copied > 0 && salvaged.blobs_lost == 1, "{salvaged:?}");
        assert_eq!(retired, replaced(1 + index.len()));
        assert!(!archive.pack_path(&pack).exists());
        archive.is_whole().await;
    }
}

#[tokio::test]
async fn a_pack_of_which_nobody_knows_what_is_in_it_stays() {
    let archive = archive().await;
    let pack = archive.packs(BlobType::Data).await[0];
    let index = archive.index_files();
    // A blob and the header, and every file that names it.
    archive.change(&pack, |bytes| {
        let end = bytes.len();
        bytes[100] ^= 1;
        bytes[end - 20] ^= 1;
    });
    index.iter().for_each(|id| archive.change_index(id));
    let mut told: Vec<_> = index.iter().map(|id| (FileKind::Index, *id)).collect();
    told.push((FileKind::Pack, pack));
    let (_, _, retired) = repair(&archive, &told).await;
    told.sort();
    assert_eq!(retired, stays(&told), "of what is not known nothing is removed");
    assert!(archive.pack_path(&pack).exists());
    assert!(archive.restore().await.is_complete(), "the backup stored it again");
}

#[tokio::test]
async fn a_pack_that_an_interrupted_run_left_and_that_is_damaged_takes_nothing_with_it() {
    let archive = archive().await;
    let pack = archive.packs(BlobType::Data).await[0];
    // No index names any pack: as after a kill before the first index file.
    let index = archive.index_files();
    index.iter().for_each(|id| fs::remove_file(archive.index_path(id)).unwrap());
    archive.change(&pack, |bytes| bytes[100] ^= 1);
    let (_, _, retired) = repair(&archive, &[(FileKind::Pack, pack)]).await;
    assert_eq!(retired, replaced(1));
    archive.is_whole().await;
}

#[tokio::test]
async fn a_damaged_pack_stays_while_the_copy_of_what_is_in_it_is_damaged_too() {
    let archive = archive().await;
    let snapshot = open(&archive.dir).await.snapshots().await.unwrap().snapshots.pop().unwrap();
    let pack = archive.packs(BlobType::Data).await[0];
    archive.change(&pack, |bytes| bytes[100] ^= 1);
    let before = archive.packs(BlobType::Data).await;
    let told = [(FileKind::Pack, pack)];
    let repository = open(&archive.dir).await;
    let salvaged = repository.salvage(&told, &[]).await.unwrap();
    let copies: Vec<_> =
        archive.packs(BlobType::Data).await.into_iter().filter(|pack| !before.contains(pack)).collect();
    assert_eq!(copies.len(), 1);
    run(&repository, request(&archive.source)).await;
    archive.change(&copies[0], |bytes| bytes[100] ^= 1);
    let retired = repository.retire(&salvaged.damaged).await.unwrap();
    assert_eq!(retired, Retired { unsound: copies.clone(), ..stays(&told) });
    assert!(archive.pack_path(&pack).exists());

    // What is hit in one of them is read from the other, though it is nowhere else any more.
    let content: Vec<(PathBuf, Vec<u8>)> = (0..4)
        .flat_map(|folder| (0..10).map(move |file| format!("folder {folder}/file {file}")))
        .map(|file| archive.source.join(file))
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    content.iter().for_each(|(path, _)| fs::remove_file(path).unwrap());
    let (salvaged, _, retired) = repair(&archive, &suspects(&archive)).await;
    assert_eq!(salvaged.blobs_lost, 0, "{salvaged:?}");
    assert_eq!(retired, replaced(2));
    let request = RestoreRequest::new(snapshot, &archive.target);
    let report = restore(open(&archive.dir).await, request, |_| (), CancellationToken::new()).await.unwrap();
    assert!(report.is_complete(), "{:?}", report.failed.items);
    for (path, content) in content {
        assert!(fs::read(below(&archive.target, &path)).unwrap() == content, "{} is wrong", path.display());
    }
}

/// A store whose holder does not move on about some objects.
struct Stalling {
    below: LocalStore,
    objects: Mutex<Vec<FileId>>,
}

#[async_trait::async_trait]
impl Store for Stalling {
    async fn list(&self, kind: FileKind) -> Result<Vec<StoredFile>, StoreError> {
        self.below.list(kind).await
    }

    async fn load(
        &self,
        kind: FileKind,
        id: &FileId,
        range: Option<Range<u64>>,
    ) -> Result<Bytes, StoreError> {
        if self.objects.lock().unwrap().contains(id) {
            return Err(StoreError::Stalled {
                what: format!("{kind} {id}"),
                reason: "no byte moved".to_owned(),
            });
        }
        self.below.load(kind, id, range).await
    }

    async fn save(&self, kind: FileKind, id: &FileId, data: Bytes) -> Result<(), StoreError> {
        self.below.save(kind, id, data).await
    }

    async fn remove(&self, kind: FileKind, id: &FileId) -> Result<(), StoreError> {
        self.below.remove(kind, id).await
    }
}

impl Stalling {
    fn on(archive: &Archive, objects: &[FileId]) -> Arc<Self> {
        let below = LocalStore::open(&archive.dir).unwrap();
        Arc::new(Self { below, objects: Mutex::new(objects.to_vec()) })
    }

    fn stall_on(&self, objects: &[FileId]) {
        *self.objects.lock().unwrap() = objects.to_vec();
    }
}

#[tokio::test]
async fn packs_that_hang_on_a_dying_disk_end_no_backup_and_are_replaced() {
    let archive = archive().await;
    let packs = archive.packs(BlobType::Data).await;
    assert!(packs.len() > 3);
    let told: Vec<_> = packs.iter().map(|id| (FileKind::Pack, *id)).collect();
    let repository = open_store(Stalling::on(&archive, &packs)).await;
    let salvaged = repository.salvage(&told, &[]).await.unwrap();
    assert_eq!((salvaged.damaged.len(), salvaged.cut_short), (3, true), "{salvaged:?}");
    run(&repository, request(&archive.source)).await;
    let retired = repository.retire(&salvaged.damaged).await.unwrap();
    assert_eq!(retired, replaced(3), "what was in them is stored again");
    archive.is_whole().await;
}

#[tokio::test]
async fn no_pack_goes_while_an_index_file_that_may_name_it_can_not_be_read() {
    let archive = archive().await;
    let pack = archive.packs(BlobType::Data).await[0];
    archive.change(&pack, |bytes| bytes[100] ^= 1);
    let index = archive.index_files();
    let store = Stalling::on(&archive, &[]);
    let repository = open_store(store.clone()).await;
    let salvaged = repository.salvage(&[(FileKind::Pack, pack)], &[]).await.unwrap();
    run(&repository, request(&archive.source)).await;
    store.stall_on(&index);
    assert!(repository.retire(&salvaged.damaged).await.is_err());
    assert!(archive.pack_path(&pack).exists());
    store.stall_on(&[]);
    assert_eq!(repository.retire(&salvaged.damaged).await.unwrap(), replaced(1));
    archive.is_whole().await;
}

#[tokio::test]
async fn a_pack_that_is_known_to_be_damaged_is_not_read_again_and_replaced_when_its_content_is_back() {
    let archive = archive().await;
    let pack = archive.packs(BlobType::Data).await[0];
    archive.change(&pack, |bytes| bytes[100] ^= 1);
    let told = [(FileKind::Pack, pack)];
    let aside = archive.dir.with_file_name("aside");
    fs::rename(&archive.source, &aside).unwrap();
    fs::create_dir(&archive.source).unwrap();
    let (_, _, retired) = repair(&archive, &told).await;
    assert_eq!(retired, stays(&told));
    fs::remove_dir(&archive.source).unwrap();
    fs::rename(&aside, &archive.source).unwrap();
    let repository = open_store(Stalling::on(&archive, &[pack])).await;
    let salvaged = repository.salvage(&told, &[pack]).await.unwrap();
    assert_eq!((salvaged.damaged.as_slice(), salvaged.blobs_lost), (&told[..], 1));
    run(&repository, request(&archive.source)).await;
    assert_eq!(repository.retire(&salvaged.damaged).await.unwrap(), replaced(1));
    archive.is_whole().await;
}

#[tokio::test]
async fn what_an_index_file_said_before_it_was_damaged_is_written_down_again() {
    let archive = archive().await;
    let index = archive.index_files();
    // Junk that was always junk stands in nobody's way.
    let junk = FileId::of(b"junk");
    let local = LocalStore::open(&archive.dir).unwrap();
    local.save(FileKind::Index, &junk, b"junk"[..].into()).await.unwrap();
    let store = Stalling::on(&archive, &[]);
    let repository = open_store(store.clone()).await;
    let told: Vec<_> = index.iter().map(|id| (FileKind::Index, *id)).collect();
    store.stall_on(&index);
    let salvaged = repository.salvage(&told, &[]).await.unwrap();
    assert_eq!(salvaged.damaged.len(), index.len());
    let retired = repository.retire(&salvaged.damaged).await.unwrap();
    assert_eq!(retired, replaced(index.len()));
    local.remove(FileKind::Index, &junk).await.unwrap();
    archive.is_whole().await;
}
