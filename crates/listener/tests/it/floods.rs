//! Strangers by the hundred, and a friend among them.

use std::sync::Arc;
use std::time::Duration;

use kith_identity::tls;
use kith_identity::tls::placeholder_name;
use kith_listener::limits::MAX_SILENT_PER_PREFIX;
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
    let _frozen = freeze_time();
    let mut house = House::on_loopback();
    let _crowd = silent_crowd(&house, 200).await;
    let begun = Instant::now();
    house.assert_bob_gets_in().await;
    assert_eq!(begun.elapsed(), Duration::ZERO, "he waits for something");
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

/// Those who were told a key, and call with tags that were never used, and stall.
#[derive(Default)]
struct Stalled(Vec<TcpStream>);

impl Stalled {
    async fn one_more(&mut self, ip: [u8; 4], house: &House) {
        let mut stream = connect_from(ip, house.address).await;
        // Whoever is turned away may hear it before he has said all.
        drop(stream.write_all(&client_hello(alices_key().tag().server_name()).1).await);
        self.0.push(stream);
        if self.0.len() > 400 {
            // Long since turned away: the first have places, the last wait.
            self.0.remove(100);
        }
    }
}

#[tokio::test]
async fn a_friend_gets_in_while_others_with_a_key_call_a_thousand_times_and_stall() {
    let _frozen = freeze_time();
    let mut house = House::on_loopback();
    let mut stalled = Stalled::default();
    for number in 0_u16..1000 {
        stalled.one_more([127, 9, 9, 1], &house).await;
        if number % 100 == 99 {
            house.has_taken_in_all().await;
            // No time passes, and nobody was ever here from there.
            house.assert_bob_gets_in_from([127, 10, number.to_be_bytes()[1], 1]).await;
        }
    }
    house.assert_nobody_was_let_in();
}

#[tokio::test]
async fn a_friend_who_was_here_lately_gets_in_while_others_with_a_key_call_from_everywhere() {
    let _frozen = freeze_time();
    let mut house = House::on_loopback();
    house.assert_bob_gets_in_from([127, 0, 0, 5]).await;
    let mut stalled = Stalled::default();
    for number in 0_u16..1000 {
        let [high, low] = number.to_be_bytes();
        stalled.one_more([127, high + 100, low, 1], &house).await;
        if number % 100 == 99 {
            house.assert_bob_gets_in_from([127, 0, 0, 5]).await;
        }
    }
    // From elsewhere he waits for one who takes too long.
    let elsewhere = house.assert_bob_gets_in_from([127, 90, 0, 1]);
    let time_passes = async {
        loop {
            advance(10).await;
            // What is under way in the kernel needs some time of its own.
            let moment = || std::thread::sleep(Duration::from_millis(1));
            tokio::task::spawn_blocking(moment).await.unwrap();
        }
    };
    tokio::select! {
        () = elsewhere => {}
        () = time_passes => {}
    }
    house.assert_nobody_was_let_in();
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
