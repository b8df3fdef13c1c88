use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use kith_network::{Address, Gateway, Interface, InterfaceKind, Snapshot};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::super::notify::{Ears, Place, hear, places};
use crate::{Hint, Protocol};

fn interface(index: u32, kind: InterfaceKind, ips: &[&str]) -> Interface {
    let address = |ip: &&str| Address { ip: ip.parse().unwrap(), prefix: 24, temporary: false };
    Interface { index, name: format!("if{index}"), kind, addresses: ips.iter().map(address).collect() }
}

fn snapshot(interfaces: Vec<Interface>) -> Snapshot {
    Snapshot { interfaces, ..Snapshot::default() }
}

fn news(kind: &str, nts: &str) -> Vec<u8> {
    format!("NOTIFY * HTTP/1.1\r\nNT: urn:schemas-upnp-org:device:{kind}:1\r\nNTS: ssdp:{nts}\r\n\r\n")
        .into_bytes()
}

/// A network whose gateway is 127.0.0.1, for ever.
fn home() -> watch::Receiver<Arc<Snapshot>> {
    let address = "127.0.0.1".parse().unwrap();
    let gateway = Gateway { index: 7, interface: "if7".to_owned(), address, metric: 100 };
    watch::Sender::new(Arc::new(Snapshot { gateways: vec![gateway], ..Snapshot::default() })).subscribe()
}

#[test]
fn networks_are_listened_to_and_containers_are_not() {
    let found = places(&snapshot(vec![
        interface(2, InterfaceKind::Physical, &["192.168.1.23", "fe80::2"]),
        interface(3, InterfaceKind::Container, &["172.17.0.1"]),
        interface(4, InterfaceKind::Tunnel, &["10.8.0.2"]),
        interface(5, InterfaceKind::Physical, &["fe80::5"]),
        interface(6, InterfaceKind::Physical, &[]),
    ]));
    let place = |index, v6| Place { index, v6 };
    assert_eq!(found, [place(2, false), place(2, true), place(5, true)]);
    let many = (1..100).map(|index| interface(index, InterfaceKind::Physical, &["192.168.1.23"])).collect();
    assert_eq!(places(&snapshot(many)).len(), 16);
}

#[tokio::test]
async fn an_interface_that_is_not_there_is_tried_again_later() {
    let (sender, _hints) = mpsc::channel(1);
    let mut ears = Ears::new(sender, 0, home());
    let gone = interface(u32::MAX >> 2, InterfaceKind::Physical, &["192.168.1.23", "fe80::2"]);
    assert!(!ears.listen(&snapshot(vec![gone])));
    assert!(ears.listen(&Snapshot::default()), "what is not wanted is not missed");
}

#[tokio::test(start_paused = true)]
async fn a_gateways_news_are_passed_on_once_in_a_burst_and_others_never() {
    let (sender, mut hints) = mpsc::channel(16);
    let socket = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
    let (to, from) = (socket.local_addr().unwrap(), UdpSocket::bind(("127.0.0.1", 0)).await.unwrap());
    let mut tasks = JoinSet::new();
    tasks.spawn(hear(socket, Place { index: 7, v6: false }, home(), sender));
    let mut told = async |kind: &str, nts: &str| {
        for _ in 0..5 {
            from.send_to(&news(kind, nts), to).await.unwrap();
        }
        sleep(Duration::from_millis(50)).await;
        let mut count = 0;
        while let Ok(hint) = hints.try_recv() {
            let here: IpAddr = "127.0.0.1".parse().unwrap();
            let expected =
                Hint::Announced { from: here, index: Some(7), protocol: Protocol::Upnp, epoch: None };
            assert_eq!(hint, expected);
            count += 1;
        }
        count
    };
    assert_eq!(told("MediaServer", "alive").await, 0);
    assert_eq!(told("InternetGatewayDevice", "alive").await, 1);
    assert_eq!(told("WANConnectionDevice", "alive").await, 0, "the same burst");
    assert_eq!(told("WANDevice", "byebye").await, 1, "other news");
    sleep(Duration::from_millis(400)).await;
    assert_eq!(told("WANDevice", "alive").await, 1, "a restart");
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_news_is_read_slowly_and_ends() {
    let (sender, mut hints) = mpsc::channel(1);
    let socket = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
    let (to, from) = (socket.local_addr().unwrap(), UdpSocket::bind(("127.0.0.1", 0)).await.unwrap());
    let mut tasks = JoinSet::new();
    tasks.spawn(hear(socket, Place { index: 7, v6: false }, home(), sender));
    let begin = Instant::now();
    for _ in 0..60 {
        from.send_to(&[b'x'; 1400], to).await.unwrap();
    }
    for _ in 0..10 {
        from.send_to(&news("WANDevice", "alive"), to).await.unwrap();
    }
    // The channel has room for one hint, and nobody takes it: that holds up nothing.
    sleep(Duration::from_secs(3)).await;
    assert!(matches!(hints.recv().await, Some(Hint::Announced { .. })));
    from.send_to(&news("WANDevice", "update"), to).await.unwrap();
    let hint = timeout(Duration::from_secs(2), hints.recv()).await;
    assert!(hint.is_ok_and(|hint| hint.is_some()), "after {:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_gateway_is_heard_through_whatever_others_say() {
    let (sender, mut hints) = mpsc::channel(64);
    let socket = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
    let to = socket.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(hear(socket, Place { index: 7, v6: false }, home(), sender));
    let mut heard = async |from: &str| {
        let other = UdpSocket::bind((from, 0)).await.unwrap();
        other.send_to(&news("WANDevice", "alive"), to).await.unwrap();
        sleep(Duration::from_millis(1)).await;
        let hint = hints.try_recv().ok();
        matches!(hint, Some(Hint::Announced { from: heard, .. }) if heard.to_string() == from)
    };
    for number in 10..40 {
        assert_eq!(heard(&format!("127.0.0.{number}")).await, number < 26, "{number}");
    }
    assert!(heard("127.0.0.1").await, "others said much at once");
    sleep(Duration::from_secs(2)).await;
    let stranger = UdpSocket::bind(("127.0.0.9", 0)).await.unwrap();
    for _ in 0..20 {
        for _ in 0..10 {
            stranger.send_to(b"x", to).await.unwrap();
        }
        sleep(Duration::from_millis(1)).await;
    }
    assert!(!heard("127.0.0.10").await, "too much was said");
    assert!(heard("127.0.0.1").await, "but not by the gateway");
}
