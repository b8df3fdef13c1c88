//! What the news of the network do to friends who are not linked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kith_network::{Network, News, Snapshot};
use kith_peer::{AddressBook, Outbound, Peers};
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};

use crate::support::{PATIENCE, Silent, begin_what_is_due, freeze_time, identity};

/// For so long the first dial is left to whoever has just become a friend by calling.
const HEAD_START: Duration = Duration::from_secs(2);

/// The shortest pause between two dials.
const PAUSE: Duration = Duration::from_millis(500);

/// Waits for the next dial, and hangs up.
async fn dialled(door: &TcpListener) -> bool {
    timeout(PATIENCE, door.accept()).await.is_ok_and(|dial| dial.is_ok())
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
    let begun = Instant::now();
    peers.await_friend(identity(2).device_id(), book(&called));
    peers.set_friend(identity(3).device_id(), book(&joined));
    assert!(dialled(&joined).await);
    assert!(dialled(&called).await, "he is not waited for without end");
    assert!(begun.elapsed() >= HEAD_START, "{:?}", begun.elapsed());
    peers.shutdown().await;
}

#[tokio::test]
async fn a_change_of_the_network_and_a_resume_start_dials_at_once() {
    let (network, news) = Network::played(Snapshot::default());
    let peers = Peers::start(Arc::new(identity(1)), Arc::new(Silent), Outbound::default(), &network);
    let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = door.local_addr().unwrap();
    let book = AddressBook { configured: vec![address.to_string()], ..AddressBook::default() };
    let friend = identity(2).device_id();
    let last_failure = || peers.state(&friend).unwrap().attempts.last().map(|attempt| attempt.when);
    // No pause ends by itself.
    let _frozen = freeze_time();
    let begun = Instant::now();
    peers.set_friend(friend, book);
    begin_what_is_due().await;
    assert!(dialled(&door).await, "there is no dial at all");
    let plays: [fn(&mut News); 2] = [|news| news.changes += 1, |news| news.resumes += 1];
    let mut failure = None;
    for play in plays {
        let waiting = std::time::Instant::now();
        while last_failure() == failure {
            assert!(waiting.elapsed() < PATIENCE, "the dial goes on without anybody there");
            let moment = || std::thread::sleep(Duration::from_millis(1));
            tokio::task::spawn_blocking(moment).await.unwrap();
        }
        failure = last_failure();
        news.send_modify(play);
        begin_what_is_due().await;
        assert!(dialled(&door).await, "the news start no dial");
        assert!(begun.elapsed() < PAUSE, "the dial came by itself");
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
