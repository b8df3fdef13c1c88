//! What is said of a mapping must follow what is known, and only that.

use std::net::IpAddr;
use std::time::Duration;

use kith_network::{InterfaceKind, Snapshot};

use super::super::Command;
use super::super::chance::ports;
use super::super::epoch::{EpochTrack, Table};
use super::super::time::Tick;
use super::router::Router;
use super::world::{GATEWAY, LABEL, LOCAL, PORT, World, config, gateway, interface};
use crate::core::{ProofOutcome, ProofReport};
use crate::{Epoch, MappingState, Proof, Protocol, RefusalKind};

const OTHER: &str = "198.51.7.4";
const SECOND_GATEWAY: &str = "10.0.0.1";
const SECOND_LOCAL: &str = "10.0.0.5";

fn offline(gateway: &str) -> Router {
    let mut router = Router::new(gateway, &Protocol::ALL);
    router.wan = None;
    router
}

fn mapped(speaks: &[Protocol]) -> World {
    let mut world = World::start(vec![Router::new(GATEWAY, speaks)]);
    world.seconds(100);
    assert_eq!(world.verdict(), MappingState::Mapped);
    world
}

/// Two cards, each with a router of its own.
fn two_ways(routers: Vec<Router>) -> World {
    let network = Snapshot {
        interfaces: vec![
            interface(2, InterfaceKind::Physical, &[(LOCAL, 24)]),
            interface(3, InterfaceKind::Physical, &[(SECOND_LOCAL, 24)]),
        ],
        gateways: vec![gateway(2, GATEWAY), gateway(3, SECOND_GATEWAY)],
        ..Snapshot::default()
    };
    let mut world = World::start_with(config(), routers, &network);
    world.seconds(30);
    world
}

/// One card and one router, which speaks PCP only.
fn with_ipv6(locals: &[&str], gateways: &[&str], routers: Vec<Router>) -> World {
    let locals: Vec<_> = locals.iter().map(|ip| (*ip, if ip.contains(':') { 64 } else { 24 })).collect();
    let network = Snapshot {
        interfaces: vec![interface(2, InterfaceKind::Physical, &locals)],
        gateways: gateways.iter().map(|ip| gateway(2, ip)).collect(),
        ..Snapshot::default()
    };
    let mut world = World::start_with(config(), routers, &network);
    world.seconds(30);
    world
}

fn dial(world: &mut World, outcome: ProofOutcome) {
    let external = world.state().primary.unwrap().external().unwrap();
    let report = ProofReport { external, by: "anna".to_owned(), at: world.wall(), outcome };
    world.core.handle_proof(report, world.at());
    world.execute();
}

fn is_proved(world: &World) -> bool {
    world.state().primary.is_some_and(|mapping| matches!(mapping.proof, Proof::Proved { .. }))
}

fn changes(world: &World) -> usize {
    world.log.iter().filter(|(_, command)| *command == Command::Changed).count()
}

#[test]
fn what_friends_see_counts_also_if_they_told_it_before_the_router_answered() {
    // The link is there before the router said anything, and lives on: it is heard again and again.
    let mut world = World::start(vec![offline(GATEWAY)]);
    world.see(OTHER);
    world.seconds(30);
    assert_eq!(world.verdict(), MappingState::RouterOff, "what was seen before an outage says nothing of it");
    world.see(OTHER);
    assert_eq!(world.verdict(), MappingState::DoubleNat);

    let mut world = World::start(vec![Router::new(GATEWAY, &Protocol::ALL)]);
    world.see(OTHER);
    world.seconds(30);
    assert_eq!(world.verdict(), MappingState::Mapped);
    world.see(OTHER);
    assert_eq!(world.verdict(), MappingState::DoubleNat);
}

#[test]
fn what_was_heard_counts_from_when_it_was_heard_not_from_when_it_was_told() {
    let mut world = World::start(vec![offline(GATEWAY)]);
    let before = world.at();
    world.seconds(60);
    let (ip, local) = (OTHER.parse().unwrap(), LOCAL.parse().unwrap());
    world.core.handle_seen_from_outside(ip, local, before, world.at());
    world.execute();
    assert_eq!(world.verdict(), MappingState::RouterOff);
    // It is as old after the computer slept.
    world.core.handle_resume(Duration::from_secs(3600), world.at());
    world.execute();
    world.seconds(30);
    world.core.handle_seen_from_outside(ip, local, before, world.at());
    world.execute();
    assert_eq!(world.verdict(), MappingState::RouterOff);
    world.see(OTHER);
    assert_eq!(world.verdict(), MappingState::DoubleNat);
}

