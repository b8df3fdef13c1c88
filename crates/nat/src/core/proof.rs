//! What is heard from outside: friends' dials, and the address they see us come from.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use super::address::is_public;
use super::command::{ProofOutcome, ProofReport};
use super::site::{Held, Site};
use super::talker::{Known, Talker};
use super::time::Tick;
use super::{Core, uplinks};
use crate::{Family, MappingState, Proof, Protocol};

/// Addresses that are kept.
const MOST_SEEN: usize = 3;
/// How long an address that friends saw speaks for a mapping.
const RECENT: Duration = Duration::from_secs(600);
/// How long a friend's dial takes at most, and the news of it. What the router did in that time may be why it failed.
const DIAL: Duration = Duration::from_secs(15);

/// A dial from outside that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    by: String,
    at: SystemTime,
    why: String,
}

impl Failure {
    fn proof(self) -> Proof {
        Proof::Failed { by: self.by, at: self.at, why: self.why }
    }
}

/// The address that friends see in place of a router that opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Hidden {
    pub(super) ip: IpAddr,
    /// What the router says may as well mean that its table is full: PCP has one word for that and for having no public address.
    pub(super) no_room: bool,
}

/// The IPv4 addresses that friends saw us come from at one uplink, the oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    addresses: VecDeque<(IpAddr, Tick)>,
}

impl Seen {
    /// What is told late makes nothing older than it was known to be.
    fn note(&mut self, ip: IpAddr, at: Tick) {
        let known = self.addresses.iter().position(|(known, _)| *known == ip);
        let before = known.and_then(|index| self.addresses.remove(index));
        let at = before.map_or(at, |(_, before)| before.max(at));
        if self.addresses.len() >= MOST_SEEN {
            self.addresses.pop_front();
        }
        let place = self.addresses.partition_point(|(_, other)| *other <= at);
        self.addresses.insert(place, (ip, at));
    }

    pub(super) fn forget(&mut self) {
        self.addresses.clear();
    }

    /// The newest address, if it was seen after that.
    fn after(&self, since: Tick) -> Option<IpAddr> {
        self.addresses.back().filter(|(_, at)| *at > since).map(|(ip, _)| *ip)
    }

    /// The address that contradicts this external one, which is known since then.
    fn against(&self, external: IpAddr, since: Tick, now: Tick) -> Option<IpAddr> {
        let fits = |(ip, at): &&(IpAddr, Tick)| *ip == external && now.since(*at) < RECENT;
        if self.addresses.iter().any(|seen| fits(&seen)) {
            return None;
        }
        // What was seen before the last change says nothing about the address after it.
        self.addresses.back().filter(|(ip, at)| *ip != external && *at > since).map(|(ip, _)| *ip)
    }
}

impl Core {
    /// A friend saw the address that links from `local` come from. Of two routers for the same address of ours it is the preferred
    /// one's; what leaves through a VPN leaves from an address of the VPN, and says nothing about routers.
    pub(super) fn seen(&mut self, ip: IpAddr, local: IpAddr, at: Tick) {
        let (ip, local) = (ip.to_canonical(), local.to_canonical());
        // A tunnel without an address of its own borrows a card's.
        let by_tunnel = self.network.as_ref().is_some_and(uplinks::leaves_by_tunnel);
        // Friends in the same network see an address of that network.
        if !by_tunnel
            && Family::of(ip) == Family::V4
            && is_public(ip)
            && let Some(site) = self.sites.iter_mut().find(|site| site.uplink.local == local)
        {
            site.seen.note(ip, at);
        }
    }

    /// The address that friends see in place of the mapping's.
    pub(super) fn contradiction(&self, site: &Site, held: &Held, now: Tick) -> Option<IpAddr> {
        if site.family() != Family::V4 || matches!(held.proof, Proof::Proved { .. }) {
            return None;
        }
        let external = held.external_ip.filter(|ip| is_public(*ip))?;
        let seen = site.seen.against(external, site.external_since, now)?;
        // With two ways to the Internet friends see one of them.
        let of_another =
            |other: &Site| other.held.as_ref().is_some_and(|held| held.external_ip == Some(seen));
        (!self.sites.iter().any(of_another)).then_some(seen)
    }

