//! How often something may happen: so many times in one go, and some more every second.

use tokio::time::Instant;

/// What every second adds.
pub(super) const PER_SECOND: u32 = 16;

/// How many streams may be broken off.
#[derive(Debug)]
pub(super) struct Allowance {
    most: u32,
    pub(super) left: u32,
    at: Option<Instant>,
}

impl Allowance {
    pub(super) const fn new(most: u32) -> Self {
        Self { most, left: most, at: None }
    }

    /// Adds what came with time; says whether that was anything.
    pub(super) fn refill(&mut self, now: Instant) -> bool {
        let since = now.saturating_duration_since(*self.at.get_or_insert(now));
        let more = u32::try_from(since.as_secs()).unwrap_or(u32::MAX).saturating_mul(PER_SECOND);
        if more > 0 {
            self.at = Some(now);
        }
        let before = self.left;
        self.left = self.left.saturating_add(more).min(self.most);
        self.left > before
    }

    /// Takes one; says whether there was one.
    pub(super) const fn take(&mut self) -> bool {
        let is_there = self.left > 0;
        self.left = self.left.saturating_sub(1);
        is_there
    }
}
