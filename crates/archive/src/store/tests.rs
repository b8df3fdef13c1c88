use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

#[tokio::test]
async fn files_lie_where_restic_expects_them() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("archive");
    let store = LocalStore::create(&root).unwrap();
    for kind in FileKind::ALL {
        let (id, data) = if kind == FileKind::Config {
            (FileId::ZERO, Bytes::from_static(b"config"))
        } else {
            (FileId::of(b"data"), Bytes::from_static(b"data"))
        };
        assert_eq!(store.list(kind).await.unwrap(), []);
        store.save(kind, &id, data.clone()).await.unwrap();
        assert_eq!(store.list(kind).await.unwrap(), [StoredFile { id, size: data.len() as u64 }]);
        assert_eq!(store.load(kind, &id, None).await.unwrap(), data);
        let path = match kind {
            FileKind::Config => root.join("config"),
            FileKind::Pack => root.join("data").join(&id.to_string()[..2]).join(id.to_string()),
            other => root.join(other.dir_name()).join(id.to_string()),
        };
        assert_eq!(fs::read(&path).unwrap(), data);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o400);
        store.remove(kind, &id).await.unwrap();
        assert!(!path.exists());
    }
    assert_eq!(fs::metadata(&root).unwrap().permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn ranges_are_exact_or_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::create(dir.path()).unwrap();
    let id = FileId::of(b"0123456789");
    store.save(FileKind::Pack, &id, Bytes::from_static(b"0123456789")).await.unwrap();
    let load = |range| store.load(FileKind::Pack, &id, Some(range));
    assert_eq!(load(2..5).await.unwrap(), &b"234"[..]);
    assert_eq!(load(0..10).await.unwrap(), &b"0123456789"[..]);
    assert_eq!(load(10..10).await.unwrap(), &b""[..]);
    assert!(matches!(load(5..11).await, Err(StoreError::Corrupt { .. })));
    assert!(matches!(load(11..12).await, Err(StoreError::Corrupt { .. })));
    assert!(matches!(load(u64::MAX - 1..u64::MAX).await, Err(StoreError::Corrupt { .. })));
}

#[tokio::test]
async fn what_is_not_there_is_told_apart_from_failures() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::create(dir.path()).unwrap();
    let id = FileId::of(b"missing");
    let loaded = store.load(FileKind::Snapshot, &id, None).await;
    assert!(matches!(loaded, Err(StoreError::NotFound { kind: FileKind::Snapshot, .. })));
    assert!(matches!(store.remove(FileKind::Lock, &id).await, Err(StoreError::NotFound { .. })));
    assert!(LocalStore::open(dir.path().join("nowhere")).is_err());
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(LocalStore::open(file).is_err());
    assert!(!loaded.unwrap_err().is_transient());
    assert!(StoreError::Unavailable("offline".to_owned()).is_transient());
    let said =
        |kind, id| StoreError::Corrupt { kind, id, reason: "it makes no sense".to_owned() }.to_string();
    assert_eq!(
        said(FileKind::Pack, FileId::ZERO),
        "the list of the pack files is damaged: it makes no sense"
    );
    assert_eq!(said(FileKind::Config, FileId::ZERO), "the config is damaged: it makes no sense");
    let id = FileId::of(b"x");
    assert_eq!(said(FileKind::Pack, id), format!("pack {id} is damaged: it makes no sense"));
}

#[tokio::test]
async fn saving_again_keeps_the_first_and_leftovers_are_not_listed() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::create(dir.path()).unwrap();
    let id = FileId::of(b"first");
    store.save(FileKind::Index, &id, Bytes::from_static(b"first")).await.unwrap();
    store.save(FileKind::Index, &id, Bytes::from_static(b"second")).await.unwrap();
    assert_eq!(store.load(FileKind::Index, &id, None).await.unwrap(), &b"first"[..]);
    fs::write(dir.path().join("index").join(format!("{id}-tmp-1-1")), "half").unwrap();
    fs::write(dir.path().join("index/notes.txt"), "x").unwrap();
    fs::create_dir(dir.path().join("index").join(FileId::of(b"dir").to_string())).unwrap();
    assert_eq!(store.list(FileKind::Index).await.unwrap().len(), 1);
    let names: Vec<_> = fs::read_dir(dir.path().join("index")).unwrap().collect();
    assert_eq!(names.len(), 4, "a temporary file was left behind");
}
