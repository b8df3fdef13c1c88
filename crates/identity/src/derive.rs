//! From the recovery phrase to the keys: HKDF-SHA256 (RFC 5869) with one label per purpose.
//!
//! The labels are part of the format: changing one loses every archive and every friend. The
//! vectors in the tests guard them.

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::archive_id::ArchiveId;
use crate::phrase::RecoveryPhrase;
use crate::secret::secret_key;

/// The salt of every extraction: ties all keys to this program and this version of the scheme.
const SALT: &[u8] = b"kith/v1";

const IDENTITY: &[u8] = b"identity ed25519 seed";
const DIAL_IN: &[u8] = b"dial-in secret";
const DIAL_IN_KEY: &[u8] = b"dial-in key";
const STATE: &[u8] = b"state key";
const CHUNKER: &[u8] = b"chunker seed";
const ARCHIVE_ROOT: &[u8] = b"archive root key";
const ARCHIVE_MASTER: &[u8] = b"restic master key";

secret_key!(
    /// The seed of the computer's Ed25519 key. Stored by the part that faces the Internet.
    IdentitySeed, 32, "identity seed"
);
secret_key!(
    /// What the dial-in keys of all counters come from. Stored by the part that faces the Internet.
    DialInSecret, 32, "dial-in secret"
);
secret_key!(
    /// The key that friends prove in the first bytes of a dial, before any costly computation.
    DialInKey, 32, "dial-in key"
);
secret_key!(
    /// Seals the state object (friends, sets, settings) that lies with every friend.
    StateKey, 32, "state key"
);
secret_key!(
    /// What the archive's chunker turns into its polynomial: one for all archives of a computer, so
    /// that the same file is cut at the same places everywhere. Secret, because cut points of
    /// known files would otherwise tell a friend that the file is there.
    ChunkerSeed, 32, "chunker seed"
);
secret_key!(
    /// What the master keys of all archives come from. Never read by the part that faces the Internet.
    ArchiveRootKey, 32, "archive root key"
);
secret_key!(
    /// The master key of one archive: 32 bytes for AES-256, 16 for the Poly1305-AES key, 16 for its
    /// `r`, in this order.
    MasterKey, 64, "archive master key"
);

/// All keys that follow from the phrase, to be stored one by one.
#[derive(Clone)]
pub struct DerivedSecrets {
    /// The seed of the Ed25519 key.
    pub identity: IdentitySeed,
    /// The source of the dial-in keys.
    pub dial_in: DialInSecret,
    /// The key of the sealed state object.
    pub state: StateKey,
    /// The seed of the chunker's polynomial.
    pub chunker: ChunkerSeed,
    /// The source of the archives' master keys.
    pub archive_root: ArchiveRootKey,
}

impl RecoveryPhrase {
    /// The keys of the computer that this phrase belongs to. The same words give the same keys for ever.
    #[must_use]
    pub fn derive(&self) -> DerivedSecrets {
        let entropy = self.entropy();
        DerivedSecrets {
            identity: IdentitySeed(expand(entropy, &[IDENTITY])),
            dial_in: DialInSecret(expand(entropy, &[DIAL_IN])),
            state: StateKey(expand(entropy, &[STATE])),
            chunker: ChunkerSeed(expand(entropy, &[CHUNKER])),
            archive_root: ArchiveRootKey(expand(entropy, &[ARCHIVE_ROOT])),
        }
    }
}

impl DialInSecret {
    /// The dial-in key number `counter`. Removing a friend raises the counter, and what he knows is worthless.
    #[must_use]
    pub fn key(&self, counter: u32) -> DialInKey {
        DialInKey(expand(self.as_bytes(), &[DIAL_IN_KEY, &counter.to_be_bytes()]))
    }
}

impl ArchiveRootKey {
    /// The master key of the archive with this id, wherever it lies.
    #[must_use]
    pub fn master_key(&self, archive: &ArchiveId) -> MasterKey {
        MasterKey(expand(self.as_bytes(), &[ARCHIVE_MASTER, archive.as_bytes()]))
    }
}

/// HKDF-SHA256 with the common salt. `info` is the label and what distinguishes several keys under it; each
/// part is preceded by its length, so that no two lists of parts give the same key.
pub(crate) fn expand<const N: usize>(key_material: &[u8], info: &[&[u8]]) -> Zeroizing<[u8; N]> {
    let mut output = Zeroizing::new([0; N]);
    let mut label = Vec::new();
    for part in info {
        let length = u8::try_from(part.len()).expect("labels are constants shorter than 256 bytes");
        label.push(length);
        label.extend_from_slice(part);
    }
    Hkdf::<Sha256>::new(Some(SALT), key_material)
        .expand(&label, output.as_mut_slice())
        .expect("HKDF-SHA256 gives up to 8,160 bytes and no key here is that long");
    output
}

#[cfg(test)]
mod tests;
