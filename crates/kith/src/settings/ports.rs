//! Ports and ranges of ports.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

use super::text::deserialize_from_text;

/// Which kind of computer reads the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// A person's computer.
    #[default]
    Computer,
    /// A hub, which may listen on 443 because little else passes strict firewalls.
    Hub,
}

/// The port of HTTPS, the one port below 1024 that a hub may use.
const HTTPS: u16 = 443;
const FIRST_FREE: u16 = 1024;

const WHY_NOT_BELOW: &str = "ports below 1024 belong to the system's services, and Kith runs without the right to open them; \
     allowed are 1024 to 65535";

/// The inbound port: 1024 to 65535, or 443 on a hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListenPort(u16);

impl ListenPort {
    /// The default, 4242.
    pub const DEFAULT: Self = Self(4242);

    /// The default of a hub for computers, 4287.
    pub const HUB: Self = Self(4287);
    /// The default of a hub for other hubs, 4288.
    pub const HUB_PEERS: Self = Self(4288);

    /// Checks a port for a role.
    ///
    /// # Errors
    /// A sentence that says what is allowed.
    pub fn new(port: i64, role: Role) -> Result<Self, String> {
        match u16::try_from(port) {
            Ok(port) if port >= FIRST_FREE => Ok(Self(port)),
            Ok(HTTPS) if role == Role::Hub => Ok(Self(HTTPS)),
            Ok(HTTPS) => Err(format!("port 443 is for `kith hub` only: {WHY_NOT_BELOW}, for example 4242")),
            Ok(0) => {
                Err("port 0 would be another one at every start; allowed are 1024 to 65535, for example 4242"
                    .into())
            }
            Ok(port) => Err(format!("port {port} can't be used: {WHY_NOT_BELOW}, for example 4242")),
            Err(_) => {
                Err(format!("{port} is not a port number; allowed are 1024 to 65535, for example 4242"))
            }
        }
    }

    /// The number.
    pub fn get(self) -> u16 {
        self.0
    }
}

impl<'de> Deserialize<'de> for ListenPort {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The role is known only to the loader, which asks `new` again.
        Self::new(i64::deserialize(deserializer)?, Role::Hub).map_err(serde::de::Error::custom)
    }
}

/// A port on this computer alone: 1024 to 65535.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LocalPort(u16);

impl LocalPort {
    /// The API's default, 4243.
    pub const CONTROL: Self = Self(4243);
    /// The app's default, 4244.
    pub const APP: Self = Self(4244);

    /// Checks a port.
    ///
    /// # Errors
    /// A sentence that says what is allowed.
    pub fn new(port: i64) -> Result<Self, String> {
        match u16::try_from(port) {
            Ok(port) if port >= FIRST_FREE => Ok(Self(port)),
            Ok(0) => Err("port 0 would be another one at every start; allowed are 1024 to 65535".into()),
            Ok(port) => Err(format!("port {port} can't be used: {WHY_NOT_BELOW}")),
            Err(_) => Err(format!("{port} is not a port number; allowed are 1024 to 65535")),
        }
    }

    /// The number.
    pub fn get(self) -> u16 {
        self.0
    }
}

impl<'de> Deserialize<'de> for LocalPort {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(i64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// A range of ports, both ends included, 1024 to 65535.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// Checks the ends of a range.
    ///
    /// # Errors
    /// A sentence that says what is allowed.
    pub fn new(first: u16, last: u16) -> Result<Self, String> {
        if first > last {
            return Err(format!("the range {first}-{last} runs backwards; write {last}-{first}"));
        }
        if first < FIRST_FREE {
            return Err(format!("the range {first}-{last} begins below 1024: {WHY_NOT_BELOW}"));
        }
        Ok(Self { first, last })
    }

    /// First port.
    pub fn first(self) -> u16 {
        self.first
    }

    /// Last port.
    pub fn last(self) -> u16 {
        self.last
    }

    /// True when the port lies inside.
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

impl FromStr for PortRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ends = match text.split_once('-') {
            Some((first, last)) => first.trim().parse().ok().zip(last.trim().parse().ok()),
            None => text.trim().parse().ok().map(|port| (port, port)),
        };
        match ends {
            Some((first, last)) => Self::new(first, last),
            None => Err(format!(
                "{text:?} is not a range of ports; write it as \"1024-5000\", ends between 1024 and 65535"
            )),
        }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

deserialize_from_text!(PortRange);
