//! How much is looked at before nothing more is said: whoever writes the rules must not decide how long that takes.

use std::cell::Cell;

/// Most steps for all questions about one computer's rules together: a step is a word of a rule, or an element of a set, that is
/// compared. It is well below a second of work, and some hundred thousand rules or elements; what comes after is not known.
const MOST_STEPS: u64 = 4_000_000;

/// What is left to be spent.
#[derive(Debug)]
pub(super) struct Effort(Cell<u64>);

impl Default for Effort {
    fn default() -> Self {
        Self(Cell::new(MOST_STEPS))
    }
}

impl Effort {
    /// Whether nothing is left.
    pub(super) fn is_spent(&self) -> bool {
        self.0.get() == 0
    }

    /// Whether there is so much left; it is spent then. Where there is not, nothing is left for anything else either.
    pub(super) fn spend(&self, steps: usize) -> bool {
        let steps = u64::try_from(steps).unwrap_or(u64::MAX);
        let left = self.0.get().checked_sub(steps);
        self.0.set(left.unwrap_or(0));
        left.is_some()
    }
}
