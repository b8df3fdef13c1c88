//! An installation of an identity, and the proof that the owner of its key made it.

use data_encoding::HEXLOWER;
use kith_identity::{DeviceId, Identity, InstallationId, PublicKey};
use serde::{Deserialize, Serialize};

use crate::hello::WireError;

/// What the signature is for.
const PURPOSE: &str = "installation";
const KEY_LENGTH: usize = 32;
/// Hex digits of a public key and a signature.
const PROOF_LENGTH: usize = 2 * (KEY_LENGTH + kith_identity::SIGNATURE_LENGTH);

/// A capability: whoever says hello is a computer that recovers. It reads its state object and leaves.
pub const VISIT_CAPABILITY: &str = "visit";

/// One installation of a computer. Every recovery makes one with a greater number.
///
/// It is signed, so that a friend can show it to another installation of the same computer: nobody but the owner of the
/// key can make one believe that it has been replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    /// Raised by every recovery.
    pub incarnation: u64,
    /// A random id.
    pub installation: InstallationId,
    /// When it was made, Unix milliseconds by its own clock.
    pub since: i64,
    /// The public key and the signature over all that stands above, hex.
    pub proof: String,
}

impl Installed {
    /// Makes the proof.
    #[must_use]
    pub fn new(identity: &Identity, incarnation: u64, installation: InstallationId, since: i64) -> Self {
        let signature = identity.sign(PURPOSE, &message(incarnation, &installation, since));
        let proof = [identity.public_key().as_bytes().as_slice(), signature.as_slice()].concat();
        Self { incarnation, installation, since, proof: HEXLOWER.encode(&proof) }
    }

    /// Whether the owner of this device id signed it.
    #[must_use]
    pub fn is_of(&self, device: &DeviceId) -> bool {
        let Ok(proof) = HEXLOWER.decode(self.proof.as_bytes()) else { return false };
        let Some((key, signature)) = proof.split_at_checked(KEY_LENGTH) else { return false };
        let Ok(key) = <[u8; KEY_LENGTH]>::try_from(key).map(PublicKey::from_bytes) else { return false };
        let message = message(self.incarnation, &self.installation, self.since);
        key.device_id() == *device && key.verify(PURPOSE, &message, signature).is_ok()
    }

    /// Of two installations the one of the greater rank writes. Everybody comes to the same result: two recoveries from the same
    /// state have the same number, and then the greater id counts.
    #[must_use]
    pub const fn rank(&self) -> (u64, InstallationId) {
        (self.incarnation, self.installation)
    }

    /// Refuses what no honest sender says.
    pub(crate) fn check(&self) -> Result<(), WireError> {
        if self.proof.len() > PROOF_LENGTH { Err(WireError::TooLong { field: "proof" }) } else { Ok(()) }
    }
}

fn message(incarnation: u64, installation: &InstallationId, since: i64) -> Vec<u8> {
    [incarnation.to_be_bytes().as_slice(), installation.as_bytes(), &since.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use kith_identity::IdentitySeed;

    use super::*;

    fn identity(byte: u8) -> Identity {
        Identity::from_seed(&IdentitySeed::from_bytes([byte; 32])).unwrap()
    }

    #[test]
    fn nobody_but_the_owner_of_the_key_can_say_that_there_is_a_newer_installation() {
        let id = InstallationId::from_bytes([7; 16]);
        let (anna, bert) = (identity(1), identity(2));
        let installed = Installed::new(&anna, 3, id, 1_700_000_000_000);
        assert!(installed.is_of(&anna.device_id()));
        assert!(!installed.is_of(&bert.device_id()));
        for forged in [
            Installed { incarnation: 4, ..installed.clone() },
            Installed { since: 0, ..installed.clone() },
            Installed { installation: InstallationId::from_bytes([8; 16]), ..installed.clone() },
            Installed { proof: String::new(), ..installed.clone() },
            Installed { proof: installed.proof[..190].to_owned(), ..installed.clone() },
            Installed { proof: Installed::new(&bert, 3, id, 1_700_000_000_000).proof, ..installed.clone() },
        ] {
            assert!(!forged.is_of(&anna.device_id()), "{forged:?}");
        }
        let json = serde_json::to_string(&installed).unwrap();
        assert_eq!(serde_json::from_str::<Installed>(&json).unwrap(), installed);
    }

    #[test]
    fn the_number_counts_before_the_id() {
        let anna = identity(1);
        let rank = |number, id| Installed::new(&anna, number, InstallationId::from_bytes([id; 16]), 0).rank();
        assert!(rank(2, 1) > rank(1, 9) && rank(1, 2) > rank(1, 1));
    }
}
