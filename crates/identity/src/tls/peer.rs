//! Who sits at the other end, once the handshake is done.

use rustls::{CommonState, ServerConnection};
use thiserror::Error;

use super::config::{ALPN_JOIN, ALPN_LINK};
use super::refusal::TlsRefusal;
use super::verifier::KithCertificate;
use crate::credential::CertificateKind;
use crate::device_id::DeviceId;

/// Who was let in by the listener, and for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admitted {
    /// A friend, for a link.
    Friend(DeviceId),
    /// Whoever holds an open invite, for a pairing; the id is that of the one-time key.
    Invite(DeviceId),
}

/// A client passed the handshake, but asked for what its certificate doesn't allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NotAdmitted {
    /// The handshake isn't done.
    #[error("the handshake is not complete")]
    Incomplete,
    /// It named no protocol.
    #[error("the client asked for no protocol")]
    NoProtocol,
    /// A friend tried to join, or a holder of an invite asked for a link.
    #[error("the certificate of computer {id} doesn't allow the protocol it asked for")]
    WrongProtocol {
        /// The id in its certificate.
        id: DeviceId,
    },
}

/// What the listener may hand over. Sound because the verifier has admitted each kind of certificate by its own rule,
/// and here the kind must fit the protocol.
///
/// # Errors
/// If the protocol doesn't fit, or there is none.
pub fn admitted(connection: &ServerConnection) -> Result<Admitted, NotAdmitted> {
    if connection.is_handshaking() {
        return Err(NotAdmitted::Incomplete);
    }
    let peer = certificate(connection).ok_or(NotAdmitted::Incomplete)?;
    let protocol = connection.alpn_protocol().ok_or(NotAdmitted::NoProtocol)?;
    match peer.kind {
        CertificateKind::Computer if protocol == ALPN_LINK => Ok(Admitted::Friend(peer.device_id)),
        CertificateKind::OneTime if protocol == ALPN_JOIN => Ok(Admitted::Invite(peer.device_id)),
        _ => Err(NotAdmitted::WrongProtocol { id: peer.device_id }),
    }
}

/// The id of the computer at the other end of a connection whose handshake is done; `None` before that.
#[must_use]
pub fn peer_device_id(connection: &CommonState) -> Option<DeviceId> {
    certificate(connection).map(|certificate| certificate.device_id)
}

/// For a dialer: whether the server took the protocol it was offered. A server that isn't Kith may take none and go on.
///
/// # Errors
/// If no protocol was agreed on.
pub fn protocol_agreed(connection: &CommonState) -> Result<(), TlsRefusal> {
    match connection.alpn_protocol() {
        Some(ALPN_LINK | ALPN_JOIN) => Ok(()),
        _ => Err(TlsRefusal::NoCommonProtocol),
    }
}

fn certificate(connection: &CommonState) -> Option<KithCertificate> {
    KithCertificate::read(connection.peer_certificates()?.first()?)
}
