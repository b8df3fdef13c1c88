//! Strangers by the hundred, and a friend among them.

use std::time::Duration;

use kith_identity::tls::placeholder_name;
use kith_listener::limits::{MAX_HANDSHAKES, MAX_SILENT_PER_PREFIX};
use rustls::ClientConnection;
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
    // Bob, who calls meanwhile, is silent for a moment, too, and takes the place of the next one.
    house.has_taken_in_all().await;
    assert_eq!(read_all(&mut crowd[3]).await, "");
    house.assert_says_nothing(&crowd[4]).await;
}

#[tokio::test]
async fn a_friend_gets_in_although_strangers_keep_every_place_busy() {
    let _frozen = freeze_time();
    let mut house = House::on_loopback();
    let mut stalled = Vec::new();
    for number in 0..MAX_HANDSHAKES + 20 {
        let mut client = ClientConnection::new(bobs_config(), placeholder_name()).unwrap();
        let mut hello = Vec::new();
        client.write_tls(&mut hello).unwrap();
        let mut stream = connect(house.address).await;
        stream.write_all(&hello).await.unwrap();
        if number < MAX_HANDSHAKES {
            assert_eq!(stream.read_u8().await.unwrap(), 0x16, "the answer to a ClientHello");
        }
        stalled.push(stream);
    }
    let bob_is_in = house.assert_bob_gets_in();
    let time_passes = advance(2 * 2000);
    tokio::join!(bob_is_in, time_passes);
}
