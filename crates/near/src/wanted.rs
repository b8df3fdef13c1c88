//! What the program around this crate wants announced and found.

use std::net::IpAddr;

use kith_identity::{DeviceId, PairKey};

use crate::announcement::About;

/// What is to be announced and looked for.
#[derive(Clone, PartialEq, Eq)]
pub struct Wanted {
    /// This computer.
    pub us: DeviceId,
    /// Where it listens; none while it does not: then it only looks.
    pub port: Option<u16>,
    /// The addresses that are listened at, as bound: an unspecified one stands for all of its family.
    pub bind: Vec<IpAddr>,
    /// Who shall find it, and be found.
    pub friends: Vec<Friend>,
    /// What everybody in the network may know; none unless a person has opened it.
    pub about: Option<About>,
}

/// One who shall find this computer.
#[derive(Clone, PartialEq, Eq)]
pub struct Friend {
    /// Who.
    pub id: DeviceId,
    /// What the two know and nobody else.
    pub pair: PairKey,
}

impl Wanted {
    /// Whether there is somebody to look for at all. Without, nothing is sent.
    pub(crate) fn anything(&self) -> bool {
        !self.friends.is_empty() || self.about.is_some()
    }

    /// Whether connections to this address reach us.
    pub(crate) fn listens_at(&self, ip: IpAddr) -> bool {
        self.bind.iter().any(|bound| {
            let (bound, ip) = (bound.to_canonical(), ip.to_canonical());
            bound == ip || (bound.is_unspecified() && bound.is_ipv4() == ip.is_ipv4())
        })
    }
}
