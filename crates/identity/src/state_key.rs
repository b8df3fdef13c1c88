//! Sealing the state object, which friends keep and can't read.

use thiserror::Error;
use zeroize::Zeroizing;

use crate::derive::StateKey;
use crate::seal;

/// The first byte of what [`StateKey::seal`] writes.
const VERSION: u8 = 1;

/// A sealed object can't be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OpenStateError {
    /// Written by a newer Kith.
    #[error("the sealed state has version {found}, this Kith knows version 1: install a newer one")]
    UnknownVersion {
        /// The version it has.
        found: u8,
    },
    /// Cut off.
    #[error("the sealed state is cut off: it has {found} bytes")]
    TooShort {
        /// How many bytes there are.
        found: usize,
    },
    /// Sealed with another key, or changed since.
    #[error(
        "the sealed state doesn't open with this recovery phrase: it belongs to another computer, or it was changed"
    )]
    WrongKey,
}

impl StateKey {
    /// Seals `plaintext`: version byte, random nonce, AES-256-GCM-SIV ciphertext with tag.
    #[must_use]
    pub fn seal(&self, plaintext: &[u8]) -> Vec<u8> {
        let sealed = seal::seal(self.as_bytes(), &[VERSION], plaintext);
        [&[VERSION], sealed.as_slice()].concat()
    }

    /// Opens what [`seal`](Self::seal) wrote.
    ///
    /// # Errors
    /// If it is of a newer version, cut off, changed, or sealed with another key.
    pub fn open(&self, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenStateError> {
        match sealed.first() {
            Some(&VERSION) => {}
            Some(&found) => return Err(OpenStateError::UnknownVersion { found }),
            None => return Err(OpenStateError::TooShort { found: 0 }),
        }
        if sealed.len() < 1 + seal::OVERHEAD {
            return Err(OpenStateError::TooShort { found: sealed.len() });
        }
        seal::open(self.as_bytes(), &[VERSION], &sealed[1..]).ok_or(OpenStateError::WrongKey)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> StateKey {
        StateKey::from_bytes([byte; 32])
    }

    #[test]
    fn what_is_sealed_opens_again_and_never_looks_the_same_twice() {
        let sealed = key(1).seal(b"friends and sets");
        assert_eq!(key(1).open(&sealed).unwrap().as_slice(), b"friends and sets");
        assert_ne!(sealed, key(1).seal(b"friends and sets"));
        assert_eq!(key(1).open(&key(1).seal(b"")).unwrap().as_slice(), b"");
    }

    #[test]
    fn another_key_and_a_changed_byte_are_refused_with_a_sentence() {
        let sealed = key(1).seal(b"friends and sets");
        let error = key(2).open(&sealed).unwrap_err();
        assert_eq!(error, OpenStateError::WrongKey);
        assert!(error.to_string().contains("doesn't open with this recovery phrase"));
        for at in 1..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(key(1).open(&changed).unwrap_err(), OpenStateError::WrongKey, "byte {at}");
        }
    }

    #[test]
    fn a_newer_version_and_a_cut_object_are_told_apart() {
        let mut sealed = key(1).seal(b"x");
        sealed[0] = 2;
        assert_eq!(key(1).open(&sealed).unwrap_err(), OpenStateError::UnknownVersion { found: 2 });
        assert_eq!(key(1).open(&[]).unwrap_err(), OpenStateError::TooShort { found: 0 });
        assert_eq!(key(1).open(&[1; 28]).unwrap_err(), OpenStateError::TooShort { found: 28 });
    }
}
