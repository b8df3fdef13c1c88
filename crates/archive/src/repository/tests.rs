use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::store::LocalStore;

fn key() -> Arc<MasterKey> {
    Arc::new(MasterKey::from_bytes(&[3; 64]).unwrap())
}

async fn init(dir: &Path) -> Repository {
    let store = Arc::new(LocalStore::create(dir).unwrap());
    Repository::init(store, key(), Polynomial::derive(&[1; 32])).await.unwrap()
}

async fn reopen(dir: &Path) -> Result<Repository, RepositoryError> {
    Repository::open(Arc::new(LocalStore::open(dir).unwrap()), key()).await
}

/// Stores one pack with the given blobs and its index.
async fn store_pack(repository: &Repository, blobs: &[(BlobType, &[u8])]) -> FileId {
    let mut builder = PackBuilder::default();
    let mut sealer = BlobSealer::new().unwrap();
    for (blob_type, content) in blobs {
        let (sealed, length) = sealer.seal(&repository.key, content).unwrap();
        builder.push(*blob_type, BlobId::of(content), sealed, length).unwrap();
    }
    let (data, packed) = builder.finish(&repository.key).unwrap();
    let id = FileId::of(&data);
    repository.store.save(FileKind::Pack, &id, data.into()).await.unwrap();
    let pack = IndexedPack::new(id, &packed);
    repository.insert_pack(&pack);
    repository.save_index(IndexFile { packs: vec![pack], ..IndexFile::default() }).await.unwrap();
    id
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

fn pack_path(dir: &Path, id: &FileId) -> std::path::PathBuf {
    dir.join("data").join(&id.to_string()[..2]).join(id.to_string())
}

#[tokio::test]
async fn blobs_are_read_back_after_opening_again() {
    let dir = tempfile::tempdir().unwrap();
    let repository = init(dir.path()).await;
    let text = "compressible ".repeat(10_000);
    let blobs: [(BlobType, &[u8]); 3] =
        [(BlobType::Data, text.as_bytes()), (BlobType::Data, b"x"), (BlobType::Tree, b"{\"nodes\":[]}\n")];
    let pack = store_pack(&repository, &blobs).await;
    for repository in [repository, reopen(dir.path()).await.unwrap()] {
        assert_eq!((repository.packs(), repository.blob_count()), (vec![pack], 3));
        for (blob_type, content) in blobs {
            let id = BlobId::of(content);
            assert_eq!(repository.load_blob(blob_type, &id).await.unwrap(), content);
            let location = repository.locate(blob_type, &id)[0];
            assert_eq!(location.content_length() as usize, content.len());
        }
        assert!(repository.load_tree(&BlobId::of(blobs[2].1)).await.unwrap().nodes.is_empty());
        let other_type = repository.load_blob(BlobType::Tree, &BlobId::of(b"x")).await;
        assert!(matches!(other_type, Err(RepositoryError::UnknownBlob { .. })));
    }
}

#[tokio::test]
async fn a_second_repository_is_not_made_in_the_same_place() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(reopen(dir.path()).await, Err(RepositoryError::NotInitialised)));
    init(dir.path()).await;
    let store = Arc::new(LocalStore::open(dir.path()).unwrap());
    let again = Repository::init(store.clone(), key(), Polynomial::derive(&[1; 32])).await;
    assert!(matches!(again, Err(RepositoryError::AlreadyInitialised)));
    let other = Arc::new(MasterKey::from_bytes(&[4; 64]).unwrap());
    assert!(matches!(Repository::open(store, other).await, Err(RepositoryError::WrongKey)));
}

#[tokio::test]
async fn a_damaged_blob_is_noticed_and_an_intact_copy_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let repository = init(dir.path()).await;
    let damaged = store_pack(&repository, &[(BlobType::Data, b"content")]).await;
    flip(&pack_path(dir.path(), &damaged), 20);
    let id = BlobId::of(b"content");
    let error = repository.load_blob(BlobType::Data, &id).await.unwrap_err();
    assert!(matches!(error, RepositoryError::Damaged { .. }), "{error}");
    store_pack(&repository, &[(BlobType::Data, b"other"), (BlobType::Data, b"content")]).await;
    let reopened = reopen(dir.path()).await.unwrap();
    assert_eq!(reopened.locate(BlobType::Data, &id).len(), 2);
    assert_eq!(reopened.load_blob(BlobType::Data, &id).await.unwrap(), &b"content"[..]);
}

