//! Which of our dial-in keys is given out, and which others are still accepted. Pure.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Keys that somebody may have been told and are not known to be in use; of more, the oldest are forgotten. Whoever has one of those
/// is recognised by his recovery key.
const MOST_OLDER: usize = 16;
/// By how much a recovery raises the counter. The state object that it begins with may be older than some removals of friends: what
/// those know must not be given out again.
const RECOVERY_LEAP: u32 = 1000;

/// Every key has a number, from which it follows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::daemon) struct Counters {
    current: u32,
    /// Numbers of keys that friends may have been told without our having heard that they took them.
    #[serde(default)]
    older: Vec<u32>,
}

impl Counters {
    /// What a recovered computer begins with.
    pub(in crate::daemon) fn after_recovery(lost: u32) -> Self {
        Self { current: lost.saturating_add(RECOVERY_LEAP), older: vec![lost] }
    }

    /// The key that is given out.
    pub(in crate::daemon) const fn current(&self) -> u32 {
        self.current
    }

    /// Gives out the next one.
    pub(in crate::daemon) fn rotate(&mut self) {
        self.older.push(self.current);
        let surplus = self.older.len().saturating_sub(MOST_OLDER);
        self.older.drain(..surplus);
        self.current = self.current.saturating_add(1);
    }

    /// Everybody has the current one; true if that ends another one.
    pub(in crate::daemon) fn drop_older(&mut self) -> bool {
        !std::mem::take(&mut self.older).is_empty()
    }

    /// The keys that are accepted, given which ones the friends are known to hold (none is the first one, which those have who paired
    /// before there was a second).
    pub(in crate::daemon) fn accepted(&self, held: impl Iterator<Item = Option<u32>>) -> BTreeSet<u32> {
        let held = held.map(Option::unwrap_or_default);
        held.chain(self.older.iter().copied()).chain([self.current]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(counters: &Counters, held: &[Option<u32>]) -> Vec<u32> {
        counters.accepted(held.iter().copied()).into_iter().collect()
    }

    #[test]
    fn an_older_key_is_accepted_until_everybody_has_the_newer_one() {
        let mut counters = Counters::default();
        assert_eq!(accepted(&counters, &[]), [0]);
        counters.rotate();
        assert_eq!(counters.current(), 1);
        assert_eq!(accepted(&counters, &[None, Some(0)]), [0, 1]);
        assert_eq!(accepted(&counters, &[Some(1), Some(0)]), [0, 1]);
        // One of the two has confirmed; he may have been told by an answer that was lost, so the older one goes on its own time.
        assert_eq!(accepted(&counters, &[Some(1), Some(1)]), [0, 1]);
        assert!(counters.drop_older());
        assert_eq!(accepted(&counters, &[Some(1), Some(1)]), [1]);
        assert!(!counters.drop_older());
    }

    #[test]
    fn what_a_friend_is_known_to_hold_is_accepted_however_many_removals_he_missed() {
        let mut counters = Counters::default();
        for _ in 0..1000 {
            counters.rotate();
        }
        let accepted = accepted(&counters, &[None, Some(3), Some(1000)]);
        assert!(accepted.starts_with(&[0, 3]) && accepted.ends_with(&[999, 1000]), "{accepted:?}");
        assert_eq!(accepted.len(), 3 + MOST_OLDER);
    }

    #[test]
    fn a_key_is_never_given_out_again_after_a_recovery_from_an_older_state() {
        let counters = Counters::after_recovery(7);
        assert!(counters.current() > 7 + 500);
        assert_eq!(accepted(&counters, &[Some(7), Some(9)]), [7, 9, counters.current()]);
        assert_eq!(Counters::after_recovery(u32::MAX).current(), u32::MAX);
    }

    #[test]
    fn what_is_kept_is_read_again_and_the_beginning_is_the_first_key() {
        let mut counters = Counters::default();
        counters.rotate();
        let kept = serde_json::to_string(&counters).unwrap();
        assert_eq!(kept, r#"{"current":1,"older":[0]}"#);
        assert_eq!(serde_json::from_str::<Counters>(&kept).unwrap(), counters);
    }
}
