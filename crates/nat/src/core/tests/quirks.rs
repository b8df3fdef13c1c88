//! Routers with faults.

use std::time::Duration;

use super::super::CoreConfig;
use super::router::{Quirks, Router, WAN, refuse};
use super::world::{GATEWAY, LABEL, LOCAL, PORT, World, config, home, home_at, wanted};
use crate::{
    Answer, Epoch, Grant, Lifetime, MappingState, Nonce, Protocol, Protocols, RefusalKind, Remembered,
    Request,
};

fn upnp(change: impl FnOnce(&mut Quirks)) -> Router {
    Router::new(GATEWAY, &[Protocol::Upnp]).with(change)
}

fn lifetimes(world: &World) -> Vec<Lifetime> {
    let map = |(_, request): (Protocol, Request)| match request {
        Request::Map(map) => Some(map.lifetime),
        _ => None,
    };
    world.requests().into_iter().filter_map(map).collect()
}

fn ports(world: &World) -> Vec<u16> {
    let map = |(_, request): (Protocol, Request)| match request {
        Request::Map(map) => Some(map.external_port),
        _ => None,
    };
    world.requests().into_iter().filter_map(map).collect()
}

#[test]
fn a_router_that_refuses_leases_gets_a_permanent_mapping() {
    let refusals =
        [(RefusalKind::OnlyPermanent, 725), (RefusalKind::Failed, 402), (RefusalKind::Failed, 501)];
    for refusal in refusals {
        let mut world = World::start(vec![upnp(|quirks| quirks.refuses_limited = Some(refusal))]);
        world.seconds(20);
        assert_eq!(lifetimes(&world), [Lifetime::Seconds(3600), Lifetime::Permanent]);
        let primary = world.state().primary.unwrap();
        assert_eq!((primary.lease, primary.expires), (None, None));
        assert!(world.remembered[0].permanent);

        // The same router after a restart is asked for a permanent one at once.
        world.router().table.clear();
        world.log.clear();
        world.seconds(40);
        assert_eq!(lifetimes(&world), [Lifetime::Permanent]);
        let config = CoreConfig { remembered: world.remembered.clone(), ..config() };
        let mut next = World::start_with(config, vec![world.router().clone()], &home());
        next.seconds(10);
        // At every start a lease is tried again: the router may have another firmware.
        assert_eq!(lifetimes(&next), [Lifetime::Seconds(3600), Lifetime::Permanent]);
    }
}

#[test]
fn a_router_that_refuses_both_gets_the_longest_lease() {
    let router = upnp(|quirks| {
        quirks.upnp_shortest = 604_800;
        quirks.refuses_permanent = Some((RefusalKind::Failed, 402));
    });
    let mut world = World::start(vec![router]);
    world.seconds(20);
    let asked = [Lifetime::Seconds(3600), Lifetime::Permanent, Lifetime::Seconds(604_800)];
    assert_eq!(lifetimes(&world), asked);
    assert_eq!(world.verdict(), MappingState::Mapped);
}

#[test]
fn a_router_that_refuses_every_lease_is_asked_three_times_and_then_rarely() {
    let mut world = World::start(vec![upnp(|quirks| quirks.refuses = Some((RefusalKind::Failed, 501)))]);
    world.seconds(9);
    assert_eq!(lifetimes(&world).len(), 3);
    assert_eq!(world.verdict(), MappingState::RouterOff);
    world.seconds(24 * 3600);
    assert!(lifetimes(&world).len() < 3 * 110, "{}", lifetimes(&world).len());
}

#[test]
fn a_router_that_drops_leases_at_once_is_found_out_by_reading_back() {
    let mut world = World::start(vec![upnp(|quirks| quirks.drops_limited = true)]);
    world.seconds(17);
    let hour = Lifetime::Seconds(3600);
    assert_eq!(lifetimes(&world), [hour, hour, Lifetime::Permanent]);
    assert!(world.is_mapped());
    world.seconds(3600);
    assert!(world.is_mapped());
    assert!(world.remembered[0].permanent);
    // The next run knows what to expect.
    let config = CoreConfig { remembered: world.remembered.clone(), ..config() };
    let mut next = World::start_with(config, vec![world.router().clone()], &home());
    next.router().table.clear();
    next.seconds(7);
    assert_eq!(lifetimes(&next), [hour, Lifetime::Permanent]);
    assert!(next.is_mapped());
}

#[test]
fn a_permanent_mapping_that_the_router_limits_to_a_week_is_renewed() {
    let router = upnp(|quirks| {
        quirks.refuses_limited = Some((RefusalKind::OnlyPermanent, 725));
        quirks.upnp_longest = Some(604_800);
    });
    let mut world = World::start(vec![router]);
    for _ in 0..20 * 24 {
        world.seconds(3600);
        assert!(world.is_mapped());
    }
    assert!((3..30).contains(&world.counts().renewal), "{:?}", world.counts());
}

