//! What a person reads, word for word.

use kith_network::{ByFamily, InterfaceKind, Snapshot};

use super::router::Router;
use super::world::{GATEWAY, PORT, World, config, gateway, home, interface, wanted};
use crate::core::{ProofOutcome, ProofReport};
use crate::{Protocol, Protocols, RefusalKind};

fn check(world: &World, sentence: &str, next_step: Option<&str>) {
    let state = world.state();
    assert_eq!(state.sentence, sentence);
    assert_eq!(state.next_step.as_deref(), next_step);
    for text in [Some(state.sentence), state.next_step].into_iter().flatten() {
        assert!(
            !text.ends_with('.') && !text.contains("  ") && !text.starts_with(char::is_uppercase),
            "{text}"
        );
    }
}

fn settled(router: Router) -> World {
    let mut world = World::start(vec![router]);
    world.seconds(30);
    world
}

fn dial(world: &mut World, outcome: ProofOutcome) {
    let external = world.state().primary.unwrap().external().unwrap();
    let report = ProofReport { external, by: "anna".to_owned(), at: world.wall(), outcome };
    world.core.handle_proof(report, world.at());
    world.execute();
    world.seconds(1);
}

#[test]
fn mapped_and_proved() {
    let mut world = settled(Router::new(GATEWAY, &[Protocol::Upnp]));
    check(
        &world,
        "the router at 192.168.1.1 leads 203.1.113.5:4242 to this computer (UPnP), not yet proved: no friend has dialled it from outside",
        None,
    );
    dial(&mut world, ProofOutcome::Arrived);
    check(
        &world,
        "the router at 192.168.1.1 leads 203.1.113.5:4242 to this computer (UPnP), proved by anna at 2026-09-21 14:13 UTC",
        None,
    );
}

#[test]
fn blocked_where_the_router_can_be_read_and_where_not() {
    let mut world = settled(Router::new(GATEWAY, &[Protocol::Upnp]));
    dial(&mut world, ProofOutcome::NoResponse);
    check(
        &world,
        "the router at 192.168.1.1 forwards TCP 4242 to this computer, but anna could not connect at 2026-09-21 14:13 UTC (nothing answered): usually a firewall on this computer drops it",
        Some("allow incoming TCP 4242 in the firewall of this computer"),
    );
    let mut world = settled(Router::new(GATEWAY, &[Protocol::NatPmp]));
    dial(&mut world, ProofOutcome::Refused);
    check(
        &world,
        "the router at 192.168.1.1 forwards TCP 4242 to this computer, but anna could not connect at 2026-09-21 14:13 UTC (the connection was refused): usually a firewall on this computer drops it, or the router does not do what it says (it can't be read back by NAT-PMP)",
        Some(
            "allow incoming TCP 4242 in the firewall of this computer; if it is allowed already, look on the router's page, usually http://192.168.1.1, whether TCP 4242 leads to 192.168.1.23:4242",
        ),
    );
}

#[test]
fn double_nats() {
    let mut router = Router::new(GATEWAY, &[Protocol::Pcp]);
    router.wan = Some("100.64.3.7".parse().unwrap());
    let mut world = settled(router);
    check(
        &world,
        "the router at 192.168.1.1 opened port 4242, but its own address 100.64.3.7 is not on the Internet: your provider shares one address among customers (carrier-grade NAT)",
        Some("ask the provider for an IPv4 address of your own, or for IPv6"),
    );
    world.router().wan = Some("192.168.0.2".parse().unwrap());
    world.seconds(60);
    check(
        &world,
        "the router at 192.168.1.1 opened port 4242, but its own address 192.168.0.2 is not on the Internet: a second router is between it and the Internet",
        Some(
            "forward TCP 4242 on the second router to 192.168.0.2:4242 too, or switch one of the two routers to bridge mode",
        ),
    );
}

#[test]
fn nothing_to_ask_or_nobody_to_ask() {
    let mut world = World::new(config(), vec![Router::new(GATEWAY, &Protocol::ALL)]);
    world.network(&home());
    check(
        &world,
        "this computer takes no connections from friends, so no router is asked to let them in",
        None,
    );
    world.want(Some(wanted(PORT)));
    check(&world, "asking the router at 192.168.1.1 to let friends in", None);
    world.protocols(Protocols::NONE);
    world.seconds(10);
    check(
        &world,
        "no router is asked to let friends in: UPnP, NAT-PMP and PCP are switched off in Kith's settings",
        Some(
            "switch on nat.upnp, nat.nat-pmp or nat.pcp in the settings, or forward TCP 4242 on the router's page, usually http://192.168.1.1, to 192.168.1.23:4242",
        ),
    );
    world.protocols(Protocols::ALL);
    let tunnel = Snapshot {
        interfaces: vec![interface(7, InterfaceKind::Tunnel, &[("10.8.0.2", 24)])],
        gateways: vec![gateway(7, "10.8.0.1")],
        leaves_by: ByFamily { v4: Some(7), v6: None },
        ..Snapshot::default()
    };
    world.network(&tunnel);
    check(
        &world,
        "no router was found: everything from this computer leaves through a VPN",
        Some(
            "to be reachable from outside, let the VPN leave out the local network, or have the VPN's far end forward a port",
        ),
    );
}

#[test]
fn refused() {
    let world = settled(
        Router::new(GATEWAY, &[Protocol::Upnp])
            .with(|quirks| quirks.refuses = Some((RefusalKind::NotAuthorized, 606))),
    );
    check(
        &world,
        "the router at 192.168.1.1 does not open port 4242: UPnP: refused: it is not allowed there (error 606)",
        Some("forward TCP 4242 on the router's page, usually http://192.168.1.1, to 192.168.1.23:4242"),
    );
}

#[test]
fn ipv6_only_and_beside_a_router_that_opens_nothing_for_ipv4() {
    let card = interface(2, InterfaceKind::Physical, &[("192.168.1.23", 24), ("2a02:db8:1::23", 64)]);
    let network = Snapshot {
        interfaces: vec![card],
        gateways: vec![gateway(2, GATEWAY), gateway(2, "fe80::1")],
        ..Snapshot::default()
    };
    let routers = vec![Router::new(GATEWAY, &[]), Router::new("fe80::1", &[Protocol::Pcp])];
    let mut world = World::start_with(config(), routers, &network);
    world.seconds(30);
    check(
        &world,
        "the router at fe80::1 lets connections to [2a02:db8:1::23]:4242 through (PCP), not yet proved: no friend has dialled it from outside; over IPv6 only: the router at 192.168.1.1 opens nothing for IPv4",
        Some("forward TCP 4242 on the router's page, usually http://192.168.1.1, to 192.168.1.23:4242"),
    );
    let mut alone = network;
    alone.gateways.remove(0);
    let mut world = World::start_with(config(), vec![Router::new("fe80::1", &[])], &alone);
    world.seconds(30);
    check(
        &world,
        "the router at fe80::1 does not open ports by itself: it speaks neither UPnP nor PCP",
        Some(
            "allow TCP 4242 to 2a02:db8:1::23 in the firewall on the router's page, usually http://[fe80::1]",
        ),
    );
}
