//! Whether another hub counts as alive: a pure decision that does not flap.
//!
//! Computers are told which hubs to use, and move when that changes. A hub that is away for a moment changes nothing, and one that comes back
//! has to be there for a while before anybody is sent to it.

use std::time::Duration;

use tokio::time::Instant;

/// A hub that can't be reached for so long is dead. Its computers notice by themselves, and sooner.
pub(in crate::hub) const DEAD_AFTER: Duration = Duration::from_secs(10);
/// A dead one that can be reached again for so long is alive.
pub(in crate::hub) const ALIVE_AFTER: Duration = Duration::from_secs(120);

/// What is known of one hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::hub) struct Standing {
    alive: bool,
    /// Whether it was alive at any time.
    known: bool,
    reachable: bool,
    since: Instant,
}

impl Standing {
    /// Of a hub that was not heard of yet.
    pub(in crate::hub) fn new(now: Instant) -> Self {
        Self { alive: false, known: false, reachable: false, since: now }
    }

    /// The connection to it came up, or ended.
    pub(in crate::hub) fn set_reachable(&mut self, reachable: bool, now: Instant) {
        if self.reachable != reachable {
            (self.reachable, self.since) = (reachable, now);
        }
        // Nobody was ever sent away from it: there is nothing to wait for.
        if reachable && !self.known {
            (self.alive, self.known) = (true, true);
        }
    }

    /// Time has passed.
    pub(in crate::hub) fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|due| due <= now) {
            self.alive = self.reachable;
        }
    }

    /// When there will be something to decide.
    pub(in crate::hub) fn poll_timeout(&self) -> Option<Instant> {
        match (self.alive, self.reachable) {
            (true, false) => Some(self.since + DEAD_AFTER),
            (false, true) => Some(self.since + ALIVE_AFTER),
            _ => None,
        }
    }

    pub(in crate::hub) const fn is_alive(&self) -> bool {
        self.alive
    }

    pub(in crate::hub) const fn is_reachable(&self) -> bool {
        self.reachable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of the hub after each event, in seconds.
    fn check(events: &[(u64, bool)], expected: &[(u64, bool)]) {
        let start = Instant::now();
        for (at, alive) in expected {
            let at = start + Duration::from_secs(*at);
            let mut standing = Standing::new(start);
            for (event, reachable) in events {
                let event = start + Duration::from_secs(*event);
                if event <= at {
                    standing.handle_timeout(event);
                    standing.set_reachable(*reachable, event);
                }
            }
            standing.handle_timeout(at);
            assert_eq!(standing.is_alive(), *alive, "{events:?} at {:?}", at - start);
        }
    }

    #[tokio::test]
    async fn a_hub_is_alive_from_its_first_connection_on() {
        check(&[(5, true)], &[(4, false), (5, true), (500, true)]);
    }

    #[tokio::test]
    async fn a_short_absence_changes_nothing_and_a_long_one_does() {
        check(&[(0, true), (100, false), (109, true)], &[(105, true), (130, true)]);
        check(&[(0, true), (100, false)], &[(109, true), (110, false)]);
    }

    #[tokio::test]
    async fn a_hub_that_comes_and_goes_stays_dead_until_it_stays() {
        let flapping: Vec<(u64, bool)> =
            (0..20).flat_map(|n| [(100 + n * 60, false), (150 + n * 60, true)]).collect();
        let events = [vec![(0, true)], flapping].concat();
        let last = events[events.len() - 1].0;
        check(&events, &[(120, false), (700, false), (last + 119, false), (last + 120, true)]);
    }
}
