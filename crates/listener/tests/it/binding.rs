//! Ports: busy, forbidden, changed while running, given back.

use std::net::Ipv4Addr;

use kith_listener::{BindError, Listener, ListenerConfig, ListenerState};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};

use crate::support::*;

fn on_port(port: u16) -> ListenerConfig {
    ListenerConfig { port, ..on_loopback() }
}

/// A proposed port is bound for a moment, to see whether it is free: held where one is proposed.
static PROPOSALS: Mutex<()> = Mutex::const_new(());

fn start(config: &ListenerConfig) -> Result<Listener, BindError> {
    Listener::start(config, alices_faces().0, mpsc::channel(1).0)
}

#[tokio::test]
async fn port_80_is_refused_with_the_reason() {
    let error = start(&on_port(80)).err().unwrap();
    assert!(error.to_string().starts_with("port 80 is below 1024: such ports are kept for"), "{error}");
}

#[tokio::test]
async fn a_busy_port_names_its_holder_and_proposes_another_without_taking_it() {
    let _alone = PROPOSALS.lock().await;
    let house = House::on_loopback();
    let port = house.address.port();
    let error = start(&on_port(port)).err().unwrap();
    let text = error.to_string();
    assert!(text.starts_with(&format!("port {port} on 127.0.0.1 is in use by ")), "{text}");
    #[cfg(target_os = "linux")]
    assert!(text.contains(&format!("(process {})", std::process::id())), "{text}");
    let BindError::Busy { free: Some(free), .. } = error else { panic!("{text}") };
    assert!((1024..=5999).contains(&free), "{text}");
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, free)).await.is_err(), "it was only proposed");
}

#[tokio::test]
async fn the_port_changes_at_run_time_and_links_live_on() {
    let mut house = House::on_loopback();
    let (mut link, mut bobs_end) = house.assert_bob_gets_in().await;
    let old = house.address;
    let mut state = house.listener.state();
    state.mark_unchanged();

    house.listener.rebind(&on_loopback()).await.unwrap();
    assert!(state.has_changed().unwrap());
    house.address = addresses(&house.listener)[0];
    assert_ne!(house.address, old);
    assert!(TcpStream::connect(old).await.is_err());
    assert_words_pass(&mut bobs_end, &mut link.stream).await;
    house.assert_bob_gets_in().await;
}

#[tokio::test]
async fn when_the_new_port_is_busy_the_old_one_stays() {
    let _alone = PROPOSALS.lock().await;
    let mut house = House::on_loopback();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let error = house.listener.rebind(&on_port(port)).await.unwrap_err();
    assert!(matches!(error, BindError::Busy { port: busy, .. } if busy == port), "{error}");
    assert!(house.listener.rebind(&on_port(80)).await.is_err());
    assert_eq!(addresses(&house.listener), [house.address]);
    house.assert_bob_gets_in().await;
}

#[tokio::test]
async fn an_address_is_added_and_taken_away_while_the_other_stays_bound() {
    if !has_ipv6() {
        return;
    }
    // Nobody is greeted for his silence.
    let _frozen = freeze_time();
    let mut house = House::on_loopback();
    let v4_only = on_port(house.address.port());
    let both = ListenerConfig { bind: vec![Ipv4Addr::LOCALHOST.into(), loopback_v6()], ..v4_only.clone() };
    let waiting = connect(house.address).await;

    house.listener.rebind(&both).await.unwrap();
    let bound = addresses(&house.listener);
    assert_eq!(bound.len(), 2);
    let v6 = bound[1];
    connect(v6).await;

    house.listener.rebind(&v4_only).await.unwrap();
    assert_eq!(addresses(&house.listener), [house.address]);
    assert!(TcpStream::connect(v6).await.is_err());
    let bobs_end = handshake(waiting, bobs_config()).await.unwrap();
    assert_eq!(house.link().await.remote, bobs_end.get_ref().0.local_addr().unwrap());
}

#[tokio::test]
async fn the_greeting_is_switched_while_running() {
    let house = House::on_loopback();
    let quiet = ListenerConfig { greeting: false, ..on_port(house.address.port()) };
    house.listener.rebind(&quiet).await.unwrap();
    let mut stream = connect(house.address).await;
    stream.shutdown().await.unwrap();
    assert_eq!(read_all(&mut stream).await, "");
}

#[tokio::test]
async fn shutdown_closes_the_port_and_the_silent_but_not_the_links() {
    let _frozen = freeze_time();
    let mut house = House::on_loopback();
    let mut silent = connect(house.address).await;
    let (mut link, mut bobs_end) = house.assert_bob_gets_in().await;
    let mut state = house.listener.state();

    house.listener.shutdown().await;
    assert_eq!(*state.borrow_and_update(), ListenerState::Off);
    assert!(TcpStream::connect(house.address).await.is_err());
    assert_eq!(read_all(&mut silent).await, "");
    assert_words_pass(&mut bobs_end, &mut link.stream).await;

    house.listener.shutdown().await;
    let error = house.listener.rebind(&on_loopback()).await.unwrap_err();
    assert_eq!(error.to_string(), "the listener has been shut down");
}

#[tokio::test]
async fn the_port_is_free_again_when_the_last_handle_is_dropped() {
    let (_alone, _frozen) = (PROPOSALS.lock().await, freeze_time());
    let mut house = House::on_loopback();
    let port = house.address.port();
    let mut silent = connect(house.address).await;
    house.has_taken_in_all().await;
    let second_handle = house.listener.clone();
    drop(house.listener);
    connect(house.address).await;
    drop(second_handle);
    assert_eq!(read_all(&mut silent).await, "");
    let mut tries = 0;
    while start(&on_port(port)).is_err() {
        tries += 1;
        assert!(tries < 1000, "the port stays busy");
        tokio::task::yield_now().await;
    }
}
