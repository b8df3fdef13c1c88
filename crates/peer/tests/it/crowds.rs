//! Somebody has a friend's key, and uses it to be in his way.

use std::time::{Duration, Instant};

use http::{Request, StatusCode};
use kith_identity::tls::{self, placeholder_name};
use kith_peer::{Host, Outbound, Visit, visit};
use kith_wire::{VISIT_CAPABILITY, empty_body};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::support::{Computer, PATIENCE, Silent, identity};

#[tokio::test]
async fn connections_that_say_no_hello_keep_out_no_other_of_the_same_computer() {
    let mut bob = Computer::new(2);
    let alice = Computer::new(1);
    bob.befriend(alice.id(), &[]);
    let address = bob.listen("127.0.0.1", alice.id()).await;
    let mut silent = Vec::new();
    for _ in 0..40 {
        let stream = TcpStream::connect(address).await.unwrap();
        let connector = TlsConnector::from(tls::client_config(&identity(1), bob.id()));
        silent.push(connector.connect(placeholder_name(), stream).await.unwrap());
    }
    let begun = Instant::now();
    alice.befriend(bob.id(), &[address]);
    alice.link_to(&bob).await;
    // They would have been given up after 10 s.
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

/// Whether the link of a visit still carries a request.
async fn is_served(visit: &Visit) -> bool {
    let request = Request::get("/kith/v1/nothing").body(empty_body()).unwrap();
    let answer = timeout(PATIENCE, visit.link.request(request)).await.unwrap();
    answer.is_ok_and(|answer| answer.status() == StatusCode::NOT_FOUND)
}

#[tokio::test]
async fn visitors_who_stay_keep_out_no_other_visitor() {
    let mut bob = Computer::new(2);
    let alice = identity(1);
    bob.befriend(alice.device_id(), &[]);
    let address = bob.listen("127.0.0.1", alice.device_id()).await.to_string();
    let mut hello = Silent.hello(&bob.id(), None);
    hello.capabilities.push(VISIT_CAPABILITY.to_owned());
    let mut visits = Vec::new();
    for _ in 0..6 {
        let visit = visit(&Outbound::default(), &address, &alice, &[], &hello).await.unwrap();
        assert!(is_served(&visit).await, "the newest is always served");
        visits.push(visit);
    }
    // Those who came first had to go; the others are still there.
    timeout(PATIENCE, visits[0].link.ended()).await.unwrap();
    assert!(is_served(&visits[4]).await);
}
