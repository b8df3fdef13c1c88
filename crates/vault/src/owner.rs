//! What is known of one owner while the vault is open.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

use crate::archive::ArchiveState;
use crate::arrivals::{Budget, MOST_KNOWN_OF_OWNER};
use crate::damage::Damages;
use crate::disk::Disk;
use crate::incarnation::{Incarnation, Installations, RECORD_VERSION, Writer};
use crate::layout::unix_milliseconds;
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
    /// Which installation writes. Never locked across work on the disk.
    installations: Mutex<Installations>,
    /// Held while a newer installation takes over.
    claim: Mutex<()>,
    /// What is damaged on the disk. Never locked across work on the disk.
    damages: Mutex<Damages>,
    /// What the journals of arrivals may have in memory.
    pub(crate) arrivals: Budget,
    /// Held while that is written down.
    damage_file: Mutex<()>,
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
            claim: Mutex::default(),
            damages: Mutex::default(),
            arrivals: Budget::new(MOST_KNOWN_OF_OWNER),
            damage_file: Mutex::default(),
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

    pub(crate) fn claim(&self) -> MutexGuard<'_, ()> {
        lock(&self.claim)
    }

    /// Never locked across work on the disk.
    pub(crate) fn installations(&self) -> MutexGuard<'_, Installations> {
        lock(&self.installations)
    }

    pub(crate) fn damages(&self) -> MutexGuard<'_, Damages> {
        lock(&self.damages)
    }

    /// Writes down what is damaged, if that has changed. Blocking.
    pub(crate) fn save_damages(&self, disk: &Disk) {
        let _one_at_a_time = lock(&self.damage_file);
        if disk.has_failed() {
            return;
        }
        // Others want to know how much is damaged while a slow disk works.
        let Some(text) = self.damages().unsaved_text() else { return };
        let made = {
            let _directories = self.directories();
            disk.make_directories(&disk.layout.record(&self.name))
        };
        let made = made.inspect_err(|error| {
            disk.judge("make a directory", error);
        });
        let path = disk.layout.damaged(&self.name);
        // A failure is judged in there; the scrub finds what was lost.
        if made.and_then(|()| disk.replace("note damaged objects", &path, &text)).is_err() {
            self.damages().not_saved();
        }
    }

    /// Whether an installation may write, as far as that can be told.
    pub(crate) fn writer(&self, writer: Incarnation) -> Writer {
        match *self.installations() {
            Installations::Newest(newest) => newest.writer(writer),
            Installations::Unknown if !writer.is_plausible_after(0) => Writer::Implausible,
            Installations::Unknown | Installations::Newer { .. } => Writer::Current,
        }
    }

    /// Refuses an installation that another one has taken over from, and every one if that can't be told. One that is not named
    /// is not judged.
    pub(crate) fn check_writer(&self, writer: Option<Incarnation>) -> Result<(), Refusal> {
        if let Installations::Newer { found } = *self.installations() {
            return Err(Refusal::new(
                Code::NotAccepted,
                format!(
                    "a later version of Kith noted there which installation of this computer writes (version {found}, and the \
                     Kith that runs there knows up to {RECORD_VERSION}): until the newer Kith is installed there again, this \
                     archive can be read, not changed"
                ),
            ));
        }
        match writer.map(|writer| self.writer(writer)) {
            Some(Writer::Superseded { since }) => Err(Refusal::superseded(unix_milliseconds(since))),
            Some(Writer::Implausible) => {
                let message = "this installation has a number that no recovery can have given it";
                Err(Refusal::new(Code::NotAccepted, message))
            }
            Some(Writer::Current) | None => Ok(()),
        }
    }
}

/// A panic elsewhere leaves nothing half-changed under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
