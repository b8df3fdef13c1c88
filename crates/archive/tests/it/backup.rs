//! Backups: what they store, what they leave out, and how they end early.

use std::fs;
use std::ops::Range;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use kith_archive::backup::{BackupError, Event, Exclude, Phase};
use kith_archive::check::{CheckDepth, Finding, check};
use kith_archive::restore::{RestoreRequest, restore};
use kith_archive::store::{FileId, FileKind, LocalStore, Store, StoreError, StoredFile};
use kith_archive::tree::{FileTime, NodeKind};
use kith_archive::{BackupRequest, BlobId, BlobType, Repository, RepositoryError, Snapshot, backup};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::forge::Forge;
use crate::support::*;

/// A directory in which some things go wrong on purpose.
struct Faulty {
    inner: LocalStore,
    /// Packs that are stored before saving them fails.
    packs: AtomicUsize,
    /// Packs that were let through and are not stored yet.
    on_the_way: tokio::sync::watch::Sender<usize>,
    fail_index: AtomicBool,
    /// Saving further packs fails only when it is told to.
    hang: AtomicBool,
    hanging: tokio::sync::Notify,
    fail: tokio::sync::Notify,
    saved: Mutex<Vec<FileKind>>,
    /// How often the packs were listed.
    listed: AtomicUsize,
}

impl Faulty {
    fn new(dir: &Path) -> Arc<Self> {
        Arc::new(Self {
            inner: LocalStore::create(dir).unwrap(),
            packs: AtomicUsize::new(usize::MAX),
            on_the_way: tokio::sync::watch::Sender::new(0),
            fail_index: AtomicBool::new(false),
            hang: AtomicBool::new(false),
            hanging: tokio::sync::Notify::new(),
            fail: tokio::sync::Notify::new(),
            saved: Mutex::default(),
            listed: AtomicUsize::new(0),
        })
    }
}

#[async_trait]
impl Store for Faulty {
    async fn list(&self, kind: FileKind) -> Result<Vec<StoredFile>, StoreError> {
        if kind == FileKind::Pack {
            self.listed.fetch_add(1, Ordering::SeqCst);
        }
        self.inner.list(kind).await
    }

    async fn load(
        &self,
        kind: FileKind,
        id: &FileId,
        range: Option<Range<u64>>,
    ) -> Result<Bytes, StoreError> {
        self.inner.load(kind, id, range).await
    }

    async fn save(&self, kind: FileKind, id: &FileId, data: Bytes) -> Result<(), StoreError> {
        if kind == FileKind::Pack {
            let left =
                self.packs.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            if left.is_err() {
                // A run that is stopped waits for a moment only for what is on its way: how much was stored would be chance.
                self.on_the_way.subscribe().wait_for(|packs| *packs == 0).await.unwrap();
                if self.hang.load(Ordering::SeqCst) {
                    self.hanging.notify_one();
                    self.fail.notified().await;
                }
                return Err(StoreError::QuotaExceeded { message: "1 GB of 1 GB is used".to_owned() });
            }
            self.on_the_way.send_modify(|packs| *packs += 1);
        }
        if kind == FileKind::Index && self.fail_index.load(Ordering::SeqCst) {
            return Err(StoreError::Full);
        }
        let saved = self.inner.save(kind, id, data).await;
        if kind == FileKind::Pack {
            self.on_the_way.send_modify(|packs| *packs -= 1);
        }
        saved?;
        self.saved.lock().unwrap().push(kind);
        Ok(())
    }

    async fn remove(&self, kind: FileKind, id: &FileId) -> Result<(), StoreError> {
        self.inner.remove(kind, id).await
    }
}

async fn faulty(dir: &Path) -> (Arc<Faulty>, Arc<Repository>) {
    let store = Faulty::new(dir);
    let repository =
        Repository::init(Arc::clone(&store) as Arc<dyn Store>, key(), polynomial()).await.unwrap();
    (store, Arc::new(repository))
}

fn many_files(dir: &Path, count: usize, size: usize) {
    fs::create_dir_all(dir).unwrap();
    for number in 0..count {
        let data = noise(u64::try_from(number).unwrap() * 2 + 1, size);
        fs::write(dir.join(format!("file {number:04}")), data).unwrap();
    }
}

