//! The vault's directory while it is open: temporary files, directories, small files of the vault's own, and what
//! is known of the disk's health.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::Flock;
use nix::sys::statvfs::statvfs;
use tokio::runtime::Handle;
use tracing::{debug, error, warn};

use crate::arrivals::{Budget, MOST_KNOWN};
use crate::clock::Clock;
use crate::hold::{Hold, Oldest};
use crate::layout::{Layout, unix_milliseconds};
use crate::medium::{Medium, MediumFile};

/// The vault's directory, locked for as long as any work on it is under way.
pub(crate) struct Disk {
    pub(crate) layout: Layout,
    pub(crate) medium: Arc<dyn Medium>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) hold: Hold,
    /// What must stay free for others.
    floor: u64,
    /// Announced by uploads under way and not yet written.
    promised: AtomicU64,
    next_temporary: AtomicU64,
    /// A write or a sync failed: what is durable is not known, and nothing more is written.
    failed: AtomicBool,
    failure: Mutex<Option<String>>,
    /// What the journals of arrivals may have in memory.
    pub(crate) arrivals: Budget,
    _lock: Flock<File>,
}

/// The disk has no room for this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Full {
    pub(crate) free: u64,
    pub(crate) floor: u64,
}

/// What an error in writing means for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    /// There is no more room: this one change is refused.
    Full,
    /// This process or the system lacks something for a moment: this one change is refused.
    Busy,
    /// The disk failed: no more changes.
    Failed,
}

/// Judges an error of anything but a sync; a failed sync is always a failure.
pub(crate) fn severity(error: &io::Error) -> Severity {
    if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        return Severity::Full;
    }
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::EINTR) => Severity::Busy,
        _ => Severity::Failed,
    }
}

impl Disk {
    pub(crate) fn new(
        layout: Layout,
        floor: u64,
        lock: Flock<File>,
        medium: Arc<dyn Medium>,
        clock: Arc<dyn Clock>,
        hold: Hold,
    ) -> Self {
        Self {
            layout,
            medium,
            clock,
            hold,
            floor,
            promised: AtomicU64::new(0),
            next_temporary: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            failure: Mutex::default(),
            arrivals: Budget::new(MOST_KNOWN),
            _lock: lock,
        }
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// What failed first, as a sentence.
    pub(crate) fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Nothing more is written until the vault is opened again, which then makes sure of what is visible.
    pub(crate) fn fail(&self, action: &'static str, error: &io::Error) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        let first = failure.get_or_insert_with(|| format!("could not {action}: {error}"));
        self.failed.store(true, Ordering::Release);
        error!(path = %self.layout.root().display(), %error, %first, "could not {action} in the vault: it takes no changes");
    }

    /// What a failed change means; the disk is given up if it means that.
    pub(crate) fn judge(&self, action: &'static str, error: &io::Error) -> Severity {
        let severity = severity(error);
        if severity == Severity::Failed {
            self.fail(action, error);
        }
        severity
    }

    /// Makes a file durable, or gives the disk up.
    pub(crate) fn sync_file(&self, file: &dyn MediumFile) -> io::Result<()> {
        file.sync().inspect_err(|error| self.fail("sync a file", error))
    }

    /// Makes the names in a directory durable, or gives the disk up.
    pub(crate) fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.medium.sync_directory(path).inspect_err(|error| self.fail("sync a directory", error))
    }

    /// The time of day in milliseconds since 1970-01-01 UTC.
    pub(crate) fn now(&self) -> u64 {
        unix_milliseconds(self.clock.wall())
    }

    /// Hold time in milliseconds.
    pub(crate) fn hold_time(&self) -> u64 {
        self.hold.observe(self.clock.as_ref())
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
        let file = self.medium.create(&path)?;
        Ok(TemporaryFile { file: Some(file), path, disk: Arc::clone(self) })
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
            self.medium.make_directory(path)?;
            return self.sync_directory(parent).inspect_err(|_| {
                // Else the next one would take it for durable because it exists.
                if let Err(error) = self.medium.remove_directory(path) {
                    warn!(path = %path.display(), %error, "a directory that could not be synced could not be removed");
                }
            });
        }
        // Not made anew: an unmounted disk would be replaced by a directory on the disk below it.
        Err(io::Error::new(io::ErrorKind::NotFound, "the vault's directory has disappeared"))
    }

    /// Puts a small file of the vault's own in its place: after a crash the old one is there, or the new one.
    /// Its directory exists. The disk is given up after a failure, but not because it is full.
    pub(crate) fn replace(&self, action: &'static str, path: &Path, text: &str) -> io::Result<()> {
        replace(self.medium.as_ref(), path, text).inspect_err(|failure| match failure {
            ReplaceError::Write(error) => {
                self.judge(action, error);
            }
            ReplaceError::Sync(error) => self.fail(action, error),
        })?;
        Ok(())
    }

    /// Makes the hold clock's reading durable if a crash would lose more than `most`, and something is held.
    pub(crate) fn save_clock(&self, most: Duration) -> io::Result<()> {
        self.hold_time();
        let clock = self.hold.clock().clone();
        if self.has_failed() || self.hold.oldest() == Oldest::Nothing || clock.unsaved() <= most {
            return Ok(());
        }
        self.replace("save the hold clock", &self.layout.clock_file(), &clock.to_text())?;
        self.hold.clock().set_saved(clock.reading());
        Ok(())
    }
}

