//! Ways out that have no router, and those that lead past it.

use std::net::IpAddr;

use kith_network::{ByFamily, Interface, InterfaceKind, Snapshot};

use super::super::uplinks::{leaves_by_tunnel, uplinks};
use super::router::{Router, WAN};
use super::world::{GATEWAY, LOCAL, PORT, World, config, gateway, home, interface, temporary, wanted};
use crate::core::{ProofOutcome, ProofReport};
use crate::{MappingState, Protocol};

const VPN: &str = "198.51.7.4";

fn named(name: &str, index: u32, kind: InterfaceKind, addresses: &[(&str, u8)]) -> Interface {
    Interface { name: name.to_owned(), ..interface(index, kind, addresses) }
}

/// Default routes without gateway, of the families of which the interface has an address.
fn without_router(interface: Interface) -> Snapshot {
    let has = |v4: bool| interface.addresses.iter().any(|address| address.ip.is_ipv4() == v4);
    let leaves_by =
        ByFamily { v4: has(true).then_some(interface.index), v6: has(false).then_some(interface.index) };
    let direct = ByFamily { v4: leaves_by.v4.into_iter().collect(), v6: leaves_by.v6.into_iter().collect() };
    Snapshot { interfaces: vec![interface], direct, leaves_by, ..Snapshot::default() }
}

/// The router at home as ever, and a tunnel.
fn home_and_tunnel(leaves_by: ByFamily<Option<u32>>) -> Snapshot {
    let mut network = home();
    network.interfaces.push(named("wg0", 9, InterfaceKind::Tunnel, &[("10.2.0.2", 32), ("fd02::2", 128)]));
    Snapshot { leaves_by, ..network }
}

fn prove(world: &mut World, outcome: ProofOutcome) {
    let external = world.state().primary.unwrap().external().unwrap();
    let report = ProofReport { external, by: "anna".to_owned(), at: world.wall(), outcome };
    world.core.handle_proof(report, world.at());
    world.execute();
    world.seconds(1);
}

#[test]
fn a_line_that_this_computer_dials_itself_needs_no_router() {
    use InterfaceKind::{Physical, Tunnel};
    for (name, kind, address, external) in [
        ("ppp0", Tunnel, ("203.1.113.5", 32), "203.1.113.5:4242"),
        ("wwan0", Tunnel, ("203.1.113.5", 30), "203.1.113.5:4242"),
        ("eth0", Physical, ("203.1.113.5", 32), "203.1.113.5:4242"),
        ("wg0", Tunnel, ("203.1.113.5", 32), "203.1.113.5:4242"),
        ("ppp0", Tunnel, ("2a02:db8::5", 64), "[2a02:db8::5]:4242"),
        ("eth0", Physical, ("2a02:db8::5", 128), "[2a02:db8::5]:4242"),
    ] {
        let network = without_router(named(name, 4, kind, &[address]));
        let mut world = World::start_with(config(), Vec::new(), &network);
        world.seconds(60);
        let state = world.state();
        assert_eq!(state.verdict, MappingState::Mapped, "{name}: {}", state.sentence);
        let primary = state.primary.unwrap();
        assert_eq!((primary.protocol, primary.external()), (None, Some(external.parse().unwrap())), "{name}");
        assert!(state.sentence.contains("no router is in the way"), "{}", state.sentence);
        assert!(state.gateways.is_empty(), "{:?}", state.gateways);
        assert!(world.requests().is_empty() && world.counts().discover == 0);
        prove(&mut world, ProofOutcome::NoResponse);
        assert_eq!(world.verdict(), MappingState::Blocked, "{name} {external}");
        assert!(world.state().sentence.contains("firewall on this computer"));
        prove(&mut world, ProofOutcome::Arrived);
        assert_eq!(world.verdict(), MappingState::Mapped);
        world.want(Some(wanted(5000)));
        assert_eq!(world.state().primary.unwrap().external_port, 5000);
    }
}

#[test]
fn where_everything_leaves_by_a_table_of_its_own_a_public_address_there_counts_too() {
    let mut network = without_router(named("wg0", 4, InterfaceKind::Tunnel, &[("203.1.113.5", 32)]));
    network.direct.v4.clear();
    assert_eq!(uplinks(&network).len(), 1);
    network.leaves_by.v4 = None;
    assert_eq!(uplinks(&network), []);
    // A card of which no route without gateway is known may have a router for IPv6.
    let mut network = without_router(named("eth0", 4, InterfaceKind::Physical, &[("2a02:db8::5", 64)]));
    network.direct.v6.clear();
    assert_eq!(uplinks(&network), []);
}

#[test]
fn routers_come_first_and_no_address_twice() {
    let mut line = named("ppp0", 4, InterfaceKind::Tunnel, &[("203.1.113.5", 32), ("2a02:db8::5", 64)]);
    line.addresses.insert(1, temporary("2a02:db8::dead"));
    let mut network = without_router(line);
    network.interfaces.push(interface(2, InterfaceKind::Physical, &[(LOCAL, 24), ("2a02::23", 64)]));
    network.gateways = vec![gateway(2, GATEWAY), gateway(2, "fe80::1")];
    network.direct.v6.push(2);
    let shown: Vec<String> = uplinks(&network).iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "192.168.1.23 by 192.168.1.1 (eth2)",
            "2a02::23 by fe80::1 (eth2)",
            "203.1.113.5 (ppp0)",
            "2a02:db8::5 (ppp0)",
        ]
    );
}

