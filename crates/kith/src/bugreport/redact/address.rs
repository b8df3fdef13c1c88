//! IP addresses: the address is hidden, its class and the port stay.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::pseudonym::{Kind, Pseudonyms};

/// An address in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    ip: IpAddr,
    port: Option<u16>,
}

impl Found {
    /// As the report shows it.
    pub(super) fn shown(self, names: &mut Pseudonyms) -> String {
        let brackets = self.ip.is_ipv6() && self.port.is_some();
        let mut out = match own_word(self.ip) {
            Some(word) if brackets => format!("[{word}]"),
            Some(word) => word.to_owned(),
            None => format!("{} ({})", names.of(Kind::Address, &self.ip.to_string()), class(self.ip)),
        };
        if let Some(port) = self.port {
            out.push_str(&format!(":{port}"));
        }
        out
    }
}

/// Every computer has these.
fn own_word(ip: IpAddr) -> Option<&'static str> {
    match ip {
        IpAddr::V4(Ipv4Addr::LOCALHOST) => Some("127.0.0.1"),
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Some("0.0.0.0"),
        IpAddr::V6(Ipv6Addr::LOCALHOST) => Some("::1"),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Some("::"),
        _ => None,
    }
}

/// From where an address can be reached.
pub(super) fn class(ip: IpAddr) -> &'static str {
    match ip {
        IpAddr::V4(ip) => v4_class(ip),
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => v4_class(ip),
            None if ip.is_loopback() => "loopback IPv6",
            None if ip.is_unicast_link_local() => "link-local IPv6",
            None if ip.is_unique_local() => "private IPv6",
            None if ip.is_multicast() => "multicast IPv6",
            None => "public IPv6",
        },
    }
}

fn v4_class(ip: Ipv4Addr) -> &'static str {
    match ip.octets() {
        _ if ip.is_loopback() => "loopback IPv4",
        _ if ip.is_link_local() => "link-local IPv4",
        _ if ip.is_private() => "private IPv4",
        _ if ip.is_multicast() || ip.is_broadcast() => "multicast IPv4",
        // RFC 6598: behind the NAT of a carrier.
        [100, 64..=127, ..] => "carrier-grade NAT IPv4",
        _ => "public IPv4",
    }
}

/// The address with which a text begins, with its port and its zone, and how many bytes it takes.
pub(super) fn at_start(text: &str) -> Option<(usize, Found)> {
    if let Some(inner) = text.strip_prefix('[') {
        let (inner, _) = inner.split_once(']')?;
        let (ip, zone) = inner.split_once('%').unwrap_or((inner, ""));
        if zone.bytes().any(|byte| !is_zone(byte)) {
            return None;
        }
        let ip: Ipv6Addr = ip.parse().ok()?;
        let end = inner.len() + 2;
        let (length, port) = port_at(&text[end..]);
        return Some((end + length, Found { ip: ip.into(), port }));
    }
    let run = text.bytes().take_while(|byte| byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':')).count();
    // In a sentence, a colon or a full stop may follow.
    let mut end = run;
    loop {
        let candidate = text[..end].trim_end_matches(['.', ':']);
        if candidate.is_empty() {
            return (text.starts_with("::") && !follows(text, 2)).then_some((2, unspecified()));
        }
        if let Some(found) = parsed(candidate) {
            let mut length = candidate.len();
            if found.ip.is_ipv6() {
                length += zone_length(&text[length..]);
            }
            return (!follows(text, length)).then_some((length, found));
        }
        // "fe80::" ends in a colon of its own; "10.0.0.1:4242:" does not.
        let own = &text[..end];
        if let Some(found) = parsed(own) {
            return (!follows(text, end)).then_some((end, found));
        }
        // A port with something behind it.
        end = candidate.rfind(':')?;
        if end == 0 {
            return None;
        }
    }
}

const fn unspecified() -> Found {
    Found { ip: IpAddr::V6(Ipv6Addr::UNSPECIFIED), port: None }
}

/// Whether a word goes on after an address: then it was none.
fn follows(text: &str, end: usize) -> bool {
    text[end..].chars().next().is_some_and(|next| next.is_alphanumeric() || next == '-' || next == '_')
}

fn parsed(text: &str) -> Option<Found> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(Found { ip, port: None });
    }
    let (ip, port) = text.split_once(':')?;
    Some(Found { ip: IpAddr::V4(ip.parse().ok()?), port: Some(port.parse().ok()?) })
}

fn port_at(text: &str) -> (usize, Option<u16>) {
    let Some(rest) = text.strip_prefix(':') else { return (0, None) };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    match rest[..digits].parse() {
        Ok(port) => (digits + 1, Some(port)),
        Err(_) => (0, None),
    }
}

/// `%eth0`: the name of an interface is hidden with the address.
fn zone_length(text: &str) -> usize {
    match text.strip_prefix('%') {
        Some(zone) => 1 + zone.bytes().take_while(|byte| is_zone(*byte)).count(),
        None => 0,
    }
}

const fn is_zone(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}
