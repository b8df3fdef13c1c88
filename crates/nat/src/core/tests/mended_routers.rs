//! Routers that say one thing and show another, that renew nothing, and that remember what we forgot.

use std::time::Duration;

use super::super::CoreConfig;
use super::router::{Quirks, Router, WAN};
use super::world::{GATEWAY, LABEL, LOCAL, PORT, World, config, home, home_at};
use crate::core::{ProofOutcome, ProofReport};
use crate::{
    Epoch, Hint, Lifetime, MappingState, Nonce, Proof, Protocol, Protocols, RefusalKind, Remembered, Request,
};

const HOUR: u64 = 3600;

fn upnp(change: impl FnOnce(&mut Quirks)) -> World {
    World::start(vec![Router::new(GATEWAY, &[Protocol::Upnp]).with(change)])
}

fn maps(world: &World) -> usize {
    world.requests().iter().filter(|(_, request)| matches!(request, Request::Map(_))).count()
}

fn dialled(world: &mut World, outcome: ProofOutcome) {
    let external = world.state().primary.unwrap().external().unwrap();
    let report = ProofReport { external, by: "anna".to_owned(), at: world.wall(), outcome };
    world.core.handle_proof(report, world.at());
    world.execute();
}

fn is_proved(world: &World) -> bool {
    matches!(world.state().primary.map(|mapping| mapping.proof), Some(Proof::Proved { .. }))
}

fn announced(protocol: Protocol) -> Hint {
    Hint::Announced { from: GATEWAY.parse().unwrap(), index: Some(2), protocol, epoch: Some(Epoch(0)) }
}

fn left(external_port: u16, permanent: bool) -> Remembered {
    Remembered {
        gateway: GATEWAY.parse().unwrap(),
        local: LOCAL.parse().unwrap(),
        protocol: Protocol::Upnp,
        internal_port: PORT,
        external_port,
        external_ip: Some(WAN),
        nonce: Nonce([0; 12]),
        pinhole: None,
        permanent,
    }
}

#[test]
fn a_router_that_says_yes_and_does_nothing_is_asked_ever_more_rarely() {
    let mut world = upnp(|quirks| quirks.lies = Some(Protocol::Upnp));
    world.seconds(30);
    assert_eq!(world.verdict(), MappingState::RouterOff);
    let sentence = world.state().sentence;
    assert!(sentence.contains("it says yes, but its table does not hold the mapping"), "{sentence}");
    world.seconds(HOUR);
    assert!(maps(&world) <= 3 * 9, "{}", maps(&world));
    let first_hour = maps(&world);
    world.seconds(HOUR);
    assert!(maps(&world) - first_hour <= 3 * 4, "{}", maps(&world) - first_hour);
    // It is still tried: it works from the moment the router does.
    world.router().quirks.lies = None;
    world.until("mapped", Duration::from_secs(1000), World::is_mapped);
    world.seconds(60);
    assert!(world.is_mapped());
    assert_eq!(world.state().primary.unwrap().lease, Some(Duration::from_secs(HOUR)));
}

#[test]
fn a_mapping_that_only_the_list_shows_is_kept_and_a_friend_says_whether_it_works() {
    let mut world = upnp(|quirks| quirks.hides = true);
    world.seconds(HOUR);
    // As with a router that can't be read: the checks ask for the same again.
    assert_eq!(world.counts().map, 1);
    assert_eq!(world.verdict(), MappingState::Mapped);
    assert_eq!(world.state().primary.unwrap().lease, Some(Duration::from_secs(HOUR)));
    dialled(&mut world, ProofOutcome::Arrived);
    for _ in 0..60 {
        world.seconds(1);
        assert!(is_proved(&world));
    }
    dialled(&mut world, ProofOutcome::NoResponse);
    world.seconds(2);
    dialled(&mut world, ProofOutcome::NoResponse);
    world.seconds(2);
    let state = world.state();
    assert_eq!(state.verdict, MappingState::Blocked);
    assert!(state.sentence.contains("or the router does not do what it says"), "{}", state.sentence);
    world.stop();
    world.seconds(10);
    assert!(world.routers[0].table.is_empty());
}