#[tokio::test]
async fn a_second_run_reads_and_stores_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let (source, archive) = (temp.path().join("source"), temp.path().join("archive"));
    make_files(&source);
    let repository = init(&archive).await;
    let first = run(&repository, request(&source)).await;
    assert!(first.files_new > 20 && first.data_blobs > 10 && first.tree_blobs > 5);
    assert!(first.bytes_stored < first.bytes_added, "nothing was compressed");
    for repository in [repository, open(&archive).await] {
        let second = run(&repository, request(&source)).await;
        assert!(second.parent.is_some());
        let (before, after) =
            (find(&repository, first.tree, &source).await, find(&repository, second.tree, &source).await);
        assert_eq!(before, after);
        assert_eq!((second.files_new, second.files_changed), (0, 0));
        assert_eq!(second.files_unmodified, first.files_new);
        assert_eq!((second.dirs_new, second.dirs_changed), (0, 0));
        assert_eq!(second.data_blobs, 0);
        // The root tree tells when the directory of all temporary files was changed: perhaps by another test just now.
        assert!(second.tree_blobs <= 1);
        assert_eq!(second.bytes_processed, first.bytes_processed);
    }
}

#[tokio::test]
async fn the_snapshot_tells_what_was_asked_and_done() {
    let temp = tempfile::tempdir().unwrap();
    let source = temp.path().join("source");
    many_files(&source, 3, 1000);
    let repository = init(&temp.path().join("archive")).await;
    let asked = BackupRequest {
        tags: vec!["set:docs".to_owned()],
        excludes: vec![Exclude::new("*.tmp").unwrap()],
        ..request(&source)
    };
    let report = run(&repository, asked.clone()).await;
    let list = repository.snapshots().await.unwrap();
    assert!(list.unreadable.is_empty());
    let [snapshot] = &list.snapshots[..] else { panic!("{list:?}") };
    assert_eq!((snapshot.id, snapshot.tree), (report.snapshot, report.tree));
    assert_eq!(snapshot.time, asked.time);
    assert_eq!(snapshot.paths, [source.to_str().unwrap()]);
    assert_eq!((&*snapshot.hostname, &*snapshot.username), ("study", "ada"));
    assert_eq!((&snapshot.tags, &snapshot.excludes), (&asked.tags, &vec!["*.tmp".to_owned()]));
    let summary = snapshot.summary.as_ref().unwrap();
    assert_eq!((summary.total_files_processed, summary.total_bytes_processed), (3, 3000));
}

#[tokio::test]
async fn only_a_snapshot_of_the_same_things_becomes_the_parent() {
    let temp = tempfile::tempdir().unwrap();
    let (one, two) = (temp.path().join("one"), temp.path().join("two"));
    many_files(&one, 1, 10);
    many_files(&two, 1, 10);
    let repository = init(&temp.path().join("archive")).await;
    let first = run(&repository, request(&one)).await;
    assert_eq!(run(&repository, request(&two)).await.parent, None);
    let tagged = BackupRequest { tags: vec!["x".to_owned()], ..request(&one) };
    assert_eq!(run(&repository, tagged).await.parent, None);
    let elsewhere = BackupRequest { hostname: "attic".to_owned(), ..request(&one) };
    assert_eq!(run(&repository, elsewhere).await.parent, None);
    assert_eq!(run(&repository, request(&one)).await.parent, Some(first.snapshot));
}

#[tokio::test]
async fn a_changed_file_is_read_again_and_the_others_are_not() {
    let temp = tempfile::tempdir().unwrap();
    let source = temp.path().join("source");
    many_files(&source, 5, 700_000);
    let repository = init(&temp.path().join("archive")).await;
    run(&repository, request(&source)).await;
    fs::write(source.join("file 0002"), noise(77, 700_000)).unwrap();
    fs::write(source.join("new"), "new").unwrap();
    let report = run(&repository, request(&source)).await;
    assert_eq!((report.files_new, report.files_changed, report.files_unmodified), (1, 1, 4));
    let node = find(&repository, report.tree, &source.join("new")).await.unwrap();
    assert_eq!((node.kind, node.size), (NodeKind::File, 3));
}

