//! Those who help to find and reach others: friends with a link, and hubs.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::{Request, Response, StatusCode};
use kith_identity::{DialInKey, InstallationId, PairKey};
use kith_wire::{
    Body, DIAL_BACK_CAPABILITY, DeviceId, Hello, Link, Report, ServeFuture, VersionRange, empty_body,
};

use crate::host::{Caller, Connection, Host, Standing};
use crate::outbound::NamedBy;

/// Who helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CarrierKind {
    /// A friend.
    Friend,
    /// A hub: no friend, and told nothing of us but our device id.
    Hub,
}

/// One who helps, with a live link.
#[derive(Clone, Debug)]
pub struct Carrier {
    /// His device id.
    pub id: DeviceId,
    /// What he is to us.
    pub kind: CarrierKind,
    /// The link to him.
    pub link: Link,
    /// Where he is to be dialled, `host:port`; none if he has dialled us, and nobody knows.
    pub address: Option<String>,
    /// Who named that address.
    pub(crate) told: NamedBy,
    /// The link's connection.
    pub connection: Connection,
}

impl Carrier {
    /// Whether his program can do this.
    #[must_use]
    pub fn can(&self, capability: &str) -> bool {
        self.connection.can(capability)
    }
}

/// What a hub meets in the place of the program: it is told no names, no addresses and no quotas, and it is no friend anywhere.
pub(crate) struct HubHost {
    pub(crate) hub: DeviceId,
    /// Which knows what is outside.
    pub(crate) host: Arc<dyn Host>,
}

impl Host for HubHost {
    fn hello(&self, _to: &DeviceId, seen_from: Option<IpAddr>) -> Hello {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Hello {
            wire: VersionRange::OURS,
            program: String::new(),
            installation: InstallationId::from_bytes([0; 16]),
            incarnation: 0,
            since: 0,
            proof: String::new(),
            run: None,
            capabilities: vec![DIAL_BACK_CAPABILITY.to_owned()],
            you_are: seen_from.map(|ip| ip.to_string()).unwrap_or_default(),
            class: None,
            time: i64::try_from(time).unwrap_or(i64::MAX),
            report: Report::default(),
        }
    }

    fn dial_in_keys(&self, _hub: &DeviceId) -> Vec<DialInKey> {
        vec![DialInKey::of_hub(&self.hub)]
    }

    fn pair_key(&self, _hub: &DeviceId) -> Option<PairKey> {
        None
    }

    fn standing(&self, _hub: &DeviceId, _hello: &Hello) -> Standing {
        Standing::Link
    }

    fn twin(&self, _hub: &DeviceId) {}

    fn linked(&self, hub: &DeviceId, _hello: &Hello, connection: &Connection) {
        if let Some(seen_as) = connection.seen_as {
            self.host.seen_by_hub(hub, seen_as);
        }
    }

    fn unlinked(&self, _hub: &DeviceId, _reason: &str) {}

    fn reported(&self, _hub: &DeviceId, _report: Report) {}

    fn changed(&self, _hub: &DeviceId) {}

    fn is_outside(&self, ip: IpAddr) -> bool {
        self.host.is_outside(ip)
    }

    /// Nothing but what every link serves by itself.
    fn serve(&self, _caller: Caller, _request: Request<Body>) -> ServeFuture {
        let mut response = Response::new(empty_body());
        *response.status_mut() = StatusCode::NOT_FOUND;
        Box::pin(std::future::ready(response))
    }
}
