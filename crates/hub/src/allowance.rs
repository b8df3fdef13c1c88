//! How often somebody may do something: pure.

use std::time::Duration;

use tokio::time::Instant;

/// How often, in the long run and at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    /// How long it takes until one time more is allowed.
    pub(crate) each: Duration,
    /// How many times are allowed after a long rest.
    pub(crate) at_once: u32,
}

impl Allowance {
    const fn burst(&self) -> Duration {
        self.each.saturating_mul(self.at_once)
    }
}

/// What somebody has used of an allowance.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Used {
    /// When all is allowed again.
    restored_at: Option<Instant>,
}

impl Used {
    /// Once more, if that is allowed.
    pub(crate) fn once(&mut self, allowance: &Allowance, now: Instant) -> bool {
        let owed = self.owed(now) + allowance.each;
        let is_allowed = owed <= allowance.burst();
        if is_allowed {
            self.restored_at = Some(now + owed);
        }
        is_allowed
    }

    /// More than once, which turned out afterwards; the next have to wait for it.
    pub(crate) fn more(&mut self, allowance: &Allowance, times: u32, now: Instant) {
        self.take(allowance.each.saturating_mul(times), now);
    }

    /// How long until no more than `burst` is owed.
    pub(crate) fn waits(&self, burst: Duration, now: Instant) -> Duration {
        self.owed(now).saturating_sub(burst)
    }

    /// Takes what lasts for so long.
    pub(crate) fn take(&mut self, cost: Duration, now: Instant) {
        self.restored_at = Some(now + self.owed(now) + cost);
    }

    fn owed(&self, now: Instant) -> Duration {
        self.restored_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWANCE: Allowance = Allowance { each: Duration::from_secs(2), at_once: 3 };

    #[test]
    fn so_many_at_once_then_one_at_a_time() {
        let (mut used, now) = (Used::default(), Instant::now());
        let times = |used: &mut Used, at: Instant| (0..10).filter(|_| used.once(&ALLOWANCE, at)).count();
        assert_eq!(times(&mut used, now), 3);
        assert_eq!(times(&mut used, now + Duration::from_millis(1999)), 0);
        assert_eq!(times(&mut used, now + Duration::from_secs(2)), 1);
        assert_eq!(times(&mut used, now + Duration::from_secs(1000)), 3, "a long rest allows no more");
    }

    #[test]
    fn what_turned_out_dear_is_waited_for() {
        let (mut used, now) = (Used::default(), Instant::now());
        assert!(used.once(&ALLOWANCE, now));
        used.more(&ALLOWANCE, 10, now);
        assert!(!used.once(&ALLOWANCE, now + Duration::from_secs(17)));
        assert!(used.once(&ALLOWANCE, now + Duration::from_secs(18)));
    }
}
