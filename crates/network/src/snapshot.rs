//! The network at one moment.

use std::net::IpAddr;

use crate::platform;

/// The network at one moment, as far as this computer's own tables tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The interfaces that are up and running, loopback left out, by index. At most 64; containers' are left out first.
    pub interfaces: Vec<Interface>,
    /// The gateways of default routes over interfaces of any kind but containers': those of IPv4 first, and of each family
    /// the preferred one (lowest metric) first. Where no default route of a family leads over a physical interface, the
    /// gateways of physical interfaces' other routes stand in. At most 16.
    ///
    /// Of IPv4 the main table alone is seen, of IPv6 all tables. VPNs mostly leave these routes as they are and take over
    /// by a rule and a table of their own, by a route without gateway, or by two halves of the Internet: whether one did is
    /// told by `leaves_by`, never by these.
    pub gateways: Vec<Gateway>,
    /// The interfaces, by index, over which a default route leads that names no gateway, as on a line that this computer
    /// dials itself or through a tunnel; the preferred one first, containers' left out.
    pub direct: ByFamily<Vec<u32>>,
    /// The interface, by index, by which goes what leaves for the Internet: all tables and rules of the system count. None
    /// where there is no way, or over an interface that is not listed here.
    pub leaves_by: ByFamily<Option<u32>>,
}

/// The same of IPv4 and of IPv6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ByFamily<T> {
    /// Of IPv4.
    pub v4: T,
    /// Of IPv6.
    pub v6: T,
}

impl Snapshot {
    /// Looks at the network now: a few system calls and small reads, which belong on a thread that may block. What can't be
    /// read is left out.
    #[must_use]
    pub fn take() -> Self {
        platform::take()
    }

    /// The IP addresses of this computer that others in its network may dial: link-local and temporary ones are left out, as
    /// are those that lead to containers and virtual machines. IPv4 first, each once.
    #[must_use]
    pub fn local_addresses(&self) -> Vec<IpAddr> {
        let interfaces =
            self.interfaces.iter().filter(|interface| interface.kind != InterfaceKind::Container);
        let mut addresses: Vec<IpAddr> = interfaces
            .flat_map(|interface| &interface.addresses)
            .filter(|address| !address.temporary)
            .map(|address| address.ip)
            .filter(|ip| match ip {
                IpAddr::V4(ip) => !ip.is_link_local() && !ip.is_unspecified() && !ip.is_loopback(),
                IpAddr::V6(ip) => !ip.is_unicast_link_local() && !ip.is_unspecified() && !ip.is_loopback(),
            })
            .collect();
        addresses.sort_by_key(|ip| (ip.is_ipv6(), *ip));
        addresses.dedup();
        addresses
    }

    /// Whether an address lies in a network of an interface, so that no router is on the way to it.
    #[must_use]
    pub fn is_on_link(&self, ip: IpAddr) -> bool {
        self.interfaces.iter().flat_map(|interface| &interface.addresses).any(|address| address.covers(ip))
    }

    /// The interface with this index.
    #[must_use]
    pub fn interface(&self, index: u32) -> Option<&Interface> {
        self.interfaces.iter().find(|interface| interface.index == index)
    }
}

/// An interface that is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The system's number for it, which is also the scope of link-local IPv6 addresses.
    pub index: u32,
    /// Its name, as in `eth0`.
    pub name: String,
    /// What kind of interface it is.
    pub kind: InterfaceKind,
    /// Its addresses, in the system's order.
    pub addresses: Vec<Address>,
}

/// Whether other computers of the network can be behind an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterfaceKind {
    /// A network card, Wi-Fi, or a bridge that contains one.
    Physical,
    /// A VPN or another point-to-point tunnel: tun, tap, WireGuard, PPP.
    Tunnel,
    /// A bridge or pair that leads to containers or virtual machines on this computer.
    Container,
}

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// Length of the prefix of its network, bits.
    pub prefix: u8,
    /// An IPv6 privacy address (RFC 8981), which is replaced after a day, or one that is deprecated or still tentative:
    /// not to be told to others.
    pub temporary: bool,
}

impl Address {
    /// Whether another address lies in the same network.
    #[must_use]
    pub fn covers(&self, ip: IpAddr) -> bool {
        let same = |ours: u128, theirs: u128, bits: u32| {
            let host_bits = bits.saturating_sub(u32::from(self.prefix));
            (ours ^ theirs).checked_shr(host_bits).unwrap_or(0) == 0
        };
        match (self.ip.to_canonical(), ip.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                same(u128::from(ours.to_bits()), u128::from(theirs.to_bits()), 32)
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => same(ours.to_bits(), theirs.to_bits(), 128),
            _ => false,
        }
    }
}

/// A router that leads out of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// Index of the interface it is behind.
    pub index: u32,
    /// Name of the interface it is behind.
    pub interface: String,
    /// Its address in our network. In IPv6 usually link-local, to be used with `index` as its scope.
    pub address: IpAddr,
    /// The system's preference; lower is better.
    pub metric: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(index: u32, kind: InterfaceKind, addresses: &[(&str, bool)]) -> Interface {
        let addresses = addresses.iter().map(|(ip, temporary)| Address {
            ip: ip.parse().unwrap(),
            prefix: 24,
            temporary: *temporary,
        });
        Interface { index, name: format!("if{index}"), kind, addresses: addresses.collect() }
    }

    #[test]
    fn addresses_that_others_may_dial_are_told_once_and_ipv4_first() {
        let network = Snapshot {
            interfaces: vec![
                interface(
                    2,
                    InterfaceKind::Physical,
                    &[
                        ("192.168.1.23", false),
                        ("169.254.3.4", false),
                        ("2001:db8::23", false),
                        ("2001:db8::aaaa", true),
                        ("fe80::1", false),
                    ],
                ),
                interface(3, InterfaceKind::Tunnel, &[("10.8.0.2", false), ("192.168.1.23", false)]),
                interface(4, InterfaceKind::Container, &[("172.17.0.1", false), ("fd00:17::1", false)]),
            ],
            ..Snapshot::default()
        };
        let addresses: Vec<String> = network.local_addresses().iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["10.8.0.2", "192.168.1.23", "2001:db8::23"]);
        assert_eq!(network.interface(3).unwrap().name, "if3");
        assert_eq!(network.interface(9), None);
    }

    #[test]
    fn a_snapshot_of_this_computer_has_neither_loopback_nor_gateways_without_interface() {
        let now = Snapshot::take();
        assert!(now.interfaces.iter().all(|interface| interface.name != "lo" && interface.index != 0));
        assert!(now.gateways.iter().all(|gateway| now.interface(gateway.index).is_some()));
        let ways = [now.leaves_by.v4, now.leaves_by.v6].into_iter().flatten();
        let direct = [&now.direct.v4, &now.direct.v6].into_iter().flatten().copied();
        assert!(ways.chain(direct).all(|index| now.interface(index).is_some()));
        assert!(now.local_addresses().iter().all(|ip| !ip.is_loopback()));
    }
}
