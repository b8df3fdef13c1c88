//! The scrub: everything that is kept for friends is read once in a while and compared with its name, which is its
//! SHA-256. It needs no keys, changes nothing that is kept, and tells what is damaged while its owner may still have it.

mod place;
mod schedule;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use sha2::{Digest, Sha256};
use tracing::{error, info, warn};

use crate::archive::Place;
use crate::damage::{Damage, DamagedObject};
use crate::disk::{Disk, Severity, severity};
use crate::error::VaultError;
use crate::layout::charge;
use crate::names::{Object, ObjectName, ObjectType};
use crate::owner::OwnerState;
use crate::read;

use self::place::{Cursor, Next, Walk};
use self::schedule::{Due, Round, STEP, due, rest};

pub use self::schedule::DEFAULT_SCRUB;

/// So much is read at a time.
const PIECE: usize = 256 << 10;

/// An object counts as so much towards a step and its rest, however small it is: each costs a search on the disk.
const LEAST: u64 = 256 << 10;

/// When the system lacks something, this long is waited.
const BUSY_WAIT: Duration = Duration::from_secs(1);

/// The place is saved this often; a crash has so much read again.
const SAVE_EVERY: u64 = 60_000;

/// Before a wait of this length the place is saved.
const LONG_WAIT: Duration = Duration::from_secs(10);

/// How much a scrub may hurry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Haste {
    /// As the schedule says.
    Scheduled,
    /// At once, as fast as the disk reads.
    Now,
}

/// What one step did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Scrubbed {
    /// Objects that were read and compared.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What was found to be damaged, and was not known.
    pub found: Vec<DamagedObject>,
    /// What can't be read, though it can't be said to be damaged: a sentence.
    pub trouble: Option<String>,
    /// The last object of the round was read.
    pub round_ended: bool,
    /// How long to wait before the next step.
    pub wait: Duration,
}

/// Where the scrub stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScrubState {
    /// When the round that is under way, or the last one, began.
    pub started: Option<SystemTime>,
    /// When the last whole round ended.
    pub finished: Option<SystemTime>,
    /// Whether a round is under way.
    pub under_way: bool,
    /// Bytes read in this round, as they are counted.
    pub read_bytes: u64,
    /// What could not be looked at in this round or, if none is under way, in the last one, and why: a sentence about the first
    /// of it. Such a round is not a whole one.
    pub trouble: Option<String>,
}

/// The scrub of one vault.
pub(crate) struct Scrub {
    /// Held by the one step that is done at a time.
    work: Mutex<Work>,
    shown: Mutex<ScrubState>,
    /// Milliseconds; 0: never.
    period: Mutex<Duration>,
}

struct Work {
    round: Option<Round>,
    /// When the last whole round ended, by the wall clock; 0: never.
    finished: u64,
    walk: Walk,
    /// What could not be looked at in this round.
    trouble: Option<String>,
    saved_at: u64,
    unsaved: bool,
}

