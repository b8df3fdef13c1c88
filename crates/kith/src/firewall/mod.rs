//! What firewalls must let through: from the settings and the addresses that are known, to rules. Pure.

mod hub;
mod lines;
mod out;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use kith_control::view::{
    FirewallDirection, FirewallProtocol, FirewallRule, FirewallView, MappedPort, ProxyDestination, ProxyRules,
};
use kith_identity::DeviceId;

use crate::settings::{HostPort, MappedDestination, ProxyKind, Settings};

pub use self::hub::rules as hub_rules;

use self::FirewallDirection::In;
use self::FirewallProtocol::{Tcp, Udp};

/// Most rules that name single addresses of friends; beyond, the rule for all of them has to do.
const MOST_ADDRESSES: usize = 256;
/// Where routers announce that they have restarted (RFC 6886, section 3.2.1; RFC 6887, section 14.1).
const ANNOUNCEMENTS: u16 = 5350;
/// Where routers are asked by PCP and NAT-PMP.
const ASKED: u16 = 5351;
/// Where routers are looked for, and announce themselves, by UPnP.
const SSDP: u16 = 1900;
/// Where friends in the same network are looked for (RFC 6762).
const MDNS: u16 = 5353;

/// What the rules follow from.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The settings in force.
    pub settings: Settings,
    /// The port that is listened on; none: it is closed.
    pub listening: Option<u16>,
    /// The routers' addresses inside the network.
    pub gateways: Vec<IpAddr>,
    /// The friends.
    pub friends: Vec<Peer>,
    /// The hubs that are used beside those that the settings name, and where those are found that have moved or will.
    pub hubs: Vec<Hub>,
}

/// A hub to be reached.
#[derive(Clone, Debug)]
pub struct Hub {
    /// Who.
    pub device_id: DeviceId,
    /// Its addresses, `host:port`.
    pub addresses: Vec<String>,
    /// Whose.
    pub whose: Whose,
}

/// Whose hub it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// One that the settings name, or that such a one has assigned.
    Ours,
    /// A friend's, by which he is reached.
    OfFriend,
}

/// Somebody to be reached.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Who.
    pub device_id: DeviceId,
    /// As the person calls him.
    pub name: String,
    /// His addresses, `host:port`: the one in use first, then those by which he is known outside.
    pub addresses: Vec<String>,
}

/// The rules.
pub fn rules(facts: &Facts) -> FirewallView {
    let mut rules = inbound(facts);
    rules.extend(out::rules(facts));
    let mut view = FirewallView {
        summary: summary(facts),
        proxy: proxy(facts),
        mapped: mapped(facts),
        nftables: lines::nftables(&rules),
        ufw: lines::ufw(&rules),
        notes: notes(facts),
        rules: Vec::new(),
    };
    view.rules = rules;
    view
}

/// All hubs, those that the settings name first, each with all of its addresses.
fn hubs(facts: &Facts) -> Vec<Hub> {
    let named = facts.settings.network.hubs.iter().map(|hub| Hub {
        device_id: hub.device_id(),
        addresses: vec![hub.address().to_string()],
        whose: Whose::Ours,
    });
    let mut hubs: Vec<Hub> = Vec::new();
    for hub in named.chain(facts.hubs.iter().cloned()) {
        match hubs.iter_mut().find(|known| known.device_id == hub.device_id) {
            Some(known) => {
                let is_new =
                    |address: &String| !known.addresses.iter().any(|a| a.eq_ignore_ascii_case(address));
                let new: Vec<String> = hub.addresses.into_iter().filter(is_new).collect();
                known.addresses.extend(new);
            }
            None => hubs.push(hub),
        }
    }
    hubs
}

/// A rule of which nothing is narrowed down.
fn rule(direction: FirewallDirection, protocol: FirewallProtocol, purpose: &str) -> FirewallRule {
    FirewallRule {
        direction,
        protocol,
        local_ports: None,
        remote: None,
        remote_ports: None,
        answers: false,
        optional: false,
        friend: None,
        purpose: purpose.to_owned(),
    }
}

fn inbound(facts: &Facts) -> Vec<FirewallRule> {
    let Settings { network, nat, listener, .. } = &facts.settings;
    let mut rules = Vec::new();
    if network.outbound_only {
        return rules;
    }
    let port = facts.listening.unwrap_or_else(|| listener.port.get());
    rules.push(FirewallRule {
        local_ports: Some(port.to_string()),
        ..rule(In, Tcp, "friends connect here, from wherever they are")
    });
    let heard = |port: u16, purpose| FirewallRule {
        local_ports: Some(port.to_string()),
        optional: true,
        ..rule(In, Udp, purpose)
    };
    if nat.pcp || nat.nat_pmp {
        rules.push(heard(
            ANNOUNCEMENTS,
            "routers announce that they have restarted (PCP, NAT-PMP), multicast",
        ));
    }
    if nat.upnp {
        rules.push(heard(SSDP, "routers announce themselves (UPnP), multicast"));
    }
    if network.lan_discovery {
        rules.push(heard(MDNS, "friends in the same network are found (mDNS), multicast"));
    }
    rules
}

