//! Who of those that brought a tag gets a place for his handshake: pure decisions.
//!
//! A tag says that somebody was told a key, and no more: a friend who was removed a moment ago has one, and so has whoever found an
//! invite. So that nobody with a key can keep the others out, however often he calls:
//!
//! 1. *A part of the places is kept for those from whose address a friend got in lately.* Whoever calls from all over the world at once
//!    doesn't call from there.
//! 2. *Whoever finds no place takes one from the source that has most, at once, if that has at least two more than his own.* Whoever calls
//!    from one network takes places from that network alone.
//! 3. *Otherwise a handshake that takes longer than an honest one makes room, but never for a source that has more.* No handshake holds its
//!    place for longer than that while others wait.
//! 4. *A place that becomes free goes to the source that has fewest, and there to the newest.* Where more come than can be served, waiting
//!    in line would mean that everybody comes too late.
//! 5. *Few wait: one more, and the oldest of the source of which most wait is turned away.* He hears it at once, and tries again.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use tokio::time::Instant;

use crate::limits::{KEPT_FOR_FAMILIAR, KnownPlaces};
use crate::waiting::{ConnectionId, Prefix};

/// Whose places are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    /// Everybody of a network.
    Network(Prefix),
    /// One address from which a friend got in lately.
    Familiar(Address),
}

/// What one household shares: an address of IPv4, or /64 of IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    V4([u8; 4]),
    V6(Prefix),
}

impl Address {
    pub(crate) fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip.octets()),
            ip @ IpAddr::V6(_) => Self::V6(Prefix::of(ip)),
        }
    }
}

impl Source {
    const fn is_familiar(self) -> bool {
        matches!(self, Self::Familiar(_))
    }
}

/// What is to be done with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Its handshake begins.
    Begin(ConnectionId),
    /// It is closed.
    Close(ConnectionId),
}

/// The places, and who waits for one.
#[derive(Debug, Default)]
pub(crate) struct Places {
    bounds: KnownPlaces,
    /// With the beginning of the handshake.
    held: BTreeMap<ConnectionId, (Source, Instant)>,
    waiting: Waiting,
}

/// Who waits, each source by itself: at a hub thousands wait, and all is done by source.
#[derive(Debug, Default)]
struct Waiting {
    sources: HashMap<ConnectionId, Source>,
    by_source: HashMap<Source, BTreeSet<ConnectionId>>,
    /// How many come from familiar ones.
    familiar: usize,
}

impl Waiting {
    fn insert(&mut self, id: ConnectionId, source: Source) {
        self.sources.insert(id, source);
        self.familiar += usize::from(source.is_familiar());
        self.by_source.entry(source).or_default().insert(id);
    }

    fn remove(&mut self, id: ConnectionId) -> bool {
        let Some(source) = self.sources.remove(&id) else { return false };
        self.familiar -= usize::from(source.is_familiar());
        if let Some(neighbours) = self.by_source.get_mut(&source) {
            neighbours.remove(&id);
            if neighbours.is_empty() {
                self.by_source.remove(&source);
            }
        }
        true
    }
}

/// How somebody gets a place.
enum Room {
    Free,
    InsteadOf(ConnectionId),
}

impl Places {
    /// No place is taken.
    pub(crate) fn new(bounds: KnownPlaces) -> Self {
        Self { bounds, ..Self::default() }
    }

    /// Somebody wants a place. He gets it at once, or waits, or somebody goes.
    pub(crate) fn ask(&mut self, id: ConnectionId, source: Source, now: Instant) -> Vec<Order> {
        self.waiting.insert(id, source);
        let mut orders = self.settle(now);
        if self.waiting.sources.len() > self.bounds.waiting
            && let Some(id) = self.crowding()
        {
            self.waiting.remove(id);
            orders.push(Order::Close(id));
        }
        orders
    }

    /// Somebody gives back his place, or waits no more.
    pub(crate) fn leave(&mut self, id: ConnectionId, now: Instant) -> Vec<Order> {
        let was_there = self.held.remove(&id).is_some() | self.waiting.remove(id);
        if was_there { self.settle(now) } else { Vec::new() }
    }

