//! What an archive must hold, said by its owner and signed: so that a holder who shows less is found out.

use std::collections::BTreeSet;
use std::fmt;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::archive_id::ArchiveId;
use crate::identity::{BadSignature, Identity, PublicKey, SIGNATURE_LENGTH};

/// The first byte of a head.
const VERSION: u8 = 1;
/// What the signature is for.
const PURPOSE: &str = "archive head";
/// What the hash of a set of snapshots begins with.
const SET_PREFIX: &[u8] = b"kith/v1 snapshot set\0";
/// Bytes before the signature.
const BODY: usize = 1 + 16 + 8 + 8 + 8 + 32 + 8;

/// Bytes of a [`SignedHead`].
pub const HEAD_LENGTH: usize = BODY + SIGNATURE_LENGTH;

/// Stands for a set of snapshots: SHA-256 over their ids in ascending order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotSetHash([u8; 32]);

impl SnapshotSetHash {
    /// That of the set with these ids; order and repetitions don't matter.
    #[must_use]
    pub fn of<'a>(ids: impl IntoIterator<Item = &'a [u8; 32]>) -> Self {
        let ids: BTreeSet<&[u8; 32]> = ids.into_iter().collect();
        let mut hash = Sha256::new_with_prefix(SET_PREFIX);
        for id in ids {
            hash.update(id);
        }
        Self(hash.finalize().into())
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SnapshotSetHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SnapshotSetHash({})", HEXLOWER.encode(&self.0))
    }
}

/// What an archive must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Which archive.
    pub archive: ArchiveId,
    /// One more than that of the newest head its signer knew.
    pub sequence: u64,
    /// Incarnation of the installation that signed. Two heads of one sequence are no fork if a recovery lies between
    /// them: the recovered computer may not have known the other.
    pub incarnation: u64,
    /// How many snapshots.
    pub snapshots: u64,
    /// Which.
    pub set: SnapshotSetHash,
    /// When it was signed, in milliseconds since 1970-01-01 UTC.
    pub time_ms: i64,
}

impl Head {
    fn to_bytes(self) -> [u8; BODY] {
        let mut bytes = [0; BODY];
        let mut rest = bytes.as_mut_slice();
        let mut put = |part: &[u8]| {
            let (head, tail) = std::mem::take(&mut rest).split_at_mut(part.len());
            head.copy_from_slice(part);
            rest = tail;
        };
        put(&[VERSION]);
        put(self.archive.as_bytes());
        put(&self.sequence.to_be_bytes());
        put(&self.incarnation.to_be_bytes());
        put(&self.snapshots.to_be_bytes());
        put(self.set.as_bytes());
        put(&self.time_ms.to_be_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; BODY]) -> Self {
        let mut rest = &bytes[1..];
        Self {
            archive: ArchiveId::from_bytes(take(&mut rest)),
            sequence: u64::from_be_bytes(take(&mut rest)),
            incarnation: u64::from_be_bytes(take(&mut rest)),
            snapshots: u64::from_be_bytes(take(&mut rest)),
            set: SnapshotSetHash(take(&mut rest)),
            time_ms: i64::from_be_bytes(take(&mut rest)),
        }
    }
}

/// The next `N` bytes; the lengths of all parts add up to that of the whole.
fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let mut part = [0; N];
    let (head, tail) = rest.split_at(N);
    part.copy_from_slice(head);
    *rest = tail;
    part
}

/// A text or bytes are not a head of this computer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HeadError {
    /// Written by a newer Kith.
    #[error("the signed head has version {found}, this Kith knows version 1: install a newer one")]
    UnknownVersion {
        /// The version it has.
        found: u8,
    },
    /// Of another length, or no hexadecimal digits.
    #[error("a signed head has {HEAD_LENGTH} bytes, and this is something else")]
    Malformed,
    /// Signed by somebody else, or changed since.
    #[error("the signed head: {0}")]
    Signature(#[from] BadSignature),
}

/// A [`Head`] with its owner's signature. There is none whose signature was not made or verified here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedHead {
    head: Head,
    signature: [u8; SIGNATURE_LENGTH],
}

impl SignedHead {
    /// Signs a head.
    #[must_use]
    pub fn sign(head: Head, identity: &Identity) -> Self {
        Self { head, signature: identity.sign(PURPOSE, &head.to_bytes()) }
    }

    /// What is signed.
    #[must_use]
    pub const fn head(&self) -> &Head {
        &self.head
    }

