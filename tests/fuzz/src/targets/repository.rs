//! The files of a repository that is opened.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bytes::Bytes;
use kith_archive::crypto::MasterKey;
use kith_archive::store::FileId;
use kith_archive::{FileKind, Repository, Store, StoreError, StoredFile};
use tokio::runtime::{Builder, Runtime};

use crate::outcome::{Outcome, judged, refused, taken};

const CONFIG: &str = r#"{"version":2,"id":"abababababababababababababababababababababababababababababababab","chunker_polynomial":"3da3358b4dc173"}"#;

/// An index file, below the seal: JSON, or a byte that says how it is compressed.
pub(super) fn index(plain: &[u8]) -> Outcome {
    let key = key();
    let sealed = key.seal(plain).expect("the system has random numbers");
    let repository = match opened(sealed_config(&key), Some(sealed), key) {
        Ok(repository) => repository,
        Err(error) => panic!("one odd index file closes the repository: {error}"),
    };
    let mut blobs = Vec::new();
    repository.for_each_blob(|blob| blobs.push(blob));
    assert_eq!(repository.blob_count(), blobs.len(), "blobs are counted");
    let warnings = repository.warnings();
    assert!(
        warnings.len() <= 1 && (warnings.is_empty() || blobs.is_empty()),
        "{warnings:?} and {} blobs",
        blobs.len()
    );
    let packs = repository.packs();
    for found in &blobs {
        assert!(repository.contains(found.blob.blob_type, &found.blob.id), "{found:?} is not there");
        assert!(
            repository.locate(found.blob.blob_type, &found.blob.id).contains(found),
            "{found:?} is not found"
        );
        assert!(
            packs.contains(&found.pack) && repository.contains_pack(&found.pack),
            "{found:?} lies in no pack"
        );
    }
    let warning = warnings.first().map(|warning| warning.error.to_string());
    judged(warning.is_none(), &(blobs, packs, warning))
}

/// The config, below the seal.
pub(super) fn config(plain: &[u8]) -> Outcome {
    let key = key();
    let sealed = key.seal(plain).expect("the system has random numbers");
    match opened(sealed, None, key) {
        Ok(repository) => {
            assert!((1..=2).contains(&repository.config().version), "{:?}", repository.config());
            taken(repository.config())
        }
        Err(error) => refused(&error.to_string()),
    }
}

fn sealed_config(key: &MasterKey) -> Vec<u8> {
    static CONFIG_FILE: OnceLock<Vec<u8>> = OnceLock::new();
    let seal = || key.seal(CONFIG.as_bytes()).expect("the system has random numbers");
    CONFIG_FILE.get_or_init(seal).clone()
}

fn key() -> Arc<MasterKey> {
    thread_local! {
        static KEY: Arc<MasterKey> = Arc::new(MasterKey::from_bytes(&[5; 64]).expect("any bytes are a key"));
    }
    KEY.with(Arc::clone)
}

fn opened(
    config: Vec<u8>,
    index: Option<Vec<u8>>,
    key: Arc<MasterKey>,
) -> Result<Repository, kith_archive::RepositoryError> {
    thread_local! {
        static RUNTIME: RefCell<Runtime> =
            RefCell::new(Builder::new_current_thread().build().expect("a runtime without clock and sockets needs nothing"));
    }
    let index = index.map(|bytes| (FileId::of(&bytes), bytes.into()));
    let store = Arc::new(Given { config: config.into(), index });
    RUNTIME.with_borrow(|runtime| runtime.block_on(Repository::open(store, key)))
}

/// A store with a config and at most one index file.
struct Given {
    config: Bytes,
    index: Option<(FileId, Bytes)>,
}

impl Given {
    fn file(&self, kind: FileKind) -> Option<(FileId, &Bytes)> {
        match kind {
            FileKind::Config => Some((FileId::ZERO, &self.config)),
            FileKind::Index => self.index.as_ref().map(|(id, bytes)| (*id, bytes)),
            _ => None,
        }
    }
}

#[async_trait]
impl Store for Given {
    async fn list(&self, kind: FileKind) -> Result<Vec<StoredFile>, StoreError> {
        let file = self.file(kind).into_iter();
        Ok(file.map(|(id, bytes)| StoredFile { id, size: u64::try_from(bytes.len()).unwrap_or(0) }).collect())
    }

    async fn load(
        &self,
        kind: FileKind,
        id: &FileId,
        range: Option<Range<u64>>,
    ) -> Result<Bytes, StoreError> {
        assert_eq!(range, None, "nothing but packs is read in parts");
        let file = self.file(kind).filter(|(known, _)| known == id);
        file.map(|(_, bytes)| bytes.clone()).ok_or(StoreError::NotFound { kind, id: *id })
    }

    async fn save(&self, kind: FileKind, id: &FileId, _data: Bytes) -> Result<(), StoreError> {
        panic!("{kind} {id} is written while a repository is opened")
    }

    async fn remove(&self, kind: FileKind, id: &FileId) -> Result<(), StoreError> {
        panic!("{kind} {id} is removed while a repository is opened")
    }
}
