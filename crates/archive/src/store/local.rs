//! A repository in a local directory, laid out as restic does.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Buffers, FileId, FileKind, Store, StoreError, StoredFile};

/// No file of a repository is larger than this: a larger one is not read into memory.
const LARGEST_FILE: u64 = 512 * 1024 * 1024;

/// A repository in a local directory: `config`, `data/xx/`, `index/`, `snapshots/`, `locks/`, `keys/`.
///
/// A file appears under its name complete and durable, or not at all: it is written to a temporary name, synced,
/// renamed, and the directory is synced.
#[derive(Debug, Clone)]
pub struct LocalStore {
    root: Arc<Path>,
    counter: Arc<AtomicU64>,
    buffers: Buffers,
}

impl LocalStore {
    /// A store in the directory `root`, which must exist. Whether a repository is in it is not looked at.
    ///
    /// # Errors
    /// The directory is not there or can't be looked at.
    pub fn open(root: impl AsRef<Path>) -> Result<Self, StoreError> {
        let root = root.as_ref();
        let meta = fs::metadata(root).map_err(io_error(format!("opening the archive {}", root.display())))?;
        if !meta.is_dir() {
            return Err(StoreError::Io {
                what: format!("opening the archive {}", root.display()),
                source: io::Error::from(nix::errno::Errno::ENOTDIR).into(),
            });
        }
        Ok(Self { root: root.into(), counter: Arc::default(), buffers: Buffers::default() })
    }

    /// A store in the directory `root`, which is made if it is not there, readable for its owner only.
    ///
    /// # Errors
    /// The directory can't be made.
    pub fn create(root: impl AsRef<Path>) -> Result<Self, StoreError> {
        let root = root.as_ref();
        // Stock restic expects the directories to be there, even if they are empty.
        for kind in FileKind::ALL.into_iter().filter(|&kind| kind != FileKind::Config) {
            let dir = root.join(kind.dir_name());
            make_dir(&dir).map_err(io_error(format!("making the archive directory {}", dir.display())))?;
        }
        Self::open(root)
    }

    fn dir(&self, kind: FileKind, id: &FileId) -> PathBuf {
        match kind {
            FileKind::Config => self.root.to_path_buf(),
            FileKind::Pack => self.root.join(kind.dir_name()).join(&id.to_string()[..2]),
            _ => self.root.join(kind.dir_name()),
        }
    }

    fn path(&self, kind: FileKind, id: &FileId) -> PathBuf {
        match kind {
            FileKind::Config => self.root.join("config"),
            _ => self.dir(kind, id).join(id.to_string()),
        }
    }

