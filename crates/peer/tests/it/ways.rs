//! Candidates of several kinds, over real sockets.

use std::time::Duration;

use kith_peer::{AddressBook, CandidateKind, DialError, PathKind, Way};
use kith_wire::Class;
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::Instant;

use crate::support::{Computer, PATIENCE, alice_and_bob, begin_what_is_due, freeze_time};

#[tokio::test]
async fn who_is_seen_in_our_network_is_dialled_there_at_once() {
    let (alice, mut bob) = (Computer::new(1), Computer::new(2));
    bob.befriend(alice.id(), &[]);
    let address = bob.listen("127.0.0.1", alice.id()).await;
    // The pause after the first dial, which lasts for half a second or more, doesn't end.
    let _frozen = freeze_time();
    alice.befriend(bob.id(), &[]);
    begin_what_is_due().await;
    assert!(alice.peers.state(&bob.id()).unwrap().last_error.is_some(), "nobody knows where he is");
    let began = Instant::now();
    alice.peers.nearby(&bob.id(), &[address]);
    begin_what_is_due().await;
    alice.link_to(&bob).await;
    assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
    let connection = alice.connection_to(&bob);
    assert_eq!((connection.way, connection.class), (Way::Lan, Class::Lan));
    assert_eq!(connection.path(), PathKind::Lan);
}

#[tokio::test]
async fn an_address_of_a_record_is_dialled_and_a_routers_counts_as_mapped() {
    let (alice, mut bob) = (Computer::new(1), Computer::new(2));
    bob.befriend(alice.id(), &[]);
    let address = bob.listen("127.0.0.1", alice.id()).await;
    alice.befriend(bob.id(), &[]);
    let record = AddressBook { routers: vec![address.to_string()], ..AddressBook::default() };
    alice.peers.set_record(&bob.id(), record);
    alice.link_to(&bob).await;
    bob.link_to(&alice).await;
    let connection = alice.connection_to(&bob);
    assert_eq!((connection.way, connection.class), (Way::Mapped, Class::Direct));
    assert_eq!(bob.connection_to(&alice).class, Class::Direct, "both ends go by the dialer's word");
}

#[tokio::test]
async fn an_address_that_becomes_known_during_a_race_is_not_kept_waiting_by_dead_ones() {
    let (alice, mut bob) = (Computer::new(1), Computer::new(2));
    bob.befriend(alice.id(), &[]);
    let address = bob.listen("127.0.0.1", alice.id()).await;
    // Takes the connection, and says nothing for ten seconds.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    alice.befriend(bob.id(), &[silent.local_addr().unwrap()]);
    let _held = tokio::time::timeout(PATIENCE, silent.accept()).await.unwrap().unwrap();
    let began = Instant::now();
    let record = AddressBook { routers: vec![address.to_string()], ..AddressBook::default() };
    alice.peers.set_record(&bob.id(), record);
    alice.link_to(&bob).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn the_failure_of_each_candidate_is_kept_while_linked_until_it_leads_there() {
    let (alice, mut bob) = (Computer::new(1), Computer::new(2));
    bob.befriend(alice.id(), &[]);
    let address = bob.listen("127.0.0.1", alice.id()).await;
    // Bound and shared with nobody, and without anybody who listens: refused as long as it is there.
    let closed_door = TcpSocket::new_v4().unwrap();
    closed_door.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let closed = closed_door.local_addr().unwrap();
    let book = AddressBook {
        configured: vec![closed.to_string()],
        internal: vec![address.to_string()],
        ..AddressBook::default()
    };
    alice.peers.set_friend(bob.id(), book);
    alice.link_to(&bob).await;
    let state = alice.peers.state(&bob.id()).unwrap();
    let [attempt] = &state.attempts[..] else { panic!("{:?}", state.attempts) };
    assert_eq!(attempt.address, closed.to_string());
    assert_eq!((attempt.kind, &attempt.error), (CandidateKind::Static, &DialError::Refused));
    assert_eq!(state.last_error, None);
    let change = state.last_change.unwrap();
    assert_eq!((change.from, change.to), (None, Some(PathKind::Lan)));
    assert!(change.reason.contains(&address.to_string()), "{change:?}");
}

#[tokio::test]
async fn a_link_in_one_network_is_not_disturbed_by_other_addresses() {
    let (alice, mut bob) = alice_and_bob().await;
    let before = alice.connection_to(&bob);
    let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
    alice.befriend(bob.id(), &[before.remote, door.local_addr().unwrap()]);
    let again = bob.listen("127.0.0.1", alice.id()).await;
    alice.peers.nearby(&bob.id(), &[again]);
    let dialled = tokio::time::timeout(Duration::from_millis(500), door.accept()).await;
    assert!(dialled.is_err(), "there is no better way than the one it has");
    assert_eq!(alice.connection_to(&bob), before);
}

#[tokio::test]
async fn a_link_through_a_router_moves_into_the_network_when_the_friend_is_seen_there() {
    let (alice, mut bob) = (Computer::new(1), Computer::new(2));
    bob.befriend(alice.id(), &[]);
    let far = bob.listen("127.0.0.1", alice.id()).await;
    let near = bob.listen("127.0.0.1", alice.id()).await;
    let book = AddressBook { routers: vec![far.to_string()], ..AddressBook::default() };
    alice.peers.set_friend(bob.id(), book);
    alice.link_to(&bob).await;
    bob.link_to(&alice).await;
    assert_eq!(alice.connection_to(&bob).class, Class::Direct);
    alice.peers.nearby(&bob.id(), &[near]);
    let waited = tokio::time::timeout(PATIENCE, async {
        while alice.connection_to(&bob).class != Class::Lan || bob.connection_to(&alice).class != Class::Lan {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    waited.await.unwrap();
    assert_eq!(alice.connection_to(&bob).remote, near);
}