#[test]
fn a_lease_that_the_router_shortens_silently_is_renewed_in_time() {
    let mut world = World::start(vec![upnp(|quirks| quirks.upnp_longest = Some(120))]);
    world.seconds(20);
    for _ in 0..3600 {
        world.seconds(1);
        assert!(world.is_mapped(), "at {:?}", world.now);
    }
}

#[test]
fn renewals_come_between_a_half_and_five_eighths_and_ask_for_the_first_lifetime() {
    let mut world = World::start(vec![upnp(|quirks| quirks.readable = false)]);
    world.seconds(3);
    // Checks of a router that can't be read back renew the lease themselves.
    world.seconds(4 * 3600);
    assert_eq!(world.counts().renewal, 0);

    let mut world = World::start(vec![upnp(|_| {})]);
    let made = world.until("mapped", Duration::from_secs(3), World::is_mapped);
    let took = world.until("renewed", Duration::from_secs(2300), |world| world.counts().renewal == 1);
    let after = took + made;
    assert!((1790..=2260).contains(&after.as_secs()), "{after:?}");
    assert!(lifetimes(&world).iter().all(|lifetime| *lifetime == Lifetime::Seconds(3600)));
}

#[test]
fn leases_too_short_to_keep_neither_spin_nor_panic() {
    for seconds in [1, 3, 7, 9, 20, 120] {
        for protocol in [Protocol::Pcp, Protocol::NatPmp] {
            let router = Router::new(GATEWAY, &[protocol]).with(|quirks| quirks.clamp = (seconds, seconds));
            let mut world = World::start(vec![router]);
            world.seconds(1000);
            let counts = world.counts();
            let maps = counts.map + counts.renewal + counts.check + counts.look;
            assert!(maps <= 400, "{seconds} s by {protocol}: {counts:?}");
            assert!(maps >= 38, "{seconds} s by {protocol}: {counts:?}");
        }
    }
}

#[test]
fn a_lease_of_no_time_is_nonsense_and_the_next_protocol_is_tried() {
    let mut world = World::new(config(), vec![Router::new(GATEWAY, &[Protocol::Pcp, Protocol::Upnp])]);
    let grant = Grant {
        external_port: PORT,
        external_ip: Some(WAN),
        lifetime: Lifetime::Seconds(0),
        epoch: Some(Epoch(1)),
        pinhole: None,
    };
    world.scripted.push((Protocol::Pcp, Answer::Mapped(grant)));
    world.network(&home());
    world.want(Some(wanted(PORT)));
    world.seconds(5);
    assert_eq!(world.state().primary.unwrap().protocol, Some(Protocol::Upnp));
}

#[test]
fn a_foreign_program_or_another_kith_on_the_port_moves_us_to_the_next_one_and_is_named() {
    for (label, words) in [("BitTorrent", "(BitTorrent)"), ("Kith 11111111", "(another Kith: Kith 11111111)")]
    {
        for overwrites in [false, true] {
            let mut router = upnp(|quirks| {
                quirks.overwrites = overwrites;
                quirks.any_port = false;
            });
            router.hold(PORT, "192.168.1.7:4242", label);
            let mut world = World::start(vec![router]);
            world.seconds(3);
            let state = world.state();
            let port = state.primary.unwrap().external_port;
            assert_ne!(port, PORT);
            assert_eq!(world.routers[0].leads(PORT), Some("192.168.1.7:4242".parse().unwrap()));
            let clause =
                format!("port 4242 of the router belonged to 192.168.1.7 {words}, so {port} leads here");
            assert!(state.sentence.contains(&clause), "{}", state.sentence);
        }
    }
}

#[test]
fn the_ports_tried_are_the_same_in_every_run_and_others_for_another_installation() {
    let ports_of = |seed| {
        let router =
            upnp(|quirks| quirks.refuses = Some((RefusalKind::Conflict, 718))).with(|q| q.readable = false);
        let config = CoreConfig { seed, ..config() };
        let mut world = World::start_with(config, vec![router], &home());
        world.seconds(10);
        let state = world.state();
        assert_eq!(state.verdict, MappingState::RouterOff);
        ports(&world)
    };
    let ports = ports_of(1);
    assert_eq!(ports.len(), 17);
    assert_eq!(ports[0], PORT);
    assert!(ports.iter().all(|port| *port >= 1024));
    assert_eq!(ports, ports_of(1));
    assert_ne!(ports[1..], ports_of(2)[1..]);
}

#[test]
fn an_exhausted_list_is_tried_again_after_a_minute_and_ever_more_rarely() {
    let mut world = World::start(vec![upnp(|quirks| {
        quirks.refuses = Some((RefusalKind::Conflict, 718));
        quirks.readable = false;
    })]);
    world.seconds(59);
    assert_eq!(ports(&world).len(), 17);
    world.seconds(3);
    assert_eq!(ports(&world).len(), 34);
    world.seconds(24 * 3600);
    assert!(ports(&world).len() < 17 * 110);
}