impl Scrub {
    /// Goes on where it stopped.
    pub(crate) fn resume(disk: &Disk) -> Self {
        let path = disk.layout.scrub_file();
        let saved = match std::fs::read_to_string(&path) {
            Ok(text) => Saved::parse(&text).unwrap_or_else(|| {
                warn!(path = %path.display(), "the record of the scrub is damaged: it begins anew");
                Saved::default()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Saved::default(),
            Err(error) => {
                warn!(path = %path.display(), %error, "the record of the scrub can't be read: it begins anew");
                Saved::default()
            }
        };
        let Saved { round, finished, at } = saved;
        let walk = Walk::after(at);
        let work = Work { round, finished, walk, trouble: None, saved_at: disk.now(), unsaved: false };
        let shown = Mutex::new(work.shown());
        Self { work: Mutex::new(work), shown, period: Mutex::new(DEFAULT_SCRUB) }
    }

    pub(crate) fn set_period(&self, period: Option<Duration>) {
        *lock(&self.period) = period.unwrap_or_default();
    }

    pub(crate) fn state(&self) -> ScrubState {
        lock(&self.shown).clone()
    }

    /// Begins a new round, wherever the last one stands. Blocking.
    pub(crate) fn begin(&self, disk: &Disk) {
        let mut work = lock(&self.work);
        work.begin(disk.now());
        *lock(&self.shown) = work.shown();
    }

    /// One step. Blocking.
    pub(crate) fn step(
        &self,
        disk: &Arc<Disk>,
        owners: &[Arc<OwnerState>],
        haste: Haste,
    ) -> Result<Scrubbed, VaultError> {
        if let Some(failure) = disk.failure() {
            return Err(VaultError::Failed { path: disk.layout.root().to_owned(), failure });
        }
        let period = u64::try_from(lock(&self.period).as_millis()).unwrap_or(u64::MAX);
        if period == 0 && haste == Haste::Scheduled {
            return Ok(Scrubbed { wait: Duration::from_secs(60 * 60), ..Scrubbed::default() });
        }
        let mut work = match self.work.try_lock() {
            Ok(work) => work,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Never two at once.
            Err(TryLockError::WouldBlock) => {
                return Ok(Scrubbed { wait: Duration::from_secs(1), ..Scrubbed::default() });
            }
        };
        let scrubbed = work.step(disk, owners, haste, period);
        *lock(&self.shown) = work.shown();
        Ok(scrubbed)
    }
}

impl Work {
    fn shown(&self) -> ScrubState {
        let time = |ms: u64| UNIX_EPOCH + Duration::from_millis(ms);
        ScrubState {
            started: self.round.map(|round| time(round.started)),
            finished: (self.finished > 0).then(|| time(self.finished)),
            under_way: self.round.is_some_and(|round| round.ended.is_none()),
            read_bytes: self.round.map_or(0, |round| round.read),
            trouble: self.trouble.clone(),
        }
    }

    fn begin(&mut self, now: u64) {
        self.round = Some(Round::begin(now));
        self.walk = Walk::after(None);
        self.trouble = None;
        self.unsaved = true;
    }

    fn step(&mut self, disk: &Arc<Disk>, owners: &[Arc<OwnerState>], haste: Haste, period: u64) -> Scrubbed {
        let total = owners.iter().map(|owner| owner.ledger().live).sum();
        let now = disk.now();
        self.round = self.round.map(|round| round.at(now));
        let mut scrubbed = Scrubbed::default();
        match due(self.round, total, now, period) {
            // Whoever is in a hurry has begun his round, and it is over.
            Due::NewRound | Due::In(_) if haste == Haste::Now && self.ended() => {
                scrubbed.round_ended = true;
                return scrubbed;
            }
            Due::NewRound => self.begin(now),
            Due::In(wait) if haste == Haste::Scheduled => {
                scrubbed.wait = wait;
                return scrubbed;
            }
            Due::In(_) | Due::Now => {}
        }
        let (worked, busy) = self.read_some(disk, owners, &mut scrubbed);
        if haste == Haste::Scheduled {
            let next = match due(self.round, total, disk.now(), period) {
                Due::In(wait) => wait,
                Due::Now | Due::NewRound => Duration::ZERO,
            };
            scrubbed.wait = next.max(rest(worked));
        }
        if busy {
            scrubbed.wait = scrubbed.wait.max(BUSY_WAIT);
        }
        let now = disk.now();
        let long_ago = now.saturating_sub(self.saved_at) >= SAVE_EVERY;
        if self.unsaved && (long_ago || scrubbed.round_ended || scrubbed.wait >= LONG_WAIT) {
            self.save(disk, now);
        }
        scrubbed
    }

    fn ended(&self) -> bool {
        self.round.is_some_and(|round| round.ended.is_some())
    }

    /// Reads on until it was enough for a step. Says what that counts as, and whether the system lacks something.
    fn read_some(
        &mut self,
        disk: &Arc<Disk>,
        owners: &[Arc<OwnerState>],
        scrubbed: &mut Scrubbed,
    ) -> (u64, bool) {
        let (mut worked, mut busy) = (0, false);
        // Written down once: a disk on which much is damaged has better things to do.
        let mut changed: Vec<Arc<OwnerState>> = Vec::new();
        while worked < STEP && !disk.has_failed() {
            let (place, kind, name) = match self.walk.next(disk, owners) {
                Next::Object(place, kind, name) => (place, kind, name),
                Next::Unreadable(path, error) => {
                    // As a search for an object; the object is not known.
                    worked += LEAST;
                    self.trouble(&path, &error, scrubbed);
                    continue;
                }
                Next::Busy => {
                    busy = true;
                    break;
                }
                Next::End => {
                    self.end(disk.now());
                    scrubbed.round_ended = true;
                    break;
                }
            };
            let (verdict, length) = examine(&place, kind, &name);
            match &verdict {
                Verdict::Busy => {
                    // Looked at again by the next step.
                    self.walk.put_back(name);
                    busy = true;
                    break;
                }
                Verdict::Trouble(error) => {
                    self.trouble(&place.path(&Object::Named(kind, name.clone())), error, scrubbed);
                }
                Verdict::Fine | Verdict::Gone | Verdict::Damaged(_) => {}
            }
            if note(&place, kind, &name, &verdict, scrubbed)
                && !changed.iter().any(|known| Arc::ptr_eq(known, &place.owner))
            {
                changed.push(Arc::clone(&place.owner));
            }
            self.walk.done(&name);
            self.unsaved = true;
            scrubbed.objects += 1;
            scrubbed.bytes += length;
            worked += charge(length).max(LEAST);
            if let Some(round) = &mut self.round {
                round.read = round.read.saturating_add(charge(length));
            }
        }
        changed.iter().for_each(|owner| owner.save_damages(disk));
        (worked, busy)
    }

    fn end(&mut self, now: u64) {
        if let Some(round) = &mut self.round {
            round.ended = Some(now);
        }
        self.unsaved = true;
        if self.trouble.is_none() {
            self.finished = now;
            info!("everything that is kept was read and compared");
        } else {
            warn!("what is kept was read and compared, but for what could not be looked at");
        }
    }

    /// Something can't be looked at, and that does not say that it is damaged: the person here is told.
    fn trouble(&mut self, path: &Path, error: &io::Error, scrubbed: &mut Scrubbed) {
        error!(path = %path.display(), %error, "a part of the vault can't be read");
        let sentence = || format!("{} can't be read: {error}", path.display());
        scrubbed.trouble.get_or_insert_with(sentence);
        self.trouble.get_or_insert_with(sentence);
    }

    fn save(&mut self, disk: &Disk, now: u64) {
        let saved = Saved { round: self.round, finished: self.finished, at: self.walk.cursor() };
        // A failure is judged in there: without the record some things are read again.
        if disk.replace("note where the scrub stands", &disk.layout.scrub_file(), &saved.to_text()).is_ok() {
            (self.saved_at, self.unsaved) = (now, false);
        }
    }
}

/// What came of reading an object.
#[derive(Debug)]
enum Verdict {
    Fine,
    /// It was deleted meanwhile.
    Gone,
    /// The system lacks something for a moment.
    Busy,
    /// It can't be read for a reason that is not its own.
    Trouble(io::Error),
    Damaged(Damage),
}

/// Reads an object; its length comes with the verdict.
fn examine(place: &Place, kind: ObjectType, name: &ObjectName) -> (Verdict, u64) {
    let path = place.path(&Object::Named(kind, name.clone()));
    let (verdict, length) = match read::open_regular(&path) {
        Ok(Some((file, length))) => (compare(file, name), length),
        // Something else has its name.
        Ok(None) => (Verdict::Damaged(Damage::Unreadable), 0),
        Err(error) => (judge(error), 0),
    };
    // Whatever was seen of one that was moved aside meanwhile is no news.
    let there = path.symlink_metadata().is_ok();
    (if there { verdict } else { Verdict::Gone }, length)
}

fn compare(mut file: File, name: &ObjectName) -> Verdict {
    let mut hasher = Sha256::new();
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => hasher.update(&piece[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return judge(error),
        }
    }
    let same = hasher.finalize().as_slice() == name.digest();
    if same { Verdict::Fine } else { Verdict::Damaged(Damage::Changed) }
}

/// Only what disks and file systems say of bytes that they have lost is damage: rights that are missing, or a share that is away, can
/// be put right here, and no owner shall send anything again for it.
fn judge(error: io::Error) -> Verdict {
    if error.kind() == io::ErrorKind::NotFound {
        return Verdict::Gone;
    }
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EIO | Errno::EUCLEAN | Errno::EBADMSG | Errno::ENODATA | Errno::EILSEQ) => {
            Verdict::Damaged(Damage::Unreadable)
        }
        // A link has its name.
        Some(Errno::ELOOP) => Verdict::Damaged(Damage::Unreadable),
        _ if severity(&error) == Severity::Busy => Verdict::Busy,
        _ => Verdict::Trouble(error),
    }
}