#[tokio::test]
async fn equal_files_are_stored_once() {
    let temp = tempfile::tempdir().unwrap();
    let source = temp.path().join("source");
    fs::create_dir(&source).unwrap();
    for number in 0..20 {
        fs::write(source.join(number.to_string()), noise(9, 3_000_000)).unwrap();
    }
    let repository = init(&temp.path().join("archive")).await;
    let report = run(&repository, request(&source)).await;
    assert_eq!(report.bytes_processed, 60_000_000);
    assert!(report.bytes_added < 3_100_000, "{} bytes were added", report.bytes_added);
}

#[tokio::test]
async fn excluded_things_are_not_in_the_snapshot_and_are_counted() {
    let temp = tempfile::tempdir().unwrap();
    let source = temp.path().join("source");
    many_files(&source.join("keep"), 2, 10);
    many_files(&source.join("cache"), 2, 10);
    fs::write(source.join("keep/x.tmp"), "x").unwrap();
    let repository = init(&temp.path().join("archive")).await;
    let excludes = ["cache", "*.tmp"].map(|pattern| Exclude::new(pattern).unwrap()).to_vec();
    let report = run(&repository, BackupRequest { excludes, ..request(&source) }).await;
    assert_eq!((report.excluded, report.files_new), (2, 2));
    assert!(report.is_complete());
    assert!(find(&repository, report.tree, &source.join("cache")).await.is_none());
    assert!(find(&repository, report.tree, &source.join("keep/x.tmp")).await.is_none());
    assert!(find(&repository, report.tree, &source.join("keep/file 0001")).await.is_some());
}

#[tokio::test]
async fn a_missing_source_is_an_error_before_anything_is_sent() {
    let temp = tempfile::tempdir().unwrap();
    let source = temp.path().join("source");
    many_files(&source, 1, 10);
    let (store, repository) = faulty(&temp.path().join("archive")).await;
    let sent = store.saved.lock().unwrap().len();
    let attempt = |paths: Vec<PathBuf>| {
        let request = BackupRequest { paths, ..request(&source) };
        backup(Arc::clone(&repository), request, |_| (), CancellationToken::new())
    };
    let missing = temp.path().join("missing");
    let error = attempt(vec![source.clone(), missing.clone()]).await.unwrap_err();
    assert!(matches!(&error, BackupError::SourceMissing { path } if *path == missing), "{error:?}");
    assert_eq!(error.to_string(), format!("{} is not there", missing.display()));
    assert!(matches!(attempt(vec![]).await, Err(BackupError::NoSource)));
    assert!(matches!(attempt(vec!["x".into()]).await, Err(BackupError::SourceNotAbsolute { .. })));
    assert_eq!(store.saved.lock().unwrap().len(), sent);
}

#[tokio::test]
async fn a_backup_of_nothing_makes_no_snapshot() {
    let temp = tempfile::tempdir().unwrap();
    let source = temp.path().join("source");
    many_files(&source, 1, 10);
    let repository = init(&temp.path().join("archive")).await;
    let excludes = vec![Exclude::new(source.to_str().unwrap()).unwrap()];
    let everything = BackupRequest { excludes, ..request(&source) };
    let result = backup(Arc::clone(&repository), everything, |_| (), CancellationToken::new()).await;
    assert!(matches!(result, Err(BackupError::Empty)), "{result:?}");
    assert!(repository.snapshots().await.unwrap().snapshots.is_empty());
    fs::remove_file(source.join("file 0000")).unwrap();
    assert_eq!(run(&repository, request(&source)).await.files_new, 0, "an empty directory is something");
}

#[tokio::test]
async fn a_source_that_is_a_link_is_an_omission_and_alone_an_error() {
    let temp = tempfile::tempdir().unwrap();
    let (folder, link) = (temp.path().join("folder"), temp.path().join("link"));
    many_files(&folder, 2, 10);
    symlink(&folder, &link).unwrap();
    let repository = init(&temp.path().join("archive")).await;
    for path in [link.clone(), link.join("")] {
        let result = backup(Arc::clone(&repository), request(&path), |_| (), CancellationToken::new()).await;
        let error = result.unwrap_err();
        assert!(matches!(error, BackupError::SourceIsLink { .. }), "{error:?}");
        let real = folder.canonicalize().unwrap();
        assert!(error.to_string().contains(&format!("name {} itself", real.display())), "{error}");
    }
    assert!(repository.snapshots().await.unwrap().snapshots.is_empty());
    // Beside something else, the rest is stored.
    let other = temp.path().join("other");
    many_files(&other, 1, 10);
    let asked = BackupRequest { paths: vec![link.clone(), other.clone()], ..request(&other) };
    let report = run(&repository, asked.clone()).await;
    assert_eq!((report.files_new, report.skipped_total, report.is_complete()), (1, 1, false));
    assert_eq!(report.skipped[0].path, link);
    assert!(report.skipped[0].reason.contains("symbolic link"), "{:?}", report.skipped);
    assert!(find(&repository, report.tree, &link).await.is_none());
    // The paths are those of the set: the next run finds its parent, and a folder in the place of the link is stored.
    fs::remove_file(&link).unwrap();
    many_files(&link, 1, 10);
    let next = run(&repository, asked).await;
    assert_eq!(next.parent, Some(report.snapshot));
    assert!(next.is_complete() && find(&repository, next.tree, &link.join("file 0000")).await.is_some());
    // On the way to a source, links count as what they lead to.
    let way = temp.path().join("way");
    symlink(&folder, &way).unwrap();
    let report = run(&repository, request(&way.join("file 0001"))).await;
    assert!(report.is_complete() && report.files_new == 1);
}

