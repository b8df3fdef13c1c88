//! Thirty days with routers of many kinds, which restart, forget, hang and change: at every step the promises are checked.

use std::time::Duration;

use kith_network::{InterfaceKind, Snapshot};

use super::super::chance::Chance;
use super::router::{Quirks, Router};
use super::world::{GATEWAY, LOCAL, PORT, World, config, gateway, home, interface, wanted};
use crate::core::{CoreConfig, ProofOutcome, ProofReport};
use crate::{Family, Hint, Protocol, Protocols, RefusalKind};

const DAYS: u64 = 30;
const HOUR: u64 = 3600;
/// A mapping that the router could make is there within that time, whatever happened.
const LONGEST_GAP: Duration = Duration::from_secs(30);
/// The same after a restart that the router announced.
const ANNOUNCED_GAP: Duration = Duration::from_secs(5);
/// How long two entries of ours may stand beside each other while a mapping moves.
const MOVING: Duration = Duration::from_secs(10);

/// Thirty days of one router.
struct Days {
    world: World,
    chance: Chance,
    local: &'static str,
    network: Snapshot,
    port: u16,
    protocols: Protocols,
    /// Since when the router could have the mapping and has not, and how long it may.
    missing: Option<(Duration, Duration)>,
    /// Until then two entries are right.
    moving: Duration,
    checked: Option<Duration>,
    checks: u64,
    renewals: u64,
    renewals_of_lease: u64,
    events: u64,
    seed: u64,
}

impl Days {
    fn new(speaks: &[Protocol], change: impl FnOnce(&mut Quirks), seed: u64) -> Self {
        Self::at(LOCAL, home(), Router::new(GATEWAY, speaks).with(change), seed)
    }

    fn at(local: &'static str, network: Snapshot, router: Router, seed: u64) -> Self {
        let mut world = World::start_with(CoreConfig { seed, ..config() }, vec![router], &network);
        world.logging = false;
        Self {
            world,
            chance: Chance::of(seed, &[b"days"]),
            local,
            network,
            port: PORT,
            protocols: Protocols::ALL,
            missing: None,
            moving: Duration::ZERO,
            checked: None,
            checks: 0,
            renewals: 0,
            renewals_of_lease: 0,
            events: 0,
            seed,
        }
    }

    fn live(&mut self, days: u64) {
        let end = Duration::from_secs(days * 24 * HOUR);
        while self.world.now < end {
            let pause = Duration::from_millis(self.chance.below(8 * HOUR * 1000));
            self.pass(pause);
            self.event();
        }
        self.pass(Duration::from_secs(600));
        let events = self.events;
        let beats = self.world.now.as_secs() / 25;
        let commands = self.world.commands;
        // A check and its `Changed` per beat, a discovery at every fourth, renewals, and what events cost.
        assert!(commands < beats * 5 + events * 400, "{commands} commands in {beats} beats, {events} events");
        assert_eq!(self.world.routers[0].unasked, 0, "mapped without the external address");
        self.world.stop();
        self.world.seconds(20);
        assert!(self.world.core.is_stopped());
        assert_eq!(self.world.routers[0].count(self.local.parse().unwrap()), 0, "left behind");
    }

    /// Lets time pass, and looks at every step.
    fn pass(&mut self, time: Duration) {
        let end = self.world.now + time;
        loop {
            self.judge(false);
            let next = self.world.next().filter(|next| *next <= end);
            let Some(next) = next else { break };
            let granted = self.world.step(next);
            self.judge(granted);
        }
        self.world.now = end;
        for router in &mut self.world.routers {
            router.prune(end);
        }
        self.judge(false);
    }

    fn judge(&mut self, granted: bool) {
        let now = self.world.now;
        let router = &self.world.routers[0];
        let ours = router.table.values().filter(|slot| slot.client.ip().to_string() == self.local);
        let (mut count, mut there) = (0, false);
        for slot in ours {
            count += 1;
            there |= slot.client.port() == self.port;
        }
        let most = if now <= self.moving { 2 } else { 1 };
        assert!(count <= most, "{count} entries at {now:?}: {:#?}", router.table);
        let allowed = router.speaks.iter().any(|protocol| self.protocols.allows(*protocol));
        if there || !allowed || !router.able() {
            self.missing = None;
        } else {
            let (since, longest) = *self.missing.get_or_insert((now, LONGEST_GAP));
            let gap = now - since;
            assert!(gap <= longest, "gap of {gap:?} at {now:?}: {:?}", self.world.core.sites);
        }
        let counts = self.world.core.tally.uplinks.first().map(|(_, counts)| *counts).unwrap_or_default();
        if counts.check > self.checks {
            assert_eq!(counts.check, self.checks + 1);
            let apart = self.checked.map(|checked| now - checked);
            assert!(apart.is_none_or(|apart| apart >= Duration::from_secs(25)), "checks {apart:?} apart");
            (self.checks, self.checked) = (counts.check, Some(now));
        }
        self.renewals_of_lease += counts.renewal - self.renewals;
        self.renewals = counts.renewal;
        assert!(self.renewals_of_lease <= 3, "{} renewals of a lease", self.renewals_of_lease);
        if granted {
            self.renewals_of_lease = 0;
        }
    }

