//! The sequence numbers of state objects, where another installation of this computer used the same ones.
//!
//! A number says which of two documents is newer. After a recovery, or on a home that was set back or copied, somebody else has used
//! numbers after ours, and friends whom we have not met may keep more of his documents than we know of. So we go on far above, and
//! all between what is taken over and what we write is [news](Numbers::is_news).

use super::core::value;
use super::db::{DbError, Table};

/// By how much the numbers leap at least.
const LEAST_LEAP: u64 = 1_000_000;
/// Nobody gets above this by leaps: such a number is a thief's.
const GREATEST: u64 = u64::MAX / 2;

/// Which numbers are ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Numbers {
    /// Of our newest document.
    pub(super) sequence: u64,
    /// Of the newest document of another installation that is taken over.
    pub(super) base: u64,
    /// Of the first document that we wrote after that.
    pub(super) first: u64,
}

impl Numbers {
    /// Goes on above a document of another installation. By how much is chance, so that two that go on from the same one don't
    /// use the same numbers. None if no computer ever wrote that number.
    pub(super) fn beyond(taken: u64) -> Result<Option<Self>, getrandom::Error> {
        let mut chance = [0; 4];
        getrandom::fill(&mut chance)?;
        Ok(Self::leap(taken, u32::from_be_bytes(chance)))
    }

    fn leap(taken: u64, chance: u32) -> Option<Self> {
        (taken <= GREATEST).then(|| {
            let sequence = taken + LEAST_LEAP + u64::from(chance);
            Self { sequence, base: taken, first: sequence + 1 }
        })
    }

    /// Whether a document of this number may be somebody else's, and not taken over yet.
    pub(super) fn is_news(&self, sequence: u64) -> bool {
        sequence > self.sequence || (sequence > self.base && sequence < self.first)
    }

    /// As they are stored.
    pub(super) fn documents(self) -> [(Table, String, serde_json::Value); 3] {
        [
            (value::STATE_SEQUENCE, self.sequence),
            (value::STATE_BASE, self.base),
            (value::STATE_FIRST, self.first),
        ]
        .map(|(name, number)| (Table::Values, name.to_owned(), number.into()))
    }

    pub(super) async fn load(db: &super::db::Db) -> Result<Self, DbError> {
        Ok(Self {
            sequence: db.get(Table::Values, value::STATE_SEQUENCE).await?.unwrap_or(0),
            base: db.get(Table::Values, value::STATE_BASE).await?.unwrap_or(0),
            first: db.get(Table::Values, value::STATE_FIRST).await?.unwrap_or(1),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_third_friend_keeps_is_news_after_a_leap_however_much_was_written_since() {
        // Set back to 50; one friend has 55, another one 60, who is away.
        let back = Numbers { sequence: 50, base: 0, first: 1 };
        assert!(back.is_news(55) && !back.is_news(50));
        let mut on = Numbers::leap(55, 7).unwrap();
        for _ in 0..100 {
            on.sequence += 1;
            assert!(on.is_news(60) && on.is_news(56) && !on.is_news(55));
            assert!(!on.is_news(on.first) && !on.is_news(on.sequence) && on.is_news(on.sequence + 1));
        }
    }

    #[test]
    fn no_number_of_a_thief_uses_up_ours() {
        assert_eq!(Numbers::leap(u64::MAX, u32::MAX), None);
        assert_eq!(Numbers::leap(GREATEST + 1, 0), None);
        let highest = Numbers::leap(GREATEST, u32::MAX).unwrap();
        assert!(highest.first < u64::MAX / 2 + (1 << 33));
        assert_ne!(Numbers::beyond(5).unwrap(), Numbers::beyond(5).unwrap());
    }
}
