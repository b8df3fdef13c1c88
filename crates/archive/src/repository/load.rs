//! Loading and verifying config, index and snapshots.

use std::sync::Arc;

use futures::{StreamExt, stream};

use super::index::{Index, IndexFile};
use super::{
    Config, PARALLEL_LOADS, RepositoryError, SMALL, Warning, codec, config, distinct, refuse_lies,
    run_blocking,
};
use crate::crypto::MasterKey;
use crate::id::FileId;
use crate::store::{FileKind, Store, StoreError};

pub(super) async fn load_config(store: &dyn Store, key: &MasterKey) -> Result<Config, RepositoryError> {
    let sealed = store.load(FileKind::Config, &FileId::ZERO, None).await.map_err(|error| match error {
        StoreError::NotFound { .. } => RepositoryError::NotInitialised,
        other => other.into(),
    })?;
    let json = key.open(&sealed).map_err(|_| RepositoryError::WrongKey)?;
    let version: ConfigVersion =
        serde_json::from_slice(&json).map_err(|error| RepositoryError::damaged("the config", error))?;
    if !(1..=config::VERSION).contains(&version.version) {
        return Err(RepositoryError::UnsupportedVersion(version.version));
    }
    serde_json::from_slice(&json).map_err(|error| RepositoryError::damaged("the config", error))
}

/// What is the same in every version of the config.
#[derive(serde::Deserialize)]
struct ConfigVersion {
    version: u32,
}

pub(super) async fn load_index(
    store: &Arc<dyn Store>,
    key: &Arc<MasterKey>,
) -> Result<(Index, Vec<Warning>), RepositoryError> {
    let files = distinct(store.list(FileKind::Index).await?);
    let mut loads = stream::iter(files)
        .map(|file| async move { (file.id, load_index_file(store, key, file.id).await) })
        .buffer_unordered(PARALLEL_LOADS);
    let mut loaded = Vec::new();
    let mut warnings = Vec::new();
    while let Some((id, result)) = loads.next().await {
        refuse_lies(FileKind::Index, warnings.len())?;
        match result {
            Ok(file) => loaded.push((id, file)),
            Err(RepositoryError::Store(error)) if !error.is_about_the_object() => return Err(error.into()),
            Err(error) => {
                tracing::warn!(index = %id, %error, "an index file is left out");
                warnings.push(Warning { kind: FileKind::Index, id, error });
            }
        }
    }
    Ok((run_blocking(move || Index::build(loaded)).await?, warnings))
}

pub(super) async fn load_index_file(
    store: &Arc<dyn Store>,
    key: &Arc<MasterKey>,
    id: FileId,
) -> Result<IndexFile, RepositoryError> {
    let sealed = store.load(FileKind::Index, &id, None).await?;
    let key = Arc::clone(key);
    run_blocking(move || {
        let json = open_named(&key, FileKind::Index, &id, &sealed)?;
        serde_json::from_slice(&json)
            .map_err(|error| RepositoryError::damaged(format_args!("index {id}"), error))
    })
    .await?
}

/// A file other than a pack, with its name verified.
pub(super) async fn load_file(
    store: &dyn Store,
    key: &Arc<MasterKey>,
    kind: FileKind,
    id: &FileId,
) -> Result<Vec<u8>, RepositoryError> {
    let sealed = store.load(kind, id, None).await?;
    if sealed.len() <= SMALL {
        return open_named(key, kind, id, &sealed);
    }
    let (key, id) = (Arc::clone(key), *id);
    run_blocking(move || open_named(&key, kind, &id, &sealed)).await?
}

fn open_named(
    key: &MasterKey,
    kind: FileKind,
    id: &FileId,
    sealed: &[u8],
) -> Result<Vec<u8>, RepositoryError> {
    let what = format!("{kind} {id}");
    if FileId::of(sealed) != *id {
        return Err(RepositoryError::damaged(what, "its content is not what its name says"));
    }
    codec::open_file(key, &what, sealed)
}
