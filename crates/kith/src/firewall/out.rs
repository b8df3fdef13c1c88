//! Rules for what leaves this computer.

use std::collections::BTreeSet;

use kith_control::view::FirewallRule;
use kith_identity::DeviceId;

use crate::settings::{HostPort, PortRange};

use super::{
    ASKED, Facts, FirewallDirection::In, FirewallDirection::Out, FirewallProtocol::Tcp,
    FirewallProtocol::Udp, MDNS, MOST_ADDRESSES, SSDP, Whose, hubs, mapped_port, rule,
};

pub(super) fn rules(facts: &Facts) -> Vec<FirewallRule> {
    let network = &facts.settings.network;
    let mut rules = Vec::new();
    // The firewall's own ports, and the proxy: they are allowed by being named.
    let firewalls: BTreeSet<&HostPort> = network.mapped.values().collect();
    for firewall in firewalls {
        rules.push(to(firewall, "a port of the firewall that forwards to one destination"));
    }
    if let Some(proxy) = &network.proxy {
        rules.push(to(proxy.address(), "the proxy, which connects to friends"));
    } else {
        rules.extend(straight(facts));
    }
    let local_ports = network.outgoing_ports.as_ref().map(ToString::to_string);
    for rule in &mut rules {
        rule.local_ports.clone_from(&local_ports);
    }
    rules.extend(answers(&rules, facts));
    rules.extend(punches(facts));
    rules.extend(names(facts));
    if !network.outbound_only {
        rules.extend(routers(facts));
    }
    rules
}

/// Where a friend or a hub is dialled without a port of the firewall in between, as far as the settings allow it.
pub(super) fn dialled(facts: &Facts, id: &DeviceId, addresses: &[String]) -> Vec<String> {
    let allowed = &facts.settings.network.allowed_destinations;
    let goes = |address: &&String| {
        if mapped_port(facts, id, std::slice::from_ref(*address)).is_some() {
            return false;
        }
        let Ok(address) = address.parse::<HostPort>() else { return false };
        let name = address.ip().is_none().then(|| address.host());
        allowed.is_empty() || allowed.iter().any(|entry| entry.allows(name, address.ip(), address.port()))
    };
    addresses.iter().filter(goes).cloned().collect()
}

fn to(address: &HostPort, purpose: &str) -> FirewallRule {
    FirewallRule {
        remote: Some(address.host().to_owned()),
        remote_ports: Some(address.port().to_string()),
        ..rule(Out, Tcp, purpose)
    }
}

/// Straight to friends and hubs.
fn straight(facts: &Facts) -> Vec<FirewallRule> {
    let network = &facts.settings.network;
    let mut rules = Vec::new();
    if network.allowed_destinations.is_empty() {
        rules.extend(ports_of_friends(facts).into_iter().map(|port| FirewallRule {
            remote_ports: Some(port.to_string()),
            ..rule(Out, Tcp, "to friends, wherever they are: this port is the one that they use")
        }));
    }
    for entry in &network.allowed_destinations {
        rules.push(FirewallRule {
            remote: entry.host(),
            remote_ports: entry.ports(),
            ..rule(Out, Tcp, "allowed by network.allowed-destinations")
        });
    }
    for hub in hubs(facts) {
        let (optional, purpose) = match hub.whose {
            Whose::Ours => (false, "a hub, where computers find each other"),
            Whose::OfFriend => (true, "the hub of a friend, by which he is reached"),
        };
        let addresses = dialled(facts, &hub.device_id, &hub.addresses);
        for address in addresses.iter().filter_map(|address| address.parse::<HostPort>().ok()) {
            rules.push(FirewallRule { optional, ..to(&address, purpose) });
        }
    }
    let mut named = 0;
    for friend in &facts.friends {
        for address in dialled(facts, &friend.device_id, &friend.addresses) {
            let Ok(address) = address.parse::<HostPort>() else { continue };
            named += 1;
            if named > MOST_ADDRESSES {
                return rules;
            }
            rules.push(FirewallRule {
                friend: Some(friend.name.clone()),
                optional: true,
                ..to(&address, "an address of the friend as of now, for filters that name each one")
            });
        }
    }
    rules
}