    /// The version, the head, the signature.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEAD_LENGTH] {
        let mut bytes = [0; HEAD_LENGTH];
        bytes[..BODY].copy_from_slice(&self.head.to_bytes());
        bytes[BODY..].copy_from_slice(&self.signature);
        bytes
    }

    /// The head in these bytes, if `owner` signed it.
    ///
    /// # Errors
    /// See [`HeadError`].
    pub fn from_bytes(bytes: &[u8], owner: &PublicKey) -> Result<Self, HeadError> {
        match bytes.first() {
            Some(&VERSION) => {}
            Some(&found) => return Err(HeadError::UnknownVersion { found }),
            None => return Err(HeadError::Malformed),
        }
        let bytes: &[u8; HEAD_LENGTH] = bytes.try_into().map_err(|_| HeadError::Malformed)?;
        let mut rest = bytes.as_slice();
        let body: [u8; BODY] = take(&mut rest);
        let signature: [u8; SIGNATURE_LENGTH] = take(&mut rest);
        owner.verify(PURPOSE, &body, &signature)?;
        Ok(Self { head: Head::from_bytes(&body), signature })
    }

    /// As one word: [`Self::to_bytes`] in hexadecimal digits.
    #[must_use]
    pub fn to_text(&self) -> String {
        HEXLOWER.encode(&self.to_bytes())
    }

    /// The head in this word, if `owner` signed it.
    ///
    /// # Errors
    /// See [`HeadError`].
    pub fn from_text(text: &str, owner: &PublicKey) -> Result<Self, HeadError> {
        let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(|_| HeadError::Malformed)?;
        Self::from_bytes(&bytes, owner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::derive::IdentitySeed;

    fn identity(byte: u8) -> Identity {
        Identity::from_seed(&IdentitySeed::from_bytes([byte; 32])).unwrap()
    }

    fn head() -> Head {
        Head {
            archive: ArchiveId::from_bytes([7; 16]),
            sequence: 3,
            incarnation: 1,
            snapshots: 2,
            set: SnapshotSetHash::of([&[1; 32], &[2; 32]]),
            time_ms: 1_790_000_000_123,
        }
    }

    #[test]
    fn the_bytes_of_a_head_never_change() {
        let signed = SignedHead::sign(head(), &identity(1));
        assert_eq!(signed.to_text().len(), 2 * HEAD_LENGTH);
        let fields =
            ["01", &"07".repeat(16), "0000000000000003", "0000000000000001", "0000000000000002"].concat();
        assert_eq!(signed.to_text()[..82], fields);
        // SHA-256 of the prefix and both ids, by another program.
        assert_eq!(
            HEXLOWER.encode(head().set.as_bytes()),
            "83d218cc6ab6d89ac5fe0d076c185097a7cbc518128646bc908a0c59fcd09133"
        );
        assert_eq!(signed.to_text()[146..162], format!("{:016x}", 1_790_000_000_123_u64));
    }

    #[test]
    fn a_head_holds_for_its_signer_only() {
        let signed = SignedHead::sign(head(), &identity(1));
        let text = signed.to_text();
        assert_eq!(SignedHead::from_text(&text, &identity(1).public_key()), Ok(signed));
        let other = SignedHead::from_text(&text, &identity(2).public_key());
        assert_eq!(other, Err(HeadError::Signature(BadSignature)));
        // What was signed for another purpose is no head.
        let mut bytes = signed.to_bytes();
        bytes[BODY..].copy_from_slice(&identity(1).sign("head", &head().to_bytes()));
        assert!(SignedHead::from_bytes(&bytes, &identity(1).public_key()).is_err());
    }

    #[test]
    fn a_newer_version_and_a_cut_head_are_told_apart() {
        let key = identity(1).public_key();
        let mut bytes = SignedHead::sign(head(), &identity(1)).to_bytes();
        assert_eq!(SignedHead::from_bytes(&bytes[..HEAD_LENGTH - 1], &key), Err(HeadError::Malformed));
        assert_eq!(SignedHead::from_bytes(&[], &key), Err(HeadError::Malformed));
        assert_eq!(SignedHead::from_text("zz", &key), Err(HeadError::Malformed));
        bytes[0] = 2;
        assert_eq!(SignedHead::from_bytes(&bytes, &key), Err(HeadError::UnknownVersion { found: 2 }));
    }

    proptest! {
        #[test]
        fn every_head_comes_back_and_no_changed_byte_passes(
            sequence: u64, incarnation: u64, snapshots: u64, time_ms: i64, archive: [u8; 16], at in 1..HEAD_LENGTH, bit in 0_u32..8,
        ) {
            let head = Head {
                archive: ArchiveId::from_bytes(archive), sequence, incarnation, snapshots, time_ms, ..head()
            };
            let signed = SignedHead::sign(head, &identity(3));
            let key = identity(3).public_key();
            let mut bytes = signed.to_bytes();
            prop_assert_eq!(SignedHead::from_bytes(&bytes, &key).map(|signed| *signed.head()), Ok(head));
            bytes[at] ^= 1_u8 << bit;
            prop_assert_eq!(SignedHead::from_bytes(&bytes, &key), Err(HeadError::Signature(BadSignature)));
        }

        #[test]
        fn the_hash_of_a_set_knows_neither_order_nor_repetition(mut ids: Vec<[u8; 32]>) {
            let hash = SnapshotSetHash::of(&ids);
            ids.reverse();
            ids.extend(ids.clone());
            prop_assert_eq!(SnapshotSetHash::of(&ids), hash);
            prop_assert_ne!(SnapshotSetHash::of(ids.iter().chain([&[9; 32]])), hash);
        }
    }
}
