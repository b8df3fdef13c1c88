//! The bytes on disk.
//!
//! ```text
//! <vault>/                                    mode 0700
//!   .kith-vault                               "kith-vault 2\n": the format and its version
//!   .kith-vault.clock                         hold time: "hold <ms>\nwall <ms>\n"; missing while nothing was ever held
//!   .kith-vault.scrub                         "scrub 1\n<started> <read> <ended> <finished>\n<owner> <archive> <type> <name>\n"
//!   .kith-vault.in-use                        empty; made at start, removed at a clean end
//!   .kith-vault.lock                          empty; flock(2)ed exclusively while a daemon uses the vault
//!   tmp/<number>                              unfinished uploads; emptied at every start
//!   <owner>/                                  an owner's device id: A-Z, 0-9, '-'
//!     <archive>/                              a restic repository (format 1 or 2) without keys
//!       config                                written once
//!       data/<first two digits>/<name>        packs; name = SHA-256 of the bytes, 64 lower-case hex digits
//!       index/<name>  snapshots/<name>  locks/<name>
//!       keys/<name>                           never written by the vault; served if the person at this disk put one there
//!     held/<archive>/<type>/.../<name>.<deleted>.<hold>.<arrived>
//!                                             deleted objects, the same shape as <archive>/, see below
//!     state/<sequence>[.<incarnation>]        sealed state objects, 20 decimal digits; which recovery they come after, unless 0.
//!                                             The newest 10 are kept, and the newest one of each of 32 days before
//!     .record/<archive>.arrivals              when objects arrived: "\n<ms> <type>/<name>" for each
//!     .record/incarnation                     "incarnation 1\n<number> <installation> <since>\n"
//!     .record/damaged                         "damaged 1\n", and "<found> <changed|unreadable> <archive> <type>/<name>\n" for each
//! ```
//!
//! Directories have mode 0700, files 0600. Copying `<owner>/<archive>/` elsewhere and putting a key file into
//! `keys/` there gives a repository that stock restic opens. Files with other names are ignored and never touched, but that a
//! `.new` beside a file of the vault's own is a leftover of its replacement.
//! Changes made by hand while a daemon uses the vault are not noticed before its next start.
//!
//! Numbers are decimal. Of the times in a held name `<deleted>` and `<arrived>` are milliseconds since 1970-01-01 UTC by this computer's
//! clock, `<hold>` milliseconds of hold time. `<deleted>` is always later than `<arrived>`.
//!
//! # Versions
//!
//! Format 1 had held names of the form `<name>.<deleted>`, no `.record/` and no clock. A vault of that format becomes one of format 2 when
//! it is opened: the format file is replaced. Held names are read in both forms; the janitor renames the old ones when it first sees them, with
//! the hold time of that moment and the time of the file. An unknown newer format is refused, and nothing is touched.
//!
//! `.record/incarnation` of an unknown newer version is left alone: which installation writes can't be told, so that none does, and the owner's archives
//! are only read. A damaged one counts as none. `.record/damaged` and `.kith-vault.scrub` of a newer version count as damaged: the scrub finds again what they had.
//!
//! # Hold time
//!
//! Hold time is how long the vault has been open on a computer that was awake: it advances by the monotonic clock, by five minutes between
//! two looks at the most, and never by the time of day. A look is taken every minute and with every deletion. While something is
//! held it is saved every minute and at the end (new file, `fsync`, rename, `fsync` of the directory). A crash loses what was not
//! saved; at start the clock is never behind the latest stamp of what is held. A lost clock therefore holds longer, never shorter.
//!
//! The janitor erases what has been held for the window; nothing else erases anything under `held/`. The window's length is not stored: it is
//! the caller's. Snapshots go before index files, these before packs. It makes 10,000 changes in a run at most; each directory is synced
//! after the changes in it. What a crash brings back is erased by the next run.
//!
//! # The past
//!
//! As of a time T there is what arrived at T or before and is there or was deleted after T. `config` and `keys/` are always there, locks never.
//! An object arrived at the time that its last line in `.arrivals` gives; without one, at the time of the file's last change, which the vault sets to the same
//! moment. A held object's name has it. To undelete is to rename from `held/` to where the object was, packs first, then
//! index files, then snapshots; each directory is synced before the next one is begun, the live one first.
//!
//! The journal of arrivals is appended to after an object's rename and synced within a minute. After a crash its last lines may be missing
//! or torn; then the file's own time, which was synced with its contents, says the same. A line begins with its line break, so that a
//! torn one spoils no other. When it has grown beyond 1 MiB and twice its size, it is written anew without what is gone.
//!
//! # The scrub
//!
//! Every object whose name is a hash is read once in a period and compared with it, in the order of owners, archives, types and names.
//! `.kith-vault.scrub` has the round's begin, the bytes read in it, its end (0 while it goes on), the end of the last whole round, and the last object
//! that was read; it is replaced once a minute at the most, so that a crash has a minute's work done again. What is damaged is noted in `.record/damaged`, and
//! stays where it is until its owner deletes it, which moves it aside like anything else. Neither file is needed for anything but this: without them the scrub begins anew.
//!
//! # Order of writes
//!
//! An object: room is reserved from the announced length; bytes go to a new file in `tmp/` while they are hashed; the
//! hash must equal the name (`config` has none); the file's time is set; `fsync` the file; make missing directories, each followed by `fsync`
//! of its parent; rename without replacing; append to `.arrivals`; `fsync` the directory; acknowledge. An index or a snapshot is renamed
//! only when no other object of the archive is between its rename and the end of its `fsync`: whoever saw an object in a list
//! and relies on it in an index can rely on its being durable.
//!
//! An object that is there already (same name, thus the same bytes) is acknowledged after all renames under way have become
//! durable, and is not written again. `config`, which has no hash, is compared byte by byte.
//!
//! A deletion: the directories under `held/` are made durable; the object is renamed to its held name, never over
//! another; `fsync` of the held directory, then of the live one; acknowledge. Locks are unlinked instead. A state object is
//! written like an object; then the oldest beyond ten are unlinked.
//!
//! A new installation of an owner: the file is replaced (new file, `fsync`, rename, `fsync` of the directory); from then on
//! renames of the older one are refused; those under way are waited for; acknowledge.
//!
//! At start: `tmp/` is emptied; live and held bytes are counted by walking. If `.kith-vault.in-use` is there, the last process
//! died, and `syncfs` (Linux; elsewhere `sync`) makes durable what it may have renamed and not yet synced.
//!
//! # After a failure
//!
//! | what failed | what follows |
//! |---|---|
//! | a write, a rename, a new file or directory: ENOSPC, EDQUOT | that one change is refused: the disk is full |
//! | the same: EMFILE, ENFILE, ENOMEM, EINTR | that one change is refused |
//! | the same: any other error, EROFS, EIO, EFBIG, a directory that is gone | the vault takes no changes |
//! | `fsync` of a file or directory, `syncfs`: any error, ENOSPC too | the vault takes no changes |
//! | removing a temporary file or a superseded state object | it stays; the next start, or the next state object, tries again |
//!
//! "Takes no changes" holds for everything in the vault, the janitor and the clock included, until it is opened again: the system may have given
//! up data that it could not write, and what is visible may not be durable. Reading goes on. `.kith-vault.in-use` stays, so that the next start syncs
//! what is visible before anything is promised.
//!
//! # What is assumed of the medium
//!
//! `fsync` of a file and of a directory makes contents and names durable; a rename within one file system
//! is atomic, also across a crash. Of what was not synced a crash may leave anything: nothing, all, some names without others, files that are empty or cut
//! off. A file system that cannot sync directories (EINVAL) is taken to be one that does not need it.
//!
//! # Counting
//!
//! A file counts as its length rounded up to whole blocks of [`BLOCK`] bytes, an empty one as one block, as it costs the disk:
//! many tiny objects can't exceed what was offered. Counted as live: `config`, data, index, snapshots, locks. Counted as held:
//! everything under `held/`. Not counted: `keys/`, `state/` (bounded by 42 objects of 1 MiB), `.record/`, directories.
//!
//! An upload is refused if live bytes would exceed the quota, or live and held ones together twice the quota. What is undeleted turns from held
//! into live: no more bytes than before are on the disk, so that it is never refused for want of room; uploads are, until there is room again.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::names::{ArchiveName, Object, ObjectName, ObjectType, Owner};

