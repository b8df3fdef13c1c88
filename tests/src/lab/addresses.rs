//! Who has which address. All are derived from the number of the party, so a log can be read without a list.
//!
//! `miniupnpd` maps nothing to the outside of private, shared, benchmark or documentation addresses, so the internet here uses
//! ones that belong to somebody. Nothing leaves the machine.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Prefix length of lines and local networks.
pub(super) const PREFIX: u8 = 24;
/// What a carrier's customers get: shared address space, RFC 6598.
pub(super) const SHARED: [u8; 2] = [100, 64];

/// The internet's own end of every IPv6 line, and of every local network.
pub(super) const LINK_NEAR: &str = "fe80::1";
/// The other end of a line.
pub(super) const LINK_FAR: &str = "fe80::2";

/// The address on a line to the internet: another one for each `turn`, in one of two networks.
pub(super) const fn wan(number: u8, turn: u32) -> Ipv4Addr {
    if turn.is_multiple_of(2) {
        Ipv4Addr::new(11, 0, 113, 9 + number)
    } else {
        Ipv4Addr::new(11, 51, 100, 9 + number)
    }
}

/// The address on a line to a carrier.
pub(super) const fn shared(carrier: u8, number: u8, turn: u32) -> Ipv4Addr {
    let host = if turn.is_multiple_of(2) { 9 + number } else { 9 + MOST + number };
    Ipv4Addr::new(SHARED[0], SHARED[1], carrier, host)
}

const MOST: u8 = super::MOST_PARTIES;

/// The first address of the network of this one: its router.
pub(super) const fn router_of(address: Ipv4Addr) -> Ipv4Addr {
    let [a, b, c, _] = address.octets();
    Ipv4Addr::new(a, b, c, 1)
}

/// The router of a local network.
pub(super) const fn lan_router(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, number, 1)
}

/// A host of a local network.
pub(super) const fn lan_host(number: u8, index: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, number, 10 + index)
}

/// A host of a local network, or the router with 1.
pub(super) const fn lan6(number: u8, host: u16) -> Ipv6Addr {
    // No `as` and no `from` in a const function: the number is put together from its bytes.
    Ipv6Addr::new(0x2a0b, 0x6b00, u16::from_be_bytes([0, number]), 0, 0, 0, 0, host)
}

/// The address of a public host.
pub(super) const fn public6(number: u8) -> Ipv6Addr {
    Ipv6Addr::new(0x2a0b, 0x6b00, 0xffff, u16::from_be_bytes([0, number]), 0, 0, 0, 0x10)
}

/// The last part of a host's IPv6 address.
pub(super) fn host6(index: u8) -> u16 {
    0x10 + u16::from(index)
}
