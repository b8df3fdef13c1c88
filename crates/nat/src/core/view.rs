//! What others may see of all this.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

use super::site::{Held, Site};
use super::talker::{Absence, Known};
use super::time::{Clock, Tick};
use super::{Core, uplinks};
use crate::describe::{self, Facts, WayOut};
use crate::{Family, GatewayState, Mapping, MappingState, Proof, Protocol, Protocols, State};

impl Core {
    /// Differs whenever the state does, at a fraction of its cost: most events change nothing that can be seen.
    pub(super) fn gist(&self, now: Tick) -> u64 {
        let mut gist = DefaultHasher::new();
        let network = self.network.as_ref();
        let seen = network.map(|network| (network.interfaces.is_empty(), uplinks::way_out(network)));
        (self.wanted.as_ref().map(|wanted| wanted.port), self.stopping, seen).hash(&mut gist);
        Protocol::ALL.map(|protocol| self.config.protocols.allows(protocol)).hash(&mut gist);
        for site in &self.sites {
            let silent = site.trouble.is_some();
            (&site.uplink, self.desired_port(site), self.is_searching(site), silent).hash(&mut gist);
            self.hidden_behind(site).hash(&mut gist);
            if let Some(held) = &site.held {
                let reads = held.protocol.is_some_and(|protocol| site.reads(protocol));
                has_no_far_side(site).hash(&mut gist);
                (held.protocol, held.internal_port, held.external_port, held.external_ip).hash(&mut gist);
                (held.lease.length(), held.lease.ends(), held.blocked, reads).hash(&mut gist);
                self.contradiction(site, held, now).hash(&mut gist);
                match &held.proof {
                    Proof::NotYet => 0.hash(&mut gist),
                    Proof::Proved { by, at } => (1, by, at).hash(&mut gist),
                    Proof::Failed { by, at, why } => (2, by, at, why).hash(&mut gist),
                }
            }
            for talker in &site.talkers {
                match &talker.known {
                    Known::Unknown => 0.hash(&mut gist),
                    Known::Found(found) => (1, &found.model, &found.page).hash(&mut gist),
                    Known::Absent(absence) => (2, absence).hash(&mut gist),
                }
                let refused = talker.refused.as_ref();
                refused.map(|refused| (&refused.why, refused.wan)).hash(&mut gist);
            }
            site.taken.hash(&mut gist);
        }
        gist.finish()
    }

    pub(super) fn state_at(&self, now: Tick, wall: SystemTime) -> State {
        let mut mappings = Vec::with_capacity(self.sites.len());
        let mut gateways = Vec::with_capacity(self.sites.len());
        for (index, site) in self.sites.iter().enumerate() {
            if let Some(held) = &site.held {
                mappings.push((index, self.mapping(site, held, now, wall)));
            }
            gateways.push(self.gateway_state(site, now));
        }
        // The best first: by state, IPv4 first, proved first, then by preference of the gateway, which is their order.
        mappings.sort_by_key(|(index, mapping)| {
            let proved = matches!(mapping.proof, Proof::Proved { .. });
            (std::cmp::Reverse(gateways[*index].state), mapping.family(), !proved)
        });
        // Where something is mapped is said more than where nothing is, whatever is wrong with it.
        let mapped = mappings.first().map(|(index, _)| *index);
        let mapped = mapped.filter(|index| gateways[*index].state != MappingState::Off);
        let verdict = self.verdict(mapped.map_or(gateways.as_slice(), |index| &gateways[index..=index]));
        let described = mapped.or_else(|| gateways.iter().position(|gateway| gateway.state == verdict));
        let facts = self.facts(verdict, described, &mappings, &gateways, now);
        let (sentence, next_step) = (describe::sentence(&facts), describe::next_step(&facts));
        let mappings: Vec<Mapping> = mappings.into_iter().map(|(_, mapping)| mapping).collect();
        let primary = mapped.and_then(|_| mappings.first().cloned());
        // Where there is no router, none is shown.
        gateways.retain(|gateway| !gateway.uplink.is_direct());
        State { verdict, primary, mappings, gateways, sentence, next_step }
    }

    fn verdict(&self, gateways: &[GatewayState]) -> MappingState {
        let wanted = self.wanted.is_some() && !self.stopping;
        match gateways.iter().map(|gateway| gateway.state).max() {
            _ if !wanted => MappingState::Off,
            Some(best) => best,
            None if self.config.protocols == Protocols::NONE => MappingState::Off,
            None if self.network.is_none() => MappingState::Searching,
            None => MappingState::NoRouter,
        }
    }

