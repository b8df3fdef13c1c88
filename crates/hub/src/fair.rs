//! Whose bytes go next where there is less room than is wanted: pure.
//!
//! Start-time fair queuing over *users*, not sessions: each has a number that grows with the bytes that went for it, of the two of a
//! session the larger one counts, and the smallest goes next. Who has eight sessions gets no more than who has one.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::num::NonZeroU64;
use std::time::Duration;

use kith_identity::DeviceId;
use tokio::time::Instant;

use crate::allowance::Used;

/// So much may go at once after a rest: long enough for the timers, short enough for nobody to notice.
const BURST: Duration = Duration::from_millis(20);

/// How fast bytes may go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rates {
    /// For all together.
    pub(crate) total: Option<NonZeroU64>,
    /// For each user.
    pub(crate) each: Option<NonZeroU64>,
}

impl Rates {
    /// Whether nothing is held back.
    pub(crate) const fn is_unlimited(&self) -> bool {
        self.total.is_none() && self.each.is_none()
    }

    /// The lower one.
    pub(crate) fn of_one(&self) -> Option<NonZeroU64> {
        [self.total, self.each].into_iter().flatten().min()
    }
}

/// Numbers those who wait.
pub(crate) type WaiterId = u64;

#[derive(Clone, Copy, Debug)]
struct Waiter {
    id: WaiterId,
    users: [DeviceId; 2],
    bytes: usize,
}

#[derive(Debug, Default)]
struct Share {
    /// Bytes that went for this user, moved on where it had nothing to say.
    went: u64,
    used: Used,
}

/// All who wait to pass bytes on.
#[derive(Debug, Default)]
pub(crate) struct Fair {
    rates: Rates,
    total: Used,
    shares: HashMap<DeviceId, Share>,
    waiting: Vec<Waiter>,
    /// The number of whoever went last.
    clock: u64,
    next: WaiterId,
}

impl Fair {
    pub(crate) fn new(rates: Rates) -> Self {
        Self { rates, ..Self::default() }
    }

    pub(crate) fn set_rates(&mut self, rates: Rates) {
        if self.rates != rates {
            // What was owed at another rate is no measure any more.
            self.total = Used::default();
            self.shares.values_mut().for_each(|share| share.used = Used::default());
            self.rates = rates;
        }
    }

    /// These two have so many bytes to pass on.
    pub(crate) fn ask(&mut self, users: [DeviceId; 2], bytes: usize) -> WaiterId {
        for user in users {
            let share = self.shares.entry(user).or_default();
            share.went = share.went.max(self.clock);
        }
        self.next += 1;
        self.waiting.push(Waiter { id: self.next, users, bytes });
        self.next
    }

    /// They have not any more.
    pub(crate) fn withdraw(&mut self, id: WaiterId) {
        self.waiting.retain(|waiter| waiter.id != id);
    }

    /// Who may pass his bytes on now.
    pub(crate) fn poll(&mut self, now: Instant) -> Vec<WaiterId> {
        let waiting = std::mem::take(&mut self.waiting);
        let ranked = waiting.iter().enumerate();
        let mut queue: BinaryHeap<Reverse<(u64, WaiterId, usize)>> =
            ranked.map(|(place, waiter)| Reverse((self.rank(waiter), waiter.id, place))).collect();
        let (mut go, mut stay) = (Vec::new(), Vec::new());
        while self.rates.total.is_none() || self.total.waits(BURST, now).is_zero() {
            let Some(Reverse((rank, id, place))) = queue.pop() else { break };
            let waiter = &waiting[place];
            let rank_now = self.rank(waiter);
            if rank_now > rank {
                // Something went for one of the two meanwhile.
                queue.push(Reverse((rank_now, id, place)));
            } else if self.wait_of(waiter, now).is_zero() {
                self.go(waiter, rank, now);
                go.push(id);
            } else {
                stay.push(place);
            }
        }
        stay.extend(queue.into_iter().map(|Reverse((_, _, place))| place));
        stay.sort_unstable();
        self.waiting = stay.into_iter().map(|place| waiting[place]).collect();
        self.forget(now);
        go
    }

    fn go(&mut self, waiter: &Waiter, rank: u64, now: Instant) {
        self.clock = self.clock.max(rank);
        if let Some(rate) = self.rates.total {
            self.total.take(lasts(waiter.bytes, rate), now);
        }
        for user in waiter.users {
            let share = self.shares.entry(user).or_default();
            share.went = share.went.saturating_add(u64::try_from(waiter.bytes).unwrap_or(u64::MAX));
            if let Some(rate) = self.rates.each {
                share.used.take(lasts(waiter.bytes, rate), now);
            }
        }
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How long until somebody may; none if nobody waits.
    pub(crate) fn wait(&self, now: Instant) -> Option<Duration> {
        let soonest = self.waiting.iter().map(|waiter| self.wait_of(waiter, now)).min()?;
        let total = self.rates.total.map_or(Duration::ZERO, |_| self.total.waits(BURST, now));
        Some(soonest.max(total))
    }

    /// How long the user who has to wait longer has to.
    fn wait_of(&self, waiter: &Waiter, now: Instant) -> Duration {
        if self.rates.each.is_none() {
            return Duration::ZERO;
        }
        let wait = |user| self.shares.get(user).map_or(Duration::ZERO, |share| share.used.waits(BURST, now));
        waiter.users.iter().map(wait).max().unwrap_or_default()
    }

    /// The share of the user who has had more.
    fn rank(&self, waiter: &Waiter) -> u64 {
        let went = |user| self.shares.get(user).map_or(0, |share: &Share| share.went);
        waiter.users.iter().map(went).max().unwrap_or_default()
    }

    /// Who is behind the clock and owes nothing is as good as new.
    fn forget(&mut self, now: Instant) {
        if self.shares.len() > 64 + 4 * self.waiting.len() {
            let clock = self.clock;
            let waiting: HashSet<DeviceId> = self.waiting.iter().flat_map(|waiter| waiter.users).collect();
            self.shares.retain(|user, share| {
                share.went > clock
                    || !share.used.waits(Duration::ZERO, now).is_zero()
                    || waiting.contains(user)
            });
        }
    }
}

/// How long so many bytes take.
fn lasts(bytes: usize, rate: NonZeroU64) -> Duration {
    let nanoseconds =
        u128::try_from(bytes).unwrap_or(u128::MAX).saturating_mul(1_000_000_000) / u128::from(rate.get());
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
