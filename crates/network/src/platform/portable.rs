//! Any system: interfaces from `getifaddrs(3)`, gateways from `netstat(1)`, no news from the kernel, sleep from the time of
//! day.

mod leaving;
mod netstat;

use std::io;
use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::burst::Burst;
use crate::interfaces::{interfaces, links};
use crate::sleep::Clocks;
use crate::snapshot::Snapshot;
use crate::{gateways, kind};

/// Looks at the network. Which addresses are temporary is not known here.
pub(crate) fn take() -> Snapshot {
    let interfaces =
        interfaces(links(), |link| kind::kind(&link.name, link.point_to_point, None), |_, _| false);
    let routes = netstat::routes();
    let gateways = gateways::gateways(&interfaces, &routes);
    let direct = gateways::direct(&interfaces, &routes);
    let leaves_by = leaving::leaves_by(&interfaces);
    Snapshot { interfaces, gateways, direct, leaves_by }
}

/// There is none.
pub(crate) enum KernelNews {}

impl KernelNews {
    /// None: the network is looked at from time to time.
    #[expect(clippy::unnecessary_wraps, reason = "other systems may refuse")]
    pub(crate) fn open() -> io::Result<Option<Self>> {
        Ok(None)
    }

    #[expect(clippy::unused_async, reason = "other systems have to wait")]
    pub(crate) async fn burst(&mut self) -> io::Result<Burst> {
        match *self {}
    }
}

/// Both clocks now. A time of day that is set forward looks like sleep, which costs a few questions to friends.
pub(crate) fn clocks() -> Clocks {
    static START: OnceLock<Instant> = OnceLock::new();
    let through_sleep = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Clocks { through_sleep, awake: START.get_or_init(Instant::now).elapsed() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_portable_part_sees_the_same_addresses() {
        let addresses = |snapshot: &Snapshot| {
            let interfaces = snapshot.interfaces.iter();
            let all = interfaces
                .flat_map(|interface| &interface.addresses)
                .map(|address| (address.ip, address.prefix));
            all.collect::<Vec<_>>()
        };
        let (portable, native) = (take(), Snapshot::take());
        assert_eq!(addresses(&portable), addresses(&native));
        assert_eq!(portable.leaves_by.v4, native.leaves_by.v4);
    }

    #[test]
    fn time_that_passes_awake_is_no_sleep() {
        let mut watch = crate::sleep::SleepWatch::new(clocks());
        assert_eq!(watch.look(clocks()), None);
        assert!(KernelNews::open().unwrap().is_none());
    }
}
