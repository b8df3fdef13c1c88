//! A friend brings a nonce from outside.

use std::time::Duration;

use kith_identity::DialBackNonce;
use kith_listener::limits::MAX_EXPECTED;
use kith_listener::{Arrival, ExpectError, Expected, ListenerConfig};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::*;

const PATIENCE: Duration = Duration::from_secs(20);

fn hello(nonce: DialBackNonce) -> Vec<u8> {
    nonce.client_hello().unwrap()
}

/// Brings a nonce as a friend does: one ClientHello, then nothing more.
async fn bring(house: &House, nonce: DialBackNonce) -> TcpStream {
    let mut stream = connect(house.address).await;
    stream.write_all(&hello(nonce)).await.unwrap();
    stream.shutdown().await.unwrap();
    stream
}

async fn arrival(expected: &mut Expected) -> Arrival {
    timeout(PATIENCE, expected.arrived()).await.unwrap()
}

/// Asserts that nothing has arrived, given that everything sent before has been taken in.
async fn assert_nothing_arrived(expected: &mut Expected) {
    let told = without_waiting(expected.arrived()).await;
    assert_eq!(told, None);
}

/// What a future gives without being waited for.
async fn without_waiting<F: Future>(future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}

#[tokio::test]
async fn a_nonce_is_told_with_both_addresses_and_gets_no_answer() {
    let mut house = House::on_loopback();
    let nonce = DialBackNonce::generate();
    let mut expected = house.listener.expect(nonce).unwrap();
    let mut stream = bring(&house, nonce).await;
    let told = arrival(&mut expected).await;
    assert_eq!(told, Arrival { remote: stream.local_addr().unwrap(), local: house.address });
    // An orderly end: a reset would be an error here.
    assert_eq!(read_all(&mut stream).await, "");
    house.assert_nobody_was_let_in();
    house.assert_bob_gets_in().await;
}

#[tokio::test]
async fn a_nonce_arrives_by_ipv6() {
    if !has_ipv6() {
        return;
    }
    let house = House::open(&ListenerConfig { bind: vec![loopback_v6()], ..on_loopback() });
    let nonce = DialBackNonce::generate();
    let mut expected = house.listener.expect(nonce).unwrap();
    let stream = bring(&house, nonce).await;
    assert_eq!(arrival(&mut expected).await.remote, stream.local_addr().unwrap());
}

#[tokio::test]
async fn a_nonce_is_told_each_time_it_comes_and_among_others() {
    let house = House::on_loopback();
    let (one, other) = (DialBackNonce::generate(), DialBackNonce::generate());
    let mut ones = house.listener.expect(one).unwrap();
    let mut others = house.listener.expect(other).unwrap();
    for _ in 0..2 {
        let stream = bring(&house, one).await;
        assert_eq!(arrival(&mut ones).await.remote, stream.local_addr().unwrap());
    }
    assert_nothing_arrived(&mut others).await;
    let stream = bring(&house, other).await;
    assert_eq!(arrival(&mut others).await.remote, stream.local_addr().unwrap());
}

#[tokio::test]
async fn a_nonce_that_comes_in_pieces_and_after_the_greeting_still_arrives() {
    let _frozen = freeze_time();
    let mut house = House::on_loopback();
    let nonce = DialBackNonce::generate();
    let mut expected = house.listener.expect(nonce).unwrap();
    let mut stream = connect(house.address).await;
    stream.set_nodelay(true).unwrap();
    house.has_taken_in_all().await;
    advance(2010).await;
    assert_eq!(read_line(&mut stream).await, greeting_for(&stream));
    let bytes = hello(nonce);
    // As the segments of a small MTU, of which the second is late.
    for piece in [&bytes[..600], &bytes[600..bytes.len() - 1], &bytes[bytes.len() - 1..]] {
        assert_nothing_arrived(&mut expected).await;
        stream.write_all(piece).await.unwrap();
        house.has_taken_in_all().await;
        advance(1000).await;
    }
    assert_eq!(arrival(&mut expected).await.remote, stream.local_addr().unwrap());
}

