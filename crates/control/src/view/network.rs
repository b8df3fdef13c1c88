//! The way in from outside: mappings, routers, ports.

use jiff::{Timestamp, Unit};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A port on a router that leads to the inbound port; or why there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MappingView {
    /// `off`, `searching`, `no-router`, `router-off`, `mapped`, `double-nat` or `blocked`.
    pub state: String,
    /// `upnp`, `nat-pmp`, `pcp`, `static` or null. `static` is what nobody was asked for: a port forwarded by hand, or an address of
    /// this computer itself, without a router in the way.
    pub protocol: Option<String>,
    /// Address of the router as seen from outside.
    pub external_ip: Option<String>,
    /// Its name instead, which a person gave for a port forwarded by hand.
    pub external_name: Option<String>,
    /// The port on the router.
    pub external_port: Option<u16>,
    /// Seconds until the lease ends; null when it does not end by itself.
    pub lease_seconds: Option<u64>,
    /// Whether a friend has dialled it from outside.
    pub proved: bool,
    /// The state in one sentence for a person, without a full stop at its end.
    pub sentence: String,
    /// What the person should do, with concrete values; null: nothing.
    pub next_step: Option<String>,
    /// Whether it was seen to work from outside, by whom, when.
    pub proof: ProofView,
    /// `ipv4` or `ipv6`; null when there is no mapping.
    pub family: Option<String>,
    /// The router's address inside the network.
    pub gateway: Option<String>,
    /// What the router calls itself: maker and model.
    pub router: Option<String>,
    /// Where it leads inside the network, `ip:port`.
    pub internal: Option<String>,
}

impl MappingView {
    /// A state about which nothing else is known.
    #[must_use]
    pub fn new(state: impl Into<String>, sentence: impl Into<String>) -> Self {
        Self {
            state: state.into(),
            protocol: None,
            external_ip: None,
            external_name: None,
            external_port: None,
            lease_seconds: None,
            proved: false,
            sentence: sentence.into(),
            next_step: None,
            proof: ProofView::default(),
            family: None,
            gateway: None,
            router: None,
            internal: None,
        }
    }

    /// The address to dial from outside, `host:port`, as far as it is known.
    #[must_use]
    pub fn external(&self) -> Option<String> {
        let port = self.external_port?;
        let host = self.external_ip.as_deref().or(self.external_name.as_deref())?;
        Some(if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") })
    }

    /// Whether no router is in the way: what is called from outside is this computer's own address.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        let asked = self.protocol.as_deref().is_some_and(|protocol| protocol != "static");
        !asked && self.internal.is_some() && self.internal == self.external()
    }

    /// The protocol's name as routers' pages write it; `None` for one that is not known.
    #[must_use]
    pub fn protocol_name(&self) -> Option<&'static str> {
        match self.protocol.as_deref()? {
            "upnp" => Some("UPnP"),
            "nat-pmp" => Some("NAT-PMP"),
            "pcp" => Some("PCP"),
            "static" => Some("hand"),
            _ => None,
        }
    }

    /// The mapping in one line: `router 203.0.113.5:4242 -> 192.168.1.23:4242, by UPnP, lease 58 min, proved by anna 3 min ago`.
    /// `None` when there is no mapping.
    #[must_use]
    pub fn line(&self, now: Timestamp) -> Option<String> {
        let port = self.external_port?;
        let outside = self.external().unwrap_or_else(|| format!("port {port}"));
        let direct = self.is_direct();
        let place = match self.family.as_deref() {
            _ if direct => "no router in the way of",
            Some("ipv6") => "router lets through",
            _ => "router",
        };
        let mut line = format!("{place} {outside}");
        if let Some(internal) = &self.internal
            && *internal != outside
        {
            line.push_str(" -> ");
            line.push_str(internal);
        }
        if let Some(name) = self.protocol_name().filter(|_| !direct) {
            line.push_str(", by ");
            line.push_str(name);
        }
        if let Some(seconds) = self.lease_seconds {
            line.push_str(", lease ");
            line.push_str(&short(seconds));
        }
        line.push_str(", ");
        line.push_str(&self.proof.words(now));
        Some(line)
    }
}

/// Whether a mapping was seen to work from outside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProofView {
    /// `not-yet`, `proved` or `failed`.
    pub state: ProofState,
    /// Name of the friend who dialled it.
    pub by: Option<String>,
    /// When.
    pub at: Option<Timestamp>,
    /// What the friend met when it failed.
    pub why: Option<String>,
}

