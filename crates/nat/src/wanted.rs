//! What shall be reachable.

use std::net::IpAddr;
use std::num::NonZeroU16;

/// The port that shall be reachable from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The TCP port that is listened on here.
    pub port: NonZeroU16,
    /// Where it is listened on: addresses of this computer; unspecified ones (`0.0.0.0`, `::`) stand for all of their family.
    /// What listens on loopback only needs no mapping.
    pub bound: Vec<IpAddr>,
}

impl Wanted {
    /// Whether a connection to this address of ours would meet the listener.
    #[must_use]
    pub fn covers(&self, local: IpAddr) -> bool {
        let same_family = |bound: &IpAddr| bound.is_ipv4() == local.is_ipv4();
        self.bound.iter().any(|bound| *bound == local || (bound.is_unspecified() && same_family(bound)))
    }
}