    fn list_blocking(&self, kind: FileKind) -> Result<Vec<StoredFile>, StoreError> {
        let top = self.root.join(kind.dir_name());
        let failed = || io_error(format!("listing {}", top.display()));
        let mut found = Vec::new();
        if kind == FileKind::Config {
            match fs::metadata(&top) {
                Ok(meta) => found.push(StoredFile { id: FileId::ZERO, size: meta.len() }),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(failed()(error)),
            }
            return Ok(found);
        }
        let mut dirs = vec![top.clone()];
        while let Some(dir) = dirs.pop() {
            let entries = match fs::read_dir(&dir) {
                Ok(entries) => entries,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(failed()(error)),
            };
            for entry in entries {
                let entry = entry.map_err(failed())?;
                let file_type = entry.file_type().map_err(failed())?;
                if file_type.is_dir() {
                    if kind == FileKind::Pack && dir == top {
                        dirs.push(entry.path());
                    }
                } else if let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
                    // A file that goes away meanwhile is simply not listed.
                    if let Ok(meta) = entry.metadata() {
                        found.push(StoredFile { id, size: meta.len() });
                    }
                }
            }
        }
        Ok(found)
    }

    fn load_blocking(
        &self,
        kind: FileKind,
        id: &FileId,
        range: Option<Range<u64>>,
    ) -> Result<Bytes, StoreError> {
        let what = || format!("reading {kind} {id}");
        let mut file = File::open(self.path(kind, id)).map_err(|error| match error.kind() {
            ErrorKind::NotFound => StoreError::NotFound { kind, id: *id },
            _ => StoreError::Io { what: what(), source: error.into() },
        })?;
        let size = file.metadata().map_err(io_error(what()))?.len();
        let range = range.unwrap_or(0..size);
        if range.start > range.end || range.end > size {
            let reason = format!("it has {size} bytes, wanted were {} to {}", range.start, range.end);
            return Err(StoreError::Corrupt { kind, id: *id, reason });
        }
        if range.end - range.start > LARGEST_FILE {
            let reason = format!("it has {size} bytes, far too many");
            return Err(StoreError::Corrupt { kind, id: *id, reason });
        }
        if range.start > 0 {
            file.seek(SeekFrom::Start(range.start)).map_err(io_error(what()))?;
        }
        let length = range.end - range.start;
        let mut data = self.buffers.take(usize::try_from(length).unwrap_or(0));
        file.take(length).read_to_end(&mut data).map_err(io_error(what()))?;
        if data.len() as u64 != length {
            let reason = "it got shorter while it was read".to_owned();
            return Err(StoreError::Corrupt { kind, id: *id, reason });
        }
        Ok(data.into())
    }

    fn save_blocking(&self, kind: FileKind, id: &FileId, data: &[u8]) -> Result<(), StoreError> {
        let what = || format!("writing {kind} {id}");
        let failed = |error: io::Error| match error.raw_os_error() {
            Some(code) if code == nix::errno::Errno::ENOSPC as i32 => StoreError::Full,
            Some(code) if code == nix::errno::Errno::EDQUOT as i32 => StoreError::Full,
            _ => StoreError::Io { what: what(), source: error.into() },
        };
        let path = self.path(kind, id);
        if path.try_exists().map_err(failed)? {
            return Ok(());
        }
        let dir = self.dir(kind, id);
        make_dir(&dir).map_err(failed)?;
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let temporary = dir.join(format!("{id}-tmp-{}-{number}", std::process::id()));
        let written = (|| {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
            file.write_all(data)?;
            // As restic does: nothing in a repository is ever changed in place.
            file.set_permissions(fs::Permissions::from_mode(0o400))?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            File::open(&dir)?.sync_all()
        })();
        written.map_err(|error| {
            if let Err(left) = fs::remove_file(&temporary)
                && left.kind() != ErrorKind::NotFound
            {
                tracing::debug!(path = %temporary.display(), error = %left, "a temporary file stays behind");
            }
            failed(error)
        })
    }

    fn remove_blocking(&self, kind: FileKind, id: &FileId) -> Result<(), StoreError> {
        fs::remove_file(self.path(kind, id)).map_err(|error| match error.kind() {
            ErrorKind::NotFound => StoreError::NotFound { kind, id: *id },
            _ => StoreError::Io { what: format!("removing {kind} {id}"), source: error.into() },
        })
    }

    async fn blocking<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.clone();
        tokio::task::spawn_blocking(move || work(&store))
            .await
            .unwrap_or_else(|error| Err(StoreError::Unavailable(format!("{what} was interrupted: {error}"))))
    }
}

fn io_error(what: String) -> impl FnOnce(io::Error) -> StoreError {
    move |error| StoreError::Io { what, source: error.into() }
}

/// Makes a directory and its parents, and syncs the parent so that the new name is durable.
fn make_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}

#[async_trait]
impl Store for LocalStore {
    async fn list(&self, kind: FileKind) -> Result<Vec<StoredFile>, StoreError> {
        self.blocking("listing", move |store| store.list_blocking(kind)).await
    }

    async fn load(
        &self,
        kind: FileKind,
        id: &FileId,
        range: Option<Range<u64>>,
    ) -> Result<Bytes, StoreError> {
        let id = *id;
        self.blocking("reading", move |store| store.load_blocking(kind, &id, range)).await
    }

    async fn save(&self, kind: FileKind, id: &FileId, data: Bytes) -> Result<(), StoreError> {
        let id = *id;
        self.blocking("writing", move |store| store.save_blocking(kind, &id, &data)).await
    }

    async fn remove(&self, kind: FileKind, id: &FileId) -> Result<(), StoreError> {
        let id = *id;
        self.blocking("removing", move |store| store.remove_blocking(kind, &id)).await
    }
}
