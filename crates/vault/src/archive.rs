//! One archive while the vault is open: whether it may still be written, and the barrier between objects and
//! what refers to them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tracing::info;

use crate::arrivals::Arrivals;
use crate::disk::{Disk, Severity};
use crate::incarnation::Incarnation;
use crate::layout::MAX_ARCHIVES;
use crate::names::{ArchiveName, Object, ObjectType};
use crate::owner::OwnerState;
use crate::refusal::{Code, Refusal};

/// One archive.
pub(crate) struct ArchiveState {
    pub(crate) name: ArchiveName,
    pub(crate) arrivals: Arrivals,
    /// When the latest of all objects arrived, by the wall clock of then.
    latest_arrival: AtomicU64,
    /// Shared between a rename and the end of its sync; exclusive for what relies on all of them being durable.
    renames: RwLock<()>,
}

impl ArchiveState {
    pub(crate) fn new(name: ArchiveName) -> Self {
        Self {
            name,
            arrivals: Arrivals::default(),
            latest_arrival: AtomicU64::new(0),
            renames: RwLock::default(),
        }
    }

    /// An object arrived at this time, in milliseconds since 1970-01-01 UTC.
    pub(crate) fn note_arrival(&self, arrived: u64) {
        self.latest_arrival.fetch_max(arrived, Ordering::Relaxed);
    }

    /// The time that a deletion at `now` gets: later than every arrival. Whatever was there together is then seen together
    /// as of some time, even if the clock was set back in between.
    pub(crate) fn deletion_time(&self, now: u64) -> u64 {
        now.max(self.latest_arrival.load(Ordering::Relaxed).saturating_add(1))
    }

    /// Waits until every rename under way is durable, or has failed.
    pub(crate) fn settle(&self) {
        drop(self.renames.write().unwrap_or_else(PoisonError::into_inner));
    }
}

/// An archive, its owner and the disk: all that work on an object needs.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) disk: Arc<Disk>,
    pub(crate) owner: Arc<OwnerState>,
    pub(crate) archive: Arc<ArchiveState>,
    /// Which installation of the owner asks, if the caller knows.
    pub(crate) writer: Option<Incarnation>,
}

/// Keeps those out who rely on all renames being durable, or everybody.
pub(crate) enum RenameGuard<'a> {
    Shared(#[expect(dead_code, reason = "held, not read")] RwLockReadGuard<'a, ()>),
    Exclusive(#[expect(dead_code, reason = "held, not read")] RwLockWriteGuard<'a, ()>),
}

impl Place {
    pub(crate) fn path(&self, object: &Object) -> PathBuf {
        self.disk.layout.object(&self.owner.name, &self.archive.name, object)
    }

    /// Refuses if an earlier write failed, or if a newer installation of the owner writes.
    pub(crate) fn check_writable(&self) -> Result<(), Refusal> {
        self.owner.check_writer(self.writer)?;
        if self.disk.has_failed() {
            return Err(Refusal::new(
                Code::StorageFailed,
                "an earlier write failed on the disk that keeps this archive: it takes no changes until Kith has been \
                 restarted there; reading goes on",
            ));
        }
        Ok(())
    }

    /// Begins a rename: until the guard is dropped, nobody relies on its being durable.
    pub(crate) fn begin_rename(&self) -> RenameGuard<'_> {
        RenameGuard::Shared(self.archive.renames.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until every rename under way is durable (or has failed, see [`Place::check_writable`]), and keeps new ones out.
    pub(crate) fn await_renames(&self) -> RenameGuard<'_> {
        RenameGuard::Exclusive(self.archive.renames.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes the directory in which `path` will lie.
    pub(crate) fn make_parent(&self, path: &Path) -> Result<(), Refusal> {
        let Some(parent) = path.parent() else { return Ok(()) };
        let _directories = self.owner.directories();
        self.disk.make_directories(parent).map_err(|error| self.failed("make a directory", &error))
    }

    /// Makes the names in the directory of `path` durable. If that fails, nothing more is written.
    pub(crate) fn sync_parent(&self, path: &Path) -> Result<(), Refusal> {
        let Some(parent) = path.parent() else { return Ok(()) };
        self.disk.sync_directory(parent).map_err(|_| failed_disk("sync a directory"))
    }

    /// What to answer after a failed write. A disk that is not merely full takes no more changes.
    pub(crate) fn failed(&self, action: &'static str, error: &io::Error) -> Refusal {
        match self.disk.judge(action, error) {
            // A sync on the way may have failed for want of room, which is worse.
            _ if self.disk.has_failed() => failed_disk(action),
            Severity::Full => disk_full(),
            Severity::Busy | Severity::Failed => Refusal::new(
                Code::StorageFailed,
                format!("the vault could not {action} at this moment: try again"),
            ),
        }
    }
}

pub(crate) fn failed_disk(action: &'static str) -> Refusal {
    Refusal::new(Code::StorageFailed, format!("the disk that keeps this archive failed: could not {action}"))
}

pub(crate) fn disk_full() -> Refusal {
    Refusal::new(
        Code::DiskFull,
        "the disk that keeps this archive is full: its owner has to make room there; nothing stored is lost",
    )
}

/// Makes an archive, durably; one that exists is fine. Blocking.
pub(crate) fn create(
    disk: &Arc<Disk>,
    owner: &Arc<OwnerState>,
    name: &ArchiveName,
    writer: Option<Incarnation>,
) -> Result<(), Refusal> {
    let place = Place {
        disk: Arc::clone(disk),
        owner: Arc::clone(owner),
        archive: Arc::new(ArchiveState::new(name.clone())),
        writer,
    };
    let _directories = owner.directories();
    if let Some(archive) = owner.archive(name) {
        return Place { archive, ..place }.check_writable();
    }
    place.check_writable()?;
    if owner.archives().len() >= MAX_ARCHIVES {
        return Err(Refusal::new(
            Code::TooManyArchives,
            format!("nobody may have more than {MAX_ARCHIVES} archives here"),
        ));
    }
    if owner.ledger().quota.is_none() {
        return Err(Refusal::new(Code::QuotaExceeded, crate::ledger::NoRoom::NothingOffered.to_string()));
    }
    let directory = disk.layout.archive(&owner.name, name);
    let made = || -> io::Result<()> {
        disk.make_directories(&directory)?;
        for kind in ObjectType::STORED {
            disk.make_directories(&disk.layout.objects(&owner.name, name, kind))?;
        }
        Ok(())
    };
    made().map_err(|error| place.failed("make an archive", &error))?;
    owner.archives().insert(name.clone(), Arc::clone(&place.archive));
    info!(owner = %owner.name, archive = %name, "a new archive");
    Ok(())
}
