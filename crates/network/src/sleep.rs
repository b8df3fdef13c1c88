//! Whether the computer slept, from two clocks of which one stands still meanwhile.

use std::time::Duration;

/// The clock that counts sleep must run ahead by more than this: less is no sleep that a connection would notice.
const SHORTEST: Duration = Duration::from_secs(2);

/// Both clocks at one moment, each since a moment of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clocks {
    /// Goes on while the computer sleeps.
    pub(crate) through_sleep: Duration,
    /// Stands still while the computer sleeps.
    pub(crate) awake: Duration,
}

/// Compares the two clocks from look to look.
#[derive(Clone, Debug)]
pub(crate) struct SleepWatch {
    last: Clocks,
}

impl SleepWatch {
    pub(crate) fn new(now: Clocks) -> Self {
        Self { last: now }
    }

    /// How long the computer slept since the last look, if it did.
    pub(crate) fn look(&mut self, now: Clocks) -> Option<Duration> {
        // Either may stand still or, where it is the time of day, be set back.
        let through = now.through_sleep.saturating_sub(self.last.through_sleep);
        let awake = now.awake.saturating_sub(self.last.awake);
        self.last = now;
        Some(through.saturating_sub(awake)).filter(|slept| *slept > SHORTEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(looks: &[(u64, u64)], expected: &[Option<u64>]) {
        let clocks = |(through, awake): (u64, u64)| Clocks {
            through_sleep: Duration::from_millis(through),
            awake: Duration::from_millis(awake),
        };
        let mut watch = SleepWatch::new(clocks(looks[0]));
        let seen: Vec<Option<u64>> = looks[1..]
            .iter()
            .map(|look| watch.look(clocks(*look)).map(|slept| u64::try_from(slept.as_millis()).unwrap()))
            .collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_suspended_laptop_is_noticed_once() {
        // 7 hours of sleep between two ticks; before that it had slept 100 s since its start.
        check(
            &[
                (1_100_000, 1_000_000),
                (1_110_000, 1_010_000),
                (26_320_000, 1_020_000),
                (26_330_000, 1_030_000),
            ],
            &[None, Some(25_200_000), None],
        );
    }

    #[test]
    fn a_busy_computer_that_looks_late_did_not_sleep() {
        check(&[(0, 0), (60_000, 60_000), (60_001, 60_000), (63_000, 61_000)], &[None, None, None]);
    }

    #[test]
    fn a_nap_counts_only_if_it_was_longer_than_two_seconds() {
        check(&[(0, 0), (12_000, 10_000), (24_001, 20_000)], &[None, Some(2_001)]);
    }

    #[test]
    fn a_clock_that_is_set_back_is_no_sleep_and_harms_nothing() {
        check(
            &[(100_000, 10_000), (5_000, 20_000), (15_000, 30_000), (45_000, 40_000)],
            &[None, None, Some(20_000)],
        );
        check(&[(0, 0), (u64::MAX, 0), (0, u64::MAX)], &[Some(u64::MAX), None]);
    }
}