/// Remembers what was found; one that can be read again is forgotten. True if that has changed what is to be written down.
fn note(
    place: &Place,
    kind: ObjectType,
    name: &ObjectName,
    verdict: &Verdict,
    scrubbed: &mut Scrubbed,
) -> bool {
    let object = (place.archive.name.clone(), kind, name.clone());
    match verdict {
        Verdict::Damaged(damage) => {
            let found = place.owner.damages().note(object, *damage, place.disk.now());
            let Some(found) = found.map(|found| found.of(&place.owner.name)) else { return false };
            let DamagedObject { owner, archive, object, damage, .. } = &found;
            error!(%owner, %archive, %object, ?damage, "an object is damaged on this disk: its owner is told");
            scrubbed.found.push(found);
            true
        }
        Verdict::Fine | Verdict::Gone => place.owner.damages().forget(&object),
        Verdict::Busy | Verdict::Trouble(_) => false,
    }
}

/// The record: "scrub 1\n<started> <read> <ended> <finished>\n", and the last object that was read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Saved {
    round: Option<Round>,
    finished: u64,
    at: Option<Cursor>,
}

const FIRST_LINE: &str = "scrub 1";

impl Saved {
    pub(crate) fn to_text(&self) -> String {
        let Round { started, read, ended } = self.round.unwrap_or_else(|| Round::begin(0));
        let at = self.at.as_ref().map(Cursor::to_text).unwrap_or_default();
        format!("{FIRST_LINE}\n{started} {read} {} {}\n{at}\n", ended.unwrap_or(0), self.finished)
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(FIRST_LINE)?.strip_prefix('\n')?.strip_suffix('\n')?;
        let (numbers, at) = rest.split_once('\n')?;
        let numbers: Option<Vec<u64>> = numbers.split(' ').map(|number| number.parse().ok()).collect();
        let [started, read, ended, finished] = numbers?.try_into().ok()?;
        let at = if at.is_empty() { None } else { Some(Cursor::parse(at)?) };
        let round = (started > 0).then_some(Round { started, read, ended: (ended > 0).then_some(ended) });
        Some(Self { round, finished, at })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_disk_has_lost_counts_as_damaged() {
        let verdict = |errno: Errno| judge(io::Error::from(errno));
        for errno in [Errno::EIO, Errno::EUCLEAN, Errno::ELOOP] {
            assert!(matches!(verdict(errno), Verdict::Damaged(Damage::Unreadable)), "{errno}");
        }
        for errno in [Errno::EACCES, Errno::EPERM, Errno::ESTALE, Errno::ENOTCONN] {
            assert!(matches!(verdict(errno), Verdict::Trouble(_)), "{errno}");
        }
        for errno in [Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM] {
            assert!(matches!(verdict(errno), Verdict::Busy), "{errno}");
        }
        assert!(matches!(verdict(Errno::ENOENT), Verdict::Gone));
    }

    #[test]
    fn the_record_is_read_as_it_was_written_and_damage_begins_anew() {
        let name = "ab".repeat(32);
        let at = Cursor::parse(&format!("ALICE a data {name}"));
        assert!(at.is_some());
        let round = Some(Round { started: 5, read: 7, ended: None });
        for saved in [
            Saved::default(),
            Saved { round, finished: 0, at },
            Saved { round: Some(Round { started: 5, read: 7, ended: Some(9) }), finished: 9, at: None },
        ] {
            let text = saved.to_text();
            assert_eq!(Saved::parse(&text), Some(saved));
            for end in 0..text.len() {
                let torn = Saved::parse(&text[..end]);
                assert!(torn.is_none() || text[end..].trim().is_empty(), "{:?}", &text[..end]);
            }
        }
        for bad in ["", "scrub 2\n1 2 3 4\n\n", "scrub 1\n1 2 3\n\n", "scrub 1\n1 2 0 0\n../x a data y\n"] {
            assert_eq!(Saved::parse(bad), None, "{bad:?}");
        }
    }
}
