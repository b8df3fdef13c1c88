//! Who waits for what: pure bookkeeping of the connections that are not authenticated.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use tokio::time::Instant;

use crate::limits::{MAX_SILENT_PER_PREFIX, MAX_WAITING, STALE_HANDSHAKE};

/// Numbers connections in the order in which they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ConnectionId(u64);

/// Where a connection comes from, as coarsely as addresses are given out: /24 for IPv4, /64 for IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Prefix {
    V4([u8; 3]),
    V6([u8; 8]),
}

impl Prefix {
    pub(crate) fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => {
                let [a, b, c, _] = ip.octets();
                Self::V4([a, b, c])
            }
            IpAddr::V6(ip) => {
                let [a, b, c, d, e, f, g, h, ..] = ip.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Has not sent its ClientHello.
    Silent(Prefix),
    /// Has, and waits for a place.
    Spoken,
    /// Is in its handshake.
    Handshaking,
}

/// The connections that are not authenticated, each with its stage.
///
/// Early random drop, should a flood ask for it, belongs into [`enter`](Self::enter): it knows how full it is.
#[derive(Debug, Default)]
pub(crate) struct WaitingRoom {
    next: u64,
    stages: BTreeMap<ConnectionId, Stage>,
    silent: BTreeSet<ConnectionId>,
    silent_by_prefix: HashMap<Prefix, BTreeSet<ConnectionId>>,
    spoken: BTreeSet<ConnectionId>,
    handshakes: BTreeMap<ConnectionId, Instant>,
}

impl WaitingRoom {
    /// Takes in a new connection, always; returns its number, and which other one must go for it.
    pub(crate) fn enter(&mut self, prefix: Prefix) -> (ConnectionId, Option<ConnectionId>) {
        let evicted = self.who_must_go(prefix);
        if let Some(id) = evicted {
            self.leave(id);
        }
        let id = ConnectionId(self.next);
        self.next += 1;
        self.stages.insert(id, Stage::Silent(prefix));
        self.silent.insert(id);
        self.silent_by_prefix.entry(prefix).or_default().insert(id);
        (id, evicted)
    }

    /// Its ClientHello is there: from now on it goes ahead of all silence.
    pub(crate) fn speak(&mut self, id: ConnectionId) {
        if self.move_to(id, Stage::Spoken) {
            self.spoken.insert(id);
        }
    }

    /// Its handshake begins.
    pub(crate) fn begin_handshake(&mut self, id: ConnectionId, now: Instant) {
        if self.move_to(id, Stage::Handshaking) {
            self.handshakes.insert(id, now);
        }
    }

    /// It is gone, or authenticated.
    pub(crate) fn leave(&mut self, id: ConnectionId) {
        match self.stages.remove(&id) {
            Some(Stage::Silent(prefix)) => {
                self.silent.remove(&id);
                if let Some(neighbours) = self.silent_by_prefix.get_mut(&prefix) {
                    neighbours.remove(&id);
                    if neighbours.is_empty() {
                        self.silent_by_prefix.remove(&prefix);
                    }
                }
            }
            Some(Stage::Spoken) => {
                self.spoken.remove(&id);
            }
            Some(Stage::Handshaking) => {
                self.handshakes.remove(&id);
            }
            None => {}
        }
    }

    /// The oldest silent ones, up to `count`; they are still in the room.
    pub(crate) fn oldest_silent(&self, count: usize) -> Vec<ConnectionId> {
        self.silent.iter().take(count).copied().collect()
    }

    /// The handshake that began first, if it has lasted for longer than an honest one would; else when it will have.
    pub(crate) fn stale_handshake(&self, now: Instant) -> Result<ConnectionId, Option<Instant>> {
        match self.handshakes.iter().map(|(id, since)| (*since + STALE_HANDSHAKE, *id)).min() {
            Some((stale_at, id)) if stale_at <= now => Ok(id),
            Some((stale_at, _)) => Err(Some(stale_at)),
            None => Err(None),
        }
    }

    /// Whether nobody is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }

    fn who_must_go(&self, prefix: Prefix) -> Option<ConnectionId> {
        let neighbours = self.silent_by_prefix.get(&prefix);
        if let Some(neighbours) = neighbours
            && neighbours.len() >= MAX_SILENT_PER_PREFIX
        {
            return neighbours.first().copied();
        }
        if self.silent.len() + self.spoken.len() >= MAX_WAITING {
            return self.silent.first().or_else(|| self.spoken.first()).copied();
        }
        None
    }

    /// Whether it was there to be moved; the caller enters it into the book of its new stage.
    fn move_to(&mut self, id: ConnectionId, stage: Stage) -> bool {
        let present = self.stages.contains_key(&id);
        if present {
            self.leave(id);
            self.stages.insert(id, stage);
        }
        present
    }
}

#[cfg(test)]
mod tests;
