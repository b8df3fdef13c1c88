//! What happens while a mapping is held.

use std::net::IpAddr;
use std::time::Duration;

use kith_network::{ByFamily, InterfaceKind, Snapshot};

use super::router::{Router, WAN};
use super::world::{GATEWAY, LOCAL, PORT, World, address, config, gateway, home, interface, wanted};
use crate::core::{CoreConfig, ProofOutcome, ProofReport};
use crate::{Epoch, Hint, MappingState, Proof, Protocol, Wanted};

fn mapped(speaks: &[Protocol]) -> World {
    let mut world = World::start(vec![Router::new(GATEWAY, speaks)]);
    world.seconds(100);
    assert!(world.is_mapped());
    world
}

fn announce(protocol: Protocol) -> Hint {
    Hint::Announced { from: GATEWAY.parse().unwrap(), index: Some(2), protocol, epoch: Some(Epoch(0)) }
}

fn prove(world: &mut World, outcome: ProofOutcome) {
    let external = world.state().primary.unwrap().external().unwrap();
    let report = ProofReport { external, by: "anna".to_owned(), at: world.wall(), outcome };
    world.core.handle_proof(report, world.at());
    world.execute();
}

#[test]
fn a_mapping_that_vanished_silently_is_back_within_thirty_seconds() {
    for protocol in Protocol::ALL {
        for phase in 0..110 {
            let mut world = mapped(&[protocol]);
            world.seconds(phase);
            world.router().table.clear();
            let took = world.until("back", Duration::from_secs(30), World::is_mapped);
            assert!(took <= Duration::from_secs(30), "{protocol}: {took:?}");
        }
    }
}

#[test]
fn a_mapping_that_leads_elsewhere_is_noticed_and_another_port_is_taken() {
    let mut world = mapped(&[Protocol::Upnp]);
    world.router().table.clear();
    world.router().hold(PORT, "192.168.1.7:80", "thief");
    let took = world.until("back", Duration::from_secs(30), World::is_mapped);
    assert!(took <= Duration::from_secs(30));
    world.seconds(1);
    assert_ne!(world.state().primary.unwrap().external_port, PORT);
    assert_eq!(world.routers[0].leads(PORT), Some("192.168.1.7:80".parse().unwrap()));
}

#[test]
fn an_announced_restart_is_repaired_at_once() {
    for protocol in Protocol::ALL {
        for said in Protocol::ALL {
            let mut world = mapped(&[protocol]);
            let now = world.now;
            world.router().reboot(now);
            world.hint(announce(said));
            let took = world.until("back", Duration::from_secs(5), World::is_mapped);
            assert!(took < Duration::from_secs(1), "{protocol}: {took:?}");
        }
    }
}

#[test]
fn a_restart_that_took_minutes_is_repaired_in_seconds_with_the_same_port_and_another_address() {
    for protocol in Protocol::ALL {
        for down in [20, 60, 150, 290] {
            let mut world = mapped(&[protocol]);
            world.router().up = false;
            world.seconds(down);
            let now = world.now;
            world.router().reboot(now);
            world.router().wan = Some("203.1.113.99".parse().unwrap());
            let took = world.until("back", Duration::from_secs(30), World::is_mapped);
            assert!(took < Duration::from_secs(5), "{protocol} after {down}: {took:?}");
            world.seconds(1);
            let primary = world.state().primary.unwrap();
            assert_eq!(primary.external(), Some("203.1.113.99:4242".parse().unwrap()));
            assert_eq!(primary.proof, Proof::NotYet);
        }
    }
}

#[test]
fn a_router_that_was_exchanged_for_one_with_another_protocol_is_served_again() {
    for (before, after) in [
        (Protocol::Upnp, Protocol::Pcp),
        (Protocol::Pcp, Protocol::Upnp),
        (Protocol::NatPmp, Protocol::Upnp),
        (Protocol::Upnp, Protocol::NatPmp),
    ] {
        let mut world = mapped(&[before]);
        let now = world.now;
        world.router().reboot(now);
        world.router().speaks = vec![after];
        let took = world.until("back", Duration::from_secs(60), World::is_mapped);
        assert!(took < Duration::from_secs(45), "{before} to {after}: {took:?}");
        world.seconds(10);
        assert_eq!(world.state().primary.unwrap().protocol, Some(after));
    }
}

#[test]
fn who_refused_for_an_hour_is_asked_at_once_when_a_person_wants_it() {
    for protocol in Protocol::ALL {
        let soon = |asks: bool| {
            let mut world = World::start(vec![Router::new(GATEWAY, &[])]);
            world.seconds(3600);
            assert!(!world.is_mapped());
            world.router().speaks = vec![protocol];
            if asks {
                world.core.handle_asked_anew(world.at());
                world.execute();
            }
            world.seconds(5);
            world.is_mapped()
        };
        assert_eq!((soon(true), soon(false)), (true, false), "{protocol}");
    }
}

