//! The vault as its caller sees it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tokio::task::spawn_blocking;
use tracing::info;

use crate::clock::{Clock, SystemClock};
use crate::damage::DamagedObject;
use crate::disk::Disk;
use crate::error::{StateError, VaultError};
use crate::handle::Drains;
use crate::incarnation::{self, Incarnation, Writer};
use crate::keeper::Keeper;
use crate::medium::{LocalDisk, Medium};
use crate::names::{ArchiveName, Owner};
use crate::owner::OwnerState;
use crate::scrub::{Haste, Scrub, ScrubState, Scrubbed};
use crate::sweep::{self, SweepReport};
use crate::{open, state};

/// What must stay free on the vault's disk unless told otherwise: 1 GiB.
pub const DEFAULT_FREE_SPACE_FLOOR: u64 = 1 << 30;

/// Where a vault is and what it must leave free.
#[derive(Debug, Clone)]
pub struct VaultConfig {
    /// The vault's directory; made if it does not exist.
    pub path: PathBuf,
    /// Bytes that must stay free on its file system: a write that would leave less is refused as if the disk were full.
    pub free_space_floor: u64,
}

impl VaultConfig {
    /// A vault at `path` with [`DEFAULT_FREE_SPACE_FLOOR`].
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), free_space_floor: DEFAULT_FREE_SPACE_FLOOR }
    }
}

/// What an owner uses. Counted in whole blocks, see [`layout`](crate::layout#counting).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of objects that are there.
    pub live_bytes: u64,
    /// Bytes of deleted objects that are still held.
    pub held_bytes: u64,
    /// The most live bytes there may be; `None`: nothing may be written.
    pub quota_bytes: Option<u64>,
}

/// Whether an owner may change anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepting {
    /// Writes and deletions are done.
    Yes,
    /// Everything can be read, nothing written or deleted.
    No,
}

/// What this computer keeps for its friends. Cheap to clone; the directory stays locked until the last clone and
/// the last work under way are gone.
#[derive(Clone)]
pub struct Vault {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) disk: Arc<Disk>,
    /// Those who have something here and those the caller spoke of: bounded by the caller's list of friends.
    owners: RwLock<BTreeMap<Owner, Arc<OwnerState>>>,
    pub(crate) drains: Drains,
    scrub: Scrub,
    _keeper: Keeper,
}

impl Vault {
    /// Opens the vault at the configured path, or makes one there. Counting what is stored takes a while if it is much.
    ///
    /// All owners are accepted and none has a quota until the caller says so.
    ///
    /// # Errors
    /// [`VaultError`] if the directory can't be used, has other things in it, is in use, or has a newer format.
    pub async fn open(config: VaultConfig) -> Result<Self, VaultError> {
        Self::open_on(config, Arc::new(LocalDisk::default()), Arc::new(SystemClock::default())).await
    }

