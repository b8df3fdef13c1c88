//! UPnP against a real `miniupnpd`, and seen by a real `upnpc`.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use kith_nat::clients::upnp::Upnp;
use kith_nat::clients::upnp::notify::Notifies;
use kith_nat::{
    Answer, Found, Grant, Hint, Lifetime, MapRequest, Nonce, Protocol, RefusalKind, Request, UnmapRequest,
    Uplink,
};
use kith_network::{Address, Interface, InterfaceKind, Snapshot};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::need::need_namespaces;
use crate::site::{COMPUTER, FAR_SIDE, ROUTER, Site};

const TOOLS: [&str; 4] = ["ip", "nft", "miniupnpd", "upnpc"];
const PORT: u16 = 4242;
const LABEL: &str = "Kith study";
const UPNP: &str = "enable_natpmp=no\nenable_upnp=yes\nhttp_port=5000\n";
/// A router of the older kind, and one whose port is another after a restart.
const OLD: &str = "enable_natpmp=no\nenable_upnp=yes\nhttp_port=49152\nforce_igd_desc_v1=yes\n";

fn index() -> u32 {
    nix::net::if_::if_nametoindex("eth0").unwrap()
}

fn uplink() -> Uplink {
    Uplink { index: index(), interface: "eth0".to_owned(), gateway: ROUTER, local: COMPUTER }
}

fn uplink_v6() -> Uplink {
    Uplink { gateway: "fe80::1".parse().unwrap(), local: "fd77::23".parse().unwrap(), ..uplink() }
}

fn wish(external_port: u16) -> MapRequest {
    MapRequest {
        internal_port: PORT,
        external_port,
        external_ip: None,
        lifetime: Lifetime::Seconds(3600),
        nonce: Nonce([0; 12]),
        label: LABEL.to_owned(),
        any_port: false,
        pinhole: None,
    }
}

fn unmap(external_port: u16, pinhole: Option<u16>) -> Request {
    let nonce = Nonce([0; 12]);
    Request::Unmap(UnmapRequest { internal_port: PORT, external_port, nonce, pinhole, former: None })
}

/// Longest time for `miniupnpd` to start.
const START: Duration = Duration::from_secs(20);
/// Longest time for what takes no second by itself, on a loaded machine.
const SOON: Duration = Duration::from_secs(5);
/// Longest time for a router that is started anew to be heard, and for its mapping to be made again.
const HEALED: Duration = Duration::from_secs(25);

/// Searches until the router is there.
async fn found(upnp: &Upnp, uplink: &Uplink) -> Found {
    let end = Instant::now() + START;
    loop {
        match upnp.ask(uplink, Request::Discover).await {
            Answer::Found(found) => return found,
            // It is starting.
            Answer::Closed | Answer::Silent if Instant::now() < end => sleep(Duration::from_millis(50)).await,
            other => panic!("{other:?}"),
        }
    }
}

fn grant(answer: Answer) -> Grant {
    match answer {
        Answer::Mapped(grant) => grant,
        other => panic!("{other:?} is no mapping"),
    }
}

/// Whether that is what is left of a lease of so many seconds: the router tells it a moment after it made the mapping.
fn is_lease(lifetime: Lifetime, seconds: u32) -> bool {
    matches!(lifetime, Lifetime::Seconds(left) if left <= seconds && left + SOON.as_secs() as u32 >= seconds)
}

async fn holds(upnp: &Upnp, uplink: &Uplink, external_port: u16) -> Option<(IpAddr, u16, String)> {
    match upnp.ask(uplink, Request::ReadBack { external_port }).await {
        Answer::Entry(entry) => entry.map(|entry| (entry.internal.ip(), entry.internal.port(), entry.label)),
        other => panic!("{other:?} is no entry"),
    }
}