/// The parent snapshot says of a file what the system says, and names another content: as if it had been changed after it
/// was read, in the same tick of the clock.
#[tokio::test]
async fn a_file_that_had_not_settled_when_it_was_read_is_read_again() {
    let temp = tempfile::tempdir().unwrap();
    let source = temp.path().canonicalize().unwrap().join("source");
    fs::create_dir(&source).unwrap();
    let path = source.join("file");
    fs::write(&path, "what is there").unwrap();
    let metadata = path.metadata().unwrap();
    let time = |seconds: i64, nanoseconds: i64| FileTime {
        seconds,
        nanoseconds: u32::try_from(nanoseconds).unwrap(),
    };
    let mut forge = Forge::default();
    let mut node = forge.file("file", b"what was read");
    node.modified = time(metadata.mtime(), metadata.mtime_nsec());
    node.changed = time(metadata.ctime(), metadata.ctime_nsec());
    node.inode = metadata.ino();
    let names: Vec<_> = source.iter().skip(1).map(|name| name.to_str().unwrap()).collect();
    for name in names.into_iter().rev() {
        node = forge.dir(name, vec![node]);
    }
    let root = forge.tree(vec![node]);
    let (repository, parent) = forge.write(&temp.path().join("archive"), root).await;
    let changed =
        jiff::Timestamp::new(metadata.ctime(), i32::try_from(metadata.ctime_nsec()).unwrap()).unwrap();
    let read = async |begun_after: jiff::SignedDuration| {
        let parent = Snapshot { time: changed + begun_after, ..parent.clone() };
        let parent = Some(repository.save_snapshot(&parent).await.unwrap());
        let report = run(&repository, BackupRequest { parent, ..request(&source) }).await;
        let node = find(&repository, report.tree, &path).await.unwrap();
        let is_read = node.content.unwrap() == [BlobId::of(b"what is there")];
        assert_eq!((report.files_changed, report.files_unmodified), if is_read { (1, 0) } else { (0, 1) });
        is_read
    };
    for milliseconds in [-60_000, 0, 10, 1_999] {
        assert!(read(jiff::SignedDuration::from_millis(milliseconds)).await, "{milliseconds} ms");
    }
    // Later the times tell: whatever the parent says is trusted, and nothing is read.
    assert!(!read(jiff::SignedDuration::from_millis(2_001)).await);
}

