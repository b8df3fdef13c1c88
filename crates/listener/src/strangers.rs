//! Which strangers are served at all: pure decisions about how many, how often, and from where.

use std::collections::{BTreeSet, HashMap};

use tokio::time::Instant;

use crate::limits::{
    DROP_ALL_FROM, DROP_BEGINS_AT, DROP_PERCENT, MAX_PENALISED, OFFENCE, TOLERATED, UNFORGIVEN,
};
use crate::waiting::Prefix;

/// Whether one more stranger is turned away at random although there is room: the more there are, the likelier, so that under a flood
/// somebody who is no part of it still has a chance, and the places never run out all at once.
///
/// `busy` is how many strangers are served, `draw` a random number below 100.
pub(crate) fn drops_early(busy: usize, draw: u8) -> bool {
    if busy < DROP_BEGINS_AT {
        return false;
    }
    if busy >= DROP_ALL_FROM {
        return true;
    }
    let above = (busy - DROP_BEGINS_AT) * (100 - DROP_PERCENT);
    usize::from(draw) < DROP_PERCENT + above / (DROP_ALL_FROM - DROP_BEGINS_AT)
}

/// What strangers of each prefix have coming. A handshake that can lead to nothing is an offence; each is forgotten after some time, and
/// who has too many at once isn't served until enough of them are.
#[derive(Debug, Default)]
pub(crate) struct Penalties {
    /// When all is forgotten.
    forgotten_at: HashMap<Prefix, Instant>,
    /// The same by time.
    by_time: BTreeSet<(Instant, Prefix)>,
}

impl Penalties {
    /// Notes an offence; false if the offender isn't to be served.
    pub(crate) fn offend(&mut self, prefix: Prefix, now: Instant) -> bool {
        self.forget(now);
        let before = self.forgotten_at.get(&prefix).copied();
        if let Some(at) = before {
            self.by_time.remove(&(at, prefix));
        } else if self.forgotten_at.len() >= MAX_PENALISED
            && let Some((_, mildest)) = self.by_time.pop_first()
        {
            self.forgotten_at.remove(&mildest);
        }
        let owed = before.unwrap_or(now) + OFFENCE;
        // However long it goes on: who stops is served again after a while.
        let at = owed.min(now + TOLERATED + UNFORGIVEN);
        self.forgotten_at.insert(prefix, at);
        self.by_time.insert((at, prefix));
        owed <= now + TOLERATED
    }

    fn forget(&mut self, now: Instant) {
        while let Some((at, prefix)) = self.by_time.first().copied()
            && at <= now
        {
            self.by_time.pop_first();
            self.forgotten_at.remove(&prefix);
        }
    }
}

#[cfg(test)]
mod tests;
