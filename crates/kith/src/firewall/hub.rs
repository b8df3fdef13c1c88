//! Rules for a computer that runs `kith hub`.

use std::collections::BTreeSet;

use kith_control::view::{FirewallRule, FirewallView};

use super::FirewallDirection::{In, Out};
use super::FirewallProtocol::{Tcp, Udp};
use super::{lines, rule};
use crate::settings::{Hub, HubAddress};

/// What firewalls in front of a hub must let through.
pub fn rules(hub: &Hub) -> FirewallView {
    let mut rules = vec![FirewallRule {
        local_ports: Some(hub.port.get().to_string()),
        ..rule(In, Tcp, "computers connect here, from wherever they are")
    }];
    rules.extend(hub.peers.iter().flat_map(|peer| of_peer(hub, peer)));
    if let Some(metrics) = hub.metrics.map(|metrics| metrics.get()).filter(|at| !at.ip().is_loopback()) {
        rules.push(FirewallRule {
            local_ports: Some(metrics.port().to_string()),
            optional: true,
            ..rule(In, Tcp, "the numbers for Prometheus: let in whoever reads them, and nobody else")
        });
    }
    rules.push(FirewallRule {
        local_ports: Some(hub.port.get().to_string()),
        answers: true,
        ..rule(Out, Tcp, "answers to computers that connected: TCP packets with ACK set")
    });
    rules.extend(hub.peers.iter().flat_map(|peer| answers(hub, peer)));
    if hub.peers.iter().any(|peer| peer.address().ip().is_none()) {
        for protocol in [Udp, Tcp] {
            rules.push(FirewallRule {
                remote_ports: Some("53".to_owned()),
                optional: true,
                ..rule(Out, protocol, "your name servers, by which other hubs are found")
            });
        }
    }
    FirewallView {
        summary: summary(hub),
        proxy: None,
        mapped: Vec::new(),
        nftables: lines::nftables(&rules),
        ufw: lines::ufw(&rules),
        notes: notes(hub),
        rules,
    }
}

/// Two hubs dial each other.
fn of_peer(hub: &Hub, peer: &HubAddress) -> [FirewallRule; 2] {
    let address = peer.address();
    [
        FirewallRule {
            local_ports: Some(hub.peer_port.get().to_string()),
            remote: Some(address.host().to_owned()),
            ..rule(In, Tcp, "another hub connects here")
        },
        FirewallRule {
            remote: Some(address.host().to_owned()),
            remote_ports: Some(address.port().to_string()),
            ..rule(Out, Tcp, "another hub is connected to")
        },
    ]
}

fn answers(hub: &Hub, peer: &HubAddress) -> [FirewallRule; 2] {
    of_peer(hub, peer).map(|rule| FirewallRule {
        direction: if rule.direction == In { Out } else { In },
        answers: true,
        purpose: "answers of another hub, or to it: TCP packets with ACK set".to_owned(),
        ..rule
    })
}

fn summary(hub: &Hub) -> Vec<String> {
    let mut summary = vec![format!(
        "Computers connect to TCP port {} of this hub, for everything: to find each other, and to be joined by its relay.",
        hub.port.get()
    )];
    if !hub.peers.is_empty() {
        let at: BTreeSet<String> = hub.peers.iter().map(|peer| peer.address().to_string()).collect();
        let at: Vec<String> = at.into_iter().collect();
        summary.push(format!(
            "Other hubs connect to TCP port {}, and it connects to {}.",
            hub.peer_port.get(),
            at.join(", ")
        ));
    }
    if hub.peers.is_empty() {
        summary.push("It connects to nobody, and uses no UDP.".to_owned());
    }
    summary
}

fn notes(hub: &Hub) -> Vec<String> {
    let mut notes = vec![
        "Inspecting TLS does not work here and makes connections fail: both ends prove who they are. Except them from it."
            .to_owned(),
    ];
    if !hub.moving.to.is_empty() {
        let to: Vec<String> = hub.moving.to.iter().map(ToString::to_string).collect();
        notes.push(format!(
            "The hub moves to {} (hub.moving): the firewall there must let computers in before that, and this one until all have gone.",
            to.join(", ")
        ));
    }
    notes
}
