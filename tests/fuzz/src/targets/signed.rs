//! What is signed by its owner and shown by others: heads of archives, installations.

use std::sync::OnceLock;

use data_encoding::HEXLOWER;
use kith_identity::{
    ArchiveId, HEAD_LENGTH, Head, HeadError, Identity, IdentitySeed, InstallationId, PublicKey, SignedHead,
    SnapshotSetHash,
};
use kith_wire::Installed;

use super::friends::message;
use crate::outcome::{NOTHING, Outcome, judged, refused, taken};

/// Whose the signatures in the corpus are.
fn owner() -> &'static Identity {
    static OWNER: OnceLock<Identity> = OnceLock::new();
    OWNER.get_or_init(|| {
        Identity::from_seed(&IdentitySeed::from_bytes([7; 32])).expect("any bytes are the seed of a key")
    })
}

/// The owner's public key.
pub(super) fn key() -> &'static PublicKey {
    static KEY: OnceLock<PublicKey> = OnceLock::new();
    KEY.get_or_init(|| owner().public_key())
}

/// The first byte tells whether the rest is a head as it came, or a text, or what the owner signs.
pub(super) fn head(bytes: &[u8]) -> Outcome {
    let Some((how, rest)) = bytes.split_first() else { return NOTHING };
    match how % 4 {
        0 => head_that_is_signed(rest),
        1 => {
            let text = String::from_utf8_lossy(rest);
            let read = SignedHead::from_text(&text, key());
            if let Ok(head) = &read {
                assert_eq!(head.to_text(), text.to_ascii_lowercase(), "one head has one text");
            }
            judged(read.is_ok(), &read)
        }
        _ => {
            let read = SignedHead::from_bytes(rest, key());
            match read {
                Ok(head) => assert_eq!(head.to_bytes(), rest, "one head has one form"),
                Err(HeadError::UnknownVersion { found }) => assert_eq!(Some(&found), rest.first()),
                Err(_) => {}
            }
            judged(read.is_ok(), &read)
        }
    }
}

/// What the owner signed comes back, and no bit of it can be changed.
fn head_that_is_signed(bytes: &[u8]) -> Outcome {
    let mut fields = [0; 80];
    let length = bytes.len().min(fields.len());
    fields[..length].copy_from_slice(&bytes[..length]);
    let number =
        |at: usize| u64::from_be_bytes(*fields[at..].first_chunk().expect("the fields are 80 bytes"));
    let head = Head {
        archive: ArchiveId::from_bytes(*fields.first_chunk().expect("the fields are 80 bytes")),
        sequence: number(16),
        incarnation: number(24),
        snapshots: number(32),
        set: SnapshotSetHash::of([fields[40..72].first_chunk().expect("the fields are 80 bytes")]),
        time_ms: number(72).cast_signed(),
    };
    let signed = SignedHead::sign(head, owner());
    let mut written = signed.to_bytes();
    assert_eq!(SignedHead::from_bytes(&written, key()), Ok(signed), "signed and read");
    let place =
        bytes.iter().fold(0, |sum, byte| (sum * 31 + usize::from(*byte)) & 0xffff) % (8 * HEAD_LENGTH);
    written[place / 8] ^= 1 << (place % 8);
    assert!(SignedHead::from_bytes(&written, key()).is_err(), "bit {place} may be anything");
    taken(&"signed")
}

/// An installation as a friend shows it; or, after an odd first byte, what its owner signs.
pub(super) fn installation(bytes: &[u8]) -> Outcome {
    let device = owner().device_id();
    if let Some((0, rest)) = bytes.split_first() {
        return installation_that_is_signed(rest);
    }
    let Some(installed) = message::<Installed>(bytes) else { return NOTHING };
    if !installed.is_of(&device) {
        return refused(&installed.proof.len());
    }
    assert!(!installed.is_of(&other().device_id()), "two computers' own");
    let proof = HEXLOWER.decode(installed.proof.as_bytes()).expect("what holds is hexadecimal");
    assert_eq!(proof.len(), 32 + 64, "a proof of another length");
    taken(&installed)
}

fn other() -> &'static Identity {
    static OTHER: OnceLock<Identity> = OnceLock::new();
    OTHER.get_or_init(|| {
        Identity::from_seed(&IdentitySeed::from_bytes([8; 32])).expect("any bytes are the seed of a key")
    })
}

fn installation_that_is_signed(bytes: &[u8]) -> Outcome {
    let mut fields = [0; 32];
    let length = bytes.len().min(fields.len());
    fields[..length].copy_from_slice(&bytes[..length]);
    let number =
        |at: usize| u64::from_be_bytes(*fields[at..].first_chunk().expect("the fields are 32 bytes"));
    let id = InstallationId::from_bytes(*fields.first_chunk().expect("the fields are 32 bytes"));
    let installed = Installed::new(owner(), number(16), id, number(24).cast_signed());
    assert!(installed.is_of(&owner().device_id()), "signed and read");
    let forged = match length % 3 {
        0 => Installed { incarnation: installed.incarnation.wrapping_add(1), ..installed.clone() },
        1 => Installed { since: installed.since.wrapping_sub(1), ..installed.clone() },
        _ => Installed { proof: installed.proof.replacen(['0', '1', '2'], "3", 1), ..installed.clone() },
    };
    assert!(forged == installed || !forged.is_of(&owner().device_id()), "{forged:?}");
    taken(&"signed")
}
