//! What a check finds.

use std::fmt;
use std::path::PathBuf;

use crate::id::{BlobId, FileId, SnapshotId};
use crate::repository::BlobType;

/// Something that is wrong with an archive. Printed, it is a sentence that says what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// An index file can't be used.
    UnreadableIndex {
        /// Its name.
        id: FileId,
        /// Why.
        reason: String,
    },
    /// A snapshot can't be used.
    UnreadableSnapshot {
        /// Its name.
        id: SnapshotId,
        /// Why.
        reason: String,
    },
    /// A pack that the index names is not in the store.
    MissingPack {
        /// Its name.
        id: FileId,
        /// Blobs in it.
        blobs: u64,
    },
    /// A pack has another size than the index implies.
    PackSize {
        /// Its name.
        id: FileId,
        /// As the index implies.
        expected: u64,
        /// As the store says.
        found: u64,
    },
    /// The bytes of a pack are not those that were stored.
    DamagedPack {
        /// Its name.
        id: FileId,
        /// Why.
        reason: String,
    },
    /// What a pack says about its content is not what the index says.
    IndexMismatch {
        /// The pack.
        id: FileId,
    },
    /// A blob can't be read back.
    DamagedBlob {
        /// The pack that it lies in.
        pack: FileId,
        /// Its type.
        blob_type: BlobType,
        /// Its id.
        id: BlobId,
        /// Why.
        reason: String,
    },
    /// A directory can't be read.
    UnreadableFolder {
        /// The snapshot; the same directory may be missing in others too.
        snapshot: SnapshotId,
        /// The directory.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Files that can't be restored.
    LostFiles {
        /// The snapshot.
        snapshot: SnapshotId,
        /// How many.
        count: u64,
        /// Some of them.
        examples: Vec<PathBuf>,
        /// Why the first of them can't.
        reason: String,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnreadableIndex { id, reason } => write!(
                f,
                "index {} can't be used ({reason}): what only it lists is not found, and would be sent again",
                id.short()
            ),
            Self::UnreadableSnapshot { id, reason } => {
                write!(f, "snapshot {} can't be read ({reason}): nothing of it can be restored", id.short())
            }
            Self::MissingPack { id, blobs } => {
                write!(f, "pack {} with {} is missing", id.short(), counted(*blobs, "blob"))
            }
            Self::PackSize { id, expected, found } => {
                write!(f, "pack {} has {found} bytes and should have {expected}", id.short())
            }
            Self::DamagedPack { id, reason } => write!(f, "pack {} is damaged: {reason}", id.short()),
            Self::IndexMismatch { id } => {
                write!(f, "pack {} contains something else than the index says", id.short())
            }
            Self::DamagedBlob { pack, blob_type, id, reason } => {
                write!(f, "{blob_type} {} in pack {} can't be read: {reason}", id.short(), pack.short())
            }
            Self::UnreadableFolder { snapshot, path, reason } => write!(
                f,
                "folder {} of snapshot {} can't be read, so nothing in it can be restored: {reason}",
                path.display(),
                snapshot.short()
            ),
            Self::LostFiles { snapshot, count, examples, reason } => {
                write!(
                    f,
                    "{} of snapshot {} can't be restored: ",
                    counted(*count, "file"),
                    snapshot.short()
                )?;
                for (number, path) in examples.iter().enumerate() {
                    write!(f, "{}{}", if number > 0 { ", " } else { "" }, path.display())?;
                }
                if *count > examples.len() as u64 {
                    write!(f, " and {} more", count - examples.len() as u64)?;
                }
                write!(f, " ({reason})")
            }
        }
    }
}

fn counted(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_say_what_they_mean() {
        let snapshot: SnapshotId = "ab12cd34".repeat(8).parse().unwrap();
        let lost = |count, examples: &[&str]| {
            let examples = examples.iter().map(PathBuf::from).collect();
            Finding::LostFiles { snapshot, count, examples, reason: "pack 1 is missing".into() }.to_string()
        };
        assert_eq!(
            lost(3, &["/a", "/b"]),
            "3 files of snapshot ab12cd34 can't be restored: /a, /b and 1 more (pack 1 is missing)"
        );
        assert_eq!(lost(1, &["/a"]), "1 file of snapshot ab12cd34 can't be restored: /a (pack 1 is missing)");
        let id: FileId = "12".repeat(32).parse().unwrap();
        assert_eq!(Finding::MissingPack { id, blobs: 1 }.to_string(), "pack 12121212 with 1 blob is missing");
    }
}