/// The version of the format that this crate reads and writes.
pub const FORMAT_VERSION: u32 = 2;

/// Files are counted in blocks of this many bytes.
pub const BLOCK: u64 = 4096;

/// The most bytes of one state object.
pub const MAX_STATE_BYTES: usize = 1 << 20;

/// How many state objects of an owner are kept.
pub const STATE_VERSIONS: usize = 10;

/// Of so many earlier days the newest state object is kept, too.
pub const STATE_DAYS: usize = 32;

/// How many archives one owner may have.
pub const MAX_ARCHIVES: usize = 64;

pub(crate) const TEMPORARY: &str = "tmp";
pub(crate) const HELD: &str = "held";
pub(crate) const STATE: &str = "state";
/// The file that makes a directory a vault and holds its format version.
pub const FORMAT_FILE: &str = ".kith-vault";
pub(crate) const FORMAT_FILE_NEW: &str = ".kith-vault.new";
pub(crate) const CLOCK_FILE: &str = ".kith-vault.clock";
/// No archive can have this name.
pub(crate) const RECORD: &str = ".record";
pub(crate) const SCRUB_FILE: &str = ".kith-vault.scrub";
pub(crate) const IN_USE_FILE: &str = ".kith-vault.in-use";
pub(crate) const LOCK_FILE: &str = ".kith-vault.lock";

