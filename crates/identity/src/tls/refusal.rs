//! Why a handshake failed, in terms of Kith.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};
use thiserror::Error as ThisError;

use crate::device_id::DeviceId;

/// Why two computers did not become connected although bytes arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ThisError)]
#[non_exhaustive]
pub enum TlsRefusal {
    /// A Kith computer answered, but another one than was dialled.
    #[error("another computer answered: {found} instead of {expected}")]
    OtherDevice {
        /// Who was dialled.
        expected: DeviceId,
        /// Who answered.
        found: DeviceId,
    },
    /// A computer dialled us that is no friend and holds no open invite.
    #[error("computer {found} is no friend and holds no open invite")]
    Stranger {
        /// The id it showed; not proved.
        found: DeviceId,
    },
    /// The other side speaks TLS, but is no Kith.
    #[error("the other side speaks TLS but is not a Kith computer")]
    NotKith,
    /// The other side showed a certificate without having its key.
    #[error("the other side showed a certificate whose key it doesn't have")]
    NoKey,
    /// The other side doesn't know us, or shut us out.
    #[error(
        "the other computer refused this one: it isn't its friend (any more), or the invite is used up or has expired"
    )]
    RefusedByPeer,
    /// No protocol in common: another program, or another generation of Kith.
    #[error("the other side speaks none of the protocols of this Kith version")]
    NoCommonProtocol,
    /// No TLS version or cipher in common.
    #[error("the other side doesn't speak TLS 1.3 the way Kith does")]
    NoCommonTls,
    /// What arrived was not TLS.
    #[error("the other side doesn't speak TLS")]
    NotTls,
}

/// The refusal behind a rustls error; `None` if the handshake failed for another reason.
#[must_use]
pub fn explain(error: &Error) -> Option<TlsRefusal> {
    match error {
        Error::InvalidCertificate(CertificateError::Other(other)) => other.0.downcast_ref().copied(),
        Error::InvalidCertificate(CertificateError::BadSignature) => Some(TlsRefusal::NoKey),
        Error::InvalidCertificate(_) | Error::NoCertificatesPresented | Error::UnsupportedNameType => {
            Some(TlsRefusal::NotKith)
        }
        Error::NoApplicationProtocol => Some(TlsRefusal::NoCommonProtocol),
        Error::PeerIncompatible(_) => Some(TlsRefusal::NoCommonTls),
        Error::InvalidMessage(_) => Some(TlsRefusal::NotTls),
        Error::AlertReceived(alert) => explain_alert(*alert),
        _ => None,
    }
}

/// The same for an error of a stream that carries TLS: tokio-rustls wraps the error of rustls into one of I/O.
#[must_use]
pub fn explain_io(error: &io::Error) -> Option<TlsRefusal> {
    explain(error.get_ref()?.downcast_ref()?)
}

fn explain_alert(alert: AlertDescription) -> Option<TlsRefusal> {
    match alert {
        AlertDescription::CertificateUnknown
        | AlertDescription::AccessDenied
        | AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateRequired
        | AlertDescription::UnknownCA
        | AlertDescription::DecryptError => Some(TlsRefusal::RefusedByPeer),
        AlertDescription::NoApplicationProtocol => Some(TlsRefusal::NoCommonProtocol),
        AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure => {
            Some(TlsRefusal::NoCommonTls)
        }
        _ => None,
    }
}
