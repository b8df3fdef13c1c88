//! `[hub]`: what `kith hub` does for others.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

use super::model::bind_addresses;
use super::text::{deserialize_from_text, optional};
use super::{ByteSize, HostPort, HubAddress, ListenPort};

/// Most hubs that one hub exchanges with.
pub const MOST_PEERS: usize = 8;
/// Most computers at one hub.
const MOST_COMPUTERS: u32 = 100_000;

/// `[hub]`: what `kith hub` does for others. Computers that are no hubs ignore it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Hub {
    /// The port computers connect to.
    pub port: ListenPort,
    /// The local addresses on which it and the port for other hubs are open.
    #[serde(deserialize_with = "bind_addresses")]
    pub bind: Vec<IpAddr>,
    /// Under which addresses the hub is known.
    pub advertise: Vec<HostPort>,
    /// Who may register.
    pub registration: Registering,
    /// How many computers are served at once.
    pub most_computers: MostComputers,
    /// Whether traffic is carried for those who can't reach each other.
    pub relay: bool,
    /// Bytes in a second that are carried for one computer; 0: without a limit.
    pub relay_rate: ByteSize,
    /// Bytes in a day that are carried for one computer; 0: without a limit.
    pub relay_daily: ByteSize,
    /// Other hubs to exchange with, at their ports for hubs.
    #[serde(deserialize_with = "peers")]
    pub peers: Vec<HubAddress>,
    /// The port other hubs connect to; it is open only where there are some.
    pub peer_port: ListenPort,
    /// Where the numbers for Prometheus are; `None`: nowhere.
    #[serde(deserialize_with = "optional")]
    pub metrics: Option<MetricsAddress>,
    /// Where the hub will be.
    pub moving: Moving,
}

impl Default for Hub {
    fn default() -> Self {
        Self {
            port: ListenPort::HUB,
            bind: vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
            advertise: Vec::new(),
            registration: Registering::Open,
            most_computers: MostComputers::DEFAULT,
            relay: true,
            relay_rate: ByteSize::from_bytes(0),
            relay_daily: ByteSize::from_bytes(0),
            peers: Vec::new(),
            peer_port: ListenPort::HUB_PEERS,
            metrics: MetricsAddress::default_one(),
            moving: Moving::default(),
        }
    }
}

/// `[hub.moving]`: the hub will be at another address, and says so ahead.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Moving {
    /// Where; empty: it stays.
    pub to: Vec<HostPort>,
    /// From when on.
    #[serde(deserialize_with = "optional")]
    pub at: Option<MoveTime>,
}

/// Who may register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registering {
    /// Whoever knows the hub's address.
    Open,
    /// Whoever was given a token.
    Invite,
}

impl FromStr for Registering {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "open" => Ok(Self::Open),
            "invite" => Ok(Self::Invite),
            _ => Err(format!("{text:?} is not known; allowed are \"open\" and \"invite\"")),
        }
    }
}

deserialize_from_text!(Registering, MetricsAddress, MoveTime);

/// How many computers are served at once: 1 to 100,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MostComputers(NonZeroU32);

impl MostComputers {
    const DEFAULT: Self = Self(NonZeroU32::MIN.saturating_add(9_999));

    /// The number.
    pub fn get(self) -> usize {
        usize::try_from(self.0.get()).unwrap_or(usize::MAX)
    }
}

impl<'de> Deserialize<'de> for MostComputers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = i64::deserialize(deserializer)?;
        let fits = u32::try_from(number).ok().and_then(NonZeroU32::new);
        fits.filter(|number| number.get() <= MOST_COMPUTERS).map(Self).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "{number} computers can't be used; allowed are 1 to {MOST_COMPUTERS}"
            ))
        })
    }
}

/// An address of this computer with a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricsAddress(SocketAddr);

impl MetricsAddress {
    /// The port that is customary for a program's numbers comes after those of the exporters.
    const PORT: u16 = 9187;

    // An option, as the setting is.
    #[allow(clippy::unnecessary_wraps, reason = "the default of an optional setting")]
    fn default_one() -> Option<Self> {
        Some(Self(SocketAddr::from((Ipv4Addr::LOCALHOST, Self::PORT))))
    }

    /// The address.
    pub fn get(self) -> SocketAddr {
        self.0
    }
}

impl FromStr for MetricsAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address: SocketAddr = text.parse().map_err(|_| {
            format!(
                "{text:?} is not an address with a port; write it as \"127.0.0.1:9187\" or \"[::1]:9187\", or \"\" for none"
            )
        })?;
        if (1..1024).contains(&address.port()) {
            return Err(format!("port {} can't be used; allowed are 1024 to 65535", address.port()));
        }
        Ok(Self(address))
    }
}

/// A point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MoveTime(Timestamp);

impl MoveTime {
    /// In Unix seconds.
    pub fn unix(self) -> u64 {
        u64::try_from(self.0.as_second()).unwrap_or_default()
    }
}

impl FromStr for MoveTime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| {
            format!("{text:?} is not a time; write it as \"2026-12-24T18:00:00Z\", or \"\" for none")
        })
    }
}

fn peers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<HubAddress>, D::Error> {
    use serde::de::Error;
    let peers = Vec::<HubAddress>::deserialize(deserializer)?;
    if peers.len() > MOST_PEERS {
        return Err(Error::custom(format!("{} hubs are too many; allowed are {MOST_PEERS}", peers.len())));
    }
    for (at, peer) in peers.iter().enumerate() {
        if peers[..at].iter().any(|other| other.device_id() == peer.device_id()) {
            return Err(Error::custom(format!(
                "the hub {} is named twice; name each once",
                peer.device_id()
            )));
        }
        if peer.token().is_some() {
            return Err(Error::custom(
                "hubs know each other by their device ids; write a hub without a token",
            ));
        }
    }
    Ok(peers)
}
