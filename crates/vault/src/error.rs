//! Errors of the calls that are not HTTP.

use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use thiserror::Error;

/// Why a vault could not be opened or used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VaultError {
    /// Something about the directory did not work.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The directory has other things in it.
    #[error("{path} is not empty and not a vault: choose an empty directory for what friends store here")]
    NotAVault {
        /// The directory.
        path: PathBuf,
    },
    /// A later version of Kith wrote it.
    #[error(
        "the vault at {path} has format {found}, this version of Kith knows up to {known}: install a newer Kith"
    )]
    NewerFormat {
        /// The directory.
        path: PathBuf,
        /// The version found.
        found: u32,
        /// The newest version known.
        known: u32,
    },
    /// The file that names the format is not readable as such.
    #[error("the file {path} does not name a vault's format: it is damaged, or not Kith's")]
    DamagedFormat {
        /// The file.
        path: PathBuf,
    },
    /// A later version of Kith wrote which installation of an owner writes.
    #[error(
        "the record of installations {path} has version {found}, this version of Kith knows up to {known}: install a newer \
         Kith; until then this owner's archives can be read, not changed"
    )]
    NewerRecord {
        /// The file.
        path: PathBuf,
        /// The version found.
        found: u32,
        /// The newest version known.
        known: u32,
    },
    /// Somebody else has it open.
    #[error("the vault at {path} is in use by another Kith daemon")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// An earlier write failed, and nothing is changed until the vault is opened again.
    #[error("the vault at {path} takes no changes until Kith is restarted: it {failure}")]
    Failed {
        /// The directory.
        path: PathBuf,
        /// What failed first.
        failure: String,
    },
    /// The work was cut off because the program ends.
    #[error("the work on the vault was cut off because the program is ending")]
    Ended,
}

/// Why a state object was not stored or read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StateError {
    /// More than [`MAX_STATE_BYTES`](crate::layout::MAX_STATE_BYTES).
    #[error("a state object of {bytes} bytes is too large: at most {max} are kept")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The most there may be.
        max: usize,
    },
    /// A newer one is stored.
    #[error("state object {sequence} is older than the newest one stored here, {newest}")]
    Stale {
        /// The sequence number offered.
        sequence: u64,
        /// The newest one stored.
        newest: u64,
    },
    /// One of the same sequence number and other contents is stored.
    #[error("another state object with the sequence number {sequence} is stored here already")]
    Conflict {
        /// The sequence number.
        sequence: u64,
    },
    /// Its number leaves out too many.
    #[error("state object {sequence} is too far ahead of the newest one stored here, {newest}")]
    TooFarAhead {
        /// The sequence number offered.
        sequence: u64,
        /// The newest one stored.
        newest: u64,
    },
    /// Nothing is taken from this owner at present.
    #[error("this computer takes nothing from this owner at present")]
    NotAccepted,
    /// Another installation of the same computer has taken over.
    #[error(
        "this computer was recovered elsewhere: the other installation's state objects are kept, not this one's"
    )]
    Superseded {
        /// Since when, by the clock of the computer that keeps it.
        since: SystemTime,
    },
    /// A later version of Kith wrote which installation of the owner writes.
    #[error(
        "the record of this owner's installations has version {found}, the Kith that keeps it knows up to {known}: until a \
         newer Kith is installed there, nothing is changed"
    )]
    NewerRecord {
        /// The version found.
        found: u32,
        /// The newest version known.
        known: u32,
    },
    /// The disk is full, or would be fuller than its owner wants.
    #[error("the disk of the vault is full")]
    DiskFull,
    /// The disk failed.
    #[error("the vault could not {action} a state object")]
    Storage {
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The work was cut off because the program ends.
    #[error("the work on the vault was cut off because the program is ending")]
    Ended,
}