#[test]
fn links_through_a_vpn_say_nothing_about_the_router() {
    let mut world = mapped(&Protocol::ALL);
    world.see_from(OTHER, "10.8.0.2");
    assert_eq!(world.verdict(), MappingState::Mapped);
    let mut world = World::start(vec![offline(GATEWAY)]);
    world.seconds(30);
    world.see_from(OTHER, "10.8.0.2");
    assert_eq!(world.verdict(), MappingState::RouterOff);
}

#[test]
fn links_through_one_router_say_nothing_about_another() {
    // The preferred one opens nothing, the other one maps.
    let mut second = Router::new(SECOND_GATEWAY, &Protocol::ALL);
    second.wan = Some("203.1.113.50".parse().unwrap());
    let mut world = two_ways(vec![Router::new(GATEWAY, &[]), second]);
    world.see(OTHER);
    assert_eq!(world.verdict(), MappingState::Mapped);
    world.see_from(OTHER, SECOND_LOCAL);
    assert_eq!(world.verdict(), MappingState::DoubleNat);

    // The preferred one has no Internet, friends are reached by the other one.
    let mut world = two_ways(vec![offline(GATEWAY), Router::new(SECOND_GATEWAY, &[])]);
    world.see_from(OTHER, SECOND_LOCAL);
    assert_eq!(world.verdict(), MappingState::RouterOff);
    world.see(OTHER);
    assert_eq!(world.verdict(), MappingState::DoubleNat);
}

#[test]
fn pcp_has_one_word_for_a_full_table_and_for_a_carrier_so_both_are_named() {
    let full = |speaks: &[Protocol]| {
        let mut world = World::start(vec![
            Router::new(GATEWAY, speaks).with(|quirks| quirks.refuses = Some((RefusalKind::NoResources, 8))),
        ]);
        world.seconds(30);
        world
    };
    let mut world = full(&[Protocol::Pcp]);
    let state = world.state();
    assert_eq!(state.verdict, MappingState::RouterOff);
    assert!(state.sentence.contains("its table is full, or it has no public address of its own"));
    world.see(OTHER);
    let state = world.state();
    assert_eq!(state.verdict, MappingState::DoubleNat);
    assert_eq!(
        state.sentence,
        "the router at 192.168.1.1 opens no port: its table is full, or it has no public address of its own, and friends see 198.51.7.4: perhaps a second router, or the provider's NAT (carrier-grade NAT), is in between"
    );
    world.router().quirks.refuses = None;
    world.seconds(60);
    assert_ne!(world.verdict(), MappingState::RouterOff);
    assert!(world.is_mapped());
    // Another protocol would have said that there is no address.
    let mut world = full(&[Protocol::Pcp, Protocol::NatPmp]);
    world.see(OTHER);
    assert_eq!(world.verdict(), MappingState::RouterOff);
}

#[test]
fn the_words_are_about_the_gateway_that_the_verdict_is_about() {
    let routers = vec![offline(GATEWAY), Router::new("fe80::1", &[Protocol::Pcp])];
    let mut world = with_ipv6(&[LOCAL, "2a02:db8:1::23"], &[GATEWAY, "fe80::1"], routers);
    world.see(OTHER);
    assert_eq!(world.verdict(), MappingState::Mapped);
    dial(&mut world, ProofOutcome::NoResponse);
    world.seconds(5);
    let state = world.state();
    // What a person can mend here and now is said before what only the provider can.
    assert_eq!((state.verdict, state.gateways[0].state), (MappingState::Blocked, MappingState::DoubleNat));
    assert_eq!(state.primary.unwrap().state, MappingState::Blocked);
    assert!(state.sentence.starts_with("the router at fe80::1 forwards TCP 4242"), "{}", state.sentence);
    assert!(state.next_step.unwrap().starts_with("allow incoming TCP 4242"));
}

#[test]
fn a_router_that_is_offline_while_it_holds_the_mapping_says_so() {
    for protocol in Protocol::ALL {
        let mut world = mapped(&[protocol]);
        dial(&mut world, ProofOutcome::Arrived);
        let clause = "; the router has no Internet address at the moment";
        assert!(!world.state().sentence.contains(clause));
        world.router().wan = None;
        let most = Duration::from_secs(110);
        world.until("said", most, |world| world.state().sentence.ends_with(clause));
        let state = world.state();
        assert_eq!(state.verdict, MappingState::Mapped, "{protocol}");
        let words = "mapped, but no Internet address at the moment".to_owned();
        assert!(state.gateways[0].protocols.contains(&(protocol, words)));
        world.seconds(900);
        assert!(world.state().sentence.ends_with(clause), "{protocol}: {}", world.state().sentence);
        world.router().wan = Some(super::router::WAN);
        world.until("taken back", most, |world| !world.state().sentence.contains(clause));
    }
}

