//! The port table: what is open, where, and why.

use std::net::{IpAddr, SocketAddr};

use kith_control::view::{PortState, PortView};
use kith_nat::MappingState;
use kith_peer::{Connection, PathKind, SocketPurpose, SocketUse};
use kith_wire::Side;

use super::core::{Core, lock};

/// The row of a link; what it is for depends on who dialled.
fn link(connection: &Connection, friend: Option<String>, here: &str, there: &str) -> PortView {
    let (direction, purpose) = match connection.side {
        Side::Dialer => ("out", here),
        Side::Acceptor => ("in", there),
    };
    PortView {
        local: connection.local.to_string(),
        protocol: "tcp".into(),
        direction: direction.into(),
        remote: Some(connection.remote.to_string()),
        friend,
        purpose: purpose.into(),
        external: None,
        state: PortState::Connected,
    }
}

/// A TCP socket of this computer that leads out.
fn out(local: String, remote: Option<String>, purpose: &str) -> PortView {
    PortView {
        local,
        protocol: "tcp".into(),
        direction: "out".into(),
        remote,
        friend: None,
        purpose: purpose.into(),
        external: None,
        state: PortState::Connected,
    }
}

/// A socket that is no link, or none yet.
fn passing(socket: SocketUse) -> PortView {
    let SocketUse { local, remote, purpose } = socket;
    let (local, remote) = (local.to_string(), remote.map(|remote| remote.to_string()));
    match purpose {
        SocketPurpose::Observation => {
            out(local, remote, "asks from where this port is seen, and keeps the router from forgetting it")
        }
        SocketPurpose::Leg => out(local, remote, "waits at a relay for the friend, to be joined with him"),
        SocketPurpose::Punch => {
            let purpose = "to a friend who connects at the same moment, through both routers (hole punching)";
            let direction = if remote.is_some() { "out" } else { "in" };
            PortView { direction: direction.into(), state: PortState::Open, ..out(local, remote, purpose) }
        }
    }
}

impl Core {
    pub(super) fn port_views(&self) -> Vec<PortView> {
        let mut ports = Vec::new();
        let mut local = |local: String, purpose: &str| {
            ports.push(PortView {
                local,
                protocol: "tcp".into(),
                direction: "local".into(),
                remote: None,
                friend: None,
                purpose: purpose.into(),
                external: None,
                state: PortState::Open,
            });
        };
        if let Some(bound) = self.bound.get() {
            let hosts: &[&str] = if bound.ipv6 { &["127.0.0.1", "[::1]"] } else { &["127.0.0.1"] };
            for host in hosts {
                local(format!("{host}:{}", bound.api_port), "API for programs on this computer");
                local(format!("{host}:{}", bound.app_port), "the app in the browser of this computer");
            }
        }
        if let Some(listener) = self.listener()
            && let kith_listener::ListenerState::Listening { addresses, .. } = &*listener.state().borrow()
        {
            ports.extend(addresses.iter().map(|address| PortView {
                local: address.to_string(),
                protocol: "tcp".into(),
                direction: "in".into(),
                remote: None,
                friend: None,
                purpose: "friends connect here; let it through firewalls".into(),
                external: None,
                state: PortState::Open,
            }));
        }
        let now = jiff::Timestamp::now();
        ports.extend(
            self.mapping_views(&self.nat_state())
                .iter()
                .filter_map(|mapping| PortView::of_mapping(mapping, now)),
        );
        ports.extend(self.router_sockets());
        ports.extend(self.nearby_socket());
        for friend in self.roster.all() {
            let connection = self.peers().and_then(|peers| peers.state(&friend.device_id)?.connection);
            let Some(connection) = connection else { continue };
            let (here, there) = match connection.path() {
                PathKind::Relayed => {
                    ("link, by a computer that passes it on", "link, by a computer that passes it on")
                }
                PathKind::Proxied => {
                    ("link that this computer dialled, by the proxy or firewall", "link by a proxy")
                }
                PathKind::Punched => ("link through both routers", "link through both routers"),
                _ => ("link that this computer dialled", "link that the friend dialled"),
            };
            ports.push(link(&connection, Some(friend.name.clone()), here, there));
        }
        for (id, state) in self.peers().map(kith_peer::Peers::hubs).unwrap_or_default() {
            let hub = self.carrier_name(&id);
            if let Some(connection) = state.connection {
                let purpose = format!("link to the hub {hub}, where computers find each other");
                ports.push(link(&connection, None, &purpose, &purpose));
            } else {
                let at = lock(&self.hubs)
                    .iter()
                    .find(|known| known.id == id)
                    .and_then(|known| known.at.first().cloned());
                ports.push(PortView {
                    state: PortState::Open,
                    ..out(
                        "*:*".into(),
                        at,
                        &format!("the hub {hub} is dialled, now and then until it answers"),
                    )
                });
            }
        }
        ports.extend(self.outbound.sockets().into_iter().map(passing));
        ports.extend(self.relayed_ports());
        ports
    }

    /// Where friends in the local network are heard.
    fn nearby_socket(&self) -> Option<PortView> {
        let purpose = "friends in the local network announce themselves here (multicast DNS)";
        self.hears_nearby().then(|| PortView::udp("*:5353", None, purpose))
    }

    /// The UDP sockets by which routers are asked and heard.
    fn router_sockets(&self) -> Vec<PortView> {
        let nat = self.nat_state();
        let allowed = self.settings().nat;
        if nat.verdict == MappingState::Off {
            return Vec::new();
        }
        let mut sockets = Vec::new();
        if allowed.pcp || allowed.nat_pmp {
            let purpose = "routers announce here that they have restarted (PCP, NAT-PMP)";
            sockets.push(PortView::udp("*:5350", None, purpose));
        }
        if allowed.upnp {
            sockets.push(PortView::udp("*:1900", None, "routers announce themselves here (UPnP)"));
        }
        for gateway in &nat.gateways {
            let asked = |port: u16| Some(SocketAddr::new(gateway.uplink.gateway, port).to_string());
            let from = match gateway.uplink.local {
                IpAddr::V4(ip) => format!("{ip}:*"),
                IpAddr::V6(ip) => format!("[{ip}]:*"),
            };
            if allowed.pcp || allowed.nat_pmp {
                let purpose = "the router is asked for the mapping, now and then (PCP, NAT-PMP)";
                sockets.push(PortView::udp(from.clone(), asked(5351), purpose));
            }
            if allowed.upnp {
                let purpose = "the router is looked for, now and then (UPnP)";
                sockets.push(PortView::udp(from, asked(1900), purpose));
            }
        }
        sockets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_that_are_no_links_are_told_with_what_they_are_for() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let row = |remote: Option<&str>, purpose| {
            let port = passing(SocketUse { local: at("0.0.0.0:4242"), remote: remote.map(at), purpose });
            (port.direction, port.remote, port.state, port.purpose)
        };
        let there = Some("11.0.0.1:4242");
        let (direction, remote, state, purpose) = row(there, SocketPurpose::Punch);
        assert_eq!((direction.as_str(), remote.as_deref(), state), ("out", there, PortState::Open));
        assert!(purpose.contains("hole punching"), "{purpose}");
        assert_eq!(row(None, SocketPurpose::Punch).0, "in");
        let (direction, _, state, purpose) = row(there, SocketPurpose::Leg);
        assert_eq!((direction.as_str(), state), ("out", PortState::Connected));
        assert!(purpose.contains("relay"), "{purpose}");
        assert!(row(there, SocketPurpose::Observation).3.contains("from where this port is seen"));
    }
}
