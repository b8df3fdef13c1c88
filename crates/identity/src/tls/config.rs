//! The rustls configurations.

use std::net::Ipv4Addr;
use std::sync::Arc;

use rustls::client::{Resumption, WantsClientCert};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::ServerName;
use rustls::server::NoServerSessionStorage;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, ClientConnection, ConfigBuilder, ServerConfig};

use super::verifier::{Admission, ClientVerifier, ServerVerifier};
use crate::credential::{Credential, CredentialError};
use crate::device_id::DeviceId;
use crate::identity::Identity;
use crate::invite::OneTimeKey;

/// The protocol of a link between friends.
pub const ALPN_LINK: &[u8] = b"kith/1";
/// The protocol of a pairing: the dialer shows the one-time key of an invite.
pub const ALPN_JOIN: &[u8] = b"kith-join/1";

/// For dialling a friend: the other side must be `expected`, and prove it.
#[must_use]
pub fn client_config(identity: &Identity, expected: DeviceId) -> Arc<ClientConfig> {
    client(identity.credential(), ServerVerifier::pinned(expected), ALPN_LINK)
}

/// For recovery and probing: the other side may be any Kith computer. Read afterwards by [`peer_device_id`](super::peer_device_id)
/// who it was, and trust it with nothing before it has proved that it is a friend.
#[must_use]
pub fn client_config_any(identity: &Identity) -> Arc<ClientConfig> {
    client(identity.credential(), ServerVerifier::any(), ALPN_LINK)
}

/// For the telnet test: the other side may be anybody, and so may this one. The identity is to be made for the test and forgotten
/// after it; whether it was a Kith at all is read afterwards by [`peer_device_id`](super::peer_device_id) and
/// [`protocol_agreed`](super::protocol_agreed).
#[must_use]
pub fn probe_client_config(made_for_it: &Identity) -> Arc<ClientConfig> {
    client(made_for_it.credential(), ServerVerifier::anybody(), ALPN_LINK)
}

/// For redeeming an invite or a reply line: the other side must be `expected`; this side shows the one-time key.
#[must_use]
pub fn join_client_config(key: &OneTimeKey, expected: DeviceId) -> Arc<ClientConfig> {
    client(key.credential(), ServerVerifier::pinned(expected), ALPN_JOIN)
}

/// The bytes of one ClientHello with this server name that says nothing about its sender, and after which nothing is sent.
pub(crate) fn client_hello_for(name: ServerName<'static>) -> Result<Vec<u8>, rustls::Error> {
    let mut config = client_builder(ServerVerifier::any()).with_no_client_auth();
    settle(&mut config, ALPN_LINK);
    let mut client = ClientConnection::new(Arc::new(config), name)?;
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).map_err(|error| rustls::Error::General(error.to_string()))?;
    Ok(bytes)
}

/// For the listener: a client certificate is demanded, and one that `admission` doesn't know is refused in the handshake.
/// Which protocol the client may speak follows from its certificate: see [`admitted`](super::admitted), which must be asked
/// after the handshake.
#[must_use]
pub fn server_config(identity: &Identity, admission: Arc<dyn Admission>) -> Arc<ServerConfig> {
    server(identity.credential(), Arc::new(ClientVerifier::new(admission)))
}

/// What a listener shows to those whom it doesn't recognise, and to whom nothing is admitted: to them it is a Kith of nobody they
/// know. Everything but the certificate is as in [`server_config`], so that nothing else tells the two apart. The key is fresh;
/// `now` is in seconds since 1970, for a date in the certificate.
///
/// # Errors
/// If the cryptographic library refuses to build the certificate.
pub fn throwaway_server_config(now: u64) -> Result<Arc<ServerConfig>, CredentialError> {
    let credential = Credential::throwaway(now / (24 * 60 * 60))?;
    Ok(server(&credential, Arc::new(ClientVerifier::new(Arc::new(Nobody)))))
}

/// Admits nobody.
struct Nobody;

impl Admission for Nobody {
    fn friend(&self, _id: &DeviceId) -> bool {
        false
    }

    fn invite(&self, _one_time_id: &DeviceId) -> bool {
        false
    }
}

/// A server name for the rustls client, which insists on one, where no tag is to be sent: an address is never sent.
#[must_use]
pub fn placeholder_name() -> ServerName<'static> {
    ServerName::from(std::net::IpAddr::from(Ipv4Addr::UNSPECIFIED))
}

/// The cryptography in use: aws-lc-rs with the cipher suites of TLS 1.3, and the hybrid X25519MLKEM768 before X25519.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.retain(|suite| suite.tls13().is_some());
    provider.kx_groups = vec![aws_lc_rs::kx_group::X25519MLKEM768, aws_lc_rs::kx_group::X25519];
    Arc::new(provider)
}

fn client(credential: &Credential, verifier: ServerVerifier, protocol: &[u8]) -> Arc<ClientConfig> {
    let mut config = client_builder(verifier)
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(credential.certified_key())));
    settle(&mut config, protocol);
    Arc::new(config)
}

fn client_builder(verifier: ServerVerifier) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider has the cipher suites of TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
}

/// What holds for every dialer.
fn settle(config: &mut ClientConfig, protocol: &[u8]) {
    config.alpn_protocols = vec![protocol.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    // Carries the tag; what else is a server name here is an address, which isn't sent.
    config.enable_sni = true;
}

pub(super) fn server(credential: &Credential, verifier: Arc<ClientVerifier>) -> Arc<ServerConfig> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider has the cipher suites of TLS 1.3")
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(credential.certified_key())));
    config.alpn_protocols = vec![ALPN_LINK.to_vec(), ALPN_JOIN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Arc::new(config)
}

#[cfg(test)]
pub(super) fn client_with(credential: &Credential, expected: DeviceId, protocol: &[u8]) -> Arc<ClientConfig> {
    client(credential, ServerVerifier::pinned(expected), protocol)
}
