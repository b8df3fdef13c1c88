//! Port mapping protocols by name.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// A way to ask a router for a mapping. Ordered by preference where several are offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// Port Control Protocol, RFC 6887.
    Pcp,
    /// NAT Port Mapping Protocol, RFC 6886. IPv4 only.
    NatPmp,
    /// UPnP Internet Gateway Device, versions 1 and 2.
    Upnp,
}

impl Protocol {
    /// All, in the order of preference.
    pub const ALL: [Self; 3] = [Self::Pcp, Self::NatPmp, Self::Upnp];

    /// The word of settings and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pcp => "pcp",
            Self::NatPmp => "nat-pmp",
            Self::Upnp => "upnp",
        }
    }
}

impl fmt::Display for Protocol {
    /// The name that routers' pages use.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pcp => "PCP",
            Self::NatPmp => "NAT-PMP",
            Self::Upnp => "UPnP",
        })
    }
}

/// Which protocols may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocols {
    /// `nat.pcp`.
    pub pcp: bool,
    /// `nat.nat-pmp`.
    pub nat_pmp: bool,
    /// `nat.upnp`.
    pub upnp: bool,
}

impl Protocols {
    /// All of them: the default.
    pub const ALL: Self = Self { pcp: true, nat_pmp: true, upnp: true };
    /// None: nothing is asked of any router.
    pub const NONE: Self = Self { pcp: false, nat_pmp: false, upnp: false };

    /// Whether this one may be used.
    #[must_use]
    pub const fn allows(self, protocol: Protocol) -> bool {
        match protocol {
            Protocol::Pcp => self.pcp,
            Protocol::NatPmp => self.nat_pmp,
            Protocol::Upnp => self.upnp,
        }
    }
}

/// A family of IP addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// IPv4, where a mapping translates addresses.
    V4,
    /// IPv6, where a mapping is a pinhole in a firewall.
    V6,
}

impl Family {
    /// Of an address; one that is IPv4 in IPv6 clothes counts as IPv4.
    #[must_use]
    pub const fn of(ip: IpAddr) -> Self {
        if ip.to_canonical().is_ipv4() { Self::V4 } else { Self::V6 }
    }
}
