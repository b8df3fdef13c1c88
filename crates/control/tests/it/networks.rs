//! Networks as a home may have them, for tests and for looking at the app.

use jiff::{SignedDuration, Timestamp};
use kith_control::view::*;

/// All of them, by name.
pub(crate) const ALL: [&str; 12] = [
    "mapped",
    "unproved",
    "failed",
    "static",
    "direct",
    "router-off",
    "double-nat",
    "blocked",
    "no-router",
    "searching",
    "off",
    "two",
];

const ROUTER: &str = "http://192.168.1.1/";

fn ago(seconds: i64) -> Timestamp {
    Timestamp::now() - SignedDuration::from_secs(seconds)
}

fn proved(by: &str, seconds: i64) -> ProofView {
    ProofView { state: ProofState::Proved, by: Some(by.to_owned()), at: Some(ago(seconds)), why: None }
}

fn failed(by: &str, seconds: i64, why: &str) -> ProofView {
    let (by, at, why) = (Some(by.to_owned()), Some(ago(seconds)), Some(why.to_owned()));
    ProofView { state: ProofState::Failed, by, at, why }
}

/// Port 4242 of the router at 192.168.1.1.
fn by_pcp() -> MappingView {
    MappingView {
        protocol: Some("pcp".to_owned()),
        external_ip: Some("203.0.113.80".to_owned()),
        external_port: Some(4242),
        lease_seconds: Some(6800),
        family: Some("ipv4".to_owned()),
        gateway: Some("192.168.1.1".to_owned()),
        router: Some("FRITZ!Box 7590 AX".to_owned()),
        internal: Some("192.168.1.23:4242".to_owned()),
        ..MappingView::new(
            "mapped",
            "the router at 192.168.1.1 leads 203.0.113.80:4242 to this computer (PCP), not yet proved: no friend has dialled it from outside",
        )
    }
}

fn gateway(state: &str, outcomes: [&str; 3]) -> GatewayView {
    let outcome = |(protocol, outcome): (&str, &str)| ProtocolView {
        protocol: protocol.to_owned(),
        outcome: outcome.to_owned(),
    };
    GatewayView {
        address: "192.168.1.1".to_owned(),
        interface: "enp3s0".to_owned(),
        state: state.to_owned(),
        model: Some("FRITZ!Box 7590 AX".to_owned()),
        page: Some(ROUTER.to_owned()),
        protocols: ["pcp", "nat-pmp", "upnp"].into_iter().zip(outcomes).map(outcome).collect(),
    }
}

