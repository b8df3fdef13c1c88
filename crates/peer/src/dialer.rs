//! When to dial a friend. Pure: events and `now` in, the next dial out.

use std::time::{Duration, Instant};

/// First pause after a failed race; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Before the first dial after a link ended, so that both ends seldom dial in the same moment.
const AFTER_LOSS: Duration = Duration::from_millis(300);
/// How long one who has just become a friend by calling us has the word: he knows our address, and we may not be his friend before he
/// has heard our answer.
const HEAD_START: Duration = Duration::from_secs(2);
/// How long we leave the word to the friend after he told us that his own connection is kept.
const AFTER_DUPLICATE: Duration = Duration::from_secs(5);

/// Where the dialling of one friend stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dialer {
    state: State,
    failures: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting { until: Instant },
    Dialing,
    Linked,
}

/// A number in 0..=1 that the shell draws: the core has no randomness of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Jitter(pub(crate) f64);

impl Dialer {
    pub(crate) const fn new(now: Instant) -> Self {
        Self { state: State::Waiting { until: now }, failures: 0 }
    }

    /// Leaves the first dial to the friend.
    pub(crate) fn called(now: Instant) -> Self {
        Self::new(now + HEAD_START)
    }

    /// When [`Dialer::handle_timeout`] wants to be called.
    pub(crate) const fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Waiting { until } => Some(until),
            State::Dialing | State::Linked => None,
        }
    }

    /// True if a race is to be started now.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> bool {
        match self.state {
            State::Waiting { until } if until <= now => {
                self.state = State::Dialing;
                true
            }
            _ => false,
        }
    }

    /// Something changed that makes a dial promising: the network, the friend's addresses, the person's word.
    pub(crate) const fn handle_promising(&mut self, now: Instant) {
        self.failures = 0;
        if matches!(self.state, State::Waiting { .. }) {
            self.state = State::Waiting { until: now };
        }
    }

    /// The race found nobody.
    pub(crate) fn handle_failed(&mut self, now: Instant, jitter: Jitter) {
        if self.state == State::Dialing {
            let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(10)).min(LONGEST_PAUSE);
            self.failures = self.failures.saturating_add(1);
            self.state = State::Waiting { until: now + pause.mul_f64(0.5 + 0.5 * jitter.0) };
        }
    }

    /// The friend keeps the connection that he dialled.
    pub(crate) fn handle_duplicate(&mut self, now: Instant) {
        if self.state == State::Dialing {
            self.state = State::Waiting { until: now + AFTER_DUPLICATE };
        }
    }

    /// A link is up, whoever dialled.
    pub(crate) const fn handle_linked(&mut self) {
        self.state = State::Linked;
        self.failures = 0;
    }

    /// The link is over and there is no other.
    pub(crate) fn handle_link_over(&mut self, now: Instant, jitter: Jitter) {
        self.state = State::Waiting { until: now + AFTER_LOSS.mul_f64(jitter.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORST: Jitter = Jitter(1.0);

    #[test]
    fn pauses_double_up_to_a_minute() {
        let now = Instant::now();
        let mut dialer = Dialer::new(now);
        let mut at = now;
        let pauses: Vec<u64> = (0..9)
            .map(|_| {
                at = dialer.poll_timeout().unwrap();
                assert!(dialer.handle_timeout(at));
                dialer.handle_failed(at, WORST);
                (dialer.poll_timeout().unwrap() - at).as_secs()
            })
            .collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn jitter_shortens_a_pause_by_half_at_most() {
        let now = Instant::now();
        let mut dialer = Dialer::new(now);
        dialer.handle_timeout(now);
        dialer.handle_failed(now, Jitter(0.0));
        assert_eq!(dialer.poll_timeout(), Some(now + FIRST_PAUSE / 2));
    }

    #[test]
    fn a_network_change_ends_the_pause_at_once_and_starts_the_doubling_anew() {
        let now = Instant::now();
        let mut dialer = Dialer::new(now);
        for _ in 0..8 {
            let at = dialer.poll_timeout().unwrap();
            dialer.handle_timeout(at);
            dialer.handle_failed(at, WORST);
        }
        dialer.handle_promising(now);
        assert!(dialer.handle_timeout(now));
        dialer.handle_failed(now, WORST);
        assert_eq!(dialer.poll_timeout(), Some(now + FIRST_PAUSE));
    }

    #[test]
    fn a_link_stops_dialling_and_its_end_starts_it() {
        let now = Instant::now();
        let mut dialer = Dialer::new(now);
        dialer.handle_timeout(now);
        dialer.handle_linked();
        assert_eq!(dialer.poll_timeout(), None);
        dialer.handle_promising(now);
        dialer.handle_failed(now, WORST);
        assert_eq!(dialer.poll_timeout(), None, "a late failure of the race does not end the link");
        dialer.handle_link_over(now, WORST);
        assert_eq!(dialer.poll_timeout(), Some(now + AFTER_LOSS));
    }
}
