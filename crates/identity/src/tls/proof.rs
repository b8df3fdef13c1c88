//! Proving a lasting identity over a connection that was opened with a one-time key.
//!
//! Both ends of a TLS connection can export the same secret bytes, and nobody else (RFC 8446, section 7.5). Signing them
//! proves that the owner of the key sits at this very connection.

use rustls::{ConnectionCommon, Error};

use crate::device_id::DeviceId;
use crate::identity::{BadSignature, Identity, PublicKey, SIGNATURE_LENGTH};

/// Bytes that are exported from the connection.
pub const EXPORTER_LENGTH: usize = 32;

const LABEL: &[u8] = b"EXPORTER-kith-join-1";
const PURPOSE: &str = "join exporter";
const KEY_LENGTH: usize = 32;

/// Which side gives the proof, so that it can't be sent back as one's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExporterRole {
    /// Who dialled.
    Dialer,
    /// Who was dialled.
    Listener,
}

impl ExporterRole {
    const fn byte(self) -> u8 {
        match self {
            Self::Dialer => 1,
            Self::Listener => 2,
        }
    }
}

/// The bytes that only the two ends of this connection know.
///
/// # Errors
/// If the handshake isn't done.
pub fn exporter<Data>(connection: &ConnectionCommon<Data>) -> Result<[u8; EXPORTER_LENGTH], Error> {
    connection.export_keying_material([0; EXPORTER_LENGTH], LABEL, None)
}

/// The proof that this identity sits at the connection: its public key and a signature.
#[must_use]
pub fn exporter_proof(identity: &Identity, exporter: &[u8; EXPORTER_LENGTH], role: ExporterRole) -> Vec<u8> {
    let mut proof = identity.public_key().as_bytes().to_vec();
    proof.extend_from_slice(&identity.sign(PURPOSE, &message(exporter, role)));
    proof
}

/// Who gave the proof.
///
/// # Errors
/// If it doesn't hold for this connection and this side.
pub fn verify_exporter_proof(
    proof: &[u8],
    exporter: &[u8; EXPORTER_LENGTH],
    role: ExporterRole,
) -> Result<DeviceId, BadSignature> {
    if proof.len() != KEY_LENGTH + SIGNATURE_LENGTH {
        return Err(BadSignature);
    }
    let (key, signature) = proof.split_at(KEY_LENGTH);
    let key = PublicKey::from_bytes(key.try_into().map_err(|_| BadSignature)?);
    key.verify(PURPOSE, &message(exporter, role), signature)?;
    Ok(key.device_id())
}

fn message(exporter: &[u8; EXPORTER_LENGTH], role: ExporterRole) -> Vec<u8> {
    let mut message = vec![role.byte()];
    message.extend_from_slice(exporter);
    message
}