#[tokio::test]
async fn a_blob_in_the_place_of_another_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let repository = init(dir.path()).await;
    let id = store_pack(&repository, &[(BlobType::Data, b"first"), (BlobType::Data, b"other")]).await;
    // The holder swaps two blobs of the same length: each is sealed correctly.
    let path = pack_path(dir.path(), &id);
    let mut bytes = fs::read(&path).unwrap();
    let (first, rest) = bytes.split_at_mut(37);
    first.swap_with_slice(&mut rest[..37]);
    fs::remove_file(&path).unwrap();
    fs::write(&path, bytes).unwrap();
    for content in [&b"first"[..], b"other"] {
        let error = repository.load_blob(BlobType::Data, &BlobId::of(content)).await.unwrap_err();
        assert!(error.to_string().contains("not what its id says"), "{error}");
    }
}

#[tokio::test]
async fn junk_among_the_index_files_is_reported_and_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let repository = init(dir.path()).await;
    store_pack(&repository, &[(BlobType::Data, b"content")]).await;
    for junk in [&b""[..], b"junk", &[0; 1000]] {
        fs::write(dir.path().join("index").join(FileId::of(junk).to_string()), junk).unwrap();
    }
    // Sealed with our key, but under another name: a replay.
    let sealed = codec::seal_file(&repository.key, b"{\"packs\":[]}").unwrap();
    fs::write(dir.path().join("index").join(FileId::of(b"another").to_string()), sealed).unwrap();
    let reopened = reopen(dir.path()).await.unwrap();
    assert_eq!(reopened.warnings().len(), 4);
    assert!(reopened.contains(BlobType::Data, &BlobId::of(b"content")));
}

#[tokio::test]
async fn an_index_that_another_replaces_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let repository = init(dir.path()).await;
    store_pack(&repository, &[(BlobType::Data, b"content")]).await;
    let old = repository.store.list(FileKind::Index).await.unwrap()[0].id;
    repository.save_index(IndexFile { supersedes: vec![old], packs: Vec::new() }).await.unwrap();
    assert_eq!(reopen(dir.path()).await.unwrap().blob_count(), 0);
}

#[tokio::test]
async fn unreadable_snapshots_are_listed_apart() {
    let dir = tempfile::tempdir().unwrap();
    let repository = init(dir.path()).await;
    let snapshot: Snapshot = serde_json::from_str(&format!(
        r#"{{"time":"2024-05-06T07:08:09.5+02:00","tree":"{}","paths":null,"hostname":"h"}}"#,
        BlobId::of(b"")
    ))
    .unwrap();
    let id = repository.save_snapshot(&snapshot).await.unwrap();
    fs::write(dir.path().join("snapshots").join(FileId::of(b"junk").to_string()), b"junk").unwrap();
    let list = repository.snapshots().await.unwrap();
    assert_eq!(list.snapshots, [Snapshot { id, ..snapshot }]);
    assert_eq!(list.unreadable.len(), 1);
    assert_eq!(list.snapshots[0].time.to_string(), "2024-05-06T05:08:09.5Z");
}

fn any_blobs() -> impl Strategy<Value = Vec<(bool, Vec<u8>)>> {
    proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 1..300)), 1..40)
}

proptest! {
    #[test]
    fn a_pack_tells_by_its_header_what_is_in_it(blobs in any_blobs()) {
        let key = key();
        let mut builder = PackBuilder::default();
        let mut sealer = BlobSealer::new().unwrap();
        for (tree, content) in &blobs {
            let (sealed, length) = sealer.seal(&key, content).unwrap();
            let blob_type = if *tree { BlobType::Tree } else { BlobType::Data };
            builder.push(blob_type, BlobId::of(content), sealed, length).unwrap();
        }
        let (data, packed) = builder.finish(&key).unwrap();
        let size = data.len() as u64;
        prop_assert_eq!(&read_header(&key, &data, size).unwrap(), &packed);
        for (blob, (_, content)) in packed.iter().zip(&blobs) {
            let sealed = &data[blob.offset as usize..(blob.offset + blob.length) as usize];
            prop_assert_eq!(&codec::open_blob(&key, blob, sealed).unwrap(), content);
        }
        prop_assert!(read_header(&key, &data, size + 1).is_err());
        prop_assert!(read_header(&key, &data[1..], size - 1).is_err());
    }

    #[test]
    fn junk_is_no_pack(data in proptest::collection::vec(any::<u8>(), 0..300), size: u64) {
        prop_assert!(read_header(&key(), &data, size).is_err());
        prop_assert!(codec::open_file(&key(), &"x", &data).is_err());
    }
}
