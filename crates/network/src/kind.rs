//! What kind of interface it is, from its name, its flags and what the system says of the device.

use crate::snapshot::InterfaceKind;

/// Beginnings of the names that container and virtual machine software gives to bridges, pairs and ports.
const CONTAINER_NAMES: [&str; 20] = [
    "docker",
    "veth",
    "virbr",
    "br-",
    "lxc",
    "lxd",
    "cni",
    "flannel",
    "podman",
    "incusbr",
    "vnet",
    "vmnet",
    "vmenet",
    "vboxnet",
    "cali",
    "cilium",
    "kube-",
    "waydroid",
    "nerdctl",
    "nodelocaldns",
];
/// A name that both container software (`br-1f3c...`) and routers (`br-lan`) give to bridges: the ports decide.
const AMBIGUOUS_BRIDGE: &str = "br-";
/// Beginnings of the names that VPN software gives.
const TUNNEL_NAMES: [&str; 8] = ["tun", "tap", "wg", "ppp", "utun", "tailscale", "zt", "nordlynx"];
/// Beginnings of the names of bridge ports that lead to virtual machines.
const MACHINE_PORT_NAMES: [&str; 2] = ["tap", "tun"];
/// Hardware types of `linux/if_arp.h`: PPP, IPIP, IPv6 in IPv6, SIT, GRE, GRE over IPv6, raw IP, none.
const TUNNEL_TYPES: [u32; 8] = [512, 768, 769, 776, 778, 823, 519, 65534];
/// What the kernel calls devices that lead through something else.
const TUNNEL_DEVICES: [&str; 4] = ["wireguard", "ppp", "vxlan", "geneve"];

/// What the system says of an interface's device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Device {
    /// A program is its other end: tun, tap.
    pub(crate) tun: bool,
    /// The number of `linux/if_arp.h`; 1 is Ethernet.
    pub(crate) hardware_type: Option<u32>,
    /// The kernel's name for its kind, where it has one: `wlan`, `bridge`, `wireguard`.
    pub(crate) device_type: Option<String>,
    /// The ports, if it is a bridge and they are known.
    pub(crate) ports: Option<Vec<Port>>,
}

/// A port of a bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) name: String,
    /// A program is its other end.
    pub(crate) tun: bool,
}

impl Port {
    /// Whether it may lead to other computers. One end of a pair that was given another name counts, because that is
    /// how a network card looks from within a container.
    fn leads_out(&self) -> bool {
        !self.tun && !starts(&self.name, &CONTAINER_NAMES) && !starts(&self.name, &MACHINE_PORT_NAMES)
    }
}

/// The kind of an interface. Without a `device` the name and the flags decide.
pub(crate) fn kind(name: &str, point_to_point: bool, device: Option<&Device>) -> InterfaceKind {
    let ports = device.and_then(|device| device.ports.as_ref());
    let leads_out = ports.map(|ports| ports.iter().any(Port::leads_out));
    if starts(name, &CONTAINER_NAMES) && !(name.starts_with(AMBIGUOUS_BRIDGE) && leads_out == Some(true)) {
        return InterfaceKind::Container;
    }
    if point_to_point || starts(name, &TUNNEL_NAMES) || device.is_some_and(Device::is_tunnel) {
        return InterfaceKind::Tunnel;
    }
    if leads_out == Some(false) { InterfaceKind::Container } else { InterfaceKind::Physical }
}

impl Device {
    fn is_tunnel(&self) -> bool {
        self.tun
            || self.hardware_type.is_some_and(|number| TUNNEL_TYPES.contains(&number))
            || self.device_type.as_deref().is_some_and(|name| TUNNEL_DEVICES.contains(&name))
    }
}

fn starts(name: &str, beginnings: &[&str]) -> bool {
    beginnings.iter().any(|beginning| name.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;
    use InterfaceKind::{Container, Physical, Tunnel};

    fn ethernet() -> Device {
        Device { hardware_type: Some(1), ..Device::default() }
    }

    fn bridge(ports: &[(&str, bool)]) -> Device {
        let ports = ports.iter().map(|(name, tun)| Port { name: (*name).to_owned(), tun: *tun }).collect();
        Device { device_type: Some("bridge".to_owned()), ports: Some(ports), ..ethernet() }
    }

    #[test]
    fn network_cards_are_physical_whatever_the_driver() {
        for name in ["eth0", "enp3s0", "wlan0", "wlp2s0", "en0", "bond0", "eth0.7", "lan", "wan", "br0"] {
            assert_eq!(kind(name, false, Some(&ethernet())), Physical, "{name}");
            assert_eq!(kind(name, false, None), Physical, "{name} without a device");
        }
    }

    #[test]
    fn bridges_and_pairs_of_containers_are_known_by_name() {
        for name in
            ["docker0", "veth1a2b3c", "br-9f", "virbr0", "lxcbr0", "lxdbr0", "cni0", "flannel.1", "podman1"]
        {
            assert_eq!(kind(name, false, Some(&ethernet())), Container, "{name}");
            assert_eq!(kind(name, false, None), Container, "{name} without a device");
        }
        assert_eq!(kind("docker0", false, Some(&bridge(&[("eth0", false)]))), Container);
    }

    #[test]
    fn a_bridge_is_what_its_ports_are() {
        assert_eq!(kind("br0", false, Some(&bridge(&[("vnet0", true), ("enp3s0", false)]))), Physical);
        assert_eq!(kind("br0", false, Some(&bridge(&[("vnet0", true), ("veth77", false)]))), Container);
        assert_eq!(kind("br0", false, Some(&bridge(&[("port", true)]))), Container);
        assert_eq!(kind("br0", false, Some(&bridge(&[]))), Container);
        assert_eq!(kind("br-lan", false, Some(&bridge(&[("lan1", false)]))), Physical);
        assert_eq!(kind("br-9f", false, Some(&bridge(&[("veth77", false)]))), Container);
        let unreadable = Device { ports: None, ..bridge(&[]) };
        assert_eq!(kind("br0", false, Some(&unreadable)), Physical);
    }

    #[test]
    fn tunnels_are_known_by_flag_or_name_or_device() {
        assert_eq!(kind("home", true, None), Tunnel);
        assert_eq!(kind("home", true, Some(&ethernet())), Tunnel);
        for name in ["tun0", "tap0", "wg0", "ppp0", "utun3", "tailscale0", "ztabcdef"] {
            assert_eq!(kind(name, false, None), Tunnel, "{name}");
        }
        assert_eq!(kind("office", false, Some(&Device { tun: true, ..ethernet() })), Tunnel);
        for number in [512, 65534, 778] {
            let device = Device { hardware_type: Some(number), ..Device::default() };
            assert_eq!(kind("office", false, Some(&device)), Tunnel, "{number}");
        }
        for name in ["wireguard", "ppp"] {
            let device = Device { device_type: Some(name.to_owned()), ..ethernet() };
            assert_eq!(kind("office", false, Some(&device)), Tunnel, "{name}");
        }
        let wifi = Device { device_type: Some("wlan".to_owned()), ..ethernet() };
        assert_eq!(kind("office", false, Some(&wifi)), Physical);
    }
}
