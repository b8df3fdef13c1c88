//! Lists for reports: of limited length, with a complete count.

/// A list has no more entries than this; its count goes on.
pub const MOST_LISTED: usize = 1000;

/// The first entries of something, at most [`MOST_LISTED`], and how many there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    /// The entries.
    pub items: Vec<T>,
    /// How many there are, with those that are not in `items`.
    pub total: u64,
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self { items: Vec::new(), total: 0 }
    }
}

impl<T> Listed<T> {
    /// Counts an entry, and keeps it if there is room.
    pub(crate) fn push(&mut self, item: T) {
        self.total += 1;
        if self.items.len() < MOST_LISTED {
            self.items.push(item);
        }
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_stays_short_and_counts_on() {
        let mut list = Listed::default();
        assert!(list.is_empty());
        for number in 0..MOST_LISTED + 5 {
            list.push(number);
        }
        assert_eq!((list.items.len(), list.total), (MOST_LISTED, MOST_LISTED as u64 + 5));
    }
}
