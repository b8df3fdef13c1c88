//! What can go wrong with a repository.

use crate::crypto::CryptoError;
use crate::id::{BlobId, FileId};
use crate::repository::BlobType;
use crate::store::StoreError;

/// Why an operation on a repository failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepositoryError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no config, so there is no repository.
    #[error("there is no archive here yet")]
    NotInitialised,
    /// A new repository was to be made where there is one.
    #[error("there is an archive here already")]
    AlreadyInitialised,
    /// The config does not open with the key.
    #[error("the archive's config does not open: it belongs to another key, or the config is damaged")]
    WrongKey,
    /// A version of the format that we don't know, or can't write.
    #[error("{}", unsupported(*.0))]
    UnsupportedVersion(u32),
    /// Something in the repository is not what it should be.
    #[error("{what} is damaged: {reason}")]
    Damaged {
        /// The object, with its name.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No index names the blob.
    #[error("{blob_type} {id} is missing in the archive's index")]
    UnknownBlob {
        /// Its type.
        blob_type: BlobType,
        /// Its id.
        id: BlobId,
    },
    /// Sealing failed.
    #[error("sealing failed")]
    Seal(#[source] CryptoError),
    /// Compression failed, or work was interrupted by the end of the program.
    #[error("{0}")]
    Internal(&'static str),
}

fn unsupported(version: u32) -> String {
    let ours = super::config::VERSION;
    if version > ours {
        format!(
            "the archive's config says version {version} of the format, and this Kith knows none above {ours}: install the newer Kith"
        )
    } else {
        format!("an archive of version {version} of the format is only read, never written to")
    }
}

impl RepositoryError {
    /// Whether the error is about one object only, so that trying to read others makes sense.
    #[must_use]
    pub fn concerns_one_object(&self) -> bool {
        match self {
            Self::Damaged { .. } | Self::UnknownBlob { .. } => true,
            Self::Store(error) => error.is_about_the_object() || matches!(error, StoreError::Io { .. }),
            _ => false,
        }
    }

    /// The same, with the pack in which it was met.
    pub(crate) fn in_pack(self, pack: &FileId) -> Self {
        match self {
            Self::Damaged { what, reason } => {
                Self::Damaged { what: format!("{what} in pack {}", pack.short()), reason }
            }
            other => other,
        }
    }

    pub(crate) fn damaged(what: impl std::fmt::Display, reason: impl std::fmt::Display) -> Self {
        Self::Damaged { what: what.to_string(), reason: reason.to_string() }
    }
}