/// The capabilities of a file that belong to a user whom the reader's name space does not have can be listed, not read.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_extended_attribute_that_can_not_be_read_is_an_omission() {
    const VARIABLE: &str = "KITH_TEST_ATTRIBUTES";
    let Some(dir) = std::env::var_os(VARIABLE) else {
        let temp = tempfile::tempdir().unwrap();
        let source = temp.path().join("source");
        many_files(&source, 2, 10);
        let mut capabilities = Vec::new();
        for number in [0x0300_0001_u32, 1, 0, 0, 0, 100_000] {
            capabilities.extend_from_slice(&number.to_le_bytes());
        }
        let set = xattr::set(source.join("file 0001"), "security.capability", &capabilities);
        let probe =
            std::process::Command::new("unshare").args(["--user", "--map-root-user", "true"]).status();
        if set.is_err() || !probe.is_ok_and(|status| status.success()) {
            eprintln!("skipped: no capabilities can be given to files here, or no user name spaces made");
            return;
        }
        let output = std::process::Command::new("unshare")
            .args(["--user", "--map-root-user"])
            .arg(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "backup::an_extended_attribute_that_can_not_be_read_is_an_omission",
                "--nocapture",
            ])
            .env(VARIABLE, temp.path())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && text.contains("1 passed"), "{text}{errors}");
        return;
    };
    let source = Path::new(&dir).join("source");
    let repository = init(&Path::new(&dir).join("archive")).await;
    // The second run does not open the file, and says so all the same.
    for _ in 0..2 {
        let report = run(&repository, request(&source)).await;
        assert_eq!((report.skipped_total, report.is_complete()), (1, false));
        assert_eq!(report.skipped[0].path, source.join("file 0001"));
        assert!(report.skipped[0].reason.contains("security.capability"), "{:?}", report.skipped);
        let node = find(&repository, report.tree, &source.join("file 0001")).await.unwrap();
        assert!(node.content.is_some() && node.extended_attributes.is_empty(), "the content is stored");
    }
}

/// Reading the beginning of a process's own memory always fails, even for root.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_file_that_can_not_be_read_is_listed_and_the_rest_is_stored() {
    let temp = tempfile::tempdir().unwrap();
    let source = temp.path().join("source");
    many_files(&source, 2, 10);
    let repository = init(&temp.path().join("archive")).await;
    let unreadable = PathBuf::from(format!("/proc/{}/mem", std::process::id()));
    let paths = vec![source.clone(), unreadable.clone()];
    let report = run(&repository, BackupRequest { paths, ..request(&source) }).await;
    assert_eq!((report.skipped_total, report.is_complete()), (1, false));
    assert_eq!(report.skipped[0].path, unreadable);
    assert!(!report.skipped[0].reason.is_empty());
    assert!(find(&repository, report.tree, &source.join("file 0000")).await.is_some());
    assert!(find(&repository, report.tree, &unreadable).await.is_none());
}

