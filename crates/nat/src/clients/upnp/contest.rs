//! Which of the devices that were looked at is taken.

use super::endpoint::Rank;
use super::http::Failure;

/// How good a device is. Ordered: the first is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Standing {
    /// Whether it refuses what it is asked.
    pub(super) refuses: bool,
    /// How near to the gateway it is.
    pub(super) rank: Rank,
}

/// The best device so far, and else why the most important one can't be used.
#[derive(Debug)]
pub(super) struct Contest<T> {
    best: Option<(Standing, T)>,
    failed: Option<(Rank, Failure)>,
}

impl<T> Contest<T> {
    pub(super) const fn new() -> Self {
        Self { best: None, failed: None }
    }

    /// One that can be used.
    pub(super) fn enter(&mut self, standing: Standing, device: T) {
        if self.best.as_ref().is_none_or(|(best, _)| standing < *best) {
            self.best = Some((standing, device));
        }
    }

    /// One that can't.
    pub(super) fn fail(&mut self, rank: Rank, failure: Failure) {
        if self.failed.as_ref().is_none_or(|(known, _)| rank < *known) {
            self.failed = Some((rank, failure));
        }
    }

    /// Whether there is one that can be used.
    pub(super) const fn has_one(&self) -> bool {
        self.best.is_some()
    }

    /// Whether none can be better.
    pub(super) fn is_decided(&self) -> bool {
        let top = Standing { refuses: false, rank: Rank::Gateway };
        self.best.as_ref().is_some_and(|(best, _)| *best == top)
    }

    pub(super) fn result(self) -> Result<T, Failure> {
        match (self.best, self.failed) {
            (Some((_, device)), _) => Ok(device),
            (None, Some((_, failure))) => Err(failure),
            (None, None) => Err(Failure::Silent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_willing_device_on_the_gateway_is_taken_at_once() {
        let standing = |refuses, rank| Standing { refuses, rank };
        let mut contest = Contest::new();
        contest.fail(Rank::Other, Failure::Closed);
        contest.fail(Rank::Gateway, Failure::Missing);
        contest.fail(Rank::ByGateway, Failure::Closed);
        assert!(!contest.has_one());
        for (entered, name) in [
            (standing(true, Rank::Gateway), "refuses"),
            (standing(false, Rank::Other), "neighbour"),
            (standing(false, Rank::ByGateway), "twin"),
            (standing(false, Rank::Other), "late"),
        ] {
            contest.enter(entered, name);
            assert!(contest.has_one() && !contest.is_decided(), "{name}");
        }
        assert_eq!(contest.best.as_ref().map(|(_, name)| *name), Some("twin"));
        contest.enter(standing(false, Rank::Gateway), "gateway");
        assert!(contest.is_decided());
        assert_eq!(contest.result(), Ok("gateway"));
    }

    #[test]
    fn the_failure_that_counts_is_the_gateways() {
        let mut contest = Contest::<()>::new();
        contest.fail(Rank::Other, Failure::Closed);
        contest.fail(Rank::Gateway, Failure::Missing);
        contest.fail(Rank::ByGateway, Failure::Closed);
        assert_eq!(contest.result(), Err(Failure::Missing));
        assert_eq!(Contest::<()>::new().result(), Err(Failure::Silent));
    }
}
