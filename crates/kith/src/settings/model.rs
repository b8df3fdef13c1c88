//! The typed settings.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use kith_backup::BackupSet;
use serde::Deserialize;

use super::text::{deserialize_from_text, optional};
use super::units::byte_limit;
use super::{
    ByteSize, Destination, HoldDays, HostPort, Hub, HubAddress, ListenPort, LocalPort, MappedDestination,
    PortRange, ProxyUrl,
};

/// Everything that `kith.toml` can say, checked. The fields have the names of the keys.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// How friends see this computer; `None`: by its host name.
    #[serde(deserialize_with = "optional")]
    pub name: Option<ComputerName>,
    /// The inbound port.
    pub listener: Listener,
    /// The local ports.
    pub control: Control,
    /// Router protocols.
    pub nat: Nat,
    /// What is kept for friends.
    pub vault: Vault,
    /// Outgoing connections.
    pub network: Network,
    /// What a hub does for others.
    pub hub: Hub,
    /// The backup sets.
    #[serde(rename = "set")]
    pub sets: Vec<BackupSet>,
}

impl Settings {
    /// The name that friends see: the configured one, else the host name.
    pub fn computer_name(&self) -> String {
        match &self.name {
            Some(name) => name.0.clone(),
            None => host_name(),
        }
    }
}

/// The system's host name up to its first dot, "computer" when it has none that can be shown.
fn host_name() -> String {
    let name = nix::unistd::gethostname().unwrap_or_default();
    let name = name.to_string_lossy();
    let short = name.split('.').next().unwrap_or_default();
    short.parse::<ComputerName>().map_or_else(|_| "computer".to_owned(), |name| name.0)
}

/// `[listener]`: the inbound port.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Listener {
    /// The port friends connect to.
    pub port: ListenPort,
    /// The local addresses on which it listens.
    #[serde(deserialize_with = "bind_addresses")]
    pub bind: Vec<IpAddr>,
    /// Addresses outside that a manual port forwarding leads here.
    pub advertise: Vec<HostPort>,
    /// Whether strangers get a line of text.
    pub greeting: bool,
}

impl Default for Listener {
    fn default() -> Self {
        Self {
            port: ListenPort::DEFAULT,
            bind: vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
            advertise: Vec::new(),
            greeting: true,
        }
    }
}

/// `[control]`: the local ports.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Control {
    /// The API.
    pub port: LocalPort,
    /// The app.
    pub app_port: LocalPort,
}

impl Default for Control {
    fn default() -> Self {
        Self { port: LocalPort::CONTROL, app_port: LocalPort::APP }
    }
}

/// `[nat]`: protocols by which a router is asked for a port.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Nat {
    /// UPnP IGD.
    pub upnp: bool,
    /// NAT-PMP.
    pub nat_pmp: bool,
    /// PCP.
    pub pcp: bool,
}

impl Default for Nat {
    fn default() -> Self {
        Self { upnp: true, nat_pmp: true, pcp: true }
    }
}

/// `[vault]`: what this computer keeps for friends.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Vault {
    /// Its directory; relative paths are relative to the home.
    #[serde(deserialize_with = "vault_path")]
    pub path: PathBuf,
    /// From whom backups are accepted.
    pub accept: Accept,
    /// How much a new friend may store.
    pub default_quota: ByteSize,
    /// How long deleted data is held.
    pub hold_days: HoldDays,
    /// In how many days everything that is kept is read once and compared; 0 = never.
    pub scrub_days: HoldDays,
    /// What must stay free on the vault's disk.
    pub keep_free: ByteSize,
}

impl Default for Vault {
    fn default() -> Self {
        Self {
            path: PathBuf::from("vault"),
            accept: Accept::Friends,
            default_quota: ByteSize::from_bytes(100_000_000_000),
            hold_days: HoldDays::DEFAULT,
            scrub_days: HoldDays::DEFAULT,
            keep_free: ByteSize::from_bytes(1 << 30),
        }
    }
}

