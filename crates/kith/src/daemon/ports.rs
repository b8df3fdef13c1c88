//! The port table: what is open, where, and why.

use std::net::{IpAddr, SocketAddr};

use kith_control::view::{PortState, PortView};
use kith_nat::MappingState;
use kith_wire::Side;

use super::core::Core;

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
        for friend in self.roster.all() {
            let connection = self.peers().and_then(|peers| peers.state(&friend.device_id)?.connection);
            let Some(connection) = connection else { continue };
            let (direction, purpose) = match connection.side {
                Side::Dialer => ("out", "link that this computer dialled"),
                Side::Acceptor => ("in", "link that the friend dialled"),
            };
            ports.push(PortView {
                local: connection.local.to_string(),
                protocol: "tcp".into(),
                direction: direction.into(),
                remote: Some(connection.remote.to_string()),
                friend: Some(friend.name.clone()),
                purpose: purpose.into(),
                external: None,
                state: PortState::Connected,
            });
        }
        ports
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
