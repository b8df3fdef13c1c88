//! The local end of punches.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use tokio::net::TcpListener;

use crate::outbound::local_port;

/// Ports of the ranges that are tried before it is another reason why none can be had.
const MOST_TRIED: usize = 64;

/// A local address from which connections are made that shall be seen as coming from there. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PunchPort {
    at: SocketAddr,
    /// Holds the port, and takes what the friend's end sends between two tries of ours. None where the listener does.
    own: Option<Arc<TcpListener>>,
}

/// No port can be had.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// The ranges are empty.
    #[error("no port for punching: network.punch-port-ranges names none")]
    NoRange,
    /// All that were tried are in use.
    #[error(
        "no port for punching: {MOST_TRIED} ports of network.punch-port-ranges were tried, all are in use"
    )]
    AllInUse,
    /// The system refuses.
    #[error("no port for punching can be had at {ip}")]
    System {
        /// Of this computer.
        ip: IpAddr,
        /// What it says.
        #[source]
        source: io::Error,
    },
}

impl PunchPort {
    /// The address that the listener has bound: what comes in there is the listener's. One for each family.
    #[must_use]
    pub const fn of_listener(at: SocketAddr) -> Self {
        Self { at, own: None }
    }

    /// A port that nobody has, chosen by chance from the ranges, at this IP address or, if that is unspecified, at all of its family. It is
    /// held until the last clone is dropped. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If none can be had.
    pub fn fresh(ip: IpAddr, ranges: &[RangeInclusive<u16>]) -> Result<Self, PortError> {
        let system = |source| PortError::System { ip, source };
        for _ in 0..MOST_TRIED {
            let port = drawn(ranges, random_number()).ok_or(PortError::NoRange)?;
            match local_port::reserve(SocketAddr::new(ip, port)) {
                Ok(own) => {
                    let at = own.local_addr().map_err(system)?;
                    return Ok(Self { at, own: Some(Arc::new(own)) });
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                // As of a port that an administrator has kept for somebody.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                Err(error) => return Err(system(error)),
            }
        }
        Err(PortError::AllInUse)
    }

    /// The local address; the IP address may be unspecified.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.at
    }

    /// Whether it is not the listener's.
    #[must_use]
    pub const fn is_fresh(&self) -> bool {
        self.own.is_some()
    }

    pub(super) fn own(&self) -> Option<Arc<TcpListener>> {
        self.own.clone()
    }
}

/// The port at a place that a random number names, all ranges taken as one; none if there is no port in them.
fn drawn(ranges: &[RangeInclusive<u16>], random: u64) -> Option<u16> {
    let count = |range: &RangeInclusive<u16>| u64::try_from(range.len()).unwrap_or(0);
    let total: u64 = ranges.iter().map(count).sum();
    let mut place = random.checked_rem(total)?;
    for range in ranges {
        if place < count(range) {
            return u16::try_from(u64::from(*range.start()) + place).ok();
        }
        place -= count(range);
    }
    None
}

fn random_number() -> u64 {
    let mut random = [0; 8];
    // Without random numbers it is always the same port, which is as good as any while it is free.
    getrandom::fill(&mut random).unwrap_or_default();
    u64::from_le_bytes(random)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn every_port_of_every_range_can_be_drawn_and_no_other() {
        let empty = RangeInclusive::new(5, 4);
        let ranges = [1024..=1026, 49_000..=49_000, empty.clone(), 65_535..=65_535];
        let ports: BTreeSet<u16> = (0..50).filter_map(|random| drawn(&ranges, random)).collect();
        assert_eq!(ports.into_iter().collect::<Vec<_>>(), [1024, 1025, 1026, 49_000, 65_535]);
        assert_eq!(drawn(&[], 7), None);
        assert_eq!(drawn(&[empty], 7), None);
        assert_eq!(drawn(&[0..=u16::MAX], u64::MAX), Some(u16::MAX));
    }

    #[tokio::test]
    async fn a_fresh_port_is_nobody_elses_and_is_given_back() {
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let taken = std::net::TcpListener::bind((ip, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        assert!(matches!(PunchPort::fresh(ip, &[port..=port]), Err(PortError::AllInUse)));
        drop(taken);
        let fresh = PunchPort::fresh(ip, &[port..=port]).unwrap();
        assert_eq!(fresh.address(), SocketAddr::new(ip, port));
        assert!(matches!(PunchPort::fresh(ip, &[port..=port]), Err(PortError::AllInUse)));
        drop(fresh);
        drop(PunchPort::fresh(ip, &[port..=port]).unwrap());
        assert!(matches!(PunchPort::fresh(ip, &[]), Err(PortError::NoRange)));
        let elsewhere = "192.0.2.7".parse().unwrap();
        assert!(matches!(PunchPort::fresh(elsewhere, &[port..=port]), Err(PortError::System { .. })));
    }
}
