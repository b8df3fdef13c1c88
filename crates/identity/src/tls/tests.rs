//! Handshakes in memory: what one side writes, the other reads.

use std::collections::HashSet;
use std::io::Read;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, DigitallySignedStruct, Error, NamedGroup,
    ProtocolVersion, ServerConfig, ServerConnection, SignatureScheme,
};

use super::config::{client_with, server};
use super::verifier::ClientVerifier;
use super::*;
use crate::credential::{CertificateKind, Credential};
use crate::derive::IdentitySeed;
use crate::device_id::DeviceId;
use crate::dial_in::DialInTag;
use crate::identity::{BadSignature, Identity};
use crate::invite::{InviteSecret, OneTimeKey};

#[derive(Default)]
struct Guests {
    friends: HashSet<DeviceId>,
    invites: HashSet<DeviceId>,
}

impl Admission for Guests {
    fn friend(&self, id: &DeviceId) -> bool {
        self.friends.contains(id)
    }

    fn invite(&self, one_time_id: &DeviceId) -> bool {
        self.invites.contains(one_time_id)
    }
}

fn identity(byte: u8) -> Identity {
    Identity::from_seed(&IdentitySeed::from_bytes([byte; 32])).unwrap()
}

fn alice() -> Identity {
    identity(1)
}

fn bob() -> Identity {
    identity(2)
}

fn mallory() -> Identity {
    identity(3)
}

fn invite_key() -> OneTimeKey {
    OneTimeKey::for_invite(&InviteSecret::from_bytes([7; 16])).unwrap()
}

/// Alice listens; Bob is her friend, and one invite is open.
fn guests() -> Arc<Guests> {
    Arc::new(Guests {
        friends: HashSet::from([bob().device_id()]),
        invites: HashSet::from([invite_key().id()]),
    })
}

fn alice_listens() -> Arc<ServerConfig> {
    server_config(&alice(), guests())
}

/// Both ends after the handshake, with the first error of each side.
struct Outcome {
    client: ClientConnection,
    server: ServerConnection,
    client_error: Option<Error>,
    server_error: Option<Error>,
}

impl Outcome {
    fn client_refusal(&self) -> Option<TlsRefusal> {
        explain(self.client_error.as_ref()?)
    }

    fn server_refusal(&self) -> Option<TlsRefusal> {
        explain(self.server_error.as_ref()?)
    }

    fn assert_connected(&self) {
        assert_eq!((&self.client_error, &self.server_error), (&None, &None));
        assert!(!self.client.is_handshaking() && !self.server.is_handshaking());
    }
}

fn connect(client: Arc<ClientConfig>, server: Arc<ServerConfig>) -> Outcome {
    let mut outcome = Outcome {
        client: ClientConnection::new(client, placeholder_name()).unwrap(),
        server: ServerConnection::new(server).unwrap(),
        client_error: None,
        server_error: None,
    };
    for _ in 0..10 {
        let mut wire = Vec::new();
        while outcome.client.wants_write() {
            outcome.client.write_tls(&mut wire).unwrap();
        }
        let mut bytes = wire.as_slice();
        while !bytes.is_empty() && outcome.server_error.is_none() {
            outcome.server.read_tls(&mut bytes).unwrap();
            outcome.server_error = outcome.server.process_new_packets().err();
        }
        let mut wire = Vec::new();
        while outcome.server.wants_write() {
            outcome.server.write_tls(&mut wire).unwrap();
        }
        let mut bytes = wire.as_slice();
        while !bytes.is_empty() && outcome.client_error.is_none() {
            outcome.client.read_tls(&mut bytes).unwrap();
            outcome.client_error = outcome.client.process_new_packets().err();
        }
    }
    outcome
}

#[test]
fn a_friend_is_let_in_and_both_know_who_the_other_is() {
    let outcome = connect(client_config(&bob(), alice().device_id()), alice_listens());
    outcome.assert_connected();
    assert_eq!(admitted(&outcome.server), Ok(Admitted::Friend(bob().device_id())));
    assert_eq!(peer_device_id(&outcome.client), Some(alice().device_id()));
    assert_eq!(protocol_agreed(&outcome.client), Ok(()));
}

