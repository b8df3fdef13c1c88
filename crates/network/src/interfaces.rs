//! The interfaces that are up and their addresses, from `getifaddrs(3)`.

use std::net::IpAddr;

use nix::ifaddrs::InterfaceAddress;
use nix::net::if_::{InterfaceFlags, if_nametoindex};
use nix::sys::socket::SockaddrStorage;

use crate::snapshot::{Address, Interface, InterfaceKind};

/// Most interfaces of a snapshot.
pub(crate) const MOST_INTERFACES: usize = 64;
/// Most interfaces that are looked at: a host of many containers has more than a snapshot takes.
const MOST_LINKS: usize = 1024;
/// Most addresses of an interface.
const MOST_ADDRESSES: usize = 64;
/// Most entries that the system's list is followed.
const MOST_ENTRIES: usize = 16 * 1024;

/// An interface that is up and running, and not the loopback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    /// Whether it has one computer at its other end instead of a network.
    pub(crate) point_to_point: bool,
    /// Addresses and the lengths of their prefixes.
    pub(crate) addresses: Vec<(IpAddr, u8)>,
}

/// The interfaces that are up, in the system's order; none if the system doesn't tell.
pub(crate) fn links() -> Vec<Link> {
    let entries = match nix::ifaddrs::getifaddrs() {
        Ok(entries) => entries,
        Err(error) => {
            tracing::debug!(%error, "the interfaces can't be listed");
            return Vec::new();
        }
    };
    let mut links: Vec<Link> = Vec::new();
    for entry in entries.take(MOST_ENTRIES) {
        let flags = entry.flags;
        if !flags.contains(InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING)
            || flags.contains(InterfaceFlags::IFF_LOOPBACK)
        {
            continue;
        }
        // An alias of former times, `eth0:1`, is an address of its interface.
        let name = entry.interface_name.split(':').next().unwrap_or_default();
        let known = links.iter().position(|link| link.name == name);
        let at = match known {
            Some(at) => at,
            None if links.len() == MOST_LINKS => continue,
            None => {
                let Some(index) = index(&entry, name) else { continue };
                let point_to_point = flags.contains(InterfaceFlags::IFF_POINTOPOINT);
                links.push(Link { index, name: name.to_owned(), point_to_point, addresses: Vec::new() });
                links.len() - 1
            }
        };
        let link = &mut links[at];
        if let Some(address) = address(&entry)
            && link.addresses.len() < MOST_ADDRESSES
        {
            link.addresses.push(address);
        }
    }
    links
}

fn index(entry: &InterfaceAddress, name: &str) -> Option<u32> {
    #[cfg(target_os = "linux")]
    if let Some(link) = entry.address.as_ref().and_then(SockaddrStorage::as_link_addr)
        && let Ok(index) = u32::try_from(link.ifindex())
        && index != 0
    {
        return Some(index);
    }
    #[cfg(not(target_os = "linux"))]
    let _: &InterfaceAddress = entry;
    // It may have gone since it was listed.
    if_nametoindex(name).ok().filter(|index| *index != 0)
}

fn address(entry: &InterfaceAddress) -> Option<(IpAddr, u8)> {
    let ip = ip(entry.address.as_ref()?)?;
    let prefix = match entry.netmask.as_ref().and_then(self::ip) {
        Some(IpAddr::V4(mask)) => mask.to_bits().leading_ones(),
        Some(IpAddr::V6(mask)) => mask.to_bits().leading_ones(),
        None if ip.is_ipv4() => 32,
        None => 128,
    };
    Some((ip, u8::try_from(prefix).unwrap_or(128)))
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
}

/// The interfaces of a snapshot: by index, and containers' left out first when there are too many.
pub(crate) fn interfaces(
    links: Vec<Link>,
    kind: impl Fn(&Link) -> InterfaceKind,
    temporary: impl Fn(u32, IpAddr) -> bool,
) -> Vec<Interface> {
    let mut interfaces: Vec<Interface> = links
        .into_iter()
        .map(|link| {
            let kind = kind(&link);
            let address = |(ip, prefix)| Address { ip, prefix, temporary: temporary(link.index, ip) };
            let addresses = link.addresses.into_iter().map(address).collect();
            Interface { index: link.index, name: link.name, kind, addresses }
        })
        .collect();
    interfaces.sort_by_key(|interface| (interface.kind == InterfaceKind::Container, interface.index));
    interfaces.truncate(MOST_INTERFACES);
    interfaces.sort_by_key(|interface| interface.index);
    interfaces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_of_very_many_containers_keeps_its_network_card() {
        let link =
            |index: u32, name: String| Link { index, name, point_to_point: false, addresses: Vec::new() };
        let mut links: Vec<Link> = (1..=200).map(|index| link(index, format!("veth{index}"))).collect();
        links.push(link(201, "eth0".to_owned()));
        let kind = |link: &Link| crate::kind::kind(&link.name, link.point_to_point, None);
        let interfaces = interfaces(links, kind, |_, _| false);
        assert_eq!(interfaces.len(), MOST_INTERFACES);
        assert_eq!(interfaces.last().unwrap().name, "eth0");
        assert!(interfaces.is_sorted_by_key(|interface| interface.index));
    }

    #[test]
    fn interfaces_without_addresses_are_listed_and_each_once() {
        let links = links();
        let mut names: Vec<&str> = links.iter().map(|link| link.name.as_str()).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
        for (ip, prefix) in links.iter().flat_map(|link| &link.addresses) {
            assert!(*prefix <= if ip.is_ipv4() { 32 } else { 128 });
        }
    }
}
