//! Which addresses lead to the Internet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address can be reached from the Internet at all, by the registries of special addresses (RFC 6890).
#[must_use]
pub fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = match a {
        0 | 10 | 127 => true,
        100 => b & 0xc0 == 64,
        169 => b == 254,
        172 => b & 0xf0 == 16,
        // 192.0.0.0/24: protocol assignments, among them what CLAT and DS-Lite use inside of homes.
        192 => b == 168 || (b == 0 && (c == 0 || c == 2)),
        198 => b & 0xfe == 18 || (b == 51 && c == 100),
        203 => b == 0 && c == 113,
        _ => a >= 224,
    };
    !special
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    // Only 2000::/3 is given out; in it, documentation and the addresses of tunnels and benchmarks are not for others.
    let [a, b, ..] = ip.segments();
    let special = (a == 0x2001 && (b == 0x0db8 || b == 2)) || (a == 0x3fff && b & 0xf000 == 0);
    a & 0xe000 == 0x2000 && !special
}

/// Whether an address is of the block that providers share among customers (RFC 6598).
#[must_use]
pub fn is_shared(ip: IpAddr) -> bool {
    matches!(ip.to_canonical(), IpAddr::V4(ip) if ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64)
}

/// An address that a router told, if it is one: neither `0.0.0.0` nor `::`.
pub(super) fn told(ip: Option<IpAddr>) -> Option<IpAddr> {
    ip.map(|ip| ip.to_canonical()).filter(|ip| !ip.is_unspecified())
}
