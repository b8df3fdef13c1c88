//! Kinds of sites, and what matters of them for who can reach whom.

use std::fmt;
use std::str::FromStr;

/// How a computer is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A public address of its own, both families.
    Public,
    /// A router that understands UPnP.
    Upnp,
    /// A router that understands NAT-PMP.
    NatPmp,
    /// A router that understands PCP.
    Pcp,
    /// A router that makes no mappings and drops what comes in unasked.
    Plain,
    /// The same, which answers what comes in unasked with a reset.
    Rejecting,
    /// A router that gives every connection another source port.
    Symmetric,
    /// A plain router behind a carrier that translates once more; nobody else in the matrix has this carrier.
    Carrier,
    /// The same with a carrier that gives every connection another source port.
    SymmetricCarrier,
    /// A router that understands UPnP, at a carrier that the other site of this kind has too.
    SameCarrier,
    /// A plain router, behind which the other computer of this kind is too.
    SameLan,
    /// A router that understands UPnP, and a firewall on the computer itself that lets in nothing but answers.
    HostFirewall,
    /// IPv6 alone, with a router that lets in nothing but answers.
    Ipv6Only,
    /// IPv6 with a router that lets in nothing but answers, beside IPv4 behind a plain one.
    DualStack,
    /// A firewall that lets out nothing but TCP connections to port 443.
    Only443,
    /// A firewall that lets out nothing, with a SOCKS proxy.
    Socks,
    /// A firewall that lets out nothing, with an HTTP proxy.
    Connect,
    /// A firewall that lets out nothing, with one port that stands for the helper.
    MappedProxy,
    /// A plain router, and the setting that keeps the inbound port closed.
    OutboundOnly,
}

/// What of a kind decides about the way to another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traits {
    /// Whether there is IPv4.
    pub v4: bool,
    /// Whether there is IPv6.
    pub v6: bool,
    /// How a connection from outside that nobody asked for arrives.
    pub arrival: Arrival,
    /// Which connections leave.
    pub leaves: Leaves,
    /// What becomes of the source ports of connections over IPv4. Over IPv6 nothing is translated.
    pub ports: Ports,
    /// What is answered to connections from outside that don't arrive.
    pub refuses: Refuses,
    /// Whether the computer takes connections at all. If not, it doesn't punch either.
    pub listens: bool,
}

/// How a connection from outside that nobody asked for arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// At the computer's own address.
    Public,
    /// By a port of the router that leads to the computer.
    Mapped,
    /// Not.
    Never,
}

/// Which connections leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaves {
    /// All.
    Anywhere,
    /// Those to TCP port 443.
    Port443,
    /// Those that a proxy makes, to any address.
    ByProxy,
    /// One, by a port that stands for the helper.
    OnlyToTheHelper,
}

/// What becomes of the source ports of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// They stay what they were, wherever that is possible: what a carrier sees, everybody sees.
    Kept,
    /// Each connection gets another one: what a carrier sees, nobody else sees.
    Random,
}

/// What is answered to connections from outside that don't arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refuses {
    /// Nothing.
    Silently,
    /// A reset.
    WithReset,
}

impl Kind {
    /// All.
    pub const ALL: [Self; 19] = [
        Self::Public,
        Self::Upnp,
        Self::NatPmp,
        Self::Pcp,
        Self::Plain,
        Self::Rejecting,
        Self::Symmetric,
        Self::Carrier,
        Self::SymmetricCarrier,
        Self::SameCarrier,
        Self::SameLan,
        Self::HostFirewall,
        Self::Ipv6Only,
        Self::DualStack,
        Self::Only443,
        Self::Socks,
        Self::Connect,
        Self::MappedProxy,
        Self::OutboundOnly,
    ];

    /// Every pair once, those of a kind with itself included.
    pub fn pairs() -> impl Iterator<Item = (Self, Self)> {
        Self::ALL
            .into_iter()
            .enumerate()
            .flat_map(|(index, one)| Self::ALL[index..].iter().map(move |other| (one, *other)))
    }

    /// Its name in tables and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Upnp => "upnp",
            Self::NatPmp => "natpmp",
            Self::Pcp => "pcp",
            Self::Plain => "plain",
            Self::Rejecting => "rejecting",
            Self::Symmetric => "symmetric",
            Self::Carrier => "carrier",
            Self::SymmetricCarrier => "sym-carrier",
            Self::SameCarrier => "same-carrier",
            Self::SameLan => "same-lan",
            Self::HostFirewall => "host-firewall",
            Self::Ipv6Only => "ipv6-only",
            Self::DualStack => "dual-stack",
            Self::Only443 => "only-443",
            Self::Socks => "socks",
            Self::Connect => "connect",
            Self::MappedProxy => "mapped-proxy",
            Self::OutboundOnly => "outbound-only",
        }
    }

    /// What of it decides about the way to another one.
    #[must_use]
    pub const fn traits(self) -> Traits {
        let plain = Traits {
            v4: true,
            v6: false,
            arrival: Arrival::Never,
            leaves: Leaves::Anywhere,
            ports: Ports::Kept,
            refuses: Refuses::Silently,
            listens: true,
        };
        match self {
            Self::Public => Traits { v6: true, arrival: Arrival::Public, ..plain },
            Self::Upnp | Self::NatPmp | Self::Pcp => Traits { arrival: Arrival::Mapped, ..plain },
            // What the routers of `SameCarrier` and `HostFirewall` map leads nowhere from outside.
            Self::Plain | Self::Carrier | Self::SameCarrier | Self::SameLan | Self::HostFirewall => plain,
            Self::Rejecting => Traits { refuses: Refuses::WithReset, ..plain },
            Self::Symmetric | Self::SymmetricCarrier => Traits { ports: Ports::Random, ..plain },
            Self::Ipv6Only => Traits { v4: false, v6: true, ..plain },
            Self::DualStack => Traits { v6: true, ..plain },
            Self::Only443 => Traits { leaves: Leaves::Port443, ..plain },
            Self::Socks | Self::Connect => Traits { leaves: Leaves::ByProxy, ..plain },
            Self::MappedProxy => Traits { leaves: Leaves::OnlyToTheHelper, ..plain },
            Self::OutboundOnly => Traits { listens: false, ..plain },
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|kind| kind.name()).collect();
            format!("there is no kind {text}; there are {}", names.join(", "))
        })
    }
}