/// Every port at which somebody is dialled.
fn ports_of_friends(facts: &Facts) -> BTreeSet<u16> {
    let friends = facts.friends.iter();
    let addresses = friends.flat_map(|friend| dialled(facts, &friend.device_id, &friend.addresses));
    let mut ports: BTreeSet<u16> = addresses
        .filter_map(|address| address.parse::<HostPort>().ok())
        .map(|address| address.port())
        .take(MOST_ADDRESSES)
        .collect();
    if ports.is_empty() {
        ports.insert(crate::settings::ListenPort::DEFAULT.get());
    }
    ports
}

/// The packets that come back, for filters that don't keep connections in mind.
fn answers(out: &[FirewallRule], facts: &Facts) -> Vec<FirewallRule> {
    let mut answers: Vec<FirewallRule> = Vec::new();
    for rule in out.iter().filter(|rule| !rule.optional) {
        answers.push(FirewallRule {
            direction: In,
            answers: true,
            purpose: "answers to the connections above: TCP packets with ACK set".to_owned(),
            ..rule.clone()
        });
    }
    if !facts.settings.network.outbound_only {
        let port = facts.listening.unwrap_or_else(|| facts.settings.listener.port.get());
        answers.push(FirewallRule {
            local_ports: Some(port.to_string()),
            answers: true,
            ..rule(Out, Tcp, "answers to friends who connected: TCP packets with ACK set")
        });
    }
    answers
}

/// Connections that both ends begin at once, through routers that let nobody in.
fn punches(facts: &Facts) -> Vec<FirewallRule> {
    let network = &facts.settings.network;
    let narrowed = network.outbound_only
        || network.proxy.is_some()
        || !network.mapped.is_empty()
        || !network.allowed_destinations.is_empty();
    if narrowed {
        return Vec::new();
    }
    let port = facts.listening.unwrap_or_else(|| facts.settings.listener.port.get());
    let ranges = network.punch_port_ranges.iter().map(PortRange::to_string);
    let from = std::iter::once(port.to_string()).chain(ranges);
    from.map(|ports| FirewallRule {
        local_ports: Some(ports),
        optional: true,
        ..rule(
            Out,
            Tcp,
            "to friends whose router lets nobody in, who begin at the same moment (hole punching)",
        )
    })
    .collect()
}

/// Looking up names.
fn names(facts: &Facts) -> Vec<FirewallRule> {
    let asked = |protocol, purpose| FirewallRule {
        remote_ports: Some("53".to_owned()),
        optional: true,
        ..rule(Out, protocol, purpose)
    };
    let tcp = asked(Tcp, "your name servers, not needed where all addresses are plain ones");
    if facts.settings.network.outbound_only {
        vec![tcp]
    } else {
        vec![asked(Udp, "your name servers, not needed where all addresses are plain ones"), tcp]
    }
}

/// Asking routers for a way in, and looking for friends in the same network.
fn routers(facts: &Facts) -> Vec<FirewallRule> {
    let nat = &facts.settings.nat;
    let mut rules = Vec::new();
    for gateway in &facts.gateways {
        let asked = |protocol, port: Option<u16>, purpose| FirewallRule {
            remote: Some(gateway.to_string()),
            remote_ports: port.map(|port| port.to_string()),
            optional: true,
            ..rule(Out, protocol, purpose)
        };
        if nat.pcp || nat.nat_pmp {
            rules.push(asked(Udp, Some(ASKED), "the router is asked to let friends in (PCP, NAT-PMP)"));
        }
        if nat.upnp {
            rules.push(asked(Udp, Some(SSDP), "the router is looked for (UPnP)"));
            rules.push(asked(
                Tcp,
                None,
                "the router is asked to let friends in (UPnP), at a port that it names",
            ));
        }
    }
    let multicast = |group: &str, port: u16, purpose| FirewallRule {
        remote: Some(group.to_owned()),
        remote_ports: Some(port.to_string()),
        optional: true,
        ..rule(Out, Udp, purpose)
    };
    if nat.upnp {
        rules.push(multicast("239.255.255.250", SSDP, "the router is looked for (UPnP), multicast"));
    }
    if facts.settings.network.lan_discovery {
        for group in ["224.0.0.251", "ff02::fb"] {
            rules.push(multicast(group, MDNS, "friends in the same network are found (mDNS), multicast"));
        }
    }
    rules
}