#[test]
fn miniupnpd_maps_shows_renews_and_unmaps_by_upnp_as_upnpc_sees_it() {
    if !need_namespaces(&TOOLS) {
        return;
    }
    let mut site = Site::new();
    site.start_with(UPNP);
    site.enter(async |site: &mut Site| {
        let (upnp, uplink) = (Upnp::default(), uplink());
        let there = found(&upnp, &uplink).await;
        assert_eq!(there.external_ip, Some(FAR_SIDE));
        assert!(there.any_port && there.readable && there.model.is_some(), "{there:?}");
        assert_eq!(holds(&upnp, &uplink, PORT).await, None);

        let begin = Instant::now();
        let first = grant(upnp.ask(&uplink, Request::Map(wish(PORT))).await);
        assert_eq!(first.external_port, PORT);
        assert!(is_lease(first.lifetime, 3600), "{first:?}");
        assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
        assert!(site.redirections().contains("192.168.77.23:4242"), "{}", site.redirections());
        assert_eq!(holds(&upnp, &uplink, PORT).await, Some((COMPUTER, PORT, LABEL.to_owned())));
        let list = || site.on_computer("upnpc", &["-u", "http://192.168.77.1:5000/rootDesc.xml", "-l"]);
        let listed = list();
        assert!(listed.contains("TCP  4242->192.168.77.23:4242") && listed.contains(LABEL), "{listed}");
        match upnp.ask(&uplink, Request::Entries { label: "Kith".to_owned() }).await {
            Answer::Entries(entries) => assert_eq!(entries.len(), 1, "{entries:?}"),
            other => panic!("{other:?}"),
        }

        let renewed = MapRequest { any_port: true, ..wish(PORT) };
        assert_eq!(grant(upnp.ask(&uplink, Request::Map(renewed)).await).external_port, PORT);
        let forever = MapRequest { lifetime: Lifetime::Permanent, ..wish(PORT) };
        let forever = grant(upnp.ask(&uplink, Request::Map(forever)).await);
        assert!(is_lease(forever.lifetime, 604_800), "this router has no permanent leases: {forever:?}");

        assert_eq!(upnp.ask(&uplink, unmap(PORT, None)).await, Answer::Unmapped);
        assert_eq!(holds(&upnp, &uplink, PORT).await, None);
        assert!(!list().contains("4242"), "{}", list());
        assert_eq!(upnp.ask(&uplink, unmap(PORT, None)).await, Answer::Unmapped, "and again");
    });
}

#[test]
fn two_computers_get_two_ports_and_none_takes_the_others() {
    if !need_namespaces(&TOOLS) {
        return;
    }
    let mut site = Site::new();
    site.start_with(UPNP);
    site.enter(async |site: &mut Site| {
        site.on_computer("ip", &["addr", "add", "192.168.77.24/24", "dev", "eth0"]);
        let (upnp, first) = (Upnp::default(), uplink());
        let second = Uplink { local: "192.168.77.24".parse().unwrap(), ..uplink() };
        found(&upnp, &first).await;
        found(&upnp, &second).await;
        grant(upnp.ask(&first, Request::Map(wish(PORT))).await);
        match upnp.ask(&second, Request::Map(wish(PORT))).await {
            Answer::Refused(refusal) => {
                assert_eq!((refusal.kind, refusal.code), (RefusalKind::Conflict, 718));
            }
            other => panic!("{other:?}"),
        }
        let other = MapRequest { any_port: true, ..wish(PORT) };
        let other = grant(upnp.ask(&second, Request::Map(other)).await).external_port;
        assert_ne!(other, PORT);
        assert_eq!(upnp.ask(&second, unmap(PORT, None)).await, Answer::Unmapped, "it never was the second's");
        assert_eq!(holds(&upnp, &first, PORT).await, Some((first.local, PORT, LABEL.to_owned())));
        assert_eq!(holds(&upnp, &first, other).await, Some((second.local, PORT, LABEL.to_owned())));
    });
}

#[test]
fn an_older_router_is_found_by_multicast_alone_and_by_unicast_alone() {
    if !need_namespaces(&TOOLS) {
        return;
    }
    let mut site = Site::new();
    site.start_with(OLD);
    site.enter(async |site: &mut Site| {
        let upnp = Upnp::default();
        // Nobody is at the address that is believed to be the gateway's: another of the home answers.
        let elsewhere = Uplink { gateway: "192.168.77.99".parse().unwrap(), ..uplink() };
        let there = found(&upnp, &elsewhere).await;
        assert!(!there.any_port && there.readable, "{there:?}");
        assert_eq!(there.page, None);
        let any = MapRequest { any_port: true, ..wish(PORT) };
        assert_eq!(grant(upnp.ask(&elsewhere, Request::Map(any)).await).external_port, PORT);

        // A firewall on this computer lets in only what was asked for, and knows no one who answers a multicast.
        site.on_computer(
            "nft",
            &["add table inet host; add chain inet host in { type filter hook input priority 0; policy drop; }; \
               add rule inet host in ct state established,related accept"],
        );
        let upnp = Upnp::default();
        assert_eq!(upnp.ask(&elsewhere, Request::Discover).await, Answer::Silent);
        // By the first search: the router is there.
        let there = upnp.ask(&uplink(), Request::Discover).await;
        assert!(matches!(there, Answer::Found(_)), "{there:?}");
        assert_eq!(upnp.ask(&uplink(), unmap(PORT, None)).await, Answer::Unmapped);
        assert!(!site.redirections().contains("dnat"), "{}", site.redirections());
    });
}

