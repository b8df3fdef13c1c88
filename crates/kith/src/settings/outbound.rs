//! What the settings say of outgoing connections, as the crate that makes them wants it.

use kith_peer::{Allowed, Inbound, Mapped, Names, OutboundRules, Proxy};

use super::addresses::{HostPort, MappedDestination, ProxyKind};
use super::model::Network;

impl Network {
    /// Whether `allowed-destinations` has nothing against connections to an address.
    pub fn may_go_to(&self, to: &HostPort) -> bool {
        self.allowed_destinations.is_empty()
            || self.allowed_destinations.iter().any(|entry| entry.may_allow(to))
    }

    /// The rules for connections that leave this computer.
    pub fn outbound_rules(&self) -> OutboundRules {
        OutboundRules {
            proxy: self.proxy.as_ref().map(|url| Proxy {
                kind: match url.kind() {
                    ProxyKind::Socks5 => kith_peer::ProxyKind::Socks5,
                    ProxyKind::HttpConnect => kith_peer::ProxyKind::HttpConnect,
                },
                address: url.address().to_string(),
                login: url.login().map(|(user, password)| (user.to_owned(), password.to_owned())),
            }),
            mapped: self
                .mapped
                .iter()
                .map(|(destination, port)| {
                    let destination = match destination {
                        MappedDestination::Device(id) => Mapped::Friend(*id),
                        MappedDestination::Address(address) => Mapped::Address(address.to_string()),
                    };
                    (destination, port.to_string())
                })
                .collect(),
            allowed: (!self.allowed_destinations.is_empty()).then(|| {
                let entries = self.allowed_destinations.clone();
                Allowed::new(move |to| entries.iter().any(|entry| entry.allows(to.name, to.ip, to.port)))
            }),
            ports: self.outgoing_ports.map(|range| range.first()..=range.last()),
            inbound: if self.outbound_only { Inbound::Never } else { Inbound::Taken },
            names: if self.outbound_only { crate::names::over_tcp() } else { Names::default() },
        }
    }
}
