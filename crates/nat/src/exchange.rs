//! What is asked of a gateway and what it answers, alike for all protocols.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Identifies a mapping of PCP: who does not know it can't change the mapping (RFC 6887, section 11.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Nonce(pub [u8; 12]);

/// How long a mapping lasts, or shall last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lifetime {
    /// That many seconds; never 0.
    Seconds(u32),
    /// Until it is deleted or the router forgets it. Only UPnP has this (lease 0).
    Permanent,
}

/// Something asked of one protocol of a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Is the protocol spoken there, and what is the external address? Changes nothing on the router.
    ///
    /// PCP: ANNOUNCE. NAT-PMP: external address. UPnP: search, description, `GetExternalIPAddress`. UPnP keeps what it finds (the
    /// addresses of the services) for the other requests; a new `Discover` replaces it.
    Discover,
    /// Make a mapping or renew it. Answered by [`Answer::Mapped`].
    Map(MapRequest),
    /// Remove a mapping. Answered by [`Answer::Unmapped`].
    Unmap(UnmapRequest),
    /// What does the router hold for this external TCP port? UPnP only. Answered by [`Answer::Entry`].
    ReadBack {
        /// The port on the router.
        external_port: u16,
    },
    /// All entries of the router's table whose label begins like ours, as far as it shows them. UPnP only, IPv4 only.
    /// Answered by [`Answer::Entries`].
    Entries {
        /// Only entries whose label begins with this.
        label: String,
    },
}

/// See [`Request::Map`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapRequest {
    /// The port that is listened on here.
    pub internal_port: u16,
    /// The port wanted on the router; in IPv6 the same as `internal_port`.
    pub external_port: u16,
    /// The external address that it had before, a suggestion (PCP).
    pub external_ip: Option<IpAddr>,
    /// How long it shall last.
    pub lifetime: Lifetime,
    /// Of this mapping, the same at every renewal (PCP).
    pub nonce: Nonce,
    /// What the router's page shows (UPnP).
    pub label: String,
    /// May the router choose another external port? Yes: `AddAnyPortMapping` where UPnP has it; PCP and NAT-PMP always may.
    pub any_port: bool,
    /// The pinhole to renew (UPnP over IPv6), from the [`Grant`] that made it.
    pub pinhole: Option<u16>,
}

/// See [`Request::Unmap`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnmapRequest {
    /// The port that was listened on here.
    pub internal_port: u16,
    /// The port on the router.
    pub external_port: u16,
    /// As when it was made (PCP).
    pub nonce: Nonce,
    /// The pinhole (UPnP over IPv6), from the [`Grant`].
    pub pinhole: Option<u16>,
    /// Where it leads, if not to `internal_port` at our address: to an address that was ours (UPnP). An entry that leads anywhere
    /// else belongs to somebody else, and stays.
    pub former: Option<SocketAddr>,
}

/// What came of a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The protocol is spoken.
    Found(Found),
    /// The mapping is there.
    Mapped(Grant),
    /// The mapping is not there any more, or never was.
    Unmapped,
    /// What the router holds for the port that was asked for; `None`: nothing.
    Entry(Option<Entry>),
    /// Entries of the table, at most 128.
    Entries(Vec<Entry>),
    /// The gateway understood and said no.
    Refused(Refusal),
    /// Nothing came, although it was asked several times.
    Silent,
    /// The gateway is there, and nothing listens for this protocol (ICMP port unreachable, RST).
    Closed,
    /// What came can't be understood; a short reason for the log.
    Nonsense(String),
}

/// See [`Answer::Found`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The address on the far side, if the router says so here and it is an address at all. `None` also for 0.0.0.0.
    pub external_ip: Option<IpAddr>,
    /// The router's clock for mappings.
    pub epoch: Option<Epoch>,
    /// Maker and model as the router calls itself, made printable, at most 64 characters (UPnP).
    pub model: Option<String>,
    /// Where the router's own page is, as `http://192.168.1.1/` (UPnP's presentationURL, if it lies on the gateway).
    pub page: Option<String>,
    /// Whether [`MapRequest::any_port`] can be honoured and [`Grant::external_port`] may differ from what was asked.
    pub any_port: bool,
    /// Whether [`Request::ReadBack`] and [`Request::Entries`] make sense.
    pub readable: bool,
}

/// Seconds since the router's table of mappings began, in its words (RFC 6887, section 8.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(pub u32);

/// See [`Answer::Mapped`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The port on the router.
    pub external_port: u16,
    /// The address on the far side, where the protocol says it with the mapping (PCP).
    pub external_ip: Option<IpAddr>,
    /// How long the router keeps it.
    pub lifetime: Lifetime,
    /// The router's clock for mappings (PCP, NAT-PMP).
    pub epoch: Option<Epoch>,
    /// Number of the pinhole (UPnP over IPv6).
    pub pinhole: Option<u16>,
}

/// An entry of the router's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The port on the router.
    pub external_port: u16,
    /// Where it leads.
    pub internal: SocketAddr,
    /// What is left; `None`: for ever, or the router does not say.
    pub left: Option<Duration>,
    /// What its maker called it, made printable, at most 64 characters.
    pub label: String,
    /// Whether it is in force.
    pub enabled: bool,
}

/// A gateway's no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What it means.
    pub kind: RefusalKind,
    /// The protocol's own number.
    pub code: u16,
    /// The router's words, made printable, at most 120 characters; may be empty.
    pub words: String,
}

/// What a refusal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalKind {
    /// Another computer has that external port. UPnP 718, PCP `CANNOT_PROVIDE_EXTERNAL` (11).
    Conflict,
    /// A lease of limited time is not understood: ask for a permanent one. UPnP 725; also 402 and 501 can mean it.
    OnlyPermanent,
    /// Only a mapping with external port = internal port is possible. UPnP 724.
    SamePort,
    /// The router's owner does not allow it. UPnP 606, NAT-PMP 2, PCP 2.
    NotAuthorized,
    /// The router has no address on the far side yet. NAT-PMP 3, PCP 7.
    NetworkFailure,
    /// No room. NAT-PMP 4, PCP 8, UPnP 728 and 729.
    NoResources,
    /// The version, operation or action is not known there. NAT-PMP 1 and 5, PCP 1 and 4, UPnP 401.
    Unsupported,
    /// UPnP 402 (invalid arguments) and 501 (action failed): many meanings, see the code.
    Failed,
    /// Anything else.
    Other,
}
