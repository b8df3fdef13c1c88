use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::time::Duration;

use kith_network::{Address, Gateway, Interface, InterfaceKind, Snapshot};
use proptest::prelude::*;
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use super::{Announcements, places, read};
use crate::{Epoch, Family, Hint, Protocol};

const ADDRESS_CHANGE: [u8; 12] = [0, 128, 0, 0, 0, 0, 0, 7, 11, 0, 113, 5];

fn announce() -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[..12].copy_from_slice(&[2, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3]);
    bytes
}

fn interface(index: u32, kind: InterfaceKind, addresses: &[(&str, u8)]) -> Interface {
    let address =
        |(ip, prefix): &(&str, u8)| Address { ip: ip.parse().unwrap(), prefix: *prefix, temporary: false };
    Interface { index, name: format!("if{index}"), kind, addresses: addresses.iter().map(address).collect() }
}

fn snapshot() -> Snapshot {
    Snapshot {
        interfaces: vec![
            interface(2, InterfaceKind::Physical, &[("192.168.1.23", 24), ("fe80::23", 64)]),
            interface(3, InterfaceKind::Container, &[("172.17.0.1", 16)]),
            interface(4, InterfaceKind::Physical, &[("10.0.0.2", 8)]),
            interface(5, InterfaceKind::Tunnel, &[("10.9.0.2", 24)]),
        ],
        gateways: vec![Gateway {
            index: 4,
            interface: "if4".to_owned(),
            address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
            metric: 100,
        }],
        ..Snapshot::default()
    }
}

fn hint(from: &str, index: Option<u32>, protocol: Protocol, epoch: u32) -> Hint {
    Hint::Announced { from: from.parse().unwrap(), index, protocol, epoch: Some(Epoch(epoch)) }
}

#[test]
fn news_of_both_protocols_become_hints() {
    let from = "192.168.1.1:5351".parse().unwrap();
    assert_eq!(read(from, &snapshot(), &announce()), Some(hint("192.168.1.1", Some(2), Protocol::Pcp, 3)));
    assert_eq!(
        read(from, &snapshot(), &ADDRESS_CHANGE),
        Some(hint("192.168.1.1", Some(2), Protocol::NatPmp, 7))
    );
    // From any port: routers differ.
    let from = "192.168.1.1:5350".parse().unwrap();
    assert_eq!(read(from, &snapshot(), &announce()), Some(hint("192.168.1.1", Some(2), Protocol::Pcp, 3)));
}

#[test]
fn news_over_ipv6_are_of_pcp_and_say_their_interface() {
    let router = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    let from: SocketAddr = SocketAddrV6::new(router, 5351, 0, 4).into();
    assert_eq!(read(from, &snapshot(), &announce()), Some(hint("fe80::1", Some(4), Protocol::Pcp, 3)));
    assert_eq!(read(from, &snapshot(), &ADDRESS_CHANGE), None);
}

#[test]
fn an_interface_is_named_only_if_it_is_the_only_one() {
    let at = |from: &str| match read(SocketAddr::new(from.parse().unwrap(), 5351), &snapshot(), &announce()) {
        Some(Hint::Announced { index, .. }) => index,
        other => panic!("{other:?}"),
    };
    assert_eq!(at("10.1.2.3"), Some(4));
    assert_eq!(at("10.9.0.1"), None, "of two networks");
    assert_eq!(at("11.0.0.1"), None, "of none");
}

#[test]
fn it_listens_where_routers_can_be_and_first_where_one_is() {
    let indices =
        |family| places(&snapshot(), family).into_iter().map(|(index, _)| index).collect::<Vec<_>>();
    assert_eq!(indices(Family::V4), [4, 2, 5]);
    assert_eq!(indices(Family::V6), [2]);

    let physical = |index| interface(index, InterfaceKind::Physical, &[("10.0.0.2", 8)]);
    let many = Snapshot { interfaces: (1..100).map(physical).collect(), ..Snapshot::default() };
    assert_eq!(places(&many, Family::V4).len(), 16);
}

/// A port that is free in both families.
fn free_port() -> u16 {
    UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap().local_addr().unwrap().port()
}

