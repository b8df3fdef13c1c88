//! How often another hub may ask: a pure allowance that fills up again.

use std::time::Duration;

use tokio::time::Instant;

/// What is allowed in one go, and in a second.
#[derive(Clone, Copy, Debug)]
struct Rate {
    burst: u32,
    per_second: u32,
}

/// Messages, searches, hellos.
const QUESTIONS: Rate = Rate { burst: 2000, per_second: 400 };
/// Who is registered: strangers can make another hub ask that, and shall not use up the rest by it.
const VOUCHES: Rate = Rate { burst: 400, per_second: 100 };

/// What one hub may still ask.
#[derive(Debug)]
pub(super) struct Budgets {
    questions: Budget,
    vouches: Budget,
}

impl Budgets {
    pub(super) fn full(now: Instant) -> Self {
        Self { questions: Budget::full(QUESTIONS, now), vouches: Budget::full(VOUCHES, now) }
    }

    /// Takes one; false if there is none.
    pub(super) fn take(&mut self, is_vouch: bool, now: Instant) -> bool {
        if is_vouch { self.vouches.take(now) } else { self.questions.take(now) }
    }
}

/// Of one kind.
#[derive(Clone, Copy, Debug)]
struct Budget {
    rate: Rate,
    left: f64,
    at: Instant,
}

impl Budget {
    fn full(rate: Rate, now: Instant) -> Self {
        Self { rate, left: f64::from(rate.burst), at: now }
    }

    fn take(&mut self, now: Instant) -> bool {
        let passed: Duration = now.saturating_duration_since(self.at);
        let burst = f64::from(self.rate.burst);
        self.left = (self.left + passed.as_secs_f64() * f64::from(self.rate.per_second)).min(burst);
        self.at = now;
        let has = self.left >= 1.0;
        if has {
            self.left -= 1.0;
        }
        has
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn many_questions_in_one_go_are_answered_and_then_as_many_as_time_allows() {
        let now = Instant::now();
        let mut budgets = Budgets::full(now);
        let asked = |budgets: &mut Budgets, now| (0..10_000).filter(|_| budgets.take(false, now)).count();
        assert_eq!(asked(&mut budgets, now), QUESTIONS.burst as usize);
        assert_eq!(asked(&mut budgets, now + Duration::from_millis(500)), QUESTIONS.per_second as usize / 2);
        assert_eq!(asked(&mut budgets, now + Duration::from_secs(3600)), QUESTIONS.burst as usize);
    }

    #[tokio::test]
    async fn who_asks_for_strangers_without_end_can_still_hand_over_and_search() {
        let now = Instant::now();
        let mut budgets = Budgets::full(now);
        let vouched = (0..100_000).filter(|_| budgets.take(true, now)).count();
        assert_eq!(vouched, VOUCHES.burst as usize);
        assert_eq!((0..10_000).filter(|_| budgets.take(false, now)).count(), QUESTIONS.burst as usize);
    }
}
