//! The sockets of this crate that no link tells of, for the table of ports.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most that are told of; there are no more unless something is wrong, and the table is to be read by a person.
const MOST_TOLD: usize = 256;

/// A socket that is no link, or none yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SocketUse {
    /// This computer's end. An unspecified IP address is any of its family.
    pub local: SocketAddr,
    /// The other end; none: it waits for whoever comes.
    pub remote: Option<SocketAddr>,
    /// What for.
    pub purpose: SocketPurpose,
}

/// What a socket is for that is no link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SocketPurpose {
    /// A carrier is asked from where the local port is seen, and the router is kept from forgetting it.
    Observation,
    /// A friend begins to connect at the same moment.
    Punch,
    /// A relay was asked to join it with the connection of a friend, who is waited for.
    Leg,
}

/// Those that are in use. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sockets(Arc<Mutex<InUse>>);

#[derive(Debug, Default)]
struct InUse {
    last: u64,
    all: BTreeMap<u64, SocketUse>,
}

impl Sockets {
    pub(crate) fn all(&self) -> Vec<SocketUse> {
        let mut all: Vec<SocketUse> = self.lock().all.values().copied().collect();
        all.sort_unstable();
        all.dedup();
        all.truncate(MOST_TOLD);
        all
    }

    pub(crate) fn hold(&self, used: SocketUse) -> Held {
        let mut in_use = self.lock();
        in_use.last += 1;
        let number = in_use.last;
        in_use.all.insert(number, used);
        drop(in_use);
        Held { sockets: self.clone(), number }
    }

    fn lock(&self) -> MutexGuard<'_, InUse> {
        // No code that holds the lock can leave the map half-written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The socket is told of while this is held.
#[derive(Debug)]
pub(crate) struct Held {
    sockets: Sockets,
    number: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.sockets.lock().all.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_told_of_once_and_while_somebody_holds_it() {
        let sockets = Sockets::default();
        let punch = SocketUse {
            local: "0.0.0.0:4242".parse().unwrap(),
            remote: Some("11.0.0.1:4242".parse().unwrap()),
            purpose: SocketPurpose::Punch,
        };
        let (one, two) = (sockets.hold(punch), sockets.hold(punch));
        let leg = sockets.hold(SocketUse { purpose: SocketPurpose::Leg, ..punch });
        assert_eq!(
            sockets.all().iter().map(|used| used.purpose).collect::<Vec<_>>(),
            [SocketPurpose::Punch, SocketPurpose::Leg]
        );
        drop((one, leg));
        assert_eq!(sockets.all(), [punch]);
        drop(two);
        assert_eq!(sockets.all(), []);
    }
}
