//! When to dial a friend. Pure: events and `now` in, the next dial out.

use std::time::{Duration, Instant};

use kith_wire::Class;

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
/// Before the first try to replace a relayed link: what was under way when it came up is still under way at the other end.
const FIRST_TRY: Duration = Duration::from_secs(5);
/// Between two tries to replace a relayed link, at most.
const BETWEEN_TRIES: Duration = Duration::from_secs(60);
/// Between two tries to replace a link, whatever happens: the friend's news can set one off.
const LEAST_BETWEEN_TRIES: Duration = Duration::from_secs(5);

/// Where the dialling of one friend stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dialer {
    state: State,
    failures: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting {
        until: Instant,
    },
    Dialing {
        /// Something happened meanwhile that makes another race promising.
        again: bool,
    },
    Linked(Linked),
}

/// There is a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Linked {
    class: Class,
    /// When a better one is looked for.
    next: Option<Instant>,
    /// When it was looked for last.
    tried: Option<Instant>,
    trying: bool,
    /// Something happened meanwhile that makes another try promising.
    again: bool,
}

/// Which race is to be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Race {
    /// For any link.
    Any,
    /// For one of a better class than the link that there is.
    BetterThan(Class),
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
            State::Dialing { .. } => None,
            State::Linked(Linked { next, .. }) => next,
        }
    }

    /// Whether a race for any link is under way.
    pub(crate) const fn is_dialing(&self) -> bool {
        matches!(self.state, State::Dialing { .. })
    }

    /// The race that is to be started now.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Option<Race> {
        match &mut self.state {
            State::Waiting { until } if *until <= now => {
                self.state = State::Dialing { again: false };
                Some(Race::Any)
            }
            State::Linked(linked) if linked.next.is_some_and(|next| next <= now) => {
                (linked.next, linked.tried, linked.trying) = (None, Some(now), true);
                Some(Race::BetterThan(linked.class))
            }
            _ => None,
        }
    }

    /// Something changed that makes a dial promising: the network, the friend's addresses, the person's word. A link of the best
    /// class is not disturbed by it; beside another one, a better one is looked for.
    pub(crate) fn handle_promising(&mut self, now: Instant) {
        self.failures = 0;
        match &mut self.state {
            State::Waiting { until } => *until = now,
            State::Dialing { again } => *again = true,
            State::Linked(linked) if linked.class == Class::Lan => {}
            State::Linked(linked) if linked.trying => linked.again = true,
            State::Linked(linked) => {
                let at = linked.earliest(now);
                linked.next = Some(linked.next.map_or(at, |next| next.min(at)));
            }
        }
    }

    /// The network is another one, and what is under way for a first link was begun in the old one: it is to be dropped, if this says so,
    /// and another race begins at once.
    pub(crate) fn handle_network_change(&mut self, now: Instant) -> bool {
        self.handle_promising(now);
        let is_stale = self.is_dialing();
        if is_stale {
            self.state = State::Waiting { until: now };
        }
        is_stale
    }

    /// The race found nobody.
    pub(crate) fn handle_failed(&mut self, now: Instant, jitter: Jitter) {
        match &mut self.state {
            State::Dialing { again: true } => self.state = State::Waiting { until: now },
            State::Dialing { again: false } => {
                let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(10)).min(LONGEST_PAUSE);
                self.failures = self.failures.saturating_add(1);
                self.state = State::Waiting { until: now + pause.mul_f64(0.5 + 0.5 * jitter.0) };
            }
            State::Linked(linked) if linked.trying => linked.tried_in_vain(now, jitter),
            State::Waiting { .. } | State::Linked(_) => {}
        }
    }

    /// The friend keeps the connection that he dialled.
    pub(crate) fn handle_duplicate(&mut self, now: Instant, jitter: Jitter) {
        match &mut self.state {
            State::Dialing { .. } => self.state = State::Waiting { until: now + AFTER_DUPLICATE },
            State::Linked(linked) if linked.trying => linked.tried_in_vain(now, jitter),
            State::Waiting { .. } | State::Linked(_) => {}
        }
    }

    /// A link of this class is up, whoever dialled.
    pub(crate) fn handle_linked(&mut self, class: Class, now: Instant) {
        let next = (class == Class::Relayed).then(|| now + FIRST_TRY);
        self.state = State::Linked(Linked { class, next, tried: None, trying: false, again: false });
        self.failures = 0;
    }

    /// The link is over and there is no other.
    pub(crate) fn handle_link_over(&mut self, now: Instant, jitter: Jitter) {
        self.state = State::Waiting { until: now + AFTER_LOSS.mul_f64(jitter.0) };
    }
}

