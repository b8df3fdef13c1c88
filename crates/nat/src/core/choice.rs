//! What a mapping is asked for with: external port, nonce, external address. What was before comes first.

use std::net::IpAddr;

use super::site::Site;
use super::{Core, chance};
use crate::{Family, Nonce, Protocol, Remembered};

impl Core {
    /// The external ports to try, the best first.
    pub(super) fn ports_for(&self, site: &Site, protocol: Protocol, internal: u16) -> Vec<u16> {
        if site.family() == Family::V6 || self.gateway_of(site).is_some_and(|gateway| gateway.same_port) {
            return vec![internal];
        }
        let last = site.place.filter(|(for_port, _)| *for_port == internal).map(|(_, port)| port);
        let of_here = self
            .stale
            .iter()
            .filter(|memory| memory.gateway == site.uplink.gateway && memory.internal_port == internal);
        let mut remembered: Vec<_> = of_here.collect();
        remembered.sort_by_key(|memory| (memory.protocol != protocol, memory.local != site.uplink.local));
        let remembered = remembered.first().map(|memory| memory.external_port);
        let list = chance::ports(self.config.seed, site.uplink.gateway, internal);
        let mut ports = Vec::with_capacity(list.len() + 3);
        for port in last.into_iter().chain(remembered).chain([internal]).chain(list) {
            // While a mapping moves, its old external port still leads to the old place.
            let occupied = site.held.as_ref().is_some_and(|held| {
                held.protocol.is_some() && held.external_port == port && site.trouble.is_none()
            });
            if port != 0 && !occupied && !ports.contains(&port) {
                ports.push(port);
            }
        }
        ports
    }

    pub(super) fn nonce_for(&self, site: &Site, protocol: Protocol, internal: u16) -> Nonce {
        let uplink = &site.uplink;
        let same = self.stale.iter().find(|memory| {
            memory.gateway == uplink.gateway
                && memory.local == uplink.local
                && memory.protocol == protocol
                && memory.internal_port == internal
        });
        same.map_or_else(
            || chance::nonce(self.config.seed, uplink.gateway, uplink.local, protocol, internal),
            |memory| memory.nonce,
        )
    }

    /// The external address that the mapping had before: a wish that PCP servers may fulfil after a restart.
    pub(super) fn suggested_ip(&self, site: &Site, protocol: Protocol) -> Option<IpAddr> {
        if site.family() == Family::V6 || protocol != Protocol::Pcp {
            return None;
        }
        let uplink = &site.uplink;
        let of_here = |memory: &&Remembered| memory.gateway == uplink.gateway && memory.local == uplink.local;
        site.last_ip.or_else(|| self.stale.iter().find(of_here).and_then(|memory| memory.external_ip))
    }
}
