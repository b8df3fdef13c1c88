//! UPnP: Internet Gateway Device, versions 1 and 2.

pub mod notify;

use crate::{Answer, Request, Uplink};

/// Asks the UPnP devices behind uplinks, and remembers the device found behind each.
#[derive(Debug, Default)]
pub struct Upnp {}

impl Upnp {
    /// Asks the gateway of `uplink`; answers in bounded time, whatever the gateway does.
    #[expect(clippy::unused_async, reason = "the body follows")]
    pub async fn ask(&self, _uplink: &Uplink, _request: Request) -> Answer {
        Answer::Silent
    }

    /// Forgets the device behind `uplink`.
    pub fn forget(&self, _uplink: &Uplink) {}
}
