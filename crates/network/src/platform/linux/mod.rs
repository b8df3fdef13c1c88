//! Linux: `/proc/self/net`, `/sys/class/net`, netlink.

mod device;
mod leaving;
mod message;
mod netlink;
mod tables;

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

pub(crate) use self::netlink::KernelNews;
use crate::interfaces::{interfaces, links};
use crate::sleep::Clocks;
use crate::snapshot::Snapshot;
use crate::{gateways, kind};

/// Where the kernel's tables lie. Those of this process, because there may be a network namespace.
const TABLES: &str = "/proc/self/net";
/// As much is read of a table: some ten thousand lines.
const MOST_BYTES: u64 = 2 << 20;

/// Looks at the network.
pub(crate) fn take() -> Snapshot {
    let table = |name: &str| read(&Path::new(TABLES).join(name), MOST_BYTES);
    let unfit = tables::unfit_addresses(&table("if_inet6"));
    let interfaces = interfaces(
        links(),
        |link| {
            let device = device::read(&link.name, link.index);
            kind::kind(&link.name, link.point_to_point, device.as_ref())
        },
        |index, ip| unfit.contains(&(index, ip)),
    );
    let mut routes = tables::ipv4_routes(&table("route"));
    routes.extend(tables::ipv6_routes(&table("ipv6_route")));
    let gateways = gateways::gateways(&interfaces, &routes);
    let direct = gateways::direct(&interfaces, &routes);
    let leaves_by = leaving::leaves_by(&interfaces);
    Snapshot { interfaces, gateways, direct, leaves_by }
}

/// The beginning of a file of the kernel; empty if it can't be read.
fn read(path: &Path, most_bytes: u64) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(path)
        && let Err(error) = file.take(most_bytes).read_to_end(&mut bytes)
    {
        tracing::debug!(%error, path = %path.display(), "can't be read");
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Both clocks now.
pub(crate) fn clocks() -> Clocks {
    let now = |clock| clock_gettime(clock).map(Duration::from).unwrap_or_default();
    // In this order a pause between the two never looks like sleep.
    let through_sleep = now(ClockId::CLOCK_BOOTTIME);
    Clocks { through_sleep, awake: now(ClockId::CLOCK_MONOTONIC) }
}
