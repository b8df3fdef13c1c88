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