#[test]
fn the_connection_is_tls_13_with_the_hybrid_key_exchange_and_without_tickets() {
    let mut outcome = connect(client_config(&bob(), alice().device_id()), alice_listens());
    outcome.assert_connected();
    assert_eq!(outcome.client.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(
        outcome.client.negotiated_key_exchange_group().map(|group| group.name()),
        Some(NamedGroup::X25519MLKEM768)
    );
    assert_eq!(outcome.client.tls13_tickets_received(), 0);
    assert!(outcome.client.early_data().is_none());
    let again = connect(client_config(&bob(), alice().device_id()), alice_listens());
    assert_eq!(again.client.handshake_kind(), Some(rustls::HandshakeKind::Full));
    assert!(
        outcome.client.reader().read(&mut [0; 1]).is_err(),
        "nothing unread may be left by the handshake"
    );
}

#[test]
fn nobody_is_admitted_before_the_handshake_is_done() {
    let server = ServerConnection::new(alice_listens()).unwrap();
    assert_eq!(admitted(&server), Err(NotAdmitted::Incomplete));
    let client =
        ClientConnection::new(client_config(&bob(), alice().device_id()), placeholder_name()).unwrap();
    assert_eq!(peer_device_id(&client), None);
    assert_eq!(protocol_agreed(&client), Err(TlsRefusal::NoCommonProtocol));
}

#[test]
fn a_stranger_is_refused_in_the_handshake_and_learns_it_by_an_alert() {
    let outcome = connect(client_config(&mallory(), alice().device_id()), alice_listens());
    assert_eq!(outcome.server_refusal(), Some(TlsRefusal::Stranger { found: mallory().device_id() }));
    assert!(outcome.server.is_handshaking());
    assert_eq!(outcome.client_error, Some(Error::AlertReceived(AlertDescription::CertificateUnknown)));
    assert_eq!(outcome.client_refusal(), Some(TlsRefusal::RefusedByPeer));
}

#[test]
fn a_client_with_a_friends_certificate_but_not_its_key_is_refused() {
    let stolen = mallory().credential().with_stolen_certificate(bob().credential());
    let outcome = connect(client_with(&stolen, alice().device_id(), ALPN_LINK), alice_listens());
    assert_eq!(outcome.server_refusal(), Some(TlsRefusal::NoKey));
    assert!(outcome.server.is_handshaking());
    assert_eq!(admitted(&outcome.server), Err(NotAdmitted::Incomplete));
    assert_eq!(outcome.client_refusal(), Some(TlsRefusal::RefusedByPeer));
}

#[test]
fn a_server_with_a_friends_certificate_but_not_its_key_is_refused() {
    let stolen = mallory().credential().with_stolen_certificate(alice().credential());
    let impostor = server(&stolen, Arc::new(ClientVerifier::new(guests())));
    let outcome = connect(client_config(&bob(), alice().device_id()), impostor);
    assert_eq!(outcome.client_refusal(), Some(TlsRefusal::NoKey));
    assert!(outcome.client.is_handshaking());
}

#[test]
fn another_computer_at_the_address_is_refused_and_named() {
    let outcome = connect(client_config(&bob(), mallory().device_id()), alice_listens());
    assert_eq!(
        outcome.client_refusal(),
        Some(TlsRefusal::OtherDevice { expected: mallory().device_id(), found: alice().device_id() })
    );
    assert_eq!(outcome.server_refusal(), Some(TlsRefusal::RefusedByPeer));
}

#[test]
fn a_dialer_that_takes_any_computer_learns_which_one_it_was() {
    let outcome = connect(client_config_any(&bob()), alice_listens());
    outcome.assert_connected();
    assert_eq!(peer_device_id(&outcome.client), Some(alice().device_id()));
}

#[test]
fn whoever_holds_an_open_invite_may_join_and_nothing_else() {
    let outcome = connect(join_client_config(&invite_key(), alice().device_id()), alice_listens());
    outcome.assert_connected();
    assert_eq!(admitted(&outcome.server), Ok(Admitted::Invite(invite_key().id())));

    let link = client_with(invite_key().credential(), alice().device_id(), ALPN_LINK);
    let outcome = connect(link, alice_listens());
    outcome.assert_connected();
    assert_eq!(admitted(&outcome.server), Err(NotAdmitted::WrongProtocol { id: invite_key().id() }));
}

fn stranger_sees() -> Arc<ServerConfig> {
    throwaway_server_config(1_790_000_000).unwrap()
}

#[test]
fn a_throwaway_certificate_admits_nobody_and_is_no_kiths() {
    let server = stranger_sees();
    for client in [
        client_config(&bob(), alice().device_id()),
        client_config_any(&bob()),
        join_client_config(&invite_key(), alice().device_id()),
    ] {
        let outcome = connect(client, server.clone());
        assert_eq!(outcome.client_refusal(), Some(TlsRefusal::NotKith));
        assert!(outcome.server.is_handshaking());
    }
    // Also not if the caller takes whatever he is shown, and goes on.
    for id in [bob(), alice(), mallory()] {
        let outcome = connect(probe_client_config(&id), server.clone());
        assert_eq!(outcome.server_refusal(), Some(TlsRefusal::Stranger { found: id.device_id() }));
        assert!(outcome.server.is_handshaking());
        assert_eq!(admitted(&outcome.server), Err(NotAdmitted::Incomplete));
        assert_eq!(peer_device_id(&outcome.client), None);
        assert_eq!(protocol_agreed(&outcome.client), Ok(()), "that it is some Kith is no secret");
        assert_eq!(outcome.client_error, Some(Error::AlertReceived(AlertDescription::CertificateUnknown)));
    }
}

#[test]
fn a_throwaway_certificate_is_made_anew_and_says_nothing() {
    let shown = |server| {
        connect(probe_client_config(&mallory()), server).client.peer_certificates().unwrap()[0].to_vec()
    };
    let (one, again, other) = (stranger_sees(), stranger_sees(), stranger_sees());
    let (one, again, other) = (shown(one), shown(again), shown(other));
    assert!(one != again && again != other, "the key is fresh");
    let text = String::from_utf8_lossy(&one).to_lowercase();
    assert!(!text.contains("kith") && !text.contains("rcgen"), "{text}");
    let (_, parsed) = x509_parser::parse_x509_certificate(&one).unwrap();
    assert_eq!(parsed.subject().to_string(), "CN=localhost");
    assert_eq!(parsed.issuer().to_string(), "CN=localhost");
    let validity = parsed.validity();
    assert_eq!(
        validity.not_before.timestamp(),
        1_790_000_000 / 86_400 * 86_400,
        "a day, not the time of the start"
    );
    assert_eq!(validity.not_after.timestamp() - validity.not_before.timestamp(), 3650 * 86_400);
    // A clock that is wrong by any amount is no reason not to start.
    for now in [0, u64::MAX] {
        throwaway_server_config(now).unwrap();
    }
}

#[test]
fn but_for_the_certificate_a_stranger_meets_the_same_server() {
    for (client, name) in [
        (probe_client_config(&mallory()), DialInTag::made_up().server_name()),
        (probe_client_config(&mallory()), placeholder_name()),
        (client_with(invite_key().credential(), alice().device_id(), ALPN_JOIN), placeholder_name()),
        (client_with(mallory().credential(), alice().device_id(), b"h2"), placeholder_name()),
    ] {
        let sizes = [alice_listens(), stranger_sees()].map(|server| {
            let mut client = ClientConnection::new(client.clone(), name.clone()).unwrap();
            let mut hello = Vec::new();
            client.write_tls(&mut hello).unwrap();
            let mut server = ServerConnection::new(server).unwrap();
            server.read_tls(&mut hello.as_slice()).unwrap();
            let refused = server.process_new_packets().err();
            let mut answer = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut answer).unwrap();
            }
            // All records but the one with the certificate in it are of the same kinds and lengths.
            let mut records = Vec::new();
            let mut rest = answer.as_slice();
            while let [kind, _, _, high, low, ..] = *rest {
                let length = usize::from(u16::from_be_bytes([high, low]));
                records.push((kind, length));
                rest = &rest[5 + length..];
            }
            (refused, server.alpn_protocol().map(<[u8]>::to_vec), records.len(), records[0])
        });
        assert_eq!(sizes[0], sizes[1]);
    }
}

