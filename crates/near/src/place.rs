//! Where is announced: an interface, and a family of addresses.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use kith_network::{Address, InterfaceKind, Snapshot};

use crate::wanted::Wanted;

/// Most interfaces of each family.
const MOST_PLACES: usize = 16;
/// Most addresses that one announcement leads to.
const MOST_TARGETS: usize = 8;

/// Which place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PlaceId {
    /// The system's number of the interface.
    pub(crate) index: u32,
    /// Whether packets are sent by IPv6.
    pub(crate) v6: bool,
}

/// An interface that other computers can be behind, with its addresses of both families.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) id: PlaceId,
    pub(crate) addresses: Vec<Address>,
}

/// All places of the network: neither tunnels, whose other ends are not in this network, nor what leads to containers.
pub(crate) fn places(snapshot: &Snapshot) -> Vec<Place> {
    let mut places = Vec::new();
    for v6 in [false, true] {
        let physical =
            snapshot.interfaces.iter().filter(|interface| interface.kind == InterfaceKind::Physical);
        let of_family = physical
            .filter(|interface| interface.addresses.iter().any(|address| address.ip.is_ipv6() == v6))
            .map(|interface| Place {
                id: PlaceId { index: interface.index, v6 },
                addresses: interface.addresses.clone(),
            });
        places.extend(of_family.take(MOST_PLACES));
    }
    places
}

impl Place {
    /// The addresses of ours here that others may dial; link-local ones of IPv6 last.
    pub(crate) fn announced(&self, wanted: &Wanted) -> Vec<IpAddr> {
        let lasting = self.addresses.iter().filter(|address| !address.temporary).map(|address| address.ip);
        let mut ours: Vec<IpAddr> = lasting.filter(|ip| wanted.listens_at(*ip)).collect();
        ours.sort_by_key(|ip| is_link_local(*ip));
        ours
    }

    /// Our own address of the family, from which packets are sent.
    pub(crate) fn source(&self) -> Option<IpAddr> {
        self.addresses.iter().map(|address| address.ip).find(|ip| ip.is_ipv6() == self.id.v6)
    }

    /// Whether an address lies in this very network, as far as an address can tell.
    pub(crate) fn is_near(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        if ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() {
            return false;
        }
        is_link_local(ip) || self.addresses.iter().any(|address| address.covers(ip))
    }

    /// What to dial upon an announcement that came from `source`: the addresses that lie in this network, the one it came from among them.
    pub(crate) fn targets(&self, source: IpAddr, announced: &[IpAddr], port: u16) -> Vec<SocketAddr> {
        let mut targets: Vec<IpAddr> = Vec::new();
        for ip in announced.iter().copied().chain([source]).map(|ip| ip.to_canonical()) {
            if self.is_near(ip) && !targets.contains(&ip) {
                targets.push(ip);
            }
        }
        targets.sort_by_key(|ip| is_link_local(*ip));
        targets.truncate(MOST_TARGETS);
        targets.into_iter().map(|ip| self.scoped(ip, port)).collect()
    }

    fn scoped(&self, ip: IpAddr, port: u16) -> SocketAddr {
        match ip {
            IpAddr::V6(v6) if is_link_local(ip) => SocketAddrV6::new(v6, port, 0, self.id.index).into(),
            ip => SocketAddr::new(ip, port),
        }
    }
}

/// Of IPv6 alone: those of IPv4 lie in a network like any other.
fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use kith_identity::DeviceId;
    use kith_network::Interface;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn interface(index: u32, kind: InterfaceKind, addresses: &[(&str, u8, bool)]) -> Interface {
        let address = |(text, prefix, temporary): &(&str, u8, bool)| Address {
            ip: ip(text),
            prefix: *prefix,
            temporary: *temporary,
        };
        let addresses = addresses.iter().map(address).collect();
        Interface { index, name: format!("if{index}"), kind, addresses }
    }

    fn snapshot() -> Snapshot {
        let lan = [
            ("fe80::7", 64, false),
            ("192.168.1.7", 24, false),
            ("fd00::7", 64, false),
            ("fd00::beef", 64, true),
        ];
        let interfaces = vec![
            interface(2, InterfaceKind::Physical, &lan),
            interface(3, InterfaceKind::Tunnel, &[("10.8.0.2", 24, false)]),
            interface(4, InterfaceKind::Container, &[("172.17.0.1", 16, false)]),
        ];
        Snapshot { interfaces, ..Snapshot::default() }
    }

    #[test]
    fn neither_tunnels_nor_containers_are_announced_to() {
        let ids: Vec<_> =
            places(&snapshot()).into_iter().map(|place| (place.id.index, place.id.v6)).collect();
        assert_eq!(ids, [(2, false), (2, true)]);
    }

    #[test]
    fn announced_is_what_is_listened_at_and_lasts() {
        let wanted = |bind: &[&str]| Wanted {
            us: DeviceId::from_bytes([1; 32]),
            port: Some(4242),
            bind: bind.iter().map(|text| ip(text)).collect(),
            friends: Vec::new(),
            about: None,
        };
        let check = |bind: &[&str], expected: &[&str]| {
            let expected: Vec<IpAddr> = expected.iter().map(|text| ip(text)).collect();
            assert_eq!(places(&snapshot())[0].announced(&wanted(bind)), expected, "{bind:?}");
        };
        check(&["0.0.0.0", "::"], &["192.168.1.7", "fd00::7", "fe80::7"]);
        check(&["0.0.0.0"], &["192.168.1.7"]);
        check(&["192.168.1.7"], &["192.168.1.7"]);
        check(&["192.168.2.7", "127.0.0.1"], &[]);
    }

    #[test]
    fn only_what_lies_in_the_network_is_dialled() {
        let place = &places(&snapshot())[0];
        let announced =
            ["192.168.1.9", "8.8.8.8", "127.0.0.1", "224.0.0.1", "fe80::9", "fd00::9", "::ffff:127.0.0.1"]
                .map(ip);
        let targets = place.targets(ip("192.168.1.8"), &announced, 4242);
        let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
        assert_eq!(targets, ["192.168.1.9:4242", "[fd00::9]:4242", "192.168.1.8:4242", "[fe80::9%2]:4242"]);
        assert!(!place.is_near(ip("192.168.2.8")) && place.is_near(ip("::ffff:192.168.1.8")));
    }
}
