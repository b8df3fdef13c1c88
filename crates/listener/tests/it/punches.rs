//! A friend's half of a punch comes to the listener.

use std::net::SocketAddr;
use std::time::Duration;

use kith_listener::limits::{GREETING_AFTER, MAX_AWAITED, SILENT_PUNCH};
use kith_listener::{AwaitError, ListenerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::support::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// A socket of Bob's that has a port and is not connected yet.
fn bobs_socket(ip: &str) -> (TcpSocket, SocketAddr) {
    let ip: std::net::IpAddr = ip.parse().unwrap();
    let socket = if ip.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.unwrap();
    socket.bind(SocketAddr::new(ip, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

type Arriving = mpsc::Receiver<(TcpStream, SocketAddr)>;

async fn arrival(arriving: &mut Arriving) -> (TcpStream, SocketAddr) {
    timeout(PATIENCE, arriving.recv()).await.unwrap().unwrap()
}

#[tokio::test]
async fn what_comes_from_where_a_punch_is_awaited_is_handed_out_and_not_a_byte_is_said() {
    let mut house = House::on_loopback();
    let (socket, from) = bobs_socket("127.0.0.1");
    let (to, mut arriving) = mpsc::channel(1);
    let _guard = house.listener.await_punch(from, to).unwrap();
    let mut bobs_end = socket.connect(house.address).await.unwrap();
    let (mut ours, remote) = arrival(&mut arriving).await;
    assert_eq!((remote, ours.local_addr().unwrap()), (from, house.address));
    assert_words_pass(&mut ours, &mut bobs_end).await;
    // Long after it would have been greeted.
    tokio::time::sleep(GREETING_AFTER + Duration::from_millis(100)).await;
    assert_eq!(bobs_end.try_read(&mut [0; 1]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    house.assert_nobody_was_let_in();
    house.assert_bob_gets_in().await;
}

#[tokio::test]
async fn a_punch_is_awaited_by_ipv6_too() {
    if !has_ipv6() {
        return;
    }
    let house = House::open(&ListenerConfig { bind: vec![loopback_v6()], ..on_loopback() });
    let (socket, from) = bobs_socket("::1");
    let (to, mut arriving) = mpsc::channel(1);
    let _guard = house.listener.await_punch(from, to).unwrap();
    let _bobs_end = socket.connect(house.address).await.unwrap();
    assert_eq!(arrival(&mut arriving).await.1, from);
}

#[tokio::test]
async fn who_was_translated_otherwise_is_known_by_his_silence_and_whoever_speaks_is_served() {
    let mut house = House::on_loopback();
    let (_socket, from) = bobs_socket("127.0.0.1");
    let (to, mut arriving) = mpsc::channel(4);
    let _guard = house.listener.await_punch(from, to).unwrap();
    // Two friends may live behind one address.
    house.assert_bob_gets_in().await;
    let mut person = connect(house.address).await;
    person.write_all(b"HEAD / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = [0; 8];
    timeout(PATIENCE, person.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1");
    assert!(arriving.try_recv().is_err());

    // However long this takes, nobody is greeted for his silence.
    let quiet = ListenerConfig { port: house.address.port(), greeting: false, ..on_loopback() };
    house.listener.rebind(&quiet).await.unwrap();
    let begun = std::time::Instant::now();
    let silent = connect(house.address).await;
    let (_ours, remote) = arrival(&mut arriving).await;
    assert_eq!(remote, silent.local_addr().unwrap());
    assert!(begun.elapsed() >= SILENT_PUNCH);
    let elsewhere = connect_from([127, 0, 0, 2], house.address).await;
    house.assert_says_nothing(&elsewhere).await;
    assert!(arriving.try_recv().is_err());
}

#[tokio::test]
async fn whoever_was_there_first_is_handed_out_when_the_wait_begins_unless_he_has_spoken() {
    let _frozen = freeze_time();
    let mut house = House::on_loopback();
    let (to, mut arriving) = mpsc::channel(4);
    let [(early, from), (speaks, speaker)] = [0, 1].map(|_| bobs_socket("127.0.0.1"));
    let mut early = early.connect(house.address).await.unwrap();
    let mut speaks = speaks.connect(house.address).await.unwrap();
    speaks.write_all(b"GE").await.unwrap();
    house.has_taken_in_all().await;
    let _guards = [speaker, from].map(|from| house.listener.await_punch(from, to.clone()).unwrap());
    let (mut ours, remote) = arrival(&mut arriving).await;
    assert_eq!(remote, from);
    assert_words_pass(&mut ours, &mut early).await;
    speaks.write_all(b"T / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = [0; 8];
    timeout(PATIENCE, speaks.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1");
    assert!(arriving.try_recv().is_err());
}

#[tokio::test]
async fn who_is_not_awaited_any_more_is_served_as_ever() {
    let mut house = House::on_loopback();
    let (socket, from) = bobs_socket("127.0.0.1");
    let (to, mut arriving) = mpsc::channel(1);
    drop(house.listener.await_punch(from, to).unwrap());
    let mut person = socket.connect(house.address).await.unwrap();
    assert_eq!(read_line(&mut person).await, greeting_for(&person));
    assert!(arriving.try_recv().is_err());
    house.assert_nobody_was_let_in();
}

#[tokio::test]
async fn no_more_punches_are_awaited_than_there_are_places() {
    let house = House::on_loopback();
    let (to, _arriving) = mpsc::channel(1);
    let from = |port| SocketAddr::from(([11, 0, 0, 1], port));
    let mut guards: Vec<_> =
        (1..=64).map(|port| house.listener.await_punch(from(port), to.clone()).unwrap()).collect();
    assert_eq!(guards.len(), MAX_AWAITED);
    assert_eq!(house.listener.await_punch(from(65), to.clone()).unwrap_err(), AwaitError);
    guards.pop();
    house.listener.await_punch(from(65), to).unwrap();
}