#[tokio::test]
async fn half_a_nonce_is_nothing() {
    let mut house = House::on_loopback();
    let nonce = DialBackNonce::generate();
    let mut expected = house.listener.expect(nonce).unwrap();
    let bytes = hello(nonce);
    let mut stream = connect(house.address).await;
    stream.write_all(&bytes[..bytes.len() - 1]).await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(read_all_or_reset(&mut stream).await, b"");
    house.has_taken_in_all().await;
    assert_nothing_arrived(&mut expected).await;
}

#[tokio::test]
async fn a_nonce_that_nobody_waits_for_makes_a_stranger_like_any_other() {
    let mut house = House::on_loopback();
    let mut expected = house.listener.expect(DialBackNonce::generate()).unwrap();
    let mut stream = bring(&house, DialBackNonce::generate()).await;
    assert_taken_for_a_stranger(&mut stream).await;
    assert_nothing_arrived(&mut expected).await;
    house.assert_nobody_was_let_in();
}

#[tokio::test]
async fn a_nonce_that_is_replayed_after_the_guard_was_dropped_tells_nothing() {
    let house = House::on_loopback();
    let nonce = DialBackNonce::generate();
    let mut expected = house.listener.expect(nonce).unwrap();
    let mut stream = bring(&house, nonce).await;
    arrival(&mut expected).await;
    assert_eq!(read_all(&mut stream).await, "");
    drop(expected);

    let mut stream = bring(&house, nonce).await;
    assert_taken_for_a_stranger(&mut stream).await;
    let mut expected = house.listener.expect(nonce).unwrap();
    assert_nothing_arrived(&mut expected).await;
}

#[tokio::test]
async fn a_nonce_arrives_at_a_port_that_was_bound_after_it_was_asked_for() {
    let mut house = House::on_loopback();
    let nonce = DialBackNonce::generate();
    let mut expected = house.listener.expect(nonce).unwrap();
    let old = house.address;
    house.listener.rebind(&ListenerConfig { greeting: false, ..on_loopback() }).await.unwrap();
    house.address = addresses(&house.listener)[0];
    assert_ne!(house.address, old);
    bring(&house, nonce).await;
    assert_eq!(arrival(&mut expected).await.local, house.address);
}

#[tokio::test]
async fn a_nonce_needs_no_place_among_the_handshakes() {
    let _frozen = freeze_time();
    let house = House::on_loopback();
    let _stalled = strangers_everywhere(house.address).await;
    let nonce = DialBackNonce::generate();
    let mut expected = house.listener.expect(nonce).unwrap();
    bring(&house, nonce).await;
    arrival(&mut expected).await;
}

#[tokio::test]
async fn whoever_brings_a_nonce_and_goes_on_talking_is_not_listened_to_for_long() {
    let house = House::on_loopback();
    let nonce = DialBackNonce::generate();
    let mut expected = house.listener.expect(nonce).unwrap();
    let mut stream = connect(house.address).await;
    stream.write_all(&hello(nonce)).await.unwrap();
    arrival(&mut expected).await;
    let talk = async {
        let bytes = [0x17; 16 * 1024];
        let mut taken = 0_usize;
        while stream.write_all(&bytes).await.is_ok() {
            taken += bytes.len();
        }
        taken
    };
    let taken = timeout(PATIENCE, Box::pin(talk)).await.unwrap();
    // Buffers of both kernels are in it.
    assert!(taken < 16 * 1024 * 1024, "{taken} bytes were taken");
}

#[tokio::test]
async fn no_more_nonces_are_waited_for_than_the_limit_says() {
    let house = House::on_loopback();
    let nonces: Vec<DialBackNonce> = (0..=MAX_EXPECTED).map(|_| DialBackNonce::generate()).collect();
    let mut guards: Vec<Expected> =
        nonces[1..].iter().map(|nonce| house.listener.expect(*nonce).unwrap()).collect();
    assert_eq!(house.listener.expect(nonces[0]).unwrap_err(), ExpectError::TooMany);
    assert_eq!(house.listener.expect(nonces[1]).unwrap_err(), ExpectError::Twice);
    guards.pop();
    let mut expected = house.listener.expect(nonces[0]).unwrap();
    bring(&house, nonces[0]).await;
    arrival(&mut expected).await;
}