#[test]
fn a_silent_gateway_keeps_its_mapping_shown_until_the_lease_ends_and_says_so() {
    let mut world = mapped(&[Protocol::Upnp]);
    world.router().up = false;
    world.seconds(60);
    let state = world.state();
    assert_eq!(state.verdict, MappingState::Mapped);
    assert!(
        state.gateways[0]
            .protocols
            .contains(&(Protocol::Upnp, "mapped, but no answer at the moment".to_owned()))
    );
    assert!(state.sentence.ends_with("the router does not answer at the moment"), "{}", state.sentence);
    world.seconds(3600);
    assert_eq!(world.verdict(), MappingState::RouterOff);
    assert!(world.counts().renewal <= 3);
}

#[test]
fn a_flood_of_hints_costs_next_to_nothing() {
    for protocol in Protocol::ALL {
        let mut world = mapped(&[protocol]);
        let before = world.commands;
        for number in 0..100_000_u64 {
            if number % 1000 == 0 {
                world.millis(10);
            }
            let hint = match number % 3 {
                0 => announce(Protocol::ALL[(number % 9 / 3) as usize]),
                1 => Hint::Doubt { why: "noise".to_owned() },
                // Not a gateway of ours: nothing at all.
                _ => Hint::Announced {
                    from: "192.168.1.66".parse().unwrap(),
                    index: Some(2),
                    protocol,
                    epoch: None,
                },
            };
            world.hint(hint);
        }
        let cost = world.commands - before;
        assert!(cost < 40, "{protocol}: {cost} commands");
        // And it goes on costing little.
        for _ in 0..600 {
            world.millis(100);
            world.hint(announce(protocol));
        }
        let cost = world.commands - before;
        assert!(cost < 150, "{protocol}: {cost} commands");
    }
}

#[test]
fn a_forged_announcement_is_not_believed() {
    let mut world = mapped(&[Protocol::Pcp]);
    prove(&mut world, ProofOutcome::Arrived);
    world.hint(announce(Protocol::Pcp));
    world.seconds(120);
    assert!(matches!(world.state().primary.unwrap().proof, Proof::Proved { .. }));
}

#[test]
fn an_announcement_of_a_router_that_spoke_nothing_starts_discovery() {
    let mut world = World::start(vec![Router::new(GATEWAY, &[])]);
    world.seconds(3000);
    world.router().speaks = vec![Protocol::NatPmp];
    world.hint(announce(Protocol::NatPmp));
    let took = world.until("mapped", Duration::from_secs(5), World::is_mapped);
    assert!(took < Duration::from_secs(1));
}

#[test]
fn resume_from_sleep_makes_leases_older_and_looks_at_once() {
    for protocol in Protocol::ALL {
        let mut world = mapped(&[protocol]);
        // While the computer slept for an hour and more, the router forgot.
        world.router().table.clear();
        world.core.handle_resume(Duration::from_secs(7300), world.at());
        world.execute();
        let took = world.until("back", Duration::from_secs(5), World::is_mapped);
        assert!(took < Duration::from_secs(1), "{protocol}: {took:?}");
    }
}

#[test]
fn sleep_does_not_look_like_a_restart_of_the_router() {
    for protocol in [Protocol::Pcp, Protocol::NatPmp] {
        let mut world = mapped(&[protocol]);
        prove(&mut world, ProofOutcome::Arrived);
        // The router's clock went on.
        world.router().age(Duration::from_secs(600));
        world.core.handle_resume(Duration::from_secs(600), world.at());
        world.execute();
        world.seconds(100);
        assert!(matches!(world.state().primary.unwrap().proof, Proof::Proved { .. }), "{protocol}");
    }
}

#[test]
fn a_new_external_address_is_noticed_and_takes_the_proof_with_it() {
    for protocol in Protocol::ALL {
        let mut world = mapped(&[protocol]);
        prove(&mut world, ProofOutcome::Arrived);
        let proved = world.state();
        assert!(proved.sentence.contains("proved by anna at 2026-"), "{}", proved.sentence);
        world.seconds(7200);
        assert!(matches!(world.state().primary.unwrap().proof, Proof::Proved { .. }), "kept over renewals");
        let new: IpAddr = "203.1.113.77".parse().unwrap();
        world.router().wan = Some(new);
        let took = world.until("noticed", Duration::from_secs(120), |world| {
            world.state().primary.unwrap().external_ip == Some(new)
        });
        assert!(took < Duration::from_secs(110), "{protocol}: {took:?}");
        assert_eq!(world.state().primary.unwrap().proof, Proof::NotYet);
    }
}

