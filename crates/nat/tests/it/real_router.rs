//! PCP, NAT-PMP and the listener for their news against a real `miniupnpd`.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use kith_nat::clients::announcements::Announcements;
use kith_nat::clients::{nat_pmp, pcp};
use kith_nat::{
    Answer, Epoch, Found, Grant, Hint, Lifetime, MapRequest, Nonce, Protocol, RefusalKind, Request,
    UnmapRequest, Uplink,
};
use kith_network::{Address, Gateway, Interface, InterfaceKind, Snapshot};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::need::need_namespaces;
use crate::site::{COMPUTER, FAR_SIDE, ROUTER, Site};

const TOOLS: [&str; 4] = ["ip", "nft", "miniupnpd", "natpmpc"];
const PORT: u16 = 4242;
const OURS: Nonce = Nonce([1; 12]);
const FOREIGN: Nonce = Nonce([2; 12]);
/// Longest time for `miniupnpd` to start.
const START: Duration = Duration::from_secs(20);
/// Longest time for news to come that were told at once, on a loaded machine.
const NEWS: Duration = Duration::from_secs(25);

fn uplink() -> Uplink {
    Uplink { index: index(), interface: "eth0".to_owned(), gateway: ROUTER, local: COMPUTER }
}

fn uplink_v6() -> Uplink {
    let local = "fd77::23".parse().unwrap();
    Uplink { gateway: "fe80::1".parse().unwrap(), local, ..uplink() }
}

/// Of the computer's only interface; by the thread's own namespace.
fn index() -> u32 {
    nix::net::if_::if_nametoindex("eth0").unwrap()
}

fn map(nonce: Nonce) -> Request {
    Request::Map(MapRequest {
        internal_port: PORT,
        external_port: PORT,
        external_ip: None,
        lifetime: Lifetime::Seconds(3600),
        nonce,
        label: "Kith".to_owned(),
        any_port: true,
        pinhole: None,
    })
}

fn unmap(nonce: Nonce) -> Request {
    Request::Unmap(UnmapRequest {
        internal_port: PORT,
        external_port: PORT,
        nonce,
        pinhole: None,
        former: None,
    })
}

/// Asks by a protocol until the router is there.
async fn found(protocol: Protocol, uplink: &Uplink) -> Found {
    let end = Instant::now() + START;
    loop {
        let answer = match protocol {
            Protocol::Pcp => pcp::ask(uplink, Request::Discover).await,
            _ => nat_pmp::ask(uplink, Request::Discover).await,
        };
        match answer {
            Answer::Found(found) => return found,
            // It is starting.
            Answer::Closed | Answer::Silent if Instant::now() < end => sleep(Duration::from_millis(50)).await,
            other => panic!("{protocol}: {other:?}"),
        }
    }
}

fn grant(answer: Answer) -> Grant {
    match answer {
        Answer::Mapped(grant) => grant,
        other => panic!("{other:?} is no mapping"),
    }
}

#[test]
fn miniupnpd_maps_renews_refuses_and_unmaps_by_pcp() {
    if !need_namespaces(&TOOLS) {
        return;
    }
    let mut site = Site::new();
    site.start();
    site.enter(async |site: &mut Site| {
        let uplink = uplink();
        let there = found(Protocol::Pcp, &uplink).await;
        assert!(there.epoch.is_some() && there.any_port && !there.readable, "{there:?}");
        assert_eq!(pcp::ask(&uplink, unmap(OURS)).await, Answer::Unmapped, "there is nothing to remove");

        let first = grant(pcp::ask(&uplink, map(OURS)).await);
        assert_eq!((first.external_port, first.external_ip), (PORT, Some(FAR_SIDE)));
        assert_eq!(first.lifetime, Lifetime::Seconds(3600));
        assert!(site.redirections().contains("dnat ip to 192.168.77.23:4242"), "{}", site.redirections());

        let renewed = grant(pcp::ask(&uplink, map(OURS)).await);
        assert_eq!(renewed.external_port, PORT);
        assert!(renewed.epoch >= first.epoch);

        match pcp::ask(&uplink, unmap(FOREIGN)).await {
            Answer::Refused(refusal) => assert_eq!(refusal.kind, RefusalKind::NotAuthorized),
            other => panic!("{other:?}"),
        }
        assert!(site.redirections().contains("dnat"), "{}", site.redirections());
        assert_eq!(pcp::ask(&uplink, unmap(OURS)).await, Answer::Unmapped);
        assert!(!site.redirections().contains("dnat"), "{}", site.redirections());
        assert_eq!(pcp::ask(&uplink, unmap(OURS)).await, Answer::Unmapped, "and again");
    });
}

