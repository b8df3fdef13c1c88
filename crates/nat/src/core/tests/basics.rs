//! The first mapping, moves, the end.

use std::time::Duration;

use super::router::{Router, WAN};
use super::world::{GATEWAY, LABEL, LOCAL, PORT, World, config, home, wanted};
use crate::{Lifetime, MappingState, Proof, Protocol, Protocols, Request};

const ALL: &[Protocol] = &Protocol::ALL;

fn check_mapped_by(world: &World, protocol: Protocol) {
    let state = world.state();
    assert_eq!(state.verdict, MappingState::Mapped, "{state:#?}");
    let primary = state.primary.unwrap();
    assert_eq!(primary.protocol, Some(protocol));
    assert_eq!(primary.external_ip, Some(WAN));
    assert_eq!(primary.proof, Proof::NotYet);
    assert_eq!(world.routers[0].leads(primary.external_port), Some(primary.internal));
}

#[test]
fn every_protocol_alone_is_enough() {
    for protocol in Protocol::ALL {
        let mut world = World::start(vec![Router::new(GATEWAY, &[protocol])]);
        assert_eq!(world.verdict(), MappingState::Searching);
        let took =
            world.until("mapped", Duration::from_secs(3), |world| world.verdict() == MappingState::Mapped);
        assert!(took < Duration::from_secs(1), "{protocol}: {took:?}");
        check_mapped_by(&world, protocol);
        assert_eq!(world.state().primary.unwrap().external_port, PORT);
    }
}

#[test]
fn the_first_protocol_found_maps_and_a_better_one_found_later_changes_nothing() {
    let mut world = World::start(vec![Router::new(GATEWAY, ALL)]);
    world.seconds(3);
    check_mapped_by(&world, Protocol::Pcp);
    assert_eq!(world.routers[0].count(LOCAL.parse().unwrap()), 1);

    let mut world = World::start(vec![Router::new(GATEWAY, &[Protocol::Upnp])]);
    world.seconds(3);
    world.router().speaks = ALL.to_vec();
    world.network(&home());
    world.seconds(60);
    check_mapped_by(&world, Protocol::Upnp);
    assert_eq!(world.routers[0].count(LOCAL.parse().unwrap()), 1);
}

#[test]
fn the_external_address_is_asked_for_before_a_mapping_and_without_one_nothing_is_left_on_the_router() {
    for protocol in [Protocol::NatPmp, Protocol::Upnp] {
        let mut router = Router::new(GATEWAY, &[protocol]);
        router.wan = None;
        let mut world = World::start(vec![router]);
        world.seconds(100);
        assert_eq!(world.requests(), [], "{protocol}");
        let state = world.state();
        assert_eq!(state.verdict, MappingState::RouterOff);
        assert!(state.sentence.starts_with("the router at 192.168.1.1 says that it has no Internet address"));
        world.router().wan = Some(WAN);
        let took = world.until("mapped", Duration::from_secs(10), |world| world.is_mapped());
        assert!(took < Duration::from_secs(6), "{took:?}");
        assert_eq!(world.routers[0].unasked, 0);
    }
}

#[test]
fn a_changed_port_is_mapped_before_the_old_one_is_removed() {
    for protocol in Protocol::ALL {
        let mut world = World::start(vec![Router::new(GATEWAY, &[protocol])]);
        world.seconds(60);
        world.log.clear();
        world.want(Some(wanted(5000)));
        world.seconds(5);
        let kinds: Vec<&str> = world
            .requests()
            .iter()
            .filter_map(|(_, request)| match request {
                Request::Map(map) => {
                    assert_eq!((map.internal_port, map.external_port), (5000, 5000));
                    Some("map")
                }
                Request::Unmap(unmap) => {
                    assert_eq!((unmap.internal_port, unmap.external_port), (PORT, PORT));
                    Some("unmap")
                }
                _ => None,
            })
            .collect();
        assert_eq!(kinds, ["map", "unmap"], "{protocol}");
        assert_eq!(world.routers[0].leads(5000), Some("192.168.1.23:5000".parse().unwrap()));
        assert_eq!(world.routers[0].table.len(), 1);
        assert_eq!(world.remembered.len(), 1);
    }
}