#[test]
fn only_physical_interfaces_are_asked_each_with_its_own_address() {
    let network = Snapshot {
        interfaces: vec![
            interface(2, InterfaceKind::Physical, &[("192.168.1.23", 24), ("10.9.0.2", 24)]),
            interface(3, InterfaceKind::Physical, &[("10.0.0.5", 8)]),
            interface(4, InterfaceKind::Tunnel, &[("10.8.0.2", 24)]),
            interface(5, InterfaceKind::Container, &[("172.17.0.1", 16)]),
        ],
        gateways: vec![
            gateway(4, "10.8.0.1"),
            gateway(2, GATEWAY),
            gateway(3, "10.0.0.1"),
            gateway(5, "172.17.0.2"),
        ],
        ..Snapshot::default()
    };
    let routers = ["10.8.0.1", GATEWAY, "10.0.0.1", "172.17.0.2"].map(|ip| Router::new(ip, &Protocol::ALL));
    let mut world = World::start_with(config(), routers.to_vec(), &network);
    world.seconds(5);
    let state = world.state();
    let internal: Vec<String> = state.mappings.iter().map(|mapping| mapping.internal.to_string()).collect();
    assert_eq!(internal, ["192.168.1.23:4242", "10.0.0.5:4242"]);
    assert!(world.routers[0].table.is_empty() && world.routers[3].table.is_empty());
    assert_eq!(world.core.tally().uplinks.len(), 2);

    // One card is unplugged: its mapping is gone from the state, and remembered for later.
    let mut smaller = network.clone();
    smaller.gateways.retain(|gateway| gateway.index != 2);
    world.network(&smaller);
    assert_eq!(world.state().mappings.len(), 1);
    assert_eq!(world.remembered.len(), 2);
    world.network(&network);
    world.seconds(5);
    assert_eq!(world.state().mappings.len(), 2);
}

#[test]
fn a_listener_on_loopback_or_on_one_address_is_mapped_only_there() {
    let mut world = World::new(config(), vec![Router::new(GATEWAY, &Protocol::ALL)]);
    world.network(&home());
    let bound =
        |ip: &str| Some(Wanted { port: wanted(PORT).port, bound: vec![ip.parse::<IpAddr>().unwrap()] });
    world.want(bound("127.0.0.1"));
    world.seconds(5);
    assert_eq!(world.verdict(), MappingState::Off);
    world.want(bound(LOCAL));
    world.seconds(5);
    assert_eq!(world.verdict(), MappingState::Mapped);
    world.want(None);
    world.seconds(5);
    assert_eq!(world.verdict(), MappingState::Off);
    assert!(world.routers[0].table.is_empty());
}

#[test]
fn a_public_address_of_our_own_needs_no_router() {
    let network = Snapshot {
        interfaces: vec![interface(2, InterfaceKind::Physical, &[("203.1.113.5", 32)])],
        gateways: vec![gateway(2, "172.31.1.1")],
        ..Snapshot::default()
    };
    let mut world = World::start_with(config(), Vec::new(), &network);
    world.seconds(60);
    let primary = world.state().primary.unwrap();
    assert_eq!((primary.protocol, primary.external()), (None, Some("203.1.113.5:4242".parse().unwrap())));
    assert!(world.requests().is_empty() && world.counts().discover == 0);
    prove(&mut world, ProofOutcome::NoResponse);
    let state = world.state();
    assert_eq!(state.verdict, MappingState::Blocked);
    assert!(state.sentence.contains("firewall on this computer"), "{}", state.sentence);
    prove(&mut world, ProofOutcome::Arrived);
    assert_eq!(world.verdict(), MappingState::Mapped);
    world.want(Some(wanted(5000)));
    assert_eq!(world.state().primary.unwrap().external_port, 5000);
}

