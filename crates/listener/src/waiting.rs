//! Who waits for what: pure bookkeeping of the connections that are not authenticated.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use tokio::time::Instant;

use crate::limits::{MAX_SILENT_PER_PREFIX, MAX_WAITING, STALE_HANDSHAKE};

/// Numbers connections in the order in which they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ConnectionId(pub(crate) u64);

/// Where a connection comes from, as coarsely as addresses are given out: /24 for IPv4, /64 for IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    /// Has, and is looked at; or is done with its handshake.
    Spoken,
    /// Brought a tag that was recognised: waits for one of the [places](crate::places), or has it.
    Recognised,
    /// A stranger in his handshake.
    Handshaking,
}

/// The connections that are not authenticated, each with its stage.
/// Nobody is dropped at random here: who has just come goes last, so that whoever speaks at once has the time for it.
#[derive(Debug, Default)]
pub(crate) struct WaitingRoom {
    next: u64,
    stages: BTreeMap<ConnectionId, Stage>,
    silent: BTreeSet<ConnectionId>,
    silent_by_prefix: HashMap<Prefix, BTreeSet<ConnectionId>>,
    spoken: BTreeSet<ConnectionId>,
    recognised: BTreeSet<ConnectionId>,
    strangers: BTreeMap<ConnectionId, Instant>,
}

impl WaitingRoom {
    /// Takes in a new connection that has said nothing yet, always; returns its number, and which other one must go for it.
    pub(crate) fn enter(&mut self, prefix: Prefix) -> (ConnectionId, Option<ConnectionId>) {
        let evicted = self.crowded(prefix).or_else(|| self.overfull());
        let id = self.take_in(Stage::Silent(prefix), evicted);
        self.silent.insert(id);
        self.silent_by_prefix.entry(prefix).or_default().insert(id);
        (id, evicted)
    }

    /// Takes in a new connection whose ClientHello lies there already. It never counts as silent: where strangers pour in faster than they
    /// are looked at, it would be pushed out before anybody has seen that it has spoken.
    pub(crate) fn enter_spoken(&mut self) -> (ConnectionId, Option<ConnectionId>) {
        let evicted = self.overfull();
        let id = self.take_in(Stage::Spoken, evicted);
        self.spoken.insert(id);
        (id, evicted)
    }

    /// Its ClientHello is there: from now on it goes ahead of all silence.
    pub(crate) fn speak(&mut self, id: ConnectionId) {
        if self.move_to(id, Stage::Spoken) {
            self.spoken.insert(id);
        }
    }

    /// Its tag was recognised: it doesn't wait here any more.
    pub(crate) fn recognise(&mut self, id: ConnectionId) {
        if self.move_to(id, Stage::Recognised) {
            self.recognised.insert(id);
        }
    }

    /// A stranger's handshake begins.
    pub(crate) fn begin_handshake(&mut self, id: ConnectionId, now: Instant) {
        if self.move_to(id, Stage::Handshaking) {
            self.strangers.insert(id, now);
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
            Some(Stage::Recognised) => {
                self.recognised.remove(&id);
            }
            Some(Stage::Handshaking) => {
                self.strangers.remove(&id);
            }
            None => {}
        }
    }

    /// The oldest silent ones, up to `count`; they are still in the room.
    pub(crate) fn oldest_silent(&self, count: usize) -> Vec<ConnectionId> {
        self.silent.iter().take(count).copied().collect()
    }

    /// The handshake of a stranger that began first, if it has lasted for longer than an honest one would.
    pub(crate) fn stale_handshake(&self, now: Instant) -> Option<ConnectionId> {
        let (since, id) = self.strangers.iter().map(|(id, since)| (*since, *id)).min()?;
        (since + STALE_HANDSHAKE <= now).then_some(id)
    }

    /// Whether nobody is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }

    fn take_in(&mut self, stage: Stage, evicted: Option<ConnectionId>) -> ConnectionId {
        if let Some(id) = evicted {
            self.leave(id);
        }
        let id = ConnectionId(self.next);
        self.next += 1;
        self.stages.insert(id, stage);
        id
    }

    /// Who must go for one more silent neighbour.
    fn crowded(&self, prefix: Prefix) -> Option<ConnectionId> {
        let neighbours = self.silent_by_prefix.get(&prefix)?;
        if neighbours.len() >= MAX_SILENT_PER_PREFIX { neighbours.first().copied() } else { None }
    }

    /// Who must go for one more, whoever it is.
    fn overfull(&self) -> Option<ConnectionId> {
        if self.silent.len() + self.spoken.len() < MAX_WAITING {
            return None;
        }
        self.silent.first().or_else(|| self.spoken.first()).copied()
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