    fn facts<'a>(
        &'a self,
        verdict: MappingState,
        described: Option<usize>,
        mappings: &'a [(usize, Mapping)],
        gateways: &'a [GatewayState],
        now: Tick,
    ) -> Facts<'a> {
        let site = described.and_then(|index| self.sites.get(index));
        let held = site.and_then(|site| site.held.as_ref());
        let hidden = site.and_then(|site| self.hidden_behind(site));
        let mut facts = Facts {
            verdict,
            primary: mappings
                .first()
                .filter(|(index, _)| described == Some(*index))
                .map(|(_, mapping)| mapping),
            gateway: described.and_then(|index| gateways.get(index)).or_else(|| gateways.first()),
            port: self.wanted.as_ref().map(|wanted| wanted.port.get()),
            label: &self.config.label,
            protocols: self.config.protocols,
            connected: self.network.as_ref().is_some_and(|network| !network.interfaces.is_empty()),
            way_out: self.network.as_ref().map_or(WayOut::Nowhere, uplinks::way_out),
            unspoken: Vec::new(),
            refused: Vec::new(),
            off: Vec::new(),
            wan_down: site.is_some_and(has_no_far_side),
            seen: site.and_then(|site| match held {
                Some(held) => self.contradiction(site, held, now),
                None => hidden.map(|hidden| hidden.ip),
            }),
            no_room: hidden.is_some_and(|hidden| hidden.no_room),
            taken: None,
            readable: site.is_some_and(|site| site.holder().is_some_and(|holder| site.reads(holder))),
            silent: site.is_some_and(|site| site.trouble.is_some()),
            shut: gateways.iter().find(|gateway| {
                gateway.uplink.family() == Family::V4 && gateway.state == MappingState::RouterOff
            }),
        };
        let Some(site) = site else { return facts };
        facts.taken = site.taken.iter().find(|taken| Some(taken.port) == facts.port);
        for talker in &site.talkers {
            let protocol = talker.protocol;
            if !super::command::spoken_over(protocol, site.family()) {
                continue;
            }
            if !self.config.protocols.allows(protocol) {
                facts.off.push(protocol);
                continue;
            }
            match (&talker.known, &talker.refused) {
                (Known::Found(_), Some(refused)) => {
                    facts.wan_down |= refused.wan && held.is_none();
                    facts.refused.push((protocol, refused.why.clone()));
                }
                (Known::Absent(Absence::Refused(words)), _) => facts.refused.push((protocol, words.clone())),
                (Known::Absent(Absence::Nonsense), _) => {
                    facts.refused.push((protocol, "what it says can't be understood".to_owned()));
                }
                (Known::Absent(_), _) => facts.unspoken.push(protocol),
                _ => {}
            }
        }
        facts
    }

    fn mapping(&self, site: &Site, held: &Held, now: Tick, wall: SystemTime) -> Mapping {
        Mapping {
            uplink: site.uplink.clone(),
            protocol: held.protocol,
            internal: SocketAddr::new(site.uplink.local, held.internal_port),
            external_port: held.external_port,
            external_ip: held.external_ip,
            lease: held.lease.length(),
            expires: held.lease.ends().map(|ends| Clock::wall(ends, now, wall)),
            state: self.judge(site, held, now),
            proof: held.proof.clone(),
        }
    }

    fn gateway_state(&self, site: &Site, now: Tick) -> GatewayState {
        let spoken = |protocol: &Protocol| self.allows(site, *protocol);
        let state = match &site.held {
            _ if self.desired_port(site).is_none() => MappingState::Off,
            Some(held) => self.judge(site, held, now),
            None if !Protocol::ALL.iter().any(spoken) => MappingState::Off,
            None if self.hidden_behind(site).is_some() => MappingState::DoubleNat,
            None if self.is_searching(site) => MappingState::Searching,
            None => MappingState::RouterOff,
        };
        let found = site.talkers.iter().filter_map(|talker| match &talker.known {
            Known::Found(found) => Some(found),
            _ => None,
        });
        let page = found.clone().find_map(|found| found.page.clone());
        GatewayState {
            uplink: site.uplink.clone(),
            state,
            model: found.clone().find_map(|found| found.model.clone()),
            page: page.unwrap_or_else(|| self.likely_page(site)),
            protocols: Protocol::ALL
                .into_iter()
                .filter(spoken)
                .filter(|_| !site.is_own())
                .map(|protocol| (protocol, words(site, protocol)))
                .collect(),
        }
    }

    /// Where a router's page usually is: at its IPv4 address.
    fn likely_page(&self, site: &Site) -> String {
        let same_box = |other: &&Site| {
            other.key.index == site.key.index && other.family() == Family::V4 && !other.uplink.is_direct()
        };
        let gateway = match site.family() {
            Family::V4 => site.uplink.gateway,
            Family::V6 => {
                self.sites.iter().find(same_box).map_or(site.uplink.gateway, |other| other.uplink.gateway)
            }
        };
        match gateway {
            IpAddr::V4(ip) => format!("http://{ip}"),
            IpAddr::V6(ip) => format!("http://[{ip}]"),
        }
    }
}

/// Whether the router that holds the mapping says that it has no address on the Internet.
fn has_no_far_side(site: &Site) -> bool {
    site.holder().is_some_and(|holder| site.talker(holder).wan_down_since().is_some())
}

/// What a protocol came to, in a few words.
fn words(site: &Site, protocol: Protocol) -> String {
    let talker = site.talker(protocol);
    if site.holder() == Some(protocol) {
        let words = match (site.trouble, has_no_far_side(site)) {
            (Some(_), _) => "mapped, but no answer at the moment",
            (None, true) => "mapped, but no Internet address at the moment",
            (None, false) => "mapped",
        };
        return words.to_owned();
    }
    match (&talker.known, &talker.refused) {
        (Known::Unknown, _) => "asked".to_owned(),
        (Known::Found(_), Some(refused)) => refused.why.clone(),
        (Known::Found(_), None) => "available".to_owned(),
        (Known::Absent(Absence::Silent), _) => "no answer".to_owned(),
        (Known::Absent(Absence::Closed | Absence::Unsupported), _) => "not spoken".to_owned(),
        (Known::Absent(Absence::Nonsense), _) => "answers nonsense".to_owned(),
        (Known::Absent(Absence::Refused(words)), _) => words.clone(),
    }
}