#[test]
fn a_tag_travels_in_the_client_hello_and_an_address_does_not() {
    let tag = DialInTag::made_up();
    for (name, expected) in [(tag.server_name(), Some(tag.to_text())), (placeholder_name(), None)] {
        let mut client = ClientConnection::new(client_config(&bob(), alice().device_id()), name).unwrap();
        let mut hello = Vec::new();
        client.write_tls(&mut hello).unwrap();
        let mut acceptor = rustls::server::Acceptor::default();
        acceptor.read_tls(&mut hello.as_slice()).unwrap();
        let accepted = acceptor.accept().unwrap_or_else(|_| panic!("not accepted")).unwrap();
        assert_eq!(accepted.client_hello().server_name().map(str::to_owned), expected);
    }
}

#[test]
fn a_closed_invite_is_refused_in_the_handshake() {
    let closed = Arc::new(Guests { friends: HashSet::from([bob().device_id()]), invites: HashSet::new() });
    let outcome =
        connect(join_client_config(&invite_key(), alice().device_id()), server_config(&alice(), closed));
    assert_eq!(outcome.server_refusal(), Some(TlsRefusal::Stranger { found: invite_key().id() }));
    assert_eq!(outcome.client_refusal(), Some(TlsRefusal::RefusedByPeer));
}