/// What a file of `length` bytes counts as.
pub(crate) fn charge(length: u64) -> u64 {
    length.max(1).div_ceil(BLOCK).saturating_mul(BLOCK)
}

/// Where everything lies, below one root.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn format_file(&self) -> PathBuf {
        self.root.join(FORMAT_FILE)
    }

    pub(crate) fn clock_file(&self) -> PathBuf {
        self.root.join(CLOCK_FILE)
    }

    /// Where the scrub stands.
    pub(crate) fn scrub_file(&self) -> PathBuf {
        self.root.join(SCRUB_FILE)
    }

    pub(crate) fn in_use_file(&self) -> PathBuf {
        self.root.join(IN_USE_FILE)
    }

    pub(crate) fn lock_file(&self) -> PathBuf {
        self.root.join(LOCK_FILE)
    }

    pub(crate) fn temporary(&self) -> PathBuf {
        self.root.join(TEMPORARY)
    }

    pub(crate) fn owner(&self, owner: &Owner) -> PathBuf {
        self.root.join(owner.as_str())
    }

    pub(crate) fn archive(&self, owner: &Owner, archive: &ArchiveName) -> PathBuf {
        self.owner(owner).join(archive.as_str())
    }

    /// The directory that holds the objects of one type; packs lie one level deeper.
    pub(crate) fn objects(&self, owner: &Owner, archive: &ArchiveName, kind: ObjectType) -> PathBuf {
        self.archive(owner, archive).join(kind.as_str())
    }

    pub(crate) fn object(&self, owner: &Owner, archive: &ArchiveName, object: &Object) -> PathBuf {
        let mut path = self.archive(owner, archive);
        match object {
            Object::Config => path.push("config"),
            Object::Named(kind, name) => {
                path.extend(directories(*kind, name));
                path.push(name.as_str());
            }
        }
        path
    }

    pub(crate) fn held(&self, owner: &Owner) -> PathBuf {
        self.owner(owner).join(HELD)
    }

    /// What the vault notes about an owner's archives, apart from them.
    pub(crate) fn record(&self, owner: &Owner) -> PathBuf {
        self.owner(owner).join(RECORD)
    }

    /// When the objects of an archive arrived.
    pub(crate) fn arrivals(&self, owner: &Owner, archive: &ArchiveName) -> PathBuf {
        self.record(owner).join(format!("{archive}.arrivals"))
    }

    /// The newest installation of an owner.
    pub(crate) fn incarnation(&self, owner: &Owner) -> PathBuf {
        self.record(owner).join("incarnation")
    }

    /// What of an owner is damaged.
    pub(crate) fn damaged(&self, owner: &Owner) -> PathBuf {
        self.record(owner).join("damaged")
    }

    pub(crate) fn state(&self, owner: &Owner) -> PathBuf {
        self.owner(owner).join(STATE)
    }

    pub(crate) fn state_object(&self, owner: &Owner, name: StateName) -> PathBuf {
        self.state(owner).join(name.to_text())
    }
}

/// The directories between an archive and a named object of it.
pub(crate) fn directories(kind: ObjectType, name: &ObjectName) -> impl Iterator<Item = &str> {
    let shard = (kind == ObjectType::Data).then(|| name.as_str().get(..2)).flatten();
    [Some(kind.as_str()), shard].into_iter().flatten()
}

/// Which state object it is. The greater one is newer: a recovery goes before every number that was used until then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StateName {
    /// The number of the installation that wrote it.
    pub(crate) incarnation: u64,
    pub(crate) sequence: u64,
}

impl StateName {
    pub(crate) fn to_text(self) -> String {
        match self.incarnation {
            0 => format!("{:020}", self.sequence),
            incarnation => format!("{:020}.{incarnation}", self.sequence),
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (sequence, incarnation) = match name.split_once('.') {
            Some((sequence, incarnation)) => (sequence, incarnation.parse().ok()?),
            None => (name, 0),
        };
        let name_read = Self { incarnation, sequence: sequence.parse().ok()? };
        (name_read.to_text() == name).then_some(name_read)
    }
}

/// Milliseconds since 1970-01-01 UTC; a clock before that counts as that.
pub(crate) fn unix_milliseconds(now: SystemTime) -> u64 {
    let elapsed = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}
