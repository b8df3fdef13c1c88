//! Strangers by the hundred, and a friend among them.

use std::sync::Arc;
use std::time::Duration;

use kith_identity::tls;
use kith_identity::tls::placeholder_name;
use kith_listener::limits::{MAX_KNOWN, MAX_SILENT_PER_PREFIX};
use rustls::{ClientConfig, ClientConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::support::*;

async fn silent_crowd(house: &House, size: usize) -> Vec<TcpStream> {
    let mut crowd = Vec::new();
    for _ in 0..size {
        crowd.push(connect(house.address).await);
    }
    crowd
}

#[tokio::test]
async fn a_friend_gets_in_at_once_beside_two_hundred_silent_connections_from_the_same_address() {
    let mut house = House::on_loopback();
    let _crowd = silent_crowd(&house, 200).await;
    let begun = Instant::now();
    house.assert_bob_gets_in().await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn the_oldest_silent_connections_of_a_crowded_prefix_are_closed() {
    let _frozen = freeze_time();
    let mut house = House::on_loopback();
    let mut crowd = silent_crowd(&house, MAX_SILENT_PER_PREFIX + 3).await;
    for stream in &mut crowd[..3] {
        assert_eq!(read_all(stream).await, "");
    }
    // Bob, who calls meanwhile, may be silent for a moment, too, and take the place of the next one.
    house.has_taken_in_all().await;
    house.assert_says_nothing(&crowd[10]).await;
}

#[tokio::test]
async fn a_friend_gets_in_although_strangers_keep_every_place_busy() {
    let _frozen = freeze_time();
    let mut house = House::on_loopback();
    let stalled = strangers_everywhere(house.address).await;
    // No time passes: he doesn't wait for any of their places.
    house.assert_bob_gets_in().await;
    let mut late = connect_from([127, 200, 0, 1], house.address).await;
    late.write_all(&client_hello(placeholder_name()).1).await.unwrap();
    assert_eq!(read_all_or_reset(&mut late).await, b"", "no place for one more stranger");
    drop(stalled);
    house.assert_nobody_was_let_in();
}

#[tokio::test]
async fn strangers_who_stall_make_room_for_others_after_two_seconds() {
    let _frozen = freeze_time();
    let mut house = House::on_loopback();
    let _stalled = strangers_everywhere(house.address).await;
    advance(2010).await;
    // Each who is turned away ends one of them.
    let mut served = 0;
    for number in 0..200 {
        let mut stream = connect_from([127, 200, number, 1], house.address).await;
        stream.write_all(&client_hello(placeholder_name()).1).await.unwrap();
        served += u32::from(matches!(stream.read_u8().await, Ok(0x16)));
    }
    assert!(served > 20, "{served} of 200 were served");
    house.assert_nobody_was_let_in();
}

#[tokio::test]
async fn a_friend_gets_in_although_others_with_a_tag_keep_every_place_busy() {
    let _frozen = freeze_time();
    let mut house = House::on_loopback();
    let mut stalled = Vec::new();
    for number in 0..MAX_KNOWN + 20 {
        let mut stream = connect(house.address).await;
        stream.write_all(&client_hello(alices_key().tag().server_name()).1).await.unwrap();
        if number < MAX_KNOWN {
            assert_eq!(stream.read_u8().await.unwrap(), 0x16, "the answer to a ClientHello");
        }
        stalled.push(stream);
    }
    let bob_is_in = house.assert_bob_gets_in();
    let time_passes = advance(2 * 2000);
    tokio::join!(bob_is_in, time_passes);
}

/// How many of these strangers, one after the other, are answered at all.
async fn answered(house: &House, ip: [u8; 4], count: usize) -> usize {
    let mut answered = 0;
    for _ in 0..count {
        let stream = connect_from(ip, house.address).await;
        let done = handshake_as(placeholder_name(), stream, tls::probe_client_config(&mallory())).await;
        answered += usize::from(done.is_ok());
    }
    answered
}

#[tokio::test]
async fn who_fails_too_often_is_not_answered_for_a_while_but_a_friend_beside_him_is() {
    let _frozen = freeze_time();
    let mut house = House::on_loopback();
    assert_eq!(answered(&house, [127, 0, 0, 1], 40).await, 32);
    assert_eq!(
        answered(&house, [127, 0, 0, 99], 1).await,
        0,
        "the neighbour of an offender counts as he does"
    );
    assert_eq!(answered(&house, [127, 0, 9, 1], 1).await, 1, "others don't");
    let mut browser = connect(house.address).await;
    let mut config = ClientConfig::clone(&bobs_config());
    config.alpn_protocols = vec![b"h2".to_vec()];
    let mut client = ClientConnection::new(Arc::new(config), placeholder_name()).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    browser.write_all(&hello).await.unwrap();
    assert_eq!(read_all_or_reset(&mut browser).await, b"", "not even an alert");
    // A person who types, and a friend, come from the same address.
    let mut person = connect(house.address).await;
    person.write_all(b"hello\r\n").await.unwrap();
    assert_eq!(read_all(&mut person).await, greeting_for(&person));
    for _ in 0..40 {
        house.assert_bob_gets_in().await;
    }
    advance(120_000).await;
    assert_eq!(answered(&house, [127, 0, 0, 1], 1).await, 1, "it is forgotten");
}
