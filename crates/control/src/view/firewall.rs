//! What firewalls must let through, for whoever looks after them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The rules that follow from the settings in force, and from the addresses that are known now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FirewallView {
    /// How this computer reaches friends, and they it: sentences.
    pub summary: Vec<String>,
    /// For packet filters, on this computer and between it and the Internet.
    pub rules: Vec<FirewallRule>,
    /// What the proxy must allow; null without one.
    pub proxy: Option<ProxyRules>,
    /// What must be mapped on a firewall that forwards; empty when nothing is.
    pub mapped: Vec<MappedPort>,
    /// The rules for this computer as commands for nftables, one on a line.
    pub nftables: Vec<String>,
    /// The same for ufw.
    pub ufw: Vec<String>,
    /// What the tables can't say, sentences.
    pub notes: Vec<String>,
}

/// One rule for packet filters, as seen from this computer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FirewallRule {
    /// `in` or `out`: who sends the first packet; of `answers`, where these packets go.
    pub direction: FirewallDirection,
    /// `tcp` or `udp`.
    pub protocol: FirewallProtocol,
    /// Ports of this computer, `4242` or `1024-5000`; null: any.
    pub local_ports: Option<String>,
    /// The other end: an address, a network, a name; null: any.
    pub remote: Option<String>,
    /// Its ports; null: any.
    pub remote_ports: Option<String>,
    /// Only packets that answer a connection from the other side, for filters that don't keep connections in mind; the others let
    /// them through by themselves.
    pub answers: bool,
    /// Whether it also goes without, by another way or less well.
    pub optional: bool,
    /// The friend at the other end.
    pub friend: Option<String>,
    /// What it is for, a sentence.
    pub purpose: String,
}

/// See [`FirewallRule::direction`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FirewallDirection {
    /// To this computer.
    In,
    /// From this computer.
    Out,
}

/// See [`FirewallRule::protocol`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FirewallProtocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl FirewallDirection {
    /// The word of the contract.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
        }
    }
}

impl FirewallProtocol {
    /// The word of the contract.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// What a proxy must allow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProxyRules {
    /// `socks5` or `connect`.
    pub kind: String,
    /// Where it is, `host:port`.
    pub address: String,
    /// Whether it is told a user name and a password.
    pub login: bool,
    /// Destinations that are known now.
    pub destinations: Vec<ProxyDestination>,
}

/// Somewhere a proxy must connect to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProxyDestination {
    /// `host:port`.
    pub address: String,
    /// The friend there; null: a hub.
    pub friend: Option<String>,
    /// What it is for.
    pub purpose: String,
}

/// A port of a firewall that leads to one destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MappedPort {
    /// The firewall's `host:port` by the settings; null: none is set, and he can't be reached by this way.
    pub firewall: Option<String>,
    /// What it stands for, as the settings name it: a device id or `host:port`.
    pub destination: String,
    /// The friend there; null: a hub, or nobody who is known.
    pub friend: Option<String>,
    /// To where the firewall must forward: addresses of the destination that are known, the best first.
    pub forward_to: Vec<String>,
}

impl MappedPort {
    /// In one sentence, without a full stop at its end.
    #[must_use]
    pub fn sentence(&self) -> String {
        let who = self.friend.as_deref().unwrap_or(&self.destination);
        let to = self.forward_to.first().map_or("his address, which is not known yet", String::as_str);
        match &self.firewall {
            Some(firewall) => format!("the firewall must forward {firewall} to {to}, for {who}"),
            None => format!(
                "no port of the firewall stands for {who}: have one forwarded to {to} and name it under [network.mapped]"
            ),
        }
    }
}
