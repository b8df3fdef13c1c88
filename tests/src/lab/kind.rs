//! What kinds of sites there are.

use std::net::Ipv4Addr;

use super::Distance;

/// How a site is connected, as a list of its properties: start with one of the constructors and change what is different.
///
/// Without more, addresses are IPv4 and translated (`masquerade`, which keeps source ports where it can), and what comes in
/// unasked is dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteKind {
    pub(super) name: &'static str,
    pub(super) speaks: Speaks,
    pub(super) claims: Option<Ipv4Addr>,
    pub(super) inbound: Inbound,
    pub(super) source_ports: SourcePorts,
    pub(super) families: Families,
    pub(super) leaves: Leaves,
    pub(super) distance: Option<Distance>,
}

/// Version of the UPnP Internet Gateway Device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IgdVersion {
    /// Without `AddAnyPortMapping` and pinholes.
    One,
    /// With them.
    Two,
}

/// What the router understands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Speaks {
    pub(super) upnp: Option<IgdVersion>,
    pub(super) nat_pmp: bool,
    pub(super) pcp: bool,
}

impl Speaks {
    pub(super) const fn anything(self) -> bool {
        self.upnp.is_some() || self.nat_pmp || self.pcp
    }
}

/// What becomes of connections from outside that nobody asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inbound {
    Dropped,
    Rejected,
}

/// What becomes of the source ports of connections to the outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SourcePorts {
    Kept,
    Random,
}

/// Which connections from inside the router lets out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaves {
    Everything,
    /// Those to this TCP port.
    Port(u16),
    Nothing,
}

/// Families of addresses that the site has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Families {
    V4,
    Both,
    V6,
}

impl Families {
    pub(super) const fn v4(self) -> bool {
        !matches!(self, Self::V6)
    }

    pub(super) const fn v6(self) -> bool {
        !matches!(self, Self::V4)
    }
}

impl SiteKind {
    const fn with(name: &'static str, speaks: Speaks) -> Self {
        Self {
            name,
            speaks,
            claims: None,
            inbound: Inbound::Dropped,
            source_ports: SourcePorts::Kept,
            families: Families::V4,
            leaves: Leaves::Everything,
            distance: None,
        }
    }

    /// A router that makes no mappings.
    #[must_use]
    pub const fn plain() -> Self {
        Self::with("plain", Speaks { upnp: None, nat_pmp: false, pcp: false })
    }

    /// UPnP only, IGD version 2.
    #[must_use]
    pub const fn upnp() -> Self {
        Self::with("upnp", Speaks { upnp: Some(IgdVersion::Two), nat_pmp: false, pcp: false })
    }

    /// UPnP only, described as IGD version 1.
    #[must_use]
    pub const fn upnp_v1() -> Self {
        Self::with("upnp1", Speaks { upnp: Some(IgdVersion::One), nat_pmp: false, pcp: false })
    }

    /// NAT-PMP only.
    #[must_use]
    pub const fn nat_pmp() -> Self {
        Self::with("pmp", Speaks { upnp: None, nat_pmp: true, pcp: false })
    }

    /// PCP only.
    #[must_use]
    pub const fn pcp() -> Self {
        Self::with("pcp", Speaks { upnp: None, nat_pmp: false, pcp: true })
    }

    /// NAT-PMP and PCP.
    #[must_use]
    pub const fn nat_pmp_and_pcp() -> Self {
        Self::with("pmp-pcp", Speaks { upnp: None, nat_pmp: true, pcp: true })
    }

    /// UPnP, NAT-PMP and PCP.
    #[must_use]
    pub const fn all() -> Self {
        Self::with("all", Speaks { upnp: Some(IgdVersion::Two), nat_pmp: true, pcp: true })
    }

    /// What comes in unasked is answered with a reset instead of silence.
    #[must_use]
    pub const fn rejecting(mut self) -> Self {
        self.inbound = Inbound::Rejected;
        self
    }

    /// Every connection leaves with another source port.
    #[must_use]
    pub const fn symmetric(mut self) -> Self {
        self.source_ports = SourcePorts::Random;
        self
    }

    /// Routed IPv6 with a firewall at the router, beside IPv4.
    #[must_use]
    pub const fn dual_stack(mut self) -> Self {
        self.families = Families::Both;
        self
    }

    /// Routed IPv6 with a firewall at the router; the hosts have no IPv4.
    #[must_use]
    pub const fn ipv6_only(mut self) -> Self {
        self.families = Families::V6;
        self
    }

    /// Nothing leaves but connections to this TCP port.
    #[must_use]
    pub const fn letting_out_only(mut self, port: u16) -> Self {
        self.leaves = Leaves::Port(port);
        self
    }

    /// Nothing leaves: what is to leave needs a proxy on the router, or a port of it that stands for what is outside.
    #[must_use]
    pub const fn closed(mut self) -> Self {
        self.leaves = Leaves::Nothing;
        self
    }

    /// The router says that this is its external address, whatever is true.
    #[must_use]
    pub const fn claiming(mut self, address: Ipv4Addr) -> Self {
        self.claims = Some(address);
        self
    }

    /// At the end of a line of this length and width, which can be cut. Needs `python3`. Not for customers of a carrier.
    #[must_use]
    pub const fn distant(mut self, distance: Distance) -> Self {
        self.distance = Some(distance);
        self
    }

    /// Another name for the sites of this kind.
    #[must_use]
    pub const fn called(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }
}