impl Linked {
    /// The next time when a try may begin.
    fn earliest(&self, now: Instant) -> Instant {
        self.tried.map_or(now, |tried| now.max(tried + LEAST_BETWEEN_TRIES))
    }

    fn tried_in_vain(&mut self, now: Instant, jitter: Jitter) {
        self.trying = false;
        self.next = if std::mem::take(&mut self.again) {
            Some(self.earliest(now))
        } else {
            // Nothing but news makes an address inside a network worth another try.
            (self.class == Class::Relayed).then(|| now + BETWEEN_TRIES.mul_f64(0.75 + 0.25 * jitter.0))
        };
    }
}

#[cfg(test)]
mod simulation;

#[cfg(test)]
mod tests {
    use super::*;

    const WORST: Jitter = Jitter(1.0);

    const fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn pauses_double_up_to_a_minute() {
        let now = Instant::now();
        let mut dialer = Dialer::new(now);
        let mut at = now;
        let mut pauses = Vec::new();
        for _ in 0..10 {
            assert_eq!(dialer.handle_timeout(at), Some(Race::Any));
            dialer.handle_failed(at, WORST);
            let next = dialer.poll_timeout().unwrap();
            pauses.push((next - at).as_secs());
            at = next;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]);
    }

    #[test]
    fn news_starts_a_dial_at_once_and_forgets_failures() {
        let now = Instant::now();
        let mut dialer = Dialer::new(now);
        for _ in 0..8 {
            dialer.handle_timeout(now + seconds(1000));
            dialer.handle_failed(now, WORST);
        }
        dialer.handle_promising(now);
        assert_eq!(dialer.handle_timeout(now), Some(Race::Any));
        dialer.handle_failed(now, WORST);
        assert_eq!(dialer.poll_timeout(), Some(now + FIRST_PAUSE));
    }

    #[test]
    fn news_that_come_during_a_race_start_another_one_after_it_and_one_only() {
        let now = Instant::now();
        let mut dialer = Dialer::new(now);
        dialer.handle_timeout(now);
        dialer.handle_promising(now);
        assert_eq!(dialer.poll_timeout(), None, "one at a time");
        dialer.handle_failed(now, WORST);
        assert_eq!(dialer.handle_timeout(now), Some(Race::Any));
        dialer.handle_failed(now, WORST);
        assert_eq!(dialer.poll_timeout(), Some(now + FIRST_PAUSE));
    }

    #[test]
    fn a_race_that_was_begun_in_another_network_is_begun_anew() {
        let now = Instant::now();
        let mut dialer = Dialer::new(now);
        assert!(!dialer.handle_network_change(now), "none is under way");
        dialer.handle_timeout(now);
        assert!(dialer.handle_network_change(now));
        assert_eq!(dialer.handle_timeout(now), Some(Race::Any));
        dialer.handle_failed(now, WORST);
        assert_eq!(dialer.poll_timeout(), Some(now + FIRST_PAUSE), "the news count once");
        dialer.handle_linked(Class::Relayed, now);
        assert!(!dialer.handle_network_change(now), "a link is no race");
        assert_eq!(dialer.handle_timeout(now), Some(Race::BetterThan(Class::Relayed)));
    }

    #[test]
    fn a_link_stops_dialling_and_its_end_starts_it() {
        let now = Instant::now();
        let mut dialer = Dialer::new(now);
        dialer.handle_timeout(now);
        dialer.handle_linked(Class::Lan, now);
        assert_eq!(dialer.poll_timeout(), None);
        dialer.handle_promising(now);
        dialer.handle_failed(now, WORST);
        assert_eq!(dialer.poll_timeout(), None, "a late failure of the race does not end the link");
        dialer.handle_link_over(now, WORST);
        assert_eq!(dialer.poll_timeout(), Some(now + AFTER_LOSS));
    }

    /// A hub is started again a second after it died, and is there within seconds. All its computers shall be back within 15 s.
    #[test]
    fn whoever_is_away_for_some_seconds_is_dialled_soon_after_his_return_whatever_was_drawn() {
        let now = Instant::now();
        for away in (0..=6_000).step_by(250).map(Duration::from_millis) {
            // Every way in which the first six pauses can be drawn short, middling or long.
            for draws in 0..3_u32.pow(6) {
                let jitter = |n: u32| Jitter(f64::from(draws / 3_u32.pow(n) % 3) / 2.0);
                let mut dialer = Dialer::new(now);
                dialer.handle_linked(Class::Lan, now);
                dialer.handle_link_over(now, jitter(0));
                let mut n = 0;
                let back = loop {
                    let at = dialer.poll_timeout().unwrap();
                    assert_eq!(dialer.handle_timeout(at), Some(Race::Any));
                    if at >= now + away {
                        break at - now;
                    }
                    n += 1;
                    dialer.handle_failed(at, jitter(n.min(5)));
                };
                assert!(back < seconds(15), "{back:?} for {away:?}");
                assert!(back <= away * 3 + Duration::from_millis(1_300), "{back:?} for {away:?}");
            }
        }
    }

    #[test]
    fn a_relayed_link_looks_for_a_better_one_soon_and_then_once_a_minute() {
        let now = Instant::now();
        let mut dialer = Dialer::new(now);
        dialer.handle_timeout(now);
        dialer.handle_linked(Class::Relayed, now);
        let mut at = now;
        let mut pauses = Vec::new();
        for _ in 0..4 {
            let next = dialer.poll_timeout().unwrap();
            pauses.push((next - at).as_secs());
            at = next;
            assert_eq!(dialer.handle_timeout(at), Some(Race::BetterThan(Class::Relayed)));
            assert_eq!(dialer.poll_timeout(), None, "one at a time");
            dialer.handle_failed(at, WORST);
        }
        assert_eq!(pauses, [5, 60, 60, 60]);
        dialer.handle_linked(Class::Direct, at);
        assert_eq!(dialer.poll_timeout(), None, "it was found");
    }

    #[test]
    fn news_starts_a_try_at_once_but_not_one_after_the_other() {
        let now = Instant::now();
        let mut dialer = Dialer::new(now);
        for class in [Class::Direct, Class::Relayed] {
            dialer.handle_linked(class, now);
            dialer.handle_promising(now);
            assert_eq!(dialer.handle_timeout(now), Some(Race::BetterThan(class)));
            dialer.handle_promising(now);
            assert_eq!(dialer.handle_timeout(now), None, "one is under way");
            dialer.handle_duplicate(now + seconds(1), WORST);
            assert_eq!(dialer.poll_timeout(), Some(now + LEAST_BETWEEN_TRIES), "the news counts after it");
            dialer.handle_timeout(now + seconds(5)).unwrap();
            dialer.handle_failed(now + seconds(6), WORST);
            let later = (class == Class::Relayed).then_some(now + seconds(66));
            assert_eq!(dialer.poll_timeout(), later);
            dialer.handle_promising(now + seconds(7));
            assert_eq!(dialer.poll_timeout(), Some(now + seconds(10)));
        }
    }

    #[test]
    fn the_end_of_a_link_ends_the_tries_for_a_better_one() {
        let now = Instant::now();
        let mut dialer = Dialer::new(now);
        dialer.handle_linked(Class::Relayed, now);
        dialer.handle_timeout(now + seconds(5)).unwrap();
        dialer.handle_link_over(now + seconds(6), Jitter(0.0));
        dialer.handle_failed(now + seconds(6), WORST);
        assert_eq!(dialer.handle_timeout(now + seconds(6)), Some(Race::Any));
    }
}
