use kith_identity::DialInKey;
use tokio::net::TcpListener;

use super::*;
use crate::outbound::{Mapped, OutboundRules};

const MORE: &[u8] = b"the first words of the other computer";

fn name() -> DialInTag {
    DialInKey::from_bytes([5; 32]).tag()
}

fn carrier() -> DeviceId {
    DeviceId::from_bytes([9; 32])
}

async fn relay() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// Reads one ClientHello, byte for byte, and says this; the name in it and the connection.
async fn answer(listener: &TcpListener, say: &[u8]) -> (Option<DialInTag>, TcpStream) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut header = [0; 5];
    stream.read_exact(&mut header).await.unwrap();
    let mut record = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
    stream.read_exact(&mut record).await.unwrap();
    let hello = [&header[..], &record].concat();
    let mut acceptor = rustls::server::Acceptor::default();
    acceptor.read_tls(&mut hello.as_slice()).unwrap();
    let accepted = acceptor.accept().unwrap_or_else(|_| panic!("not accepted")).unwrap();
    let tag = accepted.client_hello().server_name().and_then(DialInTag::from_server_name);
    stream.write_all(say).await.unwrap();
    (tag, stream)
}

/// What a leg comes to whose relay says this and stays.
async fn met(say: &[u8]) -> Result<TcpStream, LegError> {
    let (listener, address) = relay().await;
    let (outbound, carrier, name) = (Outbound::default(), carrier(), name());
    let (leg, _relays) =
        tokio::join!(leg(&outbound, &carrier, (&address, NamedBy::Others), &name), answer(&listener, say));
    leg
}

async fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = vec![0; MORE.len()];
    stream.read_exact(&mut bytes).await.unwrap();
    bytes
}

#[tokio::test]
async fn a_leg_brings_the_name_and_what_follows_the_word_stays_unread() {
    let (listener, address) = relay().await;
    let (outbound, carrier, name) = (Outbound::default(), carrier(), name());
    let say = [RELAY_READY, MORE].concat();
    let (leg, (tag, mut relays)) =
        tokio::join!(leg(&outbound, &carrier, (&address, NamedBy::Others), &name), answer(&listener, &say));
    assert_eq!(tag, Some(name));
    let mut leg = leg.unwrap();
    // The name was all that it said.
    leg.write_all(b"ours").await.unwrap();
    let mut heard = [0; 4];
    relays.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"ours");
    assert_eq!(rest(leg).await, MORE);
}

#[tokio::test]
async fn a_greeting_before_the_word_is_left_out() {
    let greeting = b"this port is open; you come from 203.0.113.5:40222\r\n";
    let leg = met(&[greeting, &RELAY_READY[..], MORE].concat()).await.unwrap();
    assert_eq!(rest(leg).await, MORE);
    let twice = met(&[greeting, &greeting[..], RELAY_READY].concat()).await;
    assert_eq!(twice.unwrap_err(), LegError::NotRelay);
}

#[tokio::test]
async fn what_is_no_relay_is_told_apart_from_one_that_refuses() {
    assert_eq!(met(b"\x15\x03\x03\x00\x02\x02\x28").await.unwrap_err(), LegError::Refused);
    assert_eq!(met(&[b'x'; 300]).await.unwrap_err(), LegError::NotRelay);
    assert_eq!(met(b"hello\r\nkith-off\r\n").await.unwrap_err(), LegError::NotRelay);

    let (listener, address) = relay().await;
    let (outbound, carrier, name) = (Outbound::default(), carrier(), name());
    let close = async { drop(answer(&listener, b"kith").await) };
    let (leg, ()) = tokio::join!(leg(&outbound, &carrier, (&address, NamedBy::Others), &name), close);
    assert_eq!(leg.unwrap_err(), LegError::Refused);
    drop(listener);
    let gone = super::leg(&outbound, &carrier, (&address, NamedBy::Others), &name).await;
    assert_eq!(gone.unwrap_err(), LegError::Connect(DialError::Refused));
}

#[tokio::test(start_paused = true)]
async fn the_other_one_is_waited_for_so_long_and_no_longer() {
    let begun = Instant::now();
    assert_eq!(met(b"kith").await.unwrap_err(), LegError::Alone(READY_TIMEOUT));
    assert_eq!(begun.elapsed().as_secs(), 15);
}

#[tokio::test]
async fn a_leg_goes_the_way_of_the_carriers_link() {
    let (listener, address) = relay().await;
    let rules =
        OutboundRules { mapped: vec![(Mapped::Friend(carrier()), address)], ..OutboundRules::default() };
    let (outbound, carrier, name) = (Outbound::new(rules), carrier(), name());
    // Where it is said to be, nobody is.
    let leg = leg(&outbound, &carrier, ("192.0.2.7:4242", NamedBy::Others), &name);
    let (leg, (tag, _relays)) = tokio::join!(leg, answer(&listener, RELAY_READY));
    assert!(leg.is_ok());
    assert_eq!(tag, Some(name));
}