#[test]
fn a_one_time_key_can_not_pass_for_a_friend_nor_a_friend_for_a_one_time_key() {
    let seed = [9; 32];
    let as_computer = Credential::from_seed(&seed, CertificateKind::Computer).unwrap();
    let as_one_time = Credential::from_seed(&seed, CertificateKind::OneTime).unwrap();
    let id = as_computer.device_id();
    let only = |friends: &[DeviceId], invites: &[DeviceId]| {
        let guests =
            Guests { friends: friends.iter().copied().collect(), invites: invites.iter().copied().collect() };
        server_config(&alice(), Arc::new(guests))
    };
    let dial = |credential: &Credential, server| {
        connect(client_with(credential, alice().device_id(), ALPN_LINK), server).server_refusal()
    };
    assert_eq!(dial(&as_computer, only(&[], &[id])), Some(TlsRefusal::Stranger { found: id }));
    assert_eq!(dial(&as_one_time, only(&[id], &[])), Some(TlsRefusal::Stranger { found: id }));
}

#[test]
fn a_friend_that_asks_for_the_joining_protocol_is_not_admitted() {
    let outcome = connect(client_with(bob().credential(), alice().device_id(), ALPN_JOIN), alice_listens());
    assert_eq!(admitted(&outcome.server), Err(NotAdmitted::WrongProtocol { id: bob().device_id() }));
}

#[test]
fn an_unknown_protocol_is_refused_in_the_handshake_and_none_is_not_admitted() {
    let outcome = connect(client_with(bob().credential(), alice().device_id(), b"h2"), alice_listens());
    assert_eq!(outcome.server_refusal(), Some(TlsRefusal::NoCommonProtocol));
    assert_eq!(outcome.client_refusal(), Some(TlsRefusal::NoCommonProtocol));

    let mut config = ClientConfig::clone(&client_config(&bob(), alice().device_id()));
    config.alpn_protocols.clear();
    let outcome = connect(Arc::new(config), alice_listens());
    outcome.assert_connected();
    assert_eq!(admitted(&outcome.server), Err(NotAdmitted::NoProtocol));
    assert_eq!(protocol_agreed(&outcome.client), Err(TlsRefusal::NoCommonProtocol));
}

