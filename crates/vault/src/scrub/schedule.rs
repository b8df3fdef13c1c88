//! When to read on. Pure: what was read and the time in, what to do out.

use std::time::Duration;

/// In what time everything is read once unless told otherwise: 30 days.
pub const DEFAULT_SCRUB: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A step reads so many bytes, or one object if that is larger.
pub(crate) const STEP: u64 = 16 << 20;

/// At most so many bytes a second are read by the schedule, however late it is.
pub(crate) const RATE: u64 = 16 << 20;

/// Between two steps.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// One round through everything. Times are milliseconds by the wall clock: if that is set, a round is earlier or later, nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Round {
    pub(crate) started: u64,
    /// Bytes read, as they are counted.
    pub(crate) read: u64,
    /// When the last object was read.
    pub(crate) ended: Option<u64>,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// A new round begins.
    NewRound,
    /// The next step is to be done.
    Now,
    /// Nothing for so long.
    In(Duration),
}

impl Round {
    pub(crate) fn begin(now: u64) -> Self {
        Self { started: now, read: 0, ended: None }
    }

    /// If the clock was set back, the round goes on from now.
    pub(crate) fn at(self, now: u64) -> Self {
        Self { started: self.started.min(now), ..self }
    }
}

/// `total` bytes are to be read once in `period` milliseconds, evenly, and be done a tenth of it before its end.
pub(crate) fn due(round: Option<Round>, total: u64, now: u64, period: u64) -> Due {
    let Some(round) = round else { return Due::NewRound };
    let elapsed = now.saturating_sub(round.started);
    if round.ended.is_some() {
        return match period.checked_sub(elapsed) {
            Some(left @ 1..) => Due::In(Duration::from_millis(left).clamp(SHORTEST, LONGEST)),
            _ => Due::NewRound,
        };
    }
    let span = u128::from((period - period / 10).max(1));
    let wanted = u128::from(total) * u128::from(elapsed) / span;
    let next = u128::from(round.read.saturating_add(STEP).min(total));
    if round.read >= total || next <= wanted {
        return Due::Now;
    }
    let at = (next * span).div_ceil(u128::from(total.max(1)));
    let left = u64::try_from(at).unwrap_or(u64::MAX).saturating_sub(elapsed);
    Due::In(Duration::from_millis(left).clamp(SHORTEST, LONGEST))
}

/// How long to rest after so many bytes.
pub(crate) fn rest(read: u64) -> Duration {
    Duration::from_millis(read.saturating_mul(1000) / RATE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 60 * 60 * 1000;
    const PERIOD: u64 = 30 * DAY;

    /// Goes through `total` bytes in objects of a step each; `up` tells whether the computer is on. Gives the day of the end.
    fn days(total: u64, up: impl Fn(u64) -> bool) -> f64 {
        let mut round = Some(Round::begin(0));
        let mut now = 0;
        loop {
            if !up(now) {
                now += 60_000;
                continue;
            }
            match due(round, total, now, PERIOD) {
                Due::NewRound => unreachable!("the round has not ended"),
                Due::In(wait) => now += wait.as_millis() as u64,
                Due::Now => {
                    let Some(known) = &mut round else { unreachable!() };
                    let read = STEP.min(total - known.read);
                    known.read += read;
                    now += rest(read).as_millis() as u64;
                    if known.read == total {
                        return now as f64 / DAY as f64;
                    }
                }
            }
        }
    }

    #[test]
    fn everything_is_read_once_in_the_time_whatever_there_is() {
        for total in [1, STEP, 10 * STEP, 1 << 40, 20 << 40] {
            let took = days(total, |_| true);
            assert!((20.0..=30.0).contains(&took), "{total} bytes took {took} days");
        }
    }

    #[test]
    fn a_computer_that_is_on_for_an_hour_a_day_reads_as_fast_as_it_may_and_gets_through() {
        let took = days(1 << 40, |now| now % DAY < DAY / 24);
        assert!((20.0..=30.0).contains(&took), "{took}");
        // More than can be read at the greatest rate takes longer, and no rate is exceeded.
        let took = days(100 << 40, |_| true);
        assert!((75.0..=76.0).contains(&took), "{took}");
    }

    #[test]
    fn the_next_round_begins_when_the_time_is_over_and_not_before() {
        assert_eq!(due(None, 5, 7, PERIOD), Due::NewRound);
        let round = Round { started: 0, read: 5, ended: Some(DAY) };
        assert_eq!(due(Some(round), 5, PERIOD - 5000, PERIOD), Due::In(Duration::from_secs(5)));
        assert_eq!(due(Some(round), 5, DAY, PERIOD), Due::In(LONGEST));
        assert_eq!(due(Some(round), 5, PERIOD, PERIOD), Due::NewRound);
        assert_eq!(due(Some(round), 5, 10 * PERIOD, PERIOD), Due::NewRound);
    }

    #[test]
    fn no_setting_of_the_clock_stops_it() {
        let round = Round { started: 10 * PERIOD, read: STEP, ended: None };
        let back = round.at(PERIOD);
        assert_eq!(back.started, PERIOD);
        assert_eq!(due(Some(back), 1 << 40, PERIOD + PERIOD / 2, PERIOD), Due::Now);
        assert_eq!(due(Some(round), 1 << 40, 1000 * PERIOD, PERIOD), Due::Now);
        let ended = Round { ended: Some(10 * PERIOD), ..round }.at(0);
        assert_eq!(due(Some(ended), 1, PERIOD, PERIOD), Due::NewRound);
    }

    #[test]
    fn extreme_numbers_are_no_harm() {
        for period in [0, 1, u64::MAX] {
            for total in [0, 1, u64::MAX] {
                for read in [0, total, u64::MAX] {
                    for now in [0, u64::MAX] {
                        due(Some(Round { started: 0, read, ended: None }), total, now, period);
                    }
                }
            }
        }
    }
}
