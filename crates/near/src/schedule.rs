//! When something is said again: packets get lost, above all in the air.

use std::time::{Duration, Instant};

/// Pauses between announcements after something has changed (RFC 6762, section 8.3).
pub(crate) const ANNOUNCING: &[Duration] = &[Duration::from_secs(1), Duration::from_secs(2)];
/// Pauses between questions after something has changed (RFC 6762, section 5.2).
pub(crate) const ASKING: &[Duration] =
    &[Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

/// Something that is said at once, and then again after ever longer pauses.
#[derive(Clone, Debug)]
pub(crate) struct Burst {
    pauses: &'static [Duration],
    next: Option<(Instant, usize)>,
}

impl Burst {
    pub(crate) const fn new(pauses: &'static [Duration]) -> Self {
        Self { pauses, next: None }
    }

    /// Begins, or begins anew.
    pub(crate) fn start(&mut self, at: Instant) {
        self.next = Some((at, 0));
    }

    pub(crate) fn stop(&mut self) {
        self.next = None;
    }

    /// When it is to be said the next time.
    pub(crate) fn at(&self) -> Option<Instant> {
        self.next.map(|(at, _)| at)
    }

    /// Whether it is to be said now.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        match self.next {
            Some((at, step)) if at <= now => {
                self.next = self.pauses.get(step).map(|pause| (now + *pause, step + 1));
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_at_once_and_then_with_longer_pauses_and_then_no_more() {
        let start = Instant::now();
        let mut burst = Burst::new(ASKING);
        assert!(!burst.take(start));
        burst.start(start);
        let mut said = Vec::new();
        while let Some(at) = burst.at() {
            assert!(burst.take(at) && !burst.take(at));
            said.push((at - start).as_secs());
        }
        assert_eq!(said, [0, 1, 3, 7]);
    }
}
