//! What the news of the network do to friends who are not linked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kith_network::{Network, News, Snapshot};
use kith_peer::{AddressBook, Outbound, Peers};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::support::{PATIENCE, Silent, identity};

/// Waits for the next dial, and hangs up.
async fn dialled(door: &TcpListener, patience: Duration) -> bool {
    timeout(patience, door.accept()).await.is_ok_and(|dial| dial.is_ok())
}

#[tokio::test]
async fn whoever_became_a_friend_by_calling_is_left_the_first_dial() {
    let peers = Peers::start(
        Arc::new(identity(1)),
        Arc::new(Silent),
        Outbound::default(),
        &Network::played(Snapshot::default()).0,
    );
    let (called, joined) =
        (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let book = |door: &TcpListener| AddressBook {
        configured: vec![door.local_addr().unwrap().to_string()],
        ..AddressBook::default()
    };
    peers.await_friend(identity(2).device_id(), book(&called));
    peers.set_friend(identity(3).device_id(), book(&joined));
    assert!(dialled(&joined, PATIENCE).await);
    // The other one would have been dialled before.
    assert!(!dialled(&called, Duration::from_millis(300)).await);
    assert!(dialled(&called, PATIENCE).await, "he is not waited for without end");
    peers.shutdown().await;
}

#[tokio::test]
async fn a_change_of_the_network_and_a_resume_start_dials_at_once() {
    let (network, news) = Network::played(Snapshot::default());
    let peers = Peers::start(Arc::new(identity(1)), Arc::new(Silent), Outbound::default(), &network);
    let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = door.local_addr().unwrap();
    let book = AddressBook { configured: vec![address.to_string()], ..AddressBook::default() };
    peers.set_friend(identity(2).device_id(), book);
    let plays: [fn(&mut News); 2] = [|news| news.changes += 1, |news| news.resumes += 1];
    for play in plays {
        // After the third dial the pause is two seconds or more.
        for _ in 0..3 {
            assert!(dialled(&door, PATIENCE).await, "there is no dial at all");
        }
        news.send_modify(play);
        assert!(dialled(&door, Duration::from_millis(1500)).await, "the news start no dial");
    }
    peers.shutdown().await;
}

#[tokio::test]
async fn a_race_that_was_begun_in_another_network_is_not_waited_for() {
    let (network, news) = Network::played(Snapshot::default());
    let peers = Peers::start(Arc::new(identity(1)), Arc::new(Silent), Outbound::default(), &network);
    // Takes connections, and says nothing for ten seconds.
    let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let book =
        AddressBook { configured: vec![door.local_addr().unwrap().to_string()], ..AddressBook::default() };
    peers.set_friend(identity(2).device_id(), book);
    let mut held = vec![timeout(PATIENCE, door.accept()).await.unwrap().unwrap()];
    for _ in 0..3 {
        news.send_modify(|news| news.changes += 1);
        held.push(timeout(Duration::from_secs(5), door.accept()).await.expect("it is dialled anew").unwrap());
    }
    peers.shutdown().await;
}
