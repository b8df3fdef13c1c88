//! Whether the router keeps the ports of outgoing connections: two routers that don't can't be opened from inside at one moment.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use kith_peer::Asker;
use kith_peer::reach::{PunchPort, observe};
use kith_wire::Side;

use super::super::core::Core;

/// Longest wait for the answer of a carrier.
const PATIENCE: Duration = Duration::from_millis(2500);

impl Core {
    /// What a carrier on the Internet sees of a port of ours; none if nobody could be asked.
    pub(super) async fn keeps_ports(&self) -> Option<bool> {
        let carriers = self.peers()?.carriers();
        let carrier = carriers.into_iter().find(|carrier| {
            let connection = &carrier.connection;
            let ip = connection.remote.ip().to_canonical();
            connection.side == Side::Dialer
                && connection.way.shows_friend()
                && ip.is_ipv4()
                && self.is_of_the_internet(ip)
        })?;
        let settings = self.settings();
        let ranges: Vec<_> =
            settings.network.punch_port_ranges.iter().map(|range| range.first()..=range.last()).collect();
        let port = PunchPort::fresh(IpAddr::V4(Ipv4Addr::UNSPECIFIED), &ranges).ok()?;
        let keys = self.dial_in_keys(&carrier.id);
        let asker = Asker { outbound: &self.outbound, identity: &self.identity, keys: &keys };
        let seen = observe(asker, carrier.id, carrier.connection.remote, &port, PATIENCE).await.ok()?;
        let kept = seen.address().port() == port.address().port();
        seen.end().await;
        Some(kept)
    }
}
