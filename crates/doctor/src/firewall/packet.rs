//! The first packets of a connection, as far as they are known beforehand, and truth of which a part is not known.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Which way, seen from the computer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To it.
    In,
    /// From it.
    Out,
}

/// Which of the first packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The one that asks for a connection (SYN).
    New,
    /// The answer to that one (SYN and ACK), and what follows.
    Established,
}

/// Kinds of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// That of an address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// A port, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// This one.
    Number(u16),
    /// One that the system of whoever calls has chosen at random: 1024 or above.
    Chosen,
    /// Not known at all.
    Any,
}

impl Port {
    /// From this many ports on it is not improbable that a chosen one is among them.
    const MANY: u64 = 1024;

    pub(super) fn within(self, first: u64, last: u64) -> Truth {
        let all = u64::from(u16::MAX);
        match self {
            Self::Number(number) => Truth::from((first..=last).contains(&u64::from(number))),
            _ if first > last => Truth::No,
            Self::Any if first == 0 && last >= all => Truth::Yes,
            Self::Any => Truth::Unknown,
            Self::Chosen if first <= 1024 && last >= all => Truth::Yes,
            // One connection in a thousand may differ; the next one has another port.
            Self::Chosen => match last.min(all).saturating_sub(first.max(1024)) {
                few if few < Self::MANY => Truth::No,
                _ => Truth::Unknown,
            },
        }
    }
}

/// A packet of TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Which way it goes.
    pub way: Way,
    /// Which one of its connection it is.
    pub stage: Stage,
    /// The kind of its addresses.
    pub family: Family,
    /// The port at this computer.
    pub local_port: Port,
    /// The port at the other one.
    pub remote_port: Port,
    /// The other computer's address; none: any.
    pub remote: Option<IpAddr>,
}

impl Packet {
    pub(super) const fn source_port(&self) -> Port {
        match self.way {
            Way::In => self.remote_port,
            Way::Out => self.local_port,
        }
    }

    pub(super) const fn destination_port(&self) -> Port {
        match self.way {
            Way::In => self.local_port,
            Way::Out => self.remote_port,
        }
    }

    pub(super) const fn source(&self) -> Option<IpAddr> {
        match self.way {
            Way::In => self.remote,
            Way::Out => None,
        }
    }

    pub(super) const fn destination(&self) -> Option<IpAddr> {
        match self.way {
            Way::In => None,
            Way::Out => self.remote,
        }
    }

    /// Whether it never leaves the computer.
    pub(super) fn is_loopback(&self) -> bool {
        self.remote.is_some_and(|remote| remote.is_loopback())
    }

    /// FIN, SYN, RST, PSH, ACK and URG as the bits of the header (RFC 9293, section 3.1).
    pub(super) const fn flags(&self) -> u64 {
        match self.stage {
            Stage::New => SYN,
            Stage::Established => SYN | ACK,
        }
    }

    /// Whether an address of it is in a network. Of an address that is not known this much is: it is one computer's.
    pub(super) fn within(&self, address: Option<IpAddr>, network: IpAddr, length: u32) -> Truth {
        if Family::of(network) != self.family {
            return Truth::No;
        }
        match address {
            _ if length == 0 => Truth::Yes,
            Some(address) => Truth::from(start(address, length) == start(network, length)),
            None if !self.is_loopback() && is_nobodys(network, length) => Truth::No,
            None => Truth::Unknown,
        }
    }
}

/// What rules may have done to connections before others look at them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Earlier {
    /// They may have been to another port.
    pub(super) redirected: bool,
    /// The kernel may not keep track of them.
    pub(super) untracked: bool,
}

impl Earlier {
    pub(super) const fn or(self, other: Self) -> Self {
        Self { redirected: self.redirected || other.redirected, untracked: self.untracked || other.untracked }
    }
}

pub(super) const SYN: u64 = 2;
pub(super) const ACK: u64 = 16;

/// The bit of a flag of TCP by its name.
pub(super) fn flag(name: &str) -> Option<u64> {
    const NAMES: [&str; 8] = ["fin", "syn", "rst", "psh", "ack", "urg", "ecn", "cwr"];
    let at = NAMES.iter().position(|known| known.eq_ignore_ascii_case(name));
    at.map(|at| 1 << at).or_else(|| name.eq_ignore_ascii_case("ece").then_some(64))
}

/// The first bits of an address.
fn start(address: IpAddr, length: u32) -> u128 {
    match address {
        IpAddr::V4(address) => {
            u128::from(u32::from(address).checked_shr(32_u32.saturating_sub(length)).unwrap_or(0))
        }
        IpAddr::V6(address) => u128::from(address).checked_shr(128_u32.saturating_sub(length)).unwrap_or(0),
    }
}

/// Whether a network has no address by which two computers talk: groups, broadcasts, the computer itself.
fn is_nobodys(network: IpAddr, length: u32) -> bool {
    match network {
        IpAddr::V4(network) => {
            (network.is_multicast() && length >= 4)
                || (network.is_loopback() && length >= 8)
                || (network == Ipv4Addr::BROADCAST && length >= 32)
                || (network == Ipv4Addr::UNSPECIFIED && length >= 8)
        }
        IpAddr::V6(network) => {
            (network.is_multicast() && length >= 8)
                || ((network == Ipv6Addr::LOCALHOST || network == Ipv6Addr::UNSPECIFIED) && length >= 128)
        }
    }
}

/// Truth of which a part is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Truth {
    Yes,
    No,
    Unknown,
}

impl From<bool> for Truth {
    fn from(is: bool) -> Self {
        if is { Self::Yes } else { Self::No }
    }
}

impl Truth {
    pub(super) const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Yes, Self::Yes) => Self::Yes,
            _ => Self::Unknown,
        }
    }

    pub(super) const fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Yes, _) | (_, Self::Yes) => Self::Yes,
            (Self::No, Self::No) => Self::No,
            _ => Self::Unknown,
        }
    }

    pub(super) const fn not(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            Self::Unknown => Self::Unknown,
        }
    }

    /// Whether any is true. It stops at the first that is.
    pub(super) fn any(mut all: impl Iterator<Item = Self>) -> Self {
        let mut any = Self::No;
        while any != Self::Yes {
            let Some(next) = all.next() else { break };
            any = any.or(next);
        }
        any
    }
}