#[test]
fn a_mapping_that_nothing_can_show_is_kept() {
    let mut world = upnp(|quirks| {
        quirks.hides = true;
        quirks.unlisted = true;
    });
    world.seconds(40);
    let made = world.counts().map;
    assert_eq!(made, 3, "two leases, then a permanent one");
    world.seconds(HOUR);
    assert_eq!(world.counts().map, made);
    assert!(world.is_mapped());
    assert_eq!(world.verdict(), MappingState::Mapped);
}

#[test]
fn a_mapping_that_is_proved_before_it_is_looked_for_is_not_made_again() {
    let mut world = upnp(|quirks| {
        quirks.hides = true;
        quirks.unlisted = true;
    });
    world.seconds(5);
    dialled(&mut world, ProofOutcome::Arrived);
    world.seconds(HOUR);
    assert_eq!(world.counts().map, 1);
    assert!(is_proved(&world));
}

#[test]
fn a_port_that_leads_elsewhere_in_the_list_is_no_mapping() {
    let mut world = upnp(|quirks| {
        quirks.lies = Some(Protocol::Upnp);
        quirks.hides = true;
    });
    world.seconds(3);
    world.router().hold(PORT, "192.168.1.77:4242", LABEL);
    world.seconds(9);
    assert_eq!(maps(&world), 1, "no longer lease helps here");
    assert_eq!(world.verdict(), MappingState::RouterOff);
}

#[test]
fn a_read_back_that_can_not_be_understood_is_asked_for_no_more() {
    let mut world = upnp(|quirks| quirks.garbles = true);
    world.seconds(HOUR);
    let counts = world.counts();
    assert!(counts.discover < 60, "{counts:?}");
    assert_eq!(counts.map, 1);
    let sentence = world.state().sentence;
    assert!(!sentence.contains("does not answer"), "{sentence}");
    assert!(world.is_mapped());
}

#[test]
fn a_router_that_neither_renews_nor_can_be_read_holds_one_entry_and_keeps_its_proof() {
    for refuses_limited in [None, Some((RefusalKind::OnlyPermanent, 725))] {
        let mut world = upnp(|quirks| {
            quirks.readable = false;
            quirks.no_renewal = true;
            quirks.any_port = false;
            quirks.refuses_limited = refuses_limited;
        });
        world.seconds(10);
        dialled(&mut world, ProofOutcome::Arrived);
        let mut absent = 0;
        for _ in 0..1200 {
            world.millis(997);
            assert!(world.routers[0].table.len() <= 1);
            absent += u32::from(!world.is_mapped());
            assert!(is_proved(&world), "{:#?}", world.state());
        }
        assert!(absent < 10, "{absent} s");
        assert_eq!(world.state().primary.unwrap().external_port, PORT);
        assert!(world.counts().discover > 5, "the external address is asked for: {:?}", world.counts());
        // Killed, and started anew: what it left is known.
        let mut next = World::start_with(
            CoreConfig { remembered: world.remembered.clone(), ..config() },
            vec![world.router().clone()],
            &home(),
        );
        next.seconds(10);
        assert_eq!(next.state().primary.unwrap().external_port, PORT);
        assert_eq!(next.routers[0].table.len(), 1);
        next.stop();
        next.seconds(60);
        assert!(next.routers[0].table.is_empty());
    }
}

#[test]
fn a_port_that_another_computer_took_meanwhile_is_left_to_it() {
    for readable in [true, false] {
        let mut world = upnp(|quirks| {
            quirks.readable = readable;
            quirks.no_renewal = true;
            quirks.any_port = false;
        });
        world.seconds(10);
        world.router().table.clear();
        world.router().hold(PORT, "192.168.1.7:4242", "thief");
        world.seconds(30);
        assert_eq!(world.routers[0].leads(PORT), Some("192.168.1.7:4242".parse().unwrap()));
        assert_eq!(world.routers[0].count(LOCAL.parse().unwrap()), 1);
        world.stop();
        world.seconds(10);
        assert_eq!(world.routers[0].table.len(), 1, "readable: {readable}");
    }
}