/// Makes a computer's network one of [`ALL`].
pub(crate) fn put(name: &str, status: &mut StatusView) {
    let silent = ["no answer", "no answer", "no answer"];
    let fine = ["mapped", "available", "available"];
    let mapped = |proof: ProofView, sentence: &str| MappingView {
        proved: proof.state == ProofState::Proved,
        proof,
        sentence: sentence.to_owned(),
        ..by_pcp()
    };
    status.public = vec!["203.0.113.80:4242".to_owned()];
    let (verdict, gateways) = match name {
        "mapped" => (
            mapped(proved("Anna", 190), "the router at 192.168.1.1 leads 203.0.113.80:4242 to this computer (PCP), proved by Anna at 2026-11-21 20:14 UTC"),
            vec![gateway("mapped", fine)],
        ),
        "failed" => (
            MappingView {
                next_step: Some("allow incoming TCP 4242 in the firewall of this computer".to_owned()),
                ..mapped(failed("Anna", 40, "nothing answered"), "the router at 192.168.1.1 leads 203.0.113.80:4242 to this computer (PCP), but Anna could not connect at 2026-11-21 20:14 UTC")
            },
            vec![gateway("mapped", fine)],
        ),
        "static" => {
            let mapping = MappingView {
                protocol: Some("static".to_owned()),
                external_ip: None,
                external_name: Some("home.example.org".to_owned()),
                lease_seconds: None,
                gateway: None,
                router: None,
                internal: None,
                family: None,
                ..mapped(ProofView::default(), "the router was told by hand to forward home.example.org:4242 to this computer")
            };
            (mapping, vec![gateway("router-off", silent)])
        }
        "direct" => {
            let mapping = MappingView {
                protocol: Some("static".to_owned()),
                lease_seconds: None,
                gateway: None,
                router: None,
                internal: Some("203.0.113.80:4242".to_owned()),
                ..mapped(proved("Anna", 190), "this computer is on the Internet itself, no router is in the way: 203.0.113.80:4242, proved by Anna at 2026-11-21 20:14 UTC")
            };
            status.internal = vec!["203.0.113.80:4242".to_owned()];
            (mapping, Vec::new())
        }
        "router-off" => (
            MappingView {
                next_step: Some("switch on UPnP or NAT-PMP on the router's page, usually http://192.168.1.1, or forward TCP 4242 there to 192.168.1.23:4242".to_owned()),
                ..MappingView::new("router-off", "the router at 192.168.1.1 does not open ports by itself: it speaks neither UPnP nor NAT-PMP, and PCP is switched off in Kith's settings")
            },
            vec![gateway("router-off", ["not spoken", "no answer", "switched off in the settings"])],
        ),
        "double-nat" => (
            MappingView {
                state: "double-nat".to_owned(),
                external_ip: Some("100.71.4.9".to_owned()),
                next_step: Some("ask the provider for an IPv4 address of your own, or for IPv6".to_owned()),
                ..mapped(ProofView::default(), "the router at 192.168.1.1 opened port 4242, but its own address 100.71.4.9 is not on the Internet (friends see 203.0.113.80): your provider shares one address among customers (carrier-grade NAT)")
            },
            vec![gateway("double-nat", fine)],
        ),
        "blocked" => (
            MappingView {
                state: "blocked".to_owned(),
                next_step: Some("allow incoming TCP 4242 in the firewall of this computer: `sudo ufw allow 4242/tcp`".to_owned()),
                ..mapped(failed("Ben’s workshop", 65, "nothing answered"), "the router at 192.168.1.1 forwards TCP 4242 to this computer, but Ben’s workshop could not connect at 2026-11-21 20:14 UTC (nothing answered): usually a firewall on this computer drops it")
            },
            vec![gateway("blocked", fine)],
        ),
        "no-router" => (
            MappingView {
                next_step: Some("connect this computer to the network, by cable or Wi-Fi".to_owned()),
                ..MappingView::new("no-router", "this computer is not connected to any network")
            },
            Vec::new(),
        ),
        "searching" => (
            MappingView::new("searching", "asking the router at 192.168.1.1 to let friends in"),
            vec![GatewayView { model: None, ..gateway("searching", ["asked", "asked", "asked"]) }],
        ),
        "off" => (
            MappingView {
                next_step: Some("switch on nat.upnp, nat.nat-pmp or nat.pcp in the settings, or forward TCP 4242 on the router's page, usually http://192.168.1.1, to 192.168.1.23:4242".to_owned()),
                ..MappingView::new("off", "UPnP, NAT-PMP and PCP are switched off in Kith's settings, so no router is asked to let friends in")
            },
            Vec::new(),
        ),
        "two" => (
            mapped(proved("Anna", 7000), "the router at 192.168.1.1 leads 203.0.113.80:4242 to this computer (PCP), proved by Anna at 2026-11-21 20:14 UTC"),
            vec![
                gateway("mapped", fine),
                GatewayView {
                    address: "fe80::1".to_owned(),
                    model: None,
                    page: Some("http://[fe80::1]/".to_owned()),
                    ..gateway("mapped", ["mapped", "not for IPv6", "no answer"])
                },
                GatewayView {
                    address: "10.8.20.1".to_owned(),
                    interface: "wlp2s0".to_owned(),
                    model: Some("OpenWrt 24.10".to_owned()),
                    page: Some("https://10.8.20.1/cgi-bin/luci".to_owned()),
                    ..gateway("mapped", ["no answer", "not spoken", "mapped"])
                },
            ],
        ),
        _ => (mapped(ProofView::default(), "the router at 192.168.1.1 leads 203.0.113.80:4242 to this computer (PCP), not yet proved: no friend has dialled it from outside"), vec![gateway("mapped", fine)]),
    };
    if verdict.state != "mapped" {
        status.public.clear();
    }
    status.mappings = if verdict.external_port.is_some() { vec![verdict.clone()] } else { Vec::new() };
    if name == "two" {
        status.mappings.push(MappingView {
            external_ip: Some("2001:db8:12::23".to_owned()),
            lease_seconds: Some(3300),
            family: Some("ipv6".to_owned()),
            gateway: Some("fe80::1".to_owned()),
            router: None,
            internal: Some("[2001:db8:12::23]:4242".to_owned()),
            ..mapped(
                failed("Ben’s workshop", 65, "no way there: his network has no IPv6"),
                "The router lets IPv6 through to port 4242",
            )
        });
        status.mappings.push(MappingView {
            protocol: Some("upnp".to_owned()),
            external_ip: Some("198.51.100.31".to_owned()),
            external_port: Some(4243),
            lease_seconds: None,
            gateway: Some("10.8.20.1".to_owned()),
            router: Some("OpenWrt 24.10".to_owned()),
            internal: Some("10.8.20.14:4242".to_owned()),
            ..mapped(
                ProofView::default(),
                "The router opens port 4243 to the Internet, because another computer has 4242 there",
            )
        });
        status.internal.push("10.8.20.14:4242".to_owned());
        status.public.extend(["[2001:db8:12::23]:4242".to_owned(), "198.51.100.31:4243".to_owned()]);
    }
    status.mapping = verdict;
    status.gateways = gateways;
}