/// Sends until a hint comes: when the listener is ready is not told.
async fn hint_after(hints: &mut mpsc::Receiver<Hint>, to: SocketAddr, datagram: &[u8]) -> Hint {
    let sender = UdpSocket::bind((to.ip(), 0)).unwrap();
    for _ in 0..100 {
        sender.send_to(datagram, to).unwrap();
        if let Ok(hint) = timeout(Duration::from_millis(50), hints.recv()).await {
            return hint.unwrap();
        }
    }
    panic!("no hint from {to}")
}

#[tokio::test]
async fn news_arrive_in_both_families_and_garbage_does_not_stop_them() {
    let port = free_port();
    let (sender, mut hints) = mpsc::channel(4);
    let announcements = Announcements::start_at(port, sender);
    announcements.interfaces(std::sync::Arc::new(snapshot()));

    let v4 = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    let hint = hint_after(&mut hints, v4, &announce()).await;
    assert!(
        matches!(hint, Hint::Announced { from, protocol: Protocol::Pcp, .. } if from == v4.ip()),
        "{hint:?}"
    );

    let v6 = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), port);
    let hint = hint_after(&mut hints, v6, &announce()).await;
    assert!(matches!(hint, Hint::Announced { from, .. } if from == v6.ip()), "{hint:?}");

    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    for length in 0..200 {
        sender.send_to(&vec![length; length.into()], v4).unwrap();
    }
    let hint = hint_after(&mut hints, v4, &ADDRESS_CHANGE).await;
    assert!(matches!(hint, Hint::Announced { protocol: Protocol::NatPmp, .. }), "{hint:?}");
}

#[tokio::test(start_paused = true)]
async fn the_gateway_is_heard_through_a_flood_of_garbage() {
    let port = free_port();
    let (sender, mut hints) = mpsc::channel(4);
    let announcements = Announcements::start_at(port, sender);
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let gateway = Gateway { index: 4, interface: "if4".to_owned(), address, metric: 100 };
    let home = Snapshot { gateways: vec![gateway], ..snapshot() };
    announcements.interfaces(std::sync::Arc::new(home));
    let to = SocketAddr::new(address, port);
    hint_after(&mut hints, to, &announce()).await;
    sleep(Duration::from_secs(2)).await;
    while hints.try_recv().is_ok() {}

    let stranger = UdpSocket::bind(("127.0.0.9", 0)).unwrap();
    for _ in 0..40 {
        for _ in 0..8 {
            stranger.send_to(b"garbage", to).unwrap();
        }
        // No time passes, but the listener may run.
        for _ in 0..20 {
            yield_now().await;
        }
    }
    let gateway = UdpSocket::bind((address, 0)).unwrap();
    gateway.send_to(&announce(), to).unwrap();
    let hint = timeout(Duration::from_millis(500), hints.recv()).await;
    assert!(matches!(hint, Ok(Some(Hint::Announced { from, .. })) if from == address), "{hint:?}");
}

#[tokio::test]
async fn two_programs_can_listen_and_one_that_ends_leaves_the_port() {
    let port = free_port();
    let listen = || {
        let (sender, hints) = mpsc::channel(4);
        (Announcements::start_at(port, sender), hints)
    };
    let (first, mut heard) = listen();
    let v4 = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    hint_after(&mut heard, v4, &announce()).await;
    let (second, mut heard_too) = listen();
    drop(first);
    hint_after(&mut heard_too, v4, &announce()).await;
    drop(second);
    while heard_too.recv().await.is_some() {}
    // Not shared: only if nobody is left, which may take the tasks a moment to see.
    while UdpSocket::bind(v4).is_err() {
        yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_port_that_is_taken_is_tried_again() {
    // Not shared.
    let taken = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let (sender, mut hints) = mpsc::channel(4);
    let _announcements = Announcements::start_at(port, sender);
    sleep(Duration::from_secs(1)).await;
    drop(taken);
    sleep(Duration::from_secs(60)).await;
    hint_after(&mut hints, SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port), &announce()).await;
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..64), v6 in any::<bool>()) {
        let ip: IpAddr = if v6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
        black_box(read(SocketAddr::new(ip, 5351), &snapshot(), &bytes));
    }
}
