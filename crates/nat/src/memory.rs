//! What must outlive the process.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{Nonce, Protocol};

/// A mapping that a router was asked for, as it is kept from run to run: so that the next run can renew it, or remove it when it
/// leads nowhere any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// The gateway's address in our network.
    pub gateway: IpAddr,
    /// The address of ours that it leads to.
    pub local: IpAddr,
    /// By which protocol.
    pub protocol: Protocol,
    /// The port that was listened on here.
    pub internal_port: u16,
    /// The port on the router.
    pub external_port: u16,
    /// The address on the far side, if it was known.
    pub external_ip: Option<IpAddr>,
    /// The nonce it was made with (PCP).
    pub nonce: Nonce,
    /// Number of the pinhole (UPnP over IPv6).
    pub pinhole: Option<u16>,
    /// Whether it stays until it is removed.
    pub permanent: bool,
}

/// Keeps what must outlive the process.
pub trait Memory: Send + Sync + 'static {
    /// Replaces what is kept. Must not block; the newest call counts.
    fn remember(&self, mappings: Vec<Remembered>);
}
