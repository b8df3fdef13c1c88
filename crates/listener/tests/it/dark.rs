//! Who learns whose port this is.

use kith_identity::tls::{self, Admitted, TlsRefusal, explain_io, peer_device_id, placeholder_name};
use kith_identity::{DialBackNonce, DialInKey, DialInTag, InviteSecret};
use rustls::pki_types::ServerName;

use crate::support::*;

/// The certificate that a caller is shown who takes whatever he is shown.
async fn shown(house: &House, name: ServerName<'static>) -> Vec<u8> {
    let stream = connect(house.address).await;
    let stream = handshake_as(name, stream, tls::probe_client_config(&mallory())).await.unwrap();
    let connection = stream.get_ref().1;
    assert_eq!(tls::protocol_agreed(connection), Ok(()));
    let certificate = connection.peer_certificates().unwrap()[0].to_vec();
    let is_alice = peer_device_id(connection) == Some(alice().device_id());
    assert_eq!(is_alice, certificate == alice().cert_der(), "it is Alice, or has nothing of hers");
    assert!(is_alice || peer_device_id(connection).is_none());
    certificate
}

async fn assert_dark(house: &mut House, name: ServerName<'static>) {
    assert_ne!(shown(house, name.clone()).await, alice().cert_der());
    // Who expects Alice there, a friend with his own key even, is told nothing and let in nowhere.
    for config in [bobs_config(), tls::client_config(&mallory(), alice().device_id())] {
        let stream = connect(house.address).await;
        let refused = handshake_as(name.clone(), stream, config).await.unwrap_err();
        assert_eq!(explain_io(&refused), Some(TlsRefusal::NotKith));
    }
    house.assert_nobody_was_let_in();
}

#[tokio::test]
async fn a_stranger_who_knows_the_device_id_is_shown_a_certificate_of_nobody() {
    let mut house = House::on_loopback();
    let other_invite = InviteSecret::from_bytes([8; 16]);
    for name in [
        placeholder_name(),
        DialInTag::made_up().server_name(),
        DialInKey::from_bytes([5; 32]).tag().server_name(),
        other_invite.dial_in_key().tag().server_name(),
        DialBackNonce::generate().server_name().try_into().unwrap(),
        ServerName::try_from("localhost").unwrap(),
        ServerName::try_from("example.org").unwrap(),
    ] {
        assert_dark(&mut house, name).await;
    }
    house.assert_bob_gets_in().await;
}

#[tokio::test]
async fn a_friend_whose_key_was_rotated_out_is_shown_a_certificate_of_nobody() {
    let mut house = House::on_loopback();
    let (old, new) = (alices_key(), DialInKey::from_bytes([6; 32]));
    assert_eq!(shown(&house, old.tag().server_name()).await, alice().cert_der());
    house.keys.set(&[new.clone(), old.clone()]);
    for key in [&old, &new] {
        assert_eq!(shown(&house, key.tag().server_name()).await, alice().cert_der());
    }
    house.keys.set(std::slice::from_ref(&new));
    assert_dark(&mut house, old.tag().server_name()).await;
    assert_eq!(shown(&house, new.tag().server_name()).await, alice().cert_der());
    house.keys.set(&[]);
    assert_dark(&mut house, new.tag().server_name()).await;
}

#[tokio::test]
async fn a_tag_that_is_sent_again_shows_nothing_the_second_time() {
    let mut house = House::on_loopback();
    let tag = alices_key().tag();
    let stream = connect(house.address).await;
    let bobs_end = handshake_as(tag.server_name(), stream, bobs_config()).await.unwrap();
    assert_eq!(house.link().await.admitted, Admitted::Friend(bob().device_id()));
    drop(bobs_end);
    assert_dark(&mut house, tag.server_name()).await;
    let capitals = tag.to_text().to_uppercase();
    assert_dark(&mut house, capitals.try_into().unwrap()).await;
    // The same listener, and what it remembers, on another port.
    house.listener.rebind(&on_loopback()).await.unwrap();
    house.address = addresses(&house.listener)[0];
    assert_dark(&mut house, tag.server_name()).await;
}

#[tokio::test]
async fn a_tag_that_was_brought_by_another_way_is_used_up_at_the_door_and_the_other_way_round() {
    let mut house = House::on_loopback();
    let tag = alices_key().tag();
    assert!(house.listener.recognises(&tag), "somebody serves a connection that did not come in here");
    assert!(!house.listener.recognises(&tag));
    assert_dark(&mut house, tag.server_name()).await;
    let tag = alices_key().tag();
    let stream = connect(house.address).await;
    handshake_as(tag.server_name(), stream, bobs_config()).await.unwrap();
    assert!(!house.listener.recognises(&tag));
    assert!(!house.listener.recognises(&DialInTag::made_up()));
}

#[tokio::test]
async fn a_tag_that_was_seen_on_its_way_is_used_up_also_if_its_handshake_was_never_done() {
    let mut house = House::on_loopback();
    let tag = alices_key().tag();
    let mut stream = connect(house.address).await;
    let (_client, hello) = client_hello(tag.server_name());
    tokio::io::AsyncWriteExt::write_all(&mut stream, &hello).await.unwrap();
    assert_eq!(tokio::io::AsyncReadExt::read_u8(&mut stream).await.unwrap(), 0x16);
    assert_dark(&mut house, tag.server_name()).await;
}

#[tokio::test]
async fn all_strangers_are_shown_the_same_and_two_listeners_have_nothing_in_common() {
    let (one, other) = (House::on_loopback(), House::on_loopback());
    let first = shown(&one, placeholder_name()).await;
    assert_eq!(first, shown(&one, DialInTag::made_up().server_name()).await);
    assert_ne!(first, shown(&other, placeholder_name()).await);
}

#[tokio::test]
async fn whoever_has_the_tag_of_an_invite_alone_is_no_friend() {
    let mut house = House::on_loopback();
    let tag = invite_key().dial_in_key().tag();
    let stream = connect(house.address).await;
    let config = tls::client_config(&mallory(), alice().device_id());
    let mut stream = handshake_as(tag.server_name(), stream, config).await.unwrap();
    let refused = tokio::io::AsyncReadExt::read_u8(&mut stream).await.unwrap_err();
    assert_eq!(explain_io(&refused), Some(TlsRefusal::RefusedByPeer));
    house.assert_nobody_was_let_in();
}