    /// The address that friends see although the router says that it has none: another NAT must be in between.
    pub(super) fn hidden_behind(&self, site: &Site) -> Option<Hidden> {
        if site.family() != Family::V4 || site.held.is_some() {
            return None;
        }
        let talkers = site.talkers.iter().filter(|talker| self.allows(site, talker.protocol));
        if let Some(since) = talkers.clone().filter_map(Talker::wan_down_since).min() {
            return site.seen.after(since).map(|ip| Hidden { ip, no_room: false });
        }
        let since = site.no_room_since.filter(|_| self.allows(site, Protocol::Pcp))?;
        let alone = talkers
            .filter(|talker| talker.protocol != Protocol::Pcp)
            .all(|talker| matches!(talker.known, Known::Absent(_)));
        let seen = site.seen.after(since).filter(|_| alone);
        seen.map(|ip| Hidden { ip, no_room: true })
    }

    /// The state of a mapping alone.
    pub(super) fn judge(&self, site: &Site, held: &Held, now: Tick) -> MappingState {
        let inner = site.family() == Family::V4 && held.external_ip.is_some_and(|ip| !is_public(ip));
        if inner || self.contradiction(site, held, now).is_some() {
            MappingState::DoubleNat
        } else if held.blocked {
            MappingState::Blocked
        } else {
            MappingState::Mapped
        }
    }

    pub(super) fn proof(&mut self, report: ProofReport, now: Tick) {
        let ProofReport { external, by, at, outcome } = report;
        let ip = external.ip().to_canonical();
        let leads_here = |site: &Site| {
            site.held
                .as_ref()
                .is_some_and(|held| held.external_ip == Some(ip) && held.external_port == external.port())
        };
        let why = match outcome {
            ProofOutcome::Arrived => None,
            ProofOutcome::Refused => Some("the connection was refused".to_owned()),
            ProofOutcome::NoResponse => Some("nothing answered".to_owned()),
            ProofOutcome::Other(words) => Some(words),
        };
        let Some(index) = self.sites.iter().position(leads_here) else {
            if why.is_none() {
                self.open_without_asking(ip, external.port(), Proof::Proved { by, at }, now);
            }
            return;
        };
        match why {
            None => self.arrived(index, Proof::Proved { by, at }),
            Some(why) => self.did_not_arrive(index, Failure { by, at, why }, now),
        }
    }

    fn arrived(&mut self, index: usize, proof: Proof) {
        let site = &mut self.sites[index];
        site.suspect = None;
        site.replaced = false;
        if site.replace.take().is_some() {
            self.abandon(index, self.clock.now());
        }
        if let Some(held) = &mut self.sites[index].held {
            held.proof = proof;
            held.blocked = false;
        }
    }

    fn did_not_arrive(&mut self, index: usize, failure: Failure, now: Tick) {
        let site = &mut self.sites[index];
        let (key, own) = (site.key, site.is_own());
        let Some(held) = &mut site.held else { return };
        match held.protocol {
            // It was only there because of a proof.
            None if !own => self.lose(index, now),
            None => {
                held.proof = failure.proof();
                held.blocked = true;
            }
            Some(_) => {
                let excused = site.troubled_at.is_some_and(|at| now.since(at) < DIAL);
                if held.blocked {
                    held.proof = failure.proof();
                } else if !excused {
                    site.suspect = Some(failure);
                }
                self.gateway(key, now).want_look(None);
            }
        }
    }

    /// The router says that the mapping is there.
    pub(super) fn confirmed(&mut self, index: usize, now: Tick) {
        let Some(failure) = self.sites[index].suspect.take() else { return };
        let Some(holder) = self.sites[index].holder() else { return };
        let double = self.sites[index]
            .held
            .as_ref()
            .is_some_and(|held| self.judge(&self.sites[index], held, now) == MappingState::DoubleNat);
        let site = &self.sites[index];
        let other = site.talkers.iter().any(|talker| {
            talker.protocol != holder
                && self.allows(site, talker.protocol)
                && talker.is_found()
                && talker.refused.is_none()
        });
        if other && !site.replaced && !double {
            self.sites[index].replace = Some(failure);
        } else {
            self.block(index, failure);
        }
    }

    /// Nothing that can be done at the router makes it work.
    pub(super) fn block(&mut self, index: usize, failure: Failure) {
        if let Some(held) = &mut self.sites[index].held {
            held.proof = failure.proof();
            held.blocked = true;
        }
    }

    /// An IPv6 address of ours is open to the Internet although no router was asked: there is no firewall in the way.
    fn open_without_asking(&mut self, ip: IpAddr, port: u16, proof: Proof, now: Tick) {
        let open = |site: &Site| {
            site.family() == Family::V6
                && site.uplink.local == ip
                && site.held.is_none()
                && self.desired_port(site) == Some(port)
        };
        if let Some(index) = self.sites.iter().position(open) {
            self.abandon(index, now);
            let site = &mut self.sites[index];
            site.held = Some(Held { proof, ..Held::own(ip, port, now) });
        }
    }
}
