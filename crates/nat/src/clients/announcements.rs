//! Listens for what routers tell everybody when they restart or change their address: PCP's ANNOUNCE (RFC 6887, section 14.1)
//! and NAT-PMP's address change (RFC 6886, section 3.2.1), both to UDP port 5350.
//!
//! Anybody on the local network can say it, so it is never believed: it becomes a [`Hint`] to look at the router.

mod ear;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use kith_network::{InterfaceKind, Snapshot};
use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;

use self::ear::Ear;
use super::{nat_pmp, pcp};
use crate::{Family, Hint, Protocol};

/// Where routers' news go, in both protocols.
const PORT: u16 = 5350;

/// Most interfaces that are listened at. Linux allows a socket 20 multicast memberships.
const MOST_INTERFACES: usize = 16;

/// Listens for routers' news as long as it lives.
#[derive(Debug)]
pub struct Announcements {
    snapshots: watch::Sender<Arc<Snapshot>>,
    _tasks: [AbortOnDropHandle<()>; 2],
}

impl Announcements {
    /// Begins to listen; at no interface, before [`Announcements::interfaces`]. News that find no room in the channel are dropped.
    ///
    /// Must be called within a tokio runtime.
    #[must_use]
    pub fn start(hints: mpsc::Sender<Hint>) -> Self {
        Self::start_at(PORT, hints)
    }

    /// As [`Announcements::start`], at another port.
    #[must_use]
    pub fn start_at(port: u16, hints: mpsc::Sender<Hint>) -> Self {
        let (snapshots, watched) = watch::channel(Arc::default());
        let task = |family| {
            let ear = Ear::new(family, port, hints.clone(), watched.clone());
            AbortOnDropHandle::new(tokio::spawn(ear.listen()))
        };
        let tasks = [task(Family::V4), task(Family::V6)];
        Self { snapshots, _tasks: tasks }
    }

    /// Tells which interfaces there are now: from then on it listens at these.
    pub fn interfaces(&self, snapshot: Arc<Snapshot>) {
        self.snapshots.send_replace(snapshot);
    }
}

/// What a datagram tells, if it is a router's news. Takes any bytes.
#[must_use]
pub fn read(from: SocketAddr, snapshot: &Snapshot, datagram: &[u8]) -> Option<Hint> {
    let ip = from.ip().to_canonical();
    let (protocol, epoch) = match pcp::announcement(datagram) {
        Some(epoch) => (Protocol::Pcp, epoch),
        None if ip.is_ipv4() => (Protocol::NatPmp, nat_pmp::packet::announcement(datagram)?),
        None => return None,
    };
    Some(Hint::Announced { from: ip, index: interface_of(from, snapshot), protocol, epoch: Some(epoch) })
}

/// By which interface it must have come: what its scope says, or the only one whose network it is of.
fn interface_of(from: SocketAddr, snapshot: &Snapshot) -> Option<u32> {
    if let SocketAddr::V6(v6) = from
        && v6.scope_id() != 0
    {
        return Some(v6.scope_id());
    }
    let ip = from.ip().to_canonical();
    let mut near = snapshot.interfaces.iter().filter(|interface| {
        interface.addresses.iter().any(|address| same_network(ip, address.ip.to_canonical(), address.prefix))
    });
    let first = near.next()?;
    near.next().is_none().then_some(first.index)
}

/// Whether two addresses agree in the first `prefix` bits.
fn same_network(one: IpAddr, other: IpAddr, prefix: u8) -> bool {
    let prefix = u32::from(prefix);
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros() >= prefix,
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros() >= prefix,
        _ => false,
    }
}

/// An interface to listen at, with its addresses: when these change, it is joined anew.
type Place = (u32, Vec<IpAddr>);

/// Where to listen: at the interfaces that routers can be behind, those first that one is known behind.
fn places(snapshot: &Snapshot, family: Family) -> Vec<Place> {
    let mut places: Vec<_> = snapshot
        .interfaces
        .iter()
        .filter(|interface| interface.kind != InterfaceKind::Container)
        .filter_map(|interface| {
            let addresses = interface.addresses.iter().filter(|address| !address.temporary);
            let of_family = addresses.map(|address| address.ip).filter(|ip| Family::of(*ip) == family);
            let of_family: Vec<_> = of_family.collect();
            (!of_family.is_empty()).then_some((interface.index, of_family))
        })
        .collect();
    places.sort_by_key(|(index, _)| {
        let position = snapshot.gateways.iter().position(|gateway| gateway.index == *index);
        (position.is_none(), position)
    });
    places.truncate(MOST_INTERFACES);
    places
}
