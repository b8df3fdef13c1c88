//! What netlink messages are about (netlink(7), rtnetlink(7)). Every length is checked; what can't be read is a change.

use std::net::IpAddr;

use crate::burst::Burst;

/// Length of a message's head: length, kind, flags, sequence, sender.
const HEAD: usize = 16;
/// Length of an attribute's head: length, kind.
const ATTRIBUTE_HEAD: usize = 4;
/// Lengths of the fixed parts behind the head: of a link, an address, a route.
const LINK: usize = 16;
const ADDRESS: usize = 8;
const ROUTE: usize = 12;

/// Kinds of messages: here is a route; which is it?
const NEW_ROUTE: u16 = 24;
const GET_ROUTE: u16 = 26;
/// Flag of a message: a question.
const REQUEST: u16 = 0x1;
/// Families of addresses.
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// Attribute of a route: the address it leads to.
const DESTINATION: u16 = 1;
/// Kinds of routes: to somewhere, to this computer.
const UNICAST: u8 = 1;
const LOCAL: u8 = 2;
/// Flag of a message: it replaced another of the same name.
const REPLACED: u16 = 0x100;
/// Flags of a link that decide whether it carries anything, and which way: up, point to point, running, carrier, dormant.
const CARRYING: u32 = 0x1 | 0x10 | 0x40 | 0x1_0000 | 0x2_0000;
/// Attribute of a link: an event of a Wi-Fi card, such as the end of a scan.
const WIRELESS: u16 = 11;
/// Attribute of a route: the interface it leads over.
const OUTPUT: u16 = 4;
/// Kinds of routes that only go along with an address: local, broadcast, anycast, multicast.
const ALONG: std::ops::RangeInclusive<u8> = 2..=5;

/// Adds what one datagram tells to a burst.
pub(super) fn read(mut datagram: &[u8], burst: &mut Burst) {
    while !datagram.is_empty() {
        let Some(length) = u32_at(datagram, 0).and_then(|length| usize::try_from(length).ok()) else {
            return burst.everything();
        };
        if length < HEAD || datagram.len() < HEAD {
            return burst.everything();
        }
        // The end of a long message may have been cut off; its beginning still tells.
        message(&datagram[..length.min(datagram.len())], burst);
        let next = length.checked_next_multiple_of(4).unwrap_or(usize::MAX);
        datagram = datagram.get(next..).unwrap_or_default();
    }
}

fn message(message: &[u8], burst: &mut Burst) {
    let (Some(kind), Some(flags)) = (u16_at(message, 4), u16_at(message, 6)) else {
        return burst.everything();
    };
    let body = message.get(HEAD..).unwrap_or_default();
    let subject = match kind {
        // Nothing, the answer to a question, the end of a list; questions and what belongs to other groups.
        1..=3 => return,
        16 | 17 => link(kind == 17, body),
        20 | 21 => address(kind == 21, body),
        NEW_ROUTE | 25 => route(kind == NEW_ROUTE && flags & REPLACED != 0, body),
        // An overrun, and rules: who leads all traffic elsewhere changes them.
        4 | 32 | 33 => None,
        _ => return,
    };
    match subject {
        Some(Subject::Look) => burst.look(),
        Some(Subject::Interface(index)) => burst.interface(index),
        None => burst.everything(),
    }
}

/// The question for the route to an address.
pub(super) fn question(to: IpAddr) -> Vec<u8> {
    let (family, address) = match to {
        IpAddr::V4(ip) => (AF_INET, ip.octets().to_vec()),
        IpAddr::V6(ip) => (AF_INET6, ip.octets().to_vec()),
    };
    // Both are below 40.
    let (attribute, bits) = (ATTRIBUTE_HEAD + address.len(), address.len() * 8);
    let mut bytes = Vec::with_capacity(HEAD + ROUTE + attribute);
    bytes.extend(u32::try_from(HEAD + ROUTE + attribute).unwrap_or_default().to_ne_bytes());
    bytes.extend(GET_ROUTE.to_ne_bytes());
    bytes.extend(REQUEST.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([family, u8::try_from(bits).unwrap_or_default()]);
    bytes.extend([0; ROUTE - 2]);
    bytes.extend(u16::try_from(attribute).unwrap_or_default().to_ne_bytes());
    bytes.extend(DESTINATION.to_ne_bytes());
    bytes.extend(address);
    bytes
}

/// The interface of the route that is the answer to a question; none if there is no such route.
pub(super) fn output(datagram: &[u8]) -> Option<u32> {
    let body = datagram.get(HEAD..)?;
    if u16_at(datagram, 4)? != NEW_ROUTE || !matches!(*body.get(7)?, UNICAST | LOCAL) {
        return None;
    }
    output_of(body.get(ROUTE..)?)
}

fn output_of(attributes: &[u8]) -> Option<u32> {
    attributes_of(attributes).find(|(kind, _)| *kind == OUTPUT).and_then(|(_, value)| u32_at(value, 0))
}

enum Subject {
    /// Only a look can tell whether anything changed.
    Look,
    /// Something about this interface changed.
    Interface(u32),
}

fn link(deleted: bool, body: &[u8]) -> Option<Subject> {
    let attributes = body.get(LINK..)?;
    let (family, index, changed) = (body[0], u32_at(body, 4)?, u32_at(body, 12)?);
    if deleted && family == 0 {
        return Some(Subject::Interface(index));
    }
    // Other families tell of bridge ports and settings; a card that merely listens in changes flags that don't matter here;
    // no changed flag at all is what a cable that is pulled looks like, and a Wi-Fi scan, which says so.
    let idle = family != 0
        || (changed != 0 && changed & CARRYING == 0)
        || attributes_of(attributes).any(|(kind, _)| kind == WIRELESS);
    Some(if idle { Subject::Look } else { Subject::Interface(index) })
}

fn address(deleted: bool, body: &[u8]) -> Option<Subject> {
    let index = u32_at(body.get(..ADDRESS)?, 4)?;
    // "New" is also said each time that a router or a DHCP server prolongs one.
    Some(if deleted { Subject::Interface(index) } else { Subject::Look })
}

fn route(replaced: bool, body: &[u8]) -> Option<Subject> {
    let attributes = body.get(ROUTE..)?;
    // Some network managers replace every route by itself whenever a router advertises it.
    if replaced || ALONG.contains(&body[7]) {
        return Some(Subject::Look);
    }
    // Without an interface it has several, or refuses; then it may matter.
    output_of(attributes).map(Subject::Interface)
}

/// Kinds and values of attributes, as far as they are whole.
fn attributes_of(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        // The two highest bits are flags.
        let kind = u16_at(bytes, 2)? & 0x3fff;
        let value = bytes.get(ATTRIBUTE_HEAD..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests;
