//! Stock restic reads what we write, we read what it writes, and both write the same.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use kith_archive::crypto::{KeyFile, open_with_password};
use kith_archive::store::{LocalStore, Store};
use kith_archive::{BlobId, BlobType, Repository};

use crate::support::*;

/// Puts a key file into the repository, as the recovery kit tells people to do.
pub(crate) fn export_key(repository: &Path) {
    let file = KeyFile::export(&key(), "secret", jiff::Timestamp::now()).unwrap();
    fs::write(repository.join("keys").join(file.name.to_string()), file.bytes).unwrap();
}

#[tokio::test]
async fn restic_checks_and_restores_what_we_wrote() {
    let temp = tempfile::tempdir().unwrap();
    let (source, archive, target) =
        (temp.path().join("source"), temp.path().join("archive"), temp.path().join("target"));
    make_files(&source);
    let repository = init(&archive).await;
    let report = run(&repository, request(&source)).await;
    assert!(report.is_complete(), "{:?}", report.skipped);
    export_key(&archive);
    let Some(restic) = Restic::find(&archive) else { return };
    restic.run(["check", "--read-data"]);
    restic.run(["restore".as_ref(), "latest".as_ref(), "--target".as_ref(), target.as_os_str()]);
    assert_eq!(fingerprint(&source), fingerprint(&below(&target, &source)));
    // Changed and removed files, a second snapshot with the first as its parent.
    fs::write(source.join("small.txt"), "changed").unwrap();
    fs::remove_file(source.join("empty")).unwrap();
    let second = run(&open(&archive).await, request(&source)).await;
    assert_eq!(second.parent, Some(report.snapshot));
    let difference = restic.run(["diff", &report.snapshot.to_string(), &second.snapshot.to_string()]);
    assert!(difference.contains("small.txt") && difference.contains("-    /"), "{difference}");
    restic.run(["check", "--read-data"]);
}

#[tokio::test]
async fn our_backup_of_what_restic_backed_up_adds_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let (source, archive) = (temp.path().join("source"), temp.path().join("archive"));
    let Some(restic) = Restic::find(&archive) else { return };
    make_files(&source);
    restic.run(["init"]);
    restic.run(["backup".as_ref(), source.as_os_str()]);
    let store: Arc<dyn Store> = Arc::new(LocalStore::open(&archive).unwrap());
    let master = Arc::new(open_with_password(&*store, "secret").await.unwrap());
    assert!(open_with_password(&*store, "wrong").await.is_err());
    let repository = Arc::new(Repository::open(store, master).await.unwrap());
    let report = run(&repository, request(&source)).await;
    let theirs = repository.snapshots().await.unwrap().snapshots[0].tree;
    let expected = find(&repository, theirs, &source).await.unwrap();
    assert!(expected.subtree.is_some());
    assert_eq!(find(&repository, report.tree, &source).await.unwrap(), expected);
    assert_eq!(report.data_blobs, 0);
    // The root tree tells when the directory of all temporary files was changed: perhaps by another test just now.
    assert!(report.tree_blobs <= 1);
    assert!(report.parent.is_none() && report.files_new > 20);
    // And with restic's snapshot as the parent, without reading.
    let parent = repository.snapshots().await.unwrap().snapshots[0].id;
    let again =
        run(&repository, kith_archive::BackupRequest { parent: Some(parent), ..request(&source) }).await;
    assert_eq!(find(&repository, again.tree, &source).await.unwrap(), expected);
    assert_eq!((again.files_new, again.files_changed), (0, 0));
    assert_eq!(again.files_unmodified, report.files_new);
    restic.run(["check", "--read-data"]);
}

#[tokio::test]
async fn restics_backup_of_what_we_backed_up_has_the_same_trees() {
    let temp = tempfile::tempdir().unwrap();
    let (source, archive) = (temp.path().join("source"), temp.path().join("archive"));
    let Some(restic) = Restic::find(&archive) else { return };
    make_files(&source);
    let repository = init(&archive).await;
    let report = run(&repository, request(&source)).await;
    export_key(&archive);
    restic.run(["backup".as_ref(), "--force".as_ref(), source.as_os_str()]);
    let repository = open(&archive).await;
    let snapshots = repository.snapshots().await.unwrap().snapshots;
    let theirs = snapshots.iter().find(|snapshot| snapshot.id != report.snapshot).unwrap();
    let expected = find(&repository, report.tree, &source).await.unwrap();
    assert_eq!(find(&repository, theirs.tree, &source).await.unwrap(), expected);
    let adds = repository.blob_count() as u64 - report.data_blobs - report.tree_blobs;
    assert!(adds <= 1, "restic stored {adds} blobs");
}

#[tokio::test]
async fn every_blob_of_a_repository_of_restic_is_read_and_verified() {
    let temp = tempfile::tempdir().unwrap();
    let (source, archive) = (temp.path().join("source"), temp.path().join("archive"));
    if Restic::find(&archive).is_none() {
        return;
    }
    make_files(&source);
    for version in ["1", "2"] {
        let archive = archive.join(version);
        fs::create_dir_all(&archive).unwrap();
        let restic = Restic::find(&archive).unwrap();
        restic.run(["init", "--repository-version", version]);
        restic.run(["backup".as_ref(), source.as_os_str()]);
        let store: Arc<dyn Store> = Arc::new(LocalStore::open(&archive).unwrap());
        let master = Arc::new(open_with_password(&*store, "secret").await.unwrap());
        let repository = Repository::open(store, master).await.unwrap();
        let mut blobs = Vec::new();
        repository.for_each_blob(|location| blobs.push(location.blob));
        assert!(blobs.len() > 10);
        for blob in &blobs {
            let content = repository.load_blob(blob.blob_type, &blob.id).await.unwrap();
            assert_eq!(BlobId::of(&content), blob.id);
            if blob.blob_type == BlobType::Tree {
                // What we would write for this directory is what restic wrote.
                let tree = repository.load_tree(&blob.id).await.unwrap();
                assert_eq!(BlobId::of(&tree.to_bytes()), blob.id);
            }
        }
        for pack in repository.packs() {
            let mut of_pack = Vec::new();
            repository.for_each_blob(|location| {
                if location.pack == pack {
                    of_pack.push(location.blob);
                }
            });
            let loaded = repository.load_pack_blobs(&pack, &of_pack).await.unwrap();
            assert!(loaded.iter().all(Result::is_ok));
        }
    }
}
