//! All rules of a computer together: what becomes of connections.

use std::net::{IpAddr, SocketAddr};

use super::chains::Outcome;
use super::effort::Effort;
use super::packet::{Earlier, Family, Packet, Port, Stage, Way};
use super::{Access, FirewallFacts, MOST_REMOTES, ReadError, RemoteAccess, RulePlace, iptables, nft};

/// All rules that could be read.
#[derive(Debug, Default)]
pub struct Rules {
    nft: Option<nft::Ruleset>,
    iptables: Vec<iptables::Ruleset>,
    /// Some could not be read: nothing is said to be open.
    is_partial: bool,
}

/// What becomes of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Whether it gets through.
    pub access: Access,
    /// The rule, or the policy of a chain, that stops it.
    pub rule: Option<String>,
    /// Where that is.
    pub place: Option<RulePlace>,
}

impl Rules {
    /// Adds what `nft -j list ruleset` prints.
    ///
    /// # Errors
    /// If it can't be read; then nothing is said to be open.
    pub fn add_nft(&mut self, text: &str) -> Result<(), ReadError> {
        match nft::Ruleset::read(text) {
            Ok(rules) => self.nft = Some(rules),
            Err(error) => {
                self.is_partial = true;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Adds what `iptables-save` (or `ip6tables-save`) prints of the tables of `backend`.
    ///
    /// # Errors
    /// If it can't be read; then nothing is said to be open.
    pub fn add_iptables(
        &mut self,
        family: Family,
        backend: iptables::Backend,
        text: &str,
    ) -> Result<(), ReadError> {
        match iptables::Ruleset::read(family, backend, text) {
            Ok(rules) => self.iptables.push(rules),
            Err(error) => {
                self.is_partial = true;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Says that there are rules that could not be read.
    pub const fn add_unread(&mut self) {
        self.is_partial = true;
    }

    /// Call it when all were added: what two programs show is looked at once, as the one shows it that shows more.
    pub fn settle(&mut self) {
        let Some(nft) = &mut self.nft else { return };
        for rules in self.iptables.iter().filter(|rules| rules.is_nft()) {
            nft.leave_out(rules.family(), &rules.tables());
        }
    }

    /// Whether rules of firewalld are among them.
    #[must_use]
    pub fn has_firewalld(&self) -> bool {
        self.nft.as_ref().is_some_and(|nft| nft.has_table("firewalld"))
    }

    /// Whether nftables has any chains, and whether iptables has any rules.
    #[must_use]
    pub fn said_by(&self) -> (bool, bool) {
        let nft = self.nft.as_ref().is_some_and(|nft| !nft.is_empty());
        (nft, self.iptables.iter().any(iptables::Ruleset::says_anything))
    }

    /// What becomes of connections from another computer to a port of this one, or from this one to a port of the other.
    ///
    /// A connection gets through when its first packet does and the answer to that.
    #[must_use]
    pub fn decide(&self, way: Way, family: Family, port: Option<u16>, remote: Option<IpAddr>) -> Decision {
        self.decided(way, family, port, remote, &Effort::default())
    }

    fn decided(
        &self,
        way: Way,
        family: Family,
        port: Option<u16>,
        remote: Option<IpAddr>,
        effort: &Effort,
    ) -> Decision {
        let port = port.map_or(Port::Any, Port::Number);
        let (local_port, remote_port) = match way {
            Way::In => (port, Port::Chosen),
            Way::Out => (Port::Chosen, port),
        };
        let back = match way {
            Way::In => Way::Out,
            Way::Out => Way::In,
        };
        let first = Packet { way, stage: Stage::New, family, local_port, remote_port, remote };
        let answer = Packet { way: back, stage: Stage::Established, ..first };
        let first = self.followed(&first, effort);
        if first.access.is_closed() {
            return first;
        }
        let mut answer = self.followed(&answer, effort);
        if let Some(place) = &mut answer.place {
            place.answers = true;
        }
        match answer.access {
            // Whoever asks hears nothing, whichever way the answer is stopped.
            Access::Rejected => Decision { access: Access::Dropped, ..answer },
            Access::Open => first,
            _ => answer,
        }
    }

    /// What becomes of a packet.
    #[must_use]
    pub fn follow(&self, packet: &Packet) -> Decision {
        self.followed(packet, &Effort::default())
    }

    fn followed(&self, packet: &Packet, effort: &Effort) -> Decision {
        if effort.is_spent() {
            return Decision::default();
        }
        let port = match packet.local_port {
            Port::Number(port) => Some(port),
            Port::Chosen | Port::Any => None,
        };
        let nft = self.nft.as_ref().map(|nft| nft.earlier(port));
        let iptables = self.iptables.iter().map(|rules| rules.earlier(port));
        let earlier = nft.into_iter().chain(iptables).fold(Earlier::default(), Earlier::or);
        let nft = self.nft.as_ref().map(|nft| nft.follow(packet, earlier, effort));
        let iptables: Vec<Outcome> =
            self.iptables.iter().map(|rules| rules.follow(packet, earlier, effort)).collect();
        let all = || nft.iter().chain(&iptables);
        if !all().any(|outcome| outcome.redirected) {
            if let Some((rules, end)) = self.nft.as_ref().zip(nft.and_then(|outcome| outcome.stopped)) {
                return rules.decision(end);
            }
            for (rules, outcome) in self.iptables.iter().zip(&iptables) {
                if let Some(end) = outcome.stopped {
                    return rules.decision(end);
                }
            }
        }
        let looked_at =
            self.nft.is_some() || self.iptables.iter().any(|rules| rules.family() == packet.family);
        let unsure = self.is_partial
            || !looked_at
            || all().any(|outcome| outcome.unsure || outcome.redirected || outcome.stopped.is_some());
        Decision { access: if unsure { Access::Unknown } else { Access::Open }, ..Decision::default() }
    }

    /// What is known of connections from others to a port, and to these addresses of others; without any, from and to anywhere.
    #[must_use]
    pub fn facts(&self, port: u16, remotes: &[SocketAddr]) -> FirewallFacts {
        let mut places: Vec<(String, Family, Option<u16>, Option<IpAddr>)> = Vec::new();
        for remote in remotes {
            let address = remote.ip().to_canonical();
            let place = SocketAddr::new(address, remote.port());
            let place = (place.to_string(), Family::of(address), Some(remote.port()), Some(address));
            if places.len() < MOST_REMOTES && !places.contains(&place) {
                places.push(place);
            }
        }
        if places.is_empty() {
            places.push(("any IPv4 address".to_owned(), Family::V4, None, None));
            places.push(("any IPv6 address".to_owned(), Family::V6, None, None));
        }
        let effort = Effort::default();
        let decide = |way, own: Option<u16>| -> Vec<Decision> {
            let all = places.iter();
            all.map(|(_, family, theirs, remote)| {
                self.decided(way, *family, own.or(*theirs), *remote, &effort)
            })
            .collect()
        };
        let (inbound, outbound) = (decide(Way::In, Some(port)), decide(Way::Out, None));
        let remotes =
            places.iter().zip(inbound.iter().zip(&outbound)).map(|((address, ..), (inbound, outbound))| {
                RemoteAccess {
                    address: address.clone(),
                    inbound: inbound.access,
                    outbound: outbound.access,
                    inbound_rule: inbound.rule.clone(),
                    outbound_rule: outbound.rule.clone(),
                    inbound_place: inbound.place.clone(),
                    outbound_place: outbound.place.clone(),
                }
            });
        let remotes = remotes.collect();
        let (inbound, outbound) = (together(inbound), together(outbound));
        FirewallFacts {
            inbound: inbound.access,
            outbound: outbound.access,
            inbound_rule: inbound.rule,
            outbound_rule: outbound.rule,
            inbound_place: inbound.place,
            outbound_place: outbound.place,
            remotes,
            readable: true,
            ..FirewallFacts::default()
        }
    }
}

/// What is true of all.
fn together(decisions: Vec<Decision>) -> Decision {
    let same = decisions.iter().all(|one| one.access.is_closed())
        || decisions.iter().all(|one| one.access == Access::Open);
    decisions.into_iter().next().filter(|_| same).unwrap_or_default()
}