    /// Like [`Vault::open`], on a disk and by clocks that the caller brings: to see what is done to them, or to have
    /// them fail.
    ///
    /// # Errors
    /// As [`Vault::open`].
    pub async fn open_on(
        config: VaultConfig,
        medium: Arc<dyn Medium>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, VaultError> {
        let begun = Instant::now();
        let opened = spawn_blocking(move || open::open(config.path, config.free_space_floor, medium, clock));
        let (disk, owners) = opened.await.map_err(|_| VaultError::Ended)??;
        info!(path = %disk.layout.root().display(), owners = owners.len(), took = ?begun.elapsed(), "vault opened");
        let owners = owners.into_iter().map(|owner| (owner.name.clone(), owner)).collect();
        let reading = Arc::clone(&disk);
        let scrub = spawn_blocking(move || Scrub::resume(&reading)).await.map_err(|_| VaultError::Ended)?;
        let inner = Arc::new_cyclic(|inner| Inner {
            disk,
            owners: RwLock::new(owners),
            drains: Drains::default(),
            scrub,
            _keeper: Keeper::start(inner.clone()),
        });
        Ok(Self { inner })
    }

    /// Sets how long deleted objects are held, in hold time: time during which this vault was open and the computer
    /// awake. It holds at once, also for what was deleted before. [`DEFAULT_HOLD`](crate::DEFAULT_HOLD) until it is set.
    pub fn set_hold(&self, window: Duration) {
        self.inner.disk.hold.set_window(window);
    }

    /// Erases what has been held for its time, up to a bound per run; to be called every hour or so. Nothing else
    /// erases anything that is held.
    ///
    /// # Errors
    /// [`VaultError::Failed`] after an earlier failure of the disk, [`VaultError::Io`] if it fails now.
    pub async fn sweep(&self) -> Result<SweepReport, VaultError> {
        let inner = Arc::clone(&self.inner);
        let swept = spawn_blocking(move || sweep::sweep(&inner.disk, &inner.all_owners()));
        swept.await.map_err(|_| VaultError::Ended)?
    }

    /// Sets in what time everything is read once and compared with its name; `None`: never.
    /// [`DEFAULT_SCRUB`](crate::DEFAULT_SCRUB) until it is set.
    pub fn set_scrub(&self, period: Option<Duration>) {
        self.inner.scrub.set_period(period);
    }

    /// One step of the scrub: reads for a second or so, or nothing if nothing is due, and says how long to wait before the
    /// next one. A step while another one is done does nothing.
    ///
    /// # Errors
    /// [`VaultError::Failed`] after an earlier failure of the disk.
    pub async fn scrub(&self, haste: Haste) -> Result<Scrubbed, VaultError> {
        let inner = Arc::clone(&self.inner);
        let step = spawn_blocking(move || inner.scrub.step(&inner.disk, &inner.all_owners(), haste));
        step.await.map_err(|_| VaultError::Ended)?
    }

    /// Begins a new round of the scrub, wherever the last one stands.
    ///
    /// # Errors
    /// [`VaultError::Ended`] if the program ends.
    pub async fn begin_scrub(&self) -> Result<(), VaultError> {
        let inner = Arc::clone(&self.inner);
        spawn_blocking(move || inner.scrub.begin(&inner.disk)).await.map_err(|_| VaultError::Ended)
    }

    /// Where the scrub stands.
    pub fn scrub_state(&self) -> ScrubState {
        self.inner.scrub.state()
    }

    /// What of `owner` is known to be damaged on this disk.
    pub fn damaged(&self, owner: &Owner) -> Vec<DamagedObject> {
        let Some(owner) = self.known(owner) else { return Vec::new() };
        owner.damages().all().map(|noted| noted.of(&owner.name)).collect()
    }

    /// How many objects of `owner` are known to be damaged on this disk.
    pub fn damaged_count(&self, owner: &Owner) -> u64 {
        self.known(owner).map_or(0, |owner| owner.damages().len() as u64)
    }

    /// What failed, as a sentence, if the disk did: since then nothing is changed any more, until the vault has been
    /// opened again. Reading goes on.
    pub fn failure(&self) -> Option<String> {
        self.inner.disk.failure()
    }

    /// An installation of `owner` speaks: tells whether it may write. If it is the newest so far it takes over, and
    /// that is durable; when this returns, no write of an older one will land any more.
    ///
    /// The one of the highest number is current; of two with the same number, the one of the greater id. One whose number could
    /// not have come from recoveries is none of them.
    ///
    /// # Errors
    /// [`VaultError::Io`] if a new one could not be made durable. It has taken over all the same, until the next start.
    /// [`VaultError::NewerRecord`] if a later version of Kith wrote which one writes: none does then.
    pub async fn writer(&self, owner: &Owner, incarnation: Incarnation) -> Result<Writer, VaultError> {
        let (disk, owner) = (Arc::clone(&self.inner.disk), self.owner(owner));
        let claimed = spawn_blocking(move || incarnation::claim(&disk, &owner, incarnation));
        claimed.await.map_err(|_| VaultError::Ended)?
    }

    /// Whether an installation of `owner` may write by what [`Vault::writer`] was told so far. It changes nothing.
    pub fn may_write(&self, owner: &Owner, incarnation: Incarnation) -> bool {
        let known = self.known(owner);
        known.map_or_else(
            || incarnation.is_plausible_after(0),
            |owner| owner.writer(incarnation) == Writer::Current,
        )
    }

    /// The newest installation of `owner` that [`Vault::writer`] was told of, and since when.
    pub fn newest_incarnation(&self, owner: &Owner) -> Option<(Incarnation, SystemTime)> {
        let newest = self.known(owner)?.installations().newest()?;
        Some((newest.incarnation, newest.since_time()))
    }

    /// Sets how many live bytes `owner` may have; `None`: nothing may be written. What is stored stays.
    pub fn set_quota(&self, owner: &Owner, bytes: Option<u64>) {
        self.owner(owner).ledger().quota = bytes;
    }

    /// Sets whether `owner` may change anything. Reading is always possible.
    pub fn set_accepting(&self, owner: &Owner, accepting: Accepting) {
        self.owner(owner).set_accepting(accepting == Accepting::Yes);
    }

    /// What `owner` uses.
    pub fn usage(&self, owner: &Owner) -> Usage {
        let ledger = self.known(owner).map(|owner| owner.ledger().clone()).unwrap_or_default();
        Usage { live_bytes: ledger.live, held_bytes: ledger.held, quota_bytes: ledger.quota }
    }

    /// The owners who have something here, or whom the caller spoke of.
    pub fn owners(&self) -> Vec<Owner> {
        self.inner.owners.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// The archives of `owner`.
    pub fn archives(&self, owner: &Owner) -> Vec<ArchiveName> {
        self.known(owner).map(|owner| owner.archives().keys().cloned().collect()).unwrap_or_default()
    }

    /// The bytes that are free on the vault's file system for this user; the floor is not deducted.
    ///
    /// # Errors
    /// [`VaultError::Io`] if the system does not tell.
    pub async fn free_bytes(&self) -> Result<u64, VaultError> {
        let disk = Arc::clone(&self.inner.disk);
        let asked = spawn_blocking(move || {
            disk.free_bytes().map_err(|source| VaultError::Io {
                action: "ask for the free space of",
                path: disk.layout.root().to_owned(),
                source,
            })
        });
        asked.await.map_err(|_| VaultError::Ended)?
    }

    /// Stores a sealed state object; when this returns it is durable. The newest
    /// [`STATE_VERSIONS`](crate::layout::STATE_VERSIONS) are kept, and the newest one of each of
    /// [`STATE_DAYS`](crate::layout::STATE_DAYS) days before. It needs no quota, only an owner who is accepted:
    /// it is small, and any friend may be the one from whom everything is recovered. Storing the newest one again is fine.
    ///
    /// # Errors
    /// [`StateError`] if it is too large, older than the newest, differs from one of the same number, or the disk refuses it.
    pub async fn put_state(&self, owner: &Owner, sequence: u64, sealed: Bytes) -> Result<(), StateError> {
        let (disk, owner) = (Arc::clone(&self.inner.disk), self.owner(owner));
        state_work(move || state::put(&disk, &owner, None, sequence, &sealed)).await
    }

    /// Like [`Vault::put_state`], for one installation of `owner`: what one of a higher number writes is newer, whatever its
    /// sequence.
    ///
    /// # Errors
    /// As [`Vault::put_state`], and [`StateError::Superseded`] if [`Vault::writer`] was told of a newer one.
    pub async fn put_state_from(
        &self,
        owner: &Owner,
        writer: Incarnation,
        sequence: u64,
        sealed: Bytes,
    ) -> Result<(), StateError> {
        let (disk, owner) = (Arc::clone(&self.inner.disk), self.owner(owner));
        state_work(move || state::put(&disk, &owner, Some(writer), sequence, &sealed)).await
    }

    /// The newest state object of `owner` and its sequence number.
    ///
    /// # Errors
    /// [`StateError::Storage`] if it can't be read.
    pub async fn newest_state(&self, owner: &Owner) -> Result<Option<(u64, Bytes)>, StateError> {
        self.older_state(owner, 0).await
    }

    /// The newest state object of `owner` but `back` newer ones, and its sequence number: it serves if the newest turns out to be
    /// damaged, or to be somebody else's.
    ///
    /// # Errors
    /// [`StateError::Storage`] if it can't be read.
    pub async fn older_state(&self, owner: &Owner, back: usize) -> Result<Option<(u64, Bytes)>, StateError> {
        let Some(owner) = self.known(owner) else { return Ok(None) };
        let disk = Arc::clone(&self.inner.disk);
        state_work(move || state::newest(&disk, &owner, back)).await
    }

    /// The sequence numbers of all state objects of `owner`, the oldest first.
    ///
    /// # Errors
    /// [`StateError::Storage`] if the directory can't be read.
    pub async fn state_sequences(&self, owner: &Owner) -> Result<Vec<u64>, StateError> {
        let Some(owner) = self.known(owner) else { return Ok(Vec::new()) };
        let disk = Arc::clone(&self.inner.disk);
        let names = state_work(move || state::names(&disk, &owner)).await?;
        Ok(names.into_iter().map(|name| name.sequence).collect())
    }

    fn known(&self, owner: &Owner) -> Option<Arc<OwnerState>> {
        self.inner.owners.read().unwrap_or_else(PoisonError::into_inner).get(owner).cloned()
    }

    pub(crate) fn owner(&self, owner: &Owner) -> Arc<OwnerState> {
        if let Some(known) = self.known(owner) {
            return known;
        }
        let mut owners = self.inner.owners.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(owners.entry(owner.clone()).or_insert_with(|| Arc::new(OwnerState::new(owner.clone()))))
    }
}

impl Inner {
    pub(crate) fn all_owners(&self) -> Vec<Arc<OwnerState>> {
        self.owners.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

async fn state_work<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StateError> + Send + 'static,
) -> Result<T, StateError> {
    spawn_blocking(work).await.map_err(|_| StateError::Ended)?
}