    fn event(&mut self) {
        self.events += 1;
        let now = self.world.now;
        match self.chance.below(14) {
            // The router forgets the mapping, and says nothing.
            0 | 1 => self.world.router().table.clear(),
            // It restarts, for a time, and may announce that it is back.
            kind @ (2 | 3) => {
                self.world.router().up = false;
                let down = Duration::from_millis(self.chance.below(240_000));
                self.pass(down);
                let now = self.world.now;
                self.world.router().reboot(now);
                if self.chance.below(2) == 0 {
                    let last = self.chance.below(250);
                    self.world.router().wan = Some(format!("203.1.113.{last}").parse().unwrap());
                }
                if kind == 2 {
                    self.missing = Some((now, ANNOUNCED_GAP));
                    self.announce();
                }
                // The far side may take longer than the rest.
                if self.chance.below(2) == 0 {
                    let wan = self.world.router().wan.take();
                    let longer = Duration::from_millis(self.chance.below(20_000));
                    self.pass(longer);
                    self.world.router().wan = wan;
                    if kind == 2 {
                        self.missing = Some((self.world.now, ANNOUNCED_GAP));
                    }
                }
            }
            // It hangs, and remembers.
            4 => {
                self.world.router().up = false;
                let hang = Duration::from_millis(self.chance.below(120_000));
                self.pass(hang);
                self.world.router().up = true;
            }
            // The far side is down.
            5 => {
                let wan = self.world.router().wan.take();
                let down = Duration::from_millis(self.chance.below(400_000));
                self.pass(down);
                self.world.router().wan = wan;
            }
            // The listener moves.
            6 => {
                self.port = if self.port == PORT { 5000 } else { PORT };
                self.moving = now + MOVING;
                self.missing = None;
                let port = self.port;
                self.world.want(Some(wanted(port)));
            }
            // A friend dials.
            7 => {
                let outcome = match self.chance.below(3) {
                    0 => ProofOutcome::NoResponse,
                    _ => ProofOutcome::Arrived,
                };
                if let Some(external) = self.world.state().primary.and_then(|mapping| mapping.external()) {
                    let report =
                        ProofReport { external, by: "anna".to_owned(), at: self.world.wall(), outcome };
                    self.moving = now + MOVING;
                    self.world.core.handle_proof(report, self.world.at());
                    self.world.execute();
                }
            }
            // The computer sleeps for a moment; the network flaps.
            8 => {
                self.world.core.handle_resume(Duration::from_secs(1), self.world.at());
                self.world.execute();
                let network = self.network.clone();
                self.world.network(&network);
            }
            // Another computer takes the place of a mapping that was forgotten.
            9 => {
                let router = self.world.router();
                if Family::of(router.gateway) == Family::V4 {
                    router.table.clear();
                    router.hold(self.port, "192.168.1.7:4242", "thief");
                }
            }
            // The process is killed, and starts anew, perhaps on another port.
            10 | 11 => {
                if self.chance.below(2) == 0 {
                    self.port = if self.port == PORT { 5000 } else { PORT };
                }
                self.moving = now + MOVING;
                self.missing = None;
                (self.checks, self.renewals, self.renewals_of_lease, self.checked) = (0, 0, 0, None);
                self.protocols = Protocols::ALL;
                let (network, port) = (self.network.clone(), self.port);
                self.world.restart(self.seed, &network, port);
            }
            // A protocol is switched off for a while.
            12 => {
                let mut protocols = Protocols::ALL;
                match self.chance.below(4) {
                    0 => protocols.pcp = false,
                    1 => protocols.nat_pmp = false,
                    2 => protocols.upnp = false,
                    _ => protocols = Protocols::NONE,
                }
                let pause = Duration::from_millis(self.chance.below(300_000));
                for protocols in [protocols, Protocols::ALL] {
                    self.protocols = protocols;
                    self.moving = self.world.now + MOVING;
                    self.missing = None;
                    self.world.protocols(protocols);
                    self.pass(pause);
                }
            }
            // Noise.
            _ => {
                for _ in 0..20 {
                    self.announce();
                }
            }
        }
    }