    /// Time has passed.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Vec<Order> {
        self.settle(now)
    }

    /// When the next handshake will have taken long, so that somebody who waits may get its place.
    pub(crate) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        self.held
            .values()
            .map(|(_, since)| *since + self.bounds.stale_after)
            .filter(|stale_at| *stale_at > now)
            .min()
    }

    /// Gives places to those who wait, for as long as there is one.
    fn settle(&mut self, now: Instant) -> Vec<Order> {
        let mut orders = Vec::new();
        while let Some((id, source, room)) = self.next(now) {
            if let Room::InsteadOf(other) = room {
                self.held.remove(&other);
                orders.push(Order::Close(other));
            }
            self.waiting.remove(id);
            self.held.insert(id, (source, now));
            orders.push(Order::Begin(id));
        }
        orders
    }

    /// Who is served next, and how; none if nobody can be.
    fn next(&self, now: Instant) -> Option<(ConnectionId, Source, Room)> {
        if self.waiting.sources.is_empty() {
            return None;
        }
        let held = counted(self.held.values().map(|(source, _)| *source));
        // All of them wait because there was nothing for them: mostly there still is nothing, for nobody.
        let room = self.held.len() < self.bounds.at_once;
        let is_full =
            !(room && (self.waiting.familiar > 0 || self.others() + KEPT_FOR_FAMILIAR < self.bounds.at_once));
        if is_full
            && held.values().all(|count| *count <= 1)
            && !self.held.values().any(|(_, since)| self.is_stale(*since, now))
        {
            return None;
        }
        let of = |source| held.get(source).copied().unwrap_or_default();
        // Of two from which nothing else is different the one whose source has fewer can be served if the other can.
        let best = |familiar: bool| {
            let newest =
                self.waiting.by_source.iter().filter_map(|(source, ids)| Some((ids.last()?, source)));
            let waiting = newest.filter(|(_, source)| source.is_familiar() == familiar);
            waiting.min_by_key(|(id, source)| (of(*source), Reverse(**id)))
        };
        let mut best: Vec<_> = [best(true), best(false)].into_iter().flatten().collect();
        best.sort_by_key(|(id, source)| (of(*source), Reverse(**id)));
        best.into_iter().find_map(|(id, source)| {
            let room = self.room_for(*source, of(source), &held, now)?;
            Some((*id, *source, room))
        })
    }

    fn room_for(
        &self,
        source: Source,
        mine: usize,
        held: &HashMap<Source, usize>,
        now: Instant,
    ) -> Option<Room> {
        let among_others = !source.is_familiar() && self.others() + KEPT_FOR_FAMILIAR >= self.bounds.at_once;
        if self.held.len() < self.bounds.at_once && !among_others {
            return Some(Room::Free);
        }
        let places = self.held.iter().filter(|(_, (source, _))| !(among_others && source.is_familiar()));
        // Of the source that has most, the one that is there for longest.
        let first = |(id, (source, since)): &(&ConnectionId, &(Source, Instant))| {
            (held.get(source).copied(), Reverse(*since), Reverse(**id))
        };
        let of = |(_, (source, _)): &(&ConnectionId, &(Source, Instant))| held.get(source).copied();
        let too_many = places.clone().max_by_key(first).filter(|place| of(place) > Some(mine + 1));
        let too_long = || {
            let stale = places.filter(|place| self.is_stale(place.1.1, now) && of(place) >= Some(mine));
            stale.max_by_key(first)
        };
        too_many.or_else(too_long).map(|(id, _)| Room::InsteadOf(*id))
    }

    fn is_stale(&self, since: Instant, now: Instant) -> bool {
        since + self.bounds.stale_after <= now
    }

    /// Places that are held by sources that are not familiar.
    fn others(&self) -> usize {
        self.held.values().filter(|(source, _)| !source.is_familiar()).count()
    }

    /// The oldest of the source of which most wait.
    fn crowding(&self) -> Option<ConnectionId> {
        let oldest =
            self.waiting.by_source.values().filter_map(|ids| Some((ids.len(), Reverse(*ids.first()?))));
        oldest.max().map(|(_, Reverse(id))| id)
    }
}

fn counted(sources: impl Iterator<Item = Source>) -> HashMap<Source, usize> {
    let mut counted = HashMap::new();
    for source in sources {
        *counted.entry(source).or_default() += 1;
    }
    counted
}

#[cfg(test)]
mod tests;
