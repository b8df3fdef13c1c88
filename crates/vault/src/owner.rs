//! What is known of one owner while the vault is open.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

use crate::archive::ArchiveState;
use crate::arrivals::{Budget, MOST_KNOWN_OF_OWNER};
use crate::damage::Damages;
use crate::disk::Disk;
use crate::incarnation::{Incarnation, Installations, RECORD_VERSION};
use crate::ledger::Ledger;
use crate::names::{ArchiveName, Owner};
use crate::refusal::{Code, Refusal};

/// How many requests of one owner work at the same time; more wait. An open download counts.
const MAX_OPERATIONS: usize = 16;

/// One owner.
pub(crate) struct OwnerState {
    pub(crate) name: Owner,
    ledger: Mutex<Ledger>,
    archives: Mutex<BTreeMap<ArchiveName, Arc<ArchiveState>>>,
    pub(crate) permits: Arc<Semaphore>,
    accepting: AtomicBool,
    /// Held while directories of this owner are made and synced.
    directories: Mutex<()>,
    /// Held while a state object is written.
    state: Mutex<()>,
    /// Which installation writes.
    installations: Mutex<Installations>,
    /// What is damaged on the disk.
    damages: Mutex<Damages>,
    /// What the journals of arrivals may have in memory.
    pub(crate) arrivals: Budget,
}

impl OwnerState {
    pub(crate) fn new(name: Owner) -> Self {
        Self {
            name,
            ledger: Mutex::default(),
            archives: Mutex::default(),
            permits: Arc::new(Semaphore::new(MAX_OPERATIONS)),
            accepting: AtomicBool::new(true),
            directories: Mutex::default(),
            state: Mutex::default(),
            installations: Mutex::default(),
            damages: Mutex::default(),
            arrivals: Budget::new(MOST_KNOWN_OF_OWNER),
        }
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    /// The archives that exist. Never locked across work on the disk.
    pub(crate) fn archives(&self) -> MutexGuard<'_, BTreeMap<ArchiveName, Arc<ArchiveState>>> {
        lock(&self.archives)
    }

    pub(crate) fn archive(&self, name: &ArchiveName) -> Option<Arc<ArchiveState>> {
        self.archives().get(name).cloned()
    }

    pub(crate) fn is_accepting(&self) -> bool {
        self.accepting.load(Ordering::Relaxed)
    }

    pub(crate) fn set_accepting(&self, accepting: bool) {
        self.accepting.store(accepting, Ordering::Relaxed);
    }

    pub(crate) fn directories(&self) -> MutexGuard<'_, ()> {
        lock(&self.directories)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, ()> {
        lock(&self.state)
    }

    pub(crate) fn installations(&self) -> MutexGuard<'_, Installations> {
        lock(&self.installations)
    }

    pub(crate) fn damages(&self) -> MutexGuard<'_, Damages> {
        lock(&self.damages)
    }

    /// Writes down what is damaged, if that has changed. Blocking.
    pub(crate) fn save_damages(&self, disk: &Disk) {
        let make_record = || {
            let _directories = self.directories();
            disk.make_directories(&disk.layout.record(&self.name))
        };
        self.damages().save(disk, &self.name, make_record);
    }

    /// Refuses an installation that another one has taken over from, and every one if that can't be told. One that is not named
    /// is not judged.
    pub(crate) fn check_writer(&self, writer: Option<Incarnation>) -> Result<(), Refusal> {
        match (*self.installations(), writer) {
            (Installations::Newer { found }, _) => Err(Refusal::new(
                Code::NotAccepted,
                format!(
                    "a later version of Kith noted there which installation of this computer writes (version {found}, and the \
                     Kith that runs there knows up to {RECORD_VERSION}): until the newer Kith is installed there again, this \
                     archive can be read, not changed"
                ),
            )),
            (Installations::Newest(newest), Some(writer)) if !newest.admits(writer) => {
                Err(Refusal::superseded(newest.since))
            }
            _ => Ok(()),
        }
    }
}

/// A panic elsewhere leaves nothing half-changed under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