impl ProofView {
    /// In a few words: `not yet proved`, `proved by anna 3 min ago`, `anna could not get through 3 min ago: no answer`.
    #[must_use]
    pub fn words(&self, now: Timestamp) -> String {
        let by = self.by.as_deref().unwrap_or("a friend");
        let when = self.at.map(|at| format!(" {}", passed(at, now))).unwrap_or_default();
        match self.state {
            ProofState::NotYet => "not yet proved".to_owned(),
            ProofState::Proved => format!("proved by {by}{when}"),
            ProofState::Failed => match &self.why {
                Some(why) => format!("{by} could not get through{when}: {why}"),
                None => format!("{by} could not get through{when}"),
            },
        }
    }
}

/// See [`ProofView::state`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProofState {
    /// Nobody has tried yet.
    #[default]
    NotYet,
    /// A friend dialled it from outside and came through.
    Proved,
    /// A friend dialled it from outside and did not come through.
    Failed,
}

/// A router of this computer's networks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GatewayView {
    /// Its address in our network.
    pub address: String,
    /// The interface that leads to it.
    pub interface: String,
    /// As [`MappingView::state`], of this router alone.
    pub state: String,
    /// Maker and model, if it says so.
    pub model: Option<String>,
    /// Its own page for the browser.
    pub page: Option<String>,
    /// What each way of asking it came to.
    pub protocols: Vec<ProtocolView>,
}

/// What asking a router by one protocol came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProtocolView {
    /// `upnp`, `nat-pmp` or `pcp`.
    pub protocol: String,
    /// A few words: `mapped`, `no answer`, `switched off in the settings`.
    pub outcome: String,
}

/// A port in use, for the port table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PortView {
    /// The local address, `ip:port`.
    pub local: String,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// `in`, `out` or `local`.
    pub direction: String,
    /// The other end, `ip:port`, or null for a listening port.
    pub remote: Option<String>,
    /// The friend at the other end.
    pub friend: Option<String>,
    /// What it is for, a sentence.
    pub purpose: String,
    /// The address outside that leads to `local`, `host:port`, when the port is open on a router.
    pub external: Option<String>,
    /// `open`, `closed`, `connected`, `not-yet-proved`, `proved` or `failed`.
    pub state: PortState,
}

/// How a port stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PortState {
    /// It waits for others, or sends now and then.
    Open,
    /// Nobody holds it now.
    Closed,
    /// It is one end of a connection.
    Connected,
    /// Open on a router, and nobody has come through from outside yet.
    NotYetProved,
    /// Open on a router, and a friend came through from outside.
    Proved,
    /// Open on a router, and a friend did not come through from outside.
    Failed,
}

impl PortState {
    /// The word of the contract.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Connected => "connected",
            Self::NotYetProved => "not-yet-proved",
            Self::Proved => "proved",
            Self::Failed => "failed",
        }
    }
}

impl From<ProofState> for PortState {
    fn from(proof: ProofState) -> Self {
        match proof {
            ProofState::NotYet => Self::NotYetProved,
            ProofState::Proved => Self::Proved,
            ProofState::Failed => Self::Failed,
        }
    }
}

impl PortView {
    /// The row of a port that is open on a router; `None` when the mapping has no port.
    #[must_use]
    pub fn of_mapping(mapping: &MappingView, now: Timestamp) -> Option<Self> {
        let port = mapping.external_port?;
        let external = mapping.external().unwrap_or_else(|| format!("*:{port}"));
        Some(Self {
            local: mapping.internal.clone().unwrap_or_else(|| format!("*:{port}")),
            protocol: "tcp".to_owned(),
            direction: "in".to_owned(),
            remote: None,
            friend: None,
            purpose: mapping.line(now)?,
            external: Some(external),
            state: mapping.proof.state.into(),
        })
    }

    /// The row of a UDP socket by which routers are asked or heard. `remote` is the other end when there is one.
    #[must_use]
    pub fn udp(local: impl Into<String>, remote: Option<String>, purpose: impl Into<String>) -> Self {
        Self {
            local: local.into(),
            protocol: "udp".to_owned(),
            direction: if remote.is_some() { "out" } else { "in" }.to_owned(),
            remote,
            friend: None,
            purpose: purpose.into(),
            external: None,
            state: PortState::Open,
        }
    }
}

/// `58 min`, `2 h`, `7 d`.
fn short(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..5400 => format!("{} min", seconds / 60),
        5400..172_800 => format!("{} h", (seconds + 1800) / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// `3 min ago`.
fn passed(at: Timestamp, now: Timestamp) -> String {
    let seconds = now.since((Unit::Second, at)).map_or(0, |span| span.get_seconds());
    match u64::try_from(seconds) {
        Ok(seconds @ 2..) => format!("{} ago", short(seconds)),
        _ => "just now".to_owned(),
    }
}

#[cfg(test)]
mod tests;
