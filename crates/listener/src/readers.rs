//! The reader of the first bytes of a connection, for whoever tries it with bytes of all kinds. Not part of what a listener is for.

use crate::conversation::{Look, look};

/// What the first bytes of a connection look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstBytes {
    /// More must come before it can be told; if it is TLS that is beginning, the handshake is waited for.
    Unknown {
        /// It may become TLS.
        tls: bool,
    },
    /// The first record of a TLS handshake.
    Handshake,
    /// The request of a browser.
    Http,
    /// Anything else, nothing included: it is answered and closed.
    Other,
}

/// See [`FirstBytes`].
#[must_use]
pub fn first_bytes(bytes: &[u8]) -> FirstBytes {
    match look(bytes) {
        Look::Beginning { tls } => FirstBytes::Unknown { tls },
        Look::Hello => FirstBytes::Handshake,
        Look::Http { .. } => FirstBytes::Http,
        Look::Silence | Look::Text | Look::Closed | Look::CutOff => FirstBytes::Other,
    }
}
