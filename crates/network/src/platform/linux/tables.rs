//! The kernel's tables as text: `/proc/self/net/route`, `ipv6_route`, `if_inet6`. Lines that don't parse are passed over.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::gateways::Route;

/// Most lines of a table that are looked at.
const MOST_LINES: usize = 16 * 1024;
/// Most routes that are kept of a table.
const MOST_ROUTES: usize = 1024;

/// Flags of a route, `linux/route.h`: in use, through a gateway, refusing.
const UP: u32 = 0x1;
const GATEWAY: u32 = 0x2;
const REJECT: u32 = 0x200;
/// Flags of an address, `linux/if_addr.h`, with which it is not to be told to others: temporary, failed duplicate address
/// detection, deprecated, tentative.
const UNFIT: u32 = 0x01 | 0x08 | 0x20 | 0x40;

/// The routes of IPv4's main table.
pub(super) fn ipv4_routes(table: &str) -> Vec<Route> {
    table.lines().take(MOST_LINES).filter_map(ipv4_route).take(MOST_ROUTES).collect()
}

/// Interface, destination, gateway, flags, references, uses, metric, mask, and more that doesn't matter here.
fn ipv4_route(line: &str) -> Option<Route> {
    let fields: Vec<&str> = line.split_ascii_whitespace().take(8).collect();
    let &[interface, destination, gateway, flags, _, _, metric, mask] = fields.as_slice() else {
        return None;
    };
    let flags = u32::from_str_radix(flags, 16).ok()?;
    let (destination, gateway, mask) = (ipv4(destination)?, ipv4(gateway)?, ipv4(mask)?);
    let prefix = mask.to_bits().leading_ones();
    let is_default = prefix == 0 && destination.is_unspecified();
    let gateway = (flags & GATEWAY != 0).then_some(IpAddr::V4(gateway));
    wanted(flags, is_default, gateway)?;
    Some(Route {
        interface: interface.to_owned(),
        prefix: u8::try_from(prefix).ok()?,
        v6: false,
        gateway,
        metric: metric.parse().ok()?,
    })
}

/// An address as its bytes lie in memory, read as one number of this computer.
fn ipv4(field: &str) -> Option<Ipv4Addr> {
    let number = u32::from_str_radix(digits(field, 8)?, 16).ok()?;
    Some(Ipv4Addr::from(number.to_ne_bytes()))
}

/// The routes of all of IPv6's tables.
pub(super) fn ipv6_routes(table: &str) -> Vec<Route> {
    table.lines().take(MOST_LINES).filter_map(ipv6_route).take(MOST_ROUTES).collect()
}

/// Destination, its prefix, source, its prefix, gateway, metric, references, uses, flags, interface.
fn ipv6_route(line: &str) -> Option<Route> {
    let fields: Vec<&str> = line.split_ascii_whitespace().take(10).collect();
    let &[destination, prefix, _, _, gateway, metric, _, _, flags, interface] = fields.as_slice() else {
        return None;
    };
    let flags = u32::from_str_radix(flags, 16).ok()?;
    let prefix = u8::from_str_radix(prefix, 16).ok().filter(|prefix| *prefix <= 128)?;
    let (destination, gateway) = (ipv6(destination)?, ipv6(gateway)?);
    let is_default = prefix == 0 && destination.is_unspecified();
    let gateway = (flags & GATEWAY != 0).then_some(IpAddr::V6(gateway));
    wanted(flags, is_default, gateway)?;
    let metric = u32::from_str_radix(metric, 16).ok()?;
    Some(Route { interface: interface.to_owned(), prefix, v6: true, gateway, metric })
}

fn ipv6(field: &str) -> Option<Ipv6Addr> {
    let number = u128::from_str_radix(digits(field, 32)?, 16).ok()?;
    Some(Ipv6Addr::from_bits(number))
}

/// The field, if it is so many hexadecimal digits.
fn digits(field: &str, length: usize) -> Option<&str> {
    (field.len() == length && field.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(field)
}

/// Routes that lead out: default ones, and those through a gateway.
fn wanted(flags: u32, is_default: bool, gateway: Option<IpAddr>) -> Option<()> {
    (flags & UP != 0 && flags & REJECT == 0 && (is_default || gateway.is_some())).then_some(())
}

/// The IPv6 addresses that are not to be told to others, with the index of their interface.
pub(super) fn unfit_addresses(table: &str) -> BTreeSet<(u32, IpAddr)> {
    table.lines().take(MOST_LINES).filter_map(unfit_address).collect()
}

/// Address, index of the interface, prefix, scope, flags, name of the interface.
fn unfit_address(line: &str) -> Option<(u32, IpAddr)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().take(6).collect();
    let &[address, index, _, _, flags, _] = fields.as_slice() else { return None };
    let flags = u32::from_str_radix(flags, 16).ok()?;
    let index = u32::from_str_radix(index, 16).ok()?;
    let address = ipv6(address)?;
    (flags & UNFIT != 0).then_some((index, IpAddr::V6(address)))
}

#[cfg(test)]
mod tests;
