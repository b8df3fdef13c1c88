//! The one place that changes the disk: temporary files, renames that replace nothing, directories and their syncs.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nix::errno::Errno;
use nix::fcntl::Flock;
use nix::sys::statvfs::statvfs;
use tokio::runtime::Handle;
use tracing::{debug, warn};

use crate::layout::Layout;

/// The vault's directory, locked for as long as any work on it is under way.
pub(crate) struct Disk {
    pub(crate) layout: Layout,
    /// What must stay free for others.
    floor: u64,
    /// Announced by uploads under way and not yet written.
    promised: AtomicU64,
    next_temporary: AtomicU64,
    /// At start it could not be made sure that what is visible is durable.
    failed: AtomicBool,
    /// What is visible may not be durable: the next start has to sync.
    unclean: AtomicBool,
    /// For file systems that can't rename without replacing.
    renaming: Mutex<()>,
    _lock: Flock<File>,
}

/// The disk has no room for this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Full {
    pub(crate) free: u64,
    pub(crate) floor: u64,
}

impl Disk {
    pub(crate) fn new(layout: Layout, floor: u64, lock: Flock<File>) -> Self {
        Self {
            layout,
            floor,
            promised: AtomicU64::new(0),
            next_temporary: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            unclean: AtomicBool::new(false),
            renaming: Mutex::new(()),
            _lock: lock,
        }
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    pub(crate) fn set_failed(&self) {
        self.failed.store(true, Ordering::Relaxed);
        self.set_unclean();
    }

    /// The next start has to sync.
    pub(crate) fn set_unclean(&self) {
        self.unclean.store(true, Ordering::Relaxed);
    }

    /// What this process may still write.
    pub(crate) fn free_bytes(&self) -> io::Result<u64> {
        let status = statvfs(self.layout.root())?;
        // The types of both fields differ between systems.
        #[allow(clippy::useless_conversion, reason = "u32 on some systems, u64 on others")]
        let (blocks, size) = (u64::from(status.blocks_available()), u64::from(status.fragment_size()));
        Ok(blocks.saturating_mul(size))
    }

    /// Promises `bytes` to a write, if the floor stays free; the inner result says whether it does.
    pub(crate) fn promise(&self, bytes: u64) -> io::Result<Result<(), Full>> {
        let promised = self.promised.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        let free = self.free_bytes().inspect_err(|_| self.fulfil(bytes))?;
        if free < promised.saturating_add(self.floor) {
            self.fulfil(bytes);
            return Ok(Err(Full { free, floor: self.floor }));
        }
        Ok(Ok(()))
    }

    /// Takes back a promise, because the bytes are written or will not be.
    pub(crate) fn fulfil(&self, bytes: u64) {
        self.promised.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// A new, empty file in the directory of unfinished uploads.
    pub(crate) fn temporary(self: &Arc<Self>) -> io::Result<TemporaryFile> {
        let number = self.next_temporary.fetch_add(1, Ordering::Relaxed);
        let path = self.layout.temporary().join(number.to_string());
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(TemporaryFile { file: Some(file), path, disk: Arc::clone(self) })
    }

    /// Renames within the vault; an existing `to` is an error and stays as it is.
    pub(crate) fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        match rename_no_replace(from, to) {
            Err(Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP) => {
                // Nobody else uses the vault, so that looking first is enough if only one looks at a time.
                let _renaming = self.renaming.lock().unwrap_or_else(PoisonError::into_inner);
                match fs::symlink_metadata(to) {
                    Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => fs::rename(from, to),
                    Err(error) => Err(error),
                }
            }
            result => result.map_err(io::Error::from),
        }
    }

    /// Makes `path` and what is missing above it, each made durable. Callers take care that two don't do it
    /// at once for the same path: one could rely on a directory that the other has not yet made durable.
    pub(crate) fn make_directories(&self, path: &Path) -> io::Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        if let Some(parent) = path.parent()
            && path.starts_with(self.layout.root())
            && path != self.layout.root()
        {
            self.make_directories(parent)?;
            make_private_directory(path)?;
            return sync_directory(parent).inspect_err(|_| {
                // Else the next one would take it for durable because it exists.
                if let Err(error) = fs::remove_dir(path) {
                    warn!(path = %path.display(), %error, "a directory that could not be synced could not be removed");
                }
            });
        }
        // Not made anew: an unmounted disk would be replaced by a directory on the disk below it.
        Err(io::Error::new(io::ErrorKind::NotFound, "the vault's directory has disappeared"))
    }
}

impl Drop for Disk {
    /// All work has ended, each rename of it synced.
    fn drop(&mut self) {
        let path = self.layout.in_use_file();
        if !*self.unclean.get_mut()
            && let Err(error) = fs::remove_file(&path)
        {
            debug!(path = %path.display(), %error, "could not be removed: the next start will sync once more");
        }
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn rename_no_replace(from: &Path, to: &Path) -> nix::Result<()> {
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE)
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn rename_no_replace(_from: &Path, _to: &Path) -> nix::Result<()> {
    Err(Errno::ENOSYS)
}

/// An unfinished file; removed when dropped, unless it was put in its place.
pub(crate) struct TemporaryFile {
    file: Option<File>,
    path: PathBuf,
    disk: Arc<Disk>,
}

impl TemporaryFile {
    pub(crate) fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file()?.write_all(bytes)
    }

    /// Makes the contents durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file()?.sync_all()
    }

    fn file(&self) -> io::Result<&File> {
        self.file.as_ref().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it its name, which must be new; the caller syncs the directory. On error it is removed.
    pub(crate) fn place(mut self, to: &Path) -> io::Result<()> {
        match self.disk.rename_new(&self.path, to) {
            Ok(()) => {
                self.file = None;
                Ok(())
            }
            Err(error) => {
                self.discard();
                Err(error)
            }
        }
    }

    /// Removes it, on this thread.
    pub(crate) fn discard(mut self) {
        if let Some(file) = self.file.take() {
            remove(file, &self.path);
        }
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let Some(file) = self.file.take() else { return };
        let (path, disk) = (std::mem::take(&mut self.path), Arc::clone(&self.disk));
        // A request that was cut off is dropped on an async thread, and removing a large file takes a while.
        let work = move || {
            remove(file, &path);
            drop(disk);
        };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(work)),
            Err(_) => work(),
        }
    }
}

fn remove(file: File, path: &Path) {
    drop(file);
    if let Err(error) = fs::remove_file(path) {
        warn!(path = %path.display(), %error, "an unfinished upload could not be removed; the next start removes it");
    }
}

/// Makes a directory for this user alone; one that exists is fine.
pub(crate) fn make_private_directory(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        result => result,
    }
}

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    match File::open(path)?.sync_all() {
        // Such a file system syncs names by itself or never: asking again changes nothing.
        Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => Ok(()),
        result => result,
    }
}

/// There is no more room, which is no failure of the disk.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