#[test]
fn a_router_that_maps_only_the_same_port_gets_it_or_says_why_not() {
    let mut world = World::start(vec![upnp(|quirks| quirks.same_port = true)]);
    world.seconds(5);
    assert_eq!(world.verdict(), MappingState::Mapped);

    let mut router = upnp(|quirks| {
        quirks.same_port = true;
        quirks.any_port = false;
    });
    router.hold(PORT, "192.168.1.7:4242", "other");
    let mut world = World::start(vec![router]);
    world.seconds(5);
    let state = world.state();
    assert_eq!(state.verdict, MappingState::RouterOff);
    assert!(state.sentence.contains("maps only port 4242 to port 4242"), "{}", state.sentence);
    assert!(state.next_step.is_some());
}

#[test]
fn the_external_port_is_kept_from_run_to_run() {
    let mut router = upnp(|_| {});
    router.hold(PORT, "192.168.1.7:4242", "other");
    let mut world = World::start(vec![router]);
    world.seconds(3);
    let port = world.state().primary.unwrap().external_port;
    world.stop();
    world.seconds(3);
    world.router().table.clear();
    let remembered = vec![Remembered {
        gateway: GATEWAY.parse().unwrap(),
        local: LOCAL.parse().unwrap(),
        protocol: Protocol::Upnp,
        internal_port: PORT,
        external_port: port,
        external_ip: Some(WAN),
        nonce: Nonce([0; 12]),
        pinhole: None,
        permanent: false,
    }];
    let config = CoreConfig { remembered, ..config() };
    let mut next = World::start_with(config, vec![world.router().clone()], &home());
    next.seconds(3);
    assert_eq!(next.state().primary.unwrap().external_port, port);
}

#[test]
fn the_nonce_is_kept_over_renewals_and_runs_even_with_another_seed() {
    let router = Router::new(GATEWAY, &[Protocol::Pcp]);
    let mut world = World::start(vec![router]);
    world.seconds(600);
    let nonces: Vec<Nonce> = world
        .requests()
        .into_iter()
        .filter_map(|(_, request)| match request {
            Request::Map(map) => Some(map.nonce),
            _ => None,
        })
        .collect();
    assert!(nonces.len() > 10);
    assert!(nonces.iter().all(|nonce| *nonce == nonces[0]));
    // The process was killed; the router still holds the mapping, and takes no other nonce.
    let config = CoreConfig { seed: 99, remembered: world.remembered.clone(), ..config() };
    let mut next = World::start_with(config, vec![world.router().clone()], &home());
    next.seconds(5);
    assert_eq!(next.verdict(), MappingState::Mapped);
    next.stop();
    next.seconds(5);
    assert!(next.routers[0].table.is_empty());
}

#[test]
fn what_a_killed_run_left_is_adopted_or_removed_and_nothing_else_is() {
    for protocol in Protocol::ALL {
        let mut world = World::start(vec![Router::new(GATEWAY, &[protocol])]);
        world.seconds(30);
        world.router().hold(9000, "192.168.1.23:9000", "somebody else");
        let left = world.routers[0].clone();
        let config = CoreConfig { remembered: world.remembered.clone(), ..config() };
        // The same port: adopted, on the same external port.
        let mut same = World::start_with(config.clone(), vec![left.clone()], &home());
        same.seconds(10);
        assert_eq!(same.routers[0].table.len(), 2);
        assert_eq!(same.remembered.len(), 1);
        // Another one: removed.
        let mut other = World::new(config, vec![left]);
        other.network(&home());
        other.want(Some(wanted(5000)));
        other.seconds(10);
        let table = &other.routers[0].table;
        assert_eq!(table.len(), 2, "{protocol}: {table:#?}");
        assert_eq!(other.routers[0].leads(5000), Some("192.168.1.23:5000".parse().unwrap()));
        assert_eq!(other.routers[0].leads(9000), Some("192.168.1.23:9000".parse().unwrap()));
        assert_eq!(other.remembered.len(), 1, "{protocol}: {:#?}", other.remembered);
    }
}

#[test]
fn entries_that_no_memory_knows_are_found_by_their_label() {
    let mut router = upnp(|_| {});
    router.hold(4000, "192.168.1.23:4000", LABEL);
    router.hold(4001, "192.168.1.23:4001", "Kith 11111111");
    router.hold(4002, "192.168.1.99:4002", LABEL);
    let mut world = World::start(vec![router]);
    world.seconds(10);
    let left: Vec<u16> = world.routers[0].table.keys().map(|(_, port)| *port).collect();
    assert_eq!(left, [4001, 4002, PORT], "another installation's and another address's stay");
}