#[test]
fn a_router_whose_clock_runs_wrong_costs_no_proof() {
    for protocol in [Protocol::Pcp, Protocol::NatPmp] {
        for percent in [0, 50, 150] {
            let mut world = World::start(vec![
                Router::new(GATEWAY, &[protocol]).with(|quirks| quirks.epoch_percent = percent),
            ]);
            world.seconds(60);
            dial(&mut world, ProofOutcome::Arrived);
            for _ in 0..600 {
                world.seconds(1);
                assert!(is_proved(&world), "{protocol} at {percent} % after {:?}", world.now);
            }
            // A firewall is blamed as steadily.
            dial(&mut world, ProofOutcome::NoResponse);
            world.seconds(5);
            for _ in 0..300 {
                world.seconds(1);
                assert_eq!(world.verdict(), MappingState::Blocked, "{protocol} at {percent} %");
            }
        }
    }
}

#[test]
fn a_clock_that_was_wrong_three_times_is_believed_only_when_it_begins_anew() {
    for protocol in [Protocol::Pcp, Protocol::NatPmp] {
        let mut track = EpochTrack::default();
        let mut judge = |seconds: u64, epoch: u32| {
            track.judge(protocol, Epoch(epoch), Tick::at(Duration::from_secs(seconds)))
        };
        assert_eq!(judge(0, 1000), Table::Kept);
        // Half as fast as ours; an answer right after another proves nothing.
        assert_eq!(
            [judge(100, 1050), judge(101, 1050), judge(200, 1100)],
            [Table::Lost, Table::Kept, Table::Lost]
        );
        assert_eq!(
            [judge(300, 1150), judge(400, 1200), judge(500, 1250)],
            [Table::Lost, Table::Kept, Table::Kept]
        );
        // A restart, with the clock as slow as before.
        assert_eq!([judge(600, 30), judge(700, 80)], [Table::Lost, Table::Kept]);
        // It runs well again.
        assert_eq!([judge(800, 180), judge(900, 190)], [Table::Kept, Table::Lost]);
    }
}

#[test]
fn a_restart_that_gives_the_same_port_and_address_keeps_the_proof_and_another_port_does_not() {
    for protocol in Protocol::ALL {
        let mut world = mapped(&[protocol]);
        dial(&mut world, ProofOutcome::Arrived);
        let now = world.now;
        world.router().reboot(now);
        world.router().hold(PORT, "192.168.1.7:4242", "thief");
        world.seconds(60);
        let primary = world.state().primary.unwrap();
        assert_ne!(primary.external_port, PORT);
        assert_eq!(primary.proof, Proof::NotYet, "{protocol}");
    }
    for protocol in [Protocol::Pcp, Protocol::NatPmp] {
        let mut world = mapped(&[protocol]);
        dial(&mut world, ProofOutcome::Arrived);
        let now = world.now;
        world.router().reboot(now);
        world.seconds(60);
        assert!(world.is_mapped() && is_proved(&world), "{protocol}");
    }
}

#[test]
fn a_dial_that_failed_because_the_router_restarted_blames_nobody() {
    for early in [true, false] {
        let mut world = mapped(&[Protocol::Upnp]);
        dial(&mut world, ProofOutcome::Arrived);
        world.router().up = false;
        if early {
            // Nobody here knew yet that the router is silent.
            world.seconds(5);
            dial(&mut world, ProofOutcome::NoResponse);
            world.seconds(20);
            world.router().up = true;
        } else {
            world.seconds(40);
            world.router().up = true;
            world.seconds(5);
            dial(&mut world, ProofOutcome::NoResponse);
        }
        world.seconds(30);
        assert_eq!(world.verdict(), MappingState::Mapped, "early: {early}");
        // The next one that fails counts.
        dial(&mut world, ProofOutcome::NoResponse);
        world.seconds(5);
        assert_eq!(world.verdict(), MappingState::Blocked);
    }
}

