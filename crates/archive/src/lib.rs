//! Archives: backups in the restic repository format, version 2.
//!
//! This crate writes and reads repositories that stock `restic` and `rustic` read and write too. It reaches the place
//! where a repository lies only through the [`Store`] trait, so it works the same on a local directory and on a
//! friend's computer.
//!
//! What it promises: every blob read back is compared with its SHA-256 id, whoever holds the repository; work streams
//! with bounded memory; a snapshot is written only after everything it needs is durable; nothing that could not be
//! read is passed over in silence.
//!
//! What it does *not* do: it does not schedule, does not decide what to keep, knows no friends and no network, and
//! takes no password for its own repositories (their master keys are derived elsewhere; key files exist for restic).
//!
//! | module | what |
//! |---|---|
//! | [`store`] | the trait under a repository, and a directory on disk that implements it |
//! | [`crypto`] | master key, sealing and opening, key files |
//! | [`chunker`] | content-defined cut points, identical to restic's |
//! | [`tree`] | files and directories as restic writes them, byte for byte |
//! | [`repository`] | config, index, packs, snapshots |
//! | [`mod@backup`] | the pipeline from files to a snapshot |
//! | [`browse`] | what is in a snapshot, and finding names |
//! | [`restore`] | from a snapshot back to files |
//! | [`check`] | whether everything is there and intact |

pub mod backup;
pub mod browse;
pub mod check;
pub mod chunker;
pub mod crypto;
mod id;
mod listed;
pub mod repository;
pub mod restore;
pub mod store;
pub mod tree;

pub use backup::{BackupError, BackupReport, BackupRequest, backup};
pub use chunker::Polynomial;
pub use crypto::MasterKey;
pub use id::{BlobId, FileId, IdError, SnapshotId};
pub use listed::{Listed, MOST_LISTED};
pub use repository::{BlobType, Repository, RepositoryError, Snapshot};
pub use store::{FileKind, LocalStore, Store, StoreError, StoredFile};
