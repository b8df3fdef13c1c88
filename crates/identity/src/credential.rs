//! A private key with the certificate that shows its public half: what a TLS endpoint presents.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use rcgen::{CertificateParams, DistinguishedName, DnType, IsCa, PKCS_ED25519, PublicKeyData, date_time_ymd};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::device_id::DeviceId;
use crate::random::random_bytes;

/// What stands before the 32 bytes of an Ed25519 public key in its SubjectPublicKeyInfo (RFC 8410, section 4).
const ED25519_SPKI_HEAD: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const SPKI_LENGTH: usize = 44;

/// What a throwaway certificate says: what many programs' say that made one for themselves.
const THROWAWAY_NAME: &str = "localhost";
const THROWAWAY_DAYS: u64 = 3650;
const SECONDS_PER_DAY: u64 = 24 * 60 * 60;
/// 2100 or so: a clock that says more is wrong, and dates end somewhere.
const MOST_DAYS: u64 = 50_000;

/// The key of a computer could not be turned into a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("cannot build the certificate of this computer's key: {reason}")]
pub struct CredentialError {
    reason: String,
}

/// What a certificate says its key is for. The verifier admits each kind by a rule of its own, and after the handshake
/// the kind must fit the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CertificateKind {
    /// The lasting key of a computer.
    Computer,
    /// The key that follows from an invite's secret.
    OneTime,
}

impl CertificateKind {
    pub(crate) const fn common_name(self) -> &'static str {
        match self {
            Self::Computer => "kith",
            Self::OneTime => "kith-join",
        }
    }

    pub(crate) fn from_common_name(name: &str) -> Option<Self> {
        [Self::Computer, Self::OneTime].into_iter().find(|kind| kind.common_name() == name)
    }
}

/// A key, its self-signed certificate, and the id that follows from it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Credential {
    key: EdKey,
    certificate: CertificateDer<'static>,
    device_id: DeviceId,
}

impl Credential {
    /// The credential of this seed. The same seed gives the same certificate, byte for byte.
    pub(crate) fn from_seed(seed: &[u8; 32], kind: CertificateKind) -> Result<Self, CredentialError> {
        let key = EdKey::from_seed(seed)?;
        let mut params = params(kind.common_name());
        // Dates mean nothing: peers pin the key and ignore them (9999-12-31 is the "no end" of RFC 5280, section 4.1.2.5).
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(9999, 12, 31);
        let certificate = self_signed(&key, &params)?;
        let device_id = DeviceId::from_spki(&key.spki());
        Ok(Self { key, certificate, device_id })
    }

    /// A credential that is shown to strangers and stands for nobody: a fresh key, and a certificate as any program makes it at its
    /// installation. `day` is the day it is made on, counted since 1970.
    pub(crate) fn throwaway(day: u64) -> Result<Self, CredentialError> {
        let seed = Zeroizing::new(random_bytes());
        let key = EdKey::from_seed(&seed)?;
        let mut params = params(THROWAWAY_NAME);
        params.not_before =
            date_time_ymd(1970, 1, 1) + Duration::from_secs(day.min(MOST_DAYS) * SECONDS_PER_DAY);
        params.not_after = params.not_before + Duration::from_secs(THROWAWAY_DAYS * SECONDS_PER_DAY);
        let certificate = self_signed(&key, &params)?;
        let device_id = DeviceId::from_spki(&key.spki());
        Ok(Self { key, certificate, device_id })
    }

    pub(crate) fn device_id(&self) -> DeviceId {
        self.device_id
    }

    pub(crate) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    pub(crate) fn spki(&self) -> [u8; SPKI_LENGTH] {
        self.key.spki()
    }

    pub(crate) fn public_key(&self) -> [u8; 32] {
        self.key.public_key()
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign_bytes(message)
    }

    /// What rustls presents.
    pub(crate) fn certified_key(&self) -> CertifiedKey {
        CertifiedKey::new(vec![self.certificate.clone()], Arc::new(self.key.clone()))
    }

    /// A certificate presented with a key that isn't its own: what an impostor would do.
    #[cfg(test)]
    pub(crate) fn with_stolen_certificate(&self, victim: &Self) -> Self {
        Self { key: self.key.clone(), certificate: victim.certificate.clone(), device_id: victim.device_id }
    }
}

/// The SubjectPublicKeyInfo of an Ed25519 key.
pub(crate) fn spki_of(public_key: &[u8; 32]) -> [u8; SPKI_LENGTH] {
    let mut spki = [0; SPKI_LENGTH];
    spki[..ED25519_SPKI_HEAD.len()].copy_from_slice(&ED25519_SPKI_HEAD);
    spki[ED25519_SPKI_HEAD.len()..].copy_from_slice(public_key);
    spki
}

/// The Ed25519 key in a SubjectPublicKeyInfo, if it holds one and nothing else.
pub(crate) fn public_key_in(spki: &[u8]) -> Option<[u8; 32]> {
    spki.strip_prefix(&ED25519_SPKI_HEAD)?.try_into().ok()
}

/// What a certificate says beside its key; the dates are to be set.
fn params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.is_ca = IsCa::ExplicitNoCa;
    params
}

fn self_signed(key: &EdKey, params: &CertificateParams) -> Result<CertificateDer<'static>, CredentialError> {
    let made = params.self_signed(&RcgenKey::new(key));
    Ok(made.map_err(|error| CredentialError { reason: error.to_string() })?.into())
}

/// The private key; the only thing that signs with it.
#[derive(Clone)]
struct EdKey(Arc<Ed25519KeyPair>);

impl EdKey {
    fn from_seed(seed: &[u8; 32]) -> Result<Self, CredentialError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed)
            .map_err(|error| CredentialError { reason: error.to_string() })?;
        Ok(Self(Arc::new(pair)))
    }

    fn public_key(&self) -> [u8; 32] {
        self.0.public_key().as_ref().try_into().expect("an Ed25519 public key has 32 bytes")
    }

    fn spki(&self) -> [u8; SPKI_LENGTH] {
        spki_of(&self.public_key())
    }

    fn sign_bytes(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).as_ref().try_into().expect("an Ed25519 signature has 64 bytes")
    }
}

impl fmt::Debug for EdKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EdKey(..)")
    }
}

impl SigningKey for EdKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.contains(&SignatureScheme::ED25519).then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(self.spki().to_vec()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for EdKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        Ok(self.sign_bytes(message).to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

/// The key as rcgen wants to see it: it borrows the public half.
struct RcgenKey<'a> {
    key: &'a EdKey,
    public_key: [u8; 32],
}

impl<'a> RcgenKey<'a> {
    fn new(key: &'a EdKey) -> Self {
        Self { key, public_key: key.public_key() }
    }
}

impl PublicKeyData for RcgenKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        &self.public_key
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &PKCS_ED25519
    }
}

impl rcgen::SigningKey for RcgenKey<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.key.sign_bytes(message).to_vec())
    }
}