#[test]
fn both_addresses_behind_one_ipv6_router_are_looked_at_in_one_turn() {
    let locals = ["2a02:db8:1::23", "2a02:db8:2::23"];
    for phase in 0..60 {
        let mut world = with_ipv6(&locals, &["fe80::1"], vec![Router::new("fe80::1", &[Protocol::Pcp])]);
        world.seconds(70 + phase);
        // The router of these tests has one place for both: the one asked last stands there.
        world.router().table.clear();
        let local: IpAddr = locals[1].parse().unwrap();
        world.until("back", Duration::from_secs(28), |world| world.routers[0].count(local) == 1);
    }
    let mut world = with_ipv6(&locals, &["fe80::1"], vec![Router::new("fe80::1", &[Protocol::Pcp])]);
    world.seconds(3000);
    let tally = world.core.tally();
    let checks: Vec<u64> = tally.uplinks.iter().map(|(_, counts)| counts.check).collect();
    assert!(
        checks.len() == 2 && checks.iter().all(|checks| (100..=3030 / 26).contains(checks)),
        "{checks:?}"
    );
}

#[test]
fn who_has_the_listen_port_is_remembered_whatever_else_is_taken() {
    let others = ports(7, GATEWAY.parse().unwrap(), PORT);
    let mut router = Router::new(GATEWAY, &[Protocol::Upnp]).with(|quirks| quirks.any_port = false);
    router.hold(PORT, "192.168.1.7:1", "BitTorrent");
    for port in &others[..6] {
        router.hold(*port, "192.168.1.7:1", "x");
    }
    let mut world = World::start(vec![router]);
    world.seconds(5);
    let sentence = world.state().sentence;
    let expected = format!(
        "; port 4242 of the router belonged to 192.168.1.7 (BitTorrent), so {} leads here",
        others[6]
    );
    assert!(sentence.contains(&expected), "{sentence}");
}

#[test]
fn a_mapping_that_is_made_anew_keeps_the_port_that_friends_know_and_blames_nobody_from_an_old_table() {
    let mut router = Router::new(GATEWAY, &[Protocol::Upnp]).with(|quirks| quirks.any_port = false);
    router.hold(PORT, "192.168.1.7:1", "BitTorrent");
    let mut world = World::start(vec![router]);
    world.seconds(5);
    let port = world.state().primary.unwrap().external_port;
    assert!(world.state().sentence.contains("192.168.1.7 (BitTorrent)"));
    let now = world.now;
    world.router().reboot(now);
    world.seconds(60);
    let state = world.state();
    assert_eq!(state.primary.unwrap().external_port, port);
    let expected = format!("; port 4242 of the router was not to be had, so {port} leads here");
    assert!(state.sentence.contains(&expected), "{}", state.sentence);
}

#[test]
fn a_router_that_refuses_and_is_asked_again_is_not_talked_about_again() {
    for kind in
        [RefusalKind::NotAuthorized, RefusalKind::Conflict, RefusalKind::Failed, RefusalKind::NetworkFailure]
    {
        for speaks in [&[Protocol::Upnp][..], &[Protocol::Pcp], &Protocol::ALL] {
            let mut world = World::start(vec![
                Router::new(GATEWAY, speaks).with(|quirks| quirks.refuses = Some((kind, 606))),
            ]);
            world.seconds(60);
            let before = (changes(&world), world.state());
            world.seconds(3600);
            assert_eq!((changes(&world), world.state()), before, "{kind:?} {speaks:?}");
        }
    }
    // The same without a far side.
    let mut world = World::start(vec![offline(GATEWAY)]);
    world.seconds(60);
    let before = changes(&world);
    world.seconds(3600);
    assert_eq!(changes(&world), before);
}

#[test]
fn sleep_that_is_noticed_late_costs_no_proof() {
    for protocol in [Protocol::Pcp, Protocol::NatPmp] {
        let mut world = mapped(&[protocol]);
        dial(&mut world, ProofOutcome::Arrived);
        // The router's clock went on, and an answer comes before anybody here knows why.
        world.router().age(Duration::from_secs(600));
        world.seconds(30);
        assert!(is_proved(&world), "{protocol}");
        world.core.handle_resume(Duration::from_secs(600), world.at());
        world.execute();
        world.seconds(60);
        assert!(is_proved(&world), "{protocol}");
    }
}

#[test]
fn labels_of_other_kiths_are_told_from_ours() {
    let mut router = Router::new(GATEWAY, &[Protocol::Upnp]).with(|quirks| quirks.any_port = false);
    router.hold(PORT, "192.168.1.9:4242", "Kith aaaaaaaa");
    assert_ne!(LABEL, "Kith aaaaaaaa");
    let mut world = World::start(vec![router]);
    world.seconds(5);
    let sentence = world.state().sentence;
    assert!(sentence.contains("belonged to 192.168.1.9 (another Kith: Kith aaaaaaaa)"), "{sentence}");
}