#[test]
fn an_entry_that_leads_to_our_former_address_is_replaced() {
    let mut world = World::start(vec![upnp(|_| {})]);
    world.seconds(30);
    world.router().quirks.overwrites = true;
    // Without secure_mode a router lets anybody remove it.
    let (key, mut slot) = world.router().table.pop_first().unwrap();
    slot.client = "192.168.1.50:4242".parse().unwrap();
    world.router().table.insert(key, slot);
    world.seconds(30);
    assert_eq!(world.routers[0].leads(PORT), Some("192.168.1.23:4242".parse().unwrap()));

    // A new address of ours, the same router.
    world.network(&home_at("192.168.1.77"));
    world.seconds(30);
    assert_eq!(world.state().primary.unwrap().internal, "192.168.1.77:4242".parse().unwrap());
}

#[test]
fn a_full_or_forbidding_router_leaves_it_to_the_next_protocol_and_says_so_if_there_is_none() {
    for (kind, code) in [
        (RefusalKind::NotAuthorized, 606),
        (RefusalKind::NoResources, 728),
        (RefusalKind::Unsupported, 401),
        (RefusalKind::Other, 999),
    ] {
        let mut world = World::new(config(), vec![Router::new(GATEWAY, &Protocol::ALL)]);
        world.scripted.push((Protocol::Pcp, refuse(kind, code)));
        world.scripted.push((Protocol::NatPmp, refuse(kind, code)));
        world.network(&home());
        world.want(Some(wanted(PORT)));
        world.seconds(5);
        assert_eq!(world.state().primary.unwrap().protocol, Some(Protocol::Upnp));

        let mut world = World::start(vec![upnp(|quirks| quirks.refuses = Some((kind, code)))]);
        world.seconds(5);
        let state = world.state();
        assert_eq!(state.verdict, MappingState::RouterOff);
        assert!(state.sentence.contains("does not open port 4242: UPnP: refused"), "{}", state.sentence);
        assert!(state.sentence.contains(&code.to_string()));
        assert_eq!(
            state.next_step.unwrap(),
            "forward TCP 4242 on the router's page, usually http://192.168.1.1, to 192.168.1.23:4242"
        );
    }
}

#[test]
fn a_router_that_does_not_renew_keeps_its_mapping() {
    let mut world = World::start(vec![upnp(|quirks| {
        quirks.no_renewal = true;
        quirks.any_port = false;
    })]);
    world.seconds(60);
    let mut absent = 0;
    for _ in 0..4 * 3600 {
        world.seconds(1);
        absent += u32::from(!world.is_mapped());
    }
    assert!(absent <= 8, "{absent} s");
    assert_eq!(world.state().primary.unwrap().external_port, PORT);
}

#[test]
fn a_hanging_map_request_is_cleaned_up_behind_when_another_protocol_maps() {
    let mut world = World::new(config(), vec![Router::new(GATEWAY, &[Protocol::Upnp, Protocol::NatPmp])]);
    world.scripted.push((Protocol::NatPmp, Answer::Silent));
    world.network(&home());
    world.want(Some(wanted(PORT)));
    world.seconds(5);
    assert_eq!(world.state().primary.unwrap().protocol, Some(Protocol::Upnp));
    // The NAT-PMP mapping may exist on the same external port: removed at the end.
    world.stop();
    world.seconds(5);
    let unmaps = world.requests().into_iter().filter(|(_, request)| matches!(request, Request::Unmap(_)));
    let by: Vec<Protocol> = unmaps.map(|(protocol, _)| protocol).collect();
    assert!(by.contains(&Protocol::NatPmp) && by.contains(&Protocol::Upnp), "{by:?}");
}

#[test]
fn no_protocol_spoken_says_what_to_forward_where() {
    let mut world = World::start(vec![Router::new(GATEWAY, &[])]);
    world.seconds(1);
    assert_eq!(world.verdict(), MappingState::Searching);
    world.seconds(5);
    let state = world.state();
    assert_eq!(state.verdict, MappingState::RouterOff);
    assert_eq!(
        state.sentence,
        "the router at 192.168.1.1 does not open ports by itself: it speaks neither UPnP, NAT-PMP nor PCP"
    );
    assert_eq!(
        state.next_step.unwrap(),
        "switch on UPnP or NAT-PMP on the router's page, usually http://192.168.1.1, or forward TCP 4242 there to 192.168.1.23:4242"
    );
    world.seconds(24 * 3600);
    assert!(world.counts().discover < 3 * 300, "{:?}", world.counts());

    world.protocols(Protocols { upnp: false, ..Protocols::ALL });
    let sentence = world.state().sentence;
    assert!(sentence.ends_with(", and UPnP is switched off in Kith's settings"), "{sentence}");
}