#[tokio::test]
async fn a_file_without_size_is_read_to_its_end() {
    if !cfg!(target_os = "linux") {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let repository = init(&temp.path().join("archive")).await;
    let source = PathBuf::from("/proc/version");
    let report = run(&repository, request(&source)).await;
    let node = find(&repository, report.tree, &source).await.unwrap();
    assert_eq!(node.size, fs::read(&source).unwrap().len() as u64);
}

#[tokio::test]
async fn a_failing_store_ends_the_backup_with_its_reason_and_without_a_snapshot() {
    let temp = tempfile::tempdir().unwrap();
    let source = temp.path().join("source");
    many_files(&source, 60, 1_000_000);
    let (store, repository) = faulty(&temp.path().join("archive")).await;
    store.packs.store(2, Ordering::SeqCst);
    store.hang.store(true, Ordering::SeqCst);
    let running = backup(Arc::clone(&repository), request(&source), |_| (), CancellationToken::new());
    let running = tokio::spawn(running);
    store.hanging.notified().await;
    // Virtual time while it ends: a busy disk takes longer for the last index than the moment that there is for it.
    tokio::time::pause();
    store.fail.notify_one();
    let result = running.await.unwrap();
    tokio::time::resume();
    let Err(BackupError::Store { what, source: reason }) = &result else { panic!("{result:?}") };
    assert!(what.starts_with("pack "), "{what}");
    assert!(matches!(reason, StoreError::QuotaExceeded { .. }));
    assert!(repository.snapshots().await.unwrap().snapshots.is_empty());
    // The two packs that were stored are known to the next run.
    let again = open_store(Arc::clone(&store) as Arc<dyn Store>).await;
    assert_eq!(again.packs().len(), 2);
    store.packs.store(usize::MAX, Ordering::SeqCst);
    let report = run(&again, request(&source)).await;
    assert!(report.bytes_added < 60_000_000 - 25_000_000, "{} bytes were sent again", report.bytes_added);
}

#[tokio::test]
async fn packs_without_an_index_are_used_again() {
    // All is to be stored before the first index is due, after 30 s.
    let temp = fast_directory();
    let (source, archive) = (temp.path().join("source"), temp.path().join("archive"));
    many_files(&source, 40, 1_000_000);
    let (store, repository) = faulty(&archive).await;
    store.fail_index.store(true, Ordering::SeqCst);
    let result = backup(repository, request(&source), |_| (), CancellationToken::new()).await;
    assert!(matches!(result, Err(BackupError::Store { source: StoreError::Full, .. })), "{result:?}");
    let again = open(&archive).await;
    assert_eq!(again.packs().len(), 0);
    // One of them is no pack at all: it is left alone.
    let junk = noise(1, 100);
    again.store().save(FileKind::Pack, &FileId::of(&junk), junk.into()).await.unwrap();
    let report = run(&again, request(&source)).await;
    assert!(report.adopted.packs >= 3, "{:?}", report.adopted);
    assert_eq!((report.adopted.unreadable, report.data_blobs), (1, 0));
    assert_eq!(report.files_new, 40);
    let order = run(&open(&archive).await, request(&source)).await;
    assert_eq!(order.adopted.packs, 0);
}

#[tokio::test]
async fn packs_come_before_the_index_and_the_snapshot_comes_last() {
    let temp = tempfile::tempdir().unwrap();
    let source = temp.path().join("source");
    many_files(&source, 40, 1_000_000);
    let (store, repository) = faulty(&temp.path().join("archive")).await;
    run(&repository, request(&source)).await;
    let saved = store.saved.lock().unwrap().clone();
    let last_pack = saved.iter().rposition(|kind| *kind == FileKind::Pack).unwrap();
    assert_eq!(saved[last_pack + 1..], [FileKind::Index, FileKind::Snapshot]);
}

#[tokio::test]
async fn cancelling_takes_effect_within_a_second_and_keeps_what_is_stored() {
    let temp = tempfile::tempdir().unwrap();
    let source = temp.path().join("source");
    many_files(&source, 150, 1_000_000);
    let (store, repository) = faulty(&temp.path().join("archive")).await;
    store.packs.store(2, Ordering::SeqCst);
    store.hang.store(true, Ordering::SeqCst);
    let cancel = CancellationToken::new();
    let running = tokio::spawn(backup(repository, request(&source), |_| (), cancel.clone()));
    store.hanging.notified().await;
    // Virtual time while it ends: what it waits for is counted, not how long a busy computer takes.
    tokio::time::pause();
    let asked = Instant::now();
    cancel.cancel();
    let result = running.await.unwrap();
    let took = asked.elapsed();
    tokio::time::resume();
    assert!(matches!(result, Err(BackupError::Cancelled)), "{result:?}");
    assert!(took < Duration::from_secs(1), "it took {took:?}");
    let again = open_store(Arc::clone(&store) as Arc<dyn Store>).await;
    assert_eq!(again.packs().len(), 2);
    assert!(again.snapshots().await.unwrap().snapshots.is_empty());
    store.packs.store(usize::MAX, Ordering::SeqCst);
    let report = run(&again, request(&source)).await;
    assert!(report.bytes_added < 150_000_000 - 30_000_000, "{} bytes were sent again", report.bytes_added);
}

#[tokio::test]
async fn dropping_a_backup_stops_its_threads() {
    let temp = tempfile::tempdir().unwrap();
    let source = temp.path().join("source");
    many_files(&source, 150, 1_000_000);
    let (store, repository) = faulty(&temp.path().join("archive")).await;
    store.packs.store(0, Ordering::SeqCst);
    store.hang.store(true, Ordering::SeqCst);
    let weak = Arc::downgrade(&repository);
    let running = tokio::spawn(backup(repository, request(&source), |_| (), CancellationToken::new()));
    store.hanging.notified().await;
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    // Whoever still works holds the repository.
    let given_up = async {
        while weak.strong_count() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), given_up).await.unwrap();
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_read_is_stored_and_reported() {
    let temp = tempfile::tempdir().unwrap();
    let source = temp.path().join("source");
    fs::create_dir(&source).unwrap();
    let busy = source.join("busy");
    fs::write(&busy, noise(1, 60_000_000)).unwrap();
    let repository = init(&temp.path().join("archive")).await;
    let done = Arc::new(AtomicBool::new(false));
    let toucher = {
        let (busy, done) = (fs::File::options().write(true).open(&busy).unwrap(), Arc::clone(&done));
        std::thread::spawn(move || {
            while !done.load(Ordering::SeqCst) {
                busy.set_modified(std::time::SystemTime::now()).unwrap();
                std::thread::yield_now();
            }
        })
    };
    let report = run(&repository, request(&source)).await;
    done.store(true, Ordering::SeqCst);
    toucher.join().unwrap();
    assert_eq!((report.changed_while_read_total, &report.changed_while_read), (1, &vec![busy.clone()]));
    assert_eq!((report.skipped_total, report.files_new), (0, 1));
    assert!(find(&repository, report.tree, &busy).await.is_some());
    assert_eq!(run(&repository, request(&source)).await.changed_while_read_total, 0);
}

#[tokio::test]
async fn events_tell_phases_and_totals() {
    let temp = tempfile::tempdir().unwrap();
    let source = temp.path().join("source");
    many_files(&source, 30, 100_000);
    let repository = init(&temp.path().join("archive")).await;
    let events = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&events);
    let report = backup(
        repository,
        request(&source),
        move |event| sink.lock().unwrap().push(event),
        CancellationToken::new(),
    )
    .await
    .unwrap();
    let events = events.lock().unwrap();
    let phases: Vec<Phase> = events
        .iter()
        .filter_map(|event| if let Event::Phase(phase) = event { Some(*phase) } else { None })
        .collect();
    assert_eq!(phases, [Phase::Preparing, Phase::Storing, Phase::Finishing]);
    let Some(Event::Progress(last)) = events.last() else { panic!("{events:?}") };
    assert!(last.found_all);
    assert_eq!((last.found, last.done), (last.done, last.found));
    assert_eq!((last.done.files, last.done.bytes), (30, 3_000_000));
    assert_eq!((last.new_bytes, last.errors), (3_000_000, 0));
    assert!(last.stored_bytes >= report.bytes_stored);
}

