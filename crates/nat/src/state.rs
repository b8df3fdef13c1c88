//! What others see.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use crate::{Family, ProofOutcome, ProofReport, Protocol, Uplink};

/// The whole, as a person or program may see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The verdict over all gateways: the best of them.
    pub verdict: MappingState,
    /// The mapping that the verdict is about: the one to tell friends first.
    pub primary: Option<Mapping>,
    /// Every mapping that is held, the primary first.
    pub mappings: Vec<Mapping>,
    /// Every gateway that is known, the preferred first.
    pub gateways: Vec<GatewayState>,
    /// The verdict in one sentence for a person, without a full stop at its end.
    pub sentence: String,
    /// What to do about it, with concrete values; none if there is nothing to do.
    pub next_step: Option<String>,
}

/// The words of the JSON contract. Ordered from bad to good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum MappingState {
    /// Nothing is asked of routers: switched off, or there is no port to map.
    #[default]
    Off,
    /// No gateway is known.
    NoRouter,
    /// A gateway is there, and it makes no mapping: not spoken, switched off, or refused.
    RouterOff,
    /// Asked, and not answered yet.
    Searching,
    /// Mapped, but dialling from outside fails although the router shows the mapping.
    Blocked,
    /// Mapped, but the router's own far side is not the Internet.
    DoubleNat,
    /// Mapped (or this computer has a public address of its own).
    Mapped,
}

impl MappingState {
    /// The word of the contract.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::NoRouter => "no-router",
            Self::RouterOff => "router-off",
            Self::Searching => "searching",
            Self::Blocked => "blocked",
            Self::DoubleNat => "double-nat",
            Self::Mapped => "mapped",
        }
    }
}

/// One mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// At which gateway.
    pub uplink: Uplink,
    /// By which protocol; none: no router is in the way, the address is this computer's own.
    pub protocol: Option<Protocol>,
    /// Our end.
    pub internal: SocketAddr,
    /// The far side's port.
    pub external_port: u16,
    /// The far side's address, if it is known.
    pub external_ip: Option<IpAddr>,
    /// What the router granted; none: permanent.
    pub lease: Option<Duration>,
    /// When that ends, by this computer's clock.
    pub expires: Option<SystemTime>,
    /// State of this mapping alone: `Blocked`, `DoubleNat` or `Mapped`.
    pub state: MappingState,
    /// Whether it was seen to work from outside.
    pub proof: Proof,
}

impl Mapping {
    /// The address to dial from outside.
    #[must_use]
    pub fn external(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.external_ip?, self.external_port))
    }

    /// The family of addresses.
    #[must_use]
    pub const fn family(&self) -> Family {
        self.uplink.family()
    }
}

/// Whether a mapping was seen to work from outside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Proof {
    /// Nobody has tried yet.
    #[default]
    NotYet,
    /// A friend dialled it and came through.
    Proved {
        /// The friend's name.
        by: String,
        /// When.
        at: SystemTime,
    },
    /// A friend dialled it and did not come through.
    Failed {
        /// The friend's name.
        by: String,
        /// When.
        at: SystemTime,
        /// What he met, in a few words.
        why: String,
    },
}

impl From<ProofReport> for Proof {
    fn from(report: ProofReport) -> Self {
        let ProofReport { by, at, outcome, .. } = report;
        let why = match outcome {
            ProofOutcome::Arrived => return Self::Proved { by, at },
            ProofOutcome::Refused => "the connection was refused".to_owned(),
            ProofOutcome::NoResponse => "nothing answered".to_owned(),
            ProofOutcome::Other(why) => why,
        };
        Self::Failed { by, at, why }
    }
}

/// What is known of one gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayState {
    /// Which.
    pub uplink: Uplink,
    /// State of this gateway alone.
    pub state: MappingState,
    /// Maker and model, if it says so.
    pub model: Option<String>,
    /// Its page in the browser: told by itself, else `http://` and its address.
    pub page: String,
    /// What each allowed protocol came to, a few words each, as in `UPnP: mapped`, `PCP: no answer`.
    pub protocols: Vec<(Protocol, String)>,
}