/// From whom backups are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accept {
    /// From nobody.
    Off,
    /// From this person's own other computers.
    Own,
    /// From all friends.
    Friends,
}

impl FromStr for Accept {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            "own" => Ok(Self::Own),
            "friends" => Ok(Self::Friends),
            _ => Err(format!("{text:?} is not known; allowed are \"off\", \"own\" and \"friends\"")),
        }
    }
}

deserialize_from_text!(Accept);

/// `[network]`: outgoing connections.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Network {
    /// Whether the inbound port stays closed.
    pub outbound_only: bool,
    /// The proxy for connections to friends.
    #[serde(deserialize_with = "optional")]
    pub proxy: Option<ProxyUrl>,
    /// Where connections may go; empty: anywhere.
    pub allowed_destinations: Vec<Destination>,
    /// Local ports of outgoing connections; `None`: the system chooses.
    #[serde(deserialize_with = "optional")]
    pub outgoing_ports: Option<PortRange>,
    /// Source ports that punching tries.
    pub punch_port_ranges: Vec<PortRange>,
    /// Hubs to register with.
    pub hubs: Vec<HubAddress>,
    /// Whether friends' traffic is carried for each other.
    pub relay: bool,
    /// Bytes in a second that are carried for all of them together; 0: without a limit.
    #[serde(deserialize_with = "byte_limit")]
    pub relay_rate: ByteSize,
    /// Bytes in a day that are carried for one of them; 0: without a limit.
    #[serde(deserialize_with = "byte_limit")]
    pub relay_daily: ByteSize,
    /// Whether friends are looked for in the local network.
    pub lan_discovery: bool,
    /// Destinations reached through a port of a firewall.
    pub mapped: BTreeMap<MappedDestination, HostPort>,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            outbound_only: false,
            proxy: None,
            allowed_destinations: Vec::new(),
            outgoing_ports: None,
            punch_port_ranges: ["1024-14500", "49000-52000"]
                .iter()
                .filter_map(|range| range.parse().ok())
                .collect(),
            hubs: Vec::new(),
            relay: true,
            relay_rate: ByteSize::from_bytes(0),
            relay_daily: ByteSize::from_bytes(10_000_000_000),
            lan_discovery: true,
            mapped: BTreeMap::new(),
        }
    }
}

/// How friends see a computer: 1 to 64 printable characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComputerName(String);

impl ComputerName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ComputerName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        // What friends would have to clean from a name is refused here, where the person can still choose another.
        if !text.is_empty() && kith_identity::sanitise_name(text) == text {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "{text:?} can't be a computer's name; allowed are 1 to 64 printable characters, with single spaces between words"
        ))
    }
}

fn vault_path<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    use serde::de::Error;
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Err(Error::custom("the path is empty; name a directory, \"vault\" for the one in the home"));
    }
    if text.starts_with('~') {
        return Err(Error::custom(format!(
            "{text:?}: \"~\" is not replaced here; write the whole path, as in /srv/kith"
        )));
    }
    let path = Path::new(&text);
    if path.components().any(|part| part == std::path::Component::ParentDir) {
        return Err(Error::custom(format!(
            "{text:?} has \"..\" in it; write the whole path, as in /srv/kith"
        )));
    }
    Ok(path.components().collect())
}

pub(super) fn bind_addresses<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<IpAddr>, D::Error> {
    use serde::de::Error;
    let mut addresses = Vec::new();
    for text in Vec::<String>::deserialize(deserializer)? {
        let allowed = "write addresses of this computer, as \"192.168.1.5\" or \"::1\"; \"0.0.0.0\" and \"::\" mean all";
        let address =
            text.parse().map_err(|_| Error::custom(format!("{text:?} is not an address; {allowed}")))?;
        if addresses.contains(&address) {
            return Err(Error::custom(format!("{text:?} is named twice; {allowed}")));
        }
        addresses.push(address);
    }
    Ok(addresses)
}