    fn announce(&mut self) {
        let router = &self.world.routers[0];
        let hint = Hint::Announced {
            from: router.gateway,
            index: Some(2),
            protocol: router.speaks[0],
            epoch: Some(router.epoch(self.world.now)),
        };
        self.world.hint(hint);
    }
}

fn check(speaks: &[Protocol], change: impl Fn(&mut Quirks) + Copy) {
    // More of them find what one does not: KITH_SIMULATION_SEEDS=30 takes some minutes.
    let seeds = std::env::var("KITH_SIMULATION_SEEDS").map_or(1, |seeds| seeds.parse().unwrap());
    for seed in 1..=seeds {
        Days::new(speaks, change, seed).live(DAYS);
    }
}

#[test]
fn thirty_days_with_upnp() {
    check(&[Protocol::Upnp], |_| {});
}

#[test]
fn thirty_days_with_upnp_that_takes_only_permanent_mappings() {
    check(&[Protocol::Upnp], |quirks| quirks.refuses_limited = Some((RefusalKind::OnlyPermanent, 725)));
}

#[test]
fn thirty_days_with_upnp_that_takes_only_a_week() {
    check(&[Protocol::Upnp], |quirks| {
        quirks.upnp_shortest = 604_800;
        quirks.refuses_permanent = Some((RefusalKind::Failed, 402));
    });
}

#[test]
fn thirty_days_with_upnp_that_shortens_leases_to_two_minutes() {
    check(&[Protocol::Upnp], |quirks| quirks.upnp_longest = Some(120));
}

#[test]
fn thirty_days_with_upnp_that_drops_leases_at_once() {
    check(&[Protocol::Upnp], |quirks| quirks.drops_limited = true);
}

#[test]
fn thirty_days_with_upnp_that_can_not_be_read() {
    check(&[Protocol::Upnp], |quirks| quirks.readable = false);
}

#[test]
fn thirty_days_with_upnp_that_does_not_renew() {
    check(&[Protocol::Upnp], |quirks| {
        quirks.no_renewal = true;
        quirks.any_port = false;
    });
}

#[test]
fn thirty_days_with_upnp_that_neither_renews_nor_can_be_read() {
    for permanent in [None, Some((RefusalKind::OnlyPermanent, 725))] {
        check(&[Protocol::Upnp], |quirks| {
            quirks.readable = false;
            quirks.no_renewal = true;
            quirks.any_port = false;
            quirks.refuses_limited = permanent;
        });
    }
}

#[test]
fn thirty_days_with_upnp_that_reads_back_nothing_or_garbage() {
    check(&[Protocol::Upnp], |quirks| quirks.hides = true);
    check(&[Protocol::Upnp], |quirks| quirks.garbles = true);
    check(&[Protocol::Upnp], |quirks| {
        quirks.hides = true;
        quirks.unlisted = true;
    });
}

#[test]
fn thirty_days_with_nat_pmp() {
    check(&[Protocol::NatPmp], |_| {});
}

#[test]
fn thirty_days_with_nat_pmp_that_grants_half_a_minute() {
    check(&[Protocol::NatPmp], |quirks| quirks.clamp = (30, 30));
}

#[test]
fn thirty_days_with_pcp() {
    check(&[Protocol::Pcp], |_| {});
}

#[test]
fn thirty_days_with_pcp_that_grants_two_minutes() {
    check(&[Protocol::Pcp], |quirks| quirks.clamp = (60, 120));
}

#[test]
fn thirty_days_with_a_clock_that_runs_wrong() {
    check(&[Protocol::Pcp], |quirks| quirks.epoch_percent = 150);
}

#[test]
fn thirty_days_with_all_protocols() {
    check(&Protocol::ALL, |_| {});
}

#[test]
fn thirty_days_with_pinholes() {
    let card = interface(2, InterfaceKind::Physical, &[("2a02:db8:1::23", 64)]);
    let network =
        Snapshot { interfaces: vec![card], gateways: vec![gateway(2, "fe80::1")], ..Snapshot::default() };
    for protocol in [Protocol::Upnp, Protocol::Pcp] {
        let router = Router::new("fe80::1", &[protocol]);
        Days::at("2a02:db8:1::23", network.clone(), router, 1).live(DAYS);
    }
}

#[test]
fn the_same_seed_gives_the_same_commands_byte_for_byte() {
    let hash = |seed| {
        let mut days = Days::new(&Protocol::ALL, |_| {}, seed);
        days.world.hashing = true;
        days.live(10);
        (days.world.hash, days.world.commands)
    };
    assert_eq!(hash(5), hash(5));
    assert_ne!(hash(5), hash(6));
}