#[test]
fn a_server_that_shows_a_one_time_key_is_no_computer() {
    let server = server(invite_key().credential(), Arc::new(ClientVerifier::new(guests())));
    let outcome = connect(client_config(&bob(), invite_key().id()), server);
    assert_eq!(outcome.client_refusal(), Some(TlsRefusal::NotKith));
}

#[test]
fn a_client_without_a_certificate_is_refused() {
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Gullible))
        .with_no_client_auth();
    let outcome = connect(Arc::new(config), alice_listens());
    assert_eq!(outcome.server_error, Some(Error::NoCertificatesPresented));
    assert_eq!(outcome.server_refusal(), Some(TlsRefusal::NotKith));
    assert_eq!(outcome.client_refusal(), Some(TlsRefusal::RefusedByPeer));
}

#[test]
fn tls_12_is_refused_in_both_directions() {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Gullible))
        .with_no_client_auth();
    let outcome = connect(Arc::new(client), alice_listens());
    assert_eq!(outcome.server_refusal(), Some(TlsRefusal::NoCommonTls));
    assert_eq!(outcome.client_refusal(), Some(TlsRefusal::NoCommonTls));

    let server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(
            alice().credential().certified_key(),
        )));
    let outcome = connect(client_config(&bob(), alice().device_id()), Arc::new(server));
    assert!(outcome.client_error.is_some() || outcome.server_error.is_some());
    assert!(outcome.client.is_handshaking());
}

#[test]
fn certificates_that_are_no_kith_certificates_are_not_read() {
    let bob = bob();
    let garbage: [&[u8]; 3] = [b"", b"garbage", &bob.cert_der()[..40]];
    for der in garbage {
        assert!(verifier::KithCertificate::read(&CertificateDer::from(der)).is_none());
    }
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "kith");
    let other_key = params.self_signed(&key).unwrap();
    assert!(verifier::KithCertificate::read(other_key.der()).is_none());

    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let other_name = rcgen::CertificateParams::default().self_signed(&key).unwrap();
    assert!(verifier::KithCertificate::read(other_name.der()).is_none());
}

#[test]
fn the_lasting_identity_is_proved_over_the_joining_connection() {
    let outcome = connect(join_client_config(&invite_key(), alice().device_id()), alice_listens());
    let at_client = exporter(&outcome.client).unwrap();
    let at_server = exporter(&outcome.server).unwrap();
    assert_eq!(at_client, at_server);

    let proof = exporter_proof(&bob(), &at_client, ExporterRole::Dialer);
    assert_eq!(verify_exporter_proof(&proof, &at_server, ExporterRole::Dialer), Ok(bob().device_id()));
    assert_eq!(verify_exporter_proof(&proof, &at_server, ExporterRole::Listener), Err(BadSignature));
    assert_eq!(verify_exporter_proof(&proof[..95], &at_server, ExporterRole::Dialer), Err(BadSignature));

    let elsewhere = connect(join_client_config(&invite_key(), alice().device_id()), alice_listens());
    let elsewhere = exporter(&elsewhere.server).unwrap();
    assert_eq!(verify_exporter_proof(&proof, &elsewhere, ExporterRole::Dialer), Err(BadSignature));
}

#[test]
fn text_instead_of_tls_is_recognised() {
    let config = client_config(&bob(), alice().device_id());
    let mut client = ClientConnection::new(config, placeholder_name()).unwrap();
    client.read_tls(&mut b"HTTP/1.1 400 Bad Request\r\n\r\n".as_slice()).unwrap();
    let error = client.process_new_packets().unwrap_err();
    assert_eq!(explain(&error), Some(TlsRefusal::NotTls));
    let wrapped = std::io::Error::new(std::io::ErrorKind::InvalidData, error);
    assert_eq!(explain_io(&wrapped), Some(TlsRefusal::NotTls));
    assert_eq!(explain_io(&std::io::ErrorKind::ConnectionReset.into()), None);
}

/// Believes any server: what no code outside tests may do.
#[derive(Debug)]
struct Gullible;

impl ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519, SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
