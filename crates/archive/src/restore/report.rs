//! What came of a restore.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::listed::Listed;

/// Something that could not be restored, or not completely.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Its path in the snapshot.
    pub path: PathBuf,
    /// Why.
    pub reason: String,
}

/// What was not restored because it gives rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum WithheldKind {
    /// The file was restored without its setuid or setgid bit.
    SetId,
    /// The file was restored without its capabilities.
    Capabilities,
    /// The device was not restored.
    Device,
}

impl fmt::Display for WithheldKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SetId => "restored without its setuid or setgid bit",
            Self::Capabilities => "restored without its capabilities",
            Self::Device => "the device was not restored",
        })
    }
}

/// One thing that was withheld.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withheld {
    /// Its path in the snapshot.
    pub path: PathBuf,
    /// What of it.
    pub kind: WithheldKind,
}

/// What came of a restore that went through.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RestoreReport {
    /// Files that were written.
    pub files: u64,
    /// Their size.
    pub bytes: u64,
    /// Directories that were made, or whose metadata were set.
    pub directories: u64,
    /// Symbolic links, FIFOs and devices that were made.
    pub others: u64,
    /// Further names of files that were made as hard links.
    pub links: u64,
    /// What was there already as in the snapshot.
    pub unchanged: u64,
    /// Sockets: they are made by the programs that use them.
    pub sockets: u64,
    /// What existed and was kept: paths in the snapshot.
    pub kept: Listed<PathBuf>,
    /// What could not be restored.
    pub failed: Listed<Failure>,
    /// What was restored, but not with all of its metadata.
    pub incomplete: Listed<Failure>,
    /// What was withheld because it gives rights.
    pub withheld: Listed<Withheld>,
    /// How long it took.
    pub duration: Duration,
}

impl RestoreReport {
    /// Whether everything that was asked for was restored. Existing files that were kept, withheld rights and metadata that
    /// could not be set don't count.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty()
    }
}