#[test]
fn miniupnpd_maps_and_unmaps_by_nat_pmp_as_natpmpc_sees_it() {
    if !need_namespaces(&TOOLS) {
        return;
    }
    let mut site = Site::new();
    site.start();
    site.enter(async |site: &mut Site| {
        let uplink = uplink();
        let there = found(Protocol::NatPmp, &uplink).await;
        assert_eq!(there.external_ip, Some(FAR_SIDE));
        let other_program = site.on_computer("natpmpc", &["-g", "192.168.77.1"]);
        assert!(other_program.contains(&format!("Public IP address : {FAR_SIDE}")), "{other_program}");

        let first = grant(nat_pmp::ask(&uplink, map(OURS)).await);
        assert_eq!((first.external_port, first.lifetime), (PORT, Lifetime::Seconds(3600)));
        assert!(first.epoch.is_some());
        assert!(site.redirections().contains("dnat ip to 192.168.77.23:4242"), "{}", site.redirections());
        assert_eq!(grant(nat_pmp::ask(&uplink, map(OURS)).await).external_port, PORT);
        assert_eq!(nat_pmp::ask(&uplink, unmap(OURS)).await, Answer::Unmapped);
        assert!(!site.redirections().contains("dnat"), "{}", site.redirections());
        assert_eq!(nat_pmp::ask(&uplink, unmap(OURS)).await, Answer::Unmapped, "nothing is left to remove");
    });
}

#[test]
fn miniupnpd_opens_and_closes_a_pinhole_by_pcp_through_a_link_local_gateway() {
    if !need_namespaces(&TOOLS) {
        return;
    }
    let mut site = Site::new();
    site.start();
    site.enter(async |_: &mut Site| {
        let uplink = uplink_v6();
        assert!(found(Protocol::Pcp, &uplink).await.epoch.is_some());
        let opened = grant(pcp::ask(&uplink, map(OURS)).await);
        assert_eq!((opened.external_port, opened.external_ip), (PORT, Some(uplink.local)));
        assert_eq!(pcp::ask(&uplink, unmap(OURS)).await, Answer::Unmapped);
        assert!(matches!(nat_pmp::ask(&uplink, map(OURS)).await, Answer::Refused(_)));
    });
}

/// So far a router's clock is before it restarts.
const AHEAD: Epoch = Epoch(3);

