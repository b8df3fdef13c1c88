//! The network at one moment.

use std::net::IpAddr;

/// The network at one moment, as far as this computer's own tables tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The interfaces that are up and running, loopback left out, by index.
    pub interfaces: Vec<Interface>,
    /// The gateways of default routes over interfaces of any kind but containers', the preferred one (lowest metric) first.
    /// Where no default route leads over a physical interface, as with a VPN that took it over, the gateways of that
    /// interface's other routes stand in.
    pub gateways: Vec<Gateway>,
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
