//! TLS as Kith speaks it: version 1.3 only, both ends with a self-signed Ed25519 certificate, each pinned by device id.
//!
//! The verifiers ignore names and dates, and really verify the handshake signature: a copied certificate is worth
//! nothing without its key. The hybrid post-quantum key exchange is preferred. There is no early data, no session ticket
//! and no resumption: unread tickets in the dialer's socket buffer would turn its `close` into a reset that can cut off
//! data, and a link lives for days anyway.
//!
//! A TLS 1.3 client is done before the server has judged its certificate: the refusal arrives with the first read
//! ([`explain_io`] turns it into a [`TlsRefusal`]). A dialer must not call itself connected before the first answer.

mod config;
mod peer;
mod proof;
mod refusal;
#[cfg(test)]
mod tests;
mod verifier;

pub(crate) use config::client_hello_for;
pub use config::{
    ALPN_JOIN, ALPN_LINK, client_config, client_config_any, join_client_config, placeholder_name,
    probe_client_config, provider, server_config, throwaway_server_config,
};
pub use peer::{Admitted, NotAdmitted, admitted, peer_device_id, protocol_agreed};
pub use proof::{EXPORTER_LENGTH, ExporterRole, exporter, exporter_proof, verify_exporter_proof};
pub use refusal::{TlsRefusal, explain, explain_io};
pub use verifier::Admission;
