//! The facts from which the rules for firewalls follow, and what is said of them at the start.

use std::collections::BTreeSet;

use kith_control::view::FirewallView;
use kith_peer::reach::HubRole;
use kith_wire::Side;
use tracing::{info, warn};

use super::core::{Core, lock};
use super::roster::Friend;
use crate::firewall::{Facts, Hub, Peer, Whose, rules};

impl Core {
    /// What firewalls must let through.
    pub(super) fn firewall_view(&self) -> FirewallView {
        let gateways: BTreeSet<_> =
            self.nat_state().gateways.iter().map(|gateway| gateway.uplink.gateway).collect();
        rules(&Facts {
            settings: self.settings(),
            listening: self.listener().map(|_listener| self.listen_port()),
            gateways: gateways.into_iter().collect(),
            friends: self.roster.all().iter().map(|friend| self.to_be_reached(friend)).collect(),
            hubs: self.used_hubs(),
        })
    }

    /// The hubs that are used, or stand by, with all of their addresses: where they are, and where they said that they will be.
    fn used_hubs(&self) -> Vec<Hub> {
        let hubs = lock(&self.hubs).clone();
        let hubs = hubs.into_iter().map(|hub| {
            let announced = hub.moves.into_iter().flat_map(|moves| moves.to);
            let addresses =
                hub.at.into_iter().chain(announced).fold(Vec::new(), |mut all: Vec<String>, at| {
                    if !all.contains(&at) {
                        all.push(at);
                    }
                    all
                });
            let whose = if hub.role == HubRole::Borrowed { Whose::OfFriend } else { Whose::Ours };
            Hub { device_id: hub.id, addresses, whose }
        });
        hubs.collect()
    }

    /// A friend with his addresses: the one in use first, then those from outside.
    fn to_be_reached(&self, friend: &Friend) -> Peer {
        let connection = self.peers().and_then(|peers| peers.state(&friend.device_id)?.connection);
        let in_use =
            connection.filter(|connection| connection.side == Side::Dialer && connection.way.shows_friend());
        let in_use = in_use.map(|connection| connection.remote.to_string());
        let known = &friend.addresses;
        let known = known.public.iter().chain(&known.configured).chain(&known.invited).cloned();
        let mut addresses: Vec<String> = Vec::new();
        for address in in_use.into_iter().chain(known) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        Peer { device_id: friend.device_id, name: friend.name.clone(), addresses }
    }

    /// Says which ports of a firewall must lead where, for whoever reads the log.
    pub(super) fn say_what_is_mapped(&self) {
        for port in self.firewall_view().mapped {
            let friend = port.friend.as_deref().unwrap_or(&port.destination);
            let to = port.forward_to.join(", ");
            match &port.firewall {
                Some(firewall) => info!(%firewall, %to, friend, "the firewall must forward this port"),
                None => warn!(
                    %to, friend,
                    "no port of the firewall stands for this friend: map one and name it under network.mapped"
                ),
            }
        }
    }
}