#[test]
fn ipv6_gets_pinholes_for_its_stable_addresses_and_never_a_double_nat() {
    let mut card = interface(2, InterfaceKind::Physical, &[("2a02:db8:1::23", 64), ("fe80::23", 64)]);
    card.addresses.insert(0, crate::core::tests::world::temporary("2a02:db8:1::dead"));
    card.addresses.push(address("fd00::1", 64));
    let network =
        Snapshot { interfaces: vec![card], gateways: vec![gateway(2, "fe80::1")], ..Snapshot::default() };
    for protocol in [Protocol::Pcp, Protocol::Upnp] {
        let mut world = World::start_with(config(), vec![Router::new("fe80::1", &[protocol])], &network);
        world.seconds(5);
        let state = world.state();
        assert_eq!(state.mappings.len(), 1);
        let primary = state.primary.unwrap();
        assert_eq!(primary.external(), Some("[2a02:db8:1::23]:4242".parse().unwrap()));
        assert_eq!((primary.protocol, primary.state), (Some(protocol), MappingState::Mapped));
        let asked = world.log.iter().any(|(_, command)| format!("{command:?}").contains("NatPmp"));
        assert!(!asked);
        // A pinhole that vanished is made again.
        world.router().table.clear();
        let local = "2a02:db8:1::23".parse().unwrap();
        world.until("back", Duration::from_secs(30), |world| world.routers[0].count(local) == 1);
        prove(&mut world, ProofOutcome::Arrived);
        assert_eq!(world.verdict(), MappingState::Mapped);
        world.stop();
        world.seconds(5);
        assert!(world.routers[0].table.is_empty());
    }
    // A router that speaks nothing, and no firewall in it: a friend's dial shows it.
    let mut world = World::start_with(config(), vec![Router::new("fe80::1", &[])], &network);
    world.seconds(10);
    assert_eq!(world.verdict(), MappingState::RouterOff);
    let report = ProofReport {
        external: "[2a02:db8:1::23]:4242".parse().unwrap(),
        by: "anna".to_owned(),
        at: world.wall(),
        outcome: ProofOutcome::Arrived,
    };
    world.core.handle_proof(report, world.at());
    world.execute();
    assert_eq!(world.verdict(), MappingState::Mapped);
}

#[test]
fn a_private_or_shared_external_address_is_a_double_nat_and_each_has_its_own_advice() {
    for (wan, words, step) in [
        ("100.64.3.7", "carrier-grade NAT", "ask the provider"),
        ("192.168.0.2", "a second router", "forward TCP 4242 on the second router to 192.168.0.2:4242"),
        ("10.1.2.3", "a second router", "bridge mode"),
    ] {
        let mut router = Router::new(GATEWAY, &Protocol::ALL);
        router.wan = Some(wan.parse().unwrap());
        let mut world = World::start(vec![router]);
        world.seconds(5);
        let state = world.state();
        assert_eq!(state.verdict, MappingState::DoubleNat);
        assert!(state.sentence.contains(words) && state.sentence.contains(wan), "{}", state.sentence);
        assert!(state.next_step.clone().unwrap().contains(step), "{:?}", state.next_step);
    }
}

#[test]
fn a_router_without_an_address_of_its_own_is_behind_another_one_if_friends_see_us() {
    let mut router = Router::new(GATEWAY, &Protocol::ALL);
    router.wan = None;
    let mut world = World::start(vec![router]);
    world.seconds(10);
    assert_eq!(world.verdict(), MappingState::RouterOff);
    world.see("198.51.7.4");
    let state = world.state();
    assert_eq!(state.verdict, MappingState::DoubleNat);
    assert!(state.sentence.contains("friends see 198.51.7.4"), "{}", state.sentence);
    assert!(state.next_step.unwrap().contains("ask the provider"));
    world.router().wan = Some(WAN);
    world.seconds(40);
    assert_eq!(world.verdict(), MappingState::Mapped);
    // An outage later on accuses nobody: nothing was seen since.
    world.router().wan = None;
    world.router().table.clear();
    world.seconds(40);
    assert_ne!(world.verdict(), MappingState::DoubleNat);
}

#[test]
fn friends_who_see_another_address_reveal_a_double_nat_but_not_for_long_after_a_change() {
    let mut world = mapped(&Protocol::ALL);
    let other: IpAddr = "198.51.7.4".parse().unwrap();
    let see = |world: &mut World, ip: IpAddr| {
        world.see(&ip.to_string());
        world.verdict()
    };
    assert_eq!(see(&mut world, "192.168.1.23".parse().unwrap()), MappingState::Mapped, "a friend at home");
    assert_eq!(see(&mut world, other), MappingState::DoubleNat);
    let state = world.state();
    assert!(state.sentence.contains("friends see 198.51.7.4"), "{}", state.sentence);
    world.seconds(1);
    assert_eq!(see(&mut world, WAN), MappingState::Mapped);
    world.seconds(1);
    assert_eq!(see(&mut world, other), MappingState::Mapped, "one friend saw the right one just now");
    world.seconds(700);
    assert_eq!(world.verdict(), MappingState::DoubleNat, "it persists");
    prove(&mut world, ProofOutcome::Arrived);
    assert_eq!(world.verdict(), MappingState::Mapped, "what works is not doubted");

    let mut world = mapped(&Protocol::ALL);
    see(&mut world, WAN);
    world.seconds(700);
    world.router().wan = Some("203.1.113.77".parse().unwrap());
    world.seconds(120);
    assert_eq!(world.verdict(), MappingState::Mapped, "the former address accuses nobody");
}

