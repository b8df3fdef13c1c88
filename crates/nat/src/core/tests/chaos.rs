//! Routers that answer anything at all, and everything else that happens at once.

use std::time::Duration;

use kith_network::Snapshot;
use proptest::prelude::*;

use super::super::chance::Chance;
use super::router::{Router, refuse};
use super::world::{GATEWAY, LABEL, LOCAL, World, config, gateway, home, home_at, interface, wanted};
use crate::core::{CoreConfig, ProofOutcome, ProofReport};
use crate::{Answer, Entry, Epoch, Found, Grant, Hint, Lifetime, Protocol, Protocols, RefusalKind, Request};

/// An answer that may fit the request, or not.
pub(super) fn answer(chance: &mut Chance, request: &Request) -> (Answer, Duration) {
    let wait = Duration::from_millis(match chance.below(4) {
        0 => 0,
        1 => 4000,
        _ => chance.below(300),
    });
    let port = |chance: &mut Chance| match chance.below(4) {
        0 => 0,
        1 => 4242,
        2 => 5000,
        _ => chance.below(65_536) as u16,
    };
    let ip = |chance: &mut Chance| {
        let of = ["203.1.113.5", "203.1.113.6", "0.0.0.0", "100.64.1.2", "192.168.0.2", "2a02::1"];
        (chance.below(2) == 0).then(|| of[chance.below(of.len() as u64) as usize].parse().unwrap())
    };
    let epoch = |chance: &mut Chance| (chance.below(2) == 0).then(|| Epoch(chance.next() as u32));
    let entry = |chance: &mut Chance| Entry {
        external_port: port(chance),
        internal: format!("192.168.1.{}:{}", 20 + chance.below(5), port(chance)).parse().unwrap(),
        left: (chance.below(2) == 0).then(|| Duration::from_secs(chance.below(1 << 33))),
        label: [LABEL, "", "Kith 11111111", "other"][chance.below(4) as usize].to_owned(),
        enabled: chance.below(8) != 0,
    };
    let kinds = [
        RefusalKind::Conflict,
        RefusalKind::OnlyPermanent,
        RefusalKind::SamePort,
        RefusalKind::NotAuthorized,
        RefusalKind::NetworkFailure,
        RefusalKind::NoResources,
        RefusalKind::Unsupported,
        RefusalKind::Failed,
        RefusalKind::Other,
    ];
    let fitting = chance.below(3) != 0;
    let which = match request {
        Request::Discover if fitting => 0,
        Request::Map(_) if fitting => 1,
        Request::Unmap(_) if fitting => 2,
        Request::ReadBack { .. } if fitting => 3,
        Request::Entries { .. } if fitting => 4,
        _ => chance.below(10),
    };
    let answer = match which {
        0 => Answer::Found(Found {
            external_ip: ip(chance),
            epoch: epoch(chance),
            readable: chance.below(2) == 0,
            any_port: chance.below(2) == 0,
            ..Found::default()
        }),
        1 => Answer::Mapped(Grant {
            external_port: port(chance),
            external_ip: ip(chance),
            lifetime: match chance.below(5) {
                0 => Lifetime::Permanent,
                1 => Lifetime::Seconds(chance.next() as u32),
                _ => Lifetime::Seconds(chance.below(10_000) as u32),
            },
            epoch: epoch(chance),
            pinhole: (chance.below(2) == 0).then(|| chance.next() as u16),
        }),
        2 => Answer::Unmapped,
        3 => Answer::Entry((chance.below(2) == 0).then(|| entry(chance))),
        4 => Answer::Entries((0..chance.below(128)).map(|_| entry(chance)).collect()),
        5 => Answer::Silent,
        6 => Answer::Closed,
        7 => Answer::Nonsense("nonsense".to_owned()),
        _ => refuse(kinds[chance.below(9) as usize], [402, 501, 718][chance.below(3) as usize]),
    };
    (answer, wait)
}

fn event(world: &mut World, chance: &mut Chance, networks: &[Snapshot]) {
    let protocol = Protocol::ALL[chance.below(3) as usize];
    match chance.below(8) {
        0 => world.network(&networks[chance.below(networks.len() as u64) as usize]),
        1 => world.want([None, Some(wanted(4242)), Some(wanted(5000))][chance.below(3) as usize].clone()),
        2 => world.protocols(Protocols {
            pcp: chance.below(4) != 0,
            nat_pmp: chance.below(4) != 0,
            upnp: chance.below(4) != 0,
        }),
        3 => {
            world.core.handle_resume(Duration::from_secs(chance.below(10_000)), world.at());
            world.execute();
        }
        4 => {
            let from = GATEWAY.parse().unwrap();
            world.hint(Hint::Announced { from, index: None, protocol, epoch: Some(Epoch(1)) });
        }
        5 => {
            let seen = ["203.1.113.5", "203.1.113.6", "192.168.1.1", "2a02::1"][chance.below(4) as usize];
            world.see(seen);
        }
        _ => {
            let outcomes = [
                ProofOutcome::Arrived,
                ProofOutcome::Refused,
                ProofOutcome::NoResponse,
                ProofOutcome::Other("odd".to_owned()),
            ];
            let outcome = outcomes[chance.below(4) as usize].clone();
            let state = world.state();
            if let Some(external) = state.mappings.iter().find_map(|mapping| mapping.external()) {
                let report = ProofReport { external, by: "anna".to_owned(), at: world.wall(), outcome };
                world.core.handle_proof(report, world.at());
                world.execute();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    /// Two requests at once, time that stands still, and a state that differs from what was told are found by [`World`].
    #[test]
    fn whatever_routers_answer_little_is_asked_and_the_end_is_reached(seed: u64) {
        use kith_network::InterfaceKind::Physical;
        let both = Snapshot {
            interfaces: vec![
                interface(2, Physical, &[(LOCAL, 24), ("2a02::23", 64), ("2a02::24", 64)]),
                interface(3, Physical, &[("192.168.1.24", 24)]),
                interface(4, Physical, &[("203.1.113.40", 24)]),
            ],
            gateways: vec![gateway(2, GATEWAY), gateway(2, "fe80::1"), gateway(3, GATEWAY), gateway(4, "203.1.113.1")],
            ..Snapshot::default()
        };
        let networks = [both, home(), home_at("192.168.1.77"), Snapshot::default()];
        let mut chance = Chance::of(seed, &[b"chaos"]);
        let routers = vec![Router::new(GATEWAY, &Protocol::ALL), Router::new("fe80::1", &Protocol::ALL)];
        let mut world = World::start_with(CoreConfig { seed, ..config() }, routers, &networks[0]);
        world.chaos = Some(Chance::of(seed, &[b"answers"]));
        let mut events = 0;
        while world.now < Duration::from_secs(6 * 3600) {
            world.run(Duration::from_millis(chance.below(600_000)));
            event(&mut world, &mut chance, &networks);
            events += 1;
            prop_assert!(world.remembered.len() <= 32);
        }
        let most = world.now.as_secs() * 4 + events * 200;
        prop_assert!(world.commands < most, "{} commands, {most} at most", world.commands);
        world.stop();
        world.seconds(120);
        prop_assert!(world.core.is_stopped());
    }
}