#[test]
fn a_clean_stop_removes_everything_also_what_is_permanent() {
    for protocol in Protocol::ALL {
        let router = Router::new(GATEWAY, &[protocol])
            .with(|quirks| quirks.refuses_limited = Some((crate::RefusalKind::OnlyPermanent, 725)));
        let mut world = World::start(vec![router]);
        world.seconds(60);
        assert!(world.is_mapped());
        world.stop();
        assert!(!world.core.is_stopped());
        world.seconds(1);
        assert!(world.core.is_stopped());
        assert!(world.routers[0].table.is_empty(), "{protocol}");
        assert_eq!(world.remembered, []);
        assert_eq!(world.core.poll_timeout(), None);
        assert_eq!(world.verdict(), MappingState::Off);
    }
}

#[test]
fn a_stop_while_the_mapping_is_being_made_removes_it_too() {
    let mut world = World::start(vec![Router::new(GATEWAY, &[Protocol::Upnp])]);
    world.until("asked", Duration::from_secs(3), |world| world.is_mapped());
    world.stop();
    world.seconds(5);
    assert!(world.core.is_stopped());
    assert!(world.routers[0].table.is_empty());
}

#[test]
fn a_stop_does_not_wait_for_a_silent_router_and_the_next_run_removes_the_rest() {
    let mut world = World::start(vec![Router::new(GATEWAY, &[Protocol::Upnp])]);
    world.seconds(30);
    world.router().up = false;
    world.stop();
    world.seconds(3);
    assert!(world.core.is_stopped());
    assert_eq!(world.remembered.len(), 1);

    world.router().up = true;
    let router = world.router().clone();
    let config = super::super::CoreConfig { remembered: world.remembered.clone(), ..config() };
    let mut next = World::new(config, vec![router]);
    next.network(&home());
    next.want(Some(wanted(5000)));
    next.seconds(10);
    assert_eq!(next.routers[0].table.len(), 1);
    assert_eq!(next.routers[0].leads(5000), Some("192.168.1.23:5000".parse().unwrap()));
}

#[test]
fn a_protocol_that_is_switched_off_gives_its_mapping_to_another_one() {
    let mut world = World::start(vec![Router::new(GATEWAY, ALL)]);
    world.seconds(30);
    world.protocols(Protocols { pcp: false, ..Protocols::ALL });
    world.seconds(5);
    assert_ne!(world.state().primary.unwrap().protocol, Some(Protocol::Pcp));
    assert_eq!(world.routers[0].table.len(), 1);
    world.protocols(Protocols { upnp: true, ..Protocols::NONE });
    world.seconds(5);
    check_mapped_by(&world, Protocol::Upnp);
    assert_eq!(world.routers[0].table.len(), 1, "{:#?}", world.routers[0].table);
    world.protocols(Protocols::NONE);
    world.seconds(5);
    assert_eq!(world.verdict(), MappingState::Off);
    assert!(world.routers[0].table.is_empty());
    let asked = world.requests().len();
    world.seconds(600);
    assert_eq!(world.requests().len(), asked, "nothing is asked of a router when all is switched off");
    world.protocols(Protocols::ALL);
    world.seconds(5);
    assert_eq!(world.verdict(), MappingState::Mapped);
}

#[test]
fn what_is_asked_for_is_labelled_ours_and_never_the_granted_lifetime() {
    let mut world =
        World::start(vec![Router::new(GATEWAY, &[Protocol::Pcp]).with(|quirks| quirks.clamp = (120, 300))]);
    world.seconds(3600);
    for (_, request) in world.requests() {
        let Request::Map(map) = request else { continue };
        assert_eq!(map.lifetime, Lifetime::Seconds(7200));
        assert_eq!(map.label, LABEL);
    }
    assert!(world.counts().check > 100);
}