impl Drop for Disk {
    /// All work has ended, each rename of it synced.
    fn drop(&mut self) {
        if let Err(error) = self.save_clock(Duration::ZERO) {
            warn!(%error, "the hold clock could not be saved: what is held is held a little longer");
        }
        let path = self.layout.in_use_file();
        if !self.has_failed()
            && let Err(error) = self.medium.remove(&path)
        {
            debug!(path = %path.display(), %error, "could not be removed: the next start will sync once more");
        }
    }
}

/// Why a small file was not replaced.
pub(crate) enum ReplaceError {
    Write(io::Error),
    Sync(io::Error),
}

impl From<ReplaceError> for io::Error {
    fn from(error: ReplaceError) -> Self {
        match error {
            ReplaceError::Write(error) | ReplaceError::Sync(error) => error,
        }
    }
}

/// Writes beside `path`, syncs, renames, syncs the directory.
pub(crate) fn replace(medium: &dyn Medium, path: &Path, text: &str) -> Result<(), ReplaceError> {
    replace_with(medium, path, |file| file.write_all(text.as_bytes()))
}

/// The same with what `write` writes.
pub(crate) fn replace_with(
    medium: &dyn Medium,
    path: &Path,
    write: impl FnOnce(&mut dyn MediumFile) -> io::Result<()>,
) -> Result<(), ReplaceError> {
    let new = path.with_added_extension("new");
    match medium.remove(&new) {
        // A crash left it behind.
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(ReplaceError::Write(error)),
    }
    let mut file = medium.create(&new).map_err(ReplaceError::Write)?;
    write(file.as_mut()).map_err(ReplaceError::Write)?;
    file.sync().map_err(ReplaceError::Sync)?;
    drop(file);
    medium.replace(&new, path).map_err(ReplaceError::Write)?;
    let Some(parent) = path.parent() else { return Ok(()) };
    medium.sync_directory(parent).map_err(ReplaceError::Sync)
}

/// An unfinished file; removed when dropped, unless it was put in its place.
pub(crate) struct TemporaryFile {
    file: Option<Box<dyn MediumFile>>,
    path: PathBuf,
    disk: Arc<Disk>,
}

impl TemporaryFile {
    pub(crate) fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.as_mut().ok_or(io::ErrorKind::NotFound)?.write_all(bytes)
    }

    /// Notes when it arrived, and makes the contents durable with that.
    pub(crate) fn sync(&self, arrived: u64) -> io::Result<()> {
        let file = self.file.as_ref().ok_or(io::ErrorKind::NotFound)?;
        if let Err(error) = file.set_modified(UNIX_EPOCH + Duration::from_millis(arrived)) {
            debug!(%error, "a file's time can't be set; it has that of its last write");
        }
        self.disk.sync_file(file.as_ref())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it its name, which must be new; the caller syncs the directory. On error it is removed.
    pub(crate) fn place(mut self, to: &Path) -> io::Result<()> {
        match self.disk.medium.rename_new(&self.path, to) {
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
            remove(&self.disk, file, &self.path);
        }
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let Some(file) = self.file.take() else { return };
        let (path, disk) = (std::mem::take(&mut self.path), Arc::clone(&self.disk));
        // A request that was cut off is dropped on an async thread, and removing a large file takes a while.
        let work = move || {
            remove(&disk, file, &path);
            drop(disk);
        };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(work)),
            Err(_) => work(),
        }
    }
}

fn remove(disk: &Disk, file: Box<dyn MediumFile>, path: &Path) {
    drop(file);
    if let Err(error) = disk.medium.remove(path) {
        warn!(path = %path.display(), %error, "an unfinished upload could not be removed; the next start removes it");
    }
}
