//! Who is let in: the two certificate verifiers.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use x509_parser::parse_x509_certificate;

use super::refusal::TlsRefusal;
use crate::credential::{CertificateKind, public_key_in};
use crate::device_id::DeviceId;

/// Says whom the listener lets in. Asked in the middle of a handshake: the answer must come at once, from memory.
pub trait Admission: Send + Sync {
    /// Whether this computer is a friend (or this computer's own recovered identity).
    fn friend(&self, id: &DeviceId) -> bool;

    /// Whether an open invite, or an open reply to one, has this one-time key.
    fn invite(&self, one_time_id: &DeviceId) -> bool;
}

/// What a Kith certificate says.
pub(super) struct KithCertificate {
    pub(super) kind: CertificateKind,
    pub(super) device_id: DeviceId,
}

impl KithCertificate {
    /// Reads the end-entity certificate; `None` if it isn't one of ours. That its key is there is proved by the handshake
    /// signature only.
    pub(super) fn read(certificate: &CertificateDer<'_>) -> Option<Self> {
        // Two parsers, one opinion: rustls takes the key that verifies the signature from its own.
        let spki = ParsedCertificate::try_from(certificate).ok()?.subject_public_key_info();
        public_key_in(&spki)?;
        let (rest, parsed) = parse_x509_certificate(certificate).ok()?;
        if !rest.is_empty() || parsed.public_key().raw != spki.as_ref() {
            return None;
        }
        let mut names = parsed.subject().iter_common_name();
        let kind = CertificateKind::from_common_name(names.next()?.as_str().ok()?)?;
        names.next().is_none().then(|| Self { kind, device_id: DeviceId::from_spki(&spki) })
    }
}

/// Judges the certificate of the computer that was dialled.
pub(super) struct ServerVerifier {
    expected: Expected,
    algorithms: WebPkiSupportedAlgorithms,
}

/// Who may answer.
#[derive(Debug, Clone, Copy)]
enum Expected {
    /// This computer.
    Computer(DeviceId),
    /// Any computer that runs Kith and shows it.
    AnyComputer,
    /// Whoever has the key of the certificate that he shows.
    Anybody,
}

impl ServerVerifier {
    pub(super) fn pinned(expected: DeviceId) -> Self {
        Self { expected: Expected::Computer(expected), algorithms: algorithms() }
    }

    pub(super) fn any() -> Self {
        Self { expected: Expected::AnyComputer, algorithms: algorithms() }
    }

    pub(super) fn anybody() -> Self {
        Self { expected: Expected::Anybody, algorithms: algorithms() }
    }
}

impl fmt::Debug for ServerVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerVerifier").field("expected", &self.expected).finish_non_exhaustive()
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if matches!(self.expected, Expected::Anybody) {
            return Ok(ServerCertVerified::assertion());
        }
        let certificate = KithCertificate::read(end_entity).ok_or_else(|| refuse(TlsRefusal::NotKith))?;
        if certificate.kind != CertificateKind::Computer {
            return Err(refuse(TlsRefusal::NotKith));
        }
        let found = certificate.device_id;
        match self.expected {
            Expected::Computer(expected) if expected != found => {
                Err(refuse(TlsRefusal::OtherDevice { expected, found }))
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(refuse(TlsRefusal::NoCommonTls))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

/// Judges the certificate of the computer that dials us.
pub(super) struct ClientVerifier {
    admission: Arc<dyn Admission>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientVerifier {
    pub(super) fn new(admission: Arc<dyn Admission>) -> Self {
        Self { admission, algorithms: algorithms() }
    }
}

impl fmt::Debug for ClientVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientVerifier").finish_non_exhaustive()
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let certificate = KithCertificate::read(end_entity).ok_or_else(|| refuse(TlsRefusal::NotKith))?;
        let found = certificate.device_id;
        let known = match certificate.kind {
            CertificateKind::Computer => self.admission.friend(&found),
            CertificateKind::OneTime => self.admission.invite(&found),
        };
        if known { Ok(ClientCertVerified::assertion()) } else { Err(refuse(TlsRefusal::Stranger { found })) }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(refuse(TlsRefusal::NoCommonTls))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

fn verify_signature(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    if signature.scheme != SignatureScheme::ED25519 {
        return Err(refuse(TlsRefusal::NotKith));
    }
    verify_tls13_signature(message, certificate, signature, algorithms)
}

fn algorithms() -> WebPkiSupportedAlgorithms {
    aws_lc_rs::default_provider().signature_verification_algorithms
}

/// Carries the refusal through rustls, which sends the peer the alert `certificate_unknown`.
fn refuse(refusal: TlsRefusal) -> Error {
    CertificateError::Other(rustls::OtherError(Arc::new(refusal))).into()
}
