//! Time as the core counts it: since its start, the computer's sleep included.

use std::ops::Add;
use std::time::{Duration, Instant, SystemTime};

/// A moment, counted from the start of the core. Goes on while the computer sleeps, as the leases of routers do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Tick(Duration);

impl Tick {
    /// The beginning.
    pub(super) const START: Self = Self(Duration::ZERO);
    /// Later than everything that happens.
    pub(super) const NEVER: Self = Self(Duration::from_secs(u32::MAX as u64 * 8));

    /// So long after the beginning.
    #[cfg(test)]
    pub(super) const fn at(after: Duration) -> Self {
        Self(after)
    }

    /// How long ago that was; zero if it is still to come.
    pub(super) const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// Whole seconds since the beginning.
    pub(super) const fn seconds(self) -> u64 {
        self.0.as_secs()
    }
}

impl Add<Duration> for Tick {
    type Output = Self;

    fn add(self, after: Duration) -> Self {
        Self(self.0.saturating_add(after))
    }
}

/// Translates between the caller's clocks and [`Tick`]s.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    base: Instant,
    slept: Duration,
    now: Tick,
    /// When the last sleep was noticed, by the caller's clock, and how long all those before it were.
    woke: Option<(Instant, Duration)>,
}

impl Clock {
    pub(super) const fn new(base: Instant) -> Self {
        Self { base, slept: Duration::ZERO, now: Tick::START, woke: None }
    }

    /// Takes over the caller's time; never goes backwards.
    pub(super) fn advance(&mut self, now: Instant) -> Tick {
        let tick = Tick(now.saturating_duration_since(self.base).saturating_add(self.slept));
        self.now = self.now.max(tick);
        self.now
    }

    /// Time went by, until now, that the caller's clock did not count.
    pub(super) const fn sleep(&mut self, slept: Duration, now: Instant) {
        self.woke = Some((now, self.slept));
        self.slept = self.slept.saturating_add(slept);
    }

    /// A moment that was, by the caller's clock.
    pub(super) fn past(&self, then: Instant) -> Tick {
        let slept = match self.woke {
            Some((woke, before)) if then < woke => before,
            _ => self.slept,
        };
        Tick(then.saturating_duration_since(self.base).saturating_add(slept)).min(self.now)
    }

    pub(super) const fn now(&self) -> Tick {
        self.now
    }

    /// A moment by the caller's clock.
    pub(super) fn instant(&self, tick: Tick) -> Instant {
        let after = tick.0.saturating_sub(self.slept);
        self.base.checked_add(after).unwrap_or(self.base)
    }

    /// A moment to come by the clock on the wall, which shows `wall` now.
    pub(super) fn wall(tick: Tick, now: Tick, wall: SystemTime) -> SystemTime {
        wall.checked_add(tick.since(now)).unwrap_or(wall)
    }
}