#[test]
fn a_failed_dial_tries_another_protocol_once_and_then_blames_the_firewall() {
    let mut world = mapped(&Protocol::ALL);
    prove(&mut world, ProofOutcome::Arrived);
    prove(&mut world, ProofOutcome::NoResponse);
    world.seconds(3);
    let moved = world.state().primary.unwrap();
    assert_ne!(moved.protocol, Some(Protocol::Pcp));
    assert_eq!(world.routers[0].table.len(), 1);
    assert_eq!(moved.proof, Proof::NotYet);
    prove(&mut world, ProofOutcome::NoResponse);
    world.seconds(3);
    let state = world.state();
    assert_eq!(state.verdict, MappingState::Blocked);
    assert_eq!(state.primary.clone().unwrap().protocol, moved.protocol);
    assert!(state.sentence.contains("anna could not connect at 2026-"), "{}", state.sentence);
    assert!(state.next_step.unwrap().starts_with("allow incoming TCP 4242"));
    world.seconds(4000);
    assert_eq!(world.verdict(), MappingState::Blocked, "time alone proves nothing");
    prove(&mut world, ProofOutcome::Arrived);
    assert_eq!(world.verdict(), MappingState::Mapped);
}

#[test]
fn a_router_that_lies_is_found_out_by_a_dial_and_left_for_another_protocol() {
    let mut world = World::start(vec![
        Router::new(GATEWAY, &[Protocol::Pcp, Protocol::Upnp])
            .with(|quirks| quirks.lies = Some(Protocol::Pcp)),
    ]);
    world.seconds(100);
    assert_eq!(world.verdict(), MappingState::Mapped, "there is no way to read PCP back");
    assert!(!world.is_mapped());
    prove(&mut world, ProofOutcome::Refused);
    world.seconds(5);
    assert!(world.is_mapped());
    prove(&mut world, ProofOutcome::Arrived);
    assert_eq!(world.state().primary.unwrap().protocol, Some(Protocol::Upnp));

    // One that can be read back is found out without a friend.
    let mut world = World::start(vec![
        Router::new(GATEWAY, &[Protocol::Upnp, Protocol::NatPmp])
            .with(|quirks| quirks.lies = Some(Protocol::Upnp)),
    ]);
    world.protocols(crate::Protocols { upnp: true, ..crate::Protocols::NONE });
    world.seconds(60);
    assert!(world.counts().map > 1);
}

#[test]
fn no_router_and_no_network_are_told_apart() {
    let mut world = World::new(config(), Vec::new());
    world.want(Some(wanted(PORT)));
    assert_eq!(world.verdict(), MappingState::Searching);
    world.network(&Snapshot::default());
    assert_eq!(world.verdict(), MappingState::NoRouter);
    assert_eq!(world.state().sentence, "this computer is not connected to any network");
    world.network(&Snapshot { gateways: Vec::new(), leaves_by: ByFamily::default(), ..home() });
    assert_eq!(world.state().sentence, "no router was found: this computer has no default route");
    assert!(world.state().next_step.is_some());
}

#[test]
fn two_kiths_behind_one_router_get_two_ports() {
    for protocol in Protocol::ALL {
        let mut first = World::start(vec![Router::new(GATEWAY, &[protocol])]);
        first.seconds(5);
        let network = super::world::home_at("192.168.1.24");
        let other = CoreConfig { seed: 8, label: "Kith aaaaaaaa".to_owned(), ..config() };
        let mut second = World::start_with(other, vec![first.router().clone()], &network);
        second.seconds(5);
        let table = &second.routers[0].table;
        assert_eq!(table.len(), 2, "{protocol}: {table:#?}");
        let state = second.state();
        assert_eq!(state.verdict, MappingState::Mapped);
        assert!(state.sentence.contains("port 4242 of the router"), "{}", state.sentence);
    }
}

#[test]
fn an_answer_that_nobody_asked_for_changes_nothing() {
    let mut world = mapped(&Protocol::ALL);
    let before = (world.state(), world.commands);
    for id in [0, 1, 2, 3, u64::MAX] {
        world.core.handle_answer(super::super::AskId(id), crate::Answer::Unmapped, world.at());
        world.execute();
    }
    assert_eq!((world.state(), world.commands), before);
}