#[tokio::test]
async fn a_file_that_lost_its_blobs_is_stored_again() {
    let temp = tempfile::tempdir().unwrap();
    let (source, archive) = (temp.path().join("source"), temp.path().join("archive"));
    many_files(&source, 4, 1_000_000);
    let repository = init(&archive).await;
    let first = run(&repository, request(&source)).await;
    let node = find(&repository, first.tree, &source.join("file 0001")).await.unwrap();
    let lost = repository.locate(BlobType::Data, &node.content.unwrap()[0])[0].pack;
    let store = repository.store();
    store.remove(FileKind::Pack, &lost).await.unwrap();
    for index in store.list(FileKind::Index).await.unwrap() {
        store.remove(FileKind::Index, &index.id).await.unwrap();
    }
    // What is left is found again, what is lost is read again.
    let report = run(&open(&archive).await, request(&source)).await;
    assert!(report.data_blobs > 0 && report.adopted.packs > 0, "{report:?}");
    let repository = open(&archive).await;
    let node = find(&repository, report.tree, &source.join("file 0001")).await.unwrap();
    for id in node.content.unwrap() {
        repository.load_blob(BlobType::Data, &id).await.unwrap();
    }
}

/// Backs up, damages what `harm` is given a path of, and backs up again: everything must be there then.
async fn check_repair(blob_type: BlobType, harm: impl Fn(&Path)) {
    let temp = tempfile::tempdir().unwrap();
    let (source, archive) = (temp.path().join("source"), temp.path().join("archive"));
    many_files(&source, 40, 1_000_000);
    let (store, repository) = faulty(&archive).await;
    let first = run(&repository, request(&source)).await;
    assert_eq!(first.lost_packs, 0);
    let way = if blob_type == BlobType::Tree { source.clone() } else { source.join("file 0001") };
    let node = find(&repository, first.tree, &way).await.unwrap();
    let blob = node.subtree.unwrap_or_else(|| node.content.unwrap()[0]);
    let lost = repository.locate(blob_type, &blob)[0].pack;
    harm(&archive.join("data").join(&lost.to_string()[..2]).join(lost.to_string()));
    for repository in [repository, open(&archive).await] {
        store.listed.store(0, Ordering::SeqCst);
        let again = run(&repository, request(&source)).await;
        if again.lost_packs == 0 {
            assert_eq!(again.data_blobs, 0, "the second time there is nothing left to do");
            continue;
        }
        assert_eq!((again.lost_packs, again.skipped_total), (1, 0));
        assert_eq!(store.listed.load(Ordering::SeqCst), 1);
        let (anew, all) = match blob_type {
            BlobType::Data => (again.data_blobs, first.data_blobs),
            BlobType::Tree => (again.tree_blobs, first.tree_blobs),
        };
        assert!(anew > 0 && (anew < all || blob_type == BlobType::Tree), "{anew} of {all} blobs were stored");
        assert_eq!(again.files_new + again.files_changed + again.files_unmodified, 40);
        store.inner.remove(FileKind::Snapshot, &first.snapshot.into()).await.unwrap();
        for depth in [CheckDepth::Structure, CheckDepth::ReadData] {
            let report = check(open(&archive).await, depth, |_| (), CancellationToken::new()).await.unwrap();
            let lost_files = report.findings.items.iter().any(|f| matches!(f, Finding::LostFiles { .. }));
            assert!(!lost_files, "{:?}", report.findings);
            if blob_type == BlobType::Data {
                assert_eq!((report.is_clean(), report.replaced), (true, 1), "{:?}", report.findings);
            }
        }
        let snapshot = repository.load_snapshot(&again.snapshot).await.unwrap();
        let target = temp.path().join("target");
        let wish = RestoreRequest::new(snapshot, &target);
        let restored = restore(open(&archive).await, wish, |_| (), CancellationToken::new()).await.unwrap();
        assert!(restored.is_complete(), "{:?}", restored.failed);
        assert_eq!(fingerprint(&source), fingerprint(&below(&target, &source)));
        // The first root's listing has the times of folders that other tests change: it may not come back.
        if blob_type == BlobType::Tree {
            break;
        }
    }
}