#[test]
fn a_restarted_router_is_heard_and_its_clock_begins_anew() {
    if !need_namespaces(&TOOLS) {
        return;
    }
    let mut site = Site::new();
    site.start();
    site.enter(async |site: &mut Site| {
        let uplink = uplink();
        let (sender, mut hints) = mpsc::channel(16);
        let announcements = Announcements::start(sender);
        announcements.interfaces(Arc::new(snapshot()));
        while found(Protocol::Pcp, &uplink).await.epoch < Some(AHEAD) {
            sleep(Duration::from_millis(100)).await;
        }
        grant(pcp::ask(&uplink, map(OURS)).await);

        site.lose_power();
        assert_eq!(pcp::ask(&uplink, Request::Discover).await, Answer::Closed);
        // News of the first start.
        while hints.try_recv().is_ok() {}
        let begun = Instant::now();
        site.start();
        // A clock that went on would be ahead of that; it counts whole seconds, which may have begun before.
        let new = || Some(Epoch(u32::try_from(begun.elapsed().as_secs()).unwrap() + 1));
        let hint = timeout(NEWS, hints.recv()).await.expect("no news").unwrap();
        let index = Some(index());
        match hint {
            Hint::Announced { from, index: by, protocol, epoch } => {
                assert_eq!((from, by, protocol), (ROUTER, index, Protocol::Pcp));
                assert!(epoch <= new(), "{epoch:?}");
            }
            Hint::Doubt { why } => panic!("{why}"),
        }
        let again = found(Protocol::Pcp, &uplink).await.epoch;
        assert!(again <= new(), "{again:?}");
        assert_eq!(grant(pcp::ask(&uplink, map(OURS)).await).external_port, PORT);
    });
}

#[test]
fn news_are_heard_in_both_families_at_an_interface_that_is_told_later() {
    if !need_namespaces(&TOOLS) {
        return;
    }
    let mut site = Site::new();
    site.enter(async |site: &mut Site| {
        let (sender, mut hints) = mpsc::channel(16);
        let announcements = Announcements::start(sender);
        announcements.interfaces(Arc::default());
        sleep(Duration::from_millis(50)).await;
        announcements.interfaces(Arc::new(snapshot()));

        let announce = [&[2, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5][..], &[0; 12]].concat();
        let address_change = [0, 128, 0, 0, 0, 0, 0, 5, 11, 0, 113, 6];
        for (group, news, by) in [
            ("224.0.0.1", &announce[..], Protocol::Pcp),
            ("224.0.0.1", &address_change[..], Protocol::NatPmp),
            ("ff02::1", &announce[..], Protocol::Pcp),
        ] {
            let group: IpAddr = group.parse().unwrap();
            let hint = async {
                loop {
                    site.enter_router(|| tell_all(group, news));
                    if let Ok(hint) = timeout(Duration::from_millis(50), hints.recv()).await {
                        break hint.unwrap();
                    }
                }
            };
            let hint = timeout(NEWS, hint).await.expect("no news");
            while hints.try_recv().is_ok() {}
            match hint {
                Hint::Announced { from, index: at, protocol, epoch } => {
                    assert_eq!((at, protocol, epoch), (Some(index()), by, Some(Epoch(5))));
                    assert_eq!(from.is_ipv4(), group.is_ipv4());
                }
                Hint::Doubt { why } => panic!("{why}"),
            }
        }
    });
}

/// As a router does, to all computers of the home.
fn tell_all(group: IpAddr, news: &[u8]) {
    let lan = nix::net::if_::if_nametoindex("lan").unwrap();
    let socket = match (ROUTER, group) {
        (IpAddr::V4(router), IpAddr::V4(_)) => {
            let socket = std::net::UdpSocket::bind((router, 0)).unwrap();
            socket2::SockRef::from(&socket).set_multicast_if_v4(&router).unwrap();
            socket
        }
        _ => {
            let socket = std::net::UdpSocket::bind("[::]:0").unwrap();
            socket2::SockRef::from(&socket).set_multicast_if_v6(lan).unwrap();
            socket
        }
    };
    socket.send_to(news, (group, 5350)).unwrap();
}

fn snapshot() -> Snapshot {
    let address = |ip: IpAddr, prefix| Address { ip, prefix, temporary: false };
    Snapshot {
        interfaces: vec![Interface {
            index: index(),
            name: "eth0".to_owned(),
            kind: InterfaceKind::Physical,
            addresses: vec![address(COMPUTER, 24), address("fd77::23".parse().unwrap(), 64)],
        }],
        gateways: vec![Gateway { index: index(), interface: "eth0".to_owned(), address: ROUTER, metric: 0 }],
        ..Snapshot::default()
    }
}
