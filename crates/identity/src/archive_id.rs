//! Random 128-bit ids, shown as 32 hex digits.

use std::fmt;
use std::str::FromStr;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

use crate::random::random_bytes;

/// A text is not one of the 128-bit ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{what} is written as 32 hexadecimal digits, and this text is something else")]
pub struct ParseHexIdError {
    /// Which id was expected.
    pub what: &'static str,
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// A new random one.
            #[must_use]
            pub fn generate() -> Self {
                Self(random_bytes())
            }

            /// The id with these bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// Its bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&HEXLOWER.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = ParseHexIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let error = ParseHexIdError { what: $what };
                let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(|_| error)?;
                bytes.try_into().map(Self).map_err(|_| error)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

hex_id!(
    /// Names one archive: the clear directory name at the friend who holds it, and what tells its master
    /// key apart from those of the computer's other archives.
    ArchiveId,
    "an archive id"
);
hex_id!(
    /// Names one installation of a computer's identity: after a recovery there are two, and only the newer may
    /// write.
    InstallationId,
    "an installation id"
);
hex_id!(
    /// Names an invite without revealing its secret.
    InviteId,
    "an invite id"
);
hex_id!(
    /// Tells one dial-back from all others: whoever brings it was asked to. It is random and worth something once, so that it
    /// need not be compared in constant time.
    DialBackNonce,
    "the nonce of a dial-back"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_id_survives_its_text_and_json() {
        let id = ArchiveId::from_bytes(*b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\xff");
        assert_eq!(id.to_string(), "000102030405060708090a0b0c0d0eff");
        assert_eq!("000102030405060708090A0B0C0D0EFF".parse(), Ok(id));
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, "\"000102030405060708090a0b0c0d0eff\"");
        assert_eq!(serde_json::from_str::<ArchiveId>(&json).unwrap(), id);
        assert_eq!(format!("{id:?}"), "ArchiveId(000102030405060708090a0b0c0d0eff)");
    }

    #[test]
    fn what_could_leave_the_vault_is_no_archive_id() {
        for text in
            ["", "..", "../00", "00", "000102030405060708090a0b0c0d0ef", "000102030405060708090a0b0c0d0eff00"]
        {
            let error = text.parse::<ArchiveId>().unwrap_err();
            assert!(error.to_string().starts_with("an archive id is written as"), "{error}");
        }
    }

    #[test]
    fn two_generated_ids_differ() {
        assert_ne!(InstallationId::generate(), InstallationId::generate());
    }
}