fn cut_short(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes.truncate(bytes.len() - 100);
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn content_of_a_lost_pack_is_stored_again() {
    check_repair(BlobType::Data, |path| fs::remove_file(path).unwrap()).await;
}

#[tokio::test]
async fn content_of_a_pack_of_the_wrong_size_is_stored_again() {
    check_repair(BlobType::Data, cut_short).await;
}

#[tokio::test]
async fn folders_of_a_lost_pack_are_stored_again() {
    check_repair(BlobType::Tree, |path| fs::remove_file(path).unwrap()).await;
}

#[tokio::test]
async fn folders_of_a_pack_of_the_wrong_size_are_stored_again() {
    check_repair(BlobType::Tree, cut_short).await;
}

#[tokio::test]
async fn a_repository_of_version_1_is_not_written_to() {
    let temp = tempfile::tempdir().unwrap();
    let store = LocalStore::create(temp.path()).unwrap();
    let json = format!(r#"{{"version":1,"id":"{}","chunker_polynomial":"{}"}}"#, FileId::ZERO, polynomial());
    let sealed = key().seal(json.as_bytes()).unwrap();
    store.save(FileKind::Config, &FileId::ZERO, sealed.into()).await.unwrap();
    let repository = open(temp.path()).await;
    let result = backup(repository, request(temp.path()), |_| (), CancellationToken::new()).await;
    assert!(
        matches!(result, Err(BackupError::Repository(RepositoryError::UnsupportedVersion(1)))),
        "{result:?}"
    );
}

#[tokio::test]
async fn a_repository_of_a_newer_version_is_refused_with_a_sentence_and_left_alone() {
    for version in [3, 99] {
        let temp = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(LocalStore::create(temp.path()).unwrap());
        // Whatever else a newer version has in its config, and may no longer have.
        let json = format!(r#"{{"version":{version},"id":"{}","something":["new"]}}"#, FileId::ZERO);
        let sealed = key().seal(json.as_bytes()).unwrap();
        store.save(FileKind::Config, &FileId::ZERO, sealed.clone().into()).await.unwrap();
        let opened = Repository::open(store.clone(), key()).await;
        let error = opened.err().unwrap();
        assert!(matches!(error, RepositoryError::UnsupportedVersion(found) if found == version), "{error:?}");
        let said = error.to_string();
        assert!(
            said.contains(&format!("version {version}")) && said.ends_with("install the newer Kith"),
            "{said}"
        );
        let made = Repository::init(store.clone(), key(), polynomial()).await;
        assert!(matches!(made, Err(RepositoryError::AlreadyInitialised)));
        for kind in [FileKind::Pack, FileKind::Index, FileKind::Snapshot, FileKind::Key, FileKind::Lock] {
            assert_eq!(store.list(kind).await.unwrap(), [], "{kind}");
        }
        assert!(fs::read(temp.path().join("config")).unwrap() == sealed, "the config was changed");
    }
}
