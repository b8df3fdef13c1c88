//! The identifiers of a repository: SHA-256 hashes with a role.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER_PERMISSIVE;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The text is not 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id must have 64 hexadecimal digits")]
pub struct IdError;

fn sha256(data: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, data).as_ref());
    hash
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// The hash of `data`.
            #[must_use]
            pub fn of(data: &[u8]) -> Self {
                Self(sha256(data))
            }

            /// The 32 bytes.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The first eight hexadecimal digits: enough for a log line or a list.
            #[must_use]
            pub fn short(&self) -> String {
                self.to_string()[..8].to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0; 64];
                HEXLOWER_PERMISSIVE.encode_mut(&self.0, &mut text);
                f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let mut bytes = [0; 32];
                if text.len() != 64 {
                    return Err(IdError);
                }
                HEXLOWER_PERMISSIVE.decode_mut(text.as_bytes(), &mut bytes).map_err(|_| IdError)?;
                Ok(Self(bytes))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                // An index has two for every blob: formatting them takes twice the time.
                let mut text = [0; 64];
                HEXLOWER_PERMISSIVE.encode_mut(&self.0, &mut text);
                match std::str::from_utf8(&text) {
                    Ok(text) => serializer.serialize_str(text),
                    Err(_) => serializer.collect_str(self),
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id_type! {
    /// Names a file of a store: the SHA-256 of the bytes as stored. (The config has no name and is addressed with
    /// [`FileId::ZERO`].)
    FileId
}
id_type! {
    /// Names a blob, a piece of a file or a directory listing: the SHA-256 of its plain content. Whoever reads a blob
    /// compares, so a holder can't put something else in its place.
    BlobId
}
id_type! {
    /// Names a snapshot. It is the [`FileId`] of the snapshot's file; a type of its own so that the two are not mixed up.
    SnapshotId
}

impl BlobId {
    /// The first eight bytes as a number that is ordered as they are.
    pub(crate) fn leading(&self) -> u64 {
        self.0.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
    }
}

impl FileId {
    /// Stands for the config, the one file without a name.
    pub const ZERO: Self = Self([0; 32]);
}

impl From<FileId> for SnapshotId {
    fn from(id: FileId) -> Self {
        Self(id.0)
    }
}

impl From<SnapshotId> for FileId {
    fn from(id: SnapshotId) -> Self {
        Self(id.0)
    }
}