#[test]
fn miniupnpd_opens_renews_and_closes_a_pinhole_by_upnp() {
    if !need_namespaces(&TOOLS) {
        return;
    }
    let mut site = Site::new();
    site.start_with(UPNP);
    site.enter(async |site: &mut Site| {
        let (upnp, uplink) = (Upnp::default(), uplink_v6());
        let there = found(&upnp, &uplink).await;
        assert!(!there.readable && !there.any_port, "{there:?}");
        let opened = grant(upnp.ask(&uplink, Request::Map(wish(PORT))).await);
        assert_eq!((opened.external_port, opened.lifetime), (PORT, Lifetime::Seconds(3600)));
        let pinhole = opened.pinhole.unwrap();
        let rules = || site.in_router_output("nft", &["list", "chain", "inet", "filter", "miniupnpd"]);
        let there =
            || rules().contains("th dport 4242") && rules().contains("0xfd770000000000000000000000000023");
        assert!(there(), "{}", rules());
        let renew = MapRequest { pinhole: Some(pinhole), ..wish(PORT) };
        assert_eq!(grant(upnp.ask(&uplink, Request::Map(renew)).await).pinhole, Some(pinhole));
        let lost = MapRequest { pinhole: Some(pinhole + 1000), ..wish(PORT) };
        let anew = grant(upnp.ask(&uplink, Request::Map(lost)).await).pinhole;
        assert!(anew.is_some() && there(), "{anew:?}");
        assert_eq!(upnp.ask(&uplink, unmap(PORT, anew)).await, Answer::Unmapped);
        assert!(!there(), "{}", rules());
        assert_eq!(upnp.ask(&uplink, unmap(PORT, Some(pinhole))).await, Answer::Unmapped);
    });
}

#[test]
fn a_restarted_router_is_heard_and_found_at_its_new_port() {
    if !need_namespaces(&TOOLS) {
        return;
    }
    let mut site = Site::new();
    site.start_with(UPNP);
    site.enter(async |site: &mut Site| {
        let (upnp, uplink) = (Upnp::default(), uplink());
        let (sender, mut hints) = mpsc::channel(16);
        let notifies = Notifies::start(sender);
        notifies.interfaces(Arc::default());
        sleep(Duration::from_millis(50)).await;
        notifies.interfaces(Arc::new(snapshot()));
        found(&upnp, &uplink).await;
        grant(upnp.ask(&uplink, Request::Map(wish(PORT))).await);

        site.lose_power();
        assert_eq!(upnp.ask(&uplink, Request::Map(wish(PORT))).await, Answer::Closed);
        // News of the first start may come late.
        sleep(Duration::from_millis(400)).await;
        while hints.try_recv().is_ok() {}
        site.start_with(OLD);
        let begin = Instant::now();
        let hint = timeout(HEALED, hints.recv()).await.expect("no news").unwrap();
        match hint {
            Hint::Announced { from, index: by, protocol, epoch } => {
                assert!(from == ROUTER || from.is_ipv6(), "{from}");
                assert_eq!((by, protocol, epoch), (Some(index()), Protocol::Upnp, None));
            }
            Hint::Doubt { why } => panic!("{why}"),
        }
        assert!(!found(&upnp, &uplink).await.any_port);
        assert_eq!(holds(&upnp, &uplink, PORT).await, None);
        grant(upnp.ask(&uplink, Request::Map(wish(PORT))).await);
        assert!(begin.elapsed() < HEALED, "healed after {:?}", begin.elapsed());

        drop(notifies);
        let closed = async { while hints.recv().await.is_some() {} };
        timeout(SOON, closed).await.expect("what listens ends with its handle");
    });
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
        ..Snapshot::default()
    }
}
