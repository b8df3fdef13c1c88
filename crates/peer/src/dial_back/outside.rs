//! What "from outside" means, for both halves. Pure.

use std::net::{IpAddr, Ipv4Addr};

use kith_network::Snapshot;

use crate::book::is_internal;

/// Whether an address is outside: neither this computer nor a router of it nor in a network that it is part of, and not in any private
/// network.
///
/// A dial to or from any other address proves nothing, and one that a friend asks for would tell him of what is none of his
/// business: where something forwards connections to this computer (a tunnel, a container's proxy, a router that puts its own
/// address in the place of the caller's), he seems to come from there.
#[must_use]
pub fn is_outside(ip: IpAddr, network: &Snapshot) -> bool {
    let ip = ip.to_canonical();
    let is_nobodys = ip.is_unspecified() || ip.is_multicast() || ip == Ipv4Addr::BROADCAST;
    let is_gateway = || network.gateways.iter().any(|gateway| gateway.address.to_canonical() == ip);
    !is_nobodys && !is_internal(ip) && !network.is_on_link(ip) && !is_gateway()
}

#[cfg(test)]
mod tests {
    use kith_network::{Address, Gateway, Interface, InterfaceKind};

    use super::*;

    fn network() -> Snapshot {
        let interface = |index, name: &str, kind, addresses: &[(&str, u8)]| {
            let address =
                |&(ip, prefix): &(&str, u8)| Address { ip: ip.parse().unwrap(), prefix, temporary: false };
            Interface { index, name: name.into(), kind, addresses: addresses.iter().map(address).collect() }
        };
        let gateway = |address: &str| Gateway {
            index: 2,
            interface: "eth0".into(),
            address: address.parse().unwrap(),
            metric: 100,
        };
        Snapshot {
            interfaces: vec![
                interface(
                    2,
                    "eth0",
                    InterfaceKind::Physical,
                    &[("192.168.1.23", 24), ("11.51.100.8", 29), ("2001:db8:1::23", 64)],
                ),
                interface(3, "wg0", InterfaceKind::Tunnel, &[("10.8.0.2", 32), ("11.77.0.2", 24)]),
                interface(4, "docker0", InterfaceKind::Container, &[("172.17.0.1", 16), ("11.88.0.1", 24)]),
            ],
            gateways: vec![gateway("192.168.1.1"), gateway("11.99.0.1")],
            ..Snapshot::default()
        }
    }

    #[test]
    fn neither_this_computer_nor_its_routers_nor_its_neighbours_are_outside() {
        for (ip, outside) in [
            ("11.0.113.5", true),
            ("::ffff:11.0.113.5", true),
            ("2001:db8:2::5", true),
            // A carrier's customers, and what some VPNs use: outside where it is not a network of ours.
            ("100.64.7.7", true),
            // This computer.
            ("127.0.0.1", false),
            ("127.3.2.1", false),
            ("::ffff:127.0.0.1", false),
            ("::1", false),
            ("192.168.1.23", false),
            ("11.51.100.8", false),
            ("2001:db8:1::23", false),
            ("::ffff:11.51.100.8", false),
            // Its bridge to containers, whose proxy hides the caller.
            ("172.17.0.1", false),
            ("172.17.0.2", false),
            ("11.88.0.1", false),
            // Its routers, also one that is in none of its networks.
            ("192.168.1.1", false),
            ("11.99.0.1", false),
            ("::ffff:11.99.0.1", false),
            ("fe80::1", false),
            // Its neighbours.
            ("192.168.1.77", false),
            ("11.51.100.15", false),
            ("11.51.100.16", true),
            ("11.77.0.9", false),
            ("2001:db8:1::77", false),
            ("169.254.3.4", false),
            // Private networks, wherever they are: a router behind the router, the far end of a VPN.
            ("192.168.0.1", false),
            ("10.20.30.40", false),
            ("fd00::1", false),
            // Nobody.
            ("0.0.0.0", false),
            ("::", false),
            ("255.255.255.255", false),
            ("224.0.0.1", false),
            ("ff02::1", false),
        ] {
            assert_eq!(is_outside(ip.parse().unwrap(), &network()), outside, "{ip}");
        }
    }

    #[test]
    fn without_a_network_private_addresses_are_inside_all_the_same() {
        let nothing = Snapshot::default();
        assert!(!is_outside("127.0.0.1".parse().unwrap(), &nothing));
        assert!(!is_outside("192.168.1.1".parse().unwrap(), &nothing));
        assert!(is_outside("11.0.113.5".parse().unwrap(), &nothing));
    }
}
