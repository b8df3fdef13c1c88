//! Nonces that friends were asked to bring from outside, and who waits for them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kith_identity::DialBackNonce;
use tokio::sync::mpsc;

use crate::limits::{MAX_EXPECTED, MAX_UNTOLD_ARRIVALS};

/// A nonce that arrived: somebody who knew it reached the port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Where it came from.
    pub remote: SocketAddr,
    /// Which of our addresses it came to.
    pub local: SocketAddr,
}

/// Why a nonce can't be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExpectError {
    /// Too many are waited for.
    #[error("{MAX_EXPECTED} dial-backs are waited for at the listener already")]
    TooMany,
    /// Somebody waits for this very one.
    #[error("this dial-back is waited for at the listener already")]
    Twice,
}

/// A nonce that is waited for until this is dropped. Ports may change meanwhile.
#[derive(Debug)]
pub struct Expected {
    nonce: DialBackNonce,
    arrivals: mpsc::Receiver<Arrival>,
    registry: Arc<Registry>,
}

impl Expected {
    /// Waits for the nonce to arrive; after that, for its next arrival, for there may be one by each family of addresses. It may
    /// never come: the caller limits the time. Can be dropped and called again without a loss.
    pub async fn arrived(&mut self) -> Arrival {
        match self.arrivals.recv().await {
            Some(arrival) => arrival,
            // Not so while the registry holds the sender, which it does until this is dropped.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.registry.waiting().remove(&self.nonce);
    }
}

/// All that is waited for.
#[derive(Debug, Default)]
pub(crate) struct Registry(Mutex<HashMap<DialBackNonce, mpsc::Sender<Arrival>>>);

impl Registry {
    pub(crate) fn expect(self: &Arc<Self>, nonce: DialBackNonce) -> Result<Expected, ExpectError> {
        let mut waiting = self.waiting();
        let full = waiting.len() >= MAX_EXPECTED;
        match waiting.entry(nonce) {
            Entry::Occupied(_) => Err(ExpectError::Twice),
            Entry::Vacant(_) if full => Err(ExpectError::TooMany),
            Entry::Vacant(place) => {
                let (sender, arrivals) = mpsc::channel(MAX_UNTOLD_ARRIVALS);
                place.insert(sender);
                Ok(Expected { nonce, arrivals, registry: self.clone() })
            }
        }
    }

    /// Whether somebody waits for the nonce. A plain comparison is enough: it has 128 random bits, is worth something for some
    /// seconds, and whoever guesses one gains that a port counts as open through which he came.
    pub(crate) fn tell(&self, nonce: &DialBackNonce, arrival: Arrival) -> bool {
        match self.waiting().get(nonce) {
            Some(waiting) => {
                // More arrivals than anybody asked for tell nothing new.
                waiting.try_send(arrival).ok();
                true
            }
            None => false,
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<DialBackNonce, mpsc::Sender<Arrival>>> {
        // No code that holds the lock can leave the map half-written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nonce(byte: usize) -> DialBackNonce {
        DialBackNonce::from_bytes([u8::try_from(byte).unwrap(); 16])
    }

    fn from(port: u16) -> Arrival {
        Arrival { remote: ([11, 0, 113, 2], port).into(), local: ([10, 0, 0, 2], 4242).into() }
    }

    #[tokio::test]
    async fn who_waits_is_told_each_arrival_and_the_others_nothing() {
        let registry = Arc::new(Registry::default());
        let mut one = registry.expect(nonce(1)).unwrap();
        let mut other = registry.expect(nonce(2)).unwrap();
        assert!(registry.tell(&nonce(1), from(1)));
        assert!(registry.tell(&nonce(1), from(2)));
        assert!(!registry.tell(&nonce(3), from(3)));
        assert_eq!(one.arrived().await, from(1));
        assert_eq!(one.arrived().await, from(2));
        assert!(other.arrivals.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_nonce_is_waited_for_until_the_guard_is_dropped_and_by_one_only() {
        let registry = Arc::new(Registry::default());
        let guard = registry.expect(nonce(1)).unwrap();
        assert_eq!(registry.expect(nonce(1)).unwrap_err(), ExpectError::Twice);
        drop(guard);
        assert!(!registry.tell(&nonce(1), from(1)));
        registry.expect(nonce(1)).unwrap();
    }

    #[tokio::test]
    async fn neither_nonces_nor_arrivals_pile_up() {
        let registry = Arc::new(Registry::default());
        let mut guards: Vec<Expected> =
            (0..MAX_EXPECTED).map(|n| registry.expect(nonce(n)).unwrap()).collect();
        assert_eq!(registry.expect(nonce(MAX_EXPECTED)).unwrap_err(), ExpectError::TooMany);
        assert_eq!(registry.expect(nonce(0)).unwrap_err(), ExpectError::Twice);
        for port in 1..=100 {
            assert!(registry.tell(&nonce(0), from(port)));
        }
        assert_eq!(guards[0].arrivals.len(), MAX_UNTOLD_ARRIVALS);
        assert_eq!(guards[0].arrived().await, from(1));
        guards.pop();
        registry.expect(nonce(MAX_EXPECTED)).unwrap();
    }
}
