//! All protocols behind one door.

use std::sync::Arc;

use kith_network::Snapshot;

use super::upnp::Upnp;
use super::{nat_pmp, pcp};
use crate::{Answer, Protocol, Request, Uplink};

/// Asks by any protocol.
#[derive(Debug, Default)]
pub struct Clients {
    upnp: Upnp,
}

impl Clients {
    /// Tells what the network is now.
    pub fn interfaces(&self, snapshot: Arc<Snapshot>) {
        self.upnp.interfaces(snapshot);
    }

    /// Asks the gateway of `uplink`. Takes 8 s at most, and 15 s for [`Request::Entries`], whatever the gateway does; may be
    /// dropped at any time.
    pub async fn ask(&self, uplink: &Uplink, protocol: Protocol, request: Request) -> Answer {
        match protocol {
            Protocol::Pcp => pcp::ask(uplink, request).await,
            Protocol::NatPmp => nat_pmp::ask(uplink, request).await,
            Protocol::Upnp => self.upnp.ask(uplink, request).await,
        }
    }
}
