//! From the network to the uplinks that matter.

use std::net::IpAddr;

use kith_network::{Address, Gateway, Interface, InterfaceKind, Snapshot};

use crate::{Family, Uplink};

/// Most uplinks that are looked after.
pub(super) const MOST: usize = 8;
/// Most IPv6 addresses of ours per gateway.
const MOST_V6: usize = 2;

/// The uplinks of the network, the preferred first: gateways on physical interfaces, never those of tunnels or containers.
pub(super) fn uplinks(network: &Snapshot) -> Vec<Uplink> {
    let mut uplinks: Vec<Uplink> = Vec::new();
    for gateway in &network.gateways {
        let found = network.interfaces.iter().find(|interface| interface.index == gateway.index);
        let Some(interface) = found.filter(|interface| interface.kind == InterfaceKind::Physical) else {
            continue;
        };
        for local in locals(interface, gateway) {
            let uplink = Uplink {
                index: gateway.index,
                interface: gateway.interface.clone(),
                gateway: gateway.address,
                local,
            };
            if uplinks.len() < MOST && !uplinks.contains(&uplink) {
                uplinks.push(uplink);
            }
        }
    }
    uplinks
}

/// Whether what goes out to the Internet goes through a tunnel: then others see the tunnel's address, not the router's.
pub(super) fn leaves_by_tunnel(network: &Snapshot) -> bool {
    let kind = |gateway: &Gateway| {
        network.interfaces.iter().find(|interface| interface.index == gateway.index).map(|found| found.kind)
    };
    network.gateways.iter().any(|gateway| kind(gateway) == Some(InterfaceKind::Tunnel))
}

fn locals(interface: &Interface, gateway: &Gateway) -> Vec<IpAddr> {
    match Family::of(gateway.address) {
        Family::V4 => {
            let usable = |address: &&Address| matches!(address.ip, IpAddr::V4(ip) if !ip.is_link_local());
            let mut inside =
                interface.addresses.iter().filter(usable).filter(|own| contains(own, gateway.address));
            let mut any = interface.addresses.iter().filter(usable);
            // A gateway outside of every subnet is common with hosting companies: /32 addresses.
            inside.next().or_else(|| any.next()).map(|own| own.ip).into_iter().collect()
        }
        Family::V6 => {
            let global =
                |own: &&Address| matches!(own.ip, IpAddr::V6(ip) if ip.segments()[0] & 0xe000 == 0x2000);
            let stable = interface.addresses.iter().filter(global).filter(|own| !own.temporary);
            stable.map(|own| own.ip).take(MOST_V6).collect()
        }
    }
}

/// Whether an address lies in the network of one of ours.
fn contains(own: &Address, other: IpAddr) -> bool {
    match (own.ip, other) {
        (IpAddr::V4(own_ip), IpAddr::V4(other)) => {
            let host_bits = 32_u32.saturating_sub(u32::from(own.prefix));
            let mask = u32::MAX.checked_shl(host_bits).unwrap_or(0);
            own.prefix < 32 && own_ip.to_bits() & mask == other.to_bits() & mask
        }
        _ => false,
    }
}