/// Puts a text where a router or a friend could put one.
pub(crate) fn poison(status: &mut StatusView, text: &str) {
    let text = || text.to_owned();
    for mapping in status.mappings.iter_mut().chain([&mut status.mapping]) {
        mapping.state = text();
        mapping.protocol = Some(text());
        mapping.external_ip = Some(text());
        mapping.sentence = text();
        mapping.next_step = Some(text());
        mapping.proof = failed(&text(), 60, &text());
        mapping.gateway = Some(text());
        mapping.router = Some(text());
        mapping.internal = Some(text());
    }
    for gateway in &mut status.gateways {
        gateway.address = text();
        gateway.interface = text();
        gateway.state = text();
        gateway.model = Some(text());
        gateway.page = Some(text());
        for asked in &mut gateway.protocols {
            asked.protocol = text();
            asked.outcome = text();
        }
    }
}

/// The port table of such a computer.
pub(crate) fn ports(status: &StatusView) -> Vec<PortView> {
    let tcp = |local: &str, direction: &str, purpose: &str| PortView {
        local: local.to_owned(),
        protocol: "tcp".to_owned(),
        direction: direction.to_owned(),
        remote: None,
        friend: None,
        purpose: purpose.to_owned(),
        external: None,
        state: PortState::Open,
    };
    let now = Timestamp::now();
    let mut ports = vec![
        tcp("127.0.0.1:4243", "local", "API for programs on this computer"),
        tcp("127.0.0.1:4244", "local", "the app in the browser of this computer"),
        tcp("0.0.0.0:4242", "in", "friends connect here"),
        tcp("[::]:4242", "in", "friends connect here"),
    ];
    ports.extend(status.mappings.iter().filter_map(|mapping| PortView::of_mapping(mapping, now)));
    for friend in status.friends.iter().filter(|friend| friend.connected) {
        ports.push(PortView {
            remote: friend.address.clone(),
            friend: Some(friend.name.clone()),
            state: PortState::Connected,
            ..tcp("192.168.1.23:51820", "out", "link that this computer dialled")
        });
    }
    if !status.gateways.is_empty() {
        ports.push(PortView::udp("0.0.0.0:1900", None, "hears routers that announce themselves (UPnP)"));
        ports.push(PortView::udp(
            "0.0.0.0:5350",
            None,
            "hears routers that were started anew (PCP, NAT-PMP)",
        ));
        let router = Some("192.168.1.1:5351".to_owned());
        ports.push(PortView::udp(
            "192.168.1.23:40412",
            router,
            "asks the router for the port (PCP, NAT-PMP)",
        ));
    }
    ports
}
