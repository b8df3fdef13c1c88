//! The lasting key of a computer, and the public half that others hold of it.

use std::fmt;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use data_encoding::HEXLOWER;
use thiserror::Error;

use crate::credential::{CertificateKind, Credential, CredentialError, public_key_in, spki_of};
use crate::derive::IdentitySeed;
use crate::device_id::DeviceId;

/// Bytes of a signature (Ed25519, RFC 8032).
pub const SIGNATURE_LENGTH: usize = 64;

/// Who this computer is: its Ed25519 key and the certificate that shows it. Cheap to clone.
#[derive(Clone)]
pub struct Identity(Credential);

impl Identity {
    /// The identity of this seed. The same seed gives the same certificate, byte for byte.
    ///
    /// # Errors
    /// If the cryptographic library refuses to build the certificate; no seed is known for which it does.
    pub fn from_seed(seed: &IdentitySeed) -> Result<Self, CredentialError> {
        Credential::from_seed(seed.as_bytes(), CertificateKind::Computer).map(Self)
    }

    /// The name that friends pin.
    #[must_use]
    pub fn device_id(&self) -> DeviceId {
        self.0.device_id()
    }

    /// The public half of the key.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.public_key())
    }

    /// The public half as SubjectPublicKeyInfo (DER): what the device id is the hash of.
    #[must_use]
    pub fn spki(&self) -> Vec<u8> {
        self.0.spki().to_vec()
    }

    /// The self-signed certificate (DER).
    #[must_use]
    pub fn cert_der(&self) -> &[u8] {
        self.0.certificate()
    }

    /// Signs `message` for a `purpose` (a constant such as "head"); it verifies for that purpose only.
    #[must_use]
    pub fn sign(&self, purpose: &str, message: &[u8]) -> [u8; SIGNATURE_LENGTH] {
        self.0.sign(&signed_bytes(purpose, message))
    }

    pub(crate) fn credential(&self) -> &Credential {
        &self.0
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.device_id())
    }
}

/// A signature is not the one that this key would give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the signature is not by the computer it is said to be from")]
pub struct BadSignature;

/// The public half of a computer's key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// The key with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key in a SubjectPublicKeyInfo (DER); `None` if it is not an Ed25519 key.
    #[must_use]
    pub fn from_spki(spki: &[u8]) -> Option<Self> {
        public_key_in(spki).map(Self)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The id of the computer whose key this is.
    #[must_use]
    pub fn device_id(&self) -> DeviceId {
        DeviceId::from_spki(&spki_of(&self.0))
    }

    /// Whether the signature is the one that [`Identity::sign`] gives for this purpose and message.
    ///
    /// # Errors
    /// If it is not.
    pub fn verify(&self, purpose: &str, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        UnparsedPublicKey::new(&ED25519, self.0)
            .verify(&signed_bytes(purpose, message), signature)
            .map_err(|_| BadSignature)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", HEXLOWER.encode(&self.0))
    }
}

/// The purpose is part of what is signed, and what is signed can't be taken for a TLS handshake, which begins with 64
/// spaces (RFC 8446, section 4.4.3).
fn signed_bytes(purpose: &str, message: &[u8]) -> Vec<u8> {
    [b"kith/v1 signature\0", purpose.as_bytes(), b"\0", message].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(byte: u8) -> Identity {
        Identity::from_seed(&IdentitySeed::from_bytes([byte; 32])).unwrap()
    }

    #[test]
    fn the_same_seed_gives_the_same_certificate() {
        assert_eq!(identity(1).cert_der(), identity(1).cert_der());
        assert_ne!(identity(1).cert_der(), identity(2).cert_der());
        assert_eq!(identity(1).device_id(), DeviceId::from_spki(&identity(1).spki()));
        assert_eq!(identity(1).device_id(), identity(1).public_key().device_id());
        assert_eq!(PublicKey::from_spki(&identity(1).spki()), Some(identity(1).public_key()));
    }

    #[test]
    fn the_certificate_names_nobody_and_never_ends() {
        let identity = identity(1);
        let (rest, certificate) = x509_parser::parse_x509_certificate(identity.cert_der()).unwrap();
        assert!(rest.is_empty());
        assert_eq!(certificate.subject().to_string(), "CN=kith");
        assert_eq!(certificate.validity().not_after.to_datetime().year(), 9999);
        assert_eq!(certificate.public_key().raw, identity.spki());
        assert_eq!(certificate.signature_algorithm.algorithm.to_id_string(), "1.3.101.112");
    }

    #[test]
    fn a_signature_holds_for_its_message_purpose_and_key_only() {
        let signature = identity(1).sign("head", b"message");
        let key = identity(1).public_key();
        assert_eq!(key.verify("head", b"message", &signature), Ok(()));
        assert_eq!(key.verify("head", b"massage", &signature), Err(BadSignature));
        assert_eq!(key.verify("hea", b"dmessage", &signature), Err(BadSignature));
        assert_eq!(key.verify("head", b"message", &signature[..63]), Err(BadSignature));
        assert_eq!(identity(2).public_key().verify("head", b"message", &signature), Err(BadSignature));
    }

    #[test]
    fn printing_an_identity_shows_its_public_id_only() {
        let text = format!("{:?}", identity(1));
        assert_eq!(text, format!("Identity({})", identity(1).device_id()));
    }
}
