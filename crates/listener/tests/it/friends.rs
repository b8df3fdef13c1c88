//! Who is let in, and how the others are told.

use std::sync::Arc;
use std::time::Duration;

use kith_identity::tls::{self, Admitted, TlsRefusal, explain_io};
use kith_listener::ListenerConfig;
use rustls::{ClientConfig, ClientConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use crate::support::*;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_friend_is_handed_over_with_both_addresses_and_a_tuned_socket() {
    let mut house = House::on_loopback();
    let (link, bobs_end) = house.assert_bob_gets_in().await;
    assert_eq!(link.local, house.address);
    assert_eq!(link.remote, bobs_end.get_ref().0.local_addr().unwrap());
    let socket = link.stream.get_ref().0;
    assert!(socket.nodelay().unwrap());
    assert!(socket2::SockRef::from(socket).keepalive().unwrap());
    #[cfg(target_os = "linux")]
    assert_eq!(socket2::SockRef::from(socket).tcp_user_timeout().unwrap(), Some(30 * SECOND));
}

#[tokio::test]
async fn a_friend_gets_in_by_ipv6() {
    if !has_ipv6() {
        return;
    }
    let mut house = House::open(&ListenerConfig { bind: vec![loopback_v6()], ..on_loopback() });
    assert!(house.address.is_ipv6());
    let (link, _bobs_end) = house.assert_bob_gets_in().await;
    assert_eq!(link.remote.ip(), loopback_v6());

    let mut stream = connect(house.address).await;
    stream.write_all(b"hello\r\n").await.unwrap();
    let text = read_all(&mut stream).await;
    assert!(text.starts_with("this port is open; you come from [::1]:"), "{text}");
}

#[tokio::test]
async fn whoever_holds_an_open_invite_is_handed_over_as_such() {
    let mut house = House::on_loopback();
    let config = tls::join_client_config(&invite_key(), alice().device_id());
    let tag = invite_key().dial_in_key().tag();
    let mut joiner = handshake_as(tag.server_name(), connect(house.address).await, config).await.unwrap();
    let mut link = house.link().await;
    assert_eq!(link.admitted, Admitted::Invite(invite_key().id()));
    assert_words_pass(&mut joiner, &mut link.stream).await;
}

#[tokio::test]
async fn a_client_hello_that_is_held_up_for_five_seconds_still_connects() {
    let _frozen = freeze_time();
    let mut house = House::on_loopback();
    let mut stream = connect(house.address).await;
    house.has_taken_in_all().await;
    advance(5000).await;
    assert_eq!(read_line(&mut stream).await, greeting_for(&stream));
    let mut bobs_end = handshake(stream, bobs_config()).await.unwrap();
    let mut link = house.link().await;
    assert_words_pass(&mut bobs_end, &mut link.stream).await;
}

#[tokio::test]
async fn a_client_hello_that_comes_in_small_pieces_still_connects() {
    let _frozen = freeze_time();
    let mut house = House::on_loopback();
    let (mut client, hello) = client_hello(alices_key().tag().server_name());
    let mut stream = connect(house.address).await;
    stream.set_nodelay(true).unwrap();
    for piece in hello.chunks(hello.len() / 7 + 1) {
        stream.write_all(piece).await.unwrap();
        house.has_taken_in_all().await;
        advance(1000).await;
    }
    assert_eq!(finish(&mut client, &mut stream).await, None);
    assert_eq!(house.link().await.admitted, Admitted::Friend(bob().device_id()));
}

/// Drives the client's side of the handshake; what ends it early is returned.
async fn finish(client: &mut ClientConnection, stream: &mut TcpStream) -> Option<rustls::Error> {
    loop {
        let mut out = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut out).unwrap();
        }
        stream.write_all(&out).await.unwrap();
        if !client.is_handshaking() {
            return None;
        }
        let mut bytes = vec![0; 16 * 1024];
        let length = timeout(20 * SECOND, stream.read(&mut bytes)).await.unwrap().unwrap();
        assert_ne!(length, 0, "closed in the handshake");
        client.read_tls(&mut &bytes[..length]).unwrap();
        if let Err(error) = client.process_new_packets() {
            return Some(error);
        }
    }
}

/// What the dialer learns when it waits for the first answer.
async fn refusal(stream: std::io::Result<TlsStream<TcpStream>>) -> Option<TlsRefusal> {
    let error = match stream {
        Ok(mut stream) => timeout(20 * SECOND, stream.read_u8()).await.unwrap().unwrap_err(),
        Err(error) => error,
    };
    explain_io(&error)
}

#[tokio::test]
async fn whoever_is_recognised_and_no_friend_is_refused_and_told_so() {
    let mut house = House::on_loopback();
    let config = tls::client_config(&mallory(), alice().device_id());
    assert_eq!(refusal(call(house.address, config).await).await, Some(TlsRefusal::RefusedByPeer));
    house.assert_nobody_was_let_in();
}

#[tokio::test]
async fn whoever_is_refused_and_talks_on_gets_the_alert_and_not_a_reset() {
    let mut house = House::on_loopback();
    for turn in 0..40 {
        let mut stream = if turn % 2 == 0 {
            call(house.address, tls::client_config(&mallory(), alice().device_id())).await.unwrap()
        } else {
            call_as_stranger(house.address, tls::probe_client_config(&mallory())).await.unwrap()
        };
        stream.write_all(&[0; 30_000]).await.unwrap();
        assert_eq!(refusal(Ok(stream)).await, Some(TlsRefusal::RefusedByPeer));
    }
    house.assert_nobody_was_let_in();
}

#[tokio::test]
async fn other_protocols_and_the_wrong_one_are_refused() {
    let mut house = House::on_loopback();
    let mut config = ClientConfig::clone(&bobs_config());
    config.alpn_protocols = vec![b"h2".to_vec()];
    assert_eq!(
        refusal(call(house.address, Arc::new(config)).await).await,
        Some(TlsRefusal::NoCommonProtocol)
    );

    let mut config = ClientConfig::clone(&bobs_config());
    config.alpn_protocols = vec![tls::ALPN_JOIN.to_vec()];
    let mut stream = call(house.address, Arc::new(config)).await.unwrap();
    assert!(timeout(20 * SECOND, stream.read_u8()).await.unwrap().is_err());
    house.assert_nobody_was_let_in();
}

#[tokio::test]
async fn a_handshake_that_stalls_ends_at_the_deadline() {
    let _frozen = freeze_time();
    let mut house = House::on_loopback();
    let (_client, hello) = client_hello(alices_key().tag().server_name());
    let mut stream = connect(house.address).await;
    stream.write_all(&hello).await.unwrap();
    let mut answer = vec![0; 64 * 1024];
    assert_ne!(stream.read(&mut answer).await.unwrap(), 0);
    advance(9990).await;
    house.has_taken_in_all().await;
    advance(20).await;
    stream.read_to_end(&mut answer).await.unwrap();
    house.assert_nobody_was_let_in();
}

#[tokio::test]
async fn half_a_client_hello_is_waited_for_until_the_deadline_and_no_longer_than_it_can_come() {
    let _frozen = freeze_time();
    let mut house = House::on_loopback();
    let half = [0x16, 3, 1, 2, 0, 1, 0];
    let mut stream = connect(house.address).await;
    stream.write_all(&half).await.unwrap();
    house.has_taken_in_all().await;
    advance(9990).await;
    house.assert_says_nothing(&stream).await;
    advance(20).await;
    assert_eq!(read_all_or_reset(&mut stream).await, b"");

    let mut stream = connect(house.address).await;
    stream.write_all(&half).await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(read_all_or_reset(&mut stream).await, b"");
}
