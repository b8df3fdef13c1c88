//! What depends on the operating system: this computer's addresses and the news that they changed.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod portable;

use std::net::IpAddr;

#[cfg(target_os = "linux")]
pub use linux::NetworkWatch;
#[cfg(not(target_os = "linux"))]
pub use portable::NetworkWatch;

/// The IP addresses of this computer that others in its network may dial: loopback, link-local and down interfaces
/// are left out, as are bridges of containers and virtual machines.
#[must_use]
pub fn local_addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    let mut addresses: Vec<IpAddr> = interfaces
        .filter(|interface| {
            use nix::net::if_::InterfaceFlags as F;
            interface.flags.contains(F::IFF_UP | F::IFF_RUNNING)
                && !interface.flags.contains(F::IFF_LOOPBACK)
                && !is_virtual(&interface.interface_name)
        })
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
        })
        .filter(|ip| match ip {
            IpAddr::V4(ip) => !ip.is_link_local() && !ip.is_unspecified(),
            IpAddr::V6(ip) => !ip.is_unicast_link_local() && !ip.is_unspecified(),
        })
        .collect();
    addresses.sort_by_key(|ip| (ip.is_ipv6(), *ip));
    addresses.dedup();
    addresses
}

/// Interfaces of containers and virtual machines: nobody in the network reaches this computer through them.
fn is_virtual(name: &str) -> bool {
    ["docker", "veth", "virbr", "br-", "lxc", "lxd", "cni", "flannel", "podman"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bridges_of_containers_are_not_offered_to_friends() {
        assert!(is_virtual("docker0") && is_virtual("veth1a2b3c") && is_virtual("br-9f"));
        assert!(!is_virtual("eth0") && !is_virtual("wlan0") && !is_virtual("br0") && !is_virtual("enp3s0"));
    }

    #[test]
    fn loopback_is_never_among_the_local_addresses() {
        assert!(local_addresses().iter().all(|ip| !ip.is_loopback()));
    }
}