#[test]
fn what_friends_see_of_a_vpn_does_not_accuse_the_router() {
    // As wg-quick leaves it: the router's default route is as before.
    let by_tunnel = ByFamily { v4: Some(9), v6: None };
    let mut world =
        World::start_with(config(), vec![Router::new(GATEWAY, &Protocol::ALL)], &home_and_tunnel(by_tunnel));
    world.seconds(5);
    // From the tunnel's address, and from the card's where the tunnel has none.
    for local in ["10.2.0.2", LOCAL] {
        see(&mut world, VPN, local);
        let state = world.state();
        assert_eq!(state.verdict, MappingState::Mapped, "{}", state.sentence);
    }
    let external = world.state().primary.unwrap().external().unwrap();
    assert_eq!((external.ip(), external.port()), (WAN, PORT));
    // Without the VPN the same accuses it.
    world.network(&home());
    world.seconds(5);
    see(&mut world, VPN, LOCAL);
    assert_eq!(world.verdict(), MappingState::DoubleNat);
}

#[test]
fn a_tunnel_for_ipv6_alone_leaves_the_sightings_of_ipv4_alone() {
    let by_tunnel = ByFamily { v4: Some(2), v6: Some(9) };
    assert!(!leaves_by_tunnel(&home_and_tunnel(by_tunnel)));
    let mut world =
        World::start_with(config(), vec![Router::new(GATEWAY, &Protocol::ALL)], &home_and_tunnel(by_tunnel));
    world.seconds(5);
    see(&mut world, VPN, LOCAL);
    assert_eq!(world.verdict(), MappingState::DoubleNat);
}

#[test]
fn without_a_router_the_words_say_what_there_is_instead() {
    use InterfaceKind::{Container, Physical, Tunnel};
    let check = |network: &Snapshot, sentence: &str, step: &str| {
        let mut world = World::start_with(config(), Vec::new(), network);
        world.seconds(1);
        let state = world.state();
        assert_eq!(state.verdict, MappingState::NoRouter);
        assert_eq!(state.sentence, sentence);
        assert!(state.next_step.as_ref().is_some_and(|words| words.contains(step)), "{:?}", state.next_step);
    };
    let vpn = "no router was found: everything from this computer leaves through a VPN";
    let line = |name: &str| {
        format!(
            "no router was found: this computer is connected through {name} without one, and has no public address there"
        )
    };
    check(&without_router(named("wg0", 4, Tunnel, &[("10.2.0.2", 32)])), vpn, "VPN");
    check(&without_router(named("tun0", 4, Tunnel, &[("fd02::2", 64)])), vpn, "VPN");
    for (name, kind) in [("ppp0", Tunnel), ("wwp0s20u4", Tunnel), ("eth0", Physical)] {
        let network = without_router(named(name, 4, kind, &[("100.64.3.7", 32)]));
        check(&network, &line(name), "ask the provider");
        // Also where only the routes are known.
        check(&Snapshot { leaves_by: ByFamily::default(), ..network }, &line(name), "ask the provider");
    }
    check(
        &without_router(named("veth0", 4, Container, &[("172.17.0.2", 16)])),
        "no router was found: everything from this computer leaves through veth0, which leads to containers or virtual machines",
        "network settings",
    );
    let card = named("eth0", 4, Physical, &[("fd00::23", 64)]);
    let leaves_by = ByFamily { v4: None, v6: Some(4) };
    let gateways = vec![gateway(4, "fe80::1")];
    let mut network = Snapshot { interfaces: vec![card], gateways, leaves_by, ..Snapshot::default() };
    let router = "the router at fe80::1 can't let friends in: this computer has no usable address from it";
    check(&network, router, "global IPv6");
    network.leaves_by.v6 = None;
    check(&network, router, "global IPv6");
    network.gateways.clear();
    check(&network, "no router was found: this computer has no default route", "network settings");
}

#[test]
fn a_way_out_that_changes_is_told_although_there_is_no_uplink() {
    let network = without_router(named("ppp0", 4, InterfaceKind::Tunnel, &[("100.64.3.7", 32)]));
    let mut world = World::start_with(config(), Vec::new(), &network);
    let before = world.state().sentence;
    world.network(&Snapshot { leaves_by: ByFamily::default(), direct: ByFamily::default(), ..network });
    assert_ne!(world.state().sentence, before);
}

fn see(world: &mut World, ip: &str, local: &str) {
    let (ip, local): (IpAddr, IpAddr) = (ip.parse().unwrap(), local.parse().unwrap());
    world.core.handle_seen_from_outside(ip, local, world.at(), world.at());
    world.execute();
}
