//! From the network to the uplinks that matter.

use std::net::IpAddr;

use kith_network::{Address, Gateway, Interface, InterfaceKind, Snapshot};

use super::address::is_public;
use crate::describe::WayOut;
use crate::{Family, Uplink};

/// Most uplinks that are looked after.
pub(super) const MOST: usize = 8;
/// Most IPv6 addresses of ours per gateway.
const MOST_V6: usize = 2;
/// Beginnings of the names of lines to a provider that look like tunnels: dialled (PPPoE, modems), and mobile networks'.
const LINE_NAMES: [&str; 2] = ["ppp", "ww"];

/// The uplinks of the network, the preferred first: gateways on physical interfaces, never those of tunnels or containers; then
/// the public addresses of our own on ways out that have no gateway.
pub(super) fn uplinks(network: &Snapshot) -> Vec<Uplink> {
    let mut uplinks: Vec<Uplink> = Vec::new();
    for gateway in &network.gateways {
        let Some(interface) = network.interface(gateway.index).filter(|interface| is_physical(interface))
        else {
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
    for family in [Family::V4, Family::V6] {
        for interface in without_gateway(network, family) {
            for local in public(interface, family) {
                if uplinks.len() < MOST && uplinks.iter().all(|uplink| uplink.local != local) {
                    uplinks.push(Uplink::direct(interface.index, &interface.name, local));
                }
            }
        }
    }
    uplinks
}

/// Whether what goes out to the Internet over IPv4 goes through a tunnel: then others see the tunnel's address, not the router's.
pub(super) fn leaves_by_tunnel(network: &Snapshot) -> bool {
    let way = network.leaves_by.v4.and_then(|index| network.interface(index));
    way.is_some_and(|interface| interface.kind == InterfaceKind::Tunnel)
}

/// How it goes out where there is no uplink. That of IPv4, if there is one: IPv6 without an address that is good for an uplink
/// leads nowhere.
pub(super) fn way_out(network: &Snapshot) -> WayOut<'_> {
    let of = |family: Family| {
        let (direct, leaves_by) = ways(network, family);
        let interface = network.interface(leaves_by.or_else(|| direct.first().copied())?)?;
        let is_its =
            |gateway: &&Gateway| gateway.index == interface.index && Family::of(gateway.address) == family;
        Some(match interface.kind {
            InterfaceKind::Container => WayOut::Inside(&interface.name),
            InterfaceKind::Tunnel if !LINE_NAMES.iter().any(|line| interface.name.starts_with(line)) => {
                WayOut::Tunnel
            }
            InterfaceKind::Tunnel => WayOut::Line(&interface.name),
            InterfaceKind::Physical => match network.gateways.iter().find(is_its) {
                Some(gateway) => WayOut::Gateway(gateway.address),
                None => WayOut::Line(&interface.name),
            },
        })
    };
    let physical = |gateway: &&Gateway| network.interface(gateway.index).is_some_and(is_physical);
    of(Family::V4).or_else(|| of(Family::V6)).unwrap_or_else(|| {
        let gateway = network.gateways.iter().find(physical);
        gateway.map_or(WayOut::Nowhere, |gateway| WayOut::Gateway(gateway.address))
    })
}

fn is_physical(interface: &Interface) -> bool {
    interface.kind == InterfaceKind::Physical
}

/// The interfaces of a family's default routes without gateway, and the one by which it leaves.
fn ways(network: &Snapshot, family: Family) -> (&[u32], Option<u32>) {
    match family {
        Family::V4 => (&network.direct.v4, network.leaves_by.v4),
        Family::V6 => (&network.direct.v6, network.leaves_by.v6),
    }
}

/// The interfaces by which a family leaves or may leave without a router: a tunnel has none, whatever its routes name.
fn without_gateway(network: &Snapshot, family: Family) -> impl Iterator<Item = &Interface> {
    let (direct, leaves_by) = ways(network, family);
    let leaves_by = leaves_by.and_then(|index| network.interface(index));
    let tunnel = leaves_by.filter(|interface| interface.kind == InterfaceKind::Tunnel);
    direct.iter().filter_map(|index| network.interface(*index)).chain(tunnel)
}

/// The addresses of an interface that lead to it from anywhere.
fn public(interface: &Interface, family: Family) -> impl Iterator<Item = IpAddr> {
    let most = if family == Family::V4 { 1 } else { MOST_V6 };
    let fits = move |own: &&Address| Family::of(own.ip) == family && !own.temporary && is_public(own.ip);
    interface.addresses.iter().filter(fits).map(|own| own.ip).take(most)
}

fn locals(interface: &Interface, gateway: &Gateway) -> Vec<IpAddr> {
    match Family::of(gateway.address) {
        Family::V4 => {
            let usable = |address: &&Address| matches!(address.ip, IpAddr::V4(ip) if !ip.is_link_local());
            let mut inside =
                interface.addresses.iter().filter(usable).filter(|own| own.covers(gateway.address));
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