#[test]
fn a_router_that_maps_to_another_computer_is_asked_for_one_port_only() {
    let mut world = upnp(|quirks| quirks.leads_to = Some("192.168.1.77".parse().unwrap()));
    world.seconds(9);
    assert_eq!(maps(&world), 1);
    assert_eq!(world.verdict(), MappingState::RouterOff);
    let sentence = world.state().sentence;
    assert!(sentence.contains("refused: the router mapped 4242 to 192.168.1.77:4242 instead"), "{sentence}");
    assert!(!sentence.contains("error 0"), "{sentence}");
}

#[test]
fn what_leads_to_a_former_address_of_ours_is_removed_where_the_router_lets_us() {
    for secure in [false, true] {
        let mut world = upnp(|quirks| {
            quirks.secure = secure;
            quirks.any_port = false;
        });
        world.seconds(30);
        world.router().hold(5000, "192.168.1.23:5000", LABEL);
        world.router().hold(5001, "192.168.1.23:5001", "a game");
        world.router().hold(5002, "192.168.1.99:5002", LABEL);
        world.network(&home_at("192.168.1.77"));
        world.seconds(30);
        let router = &world.routers[0];
        assert_eq!(router.count("192.168.1.77".parse().unwrap()), 1);
        let kept = [5001, 5002].map(|port| router.leads(port).is_some());
        assert_eq!(kept, [true, true], "what is not ours stays");
        let removed = [PORT, 5000].map(|port| router.leads(port).is_none_or(|to| to.ip() != home_ip()));
        assert_eq!(removed, if secure { [false, false] } else { [true, true] });
        if !secure {
            assert_eq!(router.leads(PORT), Some("192.168.1.77:4242".parse().unwrap()));
        }
    }
}

fn home_ip() -> std::net::IpAddr {
    LOCAL.parse().unwrap()
}

#[test]
fn what_a_protocol_left_is_removed_though_it_is_switched_off_now() {
    for protocols in [Protocols { upnp: false, ..Protocols::ALL }, Protocols::NONE] {
        let mut router = Router::new(GATEWAY, &[Protocol::Upnp]);
        router.hold(PORT, "192.168.1.23:4242", LABEL);
        let remembered = vec![left(PORT, true)];
        let mut world =
            World::start_with(CoreConfig { protocols, remembered, ..config() }, vec![router], &home());
        world.seconds(30);
        assert!(world.routers[0].table.is_empty());
        assert!(world.remembered.is_empty());
        assert_eq!(maps(&world), 0);
    }
}

#[test]
fn announcements_that_anybody_can_send_do_not_shorten_the_wait_after_a_refusal() {
    let mut world = upnp(|quirks| {
        quirks.refuses = Some((RefusalKind::Conflict, 718));
        quirks.readable = false;
    });
    world.seconds(3000);
    let before = maps(&world);
    for _ in 0..6000 {
        world.millis(100);
        world.hint(announced(Protocol::Upnp));
    }
    assert!(maps(&world) - before <= 17, "{}", maps(&world) - before);
    // A router that is another one, or has got another address, is asked at once.
    world.router().wan = Some("203.1.113.77".parse().unwrap());
    world.router().quirks.refuses = None;
    world.hint(announced(Protocol::Upnp));
    world.until("mapped", Duration::from_secs(10), World::is_mapped);
    // And so it is when the network changes.
    let mut world = upnp(|quirks| quirks.refuses = Some((RefusalKind::NoResources, 728)));
    world.seconds(3000);
    world.router().quirks.refuses = None;
    world.network(&home());
    world.until("mapped", Duration::from_secs(10), World::is_mapped);
}

#[test]
fn a_router_that_restarts_just_after_it_mapped_is_not_taken_for_one_that_drops_leases() {
    let mut world = upnp(|_| {});
    world.seconds(5);
    let now = world.now;
    world.router().reboot(now);
    world.seconds(600);
    assert_eq!(world.state().primary.unwrap().lease, Some(Duration::from_secs(HOUR)));
    assert!(!world.remembered[0].permanent);
    let permanent = |(_, request): &(Protocol, Request)| matches!(request, Request::Map(map) if map.lifetime == Lifetime::Permanent);
    assert!(!world.requests().iter().any(permanent));
}
