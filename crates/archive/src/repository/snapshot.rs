//! Snapshots: what was backed up when, and the tree it led to.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::{BlobId, FileId, SnapshotId};

/// One backup. The fields are restic's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// When the backup was begun.
    pub time: Timestamp,
    /// The snapshot that unchanged files were recognised by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<SnapshotId>,
    /// The root tree. Its entries are the first components of the paths.
    pub tree: BlobId,
    /// What was backed up, absolute paths.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub paths: Vec<String>,
    /// The computer's name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    /// Who ran it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// Number of that user.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub uid: u32,
    /// Number of that user's group.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gid: u32,
    /// The patterns by which things were left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    pub excludes: Vec<String>,
    /// Tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    pub tags: Vec<String>,
    /// The snapshot that this one was rewritten from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<SnapshotId>,
    /// Name and version of the program that wrote it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub program_version: String,
    /// Numbers of the run. Not there in snapshots of older programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<SnapshotSummary>,
    /// The snapshot's name in the repository.
    #[serde(skip, default = "no_id")]
    pub id: SnapshotId,
}

/// Numbers of the run that made a snapshot, as restic 0.17 and newer store them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are restic's and say what they are")]
pub struct SnapshotSummary {
    pub backup_start: Timestamp,
    pub backup_end: Timestamp,
    #[serde(default)]
    pub files_new: u64,
    #[serde(default)]
    pub files_changed: u64,
    #[serde(default)]
    pub files_unmodified: u64,
    #[serde(default)]
    pub dirs_new: u64,
    #[serde(default)]
    pub dirs_changed: u64,
    #[serde(default)]
    pub dirs_unmodified: u64,
    #[serde(default)]
    pub data_blobs: u64,
    #[serde(default)]
    pub tree_blobs: u64,
    #[serde(default)]
    pub data_added: u64,
    #[serde(default)]
    pub data_added_packed: u64,
    #[serde(default)]
    pub total_files_processed: u64,
    #[serde(default)]
    pub total_bytes_processed: u64,
}

fn no_id() -> SnapshotId {
    FileId::ZERO.into()
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Go writes an empty list as `null` at times.
fn null_is_empty<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