fn summary(facts: &Facts) -> Vec<String> {
    let network = &facts.settings.network;
    let mut summary = Vec::new();
    summary.push(if network.outbound_only {
        "This computer only makes connections (network.outbound-only): none comes in, and TCP is all it uses."
            .to_owned()
    } else {
        let port = facts.listening.unwrap_or_else(|| facts.settings.listener.port.get());
        format!("Friends connect to TCP port {port} of this computer, and it connects to theirs.")
    });
    if !network.mapped.is_empty() {
        summary.push(
            "Destinations under [network.mapped] are reached by a port of the firewall that forwards to them.".to_owned(),
        );
    }
    if let Some(proxy) = &network.proxy {
        summary.push(format!(
            "Everything else goes by the proxy {}, which looks up names, too; nothing goes past it.",
            proxy.address()
        ));
    }
    if !network.allowed_destinations.is_empty() {
        summary
            .push("Connections go to what network.allowed-destinations names, and nowhere else.".to_owned());
    }
    if let Some(range) = network.outgoing_ports {
        summary.push(format!("Connections leave from the local ports {range} (network.outgoing-ports)."));
    }
    summary
}

fn notes(facts: &Facts) -> Vec<String> {
    let network = &facts.settings.network;
    let mut notes = vec![
        "Inspecting TLS does not work here and makes connections fail: both ends prove who they are. Except them from it."
            .to_owned(),
        "Friends' addresses change. Where the filter can name destinations by port only, the rules without an address last.".to_owned(),
    ];
    if !network.outbound_only {
        notes.push(
            "The router must lead the port here: by UPnP, NAT-PMP or PCP, or by a port forwarding made by hand, which is then written into \
             listener.advertise."
                .to_owned(),
        );
    }
    notes
}

fn proxy(facts: &Facts) -> Option<ProxyRules> {
    let network = &facts.settings.network;
    let proxy = network.proxy.as_ref()?;
    let mut destinations = Vec::new();
    for hub in hubs(facts) {
        for address in out::dialled(facts, &hub.device_id, &hub.addresses) {
            destinations.push(ProxyDestination { address, friend: None, purpose: "hub".to_owned() });
        }
    }
    for friend in &facts.friends {
        for address in out::dialled(facts, &friend.device_id, &friend.addresses) {
            destinations.push(ProxyDestination {
                address,
                friend: Some(friend.name.clone()),
                purpose: "friend".to_owned(),
            });
        }
    }
    destinations.truncate(MOST_ADDRESSES);
    Some(ProxyRules {
        kind: match proxy.kind() {
            ProxyKind::Socks5 => "socks5",
            ProxyKind::HttpConnect => "connect",
        }
        .to_owned(),
        address: proxy.address().to_string(),
        login: proxy.login().is_some(),
        destinations,
    })
}

/// The port of the firewall that stands for somebody: for his id, or for one of his addresses.
fn mapped_port<'a>(facts: &'a Facts, id: &DeviceId, addresses: &[String]) -> Option<&'a HostPort> {
    let stands = |destination: &MappedDestination| match destination {
        MappedDestination::Device(named) => named == id,
        MappedDestination::Address(named) => {
            addresses.iter().any(|address| address.eq_ignore_ascii_case(&named.to_string()))
        }
    };
    facts.settings.network.mapped.iter().find(|(destination, _)| stands(destination)).map(|(_, port)| port)
}

/// What must be mapped: as the settings say, and who is missing there.
fn mapped(facts: &Facts) -> Vec<MappedPort> {
    let network = &facts.settings.network;
    if network.mapped.is_empty() {
        return Vec::new();
    }
    let hubs = hubs(facts);
    let mut ports: Vec<MappedPort> = network
        .mapped
        .iter()
        .map(|(destination, firewall)| {
            let (friend, forward_to) = match destination {
                MappedDestination::Device(id) => {
                    let friend = facts.friends.iter().find(|friend| friend.device_id == *id);
                    let hub = hubs.iter().find(|hub| hub.device_id == *id).map(|hub| hub.addresses.clone());
                    let known = friend.map(|friend| friend.addresses.clone());
                    (friend.map(|friend| friend.name.clone()), known.or(hub).unwrap_or_default())
                }
                MappedDestination::Address(address) => {
                    let address = address.to_string();
                    let has = |friend: &&Peer| {
                        friend.addresses.iter().any(|known| known.eq_ignore_ascii_case(&address))
                    };
                    let friend = facts.friends.iter().find(has).map(|friend| friend.name.clone());
                    (friend, vec![address])
                }
            };
            MappedPort {
                firewall: Some(firewall.to_string()),
                destination: destination.to_string(),
                friend,
                forward_to,
            }
        })
        .collect();
    // With a proxy beside, whoever has no port is reached by that.
    if network.proxy.is_some() {
        return ports;
    }
    let missing = |id: &DeviceId, addresses: &[String]| mapped_port(facts, id, addresses).is_none();
    for friend in facts.friends.iter().filter(|friend| missing(&friend.device_id, &friend.addresses)) {
        ports.push(MappedPort {
            firewall: None,
            destination: friend.device_id.to_string(),
            friend: Some(friend.name.clone()),
            forward_to: friend.addresses.clone(),
        });
    }
    for hub in hubs.iter().filter(|hub| missing(&hub.device_id, &hub.addresses)) {
        let addresses = out::dialled(facts, &hub.device_id, &hub.addresses);
        if !addresses.is_empty() {
            ports.push(MappedPort {
                firewall: None,
                destination: hub.device_id.to_string(),
                friend: None,
                forward_to: addresses,
            });
        }
    }
    ports
}
