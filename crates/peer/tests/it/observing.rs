//! From where a port is seen, by whom, and how often in a row.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http::{Method, Request, StatusCode};
use kith_identity::Identity;
use kith_peer::reach::{Observation, ObserveError, PunchPort, observe};
use kith_peer::{Asker, DialError, FixedPortRefusal, Outbound, OutboundRules};
use kith_wire::{Observed, RENDEZVOUS_LIMIT, collect, empty_body, paths};

use crate::support::*;

/// Without a key: the doors here know no tags.
fn asker<'a>(identity: &'a Identity, outbound: &'a Outbound) -> Asker<'a> {
    Asker { identity, keys: &[], outbound }
}

fn fresh(ip: &str) -> PunchPort {
    PunchPort::fresh(ip.parse().unwrap(), &[20_000..=29_999]).unwrap()
}

/// The same port of both families, IPv6 first: others may have it of one alone.
fn fresh_pair() -> (PunchPort, PunchPort) {
    let drawn = || {
        let v6 = fresh("::");
        let number = v6.address().port();
        PunchPort::fresh("0.0.0.0".parse().unwrap(), &[number..=number]).ok().map(|v4| (v6, v4))
    };
    (0..100).find_map(|_| drawn()).expect("no port is free of both families")
}

/// Bob, who lets Alice in at this address of his.
async fn bob_and_his_door(ip: &str) -> (Computer, SocketAddr) {
    let mut bob = Computer::new(2);
    let alice = identity(1).device_id();
    bob.befriend(alice, &[]);
    let address = bob.listen(ip, alice).await;
    (bob, address)
}

async fn ask(bob: &Computer, at: SocketAddr, port: &PunchPort) -> Result<Observation, ObserveError> {
    let (alice, outbound) = (identity(1), Outbound::default());
    Box::pin(observe(asker(&alice, &outbound), bob.id(), at, port, PATIENCE)).await
}

#[tokio::test]
async fn a_port_is_seen_where_it_is_and_again_at_once_when_the_question_is_over() {
    let (bob, at) = bob_and_his_door("127.0.0.1").await;
    let port = fresh("127.0.0.1");
    let begun = Instant::now();
    for _ in 0..20 {
        let observation = ask(&bob, at, &port).await.unwrap();
        assert_eq!(observation.address(), port.address());
        observation.end().await;
    }
    // No end of it has waited out a minute.
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_dropped_question_is_soon_out_of_the_way_and_one_that_stands_is_named() {
    let (bob, at) = bob_and_his_door("127.0.0.1").await;
    let port = fresh("127.0.0.1");
    drop(ask(&bob, at, &port).await.unwrap());
    let stands = ask(&bob, at, &port).await.unwrap();
    match ask(&bob, at, &port).await.unwrap_err() {
        ObserveError::Collision { port: named, at: there } => {
            assert_eq!((named, there), (port.address().port(), at));
        }
        other => panic!("{other}"),
    }
    assert_eq!(stands.address(), port.address());
    // Elsewhere the same port is free.
    let (other, elsewhere) = bob_and_his_door("127.0.0.2").await;
    assert_eq!(ask(&other, elsewhere, &port).await.unwrap().address(), port.address());
}

#[tokio::test]
async fn a_port_is_seen_by_ipv6_beside_the_same_port_of_ipv4() {
    if !has_ipv6() {
        return;
    }
    let (port, beside) = fresh_pair();
    let number = port.address().port();
    let (bob, at) = bob_and_his_door("::1").await;
    let observed = ask(&bob, at, &port).await.unwrap().address();
    assert_eq!(observed, SocketAddr::new("::1".parse().unwrap(), number));
    let (bob, at) = bob_and_his_door("127.0.0.1").await;
    assert_eq!(ask(&bob, at, &beside).await.unwrap().address().port(), number);
}

#[tokio::test]
async fn the_listeners_port_is_seen_beside_the_listener() {
    let (bob, at) = bob_and_his_door("127.0.0.1").await;
    // As the listener does: nobody else may have the port, and sockets of our own may share it.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket2::SockRef::from(&listener).set_reuse_port(true).unwrap();
    let port = PunchPort::of_listener(listener.local_addr().unwrap());
    assert_eq!(ask(&bob, at, &port).await.unwrap().address(), port.address());

    let anothers = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = PunchPort::of_listener(anothers.local_addr().unwrap());
    let error = ask(&bob, at, &port).await.unwrap_err();
    assert!(matches!(error, ObserveError::Port { .. }), "{error}");
}

#[tokio::test]
async fn nothing_is_asked_where_the_settings_make_it_worthless_or_forbid_it() {
    let (bob, at) = bob_and_his_door("127.0.0.1").await;
    let (alice, port) = (identity(1), fresh("127.0.0.1"));
    let number = port.address().port();
    let outbound = Outbound::new(OutboundRules { ports: Some(1..=2), ..OutboundRules::default() });
    let error = Box::pin(observe(asker(&alice, &outbound), bob.id(), at, &port, PATIENCE)).await.unwrap_err();
    let ObserveError::Refused { port: named, refusal } = error else { panic!("{error}") };
    assert_eq!((named, refusal), (number, FixedPortRefusal::OutgoingPorts { port: number, ports: 1..=2 }));
    outbound.set(OutboundRules { ports: Some(number..=number), ..OutboundRules::default() });
    Box::pin(observe(asker(&alice, &outbound), bob.id(), at, &port, PATIENCE)).await.unwrap();
}

#[tokio::test]
async fn another_computer_at_the_address_is_believed_nothing() {
    let (_bob, at) = bob_and_his_door("127.0.0.1").await;
    let (alice, outbound, port) = (identity(1), Outbound::default(), fresh("127.0.0.1"));
    let carol = identity(3).device_id();
    let error = Box::pin(observe(asker(&alice, &outbound), carol, at, &port, PATIENCE)).await.unwrap_err();
    let found = identity(2).device_id();
    assert!(
        matches!(error, ObserveError::Connect(DialError::OtherDevice { found: f }) if f == found),
        "{error}"
    );
}

#[tokio::test]
async fn on_a_link_the_dialer_is_told_where_he_comes_from_and_the_dialled_is_not() {
    let (alice, bob) = alice_and_bob().await;
    let ask = async |asking: &Computer, asked: &Computer, method: Method| {
        let request = Request::builder().method(method).uri(paths::OBSERVED).body(empty_body()).unwrap();
        asking.link_to(asked).await.request(request).await.unwrap()
    };
    let answer = ask(&alice, &bob, Method::GET).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let body = collect(answer.into_body(), RENDEZVOUS_LIMIT).await.unwrap();
    let observed: Observed = serde_json::from_slice(&body).unwrap();
    assert_eq!(observed.address(), Some(alice.connection_to(&bob).local));
    // What Alice dialled is no port that Bob's connections come from.
    assert_eq!(ask(&bob, &alice, Method::GET).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(ask(&alice, &bob, Method::POST).await.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_question_does_not_touch_the_link_of_the_same_two() {
    let (alice, mut bob) = alice_and_bob().await;
    let at = bob.listen("127.0.0.1", alice.id()).await;
    let link = alice.link_to(&bob).await;
    let before = alice.connection_to(&bob);
    let port = fresh("127.0.0.1");
    let observation = ask(&bob, at, &port).await.unwrap();
    assert_eq!(observation.address(), port.address());
    observation.end().await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!link.is_over());
    assert_eq!(alice.connection_to(&bob), before);
}
