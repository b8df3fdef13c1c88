//! What lies in an archive of ours.

use jiff::Timestamp;
use kith_identity::DeviceId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A snapshot in an archive of ours at a friend.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SnapshotView {
    /// restic's snapshot id, 64 hex digits.
    pub id: String,
    /// When it was made.
    pub time: Timestamp,
    /// Name of the friend that keeps it.
    pub friend: String,
    /// Name of the set; null if it has none (made by another tool).
    pub set: Option<String>,
    /// What was backed up.
    pub paths: Vec<String>,
    /// Files in it; null when its maker did not say.
    pub files: Option<u64>,
    /// Bytes in it; null when its maker did not say.
    pub bytes: Option<u64>,
    /// Host it was made on.
    pub hostname: String,
    /// Tags.
    pub tags: Vec<String>,
    /// Written by another program than Kith, with an exported key of the archive.
    pub foreign: bool,
    /// What the comparison of that friend's list with the signed head came to; see [`ArchiveView`].
    pub verdict: ArchiveVerdict,
}

/// Whether a friend lists what he should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ArchiveVerdict {
    /// Nothing to compare with, or not compared yet.
    Unknown,
    /// Every snapshot that is known anywhere is listed.
    Complete,
    /// Snapshots are not listed any more.
    SnapshotsMissing,
    /// The newest snapshots are not listed: the archive looks as it did some time ago.
    RolledBack,
    /// None is listed.
    Emptied,
    /// Everything is listed, but two different heads of one sequence were signed.
    Forked,
}

impl ArchiveVerdict {
    /// Whether somebody should look.
    #[must_use]
    pub const fn is_bad(self) -> bool {
        !matches!(self, Self::Unknown | Self::Complete)
    }
}

/// Our archive at a friend, compared with what we know of it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ArchiveView {
    /// What the last comparison came to.
    pub verdict: ArchiveVerdict,
    /// When that was.
    pub compared: Option<Timestamp>,
    /// The newest signed head that is known.
    pub head: Option<HeadView>,
    /// The newest snapshot of each set that is known, listed or not.
    pub newest: Vec<KnownSnapshotView>,
    /// Known snapshots that were not listed, the newest first, up to a bound.
    pub missing: Vec<KnownSnapshotView>,
    /// How many there are.
    pub missing_count: u64,
    /// Snapshots that were written by another program, up to a bound.
    pub foreign: Vec<KnownSnapshotView>,
    /// The sentence that explains a bad verdict.
    pub message: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

/// What this computer signed about an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HeadView {
    /// Its number.
    pub sequence: u64,
    /// How many snapshots must be there.
    pub snapshots: u64,
    /// When it was signed.
    pub time: Timestamp,
}

/// A snapshot that is known without asking who keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KnownSnapshotView {
    /// restic's snapshot id, 64 hex digits.
    pub id: String,
    /// When it was made.
    pub time: Timestamp,
    /// Name of its set; null if it has none.
    pub set: Option<String>,
}

/// What was brought back of an archive.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UndeleteView {
    /// Name of the friend that keeps it.
    pub friend: String,
    /// Snapshots that are there again.
    pub snapshots: u64,
    /// All files that are there again: packs, index files and snapshots.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// One entry of a directory in a snapshot.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct EntryView {
    /// Full path in the snapshot, lossy where it is not UTF-8.
    pub path: String,
    /// `file`, `dir`, `symlink`, `dev`, `chardev`, `fifo` or `socket`.
    pub kind: String,
    /// Bytes of a file.
    pub size: u64,
    /// Permission bits as in `ls -l`, e.g. `-rw-r--r--`.
    pub mode: String,
    /// Owner, a name or else a number.
    pub user: String,
    /// Group, a name or else a number.
    pub group: String,
    /// When it was last changed.
    pub modified: Option<Timestamp>,
    /// Where a symbolic link points.
    pub target: Option<String>,
}

/// What came of a `find`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct FindsView {
    /// What was found, at most so much as can be shown.
    pub found: Vec<FoundView>,
    /// What could not be searched: sentences, each with the friend and the object. At most a hundred.
    pub unreadable: Vec<String>,
}

/// A hit of `find`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FoundView {
    /// The snapshot it is in.
    pub snapshot: String,
    /// Time of that snapshot.
    pub time: Timestamp,
    /// Name of the friend that keeps it.
    pub friend: String,
    /// The entry.
    pub entry: EntryView,
}

/// What a process on this computer needs to read an archive of ours at a friend by itself.
/// Given over the Unix socket only. Holds a secret: never logged.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct ArchiveAccess {
    /// The friend's name.
    pub friend: String,
    /// The friend's device id.
    #[schema(value_type = String)]
    pub friend_id: DeviceId,
    /// The archive's id, 32 hex digits: below `/v1/friends/{id}/store/{archive}/` lies its restic REST service.
    pub archive: String,
    /// The 64 bytes of its master key, hex.
    pub master_key: String,
}
